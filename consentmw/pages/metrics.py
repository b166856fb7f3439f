"""Figures for whoever runs the site, in the text format that Prometheus reads; guarded by a token.

What waits, what was dropped and why, in this one process: a server with several workers answers for
one of them at a time. Nothing in it belongs to a visitor. Refuses to know what the figures mean for
a campaign: those are reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from hmac import compare_digest
from typing import Final

from anyio.to_thread import run_sync

from ..site import Site
from .exchange import Exchange

__all__ = ["METRICS_VARIABLE", "Metrics"]

#: environment variable with the token that a monitoring program sends; without it there is no such page
METRICS_VARIABLE: Final = "CONSENTMW_METRICS_TOKEN"
_SHORTEST: Final = 16
_KIND: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Answers ``metrics``."""

    def __init__(self, site: Site) -> None:
        self._site = site
        token = os.environ.get(METRICS_VARIABLE, "").strip()
        #: None when there is none, or one that could be guessed
        self._token = f"Bearer {token}".encode() if len(token) >= _SHORTEST else None

    async def show(self, exchange: Exchange) -> None:
        """GET metrics: counters and gauges of this process, for who has the token."""
        sent = next((value for name, value in exchange.visitor.headers if name.lower() == b"authorization"), b"")
        if self._token is None or not compare_digest(sent, self._token):
            # The same as for a page that there isn't: nobody learns from it that there is one.
            await exchange.plain(404, "There is no such page here.")
            return
        text = await run_sync(self._text)
        await exchange.answer(200, text, [(b"content-type", _KIND), (b"cache-control", b"no-store")])

    def _text(self) -> bytes:
        recorder, relay = self._site.recorder, self._site.relay
        lines = [
            *_gauge("consentmw_recorder_waiting", "Rows in the queue.", recorder.waiting),
            *_counter("consentmw_recorder_dropped", "Rows that were lost.", recorder.dropped),
            *_gauge("consentmw_spool_bytes", "Bytes that wait for the store on this machine.", recorder.spooled),
            *_gauge("consentmw_store_behind", "1 while the store is behind the queue.", int(recorder.behind)),
            *_gauge("consentmw_relay_waiting", "Events that wait for Google.", relay.waiting),
        ]
        return ("\n".join(lines) + "\n").encode("ascii")


def _gauge(name: str, meaning: str, value: int) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} gauge"
    yield f"{name} {value}"


def _counter(name: str, meaning: str, by_reason: Mapping[str, int]) -> Iterator[str]:
    yield f"# HELP {name}_total {meaning}"
    yield f"# TYPE {name}_total counter"
    # Reasons are words of our own code: nothing in them needs to be escaped.
    yield from (f'{name}_total{{reason="{reason}"}} {number}' for reason, number in sorted(by_reason.items()))
