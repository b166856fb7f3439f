"""Erasing somebody leaves what was chosen, takes who chose it, and can be told from tampering."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from consentmw.chain import as_ranges, chained, problems
from consentmw.errors import LedgerError, StoreError
from consentmw.events import Context, Event
from consentmw.ledger import Entry, Ledger
from consentmw.stores import open_ledger_store, open_store
from consentmw.stores.memory import MemoryStore
from consentmw.stores.postgres import PostgresStore
from consentmw.stores.remains import holds
from consentmw.stores.sqlite import SqliteStore

from .postgres import Server
from .test_stores import OLD_EVENTS

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
LATER = AT + timedelta(days=3)
WHO = ("salt", "receipt", "previous", "subject", "detail")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        url = server.url()
    opened = Ledger(lambda: open_ledger_store(url))
    yield opened
    opened.close()


def append(ledger: Ledger, receipt: str, **changes: Any) -> Entry:
    values: dict[str, Any] = {"at": AT, "event": "given", "method": "banner:accept", "granted": ["analytics"]}
    return ledger.append(receipt=receipt, **{**values, **changes})


def blank(rows: list[Entry]) -> list[int]:
    return [row.seq for row in rows if row.sealed and not any(getattr(row, name) for name in WHO)]


def erase(ledger: Ledger, *receipts: str, **more: Any) -> int:
    return ledger.erase(receipts, **{"at": LATER, "method": "page", **more})


# -- what is erased and what stays --------------------------------------------------------------


def test_who_is_gone_and_what_was_chosen_stays(ledger: Ledger) -> None:
    before = append(ledger, "r1", subject="s1", detail='{"a": 1}', region="US-IA", gpc=True, shown="ab" * 32)
    assert erase(ledger, "r1") == 1
    row, said = ledger.all()
    assert row == replace(before, salt="", receipt="", previous="", subject="", detail="")
    assert (said.event, said.method, said.at) == ("erased", "page", "2026-11-24T10:00:00+00:00")
    assert json.loads(said.detail) == {"rows": "1"}
    assert re.fullmatch("[A-Za-z0-9_-]{22}", said.receipt)
    assert "r1" not in repr(replace(said, receipt=""))
    assert "s1" not in repr(replace(said, receipt=""))
    assert ledger.entries("r1") == ledger.about("s1") == []
    assert ledger.verify() == []


def test_a_visitor_is_erased_with_every_choice_before_and_after(ledger: Ledger) -> None:
    """The newest holds the number of the one before; one that stayed would hold what was erased."""
    for receipt, previous in (("a1", ""), ("b1", ""), ("a2", "a1"), ("a3", "a2"), ("b2", "b1")):
        append(ledger, receipt, previous=previous)
    append(ledger, "a2", event="once")
    assert erase(ledger, "a2") == 4
    assert blank(list(ledger.all())) == [1, 3, 4, 6]
    assert [row.seq for row in ledger.entries("b2")] == [2, 5]
    assert ledger.verify() == []


def test_an_account_is_erased_wherever_it_stands(ledger: Ledger) -> None:
    append(ledger, "r1", subject="s1")
    append(ledger, "r1")
    append(ledger, "r2", subject="s2")
    append(ledger, "r3", subject="s1")
    assert erase(ledger, subject="s1") == 2
    assert blank(list(ledger.all())) == [1, 4]
    assert [row.seq for row in ledger.entries("r1")] == [2]


def test_events_that_have_to_be_kept_are_kept(ledger: Ledger) -> None:
    """Authorizations prove why data was handed over; a law may want them for longer than anything else."""
    append(ledger, "r1", subject="s1", event="authorized")
    append(ledger, "r2", subject="s1")
    assert erase(ledger, "r1", subject="s1", keep=frozenset({"authorized"})) == 1
    assert [row.event for row in ledger.about("s1")] == ["authorized"]
    assert erase(ledger, subject="s1") == 1
    assert ledger.verify() == []


def test_what_says_what_was_erased_can_not_be_erased(ledger: Ledger) -> None:
    append(ledger, "r1")
    erase(ledger, "r1")
    said = list(ledger.all())[1]
    assert erase(ledger, said.receipt) == 0
    assert list(ledger.all())[1:] == [said]


def test_erasing_again_finds_nothing_and_adds_nothing(ledger: Ledger) -> None:
    append(ledger, "r1", subject="s1")
    assert [erase(ledger, "r1", subject="s1") for _ in range(3)] == [1, 0, 0]
    assert len(list(ledger.all())) == 2


@pytest.mark.parametrize(
    "receipt", ["", "%", "_", "r", "R1", "' OR 1=1 --", "r1\0", "\ud800", "x" * 100_000, "r1 "], ids=ascii
)
def test_nobody_is_erased_by_a_receipt_that_is_not_theirs(ledger: Ledger, receipt: str) -> None:
    append(ledger, "r1")
    append(ledger, "r2", previous="")
    erase(ledger, "r2")
    with suppress(LedgerError):  # a database may refuse to look for what is no text
        assert erase(ledger, receipt, subject=receipt) == 0
    assert blank(list(ledger.all())) == [2]


def test_choices_go_on_after_an_erasure(ledger: Ledger) -> None:
    append(ledger, "r1")
    anchor = ledger.anchor()
    erase(ledger, "r1")
    assert append(ledger, "r2").seq == 3
    assert ledger.verify(anchor) == [], "what was noted before it still holds"


def test_many_rows_are_erased_by_rows_of_a_readable_size(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other row, so that no two numbers make a range; and more than one statement takes."""
    monkeypatch.setattr("consentmw.ledger._LONGEST_DETAIL", 200)
    monkeypatch.setattr("consentmw.stores.sql._MANY", 40)
    for number in range(300):
        append(ledger, "mine" if number % 2 else f"r{number}")
    assert erase(ledger, "mine") == 150
    assert blank(list(ledger.all())) == list(range(2, 301, 2))
    said = [row for row in ledger.all() if row.event == "erased"]
    assert len(said) > 2
    assert len({row.receipt for row in said}) == 1
    assert max(len(row.detail) for row in said) <= 200
    assert ledger.verify() == []


