"""What a stranger can send to mislead or to burden us: each gets a safe default or a clear refusal, at little cost.

Through the middleware to the stored row, since that is where a lie would stay.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from starlette.types import Message, Receive, Scope, Send

from consentmw import ConsentMiddleware
from consentmw.events.hosts import OTHER
from consentmw.events.rollups import DIMENSIONS
from consentmw.tokens import Tokens
from consentmw.visitor import HINTS

from .asgi import App, Header, cookies, header, headers, html, http_scope, request, response, run, status, values
from .mounted import KEY, PAGE, choice_cookie, form_scope, mounted, post

XFF = json.loads((Path(__file__).parent / "data" / "xff_vectors.json").read_text("utf-8"))
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
PROXY = "10.0.0.1"


def rows(site: ConsentMiddleware) -> list[dict[str, Any]]:
    assert site.recorder.flush(20)
    return site.recorder.store.events(limit=100_000)


def counters(site: ConsentMiddleware) -> list[dict[str, Any]]:
    assert site.recorder.flush(20)
    return site.recorder.store.counts(limit=1_000_000)


# -- who is asking ------------------------------------------------------------------------------

#: peer, headers, the address that is kept
FORWARDED: list[tuple[str, list[Header], str]] = [
    (PROXY, [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
    (PROXY, [("x-forwarded-for", "127.0.0.1, 198.51.100.7")], "198.51.100.7"),
    (PROXY, [("x-forwarded-for", "198.51.100.7:4711")], "198.51.100.7"),
    (PROXY, [("x-forwarded-for", "6.6.6.6, not an address")], PROXY),
    (PROXY, [("x-forwarded-for", "198.51.100.7\x00")], PROXY),
    (PROXY, [("x-forwarded-for", "198.51.100.7\r\nx: y")], PROXY),
    (PROXY, [("x-forwarded-for", "0x7f.1")], PROXY),
    (PROXY, [("x-forwarded-for", "198.51.100.007")], PROXY),
    (PROXY, [("x-forwarded-for", "")], PROXY),
    (PROXY, [("x-forwarded-for", "6.6.6.6, " * 5_000 + "198.51.100.7")], "198.51.100.7"),
    (PROXY, [("forwarded", "for=198.51.100.7;by=10.0.0.9")], "198.51.100.7"),
    (PROXY, [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
    (PROXY, [("forwarded", 'for="[2001:db8::7]:443"')], "2001:db8::7"),
    (PROXY, [("forwarded", "for=_hidden")], PROXY),
    (PROXY, [("x-real-ip", "6.6.6.6"), ("client-ip", "6.6.6.6"), ("cf-connecting-ip", "6.6.6.6")], PROXY),
    ("203.0.113.9", [("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "1.2.3.4")], "203.0.113.9"),
    ("::ffff:203.0.113.9", [("x-forwarded-for", "1.2.3.4")], "203.0.113.9"),
]


FORWARDED += [
    (case["peer"], [("x-forwarded-for", line) for line in case["xff"]], case["client"]) for case in XFF["cases"]
]


@pytest.mark.parametrize(("peer", "sent", "kept"), FORWARDED)
async def test_an_address_is_believed_only_from_a_trusted_proxy(peer: str, sent: list[Header], kept: str) -> None:
    """The row holds the address behind the proxies of the site, and never one that a stranger wrote down."""
    site = mounted(App(*html(PAGE)), trusted_proxies=XFF["trusted"], ip="full")
    who: list[Header] = [("cookie", choice_cookie(site, "analytics")), ("user-agent", AGENT), *sent]
    assert status(await run(site, http_scope(headers=who, client=(peer, 1)))) == 200
    (row,) = rows(site)
    assert row["ip"] == kept


async def test_a_new_address_in_a_header_makes_no_new_visitor() -> None:
    """Uniques count who connects: a stranger could else be a thousand visitors a second."""
    site = mounted(App(*html(PAGE)), fallback_regime="opt_out", trusted_proxies=XFF["trusted"])
    for number in range(20):
        sent: list[Header] = [("x-forwarded-for", f"198.51.100.{number}"), ("user-agent", AGENT)]
        await run(site, http_scope(headers=sent, client=("203.0.113.9", number + 1)))
    assert len(rows(site)) == 20
    assert {row["count"] for row in site.recorder.store.uniques(0, 2**40)} == {1}


# -- tokens -------------------------------------------------------------------------------------


def forged() -> Iterator[str]:
    """Texts that are almost one of our tokens."""
    ours = Tokens([KEY])
    pixel, click = ours.pixel("spring", "customer:1"), ours.click("https://a.example/", "spring", "top", "customer:1")
    for token in (pixel, click):
        payload, time, signature = token.split(".")
        yield from (f"{payload}.{time}.", payload, f"{payload}.{time}", f".{time}.{signature}", token + "A", token[:-1])
        yield f"{payload[:-2]}AA.{time}.{signature}"
        yield f"{payload}.{time[:-1]}{'B' if time[-1] == 'A' else 'A'}.{signature}"
        yield f"{payload}.{time}.{signature[::-1]}"
        yield token.swapcase()
    yield from (
        Tokens(["another key, as long as ours"]).pixel("spring"),
        "a" * 5_000,
        "%00",
        "%ff%fe",
        "..",
        "%0d%0aX:%20y",
    )
    payload, time, _ = pixel.split(".")
    yield f"{payload}.{time}.{click.split('.')[2]}"


@pytest.mark.parametrize("place", ["px/{}.gif", "go/{}"])
async def test_a_forged_token_leads_nowhere_and_counts_nothing(place: str) -> None:
    site = mounted(App())
    for token in forged():
        sent = await run(site, http_scope(f"/privacy/{place.format(token)}"))
        assert status(sent) == 404, token
        assert header(sent, "location") is None
    assert counters(site) == []


async def test_a_token_is_for_one_purpose() -> None:
    """A pixel's signature under a target would make a redirect to anywhere out of any mail."""
    site = mounted(App())
    tokens = site.site.tokens
    assert status(await run(site, http_scope(f"/privacy/go/{tokens.pixel('spring')}"))) == 404
    assert status(await run(site, http_scope(f"/privacy/px/{tokens.click('https://a.example/')}.gif"))) == 404


