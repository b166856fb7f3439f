"""What the site's server reports to Google: only for a visitor who allows it, and as the browser's own tag is known."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from .conftest import Visit
from .demo import Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser

#: the browser of the tests says that it is a program, and of programs nothing is reported
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
COUNTED = "SELECT coalesce(sum(count), 0) FROM counts WHERE kind = 'relay' AND route = 'outage_reported' AND why = ?"


def report(visitor: Visitor) -> None:
    """Report an outage, as anybody may."""
    visitor.open("/outages")
    form = visitor.page.locator("form[action$='/outages']")
    for field in form.locator("input[required], textarea[required]").all():
        field.fill("12 Main Street")
    form.locator("button").click()
    visitor.page.wait_for_url("**/outages/reported")
    visitor.settle()


def relayed(demo: Demo) -> list[dict[str, Any]]:
    """What came from the site's server itself."""
    return [row for row in demo.everything() if urlsplit(row["path"]).path == "/mp/collect"]


def test_whoever_allows_it_is_reported_once(visit: Visit, demo: Demo) -> None:
    ((before,),) = demo.rows(COUNTED, "")
    visitor = visit(user_agent=PERSON)
    visitor.open("/")
    visitor.press("accept")
    report(visitor)
    demo.until(lambda: demo.rows(COUNTED, "") == [(before + 1,)], "the event to be sent")
    (row,) = relayed(demo)
    assert (row["method"], row["vendor"], row["cookies"]) == ("POST", "Google Analytics", [])


def test_nobody_else_is(visit: Visit, demo: Demo, javascript: bool) -> None:
    ((before,),) = demo.rows(COUNTED, "choice")
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("reject")
    report(visitor)
    demo.until(lambda: demo.rows(COUNTED, "choice") == [(before + 1,)], "the refusal to be counted")
    assert relayed(demo) == []
    assert visitor.nothing_left()
