"""How rows of the ledger are sealed and chained, and what is wrong with a chain.

What identifies somebody in a row (receipt, the one before it, the account, the detail) is sealed: a
salted hash of it stands in the row, and the row's own hash covers that. So the values can be emptied
when somebody asks for it, and the chain still proves everything else. Each erasure is a row, too, and
names the rows that it emptied; an empty row that no erasure names was emptied by somebody else. Versions of
the notice stand beside the rows, and a row of event ``notice`` holds the hash of each.

Refuses to know where rows are kept, and when one is appended.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Final, TypeAlias

from .stores import Entry, LedgerStore

__all__ = ["ERASED", "as_ranges", "chained", "new_salt", "problems", "sealed"]

#: event of a row that names those that were emptied
ERASED: Final = "erased"
#: event of a row whose ``shown`` is the SHA-256 of the version of the notice that it names
_NOTICE: Final = "notice"
_SEALED: Final = ("salt", "receipt", "previous", "subject", "detail")
_HASHED: Final = tuple(sorted(f.name for f in fields(Entry) if f.name != "hash"))
#: fields that the first ledgers did not have: their rows keep the hashes they were given
_LATER: Final = frozenset({"subject", "detail", "salt", "sealed"})
#: rows by their numbers, as an erasure names them: 3-5,9
_ROWS: Final = "[1-9][0-9]{0,17}(?:-[1-9][0-9]{0,17})?"
_NAMED: Final = re.compile(f"{_ROWS}(?>(?:,{_ROWS})*)")

_Range: TypeAlias = tuple[int, int]


def new_salt() -> str:
    """128 random bits: without them nobody can try receipts or accounts until one fits a seal."""
    return secrets.token_hex(16)


def sealed(entry: Entry) -> str:
    """SHA-256 over the sealed values, as a JSON list, so that no two lists of values give one text."""
    return _sha256([getattr(entry, name) for name in _SEALED])


def chained(entry: Entry, seq: int, last: str) -> Entry:
    """The row with its number, chained to the row before it by that row's hash."""
    entry = replace(entry, seq=seq, prev_hash=last)
    return replace(entry, hash=_digest(entry))


def as_ranges(numbers: Iterable[int], longest: int) -> Iterator[str]:
    """Numbers in order as texts like ``3-5,9``, each of at most ``longest`` characters."""
    text = ""
    for first, last in _joined((number, number) for number in numbers):
        part = str(first) if first == last else f"{first}-{last}"
        if text and len(text) + 1 + len(part) > longest:
            yield text
            text = ""
        text = f"{text},{part}" if text else part
    if text:
        yield text


def problems(store: LedgerStore, noted: Mapping[int, Collection[str]]) -> Iterator[str]:
    """A line for each row that is not as it was appended, or was emptied by nobody's erasure.

    ``noted``: hashes of rows as they were written down elsewhere, by number.
    """
    # The head first: rows that are appended while we read come after it and are no problem.
    head, digest = store.head()
    known = {number: set(hashes) for number, hashes in noted.items()}
    if head:
        known.setdefault(head, set()).add(digest)
    seq, last, named, good = 0, "", False, 0
    emptied, notices = _Emptied(), dict[str, Entry]()
    for entry in store.all():
        if entry.seq != seq + 1:
            yield _rows(seq + 1, entry.seq - 1, "removed")
            emptied.excused.append((seq + 1, entry.seq - 1))
        genuine = _genuine(entry)
        as_noted = known.get(entry.seq, {entry.hash}) == {entry.hash}
        if not genuine:
            yield f"row {entry.seq}: edited or moved; it does not match its hash"
        elif not as_noted:
            yield f"row {entry.seq}: not the row that was noted; it, or one after row {good}, was rewritten"
        elif entry.seq == seq + 1 and entry.prev_hash != last and not named:
            # This row is whole, so it is the one before it that is not what it was.
            yield f"row {max(seq, 1)}: edited, and given a new hash; row {entry.seq} was chained to another"
        good = entry.seq if genuine and as_noted and entry.seq in noted else good
        emptied.look(entry, whole=genuine and as_noted)
        if entry.event == _NOTICE and genuine and as_noted:
            notices[entry.notice] = entry
        seq, last, named = entry.seq, entry.hash, not (genuine and as_noted)
    if (missing := max(known, default=0)) > seq:
        yield _rows(seq + 1, missing, "removed")
    if (end := store.head()[0]) < seq:
        yield f"rows {end + 1} to {seq}: not appended by the ledger"
    yield from emptied.problems()
    yield from _changed(store, notices)


