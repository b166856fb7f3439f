"""The diagnostic log shows who asked for what, for some days, and leads to nobody's rows or choices."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import diagnostics
from consentmw.diagnostics import DiagnosticLog
from consentmw.errors import SettingsError
from consentmw.settings import Settings

from .asgi import App, html, http_scope, run
from .mounted import PAGE, choice_cookie, mounted, post

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0
FIELDS = {"minute", "address", "method", "route", "status", "agent"}


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.log"


@pytest.fixture
def log(path: Path, clock: Clock) -> Iterator[DiagnosticLog]:
    made = DiagnosticLog(path, 7, interval=600, clock=clock)
    yield made
    made.close()


def note(log: DiagnosticLog, at: float = NOON, **changes: Any) -> None:
    said = {"address": "203.0.113.77", "method": "GET", "route": "/accounts/{id}", "status": 200, "agent": "curl"}
    log.note(at, **{**said, **changes})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(path.parent.iterdir()) for line in file.read_text("ascii").splitlines()]


def test_a_line_says_who_asked_for_what_and_when_to_the_minute(log: DiagnosticLog, path: Path) -> None:
    note(log, NOON + 42.5)
    log.close()
    assert lines(path) == [
        {
            "minute": "2026-11-21T12:00Z",
            "address": "203.0.113.77",
            "method": "GET",
            "route": "/accounts/{id}",
            "status": 200,
            "agent": "curl",
        }
    ]
    assert [file.name for file in path.parent.iterdir()] == ["requests.log.2026-11-21"]
    assert (path.parent / "requests.log.2026-11-21").stat().st_mode & 0o777 == 0o600


def test_the_order_of_lines_tells_nothing(path: Path, clock: Clock) -> None:
    """Rows have exact times: in the order of requests, a minute's addresses could be laid beside them one by one."""
    found = []
    for order in (range(20), reversed(range(20))):
        log = DiagnosticLog(path, 7, interval=600, clock=clock)
        for number in order:
            note(log, address=f"203.0.113.{number}")
        log.close()
        found.append(lines(path))
        next(path.parent.iterdir()).unlink()
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "hostile", ['a"b', "a\r\n{}", "a\x00\x1b[2J", "\u2028\x85é", "\ud800", "%s{0}", "x" * 100_000], ids=ascii
)
def test_what_a_visitor_sends_stays_in_its_place(log: DiagnosticLog, path: Path, hostile: str) -> None:
    note(log, agent=hostile, method=hostile, route=hostile)
    log.close()
    (file,) = path.parent.iterdir()
    assert file.read_bytes().count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in file.read_bytes()[:-1])
    (line,) = lines(path)
    assert set(line) == FIELDS
    assert (line["agent"], line["method"]) == (hostile[:300], hostile[:10])


@given(st.text(max_size=40))
def test_any_text_is_one_line(text: str) -> None:
    worded = diagnostics._worded(datetime.fromtimestamp(NOON, UTC), (NOON, text, text, text, 200, text))
    assert worded.isascii()
    assert worded[:-1].isprintable()
    assert json.loads(worded)["agent"] == text


def test_each_day_has_its_file_and_old_ones_go(log: DiagnosticLog, path: Path, clock: Clock) -> None:
    note(log)
    note(log, NOON + DAY)
    log._write()
    (path.parent / "requests.log.2026-11-14").write_text("eight days")
    for kept in ("requests.log", "requests.log.2026-11-14.gz", "requests.log.2026-13-99", "other.log.2026-11-01"):
        (path.parent / kept).write_text("")
    clock.now = NOON + 7 * DAY
    log._sweep()
    names = {file.name for file in path.parent.iterdir()}
    assert names == {
        "requests.log.2026-11-22",
        "requests.log",
        "requests.log.2026-11-14.gz",
        "requests.log.2026-13-99",
        "other.log.2026-11-01",
    }


def test_what_is_too_old_goes_at_start_too(path: Path, clock: Clock) -> None:
    """A site that was away for a month comes back without the lines of then."""
    (path.parent / "requests.log.2026-10-01").write_text("")
    DiagnosticLog(path, 7, clock=clock)
    assert list(path.parent.iterdir()) == []


def test_a_thread_writes_and_sweeps_by_itself(path: Path, clock: Clock) -> None:
    log = DiagnosticLog(path, 7, interval=0.01, clock=clock)
    swept = threading.Event()
    note(log)
    real = log._sweep

    def sweep() -> None:
        real()
        swept.set()

    log._sweep = sweep  # type: ignore[method-assign]
    clock.now = NOON + 8 * DAY
    assert swept.wait(20)
    log.close()
    assert list(path.parent.iterdir()) == []


def test_too_many_lines_are_counted_and_not_kept(
    log: DiagnosticLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "_CAPACITY", 10)
    for _ in range(25):
        note(log)
    log.close()
    assert (len(lines(path)), log.dropped) == (10, 15)
    note(log)
    assert log.dropped == 16


