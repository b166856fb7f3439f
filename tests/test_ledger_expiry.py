"""A choice whose time is over is noted as such, once, whoever looks and however often."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from consentmw.authorizations import Authorization, Authorizations
from consentmw.errors import LedgerError, StoreError
from consentmw.events import Count
from consentmw.identity import Pseudonyms
from consentmw.ledger import Entry, Ledger
from consentmw.recorder import Recorder
from consentmw.stores import open_ledger_store
from consentmw.stores.memory import MemoryStore

from .asgi import App
from .mounted import mounted
from .postgres import Server

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def address(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.url()
    return "memory:" if kind == "memory" else f"sqlite:///{folder}/ledger.db"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = address(request.param, request, tmp_path)
    opened = Ledger(lambda: open_ledger_store(url))
    yield opened
    opened.close()


def append(ledger: Ledger, receipt: str, days: float | None = 180, **changes: Any) -> Entry:
    values: dict[str, Any] = {"at": AT, "event": "given", "method": "banner:accept", "granted": ["analytics"]}
    until = AT + days * DAY if days is not None else None
    return ledger.append(receipt=receipt, valid_until=until, **{**values, **changes})


def expired(ledger: Ledger) -> list[str]:
    return [row.receipt for row in ledger.all() if row.event == "expired"]


def test_a_row_says_what_was_granted_until_then(ledger: Ledger) -> None:
    made = append(ledger, "r1", refused=["sale"], region="US-IA", regime="opt_in", language="es", notice="n1",
                  previous="r0", subject="s1", shown="ab" * 32, detail="{}", fingerprint="f1")  # fmt: skip
    assert ledger.expire(AT + 180 * DAY - timedelta(seconds=1)) == 0
    assert ledger.expire(AT + 180 * DAY) == 1
    row = ledger.entries("r1")[-1]
    assert (row.event, row.method, row.at) == ("expired", "clock", "2027-05-20T10:00:00+00:00")
    assert (row.granted, row.refused, row.subject) == (made.granted, made.refused, "s1")
    assert (row.region, row.regime, row.language, row.notice, row.fingerprint) == ("US-IA", "opt_in", "es", "n1", "f1")
    assert (row.valid_until, row.previous, row.shown, row.detail) == ("", "", "", "")
    assert ledger.verify() == []


def test_what_is_over_is_over_once(ledger: Ledger) -> None:
    append(ledger, "r1")
    assert [ledger.expire(AT + days * DAY) for days in (200, 200, 300, 100)] == [1, 0, 0, 0]
    append(ledger, "r2", days=400)
    assert [ledger.expire(AT + days * DAY) for days in (399, 400, 401)] == [0, 1, 0]
    assert expired(ledger) == ["r1", "r2"]


@pytest.mark.parametrize(
    ("after", "over"),
    [
        ([], ["r1"]),
        ([{"receipt": "r2", "previous": "r1", "days": 400}], []),
        ([{"receipt": "r2", "previous": "r1", "days": 200, "event": "withdrawn"}], ["r2"]),
        ([{"receipt": "r2", "previous": "r1", "days": None}], []),
        ([{"receipt": "r1", "event": "once", "days": 1}], ["r1"]),
        ([{"receipt": "r1", "event": "override", "days": 400}], []),
        ([{"receipt": "r1", "event": "override", "days": 190}], ["r1"]),
        ([{"receipt": "r1", "event": "linked", "days": None}], ["r1"]),
        ([{"receipt": "r1", "event": "revoked", "days": None}], []),
        ([{"receipt": "r9", "event": "once", "days": 1}], ["r1"]),
    ],
    ids=["alone", "changed", "withdrawn", "replaced for good", "shown once", "overridden", "overridden for less",
         "linked", "revoked", "shown once to somebody else"],
)  # fmt: skip
def test_only_what_nothing_replaced_is_over(ledger: Ledger, after: list[dict[str, Any]], over: list[str]) -> None:
    append(ledger, "r1")
    for row in after:
        append(ledger, **row)
    ledger.expire(AT + 200 * DAY)
    assert expired(ledger) == over
    assert ledger.verify() == []


def test_nobody_expires_who_was_erased(ledger: Ledger) -> None:
    append(ledger, "r1")
    append(ledger, "r2")
    ledger.erase({"r1"}, at=AT, method="page")
    assert ledger.expire(AT + 200 * DAY) == 1
    assert expired(ledger) == ["r2"]
    assert ledger.erase({"r2"}, at=AT, method="page") == 2


def test_many_that_end_at_once_are_all_noted(ledger: Ledger) -> None:
    """More than are looked at under one lock, and all in the same second."""
    for number in range(450):
        append(ledger, f"r{number}", days=10 if number % 3 else 11)
    assert ledger.expire(AT + 10 * DAY) == 300
    assert ledger.expire(AT + 11 * DAY) == 150
    assert sorted(expired(ledger)) == sorted(f"r{number}" for number in range(450))
    assert ledger.verify() == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_look_at_once_note_it_once(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = address(kind, request, tmp_path)
    ledger = Ledger(lambda: open_ledger_store(url))
    for number in range(300):
        append(ledger, f"r{number}")
    script = """
