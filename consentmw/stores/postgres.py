"""A store in a PostgreSQL database: counters, rows and ledger of many machines.

Everything is in a schema of its own, ``consentmw``, so the database may be shared. Rows come in by COPY
and go into a partition for each month; a trigger keeps the ledger from being changed. No call waits for
ever: the server ends what takes too long, and when the server itself is silent, we hang up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import SettingsError, StoreError
from ..settings import postgres_parameters
from .events import SqlEvents
from .guard import GUARD, GUARD_3
from .rows import COUNT_FIELDS, OWN_FIELDS, ROLLUP_FIELDS

__all__ = ["PostgresStore"]

_RV = TypeVar("_RV")

#: names of our advisory locks: the first number is ours, the second says what for
_LOCK: Final = "SELECT pg_advisory_xact_lock(1668247411, {})"
_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(1668247411, {})"
_LEDGER, _ERASING, _TABLES, _NAMING = 1, 2, 3, 4

_COPY: Final = f"COPY events ({', '.join(OWN_FIELDS)}) FROM STDIN"


def _add_to(table: str, key: Sequence[str]) -> str:
    types = ", ".join(f"%s::{'bigint' if name == 'hour' else 'text'}[]" for name in key)
    return (
        f"INSERT INTO {table} ({', '.join(key)}, count) SELECT * FROM unnest({types}, %s::bigint[]) "  # noqa: S608
        # In one order for everybody: two writers that wait for each other's counters would wait in vain.
        f"ORDER BY {', '.join(str(n + 1) for n in range(len(key)))} "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET count = {table}.count + excluded.count"
    )


_ADD: Final = {"counts": _add_to("counts", COUNT_FIELDS), "rollups": _add_to("rollups", ROLLUP_FIELDS)}
_KEEP: Final = (
    "INSERT INTO marks (day, tier, mark) SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) "
    "ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING"
)
#: Rows that another process is deleting at this moment are left to it.
_PURGE: Final = text(
    "DELETE FROM events WHERE id = ANY(ARRAY("
    "SELECT id FROM events WHERE expires <= :now LIMIT :limit FOR UPDATE SKIP LOCKED))"
)
_MONTHS: Final = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
    "WHERE inhparent = 'events'::regclass AND relname ~ '^events_[0-9]{4}_[0-9]{2}$' AND relname < :name ORDER BY 1"
)
#: A key of a partitioned table would have to hold the time, too; this is what rows are counted and ordered by.
_EVENTS: Final = (
    "CREATE TABLE events_other PARTITION OF events DEFAULT",
    "CREATE SEQUENCE events_number",
    "ALTER TABLE events ADD COLUMN id bigint NOT NULL DEFAULT nextval('events_number')",
    "CREATE INDEX events_id ON events (id)",
)
_ASIDE: Final = """
DO $$ DECLARE part text; BEGIN
    FOR part IN SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = 'events'::regclass LOOP
        EXECUTE format('ALTER TABLE %%I RENAME TO %%I', part, 'version_3_' || part);
    END LOOP;
    DROP INDEX IF EXISTS events_expires;
