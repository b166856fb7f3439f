"""What is held about one person, and how it ends: under a browser's receipts, an account, a reference in e-mails.

Knows every place where something about a person can be: the ledger, the event rows, the queue in front of
them, the relay's queue. An erasure goes through them in an order that may break off anywhere: what finds
the rest goes last, so that repeating it finishes it.

Refuses to know who may ask, and what a page or a file shows of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .errors import StoreError
from .ledger import Entry, Ledger, new_receipt
from .recipients import unsubscribed
from .site import Site

if TYPE_CHECKING:
    from .stores import Published

__all__ = ["AUTHORIZING", "Erased", "Holdings", "Subjects"]

#: rows about energy-usage data: another record than the choices, and one that a site may have to keep
AUTHORIZING: Final = frozenset({"authorized", "revoked", "disclosed"})

#: that somebody wants no more e-mails, which a sender asks for before each mailing
_LEFT: Final = frozenset({"unsubscribed"})

#: seconds that the queue may take to reach the store before a request is refused as "not now"
_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """What was found about one person, but for the event rows, which may be many: see :meth:`Subjects.events`."""

    #: rows of the ledger, oldest first
    entries: tuple[Entry, ...] = ()
    #: receipts whose event rows are theirs, and from when on (seconds since 1970)
    receipts: Mapping[str, float] = field(default_factory=dict)
    #: receipts that are theirs as a whole: those of a browser and of a recipient, and none of an account
    own: frozenset[str] = frozenset()
    #: the pseudonyms of an account and of a recipient of e-mails, or ""
    account: str = ""
    recipient: str = ""

    @property
    def unsubscribed(self) -> bool:
        """Whether they asked for no more e-mails. That outlasts an erasure, which must not bring them new ones."""
        return bool(self.recipient) and unsubscribed(self.entries)

    def lasting(self, keep: Iterable[str] = ()) -> frozenset[str]:
        """Events whose rows an erasure leaves: these, and the wish for no more e-mails."""
        return frozenset(keep) | (_LEFT if self.unsubscribed else frozenset())

    @property
    def choices(self) -> list[Entry]:
        """The rows that say what was allowed and refused, oldest first."""
        return [row for row in self.entries if row.granted or row.refused]

    @property
    def authorizing(self) -> list[dict[str, Any]]:
        """Authorizations of energy-usage data, their ends, and hand-overs, oldest first."""
        about = self._authorizations
        rows = [row for row in self.entries if row.receipt in about]
        return [{"at": row.at, "event": row.event, "id": row.receipt, **_said(row)} for row in rows]

    @property
    def rest(self) -> list[Entry]:
        """All other rows, oldest first."""
        about = self._authorizations
        return [row for row in self.entries if row.receipt not in about]

    @property
    def _authorizations(self) -> set[str]:
        return {row.receipt for row in self.entries if row.event in AUTHORIZING}


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did."""

    #: event rows that were deleted
    events: int
    #: rows of the ledger that were blanked
    rows: int


