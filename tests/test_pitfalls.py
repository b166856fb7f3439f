"""The forty ASGI pitfalls, one test a row: what bit other middleware must not bite this one.

The numbers are those of the project's list of pitfalls; docs/pitfalls.md says what each is about.
"""

from __future__ import annotations

import ast
import asyncio
import contextvars
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from consentmw import ConsentMiddleware
from consentmw.events import Count, Event
from consentmw.gate.html import HtmlGate
from consentmw.recorder.batches import Row

from .asgi import App, body, header, html, http_scope, request, response, run, status, values, websocket_scope
from .mounted import KEY, PAGE, choice_cookie, mounted

PACKAGE = Path(__file__).parent.parent / "consentmw"

JSON = [("content-type", "application/json")]


def same(sent: list[Message], given: tuple[Message, ...]) -> bool:
    """The very same objects, in order."""
    return len(sent) == len(given) and all(a is b for a, b in zip(sent, given, strict=True))


async def test_01_context_variables_travel_up() -> None:
    """A value set in an async endpoint is visible to whoever called the middleware: nothing runs in another task."""
    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.set("endpoint")
        await App(*response(b"x"))(scope, receive, send)

    await mounted(app)(http_scope(), _never, _drop)
    assert seen.get() == "endpoint"


async def test_02_a_disconnect_reaches_the_application() -> None:
    """No task group around the app: what the server says while it streams arrives there."""
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])
        await App(*response(b"x"))(scope, receive, send)

    await run(mounted(app), http_scope(), {"type": "http.disconnect"})
    assert heard == ["http.disconnect"]


@pytest.mark.parametrize("kind", ["http.response.debug", "http.response.zerocopysend", "x.made.up"])
async def test_03_messages_nobody_knows_pass_untouched(kind: str) -> None:
    odd: Message = {"type": kind, "more_body": False, "whatever": object()}
    start = response(headers=JSON)[0]
    assert same(await run(mounted(App(start, odd)), http_scope()), (start, odd))


@pytest.mark.parametrize("kind", ["http.response.zerocopysend", "http.response.pathsend", "http.response.early_hint"])
async def test_04_a_held_start_is_flushed_before_a_strange_message(kind: str) -> None:
    """HTML's start is held for its body; another message first must neither overtake it nor lose it."""
    odd: Message = {"type": kind, "path": "/x", "file": None}
    sent = await run(mounted(App(html()[0], odd)), http_scope())
    assert [message["type"] for message in sent] == ["http.response.start", kind]
    assert sent[1] is odd


async def test_05_an_event_stream_is_not_held_back() -> None:
    """The headers of a stream leave before its first event."""
    start = response(headers=[("content-type", "text/event-stream")])[0]
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        assert sent == [start], "the start was held"
        await send({"type": "http.response.body", "body": b"data: 1\n\n"})

    await run(mounted(app), http_scope(), sent=sent)
    assert len(sent) == 2


async def test_06_a_file_sent_by_path_passes_with_its_start() -> None:
    file: Message = {"type": "http.response.pathsend", "path": "/somewhere/page.pdf"}
    start = response(headers=[("content-type", "application/pdf"), ("content-length", "9")])[0]
    assert same(await run(mounted(App(start, file)), http_scope()), (start, file))


async def test_06_html_sent_by_path_is_sealed() -> None:
    """The bytes of the file never pass us, so the browser gets a policy that keeps third parties out."""
    file: Message = {"type": "http.response.pathsend", "path": "/somewhere/page.html"}
    sent = await run(mounted(App(html()[0], file)), http_scope())
    assert "default-src 'self'" in (header(sent, "content-security-policy") or "")


async def test_07_trailers_survive_and_so_does_the_body_they_sign() -> None:
    start: Message = {**html()[0], "trailers": True}
    rest: tuple[Message, ...] = (
        {"type": "http.response.body", "body": PAGE},
        {"type": "http.response.trailers", "headers": [(b"digest", b"x")]},
    )
    sent = await run(mounted(App(start, *rest)), http_scope())
    assert sent[0]["trailers"] is True
    assert same(sent[1:], rest)


