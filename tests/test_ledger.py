"""No choice is acknowledged without a durable proof, and no proof can be changed unnoticed."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consentmw.chain import chained, sealed
from consentmw.errors import LedgerError, StoreError
from consentmw.ledger import Entry, Ledger, new_receipt
from consentmw.stores import open_ledger_store
from consentmw.stores.memory import MemoryStore
from consentmw.stores.sqlite import SqliteStore

from .postgres import Server

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def address(kind: str, request: pytest.FixtureRequest, path: Path) -> str:
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.url()
    return "memory:" if kind == "memory" else f"sqlite:///{path}"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, path: Path) -> Iterator[Ledger]:
    url = address(request.param, request, path)
    opened = Ledger(lambda: open_ledger_store(url))
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, path: Path) -> str:
    """Where several processes can meet."""
    return address(request.param, request, path)


@pytest.fixture
def filed(path: Path) -> Iterator[Ledger]:
    """Five rows in a file."""
    opened = on_file(path)
    for number in range(1, 6):
        append(opened, f"receipt-{number}")
    yield opened
    opened.close()


def on_file(path: Path, wait: float = 5.0) -> Ledger:
    return Ledger(lambda: SqliteStore(path, wait=wait))


def append(ledger: Ledger, receipt: str = "r1", **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "at": AT,
        "event": "given",
        "method": "banner:accept",
        "granted": ["analytics"],
        "refused": ["sale"],
        "regime": "opt_out",
        "region": "US-IA",
        "region_source": "stated",
        "language": "es",
        "gpc": True,
        "notice": "n7",
        "shown": "ab" * 32,
        "fingerprint": "0123456789ab",
        "valid_until": AT + timedelta(days=180),
    }
    return ledger.append(receipt=receipt, **{**values, **changes})


def edit(path: Path, *statements: str) -> None:
    """Change the file as somebody would who has the rights and none of our code."""
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


# -- what is appended ---------------------------------------------------------------------------


def test_a_row_says_what_was_chosen_and_under_which_words(ledger: Ledger) -> None:
    made = append(ledger)
    assert ledger.entries("r1") == [made]
    assert made == Entry(
        seq=1,
        receipt="r1",
        at="2026-11-21T10:00:00+00:00",
        event="given",
        method="banner:accept",
        granted=("analytics",),
        refused=("sale",),
        regime="opt_out",
        region="US-IA",
        region_source="stated",
        language="es",
        gpc=True,
        notice="n7",
        shown="ab" * 32,
        fingerprint="0123456789ab",
        valid_until="2027-05-20T10:00:00+00:00",
        previous="",
        subject="",
        detail="",
        salt=made.salt,
        sealed=made.sealed,
        prev_hash="",
        hash=made.hash,
    )
    assert re.fullmatch("[0-9a-f]{32}", made.salt)
    assert re.fullmatch("[0-9a-f]{64}", made.sealed)
    assert re.fullmatch("[0-9a-f]{64}", made.hash)


def test_the_hashes_are_made_as_the_documentation_says(ledger: Ledger) -> None:
    """Somebody else has to be able to check them without our code."""
    append(ledger, "r0")
    row = asdict(append(ledger, "r1", previous="r0", subject="s1", detail='{"a":"é"}'))
    seal = [row.pop(name) for name in ("salt", "receipt", "previous", "subject", "detail")]
    wanted = row.pop("hash")
    assert sha256(json.dumps(seal, separators=(",", ":")).encode()).hexdigest() == row["sealed"]
    assert sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == wanted


def test_every_row_has_a_salt_of_its_own(ledger: Ledger) -> None:
    """With one for all, or none, whoever has an account could try which rows it fits."""
    rows = [append(ledger, "r1") for _ in range(20)]
    assert len({row.salt for row in rows}) == len({row.sealed for row in rows}) == 20


def test_each_row_is_chained_to_the_one_before(ledger: Ledger) -> None:
    first, second = append(ledger), append(ledger)
    assert (second.seq, second.prev_hash) == (2, first.hash)
    assert first.hash != second.hash
    assert ledger.verify() == []


def test_times_are_kept_in_utc(ledger: Ledger) -> None:
    made = append(ledger, at=AT.astimezone(timezone(timedelta(hours=-6))), valid_until=None)
    assert (made.at, made.valid_until) == ("2026-11-21T10:00:00+00:00", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"at": AT.replace(tzinfo=None)},
        {"receipt": ""},
        {"event": ""},
        {"method": "x" * 501},
        {"granted": ["x" * 501]},
        {"region": "\ud800"},
        {"at": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_would_be_no_proof_is_refused(path: Path, changes: dict[str, Any]) -> None:
    ledger = on_file(path)
    with pytest.raises(LedgerError):
        append(ledger, **changes)
    assert append(ledger).seq == 1
    ledger.close()


def test_one_visitor_s_history_is_followed_back(ledger: Ledger) -> None:
    """Each choice has a receipt of its own; the newest leads to all before, and to nobody else's."""
    append(ledger, "a1")
    append(ledger, "b1")
    append(ledger, "a2", previous="a1")
    append(ledger, "a2", event="override")
    append(ledger, "a3", previous="a2", event="withdrawn", granted=[])
    assert [entry.seq for entry in ledger.entries("a3")] == [1, 3, 4, 5]
    assert [entry.seq for entry in ledger.entries("a1")] == [1]
    assert ledger.entries("nobody") == []
    assert ledger.entries("") == []


