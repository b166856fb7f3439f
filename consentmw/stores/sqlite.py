"""A store in one SQLite file: counters, rows and ledger of one machine, shared by its processes.

Durable when a call returns (WAL, synchronous=FULL). The SQL of the hot path is written out and goes
to the driver as it is; SQLAlchemy gives the tables, the pool and the transactions.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from pathlib import Path
from threading import Lock
from time import time
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, inspect
from sqlalchemy import event as hooks
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError, SQLAlchemyError

from ..errors import StoreError
from ..events import EVENT_FIELDS, Count, Event
from . import Entry, schema

__all__ = ["SqliteStore"]

_COUNT_FIELDS: Final = Count._fields
_ENTRY_FIELDS: Final = tuple(field.name for field in fields(Entry))


def _insert(table: str, columns: Sequence[str], rows: int = 1) -> str:
    # Names from our own code only; values always travel as parameters.
    values = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([values] * rows)}"  # noqa: S608


_ADD: Final = (
    _insert("counts", (*_COUNT_FIELDS, "count"))
    + f" ON CONFLICT ({', '.join(_COUNT_FIELDS)}) DO UPDATE SET count = count + excluded.count"
)
#: rows a statement. For each statement the driver lets go of the interpreter and has to win it back from the
#: thread that answers requests; row by row that costs more than the writing. SQLite takes 32,766 values at most.
_TOGETHER: Final = 100
_WRITE: Final = _insert("events", EVENT_FIELDS) + " ON CONFLICT (id) DO NOTHING"
_WRITE_TOGETHER: Final = _insert("events", EVENT_FIELDS, _TOGETHER) + " ON CONFLICT (id) DO NOTHING"
_ERASED: Final = "SELECT receipt FROM erased WHERE receipt IN (SELECT value FROM json_each(?))"
_ERASE: Final = (
    "INSERT INTO erased (receipt, at) VALUES (?, ?) ON CONFLICT (receipt) DO NOTHING",
    "DELETE FROM events WHERE receipt = ? AND receipt <> ''",
)
_EXPIRED: Final = "SELECT rowid FROM events WHERE expires <= ? LIMIT ?"
_PURGE: Final = ("DELETE FROM events WHERE rowid = ? AND expires <= ?", "DELETE FROM erased WHERE at <= ?")
_COUNTS: Final = "SELECT * FROM counts WHERE hour >= ? ORDER BY hour DESC, kind, route LIMIT ?"
_EVENTS: Final = "SELECT * FROM events ORDER BY id DESC LIMIT ?"
_EVENTS_OF: Final = "SELECT * FROM events WHERE receipt = ? AND receipt <> '' ORDER BY id DESC LIMIT ?"
_APPEND: Final = _insert("ledger", _ENTRY_FIELDS)
_LAST: Final = "SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1"
_SET: Final = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_GET: Final = "SELECT value FROM meta WHERE key = ?"
_ENTRIES: Final = f"SELECT {', '.join(_ENTRY_FIELDS)} FROM ledger WHERE receipt = ? ORDER BY seq"  # noqa: S608
_PAGE: Final = f"SELECT {', '.join(_ENTRY_FIELDS)} FROM ledger WHERE seq > ? ORDER BY seq LIMIT 500"  # noqa: S608

#: browsers keep no cookie for longer, so after this no request can carry an erased receipt (400 days, RFC 6265bis)
_REMEMBER_ERASED: Final = 400 * 86_400

_event_values: Final = attrgetter(*EVENT_FIELDS)


class SqliteStore:
    """EventStore and LedgerStore in one file. Threads and forked processes may share one object."""

    def __init__(self, path: Path, *, wait: float = 5.0) -> None:
        """Open or create the file, readable for its owner only; ``wait`` is how long to wait for a lock, in seconds.

        Raises StoreError when it can't be opened, is no file of ours, or was written by a newer version.
        """
        self._path = path
        self._lock = Lock()
        self._pid = os.getpid()
        self._closed = False
        self._inherited: list[object] = []
        self._engine = _engine(path, wait)
        try:
            with _faults(f"{path.name} can't be opened"):
                _create_private(path)
                self._prepare()
        except (StoreError, ValueError) as error:
            self._engine.dispose()
            raise StoreError(str(error)) from error

    def _prepare(self) -> None:
        with self._transaction() as connection:
            tables = inspect(connection).get_table_names()
            if tables and "meta" not in tables:
                raise StoreError(f"{self._path.name} is somebody else's database: give consentmw a file of its own")
            if not tables:
                schema.metadata.create_all(connection)
                connection.exec_driver_sql(_SET, ("schema", str(schema.SCHEMA_VERSION)))
            found = _get(connection, "schema")
            if not found.isdigit() or int(found) > schema.SCHEMA_VERSION:
                known = f"this version knows {schema.SCHEMA_VERSION}: update consentmw first"
                raise StoreError(f"{self._path.name} has schema {found or 'unknown'}, and {known}")

    # -- connections ---------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement on. Raises StoreError, ValueError."""
        self._check()
        # Threads wait here, in order; SQLite's own waiting is by polling and only fit between processes.
        with (
            self._lock,
            _faults(f"{self._path.name} did not take a change"),
            self._engine.execution_options(writes=True).begin() as connection,
        ):
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check()
        with _faults(f"{self._path.name} can't be read"), self._engine.connect() as connection:
            yield connection

    def _check(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path.name} is closed")
        if self._pid != os.getpid():
            # We were forked. A connection of the parent's must neither be used nor closed here: both would
            # break its locks, so it is only kept.
            self._pid, self._lock = os.getpid(), Lock()
            self._inherited.append(self._engine.pool)
            self._engine.dispose(close=False)

    def close(self) -> None:
        """Close every connection; using the store afterwards raises StoreError."""
        self._closed = True
        self._engine.dispose()

    # -- counters and rows ---------------------------------------------------------------------

    def write(self, counts: Mapping[Count, int], events: Sequence[Event]) -> None:
        added = [(*count, number) for count, number in counts.items()]
        rows = [_event_values(event) for event in events]
        receipts = json.dumps(list({event.receipt for event in events if event.receipt}))
        with self._transaction() as connection:
            gone = {receipt for (receipt,) in connection.exec_driver_sql(_ERASED, (receipts,))}
            if gone:
                rows = [row for event, row in zip(events, rows, strict=True) if event.receipt not in gone]
            if added:
                connection.exec_driver_sql(_ADD, added)
            whole = len(rows) // _TOGETHER * _TOGETHER
            for at in range(0, whole, _TOGETHER):
                connection.exec_driver_sql(_WRITE_TOGETHER, tuple(chain.from_iterable(rows[at : at + _TOGETHER])))
            if rows[whole:]:
                connection.exec_driver_sql(_WRITE, rows[whole:])

    def erase(self, receipt: str) -> int:
        if not receipt:
            return 0
        remember, delete = _ERASE
        with self._transaction() as connection:
            connection.exec_driver_sql(remember, (receipt, int(time())))
            return connection.exec_driver_sql(delete, (receipt,)).rowcount

    def erased(self, receipt: str) -> bool:
        with self._reading() as connection:
            return connection.exec_driver_sql(_ERASED, (json.dumps([receipt]),)).first() is not None

    def purge(self, now: int, limit: int = 10_000) -> int:
        delete, forget = _PURGE
        # Found without the write lock: with no index for it, the search reads the whole table once a day.
        with self._reading() as connection:
            expired = [(row, now) for (row,) in connection.exec_driver_sql(_EXPIRED, (now, limit))]
        with self._transaction() as connection:
            connection.exec_driver_sql(forget, (now - _REMEMBER_ERASED,))
            if expired:
                connection.exec_driver_sql(delete, expired)
        return len(expired)

    def counts(self, limit: int = 1_000, since: int = 0) -> list[dict[str, Any]]:
        with self._reading() as connection:
            return [dict(row) for row in connection.exec_driver_sql(_COUNTS, (since, limit)).mappings()]

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        query, parameters = (_EVENTS, (limit,)) if receipt is None else (_EVENTS_OF, (receipt, limit))
        with self._reading() as connection:
            return [dict(row) for row in connection.exec_driver_sql(query, parameters).mappings()]

    # -- ledger --------------------------------------------------------------------------------

    def append(self, link: Callable[[int, str], Entry]) -> Entry:
        with self._transaction() as connection:
            seq, last = _head(connection)
            found = connection.exec_driver_sql(_LAST).first()
            if found is not None and found[0] > seq:
                # Rows that we did not note: verify() will name them; a new one must still fit behind them.
                seq, last = found
            entry = link(seq + 1, last)
            connection.exec_driver_sql(_APPEND, _pack(entry))
            connection.exec_driver_sql(_SET, ("ledger", f"{entry.seq} {entry.hash}"))
        return entry

    def entries(self, receipt: str) -> list[Entry]:
        with self._reading() as connection:
            return [_unpack(row) for row in connection.exec_driver_sql(_ENTRIES, (receipt,))]

    def all(self) -> Iterator[Entry]:
        after = 0
        while True:
            # In pages, each a short read: a long one would keep the write-ahead log from being cut.
            with self._reading() as connection:
                page = [_unpack(row) for row in connection.exec_driver_sql(_PAGE, (after,))]
            if not page:
                return
            yield from page
            after = page[-1].seq

    def head(self) -> tuple[int, str]:
        with self._reading() as connection:
            return _head(connection)


