"""A ledger that was rewritten as a whole is found by what was signed before, and nobody else can sign."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer
from typer.testing import CliRunner

from consentmw.chain import chained
from consentmw.checkpoints import Checkpoint, Checkpoints, noted
from consentmw.cli import _app
from consentmw.errors import LedgerError
from consentmw.ledger import Entry, Ledger
from consentmw.settings import KEYS_VARIABLE
from consentmw.stores.memory import MemoryStore
from consentmw.tokens import Tokens

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEY, OTHER = "a key for tests and long enough", "another key and long enough too"
HASH = "ab" * 32
SIGNED = Checkpoints([KEY])


def ledger_of(rows: int) -> tuple[Ledger, MemoryStore]:
    store = MemoryStore()
    ledger = Ledger(lambda: store)
    for number in range(rows):
        ledger.append(receipt=f"r{number}", at=AT, event="given", method="test")
    return ledger, store


def rechained(rows: list[Entry]) -> list[Entry]:
    """The rows with hashes that fit, each chained to the one before: what nobody can tell from the honest ones."""
    last, found = "", []
    for number, row in enumerate(rows, 1):
        found.append(chained(row, number, last))
        last = found[-1].hash
    return found


# -- lines --------------------------------------------------------------------------------------


def test_a_line_says_which_row_was_last_and_when() -> None:
    line = SIGNED.line(f"12:{HASH}", AT)
    assert line.startswith(f"12:{HASH}:20261121T100000Z:")
    assert SIGNED.read(line) == Checkpoint(12, HASH, AT)


def test_every_key_verifies_and_the_newest_signs() -> None:
    old = SIGNED.line(f"1:{HASH}", AT)
    rotated = Checkpoints([KEY, OTHER])
    assert rotated.read(old).number == 1
    assert Checkpoints([OTHER]).read(rotated.line(f"2:{HASH}", AT)).number == 2
    with pytest.raises(LedgerError, match="no longer in use"):
        Checkpoints([OTHER]).read(old)


def test_an_empty_ledger_is_not_signed() -> None:
    with pytest.raises(LedgerError, match="no rows"):
        SIGNED.line(ledger_of(0)[0].anchor(), AT)


def test_what_was_signed_for_another_purpose_is_no_checkpoint() -> None:
    """A visitor who gets texts of their choice signed must not get a checkpoint among them."""
    text = f"12:{HASH}:20261121T100000Z"
    other = Signer([KEY], salt="consentmw.choice", sep=":", digest_method=sha256)
    for line in (other.sign(text).decode(), Tokens([KEY]).pixel(text)):
        with pytest.raises(LedgerError):
            SIGNED.read(line)


GOOD = SIGNED.line(f"12:{HASH}", AT)


def resigned(text: str) -> str:
    return SIGNED._signer.sign(text).decode("ascii")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "12",
        GOOD[:-1],
        GOOD[:80],
        GOOD + "x",
        GOOD.replace("12:", "13:", 1),
        GOOD.replace(":", " "),
        GOOD + " ",
        "\n" + GOOD,
        "²" + GOOD[1:],
        GOOD.upper(),
        resigned(f"0:{HASH}:20261121T100000Z"),
        resigned(f"-1:{HASH}:20261121T100000Z"),
        resigned(f"12:{HASH[:-1]}:20261121T100000Z"),
        resigned(f"12:{HASH}:20261321T100000Z"),
        resigned(f"12:{HASH}:20261121T100000"),
        resigned(f"{'9' * 30}:{HASH}:20261121T100000Z"),
        ":" * 10_000,
    ],
    ids=lambda line: ascii(line[-30:]),
)
def test_what_is_no_checkpoint_of_ours_is_refused(line: str) -> None:
    with pytest.raises(LedgerError):
        SIGNED.read(line)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        SIGNED.read(text)


# -- files --------------------------------------------------------------------------------------


def test_lines_are_added_to_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.txt"
    for number in (1, 2):
        SIGNED.add(file, SIGNED.line(f"{number}:{HASH}", AT))
    assert [one.number for one in SIGNED.load(file)] == [1, 2]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    """The power failed while it was written: it is named, and taking it away makes the file good again."""
    file = tmp_path / "checkpoints.txt"
    file.write_text(GOOD[:50])
    SIGNED.add(file, GOOD)
    with pytest.raises(LedgerError, match="line 1: not a checkpoint"):
        SIGNED.load(file)
    file.write_text(file.read_text().partition("\n")[2])
    assert [one.number for one in SIGNED.load(file)] == [12]


@pytest.mark.parametrize(
    "broken",
    [b"\xff\xfe\x00", b"x" * 10_000_000, GOOD[:-1].encode(), b"12:" + b"0" * 64 + GOOD[66:].encode(), b"\0" * 100],
    ids=["binary", "endless", "cut", "another hash", "zeros"],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "checkpoints.txt"
    file.write_bytes(GOOD.encode() + b"\r\n\n" + broken + b"\n" + GOOD.encode())
    with pytest.raises(LedgerError, match=r"checkpoints.txt, line 3: (not a checkpoint|its signature)"):
        SIGNED.load(file)


def test_a_file_that_proves_nothing_is_said_to(tmp_path: Path) -> None:
    """Not taken for a ledger in order."""
    file = tmp_path / "checkpoints.txt"
    with pytest.raises(LedgerError, match="can't be read"):
        SIGNED.load(file)
    file.write_text("\n\n")
    with pytest.raises(LedgerError, match="holds no checkpoint"):
        SIGNED.load(file)
    with pytest.raises(LedgerError, match="can't be written"):
        SIGNED.add(tmp_path, GOOD)


# -- a ledger that was rewritten ----------------------------------------------------------------


def region(rows: list[Entry], number: int) -> list[Entry]:
    """The row with this number says something else."""
    return [*rows[: number - 1], replace(rows[number - 1], region="EU"), *rows[number:]]


@pytest.mark.parametrize(
    ("rewrite", "named"),
    [
        (lambda rows: rows, []),
        (lambda rows: region(rows, 1), ["row 10: not the row that was noted; it, or one after row 0"]),
        (lambda rows: region(rows, 15), ["row 20: not the row that was noted; it, or one after row 10"]),
        (lambda rows: region(rows, 20), ["row 20: not the row that was noted; it, or one after row 10"]),
        (lambda rows: region(rows, 21), ["row 30: not the row that was noted; it, or one after row 20"]),
        (lambda rows: region(rows, 31), []),
        (lambda rows: rows[:25], ["rows 26 to 30: removed"]),
        (lambda rows: rows[:30], []),
        (lambda rows: rows[1:], ["row 10", "row 20", "row 30"]),
        (lambda rows: rows[:12] + rows[13:], ["row 20", "row 30"]),
        (lambda rows: [*rows[:5], rows[2], *rows[5:]], ["row 10", "row 20", "row 30"]),
        (lambda rows: [], ["rows 1 to 30: removed"]),
    ],
    ids=["honest", "first", "middle", "noted", "after the second", "after the last", "cut", "cut after the last",
         "without the first", "without one", "with one more", "emptied"],
)  # fmt: skip
def test_a_ledger_that_was_rewritten_with_hashes_that_fit_is_found(
    rewrite: Callable[[list[Entry]], list[Entry]], named: list[str]
) -> None:
    """The chain alone calls every one of them whole."""
    ledger, store = ledger_of(0)
    signed = []
    for number in range(1, 36):
        ledger.append(receipt=f"r{number}", at=AT, event="given", method="test")
        if number % 10 == 0:
            signed.append(SIGNED.read(SIGNED.line(ledger.anchor(), AT)))
    store._ledger = rechained(rewrite(list(store.all())))
    assert ledger.verify() == []
    found = ledger.verify(noted=noted(signed))
    kept = found[:1] if "noted" in "".join(named) else found
    assert [problem[: len(name)] for problem, name in zip(kept, named, strict=True)] == named


def test_an_erasure_after_a_checkpoint_breaks_nothing() -> None:
    ledger, _ = ledger_of(5)
    signed = [SIGNED.read(SIGNED.line(ledger.anchor(), AT))]
    assert ledger.erase({"r2", "r4"}, at=AT, method="page") == 2
    assert ledger.verify(noted=noted(signed)) == []


def test_two_checkpoints_that_contradict_each_other_can_not_both_be_right() -> None:
    """One of them was made while the ledger was another."""
    ledger, _ = ledger_of(5)
    signed = [SIGNED.read(SIGNED.line(ledger.anchor(), AT)), Checkpoint(5, HASH, AT + timedelta(days=1))]
    assert [problem.split(":")[0] for problem in ledger.verify(noted=noted(signed))] == ["row 5"]


# -- commands -----------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(KEYS_VARIABLE, KEY)
    file = tmp_path / "consent.toml"
    file.write_text(f'debug = true\nstore = "sqlite:///{tmp_path}/ledger.db"\n', "utf-8")
    return file


def fill(settings: Path, number: int) -> None:
    from consentmw.stores import open_ledger_store

    ledger = Ledger(lambda: open_ledger_store(f"sqlite:///{settings.parent}/ledger.db"))
    for row in range(number):
        ledger.append(receipt=f"r{row}", at=AT, event="given", method="test", valid_until=AT)
    ledger.close()


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(_app, [*map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_checkpoints_are_made_and_compared_by_commands(settings: Path) -> None:
    file = settings.parent / "checkpoints.txt"
    fill(settings, 3)
    assert run("ledger", "checkpoint", settings, "--file", file) == (0, "")
    code, line = run("ledger", "checkpoint", settings)
    assert code == 0
    assert SIGNED.read(line.strip()).number == 3
    fill(settings, 2)
    assert run("ledger", "verify", settings, "--checkpoints", file) == (0, "The chain is whole.\n")
    (settings.parent / "ledger.db").unlink()
    fill(settings, 5)
    assert run("ledger", "verify", settings) == (0, "The chain is whole.\n")
    code, told = run("ledger", "verify", settings, "--checkpoints", file)
    assert (code, told.split(";")[0]) == (1, "row 3: not the row that was noted")


def test_what_a_command_can_not_do_it_says_in_a_sentence(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings.parent / "checkpoints.txt"
    assert run("ledger", "checkpoint", settings) == (1, "there is nothing to sign: the ledger has no rows\n")
    file.write_text("x\n")
    code, told = run("ledger", "verify", settings, "--checkpoints", file)
    assert (code, told) == (1, "checkpoints.txt, line 1: not a checkpoint: it looks like number:hash:time:signature\n")
    monkeypatch.delenv(KEYS_VARIABLE)
    for command in (["checkpoint"], ["verify", "--checkpoints", str(file)]):
        code, told = run("ledger", command[0], settings, *command[1:])
        assert code == 1
        assert KEYS_VARIABLE in told, "a random key would know no line again"


def test_a_command_notes_what_is_over(settings: Path) -> None:
    fill(settings, 2)
    assert run("ledger", "expire", settings) == (0, "2 expired.\n")
    assert run("ledger", "expire", settings) == (0, "0 expired.\n")
    with closing(sqlite3.connect(settings.parent / "ledger.db")) as database, database:
        database.execute("DROP TABLE ledger")
    code, told = run("ledger", "expire", settings)
    assert code == 1
    assert "could not be recorded" in told
