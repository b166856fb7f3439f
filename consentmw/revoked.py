"""Links that were signed and shall no longer lead anywhere: whole campaigns and single tokens, from a file.

Knows the file, which is read at start and again when it changes. Refuses to know who clicks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .errors import SettingsError

__all__ = ["Revoked"]

logger = logging.getLogger("consentmw")

#: seconds between two looks at the file's date
_LOOK_EVERY: Final = 5.0
#: bytes of the longest list that is read
_LARGEST: Final = 4_194_304


class Revoked:
    """What was revoked. A file that can't be read any more, or is too large, leaves in force what was read before."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds, to tell when to look again. Raises SettingsError when the file can't be read now."""
        self._path = path
        self._clock = clock
        self._lines: frozenset[str] = frozenset()
        self._stamp: tuple[int, int] = (0, 0)
        self._look_at = clock() + _LOOK_EVERY
        if path is not None:
            try:
                self._read(path)
            except (OSError, ValueError) as error:
                raise SettingsError("revoked_links", f"a readable text file in UTF-8 ({_reason(error)})") from error

    def covers(self, token: str, campaign: str) -> bool:
        """Whether this token, or every token of its campaign, was revoked."""
        if self._path is None:
            return False
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK_EVERY
            self._look(self._path)
        return token in self._lines or (bool(campaign) and campaign in self._lines)

    def _look(self, path: Path) -> None:
        try:
            if _stamp(path) != self._stamp:
                self._read(path)
        except (OSError, ValueError) as error:
            logger.error("revoked_links can't be read, so what was read before counts: %s", _reason(error))

    def _read(self, path: Path) -> None:
        stamp = _stamp(path)
        if stamp[1] > _LARGEST:
            raise ValueError(f"over {_LARGEST} bytes")
        lines = map(str.strip, path.read_text("utf-8").splitlines())
        self._lines = frozenset(line for line in lines if line and not line.startswith("#"))
        self._stamp = stamp


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _reason(error: Exception) -> str:
    # The system's own words: an exception's would repeat the path, a decoding error's the contents.
    return (error.strerror or "unreadable") if isinstance(error, OSError) else "too large, or not UTF-8"
