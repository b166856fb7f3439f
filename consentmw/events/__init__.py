"""What one request may leave behind: a counter always, and a row as wide as the visitor's tier allows.

Facts go in raw and stay in memory; only what :func:`minimise` lets through can reach a queue, a disk
or a report. The table :data:`TIER_FIELDS` is the whole promise, and the tests read the same table.

A row has two parts. What is alike for all of a visitor's requests under one choice is its
:class:`Context`, worked out once and kept once by a store; the :class:`Event` is what differs.

Refuses to know how a decision was made, or where a row is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ..decision import TIERS, Decision
from ..regions import DECLINED
from ..visitor import Visitor
from .agents import Hints, read_agent
from .ids import uuid7
from .networks import Networks, inside
from .paths import template
from .policy import Policy
from .reading import LANGUAGES, kept_query, referring, truncate

__all__ = [
    "EVENT_FIELDS",
    "MAIL",
    "TIER_FIELDS",
    "Context",
    "Count",
    "Event",
    "Facts",
    "Policy",
    "Raw",
    "complete",
    "minimise",
    "prepare",
    "template",
    "truncate",
    "uuid7",
]

#: the mail kinds: what happens in a mail client, where there is no page and usually no cookie
MAIL: Final = frozenset({"pixel", "click"})
_HOUR: Final = 3600
_DAY: Final = 86_400
_CLASSES: Final = tuple(f"{number}xx" for number in range(10))
_COARSE: Final = frozenset({"route", "status", "bot", "referrer_host", "browser", "os", "device", "language", "region"})
_VISIT: Final = _COARSE | {
    *("ip", "isp", "domain", "agent", "accept_language", "referrer", "query", "duration_ms", "method", "host"),
    *("session", "target", "value"),
}
_PERSON: Final = _VISIT | {"campaign", "link", "recipient"}

#: tier -> the dimensions a row of that tier may hold (design 3); a ``count`` tier has no row at all
TIER_FIELDS: Final[Mapping[str, frozenset[str]]] = dict(
    zip(TIERS, (frozenset[str](), _COARSE, _VISIT, _PERSON), strict=True)
)
#: the tiers that have rows
_ROWS: Final = frozenset(TIERS[1:])


@dataclass(slots=True)  # not frozen: that would double the cost of making one, which every request pays
class Facts:
    """What one request told us, raw. Never stored, never logged: :func:`minimise` is its only reader."""

    #: page, request, pixel, click, goal, search, or what a page's script tells (pages/collecting.py)
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
    #: of the recipient's own choice that allows to note what they do with a mail; "" when there is none, and why not
    receipt: str = ""
    why: str = "no choice"
    #: what is known better about a program than the visitor's headers tell; see mail.py
    verdict: str = ""
    #: random id of the visit (sessions.py), "" outside of one
    session: str = ""
    #: what it was about: where a link leads, a form's name, search terms, a goal; without what could name somebody
    target: str = ""
    #: an amount: of a goal what the application says, of a page that was left the tenths that were seen
    value: float | None = None
    #: under which id a page's script told it, "" for what the server saw itself
    told: str = ""


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


class Raw(NamedTuple):
    """What a context is completed from, in the writer's thread. It stays in memory and belongs in no log."""

    #: the User-Agent as sent
    agent: str
    #: client hints as sent, as far as the tier allows to read them
    hints: Hints = ()
    #: the address, where something is to be found out about its network; else ""
    address: str = ""
    #: who finds that out
    networks: Networks | None = None
    #: what a visitor of a day is told apart by (uniques.py); "" for a program
    who: str = ""


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
    #: random id of the visit
    session: str | None = None
    #: the provider of the visitor's connection
    isp: str | None = None
    #: registrable domain of the visitor's address
    domain: str | None = None
    #: what was sent, until :func:`complete` has read it; no store has a column for it
    raw: Raw | None = None

    def __repr__(self) -> str:
        """Without what was sent, which belongs in no log."""
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
    target: str | None = None
    value: float | None = None
    #: the id under which it was told, which makes a second time count for nothing; no store has a column for it
    told: str = ""


#: the columns of a row that are its own, those of its context, and every column, in order
_OWN: Final = Event._fields[:-1]
_CONTEXT: Final = Context._fields[:-1]
EVENT_FIELDS: Final = ("id", *(name for name in _OWN if name != "context"), *_CONTEXT)


