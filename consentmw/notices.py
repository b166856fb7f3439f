"""The privacy notice in force: Markdown per language, its date, and the id that proof refers to.

A site's own notices are ``<language>.md`` in a folder; without them the shipped text is used, which
lists the purposes and services of the catalogue. Each is rendered once, at start, and together with
what it speaks of it makes a snapshot, of which the id is the hash: whoever has one can check the
other. Text becomes HTML through a Markdown parser that knows no raw HTML and a sanitiser, so that
nothing in a notice can run. Refuses to know visitors, and versions that are no longer in force.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .assets import TEMPLATES
from .errors import SettingsError
from .i18n import Texts
from .purposes import Catalogue
from .settings import Settings
from .signals import Listening
from .versions import AskedPurpose, Snapshot, ToldService, Version

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Notices", "to_html"]

#: the first line of a notice
_UPDATED: Final = re.compile(r"\ALast Updated: (\d{4}-\d{2}-\d{2})[ \t]*\r?\n", re.IGNORECASE)

_IP_WORDS: Final = {
    "none": "never your network address",
    "truncated": "a shortened form of your network address",
    "full": "your network address",
}


@dataclass(frozen=True, slots=True)
class Notices:
    """All languages of the notice in force."""

    #: with the id that rows and receipts name
    version: Version

    @classmethod
    def load(cls, settings: Settings, catalogue: Catalogue) -> Notices:
        """The site's notices, or the shipped ones for languages it has none for. Raises SettingsError."""
        texts: dict[str, str] = {}
        days: list[date] = []
        for language in settings.languages:
            path = _find(settings.notices, language)
            if path is None:
                continue
            text, day = _read(path)
            texts[language] = _render(path, text, language, settings, catalogue)
            days.append(day)
        if settings.default_language not in texts:
            raise SettingsError("notices", f"a file {settings.default_language}.md for the default language")
        purposes, services = _asked(settings, catalogue)
        snapshot = Snapshot(
            updated=max(days),
            site_name=settings.site_name,
            contact=settings.contact,
            default_language=settings.default_language,
            pages=settings.prefix,
            fingerprint=catalogue.fingerprint,
            retention_days=dict(settings.retention_days),
            texts=texts,
            purposes=purposes,
            services=services,
        )
        return cls(Version.of(snapshot))

    @property
    def id(self) -> str:
        """Of the version in force: two notices with one id are the same notice."""
        return self.version.id

    @property
    def updated(self) -> date:
        """The day the text last changed, as the notice itself says."""
        return self.version.snapshot.updated

    @property
    def texts(self) -> Mapping[str, str]:
        """Language to Markdown, as a visitor reads it."""
        return self.version.snapshot.texts


@lru_cache(maxsize=32)
def to_html(markdown: str, pages: str = "", base: str = "") -> str:
    """Safe HTML from Markdown: headings, lists, tables and links; no raw HTML, scripts or images.

    Links to our own pages are written with ``pages`` in front; a request may find them under ``base``.
    """
    from markdown_it import MarkdownIt
    from nh3 import clean

    tags = {"h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "a", "em", "strong", "code", "hr", "br", "blockquote"}
    tags |= {"table", "thead", "tbody", "tr", "th", "td"}
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    safe = clean(
        html, tags=tags, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}, link_rel="noopener"
    )
    if pages == base:
        return safe
    # In text, < is escaped: what looks like this is a link. The new path is escaped where it is made.
    return re.sub(rf'<a href="{re.escape(pages)}(?=["/?#])', lambda _: f'<a href="{base}', safe)


def _asked(settings: Settings, catalogue: Catalogue) -> tuple[tuple[AskedPurpose, ...], tuple[ToldService, ...]]:
    """The purposes and services that visitors are asked about, with their words in each language."""
    words = {language: Texts.for_language(language).gettext for language in settings.languages}
    purposes = [
        AskedPurpose(
            key=purpose.key,
            kind=purpose.kind,
            title={language: gettext(purpose.title) for language, gettext in words.items()},
            text={language: gettext(purpose.text) for language, gettext in words.items()},
        )
        for purpose in catalogue.purposes.values()
    ]
    services = [
        ToldService(
            key=service.key,
            name=service.name,
            provider=service.provider,
            purposes=tuple(sorted(service.purposes)),
            retention_days=service.retention_days,
            privacy_url=service.privacy_url,
        )
        for service in catalogue.disclosed
    ]
    return tuple(purposes), tuple(services)


def _render(path: Path, text: str, language: str, settings: Settings, catalogue: Catalogue) -> str:
    from jinja2 import TemplateError

    translate = Texts.for_language(language).gettext
    purposes = [
        {
            "key": purpose.key,
            "kind": purpose.kind,
            "title": translate(purpose.title),
            "text": translate(purpose.text),
            "optional": purpose.optional,
            "services": [service for service in catalogue.disclosed if purpose.key in service.purposes],
        }
        for purpose in catalogue.purposes.values()
    ]
    listening = Listening.load(settings.signals, dnt=settings.honor_dnt == "as_gpc")
    try:
        return _template(text, settings.templates).render(
            site_name=settings.site_name,
            contact=settings.contact,
            base=settings.prefix,
            cookie=settings.cookie_name if settings.debug else f"__Host-{settings.cookie_name}",
            valid_days=settings.valid_days,
            refusal_days=settings.refusal_days,
            signals=[signal.name for signal in listening.signals.values()],
            dnt="dnt" in listening.signals,
            advanced=settings.google_mode == "advanced",
            guesses=settings.guesses_region,
            follows=settings.follows_visits,
            retention=max(settings.retention_days.values()),
            ip=translate(_IP_WORDS[settings.ip]),
            purposes=purposes,
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise SettingsError("notices", f"a notice in which every field can be filled in ({error})", path) from error


@lru_cache(maxsize=16)
def _template(text: str, own: Path | None) -> Template:
    """A notice, ready to be filled in; compiled once, because a process may make many sites of one notice."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader([path for path in (own, TEMPLATES) if path is not None])
    # Markdown has its own escapes; autoescape would show &amp; in running text. What comes out is sanitised.
    environment = Environment(  # noqa: S701
        loader=loader, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    return environment.from_string(text)


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
