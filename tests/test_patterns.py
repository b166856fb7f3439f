"""No pattern in the package relies on what Python's ``re`` gets wrong somewhere we run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "consentmw"

#: a group made possessive by its repetition; a single character or class may be
_GROUP = re.compile(r"""["'].*(?<!\\)\)[*+?]\+|["'].*(?<!\\)\)\{[0-9,]+\}\+""")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_group_is_repeated_possessively(path: Path) -> None:
    """Before Python 3.11.5, which Debian 12 ships, such a group matches wrongly (cpython gh-106052): tags leaked."""
    lines = path.read_text("utf-8").splitlines()
    found = [line for line in lines if "re.compile" in line or "rb" in line or "r'" in line]
    assert [line.strip() for line in found if _GROUP.search(line)] == []
