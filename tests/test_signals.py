"""What a browser says for its user counts on every request, is stored nowhere, and gives way to one step only."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import ConsentMiddleware, SettingsError
from consentmw.accounts import Known
from consentmw.choice import Choice
from consentmw.errors import LedgerError
from consentmw.signals import DNT, GPC, Listening, Signal
from consentmw.visitor import Visitor

from .asgi import App, Header, body, cookies, html, http_scope, request, response, run, status, websocket_scope
from .mounted import PAGE, choice_cookie, mounted, post

VECTORS = json.loads((Path(__file__).parent / "data" / "gpc_header_vectors.json").read_text())
SERVICES = ("google_analytics", "meta_pixel", "google_ads")
ON: tuple[Header, ...] = (("sec-gpc", "1"),)
HONORED = "Opt-Out Request Honored"

QUIET = Signal(
    key="quiet",
    name="Quiet",
    header="sec-quiet",
    denies={"measure": frozenset({"analytics"}), "all": frozenset({"analytics", "advertising", "preferences"})},
    source="a draft",
)


class Broken(Signal):
    """A signal whose reader fails."""

    __slots__ = ()

    def read(self, value: bytes) -> frozenset[str]:
        raise RuntimeError(value)


BROKEN = Broken(key="broken", name="Broken", header="sec-broken", denies={}, source="a draft")
NOT_A_SIGNAL = object()


def site(regime: str = "opt_out", **options: Any) -> ConsentMiddleware:
    return mounted(App(*html(PAGE)), fallback_regime=regime, services_used=SERVICES, **options)


async def decided(middleware: ConsentMiddleware, *headers: Header) -> Any:
    """The decision that the application was given for a page."""
    await run(middleware, http_scope(headers=headers))
    assert isinstance(middleware.app, App)
    return middleware.app.scope["consent"].decision


async def page(middleware: ConsentMiddleware, path: str, *headers: Header) -> str:
    return body(await run(middleware, http_scope(path, headers=headers))).decode()


def kept(middleware: ConsentMiddleware, sent: Any) -> Choice:
    """The choice that an answer put into the browser."""
    choice = middleware.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    return choice


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["headers"]))
def test_the_signal_reads_a_header_as_the_visitor_does(vector: dict[str, Any]) -> None:
    """One reading on the fast path, another where several signals count: they may never differ."""
    headers = [(name.encode(), value.encode()) for name, value in vector["headers"]]
    visitor = Visitor.read({"headers": headers})
    assert bool(GPC.read(visitor.field(b"sec-gpc"))) is visitor.gpc is vector["gpc"]


@given(st.lists(st.binary(max_size=8) | st.sampled_from([b"1", b"0", b" 1\t", b"1;x", b"1,1"]), max_size=4))
def test_both_readings_agree_on_anything(values: list[bytes]) -> None:
    visitor = Visitor.read({"headers": [(b"Sec-GPC", value) for value in values]})
    assert bool(GPC.read(visitor.field(b"sec-gpc"))) is visitor.gpc


@given(st.binary(max_size=4000))
def test_nothing_that_is_sent_raises(value: bytes) -> None:
    listening = Listening([GPC, DNT, QUIET])
    heard = listening.others(lambda name: value)
    assert {key for key, _ in heard} <= {"dnt", "quiet"}


@pytest.mark.parametrize(
    ("sent", "denied"),
    [("measure", {"analytics"}), ("all, nothing", {"analytics", "advertising", "preferences"}), ("x" * 9000, set())],
)
def test_a_coming_signal_denies_what_its_values_say(sent: str, denied: set[str]) -> None:
    heard = Listening([QUIET]).others(lambda name: {b"sec-quiet": sent.encode()}.get(name, b""))
    assert heard == ((("quiet", frozenset(denied)),) if denied else ())


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "Quiet"},
        {"key": ""},
        {"key": "choice"},
        {"header": "Sec-Quiet"},
        {"header": "sec quiet"},
        {"header": ""},
        {"denies": {"1": frozenset({"necessary"})}},
        {"denies": {"1": frozenset({"everything"})}},
        {"name": ""},
        {"source": ""},
    ],
)
def test_a_signal_that_could_not_work_is_not_made(changed: dict[str, Any]) -> None:
    fields = {"key": "quiet", "name": "Quiet", "header": "sec-quiet", "denies": {}, "source": "a draft"}
    with pytest.raises(ValueError, match=next(iter(changed))):
        Signal(**{**fields, **changed})


@pytest.mark.parametrize(
    ("signals", "says"),
    [
        (("gcp",), "module:object"),
        (("dnt",), "honor_dnt"),
        (("gpc", "gpc"), "each signal once"),
        (("no.such.module:SIGNAL",), "imported"),
        (("tests.test_signals:NOTHING",), "imported"),
        (("tests.test_signals:NOT_A_SIGNAL",), "not object"),
        ((":",), "imported"),
        ((QUIET, QUIET), "each signal once"),
    ],
)
def test_a_setting_that_names_no_signal_is_refused(signals: tuple[Any, ...], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        site(signals=signals)
    assert caught.value.key == "signals"


# -- what follows ----------------------------------------------------------------------------------


async def test_a_signal_of_the_sites_own_counts_by_its_name() -> None:
    """Named as in a file; it takes what runs unasked, and a choice goes before it, but for sale and advertising."""
    middleware = site(signals=("gpc", "tests.test_signals:QUIET"))
    decision = await decided(middleware, ("Sec-Quiet", "measure"))
    assert (decision.why("analytics"), decision.why("advertising")) == ("quiet", "regime")
    assert (decision.signals, decision.gpc) == (("quiet",), False)
    chosen = choice_cookie(middleware, "analytics", "advertising")
    decision = await decided(middleware, ("sec-quiet", "all"), ("cookie", chosen))
    assert (decision.why("analytics"), decision.why("advertising")) == ("choice", "quiet")
    assert (await decided(middleware, ("cookie", chosen))).signals == (), "and is not remembered for a request without"


async def test_a_signal_that_fails_to_be_read_denies(caplog: pytest.LogCaptureFixture) -> None:
    middleware = site(signals=("gpc", BROKEN))
    decision = await decided(middleware, ("sec-broken", "?"))
    assert {verdict.granted for key, verdict in decision.purposes.items() if key != "necessary"} == {False}
    assert "broken" in caplog.text
    assert (await decided(middleware)).allows("advertising")


async def test_do_not_track_counts_where_the_site_says_so() -> None:
    sent = ("dnt", "1")
    assert (await decided(site(), sent)).why("advertising") == "regime"
    middleware = site(honor_dnt="as_gpc")
    for accepted in ((), (("cookie", choice_cookie(middleware, "analytics", "advertising")),)):
        decision = await decided(middleware, sent, *accepted)
        assert (decision.why("advertising"), decision.gpc, decision.signals) == ("dnt", False, ("dnt",))
    shown = await page(middleware, "/privacy/opt-out", sent)
    assert HONORED in shown
    assert "Do Not Track" in shown
    assert (await decided(middleware, ("dnt", "0"))).signals == ()


async def test_the_notice_says_how_do_not_track_is_treated() -> None:
    """Cal. Bus. & Prof. Code 22575(b)(5) asks for exactly this."""
    assert "we do not act on it" in await page(site(), "/privacy")
    shown = await page(site(honor_dnt="as_gpc"), "/privacy")
    assert "Global Privacy Control or Do Not Track" in shown
    assert "we do not act on it" not in shown


async def test_a_site_without_the_signal_says_so() -> None:
    middleware = site(signals=())
    assert not (await decided(middleware, *ON)).gpc
    assert (await decided(middleware, *ON)).allows("advertising")
    told = json.loads(await page(middleware, "/.well-known/gpc.json"))
    assert told["gpc"] is False
    assert "Global Privacy Control" not in await page(middleware, "/privacy")


CALIFORNIA = ({"code": "US-CA", "label": "CALIFORNIA"},)


SOMEWHERE = ({"code": "US", "label": "USA"},)


@pytest.mark.parametrize(
    "met", [{"region_choices": CALIFORNIA}, {"region_headers": "cloudflare"}, {"region_choices": SOMEWHERE}]
)
def test_no_site_that_meets_a_duty_to_honour_it_starts_without_it(met: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="US-C") as caught:
        site(signals=(), **met)
    assert caught.value.key == "signals"
    assert site(signals=("tests.test_signals:GPC",), **met).site.listening.gpc


def test_where_nobody_knows_the_region_it_is_said() -> None:
    iowa = ({"code": "US-IA", "label": "IOWA"},)
    assert "a signal is honoured" in {f.rule for f in site(signals=(), region_choices=iowa).site.warnings}
    assert "a signal is honoured" not in {f.rule for f in site(region_choices=iowa).site.warnings}


# -- on every entry, and stored nowhere -------------------------------------------------------------


def accepted(middleware: ConsentMiddleware) -> Header:
    """The cookie of somebody who once allowed everything."""
    return (
        "cookie",
        choice_cookie(middleware, *(k for k, p in middleware.site.catalogue.purposes.items() if p.optional)),
    )


@pytest.mark.parametrize("path", ["/", "/privacy/choices", "/privacy/opt-out", "/privacy/state", "/privacy/receipt"])
async def test_every_page_honours_it_over_an_older_yes(path: str) -> None:
    middleware = site()
    before = await page(middleware, path, accepted(middleware))
    after = await page(middleware, path, accepted(middleware), *ON)
    assert HONORED not in before
    if path.endswith("state"):
        assert "advertising" in json.loads(before)["purposes"]
        said = json.loads(after)
        assert (said["gpc"], said["heard"], "advertising" in said["purposes"]) == (True, ["gpc"], False)
    else:
        assert HONORED in after
    if path == "/":
        assert '<img src="https://www.facebook.com' in before
        assert '<img src="https://www.facebook.com' not in after


async def test_a_websocket_gets_the_live_decision() -> None:
    app = App()
    middleware = mounted(app, fallback_regime="opt_out", services_used=SERVICES)
    for signal, allowed in (((), True), (ON, False)):
        await run(middleware, websocket_scope(headers=[accepted(middleware), *signal]))
        assert app.scope["consent"].allows("meta_pixel") is allowed


@pytest.mark.parametrize("kind", ["pixel", "click"])
async def test_pixel_and_click_through_record_no_more_than_the_signal_allows(kind: str) -> None:
    """Measuring runs unasked under these rules, but not against the signal: then only a counter is kept."""
    middleware = site()
    tokens = middleware.site.tokens
    path = f"px/{tokens.pixel('spring')}.gif" if kind == "pixel" else f"go/{tokens.click('https://example.com/')}"
    rows = []
    for headers in ((), ON):
        sent = await run(middleware, http_scope(f"/privacy/{path}", headers=headers))
        assert status(sent) == (200 if kind == "pixel" else 302)
        middleware.recorder.flush(5)
        rows.append([event["tier"] for event in middleware.recorder.store.events() if event["kind"] == kind])
    assert rows == [["coarse"], ["coarse"]], "the second request added none"


async def test_no_event_reaches_google_against_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENTMW_GOOGLE_API_SECRET", "secret")
    asked: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["consent"].measure("bill_paid"))
        for message in response(b"ok"):
            await send(message)

    middleware = mounted(
        app,
        fallback_regime="opt_out",
        services_used=SERVICES,
        google_analytics="G-TEST1234",
        google_relay="eu",
        google_relay_endpoint="http://127.0.0.1:9",
    )
    browser = [("cookie", "_ga=GA1.1.1234567890.1234567890"), ("user-agent", "Mozilla/5.0 (X11) Firefox/140.0")]
    await run(middleware, http_scope(headers=[*browser, *ON]))
    assert asked == [False], "nobody chose measurement, and the browser objects"
    assert middleware.site.relay.waiting == 0
    middleware.site.relay.close(0)


async def test_it_is_live_and_never_becomes_a_choice() -> None:
    """Looking around with the signal on leaves nothing behind: no cookie, no row, no memory."""
    middleware = site()
    for path in ("/", "/privacy/choices", "/privacy/opt-out", "/privacy/state"):
        assert "privacy" not in cookies(await run(middleware, http_scope(path, headers=ON)))
    assert list(middleware.site.ledger.all()) == []
    assert (await decided(middleware)).allows("advertising")


async def test_a_policy_report_needs_no_decision_and_takes_none() -> None:
    middleware = site(policy="report-only")
    report = json.dumps({"csp-report": {"document-uri": "http://site.example/", "blocked-uri": "https://x.example/"}})
    scope = http_scope("/privacy/csp", "POST", [("content-type", "application/csp-report"), *ON])
    sent = await run(middleware, scope, request(report.encode()))
    assert status(sent) == 204
    assert cookies(sent) == {}


@pytest.mark.parametrize("action", ["accept", "save"])
async def test_a_general_yes_gives_nothing_that_the_signal_denies(action: str) -> None:
    middleware = site("strict")
    fields = [("action", action), ("surface", "choices"), ("purpose", "advertising"), ("purpose", "analytics")]
    choice = kept(middleware, await post(middleware, "/privacy/choices", fields, headers=ON))
    assert "analytics" in choice.granted
    assert "advertising" not in choice.granted
    assert not choice.override


# -- the step of its own -----------------------------------------------------------------------------


async def override(middleware: ConsentMiddleware, *headers: Header, **fields: str) -> Any:
    form = {"action": "override", "surface": "choices", "purpose": "advertising", **fields}
    return await post(middleware, "/privacy/choices", form, headers=[*ON, *headers])


async def test_only_a_step_of_its_own_allows_what_the_browser_denies() -> None:
    """STANDARDS 1.5: separate, specific, while the signal is on, after the conflict was explained, and recorded."""
    middleware = site("strict")
    shown = await page(middleware, "/privacy/choices", *ON)
    assert 'data-consentmw-action="override"' in shown
    assert 'name="purpose" value="advertising" checked' not in shown
    sent = await override(middleware)
    assert status(sent) == 303
    choice = kept(middleware, sent)
    assert choice.granted == {"advertising"}
    assert choice.override
    (row,) = middleware.site.ledger.entries(choice.receipt)
    assert (row.event, row.method, row.granted, row.gpc) == ("override", "choices:override", ("advertising",), True)
    assert row.refused == (), "nothing was said about anything else"
    assert re.fullmatch("[0-9a-f]{64}", row.shown)
    assert row.valid_until == (choice.at + timedelta(days=180)).isoformat()
    carried: Header = ("cookie", f"privacy={cookies(sent)['privacy']}")
    decision = await decided(middleware, carried, *ON)
    assert (decision.why("advertising"), decision.allows("advertising")) == ("choice", True)
    assert decision.overridden == {"advertising"}
    assert decision.why("analytics") == "no choice"
    assert HONORED not in await page(middleware, "/", carried, *ON), "it would not be true"
    assert (await decided(middleware, carried)).allows("advertising"), "also when the signal is switched off"


async def test_it_can_be_taken_back_where_it_was_given() -> None:
    middleware = site("strict")
    carried: Header = ("cookie", f"privacy={cookies(await override(middleware))['privacy']}")
    shown = await page(middleware, "/privacy/choices", carried, *ON)
    assert "Let the signal count again" in shown
    assert 'data-consentmw-action="override"' not in shown
    assert 'data-consentmw-action="opt_out"' in await page(middleware, "/privacy/opt-out", carried, *ON)
    fields = {"action": "opt_out", "surface": "choices"}
    sent = await post(middleware, "/privacy/choices", fields, headers=[carried, *ON])
    choice = kept(middleware, sent)
    assert not choice.override
    again = await decided(middleware, ("cookie", f"privacy={cookies(sent)['privacy']}"), *ON)
    assert again.why("advertising") == "gpc"
    assert [row.event for row in middleware.site.ledger.entries(choice.receipt)] == ["override", "opted out"]


@pytest.mark.parametrize("fields", [{"action": "accept"}, {"action": "save", "purpose": "advertising"}])
async def test_any_other_choice_ends_it(fields: dict[str, str]) -> None:
    """A form that does not ask about the signal can't say that it shall go on being overruled."""
    middleware = site("strict")
    carried: Header = ("cookie", f"privacy={cookies(await override(middleware))['privacy']}")
    choice = kept(middleware, await post(middleware, "/privacy/choices", fields, headers=[carried, *ON]))
    assert "advertising" not in choice.granted
    assert not choice.override


