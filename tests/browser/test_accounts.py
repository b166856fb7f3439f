"""Accounts, in two browsers of one customer: what the one chooses, the other does."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .demo import Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser


def sign_in(visitor: Visitor, account: str) -> None:
    visitor.open("/login")
    visitor.page.get_by_label("Account number").fill(account)
    visitor.page.get_by_label("Password").fill("prairie")
    visitor.page.locator("main button[type=submit]").click()
    visitor.settle()


def sign_out(visitor: Visitor) -> None:
    visitor.open("/qa")
    visitor.page.get_by_role("button", name="Sign out", exact=True).first.click()
    visitor.settle()


def told(visitor: Visitor) -> str:
    """What the page says once about the account, "" when it says nothing."""
    said = visitor.page.locator(".cmw-told[role=status]")
    return said.inner_text() if said.count() else ""


def test_a_withdrawal_on_one_device_stops_the_other(visit: Visit, demo: Demo, javascript: bool) -> None:
    account = "4402718855" if javascript else "4402718856"
    laptop, phone = visit(javascript=javascript), visit(javascript=javascript)
    laptop.open("/login")
    assert "your privacy choices follow your account" in laptop.page.locator("main").inner_text()
    laptop.open("/")
    laptop.press("accept")
    sign_in(laptop, account)
    assert "now apply wherever you are signed in" in told(laptop)
    laptop.open("/")
    assert told(laptop) == ""

    phone.open("/")
    assert phone.banner.is_visible()
    phone.forget()
    sign_in(phone, account)
    assert "Now on: " in told(phone)
    assert not phone.banner.is_visible()
    phone.open("/")
    assert phone.foreign != [], "what was allowed on the laptop runs here"
    assert "_ga" in phone.cookies() or not javascript

    phone.open("/privacy/choices")
    assert "linked to your account" in phone.page.locator("main").inner_text()
    phone.press("withdraw")
    demo.clear()
    laptop.forget()
    laptop.open("/news")
    assert "Now off: " in told(laptop)
    assert laptop.nothing_left()
    laptop.open("/")
    assert told(laptop) == ""
    assert laptop.unexpected() == []

    sign_out(laptop)
    laptop.open("/")
    assert laptop.nothing_left(), "signing out does not bring back what was withdrawn"


def test_signing_out_leaves_the_next_person_nothing_of_the_account(visit: Visit) -> None:
    home, shared = visit(), visit()
    sign_in(home, "7718830001")
    home.open("/privacy/choices")
    home.press("accept")
    shared.open("/")
    sign_in(shared, "7718830001")
    shared.open("/")
    assert not shared.banner.is_visible()
    sign_out(shared)
    shared.forget()
    shared.open("/")
    assert shared.banner.is_visible()
    assert shared.nothing_left()
    assert "privacy-account" not in shared.cookies()


def test_nothing_advertises_to_a_known_minor(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    sign_in(visitor, "5518830476")
    assert "nothing is sold, shared or used for advertising" in told(visitor)
    visitor.forget()
    visitor.open("/")
    visitor.open("/service/done")
    advertisers = {"www.facebook.com", "connect.facebook.net", "snap.licdn.com", "googleads.g.doubleclick.net"}
    assert not visitor.hosts() & advertisers
    assert visitor.hosts(), "measurement was allowed, and goes on"


def test_the_news_can_be_read_on_a_telephone(visit: Visit) -> None:
    laptop, phone = visit(), visit(viewport={"width": 360, "height": 740}, locale="es-US")
    sign_in(laptop, "7718830002")
    laptop.open("/privacy/choices")
    laptop.press("accept")
    phone.open("/login")
    phone.page.locator("main input[name=account]").fill("7718830002")
    phone.page.locator("main input[name=password]").fill("prairie")
    phone.page.locator("main button[type=submit]").click()
    phone.settle()
    box = phone.page.locator(".cmw-told").bounding_box()
    assert box is not None
    assert box["width"] == 360
    assert "Mientras tenga la sesión iniciada" in told(phone)
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 360
    assert phone.page.locator(".cmw-told").evaluate("e => e.parentElement.tagName") == "BODY"
