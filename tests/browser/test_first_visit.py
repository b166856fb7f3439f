"""Before anybody chose: nothing leaves, nothing is stored, the visitor is asked, and nothing is broken."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .demo import Demo

pytestmark = pytest.mark.browser

PUBLIC = (
    *("/", "/outages", "/outages/reported", "/login", "/service", "/service/done", "/contact", "/email"),
    *("/news", "/news/rebates", "/news/heat-pump", "/no-such-page", "/qa"),
)
SIGNED_IN = ("/account/4417220913/bill", "/account/4417220913/paid", "/usage", "/usage?fuel=gas")
OURS = ("/privacy", "/privacy/choices", "/privacy/locale", "/privacy/receipt", "/privacy/no-such-page")
#: cookies that the site needs, and the demo's own; that of the account only for whoever signs in
NECESSARY = {"privacy", "privacy-locale", "privacy-account", "ple_session", "ple_visit"}


def test_no_page_asks_a_third_party_for_anything(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    for path in PUBLIC:
        visitor.open(path)
        assert visitor.banner.is_visible(), path
    visitor.open("/login")
    visitor.page.fill("input[name=account]", "4417220913")
    visitor.page.fill("input[name=password]", "anything")
    visitor.page.click("main form button")
    for path in SIGNED_IN:
        answer = visitor.open(path)
        assert answer is not None
        assert answer.status == 200, path
        assert visitor.banner.is_visible(), path
    assert visitor.nothing_left()
    assert visitor.unexpected() == []
    assert set(visitor.cookies()) <= NECESSARY
    assert set(visitor.cookies().values()) == {"127.0.0.1"}


def test_every_story_is_there_and_no_video_loads(visit: Visit, demo: Demo) -> None:
    visitor = visit()
    visitor.open("/news")
    links = visitor.page.locator("main a[href*='/news/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert len(set(links)) > 2
    for link in sorted(set(links)):
        visitor.open(link)
        assert visitor.page.locator("h1").count() == 1
    assert visitor.nothing_left()


def test_our_pages_ask_nobody_else_for_anything(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    for path in OURS:
        visitor.open(path)
        assert visitor.page.locator("h1").count() == 1
    assert visitor.nothing_left()
    assert set(visitor.cookies()) <= {"ple_session", "ple_visit"}, "nobody chose, so we set none"
    assert visitor.unexpected() == [], "not even against their own policy"
