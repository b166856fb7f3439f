"""The commands of whoever sends e-mails: rewrite one before it goes out, and see what became of a campaign.

Refuses to send anything, and to do what the library can't do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from .errors import ConsentError, SettingsError
from .events.mail import Campaign, campaigns
from .ledger import Ledger
from .mail import Mail, Mailer, open_mailer
from .recipients import allowances
from .settings import KEYS_VARIABLE, Settings
from .stores import open_event_store, open_ledger_store

__all__ = ["links", "opens"]

#: counters that are read at most
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
    since: Annotated[datetime | None, typer.Option(help="First day, UTC.", formats=["%Y-%m-%d"])] = None,
) -> None:
    """Say how often the mails of each campaign were opened and their links followed, by people and by programs."""
    start = since.replace(tzinfo=UTC).timestamp() if since is not None else 0.0
    try:
        for one in _figures(Settings.load(path), int(start)):
            if campaign in ("", one.name):
                for line in _lines(one):
                    typer.echo(line)
    except ConsentError as error:
        _fail(str(error))


def _figures(settings: Settings, since: int) -> list[Campaign]:
    """The campaigns with counters or rows from ``since`` on. Raises StoreError, LedgerError."""
    ledger = Ledger(lambda: open_ledger_store(settings.store))
    store = open_event_store(settings.store, settings.events_store)
    try:
        counts = store.counts(_MOST, since)
        if len(counts) == _MOST:
            typer.echo(f"Only the newest {_MOST} counters were read: name a day with --since.", err=True)
        # By receipt, since rows of mails are few among those of pages.
        rows = (row for receipt in allowances(ledger) for row in store.each(receipt) if row["at"] >= since)
        return campaigns(counts, rows)
    finally:
        store.close()
        ledger.close()


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


def _lines(one: Campaign) -> Iterable[str]:
    """A campaign for people to read."""
    yield one.name or "(no campaign)"
    yield f"  opens: {_by(one.opens)}"
    yield f"  clicks: {_by(one.clicks)}"
    if one.opened:
        again, ahead = sum(known.again for known in one.opened), sum(known.ahead for known in one.opened)
        yield (
            f"  of recipients who allowed to note it, {len(one.opened)} opened it, {_times(again)} again; "
            f"for {ahead} of them only a proxy that fetches ahead"
        )
    links: dict[str, list[int]] = {}
    for click in one.clicked:
        links.setdefault(click.link, []).append(click.again)
    for link, again_each in sorted(links.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"  {link or '(no name)'}: {len(again_each)} of them followed it, {_times(sum(again_each))} again"


def _by(sums: Mapping[str, int]) -> str:
    """Opens or clicks by who made them: people first, then every verdict, the most frequent first."""
    others = sorted(((bot, number) for bot, number in sums.items() if bot), key=lambda item: (-item[1], item[0]))
    groups = {"more by proxies of mail providers": True, "by programs": False}
    said = [f"{sums.get('', 0)} by people"]
    for words, proxies in groups.items():
        own = [(bot, number) for bot, number in others if bot.startswith("proxy: ") is proxies]
        if own:
            each = ", ".join(f"{bot} {number}" for bot, number in own)
            said.append(f"{sum(number for _, number in own)} {words} ({each})")
    return ", ".join(said)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
