"""A withheld video in a real browser: what stands in its place, seen once, and withheld again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, FrameLocator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ..mounted import mounted
from ..serving import serving
from .conftest import Visit
from .demo import Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser

#: two services' frames far down a page that tells nobody where it is, so that no Referer helps
STORY = """<!doctype html><html lang="en"><head><title>Story</title></head><body><h1>Story</h1>
<div style="height: 3000px"></div>
<iframe id="film" title="Film" width="560" height="315" src="https://www.youtube.com/embed/one"></iframe>
<iframe title="Other" width="560" height="315" src="https://player.vimeo.com/video/1"></iframe>
</body></html>"""

#: the player and its picture
YOUTUBE = {"www.youtube.com", "i.ytimg.com"}

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a site of stories with these options, in a thread of this process; gives its host."""
    running = ExitStack()

    async def story(request: Request) -> Response:
        return HTMLResponse(STORY, headers={"referrer-policy": "no-referrer"})

    def start(**options: Any) -> str:
        routes = [Route("/story", story), Route("/favicon.ico", lambda _: Response(status_code=204))]
        app = mounted(Starlette(routes=routes), services_used=("youtube", "vimeo"), **options)
        return running.enter_context(serving(app)).removeprefix("http://")

    with running:
        yield start


def placeholder(visitor: Visitor, service: str) -> FrameLocator:
    return visitor.page.frame_locator(f"iframe[data-consentmw-service={service}]")


def press(visitor: Visitor, service: str, action: str) -> None:
    """Press a button of a placeholder, and wait for the page that follows."""
    with visitor.page.expect_navigation():
        placeholder(visitor, service).locator(f"[data-consentmw-action={action}]").click()
    visitor.settle()


def came(demo: Demo) -> set[str]:
    """Hosts that a page reached, by the stand-in's own record."""
    return {row["host"] for row in demo.received()}


@pytest.mark.parametrize("policy", ["off", "enforce"])
def test_once_is_once(serve: Serve, visit: Visit, demo: Demo, javascript: bool, policy: str) -> None:
    """With and without scripts, and under a policy that was sent before: that service, that page, that time."""
    visitor = visit(javascript=javascript, host=serve(policy=policy))
    visitor.open("/story?part=2")
    visitor.press("reject")
    visitor.open("/story?part=2")
    assert placeholder(visitor, "youtube").get_by_role("heading", name="YouTube").is_visible()
    assert visitor.nothing_left()

    press(visitor, "youtube", "once")
    assert visitor.page.url.endswith("/story?part=2#film")
    assert visitor.page.locator("#film").evaluate("e => e.getBoundingClientRect().top") < 400, "back where it is"
    assert came(demo) == YOUTUBE
    assert placeholder(visitor, "vimeo").get_by_role("heading", name="Vimeo").is_visible()
    assert "privacy-once" not in visitor.cookies()
    assert visitor.unexpected() == []

    visitor.forget()
    visitor.page.reload()
    visitor.settle()
    assert placeholder(visitor, "youtube").get_by_role("heading", name="YouTube").is_visible()
    visitor.open("/story")
    assert visitor.nothing_left()
    visitor.open("/privacy/receipt")
    assert visitor.page.get_by_text("You had this shown once, on one page").count() == 1
    assert visitor.page.locator("dd", has_text="YouTube").count() == 1


def test_going_back_does_not_show_it_again(serve: Serve, visit: Visit, demo: Demo, javascript: bool) -> None:
    """Nor does the browser's history put another frame's placeholder in its place."""
    visitor = visit(javascript=javascript, host=serve())
    visitor.open("/story")
    press(visitor, "youtube", "once")
    assert came(demo) == YOUTUBE
    visitor.open("/privacy")
    visitor.forget()
    visitor.page.go_back()
    visitor.settle()
    assert "/story" in visitor.page.url
    assert visitor.nothing_left()
    assert placeholder(visitor, "youtube").get_by_role("heading", name="YouTube").is_visible()


def test_a_page_in_another_window_does_not_take_it(serve: Serve, visit: Visit, demo: Demo) -> None:
    """Nor does it show anything: the leave is for the page that asked."""
    visitor = visit(host=serve())
    # The button's request without the page that follows, so that another page comes first.
    visitor.context.request.post(
        f"{visitor.url}/privacy/held/youtube", form={"return": "/story?part=1"}, max_redirects=0
    )
    visitor.open("/story?part=2")
    assert placeholder(visitor, "youtube").get_by_role("heading", name="YouTube").is_visible()
    assert visitor.nothing_left()
    visitor.open("/story?part=1")
    assert came(demo) == YOUTUBE


def test_a_keyboard_is_enough(serve: Serve, visit: Visit, demo: Demo) -> None:
    """The frame keeps its own title; in it, a heading, and buttons that say what they do and why."""
    visitor = visit(host=serve(footer=False))
    visitor.open("/story")
    visitor.press("reject")
    visitor.open("/story")
    assert visitor.page.locator("iframe[data-consentmw-service=youtube]").get_attribute("title") == "Film"
    button = placeholder(visitor, "youtube").get_by_role("button", name="Show once")
    why = button.evaluate("e => document.getElementById(e.getAttribute('aria-describedby')).innerText")
    assert "Google LLC" in why
    visitor.page.keyboard.press("Tab")
    assert button.evaluate("e => e === document.activeElement")
    with visitor.page.expect_navigation():
        visitor.page.keyboard.press("Enter")
    visitor.settle()
    assert came(demo) == YOUTUBE


@pytest.mark.parametrize("language", ["en-US", "es-US"])
@pytest.mark.parametrize(("width", "height"), [(300, 150), (360, 200), (640, 360)])
def test_it_fits_its_frame(serve: Serve, browser: Browser, language: str, width: int, height: int) -> None:
    """Everything can be read and pressed without scrolling, in the smallest frame that browsers make by themselves."""
    context = browser.new_context(locale=language, viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(f"http://{serve()}/privacy/held/L3N0b3J5/youtube")
    assert page.locator("button").count() == 2
    size = page.evaluate("(({ scrollWidth: w, scrollHeight: h }) => [w, h])(document.documentElement)")
    context.close()
    assert size == [width, height]
