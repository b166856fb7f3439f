"""Opens and clicks from e-mails: answered first, held to what the recipient allows, told from those of programs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message
from typer.testing import CliRunner

from consentmw import ConsentMiddleware, LedgerError
from consentmw.cli import _app
from consentmw.events import Count
from consentmw.events.mail import HONEYPOT, Bursts, campaigns, clicks, mail_verdict, openings
from consentmw.identity import Pseudonyms
from consentmw.ledger import Ledger
from consentmw.recipients import UNKNOWN, Recipients, Standing
from consentmw.stores.memory import MemoryStore

from .asgi import App, body, header, http_scope, request, run, status
from .clickhouse import PASSWORD
from .mounted import choice_cookie, mounted, post

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ONE_CLICK = b"List-Unsubscribe=One-Click"


def site(**options: Any) -> ConsentMiddleware:
    return mounted(App(), **options)


async def ask(
    on: ConsentMiddleware, path: str, method: str = "GET", agent: str = BROWSER, **scope: Any
) -> list[Message]:
    return await run(on, http_scope(path, method, [("user-agent", agent), *scope.pop("headers", ())], **scope))


def click(on: ConsentMiddleware, link: str, recipient: str = "", campaign: str = "spring") -> str:
    return f"/privacy/go/{on.site.tokens.click(f'https://o.example/{link}', campaign, link, recipient)}"


def pixel(on: ConsentMiddleware, recipient: str = "", campaign: str = "spring") -> str:
    return f"/privacy/px/{on.site.tokens.pixel(campaign, recipient)}.gif"


def mail(on: ConsentMiddleware, recipient: str = "r1", campaign: str = "spring") -> str:
    return f"/privacy/mail/{on.site.tokens.mail(campaign, recipient)}"


def trap(on: ConsentMiddleware, recipient: str = "", campaign: str = "spring") -> str:
    return f"/privacy/go/{on.site.tokens.trap(campaign, recipient)}"


def rows(on: ConsentMiddleware) -> list[dict[str, Any]]:
    """Rows, oldest first."""
    assert on.recorder.flush(5)
    return on.recorder.store.events()[::-1]


def counters(on: ConsentMiddleware) -> dict[tuple[str, str, str, str], int]:
    """Counters of mails, by kind, verdict, tier and reason."""
    assert on.recorder.flush(5)
    found: dict[tuple[str, str, str, str], int] = {}
    for row in on.recorder.store.counts():
        if row["campaign"]:
            key = row["kind"], row["bot"], row["tier"], row["why"]
            found[key] = found.get(key, 0) + row["count"]
    return found


def people(on: ConsentMiddleware) -> Recipients:
    assert on.site.recipients is not None
    return on.site.recipients


# -- whose word counts ----------------------------------------------------------------------------


async def test_who_said_nothing_is_one_of_many() -> None:
    on = site()
    await ask(on, pixel(on, "r1"))
    await ask(on, click(on, "a", "r1"))
    assert rows(on) == []
    assert counters(on) == {("pixel", "", "count", "no choice"): 1, ("click", "", "count", "no choice"): 1}


async def test_who_allowed_it_is_recorded_by_name_and_with_nothing_else() -> None:
    on = site()
    assert status(await post(on, mail(on), {"answer": "allow"})) == 303
    await ask(on, pixel(on, "r1"))
    await ask(on, click(on, "a", "r1"))
    opened, clicked = rows(on)
    (given,) = people(on)._rows("r1")
    assert (opened["kind"], opened["recipient"], opened["campaign"], opened["link"]) == ("pixel", "r1", "spring", "")
    assert (clicked["kind"], clicked["recipient"], clicked["link"]) == ("click", "r1", "a")
    assert opened["receipt"] == clicked["receipt"] == given.receipt
    for name in ("ip", "agent", "browser", "os", "device", "accept_language", "host", "region", "referrer", "query"):
        assert clicked[name] is None, name


async def test_a_withdrawal_counts_for_mails_that_were_sent_and_deletes_what_was_noted() -> None:
    on = site()
    await post(on, mail(on), {"answer": "allow"})
    await ask(on, pixel(on, "r1"))
    assert len(rows(on)) == 1
    await post(on, mail(on), {"answer": "refuse"})
    await ask(on, click(on, "a", "r1"))
    assert rows(on) == []
    assert counters(on)["click", "", "count", "choice"] == 1
    assert [row.event for row in people(on)._rows("r1")] == ["given", "withdrawn"]


async def test_a_withdrawal_in_another_process_takes_effect_within_a_minute() -> None:
    """And what is noted in between is left out by the store, since its receipt is erased."""
    now = 0.0
    kept = MemoryStore()
    here, there = (
        Recipients(Ledger(lambda: kept), Pseudonyms("k" * 16), valid_for=timedelta(days=1), ticks=lambda: now)
        for _ in range(2)
    )
    there.choose("r1", True, method="mail:allow")
    assert here.known("r1") is None
    allowed = here.look_up("r1")
    assert allowed.allowed
    gone = there.choose("r1", False, method="mail:refuse")
    assert gone == {allowed.receipt}
    assert here.known("r1") == allowed
    now = 60.0
    assert here.known("r1") is None
    assert here.look_up("r1") == Standing("", "choice")


async def test_a_refusal_in_the_browser_counts_against_the_recipients_allowance() -> None:
    on = site()
    await post(on, mail(on), {"answer": "allow"})
    await ask(on, click(on, "a", "r1"), headers=[("cookie", choice_cookie(on, "analytics"))])
    assert rows(on) == []


async def test_a_ledger_that_is_down_makes_everybody_one_of_many_and_is_left_in_peace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = site()
    asked: list[str] = []

    def down(subject: str) -> Any:
        asked.append(subject)
        raise LedgerError("down")

    monkeypatch.setattr(on.site.ledger, "about", down)
    for number in range(3):
        assert status(await ask(on, click(on, "a", f"r{number}"))) == 302
        assert status(await ask(on, pixel(on, f"r{number}"))) == 200
    assert rows(on) == []
    assert counters(on) == {("click", "", "count", "error"): 3, ("pixel", "", "count", "error"): 3}
    assert len(asked) == 1, "a ledger that is down is not asked for every mail"


async def test_the_answer_goes_out_before_anything_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow ledger must cost the reader nothing."""
    on = site()
    sent: list[Message] = []
    seen: list[int] = []

    def slow(recipient: str) -> Standing:
        seen.append(len(sent))
        raise RuntimeError("and a mistake in it breaks nothing")

    monkeypatch.setattr(people(on), "look_up", slow)
    await run(on, http_scope(click(on, "a", "r1")), sent=sent)
    assert status(sent) == 302
    await run(on, http_scope(pixel(on, "r1")))
    assert seen == [2, 2]


