"""A site, compiled: one decision for one visitor, remembered only as long and as far as it is true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentmw import Settings, SettingsError
from consentmw.choice import Choice, Locale
from consentmw.decision import Decision
from consentmw.regions import DECLINED
from consentmw.site import Site
from consentmw.visitor import Visitor

from .asgi import Header, http_scope
from .mounted import KEY

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def site(clock: Clock | None = None, **options: Any) -> Site:
    return Site(Settings.of({"debug": True, "store": "memory:", "secret_keys": (KEY,), **options}), clock or Clock())


def decide(of: Site, who: Visitor) -> Decision:
    return of.ruling(who).decision


def visitor(*headers: Header, **scope: Any) -> Visitor:
    return Visitor.read(http_scope(headers=headers, **scope))


def chosen(of: Site, *granted: str, at: datetime = NOON, receipt: str = "r" * 22) -> tuple[str, str]:
    return ("cookie", f"privacy={of.choices.write(Choice(receipt, at, of.catalogue.fingerprint, frozenset(granted)))}")


def test_the_newest_choice_that_is_really_ours_counts() -> None:
    """Another path or domain may have left an older one, and anybody can send what is none."""
    s = site()
    old = chosen(s, "analytics", at=NOON - timedelta(days=2), receipt="o" * 22)
    new = chosen(s, "media", receipt="n" * 22)
    for headers in ([old, new], [new, old], [("cookie", "privacy=forged"), new, old]):
        found = s.choice(visitor(*headers))
        assert found is not None
        assert found.receipt == "n" * 22


@pytest.mark.parametrize("value", ["", "x", "~~~", "a" * 10_000, "\xff\xfe", "1~r~0~f~analytics.signature", "%00"])
def test_a_cookie_that_nobody_signed_grants_nothing(value: str) -> None:
    s = site()
    decision = decide(s, visitor(("cookie", f"privacy={value}")))
    assert decision.why("analytics") == "no choice"
    assert decision.ask


def test_a_locale_cookie_is_no_choice_and_a_choice_is_no_locale() -> None:
    """Each is signed for its own purpose."""
    s = site()
    locale = s.locales.write(Locale("es", "US-IA"))
    choice = s.choices.write(Choice("r" * 22, NOON, s.catalogue.fingerprint, frozenset({"analytics"})))
    swapped = visitor(("cookie", f"privacy={locale}; privacy-locale={choice}"))
    assert s.choice(swapped) is None
    assert s.locale(swapped) == Locale()


def test_every_key_reads_and_the_newest_signs() -> None:
    """Keys are rotated without asking every visitor again."""
    old, both = site(secret_keys=(KEY,)), site(secret_keys=(KEY, KEY + " new"))
    carried = visitor(chosen(old, "analytics"))
    assert decide(both, carried).allows("analytics")
    assert not decide(old, visitor(chosen(both, "analytics"))).allows("analytics")


def test_a_remembered_decision_ends_when_its_choice_does() -> None:
    clock = Clock()
    s = site(clock, valid_days=10)
    who = visitor(chosen(s, "analytics"))
    assert decide(s, who).allows("analytics")
    clock.now += timedelta(days=10, seconds=1)
    after = decide(s, who)
    assert after.why("analytics") == "expired"
    assert after.ask


@pytest.mark.parametrize(
    "header", [("sec-gpc", "1"), ("accept-language", "es"), ("cookie", "privacy=x")], ids=lambda pair: pair[0]
)
def test_what_is_remembered_for_one_visitor_never_answers_for_another(header: tuple[str, str]) -> None:
    s = site()
    granted = chosen(s, "analytics", "advertising")
    decide(s, visitor(granted))
    headers = [header] if header[0] == "cookie" else [granted, header]
    decision = decide(s, visitor(*headers))
    assert (decision.gpc, decision.language, decision.allows("google_ads")) == {
        "sec-gpc": (True, "en", False),
        "accept-language": (False, "es", True),
        "cookie": (False, "en", False),
    }[header[0]]


def test_cookies_that_run_into_each_other_are_not_taken_for_another_visitors() -> None:
    """The key of what is remembered keeps choice and locale apart, whoever they came from."""
    s = site()
    locale = s.locales.write(Locale("es", "US-IA"))
    first = decide(s, visitor(("cookie", f"privacy={locale}")))
    second = decide(s, visitor(("cookie", f"privacy-locale={locale}")))
    assert (first.language, first.region) == ("en", "")
    assert (second.language, second.region) == ("es", "US-IA")


def test_memory_does_not_grow_with_visitors() -> None:
    s = site()
    for number in range(5_000):
        decide(s, visitor(("cookie", f"privacy={number}")))
    decide(s, visitor(("cookie", f"privacy=y; padding={'x' * 5_000}")))
    assert len(s._known) <= 4096
    assert all(len(key[0]) < 4_096 for key in s._known if isinstance(key[0], bytes)), "a long header is not kept"


def test_what_the_browser_still_holds_of_a_denied_service_has_to_go() -> None:
    def expired(*headers: Header) -> set[bytes]:
        pairs = s.ruling(visitor(*headers)).extra
        return {value.partition(b"=")[0] for name, value in pairs if name == b"set-cookie"}

    s = site()
    left = ("cookie", "_ga=1; mine=1; _fbp=2")
    assert expired(left) == {b"_ga", b"_fbp"}
    assert expired(left, chosen(s, "analytics")) == {b"_fbp"}
    assert expired(("cookie", "mine=1")) == set()


def expired(s: Site, *headers: tuple[str, str]) -> set[bytes]:
    """Names of the cookies that this visitor's HTML answers expire."""
    extra = s.ruling(visitor(*headers)).extra
    return {line.partition(b"=")[0] for name, line in extra if name == b"set-cookie"}


