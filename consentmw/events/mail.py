"""What opens and clicks from e-mails say about who made them: a mail provider's proxy, a scanner, or a person.

Pictures in mails are fetched by proxies of the mail provider, and links are followed by programs
that look for malware. None of them can be told for sure, so a verdict is data with its reason, and
what it judges stays counted. What is remembered to find a burst lasts seconds, in memory, and holds
no address: only a hash that nobody outside this process can make.

Refuses to know what a recipient allows, and what is answered.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from . import Count

__all__ = ["HONEYPOT", "Bursts", "Campaign", "Clicked", "Opened", "campaigns", "clicks", "mail_verdict", "openings"]

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
    if kind == "pixel" and (proxy := _proxy(agent)):
        return proxy
    # A mail program asks for a picture and a browser for a page; who asks for headers only is looking around.
    return bot or ("scanner: head" if method == "HEAD" else "")


@lru_cache(maxsize=1024)
def _proxy(agent: str) -> str:
    if agent.strip() == _APPLE:
        return "proxy: apple"
    low = agent.lower()
    return next((verdict for word, verdict in _PROXIES.items() if word in low), "")


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


class Clicked(NamedTuple):
    """How one recipient, who allowed to note it, followed one link in the mail of one campaign."""

    campaign: str
    recipient: str
    link: str
    #: when first, seconds since 1970
    first: float
    #: how often after that
    again: int


def clicks(rows: Iterable[Mapping[str, Any]]) -> list[Clicked]:
    """What people followed, first and later times told apart; from rows in any order, rows about nobody left out.

    A scanner's first clicks stand in rows as a person's, since nobody could know better at the time. They are left
    out here, also where the scanner's requests went to several processes, none of which saw a burst.
    """
    found: dict[tuple[str, str], list[tuple[float, str, str]]] = {}
    for row in rows:
        if row["kind"] == "click" and row["recipient"]:
            key = (row["campaign"] or "", row["recipient"])
            found.setdefault(key, []).append((row["at"], row["link"] or "", row["bot"] or ""))
    clicked = []
    for key, followed in found.items():
        times: dict[str, list[float]] = {}
        for at, link in _by_people(sorted(followed)):
            times.setdefault(link, []).append(at)
        clicked += [Clicked(*key, link, min(at), len(at) - 1) for link, at in times.items()]
    return sorted(clicked, key=lambda one: (one.first, one.campaign, one.recipient, one.link))


def _by_people(followed: Iterable[tuple[float, str, str]]) -> list[tuple[float, str]]:
    """Those of one reader's clicks (time, link, verdict), in order, that are no part of a burst; as in Bursts."""
    kept: list[tuple[float, str]] = []
    window: list[tuple[float, str]] = []
    links: set[str] = set()
    first = marked_until = float("-inf")
    for at, link, bot in followed:
        if at - first > _WITHIN and at >= marked_until:
            kept += window
            window, links, first = [], set(), at
        if not bot:
            window.append((at, link))
        if not bot or bot.startswith("scanner: "):
            links.add(link)
        if at < marked_until or len(links) >= _LINKS or bot in (_BURST, HONEYPOT):
            window, marked_until = [], at + _MARKED
    return kept + window


class Campaign(NamedTuple):
    """What became of the mails of one campaign."""

    name: str
    #: verdict -> opens and clicks of everybody, "" for people; what a burst showed later is a scanner's
    opens: Mapping[str, int]
    clicks: Mapping[str, int]
    #: what is known of recipients who allowed to note it
    opened: list[Opened]
    clicked: list[Clicked]


def campaigns(counts: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]]) -> list[Campaign]:
    """The figures of each campaign by name, from counters and rows as a store gives them, in any order."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in counts:
        kind, bot, number = row["kind"], row["bot"], row["count"]
        if kind in ("pixel", "click", "scanned"):
            sums = found.setdefault((row["campaign"], "pixel" if kind == "pixel" else "click"), Counter())
            sums[bot] += number
            if kind == "scanned":
                # It was counted as a person's before the burst showed.
                sums[""] -= number
    rows = [row for row in rows if row["kind"] in ("pixel", "click") and row["recipient"]]
    opened, clicked = openings(rows), clicks(rows)
    names = {name for name, _ in found} | {one.campaign for one in opened} | {one.campaign for one in clicked}
    return [
        Campaign(
            name,
            +found.get((name, "pixel"), Counter()),
            +found.get((name, "click"), Counter()),
            [one for one in opened if one.campaign == name],
            [one for one in clicked if one.campaign == name],
        )
        for name in sorted(names)
    ]


def _by_program(bot: str) -> bool:
    return bool(bot) and not bot.startswith("proxy: ")
