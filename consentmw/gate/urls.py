"""How browsers read addresses: from the bytes of an attribute to the host and path they would ask.

Follows the URL Standard (https://url.spec.whatwg.org/, "URL parsing" and "host parsing") and, where
a browser's answer depends on something we can't see (the base address, the encoding, the version),
takes the reading that reaches the most hosts: a needless withholding is better than one leak.

Refuses to know services, consent or HTML beyond character references.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import Final
from urllib.parse import unquote

__all__ = ["Address", "mentions", "read_address", "unescaped"]

_EDGE: Final = "".join(map(chr, range(33)))
_INSIDE: Final = str.maketrans("", "", "\t\n\r")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SPECIAL: Final = frozenset({"http", "https", "ws", "wss", "ftp"})
#: schemes whose address is itself content that a browser runs, parses or resolves
_CARRIERS: Final = frozenset({"data", "javascript", "blob", "filesystem", "view-source"})
#: content that loads nothing further: pictures made of pixels, sound, film and letters
_INERT_DATA: Final = re.compile(r"\s*(?:image/(?!svg)|audio/|video/|font/)[a-z0-9.+-]*[;,]", re.IGNORECASE)
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_PORT: Final = re.compile(r":[0-9]*\Z")
_SLASHES: Final = re.compile(r"/{2,}")
#: code points that vanish from a host name (UTS 46, status "ignored")
_IGNORED: Final = re.compile("[\u00ad\u034f\u180b-\u180f\u200b\u2060\u2064\ufe00-\ufe0f\ufeff]")
_HOST_LIKE: Final = re.compile(
    r"(?<![a-z0-9_-])([a-z0-9_-]++(?>(?:\.[a-z0-9_-]++)+))\.?(?::[0-9]++)?([/\\][^\s\"'`<>?#)]*+)?"
)
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|u\{([0-9a-f]{1,6})\}|([0-9a-f]{1,6})[ \t\n\f\r]?|([^0-9a-f]))", re.IGNORECASE
)

_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
#: base64 in a data: address that stands in a text; shorter ones hold no address
_PACKED: Final = re.compile(r";\s*base64\s*,([A-Za-z0-9+/=\s%]{12,}+)", re.IGNORECASE)

#: longest name that DNS can answer, in characters (RFC 1035 2.3.4)
_LONGEST_HOST: Final = 255

#: attribute values up to this many bytes are remembered; longer ones are mostly data: addresses
_REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True)
class Address:
    """An address that leaves the page's own host, as a browser may read it."""

    #: lower case, without user, port and final dot; "" when the address carries content instead
    host: str
    #: the path as written and as servers resolve it; without query
    paths: tuple[str, ...] = ()
    #: the content of a data:, javascript: or similar address
    content: str = ""


def read_address(raw: bytes) -> Address | None:
    """Where a browser would go for this attribute value; None when it stays on the page's own host.

    ``raw`` is the value as it stands in the markup, character references included.
    """
    return _read_short(raw) if len(raw) <= _REMEMBERED else _read(raw)


def mentions(text: str) -> Iterator[tuple[str, str]]:
    """Host and path of every host name that stands in a text, however it is escaped there."""
    for reading in _readings(text):
        for match in _HOST_LIKE.finditer(reading):
            # A comment's opening may stand right before: "<!--www...".
            yield match[1].lstrip("-"), (match[2] or "/").replace("\\", "/")


@lru_cache(maxsize=2048)
def _read_short(raw: bytes) -> Address | None:
    return _read(raw)


def _read(raw: bytes) -> Address | None:
    text = raw.decode("utf-8", "replace")
    if "&" in text:
        text = unescape(text)
    text = text.strip(_EDGE).translate(_INSIDE)
    scheme = _SCHEME.match(text)
    if scheme is not None:
        name, rest = scheme[1].lower(), text[scheme.end() :]
        if name in _CARRIERS:
            return _carried(name, rest)
        # "https:host" is relative on a page of the same scheme; on any other it is that host.
        return _located(rest) if name in _SPECIAL else None
    return _located(text) if text[:2].replace("\\", "/") == "//" else None


def _located(rest: str) -> Address | None:
    """The address after the scheme: any number of slashes of either kind, authority, path."""
    rest = rest.replace("\\", "/").lstrip("/")
    end = _AUTHORITY_END.search(rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    host = _host(authority)
    if not host or len(host) > _LONGEST_HOST:
        return None
    path = re.split(r"[?#]", tail, maxsplit=1)[0] or "/"
    return Address(host, tuple(dict.fromkeys((path, _resolved(path)))))


def _host(authority: str) -> str:
    name = _PORT.sub("", authority.rpartition("@")[2])
    if "%" in name:
        name = unquote(name)
    return _plain(name).rstrip(".")


def _plain(text: str) -> str:
    """Letters as a host name has them: compatibility forms folded, invisible ones gone, lower case."""
    if text.isascii():
        return text.lower()
    return _IGNORED.sub("", unicodedata.normalize("NFKC", _IGNORED.sub("", text)).casefold()).replace("。", ".")


def _resolved(path: str) -> str:
    """The path as the server behind it sees it: percent-decoded, dot segments applied, slashes single."""
    kept: list[str] = []
    decoded = unquote(path).replace("\\", "/")
    *folders, last = _SLASHES.sub("/", decoded).lstrip("/").split("/")
    for part in folders:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if last == "..":
        del kept[-1:]
    return "/" + "/".join((*kept, "" if last in (".", "..") else last))


def _carried(scheme: str, rest: str) -> Address | None:
    if scheme == "data":
        if _INERT_DATA.match(rest):
            return None
        head, comma, body = rest.partition(",")
        if comma and head.rstrip().lower().endswith("base64"):
            rest += "\n" + _decoded(body)
    return Address("", content=rest)


def _decoded(body: str) -> str:
    """What base64 holds, as far as it goes: a cut-off end must not hide the rest."""
    letters = re.sub(r"[^A-Za-z0-9+/]", "", unquote(body))
    padded = letters + "A" * (-len(letters) % 4)
    return b64decode(padded).decode("latin-1")


def _readings(text: str) -> Iterator[str]:
    """The text as it stands and as HTML, CSS, JavaScript and an address would each unescape it."""
    stages = [text]
    for undo in (unescape, unescape, _uncommented, unescaped, unquote, lambda last: last.translate(_INSIDE)):
        stages.append(undo(stages[-1]))
    found = dict.fromkeys(stages)
    yield from dict.fromkeys(_plain(stage) for stage in found)
    for packed in dict.fromkeys(match[1] for stage in found for match in _PACKED.finditer(stage)):
        # What is in it is shorter by a quarter, so this comes to an end.
        yield from _readings(_decoded(packed))


def _uncommented(text: str) -> str:
    # In SVG a comment may stand inside the text of a style sheet or a script.
    return _COMMENT.sub("", text) if "<!--" in text else text


def unescaped(text: str) -> str:
    """The text with the escapes of CSS and JavaScript undone."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    if match[5] is not None:
        return match[5]
    code = int(match[1] or match[2] or match[3] or match[4], 16)
    return chr(code) if code <= 0x10FFFF else ""
