"""Settings that a configured regime forbids stop the start with rule and source; weak ones are said, and work."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from consentmw.errors import SettingsError
from consentmw.lawful import Finding, examine, refuse_unlawful
from consentmw.purposes import Catalogue
from consentmw.regions import Regions
from consentmw.settings import Settings

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = "a key of sixteen characters"


def findings(now: datetime = NOW, **options: Any) -> list[Finding]:
    settings = Settings.of(None, secret_keys=(KEY,), **options)
    catalogue = Catalogue.load(purposes=settings.purposes, services=settings.services, only=settings.services_used)
    regions = Regions.load(fallback=settings.fallback_regime, overrides=settings.regimes)
    return list(examine(settings, catalogue, regions, now))


def rules(now: datetime = NOW, **options: Any) -> dict[str, bool]:
    return {finding.rule: finding.forbidden for finding in findings(now, **options)}


def test_the_defaults_are_lawful_and_strong() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("options", "key", "source"),
    [
        ({"regimes": {"US-CA": "notice"}}, "regimes.US-CA", "CCPA"),
        ({"regimes": {"US-IA": "notice"}}, "regimes.US-IA", "715D"),
        ({"regimes": {"DE": "opt_out"}}, "regimes.DE", "ePrivacy"),
        ({"regimes": {"DE-BY": "notice"}}, "regimes.DE-BY", "ePrivacy"),
        ({"regimes": {"DE": "opt_in_stats_exempt"}}, "regimes.DE", "ePrivacy"),
        ({"services": {"google_ads": {"purposes": ["necessary"]}}}, "services.google_ads.purposes", "Taskforce I"),
        ({"purposes": {"analytics": {"kind": "necessary"}}}, "purposes.analytics.kind", "Taskforce I"),
        ({"purposes": {"advertising": {"kind": "preferences"}}}, "purposes.advertising.kind", "7025"),
        ({"services": {"google_ads": {"purposes": ["media"]}}}, "services.google_ads.purposes", "W3C GPC"),
    ],
)
def test_what_a_law_forbids_stops_the_start(options: dict[str, Any], key: str, source: str) -> None:
    settings = Settings.of(None, secret_keys=(KEY,), **options)
    catalogue = Catalogue.load(purposes=settings.purposes, services=settings.services)
    with pytest.raises(SettingsError) as caught:
        refuse_unlawful(settings, catalogue, Regions.load(overrides=settings.regimes), NOW)
    assert caught.value.key == key
    assert source in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"regimes": {"US-IA": "opt_in", "US-WI": "opt_in"}},
        {"regimes": {"US-IA": "opt_out", "DE": "strict", "FR": "opt_in"}},
        {"regimes": {"XX": "notice"}},
        {"services": {"youtube": {"purposes": ["analytics"]}}},
        {"services": {"youtube": {"purposes": ["media", "advertising"]}}},
        {"purposes": {"media": {"kind": "advertising"}}},
        {"services": {"hcaptcha": {"name": "A captcha"}}, "services_used": ("hcaptcha",)},
    ],
)
def test_what_is_stricter_or_only_different_is_the_sites_own_affair(options: dict[str, Any]) -> None:
    assert findings(**options) == []


@pytest.mark.parametrize(
    ("options", "rule", "source"),
    [
        ({"valid_days": 391}, "expiry over the maximum", "CNIL"),
        (
            {"services": {"x": {"name": "X", "provider": "X", "hosts": ["x.example"]}}},
            "service without purpose",
            "5(1)",
        ),
    ],
)
def test_what_no_regime_allows_is_refused_wherever_the_site_is(options: dict[str, Any], rule: str, source: str) -> None:
    with pytest.raises(SettingsError) as caught:
        findings(fallback_regime="notice", **options)
    assert rule in str(caught.value)
    assert source in str(caught.value)


def test_everything_that_is_forbidden_is_said_at_once() -> None:
    options: dict[str, Any] = {"regimes": {"DE": "notice", "US-CA": "notice"}}
    settings = Settings.of(None, secret_keys=(KEY,), **options)
    with pytest.raises(SettingsError) as caught:
        refuse_unlawful(settings, Catalogue.load(), Regions.load(overrides=settings.regimes), NOW)
    assert "regimes.DE" in str(caught.value)
    assert "regimes.US-CA" in str(caught.value)


def test_a_row_that_nobody_examined_stops_nobody() -> None:
    assert rules(regimes={"VA": "notice"}) == {"weaker than the law": False}


def test_a_law_that_is_coming_is_announced_and_then_forbids() -> None:
    options: dict[str, Any] = {"regimes": {"US-OK": "notice"}}
    assert rules(**options) == {"weaker than a coming law": False}
    assert "2027-01-01" in findings(**options)[0].text
    assert rules(datetime(2027, 1, 2, tzinfo=UTC), **options) == {"weaker than the law": True}


IOWA = ({"code": "US-IA", "label": "IOWA"},)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"valid_days": 30}, "no repeated asking"),
        ({"retention_days": {"visit": 2000}}, "storage limit"),
        ({"footer": False}, "withdrawal as easy as consent"),
        ({"unknown": "report"}, "nothing before consent"),
        ({"unknown": {"pixel": "allow"}}, "nothing before consent"),
        ({"fallback_regime": "opt_out"}, "unknown region"),
    ],
)
def test_what_is_weak_is_said_and_does_not_stop(options: dict[str, Any], rule: str) -> None:
    assert rules(**options) == {rule: False}


def test_only_regimes_that_a_visitor_can_get_count() -> None:
    """Iowa alone never asks first, so how soon it asks again is nobody's rule; with guessed regions it is."""
    only: dict[str, Any] = {"fallback_regime": "opt_out", "region_choices": IOWA, "valid_days": 30}
    assert "no repeated asking" not in rules(**only)
    assert "no repeated asking" in rules(**only, region_headers="cloudflare")
    assert "unknown state" in rules(fallback_regime="notice")
