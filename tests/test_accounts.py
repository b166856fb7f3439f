"""Accounts: the newest explicit choice counts on every device, signing out gives the browser back its own."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from consentmw import ConsentMiddleware, SettingsError
from consentmw.accounts import Account, Known, account_of, in_force
from consentmw.choice import MAX_COOKIE, Choice, CookieCodec
from consentmw.errors import LedgerError
from consentmw.identity import ACCOUNT_VARIABLE, Pseudonyms
from consentmw.ledger import Entry
from consentmw.linking import Link

from . import asgi
from .mounted import KEY, PAGE, mounted, post

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SUBJECT = "0123456789abcdef0123456789abcdef"
CHOICE = Choice("r" * 22, NOW, "0" * 12, frozenset({"analytics"}))


# -- a site, and browsers in front of it ---------------------------------------------------------
class Clock:
    """A clock that a test turns on."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


class Application:
    """Signs in at /in/<account> (/in-minor/<account>), out at /out, and serves the same page everywhere else."""

    def __init__(self) -> None:
        #: what the last call of sign_in or sign_out returned
        self.told: bool | None = None
        #: whether the last page could run advertising, by the application's own question
        self.advertises = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        consent, (_, first, *rest) = scope["consent"], scope["path"].split("/")
        if first in ("in", "in-minor"):
            self.told = await consent.sign_in(rest[0], minor=first == "in-minor")
        elif first == "out":
            self.told = await consent.sign_out()
        elif first == "late":
            await send(asgi.html(b"")[0])
            self.told = await consent.sign_in("4711")
            await send(asgi.html(PAGE)[1])
            return
        self.advertises = consent.allows("advertising")
        if first in ("in", "out") and "page" not in rest:
            await send({"type": "http.response.start", "status": 303, "headers": [(b"location", b"/")]})
            await send({"type": "http.response.body", "body": b""})
            return
        kind = b"image/png" if first == "image" else b"text/html"
        headers = [(b"content-type", kind), (b"etag", b'"one"'), (b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE})


