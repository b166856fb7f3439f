"""A store in one SQLite file: counters, rows and ledger of one machine, shared by its processes.

Durable when a call returns (WAL, synchronous=FULL). The SQL of the hot path is written out and goes
to the driver as it is; SQLAlchemy gives the tables, the pool and the transactions. What is deleted is
overwritten, in the file and in its log.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy import event as hooks
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError, SQLAlchemyError

from ..errors import StoreError
from .events import SqlEvents
from .handles import Key, handle, hold, let_go
from .remains import holds
from .rows import COUNT_FIELDS, OWN_FIELDS, ROLLUP_FIELDS

__all__ = ["SqliteStore"]

logger = logging.getLogger("consentmw.stores")


def _insert(table: str, columns: Sequence[str], rows: int = 1) -> str:
    # Names from our own code only; values always travel as parameters.
    values = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([values] * rows)}"  # noqa: S608


_ADD: Final = {
    table: _insert(table, (*key, "count"))
    + f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET count = count + excluded.count"
    for table, key in (("counts", COUNT_FIELDS), ("rollups", ROLLUP_FIELDS))
}
_KEEP: Final = f"{_insert('marks', ('day', 'tier', 'mark'))} ON CONFLICT DO NOTHING"
#: rows a statement. For each statement the driver lets go of the interpreter and has to win it back from the
#: thread that answers requests; row by row that costs more than the writing. SQLite takes 32,766 values at most.
_TOGETHER: Final = 100
_WRITE: Final = _insert("events", OWN_FIELDS)
_WRITE_TOGETHER: Final = _insert("events", OWN_FIELDS, _TOGETHER)
#: erasures whose scrubbing is still to come; should a process be killed in between, another does it
_UNSCRUBBED: Final = (
    "INSERT INTO meta (key, value) VALUES ('unscrubbed', '1') "
    "ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
)
_SCRUBBED: Final = "UPDATE meta SET value = max(CAST(value AS INTEGER) - 1, 0) WHERE key = 'unscrubbed'"
_LEFT: Final = "SELECT 1 FROM meta WHERE key = 'unscrubbed' AND CAST(value AS INTEGER) > 0"
_NONE_LEFT: Final = "DELETE FROM meta WHERE key = 'unscrubbed'"
#: characters of a text that is nobody else's: receipts have 22, pseudonyms 32
_TELLING: Final = 16
_EXPIRED: Final = "SELECT rowid FROM events WHERE expires <= ? LIMIT ?"
_PURGE: Final = "DELETE FROM events WHERE rowid = ? AND expires <= ?"


class SqliteStore(SqlEvents):
    """EventStore and LedgerStore in one file. Threads and forked processes may share one object."""

    _number = "rowid"

    def __init__(self, path: Path, *, wait: float = 5.0) -> None:
        """Open or create the file, readable for its owner only; ``wait`` is how long to wait for a lock, in seconds.

        Raises StoreError when it can't be opened, is no file of ours, or was written by a newer version.
        """
        super().__init__(_engine(path, wait), path.name, wait)
        self._file: Key | None = None
        self._begin_events()
        try:
            with self._faults(f"{path.name} can't be opened"):
                _make_folders(path)
                self._file = hold(path)
                with self._transaction() as connection:
                    self._prepare(connection)
        except (StoreError, ValueError) as error:
            self.close()
            raise StoreError(str(error)) from error

    def close(self) -> None:
        super().close()
        held, self._file = self._file, None
        if held is not None:
            let_go(held)

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except (UnicodeError, OverflowError, IntegrityError, DataError, InterfaceError, ProgrammingError) as error:
            raise ValueError(f"{what}: a value can't be stored: {_cause(error)}") from error
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StoreError(f"{what}: {_cause(error)}") from error

    def _alone(self, connection: Connection) -> None:
        """Nothing to wait for: every transaction here begins with the write lock of the file."""

    def _writing(self) -> AbstractContextManager[Connection]:
        # Every transaction that writes has the file to itself.
        return self._transaction()

    def _withdrawing(self) -> AbstractContextManager[Connection]:
        return self._transaction()

    def _insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        whole = len(rows) // _TOGETHER * _TOGETHER
        for at in range(0, whole, _TOGETHER):
            connection.exec_driver_sql(_WRITE_TOGETHER, tuple(chain.from_iterable(rows[at : at + _TOGETHER])))
        if left := list(rows[whole:]):
            connection.exec_driver_sql(_WRITE, left)

    def _add(self, connection: Connection, table: str, counts: Sequence[Sequence[Any]]) -> None:
        connection.exec_driver_sql(_ADD[table], list(counts))

    def _keep(self, connection: Connection, marks: Sequence[Sequence[Any]]) -> None:
        connection.exec_driver_sql(_KEEP, list(marks))

    def _shred(self, salts: Sequence[str]) -> None:
        self._scrub(salts)

    def _naming(self, connection: Connection) -> None:
        """Nothing to wait for, likewise."""

    def purge(self, now: int, limit: int = 10_000) -> int:
        # Found without the write lock: with no index for it, the search reads the whole table once a day.
        with self._reading() as connection:
            expired = [(row, now) for (row,) in connection.exec_driver_sql(_EXPIRED, (now, limit))]
        with self._transaction() as connection:
            self._tidy(connection, now)
            if expired:
                connection.exec_driver_sql(_PURGE, expired)
        if len(expired) < limit:
            self._finish()
        return len(expired)

    def _erasing(self, connection: Connection) -> None:
        connection.exec_driver_sql(_UNSCRUBBED)

    def _scrub(self, gone: Collection[str]) -> None:
        try:
            if not gone:
                self._finish()
                return
            # What is short may stand anywhere by chance, and what still has rows stands there rightly.
            wanted = [text for text in gone if len(text) >= _TELLING and not self.events(text, 1)]
            # Once in some hundred times a page keeps a copy from when it was split, which no deletion overwrites.
            if self._empty_log() and (not self._holds(wanted) or self._rewrite()):
                with self._transaction() as connection:
                    connection.exec_driver_sql(_SCRUBBED)
        except (StoreError, ValueError, OSError):
            # What was erased is erased for everybody who asks; only its bytes wait.
            logger.exception("what was erased could not be overwritten, and will be with the next purge")

    def _holds(self, texts: Collection[str]) -> bool:
        return self._file is not None and holds(handle(self._file), texts)

    def _wipe(self) -> None:
        self._empty_log()

    def _finish(self) -> None:
        """Do what a process did not that was killed between an erasure and its scrubbing; nobody knows of what."""
        self._empty_log()
        with self._reading() as connection:
            left = connection.exec_driver_sql(_LEFT).first()
        if left is not None and self._rewrite():
            with self._transaction() as connection:
                connection.exec_driver_sql(_NONE_LEFT)

    def _empty_log(self) -> bool:
        """Bring the log into the file and cut it to nothing; whether it could be."""
        busy = self._outside("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        if busy:
            logger.warning("%s is in use: what was erased stays in its log until the next time", self._name)
        return not busy

    def _rewrite(self) -> bool:
        """Write the whole file anew, with nothing in it but its rows; whether it could be."""
        self._outside("VACUUM")
        return self._empty_log()

    def _outside(self, statement: str) -> list[Any]:
        """The rows of a statement that wants no transaction."""
        with self._faults(f"{self._name} was not cleaned"), closing(self._engine.raw_connection()) as connection:
            rows: list[Any] = connection.cursor().execute(statement).fetchall()
            return rows


def _engine(path: Path, wait: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": wait}, hide_parameters=True
    )

    @hooks.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        # Otherwise the driver begins transactions by its own rules, and never with the write lock.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.execute("PRAGMA secure_delete=ON")

    @hooks.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_folders(path: Path) -> None:
    """Create missing folders for their owner alone, as the file is; SQLite gives its side files the same rights."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def _cause(error: BaseException) -> str:
    # SQLAlchemy's own text repeats the statement with its parameters, and those belong in no log.
    return str(getattr(error, "orig", None) or (error if isinstance(error, OSError) else type(error).__name__))