def test_in_debug_the_reasons_are_in_a_header() -> None:
    told = dict(site().ruling(visitor()).extra)[b"x-consentmw"]
    assert told.startswith(b"strict, count; ")
    assert b"analytics=no (no choice)" in told
    assert site(debug=False).ruling(visitor()).extra == ()


def test_a_stated_language_and_region_beat_the_browsers() -> None:
    s = site(region_choices=({"code": "US-IA", "label": "IOWA"},))
    cookie = ("cookie", f"privacy-locale={s.locales.write(Locale('es', 'US-IA'))}")
    decision = decide(s, visitor(cookie, ("accept-language", "en")))
    assert (decision.language, decision.region, decision.region_source) == ("es", "US-IA", "stated")
    assert decision.regime == s.regions.regime("US-IA", s.clock()).key


def test_a_declined_region_gets_the_fallback_and_is_on_record_as_declined() -> None:
    s = site()
    decision = decide(s, visitor(("cookie", f"privacy-locale={s.locales.write(Locale('', DECLINED))}")))
    assert (decision.regime, decision.region_source) == ("strict", "declined")


def test_a_language_that_is_no_longer_offered_gives_way() -> None:
    cookie = ("cookie", f"privacy-locale={site().locales.write(Locale('es', ''))}")
    assert decide(site(languages=("en",)), visitor(cookie)).language == "en"


@pytest.mark.parametrize(
    ("debug", "scheme", "name"),
    [(True, "http", "privacy"), (True, "https", "__Host-privacy"), (False, "http", "__Host-privacy")],
)
def test_cookie_names_bind_them_to_the_host_wherever_a_browser_can(debug: bool, scheme: str, name: str) -> None:
    s = site(debug=debug)
    ends = ("", "-locale", "-once", "-account", "-visit")
    assert s.cookie_names(visitor(scheme=scheme)) == tuple(name + end for end in ends)


def test_a_failure_in_deciding_grants_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    s = site()
    monkeypatch.setattr(s, "clock", lambda: 1 / 0)
    decision = decide(s, visitor(chosen(s, "analytics")))
    assert decision.why("analytics") == "error"
    assert decision.allows("necessary")
    assert not decision.ask


def test_more_purposes_than_a_cookie_can_carry_do_not_start() -> None:
    many = {f"purpose_number_{n:03}_{'x' * 12}": {"kind": "preferences", "title": "t", "text": "t"} for n in range(200)}
    services = {
        f"service{n}": {"name": "s", "provider": "p", "purposes": [key], "hosts": [f"h{n}.example"]}
        for n, key in enumerate(many)
    }
    with pytest.raises(SettingsError, match="bytes"):
        site(purposes=many, services=services)
