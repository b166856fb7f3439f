"""One handle on each SQLite file that this process has stores in, from the first store to the last.

SQLite locks a file for the whole process, and the system takes all of a process's locks on a file away when the
process closes any handle on it (POSIX advisory locks; sqlite.org/howtocorrupt.html, section 2.2). The next
program that closes the file would think itself alone and delete the log that this process still writes to. So
nothing here closes a handle while a store may be open. Refuses to know what is in the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

__all__ = ["Key", "handle", "hold", "let_go"]

#: what the system knows a file by, whatever it is called
Key: TypeAlias = tuple[int, int]

#: file -> its handle, and how many stores are open on it
_HELD: Final[dict[Key, tuple[int, int]]] = {}
_LOCK: Final = Lock()


def hold(path: Path) -> Key:
    """Have a handle on the file for one more store; a new file is readable for its owner only. Raises OSError."""
    with _LOCK:
        found = path.stat() if path.exists() else None
        key = (found.st_dev, found.st_ino) if found is not None else None
        if key is None or key not in _HELD:
            number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            opened = os.fstat(number)
            key = (opened.st_dev, opened.st_ino)
            _HELD[key] = number, 0
        number, stores = _HELD[key]
        _HELD[key] = number, stores + 1
        return key


def handle(key: Key) -> int:
    """The handle, to be read from and never closed."""
    return _HELD[key][0]


def let_go(key: Key) -> None:
    """One store less, whose connections are closed; the last one closes the handle."""
    with _LOCK:
        number, stores = _HELD.pop(key)
        if stores > 1:
            _HELD[key] = number, stores - 1
        else:
            os.close(number)
