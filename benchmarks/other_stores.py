"""The recorder into PostgreSQL and ClickHouse: the same rows as P6 writes into SQLite, for comparison.

A private PostgreSQL server, fully durable, on a Unix socket; ClickHouse's engine embedded in this process
(chdb), with counters in SQLite beside it. Where one of them is not installed, its line says so.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from consentmw.events import Count, Event
from consentmw.recorder import Recorder
from consentmw.stores import EventStore, open_event_store, open_store

__all__ = ["lines"]

ROOT = Path(__file__).parent.parent


def lines(made: Sequence[Event], count: Count, batch: int) -> Iterator[str]:
    """A line for each store."""
    for name, measure in {"PostgreSQL": postgresql, "ClickHouse": clickhouse}.items():
        with tempfile.TemporaryDirectory() as folder:
            yield f"{name:16}  {measure(Path(folder), made, count, batch)}"


def recorded(open_it: Callable[[], EventStore], made: Sequence[Event], count: Count, batch: int) -> float:
    """Rows a second, from the first that a request leaves until the last is on the disk."""
    recorder = Recorder(open_it, capacity=len(made), batch=batch, interval=0.05)
    recorder.store.events(limit=1)
    start = time.perf_counter()
    for event in made:
        recorder.put(count, event)
    if not recorder.flush(300):
        raise SystemExit("the recorder did not finish")
    took = time.perf_counter() - start
    if recorder.store.counts()[0]["count"] != len(made) or recorder.dropped:
        raise SystemExit("the figures don't count: not everything was recorded")
    recorder.close(30)
    return len(made) / took


def postgresql(folder: Path, made: Sequence[Event], count: Count, batch: int) -> str:
    """Rows by COPY; the size is that of tables and indexes."""
    search = [str(ROOT / "scripts" / "find-postgres")]
    found = subprocess.run(search, capture_output=True, text=True, check=False)
    if found.returncode:
        return "not measured: no server was found"
    sys.path.insert(0, str(ROOT))
    from tests.postgres import Server

    server = Server(Path(found.stdout.strip()))
    try:
        rate = recorded(lambda: open_event_store(server.url()), made, count, batch)
        relations = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname ~ '^(events|contexts)'"
        return said(rate, float(server.run(relations)[0][0]) / len(made))
    finally:
        server.remove()


def clickhouse(folder: Path, made: Sequence[Event], count: Count, batch: int) -> str:
    """Rows by insert; the size is that of the parts once they are merged."""
    if not importlib.util.find_spec("chdb") or not importlib.util.find_spec("clickhouse_connect"):
        return "not measured: chdb is not installed"
    import clickhouse_connect

    from consentmw.stores.clickhouse import ClickHouseRows
    from consentmw.stores.split import SplitStore

    def connect() -> clickhouse_connect.driver.client.Client:
        return clickhouse_connect.get_client(interface="chdb", path=str(folder / "rows"), settings={"async_insert": 0})

    def both() -> SplitStore:
        return SplitStore(open_store(f"sqlite:///{folder}/counters.db"), ClickHouseRows(connect, "embedded"))

    rate = recorded(both, made, count, batch)
    with closing(connect()) as client:
        client.command("OPTIMIZE TABLE consentmw_events FINAL")
        size = client.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE table = 'consentmw_events' AND active")
        return said(rate, size.result_rows[0][0] / len(made))


def said(rate: float, size: float) -> str:
    """As P6 says it."""
    return f"{rate:9,.0f} rows/s  {size:5.0f} bytes a row"
