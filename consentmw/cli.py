"""The command line: check settings, migrate stores, show what is kept how long, verify the ledger, account for data.

Exit status: 0 when all is well, 1 when what was looked at is not, 2 when the command was wrong.
Refuses to do anything that the library can't do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Annotated

import typer

from . import __version__
from .authorizations import Authorizations, open_authorizations
from .checkpoints import Checkpoints, noted
from .errors import ConsentError, SettingsError
from .ledger import Ledger
from .mailroom import links, opens
from .officer import app as _subject
from .pages import Pages
from .publishing import app as _notice
from .recorder.spool import open_spool
from .reports import MOST, figures, lines
from .settings import KEYS_VARIABLE, Settings
from .site import Site
from .stores import migrate as migrate_stores
from .stores import open_event_store, open_ledger_store

__all__ = ["main"]

_app = typer.Typer(help="Keeps a website's privacy promises on the server.", no_args_is_help=True, add_completion=False)
_ledger = typer.Typer(help="The proof of choices.", no_args_is_help=True)
_app.add_typer(_ledger, name="ledger")
_authorizations = typer.Typer(help="Who may get customers' energy-usage data.", no_args_is_help=True)
_app.add_typer(_authorizations, name="authorizations")
_app.add_typer(_subject, name="subject")
_app.add_typer(_notice, name="notice")
_app.command()(links)
_app.command()(opens)

SettingsFile = Annotated[Path, typer.Argument(help="The settings, a TOML file.", metavar="consent.toml")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"consentmw {__version__}")
        raise typer.Exit


@_app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and leave.")
    ] = False,
) -> None:
    """Options of the command itself."""


@_app.command()
def check(path: SettingsFile) -> None:
    """Say whether these settings can be used, and what they mean."""
    settings = _load(path)
    try:
        site = Site(settings)
        pages = Pages(site)
    except ConsentError as error:
        typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{path}: good")
    typer.echo(f"  {settings.site_name}, pages under {settings.prefix}, store {settings.store}")
    if settings.events_store:
        typer.echo(f"  event rows go to {settings.events_store}")
    for purpose in site.catalogue.purposes.values():
        names = [s.name for s in site.catalogue.disclosed if purpose.key in s.purposes]
        typer.echo(f"  {purpose.key} ({purpose.kind}): {', '.join(names) or 'no service'}")
    typer.echo(
        f"  unknown region: {settings.fallback_regime}; a choice is asked again after {settings.valid_days} days, "
        f"a refusal after {settings.refusal_days}; signals: {', '.join(site.listening.signals) or 'none'}"
    )
    days = ", ".join(f"{tier} {number}" for tier, number in settings.retention_days.items())
    typer.echo(f"  days that rows are kept: {days}; what tells the visitors of a day apart: 2 at most")
    if settings.services_used is None:
        number = len(site.catalogue.disclosed)
        typer.echo(f"  services_used is not set, so visitors are shown all {number} services; name those that you use")
    for finding in (*site.warnings, *pages.warnings):
        typer.echo(f"  weak: {finding.key}: {finding}")
    if settings.google_mode == "advanced":
        typer.echo("  google_mode = advanced: Google gets pings before the choice; make sure that the law allows it")
    typer.echo(f"  notice {site.notices.id}, last updated {site.notices.updated.isoformat()}")


@_app.command()
def migrate(path: SettingsFile) -> None:
    """Bring every store to this version, as opening it does, and say what became of it."""
    settings = _load(path)
    try:
        for option, was, version in migrate_stores(settings.store, settings.events_store):
            if was == version:
                typer.echo(f"{option}: nothing to do" + (f", it has version {version}" if version else ""))
            else:
                typer.echo(f"{option}: {f'was version {was}, now has' if was else 'made, with'} version {version}")
    except ConsentError as error:
        typer.echo(f"The stores can't be brought to this version: {error}", err=True)
        raise typer.Exit(1) from error


@_app.command()
def retention(path: SettingsFile) -> None:
    """Say what is kept for a time only, and until when; status 1 when something of it should be gone."""
    settings = _load(path)
    now = time()
    try:
        store = open_event_store(settings.store, settings.events_store)
        try:
            held = store.held()
        finally:
            store.close()
    except ConsentError as error:
        typer.echo(f"The store can't be read: {error}", err=True)
        raise typer.Exit(1) from error
    for tier, days in settings.retention_days.items():
        found = held.tiers.get(tier)
        dates = f"; oldest {_day(found.oldest)}, next to go {_day(found.next_expiry)}" if found else ""
        typer.echo(f"{tier}: kept {days} days; rows: {found.rows if found else 0}{dates}")
    since = "" if held.oldest_salt is None else f"; oldest {_day(held.oldest_salt)}"
    typer.echo(f"visitors a day: kept 2 days; salts: {held.salts}, marks: {held.marks}{since}")
    spool = open_spool(settings)
    typer.echo(f"spool: {spool.size() if spool is not None else 0} bytes")
    # The recorder looks once a day; after two, nobody looked.
    late = [tier for tier, found in held.tiers.items() if found.next_expiry < now - 2 * 86_400]
    late += ["visitors a day"] if held.oldest_salt is not None and held.oldest_salt < now - 2 * 86_400 else []
    if late:
        typer.echo(f"overdue: {', '.join(late)}; rows go when the site records, at the latest a day later")
        raise typer.Exit(1)


@_app.command()
def report(
    path: SettingsFile,
    since: Annotated[
        datetime | None, typer.Option(help="First day, UTC; without it 30 days.", formats=["%Y-%m-%d"])
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Last day, UTC; today.", formats=["%Y-%m-%d"])] = None,
    top: Annotated[int, typer.Option(help="The most frequent of each kind.", min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for a program.")] = False,
) -> None:
    """Say how often pages were seen, by how many visitors a day, and what they came with."""
    settings = _load(path)
    last = until.date() if until else datetime.now(UTC).date()
    first = since.date() if since else last - timedelta(days=29)
    try:
        store = open_event_store(settings.store, settings.events_store)
        try:
            known = figures(store, first, last)
        finally:
            store.close()
    except (ConsentError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if known.cut:
        typer.echo(f"Only the newest {MOST} counters were read: name fewer days.", err=True)
    if as_json:
        typer.echo(json.dumps(known.said(), indent=2, ensure_ascii=False))
    else:
        for line in lines(known, top):
            typer.echo(line)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


@_ledger.command()
def verify(
    path: SettingsFile,
    checkpoints: Annotated[
        Path | None, typer.Option(help="A file of checkpoints, to find a ledger that was rewritten as a whole.")
    ] = None,
) -> None:
    """Name every row of the ledger that was edited, removed, reordered, or blanked by no erasure."""
    settings = _load(path)
    with _open_ledger(settings) as ledger:
        known = noted(_checkpoints(settings).load(checkpoints)) if checkpoints else {}
        problems = ledger.verify(noted=known)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("The chain is whole.")


@_ledger.command()
def checkpoint(
    path: SettingsFile,
    file: Annotated[Path | None, typer.Option(help="Append to this file and print nothing.")] = None,
) -> None:
    """Sign how far the ledger is now, in a line to keep where nobody who can write the ledger can."""
    settings = _load(path)
    with _open_ledger(settings) as ledger:
        signed = _checkpoints(settings)
        line = signed.line(ledger.anchor(), datetime.now(UTC))
        if file is None:
            typer.echo(line)
        else:
            signed.add(file, line)


@_ledger.command()
def expire(path: SettingsFile) -> None:
    """Note which choices and authorizations are over; a running site does so once a day."""
    with _open_ledger(_load(path)) as ledger:
        typer.echo(f"{ledger.expire(datetime.now(UTC))} expired.")


def _checkpoints(settings: Settings) -> Checkpoints:
    """Raises SettingsError without a key of the site's own: a random one would know no line again."""
    if not os.environ.get(KEYS_VARIABLE, "").strip():
        raise SettingsError(KEYS_VARIABLE, "set it in the environment: checkpoints are signed with the newest key")
    return Checkpoints(settings.secret_keys)


