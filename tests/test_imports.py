"""The rooms import downward only, deciding touches nothing outside, and importing the package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "consentmw"

#: lowest first: a room may import from rows above its own here, and from itself when it is a folder
ORDER = (
    ("errors",),
    ("assets",),
    ("purposes", "i18n"),
    ("choice", "once"),
    ("regions", "signals"),
    ("identity",),
    ("settings",),
    ("lawful",),
    ("proxies",),
    ("visitor",),
    ("mmdb",),
    ("whereabouts",),
    ("standing", "consentmode"),
    ("decision",),
    ("consent",),
    ("gpp",),
    ("gate",),
    ("events",),
    ("tokens", "routes", "sessions", "goals"),
    ("stores",),
    ("recorder", "chain", "diagnostics"),
    ("relay",),
    ("ledger",),
    ("receipts", "authorizations", "accounts", "checkpoints"),
    ("recipients",),
    ("revoked",),
    ("mail",),
    ("versions",),
    ("notices",),
    ("registry",),
    ("ruling",),
    ("visits",),
    ("jar",),
    ("site",),
    ("settling",),
    ("subjects",),
    ("linking",),
    ("pages",),
    ("middleware",),
    ("reports", "admin", "audit", "gateway", "officer", "publishing", "mailroom"),
    ("__init__",),
    ("cli",),
    ("__main__",),
)

RANK = {room: rank for rank, row in enumerate(ORDER) for room in row}

#: all of the standard library that deciding needs; a clock, a file or a socket is not among it
PURE = {"__future__", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib", "typing"}

#: what only some deployments or commands need: loaded when used, not when imported
HEAVY = (
    "babel",
    "clickhouse_connect",
    "httpx",
    "markdown_it",
    "maxminddb",
    "nh3",
    "playwright",
    "psycopg",
    "rich",
    "sqlalchemy",
    "typer",
    "ua_parser",
    "user_agents",
    "uvicorn",
)

FILES = sorted(PACKAGE.rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def room_of(file: Path) -> str:
    """``gate/html.py`` -> ``gate``; ``settings.py`` -> ``settings``."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(tree: ast.AST, file: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import of ours, in a function too; only what annotations alone need is left out."""
    folder = ("consentmw", *file.relative_to(PACKAGE).parts[:-1])
    annotations = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(folder[: len(folder) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            # "from . import site" names the room only after the import; any other name there is a public one.
            package = base == ["consentmw"]
            targets = [[*base, alias.name] if package and alias.name in RANK else base for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "consentmw":
                yield node.lineno, target[1] if len(target) > 1 else "__init__"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_rooms_import_downward_only(file: Path) -> None:
    room = room_of(file)
    assert room in RANK, f"{room} is no known room: give it its place in ORDER"
    wrong = [
        f"{name(file)}:{line} imports {imported}"
        for line, imported in rooms_imported(ast.parse(file.read_text("utf-8")), file)
        if imported != room and RANK.get(imported, len(ORDER)) >= RANK[room]
    ]
    assert not wrong, f"upward or sideways: {wrong}"


@pytest.mark.parametrize(
    ("source", "at", "expected"),
    [
        ("from .errors import ConsentError", "choice.py", ["errors"]),
        ("from ..errors import ConsentError", "gate/html.py", ["errors"]),
        ("from . import cookies", "gate/html.py", ["gate"]),
        ("from .cookies import expiries", "gate/html.py", ["gate"]),
        ("from . import site, errors", "middleware.py", ["site", "errors"]),
        ("from .. import site", "gate/html.py", ["site"]),
        ("import consentmw.gate.html", "choice.py", ["gate"]),
        ("import consentmw", "choice.py", ["__init__"]),
        ("from consentmw import Settings", "choice.py", ["__init__"]),
        ("from . import __version__", "cli.py", ["__init__"]),
        ("from consentmw.pages.banner import x", "choice.py", ["pages"]),
        ("def f():\n    from .middleware import x", "choice.py", ["middleware"]),
        ("if TYPE_CHECKING:\n    from .pages import x\nelse:\n    from .site import y", "choice.py", ["site"]),
        ("import re, starlette.types\nfrom collections.abc import Iterator", "choice.py", []),
    ],
)
def test_the_reader_of_imports_sees_every_form(source: str, at: str, expected: list[str]) -> None:
    """Protects the test above: a form of import that it can't read would be a way around the order."""
    assert [room for _, room in rooms_imported(ast.parse(source), PACKAGE / at)] == expected


def test_deciding_touches_nothing_outside() -> None:
    """decision.py takes time and data as values: no module that could read a clock, a file or a socket."""
    tree = ast.parse((PACKAGE / "decision.py").read_text("utf-8"))
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert imported <= PURE, f"not pure: {sorted(imported - PURE)}"
    assert not called & {"open", "now", "today", "utcnow", "print", "input", "exec", "eval", "__import__"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    """A worker that serves pages must not pay for drivers, parsers and command lines it has not used yet."""
    script = f"import consentmw, sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_public_names_are_one_sorted_list() -> None:
    """What ``from consentmw import ...`` promises is listed, sorted, and all there."""
    import consentmw

    assert list(consentmw.__all__) == sorted(consentmw.__all__)
    assert {"ConsentMiddleware", "Settings"} <= set(consentmw.__all__)
    assert [public for public in consentmw.__all__ if not hasattr(consentmw, public)] == []
