"""Whatever kills the process in the middle of a choice: no cookie without its row, no half row, a whole chain."""

from __future__ import annotations

import json
import subprocess
import sys
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


def test_a_kill_between_any_two_steps_of_a_choice_leaves_no_lie(url: str) -> None:
    command = [sys.executable, "-m", "tests.crash", url, str(POINTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["whole"], "a choice that is left alone is made"
    assert len(told["cookies"]) >= POINTS < told["lines"]
    site = mounted(App(), store="memory:").site
    ledger = Ledger(lambda: open_ledger_store(url))
    try:
        assert ledger.verify() == []
        rows = {row.receipt: row for row in ledger.all()}
        acknowledged = [cookie for cookie in told["cookies"] if cookie]
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
