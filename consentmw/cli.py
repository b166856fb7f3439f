"""The command line: check a settings file, show what is kept how long, verify the ledger, account for usage data.

Exit status: 0 when all is well, 1 when what was looked at is not, 2 when the command was wrong.
Refuses to do anything that the library can't do.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Annotated

import typer

from . import __version__
from .authorizations import Authorizations, open_authorizations
from .errors import ConsentError
from .ledger import Ledger
from .recorder.spool import open_spool
from .settings import Settings
from .site import Site
from .stores import open_event_store, open_ledger_store

__all__ = ["main"]

_app = typer.Typer(help="Keeps a website's privacy promises on the server.", no_args_is_help=True, add_completion=False)
_ledger = typer.Typer(help="The proof of choices.", no_args_is_help=True)
_app.add_typer(_ledger, name="ledger")
_authorizations = typer.Typer(help="Who may get customers' energy-usage data.", no_args_is_help=True)
_app.add_typer(_authorizations, name="authorizations")

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
    except ConsentError as error:
        typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{path}: good")
    typer.echo(f"  {settings.site_name}, pages under {settings.prefix}, store {settings.store}")
    for purpose in site.catalogue.purposes.values():
        names = [s.name for s in site.catalogue.disclosed if purpose.key in s.purposes]
        typer.echo(f"  {purpose.key} ({purpose.kind}): {', '.join(names) or 'no service'}")
    typer.echo(
        f"  unknown region: {settings.fallback_regime}; a choice is asked again after {settings.valid_days} days"
    )
    days = ", ".join(f"{tier} {number}" for tier, number in settings.retention_days.items())
    typer.echo(f"  days that rows are kept: {days}; what tells the visitors of a day apart: 2 at most")
    if settings.services_used is None:
        number = len(site.catalogue.disclosed)
        typer.echo(f"  services_used is not set, so visitors are shown all {number} services; name those that you use")
    for finding in site.warnings:
        typer.echo(f"  {finding.key}: {finding}")
    if settings.google_mode == "advanced":
        typer.echo("  google_mode = advanced: Google gets pings before the choice; make sure that the law allows it")
    typer.echo(f"  notice {site.notices.id}, last updated {site.notices.updated.isoformat()}")


@_app.command()
def retention(path: SettingsFile) -> None:
    """Say what is kept for a time only, and until when; status 1 when something of it should be gone."""
    settings = _load(path)
    now = time()
    try:
        store = open_event_store(settings.store)
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
    spool = open_spool(settings, time)
    typer.echo(f"spool: {spool.size() if spool is not None else 0} bytes")
    # The recorder looks once a day; after two, nobody looked.
    late = [tier for tier, found in held.tiers.items() if found.next_expiry < now - 2 * 86_400]
    late += ["visitors a day"] if held.oldest_salt is not None and held.oldest_salt < now - 2 * 86_400 else []
    if late:
        typer.echo(f"overdue: {', '.join(late)}; rows go when the site records, at the latest a day later")
        raise typer.Exit(1)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


@_ledger.command()
def verify(path: SettingsFile) -> None:
    """Name every row of the ledger that was edited, removed or reordered."""
    settings = _load(path)
    ledger = Ledger(lambda: open_ledger_store(settings.store))
    try:
        problems = ledger.verify()
    except ConsentError as error:
        typer.echo(f"The ledger can't be read: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        ledger.close()
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("The chain is whole.")


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
