"""Requests that arrive at a fixed rate, whatever the server does; each one's time counts from when it was due.

A client that waits for an answer before it sends the next request leaves out what visitors would have waited
meanwhile ("coordinated omission"). Here a late answer holds up nobody: the next request takes another connection,
and where there is none left it waits, and its waiting counts. In a process of its own, on the core beside the
server's. Knows nothing about consent.
"""

from __future__ import annotations

import gc
import multiprocessing
import select
import signal
import socket
import sys
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from load import Server, complete

__all__ = ["Load", "Samples", "arriving", "distance", "flood", "quantile"]

#: connections that are opened at first, and at most; a browser opens six, so this is many visitors at once
_FIRST: Final = 32
_MOST: Final = 900
#: seconds that answers are waited for at the end, and that the process may take to write down what it saw
_LAST: Final = 15.0
_PATIENCE: Final = 60.0


@dataclass(slots=True)
class Samples:
    """What became of each request, by its number."""

    #: when it was due (``time.monotonic``), and the seconds from then to its last byte; less than 0: never answered
    due: array[float] = field(default_factory=lambda: array("d"))
    took: array[float] = field(default_factory=lambda: array("d"))
    #: status of the answer, 0 for none
    status: array[int] = field(default_factory=lambda: array("i"))

    def between(self, begin: float, end: float) -> list[float]:
        """How long those took that were due in this time, shortest first."""
        return sorted(took for due, took in zip(self.due, self.took, strict=True) if begin <= due < end and took >= 0)


class Load:
    """A process that sends requests; ended by :func:`arriving`."""

    def __init__(self, stop: Event, process: multiprocessing.process.BaseProcess, folder: Path) -> None:
        self._stop, self._process, self._folder = stop, process, folder

    def end(self) -> Samples:
        """Send no more, wait for the answers, and return what was seen."""
        self._stop.set()
        self._process.join(_LAST + _PATIENCE)
        if self._process.exitcode != 0:
            sys.exit("the process that sends requests did not end well")
        samples = Samples()
        for name in ("due", "took", "status"):
            getattr(samples, name).frombytes((self._folder / name).read_bytes())
        return samples


@contextmanager
def arriving(server: Server, rate: float, request: Callable[[int], bytes]) -> Iterator[Load]:
    """Send ``rate`` requests a second, the bytes of each from its number, until :meth:`Load.end`."""
    # Forked, so that the function that makes the requests need not be packed.
    forks = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        stop = forks.Event()
        process = forks.Process(target=_run, args=(server.port, rate, request, stop, Path(folder)))
        process.start()
        try:
            yield Load(stop, process, Path(folder))
        finally:
            if process.is_alive():
                process.kill()
            process.join()


def flood(server: Server, request: Callable[[int], bytes], seconds: float) -> tuple[float, int]:
    """Send as much as a server can answer; how many answers a second in the second half, and how many requests."""
    sending = _Sending(server.port)
    begin = time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        while sending.open < _FIRST:
            sending.send(request(len(sending.samples.due)), now)
        sending.wait(0.1)
    late = sending.samples.between(begin + seconds / 2, begin + seconds)
    return len(late) / (seconds / 2), len(sending.samples.due)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sample Kolmogorov-Smirnov distance of two ordered sequences: 0 when they are distributed alike, at most 1."""
    most, i, j = 0.0, 0, 0
    while i < len(one) and j < len(other):
        value = min(one[i], other[j])
        while i < len(one) and one[i] <= value:
            i += 1
        while j < len(other) and other[j] <= value:
            j += 1
        most = max(most, abs(i / len(one) - j / len(other)))
    return most


# -- in the process that sends --------------------------------------------------------------------


def _run(port: int, rate: float, request: Callable[[int], bytes], stop: Event, folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Collecting garbage would look as if the server paused.
    gc.freeze()
    gc.disable()
    sending = _Sending(port)
    begin = time.monotonic() + 0.1
    number = 0
    while not stop.is_set():
        sending.wait_until(begin + number / rate)
        sending.send(request(number), begin + number / rate)
        number += 1
    end = time.monotonic() + _LAST
    while sending.open and time.monotonic() < end:
        sending.wait_until(time.monotonic() + 0.01)
    for name in ("due", "took", "status"):
        (folder / name).write_bytes(getattr(sending.samples, name).tobytes())


class _Sending:
    """Connections, each with at most one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        #: taken in turn: what is not used for some seconds, the server closes
        self._idle: deque[int] = deque()
        #: number of the request that a connection carries, and what came back so far
        self._carries: dict[int, int] = {}
        self._came: dict[int, bytes] = {}
        self._waiting: deque[tuple[int, bytes]] = deque()
        self.samples = Samples()
        for _ in range(_FIRST):
            self._idle.append(self._connect())

    @property
    def open(self) -> int:
        """Requests that have no answer yet."""
        return len(self._carries) + len(self._waiting)

    def send(self, content: bytes, due: float) -> None:
        """Send a request, or have it wait for a connection."""
        number = len(self.samples.due)
        self.samples.due.append(due)
        self.samples.took.append(-1.0)
        self.samples.status.append(0)
        if not self._idle and len(self._connections) < _MOST:
            self._idle.append(self._connect())
        if self._idle:
            self._carry(self._idle.popleft(), number, content)
        else:
            self._waiting.append((number, content))

    def wait_until(self, moment: float) -> None:
        """Read answers until then."""
        while (left := moment - time.monotonic()) > 0:
            self.wait(left)
        self.wait(0.0)

    def wait(self, seconds: float) -> None:
        """Read the answers that are there; when there are none, wait so long for the first."""
        # Not the poll's own time limit: that counts whole milliseconds.
        if select.select([self._poll], [], [], seconds)[0]:
            for descriptor, _ in self._poll.poll(0):
                self._read(descriptor)

    def _connect(self) -> int:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)
        return connection.fileno()

    def _carry(self, descriptor: int, number: int, content: bytes) -> None:
        self._carries[descriptor] = number
        self._came[descriptor] = b""
        # A request of 1 kB fits into the kernel's buffer: this does not wait.
        self._connections[descriptor].sendall(content)

    def _read(self, descriptor: int) -> None:
        try:
            more = self._connections[descriptor].recv(262_144)
        except OSError:
            more = b""
        if not more:
            # Its request has no answer and will have none.
            self._poll.unregister(descriptor)
            self._connections.pop(descriptor).close()
            self._carries.pop(descriptor, None)
            if descriptor in self._idle:
                self._idle.remove(descriptor)
            return
        came = self._came[descriptor] = self._came[descriptor] + more
        head = came.find(b"\r\n\r\n")
        if head < 0 or not complete(came, head):
            return
        number = self._carries.pop(descriptor)
        self.samples.took[number] = time.monotonic() - self.samples.due[number]
        self.samples.status[number] = int(came[9:12])
        if self._waiting:
            self._carry(descriptor, *self._waiting.popleft())
        else:
            self._idle.append(descriptor)
