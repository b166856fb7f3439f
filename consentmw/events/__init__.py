"""What one request may leave behind: a counter always, and a row as wide as the visitor's tier allows.

Facts go in raw and stay in memory; only what :func:`minimise` lets through can reach a queue, a disk
or a report. The table :data:`TIER_FIELDS` is the whole promise, and the tests read the same table.

A row has two parts. What is alike for all of a visitor's requests under one choice is its
:class:`Context`, worked out once and kept once by a store; the :class:`Event` is what differs.

Refuses to know how a decision was made, or where a row is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from ..decision import TIERS, Decision
from ..regions import DECLINED
from ..visitor import Visitor
from .agents import read_agent
from .ids import uuid7
from .paths import template
from .reading import LANGUAGES, kept_query, referring, truncate

__all__ = [
    "EVENT_FIELDS",
    "TIER_FIELDS",
    "Context",
    "Count",
    "Event",
    "Facts",
    "Policy",
    "complete",
    "minimise",
    "template",
    "truncate",
    "uuid7",
]

#: the mail kinds: what happens in a mail client, where there is no page and usually no cookie
_MAIL: Final = frozenset({"pixel", "click"})
_HOUR: Final = 3600
_DAY: Final = 86_400
_CLASSES: Final = tuple(f"{number}xx" for number in range(10))
_COARSE: Final = frozenset({"route", "status", "bot", "referrer_host", "browser", "os", "device", "language", "region"})
_VISIT: Final = _COARSE | {"ip", "agent", "accept_language", "referrer", "query", "duration_ms", "method", "host"}
_PERSON: Final = _VISIT | {"campaign", "link", "recipient"}

#: read from the agent by :func:`complete`
_FROM_AGENT: Final = frozenset({"browser", "os", "device", "agent"})
#: tier -> the dimensions a row of that tier may hold (design 3); a ``count`` tier has no row at all
TIER_FIELDS: Final[Mapping[str, frozenset[str]]] = dict(
    zip(TIERS, (frozenset[str](), _COARSE, _VISIT, _PERSON), strict=True)
)
#: the tiers that have rows
_ROWS: Final = frozenset(TIERS[1:])


@dataclass(slots=True)  # not frozen: that would double the cost of making one, which every request pays
class Facts:
    """What one request told us, raw. Never stored, never logged: :func:`minimise` is its only reader."""

    #: page, request, pixel, click or choice
    kind: str
    #: seconds since 1970
    at: float
    method: str
    #: a template such as ``/accounts/{id}``, from the framework or from :func:`template`; never a raw path
    route: str
    status: int
    #: asked only for what the tier allows, so that nothing else is even worked out
    visitor: Visitor
    duration_ms: float = 0
    query: bytes = b""
    #: the language the page was written in
    language: str = ""
    campaign: str = ""
    link: str = ""
    #: the subject reference in an e-mail token; "" when the token names nobody
    recipient: str = ""


class Count(NamedTuple):
    """The key of a counter: nothing in it belongs to one visitor. A tuple, because it is hashed on every request."""

    #: start of the hour, in UTC, seconds since 1970
    hour: int
    kind: str
    route: str
    #: ``2xx`` and so on
    status: str
    bot: str = ""
    #: for pixels and click-throughs only, where a signature bounds the values
    campaign: str = ""
    #: the tier that was recorded, so that reports can say what share of the traffic they cover
    tier: str = "count"
    #: why nothing more than this counter was kept; "" when a row was written
    why: str = ""


class Context(NamedTuple):
    """What the rows of one visitor under one choice have alike. A dimension that the tier forbids is None."""

    tier: str
    receipt: str
    notice: str
    bot: str | None = None
    browser: str | None = None
    os: str | None = None
    #: desktop, mobile, tablet, bot or other
    device: str | None = None
    language: str | None = None
    region: str | None = None
    ip: str | None = None
    #: browser and system with their versions
    agent: str | None = None
    accept_language: str | None = None
    host: str | None = None
    #: the agent as sent, until :func:`complete` has read it; no store has a column for it
    raw: str = ""

    def __repr__(self) -> str:
        """Without the agent as sent, which belongs in no log."""
        return f"Context({', '.join(f'{name}={value!r}' for name, value in zip(_CONTEXT, self, strict=False))})"


class Event(NamedTuple):
    """What one request adds to its context: the row. A dimension that the tier forbids is None."""

    #: seconds since 1970; the start of the hour in the coarse tier, so that no row can be matched with a server log
    at: float
    kind: str
    #: when the row has to be gone, seconds since 1970
    expires: int
    context: Context
    route: str | None = None
    status: int | None = None
    referrer_host: str | None = None
    #: host and path template of the referring page
    referrer: str | None = None
    query: str | None = None
    duration_ms: int | None = None
    method: str | None = None
    campaign: str | None = None
    link: str | None = None
    recipient: str | None = None
    #: the visitor's mark among those of the day (uniques.py), which goes into a table of its own
    mark: int | None = None
    #: what the mark is made of, until the writer has made it; no store has a column for it
    raw: str = ""

    def __repr__(self) -> str:
        """Without what the mark is made of, which belongs in no log."""
        return f"Event({', '.join(f'{name}={value!r}' for name, value in zip(_OWN, self, strict=False))})"


#: the columns of a row that are its own, those of its context, and every column, in order
_OWN: Final = Event._fields[:-2]
_CONTEXT: Final = Context._fields[:-1]
EVENT_FIELDS: Final = ("id", *(name for name in _OWN if name != "context"), *_CONTEXT)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site chose to keep inside the limits of a tier."""

    #: of the address, in the visit and person tiers: nothing, the network (/24, /48) or all of it
    ip: Literal["none", "truncated", "full"] = "truncated"
    #: query keys whose values may be kept; everything else in a query is dropped
    query_keys: frozenset[str] = frozenset()
    #: days a row is kept, by tier; 390 are the 13 months that the CNIL allows for audience measurement
    retention_days: Mapping[str, int] = field(default_factory=lambda: {"coarse": 390, "visit": 390, "person": 390})


