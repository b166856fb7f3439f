"""A thousand random tamperings of a ledger of ten thousand rows: each is named, and no honest row is.

Ten at a time, far enough apart that each has to be found on its own. The ledger holds what a site's
does: choices, authorizations, notices, and visitors who were erased since. The tamperer has all rights
on the rows and knows how seals and hashes are made, but has neither the rows after nor the head.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final

import pytest

from consentmw.chain import ERASED, chained, new_salt, sealed
from consentmw.ledger import Entry, Ledger
from consentmw.stores import Published
from consentmw.stores.memory import MemoryStore

ROWS: Final = 10_000
ROUNDS: Final = 100
EACH: Final = 10
START: Final = datetime(2026, 11, 21, tzinfo=UTC)


class Rows(list[Entry]):
    """Rows, and the versions of the notice beside them."""

    notices: dict[str, Published]

    def copied(self) -> Rows:
        made = Rows(self)
        made.notices = dict(self.notices)
        return made


def honest() -> tuple[Rows, dict[int, Entry]]:
    """The rows, and as they were before they were erased those that were."""
    random = Random(2026)
    store = MemoryStore()
    ledger = Ledger(lambda: store)
    written: dict[int, Entry] = {}
    number = 0
    while len(store._ledger) < ROWS:
        number += 1
        at = START + timedelta(seconds=number)
        if number % 400 == 0:
            key, content = f"n{number}", json.dumps({"text": f"version {number}"})
            ledger.publish(key, at, "f1", content)
            shown = sha256(content.encode()).hexdigest()
            made = ledger.append(
                receipt=f"notice-{key}", at=at, event="notice", method="published", notice=key, shown=shown
            )
        elif number % 50 == 0:
            ledger.erase({f"r{number - random.randrange(1, 50)}"}, at=at, method="page")
            continue
        else:
            made = ledger.append(
                receipt=f"r{number}",
                at=at,
                event="given",
                method="banner:accept",
                granted=["analytics"],
                refused=["sale"],
                region="US-IA",
                gpc=number % 7 == 0,
                previous=f"r{number - 1}" if number % 3 == 0 else "",
                subject=f"s{number}" if number % 5 == 0 else "",
                detail='{"entered_by": "desk 4"}' if number % 11 == 0 else "",
            )
        written[made.seq] = made
    rows = Rows(store.all())
    rows.notices = {notice.id: notice for notice in store.published()}
    return rows, {row.seq: written[row.seq] for row in rows if is_empty(row)}


def is_empty(row: Entry) -> bool:
    return not row.salt


HONEST, BEFORE = honest()


def named(row: Entry) -> set[int]:
    """The rows that an erasure names."""
    text = json.loads(row.detail)["rows"] if row.event == ERASED else ""
    ranges = [part.partition("-") for part in text.split(",") if part]
    return {number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)}


def fits(row: Entry, *, salt: str = "") -> Entry:
    """The row with a seal and a hash that fit what it says now."""
    row = replace(row, salt=salt or row.salt)
    return chained(replace(row, sealed=sealed(row)), row.seq, row.prev_hash)


def edited(rows: Rows, at: int, random: Random) -> set[int]:
    """Any one field is another."""
    name = random.choice([field.name for field in fields(Entry) if field.name not in ("seq", "hash")])
    value: Any = getattr(rows[at], name)
    other = not value if isinstance(value, bool) else (*value, "x") if isinstance(value, tuple) else value + "x"
    changed: dict[str, Any] = {name: other}
    rows[at] = replace(rows[at], **changed)
    return {at + 1}


def hashed_anew(rows: Rows, at: int, random: Random) -> set[int]:
    """The row says something else, and its seal and hash fit."""
    rows[at] = fits(replace(rows[at], event="withdrawn", method="choices:save", receipt="x"), salt=new_salt())
    return {at + 1}


def sealed_anew(rows: Rows, at: int, random: Random) -> set[int]:
    """Another receipt under another salt, and the seal fits them."""
    other = replace(rows[at], receipt="x", salt=new_salt())
    rows[at] = replace(other, sealed=sealed(other))
    return {at + 1}


def salted_anew(rows: Rows, at: int, random: Random) -> set[int]:
    """Another salt, or none."""
    rows[at] = replace(rows[at], salt=random.choice(("", new_salt())), receipt=rows[at].receipt or "x")
    return {at + 1}


def unsealed(rows: Rows, at: int, random: Random) -> set[int]:
    """As rows were before there were seals."""
    row = replace(rows[at], sealed="", salt="")
    rows[at] = random.choice((row, replace(rows[at], sealed="")))
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


def emptied(rows: Rows, at: int, random: Random) -> set[int]:
    """As an erasure does it, and no erasure says so."""
    rows[at] = replace(rows[at], salt="", receipt="", previous="", subject="", detail="")
    return {at + 1}


def restored(rows: Rows, at: int, random: Random) -> set[int]:
    """An erased row says again whose it was, as a backup has it."""
    rows[at] = BEFORE[at + 1]
    return {at + 1}


def misnamed(rows: Rows, at: int, random: Random) -> set[int]:
    """An erasure that names another row, sealed and hashed anew."""
    other = next(row.seq for row in HONEST if row.seq > random.randrange(at - 40) and not is_empty(row))
    rows[at] = fits(replace(rows[at], detail=json.dumps({"rows": str(other)}, separators=(",", ":"))))
    return {at + 1, other}


def reworded(rows: Rows, at: int, random: Random) -> set[int]:
    """The notice that a row put in force says something else, or is gone."""
    notice = rows.notices.pop(rows[at].notice)
    if random.random() < 0.5:
        rows.notices[notice.id] = replace(notice, content=notice.content + " ")
    return {at + 1}


ANYWHERE = (edited, hashed_anew, sealed_anew, salted_anew, unsealed, removed)
INSIDE = (*ANYWHERE, swapped, repeated)


def tampered(rows: Rows, at: int, random: Random) -> set[int]:
    """One tampering that fits the row; the rows that have to be named."""
    row = HONEST[at]
    choices: tuple[Callable[[Rows, int, Random], set[int]], ...] = INSIDE if 3 <= at < ROWS - 2 else ANYWHERE
    choices = (*choices, restored, restored) if is_empty(row) else (*choices, emptied)
    if row.event == ERASED and at > 50:
        choices = (*choices, misnamed, misnamed)
    if row.event == "notice":
        choices = (*choices, reworded, reworded, reworded)
    chosen = random.choice(choices)
    wrong = chosen(rows, at, random)
    # Who breaks the only proof of an erasure makes its rows look like any that somebody emptied.
    places = (at, at + 1) if chosen is swapped else (at,)
    return wrong.union(*(named(HONEST[place]) for place in places))


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
    store._notices = rows.notices
    store.head = lambda: (HONEST[-1].seq, HONEST[-1].hash)  # type: ignore[method-assign]
    return numbers(Ledger(lambda: store).verify())


def test_an_honest_ledger_has_no_problem() -> None:
    assert len(HONEST) == ROWS
    assert verified(HONEST.copied()) == set()


def test_it_holds_every_kind_of_row() -> None:
    """Else the tamperings below would not meet them."""
    assert len(BEFORE) > 100
    assert sum(row.event == ERASED for row in HONEST) > 100
    assert sum(row.event == "notice" for row in HONEST) > 10
    assert set.union(*(named(row) for row in HONEST)) == set(BEFORE)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_tampering_is_named_and_nothing_else(seed: int) -> None:
    random = Random(seed)
    rows = HONEST.copied()
    special = [row.seq - 1 for row in HONEST if is_empty(row) or row.event == ERASED]
    notices = [row.seq - 1 for row in HONEST if row.event == "notice"]
    # The first and the last row as well, in turns; and one or two of each kind that is rare.
    places = [random.choice((0, ROWS - 1))]
    while len(places) < EACH:
        some = {1: notices, 2: special, 3: special, 4: special}.get(len(places), range(4, ROWS - 5))
        place = random.choice(some)
        if all(abs(place - other) >= 10 for other in places):
            places.append(place)
    expected: set[int] = set()
    for place in places:
        expected |= tampered(rows, place, random)
    assert verified(rows) == expected


def test_they_are_a_thousand() -> None:
    assert ROUNDS * EACH >= 1_000
