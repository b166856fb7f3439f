"""While a database is gone, pages are served and nothing is lost that the spool has room for; then it catches up."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from consentmw import ConsentMiddleware

from .asgi import http_scope, run
from .mounted import choice_cookie, mounted
from .postgres import Server

VIEWS = 3_000


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<!doctype html><title>Outages</title>"})


async def views(site: ConsentMiddleware, number: int) -> None:
    """Page views of one visitor who allowed their measurement; each is answered."""
    cookie = choice_cookie(site, "analytics")
    for _ in range(number):
        sent = await run(site, http_scope("/outages", headers=[("cookie", cookie), ("user-agent", "Firefox/132.0")]))
        assert sent[0]["status"] == 200


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Somebody else has the SQLite file and does not let go: a backup that hangs."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """PostgreSQL is gone, and comes back."""
    server.end(signal.SIGKILL)
    try:
        yield
    finally:
        server.start()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_outage_costs_no_page_and_no_row(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """More views than the queue holds come while the database is gone; each is there once when it is back."""
    server: Any = request.getfixturevalue("postgres") if kind == "postgresql" else None
    file = tmp_path / "site.db"
    url = server.url() if server is not None else f"sqlite:///{file}"
    site = mounted(page, store=url, spool=tmp_path / "spool", queue_capacity=500, flush_seconds=0.02)
    asyncio.run(views(site, 10))
    assert site.recorder.flush(30)
    with killed(server) if server is not None else locked(file):
        for _ in range(VIEWS // 100):
            asyncio.run(views(site, 100))
            assert site.recorder.flush(30), "what is in the spool is safe"
        assert site.recorder.dropped == {}
        assert site.recorder.waiting == 0
    asyncio.run(views(site, 10))
    until(lambda: not site.recorder.behind)
    assert site.recorder.flush(30)
    store = site.recorder.store
    assert sum(row["count"] for row in store.counts()) == VIEWS + 20
    assert len(store.events(limit=VIEWS * 2)) == VIEWS + 20
    assert site.recorder.dropped == {}
    assert not [*(tmp_path / "spool").iterdir()]