async def test_with_every_store_down_links_lead_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither ledger nor event store can be opened: a file stands where their folder should be."""
    (tmp_path / "file").write_bytes(b"")
    on = site(store=f"sqlite:///{tmp_path}/file/away.db")
    sent = await ask(on, click(on, "a", "r1"))
    assert (status(sent), header(sent, "location")) == (302, "https://o.example/a")
    assert header(sent, "referrer-policy") == "no-referrer"
    assert status(await ask(on, pixel(on, "r1"))) == 200
    assert status(await ask(on, mail(on))) == 503, "while a choice can't be shown or taken"
    assert status(await post(on, mail(on), {"answer": "allow"})) == 503
    on.recorder.close(0.1)


async def test_without_a_key_for_recipients_nobody_is_asked_and_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENTMW_SECRET_KEYS", "a-key-for-tests-long-enough")
    on = ConsentMiddleware(App(), {"store": "memory:"})
    assert on.site.recipients is None
    shown = await ask(on, mail(on))
    assert b"one of many" in body(shown)
    assert b"<button" not in body(shown)
    assert status(await post(on, mail(on), {"answer": "allow"})) == 400
    await ask(on, click(on, "a", "r1"))
    assert rows(on) == []
    os.environ.pop("CONSENTMW_SECRET_KEYS", None)


def test_lookups_that_are_too_many_do_not_pile_up() -> None:
    """The bound is on those who wait; beyond it a recipient is one of many."""
    kept = MemoryStore()
    known = Recipients(Ledger(lambda: kept), Pseudonyms("k" * 16), valid_for=timedelta(days=1))
    for number in range(5_000):
        known.look_up(f"r{number}")
    assert len(known._known) <= 4_096


# -- the registry ---------------------------------------------------------------------------------


def test_an_allowance_ends_with_its_time_and_a_refusal_does_not() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    kept = MemoryStore()
    known = Recipients(Ledger(lambda: kept), Pseudonyms("k" * 16), valid_for=timedelta(days=180), clock=lambda: now)
    known.choose("r1", True, method="mail:allow")
    known.choose("r2", False, method="mail:refuse")
    assert known.standing("r1").allowed
    now += timedelta(days=180)
    assert known.standing("r1") == Standing("", "expired")
    assert known.standing("r2") == Standing("", "choice")
    assert known.standing("") == known.standing("  ") == UNKNOWN


def test_a_row_proves_the_choice_and_shows_no_reference() -> None:
    kept = MemoryStore()
    known = Recipients(Ledger(lambda: kept), Pseudonyms("k" * 16), valid_for=timedelta(days=180))
    known.choose("customer-4711", True, method="mail:allow", notice="n1", language="es")
    known.choose("customer-4711", True, method="mail:allow")
    first, second = kept.all()
    assert (first.event, first.granted, first.refused) == ("given", ("email_measurement",), ())
    assert (first.method, first.notice, first.language, second.previous) == ("mail:allow", "n1", "es", first.receipt)
    assert "4711" not in repr((first, second))
    assert first.subject == known.subject(" customer-4711 ")
    assert first.subject != Pseudonyms("l" * 16).recipient("customer-4711")


def test_more_mails_and_measurement_are_two_answers() -> None:
    kept = MemoryStore()
    known = Recipients(Ledger(lambda: kept), Pseudonyms("k" * 16), valid_for=timedelta(days=180))
    known.choose("r1", True, method="mail:allow")
    known.unsubscribe("r1", method="mail:one click", campaign="spring")
    known.unsubscribe("r1", method="mail:one click", campaign="spring")
    assert known.standing("r1").unsubscribed
    assert known.standing("r1").allowed
    known.subscribe("r1", method="mail:subscribe")
    known.subscribe("r2", method="mail:subscribe")
    assert not known.standing("r1").unsubscribed
    assert [row.event for row in kept.all()] == ["given", "unsubscribed", "subscribed"]


# -- the page -------------------------------------------------------------------------------------


async def test_the_page_shows_what_holds_and_looking_changes_nothing() -> None:
    """Scanners follow every link of a mail: a GET may not be an answer."""
    on = site()
    shown = await ask(on, mail(on))
    assert b"not been asked yet" in body(shown)
    assert header(shown, "cache-control") == "private, no-store"
    assert header(shown, "referrer-policy") == "same-origin"
    await ask(on, mail(on), "HEAD")
    assert people(on)._rows("r1") == []
    assert counters(on) == {}
    done = await post(on, mail(on), {"answer": "allow"})
    assert header(done, "location") == mail(on) + "?saved"
    shown = await ask(on, mail(on) + "?saved")
    assert b"You allowed this" in body(shown)
    assert b"Your choices are saved" in body(shown)
    await post(on, mail(on), {"answer": "unsubscribe"})
    assert b"You asked for no more" in body(await ask(on, mail(on)))
    (given, _) = people(on)._rows("r1")
    assert len(given.shown) == 64, "the words that were shown are proven"


async def test_the_page_speaks_the_readers_language() -> None:
    on = site()
    shown = await ask(on, mail(on), headers=[("accept-language", "es")])
    assert "Nuestros correos para usted" in body(shown).decode()
    assert "Rechazar" in body(shown).decode()


@pytest.mark.parametrize("answer", ["", "nonsense", "allow\0", "ALLOW"])
async def test_an_answer_that_is_none_changes_nothing(answer: str) -> None:
    on = site()
    assert status(await post(on, mail(on), {"answer": answer})) == 400
    assert people(on)._rows("r1") == []


async def test_another_sites_page_cannot_answer_for_a_reader() -> None:
    on = site()
    scope = http_scope(mail(on), "POST", [("sec-fetch-site", "cross-site")])
    assert status(await run(on, scope, request(b"answer=allow"))) == 403
    assert people(on)._rows("r1") == []


Spoil = Callable[[str], str]


@pytest.mark.parametrize(
    "spoil",
    [lambda t: t[:-1], lambda t: t + "A", lambda t: t.swapcase(), lambda t: "x" * 6_000, lambda t: t + "/x"],
    ids=["cut", "longer", "changed", "huge", "path"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_not_ours_opens_nothing(spoil: Spoil, method: str) -> None:
    on = site()
    path = f"/privacy/mail/{spoil(on.site.tokens.mail('spring', 'r1'))}"
    assert status(await run(on, http_scope(path, method), request(ONE_CLICK))) == 404


async def test_tokens_are_good_for_their_own_purpose_only() -> None:
    """Who gets a pixel's address may not choose for its recipient, nor the other way round."""
    on = site()
    tokens = on.site.tokens
    for token in (tokens.pixel("spring", "r1"), tokens.click("/", "spring", "a", "r1"), tokens.trap("spring", "r1")):
        assert status(await run(on, http_scope(f"/privacy/mail/{token}", "POST"), request(ONE_CLICK))) == 404
    for token in (tokens.mail("spring", "r1"), tokens.pixel("spring", "r1")):
        assert status(await ask(on, f"/privacy/go/{token}")) == 404
    for token in (tokens.mail("spring", "r1"), tokens.trap("spring", "r1")):
        assert status(await ask(on, f"/privacy/px/{token}.gif")) == 404


