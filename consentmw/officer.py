"""The privacy officer's commands: everything held on a receipt, an account or a recipient as files, and its erasure.

Who asks is for the officer to find out, before. Every request is put on record, with numbers and without
the person. Refuses to do anything that the library can't do.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from .errors import ConsentError
from .identity import Pseudonyms
from .pages.files import Files
from .pages.takeout import Takeout, into_folder, into_zip, new_zip
from .pages.templating import Templating
from .settings import Settings
from .site import Site
from .subjects import AUTHORIZING, Holdings, Subjects

__all__ = ["app"]

app = typer.Typer(help="Requests of people: what is held about them, and its erasure.", no_args_is_help=True)

#: what a receipt looks like; those of visitors have 22 characters
_RECEIPT: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")

_SettingsFile = Annotated[Path, typer.Argument(help="The settings, a TOML file.", metavar="consent.toml")]
_Receipt = Annotated[str, typer.Option(help="The number on the visitor's page “Your receipt”.")]
_Account = Annotated[str, typer.Option(help="The account number, or - to read it from the standard input.")]
_Recipient = Annotated[str, typer.Option(help="The reference in e-mails to this person, or - to read it, too.")]


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, with what was found."""

    site: Site
    subjects: Subjects
    holdings: Holdings


@app.command()
def export(
    path: _SettingsFile,
    to: Annotated[Path, typer.Option(help="Where the files go: name.zip, name.json for programs, or a new folder.")],
    receipt: _Receipt = "",
    account: _Account = "",
    recipient: _Recipient = "",
    language: Annotated[str, typer.Option(help="Of the page to read; the site's default when not given.")] = "",
    address: Annotated[str, typer.Option(help="The site's address, as visitors know it: https://www.example.org")] = "",
) -> None:
    """Write everything that is held on a receipt, an account or a recipient of e-mails, to hand over to them."""
    with _request(path, receipt, account, recipient) as request:
        settings, holdings = request.site.settings, request.holdings
        if language and language not in settings.languages:
            raise typer.BadParameter(f"one of {', '.join(settings.languages)}", param_hint="--language")
        if to.exists():
            raise typer.BadParameter(f"{to} is there already, and stays as it is", param_hint="--to")
        # What waits on this machine for a store that was away belongs to what is held.
        request.subjects.settle()
        takeout = Takeout(request.site, request.subjects, Templating(request.site, Files(request.site)))
        pages = (address or settings.controller.url).rstrip("/") + settings.prefix
        events = _write(takeout, request, to, language or settings.default_language, pages)
        typer.echo(f"{to}: {_rows(len(holdings.entries))} of the ledger, {_rows(events)} about visits and e-mails")


@app.command()
def erase(
    path: _SettingsFile,
    receipt: _Receipt = "",
    account: _Account = "",
    recipient: _Recipient = "",
    keep_authorizations: Annotated[
        bool, typer.Option("--keep-authorizations", help="Keep the record of authorizations and hand-overs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask back.")] = False,
) -> None:
    """Delete what is recorded on a person, and blank their rows in the ledger, whose chain stays whole.

    That somebody asked for no more e-mails is kept, or the next mailing would reach them.
    """
    with _request(path, receipt, account, recipient) as request:
        subjects, holdings = request.subjects, request.holdings
        kept = AUTHORIZING if keep_authorizations else frozenset[str]()
        rows = sum(row.event not in holdings.lasting(kept) for row in holdings.entries)
        held = f"{_rows(rows)} of the ledger, visits and e-mails under {len(holdings.receipts)} receipts"
        if not yes and not typer.confirm(f"Erase {held}? This can't be undone.", err=True):
            typer.echo("Nothing was erased.", err=True)
            raise typer.Exit(1)
        erased = subjects.erase(holdings, method="cli", keep=kept)
        about = f"{_rows(erased.events)} about visits and e-mails deleted"
        typer.echo(f"Erased: {about}, {_rows(erased.rows)} of the ledger blanked.")
        if holdings.unsubscribed:
            typer.echo("Kept: that this recipient asked for no more e-mails.")


def _write(takeout: Takeout, request: _Request, to: Path, language: str, pages: str) -> int:
    """Write beside the target, put it on record, and only then give it its name; the number of event rows."""
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    holdings, subjects = request.holdings, request.subjects
    event = "portability" if to.suffix.lower() == ".json" else "access"
    try:
        if to.suffix.lower() == ".zip":
            with _private(draft).open("wb") as file, new_zip(file) as archive:
                events = takeout.write(holdings, into_zip(archive), language=language, pages=pages)
        elif event == "portability":
            with _private(draft).open("wb") as file:
                notices = subjects.notices(holdings)
                events = takeout.data(holdings, file, language=language, pages=pages, notices=notices)
        else:
            draft.mkdir(mode=0o700)
            events = takeout.write(holdings, into_folder(draft), language=language, pages=pages)
        subjects.log(event, "cli", holdings, events=events, rows=len(holdings.entries))
        draft.rename(to)
    except BaseException:
        # Half of what is held about somebody is no answer, and must not lie about.
        shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
        raise
    return events


def _private(path: Path) -> Path:
    """A new file that only its owner can read."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return path


@contextmanager
def _request(path: Path, receipt: str, account: str, recipient: str) -> Iterator[_Request]:
    """The site and what it holds. Leaves with 2 for a wrong command, with 1 when nothing is held or can be read."""
    account, recipient = _typed(account), _typed(recipient)
    if not receipt and not account and not recipient:
        raise typer.BadParameter("one of them, or more", param_hint="--receipt / --account / --recipient")
    if receipt and not _RECEIPT.fullmatch(receipt):
        raise typer.BadParameter("letters, digits, _ and -, as on the receipt", param_hint="--receipt")
    try:
        settings = Settings.load(path)
        site = Site(settings)
        try:
            subjects = Subjects(site)
            holdings = subjects.collect(receipt, *_pseudonyms(settings, account, recipient), later=True)
            if not holdings.entries and not subjects.number(holdings, 1):
                typer.echo("Nothing is held under that.", err=True)
                raise typer.Exit(1)
            yield _Request(site, subjects, holdings)
        finally:
            site.relay.close()
            site.recorder.close()
            site.ledger.close()
    except (ConsentError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _typed(value: str) -> str:
    """What stands for a person, from a line of the standard input where the command says so."""
    return typer.get_text_stream("stdin").readline().strip() if value == "-" else value


def _pseudonyms(settings: Settings, account: str, recipient: str) -> tuple[str, str]:
    """What stands for them in the records. Raises SettingsError without the key that the site has."""
    if not account and not recipient:
        return "", ""
    made = Pseudonyms.from_environment(settings.secret_keys[0] if settings.debug else "")
    return made.of(account) if account else "", made.recipient(recipient) if recipient else ""


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"
