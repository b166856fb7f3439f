"""Where rows and proofs are kept, behind two small interfaces: EventStore (thirteen verbs) and LedgerStore (ten).

Knows what a store must promise and how a setting names one. Refuses to know which rows a tier
allows or how a chain is made and sealed: events and ledger come ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from ..errors import SettingsError
from ..events import Count, Event
from ..events.uniques import Mark

if TYPE_CHECKING:
    from .clickhouse import ClickHouseRows
    from .memory import MemoryStore
    from .postgres import PostgresStore
    from .sqlite import SqliteStore

__all__ = [
    "NOTHING",
    "Entry",
    "EventStore",
    "Held",
    "HeldTier",
    "LedgerStore",
    "Link",
    "Published",
    "Told",
    "migrate",
    "open_event_store",
    "open_ledger_store",
    "open_rows",
    "open_store",
]

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = "postgresql://"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger: what was chosen, how, under which words; chained to the row before it.

    The fields follow ISO/IEC TS 27560:2023 (record, event and notice); what is the same for all rows
    (controller, recipients, withdrawal address) belongs to the notice that ``notice`` names.
    """

    seq: int
    #: the public id that the visitor holds
    receipt: str
    #: ISO 8601, UTC
    at: str
    #: given, refused, changed, withdrawn, once, override, disclosure ...
    event: str
    #: where and how: ``banner:accept``, ``choices:save``
    method: str
    #: keys of purposes; of an event ``once`` that of the service that was shown
    granted: tuple[str, ...]
    refused: tuple[str, ...]
    regime: str
    region: str
    #: stated, declined or unknown
    region_source: str
    #: of the text that was shown
    language: str
    gpc: bool
    #: id of the notice in force
    notice: str
    #: SHA-256 of the text that was shown
    shown: str
    #: of the purposes and services that were asked about
    fingerprint: str
    #: ISO 8601, UTC; "" when it does not expire
    valid_until: str
    #: the receipt this one replaces, or ""
    previous: str
    #: pseudonym of the account it is about; "" for the choice of a browser
    subject: str
    #: what the event says beyond these fields, as JSON, or ""
    detail: str
    #: random; without it nobody can guess what was sealed
    salt: str
    #: SHA-256 over salt, receipt, previous, subject and detail: stands for them in the hash, so that they can go
    sealed: str
    prev_hash: str
    hash: str


#: makes the row with this number after the row with this hash
Link: TypeAlias = Callable[[int, str], Entry]


#: rows that pages' scripts told, each with its counter, by the id under which they were told
Told: TypeAlias = Mapping[str, Sequence[tuple[Count, Event | None]]]
NOTHING: Final[Told] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Published:
    """One version of the privacy notice, as it was put in force."""

    id: str
    #: ISO 8601, UTC
    at: str
    #: of what was asked about: two versions with one fingerprint differ in words only
    fingerprint: str
    #: JSON
    content: str


class HeldTier(NamedTuple):
    """The rows of a tier."""

    rows: int
    #: of the oldest row, and the first moment at which one has to go; seconds since 1970
    oldest: float
    next_expiry: int


class Held(NamedTuple):
    """What a store holds that has to go one day."""

    tiers: Mapping[str, HeldTier]
    #: days whose visitors are still being told apart, and the marks of those
    salts: int
    marks: int
    #: the beginning of the first of these days, seconds since 1970
    oldest_salt: int | None


