"""Accepting: what was allowed runs at once, in order, and nobody is asked again."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .demo import Demo
from .visitor import comes_true

pytestmark = pytest.mark.browser


def test_with_script_the_tags_run_in_the_page_that_is_open(visit: Visit) -> None:
    """No second page load: what the visitor was doing goes on."""
    visitor = visit()
    visitor.open("/")
    visitor.page.evaluate("window.mark = 'still here'")
    visitor.forget()
    visitor.press("accept")
    comes_true(visitor.page, "document.cookie.includes('_fbp')")
    visitor.settle()
    assert visitor.loaded == []
    assert visitor.page.evaluate("window.mark") == "still here"
    hits = visitor.asked("www.google-analytics.com")
    assert hits
    assert {hit["gcs"][0] for hit in hits} == {"G111"}
    assert {
        "www.googletagmanager.com",
        "connect.facebook.net",
        "www.clarity.ms",
        "static.hotjar.com",
    } <= visitor.hosts()


def test_google_hears_the_default_before_anything_else(visit: Visit) -> None:
    """Consent Mode v2: a default first, then what was chosen, then the tag's own configuration."""
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    orders = [visitor.page.evaluate("dataLayer.map(e => [e[0], e[1]])")]
    visitor.open("/contact")
    orders.append(visitor.page.evaluate("dataLayer.map(e => [e[0], e[1]])"))
    consent = [entry for entry in orders[0] if entry[0] in ("consent", "config")]
    assert consent[:2] == [["consent", "default"], ["consent", "update"]]
    assert orders[0][0] == ["consent", "default"]
    assert orders[1][0] == ["consent", "default"]
    for order in orders:
        assert ["config", "G-DEMO12345"] in order
        assert order.count(["config", "G-DEMO12345"]) == 1, "the page brings its own tag"


def test_without_script_the_page_comes_again_with_what_was_allowed(visit: Visit) -> None:
    visitor = visit(javascript=False)
    visitor.open("/outages?from=banner")
    visitor.forget()
    visitor.press("accept")
    assert visitor.page.url.endswith("/outages?from=banner"), "back where the visitor was"
    assert {"www.facebook.com", "px.ads.linkedin.com", "www.googletagmanager.com"} <= visitor.hosts()
    assert not visitor.banner.is_visible()


def test_the_next_page_runs_them_too_and_does_not_ask_again(visit: Visit, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("accept")
    visitor.forget()
    visitor.open("/contact")
    assert visitor.banner.count() == 0
    if javascript:
        assert {hit["gcs"][0] for hit in visitor.asked("www.google-analytics.com")} == {"G111"}
    assert "www.facebook.com" in visitor.hosts()


def test_what_was_accepted_is_on_record_before_anything_runs(visit: Visit, demo: Demo) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    receipt = visitor.receipt()
    ((event, method),) = demo.rows("SELECT event, method FROM ledger WHERE receipt = ?", receipt)
    assert (event, method) == ("given", "banner:accept")


def test_the_tags_of_an_accepting_visitor_complain_about_nothing(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    for path in ("/service/done", "/news/rebates"):
        visitor.open(path)
    assert [line for line in visitor.complaints if "127.0.0.1" in line and "/privacy/" in line] == []
