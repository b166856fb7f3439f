"""Withdrawing: services stop, their cookies go, what was recorded is deleted, and it is on record."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .demo import HOSTNAME, Demo

pytestmark = pytest.mark.browser

#: the rows of a receipt
ROWS_OF = "SELECT 1 FROM events JOIN contexts ON contexts.id = context WHERE receipt = ?"


def test_withdrawal_is_whole(visit: Visit, demo: Demo) -> None:
    """Under a name with a parent domain, where tags set their cookies for the parent, and one is HttpOnly."""
    visitor = visit(host=HOSTNAME)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/news")
    receipt = visitor.receipt()
    assert {"_ga", "_ga_DEMO12345", "_ga_SERVER01", "_fbp", "_gcl_au", "_clck"} - {"_gcl_au"} <= set(visitor.cookies())
    assert visitor.cookies()["_ga"] == ".utility.example", "otherwise this proves nothing about parent domains"
    demo.until(lambda: demo.rows(ROWS_OF, receipt), "rows of this receipt")

    visitor.open("/privacy/choices")
    visitor.press("withdraw")
    assert visitor.page.locator("[role=status]", has_text="Your choices are saved.").is_visible()
    own = {name for name, domain in visitor.cookies().items() if domain.endswith("utility.example")}
    assert own <= {"privacy", "privacy-locale", "ple_visit", "ple_session"}
    demo.until(lambda: not demo.rows(ROWS_OF, receipt), "the rows to be deleted")
    rows = demo.rows("SELECT event FROM ledger WHERE previous = ?", receipt)
    assert rows == [("withdrawn",)]

    visitor.forget()
    for path in ("/", "/news", "/service/done"):
        visitor.open(path)
    assert visitor.nothing_left()
    assert {n for n, domain in visitor.cookies().items() if domain.endswith("utility.example")} == own


def test_withdrawing_needs_no_script(visit: Visit, demo: Demo) -> None:
    visitor = visit(javascript=False)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/news")
    assert "_ga_SERVER01" in visitor.cookies()
    visitor.open("/privacy/choices")
    visitor.press("withdraw")
    assert "_ga_SERVER01" not in visitor.cookies()
    visitor.forget()
    visitor.open("/news")
    assert visitor.nothing_left()
    assert "_ga_SERVER01" not in visitor.cookies()


def test_going_back_after_a_withdrawal_runs_nothing(visit: Visit, javascript: bool) -> None:
    """The page behind the back button was written under the old consent; the browser must not show that copy."""
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/outages")
    visitor.open("/privacy/choices")
    visitor.press("withdraw")
    visitor.forget()
    while not visitor.page.url.endswith("/outages"):
        visitor.page.go_back()
        visitor.settle()
    assert visitor.nothing_left()
    visitor.page.go_back()
    visitor.settle()
    assert visitor.nothing_left()
