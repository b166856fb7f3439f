"""The proof of choices: rows that are only ever added, each chained to the one before it by its hash.

A row is durable when :meth:`Ledger.append` returns; only then may a choice take effect. Whoever
edits, removes or reorders a row breaks the chain, and :meth:`Ledger.verify` names where. Whoever
can rewrite all rows can rewrite the chain, too: against that, :meth:`Ledger.anchor` gives a short
text to keep elsewhere, and checkpoints.py signs it. The rows of one visitor can be erased
(:meth:`Ledger.erase`), and the chain still holds: chain.py says how.

Refuses to know a visitor: a receipt is a random text, and no address or agent is in a row.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final, TypeVar

from .chain import ERASED, as_ranges, chained, new_salt, problems, sealed
from .errors import LedgerError, StoreError
from .stores import Entry, LedgerStore, Link, Published

__all__ = ["Entry", "Ledger", "Published", "new_receipt"]

#: characters of the longest field; longer ones are a mistake, and rows are kept for years
_LONGEST: Final = 500
_LONGEST_DETAIL: Final = 4_000
#: receipts of one visitor that are followed back; each is a choice they made
_MOST_RECEIPTS: Final = 200

#: events with an end that are no choices: what was shown once is over, and nothing changes by it
_PASSING: Final = frozenset({"once"})

_T = TypeVar("_T")

_FIELDS: Final = tuple(field.name for field in fields(Entry))
_TYPED: Final[dict[str, Any]] = {"seq": 0, "granted": (), "refused": (), "gpc": False}
_EMPTY: Final = Entry(**{**dict.fromkeys(_FIELDS, ""), **_TYPED})


def new_receipt() -> str:
    """A public id for a choice: 22 characters fit for an address, 128 random bits."""
    return secrets.token_urlsafe(16)


class Ledger:
    """Appends and reads proofs. Threads may share one object, processes one store."""

    def __init__(self, open: Callable[[], LedgerStore]) -> None:  # noqa: A002
        """``open`` is called at the first use, in the process that uses it."""
        self._open = open
        self._store: LedgerStore | None = None
        self._lock = Lock()

    def _opened(self) -> LedgerStore:
        with self._lock:
            if self._store is None:
                try:
                    self._store = self._open()
                except Exception as error:
                    raise LedgerError(f"the ledger can't be opened: {error}") from error
            return self._store

    def append(
        self,
        *,
        receipt: str,
        at: datetime,
        event: str,
        method: str,
        granted: Iterable[str] = (),
        refused: Iterable[str] = (),
        regime: str = "",
        region: str = "",
        region_source: str = "",
        language: str = "",
        gpc: bool = False,
        notice: str = "",
        shown: str = "",
        fingerprint: str = "",
        valid_until: datetime | None = None,
        previous: str = "",
        subject: str = "",
        detail: str = "",
    ) -> Entry:
        """Add a row and wait until it is durable; see :class:`Entry` for the fields.

        Raises LedgerError from whatever kept it from being so: then nothing was added, and no choice may be granted.
        """

        def add(store: LedgerStore) -> Entry:
            entry = replace(
                _EMPTY,
                receipt=receipt,
                at=_time(at),
                event=event,
                method=method,
                granted=tuple(granted),
                refused=tuple(refused),
                regime=regime,
                region=region,
                region_source=region_source,
                language=language,
                gpc=gpc,
                notice=notice,
                shown=shown,
                fingerprint=fingerprint,
                valid_until=_time(valid_until) if valid_until is not None else "",
                previous=previous,
                subject=subject,
                detail=detail,
            )
            return store.append(_link(entry))

        return self._writing("the choice could not be recorded", add)

    def erase(
        self,
        receipts: Iterable[str],
        subject: str = "",
        *,
        at: datetime,
        method: str,
        keep: Collection[str] = frozenset(),
    ) -> int:
        """Empty what identifies somebody in their rows, for ever and everywhere in the store; the number of rows.

        Those are the rows of these receipts, with the choices before and after them, and all about ``subject`` (the
        pseudonym of an account), but for events in ``keep``. Receipt, previous, subject and detail are gone; what was
        chosen, when and under which words stays, as nobody's. Rows of event ``erased`` under a new number name the
        rows that were emptied, so that :meth:`verify` can tell an erasure from a tampering. Finding nothing adds no
        row, so it may be repeated. Raises LedgerError: then nothing was erased.
        """

        def record(numbers: Iterable[int]) -> list[Link]:
            row = replace(_EMPTY, receipt=new_receipt(), at=_time(at), event=ERASED, method=method)
            texts = as_ranges(numbers, _LONGEST_DETAIL - len('{"rows":""}'))
            return [_link(replace(row, detail=f'{{"rows":"{text}"}}')) for text in texts]

        # What says which rows were erased can't be erased itself, and says nothing about anybody.
        kept = {*keep, ERASED}
        return self._writing(
            "the erasure could not be recorded", lambda store: store.blank({*receipts}, subject, kept, record)
        )

    def expire(self, now: datetime) -> int:
        """Add a row of event ``expired`` for each choice whose time is over and that nothing replaced; how many.

        It says what was granted and refused until then. Each choice expires once, however many processes look;
        authorizations of usage data that ended count as choices. Raises LedgerError.
        """

        def record(ended: Entry) -> Link:
            over = replace(ended, at=_time(now), event="expired", method="clock")
            return _link(replace(over, shown="", valid_until="", previous="", detail=""))

        return self._writing(
            "what expired could not be recorded", lambda store: store.lapse(_time(now), _PASSING, record)
        )

    def publish(self, id: str, at: datetime, fingerprint: str, content: str) -> bool:  # noqa: A002
        """Keep a version of the privacy notice; False when one with its id is there, which stays as it is.

        ``content`` is JSON of any length. Raises LedgerError.
        """
        notice = Published(id, _time(at), fingerprint, content)
        return self._writing("the notice could not be kept", lambda store: store.publish(notice))

    def published(self) -> list[Published]:
        """Every version of the privacy notice, oldest first. Raises LedgerError."""
        return self._reading(lambda store: store.published())

    def entries(self, receipt: str) -> list[Entry]:
        """The rows of a receipt and of the receipts it replaced, oldest first. Raises LedgerError."""
        return self._reading(lambda store: _history(store, receipt))

    def family(self, receipt: str) -> set[str]:
        """The receipt, those it replaced and those that replaced it. Raises LedgerError."""
        return self._reading(lambda store: store.family({receipt}))

    def about(self, subject: str) -> list[Entry]:
        """The rows about an account, oldest first. Raises LedgerError."""
        return self._reading(lambda store: store.about(subject))

    def all(self) -> Iterator[Entry]:
        """Every row, oldest first, without holding all of them. Raises LedgerError."""
        try:
            yield from self._opened().all()
        except StoreError as error:
            raise LedgerError(f"the ledger can't be read: {error}") from error

    def anchor(self) -> str:
        """``number:hash`` of the last row: kept where nobody who can write the ledger can, it proves all before it."""
        seq, digest = self._reading(lambda store: store.head())
        return f"{seq}:{digest}"

    def verify(self, anchor: str = "", noted: Mapping[int, Collection[str]] | None = None) -> list[str]:
        """What is wrong, a line for each row that was edited, moved, removed, emptied or slipped in; [] if nothing is.

        With an ``anchor`` that was noted before, or with ``noted`` hashes of rows by their numbers (checkpoints.py), a
        ledger that was rewritten as a whole is found, too. Raises LedgerError when it can't be read.
        """
        seq, _, digest = anchor.partition(":")
        if anchor and not (seq.isascii() and seq.isdigit()):
            raise LedgerError("an anchor looks like 12:ab34..., as the ledger gave it")
        known = {number: {*hashes} for number, hashes in (noted or {}).items()}
        if int(seq or 0):
            known.setdefault(int(seq), set()).add(digest)
        return self._reading(lambda store: list(problems(store, known)))

    def _writing(self, failed: str, write: Callable[[LedgerStore], _T]) -> _T:
        try:
            return write(self._opened())
        except LedgerError:
            raise
        except Exception as error:
            # Whatever a store raises, the meaning here is the same: there is no proof.
            raise LedgerError(f"{failed}: {error}") from error

    def _reading(self, read: Callable[[LedgerStore], _T]) -> _T:
        store = self._opened()
        try:
            return read(store)
        except Exception as error:
            raise LedgerError(f"the ledger can't be read: {error}") from error

    def close(self) -> None:
        """Close the store, if it was opened; the next use opens it again."""
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()


def _time(at: datetime) -> str:
    if at.tzinfo is None:
        raise LedgerError("a time without a zone proves nothing")
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _link(entry: Entry) -> Link:
    """What seals this row and chains it, when its turn comes. Raises LedgerError for a row that no caller writes."""
    _check(entry)
    entry = replace(entry, salt=new_salt())
    entry = replace(entry, sealed=sealed(entry))
    return lambda seq, last: chained(entry, seq, last)


def _check(entry: Entry) -> None:
    """Refuse what no caller of ours writes. Raises LedgerError."""
    if not entry.receipt or not entry.event:
        raise LedgerError("a row needs a receipt and an event")
    for name in _FIELDS:
        value = getattr(entry, name)
        for text in value if isinstance(value, tuple) else (value,):
            most = _LONGEST_DETAIL if name == "detail" else _LONGEST
            if isinstance(text, str) and len(text) > most:
                raise LedgerError(f"{name}: at most {most} characters, not {len(text)}")


def _history(store: LedgerStore, receipt: str) -> list[Entry]:
    """The rows of a receipt and of those it replaced. Each receipt is followed once, so a ring of them ends."""
    found: dict[int, Entry] = {}
    waiting, seen = [receipt], {""}
    while waiting and len(seen) <= _MOST_RECEIPTS:
        if (current := waiting.pop()) not in seen:
            seen.add(current)
            rows = store.entries(current)
            found.update((entry.seq, entry) for entry in rows)
            waiting += [entry.previous for entry in rows]
    return [found[seq] for seq in sorted(found)]
