"""Whether a file still holds a text that was deleted from it.

Reads bytes by a handle and nothing else; refuses to know what kind of database the file is, and to open it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

__all__ = ["holds"]

#: bytes read at once: finding a text in so many takes less than a millisecond, so that other threads go on
_CHUNK: Final = 1 << 20
#: bytes looked through at most, for all texts together: some seconds of one processor
_MOST: Final = 4 << 30


def holds(handle: int, texts: Iterable[str]) -> bool:
    """Whether one of these texts stands in the file; False, unseen, when the search would take too long."""
    wanted = [text.encode() for text in texts if text]
    if not wanted or os.fstat(handle).st_size * len(wanted) > _MOST:
        return False
    overlap = max(map(len, wanted)) - 1
    at, before = 0, b""
    # By place, since other threads may read by the same handle.
    while chunk := os.pread(handle, _CHUNK, at):
        window = before + chunk
        if any(text in window for text in wanted):
            return True
        at += len(chunk)
        before = window[-overlap:] if overlap else b""
    return False
