r"""The grammar of tags in bytes, as the HTML Standard's tokenizer reads them (13.2.5).

All patterns work on lower-cased bytes of any encoding that keeps ASCII. They are possessive: no
step is ever taken back, so a match costs time in proportion to what it reads. Groups are made so by
``(?>(?:...)*)``: ``(?:...)*+`` says the same and matches wrongly before Python 3.11.5 (cpython gh-106052),
which is what Debian 12 ships. Only tab, line feed,
form feed, carriage return and space separate, and a slash between attributes; a NUL, a vertical
tab or a quote outside a value is part of a name, as it is for browsers.

Refuses to know which tags or addresses matter to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = [
    "AFTER_NAME",
    "ATTRIBUTE",
    "BLANK",
    "COMMENT",
    "GAP",
    "OFF",
    "REST",
    "TagAttribute",
    "any_of",
    "attributes",
    "reader",
]

#: what an attribute is switched off with, before its name
OFF: Final = b"data-consentmw-"

BLANK: Final = rb"[\t\n\f\r ]*+"
#: what may stand between two attributes
GAP: Final = rb"[\t\n\f\r /]*+"
#: what ends a tag's name
AFTER_NAME: Final = rb"(?=[\t\n\f\r />])"

_NAME: Final = rb"[^\t\n\f\r />][^\t\n\f\r />=]*+"
_EQUALS: Final = BLANK + rb"=" + BLANK
_VALUE: Final = rb"""(?:"[^"]*+"|'[^']*+'|(?!["'])[^\t\n\f\r >]*+(?=[\t\n\f\r >]))"""
#: no value: something else than "=" follows, and it is already there to be seen
_PLAIN: Final = rb"(?=[\t\n\f\r />])(?=" + BLANK + rb"[^=])"

#: one complete attribute, whatever its name
ATTRIBUTE: Final = GAP + _NAME + rb"(?:" + _EQUALS + _VALUE + rb"|" + _PLAIN + rb")"

#: all of a tag after its name
REST: Final = re.compile(rb"(?>(?:" + ATTRIBUTE + rb")*)" + GAP + rb">")

#: one complete comment (13.2.5.43 and on: ``<!-->`` and ``<!--->`` are complete, ``--!>`` ends one too)
COMMENT: Final = rb"<!--(?:-?>|(?!-?>)[^-]*+(?>(?:-(?!-!?>)[^-]*+)*)--!?>)"

#: a value that begins inside a string of JavaScript or JSON: \"https://...\"
_QUOTED_TWICE: Final = re.compile(rb"""\\+["']""")


class TagAttribute(NamedTuple):
    """An attribute whose name was asked for."""

    name: bytes
    #: offset of the name
    at: int
    #: as it stands in the markup, without its quotes
    value: bytes


def any_of(names: Iterable[bytes]) -> bytes:
    """A pattern for one of these names, by first letter: ``re`` then sees from one byte that most are none of them."""
    letters: dict[bytes, list[bytes]] = {}
    for name in names:
        letters.setdefault(name[:1], []).append(re.escape(name[1:]))
    return rb"(?:" + b"|".join(first + rb"(?:" + b"|".join(rest) + rb")" for first, rest in letters.items()) + rb")"


def reader(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """A pattern for :func:`attributes` that finds attributes of these names (lower case)."""
    any_name = any_of(names)
    ours = any_name + rb"(?=[\t\n\f\r />=])"
    other = GAP + rb"(?!" + ours + rb")" + _NAME + rb"(?:" + _EQUALS + _VALUE + rb"|" + _PLAIN + rb")"
    value = rb"""(?:"([^"]*+)"|'([^']*+)'|(?!["'])([^\t\n\f\r >]*+)(?=[\t\n\f\r >]))"""
    named = GAP + rb"(" + any_name + rb")(?=[\t\n\f\r />=])(?:" + _EQUALS + value + rb"|" + _PLAIN + rb")"
    return re.compile(rb"(?>(?:" + other + rb")*)" + named)


def attributes(pattern: re.Pattern[bytes], low: bytes, data: bytes, at: int, end: int) -> list[TagAttribute]:
    """The attributes that ``pattern`` (a :func:`reader`) names, in the tag whose name ends at ``at``."""
    found = []
    while match := pattern.match(low, at, end):
        at = match.end()
        group = match.lastindex or 1
        value = data[slice(*match.span(group))] if group > 1 else b""
        if group == 4 and (quote := _QUOTED_TWICE.match(value)):
            value = value[quote.end() :]
        found.append(TagAttribute(match[1], match.start(1), value))
    return found
