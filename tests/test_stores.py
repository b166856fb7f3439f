"""Every store keeps the same promises; and what only a file can break."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Table

from consentmw.errors import LedgerError, SettingsError, StoreError
from consentmw.events import EVENT_FIELDS, TIER_FIELDS, Context, Count, Event
from consentmw.events.rollups import Rollup
from consentmw.ledger import Ledger
from consentmw.stores import (
    Entry,
    Published,
    handles,
    open_event_store,
    open_ledger_store,
    open_rows,
    open_store,
    schema,
)
from consentmw.stores.memory import MemoryStore
from consentmw.stores.postgres import PostgresStore
from consentmw.stores.rows import CONTEXT_FIELDS, OWN_FIELDS
from consentmw.stores.split import SplitStore
from consentmw.stores.sqlite import SqliteStore

from . import clickhouse
from .postgres import Server

Proofs = MemoryStore | SqliteStore | PostgresStore
Store = Proofs | SplitStore

#: far ahead: ClickHouse deletes by itself what expired by the clock
HOUR = 3_600_000_000
COUNT = Count(HOUR, "page", "/outages", "2xx")


@pytest.fixture(params=["memory", "sqlite", "postgresql", "clickhouse"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        opened = open_store(server.url())
    elif request.param == "clickhouse":
        rows: clickhouse.Server = request.getfixturevalue("clickhouse")
        opened = SplitStore(open_store(f"sqlite:///{tmp_path}/events.db"), open_rows(rows.url()))
    else:
        opened = open_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/events.db")
    yield opened
    opened.close()


#: those that keep a ledger, too
keeps_proofs = pytest.mark.parametrize("store", ["memory", "sqlite", "postgresql"], indirect=True)


def event(number: int, receipt: str = "", tier: str = "visit", expires: int = HOUR + 86_400) -> Event:
    said = {name: f"{name} é 日本" for name in TIER_FIELDS[tier]}
    own = {
        name: number if name in ("status", "duration_ms", "value") else said[name]
        for name in said
        if name in OWN_FIELDS
    }
    alike: dict[str, Any] = {name: said[name] for name in said if name in CONTEXT_FIELDS}
    context = Context(tier, receipt, "n1", **alike)
    return Event(HOUR + number, "page", expires, context, **own)  # type: ignore[arg-type]


def whole(event: Event) -> dict[str, Any]:
    """A row as a store gives it back, but for its number."""
    own = {name: value for name, value in event._asdict().items() if name != "context"}
    assert own.pop("told") == event.told
    return {**own, **dict(zip(CONTEXT_FIELDS, event.context, strict=False))}


def entry(seq: int, last: str, receipt: str = "r1") -> Entry:
    """A row of a ledger; how its hash is made is the ledger's business."""
    texts = {field.name: field.name for field in fields(Entry) if field.type == "str"}
    values = {**texts, "seq": seq, "receipt": receipt, "prev_hash": last, "hash": f"hash {seq}"}
    return Entry(**values, granted=("analytics",), refused=("sale", "é"), gpc=True)  # type: ignore[arg-type]


def ascii_start(text: str) -> str:
    return ascii(text[:12])


def times(store: Store, receipt: str | None = None) -> list[float]:
    return [row["at"] for row in store.events(receipt)]


# -- counters and rows --------------------------------------------------------------------------


def test_counters_add_up(store: Store) -> None:
    store.write({COUNT: 2}, [])
    store.write({COUNT: 3, COUNT._replace(hour=HOUR + 3600): 1}, [])
    assert store.counts() == [
        {**COUNT._replace(hour=HOUR + 3600)._asdict(), "count": 1},
        {**COUNT._asdict(), "count": 5},
    ]
    assert [row["count"] for row in store.counts(since=HOUR + 1)] == [1]
    assert len(store.counts(limit=1)) == 1


@pytest.mark.parametrize("tier", ["coarse", "visit", "person"])
def test_a_row_comes_back_as_it_was(store: Store, tier: str) -> None:
    """Every column, no more and no fewer: the raw agent has none."""
    made = event(1, "r1", tier)
    store.write({}, [made])
    (row,) = store.events()
    assert set(row) == set(EVENT_FIELDS)
    assert {name: value for name, value in row.items() if name != "id"} == whole(made)


