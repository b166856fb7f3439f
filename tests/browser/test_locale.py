"""Language and region: stated by the visitor, never guessed, and a no is an answer."""

from __future__ import annotations

import pytest

from .conftest import Visit

pytestmark = pytest.mark.browser

BUTTONS = ["IOWA", "WISCONSIN", "NO THANKS"]


@pytest.mark.parametrize("button", BUTTONS)
def test_the_banner_asks_for_the_region_once(visit: Visit, javascript: bool, button: str) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/outages")
    assert visitor.banner.locator("[name=region]").all_inner_texts() == BUTTONS
    visitor.banner.get_by_role("button", name=button).click()
    visitor.settle()
    assert visitor.page.url.endswith("/outages")
    assert visitor.banner.is_visible(), "the choice itself is still open"
    assert visitor.banner.locator("[name=region]").count() == 0
    visitor.open("/privacy/locale")
    assert visitor.page.locator("[name=region][aria-pressed=true]").all_inner_texts() == [button]
    assert visitor.nothing_left()


def test_the_page_states_and_changes_it(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/privacy/locale")
    assert visitor.page.locator("[name=region]").all_inner_texts() == BUTTONS
    for button in BUTTONS:
        visitor.page.get_by_role("button", name=button).click()
        visitor.settle()
        assert visitor.page.locator("[name=region][aria-pressed=true]").all_inner_texts() == [button]


def test_spanish_everywhere(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/privacy/locale")
    visitor.page.get_by_role("button", name="Español").click()
    visitor.settle()
    visitor.open("/")
    assert visitor.page.locator("html").get_attribute("lang") == "es"
    assert visitor.banner.get_attribute("lang") == "es"
    assert visitor.button("accept").inner_text() == "Aceptar todo"
    for path, lang in (("/privacy", "es"), ("/privacy/choices", "es"), ("/privacy/receipt", "es")):
        visitor.open(path)
        assert visitor.page.locator("html").get_attribute("lang") == lang
    visitor.open("/privacy")
    assert visitor.page.locator("article").get_attribute("lang") == "es"


def test_the_browsers_language_is_spoken_until_another_is_stated(visit: Visit) -> None:
    visitor = visit(locale="es-MX")
    visitor.open("/")
    assert visitor.banner.get_attribute("lang") == "es"
    visitor.open("/privacy/locale")
    visitor.page.get_by_role("button", name="English").click()
    visitor.settle()
    visitor.open("/")
    assert visitor.banner.get_attribute("lang") == "en"
