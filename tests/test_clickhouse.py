"""Rows in ClickHouse: what a second store beside the first must keep, and what only a server can break.

What every store promises is tested in test_stores, the loss of a killed process in test_loss.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from consentmw import Settings
from consentmw.errors import SettingsError, StoreError
from consentmw.events import EVENT_FIELDS, Context, Count, Event
from consentmw.recorder import Recorder
from consentmw.recorder.spool import Spool
from consentmw.settings import clickhouse_parameters
from consentmw.stores import EventStore, migrate, open_event_store, open_rows, open_store
from consentmw.stores import clickhouse as room
from consentmw.stores.clickhouse import ClickHouseRows
from consentmw.stores.columns import TYPES
from consentmw.stores.rows import mark
from consentmw.stores.split import SplitStore
from demo_site.certificate import ensure

from .clickhouse import PASSWORD, Server
from .google import Google

#: far ahead: the server deletes by itself what expired by the clock
HOUR = 3_600_000_000
COUNT = Count(HOUR, "page", "/outages", "2xx")
RECEIPT = "kW3vXo9ZqLm2RtY7bNcA1d"


def event(number: int, receipt: str = RECEIPT, **own: Any) -> Event:
    context = Context("visit", receipt, "n1", browser="Firefox")
    return Event(HOUR + number, "page", HOUR + 86_400, context, route="/outages", status=200)._replace(**own)


@pytest.fixture
def store(clickhouse: Server, tmp_path: Path) -> Iterator[SplitStore]:
    opened = opened_at(clickhouse, tmp_path)
    yield opened
    opened.close()


def opened_at(server: Server, folder: Path) -> SplitStore:
    """The store of a site; each call makes one more, as each process of the site does."""
    return SplitStore(open_store(f"sqlite:///{folder}/site.db"), open_rows(server.url()))


def raw(server: Server, question: str) -> Any:
    """The only value of an answer, past everything that hides rows."""
    return server.run(f"SELECT {question}", "site")[0][0]


def counted(store: EventStore) -> int:
    return sum(row["count"] for row in store.counts())


# -- counters here, rows there ------------------------------------------------------------------


def test_rows_are_in_the_server_and_counters_are_not(store: SplitStore, clickhouse: Server, tmp_path: Path) -> None:
    store.write({COUNT: 2}, [event(1), event(2)])
    assert raw(clickhouse, "count() FROM consentmw_events") == 2
    with closing(open_store(f"sqlite:///{tmp_path}/site.db")) as counters:
        assert (counters.events(), counted(counters)) == ([], 2)


def test_a_batch_whose_rows_did_not_arrive_comes_again_and_counts_once(store: SplitStore, clickhouse: Server) -> None:
    clickhouse.fails(243, "Cannot reserve 1.00 MiB (NOT_ENOUGH_SPACE)", statements="INSERT INTO .?consentmw_events")
    for _ in range(2):
        with pytest.raises(StoreError, match="NOT_ENOUGH_SPACE"):
            store.write({COUNT: 1}, [event(1)], "batch 1")
    assert (counted(store), store.events()) == (1, [])
    clickhouse.fails()
    for _ in range(2):
        store.write({COUNT: 1}, [event(1)], "batch 1")
    assert (counted(store), len(store.events())) == (1, 1)


def test_rows_that_came_twice_are_one_before_and_after_the_server_tidies_up(
    store: SplitStore, clickhouse: Server
) -> None:
    """The answer to an insert may be lost, and the same rows in a larger part look new to the server."""
    rows = open_rows(clickhouse.url())
    for _ in range(3):
        rows.insert(rows.block([(0, event(1)), (1, event(1))], "batch 1"))
    rows.close()
    assert raw(clickhouse, "count() FROM consentmw_events") == 6
    assert len(store.events()) == 2
    clickhouse.run("OPTIMIZE TABLE consentmw_events FINAL", "site")
    assert raw(clickhouse, "count() FROM consentmw_events") == 2


def test_rows_without_a_batch_of_their_own_are_never_taken_for_others(store: SplitStore) -> None:
    for _ in range(2):
        store.write({COUNT: 1}, [event(1)])
    assert (counted(store), len(store.events())) == (2, 2)


@pytest.mark.parametrize("broken", [{"route": 5}, {"status": "200"}, {"at": "now"}, {"expires": None}, {"kind": None}])
def test_a_value_of_another_kind_is_refused_before_anything_is_written(
    store: SplitStore, broken: Mapping[str, Any]
) -> None:
    """SQLite would take it, and the counters with it; then the halves of the batch would count again."""
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({COUNT: 1}, [event(1), event(2, **broken)], "batch 1")
    assert (store.counts(), store.events()) == ([], [])


def test_rows_from_before_the_server_was_named_are_found_and_erased_with_the_others(
    store: SplitStore, tmp_path: Path
) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/site.db")) as before:
        before.write({}, [event(1), event(2, "other")])
    store.write({}, [event(3)])
    assert [row["at"] - HOUR for row in store.events()] == [3, 2, 1]
    assert [row["at"] - HOUR for row in store.events(RECEIPT, limit=1)] == [3]
    assert store.erase(RECEIPT) == 2
    assert [row["receipt"] for row in store.events()] == ["other"]


def test_every_column_of_a_row_has_its_place_in_the_table() -> None:
    assert tuple(TYPES) == ("batch", "number", *EVENT_FIELDS[1:])


# -- erasure ------------------------------------------------------------------------------------


def write_plainly(store: SplitStore, server: Server, *events: Event) -> None:
    """Write rows whose receipts can be found in the files, which are compressed otherwise."""
    store.events()
    server.run("ALTER TABLE consentmw_events MODIFY COLUMN receipt CODEC(NONE)", "site")
    store.write({}, events)
    assert RECEIPT.encode() in server.data(), "otherwise searching proves nothing"


def without_old_parts(store: SplitStore, server: Server) -> None:
    """Once more if need be: a part that a thread of the engine still holds stays until somebody asks again."""
    until = time.monotonic() + 20
    while raw(server, "count() FROM system.parts WHERE table = 'consentmw_events' AND NOT active"):
        assert time.monotonic() < until, "the engine keeps old parts"
        store.purge(0)


def test_what_was_erased_is_in_no_file_and_no_question(store: SplitStore, clickhouse: Server) -> None:
    """Not behind the mask that hides deleted rows, not in a part from before, not in what the server remembers."""
    rows = [event(number, RECEIPT if number % 3 else "someone else") for number in range(30)]
    write_plainly(store, clickhouse, *rows)
    assert store.erase(RECEIPT) == 20
    assert {row["receipt"] for row in store.events()} == {"someone else"}
    assert raw(clickhouse, "count() FROM consentmw_events SETTINGS apply_deleted_mask = 0") == 10
    without_old_parts(store, clickhouse)
    assert RECEIPT.encode() not in clickhouse.data()
    assert store.events(RECEIPT) == []
    assert RECEIPT not in clickhouse.asked()


def test_large_parts_are_cleaned_by_the_daily_purge_and_hide_the_rows_until_then(
    store: SplitStore, clickhouse: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_AT_ONCE", 0)
    write_plainly(store, clickhouse, event(1), event(2, "other"))
    assert store.erase(RECEIPT) == 1
    assert store.events(RECEIPT) == []
    assert raw(clickhouse, "count() FROM consentmw_events SETTINGS apply_deleted_mask = 0") == 2
    monkeypatch.setattr(room, "_AT_ONCE", 1 << 20)
    assert store.purge(HOUR) == 0
    assert raw(clickhouse, "count() FROM consentmw_events SETTINGS apply_deleted_mask = 0") == 1
    without_old_parts(store, clickhouse)
    assert RECEIPT.encode() not in clickhouse.data()


class Meanwhile:
    """Rows on a slow way: something happens before they arrive, or after."""

    def __init__(self, rows: ClickHouseRows, before: Callable[[], object], after: Callable[[], object]) -> None:
        self._rows, self._before, self._after = rows, before, after

    def insert(self, block: Sequence[Sequence[Any]]) -> None:
        self._before()
        self._rows.insert(block)
        self._after()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


@pytest.mark.parametrize("when", ["before", "after"])
def test_rows_whose_receipt_is_erased_while_they_are_on_their_way_do_not_stay(
    clickhouse: Server, tmp_path: Path, store: SplitStore, when: str
) -> None:
    """Another process withdraws between our look at the marks and the arrival of the rows, or right after it."""
    happens = {"before": lambda: None, "after": lambda: None, when: lambda: store.erase(RECEIPT)}
    rows: Any = Meanwhile(open_rows(clickhouse.url()), happens["before"], happens["after"])
    writer = SplitStore(open_store(f"sqlite:///{tmp_path}/site.db"), rows)
    writer.write({COUNT: 2}, [event(1), event(2, "other")])
    writer.close()
    assert [row["receipt"] for row in store.events()] == ["other"]
    assert counted(store) == 2


def test_rows_that_a_killed_writer_left_behind_after_their_erasure_go_with_the_next_purge(
    clickhouse: Server, store: SplitStore
) -> None:
    """Killed after its insert and before its second look at the marks."""
    store.erase(RECEIPT)
    rows = open_rows(clickhouse.url())
    now = time.time()
    rows.insert(rows.block([(0, event(1, at=now)), (1, event(2, "other", at=now)), (2, event(3, "", at=now))], "b"))
    rows.close()
    assert len(store.events()) == 3
    store.purge(int(now))
    assert {row["receipt"] for row in store.events()} == {"other", ""}


def test_an_erasure_that_stopped_half_way_is_finished_by_the_next_purge(clickhouse: Server, store: SplitStore) -> None:
    """The mark is made and the server gone: nothing of the receipt is written any more, and what is there goes."""
    store.write({}, [event(1, at=time.time())])
    clickhouse.fails(210, "Connection refused (NETWORK_ERROR)", statements="DELETE")
    with pytest.raises(StoreError, match="NETWORK_ERROR"):
        store.erase(RECEIPT)
    clickhouse.fails()
    assert store.erased(RECEIPT)
    store.write({}, [event(2, at=time.time())])
    assert len(store.events(RECEIPT)) == 1
    store.purge(int(time.time()))
    assert store.events(RECEIPT) == []


def test_many_marks_are_asked_for_in_several_questions(
    clickhouse: Server, store: SplitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_HASHES", 2)
    store.write({}, [event(number, f"r{number}") for number in range(5)])
    rows = open_rows(clickhouse.url())
    assert rows.sweep([mark(f"r{number}") for number in range(1, 5)], HOUR) == 4
    assert rows.sweep([mark("r0")], HOUR + 3600) == 0, "from an hour on that is later than the row"
    rows.close()
    assert [row["receipt"] for row in store.events()] == ["r0"]


# -- time ---------------------------------------------------------------------------------------


def test_the_server_deletes_by_itself_what_expired(store: SplitStore, clickhouse: Server) -> None:
    """By each row's own day, which its tier gives; nobody has to call purge for it."""
    now = int(time.time())
    store.write({}, [event(1, expires=now - 10), event(2, expires=now + 86_400), event(3, expires=2**62)])
    clickhouse.run("OPTIMIZE TABLE consentmw_events FINAL", "site")
    assert sorted(row["at"] - HOUR for row in store.events()) == [2, 3]


