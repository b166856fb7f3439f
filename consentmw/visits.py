"""The visits of a site: which one a request is part of, and the cookie that lets it go on.

Only those are followed who chose to be measured; for all others the cookie is removed. Refuses to know
when a visit ends: that is sessions.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from .choice import CookieCodec
from .sessions import LASTS, TIERS, Session, Visiting, campaign, follow, newest

if TYPE_CHECKING:
    from .decision import Decision
    from .ruling import Ruling
    from .settings import Settings
    from .visitor import Visitor

__all__ = ["Visits"]

logger = logging.getLogger("consentmw")

_NOTHING: Final = timedelta()


class Visits:
    """Follows the visits of one site."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        cookie: Callable[[Visitor, str, timedelta], tuple[bytes, bytes]],
        values: Callable[[Visitor], list[str]],
    ) -> None:
        """``cookie`` makes the header that sets ours to a value for a time; ``values`` gives those sent."""
        #: whether visits are followed, of those who chose it
        self.follows = settings.follows_visits
        self._clock = clock
        self._cookie = cookie
        self._values = values
        self._codec = CookieCodec(Session, "visit", settings.secret_keys)
        self._mark = f"{settings.cookie_name}-visit=".encode("ascii")

    def visiting(self, visitor: Visitor, ruling: Ruling, query: bytes = b"") -> Visiting | None:
        """The visit that this request is part of, or None: its visitor did not choose to be measured."""
        if not self.follows or ruling.decision.tier not in TIERS or visitor.ahead:
            # A page that a browser fetches ahead may never be seen.
            return None
        before = ruling.session
        if before is not None and not before.lasts(int(self._clock().timestamp()), ruling.decision.receipt):
            before = None
        return Visiting(before, partial(self._followed, before, ruling, query))

    def _followed(self, before: Session | None, ruling: Ruling, query: bytes) -> Session | None:
        try:
            mark = campaign(query, "advertising" in ruling.granted) if query else ""
            return follow(before, int(self._clock().timestamp()), ruling.decision.receipt, mark)
        except Exception:
            logger.exception("a visit could not be followed")
            return None

    def goes_on(self, visitor: Visitor, visit: Visiting | None) -> tuple[tuple[bytes, bytes], ...]:
        """The header by which a page begins a visit or lets it go on, where it has to be sent."""
        session = None if visit is None else visit.session
        if visit is None or session is None or session is visit.before:
            return ()
        return (self._cookie(visitor, self._codec.write(session), LASTS),)

    def found(self, visitor: Visitor, decision: Decision) -> tuple[Session | None, tuple[tuple[bytes, bytes], ...]]:
        """The visit that the cookie names; and the header that removes it where nobody may be followed (any more)."""
        if self._mark not in visitor.cookies:
            return None, ()
        if not self.follows or decision.tier not in TIERS:
            return None, (self._cookie(visitor, "", _NOTHING),)
        return newest(self._codec.read(raw) for raw in self._values(visitor)), ()