def test_numbers_are_named_in_as_few_words_as_can_be() -> None:
    assert list(as_ranges([1, 3, 4, 5, 9, 10], 100)) == ["1,3-5,9-10"]
    assert list(as_ranges([], 100)) == []
    texts = list(as_ranges(range(1, 4_000, 2), 50))
    assert max(map(len, texts)) <= 50
    assert [int(number) for text in texts for number in text.split(",")] == list(range(1, 4_000, 2))


# -- when it does not work ----------------------------------------------------------------------


def test_an_erasure_that_fails_leaves_everything(ledger: Ledger) -> None:
    """Also when some of its own rows were added already."""
    append(ledger, "r1")
    before = list(ledger.all())

    def fail(seq: int, last: str) -> Entry:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ledger._opened().blank({"r1"}, "", (), lambda _: [lambda seq, last: chained(before[0], seq, last), fail])
    assert list(ledger.all()) == before
    assert ledger.verify() == []
    assert erase(ledger, "r1") == 1


def test_a_ledger_that_is_down_says_so() -> None:
    class Broken(MemoryStore):
        def blank(self, *_: Any) -> int:
            raise StoreError("down")

    with pytest.raises(LedgerError, match="the erasure could not be recorded: down"):
        erase(Ledger(Broken), "r1")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_append_and_erase_at_once_keep_one_chain(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        url = server.url()
    script = """
import sys
from datetime import datetime, UTC
from consentmw.ledger import Ledger
from consentmw.stores import open_ledger_store
ledger = Ledger(lambda: open_ledger_store(sys.argv[1]))
now = datetime(2026, 11, 21, tzinfo=UTC)
for number in range(25):
    ledger.append(receipt=f"{sys.argv[2]}-{number}", at=now, event="given", method="x", subject="shared")
    ledger.erase([f"{sys.argv[2]}-{number - 1}"], "shared" if number % 5 == 0 else "", at=now, method="x")
"""
    workers = [subprocess.Popen([sys.executable, "-c", script, url, f"w{n}"]) for n in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    ledger = Ledger(lambda: open_ledger_store(url))
    assert ledger.verify() == []
    assert sum(row.event == "given" for row in ledger.all()) == 75
    ledger.close()


# -- an erasure is no way to tamper -------------------------------------------------------------


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[tuple[Ledger, Path]]:
    """Five visitors, of whom the second and the fourth were erased."""
    path = tmp_path / "ledger.db"
    opened = Ledger(lambda: SqliteStore(path))
    for number in range(1, 6):
        append(opened, f"r{number}")
    opened.erase({"r2"}, at=LATER, method="page")
    opened.erase({"r4"}, at=LATER, method="page")
    yield opened, path
    opened.close()


BLANK = "UPDATE ledger SET salt = '', receipt = '', previous = '', subject = '', detail = '' WHERE "


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (BLANK + "seq = 3", ["row 3: blanked, and no erasure names it"]),
        (BLANK + "seq IN (1, 2, 3)", ["row 1: blanked, and no erasure names it", "row 3: blanked"]),
        (BLANK + "seq IN (3, 5)", ["row 3: blanked, and no erasure names it", "row 5: blanked"]),
        (BLANK + "seq = 7", ["row 4: blanked, and no erasure names it", "row 7: blanked, and no erasure names it"]),
        ("UPDATE ledger SET receipt = '' WHERE seq = 3", ["row 3: edited or moved"]),
        ("UPDATE ledger SET salt = '' WHERE seq = 3", ["row 3: edited or moved"]),
        ("UPDATE ledger SET receipt = 'r2' WHERE seq = 2", ["row 2: edited or moved"]),
        ("UPDATE ledger SET sealed = '' WHERE seq = 2", ["row 2: edited or moved"]),
        ("UPDATE ledger SET region = 'EU' WHERE seq = 2", ["row 2: edited or moved"]),
        ("UPDATE ledger SET detail = '{\"rows\":\"2-3\"}' WHERE seq = 6", ["row 6: edited or moved", "row 2: blanked"]),
        ("DELETE FROM ledger WHERE seq = 6", ["row 6: removed", "row 2: blanked, and no erasure names it"]),
        ("DELETE FROM ledger WHERE seq = 2", ["row 2: removed"]),
    ],
)  # fmt: skip
def test_what_was_emptied_without_an_erasure_is_named(
    filed: tuple[Ledger, Path], statement: str, named: list[str]
) -> None:
    ledger, path = filed
    assert ledger.verify() == []
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    found = ledger.verify()
    assert [problem[: len(name)] for problem, name in zip(found, named, strict=True)] == named


