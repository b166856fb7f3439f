"""OUTAGE: ten minutes without a store at 1,000 requests a second: what pages take, and what is lost.

PostgreSQL that hangs (its processes are stopped and answer nothing), PostgreSQL that is gone (shut down), and
an SQLite file that another process has locked. Requests arrive at a fixed rate, before, during and after, at a
server with default settings, and each leaves a row that can be told from all others. Afterwards the rows are
compared with the requests that were answered. Ends with status 1 where a row is lost or stands there twice, a
counter is wrong, a request has no answer, or the server does not catch up.

The figure says how many times as long answers take in the outage as before it, in the worst of the three cases:
the geometric mean of three ratios, of the 50th, 90th and 99th percentile. The same of the two halves of the time
before, against each other, says what of it is chance.

usage: python benchmarks/outage.py [SCALE]

SCALE (1): by how much the outage is shorter than ten minutes. With it, fewer events wait. The rate is the same, and
so are the times that the store's drivers wait for it, the pauses between attempts, batches and segments.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Final

from starlette.types import ASGIApp

import visit
from arrivals import Load, Samples, arriving, distance, quantile
from consentmw import ConsentMiddleware
from consentmw.pages.metrics import METRICS_VARIABLE
from consentmw.settings import Settings
from load import Server, uvicorn

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.postgres import Server as Postgres  # noqa: E402

#: requests a second; seconds of an outage, before it, after it, and until everything is warm
RATE: Final = 1_000
OUTAGE: Final = 600.0
BEFORE, AFTER, WARM_UP = 60.0, 30.0, 5.0
#: people on the site at the same time
VISITORS: Final = 2_000
#: how much shorter the time before and after may become: fewer requests have no 99.9th percentile
MOST_SCALE: Final = 4
#: megabytes of the spool
LIMIT: Final[int] = Settings.model_fields["spool_megabytes"].default
#: seconds between two looks at what the server says of itself
LOOK: Final = 0.25
_STORE, _SPOOL, _TOKEN = "BENCHMARK_STORE", "BENCHMARK_SPOOL", "of-no-use-elsewhere"
_METRIC: Final = re.compile(r'^consentmw_(\w+?)(?:_total\{reason="([^"]+)"\})? ([0-9]+)$', re.MULTILINE)
_LOCK: Final = (
    "import sqlite3, sys; file = sqlite3.connect(sys.argv[1], isolation_level=None); file.execute('BEGIN EXCLUSIVE'); "
    "print(flush=True); sys.stdin.read(); file.rollback()"
)


def site() -> ASGIApp:
    """A page and a JSON endpoint behind the whole middleware, every answer recorded; all else as it comes."""
    options: dict[str, Any] = {"debug": True, "site_name": "Benchmark", "secret_keys": visit.KEYS, "record": "all"}
    options |= {"store": os.environ[_STORE], "spool": os.environ[_SPOOL], "query_keys": {"n"}}
    return ConsentMiddleware(visit.pages_app(), options)


def prepared() -> Callable[[int], bytes]:
    """Pages and data for visitors in the middle of their visits; each request with its number where a row keeps it."""
    made = []
    for number, text in enumerate(visit.requests(["/bills?n=0", "/api/readings?n=0"], VISITORS)):
        made.append(text.replace(b"Cookie: ", f"Cookie: {visit.session_cookie(number)}; ".encode("ascii")))

    def request(number: int) -> bytes:
        return made[number % VISITORS].replace(b"?n=0", b"?n=%d-%d" % divmod(number, 1000), 1)

    return request


# -- stores that go away --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A store, how it goes away, and what is in it afterwards."""

    name: str
    url: str
    away: Callable[[], Any]
    #: the rows of a query
    ask: Callable[[str], Sequence[Sequence[Any]]]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process has the file and does not let go."""
    command = [sys.executable, "-c", _LOCK, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


@contextmanager
def silent(server: Postgres) -> Iterator[None]:
    """All its processes are stopped: connections are accepted by the kernel, and nobody answers."""
    main = server.process
    # The main one first: then no other is started.
    server.freeze(main, frozen=True)
    others = [int(number) for number in Path(f"/proc/{main}/task/{main}/children").read_text("ascii").split()]
    for process in others:
        server.freeze(process, frozen=True)
    yield
    for process in (*others, main):
        server.freeze(process, frozen=False)


@contextmanager
def gone(server: Postgres) -> Iterator[None]:
    """It was shut down, and is started again."""
    server.end(signal.SIGINT)
    yield
    server.start()
    _aside(server)


def _aside(server: Postgres) -> None:
    """On another machine it would take nothing from the process that sends requests: here it lets that one go first."""
    os.sched_setaffinity(server.process, {max(os.sched_getaffinity(server.process))})
    os.setpriority(os.PRIO_PROCESS, server.process, 10)


def cases(folder: Path, stack: ExitStack) -> Iterator[Case]:
    """One after the other, each with an empty store."""
    found = subprocess.run([str(ROOT / "scripts" / "find-postgres")], capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(found.stderr)
    for name, away in {"PostgreSQL hangs": silent, "PostgreSQL is gone": gone}.items():
        server = Postgres(Path(found.stdout.strip()))
        stack.callback(server.remove)
        _aside(server)
        yield Case(name, server.url(), lambda a=away, s=server: a(s), server.run)  # type: ignore[misc]
    file = folder / "site.db"

    def ask(query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(query.replace("consentmw.", "")).fetchall()

    yield Case("SQLite is locked", f"sqlite:///{file}", lambda: locked(file), ask)


# -- measuring ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """What the server says of itself, looked at again and again."""

    server: Server
    spooled: int = 0
    queued: int = 0
    #: of the whole process, in MB
    memory: float = 0.0
    last: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        with closing(connection):
            connection.request("GET", "/privacy/metrics", headers={"Authorization": f"Bearer {_TOKEN}"})
            text = connection.getresponse().read().decode()
        self.last = {name: int(value) for name, reason, value in _METRIC.findall(text) if not reason}
        self.dropped = {reason: int(value) for _, reason, value in _METRIC.findall(text) if reason}
        self.spooled = max(self.spooled, self.last["spool_bytes"])
        self.queued = max(self.queued, self.last["recorder_waiting"])
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text("ascii").split()[1])
        self.memory = max(self.memory, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def until(self, moment: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Go on looking until then, or until it is done; whether it was."""
        while time.monotonic() < moment:
            self.look()
            if done():
                return True
            time.sleep(min(LOOK, max(0.0, moment - time.monotonic())))
        return done()


