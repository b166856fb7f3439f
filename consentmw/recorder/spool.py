"""A folder of batches that wait for a store that can't take them now: durable, bounded, shared by processes.

A batch is on the disk when :meth:`Spool.add` returns. Each process writes segments of its own and
holds a lock on the one it writes; whoever finds a segment that nobody holds, because its process
ended or was killed, delivers it. A batch may be delivered twice, never less than once: its reader
has to know a batch again by what is in it.

Refuses to know what a batch says.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final
from zlib import crc32

from ..errors import SpoolFull
from ..events.ids import uuid7
from ..settings import Settings

__all__ = ["Spool", "open_spool"]

logger = logging.getLogger("consentmw.spool")

#: length and CRC-32 of what follows
_HEAD: Final = struct.Struct(">II")
_SUFFIX: Final = ".spool"
#: bytes from which on a segment is closed and can be delivered and deleted
_SEGMENT: Final = 4 * 1024 * 1024
#: bytes of the longest batch; a longer one in a file was not written by us
_LONGEST: Final = 64 * 1024 * 1024


class Spool:
    """Batches in a folder. Threads may share one object, processes one folder; a fork begins a segment of its own."""

    def __init__(self, folder: Path, *, limit: int, clock: Callable[[], float] = time.time) -> None:
        """``limit``: bytes that the folder may hold, of all processes together; ``clock``: seconds since 1970."""
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._lock = Lock()
        #: of the segment that this process writes
        self._descriptor: int | None = None
        #: segments of this process that were not delivered
        self._own: set[Path] = set()
        #: by which the last one is named, milliseconds since 1970
        self._named = 0

    def forget(self) -> None:
        """After a fork, in the child: let go of the parent's segment, or its lock would outlive the parent here."""
        self._lock = Lock()
        self._own = set()
        self._close()

    @property
    def pending(self) -> bool:
        """Whether something that this process added was not delivered."""
        # Somebody else may have done it for us.
        self._own = {path for path in self._own if path.exists()}
        return bool(self._own)

    def add(self, batch: bytes) -> None:
        """Keep a batch, durably. Raises SpoolFull, and OSError when the disk does not take it: then nothing is kept."""
        with self._lock:
            if self.size() + len(batch) + _HEAD.size > self._limit:
                raise SpoolFull(f"the spool holds its {self._limit} bytes")
            descriptor = self._descriptor if self._descriptor is not None else self._begin()
            end = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write(descriptor, _HEAD.pack(len(batch), crc32(batch)) + batch)
                os.fsync(descriptor)
            except OSError:
                # What was half written would hide what comes behind it.
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                self._close()
                raise
            if end + len(batch) >= _SEGMENT:
                self._close()

    def deliver(self, take: Callable[[bytes], None]) -> bool:
        """Give every batch that nobody is writing to ``take``, oldest segment first; whether some were left.

        A segment is deleted when all of it was taken. What ``take`` raises ends the delivery and is raised.
        """
        with self._lock:
            self._close()
        left = False
        for path in self._segments():
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue  # somebody else delivered it meanwhile
            with file:
                if not _held(file):
                    left = True
                elif path.exists():
                    for batch in _batches(file, path.name):
                        take(batch)
                    path.unlink()
        return left

    def size(self) -> int:
        """Bytes in the folder."""
        total = 0
        for path in self._segments():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def close(self) -> None:
        """Let go of the segment being written; what is in it waits for the next delivery."""
        with self._lock:
            self._close()

    def _begin(self) -> int:
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Names are the order of delivery: two of one millisecond, or of a clock that was set back, would have none.
        self._named = max(int(self._clock() * 1000), self._named + 1)
        path = self._folder / f"{uuid7((self._named + 0.5) / 1000)}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Its name has to be as durable as its content.
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._descriptor = descriptor
        self._own.add(path)
        return descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _segments(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        except (FileNotFoundError, NotADirectoryError):
            return []


def open_spool(settings: Settings) -> Spool | None:
    """The spool that settings name, or None for a site whose rows are gone with its process anyway."""
    sqlite = settings.store.removeprefix("sqlite:///")
    if not settings.spool_megabytes or settings.store == "memory:":
        return None
    beside = Path(f"{sqlite}.spool") if sqlite != settings.store else Path("consentmw.spool")
    return Spool(settings.spool or beside, limit=settings.spool_megabytes * 1024 * 1024)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _held(file: BinaryIO) -> bool:
    """Whether this segment is ours to deliver: nobody writes it, and nobody else delivers it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _batches(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The whole batches of a segment, up to the first that is not: there the writer was killed."""
    while head := file.read(_HEAD.size):
        if len(head) == _HEAD.size:
            length, check = _HEAD.unpack(head)
            batch = file.read(length) if length <= _LONGEST else b""
            if len(batch) == length and crc32(batch) == check:
                yield batch
                continue
        logger.warning("%s ends in the middle of a batch, which its process did not finish writing", name)
        return
