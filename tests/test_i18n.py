"""A visitor gets one language, the one they asked for if the site has it; texts come out in it or in English."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import i18n
from consentmw.i18n import Texts, lookup

VECTORS = json.loads((Path(__file__).parent / "data" / "lang_vectors.json").read_text())["cases"]
OFFERED = ("en", "es", "zh-Hant")

CATALOGUE = """
msgid ""
msgstr ""
"Language: ar\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=3; plural=n==1 ? 0 : n==2 ? 1 : 2;\\n"

msgid "Save"
msgstr "حفظ"

#, fuzzy
msgid "Reject all"
msgstr "a guess that nobody has checked"

msgid "one choice"
msgid_plural "{n} choices"
msgstr[0] "خيار"
msgstr[1] "خياران"
msgstr[2] "خيارات"
"""


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["header"])
def test_lookup_follows_the_vectors(case: dict[str, Any]) -> None:
    assert lookup(case["header"], case["offered"], case["default"]) == case["lookup"]


@pytest.mark.parametrize(
    ("header", "expected", "why"),
    [
        ("", "en", "no header, no wish"),
        ("ES-mx", "es", "tags know no case"),
        ("ZH-HANT-TW", "zh-Hant", "and the site's spelling comes out"),
        ("es;q=0", "en", "what is refused is not given"),
        ("es-MX;q=0", "en", "nor as the shorter form of what was refused"),
        ("es-MX, es;q=0", "en", "nor as the shorter form of something else"),
        ("es ; q=0.5 , en;Q=0.4", "es", "spaces and a capital Q are allowed"),
        ("en;q=0.1,es;q=0.100", "en", "equal weights keep the header's order"),
        ("en;q=0.5;x=1,es;q=0.1", "es", "a parameter that does not exist spoils its member"),
        ("es;q=1.0000,en;q=0.1", "en", "four decimals spoil theirs"),
        ("es_MX,es;q=0.1", "es", "an underscore is no hyphen"),
        ("e,*,--,-es,es-,en;", "en", "nothing in it is a language"),
        ("x-klingon", "en", "a private range never becomes shorter than itself"),
        ("zh-Hant-a-b-c", "zh-Hant", "single letters go with what follows them"),
        ("\u0435s", "en", "a Cyrillic letter is no Latin one"),
        ("en\x00,es", "es", "control characters spoil their member only"),
    ],
)
def test_lookup_in_detail(header: str, expected: str, why: str) -> None:
    assert lookup(header, OFFERED, "en") == expected, why


def test_a_huge_header_costs_little_and_ends_in_a_choice() -> None:
    """Only the start is read, and a member that the cut went through is no member."""
    assert lookup("x" * 10_000_000, OFFERED, "en") == "en"
    assert lookup("es," + "fr;q=0.5," * 1_000_000, OFFERED, "en") == "es"
    assert lookup("fr," * 5000 + "es", OFFERED, "en") == "en"
    assert lookup("es-" + "a" * 10_000_000, OFFERED, "en") == "en"
    cut = ("x" * 49 + ",") * 19 + "x" * 47 + ",es-MX"
    assert (cut[:1000][-3:], lookup(cut, OFFERED, "en")) == (",es", "en")


def test_a_single_letter_is_never_the_end_of_a_shortened_range() -> None:
    """RFC 4647 section 3.4: it only introduces what follows it."""
    assert lookup("zh-Hant-a-b", ["zh-Hant-a", "zh"], "en") == "zh"


@given(st.text(alphabet="aezsh-,;=q.01* \t\x00é", max_size=200))
def test_lookup_never_leaves_the_offer(header: str) -> None:
    assert lookup(header, OFFERED, "fr") in (*OFFERED, "fr")


@given(st.sampled_from(OFFERED), st.text(alphabet="aez-,;=q.01*", max_size=30))
def test_a_plain_wish_is_granted_whatever_follows(wish: str, rest: str) -> None:
    assert lookup(f"{wish},{rest};q=0.1", OFFERED, "fr") == wish or ";q=0" in rest or "q=0" in rest


@pytest.fixture
def arabic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A catalogue of a language with three plural forms that runs from right to left."""
    folder = tmp_path / "ar" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "consentmw.po").write_text(CATALOGUE, encoding="utf-8")
    monkeypatch.setattr(i18n, "_LOCALES", tmp_path)
    for cached in (i18n._sources, i18n._texts):
        cached.cache_clear()
    yield
    for cached in (i18n._sources, i18n._texts):
        cached.cache_clear()


@pytest.mark.usefixtures("arabic")
def test_texts_come_from_the_catalogue() -> None:
    texts = Texts.for_language("ar")
    assert (texts.language, texts.direction) == ("ar", "rtl")
    assert texts.name == "العربية", "its own name for itself: who needs it cannot read ours"
    assert texts.gettext("Save") == "حفظ"
    assert [texts.ngettext("one choice", "{n} choices", n) for n in (1, 2, 9)] == ["خيار", "خياران", "خيارات"]
    assert texts.date(date(2026, 11, 21)) == "21 نوفمبر 2026"
    assert Texts.for_language("ar") is texts


@pytest.mark.usefixtures("arabic")
def test_what_nobody_translated_stays_english() -> None:
    texts = Texts.for_language("ar")
    assert texts.gettext("Accept all") == "Accept all"
    assert texts.gettext("Reject all") == "Reject all", "a fuzzy translation is none"
    assert texts.gettext("") == "", "the catalogue's own header is no text"


@pytest.mark.usefixtures("arabic")
@pytest.mark.parametrize("language", ["ar-EG", "AR", "ar-XX"])
def test_a_form_of_a_language_gets_its_texts(language: str) -> None:
    texts = Texts.for_language(language)
    assert (texts.language, texts.gettext("Save"), texts.direction) == (language, "حفظ", "rtl")


@pytest.mark.parametrize("language", ["xx", "", "..", "../../etc/passwd", "ar\x00", "x" * 1000, "-", "de--", "e"])
def test_a_language_that_is_none_becomes_english(language: str) -> None:
    texts = Texts.for_language(language)
    assert (texts.language, texts.direction) == ("en", "ltr")
    assert texts.gettext("Save") == "Save"
    assert texts.date(date(2026, 11, 21)) == "November 21, 2026"


def test_english_needs_no_catalogue() -> None:
    texts = Texts.for_language("en-US")
    assert (texts.language, texts.name) == ("en-US", "English (United States)")
    assert Texts().name == "English"
    assert [texts.ngettext("one choice", "{n} choices", n) for n in (1, 2)] == ["one choice", "{n} choices"]
