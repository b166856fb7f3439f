"""What is held about a person, as files: a page to read, tables, receipts, and one file for other programs.

Everything is written as it is read, so that a hundred thousand rows need no more memory than one page of
them. The page needs nothing but itself: no style, script or picture from anywhere. Refuses to know who
may have the files, and where they go.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC
from html import escape
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias
from zipfile import ZIP_DEFLATED, ZipFile

from ..events import EVENT_FIELDS
from ..notices import to_html
from ..purposes import Service
from ..receipts import Issuer
from ..site import Site
from ..subjects import Holdings, Subjects
from ..versions import Version
from .showing import FORMS
from .templating import Templating
from .wording import Wording

if TYPE_CHECKING:
    from ..stores import Published

__all__ = ["FORMAT", "Takeout", "into_folder", "into_zip", "new_zip"]

#: name and version of ``data.json``, see docs/subjects.md
FORMAT: Final = ("consentmw-data", 1)

#: rows that the page shows itself; all of them are in the table beside it
_SHOWN: Final = 200

#: what makes a spreadsheet read a text as a formula (OWASP, CSV injection), also as East Asian keyboards write it
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

#: opens a file of this name for writing
Into: TypeAlias = Callable[[str], AbstractContextManager[IO[bytes]]]


class Takeout:
    """Writes the files of one site."""

    def __init__(self, site: Site, subjects: Subjects, templating: Templating) -> None:
        self._site = site
        self._subjects = subjects
        self._templating = templating

    def issuer(self, pages: str) -> Issuer:
        """Who gives the files; ``pages`` is the absolute address of our pages."""
        settings = self._site.settings
        days = max(settings.retention_days.values())
        return Issuer(settings.site_name, settings.controller, settings.contact, pages, days)

    def write(self, holdings: Holdings, into: Into, *, language: str, pages: str) -> int:
        """Write every file; the number of event rows. Raises StoreError, LedgerError and OSError."""
        issuer, notices = self.issuer(pages), self._subjects.notices(holdings)
        newest: list[Mapping[str, Any]] = []
        number = 0
        with into("events.csv") as file:
            for row in _as_table(self._subjects.events(holdings), file):
                number += 1
                if len(newest) < _SHOWN:
                    newest.append(row)
        with into("data.json") as file:
            self.data(holdings, file, language=language, pages=pages, notices=notices)
        if choices := holdings.choices:
            for name, make in FORMS.items():
                with into(name) as file:
                    file.write(_json(make(choices, self._site.catalogue, issuer)))
        with into("index.html") as file:
            file.write(self._page(holdings, issuer, notices, newest, number, language).encode())
        return number

    def data(
        self, holdings: Holdings, file: IO[bytes], *, language: str, pages: str, notices: Iterable[Published] = ()
    ) -> int:
        """Write ``data.json``, everything in one file for programs; the number of event rows. Raises StoreError."""
        name, version = FORMAT
        head = {
            "format": name,
            "version": version,
            "made_at": self._now(),
            "language": language,
            "site": {"name": self._site.settings.site_name, "controller": self.issuer(pages).name, "pages": pages},
            "receipts": sorted(holdings.receipts),
            "ledger": [_plain(asdict(row)) for row in holdings.entries],
            "authorizations": holdings.authorizing,
            "recipients": [_recipient(service) for service in self._recipients(holdings)],
            "notices": [{"id": one.id, "at": one.at, "content": _loaded(one.content)} for one in notices],
        }
        # The rows are the last member, so that they can be written one by one.
        file.write(_json(head).removesuffix(b"\n}") + b',\n "events": [')
        number = 0
        for row in self._subjects.events(holdings):
            file.write((b",\n  " if number else b"\n  ") + json.dumps(row, ensure_ascii=False).encode())
            number += 1
        file.write(b"\n ]\n}\n")
        return number

    def _page(
        self,
        holdings: Holdings,
        issuer: Issuer,
        notices: Iterable[Published],
        newest: list[Mapping[str, Any]],
        number: int,
        language: str,
    ) -> str:
        texts = self._templating.texts.for_language(language)
        catalogue, settings = self._site.catalogue, self._site.settings
        words = Wording(self._site, texts)
        return self._templating.environment.get_template("takeout.html").render(
            _=texts.gettext,
            ngettext=texts.ngettext,
            lang=language,
            dir=texts.direction,
            issuer=issuer,
            made_at=words.moment(self._now()),
            account=bool(holdings.account),
            mailed=bool(holdings.recipient),
            entries=[words.row(row) for row in holdings.rest][::-1],
            authorizing=[{**one, "at": words.moment(one["at"])} for one in holdings.authorizing],
            recipients=[
                {**_recipient(one), "purposes": [texts.gettext(catalogue.purposes[key].title) for key in one.purposes]}
                for one in self._recipients(holdings)
            ],
            notices=[_legible(one, language, issuer.pages) for one in notices],
            newest=newest,
            number=number,
            columns=EVENT_FIELDS,
            retention=settings.retention_days,
            relay=settings.google_relay != "off",
            choices=bool(holdings.choices),
        )

    def _recipients(self, holdings: Holdings) -> list[Service]:
        """The services that could run under these choices, or before them by the rule of the region."""
        catalogue, regimes = self._site.catalogue, self._site.regions.regimes
        keys = {key for row in holdings.entries for key in row.granted}
        kinds = {kind for row in holdings.choices if row.regime in regimes for kind in regimes[row.regime].granted}
        keys |= {purpose.key for purpose in catalogue.purposes.values() if purpose.optional and purpose.kind in kinds}
        return [s for s in catalogue.disclosed if s.key in keys or keys & {*s.purposes}]

    def _now(self) -> str:
        return self._site.clock().astimezone(UTC).isoformat(timespec="seconds")


def into_zip(archive: ZipFile) -> Into:
    """Files inside an archive."""
    return lambda name: archive.open(name, "w", force_zip64=True)


def new_zip(file: IO[bytes]) -> ZipFile:
    """An archive in this file, compressed."""
    return ZipFile(file, "w", ZIP_DEFLATED, compresslevel=6)


def into_folder(folder: Path) -> Into:
    """Files in a folder; one that is there already is left alone (FileExistsError)."""
    return lambda name: (folder / name).open("xb")


def _as_table(rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    """Write each row that passes as a line of CSV (RFC 4180)."""
    # With a mark of its encoding: without one, spreadsheets take UTF-8 for something else.
    text = TextIOWrapper(file, "utf-8-sig", newline="")
    table = csv.writer(text)
    table.writerow(EVENT_FIELDS)
    for row in rows:
        table.writerow([_cell(row[name]) for name in EVENT_FIELDS])
        yield row
    text.flush()
    text.detach()


def _cell(value: object) -> str:
    """The value as text that no spreadsheet calculates: an apostrophe goes in front of what could be a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _recipient(service: Service) -> dict[str, Any]:
    return {
        "service": service.name,
        "provider": service.provider,
        "purposes": [*service.purposes],
        "retention_days": service.retention_days,
        "privacy_url": service.privacy_url,
    }


def _legible(published: Published, language: str, pages: str) -> dict[str, str]:
    """A version of the notice with its text as HTML; "" when its content is not what was published."""
    try:
        snapshot = Version.read(published.id, published.at, published.content).snapshot
    except (ValueError, RecursionError):
        return {"id": published.id, "day": published.at[:10], "lang": "", "body": ""}
    text, known = snapshot.text(language)
    body = to_html(text, snapshot.pages, escape(pages))
    return {"id": published.id, "day": published.at[:10], "lang": known, "body": body}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "granted": [*row["granted"]], "refused": [*row["refused"]]}


def _loaded(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
