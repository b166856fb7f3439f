"""The clickstream in a real browser: what happens in a page is told once, only by those who chose to be measured."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from consentmw.events.visits import Visit as Told
from consentmw.events.visits import visits

from ..mounted import choice_cookie, mounted
from .conftest import Visit
from .demo import Demo
from .visitor import Visitor, comes_true

pytestmark = pytest.mark.browser

#: a page with everything that the script looks at; fields of a form stand in place of its properties
PAGE = """<!doctype html><html lang="en"><head><title>Bills</title></head><body style="height: 4000px"><h1>Bills</h1>
<a id="out" href="https://rates.example/plans/2026?account=4417220913">Rates</a>
<a id="file" href="/files/tariff.pdf?account=4417220913">Tariff</a>
<a id="next" href="/next">Next</a>
<form id="contact-form" method="post" action="/sent"><input name="mail"><input name="id" value="x">
<input name="name" value="x"><input name="secret" type="password"><button id="send">Send</button></form>
</body></html>"""
#: as strict as a site can be and still let its own script tell something
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "form-action 'self' https:"
)


class Served:
    """A site of its own behind consentmw, in a thread of this process."""

    def __init__(self, **options: Any) -> None:
        async def page(_: Any) -> Response:
            return HTMLResponse(PAGE, headers={"content-security-policy": STRICT})

        async def sent(_: Any) -> Response:
            return RedirectResponse("/next", status_code=303)

        async def file(_: Any) -> Response:
            headers = {"content-disposition": "attachment"}
            return Response(b"%PDF-", media_type="application/pdf", headers=headers)

        routes = [
            Route("/accounts/{account}/bills", page),
            Route("/next", page),
            Route("/files/{name}", file),
            Route("/sent", sent, methods=["POST"]),
            Route("/favicon.ico", lambda _: Response(status_code=204)),
        ]
        site = Starlette(routes=routes)
        self.middleware = mounted(site, goals=["bill paid"], flush_seconds=0.05, services_used=(), **options)
        self._socket = socket.create_server(("127.0.0.1", 0))
        #: what browsers sent, as it came: what leaves with a page, a browser's own tools don't show
        self.sent: list[dict[str, Any]] = []
        self._server = uvicorn.Server(uvicorn.Config(self, interface="asgi3", log_level="warning", access_log=False))
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()

        async def note() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        told = scope["type"] == "http" and scope["path"] == "/privacy/events"
        await self.middleware(scope, note if told else receive, send)
        if told:
            self.sent.append(json.loads(body) if body else {})

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def rows(self, kind: str = "") -> list[dict[str, Any]]:
        """What was recorded, oldest first."""
        assert self.middleware.recorder.flush(5)
        return [r for r in self.middleware.recorder.store.events()[::-1] if kind in ("", r["kind"])]

    def visit(self) -> Told:
        """The one visit there was."""
        (visit,) = visits(self.rows())
        return visit

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture(params=["enforce", "off"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    running = Served(policy=request.param)
    yield running
    running.stop()


Comes = Callable[..., Visitor]


@pytest.fixture
def comes(served: Served, visit: Visit) -> Comes:
    """Makes visitors of the site who have chosen."""

    def make(*granted: str, **options: Any) -> Visitor:
        visitor: Visitor = visit(host=served.host, **options)
        if granted:
            name, _, value = choice_cookie(served.middleware, *granted).partition("=")
            visitor.context.add_cookies([{"name": name, "value": value, "url": visitor.url}])
        return visitor

    return make


def test_a_visit_is_told(served: Served, comes: Comes, demo: Demo) -> None:
    """One visitor who reads, opens a file, fills in a form and leaves for another site."""
    visitor = comes("analytics")
    visitor.open("/accounts/4417220913/bills?utm_source=mail")
    page = visitor.page
    with page.expect_download():
        page.locator("#file").click()
    page.mouse.wheel(0, 5_000)
    comes_true(page, "scrollY + innerHeight >= document.documentElement.scrollHeight - 5")
    page.wait_for_timeout(700)
    page.locator("[name=mail]").press_sequentially("jo.doe@example.org")
    page.locator("[name=secret]").fill("hunter2-4417220913")
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('consentmw-goal', {detail: {name: 'bill paid', value: 9.5}}))"
    )
    page.locator("#send").click()
    page.wait_for_url("**/next")
    visitor.settle()
    page.locator("#out").click()
    page.wait_for_url("https://rates.example/**")
    demo.until(lambda: len(served.rows("leave")) == 2, "both pages to be left")

    visit = served.visit()
    assert visit.pages == ("/accounts/{account}/bills", "/next")
    assert (visit.downloads, visit.outbound, visit.goals) == (
        ("/files/tariff.pdf",),
        ("rates.example/plans/{x}",),
        ("bill paid",),
    )
    assert [(row["kind"], row["target"], row["route"]) for row in served.rows() if row["kind"].startswith("form_")] == [
        ("form_start", "contact-form", "/accounts/{account}/bills"),
        ("form_submit", "contact-form", "/accounts/{account}/bills"),
    ]
    bills, following = served.rows("leave")
    assert (bills["route"], bills["value"]) == ("/accounts/{account}/bills", 10)
    assert bills["duration_ms"] >= 1_000
    assert following["route"] == "/next"
    assert following["value"] < 10
    kept = str(served.rows())
    for typed in ("jo.doe", "hunter2", "4417220913", "secret"):
        assert typed not in kept
    assert visitor.unexpected() == [], "the site's own policy lets it through"


def test_what_leaves_the_browser_holds_no_query_and_no_field(served: Served, comes: Comes, demo: Demo) -> None:
    """What the server would drop must not even be sent."""
    visitor = comes("analytics")
    visitor.open("/next?account=4417220913")
    with visitor.page.expect_download():
        visitor.page.locator("#file").click()
    visitor.page.locator("[name=mail]").fill("jo.doe@example.org")
    visitor.page.locator("#out").click()
    visitor.page.wait_for_url("https://rates.example/**")
    demo.until(lambda: served.rows("leave"), "the page to be left")
    kinds = [event["kind"] for body in served.sent for event in body["events"]]
    assert kinds == ["download", "form_start", "outbound", "leave"]
    assert not any(typed in str(served.sent) for typed in ("account", "4417220913", "jo.doe", "mail"))


def test_a_route_that_changes_in_the_page_is_another_page(served: Served, comes: Comes, demo: Demo) -> None:
    visitor = comes("analytics")
    visitor.open("/next")
    page = visitor.page
    page.evaluate("history.pushState({}, '', '/accounts/4417220913/usage?year=2026')")
    page.evaluate("history.replaceState({}, '', '/accounts/4417220913/usage?year=2025')")
    page.wait_for_timeout(600)
    page.go_back()
    page.evaluate("location.hash = 'end'")
    visitor.settle()
    visitor.open("/accounts/4417220913/bills")
    demo.until(lambda: len(served.rows("leave")) == 3, "three routes to be left")
    assert served.visit().pages == ("/next", "/accounts/{x}/usage", "/next", "/accounts/{account}/bills")
    assert [row["route"] for row in served.rows("leave")] == ["/next", "/accounts/{x}/usage", "/next"]


def test_without_the_navigation_api_it_works_the_same(served: Served, comes: Comes, demo: Demo) -> None:
    """Browsers of last year don't have it."""
    visitor = comes("analytics")
    visitor.page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    visitor.open("/next")
    visitor.page.evaluate("history.pushState({}, '', '/accounts')")
    visitor.page.go_back()
    visitor.page.wait_for_url("**/next")
    visitor.settle()
    visitor.open("/accounts/4417220913/bills")
    demo.until(lambda: len(served.rows("leave")) == 3, "three routes to be left")
    assert served.visit().pages == ("/next", "/accounts", "/next", "/accounts/{account}/bills")