def test_rows_come_newest_first_and_by_receipt(store: Store) -> None:
    store.write({}, [event(1, "r1"), event(3, "r2"), event(2, "r1")])
    assert [row["at"] - HOUR for row in store.events()] == [2, 3, 1]
    assert [row["at"] - HOUR for row in store.events("r1")] == [2, 1]
    assert [row["at"] - HOUR for row in store.events(limit=1)] == [2]


def test_a_replay_counts_once(store: Store) -> None:
    """Delivery is at least once: a batch that comes again is known, its counters and its rows."""
    store.write({COUNT: 2}, [event(1), event(2)], "batch 1")
    store.write({COUNT: 2}, [event(1), event(2)], "batch 1")
    store.write({COUNT: 2}, [event(1), event(2)], "batch 2")
    assert (len(store.events()), store.counts()[0]["count"]) == (4, 4)


def test_what_was_told_twice_counts_once(store: Store) -> None:
    """Another process may have written it, in a batch of its own."""
    pairs = [(COUNT, event(1, "r1")._replace(told="t1")), (COUNT, event(2, "r1")._replace(told="t1"))]
    store.write({COUNT: 5}, [event(3, "r1")], "batch 1", {"t1": pairs})
    store.write({COUNT: 1}, [event(4, "r1")], "batch 2", {"t1": pairs, "t2": pairs[:1]})
    assert sorted(row["at"] - HOUR for row in store.events()) == [1, 1, 2, 3, 4]
    assert store.counts() == [{**COUNT._asdict(), "count": 9}]


def test_what_was_told_under_an_erased_receipt_leaves_not_even_a_counter(store: Store) -> None:
    store.erase("r1")
    store.write({}, [], "batch 1", {"t1": [(COUNT, event(1, "r1")), (COUNT, event(2, "r2"))]})
    assert [row["receipt"] for row in store.events()] == ["r2"]
    assert store.counts() == [{**COUNT._asdict(), "count": 1}]


def test_a_told_row_that_can_not_be_stored_takes_its_batch_along(store: Store) -> None:
    told = {"t1": [(COUNT, event(1)._replace(target="a\0"))]}
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({COUNT: 1}, [event(2)], "batch 1", told)
    assert (store.events(), store.counts()) == ([], [])
    store.write({}, [], "batch 1", {"t1": [(COUNT, event(1))]})
    assert len(store.events()) == 1


def test_a_batch_that_failed_may_come_again(store: Store) -> None:
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({COUNT: 1}, [event(1)._replace(route="\0")], "batch 1")
    store.write({COUNT: 1}, [event(1)], "batch 1")
    assert (len(store.events()), store.counts()[0]["count"]) == (1, 1)


@pytest.mark.parametrize(
    "text", ["\\N", "\\.", "a\tb\nc\r\\x", "%s :name ?", "𐀀 é", "x" * 2_000_000, ""], ids=ascii_start
)
def test_every_text_comes_back_as_it_was(store: Store, text: str) -> None:
    """Also what means something to COPY, to the driver or to SQL, and a page's worth of it."""
    made = event(1, "r1", "person")._replace(route=text, link=text)
    store.write({COUNT._replace(campaign=text[:1_000]): 1}, [made])
    assert [(row["route"], row["link"]) for row in store.events("r1")] == [(text, text)]
    assert store.counts()[0]["campaign"] == text[:1_000]


def test_nothing_is_not_an_error(store: Store) -> None:
    store.write({}, [])
    assert (store.counts(), store.events(), store.purge(HOUR), store.erase("r1")) == ([], [], 0, 0)


@pytest.mark.parametrize(
    "broken",
    [{"route": "\ud800"}, {"link": "a\0b"}, {"status": 2**80}, {"route": object()}, {"route": ("a", "b")}],
    ids=lambda b: next(iter(b)),
)
def test_a_row_that_can_not_be_stored_takes_its_batch_along_and_nothing_else(
    store: Store, broken: dict[str, object]
) -> None:
    """ValueError, not StoreError: trying again would never help. Nothing of the batch is written, not even counters."""
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({COUNT: 1}, [event(1), event(2)._replace(**broken)])  # type: ignore[arg-type]
    assert (store.counts(), store.events()) == ([], [])
    store.write({COUNT: 1}, [event(1)])
    assert len(times(store)) == 1


