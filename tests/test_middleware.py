"""What a request leaves behind, by tier: the promise of the notice, checked in the store and not in the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from consentmw import ConsentMiddleware
from consentmw.events import TIER_FIELDS

from .asgi import App, Header, body, header, html, http_scope, response, run, status
from .mounted import PAGE, choice_cookie, mounted

ACCOUNT = "4417220913"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

#: a request full of what must not be kept
TELLING: list[Header] = [
    ("user-agent", AGENT),
    ("referer", "https://search.example/find?q=my+secret+illness"),
    ("accept-language", "es-MX,es;q=0.9"),
]

#: purposes granted, and the tier that follows
TIERS = [((), "count"), (("media",), "count"), (("analytics",), "visit"), (("analytics", "advertising"), "person")]


async def rows(site: ConsentMiddleware) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Counters and event rows of visits that are in the store; that a notice was shown is counted apart."""
    assert site.recorder.flush(5)
    counts = [row for row in site.recorder.store.counts() if row["kind"] not in ("banner", "notice")]
    return counts, site.recorder.store.events()


async def visit(
    site: ConsentMiddleware, *granted: str, path: str = "/", headers: list[Header] = TELLING
) -> list[Message]:
    who: list[Header] = [("cookie", choice_cookie(site, *granted))] if granted else []
    return await run(site, http_scope(path, headers=[*headers, *who]))


@pytest.mark.parametrize(("granted", "tier"), TIERS)
async def test_a_row_holds_what_its_tier_allows_and_nothing_else(granted: tuple[str, ...], tier: str) -> None:
    site = mounted(App(*html(PAGE)))
    path = f"/account/{ACCOUNT}/bill?utm_campaign=spring&account={ACCOUNT}&mail=a@b.example"
    await visit(site, *granted, path=path)
    counts, events = await rows(site)
    assert [(row["count"], row["tier"], row["status"]) for row in counts] == [(1, tier, "2xx")]
    everything = repr(counts) + repr(events)
    for secret in (ACCOUNT, "illness", "a@b.example", "203.0.113.7"):
        assert secret not in everything
    assert len(events) == (0 if tier == "count" else 1)
    for row in events:
        kept = {name for name in TIER_FIELDS["person"] if row[name] is not None}
        assert kept <= TIER_FIELDS[tier]
        assert row["receipt"] == "r" * 22
        assert row["ip"] == "203.0.113.0"
        assert row["query"] == "utm_campaign=spring"


async def test_where_a_law_allows_statistics_the_row_is_coarse_and_has_no_address() -> None:
    site = mounted(App(*html(PAGE)), fallback_regime="opt_out")
    await visit(site, path="/outages")
    _, (row,) = await rows(site)
    assert row["tier"] == "coarse"
    assert (row["ip"], row["agent"], row["receipt"], row["query"]) == (None, None, "", None)
    assert (row["browser"], row["referrer_host"]) == ("Chrome", "search.example")
    assert row["at"] % 3600 == 0, "only the hour"


async def test_a_signal_against_it_leaves_a_counter_and_the_reason() -> None:
    site = mounted(App(*html(PAGE)), fallback_regime="opt_out")
    await visit(site, headers=[*TELLING, ("sec-gpc", "1")])
    ((row,), events) = await rows(site)
    assert (row["tier"], row["why"]) == ("count", "gpc")
    assert events == []


@pytest.mark.parametrize(("ip", "kept"), [("none", None), ("truncated", "203.0.113.0"), ("full", "203.0.113.7")])
async def test_the_address_is_kept_as_the_site_says(ip: str, kept: str | None) -> None:
    site = mounted(App(*html(PAGE)), ip=ip)
    await visit(site, "analytics")
    _, (row,) = await rows(site)
    assert row["ip"] == kept


@pytest.mark.parametrize(("record", "kinds"), [("pages", ["page"]), ("all", ["page", "request"]), ("none", [])])
async def test_what_is_recorded_is_what_the_site_chose(record: str, kinds: list[str]) -> None:
    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def data(request: Request) -> Response:
        return JSONResponse({})

    site = mounted(Starlette(routes=[Route("/", page), Route("/data", data)]), record=record)
    await visit(site, "analytics")
    await visit(site, "analytics", path="/data")
    counts, events = await rows(site)
    assert sorted(row["kind"] for row in counts) == kinds
    assert sorted(row["kind"] for row in events) == kinds


async def test_routes_are_templates_and_unknown_paths_are_one() -> None:
    """A path may hold an account number, or whatever somebody who probes the site writes into it."""

    async def bill(request: Request) -> Response:
        return HTMLResponse(PAGE)

    inner = Starlette(routes=[Route("/bill/{account}", bill)])
    site = mounted(Starlette(routes=[Route("/account/{account}", bill), Mount("/sub", inner)]), record="all")
    for path in (f"/account/{ACCOUNT}", f"/sub/bill/{ACCOUNT}", f"/nowhere/{ACCOUNT}", "/wp-login.php"):
        await visit(site, "analytics", path=path)
    counts, events = await rows(site)
    assert ACCOUNT not in repr(counts) + repr(events)
    routes = {row["route"]: row["count"] for row in counts}
    assert routes["/account/{account}"] == 1
    assert routes["(not found)"] == 2
    assert len(routes) == 3


