"""Rows in ClickHouse: one wide table, a partition a month, rows that leave by themselves when their time is over.

Knows the table and how it is asked; refuses to know counters and receipts that were erased, which a
SQL store keeps beside it (see split.py). A question names a receipt by its hash only, because servers
keep the questions that they were asked. Of what the server says, only the name of the error is told on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any, Final, TypeAlias

import clickhouse_connect
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.client import Client

from ..errors import SettingsError, StoreError
from ..events import EVENT_FIELDS, Event, complete
from ..events.rollups import DIMENSIONS, Rollup
from ..settings import CLICKHOUSE_VARIABLE, clickhouse_parameters
from . import HeldTier
from .columns import ALLOWED, CREATE, DATE, READ, ROWS, TYPES
from .rows import mark, storable

__all__ = ["ClickHouseRows", "connecting"]

#: seconds to wait for a connection, and for an answer
_CONNECT: Final = 5
_ANSWER: Final = 10
#: written beside the rows; a database with a higher one is not touched
_VERSION: Final = 1
#: what makes the table of the version before into one of this version
_CHANGES: Final[Mapping[int, Sequence[str]]] = {}
_VERSIONS: Final = "consentmw_versions"
#: bytes of parts that are written anew while an erasure waits; larger ones are left to the daily purge
_AT_ONCE: Final = 256 * 1024 * 1024
#: rows in one answer, where there may be many
_PAGE: Final = 500
#: hashes in one question; a server reads 256 kB of it
_HASHES: Final = 2_000

Block: TypeAlias = Sequence[Sequence[Any]]


#: the last moment that there is
_LAST: Final = 2**32 - 1
#: dimension -> what is counted, and of which rows
_SAID: Final[Mapping[str, tuple[str, str]]] = {
    **{name: (name, "kind = 'page'") for name in DIMENSIONS},
    "route": ("concat(kind, ' ', route)", "true"),
}
_CREATE_VERSIONS: Final = (
    f"CREATE TABLE IF NOT EXISTS {_VERSIONS} (version UInt32, at DateTime('UTC') DEFAULT now()) "
    "ENGINE = MergeTree ORDER BY version"
)
_ADD_VERSION: Final = f"INSERT INTO {_VERSIONS} (version) VALUES ({{version:UInt32}})"  # noqa: S608
_TABLES: Final = (
    "SELECT name, engine, engine_full FROM system.tables WHERE database = currentDatabase() "  # noqa: S608
    f"AND name IN ('{ROWS}', '{_VERSIONS}')"
)
_OF: Final = "SHA256(receipt) = unhex({mark:String})"
_OVER: Final = "expires <= {now:Int64}"
_MASKED: Final = (
    "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() "  # noqa: S608
    f"AND table = '{ROWS}' AND active AND has_lightweight_delete"
)
#: Parts that nobody reads any more go when some partition is dropped, and otherwise when the server finds the time.
#: No row is of this month: a date ends in 2106.
_CLEAR: Final = f"ALTER TABLE {ROWS} DROP PARTITION ID '999912'"
#: the table behind a distributed one
_BEHIND: Final = re.compile(r"Distributed\('([\w.-]+)', '([\w.-]+)', '([\w.-]+)'")


class ClickHouseRows:
    """The rows of an event store. Threads and forked processes may share one object; it connects when it is used.

    Every verb raises StoreError when the server can't do it now.
    """

    def __init__(self, connect: Callable[[], Client], name: str) -> None:
        """``connect`` gives a client of our own; ``name`` stands in errors and holds no secret."""
        self._connect = connect
        self._name = name
        self._lock = Lock()
        self._pid = os.getpid()
        self._client: Client | None = None
        self._inherited: list[Client | None] = []
        self._closed = False
        #: the version that was found; 0: there was none
        self.was = 0
        self.version = _VERSION
        #: where rows are deleted: the table itself, or those behind it on the machines of a cluster
        self._place = ROWS
        self._alone = True

    # -- writing -------------------------------------------------------------------------------

    def block(self, rows: Sequence[tuple[int, Event]], batch: str) -> Block:
        """What :meth:`insert` takes, of rows with their number in the batch. Raises ValueError for what never fits."""
        flat = [
            # The context is the fourth, and the last is no column.
            (batch, number, *event[:3], *event[4:-1], *complete(event.context)[:-1])
            for number, event in rows
        ]
        storable(flat)
        block = list(zip(*flat, strict=True))
        for name, values, allowed in zip(EVENT_FIELDS[1:], block[2:], ALLOWED, strict=False):
            if wrong := set(map(type, values)) - allowed:
                raise ValueError(f"{name}: a {wrong.pop().__name__} can't be stored")
        return block

    def insert(self, block: Block) -> None:
        """Insert rows; those that are there already under their batch and number count once."""
        if block:
            with self._asking("did not take rows") as client:
                types = [get_from_name(kind) for kind in TYPES.values()]
                client.insert(ROWS, block, column_names=list(TYPES), column_types=types, column_oriented=True)

    def erase(self, receipt: str) -> int:
        """Delete the rows of a receipt, wherever they are; the number of rows."""
        # In any case: another machine may have rows that this one was not told of yet.
        gone = self._delete(_OF, {"mark": mark(receipt)}, even_none=True)
        if gone:
            self._wipe(_AT_ONCE)
        return gone

    def sweep(self, marks: Collection[str], since: float) -> int:
        """Delete the rows of these hashes of receipts from the time ``since`` on; the number of rows."""
        gone, known = 0, list(marks)
        for at in range(0, len(known), _HASHES):
            # Hexadecimal from our own code, as each one is checked to be.
            hashes = ", ".join(f"unhex('{int(one, 16):064x}')" for one in known[at : at + _HASHES])
            where = f"SHA256(receipt) IN ({hashes}) AND hour >= toStartOfHour({DATE.format('{since:Float64}')})"
            gone += self._delete(where, {"since": since})
        return gone

    def purge(self, now: int) -> int:
        """Delete the rows whose time is over and that the server did not delete itself; the number of rows.

        Then the server writes anew what rows were deleted from, so that no file holds them any more.
        """
        gone = self._delete(_OVER, {"now": now})
        self._wipe(None)
        return gone

    def _delete(self, where: str, values: Mapping[str, Any], *, even_none: bool = False) -> int:
        """Delete rows, for whoever reads from now on; the number of rows that were to be seen."""
        (row,) = self._ask(f"SELECT count() FROM {ROWS} FINAL WHERE {where}", values)  # noqa: S608
        gone = int(row[0])
        if gone or even_none:
            self._do(f"DELETE FROM {self._place} WHERE {where}", values)  # noqa: S608
        return gone

    def _wipe(self, most: int | None) -> None:
        """Have parts written anew without the rows that were deleted from them.

        ``most``: only when they are no more bytes than these, and then wait for it.
        """
        again = f"ALTER TABLE {self._place} APPLY DELETED MASK"
        if not self._alone:
            # The machines of a cluster know their parts; each has a thread that clears them.
            if most is None:
                self._do(again, {}, mutations_sync=0)
            return
        (row,) = self._ask(_MASKED)
        masked = int(row[0] or 0)
        if masked and (most is None or masked <= most):
            self._do(again, {}, mutations_sync=int(masked <= _AT_ONCE))
        if masked or most is None:
            self._do(_CLEAR, {})

    # -- reading -------------------------------------------------------------------------------

    def each(self, receipt: str) -> Iterator[dict[str, Any]]:
        """Every row of a receipt, without holding all of them."""
        after: tuple[str, int] = ("", -1)
        while True:
            values = {"mark": mark(receipt), "batch": after[0], "number": after[1], "limit": _PAGE}
            found = self._ask(
                f"SELECT batch, number, {READ} FROM {ROWS} FINAL WHERE {_OF} "  # noqa: S608
                "AND (batch, toInt64(number)) > ({batch:String}, {number:Int64}) "
                "ORDER BY batch, number LIMIT {limit:UInt64}",
                values,
            )
            for batch, number, *row in found:
                yield dict(zip(EVENT_FIELDS, (f"{batch}/{number}", *row), strict=True))
            if len(found) < _PAGE:
                return
            after = found[-1][0], found[-1][1]

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """Rows, those of the newest hour and batch first, of one receipt or of all; their id is ``batch/number``."""
        own = "" if receipt is None else f"WHERE {_OF} "
        values = {"limit": limit} if receipt is None else {"limit": limit, "mark": mark(receipt)}
        found = self._ask(
            f"SELECT concat(batch, '/', toString(number)), {READ} FROM {ROWS} FINAL {own}"  # noqa: S608
            "ORDER BY hour DESC, batch DESC, number DESC LIMIT {limit:UInt64}",
            values,
        )
        return [dict(zip(EVENT_FIELDS, row, strict=True)) for row in found]

    def rollups(self, dimension: str, since: int, until: int) -> dict[Rollup, int]:
        """What the rows of these hours say in a dimension, by events/rollups.py's rules, what is frequent first."""
        if dimension not in _SAID:
            return {}
        said, also = _SAID[dimension]
        found = self._ask(
            f"SELECT toUnixTimestamp(hour), {said} AS value, tier, count() AS times FROM {ROWS} FINAL "  # noqa: S608
            "WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour < toDateTime({until:UInt32}, 'UTC') "
            f"AND {also} AND ifNull(bot, '') = '' AND {said} IS NOT NULL "
            "GROUP BY hour, value, tier ORDER BY hour, times DESC, value, tier",
            {"since": max(0, since), "until": min(until, _LAST)},
        )
        return {Rollup(hour, dimension, value, tier): times for hour, value, tier, times in found}

    def held(self) -> dict[str, HeldTier]:
        """How many rows a tier has, when the oldest was written, and when the first of them goes."""
        found = self._ask(f"SELECT tier, count(), min(at), min(expires) FROM {ROWS} FINAL GROUP BY tier")  # noqa: S608
        return {tier: HeldTier(*rest) for tier, *rest in found}

    # -- connections ---------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, if need be, and bring the table to this version, which happens by itself when it is used."""
        with self._asking("can't be opened"):
            pass

    def close(self) -> None:
        """Let go of the connections; using the rows afterwards raises StoreError."""
        with self._lock:
            self._closed = True
            if self._client is not None and self._pid == os.getpid():
                self._client.close()

    def _ask(self, question: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        with self._asking("can't be read") as client:
            found: Sequence[Sequence[Any]] = client.query(question, parameters=dict(values or {})).result_rows
            return found

    def _do(self, statement: str, values: Mapping[str, Any], **settings: Any) -> None:
        with self._asking("did not take a change") as client:
            client.command(statement, parameters=dict(values), settings=settings)

    @contextmanager
    def _asking(self, failed: str) -> Iterator[Client]:
        if self._pid != os.getpid():
            # We were forked. The parent's connections must neither be used nor closed here.
            self._pid, self._lock = os.getpid(), Lock()
            self._inherited.append(self._client)
            self._client = None
        try:
            with self._lock:
                if self._closed:
                    raise StoreError(f"{self._name} is closed")
                if self._client is None:
                    client = self._connect()
                    try:
                        self._prepare(client)
                    except BaseException:
                        client.close()
                        raise
                    self._client = client
            yield self._client
        except StoreError:
            raise
        except Exception as error:
            # Whatever it is, for the values were checked before: a driver that reads what is no ClickHouse raises
            # anything. Not chained, since server and driver repeat what they were asked and what they were given.
            raise StoreError(f"{self._name} {failed}: {_told(error)}") from None

    def _prepare(self, client: Client) -> None:
        """Make what is missing. Raises StoreError when what is there is not ours, or is newer."""
        found = {name: (engine, full) for name, engine, full in client.query(_TABLES).result_rows}
        if ROWS in found and _VERSIONS not in found:
            raise StoreError(f"{self._name} has a table {ROWS} of somebody else's: give consentmw another database")
        if _VERSIONS not in found:
            client.command(_CREATE_VERSIONS)
        self.was = int(client.query(f"SELECT max(version) FROM {_VERSIONS}").result_rows[0][0])  # noqa: S608
        if self.was > _VERSION:
            known = f"this version knows {_VERSION}: update consentmw first"
            raise StoreError(f"{self._name} has schema {self.was}, and {known}")
        if ROWS not in found:
            client.command(CREATE)
        for version in range(self.was + 1, _VERSION + 1):
            for statement in _CHANGES.get(version, ()):
                client.command(statement)
            client.command(_ADD_VERSION, parameters={"version": version})
        engine, full = found.get(ROWS, ("ReplacingMergeTree", ""))
        self._place, self._alone = ROWS, engine == "ReplacingMergeTree"
        if behind := _BEHIND.match(full):
            cluster, database, table = behind.groups()
            self._place = f"`{database}`.`{table}` ON CLUSTER `{cluster}`"


def connecting(url: str) -> ClickHouseRows:
    """The rows behind an address; the password is in the environment. Raises SettingsError for what is no address."""
    try:
        read = clickhouse_parameters(url)
    except ValueError as error:
        raise SettingsError("events_store", str(error)) from error
    connect = partial(
        clickhouse_connect.get_client,
        interface="https" if read.secure else "http",
        host=read.host,
        port=read.port,
        username=read.user,
        password=os.environ.get(CLICKHOUSE_VARIABLE, ""),
        database=read.database,
        connect_timeout=_CONNECT,
        send_receive_timeout=_ANSWER,
        client_name="consentmw",
        # Threads ask at once, which one session would refuse.
        autogenerate_session_id=False,
        dedicated_pool=True,
        # Rows are there, and gone, when the server says so; copies of it on other machines follow by themselves.
        settings={"async_insert": 0, "distributed_foreground_insert": 1, "lightweight_deletes_sync": 1},
    )
    # Not the user: together with the host that is half of what a stranger would need.
    return ClickHouseRows(connect, f"{read.database} on {read.host}")


def _told(error: BaseException) -> str:
    code, name = getattr(error, "code", None), getattr(error, "name", None)
    return f"the server says {name or 'error'} ({code})" if code else f"no answer ({type(error).__name__})"