@pytest.mark.parametrize("route", ["\ud800", "/\0"], ids=["no UTF-8", "NUL"])
def test_a_counter_that_can_not_be_stored_is_refused(store: Store, route: str) -> None:
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({COUNT: 1, COUNT._replace(route=route): 1}, [event(1)])
    assert (store.counts(), store.events()) == ([], [])


def test_erasing_takes_the_rows_of_one_receipt_and_leaves_the_counters(store: Store) -> None:
    store.write({COUNT: 3}, [event(1, "r1"), event(2, "r2"), event(3, "")])
    assert store.erase("r1") == 1
    assert times(store) == [event(3).at, event(2).at]
    assert store.counts()[0]["count"] == 3


def test_a_row_that_comes_after_its_erasure_is_not_written(store: Store) -> None:
    """It was under way, in this worker or another, when its visitor withdrew; and replays come late."""
    store.erase("r1")
    store.write({COUNT: 2}, [event(1, "r1"), event(2, "r2")])
    assert times(store) == [event(2).at]
    assert store.counts()[0]["count"] == 2


def test_no_receipt_is_no_one_s_receipt(store: Store) -> None:
    """Rows without a receipt belong to many visitors; an empty text must not erase them."""
    store.write({}, [event(1, "")])
    assert store.erase("") == 0
    store.write({}, [event(2, "")])
    assert len(times(store)) == 2


@pytest.mark.parametrize("hostile", ["' OR 1=1 --", "%", "_", "r1\x00", '"; DROP TABLE events'])
def test_a_receipt_is_a_value_and_never_a_pattern(store: Store, hostile: str) -> None:
    store.write({}, [event(1, "r1")])
    assert store.erase(hostile) == 0
    assert store.events(hostile) == []
    assert len(times(store)) == 1


def test_expired_rows_are_purged_a_few_at_a_time(store: Store) -> None:
    store.write({COUNT: 5}, [event(n, expires=HOUR + n) for n in range(5)])
    # Where nobody waits for a deletion, all go at once.
    expected = [3, 0, 0] if isinstance(store, SplitStore) else [2, 1, 0]
    assert [store.purge(HOUR + 2, limit=2) for _ in range(3)] == expected
    assert times(store) == [event(4).at, event(3).at]
    assert store.counts()[0]["count"] == 5


def test_threads_may_write_and_read_at_once(store: Store) -> None:
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 20):
                store.write({COUNT: 1}, [event(number)])
                store.counts()
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=work, args=(n * 100,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (store.counts()[0]["count"], len(times(store))) == (80, 80)


# -- ledger -------------------------------------------------------------------------------------


@keeps_proofs
def test_the_ledger_gives_each_row_its_number_and_the_hash_before(store: Proofs) -> None:
    assert store.head() == (0, "")
    made = [store.append(entry) for _ in range(3)]
    assert [(e.seq, e.prev_hash) for e in made] == [(1, ""), (2, "hash 1"), (3, "hash 2")]
    assert list(store.all()) == made
    assert store.head() == (3, "hash 3")


@keeps_proofs
def test_the_ledger_finds_the_rows_of_a_receipt(store: Proofs) -> None:
    for receipt in ("r1", "r2", "r1"):
        store.append(lambda seq, last, receipt=receipt: entry(seq, last, receipt))  # type: ignore[misc]
    assert [e.seq for e in store.entries("r1")] == [1, 3]
    assert store.entries("nobody") == []


@keeps_proofs
def test_a_row_of_the_ledger_that_can_not_be_stored_is_refused(store: Proofs) -> None:
    for broken in ({"region": "\ud800"}, {"method": "a\0b"}, {"notice": 2**80}):
        with pytest.raises(ValueError, match="can't be stored"):
            store.append(lambda seq, last: replace(entry(seq, last), **broken))  # noqa: B023
    assert store.head() == (0, "")
    assert store.append(entry).seq == 1
    assert store.entries("r1\0") == []


@keeps_proofs
def test_a_link_that_fails_leaves_nothing(store: Proofs) -> None:
    def fail(seq: int, last: str) -> Entry:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.append(fail)
    assert store.append(entry).seq == 1
    assert store.head() == (1, "hash 1")


@keeps_proofs
def test_many_rows_are_read_in_order(store: Proofs) -> None:
    """More than one page of the reader."""
    for _ in range(1_001):
        store.append(entry)
    assert [e.seq for e in store.all()] == list(range(1, 1_002))


# -- notices ------------------------------------------------------------------------------------


@keeps_proofs
def test_a_notice_is_kept_as_it_was_first_published(store: Proofs) -> None:
    """Choices were made under it: a second text under its id would make them choices about something else."""
    first = Published("n1", "2026-11-21T00:00:00+00:00", "f1", '{"en": "é"}' * 100_000)
    assert store.publish(first)
    assert not store.publish(replace(first, content="other", at="2026-11-22T00:00:00+00:00"))
    assert not store.publish(first)
    assert store.publish(replace(first, id="n0", at="2026-11-20T00:00:00+00:00"))
    assert store.published() == [replace(first, id="n0", at="2026-11-20T00:00:00+00:00"), first]


@keeps_proofs
@pytest.mark.parametrize("broken", [{"id": "a\0"}, {"content": "\ud800"}, {"at": 2**80}], ids=lambda b: next(iter(b)))
def test_a_notice_that_can_not_be_stored_is_refused(store: Proofs, broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="can't be stored"):
        store.publish(replace(Published("n1", "", "", "{}"), **broken))  # type: ignore[arg-type]
    assert store.published() == []


@keeps_proofs
def test_no_receipt_is_no_row_of_the_ledger(store: Proofs) -> None:
    """Rows whose receipt was erased have none; asking for nobody's must not give them."""
    store.append(lambda seq, last: entry(seq, last, ""))
    assert store.entries("") == []


# -- which store a setting names ----------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a\x00b",
        "memory",
    ],
)
def test_a_setting_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite:///relative"):
        open_store(url)


