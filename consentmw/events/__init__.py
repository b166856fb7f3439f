"""What one request may leave behind: a counter always, and a row as wide as the visitor's tier allows.

Facts go in raw and stay in memory; only what :func:`minimise` lets through can reach a queue, a disk
or a report. The table :data:`TIER_FIELDS` is the whole promise, and the tests read the same table.

Refuses to know how a decision was made, or where a row is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from random import getrandbits
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from ..decision import TIERS, Decision
from ..regions import DECLINED
from ..visitor import Visitor
from .agents import read_agent
from .paths import template

__all__ = [
    "EVENT_FIELDS",
    "TIER_FIELDS",
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
#: read from the agent by :func:`complete`
_FROM_AGENT: Final = frozenset({"browser", "os", "device", "agent"})

_COARSE: Final = frozenset({"route", "status", "bot", "referrer_host", "browser", "os", "device", "language", "region"})
_VISIT: Final = _COARSE | {"ip", "agent", "accept_language", "referrer", "query", "duration_ms", "method", "host"}
_PERSON: Final = _VISIT | {"campaign", "link", "recipient"}

#: tier -> the dimensions a row of that tier may hold (design 3); a ``count`` tier has no row at all
TIER_FIELDS: Final[Mapping[str, frozenset[str]]] = dict(
    zip(TIERS, (frozenset[str](), _COARSE, _VISIT, _PERSON), strict=True)
)


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


@dataclass(slots=True)
class Event:
    """One row. A dimension that the tier forbids is None."""

    #: UUIDv7 (RFC 9562, 5.7): replays of a row are recognised by it
    id: str
    #: seconds since 1970; the start of the hour in the coarse tier, so that no row can be matched with a server log
    at: float
    kind: str
    tier: str
    receipt: str
    notice: str
    #: when the row has to be gone, seconds since 1970
    expires: int
    route: str | None = None
    status: int | None = None
    bot: str | None = None
    referrer_host: str | None = None
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
    #: host and path template of the referring page
    referrer: str | None = None
    query: str | None = None
    duration_ms: int | None = None
    method: str | None = None
    host: str | None = None
    campaign: str | None = None
    link: str | None = None
    recipient: str | None = None
    #: the raw agent between request and writer thread; no store has a column for it
    _agent: str = field(default="", repr=False, compare=False)


#: every column of a row, in order
EVENT_FIELDS: Final = tuple(f.name for f in fields(Event) if not f.name.startswith("_"))


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
    reads = _READS.get(tier)
    if not reads or (facts.recipient and tier != "person"):
        why = decision.why("email_measurement" if facts.recipient else "analytics")
        return _count(facts, hour, facts.visitor.bot, "count", why), None
    at = float(hour) if tier == "coarse" else facts.at
    visitor = facts.visitor
    bot = visitor.bot
    asked = tier != "coarse" and policy.ip != "none"
    event = Event(
        uuid7(at),
        at,
        facts.kind,
        tier,
        # A choice in force need not be about measurement, and a receipt would tie such rows together.
        decision.receipt if tier != "coarse" else "",
        decision.notice,
        int(facts.at) + policy.retention_days[tier] * _DAY,
        **_standing(
            tier,
            bot,
            facts.language,
            decision.region,
            visitor.address if asked else "",
            policy.ip,
            visitor.accept_language[:201],
            visitor.host,
            visitor.agent[:512],
        ),
        **{name: read(facts, policy) for name, read in reads},
    )
    return _count(facts, hour, bot, tier, ""), event


def _count(facts: Facts, hour: int, bot: str, tier: str, why: str) -> Count:
    campaign = facts.campaign if facts.kind in _MAIL else ""
    return Count(hour, facts.kind, facts.route, _CLASSES[facts.status // 100 % 10], bot, campaign, tier, why)


@lru_cache(maxsize=4096)
def _standing(
    tier: str, bot: str, language: str, region: str, address: str, ip: str, languages: str, host: str, agent: str
) -> dict[str, Any]:
    """Those dimensions of a row that are the same for every request of a visitor, as far as the tier allows."""
    base = language.partition("-")[0].lower()
    known = {
        "bot": bot,
        "language": base if base.isascii() and base.isalpha() and len(base) <= 8 else "",
        "region": "" if region == DECLINED else region,
        "ip": None if ip == "none" else truncate(address) if ip == "truncated" else truncate(address, 32, 128),
        "accept_language": languages if _LANGUAGES.fullmatch(languages) else "",
        "host": host,
    }
    allowed = TIER_FIELDS[tier]
    found: dict[str, Any] = {name: value for name, value in known.items() if name in allowed}
    return {**found, "_agent": agent} if allowed & _FROM_AGENT else found


def uuid7(at: float) -> str:
    """A time-ordered unique id (RFC 9562, 5.7): 48 bits of milliseconds, 74 random bits.

    It names a row and guards nothing, so the generator need not be a secret one; Python seeds it anew after a
    fork, so that two workers of one parent do not repeat each other.
    """
    time, noise = f"{int(at * 1000) & 0xFFFF_FFFF_FFFF:012x}", getrandbits(74)
    rest = f"{noise >> 62:03x}{noise & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000:016x}"
    return f"{time[:8]}-{time[8:]}-7{rest[:3]}-{rest[3:7]}-{rest[7:]}"


# -- addresses ----------------------------------------------------------------------------------


def truncate(ip: str, v4: int = 24, v6: int = 48) -> str:
    """The network of an address: its first ``v4`` or ``v6`` bits, the rest zero; "" for what is no address.

    An IPv4 address written as IPv6 is treated as IPv4, and a zone (``%eth0``) is dropped.
    """
    ip = ip.partition("%")[0]
    try:
        family, packed = (AF_INET6, inet_pton(AF_INET6, ip)) if ":" in ip else (AF_INET, inet_pton(AF_INET, ip))
    except (OSError, ValueError):
        return ""
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        family, packed = AF_INET, packed[12:]
    spare = len(packed) * 8 - (v4 if family == AF_INET else v6)
    return inet_ntop(family, (int.from_bytes(packed, "big") >> spare << spare).to_bytes(len(packed), "big"))


# -- what a request says about itself -----------------------------------------------------------

_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}")
#: a long number or an address: what mailers like to put behind a campaign parameter
_NAMES_SOMEONE: Final = re.compile(r"\d{6}|@")
_LANGUAGES: Final = re.compile(r"[A-Za-z0-9,;=.* -]{1,200}")


@lru_cache(maxsize=1024)
def _referrer(url: str) -> tuple[str, str]:
    """Host, and host with path template, of a referrer; ("", "") for anything that is not an http(s) URL."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return "", ""
    authority, _, path = rest.partition("#")[0].partition("?")[0].partition("/")
    host = authority.rpartition("@")[2].partition(":")[0].lower()
    # The site's own pages are referrers too, and their paths may hold account numbers.
    return (host, host + template(unquote(path))) if _HOST.fullmatch(host) else ("", "")


