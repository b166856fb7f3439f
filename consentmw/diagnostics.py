"""A log for finding faults: each request with its full address, for some days, apart from everything else.

It is for attacks and errors, not for measuring, so it holds nothing that leads to a visitor's rows or
choices: no receipt, no session, no cookie, no query and no referrer. The time is that of the minute, and
the lines of one writing are sorted, so that not even their order tells which row came with which address.

Refuses to know decisions, and to keep a line longer than it was told.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event as Signal
from threading import Lock, Thread
from typing import Final

__all__ = ["DiagnosticLog", "open_diagnostics"]

logger = logging.getLogger("consentmw.diagnostics")

#: lines that may wait; each some 500 bytes at the very most
_CAPACITY: Final = 10_000
#: seconds between two writings, between two searches for files that are too old, and between two complaints
_INTERVAL: Final = 2.0
_SWEEP: Final = 600.0
_QUIET: Final = 60.0
_MINUTE: Final = 60
_LONGEST: Final = 300

_Line = tuple[float, str, str, str, int, str]


class DiagnosticLog:
    """Notes requests and writes them behind their backs, one file a day; several processes may share the files."""

    def __init__(
        self, path: Path, days: int, *, interval: float = _INTERVAL, clock: Callable[[], float] = time.time
    ) -> None:
        """``path``: the files are called that, with a dot and the date behind it, in UTC; ``days``: until they go.

        ``interval``: seconds between two writings; ``clock``: seconds since 1970.
        """
        self._path, self._days, self._interval, self._clock = path, days, interval, clock
        self._dated: Final = re.compile(re.escape(path.name) + r"\.([0-9]{4}-[0-9]{2}-[0-9]{2})")
        #: lines that were lost: too many at once, or a disk that takes none
        self.dropped = 0
        self._begin()
        self._sweep()

    def _begin(self) -> None:
        """Everything that belongs to one process: a fork has no thread, and its parent writes what was noted."""
        self._process = os.getpid()
        self._lines: list[_Line] = []
        self._thread: Thread | None = None
        self._starting, self._writing = Lock(), Lock()
        self._stop = Signal()
        self._swept_at = self._clock()
        self._broken = False
        self._said_at, self._said = -_QUIET, self.dropped

    def _renew(self) -> None:
        if self._process != os.getpid():
            self._begin()

    # -- on the request path -------------------------------------------------------------------

    def note(self, at: float, address: str, method: str, route: str, status: int, agent: str) -> None:
        """Queue one request. Never waits and never raises; a line too many is counted."""
        self._renew()
        if len(self._lines) >= _CAPACITY or self._stop.is_set():
            self.dropped += 1
            return
        self._lines.append((at, address, method, route, status, agent))
        if self._thread is None:
            self._start()

    # -- around it -----------------------------------------------------------------------------

    def close(self) -> None:
        """Write what waits, and end."""
        self._renew()
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self._write()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = Thread(target=self._run, name="consentmw-diagnostics", daemon=True)
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    # -- the writer's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._write()
                if not 0 <= self._clock() - self._swept_at < _SWEEP:
                    self._sweep()
            except Exception:
                logger.exception("the diagnostic log could not be written")

    def _write(self) -> None:
        with self._writing:
            number = len(self._lines)
            lines, self._lines[:number] = self._lines[:number], []
            days: dict[str, list[str]] = {}
            for line in lines:
                minute = datetime.fromtimestamp(line[0] // _MINUTE * _MINUTE, UTC)
                # A line goes into the file of its own day, however late it is written.
                days.setdefault(minute.date().isoformat(), []).append(_worded(minute, line))
            for day, texts in days.items():
                self._append(day, sorted(texts))
        self._complain()

    def _append(self, day: str, texts: list[str]) -> None:
        # What a full disk cut off is ended first, so that it spoils no other line.
        content = b"\n" * self._broken + "".join(texts).encode("ascii")
        written = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(f"{self._path}.{day}", flags, 0o600)
            try:
                written = os.write(descriptor, content)
                self._broken = written < len(content)
            finally:
                os.close(descriptor)
        except OSError as error:
            logger.debug("the diagnostic log takes nothing: %s", error)
        self.dropped += content[written:].count(b"\n")

    def _sweep(self) -> None:
        """Delete the files whose days are over."""
        self._swept_at = now = self._clock()
        today = datetime.fromtimestamp(now, UTC).date()
        try:
            for file in self._path.parent.iterdir():
                match = self._dated.fullmatch(file.name)
                if match is not None and _age(match[1], today) >= self._days:
                    file.unlink(missing_ok=True)
        except OSError as error:
            logger.error("old diagnostic logs could not be deleted: %s", error)

    def _complain(self) -> None:
        now = time.monotonic()
        if self.dropped > self._said and now - self._said_at >= _QUIET:
            logger.warning("%d lines of the diagnostic log were lost", self.dropped - self._said)
            self._said, self._said_at = self.dropped, now


def open_diagnostics(path: Path | None, days: int) -> DiagnosticLog | None:
    """The log that settings name, or None."""
    return DiagnosticLog(path, days) if path is not None else None


def _worded(minute: datetime, line: _Line) -> str:
    _, address, method, route, status, agent = line
    said = {
        "minute": minute.strftime("%Y-%m-%dT%H:%MZ"),
        "address": address,
        "method": method[:10],
        "route": route[:_LONGEST],
        "status": status,
        "agent": agent[:_LONGEST],
    }
    # JSON in ASCII: no line break, no control character and no quote of a visitor's gets out of its place.
    return json.dumps(said) + "\n"


def _age(day: str, today: date) -> int:
    """Days since a day; 0 for what is no date, so that nobody else's file is deleted."""
    try:
        return (today - date.fromisoformat(day)).days
    except ValueError:
        return 0
