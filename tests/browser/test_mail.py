"""E-mail: opens and clicks are counted, links lead where they say, and nobody is named who did not allow it."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .demo import Demo

pytestmark = pytest.mark.browser

COUNTED = "SELECT coalesce(sum(count), 0) FROM counts WHERE kind = ? AND campaign = 'spring-2027'"


def test_an_open_is_counted_and_names_nobody(visit: Visit, demo: Demo, javascript: bool) -> None:
    ((before,),) = demo.rows(COUNTED, "pixel")
    visitor = visit(javascript=javascript)
    visitor.open("/email")
    demo.until(lambda: demo.rows(COUNTED, "pixel") == [(before + 1,)], "the open to be counted")
    assert demo.rows("SELECT 1 FROM events WHERE kind = 'pixel' AND receipt = ''") == []
    assert visitor.nothing_left()


def test_a_link_leads_to_its_target_and_is_counted(visit: Visit, demo: Demo) -> None:
    ((before,),) = demo.rows(COUNTED, "click")
    visitor = visit()
    visitor.open("/email")
    visitor.page.locator(".mail-links a", has_text="outages").click()
    visitor.page.wait_for_url("**/outages?utm_source=newsletter*")
    visitor.settle()
    assert visitor.page.url.startswith(f"{visitor.url}/outages")
    demo.until(lambda: demo.rows(COUNTED, "click") == [(before + 1,)], "the click to be counted")
    assert visitor.nothing_left()


def test_whoever_allowed_it_is_recorded_with_the_click(visit: Visit, demo: Demo) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    receipt = visitor.receipt()
    visitor.open("/email")
    visitor.page.locator(".mail-links a", has_text="outages").click()
    visitor.page.wait_for_url("**/outages?*")
    query = "SELECT recipient, campaign, link FROM events WHERE kind = 'click' AND receipt = ?"
    demo.until(lambda: demo.rows(query, receipt), "the row of the click")
    assert demo.rows(query, receipt) == [("reader-0417", "spring-2027", "outages")]