def test_the_refusal_does_not_show_a_password() -> None:
    with pytest.raises(SettingsError) as caught:
        open_store("mysql://web:hunter2@db.example/consent")
    assert "hunter2" not in str(caught.value)
    assert "mysql" in str(caught.value)


def test_three_slashes_are_relative_and_four_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_event_store("sqlite:///a.db").close()
    open_ledger_store(f"sqlite:///{tmp_path}/deep/er/b.db").close()
    assert (tmp_path / "a.db").is_file()
    assert (tmp_path / "deep" / "er" / "b.db").is_file()


def test_importing_the_rooms_loads_no_database() -> None:
    script = "import sys, consentmw.recorder, consentmw.ledger, consentmw.stores\n"
    script += "print({'sqlalchemy', 'psycopg', 'clickhouse_connect'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (schema.events, OWN_FIELDS),
        (schema.contexts, ("id", "digest", "made", *CONTEXT_FIELDS)),
        (schema.counts, (*Count._fields, "count")),
        (schema.rollups, (*Rollup._fields, "count")),
        (schema.ledger, tuple(field.name for field in fields(Entry))),
        (schema.notices, tuple(field.name for field in fields(Published))),
    ],
    ids=["events", "contexts", "counts", "rollups", "ledger", "notices"],
)
def test_the_tables_have_the_fields_of_the_rows(table: Table, columns: tuple[str, ...]) -> None:
    assert tuple(table.c.keys()) == columns


def test_what_was_erased_is_known_to_whoever_asks(store: Store) -> None:
    """The relay asks before it sends, perhaps from another process."""
    store.write({}, [event(1, "gone"), event(2, "stays")])
    store.erase("gone")
    store.erase("never seen")
    asked = ("gone", "never seen", "stays", "", "x" * 10_000, "é\x00'%")
    assert [store.erased(receipt) for receipt in asked] == [True, True, False, False, False, False]


# -- memory -------------------------------------------------------------------------------------


def test_memory_is_bounded_and_its_ledger_refuses_rather_than_forgets() -> None:
    store = MemoryStore(limit=3)
    for number in range(10):
        store.write({COUNT._replace(route=f"/{number}"): 1}, [event(number, f"r{number}")])
        store.erase(f"other {number}")
    assert times(store) == [event(n).at for n in (9, 8, 7)]
    assert len(store.counts()) == 3
    for _ in range(3):
        store.append(entry)
    with pytest.raises(StoreError):
        store.append(entry)
    assert store.head()[0] == 3