@contextmanager
def _open_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger of a site; what goes wrong with it ends the command with a sentence."""
    ledger = Ledger(lambda: open_ledger_store(settings.store))
    try:
        yield ledger
    except ConsentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    finally:
        ledger.close()


@_authorizations.command()
def export(
    path: SettingsFile,
    since: Annotated[datetime, typer.Argument(help="First day, UTC.", formats=["%Y-%m-%d"])],
    until: Annotated[datetime, typer.Argument(help="The day after the last.", formats=["%Y-%m-%d"])],
) -> None:
    """Write a JSON line for each authorization, revocation and hand-over in this time; customers are hashes."""
    book = _book(path)
    try:
        for row in book.export(since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)):
            typer.echo(json.dumps(row, ensure_ascii=False))
    except ConsentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    finally:
        book.close()


@_authorizations.command()
def due(path: SettingsFile) -> None:
    """Name the recipients that should have returned or destroyed the data by today."""
    book = _book(path)
    try:
        found = book.due(datetime.now(UTC).date())
    except ConsentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    finally:
        book.close()
    for one in found:
        typer.echo(f"{one.destroy_by}: {one.recipient}, authorization {one.id}")
    raise typer.Exit(1 if found else 0)


def _book(path: Path) -> Authorizations:
    try:
        return open_authorizations(_load(path))
    except ConsentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _load(path: Path) -> Settings:
    try:
        return Settings.load(path)
    except ConsentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command line."""
    _app()
