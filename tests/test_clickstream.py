"""The clickstream: visits of those who chose to be measured, what their pages tell, and nothing of anybody else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import ConsentMiddleware, Settings
from consentmw.errors import SettingsError
from consentmw.events import Count
from consentmw.events.hosts import OTHER
from consentmw.events.reading import terms
from consentmw.events.visits import visits
from consentmw.routes import Routes
from consentmw.sessions import Session, campaign, follow
from consentmw.settings.recording import RecordingOptions

from .asgi import App, Header, body, cookies, html, http_scope, request, run, status, values
from .mounted import KEY, choice_cookie, mounted, post

NOW = 1_800_000_000
RECEIPT = "r" * 22
PAGE = html(b"<!doctype html><html><head><title>x</title></head><body>x</body></html>")
#: as a browser sends it from a page of the site
OWN: list[Header] = [("sec-fetch-site", "same-origin"), ("content-type", "application/json")]


class Site:
    """A mounted site, and a visitor who keeps cookies."""

    #: seconds since 1970, of all sites
    time: float = NOW

    def __init__(self, *granted: str, app: Any = None, **options: Any) -> None:
        self.middleware: ConsentMiddleware = mounted(app or App(*PAGE), **options)
        self.middleware.site.clock = lambda: datetime.fromtimestamp(Site.time, UTC)
        at = datetime.fromtimestamp(NOW - 60, UTC)
        line = choice_cookie(self.middleware, *granted, at=at, receipt=RECEIPT) if granted else ""
        self.jar = dict([line.split("=", 1)] if line else [])

    async def ask(self, path: str, *headers: Header, method: str = "GET", events: Any = ()) -> list[Any]:
        crumbs = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        scope = http_scope(path, method, [("cookie", crumbs), *headers])
        messages = await run(self.middleware, scope, *events)
        for name, value in cookies(messages).items():
            self.jar[name] = value
        self.jar = {name: value for name, value in self.jar.items() if value}
        return messages

    async def tell(self, *events: Any, page: str = "/bills", id_: str = "batch-0001", headers: Any = None) -> list[Any]:
        content = json.dumps({"id": id_, "page": page, "events": events}).encode()
        return await self.send(content, headers)

    async def send(self, content: bytes, headers: Any = None) -> list[Any]:
        return await self.ask(
            "/privacy/events", *(OWN if headers is None else headers), method="POST", events=[request(content)]
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was recorded, oldest first."""
        assert self.middleware.recorder.flush()
        return self.middleware.recorder.store.events(limit=100_000)[::-1]

    @property
    def counts(self) -> dict[tuple[str, str, str], int]:
        assert self.middleware.recorder.flush()
        found = self.middleware.recorder.store.counts(limit=100_000)
        return {(row["kind"], row["route"], row["why"]): row["count"] for row in found}

    @property
    def session(self) -> str:
        read = self.middleware.site.visits._codec.read(self.jar.get("privacy-visit", ""))
        return read.id if read else ""


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes the time of the machine takes that of the site."""
    Site.time = NOW
    monkeypatch.setattr("consentmw.middleware.time", lambda: Site.time)
    monkeypatch.setattr("consentmw.goals.time", lambda: Site.time)


OPT_OUT = {"fallback_regime": "opt_out"}


# -- who is followed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "options", "headers", "followed"),
    [
        (("analytics",), {}, [], True),
        (("analytics", "advertising"), {}, [], True),
        (("analytics",), {}, [("sec-gpc", "1")], True),  # asked for by name, which the signal is not about
        (("advertising",), {}, [], False),
        ((), {}, [], False),
        ((), OPT_OUT, [], False),  # rows of the coarse tier, and nothing that ties them together
        ((), OPT_OUT, [("sec-gpc", "1")], False),
        (("analytics",), {"clickstream": False}, [], False),
        (("analytics",), {"record": "none"}, [], False),
        (("analytics",), {}, [("sec-purpose", "prefetch")], False),
    ],
)
async def test_only_who_chose_to_be_measured_is_followed(
    granted: tuple[str, ...], options: dict[str, Any], headers: list[Header], followed: bool
) -> None:
    site = Site(*granted, **options)
    page = await site.ask("/", *headers)
    script = b"/privacy/static/clicks." in body(page)
    if headers != [("sec-purpose", "prefetch")]:
        assert script == followed
    assert ("privacy-visit" in cookies(page)) == followed
    assert [bool(row["session"]) for row in site.rows if row["kind"] == "page"] in ([followed], [])
    told = await site.tell({"kind": "form_submit", "name": "contact"}, headers=[*OWN, *headers])
    assert status(told) == (204 if site.middleware.site.visits.follows else 404)
    assert any(row["kind"] == "form_submit" for row in site.rows) == followed
    assert [kind for kind, _, _ in site.counts if kind not in ("page", "form_submit", "banner")] == []


async def test_the_cookie_can_not_be_read_by_scripts_and_ends_by_itself() -> None:
    (line,) = values(await Site("analytics").ask("/"), "set-cookie")
    assert line.split("; ")[1:] == ["Path=/", "Max-Age=1800", "HttpOnly", "SameSite=Lax"]
    scope = http_scope("/", scheme="https")
    site = Site("analytics", debug=False)
    crumb = site.jar["privacy"]
    scope["headers"].append((b"cookie", f"__Host-privacy={crumb}".encode()))
    assert "__Host-privacy-visit" in cookies(await run(site.middleware, scope))
    assert "Secure" in values(await run(site.middleware, scope), "set-cookie")[0]


async def test_a_withdrawal_removes_the_cookie_with_its_answer() -> None:
    site = Site("analytics")
    await site.ask("/")
    crumbs = "; ".join(f"{name}={value}" for name, value in site.jar.items())
    answer = await post(site.middleware, "/privacy/choices", {"action": "withdraw"}, headers=[("cookie", crumbs)])
    assert cookies(answer)["privacy-visit"] == ""
    assert any("privacy-visit=; Path=/; Max-Age=0" in line for line in values(answer, "set-cookie"))


async def test_a_visit_left_behind_is_removed_by_the_next_page() -> None:
    """The choice may have expired, or the option been switched off, while the browser kept the cookie."""
    site = Site("analytics")
    await site.ask("/")
    del site.jar["privacy"]
    page = await site.ask("/")
    assert cookies(page)["privacy-visit"] == ""
    assert b"clicks." not in body(page)
    off = Site("analytics", clickstream=False)
    off.jar["privacy-visit"] = "whatever"
    assert cookies(await off.ask("/"))["privacy-visit"] == ""


async def test_other_answers_set_no_cookie() -> None:
    """A cookie on an image would keep caches from keeping it."""
    image = App(*html(b"x", headers=[]))
    image.messages[0]["headers"] = [(b"content-type", b"image/png")]
    assert cookies(await Site("analytics", app=image).ask("/mark.png")) == {}


async def test_only_pages_begin_a_visit() -> None:
    """An answer that sets no cookie would begin one for each row that is recorded."""
    data = App(*html(b"{}"))
    data.messages[0]["headers"] = [(b"content-type", b"application/json")]
    site = Site("analytics", app=data, record="all")
    await site.ask("/api/readings")
    assert [row["session"] for row in site.rows] == [""]
    pages = Site("analytics")
    await pages.ask("/")
    site.jar = dict(pages.jar)
    await site.ask("/api/readings")
    assert site.rows[-1]["session"] == pages.session


# -- visits --------------------------------------------------------------------------------------

BEFORE = Session("a" * 16, NOW - 3_000, NOW - 600, "c" * 12, RECEIPT)


@pytest.mark.parametrize(
    ("changes", "receipt", "mark", "goes_on"),
    [
        ({}, RECEIPT, "", True),
        ({}, RECEIPT, "c" * 12, True),
        ({}, RECEIPT, "d" * 12, False),  # another campaign
        ({"campaign": ""}, RECEIPT, "d" * 12, False),  # came by itself, then by a campaign
        ({}, "s" * 22, "", False),  # another choice
        ({"seen": NOW - 1_799}, RECEIPT, "", True),
        ({"seen": NOW - 1_800}, RECEIPT, "", False),
        ({"seen": NOW + 299}, RECEIPT, "", True),  # another machine's clock
        ({"seen": NOW + 3_000}, RECEIPT, "", False),
        ({"began": NOW - 86_399}, RECEIPT, "", True),
        ({"began": NOW - 86_400}, RECEIPT, "", False),
    ],
)
def test_a_visit_goes_on_or_another_begins(changes: dict[str, Any], receipt: str, mark: str, goes_on: bool) -> None:
    from dataclasses import replace

    before = replace(BEFORE, **changes)
    after = follow(before, NOW, receipt, mark, lambda: "n" * 16)
    if goes_on:
        assert after in (before, replace(before, seen=NOW))
    else:
        assert after == Session("n" * 16, NOW, NOW, mark, receipt)


@pytest.mark.parametrize(("ago", "again"), [(0, False), (59, False), (60, True), (1_700, True)])
def test_the_cookie_is_written_anew_once_a_minute(ago: int, again: bool) -> None:
    """Each change of a cookie makes the visitor new to what remembers decisions."""
    before = Session("a" * 16, NOW - 1_700, NOW - ago, "", RECEIPT)
    assert (follow(before, NOW, RECEIPT, "") is not before) == again


@pytest.mark.parametrize(
    ("one", "other", "advertising", "same"),
    [
        (b"utm_source=a", b"utm_source=a", False, True),
        (b"utm_source=a", b"utm_source=b", False, False),
        (b"utm_source=a&utm_campaign=x", b"utm_campaign=x&utm_source=a", False, True),
        (b"utm_source=a&page=1", b"page=2&utm_source=a", False, True),
        (b"gclid=1", b"gclid=2", True, False),
        (b"gclid=1", b"gclid=2", False, True),
        (b"gclid=1", b"fbclid=1", False, False),
        (b"gclid=%FF%00", b"gclid=%FF%00", True, True),
    ],
)
def test_campaigns_are_told_apart(one: bytes, other: bytes, advertising: bool, same: bool) -> None:
    """Without consent to advertising the value of a click identifier tells nobody apart."""
    assert (campaign(one, advertising) == campaign(other, advertising)) == same
    assert len(campaign(one, advertising)) == 12


@pytest.mark.parametrize("query", [b"", b"q=utm_", b"utm_medium=mail", b"xgclid=1", b"&" * 5_000 + b"gclid", b"\xff"])
def test_other_queries_are_no_campaign(query: bytes) -> None:
    assert campaign(query, True) == ""


async def test_pages_of_one_visit_share_its_id_and_a_campaign_begins_another() -> None:
    site = Site("analytics")
    for path, wait in (("/", 0), ("/bills", 300), ("/rates?utm_source=mail", 300), ("/", 1_700), ("/", 1_801)):
        Site.time += wait
        await site.ask(path)
    found = [row["session"] for row in site.rows]
    assert found[0] == found[1] != found[2] == found[3] != found[4]
    assert len(set(found)) == 3
    assert site.session == found[4]


@pytest.mark.parametrize(
    "forge",
    [
        lambda real: real[:-1],
        lambda real: real.replace("~", "-"),
        lambda real: "1~" + "a" * 16 + f"~{NOW:x}~{NOW:x}~~{RECEIPT}.c2ln",
        lambda real: real + "a" * 500,
        lambda real: "\xff\x00",
        lambda real: "",
    ],
)
async def test_a_forged_visit_is_none(forge: Callable[[str], str]) -> None:
    site = Site("analytics")
    await site.ask("/")
    real = site.session
    site.jar["privacy-visit"] = forge(site.jar["privacy-visit"])
    await site.ask("/")
    assert site.session not in ("", real)


@given(st.text(st.sampled_from("aA-_~0f9r.\x00é"), max_size=120))
def test_no_text_breaks_the_cookie_of_a_visit(text: str) -> None:
    read = Session.unpack(text)
    assert read is None or read.pack() == text or read.began < 16**9


async def test_a_new_choice_begins_a_visit() -> None:
    """All rows of a visit stand under one receipt, so that a withdrawal finds them."""
    site = Site("analytics")
    await site.ask("/")
    name, crumb = choice_cookie(
        site.middleware, "analytics", "advertising", at=datetime.fromtimestamp(NOW, UTC), receipt="s" * 22
    ).split("=", 1)
    site.jar[name] = crumb
    await site.ask("/")
    assert len({(row["session"], row["receipt"]) for row in site.rows}) == 2


# -- what a page tells ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind", "row"),
    [
        ({"kind": "outbound", "to": "https://a.example/rates/2026?a=47"}, "outbound", ("a.example/rates/{x}", None, 0)),
        ({"kind": "outbound", "to": "https://jo:pw@rates.example:8443/a"}, "outbound", ("rates.example/a", None, 0)),
        ({"kind": "download", "to": "https://site.example/f/tariff.pdf"}, "download", ("/f/tariff.pdf", None, 0)),
        ({"kind": "download", "to": "https://site.example/f/b-4711081512.pdf"}, "download", ("/f/{x}", None, 0)),
        ({"kind": "download", "to": "https://cdn.example/tariff.pdf"}, "download", ("cdn.example/tariff.pdf", None, 0)),
        ({"kind": "form_start", "name": "contact-form"}, "form_start", ("contact-form", None, 0)),
        ({"kind": "form_submit", "name": "acct-4711081512"}, "form_submit", ("{x}", None, 0)),
        ({"kind": "form_submit", "name": "a/b\u0000/4711"}, "form_submit", ("{x}", None, 0)),
        ({"kind": "form_submit", "name": ""}, "form_submit", ("", None, 0)),
        ({"kind": "leave", "seconds": 12.5, "depth": 7}, "leave", ("", 7.0, 12_500)),
        ({"kind": "route"}, "page", ("", None, 0)),
        ({"kind": "goal", "name": "bill paid", "value": 84.2}, "goal", ("bill paid", 84.2, 0)),
        ({"kind": "goal", "name": "bill paid"}, "goal", ("bill paid", None, 0)),
        ({"kind": "goal", "name": "bill paid", "value": None, "who": "jo"}, "goal", ("bill paid", None, 0)),
    ],
)  # fmt: skip
async def test_each_kind_becomes_a_row_of_the_visit(said: dict[str, Any], kind: str, row: tuple[Any, ...]) -> None:
    site = Site("analytics", goals=["bill paid"])
    await site.ask("/bills")
    assert status(await site.tell(said)) == 204
    page, told = site.rows
    assert (told["kind"], told["target"], told["value"], told["duration_ms"]) == (kind, *row)
    assert told["session"] == page["session"] == site.session
    assert told["route"] == ("bill paid" if kind == "goal" else "/bills")
    assert (told["status"], told["method"], told["receipt"], told["tier"]) == (204, "POST", RECEIPT, "visit")
    assert "4711" not in str(told)
    assert site.counts[(kind, told["route"], "")] == (2 if kind == "page" else 1)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("outbound", "form"),
        (["kind", "leave"], "form"),
        (None, "form"),
        ({}, "kind"),
        ({"kind": "page"}, "kind"),
        ({"kind": "keys", "typed": "secret"}, "kind"),
        ({"kind": ["leave"]}, "kind"),
        ({"kind": "search", "name": "x"}, "kind"),
        ({"kind": "outbound"}, "value"),
        ({"kind": "outbound", "to": "https://site.example/own"}, "value"),
        ({"kind": "outbound", "to": "javascript:alert(1)"}, "value"),
        ({"kind": "outbound", "to": "https://\u0000/"}, "value"),
        ({"kind": "outbound", "to": {"to": "https://a.example/"}}, "value"),
        ({"kind": "outbound", "to": "https://a.example/" + "a" * 2_000}, "value"),
        ({"kind": "form_start", "name": "a" * 101}, "value"),
        ({"kind": "form_start", "name": 5}, "value"),
        ({"kind": "leave", "seconds": -1, "depth": 1}, "value"),
        ({"kind": "leave", "seconds": 1, "depth": 11}, "value"),
        ({"kind": "leave", "seconds": True, "depth": 1}, "value"),
        ({"kind": "leave", "seconds": 10**400, "depth": 1}, "value"),
        ({"kind": "leave", "seconds": float("nan"), "depth": 1}, "value"),
        ({"kind": "goal", "name": "made up"}, "value"),
        ({"kind": "goal", "name": ["bill paid"]}, "value"),
        ({"kind": "goal", "name": "bill paid", "value": "84"}, "value"),
        ({"kind": "goal", "name": "bill paid", "value": float("inf")}, "value"),
        ({"kind": "goal", "name": "bill paid", "value": 10**400}, "value"),
        ({"kind": "goal", "name": "bill paid", "value": True}, "value"),
    ],
)
async def test_an_event_that_is_none_is_left_out_and_counted(said: Any, reason: str) -> None:
    site = Site("analytics", goals=["bill paid"])
    await site.ask("/bills")
    assert status(await site.tell(said, {"kind": "form_start", "name": "ok"})) == 204
    assert [row["kind"] for row in site.rows] == ["page", "form_start"]
    assert site.counts[("refused", "(events)", reason)] == 1


DEEP = b'{"id":"batch-0001","page":"/","events":' + b"[" * 8_000
EVENTS = b'"events":[{"kind":"leave","seconds":1,"depth":1}]}'


@pytest.mark.parametrize(
    ("content", "answer", "reason"),
    [
        (b"", 400, "form"),
        (b"null", 400, "form"),
        (b"[]", 400, "form"),
        (b"{", 400, "form"),
        (b"\x00" * 100, 400, "form"),
        (b"\xff\xfe{\x00}\x00", 400, "form"),
        (b'{"id":"\xff","page":"/",' + EVENTS, 400, "form"),
        (DEEP, 400, "form"),
        (DEEP + b"]" * 8_000 + b"}", 400, "form"),
        (b'{"page":"/",' + EVENTS, 400, "form"),
        (b'{"id":"short","page":"/",' + EVENTS, 400, "form"),
        (b'{"id":"' + b"a" * 41 + b'","page":"/",' + EVENTS, 400, "form"),
        (b'{"id":"batch 0001\\u0000","page":"/",' + EVENTS, 400, "form"),
        (b'{"id":12345678,"page":"/",' + EVENTS, 400, "form"),
        (b'{"id":"batch-0001","page":["/"],' + EVENTS, 400, "form"),
        (b'{"id":"batch-0001","page":"' + b"a" * 2_001 + b'",' + EVENTS, 400, "form"),
        (b'{"id":"batch-0001","page":"/","events":[]}', 400, "form"),
        (b'{"id":"batch-0001","page":"/","events":{"0":1}}', 400, "form"),
        (b'{"id":"batch-0001","page":"/","events":[' + b"1," * 50 + b"1]}", 400, "form"),
        (b'{"id":"batch-0001","page":"/","n":' + b"9" * 5_000 + b"," + EVENTS, 400, "form"),
        (b" " * 16_385, 413, "size"),
    ],
)
async def test_a_body_that_is_none_is_refused_and_counted(content: bytes, answer: int, reason: str) -> None:
    site = Site("analytics")
    await site.ask("/")
    assert status(await site.send(content)) == answer
    assert [row["kind"] for row in site.rows] == ["page"]
    assert site.counts[("refused", "(events)", reason)] == 1


async def test_ten_megabytes_are_not_read() -> None:
    site = Site("analytics")
    await site.ask("/")
    read: list[int] = []

    class Chunk(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            if key == "body":
                read.append(1)
            return super().get(key, default)

    chunks = [Chunk(request(b"x" * 4_096, more=True)) for _ in range(2_560)]
    answer = await site.ask("/privacy/events", *OWN, method="POST", events=chunks)
    assert status(answer) == 413
    assert len(read) == 5


async def test_a_body_cut_off_is_refused() -> None:
    site = Site("analytics")
    await site.ask("/")
    events = [request(b'{"id":', more=True), {"type": "http.disconnect"}]
    assert status(await site.ask("/privacy/events", *OWN, method="POST", events=events)) == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KINDS = st.sampled_from(["outbound", "download", "form_start", "form_submit", "leave", "route", "goal"])
SAID = st.fixed_dictionaries(
    {"kind": KINDS}, optional={name: JSON | st.text() for name in ("to", "name", "seconds", "depth", "value", "ago")}
)


@given(st.lists(SAID | JSON, min_size=1, max_size=5), st.text(max_size=60))
async def test_whatever_is_told_is_answered_and_can_be_stored(said: list[Any], page: str) -> None:
    site = Site("analytics", goals=["bill paid"], flush_seconds=0.01)
    await site.ask("/")
    answer = await site.tell(*said, page=page)
    assert (status(answer), body(answer)) == (204, b"")
    assert site.middleware.recorder.dropped == {}
    for row in site.rows:
        assert not any(c.isnumeric() for c in f"{row['route']}{row['target']}")
    site.middleware.recorder.close()


@pytest.mark.parametrize(
    "headers",
    [
        [("sec-fetch-site", "cross-site"), ("content-type", "application/json")],
        [("sec-fetch-site", "same-site"), ("content-type", "application/json")],
        [("origin", "https://evil.example"), ("content-type", "application/json")],
    ],
)
async def test_another_site_can_tell_nothing(headers: list[Header]) -> None:
    site = Site("analytics")
    await site.ask("/")
    assert status(await site.tell({"kind": "route"}, headers=headers)) == 403
    assert len(site.rows) == 1


@pytest.mark.parametrize("kind", ["", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"])
async def test_a_type_that_forms_can_send_is_refused(kind: str) -> None:
    site = Site("analytics")
    await site.ask("/")
    headers = [("sec-fetch-site", "same-origin"), ("content-type", kind)]
    assert status(await site.tell({"kind": "route"}, headers=headers)) == 415
    assert len(site.rows) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods_are_refused(method: str) -> None:
    assert status(await Site("analytics").ask("/privacy/events", method=method)) == 405


async def test_who_did_not_choose_is_not_even_read() -> None:
    site = Site()
    site.jar["privacy-visit"] = "x"
    answer = await site.ask("/privacy/events", *OWN, method="POST", events=[{"type": "unreadable"}])
    assert (status(answer), site.rows, site.counts) == (204, [], {})


async def test_what_comes_under_a_withdrawn_receipt_is_not_kept() -> None:
    """A page that was open elsewhere still has the old cookie; neither row nor counter may come of it."""
    site = Site("analytics")
    await site.ask("/")
    site.middleware.recorder.remove(RECEIPT)
    assert site.rows == []
    assert status(await site.tell({"kind": "form_start", "name": "contact"})) == 204
    assert site.rows == []
    assert [kind for kind, _, _ in site.counts] == ["page"]


@pytest.mark.parametrize("store", ["memory:", "sqlite:///{0}/events.db"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_replay_counts_once(store: str, at_once: bool, tmp_path: Path) -> None:
    """Browsers and proxies repeat requests, at once or when another process has the visitor."""
    site = Site("analytics", store=store.format(tmp_path), flush_seconds=60 if at_once else 0.01)
    await site.ask("/")
    for _ in range(3):
        await site.tell({"kind": "form_start", "name": "contact"}, {"kind": "route"})
        if not at_once:
            site.middleware.recorder.flush()
            # As another process would: it has not seen the batch.
            site.middleware.pages._pages["events"].__self__._recent.clear()  # type: ignore[attr-defined]
    await site.tell({"kind": "form_start", "name": "contact"}, id_="batch-0002")
    assert sorted(row["kind"] for row in site.rows) == ["form_start", "form_start", "page", "page"]
    assert (site.counts[("form_start", "/bills", "")], site.counts[("page", "/bills", "")]) == (2, 1)
    assert site.counts.get(("refused", "(events)", "again"), 0) == (2 if at_once else 0)


async def test_the_same_id_in_another_visit_is_another_batch() -> None:
    """Nobody can keep a stranger's events out by guessing ids."""
    site = Site("analytics")
    for _ in range(2):
        await site.ask("/")
        await site.tell({"kind": "form_start", "name": "contact"})
        Site.time += 3_600
    assert sorted(row["kind"] for row in site.rows) == ["form_start", "form_start", "page", "page"]