async def test_08_early_hints_pass_before_the_response() -> None:
    hint: Message = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    sent = await run(mounted(App(hint, *html(PAGE))), http_scope())
    assert sent[0] is hint
    assert b'id="consentmw"' in body(sent)


async def test_09_headers_and_body_are_optional_keys() -> None:
    given: tuple[Message, ...] = ({"type": "http.response.start", "status": 204}, {"type": "http.response.body"})
    assert same(await run(mounted(App(*given)), http_scope()), given)


async def test_09_headers_may_be_a_generator() -> None:
    start: Message = {
        "type": "http.response.start",
        "status": 200,
        "headers": (pair for pair in [(b"content-type", b"text/html")]),
    }
    sent = await run(mounted(App(start, {"type": "http.response.body", "body": PAGE})), http_scope())
    assert b'id="consentmw"' in body(sent)


async def test_10_repeated_set_cookie_lines_all_survive() -> None:
    lines = [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("set-cookie", "_ga=GA1.1.1; Max-Age=9")]
    sent = await run(mounted(App(*response(b"x", headers=[*JSON, *lines]))), http_scope())
    assert values(sent, "set-cookie") == ["a=1; Path=/", "b=2"], "only the tracker's cookie is gone"


async def test_11_a_choice_in_a_second_cookie_header_counts() -> None:
    app = App(*html(PAGE))
    site = mounted(app)
    sent = [("cookie", "a=1"), ("cookie", choice_cookie(site, "analytics"))]
    await run(site, http_scope(headers=sent))
    assert app.scope["consent"].allows("analytics")


@pytest.mark.parametrize("crumb", ['{"k":1}', "foo", "a=b=c; =; ;;", '"', "a=1; {", "\xff\xfe=1"])
async def test_12_a_malformed_cookie_costs_no_other_cookie(crumb: str) -> None:
    app = App(*html(PAGE))
    site = mounted(app)
    await run(site, http_scope(headers=[("cookie", f"{crumb}; {choice_cookie(site, 'analytics')}")]))
    assert app.scope["consent"].why("analytics") == "choice"


async def test_13_header_names_in_capitals_are_understood() -> None:
    names = [(b"Content-Type", b"Text/HTML"), (b"Set-Cookie", b"_ga=1")]
    start: Message = {"type": "http.response.start", "status": 200, "headers": names}
    app = App(start, {"type": "http.response.body", "body": PAGE})
    sent = await run(mounted(app), http_scope(headers=[(b"SEC-GPC", b"1")]))
    assert app.scope["consent"].gpc
    assert b'id="consentmw"' in body(sent)
    assert values(sent, "set-cookie") == []


async def test_14_content_length_is_that_of_the_body_sent() -> None:
    sent = await run(mounted(App(*html(PAGE, headers=[("Content-Length", str(len(PAGE)))]))), http_scope())
    assert header(sent, "content-length") == str(len(body(sent)))
    assert len(body(sent)) > len(PAGE)


async def test_14_a_stream_has_no_content_length() -> None:
    sent = await run(
        mounted(App(*html(PAGE[:300], PAGE[300:], headers=[("content-length", str(len(PAGE)))]))), http_scope()
    )
    assert header(sent, "content-length") is None


async def test_15_head_has_the_headers_of_get_and_no_body() -> None:
    given = html(headers=[("content-length", str(len(PAGE)))])
    head = await run(mounted(App(*given)), http_scope(method="HEAD"))
    get = await run(mounted(App(*html(PAGE, headers=[("content-length", str(len(PAGE)))]))), http_scope())
    assert body(head) == b""
    assert header(head, "content-length") in (None, header(get, "content-length"))
    assert header(head, "cache-control") == header(get, "cache-control")


@pytest.mark.parametrize("code", [204, 205, 304])
async def test_16_answers_without_a_body_stay_without_one(code: int) -> None:
    sent = await run(mounted(App(*html(status=code))), http_scope())
    assert body(sent) == b""
    assert header(sent, "content-length") is None