# -- a file -------------------------------------------------------------------------------------


def sqlite(path: Path, wait: float = 5.0) -> SqliteStore:
    return SqliteStore(path, wait=wait)


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "events.db"
    previous = os.umask(0)
    try:
        store = sqlite(path)
        store.write({COUNT: 1}, [])
        modes = {
            p.name: stat.S_IMODE(p.stat().st_mode) for p in [*path.parent.iterdir(), path.parent, path.parent.parent]
        }
    finally:
        os.umask(previous)
    store.close()
    assert modes == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600, "deep": 0o700, "new": 0o700}


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    for _ in range(2):
        store = sqlite(tmp_path / "events.db")
        store.write({COUNT: 1}, [event(1, "r1")])
        store.append(entry)
        store.close()
    store = sqlite(tmp_path / "events.db")
    assert (store.counts()[0]["count"], len(times(store)), store.head()) == (2, 2, (2, "hash 2"))
    store.close()


def test_every_change_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    """Write-ahead log, synchronised at each commit: power may fail right after."""
    store = sqlite(tmp_path / "events.db")
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.close()


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize("found", ["5", "", "x", "-1"])
def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, found: str) -> None:
    path = tmp_path / "events.db"
    sqlite(path).close()
    edit(path, f"UPDATE meta SET value = '{found}' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="update consentmw first"):
        sqlite(path)


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    edit(path, "CREATE TABLE orders (id)")
    with pytest.raises(StoreError, match="somebody else"):
        sqlite(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]


def test_what_is_no_database_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but somebody's notes " * 50)
    with pytest.raises(StoreError, match="not a database"):
        sqlite(path)
    assert path.read_text().startswith("not a database")


@pytest.mark.parametrize("path", ["/dev/null/x/events.db", "/proc/nowhere/events.db"])
def test_a_place_that_takes_no_file_is_a_store_error(path: str) -> None:
    with pytest.raises(StoreError, match="can't be opened"):
        sqlite(Path(path))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be opened"):
        sqlite(tmp_path)


ACTIONS: list[Callable[[SqliteStore], object]] = [
    lambda store: store.write({COUNT: 1}, [event(1)]),
    lambda store: store.erase("r1"),
    lambda store: store.purge(HOUR),
    lambda store: store.append(entry),
]
NAMES = ["write", "erase", "purge", "append"]


@pytest.mark.parametrize("action", ACTIONS, ids=NAMES)
def test_a_locked_file_is_a_store_error_and_later_none(tmp_path: Path, action: Callable[[SqliteStore], object]) -> None:
    path = tmp_path / "events.db"
    store = sqlite(path, wait=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            action(store)
        store.counts()  # reading goes on
        other.execute("ROLLBACK")
    action(store)
    store.close()


@pytest.mark.parametrize("action", ACTIONS, ids=NAMES)
def test_a_closed_store_says_so(tmp_path: Path, action: Callable[[SqliteStore], object]) -> None:
    store = sqlite(tmp_path / "events.db")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        action(store)


def test_an_error_shows_no_row(tmp_path: Path) -> None:
    """Messages go to logs, and logs are not where rows belong."""
    path = tmp_path / "events.db"
    store = sqlite(path)
    edit(path, "DROP TABLE events")
    with pytest.raises((StoreError, ValueError)) as caught:
        store.write({}, [event(1)._replace(recipient="customer:4711")])
    assert "4711" not in str(caught.value)
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where several processes can meet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.db"
    server: Server = request.getfixturevalue("postgres")
    return server.url()


def test_parent_and_forked_child_write_to_one_store(url: str) -> None:
    """Servers fork their workers after the application was made, perhaps while a thread is writing."""
    script = """
import os, sys
from consentmw.events import Count
from consentmw.stores import open_store
store = open_store(sys.argv[1])
count = Count(0, "page", "/", "2xx")
store.write({count: 1}, [])
store._lock.acquire()  # as another thread would hold it, which does not live on in the child
pool = store._engine.pool
child = os.fork()
if child:
    store._lock.release()
for _ in range(50):
    store.write({count: 1}, [])
if child == 0:
    assert store._engine.pool is not pool
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.counts()[0]["count"] == 101, store.counts()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, url], check=True, timeout=60)


def test_processes_may_open_and_write_a_new_store_at_once(url: str) -> None:
    script = """
import sys
from consentmw.events import Count
from consentmw.stores import open_store
store = open_store(sys.argv[1])
for _ in range(25):
    store.write({Count(0, "page", "/", "2xx"): 1}, [])
"""
    workers = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    store = open_store(url)
    assert store.counts()[0]["count"] == 100
    store.close()


def old_hash(row: dict[str, object]) -> str:
    """As ledgers made it before rows could be erased."""
    return sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


#: rows as they were kept before they shared contexts, two of them of one visitor
OLD_EVENTS = (
    "CREATE TABLE events (id VARCHAR(36) NOT NULL PRIMARY KEY, at DOUBLE NOT NULL, kind TEXT NOT NULL, "
    "tier TEXT NOT NULL, receipt TEXT NOT NULL, notice TEXT NOT NULL, expires BIGINT NOT NULL, route TEXT, "
    "status INTEGER, bot TEXT, referrer_host TEXT, browser TEXT, os TEXT, device TEXT, language TEXT, region TEXT, "
    "ip TEXT, agent TEXT, accept_language TEXT, referrer TEXT, query TEXT, duration_ms BIGINT, method TEXT, "
    "host TEXT, campaign TEXT, link TEXT, recipient TEXT)",
    "CREATE INDEX events_receipt ON events (receipt) WHERE receipt <> ''",
    "INSERT INTO events (id, at, kind, tier, receipt, notice, expires, route, browser) VALUES "
    "('a', 1, 'page', 'visit', 'old', 'n1', 9, '/1', 'Firefox'), "
    "('b', 2, 'page', 'visit', 'old', 'n1', 9, '/2', 'Firefox'), ('c', 3, 'page', 'coarse', '', 'n1', 9, '/3', NULL)",
)


def fill_old(path: Path, version: int) -> None:
    """Three rows and two erased receipts, as the tables were then."""
    store = SqliteStore(path)
    last = ""
    for number in range(1, 4):
        made = {
            **asdict(entry(number, last, f"r{number}")),
            **dict.fromkeys(("subject", "detail", "salt", "sealed", "previous"), ""),
        }
        if version == 2 and number == 3:
            made |= {"subject": "s1", "detail": "{}"}
        hashed = {name: made[name] for name in made if made[name] or name == "previous"}
        del hashed["hash"]
        hashed.setdefault("prev_hash", "")
        last = old_hash(hashed)
        row = Entry(**{**made, "prev_hash": hashed["prev_hash"], "hash": last})
        store.append(lambda seq, _, row=row: row)  # type: ignore[misc]
    store.close()
    edit(path, *(f"DROP INDEX ledger_{name}" for name in ("previous", "valid_until")), "DROP TABLE notices")
    edit(path, *(f"ALTER TABLE ledger DROP COLUMN {name}" for name in ("salt", "sealed")))
    added = ("batches", "contexts", "events", "rollups", "salts", "marks", "uniques")
    edit(path, *(f"DROP TABLE {name}" for name in added), *OLD_EVENTS)
    if version == 1:
        edit(path, "DROP INDEX ledger_subject")
        edit(path, *(f"ALTER TABLE ledger DROP COLUMN {name}" for name in ("subject", "detail")))
    edit(
        path,
        "INSERT INTO erased VALUES ('gone', 1), ('é', 2)",
        f"UPDATE meta SET value = '{version}'WHERE key='schema'",
    )


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_earlier_version_is_taken_over_with_its_proofs(tmp_path: Path, version: int) -> None:
    """An update must neither lose the ledger nor call it tampered with, nor forget who was erased."""
    path = tmp_path / "old.db"
    fill_old(path, version)
    ledger = Ledger(lambda: SqliteStore(path))
    assert ledger.verify() == []
    ledger.append(receipt="new", at=datetime(2026, 11, 22, tzinfo=UTC), event="given", method="x", detail='{"a": 1}')
    assert [row.receipt for row in ledger.all()] == ["r1", "r2", "r3", "new"]
    assert ledger.verify() == []
    with pytest.raises(LedgerError, match=r"rows written before rows could be erased: 1$"):
        ledger.erase({"r1"}, at=datetime(2026, 11, 22, tzinfo=UTC), method="cli")
    assert ledger.erase({"new"}, at=datetime(2026, 11, 22, tzinfo=UTC), method="cli") == 1
    edit(path, "UPDATE ledger SET receipt = '' WHERE seq = 2")
    assert [problem.split(":")[0] for problem in ledger.verify()] == ["row 2"]
    ledger.close()
    store = SqliteStore(path)
    assert [store.erased(receipt) for receipt in ("gone", "é", "r1")] == [True, True, False]
    store.write({}, [event(1, "é"), event(2, "r1")])
    assert times(store) == [event(2).at, 3, 2, 1], "the rows of before are there, and none is of an erased receipt"
    assert [(row["route"], row["browser"]) for row in store.events("old")] == [("/2", "Firefox"), ("/1", "Firefox")]
    assert store.erase("old") == 2
    store.close()
    with closing(sqlite3.connect(path)) as database:
        assert {len(found) for (found,) in database.execute("SELECT receipt FROM erased")} == {64}


def test_an_erased_receipt_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    """Whoever reads the table learns nobody's receipt from it."""
    store = sqlite(tmp_path / "events.db")
    store.erase("r1")
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        assert database.execute("SELECT receipt FROM erased").fetchall() == [(sha256(b"r1").hexdigest(),)]
    store.close()


# -- other programs -----------------------------------------------------------------------------

#: what a command does, or sqlite3, or another worker that ends: open the file, read, close it
LOOK = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute({!r}).fetchone()[0]); c.close()"
COUNTED = "SELECT sum(count) FROM counts"


def elsewhere(path: Path, question: str) -> int:
    """The answer that another program gets."""
    line = [sys.executable, "-c", LOOK.format(question), str(path)]
    return int(subprocess.run(line, capture_output=True, check=True, text=True).stdout)


def another_opens(store: SqliteStore, path: Path) -> SqliteStore:
    """As a site does: one store for the recorder, one for the ledger."""
    return SqliteStore(path)


def another_opens_and_closes(store: SqliteStore, path: Path) -> None:
    SqliteStore(path).close()


def somebody_is_erased(store: SqliteStore, path: Path) -> None:
    """The file is searched for what was erased."""
    ledger = Ledger(lambda: store)
    ledger.append(receipt="r" * 22, at=datetime.now(UTC), event="given", method="banner:accept")
    assert ledger.erase({"r" * 22}, at=datetime.now(UTC), method="cli") == 1


@pytest.mark.parametrize("meanwhile", [another_opens, another_opens_and_closes, somebody_is_erased])
def test_no_program_that_looks_into_the_file_takes_the_log_away_from_a_site(
    tmp_path: Path, meanwhile: Callable[[SqliteStore, Path], object]
) -> None:
    """Closing any handle on the file would end all locks of this process: who closes it next would delete its log."""
    path = tmp_path / "site.db"
    with closing(SqliteStore(path)) as store:
        store.write({COUNT: 1}, [])
        other = meanwhile(store, path)
        assert elsewhere(path, COUNTED) == 1
        store.write({COUNT: 2}, [])
        Ledger(lambda: store).append(receipt="s" * 22, at=datetime.now(UTC), event="given", method="banner:accept")
        assert elsewhere(path, COUNTED) == 3, "what was acknowledged is there"
        assert elsewhere(path, "SELECT count(*) FROM ledger WHERE receipt <> ''") >= 1
        if isinstance(other, SqliteStore):
            other.close()
    assert elsewhere(path, COUNTED) == 3


def test_a_file_has_one_handle_as_long_as_it_has_stores(tmp_path: Path) -> None:
    """And none after that: a site that opens and closes stores runs out of none."""
    before = dict(handles._HELD)
    first, second = SqliteStore(tmp_path / "site.db"), SqliteStore(tmp_path / "." / "site.db")
    ((key, (number, stores)),) = handles._HELD.items() - before.items()
    assert stores == 2
    first.close()
    first.close()
    assert os.fstat(number).st_ino == key[1]
    second.close()
    assert before == handles._HELD
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    (tmp_path / "none.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError):
        SqliteStore(tmp_path / "none.db")
    assert before == handles._HELD
