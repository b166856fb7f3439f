"""Who may get a customer's energy-usage data: authorizations, and a record of every hand-over under one.

Apart from every banner: an authorization names one recipient, what it gets, for what and for how
long, and how the customer gave it (Green Button Connect My Data; 220 ILCS 5/16-122 and ICC 15-0073;
Mich. Admin. Code R 460.153; Wis. Stat. 196.137). All of it is rows of the ledger, so a hand-over is
proven before the data goes, and one without a valid authorization is refused.

Refuses to know an account number: a customer is a keyed hash of it. Refuses to hold usage data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any, Final

from .errors import AuthorizationError
from .identity import Pseudonyms
from .ledger import Entry, Ledger, new_receipt
from .settings import Settings
from .stores import open_ledger_store

__all__ = ["Authorization", "Authorizations", "Disclosure", "open_authorizations", "read_scope"]

#: one name and its value in a scope: FB=4_5_15, IntervalDuration=3600, BlockDuration=monthly, HistoryLength=13
_TERM: Final = re.compile(r"([A-Za-z][A-Za-z0-9]{0,39})=([A-Za-z0-9_.:/-]{1,120})")
_BLOCKS: Final = re.compile(r"[1-9][0-9]{0,2}(_[1-9][0-9]{0,2}){0,99}")
_LONGEST: Final = 400


def read_scope(scope: str) -> dict[str, str]:
    """The terms of a Green Button scope (NAESB REQ.21, ESPI); the function blocks stand under ``FB``.

    Raises ValueError when it is none.
    """
    terms: dict[str, str] = {}
    for part in scope.split(";") if len(scope) <= _LONGEST else ():
        match = _TERM.fullmatch(part)
        if match is None or match[1] in terms:
            raise ValueError("a scope like FB=4_5_15;IntervalDuration=3600;BlockDuration=monthly;HistoryLength=13")
        terms[match[1]] = match[2]
    if not _BLOCKS.fullmatch(terms.get("FB", "")):
        raise ValueError("a scope names its function blocks first of all: FB=4_5_15")
    return terms


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a customer allowed one recipient."""

    #: who gets the data, by the name the customer was shown
    recipient: str
    #: what, as a Green Button scope
    scope: str
    #: for what, in the words the customer was shown
    purpose: str
    #: first and last day on which data may be handed over
    starts: date
    ends: date
    #: how many months back the data may reach
    history_months: int
    #: how the customer gave it: ``online``, ``paper form 2026-118``, ``call 4711 recorded``
    evidence: str
    #: ``customer``, or the reference of the employee who entered it
    entered_by: str
    #: the day by which the recipient has to return or destroy what it got, or None
    destroy_by: date | None = None
    #: given when it is recorded
    id: str = ""
    #: when it was revoked (ISO 8601, UTC), or ""
    revoked: str = ""

    def valid(self, on: date) -> bool:
        """Whether data may be handed over on this day."""
        return not self.revoked and self.starts <= on <= self.ends


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One hand-over of data under an authorization."""

    authorization: str
    recipient: str
    #: what was handed over, as a Green Button scope
    scope: str
    #: first and last day of the usage in it
    first: date
    last: date
    #: ISO 8601, UTC
    at: str = field(default="")


class Authorizations:
    """Grants, revokes and uses authorizations. Raises LedgerError when there is no proof: then nothing happened."""

    def __init__(self, ledger: Ledger, pseudonyms: Pseudonyms, clock: Callable[[], datetime] | None = None) -> None:
        """``pseudonyms``: what stands for account numbers; with another key no earlier authorization is found."""
        self._ledger = ledger
        self._pseudonyms = pseudonyms
        self._clock = clock or (lambda: datetime.now(UTC))

    def subject(self, account: str) -> str:
        """What stands for this account in the ledger."""
        return self._pseudonyms.of(account)

    def grant(self, account: str, given: Authorization, *, language: str = "", notice: str = "") -> Authorization:
        """Record what a customer allowed; the authorization with its id. Raises AuthorizationError for a bad one."""
        _check(given)
        made = replace(given, id=new_receipt(), revoked="")
        # In the ledger its time is over with the last second of its last day.
        ends = datetime.combine(made.ends, time(23, 59, 59), UTC)
        self._append(made, "authorized", self.subject(account), _detail(made), ends, language, notice)
        return made

    def revoke(self, account: str, id: str, *, by: str) -> Authorization:  # noqa: A002
        """End an authorization now. ``by``: ``customer`` or an employee's reference. Raises AuthorizationError."""
        found = self._find(account, id)
        if found.revoked:
            return found
        at = self._append(found, "revoked", self.subject(account), {"by": by}).at
        return replace(found, revoked=at)

    def disclose(self, account: str, id: str, recipient: str, scope: str, first: date, last: date) -> Disclosure:  # noqa: A002
        """Record a hand-over, before the data goes. Raises AuthorizationError when nothing valid covers it."""
        found = self._find(account, id)
        self._refuse(found, recipient, scope, first, last)
        made = Disclosure(found.id, recipient, scope, first, last)
        at = self._append(found, "disclosed", self.subject(account), _detail(made)).at
        return replace(made, at=at)

    def of(self, account: str) -> list[Authorization]:
        """Everything this customer ever allowed, oldest first; ended and revoked ones, too."""
        return list(_authorizations(self._ledger.about(self.subject(account))).values())

    def disclosures(self, account: str) -> list[Disclosure]:
        """Every hand-over of this customer's data, oldest first."""
        return [_disclosure(row) for row in self._ledger.about(self.subject(account)) if row.event == "disclosed"]

    def export(self, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        """The rows about authorizations in this time, as a regulator gets them: no account, but its hash."""
        for row in self._ledger.all():
            if row.event in _EVENTS and since <= datetime.fromisoformat(row.at) < until:
                yield {"at": row.at, "event": row.event, "id": row.receipt, "customer": row.subject, **_told(row)}

    def due(self, on: date) -> list[Authorization]:
        """Authorizations whose recipients should have returned or destroyed the data by this day."""
        made = _authorizations([row for row in self._ledger.all() if row.event in _EVENTS])
        return [one for one in made.values() if one.destroy_by is not None and one.destroy_by <= on]

    def close(self) -> None:
        """Close the ledger's store."""
        self._ledger.close()

    def _find(self, account: str, id: str) -> Authorization:  # noqa: A002
        # By the customer first: nobody uses another's authorization by knowing its id.
        found = _authorizations(self._ledger.about(self.subject(account))).get(id)
        if found is None:
            raise AuthorizationError("this customer gave no such authorization")
        return found

    def _refuse(self, found: Authorization, recipient: str, scope: str, first: date, last: date) -> None:
        today = self._clock().astimezone(UTC).date()
        if found.revoked:
            raise AuthorizationError(f"the authorization was revoked at {found.revoked}")
        if not found.valid(today):
            raise AuthorizationError(f"the authorization holds from {found.starts} to {found.ends}")
        if recipient != found.recipient:
            raise AuthorizationError("the authorization names another recipient")
        try:
            asked, allowed = (set(read_scope(text)["FB"].split("_")) for text in (scope, found.scope))
        except ValueError as error:
            raise AuthorizationError(str(error)) from error
        if not asked <= allowed:
            raise AuthorizationError(f"the authorization does not cover FB={'_'.join(sorted(asked - allowed))}")
        if first > last or last > today:
            raise AuthorizationError("a hand-over covers days that have been, from the first to the last")
        if first < _months_before(found.starts, found.history_months):
            raise AuthorizationError(f"the authorization reaches {found.history_months} months back, not to {first}")

    def _append(
        self,
        about: Authorization,
        event: str,
        subject: str,
        detail: dict[str, Any],
        valid_until: datetime | None = None,
        language: str = "",
        notice: str = "",
    ) -> Entry:
        return self._ledger.append(
            receipt=about.id,
            at=self._clock(),
            event=event,
            method="authorization",
            subject=subject,
            detail=json.dumps(detail, sort_keys=True, ensure_ascii=False),
            valid_until=valid_until,
            language=language,
            notice=notice,
        )


_EVENTS: Final = frozenset({"authorized", "revoked", "disclosed"})


def _check(given: Authorization) -> None:
    try:
        read_scope(given.scope)
    except ValueError as error:
        raise AuthorizationError(str(error)) from error
    for name in ("recipient", "purpose", "evidence", "entered_by"):
        text = getattr(given, name)
        if not text.strip() or len(text) > _LONGEST:
            raise AuthorizationError(f"{name}: a text of at most {_LONGEST} characters")
    if given.ends < given.starts:
        raise AuthorizationError("an authorization ends after it starts")
    if not 0 <= given.history_months <= 120:
        raise AuthorizationError("history_months: 0 to 120")
    if given.destroy_by is not None and given.destroy_by < given.ends:
        raise AuthorizationError("destroy_by: not before the authorization ends")


def _months_before(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, 1)


def _detail(made: Authorization | Disclosure) -> dict[str, Any]:
    kept = asdict(made)
    for name in ("id", "revoked", "at", "authorization"):
        kept.pop(name, None)
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in kept.items()}