def minimise(facts: Facts, decision: Decision, policy: Policy) -> tuple[Count, Event | None]:
    """The one place that decides what is recorded: a counter, and a row when the tier allows one.

    A pixel or click-through that names a recipient is an observation of a person, and only what that person
    chose about it counts: a mail is forwarded, and browsers are shared. An unknown tier counts as the lowest.
    """
    hour = int(facts.at) // _HOUR * _HOUR
    tier = decision.tier
    visitor = facts.visitor
    # Marked, never left out: whoever reads the figures decides what to make of them.
    internal = policy.internal and inside(visitor.address, policy.internal)
    bot = "internal" if internal else facts.verdict or visitor.bot
    if facts.recipient:
        return _of_recipient(facts, decision, policy, hour, bot)
    if tier not in _ROWS:
        return _count(facts, hour, bot, "count", decision.why("analytics")), None
    context = _alike(facts, decision, policy, bot)
    host, page = referring(visitor.referrer)
    expires = int(facts.at) + policy.retention_days[tier] * _DAY
    if tier == "coarse":
        event = Event(float(hour), facts.kind, expires, context, facts.route, facts.status, host)
    else:
        person = tier == "person"
        event = Event(
            facts.at, facts.kind, expires, context, facts.route, facts.status, host, page,
            kept_query(facts.query, policy.keys(decision.allows)), int(facts.duration_ms), facts.method[:10],
            facts.campaign if person else None, facts.link if person else None, facts.recipient if person else None,
            facts.target, facts.value, facts.told,
        )  # fmt: skip
    return _count(facts, hour, bot, tier, ""), event


def _of_recipient(facts: Facts, decision: Decision, policy: Policy, hour: int, bot: str) -> tuple[Count, Event | None]:
    """What is recorded of a mail that names its recipient: who, which mail and link, when; nothing about a device.

    The device was not asked about, and a row that held it would tie a person to what a browser refused.
    """
    if not facts.receipt:
        return _count(facts, hour, bot, "count", facts.why), None
    if decision.why("email_measurement") == "choice" and not decision.allows("email_measurement"):
        # Allowed by mail and refused in this browser: the refusal counts.
        return _count(facts, hour, bot, "count", "choice"), None
    event = Event(
        facts.at,
        facts.kind,
        int(facts.at) + policy.retention_days["person"] * _DAY,
        Context("person", facts.receipt, decision.notice, bot),
        facts.route,
        facts.status,
        campaign=facts.campaign,
        link=facts.link,
        recipient=facts.recipient,
    )
    return _count(facts, hour, bot, "person", ""), event


def _alike(facts: Facts, decision: Decision, policy: Policy, bot: str) -> Context:
    """The context of this request's row: nothing is handed on that its tier does not need."""
    visitor = facts.visitor
    coarse = decision.tier == "coarse"
    networks = None if coarse else policy.networks
    return _context(
        decision.tier,
        # A choice in force need not be about measurement, and a receipt would tie such rows together.
        "" if coarse else decision.receipt,
        decision.notice,
        bot,
        facts.language,
        decision.region,
        visitor.address if coarse or policy.ip != "none" or networks is not None else "",
        policy.ip,
        "" if coarse else visitor.accept_language[:201],
        visitor.host,
        visitor.agent[:512],
        "" if coarse else facts.session,
        # What a browser tells only where it is asked belongs to a visitor who allowed it.
        visitor.hints(asked=not coarse),
        networks,
    )


def _count(facts: Facts, hour: int, bot: str, tier: str, why: str) -> Count:
    campaign = facts.campaign if facts.kind in MAIL else ""
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
    session: str,
    hints: Hints,
    networks: Networks | None,
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
        "session": session,
    }
    allowed = TIER_FIELDS[tier]
    found: dict[str, Any] = {name: value for name, value in known.items() if name in allowed}
    # A coarse row has no receipt: the address and the browser are all there is to tell a visitor of the day apart.
    who = "" if bot else receipt or f"{address}\0{agent}\0{host}"
    raw = Raw(agent, hints, address if networks is not None else "", networks, who)
    return Context(tier, receipt, notice, raw=raw, **found)


def prepare(contexts: Iterable[Context]) -> None:
    """Find out what has to be asked for elsewhere before :func:`complete` is called; takes a second at most."""
    asked: dict[Networks, list[str]] = {}
    for context in contexts:
        if context.raw is not None and context.raw.networks is not None:
            asked.setdefault(context.raw.networks, []).append(context.raw.address)
    for networks, addresses in asked.items():
        networks.prepare(addresses)


@lru_cache(maxsize=4096)
def complete(context: Context) -> Context:
    """The context with the dimensions of its agent and network that the tier allows, and without what was sent.

    Slow for an agent that was not read before: for the writer thread only.
    """
    raw = context.raw
    if raw is None:
        return context
    known: dict[str, Any] = {**read_agent(raw.agent, raw.hints), "isp": "", "domain": ""}
    if raw.networks is not None:
        known.update(isp=raw.networks.provider(raw.address), domain=raw.networks.domain(raw.address))
    allowed = TIER_FIELDS[context.tier]
    return context._replace(raw=None, **{name: value for name, value in known.items() if name in allowed})
