"""A thousand random tamperings of a ledger of ten thousand rows: each is named, and no honest row is.

Ten at a time, far enough apart that each has to be found on its own. The tamperer has all rights
on the rows and knows how hashes are made, but has neither the rows after nor the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import pytest

from consentmw.ledger import Entry, Ledger
from consentmw.stores.memory import MemoryStore

ROWS: Final = 10_000
ROUNDS: Final = 100
EACH: Final = 10
START: Final = datetime(2026, 11, 21, tzinfo=UTC)

Rows = list[Entry]


def honest() -> Rows:
    store = MemoryStore()
    ledger = Ledger(lambda: store)
    for number in range(ROWS):
        ledger.append(
            receipt=f"r{number}",
            at=START + timedelta(seconds=number),
            event="given",
            method="banner:accept",
            granted=["analytics"],
            refused=["sale"],
            region="US-IA",
            gpc=number % 7 == 0,
        )
    return list(store.all())


HONEST = honest()


def edited(rows: Rows, at: int, random: Random) -> set[int]:
    """Any one field is another."""
    name = random.choice([field.name for field in fields(Entry) if field.name not in ("seq", "hash")])
    value: Any = getattr(rows[at], name)
    other = not value if isinstance(value, bool) else (*value, "x") if isinstance(value, tuple) else value + "x"
    changed: dict[str, Any] = {name: other}
    rows[at] = replace(rows[at], **changed)
    return {at + 1}


def hashed_anew(rows: Rows, at: int, random: Random) -> set[int]:
    """The row says something else, and its hash fits."""
    store = MemoryStore()
    old = rows[at]
    made = Ledger(lambda: store).append(
        receipt=old.receipt, at=datetime.fromisoformat(old.at), event="withdrawn", method=old.method
    )
    link: dict[str, Any] = {"seq": old.seq, "prev_hash": old.prev_hash}
    rows[at] = _rehash(replace(made, **link))
    return {at + 1}


def removed(rows: Rows, at: int, random: Random) -> set[int]:
    """A row is gone."""
    rows[at] = None  # type: ignore[call-overload]
    return {at + 1}


def swapped(rows: Rows, at: int, random: Random) -> set[int]:
    """Two rows changed places."""
    one, other = rows[at], rows[at + 1]
    rows[at], rows[at + 1] = replace(other, seq=one.seq), replace(one, seq=other.seq)
    return {at + 1, at + 2}


def repeated(rows: Rows, at: int, random: Random) -> set[int]:
    """A row stands in another's place."""
    rows[at] = replace(rows[at - 3], seq=rows[at].seq)
    return {at + 1}


def _rehash(entry: Entry) -> Entry:
    """With the hash that the ledger would give it, taken from the ledger itself."""
    store = MemoryStore()
    found: list[Entry] = []

    def link(make: Callable[[int, str], Entry]) -> Entry:
        found.append(make(entry.seq, entry.prev_hash))
        return found[0]

    store.append = link  # type: ignore[method-assign,assignment]
    kept = {f.name: getattr(entry, f.name) for f in fields(Entry) if f.name not in ("seq", "prev_hash", "hash")}
    kept |= {"at": datetime.fromisoformat(entry.at), "valid_until": None}
    return Ledger(lambda: store).append(**kept)


TAMPERINGS = (edited, hashed_anew, removed, swapped, repeated)


def numbers(problems: list[str]) -> set[int]:
    found: set[int] = set()
    for problem in problems:
        match = re.match(r"rows? (\d+)(?: to (\d+))?:", problem)
        assert match, problem
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def verified(rows: Rows) -> set[int]:
    store = MemoryStore()
    store._ledger = [row for row in rows if row is not None]
    store.head = lambda: (HONEST[-1].seq, HONEST[-1].hash)  # type: ignore[method-assign]
    return numbers(Ledger(lambda: store).verify())


def test_an_honest_ledger_has_no_problem() -> None:
    assert len(HONEST) == ROWS
    assert verified(list(HONEST)) == set()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_tampering_is_named_and_nothing_else(seed: int) -> None:
    random = Random(seed)
    rows = list(HONEST)
    # The first and the last row as well, in turns.
    places = [place * 20 + 5 for place in random.sample(range(ROWS // 20 - 1), EACH - 1)]
    places.append(random.choice((0, ROWS - 1)))
    expected: set[int] = set()
    for place in places:
        tamper = random.choice(TAMPERINGS if 3 <= place < ROWS - 2 else TAMPERINGS[:3])
        expected |= tamper(rows, place, random)
    assert verified(rows) == expected


def test_they_are_a_thousand() -> None:
    assert ROUNDS * EACH >= 1_000
