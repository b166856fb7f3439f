"""Counters and rows in a SQL database: what is alike for many rows is kept once, as their context.

Knows the order of what has to happen in one transaction; refuses to know how a dialect inserts rows.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from threading import Lock
from time import time
from typing import Any, Final

from sqlalchemy import Connection, bindparam, text

from ..events import Context, Count, Event, complete
from ..events.rollups import Seen
from ..events.uniques import Mark
from . import NOTHING, Told, schema
from .rollups import SqlRollups
from .rows import CONTEXT_FIELDS, OWN_FIELDS, joined, mark, storable

__all__ = ["REMEMBER_ERASED", "SqlEvents"]

#: browsers keep no cookie for longer, so after this no request can carry an erased receipt (400 days, RFC 6265bis)
REMEMBER_ERASED: Final = 400 * 86_400
#: seconds that a batch is known again: a spool waits no longer for a store that is down
_REMEMBER_BATCHES: Final = 7 * 86_400
#: seconds that the number of a context is remembered without asking, and after which an unused one may go
_SURE: Final = 86_400
_UNUSED: Final = 2 * _SURE
#: contexts whose numbers are remembered; each some 500 bytes
_KNOWN: Final = 10_000
#: rows read at once, and a number that no row reaches
_PAGE: Final = 500
_LAST: Final = 2**63 - 1
#: where the context stands in an event, and what roll-ups count
_PLACE: Final = OWN_FIELDS.index("context")
_ROUTE: Final = OWN_FIELDS.index("route")
_HOST: Final = OWN_FIELDS.index("referrer_host")

_COLUMNS: Final = ", ".join(
    [f"events.{name}" for name in OWN_FIELDS if name != "context"] + [f"contexts.{name}" for name in CONTEXT_FIELDS]
)
_COUNTS: Final = text("SELECT * FROM counts WHERE hour >= :since ORDER BY hour DESC, kind, route LIMIT :limit")
_ONCE: Final = text("INSERT INTO batches (id, at) VALUES (:id, :at) ON CONFLICT (id) DO NOTHING")
_NUMBER: Final = text(
    f"INSERT INTO contexts (digest, made, {', '.join(CONTEXT_FIELDS)}) "  # noqa: S608
    f"VALUES (:digest, :made, {', '.join(f':{name}' for name in CONTEXT_FIELDS)}) "
    "ON CONFLICT (digest) DO UPDATE SET made = excluded.made RETURNING id"
)
_WHICH_GONE: Final = text("SELECT receipt FROM erased WHERE receipt IN :marks").bindparams(
    bindparam("marks", expanding=True)
)
_GONE: Final = text("SELECT receipt FROM erased WHERE receipt = :mark")
_NOTED: Final = text("SELECT id FROM batches WHERE id IN :ids").bindparams(bindparam("ids", expanding=True))
_MARKS: Final = text("SELECT receipt FROM erased WHERE at >= :since")
_ERASED: Final = text("INSERT INTO erased (receipt, at) VALUES (:mark, :at) ON CONFLICT (receipt) DO NOTHING")
_ERASE: Final = (
    text("DELETE FROM events WHERE context IN (SELECT id FROM contexts WHERE receipt = :receipt AND receipt <> '')"),
    text("DELETE FROM contexts WHERE receipt = :receipt AND receipt <> ''"),
)
_FORGET: Final = (
    (text("DELETE FROM erased WHERE at <= :before"), REMEMBER_ERASED),
    (text("DELETE FROM batches WHERE at <= :before"), _REMEMBER_BATCHES),
    (
        text(
            "DELETE FROM contexts WHERE made <= :before "
            "AND NOT EXISTS (SELECT 1 FROM events WHERE events.context = contexts.id)"
        ),
        _UNUSED,
    ),
)


class SqlEvents(SqlRollups):
    """EventStore but for a dialect's own way to insert and to find what expired."""

    #: what a row's number is called
    _number = "id"

    def _begin_events(self) -> None:
        """What the part of a store that is about events remembers; once, when it is opened."""
        self._numbers: dict[Context, tuple[int, float]] = {}
        self._numbering = Lock()
        self._begin_rollups()

    # -- what a dialect adds -------------------------------------------------------------------

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Connection]:
        """A transaction in which rows are written: none that is erased meanwhile gets in."""

    @abstractmethod
    def _insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, their context as a number."""

    @abstractmethod
    def _wipe(self) -> None:
        """See to it that rows which were just deleted do not stay behind in a log."""

    # -- writing -------------------------------------------------------------------------------

    def write(
        self,
        counts: Mapping[Count, int],
        events: Sequence[Event],
        batch: str = "",
        told: Told = NOTHING,
        marks: Sequence[Mark] = (),
    ) -> None:
        added, given = joined(counts, events, told)
        # By identity: a context is long, and all rows of a visitor share one.
        whole = {key: complete(one) for key, one in {id(event.context): event.context for event in given}.items()}
        storable([*((*count, number) for count, number in added.items()), *whole.values(), *marks, (batch, *told)])
        now = time()
        with self._writing() as connection:
            if batch and connection.execute(_ONCE, {"id": batch, "at": int(now)}).rowcount != 1:
                return
            theirs = {one.receipt for one in whole.values()} | {one.receipt for one in marks}
            gone = self._gone(connection, theirs - {""})
            if told:
                added, given = joined(counts, events, self._first(connection, told, gone, int(now)))
            kept = {key: found for key, found in whole.items() if found.receipt not in gone}
            numbers, new = self._numbered(connection, set(kept.values()), now)
            places = {key: numbers[found] for key, found in kept.items()}
            own = [
                (*event[:_PLACE], place, *event[_PLACE + 1 : -1])
                for event in given
                if (place := places.get(id(event.context))) is not None
            ]
            storable(own)
            if own:
                self._insert(connection, own)
            known = self._mark(connection, (mark for mark in marks if mark.receipt not in gone))
            values = self._roll(connection, _seen(own, {numbers[found]: found for found in kept.values()}))
            if added:
                # Last, because other writers wait for a counter from here to the end of the transaction.
                self._add(connection, "counts", [(*count, number) for count, number in added.items()])
        # Only now are the new ones there for everybody.
        with self._numbering:
            if len(self._numbers) + len(new) > _KNOWN:
                self._numbers.clear()
            self._numbers.update(new)
            self._remember(values, known)

    def _gone(self, connection: Connection, receipts: Iterable[str]) -> set[str]:
        marks = {mark(receipt): receipt for receipt in receipts}
        if not marks:
            return set()
        return {marks[found] for (found,) in connection.execute(_WHICH_GONE, {"marks": list(marks)})}

    def _first(self, connection: Connection, told: Told, gone: set[str], now: int) -> Told:
        """What of this was not told before, and not under a receipt that is gone."""
        # In one order for everybody, as below.
        new = [key for key in sorted(told) if connection.execute(_ONCE, {"id": key, "at": now}).rowcount == 1]
        return {
            key: [(count, row) for count, row in told[key] if row is None or row.context.receipt not in gone]
            for key in new
        }

    def _numbered(
        self, connection: Connection, contexts: Iterable[Context], now: float
    ) -> tuple[dict[Context, int], dict[Context, tuple[int, float]]]:
        """The number of each (complete) context, and those that had to be asked for."""
        with self._numbering:
            known = {context: found for context in contexts if (found := self._numbers.get(context)) is not None}
        numbers = {context: number for context, (number, at) in known.items() if -_SURE < now - at < _SURE}
        asked = [(_digest(context[:-1]), context) for context in contexts if context not in numbers]
        new = {}
        # In one order for everybody: two writers that wait for each other's contexts would wait in vain.
        for digest, context in sorted(asked, key=lambda one: one[0]):
            row = {"digest": digest, "made": int(now), **dict(zip(CONTEXT_FIELDS, context, strict=False))}
            numbers[context] = connection.execute(_NUMBER, row).scalar_one()
            new[context] = numbers[context], now
        return numbers, new

    def erase(self, receipt: str) -> int:
        if not receipt or "\0" in receipt:
            return 0
        rows, contexts = _ERASE
        with self._withdrawing() as connection:
            connection.execute(_ERASED, {"mark": mark(receipt), "at": int(time())})
            self._take_out(connection, receipt)
            gone = connection.execute(rows, {"receipt": receipt}).rowcount
            known = connection.execute(contexts, {"receipt": receipt}).rowcount
        if known:
            self._wipe()
        return gone

    def erased(self, receipt: str) -> bool:
        with self._reading() as connection:
            return connection.execute(_GONE, {"mark": mark(receipt)}).first() is not None

    def which_erased(self, receipts: Collection[str]) -> set[str]:
        """Those of these receipts that were erased."""
        with self._reading() as connection:
            return self._gone(connection, receipts)

    def noted(self, ids: Collection[str]) -> set[str]:
        """Those of these batches, and of what was told, that were written."""
        with self._reading() as connection:
            return {found for (found,) in connection.execute(_NOTED, {"ids": list(ids)})}

    def marks(self, since: float) -> list[str]:
        """The marks of the receipts that were erased since then (seconds since 1970)."""
        with self._reading() as connection:
            return [found for (found,) in connection.execute(_MARKS, {"since": int(since)})]

    def _tidy(self, connection: Connection, now: int) -> None:
        """Forget what nobody can ask for any more."""
        for statement, seconds in _FORGET:
            connection.execute(statement, {"before": now - seconds})

    # -- reading -------------------------------------------------------------------------------

    def counts(self, limit: int = 1_000, since: int = 0) -> list[dict[str, Any]]:
        with self._reading() as connection:
            found = connection.execute(_COUNTS, {"since": since, "limit": limit})
            return [dict(row) for row in found.mappings()]

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        return self._page(receipt, limit, _LAST)

    def each(self, receipt: str) -> Iterator[dict[str, Any]]:
        before = _LAST
        # In pages, each a short read: a long one would keep the database from tidying up behind it.
        while page := self._page(receipt, _PAGE, before):
            yield from page
            before = page[-1]["id"]

    def _page(self, receipt: str | None, limit: int, before: int) -> list[dict[str, Any]]:
        if receipt is not None and "\0" in receipt:
            return []  # no row can have it, and PostgreSQL refuses to look
        number = f"events.{self._number}"
        own = "AND contexts.receipt = :receipt AND contexts.receipt <> ''" if receipt is not None else ""
        query = text(
            f"SELECT {number} AS id, {_COLUMNS} FROM events JOIN contexts ON contexts.id = events.context "  # noqa: S608
            f"WHERE {number} < :before {own} ORDER BY {number} DESC LIMIT :limit"
        )
        values: dict[str, Any] = {"limit": limit, "before": before}
        if receipt is not None:
            values["receipt"] = receipt
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(query, values).mappings()]

    def _change(self, connection: Connection, version: int) -> None:
        super()._change(connection, version)
        if version == 4:
            self._create_events(connection)
            for statement in schema.MOVED:
                connection.execute(text(statement))
            self._roll_again(connection)

    def _create_events(self, connection: Connection) -> None:
        """Make the tables of version 4, beside those that there are."""
        tables = [schema.contexts, schema.events, schema.batches]
        schema.metadata.create_all(connection, tables, checkfirst=False)
        self._create_rollups(connection)


def _seen(rows: Sequence[Sequence[Any]], contexts: Mapping[int, Context]) -> Iterator[Seen]:
    """How many rows have hour, kind, route, referring host and context alike: most of a batch do."""
    alike = Counter([(row[0] // 3600 * 3600, row[1], row[_ROUTE], row[_HOST], row[_PLACE]) for row in rows])
    for (hour, kind, route, host, number), times in alike.items():
        yield hour, kind, route, host, contexts[number], times


def _digest(values: Sequence[Any]) -> str:
    return blake2b(json.dumps(values).encode("ascii"), digest_size=16).hexdigest()
