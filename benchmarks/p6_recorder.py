"""P6: the recorder into SQLite, durable rows a second, against raw ``executemany`` of the same rows and batches.

The reference writes every column of every row into one table with the same two look-ups (a key, and
the visitor's receipt), in transactions of 1,000 rows with full synchronisation. Ours takes the rows
as requests leave them, one ``put`` each, from 200 visitors in turn; from the first of them until the
last is on the disk, with its roll-ups and the mark of its visitor. Prints the bytes that a row takes
on the disk, too, and the same of the other stores, which are no part of the ratio.
"""

from __future__ import annotations

import itertools
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from consentmw.events import EVENT_FIELDS, Context, Count, Event, Raw
from consentmw.recorder import Recorder
from consentmw.stores import open_event_store
from other_stores import lines

ROWS = 100_000
#: rows for the stores that are no part of the ratio
OTHER_ROWS = 30_000
ROUNDS = 5
BATCH = 1_000
NOW = 1_800_000_000

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"

_COUNT = Count(NOW, "page", "/accounts/{id}/bills", "2xx", tier="person")


def events() -> list[Event]:
    """What visitors leave who accepted everything."""
    agents = ("Chrome 140 / Windows 10", "Mobile Safari 18 / iOS 18", "Firefox 141 / Linux", "Chrome 140 / Android 15")
    contexts = [
        Context(
            *("person", f"r{number:021d}", "n0123456789ab", "", "Chrome", "Windows", "desktop", "en", "US-IA"),
            *(f"198.51.{number}.0", agents[number % 4], "en-US,en;q=0.8,es;q=0.5", "www.utility.example"),
            raw=Raw(BROWSER, who=f"r{number:021d}"),
        )
        for number in range(200)
    ]
    visitors = itertools.islice(itertools.cycle(contexts), ROWS)
    return [
        Event(
            NOW + number / 100,
            "page",
            NOW + 33_696_000,
            next(visitors),
            route="/accounts/{id}/bills",
            status=200,
            referrer_host="www.utility.example",
            referrer="www.utility.example/accounts/{id}",
            query="utm_source=bill",
            duration_ms=12,
            method="GET",
            campaign="",
            link="",
            recipient="",
        )
        for number in range(ROWS)
    ]


def flat(event: Event, number: int) -> tuple[object, ...]:
    """All columns of a row, as one table holds them."""
    return (f"{number:036x}", *event[:3], *event[4:-1], *event.context[:-1])


def raw(path: Path, rows: list[tuple[object, ...]]) -> float:
    """Seconds that SQLite takes for the rows by itself."""
    columns = [name for name in EVENT_FIELDS if name != "id"]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"CREATE TABLE events (id TEXT PRIMARY KEY, {', '.join(columns)})")
        database.execute("CREATE INDEX events_receipt ON events (receipt)")
        insert = f"INSERT INTO events VALUES ({', '.join('?' * len(rows[0]))})"
        start = time.perf_counter()
        for at in range(0, len(rows), BATCH):
            database.execute("BEGIN IMMEDIATE")
            database.executemany(insert, rows[at : at + BATCH])
            database.execute("COMMIT")
        return time.perf_counter() - start


def ours(path: Path, made: list[Event]) -> float:
    """Seconds from the first row that a request leaves until the last is on the disk."""
    recorder = Recorder(lambda: open_event_store(f"sqlite:///{path}"), capacity=ROWS, batch=BATCH, interval=0.05)
    recorder.store.counts()
    start = time.perf_counter()
    for event in made:
        recorder.put(_COUNT, event)
    if not recorder.flush(120):
        raise SystemExit("the recorder did not finish")
    took = time.perf_counter() - start
    if recorder.store.counts()[0]["count"] != ROWS or recorder.dropped:
        raise SystemExit("the figures don't count: not everything was recorded")
    recorder.close(30)
    return took


def size(path: Path) -> float:
    """Bytes a row."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size / ROWS


def main() -> None:
    made = events()
    rows = [flat(event, number) for number, event in enumerate(made)]
    seconds: dict[str, list[float]] = {"raw executemany": [], "recorder": []}
    bytes_a_row = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            paths = {name: Path(folder) / f"{name}-{number}.db" for name in seconds}
            seconds["raw executemany"].append(raw(paths["raw executemany"], rows))
            seconds["recorder"].append(ours(paths["recorder"], made))
            bytes_a_row = {name: size(path) for name, path in paths.items()}
            for path in paths.values():
                path.unlink()
    rates = {name: ROWS / statistics.median(found) for name, found in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:16}  {rate:9,.0f} rows/s  {bytes_a_row[name]:5.0f} bytes a row")
    for line in lines(made[:OTHER_ROWS], _COUNT, BATCH):
        print(line)
    print(f"P6 {rates['recorder'] / rates['raw executemany']:.2f}")


if __name__ == "__main__":
    main()