def test_values_that_came_back_are_named(tmp_path: Path) -> None:
    """From a backup, for instance: the seal fits them, and an erasure says that they are gone."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(lambda: SqliteStore(path))
    rows = [append(ledger, f"r{number}") for number in range(1, 4)]
    erase(ledger, "r1", "r2")
    with closing(sqlite3.connect(path)) as database, database:
        for row in rows[:2]:
            database.execute("UPDATE ledger SET receipt = ?, salt = ? WHERE seq = ?", (row.receipt, row.salt, row.seq))
    assert ledger.verify() == ["rows 1 to 2: named by an erasure, and not blanked"]
    ledger.close()


@pytest.mark.parametrize(
    "detail",
    ["", "x", "[]", "{}", '{"rows": 1}', '{"rows": ""}', '{"rows": "1,"}', '{"rows": "0"}', '{"rows": "1-2-3"}',
     '{"rows": "²"}', '{"rows": ["1"]}', "[" * 3_000, '{"rows": "1\\n"}', '{"rows": "1 "}', "null", '{"rows": "-1"}'],
)  # fmt: skip
def test_an_erasure_that_says_nothing_readable_names_no_row(detail: str) -> None:
    ledger = Ledger(MemoryStore)
    append(ledger, "r1")
    append(ledger, "x", event="erased", detail=detail)
    assert ledger.verify() == [], "row 1 has its values, and nobody says otherwise"


@pytest.mark.parametrize("rows", ["1-999999999999999999", "2-1,1", "1,1,1-2", "1-3"])
def test_an_erasure_names_rows_before_it_and_takes_no_time(rows: str) -> None:
    ledger = Ledger(MemoryStore)
    append(ledger, "r1")
    append(ledger, "x", event="erased", detail=json.dumps({"rows": rows}))
    append(ledger, "r2")
    assert ledger.verify() == ["row 1: named by an erasure, and not blanked"]


def test_problems_are_found_without_holding_every_row() -> None:
    """Rows come one by one, and are let go of."""
    store = MemoryStore()
    ledger = Ledger(lambda: store)
    for number in range(50):
        append(ledger, f"r{number}")
    rows = list(store.all())
    seen: list[int] = []

    def one_by_one() -> Iterator[Entry]:
        for row, _ in pairwise([*rows, rows[-1]]):
            seen.append(row.seq)
            yield row

    store.all = one_by_one  # type: ignore[method-assign]
    store._ledger[0] = rows[0] = replace(rows[0], region="EU")
    found = problems(store, {})
    assert next(found).startswith("row 1:")
    assert seen == [1]


# -- nothing is left ----------------------------------------------------------------------------


def fill(ledger: Ledger, store: SqliteStore | PostgresStore, visitors: int) -> list[str]:
    """Choices of many visitors, with accounts and details, and what was recorded of them; their receipts."""
    receipts = [f"{number:05d}-receipt-{number * 7919 % 99991:05d}" for number in range(visitors)]
    for number, receipt in enumerate(receipts):
        append(
            ledger,
            f"{receipt}-first",
            subject=f"subject-{number:05d}",
            detail=json.dumps({"who": f"person {number:05d}"}),
        )
        append(ledger, receipt, previous=f"{receipt}-first")
    for receipt in receipts:
        store.write({}, [Event(1.0, "page", 2**40, Context("visit", receipt, "n1"), route="/")])
    return receipts


def test_no_byte_of_the_files_holds_who_was_erased(tmp_path: Path) -> None:
    """File, log and the index of the log, read while the store is open."""
    path = tmp_path / "site.db"
    store = SqliteStore(path)
    ledger = Ledger(lambda: store)
    receipts = fill(ledger, store, 400)
    for number in range(0, 400, 40):
        receipt = receipts[number]
        assert store.erase(receipt) == 1
        assert ledger.erase({receipt}, f"subject-{number:05d}", at=LATER, method="page") == 2
        data = b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))
        for text in (receipt, f"subject-{number:05d}", f"person {number:05d}"):
            assert text.encode() not in data
        assert receipts[number + 1].encode() in data, "the others are there"
    assert {file.name for file in tmp_path.iterdir()} == {"site.db", "site.db-wal", "site.db-shm"}
    assert ledger.verify() == []
    assert [store.erased(receipt) for receipt in receipts[:2]] == [True, False]
    ledger.close()


def test_what_an_earlier_version_left_in_the_file_is_overwritten_too(tmp_path: Path) -> None:
    """It deleted rows without writing over them; such remains lie in free places of the file."""
    path = tmp_path / "site.db"
    store = SqliteStore(path)
    ledger = Ledger(lambda: store)
    append(ledger, "the-receipt-of-somebody")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete=OFF")
        for number in range(50):
            database.execute(
                "INSERT INTO notices VALUES (?, '', '', ?)", (str(number), "the-receipt-of-somebody" * 100)
            )
        database.execute("DELETE FROM notices")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"the-receipt-of-somebody" in path.read_bytes()
    assert erase(ledger, "the-receipt-of-somebody") == 1
    assert not any(b"the-receipt-of-somebody" in file.read_bytes() for file in tmp_path.iterdir())
    assert ledger.verify() == []
    ledger.close()


def test_a_file_is_not_rewritten_for_what_stands_there_rightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept authorizations, and events that nobody asked to erase: else each erasure would rewrite the whole file."""
    store = SqliteStore(tmp_path / "site.db")
    ledger = Ledger(lambda: store)
    asked: list[str] = []
    monkeypatch.setattr("consentmw.stores.sqlite.holds", lambda _, texts: asked.extend(texts))
    for receipt in ("still-has-events-1234", "short"):
        append(ledger, receipt, subject="subject-that-is-kept")
    append(ledger, "an-authorization-1234", subject="subject-that-is-kept", event="authorized")
    store.write({}, [Event(1.0, "page", 2**40, Context("visit", "still-has-events-1234", "n1"))])
    kept = frozenset({"authorized"})
    assert erase(ledger, "still-has-events-1234", "short", subject="subject-that-is-kept", keep=kept) == 2
    assert asked == []
    append(ledger, "gone-altogether-5678")
    assert erase(ledger, "gone-altogether-5678") == 1
    assert asked == ["gone-altogether-5678"]
    ledger.close()


