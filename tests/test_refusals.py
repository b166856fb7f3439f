"""A no is left alone: nobody who refused is asked again before its time, and what was refused stays refused."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentmw import ConsentMiddleware, SettingsError
from consentmw.choice import Choice

from .asgi import App, body, cookies, html, http_scope, run, values
from .mounted import PAGE, mounted, post

SERVICES = ("google_analytics", "meta_pixel", "google_ads", "youtube")
DAY = timedelta(days=1)
BANNER = 'id="consentmw"'


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def site(regime: str, **options: Any) -> tuple[ConsentMiddleware, Clock]:
    middleware = mounted(App(*html(PAGE)), fallback_regime=regime, services_used=SERVICES, **options)
    middleware.site.clock = clock = Clock()
    return middleware, clock


async def choose(middleware: ConsentMiddleware, *fields: tuple[str, str], cookie: str = "") -> str:
    """The cookie with a choice that was made by a form."""
    headers = [("cookie", f"privacy={cookie}")] if cookie else []
    return cookies(await post(middleware, "/privacy/choices", list(fields), headers=headers))["privacy"]


async def seen(middleware: ConsentMiddleware, cookie: str, path: str = "/") -> str:
    headers = [("cookie", f"privacy={cookie}"), ("user-agent", "Mozilla/5.0 (X11) Firefox/140.0")]
    return body(await run(middleware, http_scope(path, headers=headers))).decode()


def changed(middleware: ConsentMiddleware, cookie: str) -> str:
    """The same choice as if it had been made about other purposes and services."""
    choice = middleware.site.choices.read(cookie)
    assert choice is not None
    other = Choice(choice.receipt, choice.at, "0" * 12, choice.granted, choice.silent)
    return middleware.site.choices.write(other)


@pytest.mark.parametrize("regime", ["strict", "opt_in", "opt_out", "notice"])
async def test_who_refused_everything_is_left_alone_for_a_year(regime: str) -> None:
    """Whatever ``valid_days`` says, and whatever else changes meanwhile."""
    middleware, clock = site(regime, valid_days=180)
    cookie = await choose(middleware, ("action", "reject"))
    for days, asked in ((0, False), (181, False), (364, False), (365, True), (399, True)):
        clock.now = Clock().now + days * DAY
        for carried in (cookie, changed(middleware, cookie)):
            shown = await seen(middleware, carried)
            assert (BANNER in shown) is asked, f"after {days} days"
            assert '<img src="https://www.facebook.com' not in shown, "and refused it stays, also when asked again"


async def test_who_opted_out_of_sale_is_left_alone_where_things_run_unasked() -> None:
    middleware, clock = site("opt_out")
    accepted = await choose(middleware, ("action", "accept"))
    for before in ("", accepted):
        clock.now = Clock().now
        cookie = await choose(middleware, ("action", "opt_out"), ("surface", "opt_out"), cookie=before)
        for days, asked in ((0, False), (200, False), (364, False), (365, True)):
            clock.now = Clock().now + days * DAY
            for carried in (cookie, changed(middleware, cookie)):
                shown = await seen(middleware, carried)
                assert (BANNER in shown) is asked, f"after {days} days"
                assert '<img src="https://www.facebook.com' not in shown
                assert '<script async src="https://www.googletagmanager.com' in shown, "measuring was never refused"


async def test_an_opt_out_records_no_more_than_before() -> None:
    """Who only opts out of sale has not said yes to measurement: rows stay as coarse as the regime has them."""
    middleware, _ = site("opt_out")
    app = middleware.app
    assert isinstance(app, App)
    cookie = await choose(middleware, ("action", "opt_out"), ("surface", "opt_out"))
    await seen(middleware, cookie)
    middleware.recorder.flush(5)
    rows = [(row["tier"], row["receipt"]) for row in middleware.recorder.store.events()]
    assert rows == [("coarse", "")], "and nothing ties them to one person"
    decision = app.scope["consent"].decision
    assert (decision.tier, decision.why("analytics"), decision.why("advertising")) == ("coarse", "regime", "choice")


@pytest.mark.parametrize("regime", ["strict", "opt_out"])
async def test_who_allowed_a_part_is_asked_about_a_change_and_nothing_refused_is_ticked(regime: str) -> None:
    middleware, _ = site(regime)
    fields = (("action", "save"), ("purpose", "advertising"), ("purpose", "analytics"))
    cookie = changed(middleware, await choose(middleware, *fields))
    assert BANNER in await seen(middleware, cookie)
    boxes = await seen(middleware, cookie, "/privacy/choices")
    assert 'value="media" aria' in boxes, "what was refused is offered, unticked"
    assert 'value="media" checked' not in boxes
    assert ('value="advertising" checked' in boxes) is (regime == "opt_out"), "by the rule of the region only"


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ([("action", "accept")], 180),
        ([("action", "reject")], 365),
        ([("action", "opt_out")], 365),
        ([("action", "save"), ("purpose", "media")], 180),
        ([("action", "save")], 365),
    ],
)
async def test_the_row_says_how_long_it_holds(fields: list[tuple[str, str]], days: int) -> None:
    middleware, clock = site("opt_out")
    cookie = await choose(middleware, *fields)
    choice = middleware.site.choices.read(cookie)
    assert choice is not None
    (row,) = middleware.site.ledger.entries(choice.receipt)
    assert row.valid_until == (clock.now + days * DAY).isoformat()


async def test_the_cookie_outlives_what_it_carries() -> None:
    """400 days are the most that browsers keep one (RFC 6265bis); with the cookie a refusal would be gone."""
    middleware, _ = site("strict", valid_days=30, refusal_days=390)
    sent = await post(middleware, "/privacy/choices", {"action": "reject"})
    (line,) = values(sent, "set-cookie")
    assert f"Max-Age={400 * 86_400};" in line


async def test_a_shorter_rest_is_the_sites_setting() -> None:
    middleware, clock = site("strict", valid_days=30, refusal_days=200)
    cookie = await choose(middleware, ("action", "reject"))
    clock.now += 199 * DAY
    assert BANNER not in await seen(middleware, cookie)
    clock.now += DAY
    assert BANNER in await seen(middleware, cookie)


@pytest.mark.parametrize("days", [0, 391, -1])
def test_a_rest_that_no_cookie_could_carry_is_refused(days: int) -> None:
    with pytest.raises(SettingsError, match="refusal_days"):
        site("strict", refusal_days=days)


def region(code: str) -> Collection[dict[str, str]]:
    return ({"code": code, "label": code},)


@pytest.mark.parametrize("met", [{"region_choices": region("US-CA")}, {"region_choices": region("US")}])
def test_california_wants_a_year(met: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="365 days or more where visitors may come from US-CA") as caught:
        site("strict", refusal_days=364, **met)
    assert caught.value.key == "refusal_days"
    assert site("strict", refusal_days=365, **met)


@pytest.mark.parametrize(("days", "said"), [(179, True), (180, False)])
def test_elsewhere_half_a_year_is_advised(days: int, said: bool) -> None:
    middleware, _ = site("strict", refusal_days=days, region_choices=region("US-IA"))
    warnings = {(finding.key, finding.rule) for finding in middleware.site.warnings}
    assert (("refusal_days", "no repeated asking") in warnings) is said


async def test_an_opt_out_does_not_loosen_what_was_refused_long_ago() -> None:
    """The refusal of measurement has rested and is due to be asked again; an opt-out of sale is no answer to that."""
    middleware, clock = site("opt_out")
    cookie = await choose(middleware, ("action", "save"), ("purpose", "media"), ("purpose", "advertising"))
    clock.now += 200 * DAY
    cookie = await choose(middleware, ("action", "opt_out"), cookie=cookie)
    choice = middleware.site.choices.read(cookie)
    assert choice is not None
    assert choice.silent == {"media"}, "its grant has expired, so nothing is said about it now"
    assert '<script async src="https://www.googletagmanager.com' not in await seen(middleware, cookie)


async def test_an_opt_out_is_no_name_to_be_measured_under(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's events need a client; a receipt is one only for those who said yes to measurement."""
    monkeypatch.setenv("CONSENTMW_GOOGLE_API_SECRET", "secret")
    asked: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["consent"].measure("bill_paid"))
        for message in html(PAGE):
            await send(message)

    relay = {"google_analytics": "G-TEST1234", "google_relay": "eu", "google_relay_endpoint": "http://127.0.0.1:9"}
    middleware = mounted(app, fallback_regime="opt_out", services_used=SERVICES, **relay)
    await seen(middleware, await choose(middleware, ("action", "opt_out")))
    assert asked == [False]
    await seen(middleware, await choose(middleware, ("action", "accept")))
    assert asked == [False, True], "the same with a yes to measurement"
    middleware.site.relay.close(0)


async def test_an_opt_out_lifts_no_limit_of_a_region_that_google_knows_better() -> None:
    """What runs by the rule of an unknown region is still denied where the law asks first."""
    middleware, _ = site("opt_out")
    for action, limited in (("opt_out", True), ("accept", False)):
        cookie = await choose(middleware, ("action", action))
        said = json.loads(await seen(middleware, cookie, "/privacy/state"))
        assert ("regions" in said["limits"]) is limited, action