def test_what_is_purged_is_in_no_file(store: SplitStore, clickhouse: Server) -> None:
    write_plainly(store, clickhouse, event(1, expires=HOUR), event(2, "other"))
    assert store.purge(HOUR) == 1
    without_old_parts(store, clickhouse)
    assert RECEIPT.encode() not in clickhouse.data()


def test_each_month_has_a_partition_and_no_time_is_too_strange(store: SplitStore, clickhouse: Server) -> None:
    days = {"197001": -5.0, "202611": 1_795_000_000.5, "202612": 1_797_000_000, "210602": 1e300}
    store.write({}, [event(0, at=at) for at in days.values()])
    assert raw(
        clickhouse, "arraySort(groupUniqArray(partition)) FROM system.parts WHERE table = 'consentmw_events'"
    ) == [*days]
    assert {row["at"] for row in store.events()} == set(days.values())


# -- versions -----------------------------------------------------------------------------------


def test_the_table_is_made_once_and_its_version_noted(clickhouse: Server) -> None:
    url = clickhouse.url()
    assert [said[0] for said in migrate("memory:", url)] == ["store", "events_store"]
    assert list(migrate("memory:", url)) == [("store", 0, 0), ("events_store", 1, 1)]
    assert raw(clickhouse, "count() FROM consentmw_versions") == 1