async def test_17_a_range_is_not_rewritten_and_html_offers_none() -> None:
    part = html(PAGE[:100], status=206, headers=[("content-range", f"bytes 0-99/{len(PAGE)}")])
    assert body(await run(mounted(App(*part)), http_scope())) == PAGE[:100]
    whole = await run(mounted(App(*html(PAGE, headers=[("accept-ranges", "bytes")]))), http_scope())
    assert header(whole, "accept-ranges") is None


async def test_18_a_compressed_page_is_read_and_one_we_cannot_read_is_sealed() -> None:
    import gzip

    packed = gzip.compress(PAGE)
    sent = await run(
        mounted(App(*html(packed[:50], packed[50:], headers=[("content-encoding", "gzip")]))), http_scope()
    )
    assert b'id="consentmw"' in body(sent)
    assert header(sent, "content-encoding") is None
    strange = await run(mounted(App(*html(b"\x0b\x02\x80", headers=[("content-encoding", "br")]))), http_scope())
    assert body(strange) == b"\x0b\x02\x80"
    assert "default-src 'self'" in (header(strange, "content-security-policy") or "")


async def test_19_etags_are_weak_and_differ_between_consent_states() -> None:
    site = mounted(App(*html(PAGE, headers=[("etag", '"abc"')])))
    undecided = header(await run(site, http_scope()), "etag")
    granted = header(await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics"))])), "etag")
    assert undecided != granted
    assert undecided is not None
    assert undecided.startswith('W/"')


async def test_19_revalidation_reaches_the_application_only_within_one_state() -> None:
    """A 304 must not carry one state's page into another."""
    app = App(*html(PAGE, headers=[("etag", '"abc"')]))
    site = mounted(app)
    tag = header(await run(site, http_scope()), "etag") or ""
    not_modified = mounted(App(*response(status=304, headers=[("etag", '"abc"')])))
    sent = await run(not_modified, http_scope(headers=[("if-none-match", tag)]))
    assert header(sent, "etag") == tag
    await run(site, http_scope(headers=[("if-none-match", tag)]))
    assert b'"abc"' in dict(app.scope["headers"])[b"if-none-match"]
    await run(site, http_scope(headers=[("if-none-match", tag), ("cookie", choice_cookie(site, "analytics"))]))
    assert b"if-none-match" not in dict(app.scope["headers"])


@pytest.mark.parametrize(
    "extra", [("cache-control", "no-transform"), ("content-disposition", 'attachment; filename="a.html"')]
)
async def test_20_what_must_not_be_touched_goes_out_byte_for_byte(extra: tuple[str, str]) -> None:
    sent = await run(mounted(App(*html(PAGE, headers=[extra]))), http_scope())
    assert body(sent) == PAGE
    assert "default-src 'self'" in (header(sent, "content-security-policy") or ""), (
        "untouched, so the browser guards it"
    )


async def test_20_nothing_inline_is_inserted() -> None:
    """A site's strict CSP must not have to allow us: our script and style are files of its own origin."""
    text = body(await run(mounted(App(*html(PAGE))), http_scope())).decode()
    added = text[: text.index("<h1>")]
    assert "<style" not in added
    assert " style=" not in added
    assert " onclick=" not in added
    assert '<script src="/privacy/static/' in added


@pytest.mark.parametrize("cut", range(1, 120))
async def test_21_a_tag_split_over_chunks_is_found(cut: int) -> None:
    whole = body(await run(mounted(App(*html(PAGE))), http_scope()))
    assert body(await run(mounted(App(*html(PAGE[:cut], PAGE[cut:]))), http_scope())) == whole


async def test_22_a_page_view_sets_no_cookie() -> None:
    """Not even ours: only the answer to a choice does."""
    assert values(await run(mounted(App(*html(PAGE))), http_scope()), "set-cookie") == []


async def test_23_vary_cookie_is_never_sent_and_shared_caches_keep_nothing() -> None:
    sent = await run(mounted(App(*html(PAGE, headers=[("cache-control", "public, max-age=600")]))), http_scope())
    assert header(sent, "vary") is None
    assert header(sent, "cache-control") == "private, no-cache"
    other = await run(mounted(App(*response(b"{}", headers=[*JSON, ("cache-control", "public")]))), http_scope())
    assert header(other, "cache-control") == "public", "what did not depend on consent stays as it was"


async def test_24_lifespan_has_no_path_and_needs_none() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(scope["type"])
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    sent = await run(mounted(app), scope, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert heard == ["lifespan"]
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def routes(site: ConsentMiddleware) -> list[str]:
    """Routes of the page views that were counted."""
    return [row["route"] for row in site.recorder.store.counts() if row["kind"] == "page"]


async def test_25_rows_are_written_where_lifespan_never_comes() -> None:
    site = mounted(App(*html(PAGE)))
    await run(site, http_scope("/outages"))
    assert site.recorder.flush(5)
    assert routes(site) == ["/outages"]
    await site.site.close()


async def test_26_what_is_queued_is_written_at_shutdown(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rows.db"
    site = mounted(App(*html(PAGE)), store=url, flush_seconds=60)
    for _ in range(25):
        await run(site, http_scope())
    await site.site.close()
    again = mounted(App(), store=url)
    assert sum(row["count"] for row in again.recorder.store.counts() if row["kind"] == "page") == 25
    await again.site.close()


async def test_27_the_row_is_taken_at_the_last_byte_not_after_background_tasks() -> None:
    order: list[str] = []

    async def slow() -> None:
        order.append("background")

    async def endpoint(request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE, background=BackgroundTask(slow))

    site = mounted(Starlette(routes=[Route("/", endpoint)]))
    put = site.recorder.put

    def note(count: Count, event: Event | None = None, *more: Row) -> bool:
        # A banner is counted when it goes out, with the first bytes.
        if count.kind == "page":
            order.append("recorded")
        return put(count, event, *more)

    site.recorder.put = note  # type: ignore[method-assign]
    await run(site, http_scope())
    assert order == ["recorded", "background"]


@pytest.mark.filterwarnings("error")
async def test_28_an_error_of_the_application_is_counted_and_raised_on() -> None:
    site = mounted(App(raises=LookupError("theirs")), record="all")
    with pytest.raises(LookupError, match="theirs"):
        await run(site, http_scope("/boom"))
    assert site.recorder.flush(5)
    assert [row["status"] for row in site.recorder.store.counts()] == ["5xx"]


async def test_29_no_second_start_is_ever_sent() -> None:
    """An error after the first chunk is the application's; we add no answer of ours."""
    sent: list[Message] = []
    site = mounted(App(*html(PAGE[:200], b"")[:2], raises=RuntimeError("midway")))
    with pytest.raises(RuntimeError, match="midway"):
        await run(site, http_scope(), sent=sent)
    assert [message["type"] for message in sent].count("http.response.start") == 1


@pytest.mark.parametrize("broken", ["decide", "inserts", "record", "gate"])
async def test_30_our_own_error_costs_no_page_and_runs_nothing_optional(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = mounted(App(*html(PAGE)))

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ours")

    where: tuple[object, str] = {
        "decide": (site.site, "decide_with"),
        "inserts": (site.pages, "inserts"),
        "record": (site.recorder, "put"),
        "gate": (HtmlGate, "feed"),
    }[broken]
    monkeypatch.setattr(*where, fail)
    sent = await run(site, http_scope())
    assert status(sent) == 200
    assert b"<h1>Home</h1>" in body(sent)
    sealed = "default-src 'self'" in (header(sent, "content-security-policy") or "")
    assert sealed or b' src="https://www.youtube.com' not in body(sent)


async def test_30_an_error_midway_still_lets_the_page_out_without_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = HtmlGate.feed

    def fail_later(self: HtmlGate, chunk: bytes) -> bytes:
        if b"youtube" in chunk:
            raise RuntimeError("ours")
        return feed(self, chunk)

    monkeypatch.setattr(HtmlGate, "feed", fail_later)
    at = PAGE.index(b"<iframe")
    text = body(await run(mounted(App(*html(PAGE[:at], PAGE[at : at + 4], PAGE[at + 4 :]))), http_scope()))
    assert text.endswith(b"</html>\n")
    assert b"<img" not in text


async def test_31_nothing_of_ours_lives_in_a_context_variable() -> None:
    """Tokens reset in another context raise; so there are none."""
    for path in PACKAGE.rglob("*.py"):
        assert "contextvars" not in path.read_text("utf-8"), path.name


async def test_32_the_scope_of_the_caller_is_not_changed() -> None:
    scope = http_scope(headers=[("if-none-match", 'W/"a~b"')])
    before = {**scope, "headers": list(scope["headers"])}
    await run(mounted(App(*html(PAGE))), scope)
    assert scope == before


async def test_33_two_visitors_at_once_keep_their_own_state() -> None:
    """Their responses interleave chunk by chunk; neither gets the other's page."""
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start, first, last = html(PAGE[:250], PAGE[250:])
        await send(start)
        await send(first)
        gate.set() if gate.is_set() else await asyncio.sleep(0)
        await send(last)

    site = mounted(app)
    granted = [("cookie", choice_cookie(site, "analytics", "advertising", "media"))]
    pages = await asyncio.gather(run(site, http_scope()), run(site, http_scope(headers=granted)))
    assert b'<iframe src="https://www.youtube.com' not in body(pages[0])
    assert b'<iframe src="https://www.youtube.com' in body(pages[1])


@pytest.mark.parametrize("root", ["", "/sub", "/sub/deeper", "/privacy"])
async def test_34_under_a_root_path_every_address_of_ours_has_it(root: str) -> None:
    site = mounted(App(*html(PAGE)))
    page = body(await run(site, http_scope(f"{root}/", root_path=root))).decode()
    assert f'action="{root}/privacy/choices"' in page
    assert status(await run(site, http_scope(f"{root}/privacy/choices", root_path=root))) == 200


async def test_34_a_prefix_is_cut_at_a_slash_only() -> None:
    app = App(*html(b"theirs"))
    site = mounted(app)
    await run(site, http_scope("/subway/privacy", root_path="/sub"))
    await run(site, http_scope("/privacyfence"))
    assert len(app.scopes) == 2, "both were pages of the application"


@pytest.mark.parametrize("how", ["add_middleware", "by hand", "mounted", "two deep"])
async def test_34_every_way_to_mount_it_works(how: str) -> None:
    async def endpoint(request: Request) -> HTMLResponse:
        assert request.scope["consent"].url("choices").endswith("/privacy/choices")
        return HTMLResponse(PAGE)

    options = {"debug": True, "store": "memory:", "secret_keys": (KEY,)}
    routes = [Route("/", endpoint), Route("/deep/", endpoint)]
    app: Any = Starlette(routes=routes)
    path = "/"
    if how == "add_middleware":
        app.add_middleware(ConsentMiddleware, settings=options)
    elif how == "by hand":
        app = ConsentMiddleware(app, options)
    elif how == "mounted":
        app, path = Starlette(routes=[Mount("/sub", ConsentMiddleware(app, options))]), "/sub/"
    else:
        inner = Starlette(routes=routes, middleware=[Middleware(ConsentMiddleware, settings=options)])
        app, path = Starlette(routes=[Mount("/one", Starlette(routes=[Mount("/two", inner)]))]), "/one/two/"
    sent = await run(app, http_scope(path))
    root = path.rstrip("/")
    assert f'action="{root}/privacy/choices"'.encode() in body(sent)
    assert status(await run(app, http_scope(f"{root}/privacy"))) == 200


async def test_35_no_client_address_is_no_problem() -> None:
    app = App(*html(PAGE))
    sent = await run(mounted(app), http_scope(client=None, server=None))
    assert status(sent) == 200
    assert app.scope["consent"].regime == "strict", "an unknown region gets the strictest rules"


async def test_36_the_request_body_belongs_to_the_application() -> None:
    app = App(*html(PAGE), read=True)
    events = (request(b"one", more=True), request(b"two"))
    await run(mounted(app), http_scope(method="POST"), *events)
    assert same(app.received, events)


async def test_36_a_body_of_ours_is_bounded() -> None:
    big = request(b"x" * 20_000, more=True)
    scope = http_scope("/privacy/choices", "POST", [("sec-fetch-site", "same-origin")])
    assert status(await run(mounted(App()), scope, big)) == 413


async def test_37_websockets_are_forwarded_and_told_what_was_decided() -> None:
    async def endpoint(socket: WebSocket) -> None:
        assert socket.scope["consent"].why("analytics") == "no choice"
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    site = mounted(Starlette(routes=[WebSocketRoute("/ws", endpoint)]))
    sent = await run(site, websocket_scope("/ws"), {"type": "websocket.connect"})
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]


async def test_37_a_denied_websocket_keeps_its_answer() -> None:
    denial: tuple[Message, ...] = (
        {"type": "websocket.http.response.start", "status": 403, "headers": [(b"content-type", b"text/html")]},
        {"type": "websocket.http.response.body", "body": PAGE},
    )
    assert same(await run(mounted(App(*denial)), websocket_scope("/ws"), {"type": "websocket.connect"}), denial)


async def test_38_a_client_that_left_is_not_our_error() -> None:
    """send() may raise once the client is gone; it reaches the application, and the request is counted."""

    class GoneError(OSError):
        pass

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise GoneError

    site = mounted(App(*html(PAGE)))
    with pytest.raises(GoneError):
        await site(http_scope("/left"), _never, send)
    assert site.recorder.flush(5)
    assert routes(site) == ["/left"]


def test_39_no_private_name_of_a_framework_is_used() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("starlette"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not any(name.startswith("_") for name in names), f"{path.name}: {names}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("sec-fetch-site", "same-origin")], 303),
        ([("sec-fetch-site", "none")], 303),
        ([("sec-fetch-site", "cross-site")], 403),
        ([("sec-fetch-site", "same-site")], 403),
        ([("sec-fetch-site", "cross-site"), ("origin", "http://site.example")], 403),
        ([("origin", "http://site.example")], 303),
        ([("origin", "http://evil.example")], 403),
        ([("origin", "null")], 403),
        ([], 303),
    ],
)
async def test_40_another_sites_page_cannot_choose_for_a_visitor(given: list[tuple[str, str]], expected: int) -> None:
    site = mounted(App())
    sent = await run(site, http_scope("/privacy/choices", "POST", given), request(b"action=accept&surface=banner"))
    assert status(sent) == expected
    assert bool(values(sent, "set-cookie")) == (expected == 303)
    await site.site.close()


@given(
    chunks=st.lists(st.binary(max_size=60), max_size=8),
    kind=st.sampled_from(["application/json", "image/png", "text/plain"]),
)
async def test_nothing_to_gate_means_messages_out_are_messages_in(chunks: list[bytes], kind: str) -> None:
    """The very same objects, whatever the bodies and however they are split."""
    given = response(*chunks, headers=[("content-type", kind), ("etag", '"x"'), ("set-cookie", "mine=1")])
    site = mounted(App(*given))
    assert same(await run(site, http_scope()), given)


@given(cuts=st.lists(st.integers(0, len(PAGE)), max_size=6))
async def test_html_without_anything_to_withhold_keeps_every_byte(cuts: list[int]) -> None:
    """Everything granted, nothing inserted but our style, script and links: the page itself is byte for byte."""
    edges = [0, *sorted(cuts), len(PAGE)]
    parts = [PAGE[a:b] for a, b in pairwise(edges)]
    site = mounted(App(*html(*parts)), footer=False)
    everything = [("cookie", choice_cookie(site, *(p for p in site.site.catalogue.purposes)))]
    text = body(await run(site, http_scope(headers=everything)))
    ours = re.compile(rb"<(?:link|script) [^>]*\bdata-consentmw\b[^>]*>(?:</script>)?")
    assert len(ours.findall(text)) == 4, "the style, what tells vendors, the script, what tells of clicks"
    assert ours.sub(b"", text) == PAGE


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def _drop(message: Message) -> None:
    return None
