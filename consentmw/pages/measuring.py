"""Pixel and click-through: two answers that never wait for measurement.

The token is verified, the answer is sent, then the event is put in the queue. What names a
recipient is held to what that recipient allows, looked up after the answer; what names nobody, to
what this visitor allows. A token that is not ours gets a plain page and leads nowhere; a target
that is ours is reached with every store down. Answered without routing, since these are the busiest
addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from ..errors import BadToken
from ..events import Facts, minimise
from ..events.mail import HONEYPOT, Bursts, mail_verdict
from ..events.reading import referring
from ..recipients import UNKNOWN, Standing
from ..site import Site
from ..tokens import ClickToken, MailToken, PixelToken
from .documents import Documents
from .exchange import Exchange
from .leaving import Leaving

if TYPE_CHECKING:
    from ..events import Count

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

#: recipients looked up at the same time, so that threads are left for choices; and how many may wait for that
_LOOKUPS: Final = 4
_MOST_WAITING: Final = 1_000
_BUSY: Final = Standing("", "error")


class Measuring:
    """Answers ``px/<token>.gif`` and ``go/<token>``."""

    def __init__(self, site: Site, documents: Documents, leaving: Leaving) -> None:
        self._site = site
        self._documents = documents
        self._leaving = leaving
        self._bursts = Bursts()
        self._limiter: CapacityLimiter | None = None
        self._waiting = 0
        age = site.settings.token_days * 86_400 or None
        # The same few tokens arrive again and again; a verified one needs no second HMAC.
        # With an age limit a remembered token would outlive it, so then each one is read anew.
        size = 4096 if age is None else 0
        self._read_pixel = lru_cache(size)(lambda token: site.tokens.read_pixel(token, age))

    async def pixel(self, exchange: Exchange) -> None:
        """GET px/<token>.gif: 43 bytes, and a count."""
        if not exchange.reads:
            await exchange.refuse_method("GET, HEAD")
            return
        text = exchange.rest.removesuffix(".gif")
        try:
            token: PixelToken = self._read_pixel(text)
        except BadToken:
            await exchange.plain(404, "There is no such image.")
            return
        if self._site.revoked.covers(text, token.campaign):
            await exchange.plain(410, "This image is no longer in use.")
            return
        await exchange.send(dict(_PIXEL_START))
        await exchange.send(dict(_PIXEL_BODY if exchange.method == "GET" else _NO_BODY))
        await self._record(exchange, "pixel", 200, token)

    async def click_through(self, exchange: Exchange) -> None:
        """GET go/<token>: on to the signed target, and a count."""
        if not exchange.reads:
            await exchange.refuse_method("GET, HEAD")
            return
        try:
            token = await self._leaving.click(exchange)
        except BadToken:
            await self._unknown(exchange)
            return
        if token is not None:
            where = (b"location", self._leaving.location(exchange, token).encode("ascii"))
            await exchange.answer(302, b"", [where, _NO_CACHE, (b"referrer-policy", b"no-referrer")])
            await self._record(exchange, "click", 302, token)

    async def _unknown(self, exchange: Exchange) -> None:
        """A link that is no click-through: the one that no person sees, or none of ours."""
        try:
            trap = self._site.tokens.read_trap(exchange.rest)
        except BadToken:
            page = self._documents.problem(
                exchange.consent, "This link is not one of ours, or it was changed on its way."
            )
            await exchange.html(page, status=404)
            return
        await exchange.empty(204)
        await self._record(exchange, "click", 204, trap)

    # -- recording -----------------------------------------------------------------------------

    async def _record(
        self, exchange: Exchange, kind: str, status: int, token: PixelToken | ClickToken | MailToken
    ) -> None:
        """Record an open or a click; after its answer, which nothing here can delay or break."""
        try:
            standing = await self._standing(token.recipient) if token.recipient else UNKNOWN
            visitor = exchange.visitor
            # A pixel is no link, so it is part of no burst.
            who = _who(exchange, token) if kind == "click" else None
            verdict, wrong = self._judged(who, token, visitor.bot)
            visit, url = exchange.visit, getattr(token, "url", "")
            facts = Facts(
                kind=kind,
                at=time(),
                method=exchange.method,
                route=f"({kind})",
                status=status,
                visitor=visitor,
                language=exchange.consent.language,
                campaign=token.campaign,
                link=getattr(token, "link", ""),
                recipient=token.recipient,
                receipt=standing.receipt,
                why=standing.why,
                session="" if visit is None else visit.known,
                target=referring(url)[1] if self._leaving.foreign(exchange, url) else "",
                verdict=verdict or mail_verdict(kind, exchange.method, visitor.agent, visitor.bot),
            )
            count, event = minimise(facts, exchange.consent.decision, self._site.policy)
            self._site.recorder.put(count, event)
            if kind == "click" and not count.bot:
                self._bursts.counted(who, count)
            for one in wrong:
                self._site.recorder.put(one)
        except Exception:
            logger.exception("a %s could not be recorded", kind)

    def _judged(self, who: Hashable, token: PixelToken | ClickToken | MailToken, bot: str) -> tuple[str, list[Count]]:
        """Whether this click is one of a burst, and what was taken for a person's before that showed."""
        if isinstance(token, MailToken):
            return HONEYPOT, self._bursts.trapped(who)
        # A link of no mail is not one of many, and what a browser fetches ahead is no burst.
        if not isinstance(token, ClickToken) or bot or not token.campaign or not token.link:
            return "", []
        return self._bursts.followed(who, token.link)

    async def _standing(self, recipient: str) -> Standing:
        """What the recipient allows; looked up in a thread when it is not known, and never waited for by many."""
        recipients = self._site.recipients
        if recipients is None:
            return UNKNOWN
        known = recipients.known(recipient)
        if known is not None:
            return known
        if self._waiting >= _MOST_WAITING:
            return _BUSY
        if self._limiter is None:
            self._limiter = CapacityLimiter(_LOOKUPS)
        self._waiting += 1
        try:
            return await run_sync(recipients.look_up, recipient, limiter=self._limiter)
        finally:
            self._waiting -= 1


def _who(exchange: Exchange, token: PixelToken | ClickToken | MailToken) -> Hashable:
    """Who follows the links of a mail: its recipient, or for a mail to many, where the request came from.

    As a hash, salted for this process: no address is kept for the seconds in which a burst can be found.
    """
    if token.recipient:
        return hash((token.campaign, token.recipient))
    return hash((token.campaign, exchange.visitor.address, exchange.visitor.agent))