@pytest.mark.parametrize(
    ("fields", "headers", "says"),
    [
        ({}, (), "No signal says no"),
        ({"purpose": "analytics"}, ON, "ticked nothing"),
        ({"purpose": "no_such"}, ON, "ticked nothing"),
        ({"surface": "banner"}, ON, "did not say"),
        ({"surface": "opt_out"}, ON, "did not say"),
    ],
)
async def test_the_step_is_taken_on_its_page_with_the_signal_on_or_not_at_all(
    fields: dict[str, str], headers: tuple[Header, ...], says: str
) -> None:
    middleware = site("strict")
    form = {"action": "override", "surface": "choices", "purpose": "advertising", **fields}
    sent = await post(middleware, "/privacy/choices", form, headers=headers)
    assert status(sent) == 400
    assert says in body(sent).decode()
    assert cookies(sent) == {}
    assert list(middleware.site.ledger.all()) == []


async def test_no_banner_asks_anybody_to_overrule_their_browser() -> None:
    """11 CCR 7025(e)-(g): no pop-up in answer to a signal."""
    for regime in ("strict", "opt_out", "notice"):
        shown = await page(site(regime), "/", *ON)
        assert 'id="consentmw"' in shown
        assert "override" not in shown


async def test_without_a_row_there_is_no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    middleware = site("strict")

    def fails(**row: Any) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(middleware.site.ledger, "append", fails)
    sent = await override(middleware)
    assert status(sent) == 503
    assert cookies(sent) == {}


