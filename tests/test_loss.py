"""What a killed process can lose: of what was answered only the last moments, of choices none, and nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from consentmw.ledger import Ledger
from consentmw.recorder import Recorder
from consentmw.recorder.spool import Spool
from consentmw.stores import open_event_store, open_ledger_store

ROOT = Path(__file__).parents[1]
KILLS = 50
MANY = 10_000_000


@pytest.fixture(params=["sqlite", "postgresql", "clickhouse"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where the site keeps counters and proofs, and where rows, if elsewhere."""
    if request.param == "postgresql":
        server: Any = request.getfixturevalue("postgres")
        return server.url(), ""
    rows = request.getfixturevalue("clickhouse").url() if request.param == "clickhouse" else ""
    return f"sqlite:///{tmp_path}/site.db", rows


def test_a_kill_under_load_costs_what_was_not_written_yet_and_no_more(urls: tuple[str, str], tmp_path: Path) -> None:
    """Fifty kills, half of them while rows wait in the spool: all that was taken is there once; the rest came after."""
    spool = tmp_path / "spool"
    url, elsewhere = urls
    command = [sys.executable, "-m", "tests.killing", url, str(spool), str(KILLS), elsewhere]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == KILLS
    deliver_what_is_left(urls, spool)

    store = open_event_store(*urls)
    rows = [row["route"] for row in store.events(limit=MANY)]
    counts = {row["route"]: row["count"] for row in store.counts(limit=MANY)}
    store.close()
    assert len(rows) == len(set(rows)), "a row is there twice"
    assert set(counts.values()) == {1}, "a page view was counted twice"
    assert set(rows) <= set(counts), "a row without its counter"
    # Two stores share no transaction: of the batch that was on its way there may be the counters and not yet the rows.
    assert elsewhere or set(rows) == set(counts), "a counter without its row"
    for lines in told:
        seen = [line[1] for line in lines if line[0] == "seen"]
        for kept in (counts, set(rows)):
            missing = [view for view, route in enumerate(seen) if route not in kept]
            # What is missing are the last ones, without a gap: those behind the last write.
            assert missing == list(range(len(seen) - len(missing), len(seen)))
        stored = {route for line in lines if line[0] == "stored" for route in line[1:]}
        assert stored <= set(rows), "the store said that it had them"

    ledger = Ledger(lambda: open_ledger_store(url))
    assert ledger.verify() == []
    chosen = [line[1] for lines in told for line in lines if line[0] == "chosen"]
    assert chosen, "otherwise this proves nothing"
    assert {row.receipt for row in ledger.all()} >= set(chosen), "an acknowledged choice was lost"
    ledger.close()


def deliver_what_is_left(urls: tuple[str, str], folder: Path) -> None:
    """What waits in the spool is the next process's to deliver."""
    spool = Spool(folder, limit=1 << 30, clock=time.time)
    recorder = Recorder(lambda: open_event_store(*urls), interval=0.01, spool=spool)
    recorder._backlog.start()
    while spool.size():
        time.sleep(0.01)
    recorder.close(20)
