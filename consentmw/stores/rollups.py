"""Roll-ups and visitors a day in a SQL database: added with their batch, taken out again with their rows.

Refuses to know what is counted and how a visitor is marked; and how a dialect adds to counters or lets
one writer go before another.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Connection, bindparam, text

from ..events import Context
from ..events.rollups import Rollup, Seen, bounded, corrected, rolled
from ..events.uniques import KEPT, Mark, mark_of, new_salt
from . import Held, HeldTier, schema
from .rows import CONTEXT_FIELDS
from .sql import SqlStore

__all__ = ["SqlRollups"]

#: hours whose values are remembered, times dimensions; beyond it all are forgotten, and asked for again
_KNOWN: Final = 100
#: marks that are remembered, each some 150 bytes
_MARKED: Final = 50_000
#: hours of one statement
_MANY: Final = 1_000

_ROLLUPS: Final = text(
    "SELECT hour, value, tier, count FROM rollups "
    "WHERE dimension = :dimension AND hour >= :since AND hour < :until ORDER BY hour, value, tier"
)
_VALUES: Final = text("SELECT DISTINCT dimension, value FROM rollups WHERE hour = :hour")
_SEEN: Final = (
    "SELECT events.at, events.kind, events.route, events.referrer_host, "  # noqa: S608
    f"{', '.join(f'contexts.{name}' for name in CONTEXT_FIELDS)} "
    "FROM events JOIN contexts ON contexts.id = events.context"
)
_ROWS: Final = text(_SEEN)
_OWN: Final = text(f"{_SEEN} WHERE contexts.receipt = :receipt AND contexts.receipt <> ''")
_THERE: Final = text("SELECT hour, dimension, value, tier, count FROM rollups WHERE hour IN :hours").bindparams(
    bindparam("hours", expanding=True)
)
_KEY: Final = "hour = :hour AND dimension = :dimension AND value = :value AND tier = :tier"
_LEFT: Final = text(f"UPDATE rollups SET count = :count WHERE {_KEY}")  # noqa: S608
_NONE: Final = text(f"DELETE FROM rollups WHERE {_KEY}")  # noqa: S608

_SALT: Final = text("SELECT salt FROM salts WHERE day = :day")
_SALTED: Final = text(
    "INSERT INTO salts (day, salt) SELECT CAST(:day AS BIGINT), :salt "
    "WHERE NOT EXISTS (SELECT 1 FROM uniques WHERE day = :day) ON CONFLICT (day) DO NOTHING"
)
_SALTS: Final = text("SELECT day, salt FROM salts")
_UNMARK: Final = text("DELETE FROM marks WHERE day = :day AND mark = :mark")
_OPEN: Final = "SELECT day, tier, count(*) FROM marks GROUP BY day, tier"
_OVER: Final = text("SELECT day, salt FROM salts WHERE day <= :before")
_CLOSE: Final = (
    text(
        "INSERT INTO uniques (day, tier, count) "
        "SELECT day, tier, count(*) FROM marks WHERE day <= :before GROUP BY day, tier "
        "ON CONFLICT (day, tier) DO NOTHING"
    ),
    # So that a day on which nobody was marked is known to be over, too.
    text(
        "INSERT INTO uniques (day, tier, count) SELECT day, 'coarse', 0 FROM salts WHERE day <= :before "
        "ON CONFLICT (day, tier) DO NOTHING"
    ),
    text("DELETE FROM marks WHERE day <= :before"),
    text("DELETE FROM salts WHERE day <= :before"),
)
_UNIQUES: Final = text(
    "SELECT day, tier, count FROM (SELECT day, tier, count FROM uniques UNION ALL "  # noqa: S608
    f"{_OPEN}) AS days WHERE day >= :since AND day < :until AND count > 0 ORDER BY day, tier"
)
_HELD: Final = text(
    "SELECT contexts.tier, count(*), min(events.at), min(events.expires) "
    "FROM events JOIN contexts ON contexts.id = events.context GROUP BY contexts.tier"
)
_HELD_SALTS: Final = text("SELECT count(*), min(day) FROM salts")
_HELD_MARKS: Final = text("SELECT count(*) FROM marks")


class SqlRollups(SqlStore):
    """The part of an EventStore that counts what rows say, and visitors."""

    def _begin_rollups(self) -> None:
        """What this part remembers; once, when the store is opened."""
        self._values: dict[tuple[int, str], set[str]] = {}
        #: day, tier and mark of those that need not be written again
        self._marked: set[tuple[int, str, int]] = set()

    # -- what a dialect adds -------------------------------------------------------------------

    @abstractmethod
    def _add(self, connection: Connection, table: str, counts: Sequence[Sequence[Any]]) -> None:
        """Add to the counters of a table, ``counts`` or ``rollups``: the columns of the key, and a number."""

    @abstractmethod
    def _keep(self, connection: Connection, marks: Sequence[Sequence[Any]]) -> None:
        """Insert marks (day, tier, mark), those that there are not."""

    @abstractmethod
    def _shred(self, salts: Sequence[str]) -> None:
        """See to it that no table's file holds these salts, which were just deleted, any more."""

    @abstractmethod
    def _naming(self, connection: Connection) -> None:
        """Wait until no other writer brings values that their hour did not have, to the end of this transaction."""

    @abstractmethod
    def _withdrawing(self) -> AbstractContextManager[Connection]:
        """A transaction in which rows are erased: none is on its way, unseen."""

    # -- with a batch --------------------------------------------------------------------------

    def _roll(self, connection: Connection, rows: Iterable[Seen]) -> dict[tuple[int, str], set[str]]:
        """Add what rows say; the values there are then, for :meth:`_remember` once all of it is written."""
        added, known = rolled(rows), self._values
        values: dict[tuple[int, str], set[str]] = {}
        unknown = {key.hour for key in added if key.value not in known.get((key.hour, key.dimension), ())}
        if unknown:
            self._naming(connection)
            there: dict[tuple[int, str], set[str]] = {}
            for hour in unknown:
                for dimension, value in connection.execute(_VALUES, {"hour": hour}):
                    there.setdefault((hour, dimension), set()).add(value)
            fresh, values = bounded({key: number for key, number in added.items() if key.hour in unknown}, there)
            added = {**{key: number for key, number in added.items() if key.hour not in unknown}, **fresh}
        if added:
            self._add(connection, "rollups", [(*key, number) for key, number in added.items()])
        return values

    def _mark(self, connection: Connection, marks: Iterable[Mark]) -> set[tuple[int, str, int]]:
        """Keep marks, but for closed days; those that are new, for :meth:`_remember`."""
        new = {mark[:3] for mark in marks} - self._marked
        if new:
            days = {day for day, _ in connection.execute(_SALTS)}
            new = {mark for mark in new if mark[0] in days}
        if new:
            # In one order for everybody: two writers that wait for each other's marks would wait in vain.
            self._keep(connection, sorted(new))
        return new

    def _remember(self, values: Mapping[tuple[int, str], set[str]], marks: set[tuple[int, str, int]]) -> None:
        """What was written need not be asked for again."""
        if values:
            known = self._values if len(self._values) + len(values) <= _KNOWN else {}
            self._values = {**known, **values}
        if len(self._marked) + len(marks) > _MARKED:
            self._marked = set()
        # In place: a copy of so many for each batch leaves the memory of a long-lived process full of holes.
        self._marked |= marks

    def _take_out(self, connection: Connection, receipt: str) -> None:
        """Take out of roll-ups and marks what the rows of a receipt, which still are there, added."""
        rows = [
            (at, kind, route, host, Context(*context), 1)
            for at, kind, route, host, *context in connection.execute(_OWN, {"receipt": receipt})
        ]
        hours = sorted({key.hour for key in rolled(rows)})
        for at in range(0, len(hours), _MANY):
            part = set(hours[at : at + _MANY])
            found = connection.execute(_THERE, {"hours": list(part)})
            there = {Rollup(*row[:4]): row[4] for row in found}
            left = corrected([row for row in rows if int(row[0]) // 3600 * 3600 in part], there)
            for statement, changed in ((_LEFT, True), (_NONE, False)):
                if rest := [{**key._asdict(), "count": n} for key, n in left.items() if (n > 0) is changed]:
                    connection.execute(statement, rest)
        for day, salt in connection.execute(_SALTS).all():
            connection.execute(_UNMARK, {"day": day, "mark": mark_of(salt, receipt)})

    def _roll_again(self, connection: Connection) -> None:
        """Count the rows that were there before there were roll-ups."""
        rows = connection.execute(_ROWS)
        self._roll(connection, ((*row[:4], Context(*row[4:]), 1) for row in rows))

    # -- days ----------------------------------------------------------------------------------

    def salt(self, day: int) -> str:
        with self._reading() as connection:
            if (found := connection.execute(_SALT, {"day": day}).scalar()) is not None:
                return str(found)
        with self._transaction() as connection:
            connection.execute(_SALTED, {"day": day, "salt": new_salt()})
            return str(connection.execute(_SALT, {"day": day}).scalar() or "")

    def close_days(self, now: int) -> int:
        before = {"before": now - KEPT}
        with self._reading() as connection:
            salts = [salt for _, salt in connection.execute(_OVER, before)]
        if not salts:
            return 0
        # As an erasure: no mark of such a day may be on its way.
        with self._withdrawing() as connection:
            self._erasing(connection)
            for statement in _CLOSE:
                connection.execute(statement, before)
        self._marked = set()
        self._shred(salts)
        return len(salts)

    # -- reading -------------------------------------------------------------------------------

    def rollups(self, dimension: str, since: int, until: int) -> list[dict[str, Any]]:
        values = {"dimension": dimension, "since": since, "until": until}
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(_ROLLUPS, values).mappings()]

    def uniques(self, since: int, until: int) -> list[dict[str, Any]]:
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(_UNIQUES, {"since": since, "until": until}).mappings()]

    def held(self) -> Held:
        with self._reading() as connection:
            tiers = {tier: HeldTier(*rest) for tier, *rest in connection.execute(_HELD)}
            salts, oldest = connection.execute(_HELD_SALTS).one()
            return Held(tiers, salts, connection.execute(_HELD_MARKS).scalar_one(), oldest)

    def _create_rollups(self, connection: Connection) -> None:
        """Make the tables of this part, beside those that there are."""
        tables = [schema.rollups, schema.salts, schema.marks, schema.uniques]
        schema.metadata.create_all(connection, tables, checkfirst=False)
