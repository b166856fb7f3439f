"""Roll-ups: counters by hour of what rows say, one dimension at a time, so that a report reads few numbers.

Knows which dimensions have few values, and how many different ones an hour may have: whatever a visitor
can make up is bounded. Refuses to know a request: what is counted comes from rows as minimised, so that
nothing above a row's tier gets in. Programs (rows with a bot verdict) are not counted here. What visitors
came with is counted by page views; routes, by everything that happened there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from . import Context
from .hosts import OTHER

__all__ = ["DIMENSIONS", "Rollup", "Seen", "bounded", "corrected", "rolled"]

#: dimension -> different values an hour; what comes then is counted as "(other)". All of them stand in every row,
#: from the coarse tier on. A route is counted by kind: ``page /outages``.
DIMENSIONS: Final[Mapping[str, int]] = MappingProxyType(
    {"browser": 100, "os": 100, "device": 10, "language": 50, "region": 300, "referrer_host": 500, "route": 2_000}
)
_IN_ORDER: Final = ("route", "referrer_host", "browser", "os", "device", "language", "region")
_NOTHING: Final = (None,) * 6
_HOUR: Final = 3600

#: what is counted of rows that are alike: at (seconds since 1970), kind, route, referring host, context, how many
Seen: TypeAlias = tuple[float, str, str | None, str | None, Context, int]
#: the values that a dimension has in an hour
Values: TypeAlias = Mapping[tuple[int, str], Iterable[str]]


class Rollup(NamedTuple):
    """The key of a roll-up."""

    #: start of the hour, in UTC, seconds since 1970
    hour: int
    dimension: str
    value: str
    tier: str


def rolled(rows: Iterable[Seen]) -> dict[Rollup, int]:
    """What these rows add. Their contexts have to be complete; a dimension that a row lacks adds nothing."""
    said: Counter[tuple[Any, ...]] = Counter()
    for at, kind, route, host, one, number in rows:
        if not one.bot:
            start = int(at) // _HOUR * _HOUR
            about: tuple[str | None, ...] = _NOTHING
            if kind == "page":
                about = (host, one.browser, one.os, one.device, one.language, one.region)
            said[start, one.tier, None if route is None else f"{kind} {route}", *about] += number
    found: Counter[Rollup] = Counter()
    # What is alike is counted first: visitors differ, what their browsers are does much less.
    for (start, tier, *values), number in said.items():
        for dimension, value in zip(_IN_ORDER, values, strict=True):
            if value is not None:
                found[Rollup(start, dimension, value, tier)] += number
    return dict(found)


def bounded(added: Mapping[Rollup, int], known: Values) -> tuple[dict[Rollup, int], dict[tuple[int, str], set[str]]]:
    """The same numbers, values that are too many for their hour as "(other)"; and what values these hours have then."""
    values: dict[tuple[int, str], set[str]] = {}
    found: Counter[Rollup] = Counter()
    for key, number in added.items():
        place = key.hour, key.dimension
        if place not in values:
            values[place] = {OTHER, *known.get(place, ())}
        there = values[place]
        if key.value not in there:
            if len(there) <= DIMENSIONS[key.dimension]:
                there.add(key.value)
            else:
                key = key._replace(value=OTHER)
        found[key] += number
    return dict(found), values


def corrected(rows: Sequence[Seen], there: Mapping[Rollup, int]) -> dict[Rollup, int]:
    """What is left of the roll-ups ``there`` when these rows never were: never below zero.

    A row may have been counted as "(other)": what its own value does not hold is taken from there.
    """
    left: dict[Rollup, int] = {}
    for key, number in rolled(rows).items():
        other = key._replace(value=OTHER)
        for place in (key, other):
            held = left.get(place, there.get(place, 0))
            taken = min(held, number)
            if taken:
                left[place] = held - taken
                number -= taken
    return left