def measure(case: Case, scale: float, folder: Path) -> float:
    """One outage, reported; its ratio. Ends the benchmark where something is lost, doubled or late."""
    spool = folder / "spool"
    environment = {_STORE: case.url, _SPOOL: str(spool), METRICS_VARIABLE: _TOKEN}
    short = min(scale, MOST_SCALE)
    with uvicorn("outage:site", environment) as server, arriving(server, RATE, prepared()) as load:
        watch = Watch(server)
        watch.until(time.monotonic() + WARM_UP)
        begin = time.monotonic()
        watch.until(begin + BEFORE / short)
        calm = watch.memory
        with case.away():
            away = time.monotonic()
            watch.until(away + OUTAGE / scale)
            ending = time.monotonic()
            waits = watch.last["spool_bytes"]
        back = time.monotonic()
        caught_up = watch.until(back + max(60.0, OUTAGE / scale), lambda: not watch.last["store_behind"])
        level = time.monotonic()
        watch.until(level + AFTER / short)
        samples = _end(load, watch)
    middle = (begin + away) / 2
    phases = {
        "before, first half": samples.between(begin, middle),
        "before, second half": samples.between(middle, away),
        "store away": samples.between(away, ending),
        "catching up": samples.between(back, level),
        "after": samples.between(level, level + AFTER / short),
    }
    before = samples.between(begin, away)
    print(f"\n{case.name} for {ending - away:.0f} s")
    report(phases, before)
    print(
        f"memory at most {calm:.0f} MB before, {watch.memory:.0f} MB in all; at most {watch.queued:,} rows in the queue"
    )
    a_row = waits / (ending - away) / RATE
    print(f"spool at most {watch.spooled / 1e6:.1f} MB, {a_row:.0f} bytes a row; ", end="")
    print(f"{LIMIT} MB last for {LIMIT * 1_048_576 / a_row / RATE / 60:.0f} minutes")
    print(f"caught up {level - back:.1f} s after the store was back")
    wrong = compare(case, samples, watch.dropped) + ([] if caught_up else ["not caught up"])
    if spool.exists() and any(spool.iterdir()):
        wrong.append("the spool is not empty")
    if wrong:
        sys.exit(f"{case.name}: {', '.join(wrong)}")
    return slower(phases["store away"], before)