async def test_a_visit_tells_only_so_much_in_an_hour() -> None:
    site = Site("analytics", queue_capacity=100_000)
    await site.ask("/")
    for number in range(25):
        answer = await site.tell(*[{"kind": "form_start", "name": "x"}] * 50, id_=f"batch-{number:04}")
        assert status(answer) == 204
    assert len(site.rows) == 1_001
    assert site.counts[("refused", "(events)", "too many")] == 250
    Site.time += 3_600
    await site.ask("/")
    await site.tell({"kind": "form_start", "name": "x"}, id_="batch-later")
    assert len(site.rows) == 1_003


@pytest.mark.parametrize(
    ("ago", "waited"), [(0, 0), (4_000, 4), (30_000, 30), (10**12, 30), (10**400, 30), (-5, 0), ("4000", 0), (None, 0)]
)
async def test_a_visitors_clock_is_believed_for_half_a_minute(ago: Any, waited: float) -> None:
    site = Site("analytics")
    await site.ask("/")
    await site.tell({"kind": "route", "ago": ago})
    assert [row["at"] for row in site.rows if row["status"] == 204] == [NOW - waited]


async def test_leaving_a_page_after_its_visit_is_no_visit_of_its_own() -> None:
    """And acting in it is one: with its cookie."""
    site = Site("analytics")
    await site.ask("/")
    first = site.session
    del site.jar["privacy-visit"]
    assert cookies(await site.tell({"kind": "leave", "seconds": 9, "depth": 3})) == {}
    assert site.counts[("refused", "(events)", "no visit")] == 1
    await site.tell({"kind": "form_start", "name": "contact"}, id_="batch-0002")
    assert site.session not in ("", first)
    assert site.rows[-1]["session"] == site.session


