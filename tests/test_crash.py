"""Whatever kills the process in the middle of a choice: no cookie without its row, no half row, a whole chain."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consentmw.ledger import Ledger
from consentmw.stores import open_ledger_store

from .asgi import App
from .mounted import mounted

ROOT = Path(__file__).parents[1]
POINTS = 210


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Any = request.getfixturevalue("postgres")
    address: str = server.url()
    return address


def killed(url: str, what: str) -> Any:
    command = [sys.executable, "-m", "tests.crash", url, str(POINTS), what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_kill_between_any_two_steps_of_a_choice_leaves_no_lie(url: str) -> None:
    told = killed(url, "choices")
    assert told["whole"], "a choice that is left alone is made"
    assert len(told["said"]) >= POINTS < told["lines"]
    site = mounted(App(), store="memory:").site
    ledger = Ledger(lambda: open_ledger_store(url))
    try:
        assert ledger.verify() == []
        told_of, *choices = ledger.all()
        assert (told_of.event, told_of.notice) == ("notice", site.notices.id), "nobody chose before that was on record"
        # Killed between the notice and its row, the next process adds the row: at most one that says the same.
        rows = {row.receipt: row for row in choices if row.event != "notice"}
        acknowledged = [cookie for cookie in told["said"] if cookie]
        for cookie in acknowledged:
            choice = site.choices.read(cookie)
            assert choice is not None
            assert set(rows[choice.receipt].granted) == choice.granted, "a granted cookie without its row"
        for row in rows.values():
            assert row.granted, "a half row"
            assert row.event == "given"
    finally:
        ledger.close()
    # Both ends were reached: kills before the row, between row and cookie, and after the cookie.
    assert 0 < len(acknowledged) < POINTS
    assert len(acknowledged) + 2 <= len(rows) < POINTS


def test_a_kill_between_any_two_steps_of_an_erasure_leaves_all_or_nothing(url: str, tmp_path: Path) -> None:
    """And whoever repeats it finishes it."""
    told = killed(url, "erasures")
    assert told["whole"] == "3", "an erasure that is left alone erases"
    assert len(told["said"]) == POINTS < told["lines"]
    ledger = Ledger(lambda: open_ledger_store(url))
    at = datetime(2026, 11, 22, tzinfo=UTC)
    try:
        assert ledger.verify() == []
        choices = [row for row in ledger.all() if row.event == "given"]
        assert len(choices) == 3 * (POINTS + 1)
        left = [sum(bool(row.receipt) for row in choices[3 * n : 3 * n + 3]) for n in range(POINTS)]
        assert {*left} == {0, 3}, "all or nothing, and kills before and after the one moment"
        assert [n for n, said in enumerate(told["said"]) if said and left[n]] == [], "said, and not done"
        erasures = [row for row in ledger.all() if row.event == "erased"]
        assert len(erasures) == left.count(0) + 1
        assert [
            ledger.erase({f"r{n}-b-of-a-visitor"}, f"s{n}-is-an-account", at=at, method="page") for n in range(POINTS)
        ] == left
        assert ledger.verify() == []
        assert not any(row.receipt for row in ledger.all() if row.event == "given")
        data = b"".join(file.read_bytes() for file in tmp_path.glob("ledger.db*"))
        # Whole, since three letters of them stand among a thousand random ones by chance.
        held = [f"r{n}-{part}-of" for n in range(POINTS) for part in "abc"]
        held += [f"s{n}-is-an" for n in range(POINTS)]
        assert [text for text in held if text.encode() in data] == []
    finally:
        ledger.close()
