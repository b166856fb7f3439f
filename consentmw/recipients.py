"""What recipients of e-mail allow: whether it may be noted that one of them opened a mail or followed its links.

A mail program sends no cookie, so this is looked up by the recipient: rows of the ledger about a
keyed hash of the sender's reference. Who said nothing is counted as one of many and no more. The
last word counts for mails that were sent before it, too. Whoever asked for no more e-mails stands
in the same place, so that a sender can ask.

What is asked is about this site's own e-mails and names no third party; so a changed list of
services does not end it, its time does. Refuses to know addresses, mails and what is recorded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from .errors import LedgerError
from .identity import Pseudonyms
from .ledger import Entry, Ledger, new_receipt

__all__ = ["UNKNOWN", "Recipients", "Standing", "allowances", "unsubscribed"]

#: key of the purpose that is asked about
_PURPOSE: Final = "email_measurement"
_CHOICES: Final = frozenset({"given", "refused", "withdrawn"})
_SENDING: Final = frozenset({"unsubscribed", "subscribed"})
#: seconds that a look-up is remembered: a withdrawal made in another process takes effect within them, and what was
#: noted in between is erased with the receipt
_REMEMBERED: Final = 60.0
#: seconds without a look-up after one that failed
_PAUSE: Final = 5.0
_MOST: Final = 4096


class Standing(NamedTuple):
    """What holds for one recipient."""

    #: of the choice that allows to note what this person does with a mail; "" when nothing does
    receipt: str
    #: why, in a word: ``choice``, ``no choice``, ``expired`` or ``error``
    why: str
    #: whether they asked for no more e-mails
    unsubscribed: bool = False

    @property
    def allowed(self) -> bool:
        """Whether it may be noted what this person does with a mail."""
        return bool(self.receipt)


#: of a recipient of whom nothing is known
UNKNOWN: Final = Standing("", "no choice")
_FAILED: Final = Standing("", "error")


class Recipients:
    """Takes and finds recipients' choices. Threads may share one object."""

    def __init__(
        self,
        ledger: Ledger,
        pseudonyms: Pseudonyms,
        *,
        valid_for: timedelta,
        clock: Callable[[], datetime] | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """``valid_for``: how long an allowance counts; ``ticks``: seconds, by which look-ups are remembered."""
        self._ledger = ledger
        self._pseudonyms = pseudonyms
        self._valid_for = valid_for
        self._clock = clock or (lambda: datetime.now(UTC))
        self._ticks = ticks
        self._known: dict[str, tuple[Standing, float]] = {}
        self._again_at = 0.0

    @classmethod
    def among(
        cls,
        pseudonyms: Pseudonyms | None,
        ledger: Ledger,
        *,
        valid_for: timedelta,
        clock: Callable[[], datetime] | None = None,
    ) -> Recipients | None:
        """The same, or None where nothing can stand for a recipient: then all of them are one of many."""
        return cls(ledger, pseudonyms, valid_for=valid_for, clock=clock) if pseudonyms is not None else None

    def subject(self, recipient: str) -> str:
        """What stands for this reference in the ledger."""
        return self._pseudonyms.recipient(recipient)

    # -- asking --------------------------------------------------------------------------------

    def standing(self, recipient: str) -> Standing:
        """What holds for this recipient now. Raises LedgerError."""
        return self._standing(self._rows(recipient))

    def known(self, recipient: str) -> Standing | None:
        """What was found within the last minute, without looking; None when it has to be looked up."""
        if not recipient:
            return UNKNOWN
        now = self._ticks()
        found = self._known.get(recipient)
        if found is not None and now < found[1]:
            return found[0]
        # A ledger that is down is not asked again for every mail that is opened.
        return _FAILED if now < self._again_at else None

    def look_up(self, recipient: str) -> Standing:
        """What holds for this recipient, remembered for a minute. Never raises: when in doubt, one of many."""
        try:
            found = self.standing(recipient)
        except LedgerError:
            self._again_at = self._ticks() + _PAUSE
            return _FAILED
        self._remember(recipient, found)
        return found

    # -- choosing ------------------------------------------------------------------------------

    def choose(self, recipient: str, allowed: bool, *, method: str, **row: Any) -> frozenset[str]:
        """Record what a recipient chose, and wait until it is durable. Raises LedgerError: then nothing changed.

        ``row``: more of what :meth:`Ledger.append` takes. Returns the receipts under which nothing may be kept any
        more: those of earlier allowances, when this is a refusal.
        """
        rows = self._rows(recipient)
        last = next((entry for entry in reversed(rows) if entry.event in _CHOICES), None)
        was = last is not None and last.event == "given"
        now = self._clock()
        made = self._ledger.append(
            receipt=new_receipt(),
            at=now,
            event="given" if allowed else "withdrawn" if was else "refused",
            method=method,
            subject=self.subject(recipient),
            granted=[_PURPOSE] if allowed else [],
            refused=[] if allowed else [_PURPOSE],
            valid_until=now + self._valid_for,
            previous=last.receipt if last else "",
            **row,
        )
        self._remember(recipient, self._standing([*rows, made]))
        return frozenset() if allowed else frozenset(entry.receipt for entry in rows if entry.event == "given")

    def unsubscribe(self, recipient: str, *, method: str, campaign: str = "", **row: Any) -> None:
        """Record that a recipient wants no more e-mails; said twice it is recorded once. Raises LedgerError."""
        self._send(recipient, "unsubscribed", method, campaign, row)

    def subscribe(self, recipient: str, *, method: str, campaign: str = "", **row: Any) -> None:
        """Record that a recipient wants e-mails again. Raises LedgerError."""
        self._send(recipient, "subscribed", method, campaign, row)

    def _send(self, recipient: str, event: str, method: str, campaign: str, row: dict[str, Any]) -> None:
        rows = self._rows(recipient)
        if self._standing(rows).unsubscribed == (event == "unsubscribed"):
            return
        detail = json.dumps({"campaign": campaign}, ensure_ascii=False) if campaign else ""
        made = self._ledger.append(
            receipt=new_receipt(),
            at=self._clock(),
            event=event,
            method=method,
            subject=self.subject(recipient),
            detail=detail,
            **row,
        )
        self._remember(recipient, self._standing([*rows, made]))

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    # -- within --------------------------------------------------------------------------------

    def _rows(self, recipient: str) -> list[Entry]:
        return self._ledger.about(self.subject(recipient)) if recipient.strip() else []

    def _standing(self, rows: list[Entry]) -> Standing:
        left = unsubscribed(rows)
        last = next((entry for entry in reversed(rows) if entry.event in _CHOICES), None)
        if last is None:
            return Standing("", "no choice", left)
        if last.event != "given":
            return Standing("", "choice", left)
        until = datetime.fromisoformat(last.valid_until)
        over = self._clock() >= until
        return Standing("" if over else last.receipt, "expired" if over else "choice", left)

    def _remember(self, recipient: str, standing: Standing) -> None:
        # All at once, as elsewhere: a flood of new names costs no more than forgetting the old ones.
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[recipient] = standing, self._ticks() + _REMEMBERED


def unsubscribed(rows: Sequence[Entry]) -> bool:
    """Whether a recipient with these rows, oldest first, asked for no more e-mails and not for them again since."""
    return next((row.event for row in reversed(rows) if row.event in _SENDING), "") == "unsubscribed"


def allowances(ledger: Ledger) -> Iterator[str]:
    """The receipts of all allowances that recipients gave: what their mails left in rows stands under one of these.

    Reads the whole ledger: for a person who asks, not for a request. Raises LedgerError.
    """
    for row in ledger.all():
        if row.event == "given" and row.granted == (_PURPOSE,) and row.subject:
            yield row.receipt
