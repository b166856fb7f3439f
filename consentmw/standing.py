"""What of a choice holds now: what it granted lives one time, what it refused another and longer one.

A grant ends when it expires or when purposes and services are no longer those that were shown. A
refusal rests: nobody is asked again before their rest is over, and what they refused stays refused
until they choose again, since a no does not lapse because a site changed its notice (Cal. Civ. Code
1798.135(c)(4): twelve months; CNIL recommendation 2020-092 and the Digital Omnibus, COM(2025) 837,
art. 88a: six). Pure: time comes in as a value. Refuses to know purposes' verdicts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .choice import Choice

__all__ = ["Standing", "stand"]

#: how far the clocks of a site's machines may differ
_CLOCK_SKEW: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a choice is in force."""

    choice: Choice | None
    #: why its grants don't count: ``no choice``, ``expired``, ``notice changed``; "" when they do
    stale: str
    #: whether its refusals are in force although its grants are not
    rests: bool
    #: when this changes, or None
    until: datetime | None

    @property
    def in_force(self) -> Choice | None:
        """The choice, if any of it is in force."""
        return self.choice if self.rests or not self.stale else None

    def refused(self, key: str) -> bool:
        """Whether this purpose was refused, however long ago; one that was not asked about was not granted."""
        return self.choice is not None and key not in self.choice.granted and key not in self.choice.silent

    def says(self, key: str) -> bool | None:
        """Whether the choice in force grants or refuses this purpose; None when it says nothing about it."""
        choice = self.choice
        if choice is None or key in choice.silent:
            return None
        if not self.stale:
            return key in choice.granted
        return False if self.rests and key not in choice.granted else None


def stand(
    choice: Choice | None,
    *,
    now: datetime,
    fingerprint: str,
    valid_for: timedelta,
    rest: timedelta,
    enough: Collection[str] = (),
) -> Standing:
    """What of a choice holds.

    ``fingerprint`` of the purposes and services in force; ``valid_for``: how long grants live; ``rest``: how long
    refusals do at least. ``enough``: purposes whose refusal is all that there is to ask about, because everything
    else runs by the regime; none where everything waits for an answer.
    """
    if choice is None:
        return Standing(None, "no choice", False, None)
    age = now - choice.at
    # A choice from the future was dated by a clock that was wrong; taken at its word it might never end.
    if age <= -_CLOCK_SKEW:
        return Standing(choice, "expired", False, None)
    ends = choice.at + valid_for
    stale = "expired" if age >= valid_for else "notice changed" if choice.fingerprint != fingerprint else ""
    refusal = choice.granted.isdisjoint(enough) if enough else not choice.granted
    if not refusal or age >= rest:
        return Standing(choice, stale, False, None if stale else ends)
    until = choice.at + rest
    if not choice.granted and not choice.silent:
        # There is no grant in it that could expire, or that would not hold for what a new notice says.
        return Standing(choice, "", False, until if stale else max(ends, until))
    return Standing(choice, stale, bool(stale), until if stale else ends)
