"""What only a database server can do to a store: vanish, freeze, refuse, be shared; and what PostgreSQL adds.

That it keeps the promises of every store is tested beside the others, in test_stores.py and test_ledger.py.
"""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consentmw.errors import LedgerError, SettingsError, StoreError
from consentmw.events import Context, Count, Event
from consentmw.ledger import Ledger
from consentmw.recorder import Recorder
from consentmw.settings import Settings
from consentmw.stores import Entry, Published, open_ledger_store, open_store
from consentmw.stores import postgres as room
from consentmw.stores.memory import MemoryStore
from consentmw.stores.postgres import PostgresStore
from consentmw.stores.rows import ENTRY_FIELDS, pack

from .postgres import Server

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
COUNT = Count(int(NOW.timestamp()), "page", "/", "2xx")


@pytest.fixture
def store(postgres: Server) -> Iterator[PostgresStore]:
    opened = PostgresStore(postgres.url())
    yield opened
    opened.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time that the store sees."""

    def move(to: datetime) -> None:
        monkeypatch.setattr(room, "time", to.timestamp)

    move(NOW)
    return move


def event(at: datetime = NOW, receipt: str = "r1", expires: int = 2**40) -> Event:
    return Event(at.timestamp(), "page", expires, Context("visit", receipt, "n1"), route="/")


def append(ledger: Ledger, receipt: str, at: datetime = NOW) -> None:
    ledger.append(receipt=receipt, at=at, event="given", method="test", granted=["analytics"], region="US-IA")


def link(seq: int, last: str) -> Entry:
    """A row of a ledger, hashed as the ledger does it."""
    made: list[Entry] = []
    memory = MemoryStore()

    def capture(chain: Callable[[int, str], Entry]) -> Entry:
        made.append(chain(seq, last))
        return made[0]

    memory.append = capture  # type: ignore[method-assign,assignment]
    append(Ledger(lambda: memory), f"r{seq}")
    return made[0]


ACTIONS: list[Callable[[PostgresStore], object]] = [
    lambda store: store.write({COUNT: 1}, [event()]),
    lambda store: store.erase("r2"),
    lambda store: store.purge(0),
    lambda store: store.append(link),
    lambda store: store.counts(),
    lambda store: store.head(),
]
NAMES = ["write", "erase", "purge", "append", "counts", "head"]
every_action = pytest.mark.parametrize("action", ACTIONS, ids=NAMES)


# -- the server goes away -----------------------------------------------------------------------


@every_action
def test_a_server_that_went_away_is_a_store_error_and_later_none(
    postgres: Server, store: PostgresStore, action: Callable[[PostgresStore], object]
) -> None:
    """Also with connections in the pool that look alive."""
    action(store)
    postgres.end(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(StoreError):
            action(store)
    postgres.start()
    action(store)


@every_action
def test_a_server_that_was_restarted_meanwhile_costs_nothing(
    postgres: Server, store: PostgresStore, action: Callable[[PostgresStore], object]
) -> None:
    """Not even one choice: a connection is tried before it is used."""
    action(store)
    postgres.end()
    postgres.start()
    action(store)


def test_a_connection_that_ends_within_a_transaction_is_a_store_error(postgres: Server, store: PostgresStore) -> None:
    """An administrator ends it between two rows; nothing is half done, and the next call has a new one."""

    def interrupted(seq: int, last: str) -> Entry:
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'consentmw'")
        return link(seq, last)

    with pytest.raises(StoreError):
        store.append(interrupted)
    assert store.append(link).seq == 1


APPEND = """
import sys
from datetime import datetime, UTC
from consentmw.errors import LedgerError
from consentmw.ledger import Ledger
from consentmw.stores import Entry, open_ledger_store
ledger = Ledger(lambda: open_ledger_store(sys.argv[1]))
number = 0
while True:
    try:
        made = ledger.append(receipt=f"{sys.argv[2]}-{number}", at=datetime.now(UTC), event="given", method="test")
    except LedgerError as error:
        print("failed", flush=True)
        break
    print(made.receipt, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_the_death_of_the_server(postgres: Server) -> None:
    """Killed while two processes append: every row they were told of is there, and the chain is whole."""
    workers = [
        subprocess.Popen([sys.executable, "-c", APPEND, postgres.url(), name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    seen = [worker.stdout.readline().strip() for worker in workers for _ in range(20) if worker.stdout]
    postgres.end(signal.SIGKILL)
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        seen += out.split()
        assert worker.returncode == 0
    assert seen.count("failed") == 2
    postgres.start()
    ledger = Ledger(lambda: open_ledger_store(postgres.url()))
    assert ledger.verify() == []
    assert [len(ledger.entries(receipt)) for receipt in seen if receipt != "failed"] == [1] * (len(seen) - 2)
    append(ledger, "after")
    assert ledger.verify() == []
    ledger.close()


def test_the_recorder_keeps_rows_through_an_outage(postgres: Server) -> None:
    recorder = Recorder(lambda: PostgresStore(postgres.url()), interval=0.02)
    made = [event()._replace(route=f"/{number}") for number in range(30)]
    for number, row in enumerate(made):
        if number == 10:
            assert recorder.flush(30)
            postgres.end(signal.SIGKILL)
        recorder.put(COUNT, row)
    assert recorder.waiting == 20
    postgres.start()
    assert recorder.flush(60)
    assert sorted(row["route"] for row in recorder.store.events()) == sorted(f"/{number}" for number in range(30))
    assert recorder.store.counts()[0]["count"] == 30
    assert recorder.dropped == {}
    assert recorder.close()


def test_opening_without_a_server_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"site on {tmp_path} can't be opened"):
        PostgresStore(f"postgresql:///site?host={tmp_path}")


# -- the server is there and does not answer ----------------------------------------------------


def backend(store: PostgresStore) -> int:
    """The one process of the server that this store talks to."""
    with store._engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def test_a_connection_that_froze_while_it_was_idle_is_replaced(postgres: Server) -> None:
    """Its socket is open and takes what we send; no answer ever comes."""
    store = PostgresStore(postgres.url(), wait=1.0)
    frozen = backend(store)
    postgres.freeze(frozen, frozen=True)
    try:
        assert store.append(link).seq == 1
    finally:
        postgres.freeze(frozen, frozen=False)
    store.close()


def test_a_server_that_freezes_within_a_choice_is_left_after_a_while(postgres: Server) -> None:
    """And that choice is not acknowledged."""
    store = PostgresStore(postgres.url(), wait=1.0)
    frozen = 0

    def freeze(seq: int, last: str) -> Entry:
        nonlocal frozen
        frozen = postgres.run("SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'")[0][0]
        postgres.freeze(frozen, frozen=True)
        return link(seq, last)

    try:
        with pytest.raises(StoreError, match="timeout"):
            store.append(freeze)
    finally:
        postgres.freeze(frozen, frozen=False)
    assert store.append(link).seq == 1
    store.close()


def test_a_server_that_freezes_within_a_batch_is_left_after_a_while(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside COPY, where the driver waits for room to send: more rows than a socket holds."""
    store = PostgresStore(postgres.url(), wait=1.0)
    store.write({}, [event()])
    frozen = 0
    rows = [event()._replace(recipient="x" * 100_000) for _ in range(40)]

    class Copy(psycopg.Copy):
        def write_row(self, row: Any) -> None:
            nonlocal frozen
            frozen = self.connection.info.backend_pid
            postgres.freeze(frozen, frozen=True)
            super().write_row(row)

    monkeypatch.setattr("psycopg.cursor.Copy", Copy)
    try:
        with pytest.raises(StoreError, match="timeout"):
            store.write({COUNT: 1}, rows)
    finally:
        postgres.freeze(frozen, frozen=False)
    assert store.counts() == []
    assert len(store.events()) == 1
    store.close()


def test_a_frozen_machine_is_left_after_a_while_too(postgres: Server) -> None:
    """Not even a new connection is answered: the main process stands still."""
    PostgresStore(postgres.url()).close()
    postgres.freeze(postgres.process, frozen=True)
    try:
        with pytest.raises(StoreError, match="can't be opened"):
            PostgresStore(postgres.url(), wait=1.0)
    finally:
        postgres.freeze(postgres.process, frozen=False)


def test_who_holds_the_ledger_for_too_long_is_not_waited_for(postgres: Server) -> None:
    store = PostgresStore(postgres.url(), wait=1.0)
    with postgres.connect() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(1668247411, 1)")
        with pytest.raises(StoreError, match="lock timeout"):
            store.append(link)
        assert store.head() == (0, "")  # reading goes on
        store.write({COUNT: 1}, [event()])  # and so does recording
    assert store.append(link).seq == 1
    store.close()


def test_only_one_process_makes_the_tables(postgres: Server) -> None:
    """The others wait for it and find them made."""
    with postgres.connect() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(1668247411, 3)")
        with pytest.raises(StoreError, match="lock timeout"):
            PostgresStore(postgres.url(), wait=1.0)
    assert postgres.run("SELECT to_regnamespace('consentmw')") == [(None,)]
    PostgresStore(postgres.url()).close()


def test_a_process_that_stands_still_in_a_transaction_does_not_hold_up_the_others(postgres: Server) -> None:
    """The server ends its session, so that choices go on elsewhere."""
    first, second = PostgresStore(postgres.url(), wait=1.0), PostgresStore(postgres.url())

    def asleep(seq: int, last: str) -> Entry:
        assert second.append(link).seq == 1
        return link(seq, last)

    with pytest.raises(StoreError):
        first.append(asleep)
    assert second.head()[0] == 1
    first.close()
    second.close()


def test_threads_do_not_queue_for_ever(postgres: Server) -> None:
    """Behind one append that hangs, each waits for its own time and not for the sum of all."""
    store = PostgresStore(postgres.url(), wait=1.0)
    inside, leave = threading.Event(), threading.Event()

    def slow(seq: int, last: str) -> Entry:
        inside.set()
        assert leave.wait(20)
        return link(seq, last)

    def hold() -> None:
        with suppress(StoreError):
            store.append(slow)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(20)
    with pytest.raises(StoreError, match="waiting for too long"):
        store.append(link)
    leave.set()
    holder.join(20)
    store.close()


# -- erasing while others write -----------------------------------------------------------------


def test_a_row_on_its_way_in_another_process_does_not_outlive_its_erasure(
    postgres: Server, store: PostgresStore
) -> None:
    """Not committed yet, so that deleting would not see it: erasing has to wait for it."""
    with postgres.connect() as other:
        other.execute("SET search_path TO consentmw")
        with other.transaction():
            other.execute("SELECT pg_advisory_xact_lock_shared(1668247411, 2)")
            other.execute(
                "WITH made AS (INSERT INTO contexts (digest, made, tier, receipt, notice) "
                "VALUES ('x', 1, 'visit', 'r1', 'n1') RETURNING id) "
                "INSERT INTO events (at, kind, expires, context) SELECT 1, 'page', 1, id FROM made"
            )
            erased: list[int] = []
            thread = threading.Thread(target=lambda: erased.append(store.erase("r1")))
            thread.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not postgres.run(waiting)[0][0]:
                assert thread.is_alive()
        thread.join(20)
    assert erased == [1]
    assert store.events() == []


def test_writers_of_the_same_counters_do_not_block_each_other_for_good(postgres: Server) -> None:
    """In another order, each would hold what the other waits for."""
    counts = {COUNT._replace(route=f"/{n}"): 1 for n in range(200)}
    stores = [PostgresStore(postgres.url()) for _ in range(2)]

    def work(store: PostgresStore, order: list[Count]) -> None:
        for _ in range(15):
            store.write({count: counts[count] for count in order}, [])

    threads = [
        threading.Thread(target=work, args=(store, order))
        for store, order in zip(stores, (list(counts), list(reversed(counts))), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {row["count"] for row in stores[0].counts()} == {30}
    for store in stores:
        store.close()


# -- months -------------------------------------------------------------------------------------


def places(postgres: Server) -> dict[str, int]:
    """Rows by partition; a partition without any has 0."""
    names = [name for (name,) in postgres.run("SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1")]
    tables = [name for name in names if name.startswith("consentmw.events") and "idx" not in name]
    tables = [name for name in tables if not name.endswith("pkey") and not re.search("expires|context|_id", name)]
    return {
        name.removeprefix("consentmw.events_"): postgres.run(f"SELECT count(*) FROM {name}")[0][0] for name in tables
    }


def test_each_month_has_a_place_from_its_first_moment_to_its_last(
    postgres: Server, clock: Callable[[datetime], None]
) -> None:
    store = PostgresStore(postgres.url())
    assert places(postgres) == {"2026_11": 0, "2026_12": 0, "other": 0}
    first, next_one = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    just_before = [datetime.fromtimestamp(at.timestamp() - 0.001, UTC) for at in (first, next_one)]
    rows = [event(at) for at in (just_before[0], first, just_before[1], next_one, datetime(2031, 1, 1, tzinfo=UTC))]
    store.write({}, rows)
    assert places(postgres) == {"2026_11": 2, "2026_12": 1, "other": 2}
    assert [row["at"] for row in store.events()] == [row.at for row in reversed(rows)]
    assert store.erase("r1") == 5
    store.close()


def test_a_new_month_is_prepared_while_we_run(postgres: Server, clock: Callable[[datetime], None]) -> None:
    store = PostgresStore(postgres.url())
    clock(datetime(2026, 12, 1, tzinfo=UTC))
    store.write({}, [event(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)), event(datetime(2027, 1, 1, tzinfo=UTC))])
    assert places(postgres) == {"2026_11": 0, "2026_12": 1, "2027_01": 1, "other": 0}
    store.close()


def test_rows_that_came_before_their_month_was_prepared_stay_where_they_are(
    postgres: Server, clock: Callable[[datetime], None]
) -> None:
    """A month can't be made over rows that are there already; it goes without, and nothing is lost."""
    store = PostgresStore(postgres.url())
    store.write({}, [event(datetime(2027, 1, 5, tzinfo=UTC))])
    clock(datetime(2026, 12, 1, tzinfo=UTC))
    store.write({}, [event(datetime(2027, 1, 6, tzinfo=UTC))])
    assert places(postgres) == {"2026_11": 0, "2026_12": 0, "other": 2}
    assert len(store.events()) == 2
    store.close()


def test_months_whose_rows_are_gone_are_dropped(postgres: Server, clock: Callable[[datetime], None]) -> None:
    """With their disk space; a month with one row left stays."""
    store = PostgresStore(postgres.url())
    clock(datetime(2027, 1, 1, tzinfo=UTC))
    store.write({}, [event(datetime(2026, 11, 5, tzinfo=UTC), expires=10), event(datetime(2026, 12, 5, tzinfo=UTC))])
    clock(datetime(2027, 3, 1, tzinfo=UTC))
    assert store.purge(int(datetime(2027, 3, 1, tzinfo=UTC).timestamp())) == 1
    assert places(postgres) == {"2026_12": 1, "other": 0}
    store.write({}, [event(datetime(2026, 11, 5, tzinfo=UTC))])
    assert len(store.events()) == 2
    store.close()


def test_a_month_in_use_is_not_waited_for(postgres: Server, clock: Callable[[datetime], None]) -> None:
    store = PostgresStore(postgres.url())
    clock(datetime(2027, 3, 1, tzinfo=UTC))
    with postgres.connect() as other, other.transaction():
        other.execute("SELECT * FROM consentmw.events_2026_11")
        assert store.purge(int(datetime(2027, 3, 1, tzinfo=UTC).timestamp())) == 0
    assert "2026_11" in places(postgres)
    store.close()


# -- the ledger ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consentmw.ledger SET region = 'EU' WHERE seq = 1",
        "UPDATE consentmw.ledger SET receipt = '' WHERE seq = 1",
        "UPDATE consentmw.ledger SET salt = '', receipt = '', previous = '', subject = '', detail = '', gpc = true",
        "DELETE FROM consentmw.ledger",
        "TRUNCATE consentmw.ledger",
        "UPDATE consentmw.notices SET content = 'other'",
        "DELETE FROM consentmw.notices",
    ],
    ids=["update", "half an erasure", "more than an erasure", "delete", "truncate", "notice", "no notice"],
)
@pytest.mark.parametrize("before", ["SELECT 1", "SET session_replication_role = replica"], ids=["plain", "replica"])
def test_the_database_refuses_to_change_the_ledger(
    postgres: Server, store: PostgresStore, statement: str, before: str
) -> None:
    """Even for the superuser, until somebody takes the triggers away."""
    store.append(link)
    store.publish(Published("n1", "2026-11-21T00:00:00+00:00", "f1", "{}"))
    with pytest.raises(psycopg.errors.RaiseException, match="only ever added"):
        postgres.run(before, statement)
    assert Ledger(lambda: store).verify() == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *(
            (f"UPDATE consentmw.ledger SET {column} = 'x' WHERE seq = 3", ["row 3"])
            for column in ENTRY_FIELDS
            if column not in ("seq", "gpc")
        ),
        ("UPDATE consentmw.ledger SET gpc = NOT gpc WHERE seq = 3", ["row 3"]),
        ("UPDATE consentmw.ledger SET seq = 9 WHERE seq = 5", ["rows 5 to 8", "row 9", "rows 6 to 9"]),
        ("DELETE FROM consentmw.ledger WHERE seq IN (2, 3)", ["rows 2 to 3"]),
        ("DELETE FROM consentmw.ledger WHERE seq = 5", ["row 5"]),
        ("TRUNCATE consentmw.ledger", ["rows 1 to 5"]),
    ],
    ids=lambda value: value.replace("consentmw.", "")[:40] if isinstance(value, str) else "",
)
def test_what_a_superuser_changes_is_named(
    postgres: Server, store: PostgresStore, change: str, named: list[str]
) -> None:
    for _ in range(5):
        store.append(link)
    off, on = (f"ALTER TABLE consentmw.ledger {does} TRIGGER USER" for does in ("DISABLE", "ENABLE"))
    postgres.run(off, change, on)
    ledger = Ledger(lambda: store)
    assert [problem.split(":")[0] for problem in ledger.verify()] == named
    append(ledger, "goes on")


