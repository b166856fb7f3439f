"""Recorders across forks and the ends of processes: each begins anew in a child, and writes what it holds at the end.

Refuses to know what a recorder does in between.
"""

from __future__ import annotations

import atexit
import os
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["living", "remember"]

#: seconds that the end of the interpreter may wait for a recorder that nobody closed
_LAST_CHANCE: Final = 2.0


class _Recorder(Protocol):
    def begin_anew(self) -> object:
        """In a child: leave everything to the parent; what must not be closed here is returned."""

    def close(self, timeout: float) -> bool:
        """Write what is queued."""


#: weak, so that none is kept alive
_living: Final[WeakSet[_Recorder]] = WeakSet()
#: stores of a parent process: closing one here would break the locks that the parent holds on the same file
_inherited: Final[list[object]] = []


def remember(recorder: _Recorder) -> None:
    """Look after this recorder as long as it lives."""
    _living.add(recorder)


def living() -> set[_Recorder]:
    """The recorders of this process."""
    return set(_living)


def _after_fork() -> None:
    _inherited.extend(recorder.begin_anew() for recorder in living())


def _at_end() -> None:
    for recorder in living():
        recorder.close(_LAST_CHANCE)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_end)