async def test_acting_in_a_page_lets_the_visit_go_on() -> None:
    site = Site("analytics")
    await site.ask("/")
    first = site.session
    for number in range(4):
        Site.time += 1_200
        await site.tell({"kind": "route"}, id_=f"batch-{number:04}")
    assert site.session == first
    assert {row["session"] for row in site.rows} == {first}


async def test_the_answer_does_not_wait_for_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the time that it takes nor its failure is the visitor's."""
    site = Site("analytics")
    await site.ask("/")
    sent: list[Any] = []

    def fail(*_: object) -> None:
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        raise RuntimeError("no room")

    monkeypatch.setattr(site.middleware.site.recorder, "put", fail)
    crumbs = "; ".join(f"{name}={value}" for name, value in site.jar.items())
    content = json.dumps({"id": "batch-0001", "page": "/", "events": [{"kind": "route"}]}).encode()
    scope = http_scope("/privacy/events", "POST", [("cookie", crumbs), *OWN])
    assert status(await run(site.middleware, scope, request(content), sent=sent)) == 204


# -- routes --------------------------------------------------------------------------------------


def test_a_hundred_thousand_paths_are_not_as_many_routes() -> None:
    """Words are kept in templates, and anybody can ask for any word."""
    routes = Routes((), (KEY,))
    letters = "bcdfghjklm"
    seen = set()
    for number in range(100_000):
        word = "".join(f"{letters[int(digit)]}a" for digit in f"{number:05}")
        route, made = routes.named(f"/{word}")
        seen.add(routes.counted(Count(NOW, "page", route, "2xx"), made).route)
    assert len(seen) == 1_001
    assert OTHER in seen
    assert routes.counted(Count(NOW + 3_600, "page", "/later", "2xx"), True).route == "/later"
    assert routes.counted(Count(NOW + 3_600, "page", "/known", "2xx"), False).route == "/known"