def test_a_full_disk_costs_lines_and_nothing_else(
    log: DiagnosticLog, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    note(log)
    monkeypatch.setattr(os, "write", full)
    log._write()
    assert log.dropped == 1
    assert "1 lines of the diagnostic log were lost" in caplog.text
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:150]))
    note(log)
    note(log)
    log._write()
    assert log.dropped == 2
    monkeypatch.setattr(os, "write", real)
    note(log, address="192.0.2.1")
    log.close()
    (file,) = path.parent.iterdir()
    whole, cut, last = file.read_text("ascii").splitlines()
    assert (json.loads(whole)["address"], json.loads(last)["address"]) == ("203.0.113.77", "192.0.2.1")
    assert not cut.endswith("}")


def test_a_folder_that_is_gone_costs_lines_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = DiagnosticLog(folder / "x", 7, interval=600, clock=lambda: NOON)
    folder.rmdir()
    note(log)
    log._sweep()
    log.close()
    assert log.dropped == 1
    assert "could not be deleted" in caplog.text


def test_a_link_in_its_place_is_not_followed(log: DiagnosticLog, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    (path.parent / "requests.log.2026-11-21").symlink_to(target)
    note(log)
    log.close()
    assert (target.read_text(), log.dropped) == ("", 1)


def test_a_mistake_does_not_end_the_writer(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    log = DiagnosticLog(path, 7, interval=0.01, clock=lambda: NOON)
    real, failed = log._write, threading.Event()

    def write() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("not foreseen")
        real()

    log._write = write  # type: ignore[method-assign]
    note(log)
    assert failed.wait(20)
    log.close()
    assert len(lines(path)) == 1


def test_a_fork_writes_its_own_lines_alone(log: DiagnosticLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every worker would repeat what the process before it had noted."""
    note(log)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        note(log, address="192.0.2.1")
        log._write()
    assert [line["address"] for line in lines(path)] == ["192.0.2.1"]


# -- in the middleware --------------------------------------------------------------------------


async def test_a_request_of_any_visitor_is_noted_without_what_leads_to_them(path: Path) -> None:
    """Neither the receipt nor any value of the visitor's row but what every such request shares."""
    site = mounted(App(*html(PAGE)), diagnostic_log=path, diagnostic_days=3)
    cookie = choice_cookie(site, "analytics", "advertising")
    headers = [("cookie", cookie), ("user-agent", "Mozilla/5.0 x"), ("referer", "https://news.example/story")]
    scope = http_scope("/accounts/4711081512", headers=headers, client=("203.0.113.77", 1), query_string=b"q=secret")
    await run(site, scope)
    assert site.recorder.flush(20)
    (row,) = site.recorder.store.events()
    await site.site.close()
    (line,) = lines(path)
    assert (line["address"], line["route"], line["status"]) == ("203.0.113.77", "/accounts/{x}", 200)
    assert set(line) == FIELDS
    shared = {str(value) for value in line.values()} & {str(value) for value in row.values()}
    assert shared == {"GET", "/accounts/{x}", "200"}
    text = json.dumps(line)
    for secret in ("r" * 22, cookie.partition("=")[2][:20], "secret", "news.example", "4711081512"):
        assert secret not in text


async def test_a_choice_is_not_found_beside_an_address(path: Path) -> None:
    """The ledger has the minute of a choice: with our own pages in this log, the address would be one look away."""
    site = mounted(App(*html(PAGE)), diagnostic_log=path)
    await post(site, "/privacy/choices", {"action": "accept"})
    await run(site, http_scope("/privacy/choices"))
    await site.site.close()
    assert list(path.parent.iterdir()) == []


async def test_there_is_no_log_unless_the_site_asks_for_one(tmp_path: Path) -> None:
    site = mounted(App(*html(PAGE)))
    assert site.site.diagnostics is None


async def test_a_log_that_fails_costs_no_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = mounted(App(*html(PAGE)), diagnostic_log=path)
    assert site.site.diagnostics is not None

    def fail(*values: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(site.site.diagnostics, "note", fail)
    assert (await run(site, http_scope()))[0]["status"] == 200


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"diagnostic_log": "nowhere/at/all/x.log"}, "diagnostic_log"),
        ({"diagnostic_log": "tests"}, "diagnostic_log"),
        ({"diagnostic_days": 31}, "diagnostic_days"),
        ({"diagnostic_days": 0}, "diagnostic_days"),
    ],
)
def test_a_log_that_can_not_be_is_refused_at_start(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.of({"debug": True, **options})


def test_a_path_in_a_file_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "consent.toml").write_text('debug = true\ndiagnostic_log = "x.log"\n')
    assert Settings.load(tmp_path / "consent.toml").diagnostic_log == tmp_path / "x.log"
