"""Client hints: what a browser tells about its device only because the site asked for it.

Such a hint reads the visitor's device (ePrivacy Directive, article 5(3)), so a site may ask for it where
it may measure, and nowhere else. A browser remembers for the whole origin what it was asked (RFC 8942,
section 3.1, and Client Hints Infrastructure, "Accept-CH cache"), so after a withdrawal it goes on
sending hints until it is told to stop. Until then the application does not get to see them.

Refuses to know visitors and decisions: it is called where nothing but the free hints may be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape
from typing import Final

from ..visitor import HINTS as _BOUND
from .tags import TagAttribute

__all__ = ["ASKING", "HINTS", "asking", "asks", "concealed", "forgotten", "free"]

#: the response headers that ask
ASKING: Final = frozenset({b"accept-ch", b"critical-ch"})
#: what a ``meta`` element that asks, or that hands hints on to other hosts, says in http-equiv
_ASKING: Final = frozenset({b"accept-ch", b"delegate-ch"})
#: stands where a service's key would, for such an element
HINTS: Final = "client_hints"
#: hints that browsers send unasked, and those that say how a visitor wants to see a page, not who they are
_FREE: Final = frozenset(
    b"sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform save-data sec-ch-save-data sec-ch-forced-colors "
    b"sec-ch-prefers-color-scheme sec-ch-prefers-contrast sec-ch-prefers-reduced-data "
    b"sec-ch-prefers-reduced-motion sec-ch-prefers-reduced-transparency".split()
)

Headers = Sequence[tuple[bytes, bytes]]


def free(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers with those hints only that anybody may ask for.

    All Accept-CH lines become one: browsers read them joined, and an empty member between two commas is no
    list (RFC 9651, section 4.2.1), so that all of it would be ignored. The one line stays even when it is
    empty, because then it tells a browser to forget what it was asked before.
    """
    kept: list[tuple[bytes, bytes]] = []
    wanted: dict[bytes, list[bytes]] = {name: [] for name in ASKING}
    asked: dict[bytes, bytes] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in ASKING:
            kept.append((name, value))
            continue
        asked.setdefault(lower, name)
        words = (word.strip() for word in value.split(b","))
        # A parameter after the token means nothing, and whoever reads it may read something else.
        wanted[lower] += [word for word in words if word.lower() in _FREE]
    for lower, name in asked.items():
        if lower == b"accept-ch" or wanted[lower]:
            kept.append((name, b", ".join(dict.fromkeys(wanted[lower]))))
    return kept


def forgotten(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of a page for a browser that still sends hints nobody may use: it is told to stop."""
    if any(name.lower() == b"accept-ch" for name, _ in headers):
        return list(headers)
    return [*headers, (b"accept-ch", b"")]


def concealed(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Request headers without the hints that are not free."""
    return [pair for pair in headers if not _bound(pair[0].lower())]


def asking(meta: Sequence[TagAttribute]) -> set[int]:
    """Where the lists stand in a ``meta`` element that asks for hints that are not free, or hands them on."""
    said = [(a, unescape(a.value.decode("latin-1")).lower().encode("latin-1", "replace")) for a in meta]
    if not any(a.name == b"http-equiv" and value.strip() in _ASKING for a, value in said):
        return set()
    return {a.at for a, value in said if a.name == b"content" and asks(value)}


def asks(words: bytes) -> bool:
    """Whether a list of hints, each with the hosts it is handed on to if any, holds one that is not free."""
    found = (part.split() for part in words.lower().replace(b";", b",").split(b","))
    return any(part[0] not in _FREE for part in found if part)


def _bound(name: bytes) -> bool:
    return name in _BOUND or (name.startswith(b"sec-ch-") and name not in _FREE)
