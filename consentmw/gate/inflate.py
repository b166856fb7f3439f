"""A compressed body, unpacked in pieces: what is small on the wire may be huge in memory.

Reads what browsers read: one gzip or zlib stream, or one of deflate without zlib's wrapper; whatever
follows its end is ignored, a second gzip member too. Refuses to know what is in it.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["PIECE", "Inflater"]

logger = logging.getLogger("consentmw")

#: the most bytes that are unpacked at once; most pages are smaller and stay whole
PIECE: Final = 262_144
#: compressed bytes that are looked at together: what is not yet unpacked is copied once for each piece
_SLICE: Final = 65_536

#: zlib's window bits by content coding (RFC 9110, section 8.4.1); "deflate" is the zlib format of RFC 1950
_WINDOWS: Final = {b"gzip": zlib.MAX_WBITS | 16, b"x-gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}


class Inflater:
    """Unpacks one body. A stream that is damaged later on ends where it can't be read on, as in a browser."""

    __slots__ = ("_begun", "_damaged", "_start", "_stream")

    def __init__(self, coding: bytes) -> None:
        """``coding``: gzip, x-gzip or deflate. Raises KeyError for any other."""
        self._stream: Any = zlib.decompressobj(_WINDOWS[coding])
        self._begun = self._damaged = False
        #: the first bytes, while they have to tell whether there is a wrapper; None once that is known
        self._start: bytes | None = b"" if coding == b"deflate" else None

    def pieces(self, body: bytes, last: bool) -> Iterator[bytes]:
        """What these bytes unpack to, each piece at most about PIECE bytes; nothing is unpacked before it is asked for.

        Raises zlib.error while nothing was readable yet: then it is not what it says.
        """
        if self._start is not None:
            body = self._start + body
            if len(body) < 2 and not last:
                self._start = body
                return
            self._start = None
            if not _wrapped(body):
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for at in range(0, 0 if self._damaged else len(body), _SLICE):
                left = body[at : at + _SLICE]
                while left and not self._stream.eof:
                    piece = self._stream.decompress(left, PIECE)
                    left = self._stream.unconsumed_tail
                    if piece:
                        self._begun = True
                        yield piece
            # All input was taken in, so no more than a few kB are still inside.
            if last and not self._damaged and (rest := self._stream.flush()):
                yield rest
        except zlib.error:
            if not self._begun:
                raise
            logger.exception("a compressed page is damaged; it ends where it can't be read on")
            self._damaged = True

    @staticmethod
    def reads(coding: bytes) -> bool:
        """Whether this content coding can be unpacked."""
        return coding in _WINDOWS


def _wrapped(body: bytes) -> bool:
    """Whether this begins as zlib's format does (RFC 1950, section 2.2); some servers leave that out."""
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