def test_receipts_that_lead_to_each_other_end(ledger: Ledger) -> None:
    append(ledger, "a", previous="b")
    append(ledger, "b", previous="a")
    append(ledger, "c", previous="c")
    assert [entry.seq for entry in ledger.entries("a")] == [1, 2]
    assert [entry.seq for entry in ledger.entries("c")] == [3]


def test_receipts_are_short_and_never_the_same() -> None:
    receipts = {new_receipt() for _ in range(1_000)}
    assert len(receipts) == 1_000
    assert all(re.fullmatch("[A-Za-z0-9_-]{22}", receipt) for receipt in receipts)


# -- tampering ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        *("receipt", "at", "event", "method", "granted", "refused", "regime", "region", "region_source", "language"),
        *("gpc", "notice", "shown", "fingerprint", "valid_until", "previous", "prev_hash", "hash"),
        *("subject", "detail", "salt", "sealed"),
    ],
)
@pytest.mark.parametrize("value", ["7", "'[]x'", "'[\"other\"]'", "x'00ff'", "''"])
def test_an_edited_row_is_named(filed: Ledger, path: Path, column: str, value: str) -> None:
    """Every column is under the hash, whatever is written into it."""
    if column in ("previous", "subject", "detail") and value == "''":
        value = "'receipt-1'"  # it is empty already
    edit(path, f"UPDATE ledger SET {column} = {value} WHERE seq = 3")
    assert [problem.split(":")[0] for problem in filed.verify()] == ["row 3"]


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["DELETE FROM ledger WHERE seq = 1"], ["row 1"]),
        (["DELETE FROM ledger WHERE seq IN (2, 3)"], ["rows 2 to 3"]),
        (["DELETE FROM ledger WHERE seq = 5"], ["row 5"]),
        (["DELETE FROM ledger"], ["rows 1 to 5"]),
        (
            [
                "UPDATE ledger SET seq = 99 WHERE seq = 2",
                "UPDATE ledger SET seq = 2 WHERE seq = 3",
                "UPDATE ledger SET seq = 3 WHERE seq = 99",
            ],
            ["row 2", "row 3"],
        ),
        (["UPDATE ledger SET seq = 9 WHERE seq = 5"], ["rows 5 to 8", "row 9", "rows 6 to 9"]),
    ],
    ids=["first", "middle", "last", "all", "swapped", "moved to the end"],
)
def test_removed_and_moved_rows_are_named(filed: Ledger, path: Path, statements: list[str], named: list[str]) -> None:
    edit(path, *statements)
    assert [problem.split(":")[0] for problem in filed.verify()] == named


def rehashed(entry: Entry, **changes: Any) -> Entry:
    """The row with another content and a hash that fits it: what somebody does who has read this code."""
    changed = replace(entry, **changes)
    return chained(replace(changed, sealed=sealed(changed)), changed.seq, changed.prev_hash)


