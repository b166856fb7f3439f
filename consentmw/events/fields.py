"""Structured fields of HTTP (RFC 9651), as far as client hints need them: a list of items, and a single item.

A field that breaks the grammar anywhere counts as absent, as the RFC asks (section 4.2): what is left
of a broken field may mean something else. It is read in one pass, so its length bounds the work. Refuses
to know what a field means.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

__all__ = ["Item", "bare", "items"]

#: a bare item as text: "?1" is "1", and a string comes without its quotes
Item: TypeAlias = tuple[str, dict[str, str]]

_KEY: Final = re.compile(r"[a-z*][a-z0-9_.*-]*")
#: string, boolean, token, byte sequence, date or number (RFC 9651, section 3.3); a display string is none of them
_BARE: Final = re.compile(
    r'"(?P<string>(?>(?:[ !#-\[\]-~]|\\["\\])*))"'
    r"|\?(?P<boolean>[01])"
    r"|(?P<token>[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*)"
    r"|:(?P<bytes>[A-Za-z0-9+/=]*):"
    r"|@(?P<date>-?[0-9]{1,15})"
    r"|(?P<number>-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15}))(?![0-9.])"
)
_ESCAPED: Final = re.compile(r"\\(.)")


class _BrokenError(Exception):
    """This is no structured field."""


def items(field: str) -> list[Item]:
    """The members of a list with their parameters; none when the field is broken, or holds a list within the list."""
    try:
        found: list[Item] = []
        at = _spaces(field, 0)
        while at < len(field):
            item, at = _item(field, at)
            found.append(item)
            at = _blanks(field, at)
            if at == len(field):
                return found
            if field[at] != ",":
                return []
            at = _blanks(field, at + 1)
            if at == len(field):
                return []
        return found
    except _BrokenError:
        return []


def bare(field: str) -> str:
    """The value of a single item; "" when the field is broken or absent."""
    try:
        (value, _), at = _item(field, _spaces(field, 0))
        return value if _spaces(field, at) == len(field) else ""
    except _BrokenError:
        return ""


def _item(field: str, at: int) -> tuple[Item, int]:
    value, at = _value(field, at)
    parameters: dict[str, str] = {}
    while field[at : at + 1] == ";":
        key = _KEY.match(field, _spaces(field, at + 1))
        if key is None:
            raise _BrokenError
        at = key.end()
        parameters[key[0]] = "1"
        if field[at : at + 1] == "=":
            parameters[key[0]], at = _value(field, at + 1)
    return (value, parameters), at


def _value(field: str, at: int) -> tuple[str, int]:
    match = _BARE.match(field, at)
    if match is None or match.lastgroup is None:
        raise _BrokenError
    text = match[match.lastgroup]
    return _ESCAPED.sub(r"\1", text) if match.lastgroup == "string" else text, match.end()


def _spaces(field: str, at: int) -> int:
    while field[at : at + 1] == " ":
        at += 1
    return at


def _blanks(field: str, at: int) -> int:
    while field[at : at + 1] in (" ", "\t"):
        at += 1
    return at
