"""A person sees what is held about them, takes it home as files, and has it erased with two presses."""

from __future__ import annotations

import csv
import json
import zipfile
from io import StringIO
from pathlib import Path

import pytest

from .conftest import Visit
from .demo import Demo

pytestmark = pytest.mark.browser

#: the rows of a receipt
ROWS_OF = "SELECT 1 FROM events JOIN contexts ON contexts.id = context WHERE receipt = ?"


def test_taking_it_home_and_reading_it(visit: Visit, demo: Demo, javascript: bool, tmp_path: Path) -> None:
    """The archive opens from a disk, with no network: everything in it is readable there."""
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/news")
    receipt = visitor.receipt()
    demo.until(lambda: demo.rows(ROWS_OF, receipt), "rows of this receipt")
    visitor.open("/privacy/receipt")
    visitor.page.click("a[href$='/privacy/data']")
    assert receipt in visitor.page.inner_text("main")
    with visitor.page.expect_download() as waiting:
        visitor.page.click("[data-consentmw-action=download]")
    assert waiting.value.suggested_filename == "your-data.zip"
    path = tmp_path / "your-data.zip"
    waiting.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "files")
    visitor.forget()
    visitor.complaints.clear()
    visitor.page.goto((tmp_path / "files" / "index.html").as_uri())
    text = visitor.page.inner_text("body")
    assert visitor.page.title().startswith("Your data")
    assert receipt in text
    assert "/news" in text
    assert visitor.foreign == []
    assert visitor.complaints == [], "the page needs nothing that its own policy refuses"
    visitor.page.set_viewport_size({"width": 360, "height": 800})
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360
    rows = list(csv.DictReader(StringIO((tmp_path / "files" / "events.csv").read_text("utf-8-sig"))))
    data = json.loads((tmp_path / "files" / "data.json").read_text("utf-8"))
    assert [int(row["id"]) for row in rows] == [row["id"] for row in data["events"]] != []


def test_erasing_takes_two_presses_and_no_script(visit: Visit, demo: Demo, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/news")
    receipt = visitor.receipt()
    assert visitor.trackers() != set(), "else nothing of services could go"
    visitor.open("/privacy/data?erase")
    assert "can't be undone" in visitor.page.inner_text("main")
    visitor.page.click("[data-consentmw-action=erase]")
    visitor.settle()
    report = visitor.page.locator("[data-consentmw-erased]")
    assert "Your data was erased." in report.inner_text()
    assert visitor.trackers() == set()
    fresh = visitor.receipt()
    assert fresh not in ("", receipt)
    assert not demo.rows(ROWS_OF, receipt)
    assert not demo.rows("SELECT 1 FROM ledger WHERE receipt = ? OR previous = ?", receipt, receipt)
    assert demo.rows("SELECT event, previous FROM ledger WHERE receipt = ?", fresh) == [("refused", "")]
    visitor.forget()
    visitor.open("/news")
    assert visitor.nothing_left()
    assert not visitor.banner.is_visible(), "who had their data erased is not asked again"
    assert not demo.rows(ROWS_OF, receipt)


@pytest.mark.parametrize("width", [1280, 360])
def test_the_pages_fit_the_window_in_both_languages(visit: Visit, width: int) -> None:
    for language, word in (("en-US", "Your data"), ("es-US", "Sus datos")):
        visitor = visit(locale=language, viewport={"width": width, "height": 800})
        visitor.open("/")
        visitor.press("accept")
        visitor.open("/privacy/data")
        assert word in visitor.page.inner_text("h1")
        for path in ("/privacy/data", "/privacy/data?erase"):
            visitor.open(path)
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width, path
            small = visitor.page.evaluate(
                "[...document.querySelectorAll('main button, main a.cmw-b')]"
                ".filter(b => b.getBoundingClientRect().height < 44).length"
            )
            assert small == 0, "buttons can be hit with a thumb (WCAG 2.5.5)"
        assert visitor.unexpected() == []