async def test_choices_outlive_the_links() -> None:
    """Nobody may lose their way out because a mail is old."""
    on = site(token_days=1)
    path, old = mail(on), click(on, "a")
    for signer in (on.site.tokens._mail, on.site.tokens._click):
        signer._clock = lambda: 4_000_000_000
    assert status(await ask(on, path)) == 200
    assert status(await ask(on, old)) == 404


MULTIPART = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'


@pytest.mark.parametrize("sent", [ONE_CLICK, ONE_CLICK + b"\r\n", b"x=y&" + ONE_CLICK + b"&z", MULTIPART])
async def test_a_mail_provider_unsubscribes_with_one_post(sent: bytes) -> None:
    """RFC 8058, section 3.2: no cookies, no page before, no redirect after."""
    on = site()
    done = await run(on, http_scope(mail(on), "POST"), request(sent))
    assert (status(done), header(done, "location")) == (200, None)
    assert people(on).standing("r1").unsubscribed
    (row,) = people(on)._rows("r1")
    assert (row.event, row.method, row.detail) == ("unsubscribed", "mail:one click", '{"campaign": "spring"}')


@pytest.mark.parametrize(
    "sent",
    [b"", b"List-Unsubscribe=Two-Click", b"xList-Unsubscribe=One-Click", b"List-Unsubscribe=One-Clicks",
     b"\xff\xfe\0", b"a" * 16_000, b"%" * 9_000, b"&" * 16_000, MULTIPART.replace(b"One", b"Two"),
     b'name="List-Unsubscribe"' + b"\r\nx" * 4_000],
    ids=lambda raw: ascii(raw[:20]),
)  # fmt: skip
async def test_a_body_that_says_something_else_unsubscribes_nobody(sent: bytes) -> None:
    on = site()
    assert status(await run(on, http_scope(mail(on), "POST"), request(sent))) == 400
    assert not people(on).standing("r1").unsubscribed


