"""Global Privacy Control: advertising stays off, whatever is pressed, and the visitor sees that it was heard."""

from __future__ import annotations

import pytest

from .conftest import Visit

pytestmark = pytest.mark.browser

GPC = {"extra_http_headers": {"Sec-GPC": "1"}}
ADVERTISING = (
    *("www.facebook.com", "connect.facebook.net", "snap.licdn.com", "px.ads.linkedin.com"),
    *("googleads.g.doubleclick.net", "www.googleadservices.com", "pagead2.googlesyndication.com"),
)


def test_accepting_all_leaves_advertising_off(visit: Visit) -> None:
    visitor = visit(**GPC)
    visitor.open("/")
    assert visitor.banner.get_by_text("Opt-Out Request Honored").is_visible()
    visitor.press("accept")
    for path in ("/contact", "/service/done"):
        visitor.open(path)
        assert visitor.page.get_by_text("Opt-Out Request Honored").first.is_visible()
    hits = visitor.asked("www.google-analytics.com")
    assert hits, "measurement was allowed"
    assert {hit["gcs"][0] for hit in hits} == {"G101"}
    assert visitor.hosts() & set(ADVERTISING) == set()
    assert {name for name in visitor.trackers() if name.startswith(("_fbp", "_gcl", "li_", "IDE", "fr"))} == set()


def test_it_holds_without_script_too(visit: Visit) -> None:
    visitor = visit(javascript=False, **GPC)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/service/done")
    assert visitor.hosts() & set(ADVERTISING) == set()
    visitor.open("/privacy/choices")
    assert visitor.page.get_by_text("Off: Opt-Out Request Honored").is_visible()
    assert visitor.page.locator("input[value=advertising]").count() == 0, "nothing to switch on by mistake"


def test_an_older_yes_gives_way_to_the_signal(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    assert "_fbp" in visitor.cookies()
    visitor.context.set_extra_http_headers({"Sec-GPC": "1"})
    visitor.forget()
    visitor.open("/contact")
    assert visitor.hosts() & set(ADVERTISING) == set()
    assert "_fbp" not in visitor.cookies()