def test_a_page_that_was_fetched_ahead_is_seen_when_somebody_looks(served: Served, comes: Comes, demo: Demo) -> None:
    """The server sees it once, for nobody yet, and the browser asks no more when its visitor gets there."""
    ahead = b"""<!doctype html><html lang="en"><head><title>Home</title><script type="speculationrules">
    {"prefetch": [{"source": "list", "urls": ["/next"], "eagerness": "immediate"}]}</script></head>
    <body><a id="next" href="/next">Next</a></body></html>"""
    site = served.middleware.app

    async def home(scope: Scope, receive: Receive, send: Send) -> None:
        await (HTMLResponse(ahead) if scope["path"] == "/" else site)(scope, receive, send)

    served.middleware.app = home
    visitor = comes("analytics")
    visitor.open("/")
    demo.until(lambda: [row["bot"] for row in served.rows("page")][1:] == ["prefetch"], "the page to be fetched ahead")
    assert served.visit().pages == ("/",), "nobody has seen it"
    visitor.page.click("#next")
    visitor.page.wait_for_url("**/next")
    visitor.page.goto("about:blank")
    demo.until(lambda: served.visit().pages == ("/", "/next"), "the page that was looked at")
    assert [row["status"] for row in served.rows("page")] == [200, 200, 204]


