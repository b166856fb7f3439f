"""Redirects and the Refresh header: where a response sends the browser next, and what it takes along.

An image, a script or a frame whose redirect leads to a service without consent is a load of that
service. A visitor who is sent on to another site goes there knowingly, but takes no click identifier
along that nobody allowed to be passed on. Within the site's own domain nothing is touched.

Refuses to know where visitors want to go, and what services are.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from .headers import without
from .rules import Rules
from .urls import Address, read_address

__all__ = ["FOLLOWED", "address", "filter_refresh", "grants_click", "loads", "plain", "unstored"]

#: the statuses whose Location a browser follows (Fetch, "redirect status")
FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})

_DATA: Final = Path(__file__).parent.parent / "data" / "clicks.toml"
_SEPARATOR: Final = re.compile(rb"([?&;#])")
_INSIDE: Final = b"\t\n\r"
#: a browser that sends no Sec-Fetch headers tells these by what it accepts
_NO_PAGE: Final = (b"image/", b"text/css", b"audio/", b"video/")

#: seconds, a separator, "url =" and the rest (HTML Standard, "shared declarative refresh steps"; the time is read
#: more widely, since browsers take many a number for one)
_REFRESH: Final = re.compile(
    rb"([\s\x00]*+[^;,\s]*+\s*+[;,]?+\s*+(?>(?:url\s*+=\s*+)?))([\"']?+)(.*)", re.IGNORECASE | re.DOTALL
)
_ADDRESS: Final = re.compile(rb"\A\s*+(?>(?:url\s*+=\s*+)?)[\"']?+", re.IGNORECASE)

Headers = Sequence[tuple[bytes, bytes]]


def loads(headers: Headers) -> str:
    """What the browser wants the answer to this request for, when that is no page of its own: ``image``, ``iframe``
    and so on (Fetch, "destination"), ``empty`` for scripts' requests; "" for a navigation by the visitor.

    Without Sec-Fetch headers, which plain http and old browsers don't send, only images, sound, film and style
    sheets can be told from a navigation.
    """
    destination = mode = accept = b""
    for name, value in headers:
        lower = name.lower()
        if lower == b"sec-fetch-dest":
            destination = value.strip().lower()
        elif lower == b"sec-fetch-mode":
            mode = value.strip().lower()
        elif lower == b"accept":
            accept = value.strip().lower()
    if destination:
        return "" if destination == b"document" else destination.decode("latin-1")
    if mode:
        return "" if mode == b"navigate" else "empty"
    return "image" if accept.startswith(_NO_PAGE) else ""


def address(raw: bytes) -> Address | None:
    """Where a browser goes for this header value; None when it stays on the page's own host."""
    return read_address(literal(raw))


def literal(raw: bytes) -> bytes:
    """A header's address as it would stand in markup: headers have no character references."""
    return raw.replace(b"&", b"&amp;")


def plain(raw: bytes, kinds: frozenset[str]) -> bytes:
    """An address without the click identifiers that none of these kinds of purpose grants; the rest byte for byte.

    Looks at the query and the fragment, as far as they are parameters. Names count as the next server reads
    them: percent-decoded, in any case, white space that browsers drop left out.
    """
    first, *rest = _SEPARATOR.split(raw)
    if not rest or not any(_withheld(word, kinds) for word in rest[1::2]):
        return raw
    # A ";" or "&" before the first "?" or "#" belongs to the path.
    begun, owed, kept = False, b"", [first]
    for mark, word in zip(rest[::2], rest[1::2], strict=True):
        opens = mark in b"?#"
        begun = begun or opens
        if begun and _withheld(word, kinds):
            # What comes next takes the place of the first parameter.
            owed = mark if opens else owed
            continue
        kept += [owed if owed and not opens else mark, word]
        owed = b""
    return b"".join(kept)


def _withheld(parameter: bytes, kinds: frozenset[str]) -> bool:
    name = unquote_to_bytes(parameter.partition(b"=")[0]).translate(None, _INSIDE).strip().lower()
    kind = _clicks().get(name)
    return kind is not None and kind not in kinds


def grants_click(name: str) -> str:
    """The kind of purpose that allows to know a click identifier of this name, "" for any other parameter."""
    return _clicks().get(name.lower().encode(), "")


@lru_cache(maxsize=1)
def _clicks() -> Mapping[bytes, str]:
    """The kind of purpose that grants passing each click identifier on."""
    with _DATA.open("rb") as file:
        return {name.lower().encode(): kind for kind, names in tomllib.load(file).items() for name in names}


def unstored(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of a redirect that depends on consent: nobody keeps it, or a 301 would outlive a withdrawal."""
    return [*without(headers, b"cache-control", b"expires"), (b"cache-control", b"private, no-store")]


def filter_refresh(
    headers: Headers, rules: Rules, kinds: frozenset[str], own: Callable[[str], bool]
) -> list[tuple[bytes, bytes]]:
    """The headers without Refresh lines to denied services; those to other sites without click identifiers.

    ``own``: whether a host is the site's own.
    """
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() != b"refresh":
            kept.append((name, value))
        elif not any(rules.url(literal(raw)) for raw in _refreshed(value)):
            kept.append((name, _plain_refresh(value, kinds, own)))
    return kept


def _refreshed(value: bytes) -> Iterator[bytes]:
    """Every address that some browser may read in a Refresh header."""
    if match := _REFRESH.match(value):
        _, quote, rest = match.groups()
        yield rest
        if quote:
            # Up to the next quote by the standard, up to the last one in other browsers.
            yield rest.partition(quote)[0]
            yield rest.rpartition(quote)[0]
    # A line of its own may go on what another line began.
    yield _ADDRESS.sub(b"", value)


def _plain_refresh(value: bytes, kinds: frozenset[str], own: Callable[[str], bool]) -> bytes:
    match = _REFRESH.match(value)
    if match is None:
        return value
    start, quote, rest = match.groups()
    end = b""
    if quote and quote in rest:
        rest, _, end = rest.partition(quote)
        end = quote + end
    to = address(rest)
    return value if to is None or not to.host or own(to.host) else start + quote + plain(rest, kinds) + end
