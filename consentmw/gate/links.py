"""Link headers and early hints: requests that a browser makes before it has read a byte of the page.

A link that would load, connect to or look up a service without consent is taken out; links that
only name a relation (canonical, next, license) stay, and so does everything else on the line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .rules import Rules

__all__ = ["filter_early_hint", "filter_links"]

#: relations that make a browser load or connect (HTML, 4.6.7; Resource Hints)
_LOADING: Final = frozenset(
    b"preload modulepreload prefetch prerender preconnect dns-prefetch stylesheet icon manifest".split()
)
#: one link of a header: the target, then parameters, whose quoted values may hold commas and semicolons
_LINK: Final = re.compile(rb'\s*<([^>]*)>((?>(?:[^,"]|"(?>(?:[^"\\]|\\.)*)"?)*))\s*(?:,|$)')
_REL: Final = re.compile(rb';\s*rel\s*\*?=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def filter_links(headers: Sequence[tuple[bytes, bytes]], rules: Rules) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The headers without links to denied services, and whether any was taken out."""
    kept: list[tuple[bytes, bytes]] = []
    changed = False
    for name, value in headers:
        if name.lower() == b"link":
            left = _left(value, rules)
            if left != value:
                changed = True
                if not left:
                    continue
            kept.append((name, left))
        else:
            kept.append((name, value))
    return kept, changed


def filter_early_hint(links: Sequence[bytes], rules: Rules) -> list[bytes]:
    """The links of an early hint (ASGI ``http.response.early_hint``) without those to denied services."""
    return [left for link in links if (left := _left(link, rules))]


def _left(value: bytes, rules: Rules) -> bytes:
    """What is left of a Link value; the very same bytes when nothing was taken out."""
    left: list[bytes] = []
    at, dropped = 0, False
    while at < len(value):
        match = _LINK.match(value, at)
        if match is None:
            # Not the syntax of RFC 8288: a browser may read it in its own way, so it stays only if it names nobody.
            rest = value[at:]
            denied = any(rules.url(part) for part in re.split(rb"[<>,;\s\"]+", rest) if part)
            return b", ".join(left) if denied else (value if not dropped else b", ".join([*left, rest.strip()]))
        if _loads(match[2]) and rules.url(match[1]) is not None:
            dropped = True
        else:
            left.append(match[0].strip().removesuffix(b",").strip())
        at = match.end()
    return b", ".join(left) if dropped else value


def _loads(parameters: bytes) -> bool:
    relations = [(quoted or plain).lower() for quoted, plain in _REL.findall(parameters)]
    # Without a relation nothing is known about it, so the worst is assumed.
    return not relations or any(word in _LOADING for words in relations for word in words.split())
