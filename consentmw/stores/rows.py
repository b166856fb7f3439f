"""What a row is to every store: its values in the order of the columns, and what no store takes.

Refuses to know where the values go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final

from ..events import EVENT_FIELDS, Count
from . import Entry, Published

__all__ = [
    "BLANKED",
    "COUNT_FIELDS",
    "ENTRY_FIELDS",
    "NOTICE_FIELDS",
    "event_values",
    "mark",
    "pack",
    "storable",
    "unpack",
]

COUNT_FIELDS: Final = Count._fields
ENTRY_FIELDS: Final = tuple(field.name for field in fields(Entry))
NOTICE_FIELDS: Final = tuple(field.name for field in fields(Published))
#: what an erasure empties in a row of the ledger
BLANKED: Final = ("salt", "receipt", "previous", "subject", "detail")

#: the values of an event's columns
event_values: Final = attrgetter(*EVENT_FIELDS)


def storable(rows: Iterable[Sequence[Any]]) -> None:
    """Refuse what one of the databases would refuse, so that no row passes here and fails there. Raises ValueError.

    That is: numbers beyond 64 bits, texts that are no UTF-8, and the character NUL, which PostgreSQL takes in no text.
    """
    for row in rows:
        for value in row:
            kind = value.__class__
            if kind is str:
                fits = "\0" not in value and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))
            elif kind is int:
                fits = -(2**63) <= value < 2**63
            else:
                fits = value is None or kind is float or kind is bool
            if not fits:
                raise ValueError(f"a {kind.__name__} of a row can't be stored")


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
