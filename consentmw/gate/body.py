"""The bytes of a page on their way through the gate, piece by piece.

Refuses to know headers, and what is in the bytes before they were unpacked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final

from .blunt import Blunt
from .html import HtmlGate
from .wide import Recoder

__all__ = ["PageBody"]

logger = logging.getLogger("consentmw")

#: ASCII has this character for one that can't be kept (ECMA-48, 8.3.148)
_SUBSTITUTE: Final = b"\x1a"


class PageBody:
    """What a gate makes of one page. When the gate fails later on, the rest goes out without loading tags."""

    __slots__ = ("_begun", "_gate", "_recoder", "_told")

    def __init__(self, gate: HtmlGate, *, told: bool, recoder: Recoder | None = None) -> None:
        """``recoder``: what turns a page into UTF-8 first; ``told``: whether browsers know the encoding beforehand.

        Where it is not, no escape character is let through: browsers guess ISO-2022-JP by them, in
        which the bytes mean something else. In any encoding of ASCII's family they mean nothing.
        """
        self._gate: HtmlGate | Blunt = gate
        self._recoder = recoder
        self._told = told
        self._begun = False

    def feed(self, pieces: Iterable[bytes], last: bool) -> Iterator[bytes]:
        """What can be sent for these pieces of the page: as many as came, or one of none when nothing came.

        Raises what the gate raises while nothing was sent yet: then the page can still go out in another way.
        """
        held: bytes | None = None
        for piece in pieces:
            if held is not None:
                yield self._edited(held, last=False)
            held = piece
        yield self._edited(held or b"", last=last)

    def _edited(self, piece: bytes, *, last: bool) -> bytes:
        if not self._told and b"\x1b" in piece:
            piece = piece.replace(b"\x1b", _SUBSTITUTE)
        try:
            if self._recoder is not None:
                piece = self._recoder.feed(piece, last)
            out = self._gate.feed(piece)
            out = out + self._gate.close() if last else out
        except Exception:
            if not self._begun:
                raise
            # The headers are gone, so no policy can help: what is left of the page loses every tag that loads.
            logger.exception("a page could not be rewritten to its end; the rest goes out without loading tags")
            self._gate = blunt = Blunt()
            return blunt.feed(piece) + (blunt.close() if last else b"")
        self._begun = True
        return out
