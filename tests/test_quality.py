"""Style and types are tests like any other: the checkers find nothing, and the rooms stay small enough to read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "consentmw").rglob("*.py"))

#: lines; beyond these a room hides two nouns and a function two sentences
LONGEST_MODULE = 350
LONGEST_FUNCTION = 45

#: a module of such a name collects what has no place
DRAWERS = {"base", "common", "helpers", "misc", "utils"}


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "check",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["style", "format", "types"],
)
def test_checker_finds_nothing(check: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *check], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(check)}\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.mark.parametrize("file", FILES, ids=name)
def test_room_can_be_read_in_one_sitting(file: Path) -> None:
    """Each module says what it is for and stays short, and so does each function."""
    text = file.read_text("utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module docstring: what the room knows and what it refuses to know"
    assert file.stem not in DRAWERS
    assert text.count("\n") <= LONGEST_MODULE
    long = {
        node.name: length
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (length := body_lines(node)) > LONGEST_FUNCTION
    }
    assert not long, f"functions over {LONGEST_FUNCTION} lines: {long}"


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body after the docstring: explaining a function doesn't make it long."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return ((body[-1].end_lineno or 0) - body[0].lineno + 1) if body else 0


@pytest.mark.parametrize("folder", ["consentmw", "demo_site", "benchmarks", "tests", "templates", "static", "scripts"])
def test_nothing_is_left_for_later(folder: str) -> None:
    """What is in the project is finished: no note to oneself, no stub."""
    later = re.compile(rb"\b(TO" rb"DO|FIX" rb"ME|X" rb"XX|NotImplemented" rb"Error)\b")
    found = [
        f"{name(file)}:{number}"
        for file in sorted((ROOT / folder).rglob("*"))
        if file.is_file() and file.suffix not in {".pyc", ".mo", ".png", ".ico", ".woff2"}
        for number, line in enumerate(file.read_bytes().splitlines(), 1)
        if later.search(line)
    ]
    assert not found
