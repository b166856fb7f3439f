"""Events that wait to be sent, by the visitor they are about: bounded, and open to second thoughts until they leave.

What a visitor withdraws is taken out wherever it is: waiting, on its way back into the queue, or
taken by the sender and not yet gone. Refuses to know consent, the protocol and the network.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, NamedTuple

__all__ = ["Batch", "Item", "Source", "Waiting"]

#: receipts that are remembered as withdrawn: as many as there can be requests under way, and more
_MOST_WITHDRAWN: Final = 10_000


class Source(NamedTuple):
    """What the events of one request have in common."""

    client: str
    receipt: str
    #: consent signals: granted or denied
    user_data: str
    personalization: str


class Item(NamedTuple):
    """One event."""

    name: str
    body: bytes
    #: when it is too late to send it, seconds since 1970
    until: float


class Batch(NamedTuple):
    """Events that are being sent."""

    source: Source
    items: Sequence[Item]


class Waiting:
    """A queue for many threads that put and one that sends."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = Lock()
        self._sources: OrderedDict[Source, deque[Item]] = OrderedDict()
        self._number = 0
        self._taken: Batch | None = None
        self._recalled = False
        self._withdrawn: dict[str, None] = {}
        self._closed = False

    def __len__(self) -> int:
        return self._number

    def put(self, source: Source, item: Item) -> tuple[str, Sequence[Item]]:
        """Why this was not taken, or "", and what was dropped to make room: the oldest."""
        with self._lock:
            if self._closed:
                return "closed", ()
            if source.receipt in self._withdrawn:
                return "withdrawn", ()
            self._sources.setdefault(source, deque()).append(item)
            self._number += 1
            return "", self._surplus()

    def _surplus(self) -> Sequence[Item]:
        return [self._first(source) for source in self._oldest(self._number - self._capacity)]

    def _oldest(self, number: int) -> Sequence[Source]:
        """The source that waits longest, as often as items have to go."""
        found: list[Source] = []
        for source, items in self._sources.items():
            if len(found) >= number:
                break
            found += [source] * min(len(items), number - len(found))
        return found

    def _first(self, source: Source) -> Item:
        items = self._sources[source]
        item = items.popleft()
        if not items:
            del self._sources[source]
        self._number -= 1
        return item

    def take(self, now: float, most: int, most_bytes: int) -> tuple[Batch | None, Sequence[Item]]:
        """The next events of the visitor who waits longest, and those for which it is too late; None when none wait."""
        late: list[Item] = []
        with self._lock:
            while self._sources:
                source, queued = next(iter(self._sources.items()))
                items: list[Item] = []
                size = 0
                while queued and len(items) < most and (size := size + len(queued[0].body) + 1) <= most_bytes:
                    item = self._first(source)
                    (items if now < item.until else late).append(item)
                if items:
                    self._taken, self._recalled = Batch(source, items), False
                    return self._taken, late
        return None, late

    def recalled(self) -> bool:
        """Whether what was taken must not leave any more."""
        with self._lock:
            return self._is_recalled()

    def _is_recalled(self) -> bool:
        taken = self._taken
        return taken is None or self._recalled or taken.source.receipt in self._withdrawn

    def done(self) -> bool:
        """Let go of what was taken; False when the end has come first and given it up."""
        with self._lock:
            taken, self._taken = self._taken, None
            return taken is not None

    def put_back(self) -> Sequence[Item] | None:
        """Put what was taken back to the front, since none of it left; what was dropped because too many wait.

        None when it was recalled in the meantime, and stays taken.
        """
        with self._lock:
            taken = self._taken
            if taken is None or self._is_recalled():
                return None
            self._taken = None
            self._sources.setdefault(taken.source, deque()).extendleft(reversed(taken.items))
            self._sources.move_to_end(taken.source, last=False)
            self._number += len(taken.items)
            return self._surplus()

    def withdraw(self, receipt: str) -> Sequence[Item]:
        """Take out what waits under a receipt, and take nothing more under it."""
        with self._lock:
            self._withdrawn[receipt] = None
            if len(self._withdrawn) > _MOST_WITHDRAWN:
                del self._withdrawn[next(iter(self._withdrawn))]
            return self._without(lambda source: source.receipt == receipt)

    def forget(self, client: str) -> Sequence[Item]:
        """Take out what waits for a client."""
        with self._lock:
            return self._without(lambda source: source.client == client)

    def _without(self, which: Callable[[Source], bool]) -> Sequence[Item]:
        if self._taken is not None and which(self._taken.source):
            self._recalled = True
        gone = [item for source in [*self._sources] if which(source) for item in self._sources.pop(source)]
        self._number -= len(gone)
        return gone

    def close(self) -> None:
        """Take nothing more; what waits can still be sent."""
        with self._lock:
            self._closed = True

    def give_up(self) -> tuple[Sequence[Item], Sequence[Item]]:
        """What waits, and what was taken and may be on its way; none of it is sent after this."""
        with self._lock:
            left = self._without(lambda _: True)
            taken, self._taken = self._taken, None
            return left, taken.items if taken is not None else ()