def test_a_row_with_a_new_hash_is_named_by_the_row_after_it(filed: Ledger, path: Path) -> None:
    forged = rehashed(filed.entries("receipt-3")[0], region="EU")
    edit(path, f"UPDATE ledger SET region = 'EU', hash = '{forged.hash}' WHERE seq = 3")
    assert [problem.split(":")[0] for problem in filed.verify()] == ["row 3"]


def test_the_last_row_with_a_new_hash_is_named_by_the_head(filed: Ledger, path: Path) -> None:
    forged = rehashed(filed.entries("receipt-5")[0], region="EU")
    edit(path, f"UPDATE ledger SET region = 'EU', hash = '{forged.hash}' WHERE seq = 5")
    assert [problem.split(":")[0] for problem in filed.verify()] == ["row 5"]


def test_a_row_that_was_slipped_in_is_named(filed: Ledger, path: Path) -> None:
    last = filed.entries("receipt-5")[0]
    forged = rehashed(replace(last, seq=6, prev_hash=last.hash), region="EU")
    columns = "receipt, at, event, method, granted, refused, regime, region_source, language, gpc, notice, shown, "
    columns += "fingerprint, valid_until, previous, subject, detail, salt, sealed"
    edit(
        path,
        f"INSERT INTO ledger (seq, region, prev_hash, hash, {columns}) "
        f"SELECT 6, 'EU', '{last.hash}', '{forged.hash}', {columns} FROM ledger WHERE seq = 5",
    )
    assert [problem.split(":")[0] for problem in filed.verify()] == ["rows 6 to 6"]
    assert append(filed, "receipt-7").seq == 7  # choices go on all the same


def test_a_ledger_that_was_written_anew_is_found_by_an_anchor(path: Path) -> None:
    """A whole chain can be made anew by whoever can write all of it; not the hash that was noted elsewhere."""
    ledger = on_file(path)
    append(ledger, "r1")
    append(ledger, "r2", region="US-MN")
    anchor = ledger.anchor()
    append(ledger, "r3")
    assert ledger.verify(anchor) == []
    ledger.close()
    path.unlink()
    again = on_file(path)
    for receipt in ("r1", "r2", "r3"):
        append(again, receipt)
    assert again.verify() == []
    assert [problem.split(":")[0] for problem in again.verify(anchor)] == ["row 2"]
    again.close()


def test_an_anchor_of_a_ledger_that_is_gone_names_the_missing_rows(ledger: Ledger) -> None:
    assert [problem.split(":")[0] for problem in ledger.verify("3:" + "a" * 64)] == ["rows 1 to 3"]
    assert ledger.anchor() == "0:"
    assert ledger.verify(ledger.anchor()) == []


@pytest.mark.parametrize("anchor", ["x", "x:y", "-1:a", "²:a", ":a"])
def test_a_mistyped_anchor_is_said_to_be_one(ledger: Ledger, anchor: str) -> None:
    """Not taken for a ledger in order."""
    with pytest.raises(LedgerError, match="anchor"):
        ledger.verify(anchor)


def test_a_head_that_was_removed_does_not_stop_choices(filed: Ledger, path: Path) -> None:
    edit(path, "DELETE FROM meta WHERE key = 'ledger'")
    assert filed.verify() != []
    assert append(filed).seq == 6
    assert filed.verify() == []


def test_checking_while_others_append_raises_no_false_alarm(filed: Ledger) -> None:
    store = filed._opened()
    read = store.all

    def slowly() -> Iterator[Entry]:
        append(filed, "meanwhile")
        yield from read()

    store.all = slowly  # type: ignore[method-assign]
    assert filed.verify() == []


# -- when it does not work ----------------------------------------------------------------------


def test_a_store_that_can_not_be_opened_is_no_proof() -> None:
    ledger = on_file(Path("/dev/null/ledger.db"))
    for use in (lambda: append(ledger), lambda: ledger.entries("r1"), ledger.verify, ledger.anchor):
        with pytest.raises(LedgerError) as caught:
            use()
        assert isinstance(caught.value.__cause__, StoreError)


