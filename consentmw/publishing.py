"""The command line of whoever publishes notices: which versions there were, what each said, what a new one changes.

Exit status as in cli.py. Refuses to change a version that was published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .errors import ConsentError
from .registry import Registry
from .settings import Settings
from .site import Site
from .versions import Version, changes, reworded

__all__ = ["app"]

app = typer.Typer(help="The versions of the privacy notice.", no_args_is_help=True)

SettingsFile = Annotated[Path, typer.Argument(help="The settings, a TOML file.", metavar="consent.toml")]


@app.command("list")
def list_versions(path: SettingsFile) -> None:
    """List every version, newest first, and what is different from the one before."""
    with _registry(path) as registry:
        registry.load()
        for version in reversed(registry.versions):
            day = version.at.date().isoformat() if version.at is not None else "not published"
            state = ", in force" if version.id == registry.current.id else ""
            typer.echo(f"{version.id}  {day}, last updated {version.snapshot.updated.isoformat()}{state}")
            for line in _different(registry.before(version), version):
                typer.echo(f"  {line}")
        _complain([*registry.problems, *registry.unproven()])


@app.command()
def show(
    path: SettingsFile,
    id: Annotated[str, typer.Argument(help="Of the version, or its first characters.")],  # noqa: A002
    language: Annotated[str, typer.Option(help="The language, as in the settings.")] = "",
) -> None:
    """Print the text of one version, as visitors read it."""
    with _registry(path) as registry:
        registry.load()
        found = [version for version in registry.versions if version.id.startswith(id)]
        if len(found) != 1:
            typer.echo(f"{id}: {'more than one version begins' if found else 'no version begins'} like this", err=True)
            raise typer.Exit(1)
        snapshot = found[0].snapshot
        if language and language not in snapshot.texts:
            typer.echo(f"{language}: the languages of this version are {', '.join(snapshot.texts)}", err=True)
            raise typer.Exit(1)
        typer.echo(snapshot.text(language)[0])
        _complain(registry.problems)


@app.command()
def publish(path: SettingsFile) -> None:
    """Publish the version that these settings make, and say whether visitors will be asked again."""
    with _registry(path) as registry:
        new = registry.publish()
        version = registry.current
        typer.echo(f"{version.id}: {'published' if new else f'published before, at {version.at}'}")
        for line in _different(registry.before(version), version):
            typer.echo(f"  {line}")
        _complain(registry.problems)


def _different(before: Version | None, after: Version) -> Iterator[str]:
    """What a version changed, a line each."""
    if before is None:
        yield "the first version"
        return
    found = changes(before.snapshot, after.snapshot)
    if before.fingerprint == after.fingerprint:
        tags = ", ".join(reworded(before.snapshot, after.snapshot)) or "none"
        yield f"not material, nobody is asked again; texts that changed: {tags}"
        return
    purposes, services = (len({one.key for one in found if one.about == about}) for about in ("purpose", "service"))
    yield f"material, everybody is asked again; purposes that changed: {purposes}, services: {services}"
    yield from (one.text for one in found)


def _complain(problems: Sequence[str]) -> None:
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)


@contextmanager
def _registry(path: Path) -> Iterator[Registry]:
    """The registry of the site that these settings make; an error of ours ends the command."""
    try:
        site = Site(Settings.load(path))
        try:
            yield site.registry
        finally:
            site.ledger.close()
    except ConsentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
