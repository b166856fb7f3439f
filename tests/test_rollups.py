"""Roll-ups say what rows said, are corrected when rows are withdrawn, and no salt outlives its second day."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.errors import StoreError
from consentmw.events import TIER_FIELDS, Context, Count, Event, Raw
from consentmw.events.hosts import OTHER
from consentmw.events.rollups import DIMENSIONS, Rollup, bounded, corrected, rolled
from consentmw.events.uniques import KEPT, Mark, day_of, mark_of, new_salt
from consentmw.recorder import Recorder
from consentmw.recorder.batches import Batch
from consentmw.recorder.spool import Spool
from consentmw.stores import EventStore, HeldTier, open_rows, open_store
from consentmw.stores.memory import MemoryStore
from consentmw.stores.postgres import PostgresStore
from consentmw.stores.split import SplitStore
from consentmw.stores.sqlite import SqliteStore

from . import clickhouse
from .postgres import Server
from .test_cli import consentmw, settings

Store = MemoryStore | SqliteStore | PostgresStore | SplitStore

DAY = 1_800_057_600
HOUR = DAY
ALL = (0, 2**40)


@pytest.fixture(params=["memory", "sqlite", "postgresql", "clickhouse"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store
    if request.param == "clickhouse":
        rows: clickhouse.Server = request.getfixturevalue("clickhouse")
        opened = SplitStore(open_store(f"sqlite:///{tmp_path}/events.db"), open_rows(rows.url()))
    elif request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        opened = open_store(server.url())
    else:
        opened = open_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/events.db")
    yield opened
    opened.close()


def event(at: float = HOUR, receipt: str = "r1", tier: str = "visit", route: str = "/outages", **said: Any) -> Event:
    known = {"bot": "", "browser": "Firefox", "os": "Linux", "device": "desktop", "language": "en", "region": "US-IA"}
    context = Context(tier, receipt, "n1", **{**known, **{name: said.pop(name) for name in known if name in said}})
    return Event(at, "page", DAY + 10**7, context, **{"route": route, "status": 200, "referrer_host": "", **said})


def numbers(store: EventStore, dimension: str) -> dict[tuple[int, str, str], int]:
    """Hour (from HOUR on), value and tier to count."""
    rows = store.rollups(dimension, *ALL)
    return {((row["hour"] - HOUR) // 3600, row["value"], row["tier"]): row["count"] for row in rows}


def counted(events: Sequence[Event]) -> dict[Rollup, int]:
    return rolled((e.at, e.kind, e.route, e.referrer_host, e.context, 1) for e in events)


def held(store: EventStore) -> dict[Rollup, int]:
    """Every roll-up of a store."""
    return {
        Rollup(row["hour"], dimension, row["value"], row["tier"]): row["count"]
        for dimension in DIMENSIONS
        for row in store.rollups(dimension, *ALL)
    }


# -- counting -----------------------------------------------------------------------------------


def test_only_what_stands_in_every_row_is_rolled_up() -> None:
    """Nothing above a row's tier gets in, because no dimension is above the lowest tier that has rows."""
    assert DIMENSIONS.keys() <= TIER_FIELDS["coarse"]


def test_rows_are_added_up_by_hour_value_and_tier(store: Store) -> None:
    store.write({}, [event(), event(HOUR + 3599), event(HOUR + 3600), event(tier="coarse", browser="Chrome")])
    store.write({}, [event(HOUR + 1)])
    assert numbers(store, "browser") == {
        (0, "Chrome", "coarse"): 1,
        (0, "Firefox", "visit"): 3,
        (1, "Firefox", "visit"): 1,
    }
    assert numbers(store, "route") == {
        (0, "page /outages", "coarse"): 1,
        (0, "page /outages", "visit"): 3,
        (1, "page /outages", "visit"): 1,
    }
    rows = store.rollups("os", HOUR, HOUR + 3600)
    assert rows == [
        {"hour": HOUR, "value": "Linux", "tier": "coarse", "count": 1},
        {"hour": HOUR, "value": "Linux", "tier": "visit", "count": 3},
    ]
    assert store.rollups("os", HOUR + 3600, HOUR + 3600) == store.rollups("ip'; --", *ALL) == []


