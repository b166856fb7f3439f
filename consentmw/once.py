"""Show once: the one service that a visitor let run on one page for one load, and what its cookie says.

As narrow as the words on the button: one service, one page, one minute, and only while the choice
that was in force then still is. Refuses to know which services may be asked for in this way
(decision.py) and how a page is served (site.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2s
from typing import Final

__all__ = ["LASTS", "Once", "place"]

#: how long the page may take to be asked for; a browser follows the redirect at once
LASTS: Final = timedelta(seconds=60)

_PACKED: Final = re.compile(r"([a-z][a-z0-9_]{0,31})~([0-9a-f]{1,9})~([0-9a-f]{24})~([A-Za-z0-9_-]{0,40})")


def place(path: str, query: bytes) -> str:
    """A short name for a page of the site, by its decoded path and its query as sent."""
    return blake2s(path.encode("utf-8", "surrogatepass") + b"?" + query, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Once:
    """Leave for one service on one page; it lasts for :data:`LASTS` and ends with the first page that uses it."""

    #: catalogue key
    service: str
    #: when it was given, in UTC, to the second
    at: datetime
    #: the page, as :func:`place` names it
    place: str
    #: receipt of the choice in force at that time, or ""
    receipt: str

    def holds(self, now: datetime, where: str, receipt: str) -> bool:
        """Whether it counts for this page now: a choice made since then is the visitor's newer word."""
        # The clocks of a site's machines differ a little, so a moment ahead is no forgery.
        return abs(now - self.at) < LASTS and self.place == where and self.receipt == receipt

    def pack(self) -> str:
        return "~".join((self.service, format(int(self.at.timestamp()), "x"), self.place, self.receipt))

    @classmethod
    def unpack(cls, text: str) -> Once | None:
        found = _PACKED.fullmatch(text)
        if found is None:
            return None
        service, at, where, receipt = found.groups()
        return cls(service, datetime.fromtimestamp(int(at, 16), UTC), where, receipt)
