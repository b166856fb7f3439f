"""The load that benchmarks share: servers on one core, requests from another, CPU time per request.

On a busy host requests per second swing by two while the CPU time that a server burns per request
hardly moves, so that is the figure: user and system time of the whole process, threads included,
from the first request until what it left to do afterwards (a queue to write) is done too.
Contenders take turns, A B A B, and medians are compared. Knows nothing about consent.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

if not sys.platform.startswith("linux"):
    sys.exit("The benchmarks pin processes to cores and read their CPU clocks: that needs Linux.")

_CORES = sorted(os.sched_getaffinity(0))
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)

#: open keep-alive connections, each with one request under way: enough to keep a server of one core busy
CONNECTIONS = 32

#: requests a round; at 20 to 100 µs each this is a third of a second, long against the clock's noise
ROUND = 6_400

#: rounds a contender
ROUNDS = 5

#: requests that warm a contender up: imports, caches and templates are paid once in a worker's life
WARM_UP = CONNECTIONS * 20

#: what :func:`compare` sends to each contender in all
TOTAL = WARM_UP + ROUNDS * ROUND

#: seconds after a round until its CPU time is read: twice what the recorder waits between two writes
SETTLE = 1.0


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers on 127.0.0.1."""

    pid: int
    port: int

    def cpu(self) -> float:
        """User and system time that the process has burnt, in seconds, all threads together."""
        # The id of another process's CPU clock, as clock_getcpuclockid(3) builds it.
        return time.clock_gettime((~self.pid << 3) | 2)


@dataclass(frozen=True, slots=True)
class Contender:
    """A server and the requests it gets, in turn; any other status than this one ends the benchmark."""

    server: Server
    requests: Sequence[bytes]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured for one contender, medians of its rounds."""

    #: CPU µs per request
    cpu: float
    #: requests per second
    rate: float


@contextmanager
def uvicorn(factory: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve what ``module:function`` of this folder returns with uvicorn (uvloop, httptools, no access log)."""
    command = [sys.executable, __file__, factory]
    with started(command, {**os.environ, **(environment or {})}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{factory} did not start")
        yield Server(process.pid, int(line))


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server process on the servers' core; at the end ask it to leave, and wait until it has."""
    # A child inherits the core, and so does every thread it starts.
    os.sched_setaffinity(0, {_CORES[0]})
    try:
        process = subprocess.Popen(command, env=dict(environment), stdout=stdout)
    finally:
        os.sched_setaffinity(0, {_CORES[-1]})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def compare(contenders: Mapping[str, Contender]) -> dict[str, Figures]:
    """Load the contenders in turn, :data:`ROUNDS` times each, print and return their figures."""
    for contender in contenders.values():
        burst(contender, WARM_UP)
    time.sleep(SETTLE)
    seen: dict[str, list[Figures]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, contender in contenders.items():
            before = contender.server.cpu()
            seconds = burst(contender, ROUND)
            time.sleep(SETTLE)
            burnt = contender.server.cpu() - before
            seen[name].append(Figures(burnt / ROUND * 1e6, ROUND / seconds))
    figures = {
        name: Figures(statistics.median(f.cpu for f in found), statistics.median(f.rate for f in found))
        for name, found in seen.items()
    }
    width = max(map(len, figures))
    for name, figure in figures.items():
        low, high = min(f.cpu for f in seen[name]), max(f.cpu for f in seen[name])
        print(f"{name:{width}}  {figure.cpu:7.1f} µs CPU/request ({low:.1f} to {high:.1f})  {figure.rate:8,.0f} req/s")
    return figures


def burst(contender: Contender, count: int) -> float:
    """Send ``count`` requests (a multiple of CONNECTIONS), read every answer; the seconds it took."""
    requests = cycle(contender.requests)
    connections = [_connect(contender.server.port) for _ in range(CONNECTIONS)]
    try:
        start = time.perf_counter()
        for _ in range(count // CONNECTIONS):
            for connection in connections:
                connection.sendall(next(requests))
            for connection in connections:
                _read(connection, contender.status)
        return time.perf_counter() - start
    finally:
        for connection in connections:
            connection.close()


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The kernel's own time limit: Python's would cost a second system call for each read.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 20, 0))
    return connection


def _read(connection: socket.socket, status: int) -> None:
    """Read one answer to its end, be its length stated or chunked."""
    data = connection.recv(65_536)
    while (head := data.find(b"\r\n\r\n")) < 0 or not complete(data, head):
        more = connection.recv(65_536)
        if not more:
            sys.exit(f"the server hung up after {data[:200]!r}")
        data += more
    if int(data[9:12]) != status:
        sys.exit(f"expected {status}, got {data[:600]!r}")


def complete(data: bytes, head: int) -> bool:
    """Whether an answer is all there, of which the headers end at ``head``. A 204 has no body (RFC 9110, 15.3.5)."""
    length = _LENGTH.search(data, 0, head)
    if length is None and data[9:12] == b"204":
        return True
    return len(data) >= head + 4 + int(length[1]) if length else data.endswith(b"0\r\n\r\n")


def _serve(factory: str) -> None:
    """The server process: prints its port when it listens, then serves until it is told to leave."""
    from importlib import import_module

    from uvicorn import Config
    from uvicorn import Server as Uvicorn

    module, _, function = factory.partition(":")
    app = getattr(import_module(module), function)()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    config = Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    Uvicorn(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _serve(sys.argv[1])