def test_a_head_that_was_removed_does_not_stop_choices(postgres: Server, store: PostgresStore) -> None:
    store.append(link)
    postgres.run("DELETE FROM consentmw.meta WHERE key = 'ledger'")
    ledger = Ledger(lambda: store)
    assert ledger.verify() != []
    append(ledger, "r2")
    assert ledger.verify() == []


def test_ten_thousand_rows_are_checked(postgres: Server, store: PostgresStore) -> None:
    """Read in pages; one changed bit among them is found."""
    memory = MemoryStore()
    ledger = Ledger(lambda: memory)
    for number in range(10_000):
        append(ledger, f"r{number}")
    with postgres.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY consentmw.ledger ({', '.join(ENTRY_FIELDS)}) FROM STDIN") as copy:
            for row in memory.all():
                copy.write_row(tuple(pack(row).values()))
        seq, last = memory.head()
        cursor.execute("INSERT INTO consentmw.meta VALUES ('ledger', %s)", (f"{seq} {last}",))
    copied = Ledger(lambda: store)
    assert copied.verify(ledger.anchor()) == []
    off = "ALTER TABLE consentmw.ledger DISABLE TRIGGER USER"
    postgres.run(off, "UPDATE consentmw.ledger SET gpc = NOT gpc WHERE seq = 7123")
    assert [problem.split(":")[0] for problem in copied.verify()] == ["row 7123"]


