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
    general = visitor.page.locator("form:has([data-consentmw-action=save])")
    assert general.count() == 1
    assert general.locator("input[value=advertising]").count() == 0, "nothing to switch on by mistake"


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


def test_only_a_step_of_its_own_overrules_the_browser_and_can_be_taken_back(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript, **GPC)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/privacy/choices")
    step = visitor.page.locator("section[aria-labelledby=cmw-override]")
    assert not step.get_by_label("Advertising").is_checked(), "nobody ticked it for the visitor"
    step.get_by_label("Advertising").check()
    step.get_by_role("button", name="Allow it all the same").click()
    visitor.settle()
    visitor.open("/service/done")
    assert visitor.hosts() & set(ADVERTISING)
    assert visitor.page.get_by_text("Opt-Out Request Honored").count() == 0, "that would not be true now"
    visitor.open("/privacy/choices")
    visitor.page.get_by_role("button", name="Let the signal count again").click()
    visitor.settle()
    visitor.forget()
    visitor.open("/service/done")
    assert visitor.hosts() & set(ADVERTISING) == set()
    assert visitor.page.get_by_text("Opt-Out Request Honored").first.is_visible()