async def test_paths_are_bounded_in_counters_and_stated_routes_are_not_displaced() -> None:
    site = Site("analytics", routes=["/accounts/{id}/bills"], queue_capacity=100_000)
    site.middleware.site.routes._hourly._most = 3
    for word in ("home", "rates", "news", "about", "jobs"):
        await site.ask(f"/{word}")
        await site.tell({"kind": "route"}, page=f"/{word}/more", id_=f"batch-{word}")
    await site.ask("/accounts/4711/bills")
    pages = {route for kind, route, _ in site.counts if kind == "page"}
    assert len(pages) == 5
    assert {OTHER, "/accounts/{id}/bills"} <= pages


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/accounts/4711/bills", "/accounts/{id}/bills"),
        ("/accounts/4711/bills/", "/accounts/{id}/bills"),
        ("/accounts/jo@example.org/bills", "/accounts/{id}/bills"),
        ("/accounts/new", "/accounts/new"),
        ("/accounts/4711", "/accounts/{which}"),
        ("/v2/files/a/b/c.pdf", "/v2/files/{rest:path}"),
        ("/v2/files/", "/{x}/files"),
        ("/accounts/4711/bills/4711", "/accounts/{x}/bills/{x}"),
        ("/a.c", "/a.c"),
        ("/abc", "/abc"),
        ("/", "/"),
    ],
)
def test_stated_routes_come_first(path: str, route: str) -> None:
    stated = ("/accounts/{id}/bills", "/accounts/new", "/accounts/{which}", "/v2/files/{rest:path}", "/a.c")
    routes = Routes(stated, (KEY,))
    assert routes.named(path) == (route, route not in stated)
    assert routes.of({"path": path}, 200)[0] == route
    assert routes.of({"path": path}, 404) == ("(not found)", False)