async def test_it_ends_with_its_time_and_with_the_notice_it_was_given_under() -> None:
    middleware = site("strict")
    codec, fingerprint = middleware.site.choices, middleware.site.catalogue.fingerprint
    now = datetime.now(UTC).replace(microsecond=0)
    for at, under, allowed in (
        (now, fingerprint, True),
        (now - timedelta(days=181), fingerprint, False),
        (now, "0" * 12, False),
    ):
        choice = Choice("r" * 22, at, under, frozenset({"advertising"}), override=True)
        decision = await decided(middleware, ("cookie", f"privacy={codec.write(choice)}"), *ON)
        assert decision.allows("advertising") is allowed


async def test_another_signal_than_ours_is_on_record_too() -> None:
    middleware = site("strict", honor_dnt="as_gpc")
    form = {"action": "override", "surface": "choices", "purpose": "advertising"}
    sent = await post(middleware, "/privacy/choices", form, headers=[("dnt", "1")])
    (row,) = middleware.site.ledger.entries(kept(middleware, sent).receipt)
    assert (row.gpc, row.detail) == (False, "signals: dnt")


async def test_the_forms_of_other_sites_override_nothing() -> None:
    middleware = site("strict")
    headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "cross-site"), *ON]
    form = urlencode({"action": "override", "surface": "choices", "purpose": "advertising"}).encode()
    sent = await run(middleware, http_scope("/privacy/choices", "POST", headers), request(form))
    assert status(sent) == 403
    assert cookies(sent) == {}