# -- what a database may be set to --------------------------------------------------------------


@pytest.fixture
def careless(postgres: Server) -> Iterator[str]:
    """A database whose owner preferred speed, and transactions of the strictest kind."""
    postgres.run(
        "CREATE DATABASE careless",
        "ALTER DATABASE careless SET synchronous_commit = off",
        "ALTER DATABASE careless SET default_transaction_isolation = 'serializable'",
        "ALTER DATABASE careless SET search_path = public",
        "ALTER DATABASE careless SET client_encoding = 'latin1'",
    )
    yield postgres.url("careless")
    postgres.run("DROP DATABASE careless WITH (FORCE)")


def test_what_is_acknowledged_is_on_the_disk_whatever_the_database_is_set_to(careless: str, postgres: Server) -> None:
    store = PostgresStore(careless)
    with store._engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("synchronous_commit", "transaction_isolation", "search_path", "fsync", "client_encoding")
        }
    assert settings == {
        "synchronous_commit": "on",
        "transaction_isolation": "read committed",
        "search_path": "consentmw",
        "fsync": "on",
        "client_encoding": "UTF8",
    }
    store.close()


def test_a_stricter_durability_stays(careless: str, postgres: Server) -> None:
    postgres.run("ALTER DATABASE careless SET synchronous_commit = remote_apply")
    store = PostgresStore(careless)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"
    store.close()


