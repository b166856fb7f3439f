"""What the SQL databases have alike: connections that survive a fork, and questions asked in the same words.

Knows the ledger and the reading of counters and rows; refuses to know how a dialect writes rows, waits
for its locks or tells its errors apart.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, text

from ..errors import StoreError
from . import Entry, schema
from .rows import ENTRY_FIELDS, pack, unpack

__all__ = ["REMEMBER_ERASED", "SqlStore"]

#: browsers keep no cookie for longer, so after this no request can carry an erased receipt (400 days, RFC 6265bis)
REMEMBER_ERASED: Final = 400 * 86_400

# Written out and not built from the tables, because no type may be read into a value of the ledger: what somebody
# changed there has to reach verify() as it is.
_COLUMNS: Final = ", ".join(ENTRY_FIELDS)
_COUNTS: Final = text("SELECT * FROM counts WHERE hour >= :since ORDER BY hour DESC, kind, route LIMIT :limit")
_EVENTS: Final = text("SELECT * FROM events ORDER BY id DESC LIMIT :limit")
_EVENTS_OF: Final = text(
    "SELECT * FROM events WHERE receipt = :receipt AND receipt <> '' ORDER BY id DESC LIMIT :limit"
)
_APPEND: Final = text(
    f"INSERT INTO ledger ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in ENTRY_FIELDS)})"  # noqa: S608
)
_LAST: Final = text("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
_ENTRIES: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE receipt = :receipt ORDER BY seq")  # noqa: S608
# With the condition of the index, so that it is used.
_ABOUT: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE subject = :subject AND subject <> '' ORDER BY seq")  # noqa: S608
_PAGE: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE seq > :after ORDER BY seq LIMIT 500")  # noqa: S608
_GONE: Final = text("SELECT receipt FROM erased WHERE receipt = :receipt")
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

    # -- what a dialect adds -------------------------------------------------------------------

    @abstractmethod
    def _faults(self, what: str) -> AbstractContextManager[None]:
        """Turn errors of the driver into ValueError for what will never fit and StoreError for all else."""

    @abstractmethod
    def _alone(self, connection: Connection) -> None:
        """Wait until no other process appends to the ledger, to the end of this transaction."""

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
        for version in range(int(found) + 1, schema.SCHEMA_VERSION + 1):
            for statement in schema.CHANGES[version]:
                connection.execute(text(statement))
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

    # -- counters and rows ---------------------------------------------------------------------

    def counts(self, limit: int = 1_000, since: int = 0) -> list[dict[str, Any]]:
        with self._reading() as connection:
            found = connection.execute(_COUNTS, {"since": since, "limit": limit})
            return [dict(row) for row in found.mappings()]

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        if receipt is not None and "\0" in receipt:
            return []  # no row can have it, and PostgreSQL refuses to look
        with self._reading() as connection:
            query = _EVENTS if receipt is None else _EVENTS_OF
            values = {"limit": limit} if receipt is None else {"limit": limit, "receipt": receipt}
            return [dict(row) for row in connection.execute(query, values).mappings()]

    # -- ledger --------------------------------------------------------------------------------

    def append(self, link: Callable[[int, str], Entry]) -> Entry:
        with self._transaction() as connection:
            self._alone(connection)
            seq, last = _head(connection)
            found = connection.execute(_LAST).first()
            if found is not None and found[0] > seq:
                # Rows that we did not note: verify() will name them; a new one must still fit behind them.
                seq, last = found
            entry = link(seq + 1, last)
            connection.execute(_APPEND, pack(entry))
            connection.execute(_SET, {"key": "ledger", "value": f"{entry.seq} {entry.hash}"})
        return entry

    def erased(self, receipt: str) -> bool:
        if "\0" in receipt:
            return False
        with self._reading() as connection:
            return connection.execute(_GONE, {"receipt": receipt}).first() is not None

    def entries(self, receipt: str) -> list[Entry]:
        if "\0" in receipt:
            return []
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


def _get(connection: Connection, key: str) -> str:
    return str(connection.execute(_GET, {"key": key}).scalar() or "")


def _head(connection: Connection) -> tuple[int, str]:
    seq, _, digest = _get(connection, "ledger").partition(" ")
    return (int(seq), digest) if seq.isdigit() else (0, "")