class EventStore(Protocol):
    """Keeps counters and rows. One thread writes; any thread may read.

    Every verb raises StoreError when the store can't do it now, and ValueError when it never will,
    because what it was given can't be stored; nothing is half done then.
    """

    def write(
        self,
        counts: Mapping[Count, int],
        events: Sequence[Event],
        batch: str = "",
        told: Told = NOTHING,
        marks: Sequence[Mark] = (),
    ) -> None:
        """Add to the counters, insert the rows and add them to the roll-ups, keep the marks; all or nothing, durably.

        Nothing happens for a ``batch`` that was written within the last week: it came again; nor for what was
        ``told`` under an id that was. A row whose receipt was erased is left out: it was under way when its visitor
        withdrew; of what was told, its counter, too. So is a mark whose day is closed.
        """

    def erase(self, receipt: str) -> int:
        """Delete the rows of a receipt, now and for ever; the number of rows.

        What they added to the roll-ups is taken out again, and so are the receipt's marks. The counters stay.
        """

    def erased(self, receipt: str) -> bool:
        """Whether the rows of a receipt were erased, by this process or another."""

    def purge(self, now: int, limit: int = 10_000) -> int:
        """Delete rows whose time is over at ``now`` (seconds since 1970); the number of rows.

        Up to ``limit``, where writers have to wait for a deletion. The roll-ups stay as they are: the rows were, and
        their time is over.
        """

    def salt(self, day: int) -> str:
        """The random salt of the day that begins at ``day`` (UTC), made when there is none; "" for a closed day."""

    def close_days(self, now: int) -> int:
        """Count the visitors of days that began 46 hours ago, and delete their marks and salts; how many days."""

    def counts(self, limit: int = 1_000, since: int = 0) -> list[dict[str, Any]]:
        """Counters from the hour ``since`` on, newest first: the fields of Count, and ``count``."""

    def events(self, receipt: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """Rows, last written first, of one receipt or of all; only the fields that a row's tier allows are not None."""

    def each(self, receipt: str) -> Iterator[dict[str, Any]]:
        """Every row of a receipt, last written first, without holding all of them."""

    def rollups(self, dimension: str, since: int, until: int) -> list[dict[str, Any]]:
        """hour, value, tier and count of a dimension, oldest first, for the hours from ``since`` to before ``until``.

        Values that were too many for their hour are counted as "(other)".
        """

    def uniques(self, since: int, until: int) -> list[dict[str, Any]]:
        """day, tier and count of visitors, oldest first, for days that begin from ``since`` to before ``until``."""

    def held(self) -> Held:
        """What is kept for a time only. Reads every row: for a person who asks, not for a request."""

    def close(self) -> None:
        """Let go of files and connections."""


class LedgerStore(Protocol):
    """Keeps the ledger: append only, in one order, durable. Any thread, any process. Raises StoreError."""

    def append(self, link: Link) -> Entry:
        """Call ``link`` with the next number and the last hash, and keep what it returns, under one lock."""

    def blank(
        self,
        receipts: Collection[str],
        subject: str,
        keep: Collection[str],
        record: Callable[[Sequence[int]], Sequence[Link]],
    ) -> int:
        """Empty salt, receipt, previous, subject and detail of rows, all or none; the number of rows.

        That is every row of these receipts, of those they replaced and of those that replaced them, and every row
        about the subject, but for the events in ``keep``. ``record`` gets their numbers, and what it returns is
        appended in the same transaction. Afterwards no file of the store holds what was emptied. Raises StoreError,
        with nothing done, when a row among them is not sealed: its hash would no longer fit.
        """

    def family(self, receipts: Collection[str]) -> set[str]:
        """These receipts, those they replaced and those that replaced them."""

    def lapse(self, now: str, passing: Collection[str], record: Callable[[Entry], Link]) -> int:
        """Append what ``record`` makes of each choice whose time was over at ``now``; the number of rows.

        Not of one that another replaced, that was revoked or that lapsed before; and not of events in ``passing``,
        which are no choices. What was looked at is not looked at again.
        """

    def entries(self, receipt: str) -> list[Entry]:
        """The rows of a receipt, oldest first."""

    def about(self, subject: str) -> list[Entry]:
        """The rows about an account, oldest first; none for ""."""

    def all(self) -> Iterator[Entry]:
        """Every row in order, without holding all of them."""

    def head(self) -> tuple[int, str]:
        """Number and hash of the row that was appended last, noted apart from the rows; (0, "") when empty."""

    def publish(self, notice: Published) -> bool:
        """Keep a version of the notice; False, and nothing changed, when one with its id is there."""

    def published(self) -> list[Published]:
        """Every version of the notice, oldest first."""

    def close(self) -> None:
        """Let go of files and connections."""


def open_store(url: str) -> MemoryStore | SqliteStore | PostgresStore:
    """The store that a setting names, for events and ledger alike.

    ``memory:`` forgets everything with the process; ``sqlite:///relative.db``, ``sqlite:////absolute.db``;
    ``postgresql://user@host:5432/database``, or ``postgresql:///database?host=/run/postgresql`` for a socket.
    Raises SettingsError for anything else, StoreError when it can't be opened.
    """
    if url == "memory:":
        from .memory import MemoryStore

        return MemoryStore()
    if url.startswith(_POSTGRES):
        try:
            from .postgres import PostgresStore
        except ImportError as error:
            raise SettingsError("store", "for PostgreSQL, install consentmw[postgres]") from error
        return PostgresStore(url)
    path = url.removeprefix(_SQLITE)
    if path == url or not path or path == ":memory:" or "?" in path or "\0" in path:
        # Never the whole URL: those of database servers hold passwords.
        scheme = url.partition(":")[0][:20]
        known = "memory:, sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database"
        raise SettingsError("store", f"{known}, not {scheme!r}")
    # Imported here, because SQLAlchemy is large and a worker that never records does not need it.
    from .sqlite import SqliteStore

    return SqliteStore(Path(path))


def open_event_store(url: str, rows: str = "") -> EventStore:
    """:func:`open_store`, for the recorder; its rows go to the ClickHouse server at ``rows``, if one is named."""
    if not rows:
        return open_store(url)
    from .split import SplitStore

    behind = open_rows(rows)
    return SplitStore(open_store(url), behind)


def open_rows(url: str) -> ClickHouseRows:
    """The rows at an address of ClickHouse; they connect when they are used. Raises SettingsError."""
    try:
        from .clickhouse import connecting
    except ImportError as error:
        raise SettingsError("events_store", "for ClickHouse, install consentmw[clickhouse]") from error
    return connecting(url)


def migrate(url: str, rows: str = "") -> Iterator[tuple[str, int, int]]:
    """Open the stores that settings name, which brings them to this version, and close them again.

    Gives for each the option that names it, the version that was found (0: there was none) and the one it has now.
    Raises SettingsError and StoreError.
    """
    store = open_store(url)
    store.close()
    yield "store", store.was, store.version
    if rows:
        behind = open_rows(rows)
        try:
            behind.open()
            yield "events_store", behind.was, behind.version
        finally:
            behind.close()


def open_ledger_store(url: str) -> LedgerStore:
    """:func:`open_store`, for the ledger."""
    return open_store(url)
