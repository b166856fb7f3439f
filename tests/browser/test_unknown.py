"""A badge that somebody pasted in, of a host that nobody named; and a form that would send what was typed away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from consentmw import Settings
from demo_site.app import SETTINGS, build

from ..asgi import App, html
from ..mounted import mounted
from .conftest import Visit
from .demo import PATIENCE, Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser

BADGES = "widgets.example-badges.net"
SCRIPT = "script[src*=example-badges], script[data-consentmw-src*=example-badges]"


@pytest.mark.parametrize("choice", ["none", "accept", "reject", "withdraw"])
def test_nothing_reaches_a_host_that_nobody_named(visit: Visit, demo: Demo, choice: str, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/contact")
    if choice != "none":
        visitor.press("accept" if choice == "withdraw" else choice)
    if choice == "withdraw":
        visitor.open("/privacy/choices")
        visitor.press("withdraw")
    visitor.open("/contact")
    assert BADGES not in visitor.hosts()
    assert visitor.page.locator(SCRIPT).get_attribute("data-consentmw-service") == "unknown"
    # The panel belongs to the visit, so it is read with the visitor's cookies.
    facts: dict[str, Any] = visitor.context.request.get(f"{visitor.url}/qa.json").json()
    withheld = [(row["service"], row["tag"], row["host"]) for row in facts["pages"][0]["withheld"]]
    assert ("unknown", "script", BADGES) in withheld
    assert ("unknown", "img", BADGES) in withheld
    why = {row["why"] for row in facts["rows"]["counters"] if row["kind"] == "unknown"}
    assert why >= {f"script {BADGES} withheld", f"pixel {BADGES} withheld"}


@pytest.mark.parametrize(
    "options",
    [
        {"own_hosts": ("*.example-badges.net",)},
        {"services": {"badges": {"purposes": ["necessary"], "hosts": [BADGES]}}},
        {"unknown": "report"},
    ],
    ids=["own hosts", "a service", "report"],
)
def test_named_or_only_reported_it_loads(visit: Visit, options: dict[str, Any]) -> None:
    """The same site with one setting more: the badge is there before any choice, and nobody else is asked."""
    visitor = visit()
    with served(build(Settings.of(SETTINGS, store="memory:", **options))) as url:
        visitor.page.goto(f"{url}/contact")
        visitor.settle()
        assert asked(visitor) == {BADGES}
        assert visitor.page.locator("[data-badge]").inner_text().startswith("★ 4.6")


SIGN_UP = "https://demo.us1.list-manage.com/subscribe"
FORM = f"""<!doctype html><html lang=en><title>News</title><body>
<form action="{SIGN_UP}" target="elsewhere"><input name="EMAIL" type="email"><button>Sign up</button></form>"""


def test_what_was_typed_reaches_nobody_without_consent(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    with served(mounted(App(*html(FORM.encode())), services_used=["mailchimp"])) as url:
        visitor.page.goto(f"{url}/news?a=1")
        visitor.page.fill("[name=EMAIL]", "reader@household.example")
        visitor.page.click("text=Sign up")
        visitor.page.wait_for_url("**/privacy/form/**")
        assert visitor.page.locator("h1").inner_text() == "Nothing was sent"
        assert "reader" not in visitor.page.url
        assert asked(visitor) == set()
        visitor.page.click("text=Back to the page")
        visitor.page.wait_for_url(f"{url}/news?a=1")
        visitor.press("accept")
        form = visitor.page.locator("form:has([name=EMAIL])")
        assert form.get_attribute("action") == SIGN_UP
        assert (form.get_attribute("method") or "get", form.get_attribute("target")) == ("get", "elsewhere")


def asked(visitor: Visitor) -> set[str]:
    """Hosts that got something; requests for the site itself, on its other port, are not among them."""
    return {row["host"] for row in visitor.demo.received()}


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """An application in this process, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < end, "the site does not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
