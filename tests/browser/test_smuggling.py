"""The hostile set in a real browser: each row reaches a third party as it stands, and none does behind the middleware.

The rows are documents in frames, dozens to a page; a request or a connection is told to be a row's by the row's
name, which stands in each of its addresses. What only a window would load gets one, and what waits for a click is
clicked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page
from starlette.types import ASGIApp, Receive, Scope, Send

from consentmw.purposes import Catalogue

from ..mounted import mounted
from ..serving import serving
from ..smuggled import ROWS, Row, serve
from .conftest import SWITCHES
from .demo import PATIENCE
from .third_parties import ThirdParties

pytestmark = pytest.mark.browser

Reached: TypeAlias = dict[str, list[str]]

#: rows to a page; more keep a renderer busy for longer than it takes to open another page
_TOGETHER = 60
#: pages at the same time
_AT_ONCE = 3
#: seconds without a request or a connection after which a page is at rest
_QUIET = 0.5
#: the services of the set; all others of the catalogue stay denied as well
USED = (
    "google_analytics",
    "google_tag_manager",
    "meta_pixel",
    "youtube",
    "vimeo",
    "hotjar",
    "microsoft_clarity",
    "linkedin_insight",
)
_CLICK = "s => document.querySelector(s)?.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
_NAMES = {row.id: row for row in ROWS}
_TOKEN = re.compile(r"[a-z0-9-]+")


@pytest.fixture(scope="module")
def third_parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThirdParties]:
    """Every host but this machine's own."""
    standing_in = ThirdParties(tmp_path_factory.mktemp("certificate"))
    yield standing_in
    standing_in.stop()


@contextmanager
def opened(
    chromium: BrowserType, path: str, third_parties: ThirdParties, *, javascript: bool
) -> Iterator[BrowserContext]:
    """A Chromium of its own that finds all names at ``third_parties``.

    With a profile on disk, as people's browsers have one: in a private window Chromium connects to nobody ahead.
    """
    rules = f"MAP * 127.0.0.1:{third_parties.port}, EXCLUDE 127.0.0.1"
    with TemporaryDirectory() as profile:
        context = chromium.launch_persistent_context(
            profile,
            executable_path=path,
            args=[*SWITCHES, f"--host-resolver-rules={rules}"],
            # It would switch off connections ahead, too.
            ignore_default_args=["--disable-background-networking"],
            java_script_enabled=javascript,
            ignore_https_errors=True,
        )
        context.set_default_timeout(PATIENCE * 1000)
        with closing(context):
            yield context


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """The rows, and pages that show many of them: ``/frames/<address>/<id>,<id>``."""
    if not scope["path"].startswith("/frames/"):
        await serve(scope, receive, send)
        return
    *_, port, names = scope["path"].split("/")
    look = "position:absolute;left:0;top:0;width:600px;height:400px"
    frames = "".join(
        f'<iframe style="{look}" src="http://127.0.0.1:{port}/row/{name}"></iframe>' for name in names.split(",")
    )
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": f"<!doctype html>{frames}".encode()})


def reached(
    chromium: BrowserType, path: str, third_parties: ThirdParties, app: ASGIApp, rows: Sequence[Row] = ROWS
) -> Reached:
    """What third parties saw of each row that they saw anything of, when ``app`` serves the rows."""
    third_parties.clear()
    with serving(site) as frames, serving(app) as address:
        port = address.rpartition(":")[2]
        for javascript in (True, False):
            chosen = [row for row in rows if row.javascript is javascript]
            framed = [row.id for row in chosen if not row.top]
            groups = [framed[at : at + _TOGETHER] for at in range(0, len(framed), _TOGETHER)]
            with opened(chromium, path, third_parties, javascript=javascript) as context:
                _show(context, [f"{frames}/frames/{port}/{','.join(group)}" for group in groups])
                _show(context, [f"{address}/row/{row.id}" for row in chosen if row.top])
                third_parties.quiet(_QUIET)
    return _told_apart(third_parties.seen())


def _show(context: BrowserContext, urls: Sequence[str]) -> None:
    """Open these pages, some at the same time, and click in each what waits for a click."""
    for at in range(0, len(urls), _AT_ONCE):
        pages = [(context.new_page(), url) for url in urls[at : at + _AT_ONCE]]
        for page, url in pages:
            page.goto(url, wait_until="commit")
        for page, _ in pages:
            _finish(page)


def _finish(page: Page) -> None:
    """Wait for all of the page and click what waits for it."""
    page.wait_for_load_state("load")
    for frame in page.frames:
        row = _NAMES.get(frame.url.rpartition("/row/")[2])
        if row is not None and row.click:
            frame.evaluate(_CLICK, row.click)


def _told_apart(seen: Sequence[str]) -> Reached:
    found: Reached = {}
    for what in seen:
        for name in set(_TOKEN.findall(what)) & _NAMES.keys():
            found.setdefault(name, []).append(what)
    return found


@pytest.fixture(scope="module")
def hostile(browser: Browser, chromium_path: str, third_parties: ThirdParties) -> Callable[[ASGIApp], Reached]:
    """Shows all rows to a Chromium of its own."""
    return lambda app: reached(browser.browser_type, chromium_path, third_parties, app)


def test_the_set_is_hostile(hostile: Callable[[ASGIApp], Reached]) -> None:
    """Without the middleware at least 300 rows reach a third party; of those that should, hardly one is dead."""
    found = hostile(serve)
    counting = {row.id for row in ROWS if row.counts}
    missing = sorted(counting - found.keys())
    assert len(counting & found.keys()) >= 300
    assert len(missing) <= len(counting) // 50, missing


def test_the_rewriter_alone_lets_nothing_out(
    hostile: Callable[[ASGIApp], Reached], third_parties: ThirdParties
) -> None:
    """With no policy and every unknown host allowed, all that gets out is what no rewriter can see."""
    found = hostile(mounted(serve, policy="off", unknown="allow"))
    assert {name: seen for name, seen in found.items() if _NAMES[name].counts or _NAMES[name].old} == {}
    assert known(third_parties.seen()) == {host for seen in found.values() for host in known(seen)}


def test_with_the_policy_nothing_leaves(hostile: Callable[[ASGIApp], Reached], third_parties: ThirdParties) -> None:
    """What the page's own code makes up is refused by the browser, but for pages that can't be rewritten."""
    found = hostile(mounted(serve, policy="enforce", unknown="allow", services_used=USED))
    assert {name: seen for name, seen in found.items() if not _NAMES[name].gap} == {}
    assert known(third_parties.seen()) == {host for seen in found.values() for host in known(seen)}


def known(seen: Sequence[str]) -> set[str]:
    """Those of the hosts seen that a service in the catalogue has; what Chromium asks for on its own has none."""
    hosts = {re.split("[/:]", what, maxsplit=1)[0].rstrip(".") for what in seen}
    marks = {mark.partition("/")[0] for service in Catalogue.load().services.values() for mark in service.hosts}
    parents = {host: [host.split(".", n)[-1] for n in range(host.count(".") + 1)] for host in hosts}
    return {host for host, names in parents.items() if host in marks or any(f"*.{name}" in marks for name in names)}
