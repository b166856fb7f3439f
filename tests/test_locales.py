"""Every text a visitor can read has a translation in every language we ship, with the same fields in it."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

ROOT = Path(__file__).parent.parent
CATALOGUES = sorted((ROOT / "consentmw" / "locales").glob("*/LC_MESSAGES/consentmw.po"))
#: tables of words for visitors, beside those whose name ends in _NAMES
TABLES = {"_IP_WORDS", "_CHANGED", "_ROWS"}
FIELD = re.compile(r"%\((\w+)\)s")


def in_templates() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "templates").glob("*.html"):
        with path.open("rb") as file:
            for _line, _name, message, _comments in babel_extract(file, ("_", "ngettext"), [], {"trim_blocks": "true"}):
                found |= {message} if isinstance(message, str) else {part for part in message or () if part}
    return found


def in_catalogue() -> set[str]:
    data = tomllib.loads((ROOT / "consentmw" / "data" / "services.toml").read_text("utf-8"))
    return {purpose[key] for purpose in data["purposes"].values() for key in ("title", "text")}


def in_code() -> set[str]:
    """Sentences of the pages' code: what a problem page says, and the names of states."""
    found: set[str] = set()
    package = ROOT / "consentmw"
    for path in (*(package / "pages").glob("*.py"), package / "notices.py", package / "versions.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in {"problem", "_problem", "FormError"}:
                    found |= texts(node.args)
            named = getattr(node.target, "id", "") if isinstance(node, ast.AnnAssign) else ""
            if isinstance(node, ast.AnnAssign) and (named.endswith("_NAMES") or named in TABLES):
                assert isinstance(node.value, ast.Dict)
                found |= texts(node.value.values)
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "text":
                found |= texts([node.value])
    return found


def texts(nodes: list[ast.expr]) -> set[str]:
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and " " in n.value}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[1].name)
def test_nothing_is_left_in_english_and_nothing_is_left_over(path: Path) -> None:
    with path.open("rb") as file:
        messages: list[Message] = [message for message in read_po(file) if message.id]
    translated: set[str] = set()
    for message in messages:
        ids = message.id if isinstance(message.id, (tuple, list)) else (message.id,)
        strings = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
        translated |= set(ids)
        assert all(strings), f"no translation: {message.id}"
        for given in map(str, strings):
            assert set(FIELD.findall(given)) == set(FIELD.findall(ids[0])), f"other fields: {message.id}"
    wanted = in_templates() | in_catalogue() | in_code()
    assert wanted - translated == set(), "texts without a translation"
    assert translated - wanted == set(), "translations of texts that are gone"


def test_a_catalogue_exists_for_each_shipped_notice() -> None:
    """A notice in a language whose buttons are English would be half a promise."""
    notices = {path.stem for path in (ROOT / "templates" / "notices").glob("*.md")}
    assert notices - {"en"} == {path.parents[1].name for path in CATALOGUES}
