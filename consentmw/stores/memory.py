"""A store in memory: for tests, for trying things out, and for sites that keep nothing.

Bounded: beyond ``limit`` the oldest rows and counters are forgotten, and the ledger refuses, since a
proof that is forgotten is none. Everything is gone with the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from time import time
from typing import Any

from ..errors import StoreError
from ..events import Context, Count, Event, complete
from ..events.rollups import Rollup, Seen, bounded, corrected, rolled
from ..events.uniques import KEPT, Mark, mark_of, new_salt
from . import NOTHING, Entry, Held, HeldTier, Link, Published, Told
from .rows import BLANKED, CONTEXT_FIELDS, OWN_FIELDS, joined, mark, pack, storable

__all__ = ["MemoryStore"]


class MemoryStore:
    """EventStore and LedgerStore in dictionaries; the same promises as any other store, but durability."""

    #: nothing of it outlives a version
    was = version = 0

    def __init__(self, *, limit: int = 100_000) -> None:
        self._limit = limit
        self._lock = RLock()
        self._counts: dict[Count, int] = {}
        self._events: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._batches: dict[str, None] = {}
        self._erased: dict[str, float] = {}
        self._rollups: dict[Rollup, int] = {}
        self._values: dict[tuple[int, str], set[str]] = {}
        self._salts: dict[int, str] = {}
        self._marks: dict[tuple[int, str, int], None] = {}
        self._uniques: dict[tuple[int, str], int] = {}
        self._ledger: list[Entry] = []
        self._lapsed = ("", 0)
        self._notices: dict[str, Published] = {}

    def write(
        self,
        counts: Mapping[Count, int],
        events: Sequence[Event],
        batch: str = "",
        told: Told = NOTHING,
        marks: Sequence[Mark] = (),
    ) -> None:
        added, given = joined(counts, events, told)
        rows = [tuple(_row(event).values()) for event in given]
        storable([*((*count, number) for count, number in added.items()), *rows, *marks, (batch, *told)])
        with self._lock:
            if batch and batch in self._batches:
                return
            new = {key: self._allowed(pairs) for key, pairs in told.items() if key not in self._batches}
            self._batches.update(dict.fromkeys((batch, *new)))
            added, given = joined(counts, events, new)
            for count, number in added.items():
                self._counts[count] = self._counts.get(count, 0) + number
            seen: list[Seen] = []
            for row in map(_row, given):
                if not row["receipt"] or mark(row["receipt"]) not in self._erased:
                    self._number += 1
                    self._events[self._number] = {"id": self._number, **row}
                    seen.append(_seen(row))
            self._marks.update(
                {
                    one[:3]: None
                    for one in marks
                    if one.day in self._salts and not (one.receipt and mark(one.receipt) in self._erased)
                }
            )
            rolls, values = bounded(rolled(seen), self._values)
            self._values.update(values)
            for key, number in rolls.items():
                self._rollups[key] = self._rollups.get(key, 0) + number
            everything: tuple[dict[Any, Any], ...] = (self._counts, self._events, self._batches)
            for kept in (*everything, self._rollups, self._values, self._marks):
                while len(kept) > self._limit:
                    del kept[next(iter(kept))]

    def _allowed(self, pairs: Sequence[tuple[Count, Event | None]]) -> list[tuple[Count, Event | None]]:
        return [(count, row) for count, row in pairs if row is None or mark(row.context.receipt) not in self._erased]

    def erase(self, receipt: str) -> int:
        with self._lock:
            if receipt:
                self._erased[mark(receipt)] = time()
                if len(self._erased) > self._limit:
                    del self._erased[next(iter(self._erased))]
            own = [row for row in self._events.values() if receipt and row["receipt"] == receipt]
            for key, number in corrected([_seen(row) for row in own], self._rollups).items():
                self._rollups[key] = number
                if not number:
                    del self._rollups[key]
            self._values = {}
            for key in self._rollups:
                self._values.setdefault((key.hour, key.dimension), set()).add(key.value)
            for day, tier, found in list(self._marks) if receipt else ():
                if found == mark_of(self._salts[day], receipt):
                    del self._marks[day, tier, found]
            return self._forget([row["id"] for row in own])

    def erased(self, receipt: str) -> bool:
        with self._lock:
            return mark(receipt) in self._erased

    def which_erased(self, receipts: Collection[str]) -> set[str]:
        """Those of these receipts that were erased."""
        with self._lock:
            return {receipt for receipt in receipts if mark(receipt) in self._erased}

    def noted(self, ids: Collection[str]) -> set[str]:
        """Those of these batches, and of what was told, that were written."""
        with self._lock:
            return {one for one in ids if one in self._batches}

    def marks(self, since: float) -> list[str]:
        """The marks of the receipts that were erased since then (seconds since 1970)."""
        with self._lock:
            return [found for found, at in self._erased.items() if at >= since]

    def purge(self, now: int, limit: int = 10_000) -> int:
        with self._lock:
            return self._forget([row["id"] for row in self._events.values() if row["expires"] <= now][:limit])

    def _forget(self, ids: Sequence[int]) -> int:
        for key in ids:
            del self._events[key]
        return len(ids)

    def salt(self, day: int) -> str:
        with self._lock:
            if any(closed == day for closed, _ in self._uniques):
                return ""
            return self._salts.setdefault(day, new_salt())

    def close_days(self, now: int) -> int:
        with self._lock:
            days = [day for day in self._salts if day <= now - KEPT]
            for day in days:
                del self._salts[day]
                self._uniques[day, "coarse"] = 0
            for day, tier, found in list(self._marks):
                if day in days:
                    self._uniques[day, tier] = self._uniques.get((day, tier), 0) + 1
                    del self._marks[day, tier, found]
            return len(days)

    def counts(self, limit: int = 1_000, since: int = 0) -> list[dict[str, Any]]:
        with self._lock:
            found = sorted((item for item in self._counts.items() if item[0].hour >= since), reverse=True)
        return [{**count._asdict(), "count": number} for count, number in found[:limit]]

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        with self._lock:
            found = [row for row in self._events.values() if receipt is None or (receipt and row["receipt"] == receipt)]
        return [dict(row) for row in found[::-1][:limit]]

    def each(self, receipt: str) -> Iterator[dict[str, Any]]:
        yield from self.events(receipt, self._limit)

    def rollups(self, dimension: str, since: int, until: int) -> list[dict[str, Any]]:
        with self._lock:
            found = sorted(item for item in self._rollups.items() if since <= item[0].hour < until)
        return [
            {"hour": key.hour, "value": key.value, "tier": key.tier, "count": number}
            for key, number in found
            if key.dimension == dimension
        ]

    def uniques(self, since: int, until: int) -> list[dict[str, Any]]:
        with self._lock:
            found = Counter(self._uniques) + Counter((day, tier) for day, tier, _ in self._marks)
        return [
            {"day": day, "tier": tier, "count": number}
            for (day, tier), number in sorted(found.items())
            if since <= day < until
        ]

    def held(self) -> Held:
        tiers: dict[str, HeldTier] = {}
        with self._lock:
            for row in self._events.values():
                rows, oldest, first = tiers.get(row["tier"], (0, row["at"], row["expires"]))
                tiers[row["tier"]] = HeldTier(rows + 1, min(oldest, row["at"]), min(first, row["expires"]))
            return Held(tiers, len(self._salts), len(self._marks), min(self._salts, default=None))

    def append(self, link: Link) -> Entry:
        with self._lock:
            if len(self._ledger) >= self._limit:
                raise StoreError(f"the memory store holds {self._limit} rows of the ledger, and takes no more")
            entry = link(*((last.seq + 1, last.hash) if (last := self._last()) else (1, "")))
            pack(entry)
            self._ledger.append(entry)
            return entry

    def blank(
        self,
        receipts: Collection[str],
        subject: str,
        keep: Collection[str],
        record: Callable[[Sequence[int]], Sequence[Link]],
    ) -> int:
        with self._lock:
            own = self.family(receipts)
            found = [
                place
                for place, row in enumerate(self._ledger)
                if row.event not in keep and (row.receipt in own or (subject and row.subject == subject))
            ]
            if bare := [self._ledger[place].seq for place in found if not self._ledger[place].sealed]:
                raise StoreError(f"rows written before rows could be erased: {', '.join(map(str, bare[:10]))}")
            before = len(self._ledger)
            try:
                for link in record([self._ledger[place].seq for place in found]) if found else ():
                    self.append(link)
            except BaseException:
                del self._ledger[before:]
                raise
            for place in found:
                self._ledger[place] = replace(self._ledger[place], **dict.fromkeys(BLANKED, ""))  # type: ignore[arg-type]
            return len(found)

    def family(self, receipts: Collection[str]) -> set[str]:
        known = {receipt for receipt in receipts if receipt}
        while True:
            with self._lock:
                rows = [row for row in self._ledger if row.receipt in known or row.previous in known]
            grown = known | {receipt for row in rows for receipt in (row.receipt, row.previous) if receipt}
            if grown == known:
                return known
            known = grown

    def lapse(self, now: str, passing: Collection[str], record: Callable[[Entry], Link]) -> int:
        with self._lock:
            rows = [row for row in self._ledger if self._lapsed < (row.valid_until, row.seq) and row.valid_until <= now]
            rows = [row for row in rows if row.valid_until]
            for row in rows:
                self._lapsed = max(self._lapsed, (row.valid_until, row.seq))
            lapsed = [row for row in rows if row.receipt and row.event not in passing and not self._over(row, passing)]
            for row in sorted(lapsed, key=lambda row: (row.valid_until, row.seq)):
                self.append(record(row))
            return len(lapsed)

    def _over(self, row: Entry, passing: Collection[str]) -> bool:
        return any(
            later.previous == row.receipt
            or (
                later.receipt == row.receipt
                and (later.event in ("expired", "revoked") or (later.valid_until and later.event not in passing))
            )
            for later in self._ledger
            if later.seq > row.seq
        )

    def publish(self, notice: Published) -> bool:
        storable(((notice.id, notice.at, notice.fingerprint, notice.content),))
        with self._lock:
            new = notice.id not in self._notices
            if new:
                self._notices[notice.id] = notice
            return new

    def published(self) -> list[Published]:
        with self._lock:
            return sorted(self._notices.values(), key=lambda notice: (notice.at, notice.id))

    def entries(self, receipt: str) -> list[Entry]:
        with self._lock:
            return [entry for entry in self._ledger if receipt and entry.receipt == receipt]

    def about(self, subject: str) -> list[Entry]:
        with self._lock:
            return [entry for entry in self._ledger if subject and entry.subject == subject]

    def all(self) -> Iterator[Entry]:
        with self._lock:
            ledger = tuple(self._ledger)
        return iter(ledger)

    def head(self) -> tuple[int, str]:
        with self._lock:
            return (last.seq, last.hash) if (last := self._last()) else (0, "")

    def _last(self) -> Entry | None:
        return self._ledger[-1] if self._ledger else None

    def close(self) -> None:
        """Nothing to let go of: what was written can still be read."""


def _row(event: Event) -> dict[str, Any]:
    own = {name: value for name, value in zip(OWN_FIELDS, event, strict=False) if name != "context"}
    return {**own, **dict(zip(CONTEXT_FIELDS, complete(event.context), strict=False))}


def _seen(row: Mapping[str, Any]) -> Seen:
    context = Context(*(row[name] for name in CONTEXT_FIELDS))
    return row["at"], row["kind"], row["route"], row["referrer_host"], context, 1
