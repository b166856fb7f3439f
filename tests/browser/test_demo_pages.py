"""The demo in a browser: a form to a third party, and usage data that only an authorization hands over."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .demo import Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser

LETTERS = "prairielakes.us1.list-manage.com"


def sign_up(visitor: Visitor) -> None:
    visitor.open("/newsletter")
    visitor.page.fill("[name=EMAIL]", "reader@household.example")
    visitor.page.click("main button[type=submit]")
    visitor.settle()


def test_the_letter_is_asked_for_only_after_a_yes(visit: Visit, demo: Demo, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    sign_up(visitor)
    assert visitor.page.locator("h1").inner_text() == "Nothing was sent"
    assert "reader" not in visitor.page.url
    assert visitor.nothing_left()
    visitor.page.click("text=Back to the page")
    visitor.press("accept")
    visitor.forget()
    sign_up(visitor)
    assert visitor.page.locator("h1").inner_text() == "Stand-in"
    (row,) = [row for row in demo.received() if row["host"] == LETTERS]
    assert (row["method"], row["fields"]) == ("POST", ["EMAIL", "FNAME", "subscribe"])


def test_with_a_signal_the_letter_stays_unasked_for(visit: Visit) -> None:
    """Mailchimp serves advertising, which Global Privacy Control ends, over a general yes, too."""
    visitor = visit(extra_http_headers={"Sec-GPC": "1"})
    visitor.open("/newsletter")
    visitor.press("accept")
    sign_up(visitor)
    assert visitor.page.locator("h1").inner_text() == "Nothing was sent"
    assert LETTERS not in visitor.hosts()


@pytest.mark.parametrize("locale", ["en-US", "es-US"])
def test_usage_goes_where_the_customer_sends_it(visit: Visit, javascript: bool, locale: str) -> None:
    visitor = visit(javascript=javascript, locale=locale)
    page = visitor.page
    visitor.open("/sharing")
    page.fill("[name=account]", f"55{locale == 'es-US':d}0{javascript:d}00000")
    page.fill("[name=password]", "prairie")
    page.click("main button[type=submit]")
    visitor.open("/sharing/with/solar")
    page.check("[name=agree]")
    page.click("main button[type=submit]")
    visitor.settle()
    assert page.locator("article.share .chip-crew").count() == 1
    visitor.open("/sharing/desk")
    page.click("text=Hand over")
    visitor.settle()
    assert "Handed over to Bluestem" in page.locator(".alert").inner_text()
    visitor.open("/sharing")
    assert page.locator("tbody tr").count() == 1
    page.click("article.share button")
    visitor.settle()
    visitor.open("/sharing/desk")
    page.click("text=Hand over")
    visitor.settle()
    assert "Refused: the authorization was revoked" in page.locator(".alert").inner_text()
    assert visitor.nothing_left()


@pytest.mark.parametrize("path", ["/newsletter", "/sharing/desk", "/qa", "/privacy/locale", "/privacy/receipt"])
@pytest.mark.parametrize("locale", ["en-US", "es-US"])
def test_nothing_is_wider_than_a_small_telephone(visit: Visit, path: str, locale: str) -> None:
    visitor = visit(locale=locale, viewport={"width": 360, "height": 740})
    visitor.open("/")
    visitor.press("reject")
    visitor.open(path)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == 360
