"""The part of a response that is held right now, and the edits it waits for.

Offsets count from the start of the response, so that they stay true while bytes arrive and leave.
Refuses to know why anything is edited.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Edits", "View"]


@dataclass(frozen=True, slots=True)
class View:
    """A stretch of the response: all that arrived and was not sent yet."""

    data: bytes
    #: the same in lower case, for searching
    low: bytes
    #: offset of its first byte in the response
    base: int
    #: whether nothing will follow
    final: bool
    #: the byte that was sent last, b"" at the start
    before: bytes


class Edits:
    """Bytes to insert, by offset."""

    __slots__ = ("_marks", "_placed")

    def __init__(self) -> None:
        self._marks: dict[int, bytes] = {}
        self._placed: dict[int, bytes] = {}

    def mark(self, offset: int, text: bytes) -> None:
        """Insert ``text`` directly before the byte at ``offset``; the same mark twice is one mark."""
        self._marks[offset] = text

    def place(self, offset: int, text: bytes) -> None:
        """Insert ``text`` at ``offset``, after what is placed there already and before any mark."""
        self._placed[offset] = self._placed.get(offset, b"") + text

    def apply(self, data: bytes, base: int, cut: int) -> bytes:
        """``data``, which begins at ``base``, up to ``cut``, with its edits; those are then done."""
        # A mark belongs to the byte behind it and leaves with that.
        due = sorted({o for o in self._marks if o < cut} | {o for o in self._placed if o <= cut})
        if not due:
            return data[: cut - base] if cut - base < len(data) else data
        pieces: list[bytes] = []
        at = base
        for offset in due:
            pieces += (data[at - base : offset - base], self._placed.pop(offset, b""))
            if offset < cut:
                pieces.append(self._marks.pop(offset, b""))
            at = offset
        pieces.append(data[at - base : cut - base])
        return b"".join(pieces)
