"""What the SQL databases have alike: connections that survive a fork, and questions asked in the same words.

Knows the ledger, notices, and the reading of counters and rows; refuses to know how a dialect writes rows,
waits for its locks or tells its errors apart.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Engine, TextClause, bindparam, inspect, text

from ..errors import StoreError
from . import Entry, Link, Published, schema
from .rows import BLANKED, ENTRY_FIELDS, NOTICE_FIELDS, mark, pack, storable, unpack

__all__ = ["SqlStore"]


# Written out and not built from the tables, because no type may be read into a value of the ledger: what somebody
# changed there has to reach verify() as it is.
_COLUMNS: Final = ", ".join(ENTRY_FIELDS)
_APPEND: Final = text(
    f"INSERT INTO ledger ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in ENTRY_FIELDS)})"  # noqa: S608
)
_LAST: Final = text("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
_ENTRIES: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE receipt = :receipt ORDER BY seq")  # noqa: S608
# With the condition of the index, so that it is used.
_ABOUT: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE subject = :subject AND subject <> '' ORDER BY seq")  # noqa: S608
_PAGE: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE seq > :after ORDER BY seq LIMIT 500")  # noqa: S608
#: values of one statement; databases take some 32,000
_MANY: Final = 5_000


def _among(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("these", expanding=True))


_LINKED: Final = (
    _among("SELECT receipt, previous FROM ledger WHERE receipt IN :these"),
    _among("SELECT receipt, previous FROM ledger WHERE previous IN :these AND previous <> ''"),
)
_OWN: Final = (
    _among("SELECT seq, event, sealed, receipt, subject FROM ledger WHERE receipt IN :these"),
    _among("SELECT seq, event, sealed, receipt, subject FROM ledger WHERE subject IN :these AND subject <> ''"),
)
_BLANK: Final = _among(f"UPDATE ledger SET {' = :none, '.join(BLANKED)} = :none WHERE seq IN :these")  # noqa: S608
#: rows looked at under one lock for choices that lapsed
_LAPSING: Final = 200
_LAPSED: Final = text(
    f"SELECT {_COLUMNS} FROM ledger WHERE valid_until <> '' AND valid_until <= :now "  # noqa: S608
    f"AND (valid_until, seq) > (:until, :seq) ORDER BY valid_until, seq LIMIT {_LAPSING}"
)
_OVER: Final = _among(
    "SELECT 1 FROM ledger WHERE previous = :receipt AND previous <> '' AND seq > :seq UNION ALL "
    "SELECT 1 FROM ledger WHERE receipt = :receipt AND seq > :seq "
    "AND (event IN ('expired', 'revoked') OR valid_until <> '' AND event NOT IN :these) LIMIT 1"
)
_PUBLISH: Final = text(
    f"INSERT INTO notices ({', '.join(NOTICE_FIELDS)}) VALUES ({', '.join(f':{name}' for name in NOTICE_FIELDS)}) "  # noqa: S608
    "ON CONFLICT (id) DO NOTHING"
)
_PUBLISHED: Final = text(f"SELECT {', '.join(NOTICE_FIELDS)} FROM notices ORDER BY at, id")  # noqa: S608
_GET: Final = text("SELECT value FROM meta WHERE key = :key")
_SET: Final = text(
    "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


class SqlStore(ABC):
    """EventStore and LedgerStore but for the writing of rows. Threads and forked processes may share one object."""

    #: the schema inside the database that holds our tables; None where the database is ours alone
    _schema: str | None = None

    def __init__(self, engine: Engine, name: str, wait: float) -> None:
        """``name`` stands in errors and holds no secret; ``wait`` is how long to wait for a lock, in seconds."""
        self._engine = engine
        self._name = name
        self._wait = wait
        self._lock = Lock()
        self._pid = os.getpid()
        self._closed = False
        self._inherited: list[object] = []
        #: the version that was found; 0: there was none
        self.was = 0
        self.version = schema.SCHEMA_VERSION

    # -- what a dialect adds -------------------------------------------------------------------

    @abstractmethod
    def _faults(self, what: str) -> AbstractContextManager[None]:
        """Turn errors of the driver into ValueError for what will never fit and StoreError for all else."""

    @abstractmethod
    def _alone(self, connection: Connection) -> None:
        """Wait until no other process appends to the ledger, to the end of this transaction."""

    @abstractmethod
    def _erasing(self, connection: Connection) -> None:
        """Note, in the transaction that empties rows, that they are still to be scrubbed."""

    @abstractmethod
    def _scrub(self, gone: Collection[str]) -> None:
        """See to it that no file holds these texts any more, which were just emptied; what is left over, for none."""

    def _change(self, connection: Connection, version: int) -> None:
        """What makes tables of the version before into tables of this one."""
        for statement in schema.CHANGES[version]:
            connection.execute(text(statement))
        if version == 3:
            plain = [
                {"was": was, "mark": mark(was)} for (was,) in connection.execute(text("SELECT receipt FROM erased"))
            ]
            if plain:
                connection.execute(text("UPDATE erased SET receipt = :mark WHERE receipt = :was"), plain)

    def _create(self, connection: Connection) -> None:
        """Make the tables."""
        schema.metadata.create_all(connection, checkfirst=False)

    # -- connections ---------------------------------------------------------------------------

    def _prepare(self, connection: Connection) -> None:
        """Make the tables if there are none. Raises StoreError when those there are not ours, or are newer."""
        tables = inspect(connection).get_table_names(self._schema)
        if tables and "meta" not in tables:
            raise StoreError(f"{self._name} is somebody else's database: give consentmw one of its own")
        if not tables:
            self._create(connection)
            connection.execute(_SET, {"key": "schema", "value": str(schema.SCHEMA_VERSION)})
        found = _get(connection, "schema")
        if not found.isdigit() or int(found) > schema.SCHEMA_VERSION:
            known = f"this version knows {schema.SCHEMA_VERSION}: update consentmw first"
            raise StoreError(f"{self._name} has schema {found or 'unknown'}, and {known}")
        self.was = int(found) if tables else 0
        for version in range(int(found) + 1, schema.SCHEMA_VERSION + 1):
            self._change(connection, version)
            connection.execute(_SET, {"key": "schema", "value": str(version)})

    @contextmanager
    def _transaction(self, failed: str = "did not take a change") -> Iterator[Connection]:
        """A transaction that changes something. Raises StoreError, ValueError."""
        self._check()
        # Threads wait here, in order: databases are good at waiting between processes.
        if not self._lock.acquire(timeout=self._wait):
            raise StoreError(f"{self._name} did not take a change: others have been waiting for too long")
        try:
            with (
                self._faults(f"{self._name} {failed}"),
                self._engine.execution_options(writes=True).begin() as connection,
            ):
                yield connection
        finally:
            self._lock.release()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check()
        with self._faults(f"{self._name} can't be read"), self._engine.connect() as connection:
            yield connection

    def _check(self) -> None:
        if self._closed:
            raise StoreError(f"{self._name} is closed")
        if self._pid != os.getpid():
            # We were forked. A connection of the parent's must neither be used nor closed here: both would
            # break it for the parent, so it is only kept.
            self._pid, self._lock = os.getpid(), Lock()
            self._inherited.append(self._engine.pool)
            self._engine.dispose(close=False)

    def close(self) -> None:
        """Close every connection; using the store afterwards raises StoreError."""
        self._closed = True
        self._engine.dispose()

    # -- ledger --------------------------------------------------------------------------------

    def append(self, link: Link) -> Entry:
        with self._transaction() as connection:
            self._alone(connection)
            return _append(connection, [link])[0]

    def blank(
        self,
        receipts: Collection[str],
        subject: str,
        keep: Collection[str],
        record: Callable[[Sequence[int]], Sequence[Link]],
    ) -> int:
        about = {subject} if subject and "\0" not in subject else set()
        # Most of the search without the lock; under it, only for what came in between.
        own = self.family(receipts)
        with self._transaction() as connection:
            self._alone(connection)
            own = _family(connection, own)
            rows = [*_among_these(connection, _OWN[0], own), *_among_these(connection, _OWN[1], about)]
            found = sorted({row.seq: row.sealed for row in rows if row.event not in keep}.items())
            kept = {text for row in rows if row.event in keep for text in (row.receipt, row.subject)}
            if bare := [seq for seq, sealed in found if not sealed]:
                raise StoreError(f"rows written before rows could be erased: {', '.join(map(str, bare[:10]))}")
            numbers = [seq for seq, _ in found]
            if numbers:
                _append(connection, record(numbers))
                self._erasing(connection)
            for at in range(0, len(numbers), _MANY):
                connection.execute(_BLANK, {"these": numbers[at : at + _MANY], "none": ""})
        self._scrub((own | about) - kept if numbers else ())
        return len(numbers)

    def family(self, receipts: Collection[str]) -> set[str]:
        with self._reading() as connection:
            return _family(connection, {receipt for receipt in receipts if receipt and "\0" not in receipt})

    def lapse(self, now: str, passing: Collection[str], record: Callable[[Entry], Link]) -> int:
        made = 0
        while True:
            # A few at a time, so that visitors' choices do not wait for all of them.
            with self._transaction() as connection:
                self._alone(connection)
                until, _, seq = _get(connection, "lapsed").partition(" ")
                place = {"until": until, "seq": int(seq) if seq.isdigit() else 0, "now": now}
                rows = [unpack(row) for row in connection.execute(_LAPSED, place)]
                for row in rows:
                    asked = {"receipt": row.receipt, "seq": row.seq, "these": list(passing)}
                    choice = row.receipt and row.event not in passing
                    if choice and connection.execute(_OVER, asked).first() is None:
                        _append(connection, [record(row)])
                        made += 1
                if rows:
                    connection.execute(_SET, {"key": "lapsed", "value": f"{rows[-1].valid_until} {rows[-1].seq}"})
            if len(rows) < _LAPSING:
                return made

    def entries(self, receipt: str) -> list[Entry]:
        if not receipt or "\0" in receipt:
            return []  # rows without one were erased
        with self._reading() as connection:
            return [unpack(row) for row in connection.execute(_ENTRIES, {"receipt": receipt})]

    def about(self, subject: str) -> list[Entry]:
        if "\0" in subject:
            return []
        with self._reading() as connection:
            return [unpack(row) for row in connection.execute(_ABOUT, {"subject": subject})]

    def all(self) -> Iterator[Entry]:
        after = 0
        while True:
            # In pages, each a short read: a long one would keep the database from tidying up behind it.
            with self._reading() as connection:
                page = [unpack(row) for row in connection.execute(_PAGE, {"after": after})]
            if not page:
                return
            yield from page
            after = page[-1].seq

    def head(self) -> tuple[int, str]:
        with self._reading() as connection:
            return _head(connection)

    # -- notices -------------------------------------------------------------------------------

    def publish(self, notice: Published) -> bool:
        values = {name: getattr(notice, name) for name in NOTICE_FIELDS}
        storable((tuple(values.values()),))
        with self._transaction() as connection:
            return connection.execute(_PUBLISH, values).rowcount == 1

    def published(self) -> list[Published]:
        with self._reading() as connection:
            return [Published(*row) for row in connection.execute(_PUBLISHED)]


def _append(connection: Connection, links: Iterable[Link]) -> list[Entry]:
    """Add rows behind the last one; the caller holds the lock."""
    seq, last = _head(connection)
    found = connection.execute(_LAST).first()
    if found is not None and found[0] > seq:
        # Rows that we did not note: verify() will name them; a new one must still fit behind them.
        seq, last = found
    made: list[Entry] = []
    for link in links:
        entry = link(seq + 1, last)
        connection.execute(_APPEND, pack(entry))
        seq, last = entry.seq, entry.hash
        made.append(entry)
    connection.execute(_SET, {"key": "ledger", "value": f"{seq} {last}"})
    return made


def _family(connection: Connection, receipts: set[str]) -> set[str]:
    """These receipts, and whatever they replaced or were replaced by."""
    known, fresh = set(receipts), set(receipts)
    while fresh:
        rows = [row for statement in _LINKED for row in _among_these(connection, statement, fresh)]
        fresh = {receipt for row in rows for receipt in row if receipt} - known
        known |= fresh
    return known


def _among_these(connection: Connection, statement: TextClause, these: Collection[str]) -> list[Any]:
    values = list(these)
    chunks = (values[at : at + _MANY] for at in range(0, len(values), _MANY))
    return [row for chunk in chunks for row in connection.execute(statement, {"these": chunk})]


def _get(connection: Connection, key: str) -> str:
    return str(connection.execute(_GET, {"key": key}).scalar() or "")


def _head(connection: Connection) -> tuple[int, str]:
    seq, _, digest = _get(connection, "ledger").partition(" ")
    return (int(seq), digest) if seq.isdigit() else (0, "")