async def test_a_body_that_is_too_large_is_not_read() -> None:
    on = site()
    parts = [request(b"x" * 65_536, more=True)] * 200
    assert status(await run(on, http_scope(mail(on), "POST"), *parts)) == 413


async def test_an_answer_that_cannot_be_proven_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail provider tries again after an error; a person is asked to."""
    on = site()

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(on.site.ledger, "append", full)
    assert status(await run(on, http_scope(mail(on), "POST"), request(ONE_CLICK))) == 503
    done = await post(on, mail(on), {"answer": "allow"})
    assert status(done) == 503
    assert b"try again" in body(done)
    await ask(on, click(on, "a", "r1"))
    assert rows(on) == []


async def test_a_mail_to_many_has_nothing_to_choose() -> None:
    on = site()
    assert b"one of many" in body(await ask(on, mail(on, "")))
    assert status(await run(on, http_scope(mail(on, ""), "POST"), request(ONE_CLICK))) == 400


async def test_other_methods_are_told_which_to_use() -> None:
    on = site()
    sent = await ask(on, mail(on), "PUT")
    assert (status(sent), header(sent, "allow")) == (405, "GET, HEAD, POST")


async def test_the_choices_are_below_the_root_path() -> None:
    on = site()
    done = await post(on, "/shop" + mail(on), {"answer": "allow"}, root_path="/shop")
    assert header(done, "location") == f"/shop{mail(on)}?saved"


# -- people and programs --------------------------------------------------------------------------

GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"


@pytest.mark.parametrize(
    ("kind", "method", "agent", "bot", "verdict"),
    [
        ("pixel", "GET", GMAIL, "", "proxy: google"),
        ("pixel", "GET", YAHOO, "", "proxy: yahoo"),
        ("pixel", "GET", "Mozilla/5.0", "", "proxy: apple"),
        ("pixel", "HEAD", GMAIL, "", "proxy: google"),
        ("pixel", "GET", BROWSER, "", ""),
        ("pixel", "HEAD", BROWSER, "", "scanner: head"),
        ("click", "HEAD", BROWSER, "", "scanner: head"),
        ("click", "GET", BROWSER, "", ""),
        ("click", "GET", "Mozilla/5.0", "", ""),
        ("click", "GET", "curl/8", "bot: curl/", "bot: curl/"),
        ("click", "HEAD", "curl/8", "bot: curl/", "bot: curl/"),
        ("pixel", "GET", "", "no agent", "no agent"),
    ],
)
def test_who_opened_or_clicked_is_said_with_the_reason(
    kind: str, method: str, agent: str, bot: str, verdict: str
) -> None:
    assert mail_verdict(kind, method, agent, bot) == verdict


async def test_opens_by_proxies_are_counted_with_their_verdict() -> None:
    on = site()
    for agent in (GMAIL, YAHOO, "Mozilla/5.0", BROWSER):
        await ask(on, pixel(on), agent=agent)
    await ask(on, pixel(on), "HEAD")
    assert {key[1]: number for key, number in counters(on).items()} == {
        "proxy: google": 1, "proxy: yahoo": 1, "proxy: apple": 1, "": 1, "scanner: head": 1,
    }  # fmt: skip


@pytest.mark.parametrize("recipient", ["", "r1"])
async def test_a_scanner_that_follows_all_links_is_found_out(recipient: str) -> None:
    """Those it followed before it showed were counted as a person's, and are taken back by counters of their own."""
    on = site()
    for link in "abcde":
        assert status(await ask(on, click(on, link, recipient))) == 302, "a scanner gets what a reader gets"
    found = counters(on)
    assert found["click", "", "count", "no choice"] == 2
    assert found["click", "scanner: burst", "count", "no choice"] == 3
    assert found["scanned", "scanner: burst", "count", "no choice"] == 2