def minimise(facts: Facts, decision: Decision, policy: Policy) -> tuple[Count, Event | None]:
    """The one place that decides what is recorded: a counter, and a row when the tier allows one.

    A pixel or click-through that names a recipient is an observation of a person: without the person
    tier only the campaign's counter remains. An unknown tier counts as the lowest.
    """
    hour = int(facts.at) // _HOUR * _HOUR
    tier = decision.tier
    visitor = facts.visitor
    if tier not in _ROWS or (facts.recipient and tier != "person"):
        why = decision.why("email_measurement" if facts.recipient else "analytics")
        return _count(facts, hour, visitor.bot, "count", why), None
    bot = visitor.bot
    coarse = tier == "coarse"
    context = _alike(facts, decision, policy.ip, bot)
    host, page = referring(visitor.referrer)
    expires = int(facts.at) + policy.retention_days[tier] * _DAY
    # Who a mark tells apart: people on pages. In a mail client the address is a proxy's.
    counted = not bot and facts.kind not in _MAIL
    if coarse:
        raw = f"{visitor.address}\0{visitor.agent[:512]}\0{visitor.host}" if counted else ""
        event = Event(float(hour), facts.kind, expires, context, facts.route, facts.status, host, raw=raw)
    else:
        query = kept_query(facts.query, policy.query_keys)
        named: tuple[str | None, str | None, str | None] = (None, None, None)
        if tier == "person":
            named = (facts.campaign, facts.link, facts.recipient)
        event = Event(
            facts.at,
            facts.kind,
            expires,
            context,
            facts.route,
            facts.status,
            host,
            page,
            query,
            int(facts.duration_ms),
            facts.method[:10],
            *named,
            None,
            decision.receipt if counted else "",
        )
    return _count(facts, hour, bot, tier, ""), event


def _alike(facts: Facts, decision: Decision, ip: str, bot: str) -> Context:
    visitor = facts.visitor
    coarse = decision.tier == "coarse"
    return _context(
        decision.tier,
        decision.receipt,
        decision.notice,
        bot,
        facts.language,
        decision.region,
        visitor.address if not coarse and ip != "none" else "",
        ip,
        "" if coarse else visitor.accept_language[:201],
        "" if coarse else visitor.host,
        visitor.agent[:512],
    )


def _count(facts: Facts, hour: int, bot: str, tier: str, why: str) -> Count:
    campaign = facts.campaign if facts.kind in _MAIL else ""
    return Count(hour, facts.kind, facts.route, _CLASSES[facts.status // 100 % 10], bot, campaign, tier, why)


@lru_cache(maxsize=4096)
def _context(
    tier: str,
    receipt: str,
    notice: str,
    bot: str,
    language: str,
    region: str,
    address: str,
    ip: str,
    languages: str,
    host: str,
    agent: str,
) -> Context:
    """The context of a visitor's rows, as far as the tier allows."""
    base = language.partition("-")[0].lower()
    known = {
        "bot": bot,
        "language": base if base.isascii() and base.isalpha() and len(base) <= 8 else "",
        "region": "" if region == DECLINED else region,
        "ip": None if ip == "none" else truncate(address) if ip == "truncated" else truncate(address, 32, 128),
        "accept_language": languages if LANGUAGES.fullmatch(languages) else "",
        "host": host,
    }
    allowed = TIER_FIELDS[tier]
    found: dict[str, Any] = {name: value for name, value in known.items() if name in allowed}
    return Context(tier, receipt, notice, raw=agent, **found)


@lru_cache(maxsize=4096)
def complete(context: Context) -> Context:
    """The context with the dimensions of its agent that the tier allows, and without the agent as sent.

    Slow for an agent that was not read before: for the writer thread only.
    """
    if not context.raw:
        return context
    known = read_agent(context.raw)
    return context._replace(raw="", **{name: known[name] for name in _FROM_AGENT & TIER_FIELDS[context.tier]})