END $$
"""
#: What a database or a role may have set otherwise. Acknowledged means on the disk; a stricter setting stays.
_SESSION: Final = """
SELECT set_config('search_path', 'consentmw', false),
       set_config('lock_timeout', %(wait)s, false),
       set_config('statement_timeout', %(patience)s, false),
       set_config('idle_in_transaction_session_timeout', %(patience)s, false),
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                  ELSE current_setting('synchronous_commit') END, false)
"""


class PostgresStore(SqlEvents):
    """EventStore and LedgerStore in one database. Threads, forked processes and machines may share it."""

    _schema = "consentmw"

    def __init__(self, url: str, *, wait: float = 5.0) -> None:
        """Connect and make what is missing; ``wait``: seconds to wait for a connection or a lock.

        A statement may take twice as long. Raises SettingsError for an address that is none, StoreError when the
        database can't be opened, is no place for our tables, or was written by a newer version.
        """
        try:
            read = postgres_parameters(url)
        except ValueError as error:
            raise SettingsError("store", str(error)) from error
        # Not the user: together with the host that is half of what a stranger would need.
        name = f"{read.get('dbname') or 'the database'} on {read.get('host') or 'this machine'}"
        super().__init__(_engine(read, wait), name, wait)
        self._begin_events()
        self._month = ""
        try:
            with self._transaction("can't be opened") as connection:
                connection.exec_driver_sql(_LOCK.format(_TABLES))
                self._prepare(connection)
        except (StoreError, ValueError) as error:
            self._engine.dispose()
            raise StoreError(str(error)) from error
        self._plan(time())

    def _create(self, connection: Connection) -> None:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise StoreError(f"{self._name} is in {encoding}: consentmw needs a database in UTF8")
        # An administrator may have made it for a role that may not.
        if connection.exec_driver_sql("SELECT to_regnamespace('consentmw')").scalar() is None:
            connection.exec_driver_sql("CREATE SCHEMA consentmw")
        super()._create(connection)
        for statement in (*_EVENTS, *GUARD):
            connection.exec_driver_sql(statement)

    def _create_events(self, connection: Connection) -> None:
        super()._create_events(connection)
        for statement in _EVENTS:
            connection.exec_driver_sql(statement)

    def _change(self, connection: Connection, version: int) -> None:
        if version == 4:
            # The new partitions take the names of the old ones.
            connection.exec_driver_sql(_ASIDE)
        super()._change(connection, version)
        for statement in GUARD_3 if version == 3 else ():
            connection.exec_driver_sql(statement)

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, psycopg.Error, UnicodeError, OverflowError) as error:
            cause = getattr(error, "orig", None) or error
            if _never(cause):
                # Neither shown nor chained: the server's message repeats the value.
                raise ValueError(f"{what}: a value can't be stored ({type(cause).__name__})") from None
            raise StoreError(f"{what}: {_told(cause)}") from error

    def _alone(self, connection: Connection) -> None:
        connection.exec_driver_sql(_LOCK.format(_LEDGER))

    def _erasing(self, connection: Connection) -> None:
        """Nothing to note, since there is nothing to scrub."""

    def _scrub(self, gone: Collection[str]) -> None:
        """Left to the server: it overwrites old versions of rows when it vacuums, and keeps what its backups need."""

    def _wipe(self) -> None:
        """Left to the server, too."""

    # -- counters and rows ---------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        now = time()
        if _month(now) != self._month:
            self._plan(now)
        with self._transaction() as connection:
            # Shared among writers: a row must not be on its way, unseen, while its receipt is being erased.
            connection.exec_driver_sql(_SHARED.format(_ERASING))
            yield connection

    @contextmanager
    def _withdrawing(self) -> Iterator[Connection]:
        with self._transaction() as connection:
            connection.exec_driver_sql(_LOCK.format(_ERASING))
            yield connection

    def _insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        with _cursor(connection) as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)

    def _add(self, connection: Connection, table: str, counts: Sequence[Sequence[Any]]) -> None:
        with _cursor(connection) as cursor:
            cursor.execute(_ADD[table], [list(column) for column in zip(*counts, strict=True)])

    def _keep(self, connection: Connection, marks: Sequence[Sequence[Any]]) -> None:
        with _cursor(connection) as cursor:
            cursor.execute(_KEEP, [list(column) for column in zip(*marks, strict=True)])

    def _shred(self, salts: Sequence[str]) -> None:
        # Vacuuming leaves bytes where they were: a table this small gets a new file, and the old one goes. A role that
        # may not do that leaves it to the owner of the tables.
        with suppress(StoreError, ValueError), self._transaction() as connection:
            connection.exec_driver_sql("LOCK TABLE salts IN ACCESS EXCLUSIVE MODE")
            rows = connection.exec_driver_sql("SELECT day, salt FROM salts").all()
            connection.exec_driver_sql("TRUNCATE salts")
            for day, salt in rows:
                if salt not in salts:
                    connection.exec_driver_sql("INSERT INTO salts (day, salt) VALUES (%s, %s)", (day, salt))

    def _naming(self, connection: Connection) -> None:
        connection.exec_driver_sql(_LOCK.format(_NAMING))

    def purge(self, now: int, limit: int = 10_000) -> int:
        with self._transaction() as connection:
            self._tidy(connection, now)
            gone = connection.execute(_PURGE, {"now": now, "limit": limit}).rowcount
        if gone < limit:
            self._drop_months(min(now, int(time())))
        return gone

    # -- months --------------------------------------------------------------------------------

    def _plan(self, now: float) -> None:
        """Have a partition for this month and the next; without one, rows go into the one for all others."""
        self._month = _month(now)
        # It may fail, for want of rights or because rows of that month are there already. Nothing is lost by it.
        with suppress(StoreError, ValueError), self._transaction() as connection:
            connection.exec_driver_sql(_LOCK.format(_TABLES))
            for ahead in range(2):
                month = _month(now, ahead)
                if connection.exec_driver_sql(f"SELECT to_regclass('{month}')").scalar() is None:
                    connection.exec_driver_sql(
                        f"CREATE TABLE {month} PARTITION OF events "
                        f"FOR VALUES FROM ({_start(now, ahead).timestamp()}) TO ({_start(now, ahead + 1).timestamp()})"
                    )

    def _drop_months(self, now: int) -> None:
        """Drop the partitions of past months that are empty; those in use at this moment are left for tomorrow."""
        with self._reading() as connection:
            past = [name for (name,) in connection.execute(_MONTHS, {"name": _month(now)})]
        for month in past:
            empty = f"SELECT NOT EXISTS (SELECT FROM {month})"  # noqa: S608
            with self._reading() as connection:
                if not connection.exec_driver_sql(empty).scalar():
                    continue
            with suppress(StoreError, ValueError), self._transaction() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 500")
                # The table before its partition, as writers do.
                connection.exec_driver_sql("LOCK TABLE ONLY events IN ACCESS EXCLUSIVE MODE")
                if connection.exec_driver_sql(empty).scalar():
                    connection.exec_driver_sql(f"DROP TABLE {month}")


def _start(now: float, ahead: int) -> datetime:
    """The first moment, in UTC, of the month ``ahead`` months after the one of ``now``."""
    today = datetime.fromtimestamp(now, UTC)
    months = today.year * 12 + today.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def _month(now: float, ahead: int = 0) -> str:
    return f"events_{_start(now, ahead):%Y_%m}"


# -- connections --------------------------------------------------------------------------------


class _Connection(psycopg.Connection[TupleRow]):
    """A connection that does not wait for ever for a server that is there and says nothing."""

    #: seconds
    patience: float = 15.0

    def wait(self, gen: PQGen[_RV], interval: float = 0.1, timeout: float | None = None) -> _RV:
        end = monotonic() + self.patience
        try:
            return super().wait(gen, interval, timeout=self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            if monotonic() >= end:
                # What the server would say next belongs to a question that nobody asks any more.
                self.pgconn.finish()
            raise


def _engine(read: Mapping[str, Any], wait: float) -> Engine:
    options = {
        "connect_timeout": max(2, round(wait)),
        "application_name": "consentmw",
        **read,
        "client_encoding": "utf8",
    }
    limits = {"wait": f"{round(wait * 1000)}ms", "patience": f"{round(wait * 2000)}ms"}

    def connect() -> psycopg.Connection[TupleRow]:
        connection = _Connection.connect(autocommit=True, **options)
        # After the server's own limit, so that it has the chance to say which one it was.
        connection.patience = wait * 2 + 1
        try:
            connection.execute(_SESSION, limits)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=0,
        pool_timeout=wait,
    )


@contextmanager
def _cursor(connection: Connection) -> Iterator[psycopg.Cursor[TupleRow]]:
    """The driver's own cursor, for COPY, inside the transaction of ``connection``."""
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            yield cursor
    except psycopg.Error:
        if driver.closed:
            connection.invalidate()
        raise


def _never(cause: BaseException) -> bool:
    """Whether trying again is in vain: wrong data (22), a broken constraint (23), over a limit of the server (54)."""
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in ("22", "23", "54")
    return isinstance(cause, (UnicodeError, OverflowError, psycopg.DataError, psycopg.ProgrammingError))


def _told(cause: BaseException) -> str:
    # Of the server's answer the first line only: the others repeat statements and values.
    if isinstance(cause, psycopg.Error):
        return (cause.diag.message_primary or str(cause)).strip().partition("\n")[0] or type(cause).__name__
    return type(cause).__name__
