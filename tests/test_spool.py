"""What waits for the store survives what happens to its process, and stays within its bounds."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.errors import SpoolFull
from consentmw.recorder.spool import Spool

MEGABYTE = 1024 * 1024


def opened(folder: Path, limit: int = 64 * MEGABYTE) -> Spool:
    return Spool(folder, limit=limit, clock=time.time)


def delivered(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    spool.deliver(found.append)
    return found


def test_batches_come_back_in_order_and_then_are_gone(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool")
    for number in range(5):
        spool.add(b"batch %d" % number)
    assert delivered(spool) == [b"batch %d" % number for number in range(5)]
    assert (delivered(spool), spool.size(), list((tmp_path / "spool").iterdir())) == ([], 0, [])


def test_nothing_is_made_before_something_waits(tmp_path: Path) -> None:
    """A site whose store never fails has no folder lying about."""
    spool = opened(tmp_path / "spool")
    assert delivered(spool) == []
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_waits_is_for_its_owner_alone(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool")
    previous = os.umask(0)
    try:
        spool.add(b"x")
    finally:
        os.umask(previous)
    (segment,) = (tmp_path / "spool").iterdir()
    assert (segment.stat().st_mode & 0o777, segment.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("step", [0.0, -60.0])
def test_segments_are_delivered_in_order_whatever_the_clock_says(tmp_path: Path, step: float) -> None:
    """Several of one millisecond, or from before and after the clock was set back."""
    now = iter(1_800_000_000 + step * number for number in range(20))
    spool = Spool(tmp_path, limit=MEGABYTE, clock=now.__next__)
    for number in range(20):
        spool.add(b"%d" % number)
        spool.close()
    assert delivered(spool) == [b"%d" % number for number in range(20)]


def test_a_delivery_that_fails_is_repeated_from_its_segment_on(tmp_path: Path) -> None:
    """At least once: the reader knows a batch again."""
    spool = opened(tmp_path)
    spool.add(b"one")
    spool.add(b"two")
    taken: list[bytes] = []

    def take(batch: bytes) -> None:
        taken.append(batch)
        if batch == b"two" and len(taken) < 3:
            raise FileNotFoundError("the database's socket")

    with pytest.raises(FileNotFoundError):
        spool.deliver(take)
    spool.add(b"three")
    assert spool.deliver(take) is False
    assert taken == [b"one", b"two", b"one", b"two", b"three"]


def test_the_spool_is_bounded_for_all_its_processes_together(tmp_path: Path) -> None:
    spool, other = opened(tmp_path, MEGABYTE), opened(tmp_path, MEGABYTE)
    spool.add(b"x" * 600_000)
    with pytest.raises(SpoolFull):
        other.add(b"y" * 600_000)
    other.add(b"z" * 300_000)
    assert spool.size() <= MEGABYTE
    other.close()
    assert [batch[:1] for batch in delivered(spool)] == [b"x", b"z"]
    other.add(b"y" * 600_000)


def test_large_backlogs_are_kept_in_segments_that_go_one_by_one(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for _ in range(12):
        spool.add(os.urandom(MEGABYTE))
    assert len(list(tmp_path.iterdir())) == 3
    seen: list[int] = []
    spool.deliver(lambda _: seen.append(len(list(tmp_path.iterdir()))))
    assert seen == [3] * 4 + [2] * 4 + [1] * 4


def test_a_segment_that_is_being_written_is_left_to_its_process(tmp_path: Path) -> None:
    writer, reader = opened(tmp_path), opened(tmp_path)
    writer.add(b"mine")
    found: list[bytes] = []
    assert reader.deliver(found.append) is True
    assert found == []
    writer.close()
    assert reader.deliver(found.append) is False
    assert found == [b"mine"]


SCRIPT = """
import sys, time
from pathlib import Path
from consentmw.recorder.spool import Spool
spool = Spool(Path(sys.argv[1]), limit=1 << 26, clock=time.time)
number = 0
while True:
    spool.add(b"%d" % number + b" " * 2000)
    print(number, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """kill -9 while writing: every batch whose add() returned is delivered, once, and nothing half."""
    for _ in range(5):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline() for _ in range(20)]
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.readlines()
        found = [int(batch) for batch in delivered(opened(tmp_path))]
        assert found[: len(acknowledged)] == [int(line) for line in acknowledged if line.endswith("\n")]
        assert len(found) <= len(acknowledged) + 1


def _child(spool: Spool, done: Callable[[], object]) -> None:
    spool.forget()
    spool.add(b"child")
    done()
    time.sleep(60)


def test_a_fork_writes_a_segment_of_its_own_and_holds_no_lock_of_its_parent(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add(b"parent")
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=_child, args=(spool, ready.set))
    child.start()
    try:
        assert ready.wait(20)
        assert delivered(spool) == [b"parent"]
    finally:
        child.kill()
        child.join()
    assert delivered(spool) == [b"child"]


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_torn_end_costs_the_last_batch_and_no_other(tmp_path: Path, cut: int) -> None:
    """The power failed in the middle of a write."""
    spool = opened(tmp_path)
    spool.add(b"whole")
    spool.add(b"torn: 12345")
    spool.close()
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes()[:-cut])
    assert delivered(spool) == [b"whole"]
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_in_a_segment_are_survived(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    """A disk that rots gives fewer batches, and none that was never written."""
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder)
    spool.add(b"first batch")
    spool.add(b"second batch")
    spool.close()
    (segment,) = folder.iterdir()
    content = segment.read_bytes()
    segment.write_bytes(content[:at] + junk + content[at:])
    assert set(delivered(spool)) <= {b"first batch", b"second batch"}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("somebody's")
    spool = opened(tmp_path)
    spool.add(b"x")
    assert delivered(spool) == [b"x"]
    assert (tmp_path / "notes.txt").read_text() == "somebody's"


def test_a_full_disk_is_told_and_hides_nothing_that_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.add(b"before")
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        write(descriptor, bytes(content)[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            spool.add(b"lost")
    spool.add(b"after")
    assert delivered(spool) == [b"before", b"after"]


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        opened(tmp_path / "file" / "spool").add(b"x")
