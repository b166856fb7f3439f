"""Goals: what a site wants its visitors to reach, told by the application or by its page.

Knows which names there are; anything else is refused, so that counters stay few. Refuses to know what a
row of one visitor may hold: that is decided in events/.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from time import time
from types import NoneType
from typing import Final

from .decision import Decision
from .events import Count, Event, Facts, Policy, minimise
from .visitor import Visitor

__all__ = ["Goals"]

logger = logging.getLogger("consentmw")

#: larger amounts are no sum that anybody pays
_MOST: Final = 1e12


class Goals:
    """The goals of one site."""

    def __init__(self, names: Collection[str], policy: Policy, put: Callable[[Count, Event | None], object]) -> None:
        """``names``: those that count; ``put`` takes a counter and a row."""
        self._names = frozenset(names)
        self._policy = policy
        self._put = put

    def knows(self, name: object, value: object) -> bool:
        """Whether this is a goal of the site, with an amount that is one or with none."""
        if not isinstance(name, str) or name not in self._names:
            return False
        if isinstance(value, bool) or not isinstance(value, (int, float, NoneType)):
            return False
        # What is not finite is in no such range.
        return value is None or abs(value) < _MOST

    def reach(self, visitor: Visitor, decision: Decision, session: str, name: str, value: float | None) -> None:
        """Count a goal that a visitor reached, with a row when their tier allows one.

        Raises ValueError for a name that the setting ``goals`` does not have, and for what is no number: a mistake
        should show where it is made, whoever visits.
        """
        if not self.knows(name, value):
            known = ", ".join(sorted(self._names)) or "none"
            raise ValueError(f"one of the goals in the settings ({known}), and a number or None")
        try:
            amount = None if value is None else float(value)
            facts = Facts(
                "goal", time(), "", name, 200, visitor, language=decision.language, session=session,
                target=name, value=amount,
            )  # fmt: skip
            self._put(*minimise(facts, decision, self._policy))
        except Exception:
            logger.exception("a goal could not be recorded")