def test_a_table_of_a_newer_version_is_left_alone(clickhouse: Server, tmp_path: Path) -> None:
    list(migrate("memory:", clickhouse.url()))
    clickhouse.run("INSERT INTO consentmw_versions (version) VALUES (9)", "site")
    store = opened_at(clickhouse, tmp_path)
    with closing(store), pytest.raises(StoreError, match="update consentmw first"):
        store.write({COUNT: 1}, [event(1)])
    assert raw(clickhouse, "count() FROM consentmw_events") == 0


def test_a_table_of_somebody_else_s_is_left_alone(clickhouse: Server, store: SplitStore) -> None:
    clickhouse.run("CREATE TABLE consentmw_events (x UInt8) ENGINE = MergeTree ORDER BY x", "site")
    clickhouse.run("CREATE TABLE events (x UInt8) ENGINE = MergeTree ORDER BY x", "site")
    for use in (lambda: store.write({}, [event(1)]), store.events, lambda: store.erase("r"), lambda: store.purge(1)):
        with pytest.raises(StoreError, match="somebody else"):
            use()
    tables = "arraySort(groupArray(name)) FROM system.tables WHERE database = 'site'"
    assert raw(clickhouse, tables) == ["consentmw_events", "events"]


def test_a_start_that_was_cut_short_is_finished_by_the_next(clickhouse: Server, store: SplitStore) -> None:
    clickhouse.fails(210, "(NETWORK_ERROR)", statements="CREATE TABLE IF NOT EXISTS consentmw_events")
    with pytest.raises(StoreError):
        store.write({}, [event(1)], "b")
    clickhouse.fails()
    store.write({}, [event(1)], "b")
    assert len(store.events()) == 1


