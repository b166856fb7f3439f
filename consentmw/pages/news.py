"""What a banner says to those who chose under another notice: what is different now, in a few sentences.

Refuses to wait for a store: what is not known yet is said in general.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..decision import Decision
from ..i18n import Texts
from ..registry import Registry
from ..versions import changes

__all__ = ["News", "news"]

#: changes that a banner names; the pages of the history name all
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class News:
    """What has changed since a visitor chose."""

    #: the day on which the version was published under which they chose, in words; "" where it is not known
    since: str = ""
    #: in a sentence each
    changes: tuple[str, ...] = ()
    #: changes beyond these
    more: int = 0


def news(registry: Registry, decision: Decision) -> News | None:
    """What to say under this decision; None where nothing has changed since the visitor chose, if they did."""
    if not decision.chosen_under:
        return None
    before = registry.since(decision.chosen_under)
    if before is None or before.at is None:
        return News()
    said = [change.text for change in changes(before.snapshot, registry.current.snapshot, decision.language)]
    day = Texts.for_language(decision.language).date(before.at.date())
    return News(day, tuple(said[:_NAMED]), len(said[_NAMED:]))
