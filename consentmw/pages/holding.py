"""What stands in the place of a withheld video or map: what it is, and two ways to see it.

To allow its purpose is a choice like any other, and choosing.py takes it. To see it once is taken
here: written to the ledger first, then carried by a cookie to the page around the frame, which has
to be asked for anew, since its policy can't be changed and no script may be needed. Refuses to
touch the visitor's choice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from re import compile as pattern
from typing import Final
from urllib.parse import unquote

from itsdangerous import BadData
from itsdangerous.encoding import base64_decode

from ..decision import showable
from ..errors import LedgerError
from ..ledger import new_receipt
from ..once import LASTS, Once, place
from ..purposes import Service
from ..site import Site
from .documents import Documents
from .exchange import Exchange, FormError, return_to

__all__ = ["Holding", "page_around"]

logger = logging.getLogger("consentmw")

#: the id of a frame, as the gate hands it on
_ID: Final = pattern(rb"[A-Za-z0-9_-]{1,64}")


class Holding:
    """Answers in the place of withheld frames."""

    def __init__(self, site: Site, documents: Documents, missing: Callable[[Exchange], Awaitable[None]]) -> None:
        self._site = site
        self._documents = documents
        self._missing = missing

    async def held(self, exchange: Exchange) -> None:
        """GET held/<page>/<service> says what was withheld; POST held/<service> shows it once."""
        page, _, key = exchange.rest.rpartition("/")
        service = self._site.catalogue.services.get(key)
        if service is None or not service.disclosed:
            await self._missing(exchange)
        elif exchange.reads:
            await exchange.html(self._documents.held(exchange.consent, service, page_around(exchange, page)))
        elif exchange.method == "POST":
            await self._take(exchange, service)
        else:
            await exchange.refuse_method("GET, HEAD, POST")

    async def _take(self, exchange: Exchange, service: Service) -> None:
        try:
            fields = dict(await exchange.form())
        except FormError as error:
            await self._problem(exchange, error.status, error.reason)
            return
        back = return_to(fields.get("return", ""), "")
        if not showable(self._site.catalogue, service.key):
            await self._missing(exchange)
        elif not back:
            await self._problem(exchange, 400, "The form did not say for which page, so nothing was changed.")
        elif exchange.consent.allows(service.key):
            # It was allowed in another window meanwhile: there is nothing to ask for.
            await exchange.see_other(back)
        else:
            await self._show(exchange, service, back)

    async def _show(self, exchange: Exchange, service: Service, back: str) -> None:
        site, visitor = self._site, exchange.visitor
        now = site.clock().replace(microsecond=0)
        try:
            await self._prove(exchange, service, now)
        except LedgerError:
            logger.exception("what was asked for once could not be recorded")
            text = "We could not record your choice just now, so nothing optional was switched on. Please try again."
            await self._problem(exchange, 503, text)
            return
        path, _, query = back.partition("#")[0].partition("?")
        where = place(unquote(path), query.encode("ascii"))
        once = Once(service.key, now, where, exchange.consent.receipt)
        cookie = site.cookie(visitor, site.cookie_names(visitor)[2], site.onces.write(once), LASTS)
        await exchange.see_other(back, [cookie])

    async def _prove(self, exchange: Exchange, service: Service, now: datetime) -> None:
        """Write the ledger row, under the visitor's receipt if they have one. Raises LedgerError."""
        site = self._site
        choice = site.choice(exchange.visitor)
        shown = self._documents.shown(exchange.consent, "placeholder", service.key)
        await site.prove(
            exchange.consent.decision,
            receipt=choice.receipt if choice else new_receipt(),
            at=now,
            event="once",
            method="placeholder:once",
            granted=[service.key],
            shown=shown,
            valid_until=now + LASTS,
        )

    async def _problem(self, exchange: Exchange, status: int, text: str) -> None:
        await exchange.html(self._documents.problem(exchange.consent, text), status=status)


def page_around(exchange: Exchange, page: str) -> str:
    """The page around the frame, with the frame's own id if it has one; "" when that is no path of this site."""
    try:
        path = return_to(base64_decode(page).decode("ascii"), "")
    except (BadData, ValueError):
        return ""
    frame = bytes(exchange.scope.get("query_string", b""))
    return f"{path}#{frame.decode()}" if path and _ID.fullmatch(frame) else path
