"""The page behind an e-mail's own link: may we note what you do with our mails, and do you want more of them.

Who holds the link may answer for the recipient it names, as with any mail. Nothing is recorded of
looking at the page, and a program that follows links changes nothing: only a POST does, and each
answer is in the ledger before it is confirmed. Refuses to know the recipient's address.
"""

from __future__ import annotations

import hashlib
import logging
import re
from functools import partial
from typing import Any, Final

from anyio.to_thread import run_sync

from ..errors import BadToken, LedgerError
from ..recipients import UNKNOWN, Recipients
from ..site import Site
from ..tokens import MailToken
from .documents import Documents
from .exchange import MAX_FORM, Exchange, FormError, fields_of
from .templating import Templating

__all__ = ["Mailing"]

logger = logging.getLogger("consentmw")

_ANSWERS: Final = ("allow", "refuse", "unsubscribe", "subscribe")
#: what a mail provider posts for a recipient (RFC 8058, section 3.1), as a form of either kind
_ONE_CLICK: Final = re.compile(
    rb"(?:\A|&)List-Unsubscribe=One-Click(?:&|\s*\Z)|name=\"?List-Unsubscribe\"?[\t ]*\r?\n(?>(?:[^\r\n]+\r?\n)*)\r?\n"
    rb"One-Click\r?\n",
    re.IGNORECASE,
)


class Mailing:
    """Answers ``mail/<token>``."""

    def __init__(self, site: Site, documents: Documents, templating: Templating) -> None:
        self._site = site
        self._documents = documents
        self._templating = templating

    async def page(self, exchange: Exchange) -> None:
        """GET shows what holds for the recipient; POST takes an answer, from the page or from a mail provider."""
        if not exchange.reads and exchange.method != "POST":
            await exchange.refuse_method("GET, HEAD, POST")
            return
        try:
            token = self._site.tokens.read_mail(exchange.rest)
        except BadToken:
            text = "This link is not one of ours, or it was changed on its way."
            await self._problem(exchange, 404, text)
            return
        try:
            if exchange.reads:
                await exchange.html(await self._shown(exchange, token, saved=exchange.saved))
            else:
                await self._take(exchange, token, await exchange.body(MAX_FORM))
        except FormError as error:
            await self._problem(exchange, error.status, error.reason)
        except LedgerError:
            logger.exception("what a recipient of e-mails allows could not be read or recorded")
            await self._problem(exchange, 503, "We could not read or record your choice just now. Please try again.")

    async def _take(self, exchange: Exchange, token: MailToken, body: bytes) -> None:
        """Record an answer. Raises FormError when there is none, LedgerError when it can't be recorded."""
        recipients = self._site.recipients
        one_click = _ONE_CLICK.search(body) is not None
        if not one_click and exchange.from_elsewhere():
            # A mail provider has no page of ours to post from, but then it posts nothing else.
            raise FormError(403, "This form was sent from another website, so nothing was changed.")
        if recipients is None or not token.recipient:
            raise FormError(400, "This link names nobody, so there is nothing to change.")
        answer = "unsubscribe" if one_click else dict(fields_of(body)).get("answer", "")
        if answer not in _ANSWERS:
            raise FormError(400, "The form did not say what you chose, so nothing was changed.")
        method = f"mail:{'one click' if one_click else answer}"
        await self._record(exchange, recipients, token, answer, method)
        if one_click:
            await exchange.plain(200, "You will get no more of these e-mails.")
        else:
            await exchange.see_other(exchange.consent.url(f"mail/{exchange.rest}") + "?saved")

    async def _record(
        self, exchange: Exchange, recipients: Recipients, token: MailToken, answer: str, method: str
    ) -> None:
        decision = exchange.consent.decision
        row: dict[str, Any] = {
            "method": method,
            "language": decision.language,
            "notice": decision.notice,
            "fingerprint": self._site.catalogue.fingerprint,
        }
        if answer in ("allow", "refuse"):
            page = await self._shown(exchange, token, saved=False)
            row["shown"] = hashlib.sha256(page).hexdigest()
            gone = await run_sync(partial(recipients.choose, token.recipient, answer == "allow", **row))
            for receipt in gone:
                self._site.recorder.remove(receipt)
            return
        say = recipients.unsubscribe if answer == "unsubscribe" else recipients.subscribe
        await run_sync(partial(say, token.recipient, campaign=token.campaign, **row))

    async def _shown(self, exchange: Exchange, token: MailToken, *, saved: bool) -> bytes:
        """The page. Raises LedgerError."""
        recipients = self._site.recipients
        asked = recipients is not None and bool(token.recipient)
        standing = UNKNOWN
        if recipients is not None and asked:
            standing = await run_sync(recipients.standing, token.recipient)
        action = exchange.consent.url(f"mail/{exchange.rest}")
        return self._templating.page(
            "mail.html", exchange.consent, here="-", saved=saved, standing=standing, asked=asked, action=action
        )

    async def _problem(self, exchange: Exchange, status: int, text: str) -> None:
        await exchange.html(self._documents.problem(exchange.consent, text), status=status)