def _changed(store: LedgerStore, notices: Mapping[str, Entry]) -> Iterator[str]:
    """A line for each row whose version of the notice is gone or says something else."""
    # Whatever somebody put there in place of a text: it is not what was published.
    texts = {notice.id: str(notice.content).encode("utf-8", "replace") for notice in store.published() if notices}
    kept = {id: sha256(text).hexdigest() for id, text in texts.items()}  # noqa: A001
    for id, row in notices.items():  # noqa: A001
        if row.shown and kept.get(id) != row.shown:
            yield f"row {row.seq}: the notice {id[:40]} {'is gone' if id not in kept else 'is not as it was published'}"


def _genuine(entry: Entry) -> bool:
    """Whether a row is as it was appended, or emptied since."""
    if _digest(entry) != entry.hash:
        return False
    return not entry.sealed or _is_empty(entry) or sealed(entry) == entry.sealed


def _is_empty(entry: Entry) -> bool:
    return bool(entry.sealed) and not any(getattr(entry, name) for name in _SEALED)


def _digest(entry: Entry) -> str:
    """SHA-256 over the other fields as a JSON object; in place of what is sealed, the seal.

    Fields that came later count if they say something.
    """
    left_out = _SEALED if entry.sealed else ()
    values = {name: getattr(entry, name) for name in _HASHED if name not in left_out}
    return _sha256({name: value for name, value in values.items() if value or name not in _LATER})


def _sha256(content: object) -> str:
    """Of JSON: keys sorted, no spaces, ASCII."""
    try:
        return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
    except TypeError:
        # A value of a type that we never write: whatever its hash says, it is not ours.
        return ""


@dataclass(slots=True)
class _Emptied:
    """Which rows are empty, and which ones erasures name."""

    empty: list[_Range] = field(default_factory=list)
    named: list[_Range] = field(default_factory=list)
    #: rows that are reported already
    excused: list[_Range] = field(default_factory=list)

    def look(self, entry: Entry, *, whole: bool) -> None:
        """Take note of a row. Only an erasure that is itself as it was appended counts."""
        if not whole:
            self.excused.append((entry.seq, entry.seq))
        elif _is_empty(entry):
            self.empty.append((entry.seq, entry.seq))
        elif entry.event == ERASED:
            self.named += [(first, min(last, entry.seq - 1)) for first, last in _read(entry.detail)]

    def problems(self) -> Iterator[str]:
        """A line for each row where the two do not fit."""
        empty, named, excused = (_joined(ranges) for ranges in (self.empty, self.named, self.excused))
        for first, last in _without(empty, named):
            yield _rows(first, last, f"blanked, and no erasure names {'it' if first == last else 'them'}")
        for first, last in _without(named, _joined([*empty, *excused])):
            yield _rows(first, last, "named by an erasure, and not blanked")


def _read(detail: str) -> list[_Range]:
    """The rows that an erasure names; none when it says something that we never write."""
    try:
        said = json.loads(detail)
        text = said["rows"]
        whole = isinstance(text, str) and _NAMED.fullmatch(text)
    except (ValueError, TypeError, LookupError, RecursionError):
        whole = None
    if not whole:
        return []
    pairs = (part.partition("-") for part in text.split(","))
    return [(int(first), int(last or first)) for first, _, last in pairs]


def _joined(ranges: Iterable[_Range]) -> list[_Range]:
    """The same numbers in order, in as few ranges as can be."""
    found: list[_Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        elif first <= last:
            found.append((first, last))
    return found


def _without(ranges: list[_Range], others: list[_Range]) -> Iterator[_Range]:
    """The numbers of these ranges that are in none of the others; both as ``_joined`` gives them."""
    place = 0
    for first, last in ranges:
        while place < len(others) and others[place][1] < first:
            place += 1
        at = place
        while at < len(others) and others[at][0] <= last:
            if others[at][0] > first:
                yield first, others[at][0] - 1
            first = others[at][1] + 1
            at += 1
        if first <= last:
            yield first, last


def _rows(first: int, last: int, what: str) -> str:
    return f"row {first}: {what}" if first == last else f"rows {first} to {last}: {what}"