def test_what_a_row_does_not_say_is_not_counted(store: Store) -> None:
    """An unknown value is one; a dimension that the row lacks is none. Programs are in the counters already."""
    store.write(
        {}, [event(referrer_host=None), event(referrer_host=""), event(bot="bot: curl", referrer_host="a.example")]
    )
    assert numbers(store, "referrer_host") == {(0, "", "visit"): 1}
    assert numbers(store, "device") == {(0, "desktop", "visit"): 2}


def test_what_a_visitor_came_with_is_counted_by_page_views(store: Store) -> None:
    """Who scrolls and clicks a lot has no more browsers than others; where it happened is counted by what it was."""
    store.write({}, [event(), event()._replace(kind="download"), event()._replace(kind="leave")])
    assert numbers(store, "browser") == {(0, "Firefox", "visit"): 1}
    assert numbers(store, "referrer_host") == {(0, "", "visit"): 1}
    assert numbers(store, "route") == {
        (0, "download /outages", "visit"): 1,
        (0, "leave /outages", "visit"): 1,
        (0, "page /outages", "visit"): 1,
    }


def test_a_batch_that_comes_again_is_rolled_up_once(store: Store) -> None:
    for _ in range(2):
        store.write({}, [event()], "batch 1")
    assert numbers(store, "device") == {(0, "desktop", "visit"): 1}