@pytest.mark.parametrize("route", ["accounts", "", "/{", "/a}", "/{1}", "/{a:int}", "/a b", "/a?b", "/" + "a" * 200])
def test_a_route_that_is_none_is_refused_at_start(route: str) -> None:
    with pytest.raises(SettingsError, match="routes"):
        Settings.of({"debug": True, "routes": [route]})


def test_a_long_route_is_read_in_no_time() -> None:
    """The pattern must not go back and forth over what does not fit."""
    with pytest.raises(ValueError, match="paths like"):
        RecordingOptions(routes=("/" + "{a}" * 60 + "{" * 19,))


@pytest.mark.parametrize("goals", [[""], [" a"], ["a\n"], ["a" * 61], [f"goal {n}" for n in range(201)]])
def test_a_goal_that_is_no_name_is_refused_at_start(goals: list[str]) -> None:
    with pytest.raises(SettingsError, match="goals"):
        Settings.of({"debug": True, "goals": goals})


async def test_what_a_page_tells_stands_under_the_route_of_its_page() -> None:
    """As the framework named it, which no path could tell; and signed, so that no visitor can make one up."""

    class Framework(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["route"] = type("Route", (), {"path": '/v2/"meters"/{meter_id}'})()
            await super().__call__(scope, receive, send)

    site = Site("analytics", app=Framework(*PAGE))
    page = body(await site.ask("/v2/meters/4711")).decode()
    signed = page.partition('data-page="')[2].partition('"')[0].replace("&#34;", '"').replace("&quot;", '"')
    await site.tell({"kind": "form_start", "name": "a"}, page=signed)
    await site.tell({"kind": "form_start", "name": "b"}, page=signed[:-2] + "AA", id_="batch-0002")
    await site.tell({"kind": "form_start", "name": "c"}, page="/v2/meters/4711%20/x", id_="batch-0003")
    assert [row["route"] for row in site.rows[:2]] == ['/v2/"meters"/{meter_id}'] * 2
    assert [row["route"] for row in site.rows[2:]] == ["/{x}/{x}/{x}", "/{x}/meters/{x}/x"]


def test_a_signed_route_is_bounded_and_for_one_purpose() -> None:
    routes = Routes((), (KEY,))
    assert routes.read(routes.signed("/bills")) == "/bills"
    assert routes.read(routes.signed("/störung")) == "/störung"
    assert routes.signed("/" + "a" * 700) == ""
    for hostile in ("", "/bills", "/bills.", "\x00", "\ud800", "é" * 700, routes.signed("/bills") + "\n"):
        assert routes.read(hostile) is None
    assert Routes((), ("another key, long enough",)).read(routes.signed("/bills")) is None


# -- goals ---------------------------------------------------------------------------------------


class Paying(App):
    """An application that reports a goal."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["consent"].goal("bill paid", 84.2)
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize(
    ("granted", "options", "tier"),
    [
        ((), {}, None),
        ((), OPT_OUT, "coarse"),
        (("analytics",), {}, "visit"),
        (("analytics", "advertising"), {}, "person"),
        (("analytics",), {"clickstream": False}, "visit"),
    ],
)
async def test_a_goal_is_always_counted_and_has_a_row_by_tier(
    granted: tuple[str, ...], options: dict[str, Any], tier: str | None
) -> None:
    site = Site(*granted, app=Paying(*PAGE), goals=["bill paid"], **options)
    await site.ask("/pay")
    assert sum(count for (kind, route, _), count in site.counts.items() if (kind, route) == ("goal", "bill paid")) == 1
    rows = [row for row in site.rows if row["kind"] == "goal"]
    assert [row["tier"] for row in rows] == ([tier] if tier else [])
    wide = tier in ("visit", "person")
    assert [row["value"] for row in rows] == [84.2 if wide else None] * len(rows)
    assert [bool(row["session"]) for row in rows] == [wide and "clickstream" not in options] * len(rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [("made up", None), ("bill paid", float("nan")), ("bill paid", float("-inf")), ("bill paid", True), ("", 1)],
)
async def test_a_mistake_in_a_goal_shows_where_it_is_made(name: str, value: Any) -> None:
    """For a visitor without consent, too: or nobody would see it before the first one who gave it."""
    wrong: list[ValueError] = []

    class Mistaken(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                scope["consent"].goal(name, value)
            except ValueError as error:
                wrong.append(error)
            await super().__call__(scope, receive, send)

    site = Site(app=Mistaken(*PAGE), goals=["bill paid"])
    await site.ask("/")
    assert len(wrong) == 1
    assert not any(kind == "goal" for kind, _, _ in site.counts)


async def test_a_goal_that_can_not_be_recorded_costs_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(app=Paying(*PAGE), goals=["bill paid"])

    def fail(*_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(site.middleware.site.goals, "_put", fail)
    assert status(await site.ask("/pay")) == 200


# -- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Power  outage", "power outage"),
        ("bill 4711081512", "bill ##########"),
        ("jo.doe@example.org bill", "# bill"),
        ("a@b", "#"),
        ("a@b@c @ me@", "# # #"),
        ("٤٧١١ 支払い ½ Ⅻ", "#### 支払い # #"),
        ("a\x00b\u202ec\n", "a b c"),
        ("x" * 5_000, "x" * 100),
        ("\ud800", ""),
        ("", ""),
    ],
)
def test_words_are_kept_and_numbers_and_addresses_are_not(typed: str, kept: str) -> None:
    assert terms(typed) == kept


@given(st.text(max_size=200))
def test_any_search_becomes_short_plain_text(typed: str) -> None:
    kept = terms(typed)
    assert len(kept) <= 100
    assert kept.isprintable()
    assert not any(c.isnumeric() for c in kept)
    assert "@" not in kept
    kept.encode()


@pytest.mark.parametrize(
    ("granted", "path", "options", "found"),
    [
        (("analytics",), "/find?q=power+outage&account=4711", {}, ["power outage"]),
        (("analytics",), "/find?q=&s=gas", {}, ["gas"]),
        (("analytics",), "/find?q=a&q=b", {}, ["a"]),
        (("analytics",), "/find?query=x", {}, []),
        (("analytics",), "/find?q=%00%FF", {}, ["\ufffd"]),
        (("analytics",), "/find?q=x", {"search_keys": []}, []),
        (("analytics",), "/find?q=x", {"record": "none"}, []),
        ((), "/find?q=x", OPT_OUT, []),
        ((), "/find?q=x", {}, []),
    ],
)
async def test_a_search_is_taken_from_the_page_view(
    granted: tuple[str, ...], path: str, options: dict[str, Any], found: list[str]
) -> None:
    site = Site(*granted, **{"search_keys": ["q", "s"], **options})
    await site.ask(path)
    assert [row["target"] for row in site.rows if row["kind"] == "search"] == found
    assert any(kind == "search" for kind, _, _ in site.counts) == bool(found)


@pytest.mark.parametrize("answer", [404, 500])
async def test_what_was_not_answered_was_no_search(answer: int) -> None:
    site = Site("analytics", app=App(*html(b"<p>no", status=answer)), search_keys=["q"])
    await site.ask("/find?q=x")
    assert [row["kind"] for row in site.rows] == ["page"]


# -- what a server sees of a visit -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "destination", "followed", "stranger"),
    [
        ("GET", "", "page", "page"),  # browsers that don't say
        ("GET", "document", "page", "page"),
        ("GET", "iframe", "request", "request"),
        ("GET", "embed", "request", "request"),
        ("GET", "empty", "request", "page"),  # a script brings the next page: where ours runs, it tells of it
        ("HEAD", "document", "request", "request"),
    ],
)
@pytest.mark.parametrize("record", ["all", "pages"])
async def test_a_page_view_is_a_page_that_somebody_looks_at(
    method: str, destination: str, followed: str, stranger: str, record: str
) -> None:
    for granted, kind in ((("analytics",), followed), ((), stranger)):
        site = Site(*granted, record=record)
        await site.ask("/", *([("sec-fetch-dest", destination)] if destination else []), method=method)
        kinds = {found for found, _, _ in site.counts} - {"banner"}
        assert kinds == ({kind} if kind == "page" or record == "all" else set())


def revalidating(granted: tuple[str, ...], path: str = "/bills", **options: Any) -> Site:
    """A site whose files and pages answer 304 to whoever has them already."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kind = b"text/html" if scope["path"] == path else b"text/css"
        known = any(name == b"if-none-match" and b'"v1"' in value for name, value in scope["headers"])
        headers = [(b"etag", b'"v1"')] + ([] if known else [(b"content-type", kind)])
        await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if known else b"<!doctype html><p>x"})

    return Site(*granted, app=app, **{"services_used": (), **options})