def cluster(server: Server) -> None:
    """The tables of the documentation, on a cluster of one machine that keeps no copies."""
    page = (Path(__file__).parents[1] / "docs" / "clickhouse.md").read_text("utf-8")
    for block in re.findall("```sql\n(.+?)```", page, re.DOTALL):
        for statement in block.split(";\n"):
            alone = re.sub(r" ON CLUSTER utility|Replicated(?=\w*MergeTree)|\('/clickhouse.+?'\)", "", statement)
            if alone.strip() and not alone.startswith("GRANT"):
                server.run(alone, "site")


def test_the_tables_of_the_documentation_are_those_that_a_single_machine_has(
    clickhouse: Server, store: SplitStore
) -> None:
    store.events()
    questions = (
        "arraySort(groupArray((name, type, default_expression, compression_codec))) FROM system.columns WHERE table =",
        "arraySort(groupArray((name, expr, type_full))) FROM system.data_skipping_indices WHERE table =",
        "groupArray(engine_full) FROM system.tables WHERE name =",
    )
    ours = [raw(clickhouse, f"{question} 'consentmw_events' AND database = 'site'") for question in questions]
    clickhouse.run("DROP TABLE consentmw_events SYNC", "site")
    clickhouse.run("DROP TABLE consentmw_versions SYNC", "site")
    cluster(clickhouse)
    theirs = [raw(clickhouse, f"{question} 'consentmw_rows' AND database = 'site'") for question in questions]
    assert theirs == ours