def test_going_back_and_forth_tells_nothing_twice(served: Served, comes: Comes, demo: Demo) -> None:
    """A page may come from the back/forward cache, with what it had gathered."""
    visitor = comes("analytics")
    visitor.open("/next")
    visitor.page.locator("[name=mail]").fill("a")
    visitor.open("/accounts/4417220913/bills")
    visitor.page.go_back()
    visitor.settle()
    visitor.page.locator("[name=mail]").fill("b")
    visitor.page.go_forward()
    visitor.settle()
    demo.until(lambda: len(served.rows("form_start")) == 2, "the form to be begun once on each visit of the page")
    ids = [body["id"] for body in served.sent]
    assert len(ids) == len(set(ids))
    assert served.visit().pages[0] == "/next"
    assert len(served.rows("form_start")) == 2


def test_many_events_are_sent_before_the_page_is_left(served: Served, comes: Comes, demo: Demo) -> None:
    visitor = comes("analytics")
    visitor.open("/next")
    goal = "document.dispatchEvent(new CustomEvent('consentmw-goal', {detail: {name: 'bill paid'}}))"
    visitor.page.evaluate(f"for (let n = 0; n < 45; n++) {goal}")
    demo.until(lambda: len(served.rows("goal")) == 40, "two full batches")
    assert [len(body["events"]) for body in served.sent] == [20, 20]
    visitor.open("/accounts/1/bills")
    demo.until(lambda: len(served.rows("goal")) == 45, "the rest")


@pytest.mark.parametrize(
    ("granted", "options"),
    [((), {}), (("advertising",), {}), ((), {"extra_http_headers": {"Sec-GPC": "1"}})],
    ids=["no choice", "advertising only", "signal"],
)
def test_others_get_no_script_and_tell_nothing(
    served: Served, comes: Comes, granted: tuple[str, ...], options: dict[str, Any]
) -> None:
    visitor = comes(*granted, **options)
    visitor.open("/next")
    assert visitor.page.locator("script[src*='clicks']").count() == 0
    visitor.page.locator("[name=mail]").fill("a")
    visitor.open("/accounts/4417220913/bills")
    assert served.sent == []
    assert served.rows() == []
    assert "privacy-visit" not in visitor.cookies()


def test_a_choice_made_in_the_page_stops_it_at_once(served: Served, comes: Comes) -> None:
    """What it had gathered is not sent either: the visitor may have just said no."""
    visitor = comes("analytics")
    visitor.open("/next")
    visitor.page.locator("[name=mail]").fill("a")
    visitor.page.evaluate("document.dispatchEvent(new CustomEvent('consentmw', {detail: {granted: []}}))")
    visitor.page.locator("[name=mail]").fill("b")
    visitor.page.evaluate("history.pushState({}, '', '/accounts')")
    visitor.page.locator("#out").click()
    visitor.page.wait_for_url("https://rates.example/**")
    assert served.sent == []
    assert [row["kind"] for row in served.rows()] == ["page"]


def test_a_page_left_open_tells_nothing_after_a_withdrawal(served: Served, comes: Comes, demo: Demo) -> None:
    """Its script knows nothing of the choice in another window; the server does."""
    visitor = comes("analytics")
    visitor.open("/next")
    open_still, visitor.page = visitor.page, visitor.context.new_page()
    visitor.open("/privacy/choices")
    visitor.press("withdraw")
    assert "privacy-visit" not in visitor.cookies()
    assert served.rows() == []
    open_still.locator("[name=mail]").fill("a")
    open_still.goto(visitor.url + "/accounts/4417220913/bills")
    visitor.settle()
    demo.until(lambda: served.sent == [{}], "the page to tell, and nobody to read it")
    assert served.rows() == []
    assert "privacy-visit" not in visitor.cookies()