def _query(facts: Facts, policy: Policy) -> str:
    if not policy.query_keys or not facts.query:
        return ""
    text = facts.query[:4096].decode("latin-1")
    # Most queries hold none of them, and parsing costs as much as everything else here.
    if not any(key in text for key in policy.query_keys):
        return ""
    try:
        pairs = parse_qsl(text, max_num_fields=100)
    except ValueError:
        return ""
    kept = [
        (key, "{x}" if _NAMES_SOMEONE.search(value) else value[:200])
        for key, value in pairs
        if key in policy.query_keys
    ]
    # Encoded again, so that no control character or broken UTF-8 gets into a column.
    return urlencode(kept, safe="{}")[:1000]


#: how each dimension of a single request is read; those of the visitor are in :func:`_standing`
_READ: Final[Mapping[str, Callable[[Facts, Policy], Any]]] = {
    "route": lambda facts, _: facts.route,
    "status": lambda facts, _: facts.status,
    "referrer_host": lambda facts, _: _referrer(facts.visitor.referrer)[0],
    "referrer": lambda facts, _: _referrer(facts.visitor.referrer)[1],
    "query": _query,
    "duration_ms": lambda facts, _: int(facts.duration_ms),
    "method": lambda facts, _: facts.method[:10],
    "campaign": lambda facts, _: facts.campaign,
    "link": lambda facts, _: facts.link,
    "recipient": lambda facts, _: facts.recipient,
}
_READS: Final = {
    tier: tuple((name, read) for name, read in _READ.items() if name in allowed)
    for tier, allowed in TIER_FIELDS.items()
}


# -- agents, off the request path ---------------------------------------------------------------


def complete(event: Event) -> Event:
    """Turn the raw agent into the dimensions the tier allows, and forget it. Slow: for the writer thread only."""
    raw, event._agent = event._agent, ""
    if not raw:
        return event
    known = read_agent(raw)
    for name in _FROM_AGENT & TIER_FIELDS[event.tier]:
        setattr(event, name, known[name])
    return event
