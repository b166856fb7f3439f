"""``scope["consent"]``: what a host application can ask, and that asking is all it can do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from consentmw.consent import Consent

from .asgi import App, html, http_scope, run, values
from .mounted import PAGE, choice_cookie, mounted


async def consent(*granted: str, path: str = "/", **scope: Any) -> Consent:
    """What the application found on its scope for a visitor who granted these purposes."""
    app = App(*html(PAGE))
    site = mounted(app)
    headers = [("cookie", choice_cookie(site, *granted))] if granted else []
    await run(site, http_scope(path, headers=[*headers, *scope.pop("headers", ())], **scope))
    found: Consent = app.scope["consent"]
    return found


async def test_it_answers_for_purposes_and_services_alike() -> None:
    found = await consent("analytics")
    assert found.allows("analytics")
    assert found.allows("google_analytics")
    assert not found.allows("advertising")
    assert found.why("google_ads") == "choice"
    assert found.tier == "visit"
    assert found.receipt == "r" * 22


@pytest.mark.parametrize("key", ["", "analytic", "ANALYTICS", "google", "*", "__class__"])
async def test_what_nobody_configured_is_not_allowed(key: str) -> None:
    """A misspelt name in a template must fail closed."""
    found = await consent("analytics", "advertising", "media", "email_measurement")
    assert not found.allows(key)
    assert found.why(key) == "unknown"


async def test_a_new_visitor_has_no_receipt_and_the_lowest_tier() -> None:
    found = await consent()
    assert (found.tier, found.receipt, found.region, found.regime) == ("count", "", "", "strict")
    assert found.why("analytics") == "no choice"


async def test_it_says_language_and_signal() -> None:
    found = await consent(headers=[("accept-language", "es-MX,en;q=0.5"), ("sec-gpc", "1")])
    assert found.language == "es"
    assert found.gpc
    assert found.why("advertising") == "gpc"


async def test_a_decision_cannot_be_changed_by_who_reads_it() -> None:
    found = await consent()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.decision.tier = "person"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        found.tier = "person"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        found.anything = 1  # type: ignore[attr-defined]


async def test_every_address_stands_under_the_applications_root() -> None:
    found = await consent(path="/sub/", root_path="/sub")
    assert found.url() == "/sub/privacy"
    assert found.url("choices") == "/sub/privacy/choices"
    assert found.click_through("https://partner.example/").startswith("/sub/privacy/go/")
    assert found.pixel("c").startswith("/sub/privacy/px/")


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "//evil.example", "", "https://a@evil.example/", "/\\evil.example", "data:x"]
)
async def test_no_link_is_signed_to_where_nobody_may_be_sent(target: str) -> None:
    found = await consent()
    with pytest.raises(ValueError, match="url"):
        found.click_through(target)


async def test_it_tells_afterwards_what_was_withheld_and_dropped() -> None:
    app = App(*html(PAGE, headers=[("set-cookie", "_ga=1"), ("set-cookie", "mine=1")]))
    sent = await run(mounted(app), http_scope())
    found: Consent = app.scope["consent"]
    assert found.dropped_cookies == ["_ga"]
    assert values(sent, "set-cookie") == ["mine=1"]
    assert {w.service for w in found.withheld} == {"google_analytics", "youtube", "meta_pixel"}
    assert {w.host for w in found.withheld if w.tag == "iframe"} == {"www.youtube.com"}
