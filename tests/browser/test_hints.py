"""A real browser tells about its device once it is asked, and stops when its visitor changes their mind."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .visitor import Visitor as Person

pytestmark = pytest.mark.browser

HINT = "sec-ch-ua-platform-version"


def told(visitor: Person, path: str) -> bool:
    """Whether the browser's request for this page had the hint."""
    answer = visitor.open(path)
    assert answer is not None
    headers = answer.request.all_headers()
    # A browser that never sent any hint would prove nothing here.
    assert "sec-ch-ua-platform" in headers
    return HINT in headers


def test_a_browser_is_asked_where_analytics_is_allowed_and_nowhere_else(visit: Visit) -> None:
    visitor = visit()
    assert not told(visitor, "/")
    assert not told(visitor, "/outages")
    visitor.press("accept")
    visitor.open("/")
    assert told(visitor, "/outages")


def test_after_a_withdrawal_the_next_page_makes_it_stop(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/")
    assert told(visitor, "/")
    visitor.open("/privacy/choices")
    visitor.press("reject")
    visitor.open("/")
    assert not told(visitor, "/outages")
