"""A browser's choice against that of its account: which of them is the newer one, and the rows that follow.

The browser's choice becomes the account's under a receipt of its own, which leads back to nothing that
was recorded before, and never becomes another account's, too: on a shared computer it is somebody else's.
A browser's choice that became the account's gives up what the account withdraws.

Waits for the ledger, so it runs in a thread. Refuses to know cookies and answers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from .accounts import Account, Known, account_of, detail_of, in_force
from .choice import Choice
from .decision import Decision
from .errors import LedgerError
from .identity import Pseudonyms
from .ledger import new_receipt
from .site import Site

__all__ = ["MEASURED", "Settled", "Settling"]

logger = logging.getLogger("consentmw")

#: kinds of purpose under which rows of a visitor's own are recorded (design: the tiers)
MEASURED: Final = ("analytics", "advertising", "email_measurement")
#: method of the row of a browser's choice that gave up what its account withdrew
_NARROWED: Final = "account:withdrawn"


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of comparing a browser's choice with its account's."""

    account: Account
    #: receipt of the browser's own choice that was taken into account, or ""
    aside: str
    #: whether the browser's choice became the account's just now
    linked: bool = False
    #: this browser's own choice, where it had to give up what the account no longer allows
    own: Choice | None = None


class Settling:
    """Settles choices of one site's visitors. Threads may share one object."""

    def __init__(self, site: Site, pseudonyms: Pseudonyms) -> None:
        self.site = site
        self._pseudonyms = pseudonyms
        purposes = site.catalogue.purposes.values()
        self._optional = frozenset(p.key for p in purposes if p.optional)
        self._measured = frozenset(p.key for p in purposes if p.kind in MEASURED)

    def settle(self, own: Choice | None, decision: Decision, known: Known) -> Settled:
        """Compare this browser's choice with the account's, and write down what follows. Raises LedgerError."""
        subject = known.subject
        account = self._signalled(decision, subject, account_of(self.site.ledger.about(subject)))
        settled = Settled(account, "")
        if own is not None:
            linked = self._pseudonyms.linked(self._origin(own.receipt))
            newer = account.choice is None or own.at > account.choice.at
            if own.receipt != known.aside and newer and not self._is_on_record(linked):
                return self.link(decision, subject, account, own)
            narrowed = self._narrowed(decision, account, own) if linked in account.receipts else None
            settled = Settled(account, (narrowed or own).receipt, own=narrowed)
        before, now = in_force(own, known), account.choice
        if now is not None and (before is None or _words(before) != _words(now)):
            try:
                self._append(decision, subject, now, receipt=new_receipt(), event="adopted")
            except LedgerError:
                # The choice itself is proven without it.
                logger.exception("that a browser took over its account's choice could not be recorded")
        return settled

    def chosen(self, decision: Decision, subject: str, own: Choice) -> Settled:
        """A choice just made on this browser: whatever clocks say, the account has none newer. Raises LedgerError."""
        account = self._signalled(decision, subject, account_of(self.site.ledger.about(subject)))
        return self.link(decision, subject, account, own)

    def link(self, decision: Decision, subject: str, account: Account, own: Choice) -> Settled:
        """Make a browser's choice the account's. Raises LedgerError."""
        choice = replace(own, receipt=self._pseudonyms.linked(own.receipt))
        # What the visitor was shown when they chose is the evidence for the account's choice, too.
        made = next((row for row in reversed(self.site.ledger.entries(own.receipt)) if row.shown), None)
        until = datetime.fromisoformat(made.valid_until) if made and made.valid_until else self._until(choice)
        self._append(
            decision,
            subject,
            choice,
            receipt=choice.receipt,
            event="linked",
            previous=account.choice.receipt if account.choice is not None else "",
            valid_until=until,
            **({"shown": made.shown, "notice": made.notice, "language": made.language} if made else {}),
        )
        if account.choice is not None:
            # Also what a device recorded under a choice that this browser has not heard of.
            self._forget(account.choice, choice, account.receipts)
        opted_out = account.signalled and not choice.override
        return Settled(replace(account, choice=choice, opted_out=opted_out), own.receipt, linked=True)

    def unlink(self, decision: Decision, known: Known) -> bool:
        """Note that a browser is no longer linked to its account. Raises LedgerError."""
        # Under a receipt of its own: the account's choice is the same as before, wherever else it is in force.
        self._note(decision, receipt=new_receipt(), event="unlinked", subject=known.subject)
        return True

    def _signalled(self, decision: Decision, subject: str, account: Account) -> Account:
        """The account after a signal of this browser's, if it sends one and is the first to do so."""
        if not decision.gpc or account.signalled:
            # What is sent with every request is no news after that (W3C GPC, section 5.2).
            return account
        try:
            self._note(decision, receipt=new_receipt(), event="signal", subject=subject)
        except LedgerError:
            logger.exception("the signal of an account could not be recorded; it holds on this browser")
        return replace(account, signalled=True, opted_out=True)

    def _append(self, decision: Decision, subject: str, choice: Choice, **row: object) -> None:
        self._note(
            decision,
            granted=sorted(choice.granted),
            refused=sorted(self._optional - choice.granted - choice.silent),
            fingerprint=choice.fingerprint,
            subject=subject,
            detail=detail_of(choice),
            **row,
        )

    def _note(self, decision: Decision, **row: object) -> None:
        self.site.append(decision, **{"at": self.site.clock(), "method": "account", **row})

    def _until(self, choice: Choice) -> datetime:
        """When a choice is over: a refusal rests longer than a grant lives."""
        site = self.site
        return choice.at + (site.valid_for if choice.granted else max(site.valid_for, site.rest))

    def _is_on_record(self, linked: str) -> bool:
        """Whether a browser's choice became an account's before.

        If it is this one, it has no newer word to say; if it is another, on a shared computer, it is somebody else's.
        """
        return any(row.receipt == linked for row in self.site.ledger.entries(linked))

    def _origin(self, receipt: str) -> str:
        """The receipt under which this browser chose, before it gave up what its account withdrew."""
        rows = {row.receipt: row for row in self.site.ledger.entries(receipt)}
        while (row := rows.pop(receipt, None)) is not None and row.method == _NARROWED:
            receipt = row.previous
        return receipt

    def _narrowed(self, decision: Decision, account: Account, own: Choice) -> Choice | None:
        """This browser's choice, which became the account's, without what the account withdrew since; None if nothing.

        Else signing out would bring back what was withdrawn on another device. Raises LedgerError.
        """
        choice = account.choice
        if choice is None or own.granted <= choice.granted:
            return None
        # As old as it was: it is no newer word than the account's.
        less = replace(own, receipt=new_receipt(), granted=own.granted & choice.granted, override=False)
        self._note(
            decision,
            receipt=less.receipt,
            event="changed" if less.granted else "withdrawn",
            method=_NARROWED,
            granted=sorted(less.granted),
            refused=sorted(self._optional - less.granted - less.silent),
            fingerprint=less.fingerprint,
            valid_until=self._until(less),
            previous=own.receipt,
        )
        self._forget(own, less, {row.receipt for row in self.site.ledger.entries(own.receipt)})
        return less

    def _forget(self, before: Choice, now: Choice, receipts: Iterable[str]) -> None:
        """Delete what was recorded under these receipts, where less may be measured than before."""
        if before.granted & self._measured - now.granted:
            for receipt in receipts:
                self.site.recorder.remove(receipt)
                self.site.relay.remove(receipt)


def _words(choice: Choice) -> tuple[object, ...]:
    """What a choice says, without when and where."""
    return choice.granted, choice.silent, choice.override, choice.fingerprint
