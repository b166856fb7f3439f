"""P10: a 50 kB page through the whole middleware, with 1 and with 500 services in the catalogue; CPU a request.

The page of P3, and on top an inline script that is new on every page, as frameworks write their
state: nothing about it can be remembered. Every fourth request comes from a visitor never seen
before, with cookies; nobody has chosen, so Analytics is withheld and the banner shown. The other
499 services are made up; none of them stands in the page, so both do the same edits. In one process,
interleaved rounds, medians. Shipped services are left out, or "1" would mean all of them.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final
from unittest import mock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

sys.path.insert(0, str(Path(__file__).parent.parent))

from consentmw import ConsentMiddleware, purposes
from p3_html_gate import page
from tests.asgi import http_scope

SERVICES: Final = (1, 500)
ROUNDS: Final = 25
REQUESTS_A_ROUND: Final = 120
WARM_UP: Final = 3
PAGES_A_VISIT: Final = 4
SHIPPED: Final = Path(purposes.__file__).parent / "data" / "services.toml"

PAGE: Final = page()
_BEFORE, _, _AFTER = PAGE.partition(b"</main>")
_numbers = count()


def _state() -> bytes:
    """About 1 kB of a page's own data, never twice the same."""
    number = next(_numbers)
    rows = ",".join(f'{{"meter":"m{number + n}","kwh":{n * 7}.5}}' for n in range(32))
    return f"<script>window.state=[{rows}]</script></main>".encode()


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """The application: one page."""
    body = _BEFORE + _state() + _AFTER
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def made_up(number: int) -> str:
    """A service with as many marks as real ones have."""
    name = f"vendor{number}"
    return (
        f'[services.{name}]\nname = "Vendor {number}"\nprovider = "Vendor {number}, Inc."\n'
        f'purposes = ["{("analytics", "advertising", "media")[number % 3]}"]\n'
        f'hosts = ["*.{name}.example", "cdn.{name}-static.example/tag/"]\n'
        f'inline = ["{name}.push(", "cdn.{name}-static.example/"]\n'
        f'cookies = ["_{name}_id", "_{name}_*"]\nretention_days = 365\n'
        f'privacy_url = "https://{name}.example/privacy"\n\n'
    )


def catalogue(services: int) -> str:
    """The shipped purposes, Google Analytics as it is shipped, and made-up services up to this number."""
    text = SHIPPED.read_text("utf-8")
    analytics = "[services.google_analytics]" + text.partition("[services.google_analytics]")[2].partition("\n[")[0]
    return text.partition("[services.")[0] + analytics + "\n" + "".join(made_up(n) for n in range(1, services))


def behind_middleware(services: int, folder: Path) -> ASGIApp:
    """The site behind the whole middleware, with so many services known."""
    file = folder / f"{services}.toml"
    file.write_text(catalogue(services), "utf-8")
    shipped = tomllib.loads(file.read_text("utf-8"))
    settings: dict[str, Any] = {"debug": True, "secret_keys": ("benchmark-key-that-signs-nothing-else",)}
    settings |= {"store": "memory:", "site_name": "Benchmark", "queue_capacity": 100_000}
    with mock.patch.object(purposes, "_shipped", return_value=shipped):
        middleware = ConsentMiddleware(site, settings)
    known = len(middleware.site.catalogue.services)
    if known != services:
        sys.exit(f"{known} services in the catalogue instead of {services}")
    return middleware


def _scope(visitor: int) -> Scope:
    cookies = f"session={visitor:032x}; theme=dark; _ga=GA1.1.{visitor}; _ga_0000000=GS1.1.{visitor}"
    headers = {"host": "127.0.0.1", "accept": "text/html", "accept-language": "en-US,en;q=0.8", "cookie": cookies}
    headers["user-agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    return http_scope("/usage", headers=headers.items())


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _visit(app: ASGIApp, visitors: Callable[[], int]) -> bytes:
    """One round of requests; the last body."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    for number in range(REQUESTS_A_ROUND):
        if number % PAGES_A_VISIT == 0:
            visitor = visitors()
        sent.clear()
        await app(_scope(visitor), _receive, send)
    return b"".join(message.get("body", b"") for message in sent)


async def measure(apps: dict[int, ASGIApp]) -> dict[int, list[float]]:
    """CPU time a request, in microseconds, a figure for each round."""
    figures: dict[int, list[float]] = {services: [] for services in apps}
    visitors = count().__next__
    for turn in range(WARM_UP + ROUNDS):
        order = list(apps) if turn % 2 else list(reversed(apps))
        for services in order:
            begun = time.process_time()
            body = await _visit(apps[services], visitors)
            took = (time.process_time() - begun) / REQUESTS_A_ROUND * 1e6
            if body.count(b"data-consentmw-service=google_analytics") < 2 or b'id="consentmw"' not in body:
                sys.exit(f"with {services} services the page is not what it should be")
            if turn >= WARM_UP:
                figures[services].append(took)
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        apps = {services: behind_middleware(services, Path(folder)) for services in SERVICES}
        figures = asyncio.run(measure(apps))
    print(f"a page of {len(PAGE):,} bytes, {ROUNDS} rounds of {REQUESTS_A_ROUND} requests")
    print(f"{'services':>8} {'CPU µs':>8} {'fastest':>8} {'slowest':>8}")
    for services, found in figures.items():
        print(f"{services:8} {statistics.median(found):8.0f} {min(found):8.0f} {max(found):8.0f}")
    few, many = (statistics.median(figures[services]) for services in SERVICES)
    print(f"P10 {many / few:.2f}")


if __name__ == "__main__":
    main()
