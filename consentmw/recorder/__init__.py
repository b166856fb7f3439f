"""A bounded queue between requests and the store: a response never waits for a disk.

``put`` appends to a list; one daemon thread writes batches. Rows that are not yet written when the
power fails or the process is killed are lost: those of the last ``interval`` seconds and of the
batch being written, never more than ``capacity``. What the store does not take waits in a spool on
the disk, or, where there is none, in the queue. An orderly end (:meth:`Recorder.close`, or the end
of the interpreter) writes all of them. What is dropped is counted, by reason.

Refuses to know what a row may hold: it comes minimised.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event as Signal
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from ..errors import RecordError
from ..events import Count, Event, uuid7
from .backlog import Backlog
from .batches import Batch, Row, undivided
from .marking import Marking
from .processes import remember

if TYPE_CHECKING:
    from ..stores import EventStore
    from .spool import Spool

__all__ = ["Recorder"]

logger = logging.getLogger("consentmw.recorder")

#: seconds between two attempts at a store that fails, at most; and between two complaints about it
_LONGEST_PAUSE: Final = 30.0
_QUIET: Final = 60.0
#: seconds between two searches for expired rows; rows deleted at once, so that writing goes on in between
_PURGE_EVERY: Final = 86_400.0
_PURGE_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Erase:
    receipt: str


@dataclass(frozen=True, slots=True)
class _Mark:
    reached: Signal = field(default_factory=Signal)


_Item: TypeAlias = Row | _Erase | _Mark


class Recorder:
    """Takes counters and rows from requests and writes them behind their backs."""

    def __init__(
        self,
        open: Callable[[], EventStore],  # noqa: A002
        *,
        capacity: int = 10_000,
        batch: int = 1_000,
        interval: float = 0.5,
        clock: Callable[[], float] = time.time,
        spool: Spool | None = None,
        daily: Callable[[], object] | None = None,
    ) -> None:
        """``open`` gives the store, and is called in the process that writes.

        ``capacity``: rows that may wait (each some 1 kB); beyond it new ones are dropped. ``batch``: rows a
        transaction. ``interval``: seconds between two writes; ``clock``: seconds since 1970. ``spool``: where rows wait
        while the store does not take them; without one they wait in memory. ``daily``: what else the writer's thread
        does once a day; again within the hour when it fails.
        """
        self._open = open
        self._capacity, self._batch, self._interval, self._clock = capacity, batch, interval, clock
        self._daily = daily
        #: rows lost, by reason: queue full, closed, store failed at shutdown, unencodable, withdrawn, no thread
        self.dropped: dict[str, int] = {}
        self._backlog = Backlog(
            lambda: self.store, spool, self._drop, self._complain, lambda: len(self._queue) * 2 > capacity, interval
        )
        self._reset()
        remember(self)

    def _reset(self) -> None:
        """Everything that belongs to one process; a fork begins anew, its parent writes what was queued."""
        self._queue: list[_Item] = []
        self._room = self._capacity
        #: a batch that failed, with the number of its items, which are still the first in the queue
        self._unsure: tuple[Batch, int] | None = None
        self._erasing: set[str] = set()
        self._ended: bool | None = None
        self._writer: Thread | None = None
        self._store: EventStore | None = None
        self._starting, self._opening, self._tally, self._closing = Lock(), Lock(), Lock(), Lock()
        self._wake, self._stop = Signal(), Signal()
        self._deadline = 0.0
        self._purge_at = 0.0
        self._marking = Marking(self._backlog.ask, self._clock, self._complain)
        self._complained_at, self._failures_unsaid = -_QUIET, 0
        self._full_said_at, self._full_said = -_QUIET, self.dropped.get("queue full", 0)

    def begin_anew(self) -> object:
        """In a child, after a fork: leave queue, thread and store to the parent; the store must not be closed here."""
        store = self._store
        self._reset()
        self._backlog.forget()
        return store

    # -- on the request path -------------------------------------------------------------------

    def put(self, count: Count, event: Event | None = None, *more: Row) -> bool:
        """Queue a counter and a row. Never waits and never raises; False when they were dropped and counted.

        ``more``: what was told under the same id, and is written in one batch with it.
        """
        queue = self._queue
        if (waiting := len(queue)) >= self._room:
            self._drop("queue full" if self._room else "closed", 1 + len(more))
            return False
        # Appending and extending are atomic, and only the writer removes, from the front: no lock is needed.
        if more:
            queue.extend([(count, event), *more])
        else:
            queue.append((count, event))
        if self._writer is None and not self._start():
            return False
        if waiting >= self._batch and not self._wake.is_set():
            self._wake.set()
        return True

    def remove(self, receipt: str) -> bool:
        """Erase what was recorded under a receipt, queued or written; counters stay. False when too many wait.

        Takes its turn behind everything put before it. Events of the receipt that come later are dropped.
        """
        if not receipt or receipt in self._erasing:
            return True
        if not self._room or len(self._erasing) >= self._capacity:
            self._drop("withdrawal refused")
            return False
        self._erasing.add(receipt)
        self._queue.append(_Erase(receipt))
        return self._writer is not None or self._start()

    # -- around it -----------------------------------------------------------------------------

    @property
    def store(self) -> EventStore:
        """The store, opened if need be, for reading. Raises StoreError."""
        with self._opening:
            if self._store is None:
                self._store = self._open()
            return self._store

    @property
    def waiting(self) -> int:
        """Rows in the queue."""
        return len(self._queue)

    @property
    def behind(self) -> bool:
        """Whether rows wait in the spool because the store did not take them."""
        return self._backlog.behind

    @property
    def spooled(self) -> int:
        """Bytes that wait in the spool, of all processes of this machine."""
        return self._backlog.spooled

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything put before is in the store; False when that took over ``timeout`` seconds."""
        if self._ended is not None or not self._queue:
            # A batch leaves the queue only when it is written.
            return not self._queue
        mark = _Mark()
        self._queue.append(mark)
        if self._writer is None and not self._start():
            return False
        self._wake.set()
        return mark.reached.wait(timeout)

    def settle(self, timeout: float = 5.0) -> bool:
        """As :meth:`flush`, and until nothing waits in the spool either, of any process of this machine."""
        return self.flush(timeout) and self._backlog.settle(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what is queued, then close the store; False when rows were lost after ``timeout`` seconds.

        May be called again; the answer stays the same.
        """
        with self._closing:
            if self._ended is None:
                self._ended = self._end(timeout)
            return self._ended

    def _end(self, timeout: float) -> bool:
        self._room = 0
        writer = self._writer
        self._deadline = time.monotonic() + timeout
        self._stop.set()
        self._wake.set()
        if writer is not None:
            writer.join(timeout)
        left = [item for item in self._queue if not isinstance(item, _Mark)]
        self._drop("store failed at shutdown", sum(not isinstance(item, _Erase) for item in left))
        if left:
            logger.error("%d queued rows or withdrawals were not written before the end", len(left))
        self._backlog.close(max(0.0, self._deadline - time.monotonic()))
        if writer is None or not writer.is_alive():
            self._queue.clear()
            self._close_store()
        return not left

    def _close_store(self) -> None:
        with self._opening:
            if self._store is not None:
                try:
                    self._store.close()
                except Exception:
                    logger.exception("the event store could not be closed")

    def _drop(self, reason: str, number: int = 1) -> None:
        if number:
            with self._tally:
                self.dropped[reason] = self.dropped.get(reason, 0) + number

    # -- the writer's thread -------------------------------------------------------------------

    def _start(self) -> bool:
        # At the first row, not before: servers that fork their workers do so after the application was made.
        with self._starting:
            if self._writer is None:
                writer = Thread(target=self._run, name="consentmw-recorder", daemon=True)
                try:
                    writer.start()
                except RuntimeError:
                    self._drop("no thread", len(self._queue))
                    self._queue.clear()
                    self._erasing.clear()
                    return False
                self._writer = writer
            return True

    def _run(self) -> None:
        failures = 0
        self._backlog.start()
        while True:
            self._pause(failures)
            try:
                self._drain()
                failures = 0
            except Exception as error:
                # Whatever it is: a writer that ended here would stop recording without anyone noticing.
                failures += 1
                self._complain(error)
            if self._stop.is_set() and (not self._queue or time.monotonic() >= self._deadline):
                return

    def _pause(self, failures: int) -> None:
        if not failures and not self._stop.is_set():
            self._wake.wait(self._interval)
            self._wake.clear()
        elif failures and self._stop.is_set():
            time.sleep(0.05)
        elif failures:
            # Not woken by a full queue: hurry is what a failing store needs least.
            self._stop.wait(min(_LONGEST_PAUSE, self._interval * 2 ** min(failures, 16)))

    def _drain(self) -> None:
        # What comes while we write waits for the next round: a few large transactions cost less than many small ones.
        goal = len(self._queue)
        while goal > 0:
            items = self._queue[: undivided(self._queue, min(self._batch, goal))]
            done = self._apply(items)
            # Only now: what is not written stays in the queue, and in its bound.
            del self._queue[:done]
            goal -= done
        self._warn()
        # A store that takes no rows is not asked for more: it might take many seconds to say no.
        if not self._backlog.behind:
            self._marking.close_days()
            self._purge()

    def _apply(self, items: Sequence[_Item]) -> int:
        """Do what is first in the queue; how many items that was."""
        first = items[0]
        if isinstance(first, _Mark):
            first.reached.set()
            return 1
        if isinstance(first, _Erase):
            self._backlog.keep(Batch(uuid7(self._clock()), erase=first.receipt))
            self._erasing.discard(first.receipt)
            return 1
        if self._unsure is not None:
            # The store may have it: under the same id it counts once.
            batch, done = self._unsure
            self._backlog.keep(batch)
            self._unsure = None
            return done
        rows: list[Row] = []
        for item in items:
            if not isinstance(item, tuple):
                break
            rows.append(item)
        done = len(rows)
        if self._erasing:
            away = self._erasing
            kept = [(count, None if event and event.context.receipt in away else event) for count, event in rows]
            self._drop("withdrawn", sum(old is not new for (_, old), (_, new) in zip(rows, kept, strict=True)))
            rows = kept
        batch = Batch(uuid7(self._clock()), rows, marks=self._marking.marks(rows, asks=not self._backlog.behind))
        self._unsure = batch, done
        self._backlog.keep(batch)
        self._unsure = None
        return done

    def _purge(self) -> None:
        now = self._clock()
        if now < self._purge_at:
            return
        # Set first: should it fail, the next attempt is in an hour and not at every batch.
        self._purge_at = now + 3600
        more = self.store.purge(int(now), _PURGE_ROWS) >= _PURGE_ROWS
        if self._daily is not None and not more:
            self._daily()
        self._purge_at = now if more else now + _PURGE_EVERY

    def _warn(self) -> None:
        """Say that more came than could be written; here, since put() must not wait for a log."""
        full, now = self.dropped.get("queue full", 0), time.monotonic()
        if full > self._full_said and now - self._full_said_at >= _QUIET:
            logger.warning("%d rows were dropped because the queue was full", full - self._full_said)
            self._full_said, self._full_said_at = full, now

    def _complain(self, error: Exception) -> None:
        self._failures_unsaid += 1
        now = time.monotonic()
        if now - self._complained_at >= _QUIET:
            text = "recording failed (%d times since the last message); %d rows wait, dropped so far: %s: %s"
            said = self._failures_unsaid, len(self._queue), self.dropped, error
            # A known failure needs no traceback; anything else is a mistake in a program.
            logger.error(text, *said, exc_info=not isinstance(error, RecordError))
            self._complained_at, self._failures_unsaid = now, 0