# -- bodies -------------------------------------------------------------------------------------

REPORT = {"csp-report": {"document-uri": "https://site.example/", "effective-directive": "img-src",
          "blocked-uri": "https://odd.example/x.gif"}}  # fmt: skip


async def test_a_report_that_comes_again_counts_once() -> None:
    """The same body, a hundred times: one visitor's page says one thing."""
    site = mounted(App(), policy="report-only", services_used=["google_analytics"])
    sent = [("content-type", "application/csp-report"), ("user-agent", AGENT)]
    answers = [
        status(await run(site, form_scope("/privacy/csp", sent), request(json.dumps(REPORT).encode())))
        for _ in range(100)
    ]
    assert set(answers) <= {204, 429}
    assert [row["count"] for row in counters(site)] == [1]


async def test_a_choice_that_is_sent_again_is_its_senders_own() -> None:
    """Who replays the form of another visitor gets a receipt of their own, and theirs stays as it was."""
    site = mounted(App())
    body = {"action": "accept"}
    first, again = [await post(site, "/privacy/choices", body) for _ in range(2)]
    assert (status(first), status(again)) == (303, 303)
    name = site.settings.cookie_name
    receipts = [site.site.choices.read(cookies(sent)[name]) for sent in (first, again)]
    assert None not in receipts
    assert receipts[0].receipt != receipts[1].receipt  # type: ignore[union-attr]
    assert [row.event for row in site.site.ledger._opened().all()] == ["notice", "given", "given"]


async def test_a_form_from_another_site_changes_nothing() -> None:
    site = mounted(App())
    body = urlencode({"action": "accept"}).encode()
    form = ("content-type", "application/x-www-form-urlencoded")
    for whence in (
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ):
        sent = await run(site, form_scope("/privacy/choices", [form, whence]), request(body))
        assert status(sent) == 403
        assert cookies(sent) == {}
    assert list(site.site.ledger._opened().all()) == []


class Flood:
    """A body of ten megabytes in parts, and how much of it was taken."""

    def __init__(self) -> None:
        self.parts = 160
        self.taken = 0

    async def __call__(self) -> Message:
        if self.taken >= self.parts:
            return {"type": "http.disconnect"}
        self.taken += 1
        # Each a new object, as a server would hand over.
        return {"type": "http.request", "body": bytes(65_536), "more_body": self.taken < self.parts}


KINDS = [
    "application/x-www-form-urlencoded",
    "application/json",
    "application/csp-report",
    "application/reports+json",
    "text/plain",
]


