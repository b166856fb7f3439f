"""Counters and rows in a SQL database: what is alike for many rows is kept once, as their context.

Knows the order of what has to happen in one transaction; refuses to know how a dialect inserts rows.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from threading import Lock
from time import time
from typing import Any, Final

from sqlalchemy import Connection, bindparam, text

from ..events import Context, Count, Event, complete
from ..events.rollups import Seen
from . import schema
from .rollups import SqlRollups
from .rows import CONTEXT_FIELDS, OWN_FIELDS, mark, storable

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

    def write(self, counts: Mapping[Count, int], events: Sequence[Event], batch: str = "") -> None:
        added = [(*count, number) for count, number in counts.items()]
        whole = {context: complete(context) for context in {event.context for event in events}}
        storable([*added, *whole.values(), (batch,)])
        now = time()
        with self._writing() as connection:
            if batch and connection.execute(_ONCE, {"id": batch, "at": int(now)}).rowcount != 1:
                return
            gone = self._gone(connection, {context.receipt for context in whole if context.receipt})
            kept = {context: found for context, found in whole.items() if context.receipt not in gone}
            rows = [event for event in events if event.context in kept] if gone else events
            numbers, new = self._numbered(connection, set(kept.values()), now)
            places = {context: numbers[found] for context, found in kept.items()}
            own = [(*event[:_PLACE], places[event.context], *event[_PLACE + 1 : -2]) for event in rows]
            storable(own)
            if own:
                self._insert(connection, own)
            contexts = {numbers[found]: found for found in kept.values()}
            alike = _alike(own, [event.mark for event in rows])
            marks = self._mark(
                connection, ((key[0], contexts[key[4]].tier, key[5]) for key in alike if key[5] is not None)
            )
            values = self._roll(connection, _seen(alike, contexts))
            if added:
                # Last, because other writers wait for a counter from here to the end of the transaction.
                self._add(connection, "counts", added)
        # Only now are the new ones there for everybody.
        with self._numbering:
            if len(self._numbers) + len(new) > _KNOWN:
                self._numbers.clear()
            self._numbers.update(new)
            self._remember(values, marks)

    def _gone(self, connection: Connection, receipts: Iterable[str]) -> set[str]:
        marks = {mark(receipt): receipt for receipt in receipts}
        if not marks:
            return set()
        return {marks[found] for (found,) in connection.execute(_WHICH_GONE, {"marks": list(marks)})}

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
        with self._erasing() as connection:
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
        if receipt is not None and "\0" in receipt:
            return []  # no row can have it, and PostgreSQL refuses to look
        number = f"events.{self._number}"
        own = "WHERE contexts.receipt = :receipt AND contexts.receipt <> ''" if receipt is not None else ""
        query = text(
            f"SELECT {number} AS id, {_COLUMNS} FROM events JOIN contexts ON contexts.id = events.context "  # noqa: S608
            f"{own} ORDER BY {number} DESC LIMIT :limit"
        )
        values = {"limit": limit} if receipt is None else {"limit": limit, "receipt": receipt}
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


def _alike(rows: Sequence[Sequence[Any]], marks: Sequence[int | None]) -> Counter[tuple[Any, ...]]:
    """How many rows have hour, kind, route, referring host, number of context and mark alike: most of a batch do."""
    return Counter(
        [
            (row[0] // 3600 * 3600, row[1], row[_ROUTE], row[_HOST], row[_PLACE], mark)
            for row, mark in zip(rows, marks, strict=True)
        ]
    )


def _seen(alike: Counter[tuple[Any, ...]], contexts: Mapping[int, Context]) -> Iterator[Seen]:
    for (hour, kind, route, host, number, _), times in alike.items():
        yield hour, kind, route, host, contexts[number], times


def _digest(values: Sequence[Any]) -> str:
    return blake2b(json.dumps(values).encode("ascii"), digest_size=16).hexdigest()
