"""Counters about hosts that a page or a report names: bounded, because anybody can make such names up.

Knows what a host may look like in a counter, and how many different counters an hour may open.
Refuses to know where a host was met.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Literal

from . import Count

__all__ = ["OTHER", "Hourly", "Met", "host_word"]

logger = logging.getLogger("consentmw")

#: stands for everything that is one too many, too long or no host
OTHER: Final = "(other)"

_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63}){0,10}|\[[0-9a-f:.]{2,45}\]")
_LONGEST: Final = 100
_MOST: Final = 500
#: the operator's word, done
_DONE: Final = {"withhold": "withheld", "report": "reported", "allow": "allowed"}


def host_word(host: str) -> str:
    """The host as a counter may hold it: itself, or "(other)" when it can't be one."""
    return host if len(host) <= _LONGEST and _HOST.fullmatch(host) else OTHER


class Hourly:
    """The different counters of one hour."""

    def __init__(self, most: int = _MOST) -> None:
        """``most``: different ones an hour; what comes then is to be counted as "(other)"."""
        self._most = most
        self._hour = 0
        self._keys: set[Hashable] = set()

    def place(self, hour: int, key: Hashable) -> Literal["new", "known", "over"]:
        """Whether a counter is the first of its kind in this hour, was there before, or is one too many."""
        if hour != self._hour:
            self._hour = hour
            self._keys = set()
        if key in self._keys:
            return "known"
        if len(self._keys) >= self._most:
            return "over"
        self._keys.add(key)
        return "new"


class Met:
    """The counters of kind ``unknown``: which pages named hosts that nobody else did."""

    def __init__(self) -> None:
        self._keys = Hourly()

    def counters(self, page: Count, seen: Mapping[tuple[str, str], str]) -> Iterator[Count]:
        """One counter for each kind and host that a page named; each new one of an hour is also logged.

        ``page``: the counter of the page view; ``seen``: kind and host, and the operator's word about them.
        """
        for (kind, name), word in seen.items():
            host = host_word(name)
            place = self._keys.place(page.hour, (page.route, kind, host, word))
            if place == "over":
                yield page._replace(kind="unknown", route=OTHER, campaign="", tier="count", why=OTHER)
                continue
            done = _DONE[word]
            if place == "new":
                level = logging.INFO if word == "allow" else logging.WARNING
                logger.log(level, "a page names an unknown host: %s %s on %s was %s", kind, host, page.route, done)
            yield page._replace(kind="unknown", campaign="", tier="count", why=f"{kind} {host} {done}")
