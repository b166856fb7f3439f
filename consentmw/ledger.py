"""The proof of choices: rows that are only ever added, each chained to the one before it by its hash.

A row is durable when :meth:`Ledger.append` returns; only then may a choice take effect. Whoever
edits, removes or reorders a row breaks the chain, and :meth:`Ledger.verify` names where. Whoever
can rewrite all rows can rewrite the chain, too: against that, :meth:`Ledger.anchor` gives a short
text to keep elsewhere.

Refuses to know a visitor: a receipt is a random text, and no address or agent is in a row.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Final, TypeVar

from .errors import LedgerError, StoreError
from .stores import Entry, LedgerStore

__all__ = ["Entry", "Ledger", "new_receipt"]

#: characters of the longest field; longer ones are a mistake, and rows are kept for years
_LONGEST: Final = 500
_LONGEST_DETAIL: Final = 4_000
#: receipts of one visitor that are followed back; each is a choice they made
_MOST_RECEIPTS: Final = 200

#: fields that the first ledgers did not have: their rows keep the hashes they were given
_LATER: Final = frozenset({"subject", "detail"})

_T = TypeVar("_T")

_HASHED: Final = tuple(sorted(field.name for field in fields(Entry) if field.name != "hash"))


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
        try:
            entry = Entry(
                seq=0,
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
                prev_hash="",
                hash="",
            )
            _check(entry)
            return self._opened().append(lambda seq, last: _chained(entry, seq, last))
        except LedgerError:
            raise
        except Exception as error:
            # Whatever a store raises, the meaning here is the same: there is no proof.
            raise LedgerError(f"the choice could not be recorded: {error}") from error

    def entries(self, receipt: str) -> list[Entry]:
        """The rows of a receipt and of the receipts it replaced, oldest first. Raises LedgerError."""
        return self._reading(lambda store: _history(store, receipt))

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

    def verify(self, anchor: str = "") -> list[str]:
        """What is wrong, a line for each row that was edited, moved, removed or slipped in; [] when nothing is.

        With an ``anchor`` that was noted before, a ledger that was rewritten as a whole is found, too.
        Raises LedgerError when it can't be read.
        """
        seq, _, digest = anchor.partition(":")
        if anchor and not (seq.isascii() and seq.isdigit()):
            raise LedgerError("an anchor looks like 12:ab34..., as the ledger gave it")
        noted = {int(seq): digest} if int(seq or 0) else {}
        return self._reading(lambda store: list(_problems(store, noted)))

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


def _check(entry: Entry) -> None:
    """Refuse what no caller of ours writes. Raises LedgerError."""
    if not entry.receipt or not entry.event:
        raise LedgerError("a row needs a receipt and an event")
    for name in _HASHED:
        value = getattr(entry, name)
        for text in value if isinstance(value, tuple) else (value,):
            most = _LONGEST_DETAIL if name == "detail" else _LONGEST
            if isinstance(text, str) and len(text) > most:
                raise LedgerError(f"{name}: at most {most} characters, not {len(text)}")


def _chained(entry: Entry, seq: int, last: str) -> Entry:
    entry = replace(entry, seq=seq, prev_hash=last)
    return replace(entry, hash=_digest(entry))


def _digest(entry: Entry) -> str:
    """SHA-256 over every other field as JSON: keys sorted, no spaces, ASCII; later fields if they say something."""
    content = {name: value for name in _HASHED if (value := getattr(entry, name)) or name not in _LATER}
    try:
        return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
    except TypeError:
        # A value of a type that we never write: whatever its hash says, it is not ours.
        return ""


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


def _problems(store: LedgerStore, noted: dict[int, str]) -> Iterator[str]:
    """A line for each row that is not as it was appended."""
    # The head first: rows that are appended while we read come after it and are no problem.
    head, digest = store.head()
    noted = {head: digest, **noted} if head else noted
    seq, last, named = 0, "", False
    for entry in store.all():
        if entry.seq != seq + 1:
            yield _removed(seq + 1, entry.seq - 1)
        genuine = _digest(entry) == entry.hash and noted.get(entry.seq, entry.hash) == entry.hash
        if not genuine:
            yield f"row {entry.seq}: edited or moved; it does not match its hash"
        elif entry.seq == seq + 1 and entry.prev_hash != last and not named:
            # This row is whole, so it is the one before it that is not what it was.
            yield f"row {max(seq, 1)}: edited, and given a new hash; row {entry.seq} was chained to another"
        seq, last, named = entry.seq, entry.hash, not genuine
    if (missing := max(noted, default=0)) > seq:
        yield _removed(seq + 1, missing)
    if (end := store.head()[0]) < seq:
        yield f"rows {end + 1} to {seq}: not appended by the ledger"


def _removed(first: int, last: int) -> str:
    return f"row {first}: removed" if first == last else f"rows {first} to {last}: removed"