@pytest.mark.parametrize("later", ["purge", "again", "opened"])
def test_what_a_killed_process_did_not_overwrite_another_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    """It can't know what was erased, so it writes the file anew: with the daily purge, or when asked again."""
    path = tmp_path / "site.db"
    store = SqliteStore(path)
    ledger = Ledger(lambda: store)
    append(ledger, "the-receipt-of-somebody")
    for _ in range(2):
        append(ledger, "the-receipt-of-somebody-else")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("INSERT INTO notices VALUES ('n', '', '', ?)", ("the-receipt-of-somebody " * 1_000,))
        database.execute("DELETE FROM notices")
    with monkeypatch.context() as killed:
        killed.setattr(SqliteStore, "_scrub", lambda *_: None)
        assert erase(ledger, "the-receipt-of-somebody") == 1
    if later == "opened":
        ledger.close()
        store = SqliteStore(path)
        ledger = Ledger(lambda: store)
    if later == "again":
        assert erase(ledger, "the-receipt-of-somebody") == 0
    else:
        store.purge(0)
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert data.count(b"the-receipt-of-somebody-else") >= 2
    assert data.count(b"the-receipt-of-somebody") == data.count(b"the-receipt-of-somebody-else")
    monkeypatch.setattr(SqliteStore, "_rewrite", lambda _: pytest.fail("it is done once"))
    assert erase(ledger, "the-receipt-of-nobody") == 0
    assert ledger.verify() == []
    ledger.close()


