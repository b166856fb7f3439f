"""Counters of notices served: that a visitor was told, in which words, and nothing about who it was.

Refuses to know what a notice says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import Final, Literal

from ..decision import Decision
from ..visitor import Visitor
from . import Count

__all__ = ["count_served"]

logger = logging.getLogger("consentmw")

_HOUR: Final = 3600


def count_served(
    put: Callable[[Count], object], kind: Literal["banner", "notice"], visitor: Visitor, decision: Decision
) -> None:
    """Count that the banner stood in a page, or that the notice was read; never raises.

    The counter's reason is what was served: the notice's id and the language.
    """
    try:
        hour = int(time()) // _HOUR * _HOUR
        put(Count(hour, kind, f"({kind})", "2xx", visitor.bot, why=f"{decision.notice} {decision.language}"))
    except Exception:
        logger.exception("a %s that was served could not be counted", kind)
