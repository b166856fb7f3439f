"""Whether a file still holds a text that was deleted from it.

Reads bytes and nothing else; refuses to know what kind of database the file is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["holds"]

#: bytes read at once: finding a text in so many takes less than a millisecond, so that other threads go on
_CHUNK: Final = 1 << 20
#: bytes looked through at most, for all texts together: some seconds of one processor
_MOST: Final = 4 << 30


def holds(path: Path, texts: Iterable[str]) -> bool:
    """Whether one of these texts stands in the file; False, unseen, when the search would take too long."""
    wanted = [text.encode() for text in texts if text]
    if not wanted or path.stat().st_size * len(wanted) > _MOST:
        return False
    overlap = max(map(len, wanted)) - 1
    with path.open("rb") as file:
        before = b""
        while chunk := file.read(_CHUNK):
            window = before + chunk
            if any(text in window for text in wanted):
                return True
            before = window[-overlap:] if overlap else b""
    return False
