"""A visitor who is signed in: what their browser carries of it, and what the ledger says of their account.

A browser has a choice of its own, in its own cookie, which signing in and out never touch. While
somebody is signed in, the choice of their account goes before it; it is carried by a second cookie,
so that without this cookie everything is as it was. Of an account only a pseudonym is known.

Pure: rows and times come in as values. Refuses to know requests, cookies' names and account numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from .choice import Choice
from .stores import Entry

__all__ = ["BY_ACCOUNT", "CHOICES", "NOBODY", "Account", "Known", "account_of", "detail_of", "in_force"]

#: events of the ledger that are an explicit choice; a signal, a link or an end of one is none
CHOICES: Final = frozenset({"given", "refused", "changed", "withdrawn", "opted out", "override", "linked"})

#: a signal that another browser of the account sent, as decide() takes it: sale and advertising stay denied for a
#: customer who is known (11 CCR 7025(c)(1)); the word has a space, so that no signal of a site can have it
BY_ACCOUNT: Final = ("account opt-out", frozenset({"advertising", "sale"}))

#: what the row of a choice has to look like before it becomes a choice again
_RECEIPT: Final = re.compile(r"[A-Za-z0-9_-]{8,40}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}")
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,60}")

_PACKED: Final = re.compile(
    r"([0-9a-f]{32})?~([0-9a-f]{1,9})~(m?)(g?)~([A-Za-z0-9_-]{8,40})?~(linked|changed)?(:[a-z0-9_+]{0,300})?~(.*)"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What a browser on which somebody is signed in carries of them; signed, and read as no choice when it is not."""

    #: pseudonym of the account; "" when none can be made: then only ``minor`` is known
    subject: str
    #: when the account was last looked up in the ledger, in UTC, to the second
    at: datetime
    #: whether the host said that the customer is a minor
    minor: bool = False
    #: whether a browser of this account sent Global Privacy Control, and no explicit override came after it
    opted_out: bool = False
    #: the account's choice, None when it has none
    choice: Choice | None = None
    #: receipt of this browser's own choice that was taken into account already, or ""
    aside: str = ""
    #: what the next page has to say once: ``changed`` or ``linked``, or ""
    told: str = ""
    #: keys of the optional purposes that were on before it changed; None when they are too many to carry
    before: frozenset[str] | None = None

    def due(self, now: datetime, every: timedelta) -> bool:
        """Whether it is time to look the account up; also when a clock was wrong."""
        return bool(self.subject) and not timedelta() <= now - self.at < every

    def pack(self) -> str:
        at = format(int(self.at.timestamp()), "x")
        before = "" if self.before is None or not self.told else ":" + "+".join(sorted(self.before))
        flags = "m" * self.minor + "g" * self.opted_out
        choice = self.choice.pack() if self.choice is not None else ""
        return "~".join((self.subject, at, flags, self.aside, self.told + before, choice))

    @classmethod
    def unpack(cls, text: str) -> Known | None:
        found = _PACKED.fullmatch(text)
        if found is None:
            return None
        subject, at, minor, opted_out, aside, told, before, packed = found.groups()
        choice = Choice.unpack(packed) if packed else None
        if (packed and choice is None) or (before and not told):
            return None
        return cls(
            subject or "",
            datetime.fromtimestamp(int(at, 16), UTC),
            bool(minor),
            bool(opted_out),
            choice,
            aside or "",
            told or "",
            frozenset(before[1:].split("+")) - {""} if before else None,
        )

    def silent(self) -> Known:
        """The same, with nothing left to say."""
        return replace(self, told="", before=None)


#: nobody is signed in
NOBODY: Final = Known("", datetime.fromtimestamp(0, UTC))


@dataclass(frozen=True, slots=True)
class Account:
    """What the ledger says of one account."""

    #: its newest explicit choice
    choice: Choice | None = None
    #: whether one of its browsers ever sent Global Privacy Control
    signalled: bool = False
    #: whether that holds: no explicit override came after it
    opted_out: bool = False
    #: receipts of its choices
    receipts: frozenset[str] = frozenset()


def account_of(rows: Iterable[Entry]) -> Account:
    """The account that these rows are about, oldest first. What is no row of ours is left out.

    The order of the ledger decides which choice is the newest, because the clocks of machines differ.
    """
    newest: Choice | None = None
    signalled = opted_out = False
    receipts = set()
    for row in rows:
        if row.event == "signal":
            signalled = opted_out = True
        elif row.event in CHOICES and (choice := _choice(row)) is not None:
            newest = choice
            opted_out = signalled and not choice.override
            receipts.add(choice.receipt)
    return Account(newest, signalled, opted_out, frozenset(receipts))


def in_force(own: Choice | None, known: Known | None) -> Choice | None:
    """Which of the two counts now: the account's, unless this browser chose anew since the account was looked up."""
    if known is None or known.choice is None:
        return own
    anew = own is not None and own.receipt != known.aside and own.at >= known.choice.at
    return own if anew else known.choice


def detail_of(choice: Choice) -> str:
    """What a row about an account says of a choice beyond its own fields, as JSON."""
    said: dict[str, Any] = {"chosen": choice.at.astimezone(UTC).isoformat(timespec="seconds")}
    if choice.silent:
        said["silent"] = sorted(choice.silent)
    if choice.override:
        said["override"] = True
    return json.dumps(said, sort_keys=True)


def _choice(row: Entry) -> Choice | None:
    """The choice that a row proves, or None when it proves none."""
    try:
        # What the host or customer service wrote need not be JSON.
        said = json.loads(row.detail) if row.detail.startswith("{") else {}
        at = datetime.fromisoformat(said.get("chosen", row.at))
        granted, silent = frozenset(row.granted), frozenset(said.get("silent", ()))
        sane = _RECEIPT.fullmatch(row.receipt) and _FINGERPRINT.fullmatch(row.fingerprint) and at.tzinfo is not None
        if not sane or not all(_KEY.fullmatch(key) for key in granted | silent):
            return None
        override = row.event == "override" or said.get("override") is True
        # Whoever links a choice made it before that, whatever a clock said.
        at = min(at, datetime.fromisoformat(row.at)).replace(microsecond=0)
        return Choice(row.receipt, at, row.fingerprint, granted, silent, override)
    except (AttributeError, TypeError, ValueError):
        return None
