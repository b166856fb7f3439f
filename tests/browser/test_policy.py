"""The policy in a real browser: it refuses what a server can't see, and a site that is strict itself stays whole."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from consentmw import ConsentMiddleware

from ..mounted import mounted
from .conftest import Visit
from .demo import Demo
from .visitor import Visitor, comes_true

pytestmark = pytest.mark.browser

#: a page whose own code pastes a tag in later, as a bundle would, out of a server's sight
LOOSE = """<!doctype html><html lang="en"><head><title>Loose</title></head><body><h1>Loose</h1>
<script>
addEventListener("load", () => {
  const host = ["connect", "face" + "book", "net"].join("."), tag = document.createElement("script");
  tag.src = "https://" + host + "/en_US/fbevents.js?account=4417220913";
  tag.onload = () => document.body.append("loaded");
  tag.onerror = () => document.body.append("refused");
  document.body.append(tag);
});
</script></body></html>"""

#: the strict policy that browser vendors recommend, with Trusted Types; reports go to the site itself
STRICT = (
    "default-src 'self' https://*.google-analytics.com https://www.facebook.com; "
    "script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'nonce-{nonce}'; object-src 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types {names}; report-uri /own"
)
TAGS = """<!doctype html><html lang="en"><head><title>Strict</title>
<style nonce="{nonce}">h1 {{ color: rgb(1, 2, 3) }}</style>
<script nonce="{nonce}" async src="https://www.googletagmanager.com/gtag/js?id=G-STRICT"></script>
<script nonce="{nonce}">
window.dataLayer = window.dataLayer || []; function gtag() {{ dataLayer.push(arguments); }}
gtag("js", new Date()); gtag("config", "G-STRICT"); window.ran = true;
</script></head><body><h1>Strict</h1>
<img alt="" src="https://www.facebook.com/tr?id=1&ev=PageView"></body></html>"""


class Served:
    """A site of its own behind consentmw, in a thread of this process."""

    def __init__(self, **options: Any) -> None:
        #: what browsers reported to the site's own endpoint
        self.complaints: list[dict[str, Any]] = []
        app = self._app(options.pop("names", "consentmw"))
        self.middleware: ConsentMiddleware = mounted(app, services_used=("google_analytics", "meta_pixel"), **options)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(self.middleware, log_level="warning", access_log=False))
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    def _app(self, names: str) -> Starlette:
        async def loose(request: Request) -> Response:
            return HTMLResponse(LOOSE)

        async def strict(request: Request) -> Response:
            nonce = secrets.token_urlsafe(16)
            policy = STRICT.format(nonce=nonce, names=names)
            return HTMLResponse(TAGS.format(nonce=nonce), headers={"content-security-policy": policy})

        async def own(request: Request) -> Response:
            self.complaints.append(json.loads(await request.body())["csp-report"])
            return Response(status_code=204)

        return Starlette(
            routes=[
                Route("/pages/{kind}/loose", loose),
                Route("/strict", strict),
                Route("/own", own, methods=["POST"]),
                Route("/favicon.ico", lambda _: Response(status_code=204)),
            ]
        )

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def leaks(self) -> list[dict[str, Any]]:
        """The counters that reports have opened."""
        assert self.middleware.recorder.flush(5)
        return [row for row in self.middleware.recorder.store.counts() if row["kind"] == "leak"]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Any]:
    """Starts sites with these options."""
    running: list[Served] = []

    def start(**options: Any) -> Served:
        running.append(Served(**options))
        return running[-1]

    yield start
    for served in running:
        served.stop()


def came(demo: Demo) -> list[str]:
    """Hosts of third parties that a page reached."""
    return sorted({row["host"] for row in demo.received()})


@pytest.mark.parametrize(
    ("policy", "seen", "status"), [("enforce", "refused", "4xx"), ("report-only", "loaded", "2xx")]
)
def test_a_tag_that_the_pages_own_code_injects_is_a_counted_leak(
    serve: Any, visit: Visit, demo: Demo, policy: str, seen: str, status: str
) -> None:
    """No server sees such a tag; enforced, the browser refuses it before anything leaves."""
    served = serve(policy=policy)
    visitor: Visitor = visit(host=served.host)
    visitor.open("/pages/4417220913/loose?account=4417220913")
    visitor.page.get_by_text(seen).wait_for()
    visitor.settle()
    assert came(demo) == (["connect.facebook.net"] if policy == "report-only" else [])
    demo.until(served.leaks, "the report of the browser")
    (leak, *more) = served.leaks()
    assert leak["route"] == "/pages/{x}/loose"
    assert leak["why"] == "script-src-elem connect.facebook.net meta_pixel"
    assert leak["status"] == status
    assert leak["tier"] == "count"
    assert "4417220913" not in repr([leak, *more])


def test_what_was_allowed_is_not_refused_and_not_reported(serve: Any, visit: Visit, demo: Demo) -> None:
    served = serve(policy="enforce")
    visitor: Visitor = visit(host=served.host)
    visitor.open("/strict")
    visitor.press("accept")
    visitor.forget()
    visitor.open("/pages/1/loose")
    visitor.page.get_by_text("loaded").wait_for()
    assert "connect.facebook.net" in came(demo)
    assert served.leaks() == []


@pytest.mark.parametrize("policy", ["off", "report-only", "enforce"])
def test_a_strict_site_stays_whole(serve: Any, visit: Visit, demo: Demo, policy: str) -> None:
    """Nonce, strict-dynamic and Trusted Types: banner, style and script of ours run, with no violation of the site's.

    Without an enforced policy what was allowed runs in the page that is open. With one it can't, since a
    policy stays as it came with the page; then the page is loaded anew, and nobody has to do anything.
    """
    served = serve(policy=policy)
    visitor: Visitor = visit(host=served.host)
    visitor.open("/strict")
    assert visitor.banner.is_visible()
    assert visitor.page.evaluate("window.ran") is None, "no consent, no tag"
    assert visitor.banner.evaluate("e => getComputedStyle(e).position") == "relative", "our style is applied"
    assert visitor.unexpected() == []
    visitor.nothing_left()
    visitor.page.evaluate("window.mark = 'still here'")
    visitor.press("accept")
    comes_true(visitor.page, "window.ran && document.cookie.includes('_ga')")
    visitor.settle()
    assert visitor.page.evaluate("window.mark") == (None if policy == "enforce" else "still here")
    assert {"www.googletagmanager.com", "www.facebook.com"} <= set(came(demo))
    assert served.complaints == []
    assert served.leaks() == [], "what is allowed by now is no leak, whatever the page's older policy says"


def test_a_site_that_allows_no_policy_of_ours_is_served_anew(serve: Any, visit: Visit, demo: Demo) -> None:
    """Under Trusted Types our script may not create a script then; the page's next load brings what was allowed."""
    served = serve(names="'none'")
    visitor: Visitor = visit(host=served.host)
    visitor.open("/strict")
    assert visitor.unexpected() == []
    visitor.press("accept")
    comes_true(visitor.page, "window.ran")
    assert not visitor.banner.is_visible()
    assert len(visitor.loaded) == 2