@pytest.mark.parametrize(("granted", "options"), [(("analytics",), {}), ((), {}), ((), OPT_OUT)])
async def test_a_page_that_the_browser_had_already_is_seen_again(
    granted: tuple[str, ...], options: dict[str, Any]
) -> None:
    """A reload is a page view to whoever looks, though no byte of the page was sent; a file's is none."""
    site = revalidating(granted, **options)
    for path in ("/bills", "/style.css"):
        first = await site.ask(path)
        again = await site.ask(path, ("if-none-match", values(first, "etag")[0]))
        assert (status(first), status(again)) == (200, 304)
    assert [row["status"] for row in site.rows if row["kind"] == "page"] == ([200, 304] if granted or options else [])
    counted = site.middleware.recorder.store.counts()
    pages = sorted((row["route"], row["status"], row["count"]) for row in counted if row["kind"] == "page")
    assert pages == [("/bills", "2xx", 1), ("/bills", "3xx", 1)]


async def test_a_click_through_leads_a_visit_away_without_a_script() -> None:
    """Where a visitor went stands with the visit, by host and path template; a link to a page of the site leads on."""
    site = Site("analytics")
    await site.ask("/")
    tokens = site.middleware.site.tokens
    for url in ("https://rates.example/plans/2026?account=4417220913", "https://site.example/bills", "/bills"):
        assert status(await site.ask(f"/privacy/go/{tokens.click(url, 'footer', 'rates')}")) == 302
    rows = [row for row in site.rows if row["kind"] == "click"]
    assert [row["target"] for row in rows] == ["rates.example/plans/{x}", "", ""]
    assert {row["session"] for row in rows} == {site.session}
    assert {(row["campaign"], row["link"]) for row in rows} == {(None, None)}, "whose mail it was is for another tier"
    (visit,) = visits(site.middleware.recorder.store.events())
    assert visit.outbound == ("rates.example/plans/{x}",)
    assert visit.pages == ("/",)