def test_rows_of_a_cluster_are_spread_counted_once_and_deleted_on_each_machine(
    clickhouse: Server, store: SplitStore
) -> None:
    """What is deleted is deleted behind the distributed table; this engine can tell no other machine, and says so."""
    cluster(clickhouse)
    rows = open_rows(clickhouse.url())
    for _ in range(2):
        rows.insert(rows.block([(0, event(1)), (1, event(2, "other"))], "batch 1"))
    rows.close()
    assert raw(clickhouse, "count() FROM consentmw_rows") == 4
    assert [row["receipt"] for row in store.events()] == ["other", RECEIPT]
    assert len(store.events(RECEIPT)) == 1
    place = "`site`.`consentmw_rows` ON CLUSTER `utility`"
    uses: list[tuple[Callable[[], object], str]] = [
        (lambda: store.erase(RECEIPT), f"DELETE FROM {place} WHERE SHA256"),
        (lambda: store.purge(HOUR * 2), f"DELETE FROM {place} WHERE expires"),
        (lambda: store.purge(0), f"ALTER TABLE {place} APPLY DELETED MASK"),
    ]
    for use, statement in uses:
        with pytest.raises(StoreError, match="QUERY_IS_PROHIBITED"):
            use()
        assert statement in clickhouse.asked()


# -- a server that is not well ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (243, "NOT_ENOUGH_SPACE"),
        (164, "READONLY"),
        (241, "MEMORY_LIMIT_EXCEEDED"),
        (252, "TOO_MANY_PARTS"),
        (53, "TYPE_MISMATCH"),
        (60, "UNKNOWN_TABLE"),
    ],
)
def test_an_error_of_the_server_is_a_store_error_that_shows_no_row(
    store: SplitStore, clickhouse: Server, caplog: pytest.LogCaptureFixture, code: int, name: str
) -> None:
    """Never ValueError: the counters may be written then, and the batch has to come again as it is."""
    caplog.set_level(logging.INFO)
    clickhouse.fails(code, f"while writing customer:4711 ({name})", statements="INSERT INTO .?consentmw_events")
    with pytest.raises(StoreError, match=name) as caught:
        store.write({COUNT: 1}, [event(1, recipient="customer:4711")])
    assert "4711" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
    assert "4711" not in caplog.text


