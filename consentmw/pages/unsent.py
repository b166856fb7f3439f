"""Where a form ends that would have brought what a visitor typed to a third party without consent.

Says that nothing was sent, to whom it would have gone, and where that can be allowed. The form's fields
are never read, kept or counted. Refuses to allow anything.
"""

from __future__ import annotations

from ..site import Site
from .documents import Documents
from .exchange import Exchange
from .holding import page_around

__all__ = ["Unsent"]


class Unsent:
    """Answers ``form``."""

    def __init__(self, site: Site, documents: Documents) -> None:
        self._site = site
        self._documents = documents

    async def answer(self, exchange: Exchange) -> None:
        """POST form/<page>/<service>, with a body that nobody reads; GET says the same."""
        if not exchange.reads and exchange.method != "POST":
            await exchange.refuse_method("GET, HEAD, POST")
            return
        page, _, key = exchange.rest.rpartition("/")
        service = self._site.catalogue.services.get(key)
        known = service if service is not None and service.disclosed else None
        await exchange.html(self._documents.unsent(exchange.consent, known, page_around(exchange, page)))
