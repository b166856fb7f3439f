"""Recording never delays or breaks a request, loses nothing silently, and ends cleanly."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from consentmw.errors import StoreError
from consentmw.events import Context, Count, Event, Raw
from consentmw.events.uniques import Mark
from consentmw.recorder import Recorder
from consentmw.recorder.batches import Batch, Row
from consentmw.recorder.spool import Spool
from consentmw.stores import EventStore
from consentmw.stores.memory import MemoryStore
from consentmw.stores.sqlite import SqliteStore

NOW = 1_800_000_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
COUNT = Count(NOW, "page", "/", "2xx")


def event(number: int, receipt: str = "r1") -> Event:
    return Event(NOW, "page", NOW + 86_400, Context("visit", receipt, "n1"), route=f"/{number:06d}")


class Store(MemoryStore):
    """A memory store that can be told to fail, or to wait, and that notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: BaseException | None = None
        self.waits: threading.Event | None = None
        self.asked: list[str] = []
        self.sizes: list[int] = []
        self.ended = 0

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.waits is not None:
            assert self.waits.wait(20)
        if self.fails is not None:
            raise self.fails

    def write(self, counts: Mapping[Count, int], events: Sequence[Event], *more: Any, **named: Any) -> None:
        self._note("write")
        self.sizes.append(sum(counts.values()))
        super().write(counts, events, *more, **named)

    def erase(self, receipt: str) -> int:
        self._note("erase")
        return super().erase(receipt)

    def close(self) -> None:
        self.ended += 1

    def ids(self) -> list[str]:
        return sorted(row["route"] for row in self.events(limit=100_000))

    def total(self) -> int:
        return sum(row["count"] for row in self.counts())


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def make(store: Store) -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def build(open: Callable[[], EventStore] = lambda: store, **options: float) -> Recorder:  # noqa: A002
        options.setdefault("interval", 0.01)
        made.append(Recorder(open, **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    store.fails = store.waits = None
    for recorder in made:
        recorder.close(5)


def until(true: Callable[[], bool]) -> None:
    """Wait for another thread; a test that hangs says where."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


# -- the usual way ------------------------------------------------------------------------------


def test_what_is_put_is_written(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    assert recorder.put(COUNT, event(1))
    assert recorder.put(COUNT, None)
    assert recorder.put(COUNT._replace(route="/b"))
    assert recorder.flush(5)
    assert store.ids() == ["/000001"]
    assert {row["route"]: row["count"] for row in store.counts()} == {"/": 2, "/b": 1}
    assert recorder.dropped == {}
    assert recorder.waiting == 0


def test_rows_are_written_without_being_asked(store: Store, make: Callable[..., Recorder]) -> None:
    make().put(COUNT, event(1))
    until(lambda: store.ids() == ["/000001"])


def test_a_row_is_completed_before_it_is_stored(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    recorder.put(
        COUNT,
        event(1)._replace(context=Context("visit", "r1", "n1", raw=Raw(FIREFOX))),
    )
    assert recorder.flush(20)
    assert store.events()[0]["browser"] == "Firefox"


def test_batches_have_the_size_that_was_set(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(batch=10, interval=60.0)
    store.waits = threading.Event()
    for number in range(35):
        recorder.put(COUNT, event(number))
    store.waits.set()
    assert recorder.flush(5)
    assert max(store.sizes) == 10
    assert sum(store.sizes) == 35


def test_a_full_batch_does_not_wait_for_the_clock(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(batch=10, interval=3600.0)
    for number in range(11):
        recorder.put(COUNT, event(number))
    until(lambda: len(store.ids()) >= 10)


def test_nothing_is_opened_and_no_thread_runs_before_the_first_row(make: Callable[..., Recorder]) -> None:
    """Servers fork their workers after the application was made."""

    def open_store() -> EventStore:
        raise AssertionError("opened")

    before = threading.active_count()
    recorder = make(open_store)
    assert recorder.flush(0)
    assert threading.active_count() == before
    assert recorder.close(1)


def test_many_threads_lose_nothing(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(capacity=100_000, batch=50)

    def work(start: int) -> None:
        for number in range(start, start + 1_000):
            recorder.put(COUNT, event(number))

    threads = [threading.Thread(target=work, args=(n * 1_000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush(20)
    assert (store.total(), len(store.ids())) == (4_000, 4_000)


# -- a store that fails -------------------------------------------------------------------------


def test_rows_wait_for_a_store_that_is_down_and_count_once(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    store.fails = StoreError("down")
    for number in range(5):
        assert recorder.put(COUNT, event(number))
    until(lambda: store.asked.count("write") >= 3)
    assert not recorder.flush(0.05)
    assert recorder.waiting >= 5
    store.fails = None
    assert recorder.flush(20)
    assert (store.total(), len(store.ids())) == (5, 5)
    assert recorder.dropped == {}


def test_a_store_that_can_not_be_opened_yet_is_tried_again(store: Store, make: Callable[..., Recorder]) -> None:
    """Also when its opener raises what would mean a bad row if the store raised it."""
    answers: list[Exception] = [StoreError("no disk"), ValueError("no such thing"), OSError("no network")]

    def open_store() -> EventStore:
        if answers:
            raise answers.pop()
        return store

    recorder = make(open_store)
    recorder.put(COUNT, event(1))
    assert recorder.flush(20)
    assert (store.total(), recorder.dropped) == (1, {})


def test_the_queue_is_bounded_and_says_what_it_drops(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(capacity=10)
    store.fails = StoreError("down")
    results = [recorder.put(COUNT, event(number)) for number in range(25)]
    assert results == [True] * 10 + [False] * 15
    assert recorder.dropped == {"queue full": 15}
    assert recorder.waiting == 10
    store.fails = None
    assert recorder.flush(20)
    assert store.ids() == [event(n).route for n in range(10)]


def test_put_does_not_wait_for_a_store_that_hangs(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(capacity=50, batch=1)
    store.waits = threading.Event()
    recorder.put(COUNT, event(0))
    until(lambda: store.asked == ["write"])
    # The writer is inside the store now, and stays there: all of these return all the same.
    assert [recorder.put(COUNT, event(n)) for n in range(1, 60)].count(True) == 49
    store.waits.set()
    assert recorder.flush(20)
    assert store.total() == 50


@pytest.mark.parametrize("batch", [1, 2, 7, 1_000])
def test_a_row_that_can_not_be_stored_blocks_nothing(store: Store, make: Callable[..., Recorder], batch: int) -> None:
    recorder = make(batch=batch)
    for number in range(20):
        recorder.put(COUNT, event(number)._replace(link="\ud800" if number in (0, 7, 8, 19) else None))
    assert recorder.flush(20)
    assert store.ids() == [event(n).route for n in range(20) if n not in (0, 7, 8, 19)]
    assert recorder.dropped == {"unencodable": 4}
    # A row's counter goes with it; every other counter is there once.
    assert store.total() == 16


def test_an_error_that_nobody_foresaw_keeps_the_rows(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    store.fails = RuntimeError("a bug in a store")
    recorder.put(COUNT, event(1))
    until(lambda: len(store.asked) >= 2)
    store.fails = None
    assert recorder.flush(20)
    assert store.total() == 1


def test_put_never_raises_even_where_no_thread_can_start(
    make: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of an interpreter, or at a limit of threads."""

    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    recorder = make()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert recorder.put(COUNT, event(1)) is False
        assert recorder.remove("r1") is False
    assert recorder.dropped["no thread"] >= 1
    assert recorder.put(COUNT, event(2))
    assert recorder.flush(20)


def test_failures_are_logged_but_do_not_fill_the_log(
    store: Store, make: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = make(batch=1)
    with caplog.at_level(logging.DEBUG, "consentmw"):
        store.fails = StoreError("the disk is full")
        recorder.put(COUNT, event(1))
        until(lambda: len(store.asked) >= 4)
        store.fails = None
        assert recorder.flush(20)
    assert [record.name for record in caplog.records] == ["consentmw.recorder"]
    assert "the disk is full" in caplog.text
    assert "Traceback" not in caplog.text


def test_rows_dropped_for_want_of_room_are_logged(
    store: Store, make: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = make(capacity=10)
    with caplog.at_level(logging.DEBUG, "consentmw"):
        store.waits = threading.Event()
        for number in range(30):
            recorder.put(COUNT, event(number))
        store.waits.set()
        until(lambda: "20 rows were dropped" in caplog.text)


# -- withdrawal ---------------------------------------------------------------------------------


def test_withdrawal_removes_what_is_queued_and_what_is_written(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(interval=3600.0)
    recorder.put(COUNT, event(1, "gone"))
    recorder.put(COUNT, event(2, "stays"))
    assert recorder.flush(5)
    recorder.put(COUNT, event(3, "gone"))
    assert recorder.remove("gone")
    recorder.put(COUNT, event(4, "gone"))
    recorder.put(COUNT, event(5, "stays"))
    assert recorder.flush(5)
    assert store.ids() == [event(2).route, event(5).route]
    assert store.total() == 5
    recorder.put(COUNT, event(6, "gone"))  # a request that was under way all the time
    assert recorder.flush(5)
    assert store.ids() == [event(2).route, event(5).route]


def test_withdrawal_waits_for_a_store_that_is_down(store: Store, make: Callable[..., Recorder]) -> None:
    """It must not be lost, whatever becomes of rows."""
    recorder = make(capacity=10)
    recorder.put(COUNT, event(1, "gone"))
    assert recorder.flush(5)
    store.fails = StoreError("down")
    for number in range(2, 30):
        recorder.put(COUNT, event(number, "gone"))
    assert recorder.remove("gone")  # though the queue is full
    assert recorder.remove("gone")
    until(lambda: len(store.asked) >= 3)
    store.fails = None
    assert recorder.flush(20)
    assert store.ids() == []
    assert recorder.dropped["withdrawn"] == 10


def test_withdrawals_are_bounded_and_the_caller_is_told(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(capacity=5)
    store.fails = StoreError("down")
    results = [recorder.remove(f"receipt-{n}") for n in range(8)]
    assert results == [True] * 5 + [False] * 3
    assert recorder.dropped["withdrawal refused"] == 3


def test_a_withdrawal_that_is_done_makes_room_for_others(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(capacity=5)
    for number in range(12):
        assert recorder.remove(f"receipt-{number}")
        assert recorder.flush(5)
    assert store.asked.count("erase") == 12


@pytest.mark.parametrize("hostile", ["", "\ud800", "x" * 10_000])
def test_a_receipt_of_any_shape_stops_nothing(store: Store, make: Callable[..., Recorder], hostile: str) -> None:
    recorder = make()
    assert recorder.remove(hostile)
    recorder.put(COUNT, event(1, ""))
    assert recorder.flush(20)
    assert store.ids() == [event(1).route]


def test_in_a_file_the_receipt_s_rows_are_gone_too(tmp_path: Path, make: Callable[..., Recorder]) -> None:
    recorder = make(lambda: SqliteStore(tmp_path / "events.db"))
    recorder.put(COUNT, event(1, "gone"))
    assert recorder.flush(20)
    recorder.remove("gone")
    recorder.remove("\ud800")
    assert recorder.flush(20)
    assert recorder.store.events() == []
    assert recorder.close(5)


# -- retention ----------------------------------------------------------------------------------


def test_expired_rows_are_purged_at_the_start_and_once_a_day(store: Store, make: Callable[..., Recorder]) -> None:
    clock = [float(NOW)]
    store.write({}, [event(n)._replace(expires=NOW - 1) for n in range(3)])
    recorder = make(clock=lambda: clock[0])
    recorder.put(COUNT, event(10))
    until(lambda: store.ids() == [event(10).route])
    clock[0] += 86_399  # the row's time is not over yet, and the day neither
    recorder.put(COUNT, event(11)._replace(expires=NOW))
    assert recorder.flush(5)
    assert store.ids() == [event(10).route, event(11).route]
    clock[0] += 2
    recorder.put(COUNT)
    until(lambda: store.ids() == [])


# -- the end ------------------------------------------------------------------------------------


def test_closing_writes_everything_and_may_be_repeated(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make(interval=3600.0, batch=10)
    for number in range(95):
        recorder.put(COUNT, event(number))
    assert recorder.close(20)
    assert recorder.close(20)
    assert (store.total(), store.ended) == (95, 1)


def test_after_the_end_rows_are_refused_and_counted(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    recorder.put(COUNT)
    recorder.close(20)
    assert recorder.put(COUNT) is False
    assert recorder.remove("r1") is False
    assert recorder.dropped == {"closed": 1, "withdrawal refused": 1}
    assert recorder.flush(0)


def test_what_a_failing_store_did_not_take_by_the_end_is_counted(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    store.fails = StoreError("down")
    for number in range(7):
        recorder.put(COUNT, event(number))
    assert recorder.close(0.1) is False
    assert recorder.close(0.1) is False
    assert recorder.dropped == {"store failed at shutdown": 7}


def test_a_store_that_hangs_does_not_hold_up_the_end(store: Store, make: Callable[..., Recorder]) -> None:
    recorder = make()
    store.waits = threading.Event()
    recorder.put(COUNT)
    until(lambda: store.asked == ["write"])
    assert recorder.close(0.05) is False
    assert store.ended == 0  # it is in use
    store.waits.set()


def test_a_store_that_can_not_be_closed_is_no_reason_to_fail(
    store: Store, make: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError

    recorder = make()
    recorder.put(COUNT)
    monkeypatch.setattr(store, "close", fail)
    assert recorder.close(20)


END = """
import sys
from pathlib import Path
from consentmw.events import Count
from consentmw.events.uniques import Mark
from consentmw.recorder import Recorder
from consentmw.stores.sqlite import SqliteStore
recorder = Recorder(lambda: SqliteStore(Path(sys.argv[1])), interval=3600)
for _ in range(500):
    recorder.put(Count(0, "page", "/", "2xx"))
"""


def test_an_interpreter_that_ends_writes_what_is_queued(tmp_path: Path) -> None:
    """Not every server sends lifespan events."""
    path = tmp_path / "events.db"
    subprocess.run([sys.executable, "-W", "error", "-c", END, str(path)], check=True, timeout=60)
    assert counted(path) == 500


FORK = (
    END
    + """
import os
child = os.fork()
if child == 0:
    for _ in range(30):
        recorder.put(Count(0, "page", "/", "2xx"))
    os._exit(0 if recorder.close(30) else 1)
assert os.waitpid(child, 0)[1] == 0
assert recorder.close(30)
"""
)


def test_a_forked_worker_records_for_itself_and_repeats_nothing(tmp_path: Path) -> None:
    """The parent's queue is the parent's to write; a child that inherited it would count everything twice."""
    path = tmp_path / "events.db"
    subprocess.run([sys.executable, "-c", FORK, str(path)], check=True, timeout=60)
    assert counted(path) == 530


def test_a_killed_process_loses_no_more_than_it_says(tmp_path: Path) -> None:
    """What was put more than an interval ago is in the store when the process is killed."""
    path = tmp_path / "events.db"
    script = (
        END.replace("interval=3600", "interval=0.05")
        + """
import os, signal, time
until = time.monotonic() + 30
while recorder.waiting and time.monotonic() < until:
    time.sleep(0.01)
for _ in range(40):
    recorder.put(Count(0, "page", "/late", "2xx"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert done.returncode == -9
    assert 500 <= counted(path) <= 540


def counted(path: Path) -> int:
    assert path.stat().st_size > 0
    store = SqliteStore(path)
    try:
        return sum(row["count"] for row in store.counts())
    finally:
        store.close()


def test_what_was_told_at_once_is_written_at_once(make: Callable[..., Recorder], store: Store) -> None:
    """The rest of it, in the next batch, would be taken for something that came again."""
    recorder = make(batch=10, interval=60.0)
    rows = [(COUNT, event(number)._replace(told=f"t{number // 7}")) for number in range(70)]
    for first in range(0, 70, 7):
        count, row = rows[first]
        recorder.put(count, row, *rows[first + 1 : first + 7])
    assert recorder.flush()
    assert (len(store.ids()), store.total()) == (70, 70)
    assert len(store.asked) > 2, "otherwise this says nothing about the ends of batches"


def test_more_than_the_queue_holds_is_dropped_and_counted_together(make: Callable[..., Recorder], store: Store) -> None:
    store.waits = threading.Event()
    recorder = make(capacity=3)
    for number in range(3):
        recorder.put(COUNT, event(number))
    assert not recorder.put(COUNT, event(3), (COUNT, event(4)), (COUNT, event(5)))
    assert recorder.dropped == {"queue full": 3}
    store.waits.set()


def test_half_a_batch_is_not_taken_for_the_other_half(make: Callable[..., Recorder], store: Store) -> None:
    """One row that can't be stored costs itself alone, also among those that were told at once."""
    rows = [(COUNT, event(number)._replace(told="t1", target="\0" if number == 5 else "x")) for number in range(8)]
    recorder = make()
    recorder.put(*rows[0], *rows[1:])
    assert recorder.flush()
    assert (len(store.ids()), store.total()) == (7, 7)
    assert recorder.dropped == {"unencodable": 1}


# -- a spool ------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", limit=1024 * 1024, clock=time.time)


def test_with_a_spool_an_outage_of_any_length_costs_nothing(
    store: Store, make: Callable[..., Recorder], spool: Spool
) -> None:
    """Ten times what the queue holds, in order, each once; and a withdrawal in the middle of it."""
    recorder = make(capacity=10, batch=5, spool=spool)
    store.fails = StoreError("down")
    for number in range(100):
        assert recorder.put(COUNT, event(number, "gone" if number < 50 else "stays"))
        if number == 60:
            assert recorder.remove("gone")
        assert recorder.flush(20), "what is in the spool is safe, and nobody has to wait for it"
    assert (store.total(), recorder.waiting, recorder.dropped) == (0, 0, {})
    assert spool.size() > 0
    store.fails = None
    until(lambda: spool.size() == 0)
    assert store.total() == 100
    assert store.ids() == [event(number).route for number in range(50, 100)]
    until(lambda: not recorder.behind)
    recorder.put(COUNT, event(100))
    assert recorder.flush(20)
    assert spool.size() == 0, "and rows go straight to the store again"


def test_with_a_spool_a_store_that_hangs_costs_no_row(
    store: Store, make: Callable[..., Recorder], spool: Spool
) -> None:
    """A server that accepts connections and says nothing is waited for only while the queue has room."""
    recorder = make(capacity=20, batch=20, spool=spool)
    store.waits = threading.Event()
    for number in range(100):
        until(lambda: recorder.waiting < 15)
        assert recorder.put(COUNT, event(number))
    assert recorder.flush(20), "what comes meanwhile is safe"
    assert (store.total(), recorder.dropped, recorder.behind) == (0, {}, True)
    assert store.asked == ["write"], "one question at a time: the batch under way may still get there"
    store.waits.set()
    until(lambda: not recorder.behind)
    assert store.total() == 100
    assert store.ids() == [event(number).route for number in range(100)]


def test_with_a_spool_an_end_while_the_store_hangs_loses_nothing(
    store: Store, make: Callable[..., Recorder], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits as long as a driver does: the rows are for the next process."""
    monkeypatch.setattr("consentmw.recorder.backlog._PATIENCE", 0.1)
    recorder = make(batch=1, spool=spool)
    store.waits = threading.Event()
    for number in range(3):
        recorder.put(COUNT, event(number))
    until(lambda: store.asked == ["write"])
    assert recorder.close(3)
    assert (store.total(), recorder.dropped) == (0, {})
    store.waits.set()
    assert make(spool=Spool(spool._folder, limit=1_000_000, clock=time.time)).settle(20)
    assert store.ids() == [event(number).route for number in range(3)]


def test_a_store_that_hangs_over_another_question_costs_no_row(
    store: Store, make: Callable[..., Recorder], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first visitor of a day has the store asked for the day's salt: the outage may begin there, or the process."""
    answers = threading.Event()
    monkeypatch.setattr(store, "salt", lambda _day: answers.wait(20) and "")
    recorder = make(capacity=20, batch=20, spool=spool, clock=lambda: NOW)
    for number in range(100):
        until(lambda: recorder.waiting < 15)
        seen = event(number)
        raw = Raw(FIREFOX, who=f"visitor {number}")
        assert recorder.put(COUNT, seen._replace(context=seen.context._replace(raw=raw)))
    assert recorder.flush(20)
    answers.set()
    until(lambda: store.total() == 100)
    assert recorder.dropped == {}


def test_days_that_can_not_be_closed_hold_up_no_row(
    store: Store, make: Callable[..., Recorder], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried once a minute: at every batch, the writer would pause longer each time while the queue fills."""
    tried: list[int] = []

    def close_days(now: int) -> int:
        tried.append(now)
        raise StoreError("a table is locked")

    monkeypatch.setattr(store, "close_days", close_days)
    recorder = make(spool=spool, clock=lambda: NOW)
    for number in range(5):
        recorder.put(COUNT, event(number))
        assert recorder.flush(20)
    assert (store.total(), tried) == (5, [NOW])


def test_a_store_that_is_away_is_not_asked_for_what_expired(
    store: Store, make: Callable[..., Recorder], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer could take as long as the queue lasts; it is asked when it is back."""
    purges: list[int] = []

    def purge(now: int, limit: int) -> int:
        purges.append(now)
        return 0

    monkeypatch.setattr(store, "purge", purge)
    recorder = make(spool=spool)
    store.fails = StoreError("down")
    for number in range(2):
        recorder.put(COUNT, event(number))
        assert recorder.flush(20)
    assert purges == []
    store.fails = None
    until(lambda: not recorder.behind)
    recorder.put(COUNT, event(2))
    until(lambda: len(purges) == 1)


def test_catching_up_leaves_most_of_the_time_to_requests(
    store: Store, make: Callable[..., Recorder], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten batches of a second of computing each are followed by rests of three: pages go on as before."""
    rests: list[float] = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout == 3.0:
                rests.append(timeout)
                return False
            return super().wait(timeout)

    for number in range(10):
        spool.add(Batch(f"b{number}", [(COUNT, event(number))]).encode())
    spool.close()
    monkeypatch.setattr("consentmw.recorder.backlog.Signal", Clock)
    monkeypatch.setattr("consentmw.recorder.backlog.time.thread_time", iter(range(1_000)).__next__)
    assert make(spool=Spool(spool._folder, limit=1_000_000, clock=time.time)).settle(20)
    assert (store.total(), rests) == (10, [3.0] * 10)


def test_what_waits_is_delivered_by_the_next_process(store: Store, make: Callable[..., Recorder], spool: Spool) -> None:
    recorder = make(spool=spool)
    store.fails = StoreError("down")
    recorder.put(COUNT, event(1))
    assert recorder.close(20), "nothing is lost by an end during an outage"
    assert recorder.dropped == {}
    store.fails = None
    again = make(spool=spool)
    again.put(COUNT, event(2))
    until(lambda: store.total() == 2)
    assert store.ids() == [event(1).route, event(2).route]


def test_what_an_earlier_process_left_is_tried_until_it_is_delivered(
    store: Store, make: Callable[..., Recorder], spool: Spool
) -> None:
    """Also where this process has nothing of its own to deliver, and the store is still away when it starts."""
    spool.add(Batch("b1", [(COUNT, event(1))]).encode())
    spool.close()
    store.fails = StoreError("down")
    recorder = make(spool=Spool(spool._folder, limit=1_000_000, clock=time.time))
    assert not recorder.settle(0.05)
    until(lambda: store.asked.count("write") >= 2)
    store.fails = None
    assert recorder.settle(20)
    assert store.ids() == [event(1).route]


def test_a_batch_that_the_store_took_before_it_failed_counts_once(
    store: Store, make: Callable[..., Recorder], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a commit was lost: nobody knows, so it comes again."""
    write = MemoryStore.write

    def taken_and_lost(self: MemoryStore, *batch: object) -> None:
        write(self, *batch)  # type: ignore[arg-type]
        raise StoreError("the connection broke")

    for options in ({"spool": spool}, {}):
        recorder = make(**options)
        with monkeypatch.context() as patched:
            patched.setattr(MemoryStore, "write", taken_and_lost)
            recorder.put(COUNT, event(1))
            until(lambda: store.asked.count("write") >= 2)
        assert recorder.flush(20)
        until(lambda: spool.size() == 0)
        store.asked.clear()
    assert store.total() == 2


def test_a_full_spool_drops_what_comes_and_says_so(store: Store, make: Callable[..., Recorder], spool: Spool) -> None:
    recorder = make(spool=Spool(spool._folder, limit=5_000, clock=time.time))
    store.fails = StoreError("down")
    for number in range(50):
        recorder.put(COUNT, event(number))
        assert recorder.flush(20)
    dropped = recorder.dropped["spool full"]
    assert 0 < dropped < 50
    assert spool.size() <= 5_000
    store.fails = None
    until(lambda: store.total() == 50 - dropped)


def test_a_disk_that_takes_nothing_leaves_rows_in_the_queue(
    store: Store, make: Callable[..., Recorder], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    recorder = make(capacity=10, spool=Spool(tmp_path / "file" / "spool", limit=1_000_000, clock=time.time))
    store.fails = StoreError("down")
    assert [recorder.put(COUNT, event(number)) for number in range(12)] == [True] * 10 + [False] * 2
    store.fails = None
    assert recorder.flush(20)
    assert store.total() == 10


def test_what_is_no_batch_of_ours_is_left_out(store: Store, make: Callable[..., Recorder], spool: Spool) -> None:
    for junk in (b"", b"{}", b"\xff", b"[]", b'{"version": 2}', b'{"version": 1, "id": 1, "rows": [[9]]}', b"1" * 5000):
        spool.add(junk)
    spool.add(Batch("b1", [(COUNT, event(1))]).encode())
    spool.close()
    recorder = make(spool=spool)
    recorder.put(COUNT)
    until(lambda: store.total() == 2)
    assert recorder.dropped == {"unreadable": 7}


def test_the_agent_as_sent_never_reaches_the_disk(store: Store, make: Callable[..., Recorder], spool: Spool) -> None:
    """A spool is a disk like any other: it holds what the store would hold."""
    recorder = make(spool=spool)
    store.fails = StoreError("down")
    recorder.put(COUNT, event(1)._replace(context=Context("visit", "r1", "n1", raw=Raw(FIREFOX))))
    assert recorder.flush(20)
    content = b"".join(path.read_bytes() for path in spool._folder.iterdir())
    assert b"Firefox" in content
    assert b"Gecko" not in content


@pytest.mark.parametrize("number", [0, 1, 2, 3, 10])
def test_a_batch_is_the_same_after_its_way_through_the_spool(number: int) -> None:
    rows: list[Row] = [
        (COUNT._replace(route=f"/{n % 3}"), event(n, f"r{n % 2}") if n % 4 else None) for n in range(number)
    ]
    batch = Batch("id", rows, marks=tuple(Mark(86_400, "visit", n - 2**63, f"r{n}") for n in range(number)))
    assert Batch.decode(batch.encode()) == batch
    assert [row for half in batch.halves() for row in half.rows] == rows
