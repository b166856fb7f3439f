"""Serves visitors in processes that are killed (SIGKILL) under load; run as a program of its own by test_loss.

usage: python -m tests.killing STORE-URL SPOOL-FOLDER KILLS [EVENTS-STORE-URL]

Each process is a fork that answers requests through the whole middleware, one after the other, as
fast as it can: page views, each of a page of its own, and in between choices. What is answered, and
what the store has taken, it tells through a pipe, which outlives it. The store of every second
process fails for its first few batches.
Prints, as JSON, for each process what it told.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from consentmw import ConsentMiddleware
from consentmw.errors import StoreError
from consentmw.events import Count, Event
from consentmw.events.agents import read_agent
from consentmw.stores import EventStore

from .asgi import http_scope
from .mounted import choice_cookie, mounted, post

#: seconds between two writes, and the longest that a process lives
FLUSH = 0.05
LIFE = 0.3

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """A page whose route is its own, so that its row can be told from all others."""
    scope["route"] = SimpleNamespace(path=scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<!doctype html><title>x</title>"})


class Telling:
    """A store that tells what it has taken, and fails at first."""

    def __init__(self, store: EventStore, failures: int, pipe: int) -> None:
        self._store = store
        self._failures = failures
        self._pipe = pipe

    def write(self, counts: Mapping[Count, int], events: Sequence[Event], *more: Any) -> None:
        if self._failures > 0:
            self._failures -= 1
            raise StoreError("down")
        self._store.write(counts, events, *more)
        tell(self._pipe, "stored", *(event.route or "" for event in events if event.kind == "page"))

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def tell(pipe: int, *words: str) -> None:
    """A line in the pipe; what is there has left the process."""
    os.write(pipe, (" ".join(words) + "\n").encode())


async def serve(site: ConsentMiddleware, number: int, pipe: int) -> None:
    """Answer visitors until the end."""
    cookie = choice_cookie(site, "analytics", receipt=f"visitor-{number:04d}")
    headers = [
        ("cookie", cookie),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"),
    ]

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Nobody reads it."""

    view = 0
    while True:
        route = f"/process/{number}/view/{view}"
        await site(http_scope(route, headers=headers), receive, send)
        tell(pipe, "seen", route)
        view += 1
        if view % 20 == 1:
            sent = await post(site, "/privacy/choices", {"action": "accept", "surface": "banner"})
            for name, value in sent[0]["headers"]:
                if name == b"set-cookie" and value.startswith(b"privacy="):
                    choice = site.site.choices.read(value.partition(b";")[0].decode().partition("=")[2])
                    tell(pipe, "chosen", choice.receipt if choice else "?")


def main() -> None:
    url, spool, kills, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:])
    dice = random.Random(4711)
    told = []
    # As a server does that loads the application before it forks its workers; and the patterns of agents with it.
    site = mounted(page, store=url, events_store=rows, spool=spool, flush_seconds=FLUSH, record="pages")
    read_agent(AGENT)
    if rows:
        import_module("consentmw.stores.clickhouse")
    for number in range(kills):
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.close(reads)
            recorder = site.recorder
            store = recorder.store
            recorder._store = Telling(store, dice.randrange(4) if number % 2 else 0, writes)  # type: ignore[assignment]
            asyncio.run(serve(site, number, writes))
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            first = pipe.readline()
            # Anywhere in its life, once it serves; what it tells meanwhile waits in the pipe or in its buffer.
            end = time.monotonic() + dice.uniform(0, LIFE)
            lines = [first]
            os.set_blocking(pipe.fileno(), False)
            # Every fifth lives until it has made a choice, however busy the machine is.
            patience = end + 20 * (number % 5 == 0)
            while time.monotonic() < end or (time.monotonic() < patience and b"chosen" not in b"".join(lines)):
                lines += pipe.readlines()
                time.sleep(0.005)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            lines += pipe.readlines()
        whole = b"".join(lines).decode().rpartition("\n")[0].split("\n")
        told.append([line.split(" ") for line in whole])
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