def test_a_batch_that_fails_is_not_rolled_up(store: Store) -> None:
    """Rows and roll-ups are one transaction; and a value that was rolled back counts as new the next time."""
    with pytest.raises(ValueError, match="can't be stored"):
        store.write({}, [event(referrer_host="a.example"), event(route="\0")])
    assert held(store) == {}
    store.write({}, [event(referrer_host="a.example")])
    assert numbers(store, "referrer_host") == {(0, "a.example", "visit"): 1}


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "many"])
def test_an_hour_has_so_many_values_and_no_more(store: Store, together: bool) -> None:
    """Anybody can make up referring hosts; the sum stays right."""
    most = DIMENSIONS["referrer_host"]
    made = [event(referrer_host=f"h{number}.example") for number in range(most + 50)]
    for part in [made] if together else [made[at : at + 100] for at in range(0, len(made), 100)]:
        store.write({}, part)
    found = numbers(store, "referrer_host")
    assert len(found) == most + 1
    assert found[0, OTHER, "visit"] == 50
    assert sum(found.values()) == len(made)
    store.write({}, [event(referrer_host="h0.example"), event(HOUR + 3600, referrer_host="new.example")])
    found = numbers(store, "referrer_host")
    assert (found[0, "h0.example", "visit"], found[1, "new.example", "visit"]) == (2, 1)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_bound_holds_for_all_writers_together(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Four processes that each know only their own values would keep four times as many."""
    url = f"sqlite:///{tmp_path}/events.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").url()
    most, failed = DIMENSIONS["device"], []

    def work(number: int) -> None:
        opened = open_store(url)
        try:
            for turn in range(20):
                opened.write({}, [event(device=f"d{number}-{turn}")])
        except Exception as error:
            failed.append(error)
        finally:
            opened.close()

    open_store(url).close()
    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with closing(open_store(url)) as opened:
        found = numbers(opened, "device")
    assert failed == []
    assert len(found) == most + 1
    assert sum(found.values()) == 80


def test_expiry_leaves_roll_ups_alone(store: Store) -> None:
    store.write({}, [event()])
    before = held(store)
    assert before != {}
    assert store.purge(DAY + 10**8) == 1
    # Those of ClickHouse's rows are counted when they are asked for.
    assert held(store) == ({} if isinstance(store, SplitStore) else before)


# -- withdrawal ---------------------------------------------------------------------------------


def test_an_erasure_takes_out_what_the_rows_added(store: Store) -> None:
    """Also the last trace of a value that only they had."""
    store.write({}, [event(receipt="r1", referrer_host="rare.example"), event(HOUR + 7200, "r1"), event(receipt="r2")])
    store.write({}, [event(receipt="", tier="coarse")])
    store.erase("r1")
    assert held(store) == counted([event(receipt="r2"), event(receipt="", tier="coarse")])
    store.erase("r1")
    store.erase("")
    assert held(store) == counted([event(receipt="r2"), event(receipt="", tier="coarse")])


def test_a_row_that_comes_after_its_erasure_is_not_rolled_up(store: Store) -> None:
    store.erase("r1")
    store.write({}, [event(receipt="r1"), event(receipt="r2")])
    assert held(store) == counted([event(receipt="r2")])


def test_what_was_counted_as_other_is_taken_from_there(store: Store) -> None:
    most = DIMENSIONS["device"]
    store.write({}, [event(receipt="first", device=f"d{number}") for number in range(most)])
    store.write({}, [event(receipt="late", device="late"), event(receipt="later", device="later")])
    store.erase("late")
    assert numbers(store, "device")[0, OTHER, "visit"] == 1
    store.erase("later")
    store.erase("first")
    assert numbers(store, "device") == {}


def test_an_erasure_never_counts_below_zero(tmp_path: Path) -> None:
    """Whatever happened to the table: a figure below zero, or an erasure that fails over it, would be worse."""
    with closing(SqliteStore(tmp_path / "e.db")) as store:
        store.write({}, [event(), event(), event(browser="Chrome")])
        with closing(sqlite3.connect(tmp_path / "e.db")) as database, database:
            database.execute("UPDATE rollups SET count = 1 WHERE dimension = 'browser' AND value = 'Firefox'")
            database.execute("DELETE FROM rollups WHERE dimension = 'os'")
        assert store.erase("r1") == 3
        assert held(store) == {}


EVENTS = st.lists(
    st.builds(
        event,
        at=st.sampled_from([HOUR, HOUR + 1800, HOUR + 3600]),
        receipt=st.sampled_from(["a", "b", "c"]),
        tier=st.sampled_from(["coarse", "visit", "person"]),
        device=st.sampled_from([f"d{number}" for number in range(14)]),
        referrer_host=st.sampled_from(["", "a.example", None]),
        bot=st.sampled_from(["", "", "bot: curl"]),
    ),
    max_size=25,
)


@given(EVENTS, st.lists(st.sampled_from("abc"), max_size=3))
def test_sums_stay_those_of_the_rows(events: list[Event], erased: list[str]) -> None:
    """Whatever is written and erased, over the bound of an hour or not: each hour and dimension adds up to its rows."""
    store = MemoryStore()
    for at in range(0, len(events), 7):
        store.write({}, events[at : at + 7])
    for receipt in erased:
        store.erase(receipt)
    sums: Counter[tuple[int, str, str]] = Counter()
    for key, number in held(store).items():
        sums[key.hour, key.dimension, key.tier] += number
    expected: Counter[tuple[int, str, str]] = Counter()
    for key, number in counted([one for one in events if one.context.receipt not in erased]).items():
        expected[key.hour, key.dimension, key.tier] += number
    assert sums == expected
    assert all(number > 0 for number in held(store).values())


def test_bounding_and_correcting_leave_their_arguments_alone() -> None:
    """A store calls them inside a transaction that may still fail."""
    known = {(HOUR, "device"): frozenset({"desktop"})}
    added = counted([event(device="tv")])
    _, values = bounded(added, known)
    assert known == {(HOUR, "device"): frozenset({"desktop"})}
    assert {"desktop", "tv"} <= values[HOUR, "device"]
    before = dict(added)
    seen = [(HOUR, "page", "/outages", "", event(device="tv").context, 1)]
    assert set(corrected(seen, added).values()) == {0}
    assert added == before


# -- rows of the version before -----------------------------------------------------------------


def test_rows_of_the_version_before_are_rolled_up(tmp_path: Path) -> None:
    """Else erasing them would take from numbers that they never added to."""
    path = tmp_path / "old.db"
    with closing(SqliteStore(path)) as store:
        store.write({}, [event(receipt="a"), event(receipt="b", browser="Chrome")])
        before = held(store)
    with closing(sqlite3.connect(path)) as database, database:
        columns = "at, kind, expires, tier, receipt, notice, bot, browser, os, device, language, region, ip, agent, "
        columns += "accept_language, host, route, status, referrer_host, referrer, query, duration_ms, method, "
        columns += "campaign, link, recipient"
        database.execute(
            f"CREATE TABLE old AS SELECT e.rowid AS id, {columns} FROM events e JOIN contexts c ON c.id = e.context"
        )
        for table in ("events", "contexts", "batches", "rollups", "salts", "marks", "uniques"):
            database.execute(f"DROP TABLE {table}")
        database.execute("ALTER TABLE old RENAME TO events")
        database.execute("CREATE INDEX events_receipt ON events (receipt)")
        database.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")
    with closing(SqliteStore(path)) as store:
        assert held(store) == before
        store.erase("a")
        assert numbers(store, "browser") == {(0, "Chrome", "visit"): 1}


# -- visitors a day -----------------------------------------------------------------------------


def marked(store: EventStore, *visitors: str, day: int = DAY, tier: str = "visit") -> None:
    """Write a row of each, marked as the recorder marks them."""
    salt = store.salt(day)
    made = [event(day + 60, visitor, tier) for visitor in visitors]
    store.write({}, made, marks=[Mark(day, tier, mark_of(salt, visitor), visitor) for visitor in visitors])


def visitors(store: EventStore) -> dict[tuple[int, str], int]:
    return {((row["day"] - DAY) // 86_400, row["tier"]): row["count"] for row in store.uniques(*ALL)}


def test_a_day_is_a_day_in_utc() -> None:
    assert day_of(DAY) == day_of(DAY + 86_399.9) == DAY
    assert day_of(DAY - 0.1) == DAY - 86_400


def test_a_mark_depends_on_salt_and_visitor_and_fits_a_column() -> None:
    salts = [new_salt() for _ in range(2)]
    marks = {mark_of(salt, raw) for salt in salts for raw in ("a", "b", "\udcff\0", "x" * 5000)}
    assert len(marks) == 8
    assert mark_of(salts[0], "a") in marks
    assert all(-(2**63) <= mark < 2**63 for mark in marks)


def test_a_visitor_counts_once_a_day(store: Store) -> None:
    marked(store, "a", "b", "a")
    marked(store, "a")
    marked(store, "a", day=DAY + 86_400)
    marked(store, "x", tier="coarse")
    assert visitors(store) == {(0, "coarse"): 1, (0, "visit"): 2, (1, "visit"): 1}
    assert store.uniques(DAY, DAY + 86_400) == [
        {"day": DAY, "tier": "coarse", "count": 1},
        {"day": DAY, "tier": "visit", "count": 2},
    ]


def test_everybody_gets_the_same_salt_of_a_day(store: Store) -> None:
    assert store.salt(DAY) == store.salt(DAY) != store.salt(DAY + 86_400)
    assert len(bytes.fromhex(store.salt(DAY))) == 32


def test_the_first_writer_of_a_day_makes_its_salt_for_all(postgres: Server, tmp_path: Path) -> None:
    """Two that each made one would count every visitor twice."""
    for url in (postgres.url(), f"sqlite:///{tmp_path}/e.db"):
        opened = [open_store(url) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda one: one.salt(DAY), opened))
        for one in opened:
            one.close()
        assert len(found) == 4
        assert len(set(found)) == 1


def test_a_day_is_closed_in_time_and_its_number_stays(store: Store) -> None:
    marked(store, "a", "b")
    marked(store, "x", tier="coarse")
    assert KEPT + 3600 < 48 * 3600  # looked at hourly
    assert store.close_days(DAY + KEPT - 1) == 0
    assert store.held().salts == 1
    assert store.close_days(DAY + KEPT) == 1
    assert (store.held().salts, store.held().marks, store.held().oldest_salt) == (0, 0, None)
    assert visitors(store) == {(0, "coarse"): 1, (0, "visit"): 2}
    assert store.close_days(DAY + KEPT) == 0
    assert visitors(store) == {(0, "coarse"): 1, (0, "visit"): 2}


@pytest.mark.parametrize("came", [True, False], ids=["with visitors", "without any"])
def test_a_closed_day_stays_closed(store: Store, came: bool) -> None:
    """A new salt for it would count its visitors again, and outlive its 48 hours."""
    if came:
        marked(store, "a")
    salt = store.salt(DAY)
    store.close_days(DAY + KEPT)
    assert store.salt(DAY) == ""
    store.write({}, [event(DAY + 60)], marks=[Mark(DAY, "visit", mark_of(salt, "late"), "r1")])
    assert store.held().marks == 0
    assert len(store.events()) == 1 + came
    assert visitors(store) == ({(0, "visit"): 1} if came else {})


def test_a_withdrawal_takes_the_mark_of_an_open_day_along(store: Store) -> None:
    marked(store, "a", "b")
    marked(store, "a", day=DAY + 86_400)
    store.close_days(DAY + KEPT)
    store.erase("a")
    assert visitors(store) == {(0, "visit"): 2}
    marked(store, "a", day=DAY + 86_400)
    assert visitors(store) == {(0, "visit"): 2}, "it was on its way"


def test_salt_and_marks_are_gone_from_the_file(tmp_path: Path) -> None:
    """Byte by byte, in the database, its log and its index: nothing by which a visitor could be told again."""
    path = tmp_path / "e.db"
    with closing(SqliteStore(path)) as store:
        salt = store.salt(DAY)
        names = [f"203.0.113.{number}" for number in range(100)]
        marked(store, *names, tier="coarse")
        traces = [salt.encode(), bytes.fromhex(salt)]
        traces += [mark_of(salt, name).to_bytes(8, "big", signed=True) for name in names]
        before = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert before.count(traces[0]) >= 1
        assert all(mark in before for mark in traces[2:])
        store.close_days(DAY + KEPT)
        after = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert [trace for trace in traces if trace in after] == []
        assert visitors(store) == {(0, "coarse"): 100}


def test_salts_are_gone_from_the_files_of_a_database(postgres: Server) -> None:
    """The files of its tables; its own log and its backups are as long as whoever runs it wants them."""

    def traces(salt: str) -> int:
        postgres.run("CHECKPOINT")
        files = [file for file in (postgres.folder / "data" / "base").rglob("*") if file.is_file()]
        return sum(salt.encode() in file.read_bytes() for file in files)

    with closing(PostgresStore(postgres.url())) as store:
        marked(store, "a", "b")
        salt, next_one = store.salt(DAY), store.salt(DAY + 86_400)
        assert traces(salt) == 1
        store.close_days(DAY + KEPT)
        assert (traces(salt), traces(next_one)) == (0, 1)
        assert store.salt(DAY + 86_400) == next_one
    assert postgres.run("SELECT count(*) FROM consentmw.marks") == [(0,)]


# -- through the recorder -----------------------------------------------------------------------


class AwayStore(MemoryStore):
    """A memory store that can be away, and notes which salts it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked: list[int] = []

    def write(self, counts: Mapping[Count, int], events: Sequence[Event], *more: Any, **named: Any) -> None:
        if self.away:
            raise StoreError("away")
        super().write(counts, events, *more, **named)

    def salt(self, day: int) -> str:
        self.asked.append(day)
        if self.away:
            raise StoreError("away")
        return super().salt(day)

    def close(self) -> None:
        """The test goes on reading."""


COUNT = Count(HOUR, "page", "/outages", "2xx")


def recorder(store: EventStore, spool: Spool | None = None, now: float = DAY + 3600) -> Recorder:
    return Recorder(lambda: store, interval=0.01, clock=lambda: now, spool=spool)


def raw(text: str, at: float = DAY + 60, receipt: str = "") -> Event:
    made = event(at, receipt, "coarse")
    return made._replace(context=made.context._replace(raw=Raw("Mozilla/5.0", who=text)))


def test_the_recorder_marks_and_asks_once_a_day() -> None:
    store = AwayStore()
    writer = recorder(store)
    for visitor in "abcab":
        writer.put(COUNT, raw(f"203.0.113.{visitor}"))
    assert writer.flush()
    writer.put(COUNT, raw("203.0.113.a"))
    writer.put(COUNT, event())  # says nothing about who
    for kind in ("pixel", "click"):
        writer.put(COUNT, raw("203.0.113.proxy")._replace(kind=kind))  # a mail client's address is a proxy's
    assert writer.close()
    assert visitors(store) == {(0, "coarse"): 3}
    assert store.asked == [DAY]


def test_a_day_that_is_over_is_neither_asked_for_nor_marked() -> None:
    store = AwayStore()
    writer = recorder(store, now=DAY + KEPT)
    writer.put(COUNT, raw("203.0.113.1"))
    assert writer.close()
    assert (store.asked, visitors(store), len(store.events())) == ([], {}, 1)


def test_the_recorder_closes_days_when_it_starts() -> None:
    """A site that was down for a week must not keep its salts any longer than it needs to find them."""
    store = AwayStore()
    marked(store, "a")
    writer = recorder(store, now=DAY + 7 * 86_400)
    writer.put(COUNT)
    assert writer.close()
    assert (store.held().salts, store.held().marks) == (0, 0)
    assert visitors(store) == {(0, "visit"): 1}


def delivered(spool: Spool) -> list[Batch]:
    found: list[Batch] = []
    spool.deliver(lambda content: found.append(Batch.decode(content)))
    return found


def test_nothing_raw_waits_in_a_spool_and_marks_do(tmp_path: Path) -> None:
    """Who came before the store went away is known by a mark; the address is nowhere."""
    store = AwayStore()
    spool = Spool(tmp_path, limit=10**6, clock=lambda: float(DAY))
    writer = recorder(store, spool)
    writer.put(COUNT, raw("203.0.113.1"))
    assert writer.flush()
    store.away = True
    for number in (1, 2):
        writer.put(COUNT, raw(f"203.0.113.{number}"))
    assert writer.flush()
    waiting = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"203.0.113" not in waiting
    assert str(mark_of(store._salts[DAY], "203.0.113.2")).encode() in waiting
    assert store._salts[DAY].encode() not in waiting
    store.away = False
    writer.close()
    for batch in delivered(spool):
        store.write(batch.counts, batch.events, batch.id, batch.told, batch.marks)
    assert len(store.events()) == 3
    assert visitors(store) == {(0, "coarse"): 2}


def test_without_its_salt_a_row_is_kept_and_its_visitor_not_counted(tmp_path: Path) -> None:
    """The store was away since midnight: a figure may be too low, a row may not be lost, nothing raw may be kept."""
    store = AwayStore()
    store.away = True
    writer = recorder(store, Spool(tmp_path, limit=10**6, clock=lambda: float(DAY)))
    for number in range(3):
        writer.put(COUNT, raw(f"203.0.113.{number}"))
    assert writer.flush()
    assert len(store.asked) == 1
    assert b"203.0.113" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    writer.close()
    waiting = delivered(Spool(tmp_path, limit=10**6, clock=lambda: float(DAY)))
    assert sum(len(batch.events) for batch in waiting) == 3
    assert [mark for batch in waiting for mark in batch.marks] == []


def test_what_a_mark_is_made_of_is_in_no_repr_and_no_batch() -> None:
    made = raw("203.0.113.1")
    assert "203.0.113.1" not in repr(made)
    assert b"203.0.113.1" not in Batch("1", [(COUNT, made)]).encode()
    with closing(MemoryStore()) as store:
        store.write({}, [made])
        assert "203.0.113.1" not in repr(vars(store))


# -- retention ----------------------------------------------------------------------------------


def test_what_is_held_is_told_by_tier(store: Store) -> None:
    store.write({}, [event(HOUR + 5), event(HOUR)._replace(expires=DAY + 99), event(tier="person")])
    marked(store, "a")
    found = store.held()
    assert found.tiers["visit"] == HeldTier(3, HOUR, DAY + 99)
    assert found.tiers["person"] == HeldTier(1, HOUR, DAY + 10**7)
    assert (found.salts, found.marks, found.oldest_salt) == (1, 1, DAY)


def test_the_retention_command_shows_what_is_kept(tmp_path: Path) -> None:
    file = settings(tmp_path, "retention_days = { visit = 30 }")
    with closing(open_store(f"sqlite:///{tmp_path}/ledger.db")) as store:
        store.write({}, [event()._replace(expires=4_000_000_000)])
    done = consentmw("retention", file)
    assert done.returncode == 0, done.stderr
    assert "visit: kept 30 days; rows: 1; oldest 2027-01-16, next to go 2096-10-02" in done.stdout
    assert "coarse: kept 390 days; rows: 0\n" in done.stdout
    assert "visitors a day: kept 2 days; salts: 0, marks: 0" in done.stdout
    assert "spool: 0 bytes" in done.stdout
    assert "visit 30" in consentmw("check", file).stdout


def test_the_retention_command_says_what_is_overdue(tmp_path: Path) -> None:
    """A site that stopped recording keeps what it promised to delete: somebody has to hear of it."""
    file = settings(tmp_path)
    with closing(open_store(f"sqlite:///{tmp_path}/ledger.db")) as store:
        store.write({}, [event(1_000_000)._replace(expires=1_000_001)])
        store.salt(1_036_800)
    done = consentmw("retention", file)
    assert done.returncode == 1
    assert "overdue: visit, visitors a day" in done.stdout


def test_the_retention_command_says_when_the_store_is_away(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database, and long enough to be none", "utf-8")
    done = consentmw("retention", settings(tmp_path))
    assert done.returncode == 1
    assert "can't be read" in done.stderr
    assert "Traceback" not in done.stderr
