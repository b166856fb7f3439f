"""Pixel and click-through: two answers that never wait for measurement.

The token is verified, the answer is sent, then the event is put in the queue, held to what this
visitor allows. A token that is not ours gets a plain page and leads nowhere; a target that is ours
is reached with every store down. Answered without routing, since these are the busiest addresses.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from time import time
from typing import Final

from ..errors import BadToken
from ..events import Facts, minimise
from ..site import Site
from ..tokens import ClickToken, PixelToken
from .documents import Documents
from .exchange import Exchange

__all__ = ["GIF", "Measuring"]

logger = logging.getLogger("consentmw")

#: one transparent pixel, 43 bytes: header, two-colour table, transparency, one LZW-coded pixel
GIF: Final = bytes.fromhex(
    "474946383961 0100 0100 80 00 00 000000 ffffff 21f904 01 0000 00 00 2c 0000 0000 0100 0100 00 02 02 44 01 00 3b"
)

_NO_CACHE: Final = (b"cache-control", b"no-store, no-cache, must-revalidate, private")
_PIXEL_HEADERS: Final = [
    (b"content-type", b"image/gif"),
    (b"content-length", b"43"),
    _NO_CACHE,
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
]
_PIXEL_START: Final = {"type": "http.response.start", "status": 200, "headers": _PIXEL_HEADERS}
_PIXEL_BODY: Final = {"type": "http.response.body", "body": GIF}
_NO_BODY: Final = {"type": "http.response.body", "body": b""}


class Measuring:
    """Answers ``px/<token>.gif`` and ``go/<token>``."""

    def __init__(self, site: Site, documents: Documents) -> None:
        self._site = site
        self._documents = documents
        age = site.settings.token_days * 86_400 or None
        # The same few tokens arrive again and again; a verified one needs no second HMAC.
        # With an age limit a remembered token would outlive it, so then each one is read anew.
        size = 4096 if age is None else 0
        self._read_pixel = lru_cache(size)(lambda token: site.tokens.read_pixel(token, age))
        self._read_click = lru_cache(size)(lambda token: site.tokens.read_click(token, age))

    async def pixel(self, exchange: Exchange) -> None:
        """GET px/<token>.gif: 43 bytes, and a count."""
        if not exchange.reads:
            await exchange.refuse_method("GET, HEAD")
            return
        try:
            token: PixelToken = self._read_pixel(exchange.rest.removesuffix(".gif"))
        except BadToken:
            await exchange.plain(404, "There is no such image.")
            return
        await exchange.send(dict(_PIXEL_START))
        await exchange.send(dict(_PIXEL_BODY if exchange.method == "GET" else _NO_BODY))
        self._record(exchange, "pixel", 200, token)

    async def click_through(self, exchange: Exchange) -> None:
        """GET go/<token>: on to the signed target, and a count."""
        if not exchange.reads:
            await exchange.refuse_method("GET, HEAD")
            return
        try:
            token: ClickToken = self._read_click(exchange.rest)
        except BadToken:
            page = self._documents.problem(
                exchange.consent, "This link is not one of ours, or it was changed on its way."
            )
            await exchange.html(page, status=404)
            return
        where = (b"location", token.url.encode("ascii"))
        await exchange.answer(302, b"", [where, _NO_CACHE, (b"referrer-policy", b"no-referrer")])
        self._record(exchange, "click", 302, token)

    def _record(self, exchange: Exchange, kind: str, status: int, token: PixelToken | ClickToken) -> None:
        try:
            facts = Facts(
                kind=kind,
                at=time(),
                method=exchange.method,
                route=f"({kind})",
                status=status,
                visitor=exchange.visitor,
                language=exchange.consent.language,
                campaign=token.campaign,
                link=getattr(token, "link", ""),
                recipient=token.recipient,
            )
            self._site.recorder.put(*minimise(facts, exchange.consent.decision, self._site.policy))
        except Exception:
            logger.exception("a %s could not be recorded", kind)
