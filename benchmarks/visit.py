"""The site and the visitors of the benchmarks: JSON and a page, the middleware around them, signed cookies.

Nothing is switched off: every visitor accepted, so each request carries a signed choice, gets a
decision and leaves the fullest row there is in SQLite, durably.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from time import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from consentmw import ConsentMiddleware
from consentmw.choice import Choice, CookieCodec
from consentmw.purposes import Catalogue
from consentmw.sessions import Session
from consentmw.settings import Settings

KEYS = ("benchmark-key-that-signs-nothing-else",)

_STORE = "BENCHMARK_STORE"

PAGE = (
    '<!doctype html><html lang="en"><head><title>Bills</title>'
    '<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST"></script></head><body><h1>Bills</h1>'
    + "".join(f"<p>Your bill of month {month} was paid, <b>thank you</b>.</p>" for month in range(24))
    + "</body></html>"
)

#: as different as the visitors of an hour; parsing one is remembered, so a single one would be too kind
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{} "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}) Gecko/20100101 Firefox/{0}",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Mobile Safari/537.36",
)


def settings() -> dict[str, Any]:
    """Everything recorded, in the store that :func:`store` made; http, hence ``debug``."""
    return {
        "debug": True,
        "site_name": "Benchmark",
        "secret_keys": KEYS,
        "record": "all",
        "store": f"sqlite:///{os.environ[_STORE]}",
        # So much waits at most between two writes at the rates that are measured here.
        "queue_capacity": 100_000,
    }


def json_app() -> ASGIApp:
    """A bare Starlette application with one JSON endpoint of about 1 kB."""
    return Starlette(routes=[_readings()])


def pages_app() -> ASGIApp:
    """The same with a page of about 2 kB beside it, which carries a tag of Google's."""

    async def bills(request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE)

    return Starlette(routes=[_readings(), Route("/bills", bills)])


def _readings() -> Route:
    readings = [{"meter": f"m{number}", "kwh": number * 1.5, "estimated": False} for number in range(20)]

    async def endpoint(request: Request) -> JSONResponse:
        return JSONResponse({"readings": readings})

    return Route("/api/readings", endpoint)


def json_behind_middleware() -> ASGIApp:
    """The same application behind the whole middleware."""
    return ConsentMiddleware(json_app(), settings())


def requests(path: str | Sequence[str], visitors: int = 200, *, accepted: bool = True) -> list[bytes]:
    """Requests as browsers send them, one a visitor, in turn over the paths; each with its own signed choice."""
    paths = [path] if isinstance(path, str) else path
    number = max(visitors, len(paths))
    return [_request(paths[n % len(paths)], n % visitors, accepted) for n in range(number)]


def _request(path: str, visitor: int, accepted: bool) -> bytes:
    agent = AGENTS[visitor % len(AGENTS)].format(f"{120 + visitor % 25}.0")
    cookies = [f"session={visitor:032x}", "theme=dark"]
    if accepted:
        cookies.insert(1, f"privacy={_choice(visitor)}")
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"User-Agent: {agent}",
        "Accept: text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8",
        "Accept-Language: en-US,en;q=0.8,es;q=0.5",
        "Accept-Encoding: gzip, deflate, br",
        "Sec-Fetch-Site: same-origin",
        f"Cookie: {'; '.join(cookies)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


@cache
def _choice(visitor: int) -> str:
    return choice(visitor)


def choice(visitor: int, *, accepted: bool = True) -> str:
    """The signed value of a cookie in which this visitor allows everything, or nothing."""
    catalogue = _catalogue()
    optional = frozenset(purpose.key for purpose in catalogue.purposes.values() if purpose.optional)
    granted = optional if accepted else frozenset[str]()
    return _choices().write(Choice(_receipt(visitor), datetime.now(UTC), catalogue.fingerprint, granted))


def session_cookie(visitor: int) -> str:
    """The cookie of a visit that this visitor has just begun, name and value."""
    now = int(time())
    return f"privacy-visit={_sessions().write(Session(f'{visitor:016d}', now, now, '', _receipt(visitor)))}"


def _receipt(visitor: int) -> str:
    return f"r{visitor:021d}"


@cache
def _choices() -> CookieCodec[Choice]:
    return CookieCodec(Choice, "choice", KEYS)


@cache
def _sessions() -> CookieCodec[Session]:
    return CookieCodec(Session, "visit", KEYS)


@cache
def _catalogue() -> Catalogue:
    return Catalogue.load(retention_days=Settings(secret_keys=KEYS).retention_days)


@contextmanager
def store() -> Iterator[tuple[dict[str, str], Path]]:
    """An empty folder for a SQLite store: the environment that names it, and its path."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.db"
        yield {_STORE: str(file)}, file


def check_recorded(file: Path, expected: int) -> None:
    """End the benchmark unless every request left its row: what was not recorded may not count as fast."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        rows = int(database.execute("SELECT count(*) FROM events").fetchone()[0])
    print(f"rows recorded: {rows:,} of {expected:,}")
    if rows != expected:
        sys.exit("the figures above don't count: not everything was recorded")
