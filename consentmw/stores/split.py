"""One event store out of two: counters and marks of erased receipts in a SQL store, rows in another.

The two can't be written in one transaction. What holds all the same: a batch that comes again counts
once on both sides, and a row whose receipt was erased is not there to be read, in whatever order things
happen. Refuses to know how either side keeps what it gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from time import time
from typing import Any, Final, Protocol

from ..events import Count, Event, uuid7
from ..events.rollups import Rollup, bounded
from ..events.uniques import Mark
from . import NOTHING, EventStore, Held, HeldTier, Told

__all__ = ["Counters", "Rows", "SplitStore"]

#: seconds for which erased receipts are looked for among rows once more: no batch waits longer on its way
_UNDER_WAY: Final = 8 * 86_400


class Counters(EventStore, Protocol):
    """A whole event store that can say more about the receipts that were erased."""

    def which_erased(self, receipts: Collection[str]) -> set[str]:
        """Those of these receipts that were erased."""

    def noted(self, ids: Collection[str]) -> set[str]:
        """Those of these batches, and of what was told, that were written."""

    def marks(self, since: float) -> list[str]:
        """The marks of the receipts that were erased since then (seconds since 1970)."""


class Rows(Protocol):
    """Where rows are kept: a row is known again by its batch and the number in it."""

    def block(self, rows: Sequence[tuple[int, Event]], batch: str) -> Any:
        """Rows with their number in the batch, ready to be inserted. Raises ValueError for what never fits."""

    def insert(self, block: Any) -> None:
        """Insert what :meth:`block` gave, durably; rows that are there count once. Raises StoreError, and no other."""

    def erase(self, receipt: str) -> int:
        """Delete the rows of a receipt; the number of rows."""

    def sweep(self, marks: Collection[str], since: float) -> int:
        """Delete the rows of receipts with these marks, from a time on; the number of rows."""

    def purge(self, now: int) -> int:
        """Delete the rows whose time is over; the number of rows."""

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """Rows, newest first."""

    def rollups(self, dimension: str, since: int, until: int) -> dict[Rollup, int]:
        """What the rows of these hours say, those values first that are frequent."""

    def held(self) -> dict[str, HeldTier]:
        """How many rows a tier has, and since when."""

    def each(self, receipt: str) -> Iterator[dict[str, Any]]:
        """Every row of a receipt, without holding all of them."""

    def close(self) -> None:
        """Let go of connections."""


class SplitStore:
    """EventStore. Rows that the SQL store has from before are found and erased with all others."""

    def __init__(self, counters: Counters, rows: Rows) -> None:
        """Counters and marks go to the one, rows to the other."""
        self._counters = counters
        self._rows = rows

    def write(
        self,
        counts: Mapping[Count, int],
        events: Sequence[Event],
        batch: str = "",
        told: Told = NOTHING,
        marks: Sequence[Mark] = (),
    ) -> None:
        """As every event store; with StoreError the counters may be there, and the same batch brings the rows."""
        batch = batch or uuid7(time())
        # All that can't be stored is refused here, before anything is written.
        self._blocks(events, batch, told, set())
        given = [*events, *(row for pairs in told.values() for _, row in pairs if row is not None)]
        receipts = {event.context.receipt for event in given} - {""}
        gone = self._counters.which_erased(receipts)
        if told and batch not in (noted := self._counters.noted([batch, *told])):
            # What was told before came with another batch; a batch that comes again brings all of its own.
            told = {key: pairs for key, pairs in told.items() if key not in noted}
        kept = {
            key: [(count, None) for count, row in pairs if row is None or row.context.receipt not in gone]
            for key, pairs in told.items()
        }
        self._counters.write(counts, [], batch, kept, marks)
        blocks = self._blocks(events, batch, told, gone)
        for block in blocks:
            self._rows.insert(block)
        # Whoever erased meanwhile may have deleted before our rows came; who erases from now on deletes them.
        for receipt in self._counters.which_erased(receipts - gone) if blocks else ():
            self._rows.erase(receipt)

    def _blocks(self, events: Sequence[Event], batch: str, told: Told, gone: Collection[str]) -> list[Any]:
        """What to insert: the rows of the batch, and under an id of its own whatever was told at once."""
        own = {
            batch: list(events),
            **{key: [row for _, row in pairs if row is not None] for key, pairs in told.items()},
        }
        blocks = []
        for key, rows in own.items():
            kept = [(number, row) for number, row in enumerate(rows) if row.context.receipt not in gone]
            if kept and (block := self._rows.block(kept, key)):
                blocks.append(block)
        return blocks

    def erase(self, receipt: str) -> int:
        """As every event store: first the mark, which keeps back what is under way."""
        gone = self._counters.erase(receipt)
        return gone + self._rows.erase(receipt) if receipt and "\0" not in receipt else gone

    def erased(self, receipt: str) -> bool:
        """As every event store."""
        return self._counters.erased(receipt)

    def purge(self, now: int, limit: int = 10_000) -> int:
        """As every event store; ``limit`` is the SQL store's, since deleting rows of the other holds nobody up.

        Also what a process left behind that was killed between inserting rows and looking for their erasure, or
        between the mark of an erasure and its end.
        """
        gone = self._counters.purge(now, limit)
        since = time() - _UNDER_WAY
        self._rows.sweep(self._counters.marks(since), since - _UNDER_WAY)
        return gone + self._rows.purge(now)

    def counts(self, limit: int = 1_000, since: int = 0) -> list[dict[str, Any]]:
        """As every event store."""
        return self._counters.counts(limit, since)

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """As every event store."""
        if receipt is not None and (not receipt or "\0" in receipt):
            return []
        found = self._rows.events(receipt, limit)
        return found + self._counters.events(receipt, limit - len(found)) if len(found) < limit else found

    def each(self, receipt: str) -> Iterator[dict[str, Any]]:
        """As every event store, but in the order in which rows came."""
        if receipt and "\0" not in receipt:
            yield from self._rows.each(receipt)
            yield from self._counters.each(receipt)

    def salt(self, day: int) -> str:
        """As every event store."""
        return self._counters.salt(day)

    def close_days(self, now: int) -> int:
        """As every event store."""
        return self._counters.close_days(now)

    def rollups(self, dimension: str, since: int, until: int) -> list[dict[str, Any]]:
        """As every event store, but counted when they are asked for: they are no older than rows are kept."""
        added, _ = bounded(self._rows.rollups(dimension, since, until), {})
        found = Counter({(key.hour, key.value, key.tier): n for key, n in added.items()})
        for row in self._counters.rollups(dimension, since, until):
            found[row["hour"], row["value"], row["tier"]] += row["count"]
        return [
            {"hour": hour, "value": value, "tier": tier, "count": number}
            for (hour, value, tier), number in sorted(found.items())
        ]

    def uniques(self, since: int, until: int) -> list[dict[str, Any]]:
        """As every event store."""
        return self._counters.uniques(since, until)

    def held(self) -> Held:
        """As every event store."""
        held, tiers = self._counters.held(), self._rows.held()
        for tier, one in held.tiers.items():
            rows, oldest, first = tiers.get(tier, one._replace(rows=0))
            tiers[tier] = HeldTier(one.rows + rows, min(one.oldest, oldest), min(one.next_expiry, first))
        return held._replace(tiers=tiers)

    def close(self) -> None:
        """As every event store."""
        self._counters.close()
        self._rows.close()
