"""The pages that only show something: the notice, the visitor's own receipt, the state of consent.

Refuses to change anything.
"""

from __future__ import annotations

import json as json_module
import logging
from collections.abc import Callable
from typing import Any, Final

from anyio.to_thread import run_sync

from ..errors import LedgerError
from ..events.notices import count_served
from ..ledger import Entry
from ..purposes import Catalogue
from ..receipts import Issuer, as_kantara, as_plain, as_records
from ..site import Site
from .documents import Documents
from .exchange import Exchange

__all__ = ["FORMS", "Showing"]

logger = logging.getLogger("consentmw")


def _in_force(entries: list[Entry]) -> Entry:
    """The row of the last choice: a Kantara receipt is about one consent, and these events give none."""
    return next((entry for entry in reversed(entries) if entry.event not in ("once", "expired")), entries[-1])


#: name of the file -> what makes it of the rows, oldest first
FORMS: Final[dict[str, Callable[[list[Entry], Catalogue, Issuer], dict[str, Any]]]] = {
    "receipt.json": lambda entries, _catalogue, _issuer: as_plain(entries),
    "receipt.jsonld": as_records,
    "kantara.json": lambda entries, catalogue, issuer: as_kantara(_in_force(entries), catalogue, issuer),
}


class Showing:
    """Answers with pages that a visitor reads."""

    def __init__(self, site: Site, documents: Documents) -> None:
        self._site = site
        self._documents = documents

    async def notice(self, exchange: Exchange) -> None:
        """GET /privacy: the notice in the visitor's language."""
        page = self._documents.notice(exchange.consent)
        await exchange.html(page)
        if exchange.method == "GET":
            count_served(self._site.recorder.put, "notice", exchange.visitor, exchange.consent.decision)

    async def opt_out(self, exchange: Exchange) -> None:
        """GET opt-out: what a visitor may say no to, and where."""
        await exchange.html(self._documents.opt_out(exchange.consent, saved=exchange.saved))

    async def receipt(self, exchange: Exchange) -> None:
        """GET receipt: what is on record about the choices made on this browser."""
        if (entries := await self._entries(exchange)) is not None:
            await exchange.html(self._documents.receipt(exchange.consent, entries))

    async def receipt_file(self, exchange: Exchange) -> None:
        """GET receipt/<form>: the same to keep, in one of three forms that programs read."""
        make = FORMS.get(exchange.rest)
        if make is None:
            await self.missing(exchange)
        elif (entries := await self._entries(exchange)) is None:
            pass
        elif not entries:
            await exchange.html(self._documents.receipt(exchange.consent, []), status=404)
        else:
            made = make(entries, self._site.catalogue, self._issuer(exchange))
            name = f'attachment; filename="{exchange.rest}"'.encode("ascii")
            text = json_module.dumps(made, indent=1, ensure_ascii=False).encode()
            await exchange.json(text, extra=[(b"content-disposition", name)])

    async def _entries(self, exchange: Exchange) -> list[Entry] | None:
        """The rows of this browser's choices, or None when they can't be read and that was answered."""
        choice = self._site.choice(exchange.visitor)
        try:
            return await run_sync(self._site.ledger.entries, choice.receipt) if choice else []
        except LedgerError:
            logger.exception("the ledger could not be read")
            page = self._documents.problem(
                exchange.consent, "The record of your choices can't be read just now. Please try again."
            )
            await exchange.html(page, status=503)
            return None

    def _issuer(self, exchange: Exchange) -> Issuer:
        settings, visitor = self._site.settings, exchange.visitor
        return Issuer(
            site=settings.site_name,
            party=settings.controller,
            email=settings.contact,
            pages=f"{visitor.scheme}://{visitor.authority}{exchange.consent.url()}",
            stored_days=max(settings.retention_days.values()),
        )

    async def state(self, exchange: Exchange) -> None:
        """GET state: which services may run now, for scripts of the site."""
        decision = exchange.consent.decision
        words = {**self._site.signals.words(decision), **self._site.gpp.words(decision)}
        body = {**words, "ask": decision.ask, "gpc": decision.gpc, "heard": decision.signals}
        await exchange.json(json_module.dumps(body).encode())

    async def missing(self, exchange: Exchange) -> None:
        """Whatever else stands under the prefix: there is no such page."""
        page = self._documents.problem(exchange.consent, "There is no such page here.")
        await exchange.html(page, status=404)
