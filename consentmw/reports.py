"""A site's figures for some days, in sums: page views, visitors, and what they came with.

Reads counters, roll-ups and visitors a day; never a row, so nobody stands behind a figure. Counters know
every page view, roll-ups only those whose visitors allowed a row: both are said, with the share.
Refuses to know how they were counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from .events.rollups import DIMENSIONS

if TYPE_CHECKING:
    from .stores import EventStore

__all__ = ["MOST", "Figures", "figures", "lines"]

#: counters that are read at most
MOST: Final = 1_000_000
#: dimension -> what its table is called; pages are those of the routes
_NAMES: Final = {
    "pages": "Pages",
    "referrer_host": "Referring hosts, the site's own included",
    "browser": "Browsers",
    "os": "Systems",
    "device": "Devices",
    "language": "Languages",
    "region": "Regions",
}
_PAGE: Final = "page "


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of the days from ``first`` to ``last``, both included, in UTC."""

    first: date
    last: date
    #: page views by people, whatever they allowed, and by programs (bots, what was fetched ahead, the site's own)
    page_views: int
    by_programs: int
    #: page views by people that left a row
    measured: int
    #: day -> tier -> visitors; who allowed more in the course of a day counts once in each tier
    visitors: dict[date, dict[str, int]]
    #: dimension -> value -> measured page views, the most frequent first
    values: dict[str, dict[str, int]]
    #: whether there were more counters than :data:`MOST`, so that the first days are not whole
    cut: bool = False

    def said(self) -> dict[str, Any]:
        """The same for programs, in what JSON knows."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "page_views": self.page_views,
            "by_programs": self.by_programs,
            "measured": self.measured,
            "visitors": {day.isoformat(): tiers for day, tiers in self.visitors.items()},
            "values": self.values,
            "cut": self.cut,
        }


def figures(store: EventStore, first: date, last: date) -> Figures:
    """The figures of these days, both included, in UTC. Raises StoreError; ValueError when they are in no order."""
    if last < first:
        raise ValueError(f"{last} is before {first}")
    since, until = _start(first), _start(last + timedelta(days=1))
    counts = store.counts(MOST, since)
    views: Counter[tuple[bool, bool]] = Counter()
    for row in counts:
        if row["kind"] == "page" and row["hour"] < until:
            views[bool(row["bot"]), row["tier"] != "count"] += row["count"]
    values: dict[str, Counter[str]] = {}
    for dimension in DIMENSIONS:
        found: Counter[str] = Counter()
        for row in store.rollups(dimension, since, until):
            found[row["value"]] += row["count"]
        values[dimension] = found
    routes = values.pop("route")
    pages = {value.removeprefix(_PAGE): number for value, number in routes.items() if value.startswith(_PAGE)}
    visitors: dict[date, dict[str, int]] = {}
    for row in store.uniques(since, until):
        visitors.setdefault(datetime.fromtimestamp(row["day"], UTC).date(), {})[row["tier"]] = row["count"]
    return Figures(
        first,
        last,
        page_views=views[False, True] + views[False, False],
        by_programs=views[True, True] + views[True, False],
        measured=views[False, True],
        visitors=visitors,
        values={name: _ordered(pages if name == "pages" else values[name]) for name in _NAMES},
        cut=len(counts) == MOST,
    )


def lines(known: Figures, top: int) -> Iterator[str]:
    """The figures for people to read, the ``top`` most frequent values of each kind."""
    yield f"{known.first} to {known.last}, UTC"
    share = f" ({known.measured / known.page_views:.0%})" if known.page_views else ""
    yield f"Page views by people: {known.page_views:,}; by programs: {known.by_programs:,}"
    yield f"Measured, because their visitors allowed it or the region's rules do: {known.measured:,}{share}"
    if known.visitors:
        days = {day: sum(tiers.values()) for day, tiers in known.visitors.items()}
        most = max(days, key=lambda day: (days[day], day))
        average = sum(days.values()) / len(days)
        yield f"Visitors a day, of those measured: {average:,.0f} on average; most on {most}: {days[most]:,}"
    for name, title in _NAMES.items():
        found = list(known.values[name].items())
        if not found:
            continue
        yield ""
        yield title
        shown = [(_shown(name, value), number) for value, number in found[:top]]
        if rest := sum(number for _, number in found[top:]):
            shown.append(("all others", rest))
        width = max(len(value) for value, _ in shown)
        for value, number in shown:
            yield f"  {value:{width}}  {number:>9,}"


def _shown(dimension: str, value: str) -> str:
    return value or ("directly" if dimension == "referrer_host" else "unknown")


def _ordered(found: dict[str, int]) -> dict[str, int]:
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _start(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
