"""The privacy notice: Markdown per language, its date, and the id that proof refers to.

A site's own notices are ``<language>.md`` in a folder; without them the shipped text is used, which
lists the purposes and services of the catalogue. Text becomes HTML through a Markdown parser that
knows no raw HTML and a sanitiser, so that nothing in a notice can run. Refuses to know visitors.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from .assets import TEMPLATES
from .errors import SettingsError
from .purposes import Catalogue
from .settings import Settings

__all__ = ["Notices"]

#: the first line of a notice
_UPDATED: Final = re.compile(r"\ALast Updated: (\d{4}-\d{2}-\d{2})[ \t]*\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notices:
    """All languages of the notice in force."""

    #: short hash of the texts and of everything material: two notices with one id are the same notice
    id: str
    #: the day the text last changed, as the notice itself says
    updated: date
    #: language to Markdown, with Jinja fields for the site's name, contact, purposes and services
    texts: dict[str, str]

    @classmethod
    def load(cls, settings: Settings, catalogue: Catalogue) -> Notices:
        """The site's notices, or the shipped ones for languages it has none for. Raises SettingsError."""
        texts: dict[str, str] = {}
        days: list[date] = []
        for language in settings.languages:
            path = _find(settings.notices, language)
            if path is None:
                continue
            texts[language], day = _read(path)
            days.append(day)
        if settings.default_language not in texts:
            raise SettingsError("notices", f"a file {settings.default_language}.md for the default language")
        material = [catalogue.fingerprint, settings.site_name, settings.contact]
        material += [f"{language}\n{text}" for language, text in sorted(texts.items())]
        digest = hashlib.sha256("\0".join(material).encode()).hexdigest()
        return cls(digest[:16], max(days), texts)

    def text(self, language: str, default: str) -> tuple[str, str]:
        """The Markdown for a language and the language it is really in."""
        return (self.texts[language], language) if language in self.texts else (self.texts[default], default)


def to_html(markdown: str) -> str:
    """Safe HTML from Markdown: headings, lists, tables and links; no raw HTML, scripts or images."""
    from markdown_it import MarkdownIt
    from nh3 import clean

    tags = {"h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "a", "em", "strong", "code", "hr", "br", "blockquote"}
    tags |= {"table", "thead", "tbody", "tr", "th", "td"}
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return clean(
        html, tags=tags, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}, link_rel="noopener"
    )


def _find(folder: Path | None, language: str) -> Path | None:
    for home in (folder, TEMPLATES / "notices"):
        for name in (language, language.partition("-")[0]):
            if home is not None and (path := home / f"{name}.md").is_file():
                return path
    return None


def _read(path: Path) -> tuple[str, date]:
    try:
        text = path.read_text("utf-8")
        match = _UPDATED.match(text)
        if match is None:
            raise SettingsError("notices", 'a first line "Last Updated: 2026-11-21"', path)
        return text[match.end() :], date.fromisoformat(match[1])
    except (OSError, ValueError) as error:
        raise SettingsError("notices", f"a readable UTF-8 Markdown file with a real date ({error})", path) from error
