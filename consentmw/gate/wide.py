"""Pages in UTF-16: how they are known, and what they are in UTF-8.

Reads them as browsers do: a byte order mark is stronger than any label (Encoding Standard, section 6), a label of
UTF-16 is little endian unless it says otherwise (4.2), and where nothing is said only ``<?x`` tells (HTML Standard,
13.2.3.2). Refuses to know what is in a page, and to read a type that isn't plain.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

__all__ = ["UTF8_MARK", "UTF8_TYPE", "VAGUE", "Recoder", "codec", "labelled", "relabelled"]

#: no codec: what the bytes mean differs between browsers, or takes more than a plain type to know
VAGUE: Final = "vague"
UTF8_MARK: Final = b"\xef\xbb\xbf"
#: the parameter that every recoded page gets
UTF8_TYPE: Final = b"; charset=utf-8"

_LITTLE: Final = "utf-16-le"
_BIG: Final = "utf-16-be"
_MARKS: Final = {b"\xff\xfe": _LITTLE, b"\xfe\xff": _BIG}
#: labels of UTF-16 (Encoding Standard, section 4.2)
_LABELS: Final = {
    **dict.fromkeys((b"utf-16", b"utf-16le", b"ucs-2", b"iso-10646-ucs-2"), _LITTLE),
    **dict.fromkeys((b"unicode", b"csunicode", b"unicodefeff"), _LITTLE),
    **dict.fromkeys((b"utf-16be", b"unicodefffe"), _BIG),
}
#: how an XML declaration begins: the only letters without a mark by which the standard knows UTF-16
_DECLARED: Final = {"<?x".encode(name): name for name in (_LITTLE, _BIG)}

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9a-z-]++"
_VALUE: Final = rb"(?:" + _TOKEN + rb'|"[^"\\;,]*+")'
_OTHERS: Final = rb"(?>(?:;[ \t]*+(?:(?!charset=)" + _TOKEN + rb"=" + _VALUE + rb"[ \t]*+|(?=;|\Z)))*)"
#: a type that nothing can misread: one charset at most, and no value in quotes that looks like more parameters
_PLAIN: Final = re.compile(
    rb"(\s*+text/html[ \t]*+" + _OTHERS + rb")(?:;[ \t]*+charset=(" + _VALUE + rb")[ \t]*+)?(" + _OTHERS + rb")",
    re.IGNORECASE,
)
_read: Final = lru_cache(maxsize=512)(_PLAIN.fullmatch)


class Recoder:
    """One page, from its own encoding to UTF-8, in any pieces.

    It begins with UTF-8's mark: that is stronger than whatever a later header says about a page that was kept.
    What is no UTF-16 becomes U+FFFD, as the decoder of the Encoding Standard does it (section 14.2.1).
    """

    __slots__ = ("_decoder", "_mark")

    def __init__(self, codec: str) -> None:
        self._decoder = getincrementaldecoder(codec)("replace")
        self._mark = "\ufeff"

    def feed(self, piece: bytes, last: bool) -> bytes:
        """The same letters in UTF-8; half a letter waits for its other half, or for the ``last`` piece."""
        text = self._decoder.decode(piece, last)
        if text and self._mark:
            text, self._mark = self._mark + text.removeprefix(self._mark), ""
        return text.encode()


def codec(first: bytes, last: bool, headers: Sequence[tuple[bytes, bytes]], *, told: bool) -> str | None:
    """The codec that a page has to be read with; "": its bytes below 128 are ASCII's; VAGUE; None: more has to come.

    ``told``: whether the headers name an encoding of ASCII's family.
    """
    begun = first[:2]
    if not last and (len(begun) < 2 or (begun == UTF8_MARK[:2] and len(first) < 3)):
        return None
    marked = first.startswith(UTF8_MARK)
    if begun not in _MARKS and (told or (marked and not labelled(headers))):
        return ""
    plain = _plain(headers)
    if begun in _MARKS:
        # Marks count in anything, but only in a plain type the new encoding can be named.
        return _MARKS[begun] if plain else VAGUE
    if plain and (label := _LABELS.get(_label(plain))):
        return "utf-8" if marked else label
    return _undeclared(first, last, plain) if b"\0" in begun else ""


def _undeclared(first: bytes, last: bool, plain: re.Match[bytes] | None) -> str | None:
    """The codec of a page with a zero among its first two bytes, which no encoding of ASCII's family explains."""
    if plain is None or plain[2]:
        return VAGUE
    if not last and any(start.startswith(first) for start in _DECLARED):
        return None
    # Firefox takes plain letters with zeros between them for UTF-16, others for windows-1252 with zeros. It goes out
    # as what most see; since it then says so, all of them see what was gated.
    return next((name for start, name in _DECLARED.items() if first.startswith(start)), "cp1252")


def labelled(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a plain type says UTF-16."""
    plain = _plain(headers)
    return plain is not None and _label(plain) in _LABELS


def relabelled(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a page that was recoded: a plain type says UTF-8 and keeps its other parameters."""
    return [(name, _in_utf8(value) if name.lower() == b"content-type" else value) for name, value in headers]


def _plain(headers: Sequence[tuple[bytes, bytes]]) -> re.Match[bytes] | None:
    types = [value for name, value in headers if name.lower() == b"content-type"]
    return _read(types[0]) if len(types) == 1 else None


def _label(plain: re.Match[bytes]) -> bytes:
    return (plain[2] or b"").strip(b'"').strip().lower()


def _in_utf8(value: bytes) -> bytes:
    plain = _read(value)
    return plain[1] + UTF8_TYPE + plain[3] if plain else value
