"""The notice in force: its words, its day, and the id that proof refers to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import Settings, SettingsError
from consentmw.notices import Notices, to_html
from consentmw.purposes import Catalogue


def load(folder: Path | None = None, **options: object) -> Notices:
    settings = Settings.of({"debug": True, "notices": folder, **options})
    return Notices.load(settings, Catalogue.load())


def write(folder: Path, **texts: str) -> Path:
    for language, text in texts.items():
        (folder / f"{language}.md").write_text(text, "utf-8")
    return folder


def test_shipped_notices_exist_in_every_shipped_language() -> None:
    notices = load()
    assert set(notices.texts) == {"en", "es"}
    assert notices.version.snapshot.text("es")[1] == "es"
    assert notices.texts["en"] != notices.texts["es"]


def test_a_sites_own_notice_replaces_ours_and_ours_fill_the_gaps(tmp_path: Path) -> None:
    notices = load(write(tmp_path, en="Last Updated: 2027-02-03\n# Mine\n"))
    assert notices.texts["en"] == "# Mine\n"
    assert "Mine" not in notices.texts["es"]
    assert notices.updated == date(2027, 2, 3)


def test_a_regional_language_is_served_from_its_base(tmp_path: Path) -> None:
    notices = load(write(tmp_path, es="Last Updated: 2027-02-03\nhola\n"), languages=("en", "es-US"))
    assert notices.version.snapshot.text("es-US") == ("hola\n", "es-US")


def test_a_language_without_a_notice_gets_the_default_ones_and_says_so(tmp_path: Path) -> None:
    """The page's lang attribute has to name the language the words are really in."""
    notices = load(languages=("en", "de"))
    assert notices.version.snapshot.text("de") == (notices.texts["en"], "en")


def test_without_a_notice_in_the_default_language_nothing_starts() -> None:
    with pytest.raises(SettingsError, match=r"de\.md"):
        load(languages=("de", "en"), default_language="de")


@pytest.mark.parametrize(
    "text",
    ["# No date\n", "Last Updated: yesterday\n", "Last Updated: 2027-02-30\n", "\nLast Updated: 2027-01-01\n", ""],
)
def test_a_notice_without_a_real_date_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"en\.md"):
        load(write(tmp_path, en=text))


def test_a_notice_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "en.md").write_bytes(b"Last Updated: 2027-01-01\ncaf\xe9\n")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(tmp_path)


def test_the_id_changes_with_anything_a_visitor_was_told(tmp_path: Path) -> None:
    """Two notices with one id would be one proof for two texts."""
    folder = write(tmp_path, en="Last Updated: 2027-02-03\none\n")
    ids = [load(folder).id, load(folder, site_name="Other").id, load(folder, contact="a@b.example").id]
    write(tmp_path, en="Last Updated: 2027-02-03\ntwo\n")
    ids.append(load(folder).id)
    assert len(set(ids)) == 4
    assert load(folder).id == ids[-1], "and with nothing else"


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        '<img src=x onerror="alert(1)">',
        "![pixel](https://tracker.example/p.gif)",
        "<iframe src=https://evil.example></iframe>",
        '<a href="https://e.example" onclick="alert(1)">x</a>',
        "[x](https://e.example \"t' onmouseover=alert(1) '\")",
        "`<script>alert(1)</script>`",
        "<style>*{background:url(https://evil.example)}</style>",
    ],
)
def test_nothing_in_a_notice_can_run_or_load(markdown: str) -> None:
    html = to_html(markdown).lower()
    for forbidden in ("<script", "<img", "<iframe", "<style", 'href="javascript', 'href="data', "<a href onclick"):
        assert forbidden not in html


def test_headings_lists_tables_and_links_stay() -> None:
    html = to_html("# A\n\n- b\n\n| c | d |\n|---|---|\n| e | f |\n\n[g](/privacy) [h](mailto:a@b.example)\n")
    for wanted in ("<h1>A</h1>", "<li>b</li>", "<td>e</td>", 'href="/privacy"', 'href="mailto:a@b.example"'):
        assert wanted in html


@given(st.text())
def test_any_text_becomes_html_without_a_tag_that_runs(text: str) -> None:
    assert "<script" not in to_html(text).lower()