async def test_a_click_in_a_mail_to_somebody_is_no_part_of_a_browsers_visit() -> None:
    """The recipient was asked about the mail, and the browser, perhaps another person's, about its visit."""
    site = Site("analytics", "email_measurement")
    await site.ask("/")
    link = site.middleware.site.tokens.mail("spring", "r1")
    await post(site.middleware, f"/privacy/mail/{link}", {"answer": "allow"})
    await site.ask(f"/privacy/go/{site.middleware.site.tokens.click('https://rates.example/', 'spring', 'a', 'r1')}")
    (row,) = [row for row in site.rows if row["kind"] == "click"]
    assert (row["recipient"], row["session"], row["target"]) == ("r1", None, None)


@pytest.mark.parametrize(
    ("granted", "kept"),
    [
        (("analytics",), "utm_source=bill"),
        (("analytics", "email_measurement"), "utm_source=bill&mc_eid=recipient"),
        (("analytics", "advertising"), "utm_source=bill&gclid=click&ScCid=other"),
    ],
)
async def test_what_identifies_a_click_is_kept_only_with_the_consent_it_is_about(
    granted: tuple[str, ...], kept: str
) -> None:
    """Also where the settings list it: to allow measurement is not to allow advertising."""
    site = Site(*granted, query_keys=["utm_source", "gclid", "ScCid", "mc_eid"])
    await site.ask("/?utm_source=bill&gclid=click&ScCid=other&mc_eid=recipient&account=4417220913")
    assert [row["query"] for row in site.rows] == [kept]