@pytest.mark.parametrize("error", [StoreError("down"), OSError("down"), RuntimeError("down"), ValueError("down")])
def test_whatever_a_store_raises_means_that_there_is_no_proof(error: Exception) -> None:
    """A store of somebody else may raise anything; a caller waits for one error, and grants nothing then."""

    class Broken(MemoryStore):
        def append(self, link: Callable[[int, str], Entry]) -> Entry:
            raise error

    with pytest.raises(LedgerError) as caught:
        append(Ledger(Broken))
    assert caught.value.__cause__ is error


def test_a_locked_file_is_no_proof_and_leaves_no_trace(path: Path) -> None:
    ledger = on_file(path, wait=0.05)
    append(ledger, "r1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked"):
            append(ledger, "r2")
        other.execute("ROLLBACK")
    assert append(ledger, "r3").seq == 2
    assert ledger.verify() == []
    ledger.close()


def test_a_read_only_file_is_no_proof(path: Path) -> None:
    ledger = on_file(path)
    append(ledger, "r1")
    ledger.close()
    with path.open("r+b") as file:
        # The write version in the header: above 2 the file may only be read, even by the superuser
        # (https://www.sqlite.org/fileformat.html, 1.3.3).
        file.seek(18)
        file.write(b"\x03")
    again = on_file(path)
    with pytest.raises(LedgerError, match="readonly"):
        append(again, "r2")
    again.close()


FULL = """
import resource, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from consentmw.errors import LedgerError, StoreError
from consentmw.ledger import Ledger
from consentmw.stores.sqlite import SqliteStore
ledger = Ledger(lambda: SqliteStore(Path(sys.argv[1])))
def append(receipt):
    return ledger.append(receipt=receipt, at=datetime.now(UTC), event="given", method="x" * 400, shown="s" * 400)
append("first")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
done = 1
try:
    while done < 10_000:
        append(f"r{done}")
        done += 1
except LedgerError as error:
    assert isinstance(error.__cause__, StoreError), error.__cause__
    print(done)
"""


def test_a_full_disk_is_no_proof_and_spoils_none(path: Path) -> None:
    """A process that may write no larger files stands in for the full disk: SQLite sees the same failing write."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    acknowledged = int(done.stdout)
    ledger = on_file(path)
    assert ledger.verify() == []
    assert len(list(ledger._opened().all())) == acknowledged
    assert append(ledger).seq == acknowledged + 1
    ledger.close()


APPEND = """
import sys
from datetime import datetime, UTC
from consentmw.ledger import Ledger
from consentmw.stores import open_ledger_store
ledger = Ledger(lambda: open_ledger_store(sys.argv[1]))
for number in range(int(sys.argv[3])):
    made = ledger.append(receipt=f"{sys.argv[2]}-{number}", at=datetime.now(UTC), event="given", method="test")
    print(made.receipt, flush=True)
"""


def test_processes_that_append_at_once_keep_one_chain(url: str) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", APPEND, url, f"w{n}", "40"], stdout=-1) for n in range(3)]
    for worker in workers:
        worker.communicate(timeout=60)
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    ledger = Ledger(lambda: open_ledger_store(url))
    assert ledger.verify() == []
    assert [entry.seq for entry in ledger._opened().all()] == list(range(1, 121))
    for number in range(3):
        assert len(ledger.entries(f"w{number}-39")) == 1
    ledger.close()


def test_what_a_killed_process_acknowledged_is_there(url: str) -> None:
    worker = subprocess.Popen([sys.executable, "-c", APPEND, url, "w", "100000"], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    seen = [worker.stdout.readline().strip() for _ in range(20)]
    worker.kill()
    seen += [line.strip() for line in worker.stdout if line.endswith("\n")]
    worker.stdout.close()
    worker.wait(10)
    ledger = Ledger(lambda: open_ledger_store(url))
    assert all(len(ledger.entries(receipt)) == 1 for receipt in seen)
    assert ledger.verify() == []
    ledger.close()


def test_a_closed_ledger_opens_again(path: Path) -> None:
    ledger = on_file(path)
    ledger.close()
    append(ledger, "r1")
    ledger.close()
    assert len(ledger.entries("r1")) == 1
    ledger.close()
