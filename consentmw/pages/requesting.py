"""The page on which visitors see what is held about them, take it with them, and have it erased.

Whoever holds the signed cookie of a choice reaches what is under its receipt and those it replaced, and
nothing else. A download and an erasure are POSTs, so that nothing that fetches ahead makes one, and no
page of another site. Nothing is said to be done before all of it is. Refuses to know where data is kept,
and what the files look like.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

from anyio.to_thread import run_sync

from ..accounts import CHOICES
from ..choice import Choice, CookieCodec
from ..decision import Decision
from ..errors import LedgerError, StoreError
from ..ledger import new_receipt
from ..site import Site
from ..subjects import AUTHORIZING, Erased, Subjects
from ..visitor import Visitor
from .documents import Documents
from .exchange import Exchange, FormError
from .takeout import Takeout, into_zip, new_zip

__all__ = ["Requesting"]

logger = logging.getLogger("consentmw")

#: event rows that the page counts; beyond it says "or more"
_COUNTED: Final = 1_000
#: downloads that one process makes at a time: each reads and packs everything a visitor has
_AT_ONCE: Final = 2
#: bytes of a download that are kept in memory before they go to an unnamed file
_IN_MEMORY: Final = 1_000_000

_DOWNLOADS: Final = {"access": ("your-data.zip", b"application/zip"), "portability": ("data.json", b"application/json")}
_DONE: Final = re.compile(r"([A-Za-z0-9_-]{8,40})~(\d{1,12})~(\d{1,12})~([01])")


@dataclass(frozen=True, slots=True)
class _Done:
    """What an erasure did, for the page after it; true for one browser only."""

    #: of the refusal that the erasure left behind
    receipt: str
    events: int
    rows: int
    #: whether that refusal is on record
    proven: bool

    def pack(self) -> str:
        return f"{self.receipt}~{self.events}~{self.rows}~{int(self.proven)}"

    @classmethod
    def unpack(cls, text: str) -> _Done | None:
        match = _DONE.fullmatch(text)
        return cls(match[1], int(match[2]), int(match[3]), match[4] == "1") if match else None


class Requesting:
    """Answers ``data``."""

    def __init__(self, site: Site, documents: Documents, takeout: Takeout, subjects: Subjects) -> None:
        self._site = site
        self._documents = documents
        self._takeout = takeout
        self._subjects = subjects
        self._codec = CookieCodec(_Done, "erased", site.settings.secret_keys)
        self._busy = 0

    async def data(self, exchange: Exchange) -> None:
        """GET data: what is held, in numbers; GET data?erase asks back; POST data downloads or erases."""
        if exchange.reads:
            await self._show(exchange)
        elif exchange.method != "POST":
            await exchange.refuse_method("GET, HEAD, POST")
        else:
            try:
                fields = dict(await exchange.form())
            except FormError as error:
                await self._problem(exchange, error.status, error.reason)
                return
            if (action := fields.get("action", "")) in _DOWNLOADS:
                await self._download(exchange, action)
            elif action != "erase":
                await self._problem(exchange, 400, "The form did not say what to do, so nothing was changed.")
            elif fields.get("sure") != "yes":
                await exchange.see_other(exchange.consent.url("data") + "?erase")
            else:
                await self._erase(exchange)

    # -- whose ---------------------------------------------------------------------------------

    def _whose(self, visitor: Visitor) -> tuple[str, str]:
        """The receipt of this browser's choice, and the account that it may ask for; "" for what there is none of."""
        own, known = self._site.own_choice(visitor), self._site.known(visitor)
        # Whoever sits at a shared computer is not sure to be the customer: the site has to say that they may.
        account = known.subject if known is not None and self._site.settings.account_requests else ""
        return own.receipt if own else "", account

    # -- looking -------------------------------------------------------------------------------

    async def _show(self, exchange: Exchange) -> None:
        receipt, account = self._whose(exchange.visitor)
        query = bytes(exchange.scope.get("query_string", b"")).decode("latin-1")
        held: dict[str, int] | None = None
        try:
            if receipt or account:
                held = await run_sync(self._numbers, receipt, account)
        except (LedgerError, StoreError):
            logger.exception("what is held about a visitor could not be read")
            await self._problem(exchange, 503, "What we hold can't be read just now. Please try again.")
            return
        done = self._codec.read(query.removeprefix("done=")) if query.startswith("done=") else None
        page = self._documents.data(
            exchange.consent,
            held=held,
            receipt=receipt,
            account=bool(account),
            asks=query == "erase" and held is not None,
            # Only for whom it is true: the address may have been passed on.
            done=done if done is not None and done.receipt == receipt else None,
        )
        await exchange.html(page)

    def _numbers(self, receipt: str, account: str) -> dict[str, int]:
        holdings = self._subjects.collect(receipt, account)
        return {
            "choices": sum(row.event in CHOICES for row in holdings.entries),
            "events": self._subjects.number(holdings, _COUNTED),
            "most": _COUNTED,
            "authorizing": len(holdings.authorizing),
        }

    # -- taking --------------------------------------------------------------------------------

    async def _download(self, exchange: Exchange, action: str) -> None:
        receipt, account = self._whose(exchange.visitor)
        if not receipt and not account:
            await self._problem(exchange, 404, "Nothing is held under the name of this browser.")
            return
        if self._busy >= _AT_ONCE:
            await self._problem(exchange, 503, "Others are downloading their data just now. Please try again.")
            return
        visitor = exchange.visitor
        pages = f"{visitor.scheme}://{visitor.authority}{exchange.consent.url()}"
        self._busy += 1
        try:
            with SpooledTemporaryFile(_IN_MEMORY) as file:
                length = await self._made(exchange, partial(self._make, file, action, (receipt, account), pages))
                if length:
                    await exchange.download(*_DOWNLOADS[action], file, length)
        finally:
            self._busy -= 1

    async def _made(self, exchange: Exchange, make: Callable[[str], int]) -> int:
        """The length of a download that was made, or 0 when it could not be, and that was answered."""
        try:
            return await run_sync(make, exchange.consent.language)
        except (LedgerError, StoreError, OSError):
            logger.exception("what is held about a visitor could not be handed over")
            await self._problem(exchange, 503, "What we hold can't be read just now. Please try again.")
            return 0

    def _make(self, file: IO[bytes], action: str, whose: tuple[str, str], pages: str, language: str) -> int:
        """Write the download and put it on record; its length in bytes."""
        self._subjects.settle()
        holdings = self._subjects.collect(*whose)
        options: dict[str, Any] = {"language": language, "pages": pages}
        if action == "access":
            with new_zip(file) as archive:
                events = self._takeout.write(holdings, into_zip(archive), **options)
        else:
            events = self._takeout.data(holdings, file, notices=self._subjects.notices(holdings), **options)
        self._subjects.log(action, "page", holdings, events=events, rows=len(holdings.entries))
        length = file.tell()
        file.seek(0)
        return length

    # -- erasing -------------------------------------------------------------------------------

    async def _erase(self, exchange: Exchange) -> None:
        site, visitor, consent = self._site, exchange.visitor, exchange.consent
        receipt, account = self._whose(visitor)
        if not receipt and not account:
            await exchange.see_other(consent.url("data"))
            return
        try:
            erased = await run_sync(self._erase_all, receipt, account)
        except (LedgerError, StoreError):
            logger.exception("a visitor's data could not be erased")
            text = "Your data could not be erased just now, or not all of it. Please try again."
            await self._problem(exchange, 503, text)
            return
        # A refusal that leads back to nothing: who has everything erased must not be asked, or opted in, by it.
        fresh = Choice(new_receipt(), site.clock().replace(microsecond=0), site.catalogue.fingerprint, frozenset())
        proven = await self._prove(exchange, fresh, account=bool(account))
        decision = await self._decided(exchange, fresh, proven=proven)
        site.relay.stop(visitor, decision)
        done = _Done(fresh.receipt, erased.events, erased.rows, proven)
        headers = [site.carry(visitor, fresh), *site.expiries(visitor, decision)]
        await exchange.see_other(f"{consent.url('data')}?done={self._codec.write(done)}", headers)

    async def _decided(self, exchange: Exchange, fresh: Choice, *, proven: bool) -> Decision:
        """What follows of the refusal; where somebody is signed in, their account gets it, too."""
        link = exchange.link
        if link is None or link.known is None:
            return self._site.decide_with(exchange.visitor, fresh)
        if proven:
            await link.chosen(exchange.consent.decision, fresh)
        else:
            link.alone(fresh)
        return link.ruling.decision

    def _erase_all(self, receipt: str, account: str) -> Erased:
        holdings = self._subjects.collect(receipt, account, later=True)
        return self._subjects.erase(holdings, method="page", keep=AUTHORIZING)

    async def _prove(self, exchange: Exchange, fresh: Choice, *, account: bool) -> bool:
        """Put the refusal on record; whether that worked. It is in force on this browser all the same."""
        site = self._site
        optional = sorted(p.key for p in site.catalogue.purposes.values() if p.optional)
        shown = self._documents.data(exchange.consent, asks=True, account=account)
        try:
            await site.prove(
                exchange.consent.decision,
                receipt=fresh.receipt,
                at=fresh.at,
                event="refused",
                method="data:erase",
                refused=optional,
                shown=sha256(shown).hexdigest(),
                valid_until=fresh.at + max(site.valid_for, site.rest),
            )
        except LedgerError:
            logger.exception("the refusal after an erasure could not be recorded")
            return False
        return True

    async def _problem(self, exchange: Exchange, status: int, text: str) -> None:
        await exchange.html(self._documents.problem(exchange.consent, text), status=status)