def test_what_expired_is_overwritten_too(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "site.db")
    store.write({}, [Event(1.0, "page", 10, Context("visit", "r1", "n1"), query="utm_source=somewhere")])
    assert store.purge(11) == 1
    assert not any(b"somewhere" in file.read_bytes() for file in tmp_path.iterdir())
    store.close()


def test_a_reader_that_keeps_the_log_does_not_undo_an_erasure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The rows are empty for everybody who asks now; the log is emptied with the next purge."""
    path = tmp_path / "site.db"
    store = SqliteStore(path, wait=0.05)
    ledger = Ledger(lambda: store)
    append(ledger, "the-receipt")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM ledger").fetchall()
        assert erase(ledger, "the-receipt") == 1
        assert "stays in its log" in caplog.text
    assert ledger.entries("the-receipt") == []
    store.purge(0)
    assert not any(b"the-receipt" in file.read_bytes() for file in tmp_path.iterdir())
    ledger.close()


def test_no_table_of_the_server_holds_who_was_erased(postgres: Server) -> None:
    opened = open_store(postgres.url())
    assert isinstance(opened, PostgresStore)
    ledger = Ledger(lambda: opened)
    receipts = fill(ledger, opened, 30)
    assert opened.erase(receipts[7]) == 1
    assert ledger.erase({receipts[7]}, "subject-00007", at=LATER, method="page") == 2
    tables = [
        name
        for (name,) in postgres.run(
            "SELECT oid::regclass::text FROM pg_class "
            "WHERE relkind IN ('r', 'p') AND relnamespace = 'consentmw'::regnamespace"
        )
    ]
    assert {"consentmw.ledger", "consentmw.events", "consentmw.erased", "consentmw.meta"} <= set(tables)
    dump = "".join(text for table in tables for (text,) in postgres.run(f"SELECT t::text FROM {table} t"))
    for text in (receipts[7], "subject-00007", "person 00007"):
        assert text not in dump
    assert receipts[8] in dump
    assert ledger.verify() == []
    ledger.close()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 5, (1 << 20) - 3, 3 << 20])
def test_a_text_is_found_wherever_it_stands(tmp_path: Path, size: int) -> None:
    """Also across two of the pieces that the file is read in."""
    file = tmp_path / "file"
    file.write_bytes(b"." * size + b"receipt" + b"." * 10)
    assert holds(file, ["other", "receipt"])
    assert not holds(file, ["receipts", ""])
    assert not holds(file, [])


# -- an earlier version of the tables -----------------------------------------------------------


def test_a_database_of_the_version_before_is_taken_over(postgres: Server) -> None:
    """Its receipts become hashes, and its guard lets an erasure pass and nothing else."""
    PostgresStore(postgres.url()).close()
    postgres.run(
        "SET search_path TO consentmw",
        "DROP TRIGGER ledger_is_blanked ON ledger",
        "DROP FUNCTION ledger_is_blanked",
        "DROP TRIGGER ledger_is_append_only ON ledger",
        "CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()",
        "DROP TABLE notices",
        "DROP INDEX ledger_previous, ledger_valid_until",
        "ALTER TABLE ledger DROP COLUMN salt, DROP COLUMN sealed",
        "INSERT INTO erased VALUES ('gone', 1), ('é', 2)",
        "DROP TABLE batches, contexts, events, rollups, salts, marks, uniques",
        "DROP SEQUENCE events_number",
        OLD_EVENTS[0].replace("PRIMARY KEY", 'COLLATE "C" PRIMARY KEY').replace("DOUBLE", "DOUBLE PRECISION")
        + " PARTITION BY RANGE (id)",
        "CREATE TABLE events_2026_11 PARTITION OF events FOR VALUES FROM ('a') TO ('b')",
        "CREATE TABLE events_other PARTITION OF events DEFAULT",
        *OLD_EVENTS[1:],
        "CREATE INDEX events_expires ON events USING brin (expires)",
        "UPDATE meta SET value = '2' WHERE key = 'schema'",
    )
    store = PostgresStore(postgres.url())
    ledger = Ledger(lambda: store)
    append(ledger, "r1")
    assert erase(ledger, "r1") == 1
    assert ledger.verify() == []
    assert [store.erased(receipt) for receipt in ("gone", "é", "r1")] == [True, True, False]
    store.write({}, [Event(1.0, "page", 2**40, Context("visit", receipt, "n1")) for receipt in ("é", "r2")])
    assert [row["receipt"] for row in store.events()] == ["r2", "", "old", "old"]
    assert postgres.run("SELECT value FROM consentmw.meta WHERE key = 'schema'") == [("4",)]
    ledger.close()


# -- notices beside the rows --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT 1", []),
        ("UPDATE notices SET content = '{}' WHERE id = 'n1'", ["row 1: the notice n1 is not as it was published"]),
        ("UPDATE notices SET content = x'ff' WHERE id = 'n1'", ["row 1: the notice n1 is not as it was published"]),
        ("DELETE FROM notices WHERE id = 'n2'", ["row 2: the notice n2 is gone"]),
        ("UPDATE notices SET id = 'n3' WHERE id = 'n2'", ["row 2: the notice n2 is gone"]),
        ("UPDATE ledger SET shown = 'x' WHERE seq = 1", ["row 1: edited or moved; it does not match its hash"]),
    ],
)  # fmt: skip
def test_a_notice_that_was_changed_or_removed_is_named(tmp_path: Path, statement: str, told: list[str]) -> None:
    """A choice proves nothing about words that somebody may exchange."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(lambda: SqliteStore(path))
    for number in (1, 2):
        content = json.dumps({"a": number, "text": "é"})
        assert ledger.publish(f"n{number}", AT, "f1", content)
        shown = sha256(content.encode()).hexdigest()
        append(ledger, f"notice-n{number}", event="notice", notice=f"n{number}", shown=shown)
    append(ledger, "notice-n9", event="notice", notice="n9")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    assert ledger.verify() == told
    ledger.close()


def test_the_notices_are_given_as_they_were_published(ledger: Ledger) -> None:
    assert [ledger.publish("n1", at, "f1", "{}") for at in (AT, LATER)] == [True, False]
    assert [(one.id, one.at) for one in ledger.published()] == [("n1", "2026-11-21T10:00:00+00:00")]
    with pytest.raises(LedgerError, match="the notice could not be kept"):
        ledger.publish("n\0", AT, "f1", "{}")
    with pytest.raises(LedgerError, match="without a zone"):
        ledger.publish("n2", AT.replace(tzinfo=None), "f1", "{}")


def test_receipts_lead_to_those_before_and_after(ledger: Ledger) -> None:
    for receipt, previous in (("a1", ""), ("a2", "a1"), ("b1", ""), ("a3", "a2")):
        append(ledger, receipt, previous=previous)
    assert ledger.family("a2") == {"a1", "a2", "a3"}
    assert ledger.family("b1") == {"b1"}
    assert ledger.family("") == set()