async def test_the_link_that_nobody_sees_leads_nowhere_and_gives_programs_away() -> None:
    on = site()
    await ask(on, click(on, "a"))
    sent = await ask(on, trap(on))
    assert (status(sent), header(sent, "location"), body(sent)) == (204, None, b"")
    await ask(on, click(on, "b"))
    assert {key[:2]: number for key, number in counters(on).items()} == {
        ("click", ""): 1,
        ("click", HONEYPOT): 2,
        ("scanned", HONEYPOT): 1,
    }


async def test_readers_of_one_mail_are_told_apart() -> None:
    """Three readers of a mail to many follow three links in one second: nobody is a scanner."""
    on = site()
    for number, link in enumerate("abc"):
        await ask(on, click(on, link), client=(f"203.0.113.{number}", 1))
    for number, link in enumerate("abc"):
        await ask(on, click(on, link, f"r{number}"))
    assert {key[:2] for key in counters(on)} == {("click", "")}


async def test_links_that_a_browser_fetches_ahead_make_nobody_a_scanner() -> None:
    on = site()
    for link in "abcd":
        await ask(on, click(on, link), headers=[("sec-purpose", "prefetch;prerender")])
    await ask(on, click(on, "a"))
    assert {key[:2]: number for key, number in counters(on).items()} == {("click", "prefetch"): 4, ("click", ""): 1}


