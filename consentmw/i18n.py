"""In which language: the one a browser asks for among those a site has, and the texts in it.

Matching is RFC 4647 lookup: one language comes out, never a mixture. Texts are gettext catalogues,
read from their sources (``locales/<language>/LC_MESSAGES/consentmw.po``) when first needed, so that
the tree holds no compiled files; English is the text in the code itself.

Refuses to know visitors, pages and laws.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from babel import Locale

__all__ = ["Texts", "lookup"]

_LOCALES: Final = Path(__file__).parent / "locales"
#: the most of an Accept-Language header that is looked at, in characters; browsers send under 100
_MAX_HEADER: Final = 1000
_MAX_RANGES: Final = 32
_MEMBER: Final = re.compile(
    r"[ \t]*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_TAG: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def lookup(accept_language: str, offered: Sequence[str], default: str) -> str:
    """The offered language that an Accept-Language header asks for first, else ``default``.

    RFC 4647 section 3.4: each range in order of its weight, shortened from the right until it is
    offered. ``*`` asks for nothing in particular; a language of weight 0 is not given (RFC 9110
    section 12.5.4); members that break the syntax are dropped and cost the others nothing.
    """
    if len(accept_language) > _MAX_HEADER:
        # Without the member that the cut went through: half a language is another language.
        accept_language = accept_language[:_MAX_HEADER].rpartition(",")[0]
    return _lookup(accept_language, tuple(offered), default)


@lru_cache(maxsize=1024)
def _lookup(accept_language: str, offered: tuple[str, ...], default: str) -> str:
    names = {tag.lower(): tag for tag in reversed(offered)}
    ranges: list[tuple[float, str]] = []
    for member in accept_language.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        match = _MEMBER.fullmatch(member)
        if match and match[1] != "*":
            ranges.append((float(match[2] or 1), match[1].lower()))
    refused = {tag for weight, tag in ranges if not weight}
    # The sort is stable: equal weights stay in the order of the header.
    for weight, tag in sorted(ranges, key=lambda item: -item[0]):
        while weight and tag:
            if tag in names and tag not in refused:
                return names[tag]
            tag = _shorter(tag)
    return default


def _shorter(tag: str) -> str:
    """The range without its last subtag, and without a single letter that would then be the last."""
    rest = tag.rpartition("-")[0]
    return rest[:-2] if rest[-2:-1] == "-" else rest


class Texts:
    """The texts and forms of one language. Made by :meth:`for_language`, which remembers them."""

    def __init__(self, language: str = "en") -> None:
        source = _nearest(language, _sources())
        if source is None and language.lower().partition("-")[0] != "en":
            language = "en"
        #: the language as it goes into ``lang="..."``: what was asked for, or ``en``
        self.language = language
        self._translations = _translations(source) if source else NullTranslations()

    @classmethod
    def for_language(cls, language: str) -> Texts:
        """The texts for a BCP 47 tag; English for a language that nobody has translated or that is none."""
        return _texts(language if len(language) <= 35 and _TAG.fullmatch(language) else "en")

    def gettext(self, message: str) -> str:
        """The message in this language, itself when it is not translated."""
        # The empty message is where gettext keeps a catalogue's own header.
        return self._translations.gettext(message) if message else ""

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The form of the message that goes with this number."""
        return self._translations.ngettext(singular, plural, number)

    def date(self, day: date) -> str:
        """The day in words, as people write it: ``November 21, 2026``, ``21 de noviembre de 2026``."""
        from babel.dates import format_date

        return format_date(day, "long", _locale(self.language))

    def country(self, code: str) -> str:
        """The name of a country (ISO 3166-1) in this language, "" for one that the Unicode data does not know."""
        name: str = _locale(self.language).territories.get(code, "")
        return name

    @property
    def name(self) -> str:
        """What the language calls itself, as an entry in a list: ``English``, ``Español``."""
        name = _locale(self.language).get_display_name() or self.language
        return name[:1].upper() + name[1:]

    @property
    def direction(self) -> Literal["ltr", "rtl"]:
        """Which way the script runs, for ``dir="..."``."""
        return "rtl" if _locale(self.language).character_order == "right-to-left" else "ltr"


@lru_cache(maxsize=64)
def _texts(language: str) -> Texts:
    return Texts(language)


@lru_cache(maxsize=1)
def _sources() -> dict[str, Path]:
    """Every catalogue there is, by its language in lower case: no visitor's text becomes a path."""
    found = _LOCALES.glob("*/LC_MESSAGES/consentmw.po")
    return {path.parents[1].name.replace("_", "-").lower(): path for path in found}


def _nearest(language: str, sources: Mapping[str, Path]) -> Path | None:
    """The catalogue of this language, or of the nearest language that it is a form of."""
    tag = language.lower()
    while tag:
        if tag in sources:
            return sources[tag]
        tag = _shorter(tag)
    return None


@lru_cache(maxsize=64)
def _locale(language: str) -> Locale:
    """How dates are written; English where the Unicode data does not know the language."""
    from babel import Locale, UnknownLocaleError

    tag = language
    while tag:
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            tag = _shorter(tag)
    return Locale("en")


def _translations(source: Path) -> GNUTranslations:
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with source.open("rb") as file:
        catalogue = read_po(file, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
