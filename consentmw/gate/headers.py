"""The caching headers of a page that was written for one visitor.

A page in one consent state must never be shown as one in another: not by a shared cache, not by a
304, not from the browser's own store. Refuses to know what is in the page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

__all__ = ["private", "restore_etag", "rewritten", "state_etag", "without"]

#: what is said about a body's bytes (RFC 9110, section 8; RFC 9530; RFC 9421; RFC 1864)
_OF_THE_BYTES: Final = (
    *(b"content-length", b"content-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest"),
    *(b"unencoded-digest", b"signature", b"signature-input"),
)
#: one entity tag of a list; some applications leave the quotes out
_TAG: Final = re.compile(rb'(?:W/)?"[^"]*"|[^\s,"]+')


def private(headers: Sequence[tuple[bytes, bytes]], state: str, *, kept: bool) -> list[tuple[bytes, bytes]]:
    """Headers of a page written for one visitor: no shared cache keeps it, no 304 mixes two consent states.

    ``kept``: whether the browser may keep it. Going back shows what it kept without asking, also after
    a withdrawal: a page in which services run must then be fetched anew.
    """
    found: list[tuple[bytes, bytes]] = []
    words: set[bytes] = set() if kept else {b"no-store"}
    for name, value in headers:
        lower = name.lower()
        if lower == b"cache-control":
            words |= {word.strip().lower() for word in value.split(b",")}
        elif lower == b"etag":
            found.append((name, state_etag(value, state)))
        elif lower not in (b"last-modified", b"accept-ranges", b"expires"):
            # By date alone a browser could revalidate another state's page; ranges would be of other bytes.
            found.append((name, value))
    # What the application forbids, on whichever line, stays forbidden; what it would share is shared no more.
    extra = [word for word in (b"no-store", b"no-transform", b"must-revalidate") if word in words]
    found.append((b"cache-control", b", ".join([b"private", b"no-cache", *extra])))
    return found


def state_etag(etag: bytes, state: str) -> bytes:
    """A weak ETag that differs between consent states."""
    tag = etag.strip().removeprefix(b"W/").strip(b'"')
    return b'W/"%s~%s"' % (tag, state.encode())


def restore_etag(scope: Scope, state: str) -> bool:
    """Give the application back its own ETag in If-None-Match, if the browser holds this state's page.

    Tags of other consent states are taken out, so that no 304 carries one state's page into another.
    Returns whether a tag was restored. Changes ``scope["headers"]``, which must be this request's own.
    """
    headers: Sequence[tuple[bytes, bytes]] = scope.get("headers") or ()
    if not any(name.lower() == b"if-none-match" and b"~" in value for name, value in headers):
        return False
    mark = b'~%s"' % state.encode()
    restored = False
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() != b"if-none-match":
            kept.append((name, value))
            continue
        tags = _TAG.findall(value)
        ours = [tag.removeprefix(b"W/")[: -len(mark)] + b'"' for tag in tags if tag.endswith(mark)]
        others = [tag for tag in tags if b"~" not in tag]
        restored = restored or bool(ours)
        if ours or others:
            # The application's own tag may have been strong or weak; it compares weakly (RFC 9110 13.1.2).
            both = [form for tag in ours for form in (tag, b"W/" + tag)]
            kept.append((name, b", ".join([*both, *others])))
    scope["headers"] = kept
    return restored


def without(headers: Sequence[tuple[bytes, bytes]], *names: bytes) -> list[tuple[bytes, bytes]]:
    """The headers without those of these names, which are in lower case."""
    return [pair for pair in headers if pair[0].lower() not in names]


def rewritten(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a page whose bytes are no longer those that the application counted, packed and signed."""
    return without(headers, *_OF_THE_BYTES)
