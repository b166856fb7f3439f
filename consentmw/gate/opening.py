"""The opening of a body: its first bytes, unpacked, until they tell what it is and whether we can read it.

Refuses to know what becomes of the response, and to hold more than it takes to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from .body import PageBody
from .html import HtmlGate
from .inflate import Inflater
from .kinds import HTML, coding, labelled, legible, readable, sniffed
from .wide import UTF8_MARK, VAGUE, Recoder, codec

__all__ = ["UNREADABLE", "Opening", "opens"]

#: a page that the scanner can't read
UNREADABLE: Final = "unreadable"
#: bytes, as they came, that are held while they tell nothing: a compressed page may begin with a long file name
_MOST_HELD: Final = 65_536


def opens(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a body with these headers can be unpacked and, as far as they say, be read."""
    applied = coding(headers)
    return readable(headers) and (not applied or Inflater.reads(applied))


class Opening:
    """Takes in the body of one response, for which :func:`opens` holds."""

    __slots__ = ("_came", "_codec", "_headers", "_inflater", "_told", "_untyped", "first")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]], *, untyped: bool) -> None:
        """``untyped``: whether no type was told, so that browsers look at these bytes, too."""
        applied = coding(headers)
        self._inflater = Inflater(applied) if applied else None
        self._headers = headers
        self._told = labelled(headers)
        self._codec = ""
        self._untyped = untyped
        self._came = 0
        #: what has been seen of the body so far, unpacked
        self.first = b""

    def unpacked(self, body: bytes, last: bool) -> Iterator[bytes]:
        """What these bytes of the body unpack to, in pieces, as they are asked for. Raises zlib.error."""
        self._came += len(body)
        return iter((body,)) if self._inflater is None else self._inflater.pieces(body, last)

    def look(self, pieces: Iterator[bytes], last: bool) -> str | None:
        """What the body is: a kind of kinds.py, or UNREADABLE; None: more has to come. Takes no more than that needs.

        ``last``: whether nothing comes after these pieces. Raises zlib.error.
        """
        for piece in pieces:
            self.first += piece
            if (found := self._kind(last=False)) is not None:
                return found
        found = self._kind(last=last)
        return UNREADABLE if found is None and self._came > _MOST_HELD else found

    def _kind(self, *, last: bool) -> str | None:
        if self._untyped and (found := sniffed(self.first, last)) != HTML:
            return found
        if (found := codec(self.first, last, self._headers, told=self._told)) is None:
            return None
        if found == VAGUE:
            return UNREADABLE
        self._codec = found
        self._told = self._told or found != "" or self.first.startswith(UTF8_MARK)
        return HTML if legible(self.first, told=self._told) else UNREADABLE

    @property
    def recodes(self) -> bool:
        """Whether the page goes out in another encoding than it came in: in UTF-8."""
        return self._codec != ""

    @property
    def start(self) -> bytes:
        """What has been seen of the page, as the gate will see it."""
        return Recoder(self._codec).feed(self.first, last=False) if self._codec else self.first

    def page(self, gate: HtmlGate, pieces: Iterator[bytes], last: bool) -> tuple[PageBody, Iterator[bytes]]:
        """The page behind a gate, and what can be sent of it: of what was seen, and of the pieces that are left."""
        body = PageBody(gate, told=self._told, recoder=Recoder(self._codec) if self._codec else None)
        return body, body.feed(chain((self.first,), pieces), last)
