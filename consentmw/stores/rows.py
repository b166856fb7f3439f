"""What a row is to every store: its values in the order of the columns, and what no store takes.

Refuses to know where the values go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from ..events import Context, Count, Event
from ..events.rollups import Rollup
from . import Entry, Published, Told

__all__ = [
    "BLANKED",
    "CONTEXT_FIELDS",
    "COUNT_FIELDS",
    "ENTRY_FIELDS",
    "NOTICE_FIELDS",
    "OWN_FIELDS",
    "ROLLUP_FIELDS",
    "joined",
    "mark",
    "pack",
    "storable",
    "unpack",
]

COUNT_FIELDS: Final = Count._fields
ROLLUP_FIELDS: Final = Rollup._fields
ENTRY_FIELDS: Final = tuple(field.name for field in fields(Entry))
NOTICE_FIELDS: Final = tuple(field.name for field in fields(Published))
#: what an erasure empties in a row of the ledger
BLANKED: Final = ("salt", "receipt", "previous", "subject", "detail")

#: the columns of a row but for its number, which the store gives
OWN_FIELDS: Final = Event._fields[:-1]
#: the columns of a context but for its number
CONTEXT_FIELDS: Final = Context._fields[:-1]

_KINDS: Final = {str, int, float, bool, type(None)}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def storable(rows: Iterable[Sequence[Any]]) -> None:
    """Refuse what one of the databases would refuse, so that no row passes here and fails there. Raises ValueError.

    That is: numbers beyond 64 bits, texts that are no UTF-8, and the character NUL, which PostgreSQL takes in no text.
    """
    # All at once, and what is alike once: value by value this would cost more than the writing.
    try:
        values = set(chain.from_iterable(rows))
    except TypeError as error:
        raise ValueError(f"something in a row can't be stored: {error}") from error
    kinds = set(map(type, values))
    if not kinds <= _KINDS:
        raise ValueError(f"a {next(iter(kinds - _KINDS)).__name__} of a row can't be stored")
    text = "".join([value for value in values if value.__class__ is str])
    if "\0" in text or not (text.isascii() or _SURROGATE.search(text) is None):
        raise ValueError("a str of a row can't be stored")
    numbers = [value for value in values if value.__class__ is int]
    if numbers and not -(2**63) <= min(numbers) <= max(numbers) < 2**63:
        raise ValueError("an int of a row can't be stored")


def joined(
    counts: Mapping[Count, int], events: Sequence[Event], told: Told
) -> tuple[Mapping[Count, int], Sequence[Event]]:
    """Counters and rows together with those that pages' scripts told."""
    if not told:
        return counts, events
    added, rows = dict(counts), list(events)
    for count, event in chain.from_iterable(told.values()):
        added[count] = added.get(count, 0) + 1
        if event is not None:
            rows.append(event)
    return added, rows


@lru_cache(maxsize=4096)
def mark(receipt: str) -> str:
    """What stands for an erased receipt: enough to know it again, and nothing that leads back to it."""
    return sha256(receipt.encode("utf-8", "surrogatepass")).hexdigest()


def pack(entry: Entry) -> dict[str, Any]:
    """The columns of a ledger row: lists become JSON. Raises ValueError for what can't be stored."""
    values = {name: getattr(entry, name) for name in ENTRY_FIELDS}
    values.update({name: json.dumps(value) for name, value in values.items() if isinstance(value, tuple)})
    storable((tuple(values.values()),))
    return values


def unpack(row: Sequence[Any]) -> Entry:
    """The ledger row that these columns are; what :func:`pack` never wrote stays as it is, for verify() to find."""
    values = dict(zip(ENTRY_FIELDS, row, strict=True))
    for name in ("granted", "refused"):
        values[name] = _keys(values[name])
    # Anything but 0 and 1 was written by somebody else.
    values["gpc"] = bool(values["gpc"]) if values["gpc"] in (0, 1) else values["gpc"]
    return Entry(**values)


def _keys(text: Any) -> tuple[Any, ...]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    # Text that we did not write stays visible and fails the check of the chain.
    return tuple(found) if isinstance(found, list) else (text,)
