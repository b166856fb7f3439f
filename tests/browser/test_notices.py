"""Who chose under another notice is told what changed, and can read what the notice said then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ..asgi import App, html
from ..mounted import mounted
from ..serving import serving
from .conftest import Visit

pytestmark = pytest.mark.browser

PAGE = b"<!doctype html><html lang=en><head><title>Home</title></head><body><h1>Home</h1></body></html>"
NEW = {"name": "Bill survey", "provider": "Survey Company", "purposes": ["analytics"], "hosts": ["survey.example"]}


@pytest.mark.parametrize(
    ("locale", "since", "new", "gone", "policy"),
    [
        (
            "en-US",
            "What has changed since",
            "New service: Bill survey of Survey Company, for Measuring visits.",
            "No longer in force",
            "Privacy Policy",
        ),
        (
            "es-MX",
            "Qué ha cambiado desde el",
            "Nuevo servicio: Bill survey, de Survey Company, para: Medición de visitas.",
            "Ya no está en vigor",
            "Política de privacidad",
        ),
    ],
)
@pytest.mark.parametrize("width", [1280, 360])
def test_a_new_notice_announces_itself_and_the_old_one_stays_to_be_read(
    visit: Visit,
    tmp_path: Path,
    javascript: bool,
    width: int,
    locale: str,
    since: str,
    new: str,
    gone: str,
    policy: str,
) -> None:
    """From one deployment to the next, with a browser that remembers the first."""
    store = f"sqlite:///{tmp_path}/consentmw.db"
    used = ["google_analytics", "youtube"]
    visitor = visit(javascript=javascript, locale=locale, viewport={"width": width, "height": 800})
    before = mounted(App(*html(PAGE)), store=store, services_used=used)
    before.site.clock = lambda: datetime.now(UTC) - timedelta(days=1)
    with serving(before) as url:
        visitor.url = url
        visitor.open("/")
        assert visitor.page.locator(".cmw-news").count() == 0
        visitor.press("accept")
    after = mounted(App(*html(PAGE)), store=store, services_used=used, services={"bill_survey": NEW})
    after.site.registry.publish()
    with serving(after) as url:
        visitor.url = url
        visitor.open("/")
        news = visitor.banner.locator(".cmw-news")
        assert news.locator("strong").inner_text().startswith(since)
        assert news.locator("li").all_inner_texts() == [new]
        wide = visitor.page.evaluate("document.documentElement.scrollWidth") if javascript else 0
        assert wide <= width, "nothing sticks out"
        news.get_by_role("link").click()
        visitor.settle()
        cards = visitor.page.locator("section")
        assert cards.count() == 2
        assert new in cards.first.inner_text()
        cards.last.get_by_role("link").click()
        visitor.settle()
        assert gone in visitor.page.locator("main").inner_text()
        assert visitor.page.locator("article h1").inner_text() == policy
        assert "Bill survey" not in visitor.page.locator("article").inner_text()
        visitor.open("/")
        first = visitor.receipt()
        visitor.press("accept")
        assert visitor.receipt() != first, "the new choice is on record"
        visitor.open("/")
        assert visitor.banner.count() == 0
    assert visitor.unexpected() == []
    for site in (before, after):
        site.recorder.close()
        site.site.ledger.close()