async def test_a_plain_site_looks_up_no_other_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """The busiest path: with Global Privacy Control alone, no field but its own is looked for."""
    middleware = site()
    assert middleware.site.listening.alone
    await decided(middleware, *ON)
    monkeypatch.setattr(Visitor, "field", lambda self, name: pytest.fail(f"looked for {name!r}"))
    assert (await decided(middleware, *ON)).gpc


async def test_what_is_shown_stays_true_when_only_a_part_was_allowed() -> None:
    """Two purposes are denied by the signal, one of them was allowed all the same."""
    selling = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what is known."}}
    middleware = site("strict", purposes=selling)
    carried: Header = ("cookie", f"privacy={cookies(await override(middleware))['privacy']}")
    decision = await decided(middleware, carried, *ON)
    assert (decision.why("advertising"), decision.why("sale")) == ("choice", "gpc")
    shown = await page(middleware, "/privacy/choices", carried, *ON)
    assert HONORED in shown
    assert "but for what you allowed all the same" in shown
    assert 'name="purpose" value="sale">' in shown, "the other can be allowed, too"
    more = await override(middleware, carried, purpose="sale")
    assert kept(middleware, more).granted == {"advertising", "sale"}
    assert kept(middleware, more).override


async def test_a_minor_is_offered_no_such_step_and_can_take_none() -> None:
    """Not even consent allows advertising to a known minor, so none is asked for, and a forged form is refused."""
    middleware = site("strict")
    known = Known("", datetime.now(UTC).replace(microsecond=0), minor=True)
    badge = f"privacy-account={middleware.site.badges.write(known)}"
    shown = await page(middleware, "/privacy/choices", ("cookie", badge), *ON)
    assert "override" not in shown
    assert "Off: never for minors" in shown
    sent = await override(middleware, ("cookie", badge))
    assert status(sent) == 400
    assert "privacy" not in cookies(sent)
    assert list(middleware.site.ledger.all()) == []