def test_a_wrong_password_is_a_store_error_that_does_not_show_it(
    clickhouse: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CONSENTMW_CLICKHOUSE_PASSWORD", "hunter2")
    store = opened_at(clickhouse, tmp_path)
    with closing(store), pytest.raises(StoreError, match="AUTHENTICATION_FAILED") as caught:
        store.write({COUNT: 1}, [event(1)])
    assert "hunter2" not in str(caught.value) + caplog.text + clickhouse.asked()


def test_a_database_that_nobody_made_is_a_store_error(clickhouse: Server) -> None:
    with (
        closing(open_rows(clickhouse.url("nowhere"))) as rows,
        pytest.raises(StoreError, match=r"nowhere on 127\.0\.0\.1"),
    ):
        rows.events()


def test_while_the_server_is_away_counters_and_erasures_are_noted_and_later_rows_come_once(
    store: SplitStore, clickhouse: Server
) -> None:
    store.write({COUNT: 1}, [event(1)], "batch 1")
    clickhouse.end(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(StoreError, match="no answer"):
            store.write({COUNT: 1}, [event(2, "other")], "batch 2")
        with pytest.raises(StoreError, match="no answer"):
            store.erase(RECEIPT)
    assert store.erased(RECEIPT)
    assert counted(store) == 2
    clickhouse.start()
    store.write({COUNT: 1}, [event(2, "other")], "batch 2")
    assert store.erase(RECEIPT) == 1
    assert (counted(store), [row["receipt"] for row in store.events()]) == (2, ["other"])


def test_what_the_server_acknowledged_survives_its_kill(store: SplitStore, clickhouse: Server) -> None:
    for number in range(5):
        store.write({COUNT: 1}, [event(number)])
    clickhouse.end(signal.SIGKILL)
    clickhouse.start()
    assert len(store.events()) == 5
    settings = raw(clickhouse, "engine_full FROM system.tables WHERE name = 'consentmw_events'")
    assert "fsync_after_insert = 1, fsync_part_directory = 1" in settings, "and a power cut"


def test_the_recorder_keeps_rows_for_a_server_that_is_away_and_brings_each_once(
    clickhouse: Server, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", limit=1 << 20, clock=time.time)
    recorder = Recorder(lambda: opened_at(clickhouse, tmp_path), interval=0.02, spool=spool)
    clickhouse.end()
    for number in range(20):
        recorder.put(COUNT, event(number))
    assert recorder.flush(20)
    assert spool.size()
    clickhouse.start()
    until = time.monotonic() + 30
    while spool.size() and time.monotonic() < until:
        time.sleep(0.02)
    store = recorder.store
    assert (counted(store), len(store.events()), recorder.dropped) == (20, 20, {})
    assert recorder.close(10)


def test_a_server_that_says_nothing_is_not_waited_for_long(
    clickhouse: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (room._CONNECT, room._ANSWER) == (5, 10)
    monkeypatch.setattr(room, "_ANSWER", 1)
    with closing(opened_at(clickhouse, tmp_path)) as store:
        store.write({}, [event(1)])
        clickhouse.fails(silent=True, statements="INSERT INTO .?consentmw_events")
        with pytest.raises(StoreError, match="no answer"):
            store.write({}, [event(2)])
        # The one that said nothing is still busy; the next that asks is another connection.
        clickhouse.fails()
        assert len(store.events()) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<p>hi</p>",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
        b"\xff\xfe\x00" * 100,
    ],
    ids=["nothing", "a page", "a redirect", "noise"],
)
def test_what_is_no_clickhouse_is_a_store_error(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """A wrong port: whatever the driver makes of it, the recorder has to hear that it may try again."""
    monkeypatch.setattr(room, "_ANSWER", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(said)

        Thread(target=answer, daemon=True).start()
        rows = open_rows(f"clickhouse://127.0.0.1:{listening.getsockname()[1]}/site")
        with closing(rows), pytest.raises(StoreError, match="can't be read"):
            rows.events()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_only_a_server_with_a_trusted_certificate_is_told_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    """The password is in the first request. A certificate of one's own counts when the system is told to trust it."""
    certificate, key = ensure(tmp_path, ["localhost"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = Google(tls=context)
    rows = open_rows(f"clickhouses://web@127.0.0.1:{server.port}/site")
    with closing(server), closing(rows), pytest.raises(StoreError):
        rows.events()
    assert bool(server.bytes) is trusted


def test_a_closed_store_says_so(store: SplitStore) -> None:
    store.write({}, [event(1)])
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.write({COUNT: 1}, [event(1)])


# -- several at once ----------------------------------------------------------------------------

WRITES = """
import sys
from consentmw.events import Context, Count, Event
from consentmw.stores import open_event_store
store = open_event_store(*sys.argv[1:3])
context = Context("visit", "r", "n")
for batch in range(20):
    # A batch that everybody brings, and one of our own.
    for name in (f"all {batch}", f"{sys.argv[3]} {batch}"):
        rows = [Event(3_600_000_000 + n, "page", 3_700_000_000, context) for n in range(10)]
        store.write({Count(0, "page", "/", "2xx"): 10}, rows, name)
store.close()
"""


def test_processes_may_make_the_table_and_write_at_once(clickhouse: Server, tmp_path: Path) -> None:
    urls = (f"sqlite:///{tmp_path}/site.db", clickhouse.url())
    command = [sys.executable, "-W", "error", "-c", WRITES, *urls]
    workers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    with closing(open_event_store(*urls)) as store:
        assert (counted(store), len(store.events(limit=10_000))) == (600, 600)


def test_parent_and_forked_child_write_to_one_store(clickhouse: Server, tmp_path: Path) -> None:
    script = """
import os, sys
from consentmw.events import Context, Event
from consentmw.stores import open_event_store
store = open_event_store(*sys.argv[1:])
row = Event(3_600_000_000, "page", 3_700_000_000, Context("visit", "r", "n"))
store.write({}, [row])
store._rows._lock.acquire()  # as another thread would hold it, which does not live on in the child
client = store._rows._client
child = os.fork()
if child:
    store._rows._lock.release()
for _ in range(20):
    store.write({}, [row])
if child == 0:
    assert store._rows._client is not client
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert len(store.events()) == 41, len(store.events())
"""
    urls = (f"sqlite:///{tmp_path}/site.db", clickhouse.url())
    subprocess.run([sys.executable, "-W", "error", "-c", script, *urls], check=True, timeout=60)


# -- the setting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("clickhouse://web@db.example:9000/site", (False, "db.example", 9000, "web", "site")),
        ("clickhouse://db.example", (False, "db.example", 8123, "default", "default")),
        ("clickhouses://db.example/", (True, "db.example", 8443, "default", "default")),
        ("clickhouse://a%40b@[::1]/x_1", (False, "::1", 8123, "a@b", "x_1")),
    ],
)
def test_an_address_is_read(url: str, read: tuple[object, ...]) -> None:
    assert clickhouse_parameters(url) == read
    assert Settings.of({"debug": True, "events_store": url}).events_store == url


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse:",
        "clickhouse://",
        "clickhouse:///site",
        "http://db.example/site",
        "clickhouse://db.example:port/site",
        "clickhouse://db.example:0/site",
        "clickhouse://db.example:99999/site",
        "clickhouse://db.example/a/b",
        "clickhouse://db.example/a%27",
        "clickhouse://db.example/site?password=hunter2",
        "clickhouse://db.example/site#x",
        "clickhouse://db.example/a b",
        "clickhouse://db.éxample/site",
        "clickhouse://[::1/site",
        "clickhouse://web:hunter2@db.example/site",
        "clickhouse://web:@db.example/site",
        "clickhouse://\r\n/site",
        "clickhouse://x\0/site",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="events_store") as caught:
        Settings.of({"debug": True, "events_store": url})
    with pytest.raises(SettingsError):
        open_rows(url)
    assert not re.search("hunter2|db.example", str(caught.value))


def test_without_the_driver_the_error_says_what_to_install() -> None:
    script = """
import sys
sys.modules["clickhouse_connect"] = None
from consentmw.stores import open_rows
try:
    open_rows("clickhouse://db.example/site")
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "install consentmw[clickhouse]" in done.stdout


def test_a_site_writes_its_rows_where_the_setting_says(clickhouse: Server, tmp_path: Path) -> None:
    from .mounted import mounted

    async def app(*_: Any) -> None:
        """Never called."""

    site = mounted(app, store=f"sqlite:///{tmp_path}/site.db", events_store=clickhouse.url())
    site.recorder.put(COUNT, event(1))
    assert site.recorder.flush(20)
    assert site.recorder.close()
    assert raw(clickhouse, "count() FROM consentmw_events") == 1
    assert os.environ["CONSENTMW_CLICKHOUSE_PASSWORD"] == PASSWORD
