"""Visitors of a day, marked: what a mark is made of is left behind here, before a batch goes anywhere.

Remembers the salts of days that are not closed, since the store may be away. Refuses to know what a mark
is made of, and what a store does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ..events import MAIL
from ..events.uniques import KEPT, Mark, day_of, mark_of
from .batches import Row

if TYPE_CHECKING:
    from ..stores import EventStore

__all__ = ["Marking"]

#: seconds between two looks for days that have to be closed, and until the next when one failed
_CLOSE_EVERY: Final = 3600.0
_AGAIN: Final = 60.0
_DAY: Final = 86_400


class Marking:
    """Marks visitors; for one thread."""

    def __init__(
        self,
        ask: Callable[[Callable[[EventStore], Any]], Any],
        clock: Callable[[], float],
        complain: Callable[[Exception], None],
    ) -> None:
        """``ask`` asks the store or raises; ``clock``: seconds since 1970; ``complain`` tells who runs the site."""
        self._ask = ask
        self._clock = clock
        self._complain = complain
        self._salts: dict[int, str] = {}
        self._close_at = 0.0

    def marks(self, rows: Iterable[Row], *, asks: bool) -> tuple[Mark, ...]:
        """The visitors of these rows; none for a day that is over, or whose salt is not at hand.

        ``asks``: whether the store may be asked for a salt. Never raises.
        """
        # People on pages: in a mail client the address is a proxy's. By identity, because a context is long.
        met = {
            (event.at // _DAY, id(event.context)): event
            for _, event in rows
            if event is not None and event.kind not in MAIL
        }
        made: set[Mark] = set()
        for event in met.values():
            raw = event.context.raw
            if raw is None or not raw.who:
                continue
            day = day_of(event.at)
            salt = self._salt(day, asks=asks)
            # Once is enough: each question to a store that is away may take seconds.
            asks = asks and salt is not None
            if salt:
                made.add(Mark(day, event.context.tier, mark_of(salt, raw.who), event.context.receipt))
        return tuple(sorted(made))

    def _salt(self, day: int, *, asks: bool) -> str | None:
        """The salt of a day, "" when the day is closed, None when there is no asking for it."""
        if day + KEPT <= self._clock():
            return ""
        if day not in self._salts and asks:
            try:
                self._salts[day] = self._ask(lambda store: store.salt(day))
            except Exception as error:
                # Whatever it is: a visitor less in a figure must not cost a row.
                self._complain(error)
        return self._salts.get(day)

    def close_days(self) -> None:
        """Now and then: have the store count the days that are over, and forget their salts. Raises StoreError."""
        now = self._clock()
        if now >= self._close_at:
            # Set first: should it fail, the next attempt is in a minute and not at every batch.
            self._close_at = now + _AGAIN
            self._salts = {day: salt for day, salt in self._salts.items() if day + KEPT > now}
            self._ask(lambda store: store.close_days(int(now)))
            self._close_at = now + _CLOSE_EVERY