import sys
from datetime import datetime
from consentmw.ledger import Ledger
from consentmw.stores import open_ledger_store
print(Ledger(lambda: open_ledger_store(sys.argv[1])).expire(datetime.fromisoformat(sys.argv[2])))
"""
    command = [sys.executable, "-c", script, url, (AT + 200 * DAY).isoformat()]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 300
    assert len(expired(ledger)) == len({*expired(ledger)}) == 300
    assert ledger.verify() == []
    ledger.close()


def test_what_was_looked_at_is_not_looked_at_again(tmp_path: Path) -> None:
    """A ledger of years has millions of choices that ended; a day's look is about a day's."""
    ledger = Ledger(lambda: open_ledger_store(f"sqlite:///{tmp_path}/ledger.db"))
    append(ledger, "r1")
    ledger.expire(AT + 200 * DAY)
    store: Any = ledger._opened()
    with store._engine.connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM ledger WHERE valid_until <> '' AND valid_until <= '2027' "
            "AND (valid_until, seq) > ('2026', 5) ORDER BY valid_until, seq LIMIT 200"
        ).all()
        assert connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'lapsed'").scalar() == (
            "2027-05-20T10:00:00+00:00 1"
        )
    assert [row[-1] for row in plan] == [
        "SEARCH ledger USING INDEX ledger_valid_until (valid_until>? AND valid_until<?)"
    ]
    ledger.close()


def test_a_ledger_that_is_down_says_so() -> None:
    class Broken(MemoryStore):
        def lapse(self, *_: Any) -> int:
            raise StoreError("down")

    with pytest.raises(LedgerError, match="what expired could not be recorded: down"):
        Ledger(Broken).expire(AT)


# -- authorizations -----------------------------------------------------------------------------


def test_an_authorization_is_over_after_its_last_day(ledger: Ledger) -> None:
    book = Authorizations(ledger, Pseudonyms("a key for tests, long enough"), lambda: AT)
    given = Authorization(
        recipient="Solar Planner LLC",
        scope="FB=4_5_15",
        purpose="Size a rooftop system",
        starts=date(2026, 11, 1),
        ends=date(2026, 12, 31),
        history_months=13,
        evidence="online",
        entered_by="customer",
    )
    made = book.grant("4400-1", given)
    book.revoke("4400-1", book.grant("4400-1", given).id, by="customer")
    book.grant("4400-1", Authorization(**{**{f: getattr(given, f) for f in given.__slots__}, "ends": date.max}))
    assert ledger.expire(datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC)) == 0
    assert ledger.expire(datetime(2027, 1, 1, tzinfo=UTC)) == 1
    assert expired(ledger) == [made.id]
    assert book.of("4400-1")[0] == made, "it is shown as it was given"


# -- when it happens ----------------------------------------------------------------------------


def test_the_recorder_does_it_once_a_day_and_again_within_the_hour_when_it_failed() -> None:
    now, failing, calls = [1_000_000.0], [True], [0]

    def daily() -> None:
        calls[0] += 1
        if failing[0]:
            raise LedgerError("down")

    recorder = Recorder(MemoryStore, interval=0.001, clock=lambda: now[0], daily=daily)

    def round_at(seconds: float) -> int:
        now[0] = seconds
        recorder.put(Count(0, "page", "/", "2xx"))
        assert recorder.flush()
        recorder.put(Count(0, "page", "/", "2xx"))
        assert recorder.flush()
        return calls[0]

    assert round_at(1_000_000) == 1
    assert round_at(1_003_599) == 1
    failing[0] = False
    assert round_at(1_003_601) == 2
    assert round_at(1_003_601 + 86_399) == 2
    assert round_at(1_003_601 + 86_401) == 3
    assert recorder.close()
    assert recorder.store.counts()[0]["count"] == 10, "recording goes on meanwhile"


def test_a_running_site_notes_what_is_over(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/site.db"
    site = mounted(App(), store=url).site
    append(site.ledger, "r1", days=-400)
    append(site.ledger, "r2", days=4_000)
    site.recorder.put(Count(0, "page", "/", "2xx"))
    assert site.recorder.flush()
    site.recorder.close()
    assert expired(site.ledger) == ["r1"]
    site.ledger.close()
