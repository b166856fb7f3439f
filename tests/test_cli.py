"""The command line: exit status 0 when all is well, 1 when what was looked at is not, 2 for a wrong command."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consentmw import __version__
from consentmw.ledger import Ledger, new_receipt
from consentmw.stores import open_event_store, open_ledger_store, schema

from .clickhouse import Server

DEMO = Path(__file__).parent.parent / "demo_site" / "consent.toml"


def consentmw(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a person would type."""
    command = [sys.executable, "-W", "error", "-m", "consentmw", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def settings(folder: Path, text: str = "") -> Path:
    file = folder / "consent.toml"
    file.write_text(f'debug = true\nstore = "sqlite:///{folder}/ledger.db"\n{text}', "utf-8")
    return file


def with_rows(folder: Path, number: int) -> Path:
    file = settings(folder)
    ledger = Ledger(lambda: open_ledger_store(f"sqlite:///{folder}/ledger.db"))
    for _ in range(number):
        ledger.append(receipt=new_receipt(), at=datetime.now(UTC), event="given", method="banner:accept")
    ledger.close()
    return file


def test_version_and_help() -> None:
    assert consentmw("--version").stdout == f"consentmw {__version__}\n"
    shown = consentmw("--help")
    assert shown.returncode == 0
    assert "check" in shown.stdout
    assert "ledger" in shown.stdout


@pytest.mark.parametrize("arguments", [["chek"], ["check"], ["check", "--fast", "x"], ["ledger"], ["ledger", "verify"]])
def test_a_wrong_command_says_how(arguments: list[str]) -> None:
    done = consentmw(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_what_the_settings_mean(tmp_path: Path) -> None:
    done = consentmw("check", DEMO, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("good", "Prairie Lakes Energy", "analytics", "Google Analytics 4", "/privacy", "180 days"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == [], "looking at settings creates no store"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("valid_days = 4000", "valid_days"),
        ("valid_day = 4", "valid_day"),
        ("languages = [", "TOML"),
        ('services_used = ["googel"]', "googel"),
        ('[services.x]\nname = "x"\nprovider = "p"\npurposes = ["nothing"]\nhosts = ["x.example"]', "nothing"),
    ],
)
def test_check_names_what_is_wrong_and_where(tmp_path: Path, text: str, names: str) -> None:
    """Also what only shows when the settings are put together, and never as a traceback."""
    done = consentmw("check", settings(tmp_path, text))
    assert done.returncode == 1
    assert names in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = consentmw("check", tmp_path / "none.toml")
    assert done.returncode == 1
    assert "none.toml" in done.stderr


def test_migrate_makes_and_changes_stores_and_says_so(tmp_path: Path) -> None:
    file, latest = settings(tmp_path), schema.SCHEMA_VERSION
    said = [consentmw("migrate", file).stdout for _ in range(2)]
    assert said == [f"store: made, with version {latest}\n", f"store: nothing to do, it has version {latest}\n"]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        # As version 3 was: rows in one table.
        for table in ("events", "contexts", "batches", "rollups", "salts", "marks", "uniques"):
            database.execute(f"DROP TABLE {table}")
        database.execute(
            f"CREATE TABLE events (id TEXT PRIMARY KEY, at, kind, expires, {schema._ALIKE}, {schema._APART})"
        )
        database.execute("CREATE INDEX events_receipt ON events (receipt)")
        database.execute(
            "INSERT INTO events (id, at, kind, expires, tier, receipt, notice) VALUES ('1',2,'page',3,'visit','r','n')"
        )
        database.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")
    assert consentmw("migrate", file).stdout == f"store: was version 3, now has version {latest}\n"
    with closing(open_event_store(f"sqlite:///{tmp_path}/ledger.db")) as store:
        assert [row["receipt"] for row in store.events("r")] == ["r"]


def test_migrate_brings_the_rows_of_a_server_along(tmp_path: Path, clickhouse: Server) -> None:
    file = settings(tmp_path, f'events_store = "{clickhouse.url()}"')
    assert consentmw("migrate", file).stdout.splitlines()[1] == "events_store: made, with version 1"
    assert f"event rows go to {clickhouse.url()}" in consentmw("check", file).stdout
    assert consentmw("migrate", file).stdout.splitlines()[1] == "events_store: nothing to do, it has version 1"


def test_migrate_names_the_store_that_it_could_not_open(tmp_path: Path) -> None:
    """What came before it is done and said."""
    file = settings(tmp_path, 'events_store = "clickhouse://web@127.0.0.1:9/site"')
    done = consentmw("migrate", file)
    assert (done.returncode, done.stdout.partition(":")[0]) == (1, "store")
    assert "site on 127.0.0.1 can't be opened" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_has_nothing_to_do_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "consent.toml"
    file.write_text('debug = true\nstore = "memory:"\n', "utf-8")
    assert consentmw("migrate", file).stdout == "store: nothing to do\n"


def test_verify_finds_nothing_in_a_ledger_that_nobody_touched(tmp_path: Path) -> None:
    done = consentmw("ledger", "verify", with_rows(tmp_path, 3))
    assert (done.returncode, done.stdout) == (0, "The chain is whole.\n")


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE ledger SET granted = '[\"analytics\"]' WHERE seq = 2", "row 2"),
        ("DELETE FROM ledger WHERE seq = 2", "row 2"),
        ("DELETE FROM ledger WHERE seq = 3", "row 3"),
    ],
)
def test_verify_names_the_row_that_was_tampered_with(tmp_path: Path, statement: str, row: str) -> None:
    file = with_rows(tmp_path, 3)
    connection = sqlite3.connect(tmp_path / "ledger.db")
    with connection:
        connection.execute(statement)
    connection.close()
    done = consentmw("ledger", "verify", file)
    assert done.returncode == 1
    assert row in done.stdout


def test_verify_says_when_the_file_is_no_ledger(tmp_path: Path) -> None:
    file = settings(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"not a database at all, but long enough to be read as one" * 50)
    done = consentmw("ledger", "verify", file)
    assert done.returncode == 1
    assert "can't be" in done.stderr
    assert "Traceback" not in done.stderr
