"""Link headers and early hints: requests that a browser makes before it has read a byte of the page.

A link that would load from, connect to or look up a service without consent, or a host that nobody
named, is taken out; links that only name a relation (canonical, next, license) stay, and so does
everything else on the line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .rules import Rules
from .unknown import EVERY, Watch, link_kinds

__all__ = ["LINKS", "filter_early_hint", "filter_links"]

#: headers that name what a browser fetches by itself
LINKS: Final = frozenset({b"link", b"speculation-rules"})

#: relations that make a browser load or connect (HTML, 4.6.7; Resource Hints)
_LOADING: Final = frozenset(
    b"preload modulepreload prefetch prerender preconnect dns-prefetch stylesheet icon manifest".split()
)
#: one link of a header: the target, then parameters, whose quoted values may hold commas and semicolons
_LINK: Final = re.compile(rb'\s*<([^>]*)>((?>(?:[^,"]|"(?>(?:[^"\\]|\\.)*)"?)*))\s*(?:,|$)')
_REL: Final = re.compile(rb';\s*rel\s*\*?=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
_IMAGES: Final = re.compile(rb';\s*imagesrcset\s*\*?=\s*(?:"((?>(?:[^"\\]|\\.)*))"?|([^;\s"]+))', re.IGNORECASE)
_PAIR: Final = re.compile(rb"\\(.)")
_AS: Final = re.compile(rb';\s*as\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def filter_links(
    headers: Sequence[tuple[bytes, bytes]], rules: Rules, watch: Watch | None = None
) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The headers without links to denied services and unknown hosts, and whether any was taken out."""
    kept: list[tuple[bytes, bytes]] = []
    changed = False
    for name, value in headers:
        if name.lower() == b"link":
            left = _left(value, rules, watch)
            if left != value:
                changed = True
                if not left:
                    continue
            kept.append((name, left))
        elif name.lower() == b"speculation-rules" and rules.text(value) is not None:
            # Addresses of rules to fetch (HTML, "The Speculation-Rules header"): rarely more than one.
            changed = True
        else:
            kept.append((name, value))
    return kept, changed


def filter_early_hint(links: Sequence[bytes], rules: Rules, watch: Watch | None = None) -> list[bytes]:
    """The links of an early hint (ASGI ``http.response.early_hint``) without those that :func:`filter_links` drops."""
    return [left for link in links if (left := _left(link, rules, watch))]


def _left(value: bytes, rules: Rules, watch: Watch | None) -> bytes:
    """What is left of a Link value; the very same bytes when nothing was taken out."""
    left: list[bytes] = []
    at, dropped = 0, False
    while at < len(value):
        match = _LINK.match(value, at)
        if match is None:
            # Not the syntax of RFC 8288: a browser may read it in its own way, so it stays only if it names nobody.
            rest = value[at:]
            parts = [part for part in re.split(rb"[<>,;\s\"]+", rest) if part]
            denied = any(rules.url(part) or (watch and watch.withheld(EVERY, part)) for part in parts)
            return b", ".join(left) if denied else (value if not dropped else b", ".join([*left, rest.strip()]))
        if _loads(match[2]) and (_denied(match, rules) or (watch and _strange(match, watch))):
            dropped = True
        else:
            left.append(match[0].strip().removesuffix(b",").strip())
        at = match.end()
    return b", ".join(left) if dropped else value


def _strange(link: re.Match[bytes], watch: Watch) -> bool:
    """Whether a link would load from an unknown host that may not be asked."""
    relations, purposes = (
        " ".join((quoted or plain).decode("latin-1").lower() for quoted, plain in pattern.findall(link[2]))
        for pattern in (_REL, _AS)
    )
    return watch.withheld(link_kinds(relations, purposes) if relations else EVERY, link[1]) != ""


def _denied(link: re.Match[bytes], rules: Rules) -> bool:
    """Whether the target, or one of the candidates for an image, is a denied service's."""
    candidates = (_PAIR.sub(rb"\1", quoted) or plain for quoted, plain in _IMAGES.findall(link[2]))
    return rules.url(link[1]) is not None or any(rules.urls(value) for value in candidates)


def _loads(parameters: bytes) -> bool:
    # Chromium leaves out the backslash of a quoted pair (RFC 9110, 5.6.4).
    relations = [(_PAIR.sub(rb"\1", quoted) or plain).lower() for quoted, plain in _REL.findall(parameters)]
    # Without a relation nothing is known about it, so the worst is assumed.
    return not relations or any(word in _LOADING for words in relations for word in words.split())
