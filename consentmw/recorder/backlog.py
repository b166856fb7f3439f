"""The way of a batch to its store; and what the store could not take, in a spool until it is back.

While something waits, everything new waits behind it, so that a withdrawal never overtakes the rows
it is about. One thread tries, with longer pauses each time; the writer waits for a store that says nothing
no longer than the queue has room. Refuses to know requests, and what a row may hold.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Event as Signal
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..errors import SpoolFull, StoreError
from ..events import prepare
from .batches import Batch
from .spool import Spool

if TYPE_CHECKING:
    from ..stores import EventStore

__all__ = ["Backlog"]

_T = TypeVar("_T")

logger = logging.getLogger("consentmw.recorder")

#: seconds between two attempts at most
_LONGEST_PAUSE: Final = 30.0
#: seconds that the writer waits for one batch, and between two looks at the queue meanwhile. A driver may wait far
#: longer for a server that hangs, and the end of a site does not: it waits for five
_PATIENCE: Final = 3.0
_LOOK: Final = 0.05
#: how many times as long as its own computing the delivery rests: the interpreter serves it or a request, never both
_REST: Final = 3.0
#: what a store raises for a row that it will never take; everything else may pass with time
_NEVER: Final = (ValueError, TypeError, LookupError, ArithmeticError)


class Backlog:
    """Brings batches to one store."""

    def __init__(
        self,
        store: Callable[[], EventStore],
        spool: Spool | None,
        dropped: Callable[[str, int], None],
        complain: Callable[[Exception], None],
        filling: Callable[[], bool],
        interval: float,
    ) -> None:
        """``store`` gives the store or raises; ``dropped`` counts by reason; ``complain`` tells whoever runs the site.

        ``spool``: None when there is none; ``filling``: whether the queue needs its writer back; ``interval``: seconds
        until the first attempt to deliver what is in the spool.
        """
        self._store = store
        self._spool = spool
        self._dropped = dropped
        self._complain = complain
        self._filling = filling
        self._interval = interval
        self._lock, self._turn = Lock(), Lock()
        self._stop = Signal()
        self._thread: Thread | None = None
        #: who waits for the store in the writer's place; None while there is none, or none that came back
        self._asker: _Asker | None = None
        #: whether batches wait, so that new ones have to wait behind them
        self.behind = False

    @property
    def spooled(self) -> int:
        """Bytes that wait."""
        return self._spool.size() if self._spool is not None else 0

    def start(self) -> None:
        """Deliver what an earlier process left, if it left anything."""
        try:
            if self._spool is not None and self._spool.size():
                with self._lock:
                    self._deliver_later(self._spool)
        except OSError as error:
            self._complain(error)

    def settle(self, timeout: float) -> bool:
        """Wait until nothing waits, whoever left it; False when it took over ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while self.spooled:
            self.start()
            if time.monotonic() >= end:
                return False
            time.sleep(min(0.05, self._interval))
        return True

    def keep(self, batch: Batch) -> None:
        """Bring a batch to the store, or to where it waits for it. Raises whatever kept it from both."""
        prepare({event.context for event in batch.events})
        if self._spool is None:
            self._write(batch)
            return
        if not self.behind:
            try:
                self._in_time(lambda: self._write_in_turn(batch))
                return
            except Exception as error:
                # Whatever it is: the batch is safe before anybody looks into it.
                self._complain(error)
        with self._lock:
            try:
                self._spool.add(batch.encode())
            except SpoolFull:
                self._dropped("spool full", max(1, len(batch.rows)))
            self._deliver_later(self._spool)

    def forget(self) -> None:
        """After a fork, in the child: nothing of the parent's is ours to deliver."""
        if self._spool is not None:
            self._spool.forget()
        self._lock, self._turn, self._stop = Lock(), Lock(), Signal()
        self._thread, self._asker, self.behind = None, None, False

    def close(self, timeout: float) -> None:
        """End the thread; what waits is delivered by the next process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._asker is not None:
            self._asker.attempts.put(None)
        if self._spool is not None:
            self._spool.close()

    def ask(self, question: Callable[[EventStore], _T]) -> _T:
        """What the store answers. Raises what it raises, and StoreError when it takes long: it may yet do it.

        Without a spool rows wait in the queue, and everybody waits for the store.
        """
        if self._spool is None:
            return question(self._store())
        return self._in_time(lambda: question(self._store()))

    def _in_time(self, do: Callable[[], _T]) -> _T:
        asker = self._asker
        if asker is None:
            asker = _Asker()
            try:
                asker.start()
            except RuntimeError:
                # At the end of the interpreter none can start.
                return do()
        attempt = _Attempt(do)
        asker.attempts.put(attempt)
        self._asker = None
        end = time.monotonic() + _PATIENCE
        while not attempt.over.wait(_LOOK):
            if self._filling() or time.monotonic() >= end:
                # Whenever it comes back, nobody waits for it any more.
                asker.attempts.put(None)
                raise StoreError("the store takes long to answer, and what comes waits in the spool")
        self._asker = asker
        if attempt.error is not None:
            raise attempt.error
        return attempt.answers[0]

    def _write_in_turn(self, batch: Batch) -> None:
        # One after the other: the batch that nobody waited for may still be on its way.
        with self._turn:
            self._write(batch)

    def _write(self, batch: Batch) -> None:
        """Write a batch; what of it can never be stored is dropped and counted. Raises StoreError, and all else."""
        store = self._store()
        try:
            if batch.erase:
                store.erase(batch.erase)
            else:
                store.write(batch.counts, batch.events, batch.id, batch.told, batch.marks)
        except _NEVER as error:
            if len(batch.rows) > 1:
                # Half of it, until the row that can't be stored stands alone.
                for half in batch.halves():
                    self._write(half)
                return
            self._dropped("unencodable", 1)
            self._complain(error)

    # -- delivery ------------------------------------------------------------------------------

    def _deliver_later(self, spool: Spool) -> None:
        self.behind = True
        if self._thread is None and not self._stop.is_set():
            thread = Thread(target=self._run, args=(spool,), name="consentmw-backlog", daemon=True)
            # At the end of the interpreter none can start: then the next process delivers.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self, spool: Spool) -> None:
        pause = self._interval
        while not self._stop.wait(pause):
            try:
                spool.deliver(self._take)
                pause = self._interval
            except Exception as error:
                # Also what an earlier process left is tried again, and not given up here.
                pause = min(_LONGEST_PAUSE, pause * 2)
                if not isinstance(error, _StoppedError):
                    self._complain(error)
                continue
            with self._lock:
                if not spool.pending:
                    self.behind, self._thread = False, None
                    return

    def _take(self, content: bytes) -> None:
        if self._stop.is_set():
            raise _StoppedError
        begun = time.thread_time()
        try:
            batch = Batch.decode(content)
        except StoreError as error:
            self._dropped("unreadable", 1)
            self._complain(error)
            return
        self._write_in_turn(batch)
        self._stop.wait((time.thread_time() - begun) * _REST)


class _Attempt(Generic[_T]):
    """A call of the store, which may not come back from there."""

    def __init__(self, do: Callable[[], _T]) -> None:
        self._do = do
        self.over = Signal()
        self.answers: list[_T] = []
        self.error: Exception | None = None

    def make(self) -> None:
        """Call it."""
        try:
            self.answers.append(self._do())
        except Exception as error:
            self.error = error
        finally:
            self.over.set()


class _Asker(Thread):
    """Makes one attempt after the other, until there is None."""

    def __init__(self) -> None:
        super().__init__(name="consentmw-asking", daemon=True)
        self.attempts: SimpleQueue[_Attempt[Any] | None] = SimpleQueue()

    def run(self) -> None:
        while (attempt := self.attempts.get()) is not None:
            attempt.make()
            # Not held on to while it waits for the next: a batch may be large.
            del attempt


class _StoppedError(Exception):
    """The process ends: the rest is for the next one."""
