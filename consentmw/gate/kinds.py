"""What a browser takes a response for, by its headers and first bytes, and whether we can read it.

Follows Fetch ("extract a MIME type"), MIME Sniffing (sections 4 to 7) and the Encoding Standard. Where
browsers differ, what may be a page counts as one. Refuses to know what becomes of the response.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from starlette.types import Message

from . import wide

__all__ = [
    "DOCUMENT",
    "HTML",
    "OTHER",
    "UNTOLD",
    "coding",
    "kind",
    "labelled",
    "legible",
    "readable",
    "sniffed",
    "untouchable",
]

#: a page; XHTML is one, too, but no markup of ours would be well-formed in it
HTML: Final = "html"
#: what loads like a page when it is opened as one, but isn't HTML: XML with its dialects, pages in parts
DOCUMENT: Final = "document"
#: anything else that has a type
OTHER: Final = "other"
#: no type that a browser believes: it looks at the first bytes
UNTOLD: Final = ""

_XHTML: Final = b"application/xhtml+xml"
_ESSENCE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
#: types that say nothing (MIME Sniffing, section 7, step 1)
_NOTHING: Final = frozenset({b"*/*", b"unknown/unknown", b"application/unknown"})
_DOCUMENTS: Final = frozenset({b"text/xml", b"application/xml", b"multipart/x-mixed-replace"})

#: a label of an encoding in which every byte below 128 is the ASCII character, in a type that can't be misread
_LABELLED: Final = re.compile(
    rb"\s*text/html[ \t]*;[ \t]*charset=(\"?)"
    rb"(?:utf-?8|us-ascii|ascii|latin1|iso-8859-(?:[1-9]|1[013-6])|windows-(?:125[0-8]|874))\1[ \t]*;?\s*",
    re.IGNORECASE,
)
#: what stands in labels of encodings that the scanner can't read
_UNREADABLE: Final = (b"utf-16", b"utf-32", b"ucs-2", b"unicode", b"iso-2022", b"iso2022", b"hz-gb", b"utf16")

#: how far browsers look (MIME Sniffing, section 5.2)
_SNIFFED: Final = 1445
_WHITE: Final = b"\t\n\f\r "


@lru_cache(maxsize=512)
def kind(content_type: bytes) -> str:
    """What a Content-Type line says: the last type that is one counts, but HTML always does."""
    found = UNTOLD
    for member in content_type.lower().split(b","):
        essence = member.partition(b";")[0].strip()
        if essence.startswith((b"text/html", _XHTML)):
            return HTML
        if essence not in _NOTHING and _ESSENCE.fullmatch(essence):
            found = DOCUMENT if essence in _DOCUMENTS or essence.endswith(b"+xml") else OTHER
    return found


def sniffed(first: bytes, last: bool) -> str | None:
    """What a response without a type is by its first bytes (MIME Sniffing, section 7.1); None: it takes more of them.

    Text that is not marked up, whatever type says so, is never sniffed as HTML (section 7.2).
    """
    start = first[:_SNIFFED].lstrip(_WHITE)
    more = not last and len(first) < _SNIFFED
    if not start:
        return None if more else OTHER
    if not start.startswith(b"<"):
        return OTHER
    if more and len(start) < len(b"<?xml") and b"<?xml".startswith(start):
        return None
    return DOCUMENT if start.startswith(b"<?xml") else HTML


def coding(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The content codings that were applied, lower case; "" for none. More than one are joined by commas."""
    lines = b",".join(value for name, value in headers if name.lower() == b"content-encoding")
    return b",".join(word for part in lines.lower().split(b",") if (word := part.strip()) not in (b"", b"identity"))


def labelled(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the headers name an encoding that every browser then uses, so that none guesses another."""
    types = [value for name, value in headers if name.lower() == b"content-type"]
    return len(types) == 1 and _LABELLED.fullmatch(types[0]) is not None


def readable(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the scanner can read a page with such a type."""
    types = b",".join(value for name, value in headers if name.lower() == b"content-type").lower()
    if _XHTML in types:
        return False
    return not any(label in types for label in _UNREADABLE) or wide.labelled(headers)


def legible(first: bytes, *, told: bool) -> bool:
    """Whether the scanner can read a page that begins like this.

    ``told``: whether its encoding is known. If it is not, a browser may take escape sequences for
    ISO-2022-JP, in which they vanish: ``<scr``, an escape and ``ipt`` are then a script.
    """
    return told or b"\x1b" not in first or not _SHIFT.search(first)


#: what switches between the character sets of ISO-2022-JP (Encoding Standard, section 12.2.1)
_SHIFT: Final = re.compile(rb"\x1b[$(]")


def untouchable(message: Message, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """HTML that must go out byte for byte: trailers that sign it, no-transform, a file to save."""
    if message.get("trailers"):
        return True
    for name, value in headers:
        lower = name.lower()
        if lower == b"cache-control" and b"no-transform" in value.lower():
            return True
        if lower == b"content-disposition" and value.strip().lower().startswith(b"attachment"):
            return True
    return False