def _read(row: Entry) -> dict[str, Any]:
    found = json.loads(row.detail) if row.detail else {}
    return found if isinstance(found, dict) else {}


def _told(row: Entry) -> dict[str, Any]:
    """What leaves with an export: not the evidence, which may name a person. Nothing of a row that was erased."""
    return {name: value for name, value in _read(row).items() if name != "evidence"}


def _authorizations(rows: Sequence[Entry]) -> dict[str, Authorization]:
    found: dict[str, Authorization] = {}
    for row in rows:
        if row.event == "authorized" and row.receipt:
            found[row.receipt] = _authorization(row)
        elif row.event == "revoked" and row.receipt in found:
            found[row.receipt] = replace(found[row.receipt], revoked=row.at)
    return found


def _authorization(row: Entry) -> Authorization:
    said = _read(row)
    days = {name: date.fromisoformat(said[name]) for name in ("starts", "ends", "destroy_by") if said.get(name)}
    # Earlier rows had their evidence under "method", where it could not be erased.
    return Authorization(**{"evidence": row.method, **said, **days, "id": row.receipt})


def _disclosure(row: Entry) -> Disclosure:
    said = _read(row)
    days = {name: date.fromisoformat(said[name]) for name in ("first", "last")}
    return Disclosure(**{**said, **days, "authorization": row.receipt, "at": row.at})


def open_authorizations(settings: Settings, clock: Callable[[], datetime] | None = None) -> Authorizations:
    """The authorizations in the ledger of a site, for its applications and for customer service.

    Raises SettingsError when the environment holds no key for account numbers; with ``debug`` a signing key will do.
    """
    pseudonyms = Pseudonyms.from_environment(settings.secret_keys[0] if settings.debug else "")
    return Authorizations(Ledger(lambda: open_ledger_store(settings.store)), pseudonyms, clock)
