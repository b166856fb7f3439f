"""One demo site and one Chromium for all of these tests; a fresh profile for each visitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from .demo import Demo
from .visitor import Visitor

Visit = Callable[..., Visitor]

SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
)


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo site with its stand-in."""
    running = Demo.start(tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


# Not for the whole session: while Playwright runs, no test of asyncio's could.
@pytest.fixture(scope="package")
def browser(chromium_path: str, demo: Demo) -> Iterator[Browser]:
    """A Chromium in which every other host is the stand-in."""
    with sync_playwright() as playwright:
        switches = [*SWITCHES, f"--host-resolver-rules={demo.resolver_rules}"]
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=switches)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, demo: Demo) -> Iterator[Visit]:
    """Makes visitors; each has a profile of its own."""
    made: list[Visitor] = []
    demo.clear()

    def make(**options: Any) -> Visitor:
        made.append(Visitor(browser, demo, **options))
        return made[-1]

    yield make
    for visitor in made:
        visitor.close()


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def javascript(request: pytest.FixtureRequest) -> bool:
    """Whether the browser runs JavaScript."""
    return bool(request.param)
