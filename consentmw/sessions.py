"""Visits: which page views of one browser belong together, and the cookie that says so.

A visit ends after 30 minutes without a page, with another choice, and where another campaign leads to
the site. Its id is random, says nothing about anybody, and is set only for a visitor who chose to be
measured. Refuses to know who that is (decision.py) and what is recorded of a visit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2s
from secrets import token_urlsafe
from typing import Final

from .events.reading import queried

__all__ = ["LASTS", "TIERS", "Session", "Visiting", "campaign", "follow", "newest"]

#: how long a visit lasts without a page; what analytics tools agree on
LASTS: Final = timedelta(minutes=30)
#: the tiers whose rows may name a visit
TIERS: Final = frozenset({"visit", "person"})
#: seconds after which a page writes the cookie anew: not every page has to, and a visit is at most this much shorter
_REFRESH: Final = 60
#: seconds that a visit may last altogether, so that a page which loads itself again and again makes no lasting id
_LONGEST: Final = 86_400
#: seconds that the clocks of a site's machines may differ
_SKEW: Final = 300

_PACKED: Final = re.compile(
    r"([A-Za-z0-9_-]{16})~([0-9a-f]{1,9})~([0-9a-f]{1,9})~([0-9a-f]{12}|)~([A-Za-z0-9_-]{8,40})"
)
#: query keys by which Google, Meta, Microsoft, TikTok, X, LinkedIn, Snapchat and Pinterest know a click again
_CLICKS: Final = frozenset(
    {"gclid", "dclid", "wbraid", "gbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "ScCid", "epik"}
)
_CAMPAIGNS: Final = frozenset({"utm_source", "utm_campaign"})


@dataclass(frozen=True, slots=True)
class Session:
    """One visit, as its cookie says it."""

    id: str
    #: when it began, and when its cookie was last written: seconds since 1970
    began: int
    seen: int
    #: mark of the campaign that led to it, or ""
    campaign: str
    #: receipt of the choice that allows it
    receipt: str

    def pack(self) -> str:
        return "~".join((self.id, format(self.began, "x"), format(self.seen, "x"), self.campaign, self.receipt))

    @classmethod
    def unpack(cls, text: str) -> Session | None:
        found = _PACKED.fullmatch(text)
        if found is None:
            return None
        id_, began, seen, mark, receipt = found.groups()
        return cls(id_, int(began, 16), int(seen, 16), mark, receipt)

    def lasts(self, now: int, receipt: str) -> bool:
        """Whether it still goes on, under the choice that allows it."""
        return (
            self.receipt == receipt
            and -_SKEW <= now - self.seen < LASTS.total_seconds()
            and now - self.began < _LONGEST
        )


class Visiting:
    """The visit that one request is part of. A new one begins only when somebody asks for it."""

    __slots__ = ("_follow", "_session", "before")

    def __init__(self, before: Session | None, follow: Callable[[], Session | None]) -> None:
        """``before``: the visit that goes on, if there is one; ``follow`` gives the one of this request."""
        self.before = before
        self._follow = follow
        self._session: Session | None = None

    @property
    def session(self) -> Session | None:
        """The visit; where it is another object than ``before``, its cookie has to be set. None when that failed."""
        if self._session is None:
            self._session = self._follow()
        return self._session

    @property
    def known(self) -> str:
        """Id of the visit, if one goes on or somebody asked for it; else ""."""
        session = self._session or self.before
        return "" if session is None else session.id


def newest(found: Iterable[Session | None]) -> Session | None:
    """The one seen last: other paths and domains may have set the cookie, too."""
    return max((session for session in found if session is not None), key=lambda s: s.seen, default=None)


def follow(
    before: Session | None, now: int, receipt: str, mark: str, new_id: Callable[[], str] = lambda: token_urlsafe(12)
) -> Session:
    """The visit that a page belongs to: ``before`` itself while its cookie need not be written, else another object.

    ``mark``: of the campaign that led to this page, "" for none: then the visit's own stays.
    """
    if before is None or not before.lasts(now, receipt) or mark not in ("", before.campaign):
        return Session(new_id(), now, now, mark, receipt)
    return before if now - before.seen < _REFRESH else replace(before, seen=now)


def campaign(query: bytes, advertising: bool) -> str:
    """A short mark of the campaign that a page's query names, or "".

    ``advertising``: whether the value of a click identifier may tell two clicks apart; else only its name counts.
    """
    if b"utm_" not in query and not any(key.encode() in query for key in _CLICKS):
        return ""
    pairs = sorted((k, v if advertising or k not in _CLICKS else "") for k, v in queried(query, _CAMPAIGNS | _CLICKS))
    if not pairs:
        return ""
    return blake2s(repr(pairs).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