@pytest.mark.parametrize("granted", [(), ("analytics",)], ids=["a stranger", "who is measured"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_body_is_refused_before_it_is_read(kind: str, granted: tuple[str, ...]) -> None:
    """Every page of ours, whichever there are, with ten megabytes: two of them at most are in memory at any time."""
    site = mounted(App(*html(PAGE)), policy="report-only", services_used=["google_analytics"])
    who: list[Header] = [("content-type", kind), ("sec-fetch-site", "same-origin")]
    if granted:
        who.append(("cookie", choice_cookie(site, *granted)))
        visit = cookies(await run(site, http_scope("/", headers=who)))["privacy-visit"]
        who.append(("cookie", f"privacy-visit={visit}"))
    names = [*site.pages._pages, "no-such-page"]
    assert {"choices", "locale", "csp", "held", "form"} <= set(names)
    for path in itertools.chain.from_iterable((f"/privacy/{name}", f"/privacy/{name}/youtube") for name in names):
        flood = Flood()
        sent: list[Message] = []

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        tracemalloc.start()
        await site(form_scope(path, who), flood, send)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Of who is not measured, what a page tells is not even read.
        unread = path == "/privacy/events" and not granted and status(sent) == 204 and not flood.taken
        assert 400 <= status(sent) < 500 or path.startswith("/privacy/form/") or unread, path
        assert flood.taken * 65_536 < 200_000, path
        assert peak < 2_000_000, path
    assert site.recorder.dropped == {}


# -- paths --------------------------------------------------------------------------------------


def paths() -> Iterator[str]:
    """Paths that look like a site's own: words that can be spoken."""
    syllables = ["".join(pair) for pair in itertools.product("bdfglmnprst", "aeiou")]
    for word in itertools.product(syllables, repeat=3):
        yield f"/{''.join(word)}"


async def short(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that remembers nothing."""
    for message in response(b"x"):
        await send(message)


async def test_a_hundred_thousand_paths_are_so_many_counters_and_no_more(tmp_path: Path) -> None:
    """What is one too many is "(other)" in rows, counters and roll-ups. Memory stays flat."""
    number, first = 100_000, 20_000
    site = mounted(short, record="all", store=f"sqlite:///{tmp_path}/e.db", queue_capacity=20_000)
    who = [("cookie", choice_cookie(site, "analytics")), ("user-agent", AGENT)]
    scope = http_scope(headers=who)

    async def receive() -> Message:
        return request(b"")

    async def send(message: Message) -> None:
        """Nobody reads it."""

    size = 0
    for at, path in enumerate(itertools.islice(paths(), number)):
        await site({**scope, "path": path, "raw_path": path.encode()}, receive, send)
        if at % 5_000 == 4_999:
            assert site.recorder.flush(60)
        if at == first:
            tracemalloc.start()
            size = tracemalloc.get_traced_memory()[0]
        elif at == first * 2:
            # The traced part is enough to see growth; tracing all of it would take minutes.
            grown, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert grown - size < 2_000_000
            assert peak < 10_000_000
    assert site.recorder.flush(60)
    store = site.recorder.store
    counts = counters(site)
    hours = len({row["hour"] for row in counts})
    assert sum(row["count"] for row in counts) == number
    assert len(counts) <= 2_001 * hours
    assert number - 2_000 * hours <= sum(row["count"] for row in counts if row["route"] == OTHER)
    routes = store.rollups("route", 0, 2**40)
    assert sum(row["count"] for row in routes) == number
    assert len(routes) <= (DIMENSIONS["route"] + 1) * hours
    assert site.recorder.dropped == {}


async def test_routes_of_the_application_are_always_told_apart() -> None:
    """They are as many as it has: a flood of paths must not hide them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/outages":
            scope["route"] = type("Route", (), {"path": "/outages"})()
        await App(*html(b"<p>x"))(scope, receive, send)

    site = mounted(app)
    for path in itertools.islice(paths(), 2_100):
        await run(site, http_scope(path))
    await run(site, http_scope("/outages"))
    found = {row["route"]: row["count"] for row in counters(site)}
    assert found["/outages"] == 1
    assert found[OTHER] >= 50


# -- what no header should hold -----------------------------------------------------------------

NASTY = [
    b"\x00",
    b"a\x00b",
    b"x\r\nset-cookie: stolen=1",
    b"x\nlocation: https://evil.example/",
    b"\xff\xfe\xc3\x28\xed\xa0\x80",
    b"\xe2\x80\xae\xf0\x9f\x92\xa3",
    b"%00%0d%0a%ff",
    b"'; DROP TABLE events; --",
    b"{}[]()<script>alert(1)</script>",
    b"\x1b[31m\x7f\x80",
    b"a" * 70_000,
    b"",
]
NAMES = sorted(
    {
        *(
            "host",
            "cookie",
            "sec-gpc",
            "dnt",
            "accept",
            "accept-language",
            "user-agent",
            "referer",
            "origin",
            "purpose",
        ),
        *(
            "sec-fetch-site",
            "sec-purpose",
            "x-forwarded-proto",
            "x-forwarded-for",
            "forwarded",
            "if-none-match",
            "x-moz",
        ),
        *("content-type", "content-length", "transfer-encoding", "range", "expect", "authorization", "x-odd"),
        *(name.decode() for name in HINTS),
    }
)


@pytest.mark.parametrize("granted", [(), ("analytics", "advertising")], ids=["nothing chosen", "all allowed"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_nasty_header_costs_neither_page_nor_row(name: str, granted: tuple[str, ...]) -> None:
    """The page is served, nothing of ours that goes out holds a line break, and what is recorded can be stored."""
    site = mounted(App(*html(PAGE)), fallback_regime="opt_out", trusted_proxies=["203.0.113.7"], ip="full")
    good: list[Header] = [("user-agent", AGENT)]
    if granted:
        good.append(("cookie", choice_cookie(site, *granted)))
    for value in NASTY:
        sent = await run(site, http_scope("/outages?utm_source=x", headers=[(name, value), *good]))
        assert status(sent) == 200
        clean(sent)
    assert sum(row["count"] for row in counters(site) if row["kind"] == "page") == len(NASTY)
    assert site.recorder.dropped == {}
    for row in rows(site):
        assert not any("\x00" in value or "\n" in value for value in row.values() if isinstance(value, str))


def clean(sent: list[Message]) -> None:
    """No header that went out can be read as two."""
    for name, value in headers(sent):
        assert not set(b"\r\n\x00") & {*name, *value}


OURS = ["", "go/", "px/", "held/", "static/", "take/"]


@pytest.mark.parametrize("where", ["/{}", "/a/{}/b?utm_source={}", *(f"/privacy/{page}{{}}" for page in OURS)])
async def test_a_nasty_path_gets_an_answer(where: str) -> None:
    """The application's page as always; of ours, a page or a clear refusal."""
    site = mounted(App(*html(PAGE)), fallback_regime="opt_out")
    good: list[Header] = [("user-agent", AGENT), ("cookie", choice_cookie(site, "analytics"))]
    for value in NASTY:
        sent = await run(site, http_scope(where.replace("{}", quote(value)), headers=good))
        assert status(sent) == 200 or (where.startswith("/privacy") and status(sent) in (404, 405))
        clean(sent)
        # As a server decodes what is no UTF-8.
        scope = http_scope("/x", headers=good)
        scope["path"] = where.partition("?")[0].replace("{}", value.decode("utf-8", "surrogateescape"))
        scope["query_string"] = value
        sent = await run(site, scope)
        assert status(sent) < 500
        clean(sent)
    counters(site)
    assert site.recorder.dropped == {}


@pytest.mark.parametrize("value", NASTY)
async def test_a_nasty_field_of_a_form_does_not_become_a_header(value: bytes) -> None:
    """Where to go back to, and which language: both end up in headers."""
    site = mounted(App())
    text = value.decode("latin-1")
    fields = {"return": f"/{text}", "language": text, "region": text, "action": "reject"}
    for page in ("locale", "choices"):
        sent = await post(site, f"/privacy/{page}", fields)
        assert status(sent) in (303, 413)
        clean(sent)
        assert "stolen" not in cookies(sent)
        for to in values(sent, "location"):
            assert to.startswith("/")
            assert not to.startswith(("//", "/\\"))


async def test_many_strangers_at_once_do_not_mix() -> None:
    """Each row is of the request that made it, whatever came at the same time."""
    site = mounted(App(*html(PAGE)), ip="full")
    asked = [
        run(
            site,
            http_scope(
                headers=[("cookie", choice_cookie(site, "analytics", receipt=f"{n:022d}"))],
                client=(f"198.51.100.{n}", 1),
            ),
        )
        for n in range(50)
    ]
    await asyncio.gather(*asked)
    assert {row["receipt"]: row["ip"] for row in rows(site)} == {f"{n:022d}": f"198.51.100.{n}" for n in range(50)}