class Subjects:
    """Finds, counts and erases what a site holds about a person. Blocking: for threads and command lines."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self, receipt: str = "", account: str = "", recipient: str = "", *, later: bool = False) -> Holdings:
        """What is held under a receipt, with those it replaced, and about an account or a recipient (pseudonyms).

        ``later``: also what replaced the receipt: for an erasure, and for an officer who knows who asks; who only
        has an old cookie has not shown that what came later is theirs. An account has the event rows of a browser's
        receipt from the moment on that tied the two, and none from before: who used that browser then is not known.
        A recipient has all rows under the receipts of the answers given by e-mail. Raises LedgerError, StoreError.
        """
        ledger = self._site.ledger
        after = ledger.family(receipt) if receipt and later else ()
        found = _history(ledger, [receipt, *after])
        found.update((row.seq, row) for row in (ledger.about(recipient) if recipient else ()))
        own = frozenset({receipt, *(row.receipt for row in found.values())}) - {""}
        since = dict.fromkeys(own, 0.0)
        for row in ledger.about(account) if account else ():
            found[row.seq] = row
            if row.event not in AUTHORIZING and row.receipt:
                since.setdefault(row.receipt, datetime.fromisoformat(row.at).timestamp())
        return Holdings(tuple(found[seq] for seq in sorted(found)), since, own, account, recipient)

    def events(self, holdings: Holdings) -> Iterator[dict[str, Any]]:
        """The event rows, receipt by receipt and newest first, with times as ISO 8601; a row at a time.

        Raises StoreError.
        """
        for receipt, since in holdings.receipts.items():
            for row in self._site.recorder.store.each(receipt):
                if row["at"] >= since:
                    yield {**row, "at": _time(row["at"]), "expires": _time(row["expires"])}

    def number(self, holdings: Holdings, most: int) -> int:
        """How many event rows there are, counted up to ``most``. Raises StoreError."""
        store, number = self._site.recorder.store, 0
        for receipt, since in holdings.receipts.items():
            if number < most:
                number += sum(row["at"] >= since for row in store.events(receipt, most - number))
        return number

    def settle(self) -> None:
        """Wait until what is queued or spooled is in the store. Raises StoreError when that takes too long."""
        if not self._site.recorder.settle(_PATIENCE):
            raise StoreError("what waits to be written did not get to the store in time")

    def notices(self, holdings: Holdings) -> list[Published]:
        """The notices that were in force when the choices were made, as they were published. Raises LedgerError."""
        named = {row.notice for row in holdings.entries if row.notice}
        return [one for one in self._site.ledger.published() if one.id in named] if named else []

    def log(self, event: str, method: str, holdings: Holdings, **said: object) -> Entry:
        """Prove that a request was answered: ``access`` or ``portability``, with numbers and without the person.

        The row has a receipt of its own, so that only what is about an account or a recipient leads to it. Raises
        LedgerError.
        """
        return self._site.ledger.append(
            receipt=new_receipt(),
            at=self._site.clock(),
            event=event,
            method=method,
            subject=holdings.account or holdings.recipient,
            detail=json.dumps(said, sort_keys=True),
        )

    def erase(self, holdings: Holdings, *, method: str, keep: Iterable[str] = ()) -> Erased:
        """Delete the event rows, queued and stored, and blank the ledger's rows; the chain still verifies.

        Each receipt is noted as erased first, so that a row under way here or in another process is not
        written after it; the ledger comes last, because it is what leads to all receipts. Whatever breaks off
        is finished by doing it again. ``keep``: events whose rows stay, beside what is lasting. Raises StoreError,
        LedgerError.
        """
        site, events = self._site, 0
        for receipt in holdings.receipts:
            events += site.recorder.store.erase(receipt)
            site.relay.remove(receipt)
        # What waited in the spool is refused by the store now; until that is done, it is on this machine's disk.
        self.settle()
        kept, about = holdings.lasting(keep), [one for one in (holdings.account, holdings.recipient) if one]
        rows = sum(
            site.ledger.erase(holdings.own, one, at=site.clock(), method=method, keep=kept) for one in about or ("",)
        )
        return Erased(events, rows)


def _history(ledger: Ledger, receipts: Iterable[str]) -> dict[int, Entry]:
    """The rows of receipts and of all they replaced, by number. The ledger follows a bounded number at a time."""
    found: dict[int, Entry] = {}
    waiting, seen = [*receipts], {""}
    while waiting:
        if (current := waiting.pop()) not in seen:
            rows = ledger.entries(current)
            seen |= {current, *(row.receipt for row in rows)}
            found.update((row.seq, row) for row in rows)
            waiting += [row.previous for row in rows]
    return found


def _said(row: Entry) -> dict[str, Any]:
    try:
        said = json.loads(row.detail or "{}")
    except ValueError:
        said = {}
    return said if isinstance(said, dict) else {}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