class Browser:
    """A cookie jar, and what the last answer was."""

    def __init__(self, site: Site, gpc: bool = False) -> None:
        self.site = site
        self.gpc = gpc
        self.jar: dict[str, str] = {}
        self.last: list[Message] = []

    async def open(
        self, path: str = "/", accept: str = "text/html", also: tuple[tuple[str, str], ...] = (), **extra: Any
    ) -> str:
        headers = [*self._headers(accept), *also]
        self._keep(await asgi.run(self.site.guarded, asgi.http_scope(path, headers=headers, **extra)))
        return asgi.body(self.last).decode(errors="replace")

    async def choose(self, action: str, *purposes: str, surface: str = "choices") -> int:
        fields = [("action", action), ("surface", surface), *(("purpose", one) for one in purposes)]
        self._keep(await post(self.site.guarded, "/privacy/choices", fields, headers=self._headers("text/html")))
        return asgi.status(self.last)

    async def sign_in(self, account: str = "4711", *, minor: bool = False) -> bool | None:
        await self.open(f"/{'in-minor' if minor else 'in'}/{account}")
        return self.site.application.told

    async def sign_out(self) -> bool | None:
        await self.open("/out")
        return self.site.application.told

    def _headers(self, accept: str) -> list[tuple[str, str]]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        sent = [("accept", accept), *([("sec-gpc", "1")] if self.gpc else [])]
        return [*sent, ("cookie", cookies)] if cookies else sent

    def _keep(self, answer: list[Message]) -> None:
        self.last = answer
        for line in asgi.values(answer, "set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.jar.pop(name, None)
            else:
                self.jar[name] = value

    async def granted(self) -> set[str]:
        """What the site's own word for scripts says is granted."""
        await self.open("/privacy/choices")
        await self.open()
        allowed = self.site.decision(self)
        return {key for key, verdict in allowed.purposes.items() if verdict.granted} - {"necessary"}


class Site:
    """The middleware with a clock, and the rows it wrote."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.application = Application()
        self.guarded: ConsentMiddleware = mounted(self.application, **options)
        self.guarded.site.clock = self.clock

    def browser(self, **options: Any) -> Browser:
        return Browser(self, **options)

    def decision(self, browser: Browser) -> Any:
        from consentmw.visitor import Visitor

        headers = browser._headers("text/html")
        return self.guarded.site.ruling(Visitor.read(asgi.http_scope("/", headers=headers))).decision

    def rows(self, *events: str) -> list[Entry]:
        return [row for row in self.guarded.site.ledger.all() if not events or row.event in events]

    def advertises(self) -> bool:
        """Whether the application could advertise in its last answer."""
        return self.application.advertises

    def subject(self, account: str = "4711") -> str:
        return Pseudonyms(KEY).of(account)


@pytest.fixture
def site() -> Site:
    return Site()


ALL = {"media", "analytics", "advertising", "email_measurement"}


# -- the newest explicit choice wins -------------------------------------------------------------
async def test_what_a_browser_chose_becomes_the_accounts_and_counts_on_the_next_device(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("save", "analytics")
    assert await laptop.sign_in()
    site.clock.on(hours=1)
    assert await phone.granted() == set()
    assert await phone.sign_in()
    assert await phone.granted() == {"analytics"}
    (linked,) = site.rows("linked")
    assert (linked.subject, linked.granted) == (site.subject(), ("analytics",))
    (adopted,) = site.rows("adopted")
    assert (adopted.subject, adopted.granted) == (site.subject(), ("analytics",))
    # What was shown then is on record for the account, too, and the account's choice has no other rows.
    (given,) = site.rows("given")
    assert linked.shown == given.shown != ""
    assert site.guarded.site.ledger.entries(linked.receipt) == [linked]


async def test_of_two_choices_the_later_one_counts_whoever_signs_in_first(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await phone.choose("accept")
    site.clock.on(minutes=1)
    await laptop.choose("reject")
    await laptop.sign_in()
    await phone.sign_in()
    assert await phone.granted() == set(), "the refusal is newer, though it came from elsewhere"
    assert site.rows("adopted")[0].granted == ()


async def test_the_earlier_choice_of_an_account_gives_way_to_this_browsers(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("reject")
    await laptop.sign_in()
    site.clock.on(minutes=1)
    await phone.choose("accept")
    await phone.sign_in()
    assert await phone.granted() == ALL
    site.clock.on(minutes=6)
    assert await laptop.granted() == ALL


async def test_a_withdrawal_on_the_phone_stops_the_laptop_within_the_time(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    site.clock.on(minutes=1)
    await phone.choose("withdraw")
    await laptop.open()
    assert site.advertises(), "nobody looks before it is time"
    site.clock.on(minutes=4, seconds=1)
    page = await laptop.open()
    assert not site.advertises(), "on the very page that looked"
    assert 'role="status"' in page


async def test_a_choice_made_while_signed_in_is_the_accounts_at_once(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.sign_in()
    await laptop.choose("save", "analytics", "media")
    await phone.sign_in()
    assert await phone.granted() == {"analytics", "media"}
    assert "linked to your account" in await phone.open("/privacy/choices")


async def test_a_choice_counts_at_once_although_another_machines_clock_was_ahead(site: Site) -> None:
    """Of the account's own rows the ledger's order counts, not what clocks say."""
    laptop, phone = site.browser(), site.browser()
    site.clock.on(minutes=10)
    await laptop.sign_in()
    await laptop.choose("accept")
    site.clock.on(minutes=-10)
    await phone.sign_in()
    await phone.choose("withdraw")
    assert await phone.granted() == set()
    site.clock.on(minutes=20)
    assert await laptop.granted() == set()


async def test_a_look_comes_once_in_its_time_and_only_for_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, asked = site.browser(), list[str]()
    await browser.choose("accept")
    await browser.sign_in()
    about = site.guarded.site.ledger.about

    def note(subject: str) -> list[Entry]:
        asked.append(subject)
        return about(subject)

    monkeypatch.setattr(site.guarded.site.ledger, "about", note)
    site.clock.on(minutes=6)
    await browser.open("/image", accept="image/png")
    await browser.open(method="POST")
    for path in (f"/privacy/px/{site.guarded.site.tokens.pixel('c')}.gif", "/privacy/static/privacy.css"):
        await browser.open(path)
    await browser.open(also=(("sec-purpose", "prefetch"),))
    assert asked == []
    for _ in range(3):
        await browser.open()
    assert asked == [site.subject()]


async def test_who_is_not_signed_in_never_costs_a_look(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.browser()
    await browser.choose("accept")
    monkeypatch.setattr(Link, "look", None)
    monkeypatch.setattr(site.guarded.site.ledger, "about", None)
    await browser.open()
    assert site.advertises()


# -- signing out ---------------------------------------------------------------------------------
async def test_signing_out_gives_the_browser_back_its_own_choice(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await phone.choose("save", "media")
    own = phone.jar["privacy"]
    site.clock.on(minutes=1)
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    assert await phone.granted() == ALL
    assert await phone.sign_out()
    assert await phone.granted() == {"media"}
    assert phone.jar == {"privacy": own}
    (row,) = site.rows("unlinked")
    assert row.subject == site.subject()


async def test_a_choice_that_was_never_the_accounts_comes_back_whole(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await phone.choose("accept")
    site.clock.on(minutes=1)
    await laptop.sign_in()
    await laptop.choose("reject")
    await phone.sign_in()
    assert await phone.granted() == set()
    await phone.sign_out()
    assert await phone.granted() == ALL


async def test_an_account_that_was_erased_is_not_filled_again_by_a_page(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    site.guarded.site.ledger.erase((), site.subject(), at=NOW, method="cli")
    site.clock.on(minutes=6)
    await browser.open()
    assert not [row for row in site.rows() if row.subject]
    assert await browser.granted() == ALL, "the browser's own choice is what is left"
    assert site.guarded.site.ledger.verify() == []


async def test_the_receipt_of_an_account_says_what_was_allowed(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("save", "analytics")
    await laptop.sign_in()
    await phone.sign_in()
    page = await phone.open("/privacy/receipt")
    assert "The choice of a browser became that of your account" in page
    assert "Measuring visits" in page
    await phone.open("/privacy/take/kantara.json")
    assert asgi.status(phone.last) == 200


async def test_without_a_choice_of_its_own_the_browser_is_asked_again(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    assert 'id="consentmw"' not in await phone.open()
    await phone.sign_out()
    assert await phone.granted() == set()
    assert 'id="consentmw"' in await phone.open()


async def test_a_choice_made_here_while_signed_in_stays_and_nothing_ties_it_to_the_account(site: Site) -> None:
    browser = site.browser()
    await browser.sign_in()
    await browser.choose("save", "analytics")
    during = site.decision(browser).receipt
    await browser.sign_out()
    assert await browser.granted() == {"analytics"}
    after = site.decision(browser).receipt
    assert after != during
    about = site.rows()
    assert not [row for row in about if row.subject and after in (row.receipt, row.previous)]
    assert not [row for row in about if row.receipt == after and row.previous]


async def test_what_was_recorded_before_signing_in_is_attached_to_no_account(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    before = site.decision(browser).receipt
    await browser.sign_in()
    assert site.decision(browser).receipt != before
    assert not [row for row in site.rows() if row.subject and before in (row.receipt, row.previous, row.detail)]


async def test_signing_out_does_not_bring_back_what_the_account_withdrew(site: Site) -> None:
    """The choice was this browser's own, then the account's; its withdrawal elsewhere is a word about both."""
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    site.clock.on(minutes=6)
    await phone.choose("save", "media")
    assert await laptop.granted() == {"media"}
    await laptop.sign_out()
    assert await laptop.granted() == {"media"}
    # And it is still this customer's: signing in again changes nothing for the account.
    await phone.choose("save", "media", "analytics")
    site.clock.on(minutes=1)
    await laptop.sign_in()
    assert await laptop.granted() == {"media", "analytics"}


async def test_a_choice_that_gave_way_to_its_account_is_still_that_customers(site: Site) -> None:
    shared, phone = site.browser(), site.browser()
    await shared.choose("accept")
    await shared.sign_in("alice")
    await phone.sign_in("alice")
    site.clock.on(minutes=6)
    await phone.choose("save", "media")
    await shared.open()
    await shared.sign_out()
    site.clock.on(minutes=1)
    await shared.sign_in("bob")
    assert {row.subject for row in site.rows("linked")} == {site.subject("alice")}


async def test_what_was_recorded_on_this_browser_goes_when_another_device_withdraws(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone, removed, stopped = site.browser(), site.browser(), list[str](), list[bool]()
    await laptop.choose("accept")
    own = site.decision(laptop).receipt
    await laptop.sign_in()
    await phone.sign_in()
    site.clock.on(minutes=6)
    await phone.choose("withdraw")
    monkeypatch.setattr(site.guarded.site.recorder, "remove", removed.append)
    monkeypatch.setattr(
        site.guarded.site.relay, "stop", lambda _, decision: stopped.append(decision.allows("analytics"))
    )
    await laptop.open()
    assert own in removed
    assert stopped == [False]


async def test_a_refusal_that_is_brought_along_deletes_what_the_account_allowed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone, removed = site.browser(), site.browser(), list[str]()
    await laptop.choose("accept")
    await laptop.sign_in()
    receipt = site.decision(laptop).receipt
    site.clock.on(minutes=1)
    await phone.choose("save", "media")
    monkeypatch.setattr(site.guarded.site.recorder, "remove", removed.append)
    await phone.sign_in()
    assert removed == [receipt]


async def test_what_a_browser_chose_for_itself_leads_to_no_choice_of_the_account(site: Site) -> None:
    """Its row is chained to the browser's own one before, and not to the account's."""
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    await phone.choose("save", "media")
    (own,) = site.rows("changed")
    assert own.previous == ""
    assert own.subject == ""


async def test_a_sign_out_on_a_page_that_has_news_takes_the_cookie_all_the_same(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    assert "cmw-told" not in await browser.open("/out/page")
    assert set(browser.jar) - {"privacy-visit"} == {"privacy"}


async def test_a_choice_of_an_account_wins_over_one_it_knew_whatever_clocks_said(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    site.clock.on(minutes=10)
    await laptop.choose("accept")
    await laptop.sign_in()
    await laptop.sign_out()
    site.clock.on(minutes=-8)
    await phone.sign_in()
    await phone.choose("withdraw")
    await laptop.sign_in()
    assert await laptop.granted() == set()


async def test_a_withdrawal_that_can_not_be_linked_counts_whatever_another_clock_said(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = site.browser()
    await browser.sign_in()
    site.clock.on(minutes=10)
    await browser.choose("accept")
    site.clock.on(minutes=-10)
    append = site.guarded.site.ledger.append

    def half(**row: Any) -> Entry:
        return broken() if row["event"] == "linked" else append(**row)

    with monkeypatch.context() as patch:
        patch.setattr(site.guarded.site.ledger, "append", half)
        assert await browser.choose("withdraw") == 303
        assert await browser.granted() == set()


async def test_a_sign_out_on_the_page_that_finds_a_withdrawal_keeps_it(site: Site) -> None:
    """A host that ends a session in any handler: the look before it and the sign-out share one answer."""
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    site.clock.on(minutes=6)
    await phone.choose("save", "media")
    assert await laptop.sign_out()
    assert not site.advertises(), "nor in this very answer"
    assert await laptop.granted() == {"media"}


async def test_a_withdrawal_while_signed_in_deletes_what_was_recorded_under_both(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, removed = site.browser(), list[str]()
    await browser.choose("accept")
    own = site.decision(browser).receipt
    await browser.sign_in()
    linked = site.decision(browser).receipt
    remove = site.guarded.site.recorder.remove

    def note(receipt: str) -> bool:
        removed.append(receipt)
        return remove(receipt)

    monkeypatch.setattr(site.guarded.site.recorder, "remove", note)
    await browser.choose("withdraw")
    assert {own, linked} <= set(removed)
    await browser.sign_out()
    assert await browser.granted() == set()


# -- several people, one browser -----------------------------------------------------------------
async def test_what_one_customer_chose_never_becomes_anothers(site: Site) -> None:
    """On a shared computer, what the last one left behind counts for this browser, and goes nowhere."""
    shared, home = site.browser(), site.browser()
    await shared.sign_in("alice")
    await shared.choose("accept")
    await shared.sign_out()
    site.clock.on(minutes=1)
    await shared.sign_in("bob")
    await home.sign_in("bob")
    assert await home.granted() == set()
    assert {row.subject for row in site.rows("linked")} == {site.subject("alice")}
    # What bob says himself is his, also on this browser.
    await shared.choose("save", "media")
    site.clock.on(minutes=6)
    assert await home.granted() == {"media"}


async def test_the_next_customer_signs_in_without_the_last_one_signing_out(site: Site) -> None:
    shared, bobs = site.browser(), site.browser()
    await bobs.sign_in("bob")
    await bobs.choose("reject")
    site.clock.on(minutes=1)
    await shared.sign_in("alice")
    await shared.choose("accept")
    site.clock.on(minutes=1)
    await shared.sign_in("bob")
    assert await shared.granted() == set(), "bob refused, and alice's newer choice is not his"
    assert [row.subject for row in site.rows("unlinked")] == [site.subject("alice")]


async def test_two_workers_with_one_database_serve_the_devices_of_a_customer(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/consentmw.db"
    one, other = Site(store=store), Site(store=store)
    laptop, phone = one.browser(), other.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    assert await phone.granted() == ALL
    await phone.choose("withdraw")
    one.clock.on(minutes=6)
    assert await laptop.granted() == set()
    laptop.site = other
    assert await laptop.granted() == set(), "the cookie is good for every worker"
    rows = other.rows("linked")
    assert [row.previous for row in rows] == ["", rows[0].receipt]
    assert other.guarded.site.ledger.verify() == []
    for site in (one, other):
        await site.guarded.site.close()


async def test_the_same_customer_signing_in_again_writes_nothing_new(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    rows = len(site.rows())
    for _ in range(3):
        site.clock.on(minutes=7)
        await browser.sign_in()
        await browser.open()
    assert len(site.rows()) == rows


async def test_two_devices_at_the_same_moment_settle_on_one_choice(site: Site) -> None:
    one, other = site.browser(), site.browser()
    await asyncio.gather(one.sign_in(), other.sign_in())
    await asyncio.gather(one.choose("accept"), other.choose("reject"), one.open(), other.open())
    site.clock.on(minutes=6)
    assert await one.granted() == await other.granted()
    assert site.guarded.site.ledger.verify() == []


# -- Global Privacy Control, and minors ----------------------------------------------------------
async def test_the_signal_of_one_browser_opts_the_known_customer_out_everywhere(site: Site) -> None:
    """11 CCR 7025(c)(1); noted when it changes something, not for every request."""
    signalling, other = site.browser(gpc=True), site.browser()
    await other.sign_in()
    await other.choose("accept")
    await signalling.sign_in()
    site.clock.on(minutes=6)
    assert await other.granted() == ALL - {"advertising"}
    assert site.decision(other).why("advertising") == "account opt-out"
    for _ in range(3):
        site.clock.on(minutes=6)
        await signalling.open()
    (row,) = site.rows("signal")
    assert (row.subject, row.gpc) == (site.subject(), True)
    assert site.decision(signalling).why("advertising") == "gpc"
    assert "Opt-Out Request Honored" in await other.open("/privacy/choices")


async def test_a_general_yes_does_not_end_the_opt_out_of_an_account_and_an_override_does(site: Site) -> None:
    signalling, other = site.browser(gpc=True), site.browser()
    await signalling.sign_in()
    await other.sign_in()
    await other.choose("accept")
    assert "advertising" not in await other.granted()
    site.clock.on(minutes=1)
    assert await signalling.choose("override", "advertising") == 303
    site.clock.on(minutes=6)
    assert "advertising" in await other.granted()
    await other.choose("accept")
    assert "advertising" not in await other.granted(), "a newer general yes is no override"


async def test_signing_out_ends_the_opt_out_on_a_browser_without_the_signal(site: Site) -> None:
    signalling, other = site.browser(gpc=True), site.browser()
    await other.choose("accept")
    site.clock.on(minutes=1)
    await signalling.sign_in()
    await other.sign_in()
    assert "advertising" not in await other.granted()
    await other.sign_out()
    assert "advertising" in await other.granted()


async def test_nothing_advertises_to_a_known_minor_whatever_was_chosen(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in(minor=True)
    assert not site.advertises(), "in this very answer"
    assert await browser.granted() == ALL - {"advertising"}
    assert site.decision(browser).minor
    await browser.choose("accept")
    site.clock.on(minutes=6)
    assert await browser.granted() == ALL - {"advertising"}
    await browser.open("/out/page")
    assert site.advertises(), "signed out in this very answer"
    assert await browser.granted() == ALL


async def test_a_minor_is_known_without_a_key_for_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ACCOUNT_VARIABLE, raising=False)
    site = Site(debug=False)
    browser = site.browser()
    await browser.choose("accept")
    assert await browser.sign_in(minor=True) is False
    assert "advertising" not in await browser.granted()
    assert site.rows("linked", "adopted") == []
    assert "linked to your account" not in await browser.open("/privacy/choices")
    await browser.sign_in()
    assert await browser.granted() == ALL


# -- what visitors are told ----------------------------------------------------------------------
async def test_a_change_is_said_once_with_its_date_and_what_differs(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await phone.choose("save", "analytics", "advertising")
    site.clock.on(hours=1)
    await laptop.choose("save", "analytics", "media")
    await laptop.sign_in()
    await phone.sign_in()
    page = await phone.open()
    told = page[page.index('<div class="cmw-told"') :].partition("</div>")[0]
    assert "November 21, 2026" in told
    assert "Now on: Videos, maps and other content. Now off: Advertising. " in told
    assert 'href="/privacy/choices"' in told
    assert "no-store" in ", ".join(asgi.values(phone.last, "cache-control"))
    assert "cmw-told" not in await phone.open()


async def test_becoming_the_accounts_is_said_once(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    assert "now apply wherever you are signed in" in await browser.open()
    assert "cmw-told" not in await browser.open()


async def test_nothing_is_said_to_who_is_not_signed_in(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    await phone.sign_in()
    await phone.sign_out()
    assert "cmw-told" not in await phone.open()
    assert "linked to your account" not in await phone.open("/privacy/choices")


async def test_what_is_to_be_said_waits_for_a_page(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    await browser.open("/image")
    assert "cmw-told" in await browser.open()


async def test_a_page_that_says_it_is_no_copy_of_an_earlier_one(site: Site) -> None:
    """A 304 would show the browser's own copy, without the news; and later a copy of the news."""
    browser = site.browser()
    await browser.choose("accept")
    await browser.open()
    etag = asgi.header(browser.last, "etag") or ""
    await browser.sign_in()
    seen: list[Scope] = []
    application = site.guarded.app

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await application(scope, receive, send)

    site.guarded.app = look
    assert "cmw-told" in await browser.open(also=(("if-none-match", etag),))
    assert not [name for name, _ in seen[0]["headers"] if name == b"if-none-match"]


async def test_the_sign_in_page_has_a_sentence_in_the_visitors_language(site: Site) -> None:
    said: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        said.append(scope["consent"].link_notice())
        await Application()(scope, receive, send)

    guarded = mounted(application)
    for language in ("en", "es"):
        await asgi.run(guarded, asgi.http_scope("/", headers=[("accept-language", language)]))
    assert said[0].startswith("When you sign in")
    assert said[1].startswith("Al iniciar")


# -- the answer ----------------------------------------------------------------------------------
async def test_the_answer_to_signing_in_is_under_the_new_decision(site: Site) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    page = await phone.open("/in/4711/page")
    assert site.advertises()
    assert '<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST"' in page
    page = await phone.open("/out/page")
    assert '<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST"' not in page
    assert not site.advertises()


async def test_the_cookie_is_out_of_reach_of_scripts_other_hosts_and_caches(site: Site) -> None:
    browser = site.browser()
    await browser.open("/in/4711", scheme="https")
    (line,) = [line for line in asgi.values(browser.last, "set-cookie") if "account" in line]
    assert line.startswith("__Host-privacy-account=")
    assert {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"} <= set(line.split("; "))
    assert "4711" not in line
    await browser.open("/image", scheme="https")
    assert asgi.values(browser.last, "set-cookie") == []
    assert asgi.values(browser.last, "cache-control") == ["public, max-age=60"], "other answers are left alone"
    await browser.open("/out/page", scheme="https")
    assert "private" in ", ".join(asgi.values(browser.last, "cache-control"))
    await browser.open("/in/4711", scheme="https")
    assert asgi.values(browser.last, "cache-control") == ["private"]


async def test_too_late_is_said_and_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    browser = site.browser()
    await browser.open("/late")
    assert site.application.told is False
    assert browser.jar == {}
    assert "after the response had begun" in caplog.text


async def test_a_websocket_can_not_sign_in(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    told: list[bool] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        told.extend([await scope["consent"].sign_in("4711"), await scope["consent"].sign_out()])
        await send({"type": "websocket.close"})

    site.guarded.app = application
    await asgi.run(site.guarded, asgi.websocket_scope("/"))
    assert told == [False, False]
    assert site.rows() == []


async def test_signing_in_on_a_page_that_is_asked_for_ahead_does_not_look(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    assert "cmw-told" not in await browser.open(also=(("sec-purpose", "prefetch;prerender"),))
    assert "cmw-told" in await browser.open()


# -- the ledger is down --------------------------------------------------------------------------
def broken(*_: object, **__: object) -> Any:
    raise LedgerError("the disk is full")


async def test_signing_in_without_the_ledger_grants_nothing_and_is_made_up_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.choose("accept")
    await laptop.sign_in()
    with monkeypatch.context() as patch:
        patch.setattr(site.guarded.site.ledger, "about", broken)
        assert await phone.sign_in() is False
        assert asgi.status(phone.last) == 303
        assert await phone.granted() == set()
    monkeypatch.setattr("consentmw.linking._REST", 0.0)
    site.guarded.linking._resting = 0.0
    assert await phone.granted() == ALL, "the next page with a ledger"


async def test_a_choice_that_can_not_be_linked_counts_here_and_is_linked_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.sign_in()
    await laptop.choose("accept")
    await phone.sign_in()
    append = site.guarded.site.ledger.append

    def half(**row: Any) -> Entry:
        return broken() if row["event"] == "linked" else append(**row)

    site.clock.on(minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(site.guarded.site.ledger, "append", half)
        assert await phone.choose("withdraw") == 303
        assert await phone.granted() == set()
    site.guarded.linking._resting = 0.0
    await phone.open()
    site.clock.on(minutes=6)
    assert await laptop.granted() == set()


async def test_a_withdrawal_without_any_ledger_counts_here_and_is_linked_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone = site.browser(), site.browser()
    await laptop.sign_in()
    await laptop.choose("accept")
    await phone.sign_in()
    site.clock.on(minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(site.guarded.site.ledger, "append", broken)
        assert await phone.choose("withdraw") == 503
        assert await phone.granted() == set()
    site.guarded.linking._resting = 0.0
    await phone.open()
    site.clock.on(minutes=6)
    assert await laptop.granted() == set()


async def test_signing_out_without_the_ledger_always_takes_the_cookie(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = site.browser()
    await browser.choose("save", "analytics")
    await browser.sign_in()
    monkeypatch.setattr(site.guarded.site.ledger, "append", broken)
    assert await browser.sign_out() is False
    assert set(browser.jar) - {"privacy-visit"} == {"privacy"}
    assert await browser.granted() == {"analytics"}


async def test_a_refusal_is_adopted_although_the_row_about_it_can_not_be_written(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    laptop, phone = site.browser(), site.browser()
    await phone.sign_in()
    await phone.choose("reject")
    append = site.guarded.site.ledger.append

    def half(**row: Any) -> Entry:
        return broken() if row["event"] == "adopted" else append(**row)

    monkeypatch.setattr(site.guarded.site.ledger, "append", half)
    assert await laptop.sign_in() is True
    assert 'id="consentmw"' not in await laptop.open()
    assert "could not be recorded" in caplog.text


async def test_a_ledger_that_hangs_holds_up_one_page_for_a_moment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page goes out under what the cookie says, and the next pages do not wait again."""
    browser, until, asked = site.browser(), threading.Event(), list[str]()
    await browser.choose("accept")
    await browser.sign_in()
    monkeypatch.setattr("consentmw.linking._GLANCE", 0.05)

    def hang(subject: str) -> Any:
        asked.append(subject)
        until.wait(20)
        return broken()

    monkeypatch.setattr(site.guarded.site.ledger, "about", hang)
    site.clock.on(minutes=6)
    try:
        for _ in range(3):
            await browser.open()
            assert site.advertises()
    finally:
        until.set()
    assert len(asked) == 1


async def test_a_ledger_that_hangs_does_not_hold_up_signing_in_and_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, until = site.browser(), threading.Event()
    await browser.choose("accept")
    monkeypatch.setattr("consentmw.linking._PATIENCE", 0.05)

    def hang(*_: object, **__: object) -> Any:
        until.wait(20)
        return broken()

    monkeypatch.setattr(site.guarded.site.ledger, "about", hang)
    monkeypatch.setattr(site.guarded.site.ledger, "append", hang)
    try:
        assert await browser.sign_in() is False
        assert set(browser.jar) == {"privacy", "privacy-account"}
        assert await browser.sign_out() is False
        assert set(browser.jar) - {"privacy-visit"} == {"privacy"}
    finally:
        until.set()


async def test_below_a_prefix_the_news_lead_to_the_right_page(site: Site) -> None:
    browser = site.browser()
    await browser.choose("accept")
    await browser.sign_in()
    page = await browser.open("/shop/", root_path="/shop")
    assert '<a href="/shop/privacy/choices">' in page.partition("cmw-told")[2].partition("</div>")[0]


async def test_threads_that_hang_are_bounded(site: Site) -> None:
    linking = site.guarded.linking
    linking._waiting.update(object() for _ in range(1000))
    assert await linking.ask(lambda: True) is None
    linking._waiting.clear()
    assert await linking.ask(lambda: True) is True


async def test_an_error_of_ours_never_reaches_the_hosts_handler(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser = site.browser()
    monkeypatch.setattr(site.guarded.site, "follow", broken)
    assert await browser.sign_in() is False
    assert asgi.status(browser.last) == 303
    assert "nothing more than before is granted" in caplog.text


@pytest.mark.parametrize("account", ["", "   "])
async def test_an_account_without_a_name_is_none(site: Site, account: str) -> None:
    browser = site.browser()
    await browser.choose("accept")
    assert await browser.sign_in(account) is False
    assert set(browser.jar) - {"privacy-visit"} == {"privacy"}


async def test_whatever_a_host_calls_its_customers_is_fine(site: Site) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert await scope["consent"].sign_in(4711)
        assert await scope["consent"].sign_in("k\ud800 \0 1'; DROP TABLE ledger")
        await Application()(scope, receive, send)

    site.guarded.app = application
    await site.browser().open()


# -- what a browser sends ------------------------------------------------------------------------
KNOWN = Known(
    SUBJECT, NOW, True, True, replace(CHOICE, silent=frozenset({"sale"})), "s" * 22, "changed", frozenset({"a"})
)


@pytest.mark.parametrize(
    "known",
    [
        KNOWN,
        Known("", NOW, minor=True),
        Known(SUBJECT, NOW),
        replace(KNOWN, before=None),
        replace(KNOWN, before=frozenset()),
        KNOWN.silent(),
        replace(KNOWN, choice=None, told="linked", before=None),
    ],
)
def test_the_cookie_says_what_was_put_into_it(known: Known) -> None:
    codec = CookieCodec(Known, "account", [KEY])
    assert codec.read(codec.write(known)) == known
    assert len(codec.write(known)) <= MAX_COOKIE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "~~~~~",
        f"{SUBJECT}~0~x~~~",
        f"{SUBJECT[:-1]}~0~~~~",
        f"{SUBJECT.upper()}~0~~~~",
        f"{SUBJECT}~-1~~~~",
        f"{SUBJECT}~{'f' * 10}~~~~",
        f"{SUBJECT}~0~gm~~~",
        f"{SUBJECT}~0~~short~~",
        f"{SUBJECT}~0~~~:analytics~",
        f"{SUBJECT}~0~~~told~",
        f"{SUBJECT}~0~~~changed:<b>~",
        f"{SUBJECT}~0~~~~no choice",
        f"{SUBJECT}~0~~~~{CHOICE.pack()}~more~parts~than~there~are",
        f"{SUBJECT}~0~~~~\n",
    ],
)
def test_what_is_no_such_cookie_is_nobody(text: str) -> None:
    assert Known.unpack(text) is None


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    read = Known.unpack(text)
    assert read is None or Known.unpack(read.pack()) == read


@given(st.integers(min_value=0, max_value=400), st.characters(max_codepoint=255, exclude_characters=";"))
def test_no_damaged_cookie_signs_anybody_in(at: int, character: str) -> None:
    codec = CookieCodec(Known, "account", [KEY])
    whole = codec.write(KNOWN)
    cut = whole[: at % len(whole)] + character + whole[at % len(whole) + 1 :]
    read = codec.read(cut)
    assert read is None or cut == whole


async def test_the_cookies_of_another_purpose_and_of_another_site_sign_nobody_in(site: Site) -> None:
    browser = site.browser()
    browser.jar["privacy-account"] = CookieCodec(Known, "account", ["another key, long enough"]).write(KNOWN)
    assert not site.decision(browser).minor
    browser.jar["privacy-account"] = CookieCodec(Known, "choice", [KEY]).write(KNOWN)
    assert not site.decision(browser).minor
    browser.jar["privacy"] = site.guarded.site.badges.write(KNOWN)
    del browser.jar["privacy-account"]
    assert await browser.granted() == set()


async def test_of_several_cookies_the_newest_counts(site: Site) -> None:
    """A cookie set for another path, or put back by somebody, comes beside ours."""
    codec, browser = site.guarded.site.badges, site.browser()
    old = codec.write(Known(SUBJECT, NOW - timedelta(minutes=1), choice=replace(CHOICE, granted=frozenset(ALL))))
    new = codec.write(Known(SUBJECT, NOW, minor=True))
    for first, second in ((old, new), (new, old)):
        browser.jar = {"privacy-account": f"{first}; privacy-account={second}"}
        assert site.decision(browser).minor
        assert not site.decision(browser).allows("advertising")


async def test_a_cookie_without_a_key_for_accounts_still_holds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key went missing from the environment: what was decided stays, and nobody looks."""
    monkeypatch.delenv(ACCOUNT_VARIABLE, raising=False)
    keyless = Site(debug=False)
    browser = keyless.browser()
    browser.jar["__Host-privacy-account"] = keyless.guarded.site.badges.write(
        replace(KNOWN, at=NOW - timedelta(days=2))
    )
    await browser.open()
    assert keyless.decision(browser).minor
    assert await browser.choose("reject") == 303
    assert await browser.sign_out()
    assert "__Host-privacy-account" not in browser.jar


def test_a_key_that_is_too_short_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ACCOUNT_VARIABLE, "short")
    with pytest.raises(SettingsError, match=ACCOUNT_VARIABLE):
        Site(debug=False)


def test_more_news_than_a_cookie_holds_is_said_in_short() -> None:
    names = {f"a_rather_long_purpose_{n}": {"kind": "analytics", "title": "T", "text": "t"} for n in range(4)}
    site = Site(purposes=names)
    every = frozenset(p.key for p in site.guarded.site.catalogue.purposes.values() if p.optional)
    known = Known(SUBJECT, NOW, choice=replace(CHOICE, granted=every), aside="s" * 22, told="changed", before=every)
    with pytest.raises(ValueError, match="cookie"):
        site.guarded.site.badges.write(known)

    from consentmw.visitor import Visitor

    visitor = Visitor.read(asgi.http_scope("/"))
    link = Link(site.guarded.linking, visitor, site.guarded.site.ruling(visitor))
    _, line = link._cookie(known)
    read = site.guarded.site.badges.read(line.decode().partition(";")[0].partition("=")[2])
    assert read == replace(known, before=None)


# -- what the ledger says ------------------------------------------------------------------------
def entry(event: str, **more: Any) -> Entry:
    base: dict[str, Any] = {
        "seq": 1,
        "receipt": "r" * 22,
        "at": NOW.isoformat(),
        "event": event,
        "method": "account",
        "granted": (),
        "refused": (),
        "regime": "",
        "region": "",
        "region_source": "",
        "language": "",
        "gpc": False,
        "notice": "",
        "shown": "",
        "fingerprint": "0" * 12,
        "valid_until": "",
        "previous": "",
        "subject": SUBJECT,
        "detail": "",
        "salt": "",
        "sealed": "",
        "prev_hash": "",
        "hash": "",
    }
    return Entry(**{**base, **more})


def test_an_account_is_its_newest_choice_in_the_order_of_the_ledger() -> None:
    rows = [
        entry("linked", granted=("analytics",), at="2026-11-22T00:00:00+00:00"),
        entry("withdrawn", receipt="w" * 22, detail="signals: dnt"),
        entry("adopted", granted=("sale",)),
        entry("authorized", granted=("sale",)),
        entry("unlinked"),
    ]
    account = account_of(rows)
    assert account.choice == Choice("w" * 22, NOW, "0" * 12, frozenset())
    assert account.receipts == {"r" * 22, "w" * 22}


@pytest.mark.parametrize(
    "row",
    [
        entry("linked", receipt=""),
        entry("linked", receipt="<script>"),
        entry("linked", fingerprint="nope"),
        entry("linked", at="yesterday"),
        entry("linked", at="2026-11-21T12:00:00"),
        entry("linked", granted=("Sale!",)),
        entry("linked", granted=(7,)),
        entry("linked", detail="{"),
        entry("linked", detail="{broken"),
        entry("linked", detail='{"chosen": 7}'),
        entry("linked", detail='{"silent": 7}'),
        entry("linked", detail='{"silent": ["<b>"]}'),
    ],
)
def test_a_row_that_is_none_of_ours_is_no_choice(row: Entry) -> None:
    assert account_of([row]) == Account()


def test_a_choice_is_never_from_after_its_row() -> None:
    account = account_of([entry("linked", detail='{"chosen": "2099-01-01T00:00:00+00:00"}')])
    assert account.choice is not None
    assert account.choice.at == NOW


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("", (False, False)),
        ("signal", (True, True)),
        ("signal given", (True, True)),
        ("signal override", (True, False)),
        ("signal override given", (True, True)),
        ("override signal", (True, True)),
        ("override", (False, False)),
    ],
)
def test_an_opt_out_by_signal_holds_until_an_override(events: str, expected: tuple[bool, bool]) -> None:
    account = account_of([entry(event) for event in events.split()])
    assert (account.signalled, account.opted_out) == expected


@pytest.mark.parametrize(
    ("own", "known", "expected"),
    [
        (None, None, None),
        ("own", None, "own"),
        ("own", Known(SUBJECT, NOW), "own"),
        (None, "account", "account"),
        ("own", "account", "own"),
        ("older", "account", "account"),
        ("newer", "account", "newer"),
        ("newer, aside", "account", "account"),
    ],
)
def test_which_choice_counts(own: str | None, known: Any, expected: str | None) -> None:
    account = replace(CHOICE, receipt="account-account")
    mine = None if own is None else replace(CHOICE, receipt="own-own-own")
    if own == "older":
        mine = replace(CHOICE, receipt="own-own-own", at=NOW - timedelta(seconds=1))
    if own and own.startswith("newer"):
        mine = replace(CHOICE, receipt="own-own-own", at=NOW + timedelta(seconds=1))
    if known == "account":
        known = Known(SUBJECT, NOW, choice=account, aside="own-own-own" if own == "newer, aside" else "")
    found = in_force(mine, known)
    assert found is {None: None, "own": mine, "newer": mine, "account": account}[expected]


async def test_the_account_gets_no_choice_twice(site: Site) -> None:
    """Two tabs sign in at once: both link the same choice, under the same receipt."""
    browser = site.browser()
    await browser.choose("accept")
    twin = site.browser()
    twin.jar = dict(browser.jar)
    await asyncio.gather(browser.sign_in(), twin.sign_in())
    assert len({row.receipt for row in site.rows("linked")}) == 1
    assert site.decision(browser).receipt == site.decision(twin).receipt


@pytest.mark.parametrize(("since", "due"), [(0, False), (299, False), (300, True), (-1, True), (10**9, True)])
def test_when_an_account_is_looked_up(since: int, due: bool) -> None:
    assert Known(SUBJECT, NOW).due(NOW + timedelta(seconds=since), timedelta(minutes=5)) is due
    assert not Known("", NOW).due(NOW + timedelta(seconds=since), timedelta(minutes=5))


# -- pseudonyms ----------------------------------------------------------------------------------
def test_a_pseudonym_needs_the_key_and_is_always_the_same() -> None:
    ours, others = Pseudonyms(KEY), Pseudonyms("another key, long enough")
    assert ours.of("4711") == ours.of(" 4711 ") != others.of("4711")
    assert ours.linked("receipt") == ours.linked("receipt") != others.linked("receipt")
    assert ours.of("receipt")[:24] != ours.linked("receipt")
