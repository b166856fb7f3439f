"""Visits put together again from their rows: where each began and ended, how long it was seen, where it led.

Works on rows as any store gives them. Refuses to know where they are kept, and to add visits up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["Visit", "visits"]


class Visit(NamedTuple):
    """One visit, of one browser under one choice."""

    session: str
    receipt: str
    #: of the first and the last row, seconds since 1970
    began: float
    ended: float
    #: host of the page that led to it
    referrer_host: str
    #: routes of the pages, in order: the first is the entry, the last the exit
    pages: tuple[str, ...]
    #: how long its pages were seen, as far as their script told
    seconds: float
    #: where it led to: hosts with path templates, in order
    outbound: tuple[str, ...]
    downloads: tuple[str, ...]
    searches: tuple[str, ...]
    goals: tuple[str, ...]

    @property
    def entry(self) -> str:
        """Route of the first page, "" when no page was recorded."""
        return self.pages[0] if self.pages else ""

    @property
    def exit(self) -> str:
        """Route of the last page, "" when no page was recorded."""
        return self.pages[-1] if self.pages else ""


def visits(rows: Iterable[Mapping[str, Any]]) -> list[Visit]:
    """The visits among rows as ``EventStore.events`` gives them, the latest first; rows of no visit are left out."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["session"]:
            found.setdefault(row["session"], []).append(row)
    made = [_visit(sorted(own, key=lambda row: (row["at"], row["id"]))) for own in found.values()]
    return sorted(made, key=lambda visit: visit.began, reverse=True)


def _visit(rows: list[Mapping[str, Any]]) -> Visit:
    def of(*kinds: str, column: str = "target") -> tuple[str, ...]:
        return tuple(row[column] or "" for row in rows if row["kind"] in kinds)

    first = rows[0]
    return Visit(
        session=first["session"],
        receipt=first["receipt"],
        began=first["at"],
        ended=rows[-1]["at"],
        referrer_host=first["referrer_host"] or "",
        pages=of("page", column="route"),
        seconds=sum(row["duration_ms"] or 0 for row in rows if row["kind"] == "leave") / 1000,
        # A click-through leads away without a script; one to a page of the site itself has no target.
        outbound=tuple(target for target in of("outbound", "click") if target),
        downloads=of("download"),
        searches=of("search"),
        goals=of("goal"),
    )