COUNT = Count(0, "click", "(click)", "3xx", campaign="spring")


def test_a_burst_is_many_links_in_a_short_time() -> None:
    now = 0.0
    seen = Bursts(lambda: now)
    for _ in range(3):
        assert seen.followed("same link again", "a") == ("", [])
    for at, link in ((10.0, "a"), (14.0, "b"), (15.1, "c"), (20.2, "d"), (25.3, "e")):
        now = at
        assert seen.followed("reader", link)[0] == "", "five links, but never three in five seconds"
    now = 100.0
    assert seen.followed("scanner", "a") == ("", [])
    seen.counted("scanner", COUNT)
    assert seen.followed("scanner", "b") == ("", [])
    seen.counted("scanner", COUNT)
    wrong = [COUNT._replace(kind="scanned", bot="scanner: burst")] * 2
    assert seen.followed("scanner", "c") == ("scanner: burst", wrong)
    now = 159.0
    assert seen.followed("scanner", "a") == ("scanner: burst", []), "taken back once"
    now = 220.0
    assert seen.followed("scanner", "a") == ("", []), "hours later it may be the reader"


def test_what_is_remembered_of_readers_is_bounded() -> None:
    seen = Bursts(lambda: 0.0)
    for number in range(10_000):
        seen.followed(number, "a")
        seen.counted(number, COUNT)
    seen.counted("a stranger", COUNT)
    assert len(seen._seen) <= 4_096


async def test_no_address_is_remembered_of_readers() -> None:
    on = site()
    seen: list[Any] = []
    measuring = on.pages._pages["go"].__self__  # type: ignore[attr-defined]
    await ask(on, click(on, "a"))
    seen = list(measuring._bursts._seen)
    assert [type(who) for who in seen] == [int]


# -- first opens ----------------------------------------------------------------------------------


async def test_first_opens_and_later_ones_are_told_apart_for_those_who_allowed_it() -> None:
    on = site()
    for recipient in ("r1", "r2"):
        await post(on, mail(on, recipient), {"answer": "allow"})
    for recipient, agent in (
        ("r1", "Mozilla/5.0"),
        ("r1", BROWSER),
        ("r1", GMAIL),
        ("r2", "Mozilla/5.0"),
        ("r3", BROWSER),
    ):
        await ask(on, pixel(on, recipient), agent=agent)
    await ask(on, pixel(on, "r2"), "HEAD")
    await ask(on, pixel(on, "r2", "autumn"))
    found = openings(on.recorder.store.events() if on.recorder.flush(5) else ())
    assert [(one.campaign, one.recipient, one.again, one.ahead) for one in found] == [
        ("spring", "r1", 2, False),
        ("spring", "r2", 0, True),
        ("autumn", "r2", 0, False),
    ]
    assert found[0].first == min(row["at"] for row in rows(on) if row["recipient"] == "r1")