async def test_pages_of_mounted_applications_are_told_apart(tmp_path: Path) -> None:
    """Each has a first page, and files have pages, too: where they are mounted is part of the name."""

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE)

    for name in ("tariffs.html", "terms.html"):
        (tmp_path / name).write_bytes(PAGE)
    first = Route("/", page)
    tenant = Starlette(routes=[first, Route("/bills/{bill}", page)])
    files = StaticFiles(directory=tmp_path)
    shop = Starlette(routes=[first, Mount("/help", Starlette(routes=[first]))])
    site = mounted(
        Starlette(routes=[first, Mount("/shop", shop), Mount("/t/{tenant}", tenant), Mount("/files", files)])
    )
    asked = ("/", "/shop/", "/shop/help/", f"/t/{ACCOUNT}/", f"/t/{ACCOUNT}/bills/{ACCOUNT}", "/t/acme/bills/acme")
    for path in (*asked, "/files/tariffs.html", "/files/terms.html", "/files/none.html"):
        await visit(site, path=path)
    counts, _ = await rows(site)
    assert {row["route"]: row["count"] for row in counts} == {
        "/": 1,
        "/shop/": 1,
        "/shop/help/": 1,
        "/t/{tenant}/": 1,
        "/t/{tenant}/bills/{bill}": 2,
        "/files/tariffs.html": 1,
        "/files/terms.html": 1,
    }


async def test_a_bot_is_counted_as_one() -> None:
    site = mounted(App(*html(PAGE)))
    await visit(site, headers=[("user-agent", "Googlebot/2.1 (+http://www.google.com/bot.html)")])
    counts, _ = await rows(site)
    assert counts[0]["bot"].startswith("bot")


@pytest.mark.parametrize(("code", "family"), [(200, "2xx"), (404, "4xx"), (500, "5xx")])
async def test_the_status_is_counted_by_its_family(code: int, family: str) -> None:
    site = mounted(App(*html(PAGE, status=code)))
    await visit(site)
    counts, _ = await rows(site)
    assert counts[0]["status"] == family


async def test_our_own_pages_are_no_page_views() -> None:
    site = mounted(App())
    for path in ("/privacy", "/privacy/choices", "/privacy/nothing", "/.well-known/gpc.json"):
        await visit(site, "analytics", path=path)
    assert await rows(site) == ([], [])


async def test_an_answer_that_never_ends_is_counted_when_the_application_does() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start, first, _ = html(b"<p>one", b"<p>two")
        await send(start)
        await send(first)

    site = mounted(app)
    await run(site, http_scope("/cut"))
    counts, _ = await rows(site)
    assert [(row["route"], row["count"]) for row in counts] == [("/cut", 1)]


async def test_a_page_is_counted_once_even_if_the_application_fails_behind_it() -> None:
    site = mounted(App(*html(PAGE), raises=RuntimeError("in the background")))
    with pytest.raises(RuntimeError):
        await run(site, http_scope())
    counts, _ = await rows(site)
    assert [row["count"] for row in counts] == [1]


async def test_a_forwarded_address_counts_from_a_trusted_proxy_only() -> None:
    forwarded: list[Header] = [("x-forwarded-for", "198.51.100.9")]
    for trusted, kept in ((("203.0.113.0/24",), "198.51.100.9"), ((), "203.0.113.7")):
        site = mounted(App(*html(PAGE)), ip="full", trusted_proxies=trusted)
        await visit(site, "analytics", headers=forwarded)
        _, (row,) = await rows(site)
        assert row["ip"] == kept


async def test_settings_may_be_keywords_a_mapping_or_a_file(tmp_path: Any) -> None:
    file = tmp_path / "consent.toml"
    file.write_text('debug = true\nstore = "memory:"\nprefix = "/data-protection"\n', "utf-8")
    options: dict[str, Any] = {"debug": True, "store": "memory:", "prefix": "/data-protection"}
    app = App()
    for site in (
        ConsentMiddleware(app, file),
        ConsentMiddleware(app, str(file)),
        ConsentMiddleware(app, options),
        ConsentMiddleware(app, **options),
        ConsentMiddleware(app, {"debug": True, "store": "memory:"}, prefix="/data-protection"),
    ):
        assert status(await run(site, http_scope("/data-protection"))) == 200
    assert app.scopes == []


async def test_two_sites_in_one_process_share_nothing() -> None:
    """Different keys, prefixes and stores: a choice made on one is none on the other."""
    first = mounted(App(*html(PAGE)))
    app = App(*html(PAGE))
    second = mounted(app, secret_keys=("another key that is long enough",))
    await run(second, http_scope(headers=[("cookie", choice_cookie(first, "analytics"))]))
    assert app.scope["consent"].why("analytics") == "no choice"
    await visit(first)
    assert (await rows(second))[0][0]["count"] == 1


async def test_one_behind_the_other_asks_once_in_each_name() -> None:
    """Mounted twice by mistake: the page still arrives, and forms of both lead to the outer one."""
    inner = mounted(App(*html(PAGE)))
    sent = await run(mounted(inner), http_scope())
    assert status(sent) == 200
    assert b'src="https://www.youtube.com' not in body(sent).replace(b"data-consentmw-src", b"")


async def test_an_answer_of_another_kind_is_not_marked_private() -> None:
    site = mounted(App(*response(b"body{}", headers=[("content-type", "text/css"), ("cache-control", "max-age=9")])))
    assert header(await run(site, http_scope("/a.css")), "cache-control") == "max-age=9"


async def test_the_application_does_not_see_cookies_that_nobody_may_use() -> None:
    """Server-side code of a vendor reads them from the request, too; its own cookies it gets as they came."""
    app = App(*html(PAGE))
    site = mounted(app)
    await run(site, http_scope(headers=[("cookie", "mine=1; _ga=GA1.1.1"), ("Cookie", "_fbp=2")]))
    assert [value for name, value in app.scope["headers"] if name.lower() == b"cookie"] == [b"mine=1"]
    granted = choice_cookie(site, "analytics")
    await run(site, http_scope(headers=[("cookie", f"_ga=GA1.1.1; _fbp=2; {granted}")]))
    assert dict(app.scope["headers"])[b"cookie"] == f"_ga=GA1.1.1; {granted}".encode()