def _end(load: Load, watch: Watch) -> Samples:
    """Stop the requests, and see the last of them into the store."""
    samples = load.end()
    watch.until(time.monotonic() + 30, lambda: not watch.last["recorder_waiting"] and not watch.last["store_behind"])
    return samples


def slower(one: Sequence[float], other: Sequence[float]) -> float:
    """How many times as long answers took: in the middle, for the slower ones and for the slowest."""
    return geometric_mean(quantile(one, share) / quantile(other, share) for share in (0.5, 0.9, 0.99))


def report(phases: dict[str, list[float]], before: Sequence[float]) -> None:
    """A line a phase: percentiles in ms, and how far it is from the time before."""
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    print(f"{'ms':20}  {'requests':>8}" + "".join(f"  {name:>7}" for name in shares) + "  distance  times as long")
    first, second = list(phases.values())[:2]
    for name, took in phases.items():
        if took:
            values = "".join(f"  {quantile(took, share) * 1e3:7.2f}" for share in shares.values())
            # The halves from each other: as far as two equal times are apart by chance.
            one, other = (second, first) if took in (first, second) else (took, before)
            print(f"{name:20}  {len(took):8,}{values}  {distance(one, other):8.3f}  {slower(one, other):13.2f}")


def compare(case: Case, samples: Samples, dropped: dict[str, int]) -> list[str]:
    """What is wrong with the rows in the store, given the requests that were answered."""
    answered = {f"n={number // 1000}-{number % 1000}" for number, status in enumerate(samples.status) if status == 200}
    rows = Counter(query for (query,) in case.ask("SELECT query FROM consentmw.events WHERE query <> ''"))
    (counted,) = case.ask("SELECT sum(count) FROM consentmw.counts WHERE kind IN ('page', 'request')")[0]
    lost, twice = len(answered - rows.keys()), sum(rows.values()) - len(rows)
    unanswered = len(samples.status) - len(answered)
    print(f"{len(answered):,} answered, {sum(rows.values()):,} rows, {int(counted):,} counted; dropped: {dropped or 0}")
    print(f"lost {lost:,}, twice {twice:,}, unanswered {unanswered:,}")
    named = {"lost": lost, "twice": twice, "unanswered": unanswered, "wrongly counted": int(counted) - len(answered)}
    return [f"{number:,} {name}" for name, number in named.items() if number]


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rows = f"{RATE * OUTAGE / scale:,.0f}"
    print(f"{RATE:,} requests a second; an outage of {OUTAGE / scale:.0f} s, in which {rows} rows wait")
    if scale != 1:
        print(f"SCALED: of {OUTAGE:.0f} s and {RATE * OUTAGE:,.0f} rows the {scale:g}th part. Rate, drivers' patience,")
        print("pauses between attempts, batches and segments are those of a whole one.")
    ratios = []
    with ExitStack() as stack:
        for number, case in enumerate(cases(Path(stack.enter_context(tempfile.TemporaryDirectory())), stack)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(suffix=str(number))))
            ratios.append(measure(case, scale, folder))
    print(f"OUTAGE {max(ratios):.2f}")


if __name__ == "__main__":
    main()