async def test_a_signal_against_advertising_keeps_click_identifiers_out() -> None:
    site = Site("analytics", "advertising", query_keys=["gclid"])
    await site.ask("/?gclid=click", ("sec-gpc", "1"))
    assert [row["query"] for row in site.rows] == [""]


# -- put together again --------------------------------------------------------------------------


async def test_a_visit_can_be_put_together_again() -> None:
    site = Site("analytics", goals=["bill paid"], search_keys=["q"])
    await site.ask("/", ("referer", "https://news.example/today"))
    Site.time += 20
    await site.tell({"kind": "leave", "seconds": 12, "depth": 4})
    await site.ask("/find?q=rates")
    Site.time += 30
    told = [
        {"kind": "leave", "seconds": 8, "depth": 10, "ago": 1_000},
        {"kind": "outbound", "to": "https://rates.example/plans", "ago": 900},
        {"kind": "download", "to": "https://site.example/tariff.pdf", "ago": 800},
        {"kind": "goal", "name": "bill paid", "ago": 700},
    ]
    await site.tell(*told, page="/find", id_="batch-0002")
    await Site().ask("/")
    (visit,) = visits(site.middleware.recorder.store.events() if site.rows else [])
    assert (visit.entry, visit.exit, visit.pages) == ("/", "/find", ("/", "/find"))
    assert (visit.seconds, visit.referrer_host, visit.session, visit.receipt) == (
        20,
        "news.example",
        site.session,
        RECEIPT,
    )
    assert (visit.outbound, visit.downloads) == (("rates.example/plans",), ("/tariff.pdf",))
    assert (visit.searches, visit.goals) == (("rates",), ("bill paid",))
    assert timedelta(seconds=visit.ended - visit.began) < timedelta(minutes=1)


def test_rows_of_no_visit_make_none() -> None:
    assert visits([]) == []
    assert visits([{"session": None}, {"session": ""}]) == []


# -- the script ----------------------------------------------------------------------------------


def test_the_script_is_small() -> None:
    """It loads with every page of those who were kind enough to allow it."""
    content = (Path(__file__).parent.parent / "static" / "clicks.js").read_bytes()
    assert len(gzip.compress(content, 9)) <= 2_500
    assert b"unload" not in content, "a handler for it keeps pages out of the back/forward cache"
