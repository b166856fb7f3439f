"""Refusing: nothing runs, and a no is remembered as well as a yes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from .conftest import Visit
from .demo import Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser


def test_a_no_is_a_no_on_every_page_and_is_not_asked_for_again(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("reject")
    for path in ("/", "/news", "/outages"):
        visitor.open(path)
        assert visitor.banner.count() == 0
    assert visitor.nothing_left()
    assert visitor.trackers() == set()


def test_a_no_outlives_the_browser(visit: Visit, browser: Browser, demo: Demo) -> None:
    first = visit()
    first.open("/")
    first.press("reject")
    again = Visitor(browser, demo, storage_state=first.context.storage_state())
    again.open("/")
    assert again.banner.count() == 0
    assert again.nothing_left()
    again.close()


def test_the_banner_says_so_and_leaves(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.page.clock.install()
    visitor.press("reject")
    status = visitor.page.locator("#consentmw [role=status]")
    assert status.inner_text() == "Your choices are saved."
    assert status.evaluate("e => e === document.activeElement")
    visitor.page.clock.run_for(10_000)
    assert visitor.banner.count() == 0


def test_when_the_script_cannot_save_the_form_does(visit: Visit) -> None:
    """The script's request fails; the visitor's answer still arrives, the way it would without a script."""
    visitor = visit()
    visitor.open("/")
    visitor.page.evaluate("() => { window.fetch = () => Promise.reject(new Error('offline')); }")
    with visitor.page.expect_navigation():
        visitor.button("reject").click()
    visitor.settle()
    assert visitor.banner.count() == 0
    assert "privacy" in visitor.cookies()


def test_going_back_after_a_no_shows_no_page_that_runs_tags(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.open("/outages")
    visitor.press("reject")
    visitor.page.go_back()
    visitor.settle()
    assert visitor.nothing_left()