def _engine(path: Path, wait: float) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": wait})

    @hooks.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        # Otherwise the driver begins transactions by its own rules, and never with the write lock.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=67108864")

    @hooks.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _create_private(path: Path) -> None:
    """Create the file and missing folders for their owner alone; SQLite gives its side files the same rights."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


@contextmanager
def _faults(what: str) -> Iterator[None]:
    """Tell what will never fit (ValueError) from what does not work now (StoreError)."""
    try:
        yield
    except (UnicodeError, OverflowError, IntegrityError, DataError, InterfaceError, ProgrammingError) as error:
        raise ValueError(f"{what}: a value can't be stored: {_cause(error)}") from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StoreError(f"{what}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    # SQLAlchemy's own text repeats the statement with its parameters, and those belong in no log.
    return str(getattr(error, "orig", None) or (error if isinstance(error, OSError) else type(error).__name__))


def _get(connection: Connection, key: str) -> str:
    return str(connection.exec_driver_sql(_GET, (key,)).scalar() or "")


def _head(connection: Connection) -> tuple[int, str]:
    seq, _, digest = _get(connection, "ledger").partition(" ")
    return (int(seq), digest) if seq.isdigit() else (0, "")


def _pack(entry: Entry) -> tuple[Any, ...]:
    values = (getattr(entry, name) for name in _ENTRY_FIELDS)
    return tuple(json.dumps(value) if isinstance(value, tuple) else value for value in values)


def _unpack(row: Sequence[Any]) -> Entry:
    values = dict(zip(_ENTRY_FIELDS, row, strict=True))
    for name in ("granted", "refused"):
        values[name] = _keys(values[name])
    # Anything but 0 and 1 was written by somebody else; it stays as it is, for verify() to find.
    values["gpc"] = bool(values["gpc"]) if values["gpc"] in (0, 1) else values["gpc"]
    return Entry(**values)


def _keys(text: Any) -> tuple[Any, ...]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    # Text that we did not write stays visible and fails the check of the chain.
    return tuple(found) if isinstance(found, list) else (text,)
