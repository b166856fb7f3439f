"""Makes choices in processes that are killed (SIGKILL) between two steps; run as a program of its own by test_crash.

usage: python -m tests.crash STORE-URL POINTS choices|erasures

Each point is a fork that sends one "accept all" through the middleware, or erases one visitor, and dies at
one line of Python, in our code or a database library, in any thread. The points are spread over the lines of
a choice or an erasure that was not killed. Prints, as JSON, how many lines that were, what it said, and for
each point the cookie that was sent before the end, or the number of rows that were erased, or "".
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from types import FrameType
from typing import Any

from starlette.types import Message

from consentmw import ConsentMiddleware
from consentmw.ledger import Ledger
from consentmw.stores import open_ledger_store

from .asgi import App, request
from .mounted import form_scope, mounted

#: whose lines are steps: ours, the databases' and those that carry a call to another thread; words are rendered in one
WHERE = ("consentmw/", "sqlalchemy/", "psycopg/", "sqlite3/", "anyio/", "tests/")
#: lines from before the row is written, and from before the cookie is sent, to the last one
ROW = 6_000
COOKIE = 60
#: more lines than one choice has
NEVER = 1 << 60


class Countdown:
    """Counts lines in every thread and kills the process at one of them."""

    def __init__(self, at: int) -> None:
        self.lines = 0
        self._at = at

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in WHERE):
            return None
        if event == "line":
            self.lines += 1
            if self.lines >= self._at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


def choose(site: ConsentMiddleware, at: int, pipe: int) -> int:
    """One choice, killed at a line; the number of lines when it was not."""
    headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")]
    events = [request(b"action=accept&surface=banner")]

    async def receive() -> Message:
        return events.pop() if events else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        # What is in the pipe has left the process, as what is in a socket has.
        for name, value in message.get("headers", ()):
            if name == b"set-cookie" and value.startswith(b"privacy="):
                os.write(pipe, value.partition(b";")[0] + b"\n")

    countdown = Countdown(at)

    async def one() -> None:
        # The store is opened by the first request; that belongs to the steps, too.
        threading.settrace(countdown.trace)
        sys.settrace(countdown.trace)
        await site(form_scope("/privacy/choices", headers), receive, send)
        sys.settrace(None)
        threading.settrace(None)

    asyncio.run(one())
    return countdown.lines


def erase(url: str, visitor: int, at: int, pipe: int) -> int:
    """One erasure, killed at a line; the number of lines when it was not."""
    countdown = Countdown(at)
    sys.settrace(countdown.trace)
    ledger = Ledger(lambda: open_ledger_store(url))
    number = ledger.erase(
        {f"r{visitor}-b-of-a-visitor"},
        f"s{visitor}-is-an-account",
        at=datetime(2026, 11, 21, tzinfo=UTC),
        method="page",
    )
    os.write(pipe, b"said %d\n" % number)
    ledger.close()
    sys.settrace(None)
    return countdown.lines


def fill(url: str, visitors: int) -> None:
    """Three rows for each visitor: two choices, and one about their account."""
    ledger = Ledger(lambda: open_ledger_store(url))
    for visitor in range(visitors):
        for receipt, previous, subject in (
            ("a", "", ""),
            ("b", f"r{visitor}-a-of-a-visitor", ""),
            ("c", "", f"s{visitor}-is-an-account"),
        ):
            ledger.append(
                receipt=f"r{visitor}-{receipt}-of-a-visitor",
                at=datetime(2026, 11, 21, tzinfo=UTC),
                event="given",
                method="test",
                previous=previous,
                subject=subject,
            )
    ledger.close()


def forked(run: Callable[[int, int], int], at: int) -> tuple[str, int]:
    """What a process said before it was killed, and how many lines it ran when it was not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            lines = run(at, writing)
            os.write(writing, b"lines %d\n" % lines)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode().splitlines()
    os.waitpid(child, 0)
    said = next((line for line in told if line.startswith(("privacy=", "said "))), "")
    cookie = said.partition("=")[2] or said.partition(" ")[2]
    return cookie, int(next((line.split()[1] for line in told if line.startswith("lines ")), "0"))


def choices(url: str, points: int) -> dict[str, Any]:
    """Count the lines of a whole choice, then kill one choice at each of the points."""
    # Made before the forks, which would each make it anew; its store is opened by the first request.
    site = mounted(App(), store=url)
    import_module("consentmw.stores." + ("sqlite" if url.startswith("sqlite") else "postgres"))

    # Twice: the first makes the tables.
    def run(at: int, pipe: int) -> int:
        return choose(site, at, pipe)

    forked(run, NEVER)
    whole, lines = forked(run, NEVER)
    # A third of the points lies in each stretch: all of it, the row and its commit, the cookie and what follows.
    stretches = (lines, ROW, COOKIE)
    each = points // len(stretches) + 1
    found = [forked(run, lines - long + 1 + long * point // each)[0] for long in stretches for point in range(each)]
    return {"lines": lines, "whole": whole, "said": found}


def erasures(url: str, points: int) -> dict[str, Any]:
    """Count the lines of a whole erasure, then kill the erasure of one visitor after the other at the points."""
    fill(url, points + 1)
    import_module("consentmw.stores." + ("sqlite" if url.startswith("sqlite") else "postgres"))
    whole, lines = forked(lambda at, pipe: erase(url, points, at, pipe), NEVER)

    def run(visitor: int) -> Callable[[int, int], int]:
        return lambda at, pipe: erase(url, visitor, at, pipe)

    found = [forked(run(point), 1 + lines * point // points)[0] for point in range(points)]
    return {"lines": lines, "whole": whole, "said": found}


if __name__ == "__main__":
    told = {"choices": choices, "erasures": erasures}[sys.argv[3]](sys.argv[1], int(sys.argv[2]))
    sys.stdout.write(json.dumps(told))