def test_a_database_in_another_encoding_is_refused(postgres: Server) -> None:
    postgres.run("DROP DATABASE IF EXISTS old", "CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"LATIN1.*UTF8"):
        PostgresStore(postgres.url("old"))
    postgres.run("DROP DATABASE old WITH (FORCE)")


def test_other_tables_in_the_database_are_nobody_s_business(postgres: Server) -> None:
    """A site's own tables may have the same names."""
    postgres.run("CREATE TABLE public.events (id int)", "CREATE TABLE public.meta (key text)")
    store = PostgresStore(postgres.url())
    store.write({COUNT: 1}, [event()])
    assert postgres.run("SELECT count(*) FROM public.events") == [(0,)]
    store.close()
    postgres.run("DROP TABLE public.events", "DROP TABLE public.meta")


def test_a_schema_of_somebody_else_is_left_alone(postgres: Server) -> None:
    postgres.run("CREATE SCHEMA consentmw", "CREATE TABLE consentmw.orders (id int)")
    with pytest.raises(StoreError, match="somebody else"):
        PostgresStore(postgres.url())


@pytest.mark.parametrize("found", ["5", "", "x"])
def test_a_schema_of_a_newer_version_is_left_alone(postgres: Server, store: PostgresStore, found: str) -> None:
    postgres.run(f"UPDATE consentmw.meta SET value = '{found}' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="update consentmw first"):
        PostgresStore(postgres.url())


@pytest.fixture
def role(postgres: Server) -> Iterator[str]:
    """Somebody who owns nothing and may make nothing in the database."""
    postgres.run("CREATE ROLE visitor LOGIN")
    yield postgres.url(user="visitor")
    postgres.run("DROP OWNED BY visitor", "DROP ROLE visitor")


def test_a_role_that_may_make_no_schema_uses_the_one_it_was_given(postgres: Server, role: str) -> None:
    with pytest.raises(StoreError, match="permission denied"):
        PostgresStore(role)
    postgres.run("CREATE SCHEMA consentmw AUTHORIZATION visitor")
    store = PostgresStore(role)
    store.write({COUNT: 1}, [event()])
    store.close()


def test_a_role_that_may_only_add_can_record_and_prove(postgres: Server, store: PostgresStore, role: str) -> None:
    """The tables belong to somebody else, so that not even the application can take the trigger away."""
    postgres.run(
        "GRANT USAGE ON SCHEMA consentmw TO visitor",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON consentmw.events, consentmw.contexts, consentmw.batches, "
        "consentmw.counts, consentmw.erased, consentmw.meta, consentmw.rollups, consentmw.salts, consentmw.marks, "
        "consentmw.uniques TO visitor",
        "GRANT SELECT, INSERT ON consentmw.ledger TO visitor",
        "GRANT USAGE ON SEQUENCE consentmw.events_number, consentmw.contexts_id_seq TO visitor",
    )
    limited = PostgresStore(role)
    limited.write({COUNT: 1}, [event(), event(receipt="r2")])
    assert limited.erase("r1") == 1
    assert limited.purge(2**41) == 1
    assert limited.append(link).seq == 1
    with pytest.raises(LedgerError, match="permission denied"):
        Ledger(lambda: limited).erase({"r1"}, at=NOW, method="cli")
    postgres.run(
        "GRANT UPDATE (salt, receipt, previous, subject, detail) ON consentmw.ledger TO visitor",
        "GRANT SELECT, INSERT ON consentmw.notices TO visitor",
    )
    assert Ledger(lambda: limited).erase({"r1"}, at=NOW, method="cli") == 1
    assert limited.publish(Published("n1", "2026-11-21T00:00:00+00:00", "f1", "{}"))
    assert Ledger(lambda: limited).verify() == []
    # It may not truncate: the salt is deleted all the same.
    assert limited.salt(0)
    assert limited.close_days(2**40) == 1
    assert (limited.held().salts, limited.salt(0)) == (0, "")
    limited.close()
    with psycopg.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("ALTER TABLE consentmw.ledger DISABLE TRIGGER ALL")


def test_a_right_that_was_taken_away_is_no_fault_of_the_rows(postgres: Server, store: PostgresStore, role: str) -> None:
    """StoreError, not ValueError: the recorder has to keep them until somebody gives it back."""
    postgres.run("GRANT USAGE ON SCHEMA consentmw TO visitor", "GRANT SELECT ON consentmw.meta TO visitor")
    limited = PostgresStore(role)
    with pytest.raises(StoreError, match="permission denied"):
        limited.write({COUNT: 1}, [])
    limited.close()


# -- what errors say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://web:hunter2@db.example:port/site",
        "postgresql://web:hunter2@[::1/site",
        "postgresql://web:hunter2%@db.example/site",
        "postgresql://web:hunter2@db.example/site?nonsense=1",
        "postgresql://web:hunter2@db.example:5432,:x/site",
        "postgresql://?",
        "postgresql://web:hunter2@db.example/si\0te",
        "postgresql://web:hunter2@db.example/\ud800",
    ],
    ids=ascii,
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    for use in (lambda: open_store(url), lambda: Settings.of({"store": url, "debug": True})):
        with pytest.raises(SettingsError, match=r"store: .*postgresql://user@host") as caught:
            use()
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("url", ["postgresql://web:hunter2@h/site", "postgresql://web@h/site?password=hunter2"])
def test_a_password_in_a_settings_file_is_refused(tmp_path: Path, url: str) -> None:
    """Files are copied and committed; the environment, or the file that PGPASSFILE names, is the place."""
    file = tmp_path / "consent.toml"
    file.write_text(f'debug = true\nstore = "{url}"\n', "utf-8")
    with pytest.raises(SettingsError, match="PGPASSWORD") as caught:
        Settings.load(file)
    assert "hunter2" not in str(caught.value)
    file.write_text('debug = true\nstore = "postgresql://web@h/site"\n', "utf-8")
    assert Settings.load(file).store == "postgresql://web@h/site"


def test_settings_can_be_printed_without_a_password() -> None:
    assert "hunter2" not in repr(Settings.of({"debug": True, "store": "postgresql://web:hunter2@h/site"}))


def test_an_error_of_the_server_shows_no_password(postgres: Server) -> None:
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text("utf-8")
    postgres.run("CREATE ROLE web LOGIN PASSWORD 'correct'")
    rules.write_text("local all web scram-sha-256\n" + before, "utf-8")
    postgres.run("SELECT pg_reload_conf()")
    address = f"postgresql://web:{{}}@/postgres?host={postgres.folder}"
    try:
        with pytest.raises(StoreError, match="authentication failed") as caught:
            PostgresStore(address.format("hunter2"))
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
        postgres.run("CREATE SCHEMA consentmw AUTHORIZATION web")
        PostgresStore(address.format("correct")).close()
    finally:
        rules.write_text(before, "utf-8")
        postgres.run("SELECT pg_reload_conf()", "DROP OWNED BY web", "DROP ROLE web")


def test_an_error_shows_no_row(postgres: Server, store: PostgresStore) -> None:
    """The server repeats values in its messages; those go to logs, and logs are not where rows belong."""
    postgres.run("ALTER TABLE consentmw.events ADD CHECK (recipient <> 'customer:4711')")
    row = event()._replace(recipient="customer:4711")
    with pytest.raises(ValueError, match="can't be stored") as caught:
        store.write({COUNT: 1}, [row])
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert store.counts() == []


def test_a_receipt_too_long_for_an_index_takes_no_batch_hostage(store: PostgresStore) -> None:
    """It will never fit, however often it is tried."""
    import random

    long = "".join(chr(random.Random(n).randrange(0x4E00, 0x9FFF)) for n in range(20_000))
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({COUNT: 1}, [event(receipt=long)])
    assert (store.counts(), store.events()) == ([], [])


@every_action
def test_a_closed_store_says_so(store: PostgresStore, action: Callable[[PostgresStore], object]) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        action(store)


def test_without_a_server_a_choice_has_no_proof(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="can't be opened"):
        append(Ledger(lambda: open_ledger_store(f"postgresql:///site?host={tmp_path}")), "r1")


def test_a_missing_driver_is_named_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first choice of a visitor."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg.conninfo", None)
    monkeypatch.delitem(sys.modules, "consentmw.stores.postgres")
    assert importlib.util.find_spec("consentmw.stores.postgres") is not None
    for use in (
        lambda: open_store("postgresql://db.example/site"),
        lambda: Settings.of({"store": "postgresql://db.example/site", "debug": True}),
    ):
        with pytest.raises(SettingsError, match=r"consentmw\[postgres\]"):
            use()