# -- the figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "clickhouse"])
def test_the_command_says_what_became_of_a_campaign(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real opens and clicks, in real stores: people, proxies, scanners found later, and who allowed to be noted."""
    monkeypatch.setenv("CONSENTMW_ACCOUNT_KEY", "an account key for tests")
    options = {"store": f"sqlite:///{tmp_path}/site.db"}
    if kind == "postgresql":
        options = {"store": request.getfixturevalue("postgres").url()}
    elif kind == "clickhouse":
        monkeypatch.setenv("CONSENTMW_CLICKHOUSE_PASSWORD", PASSWORD)
        options["events_store"] = request.getfixturevalue("clickhouse").url()
    on = site(**options)
    asyncio.run(became_of_it(on))
    assert on.recorder.flush(20)
    on.site.recorder.close(20)
    on.site.ledger.close()
    on.site.registry.close()
    file = tmp_path / "consent.toml"
    file.write_text("debug = true\n" + "".join(f'{name} = "{url}"\n' for name, url in options.items()), "utf-8")
    done = CliRunner().invoke(_app, ["opens", str(file), "--campaign", "spring"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "spring",
        "  opens: 2 by people, 2 more by proxies of mail providers (proxy: apple 1, proxy: google 1), "
        "1 by programs (scanner: head 1)",
        "  clicks: 3 by people, 8 by programs (scanner: burst 7, scanner: honeypot 1)",
        "  of recipients who allowed to note it, 2 opened it, once again; "
        "for 1 of them only a proxy that fetches ahead",
        "  tariffs: 1 of them followed it, once again",
    ]
    everything = CliRunner().invoke(_app, ["opens", str(file), "--since", "2026-01-01"])
    assert everything.stdout.splitlines()[:2] == ["autumn", "  opens: 1 by people"]
    assert CliRunner().invoke(_app, ["opens", str(file), "--since", "2999-01-01"]).stdout == ""


async def became_of_it(on: ConsentMiddleware) -> None:
    for recipient in ("r1", "r2"):
        await post(on, mail(on, recipient), {"answer": "allow"})
    await ask(on, pixel(on, "r1"))
    await ask(on, pixel(on, "r1"), agent=GMAIL)
    await ask(on, pixel(on, "r2"), agent="Mozilla/5.0")
    await ask(on, pixel(on, "r3"))
    await ask(on, pixel(on, "r3"), "HEAD")
    await ask(on, pixel(on, campaign="autumn"))
    for link in ("tariffs", "tariffs"):
        await ask(on, click(on, link, "r1"))
    await ask(on, click(on, "tariffs"), client=("198.51.100.1", 1))
    # One scanner reads the mail of somebody who allowed to be noted, and one that of many.
    for link in ("a", "b", "c", "d"):
        await ask(on, click(on, link, "r2"))
    for link in ("a", "b", "c"):
        await ask(on, click(on, link))
    await ask(on, trap(on), client=("198.51.100.2", 1))


def clicked(*followed: tuple[float, str, str], recipient: str = "r1") -> list[dict[str, Any]]:
    return [
        {"kind": "click", "campaign": "spring", "recipient": recipient, "at": at, "link": link, "bot": bot}
        for at, link, bot in followed
    ]


def of_people(*followed: tuple[float, str, str]) -> list[tuple[str, int]]:
    return [(one.link, one.again) for one in clicks(clicked(*followed)[::-1])]


def test_what_a_scanner_followed_before_it_showed_is_nobodys_click() -> None:
    """Rows can't be labelled afterwards; whoever reads them leaves out the first clicks of a burst."""
    burst = "scanner: burst"
    assert of_people((0, "a", ""), (9, "b", ""), (9, "a", "")) == [("a", 1), ("b", 0)]
    assert of_people((0, "a", ""), (1, "b", ""), (2, "c", burst), (50, "d", burst)) == []
    assert of_people((0, "a", ""), (4, "", "scanner: honeypot")) == []
    assert of_people((0, "a", ""), (6, "b", ""), (7, "c", ""), (8, "d", burst)) == [("a", 0)]
    assert of_people((0, "a", ""), (1, "b", "bot: x"), (2, "c", "")) == [("a", 0), ("c", 0)]
    assert of_people((0, "a", ""), (1, "b", ""), (2, "c", burst), (90, "d", "")) == [("d", 0)]


def test_a_burst_that_no_process_saw_whole_is_one_all_the_same() -> None:
    """Behind several workers each sees a click or two; the rows know them all, and each recipient's by itself."""
    assert of_people((0, "a", ""), (1, "b", ""), (2, "c", ""), (30, "d", "")) == []
    two = clicked((0, "a", ""), (1, "b", "")) + clicked((2, "c", ""), recipient="r2")
    assert len(clicks(two)) == 3


def test_counters_that_took_a_scanner_for_a_person_are_corrected() -> None:
    count = {**COUNT._asdict(), "count": 3}
    scanned = {**COUNT._replace(kind="scanned", bot="scanner: burst")._asdict(), "count": 2}
    (found,) = campaigns([scanned, count], [])
    assert (found.clicks, found.opens) == ({"": 1, "scanner: burst": 2}, {})
    # The correction of an hour may stand alone, where the hour before it is not asked for.
    (alone,) = campaigns([scanned], [])
    assert alone.clicks == {"scanner: burst": 2}
    assert campaigns([{**count, "kind": "page"}], [{"kind": "page", "recipient": None}]) == []
