"""The table of rows in ClickHouse: a type for each column that the SQL stores have, and how it is made.

Refuses to know how it is filled and asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..events import EVENT_FIELDS
from .schema import contexts, events

__all__ = ["ALLOWED", "CREATE", "DATE", "READ", "ROWS", "TYPES"]

ROWS: Final = "consentmw_events"

#: columns with too many different values for a dictionary, which all others have
_VARIED: Final = frozenset({"receipt", "session", "ip", "referrer", "query", "recipient", "target"})
_KINDS: Final[Mapping[type, str]] = {str: "String", int: "Int64", float: "Float64", bool: "Bool"}
_TAKES: Final[Mapping[type, frozenset[type]]] = {
    str: frozenset({str}),
    int: frozenset({int}),
    float: frozenset({float, int}),
    bool: frozenset({bool}),
}


def _columns() -> Iterator[tuple[str, type, bool]]:
    """Name, kind and whether it may be None of each column: those that the SQL stores have."""
    known = {**{column.name: column for column in contexts.c}, **{column.name: column for column in events.c}}
    for name in EVENT_FIELDS[1:]:
        yield name, known[name].type.python_type, bool(known[name].nullable)


def _type(name: str, kind: type, optional: bool) -> str:
    said = f"Nullable({_KINDS[kind]})" if optional else _KINDS[kind]
    return f"LowCardinality({said})" if kind is str and name not in _VARIED else said


#: name -> type; a batch and the number in it are what a row is known by when it comes again
TYPES: Final[Mapping[str, str]] = {
    "batch": "String",
    "number": "UInt32",
    **{name: _type(name, kind, optional) for name, kind, optional in _columns()},
}
ALLOWED: Final = [_TAKES[kind] | ({type(None)} if optional else set()) for _, kind, optional in _columns()]
READ: Final = ", ".join(EVENT_FIELDS[1:])
#: seconds since 1970 as a date, up to the last one that there is
DATE: Final = "toDateTime(toUInt32(least(greatest({}, 0), 4294967295)), 'UTC')"
CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS {ROWS} ("
    + ", ".join(f"{name} {kind} CODEC(ZSTD)" for name, kind in TYPES.items())
    + f", hour DateTime('UTC') MATERIALIZED toStartOfHour({DATE.format('at')}) CODEC(ZSTD)"
    ", INDEX receipts SHA256(receipt) TYPE bloom_filter(0.01) GRANULARITY 1"
    ", INDEX ends expires TYPE minmax GRANULARITY 1"
    ") ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY (hour, kind, batch, number) "
    f"TTL {DATE.format('expires')} "
    # What is acknowledged is on the disk; only then may parts go that were merged into others, and at once.
    "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
    "old_parts_lifetime = 0"
)
