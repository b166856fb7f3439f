"""What opens and clicks from e-mails say about who made them: a mail provider's proxy, a scanner, or a person.

Pictures in mails are fetched by proxies of the mail provider, and links are followed by programs
that look for malware. None of them can be told for sure, so a verdict is data with its reason, and
what it judges stays counted. What is remembered to find a burst lasts seconds, in memory, and holds
no address: only a hash that nobody outside this process can make.

Refuses to know what a recipient allows, and what is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from . import Count

__all__ = ["HONEYPOT", "Bursts", "Opened", "mail_verdict", "openings"]

#: verdict about whoever followed the link that no person sees
HONEYPOT: Final = "scanner: honeypot"
_BURST: Final = "scanner: burst"

#: words in the agents of mail providers' image proxies; as of 2026-11, seen in requests, not promised by anybody
_PROXIES: Final = {"googleimageproxy": "proxy: google", "yahoomailproxy": "proxy: yahoo"}
#: all that Apple's Mail Privacy Protection says of itself; it fetches pictures when a mail arrives, opened or not
_APPLE: Final = "Mozilla/5.0"

#: this many different links of one mail within these seconds: a person reads between two clicks
_LINKS: Final = 3
_WITHIN: Final = 5.0
#: seconds that whoever made a burst is taken for a program
_MARKED: Final = 60.0
_MOST: Final = 4096


def mail_verdict(kind: str, method: str, agent: str, bot: str) -> str:
    """Who opened or clicked, as far as one request tells: a proxy, a scanner, what ``bot`` says already, or "".

    ``kind``: pixel or click; ``bot``: the verdict that any request would get.
    """
    if kind == "pixel":
        if agent.strip() == _APPLE:
            return "proxy: apple"
        low = agent.lower()
        for word, verdict in _PROXIES.items():
            if word in low:
                return verdict
    # A mail program asks for a picture and a browser for a page; who asks for headers only is looking around.
    return bot or ("scanner: head" if method == "HEAD" else "")


@dataclass(slots=True)
class _Seen:
    """What somebody followed of one mail."""

    first: float
    links: set[str] = field(default_factory=set)
    #: counters that took them for a person, until a burst shows otherwise
    counted: list[Count] = field(default_factory=list)
    marked_until: float = 0.0
    verdict: str = ""


class Bursts:
    """Finds programs that follow all links of a mail within seconds. For one process, and bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Hashable, _Seen] = {}

    def followed(self, who: Hashable, link: str) -> tuple[str, list[Count]]:
        """The verdict about somebody who follows this link, "" for a person; and what was wrongly counted before.

        ``who``: the recipient of the mail, or what tells one reader of a mail to many from another.
        """
        now = self._clock()
        seen = self._of(who, now)
        seen.links.add(link)
        if now >= seen.marked_until and len(seen.links) < _LINKS:
            return "", []
        return self._mark(seen, seen.verdict or _BURST, now)

    def trapped(self, who: Hashable) -> list[Count]:
        """Somebody followed the link that no person sees: what was wrongly counted before."""
        now = self._clock()
        return self._mark(self._of(who, now), HONEYPOT, now)[1]

    def counted(self, who: Hashable, count: Count) -> None:
        """Note the counter that took somebody for a person, so that a burst can take it back."""
        if (seen := self._seen.get(who)) is not None and len(seen.counted) < _LINKS:
            seen.counted.append(count)

    def _of(self, who: Hashable, now: float) -> _Seen:
        seen = self._seen.get(who)
        if seen is None or (now - seen.first > _WITHIN and now >= seen.marked_until):
            if len(self._seen) >= _MOST:
                self._seen.clear()
            seen = self._seen[who] = _Seen(now)
        return seen

    def _mark(self, seen: _Seen, verdict: str, now: float) -> tuple[str, list[Count]]:
        seen.marked_until = now + _MARKED
        seen.verdict = verdict
        wrong = [count._replace(kind="scanned", bot=verdict) for count in seen.counted]
        seen.counted.clear()
        return verdict, wrong


class Opened(NamedTuple):
    """What one recipient, who allowed to note it, did with the mail of one campaign."""

    campaign: str
    recipient: str
    #: when it was opened first, seconds since 1970
    first: float
    #: how often it was opened after that
    again: int
    #: whether nothing but a proxy that fetches ahead opened it, so that perhaps nobody did
    ahead: bool


def openings(rows: Iterable[Mapping[str, Any]]) -> list[Opened]:
    """First openings and later ones, told apart; from rows as a store gives them, oldest first opening first.

    What a scanner opened is no opening. Rows about nobody are left out: per campaign there are only counters.
    """
    found: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for row in rows:
        if row["kind"] == "pixel" and row["recipient"] and not _by_program(row["bot"] or ""):
            key = (row["campaign"] or "", row["recipient"])
            found.setdefault(key, []).append((row["at"], row["bot"] == "proxy: apple"))
    opened = [
        Opened(*key, min(at for at, _ in times), len(times) - 1, all(ahead for _, ahead in times))
        for key, times in found.items()
    ]
    return sorted(opened, key=lambda one: (one.first, one.campaign, one.recipient))


def _by_program(bot: str) -> bool:
    return bool(bot) and not bot.startswith("proxy: ")
