"""The pages that only show something: the notice, the visitor's own receipt, the state of consent.

Refuses to change anything.
"""

from __future__ import annotations

import json as json_module
import logging

from anyio.to_thread import run_sync

from ..errors import LedgerError
from ..site import Site
from .exchange import Exchange
from .render import Renderer

__all__ = ["Showing"]

logger = logging.getLogger("consentmw")


class Showing:
    """Answers with pages that a visitor reads."""

    def __init__(self, site: Site, renderer: Renderer) -> None:
        self._site = site
        self._renderer = renderer

    async def notice(self, exchange: Exchange) -> None:
        """GET /privacy: the notice in the visitor's language."""
        page = self._renderer.notice(exchange.consent)
        await exchange.html(page)

    async def receipt(self, exchange: Exchange) -> None:
        """GET receipt: what is on record about the choices made on this browser."""
        choice = self._site.choice(exchange.visitor)
        try:
            entries = await run_sync(self._site.ledger.entries, choice.receipt) if choice else []
        except LedgerError:
            logger.exception("the ledger could not be read")
            page = self._renderer.problem(
                exchange.consent, "The record of your choices can't be read just now. Please try again."
            )
            await exchange.html(page, status=503)
            return
        await exchange.html(self._renderer.receipt(exchange.consent, entries))

    async def state(self, exchange: Exchange) -> None:
        """GET state: which services may run now, for scripts of the site."""
        decision = exchange.consent.decision
        body = {**self._site.signals.words(decision), "ask": decision.ask, "gpc": decision.gpc}
        await exchange.json(json_module.dumps(body).encode())

    async def missing(self, exchange: Exchange) -> None:
        """Whatever else stands under the prefix: there is no such page."""
        page = self._renderer.problem(exchange.consent, "There is no such page here.")
        await exchange.html(page, status=404)
