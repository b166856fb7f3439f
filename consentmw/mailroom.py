"""The commands of whoever sends e-mails: rewrite one before it goes out, and see what became of a campaign.

Refuses to send anything, and to do what the library can't do.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .errors import ConsentError, SettingsError
from .events.mail import openings
from .mail import Mail, Mailer, open_mailer
from .settings import KEYS_VARIABLE, Settings
from .stores import open_event_store

__all__ = ["links", "opens"]

#: rows and counters that are read at most
_MOST: Final = 1_000_000

_SettingsFile = Annotated[Path, typer.Argument(help="The settings, a TOML file.", metavar="consent.toml")]


def links(
    path: _SettingsFile,
    mail: Annotated[typer.FileBinaryRead, typer.Argument(help="The mail's HTML, or - for the standard input.")],
    campaign: Annotated[str, typer.Option(help="The name by which the mail is counted.")],
    recipient: Annotated[str, typer.Option(help="Your reference for the person it goes to; none for many.")] = "",
    base: Annotated[str, typer.Option(help="The site's address: https://www.example.com")] = "",
    trap: Annotated[bool, typer.Option(help="Add a link that only programs follow.")] = True,
    headers: Annotated[bool, typer.Option("--headers", help="Write the mail's unsubscribe headers instead.")] = False,
) -> None:
    """Write an e-mail's HTML with signed links, a pixel and the link to the choices, within what its recipient allows.

    What should be looked at goes to the standard error. Status 1 when the recipient wants no more mails.
    """
    try:
        mailer = _mailer(path, base)
        try:
            if mailer.unsubscribed(recipient):
                _fail("This recipient asked for no more e-mails, so there is none.")
            if headers:
                for name, value in mailer.unsubscribe_headers(campaign, recipient).items():
                    typer.echo(f"{name}: {value}")
                return
            _write(mailer.rewrite(mail.read().decode("utf-8", "surrogateescape"), campaign, recipient, trap=trap))
        finally:
            mailer.close()
    except (ConsentError, ValueError) as error:
        _fail(str(error))


def opens(
    path: _SettingsFile,
    campaign: Annotated[str, typer.Option(help="Only this campaign.")] = "",
) -> None:
    """Say how often the mails of each campaign were opened and their links followed, by people and by programs."""
    try:
        store = open_event_store(Settings.load(path).store)
        try:
            counts, rows = store.counts(_MOST), store.events(limit=_MOST)
        finally:
            store.close()
    except ConsentError as error:
        _fail(str(error))
        return
    for line in _report(counts, rows, campaign):
        typer.echo(line)


def _mailer(path: Path, base: str) -> Mailer:
    settings = Settings.load(path)
    if not os.environ.get(KEYS_VARIABLE, "").strip():
        # With debug a random key would do for a server, but these links would lead nowhere.
        raise SettingsError(KEYS_VARIABLE, "set it in the environment: the keys that the site has")
    return open_mailer(settings, base)


def _write(mail: Mail) -> None:
    # Bytes, so that a mail in another encoding comes out as it went in.
    sys.stdout.buffer.write(mail.html.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    kind = "name the recipient, who allowed it" if mail.individual else "name nobody"
    typer.echo(f"{len(mail.links)} links signed; the tokens {kind}.", err=True)
    for warning in mail.warnings:
        typer.echo(warning, err=True)


def _fail(text: str) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(1)


def _report(counts: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]], campaign: str) -> Iterable[str]:
    """A line for each campaign, and one for those of its recipients who allowed to be noted."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in counts:
        if row["kind"] in ("pixel", "click", "scanned") and campaign in ("", row["campaign"]):
            by = "proxy" if row["bot"].startswith("proxy: ") else "program" if row["bot"] else "person"
            found[row["campaign"], row["kind"], by] += row["count"]
    opened = openings(rows)
    for name in sorted({key[0] for key in found}):
        # Those that a burst took back were counted as a person's before it showed.
        back = found[name, "scanned", "program"]
        yield (
            f"{name or '(no campaign)'}: {found[name, 'pixel', 'person']} opens, {found[name, 'pixel', 'proxy']} more "
            f"by proxies of mail providers, {found[name, 'pixel', 'program']} by programs; "
            f"{found[name, 'click', 'person'] - back} clicks, {found[name, 'click', 'program'] + back} by programs"
        )
        own = [one for one in opened if one.campaign == name]
        if own:
            again, ahead = sum(one.again for one in own), sum(one.ahead for one in own)
            yield (
                f"  of recipients who allowed to note it, {len(own)} opened it, {again} times again; "
                f"for {ahead} of them only a proxy that fetches ahead"
            )
