"""What browsers report about our policy, turned into counters: which page reached for which host.

A report says far more than we may know: whole addresses, queries, the policy itself. Out of it come
the page as a template, the directive and the host; the rest is forgotten with the request. Anybody
can make reports up, so everything is bounded: rate, size, and the distinct counters of an hour.

Refuses to know who sent a report; a counter holds nothing of one visitor.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ..decision import Decision
from ..events import Count, template
from ..events.hosts import OTHER, Hourly, host_word
from ..site import Site
from .exchange import Exchange, FormError, json_of

__all__ = ["MAX_REPORT", "Reports"]

logger = logging.getLogger("consentmw")

#: the largest body, in bytes, by its type: one report, or as many as a browser has gathered
MAX_REPORT: Final = {"application/csp-report": 8_192, "application/reports+json": 65_536}

#: bodies a second over all visitors, and as many at once; more say nothing new
_RATE: Final = 20.0
_BURST: Final = 60.0
#: seconds in which the same report of the same visitor counts once, and how many are remembered
_WINDOW: Final = 60.0
_MOST_RECENT: Final = 4_096
#: reports read of one body
_MOST_REPORTS: Final = 50

_HOUR: Final = 3600
#: what stands in place of an address when no host is to blame (CSP Level 3, section 2.4.2)
_KINDS: Final = frozenset(
    {"inline", "eval", "wasm-eval", "data", "blob", "about", "trusted-types-policy", "trusted-types-sink"}
)
#: browser extensions bring their own; the site can't help it and nobody's promise is broken
_FOREIGN: Final = re.compile(r"(chrome|moz|safari(-web)?|ms-browser|edge)-extension\b", re.IGNORECASE)
#: the directives that a host can violate; ours is always default-src, which browsers report as one of these
_DIRECTIVES: Final = frozenset(
    f"{kind}-src{part}"
    for kind in ("child", "connect", "default", "fenced-frame", "font", "frame", "img", "manifest", "media", "object",
                 "prefetch", "script", "style", "worker")
    for part in (("", "-elem", "-attr") if kind in ("script", "style") else ("",))
)  # fmt: skip


class _Leak(NamedTuple):
    """One thing a page reached for, cut down to what may be counted."""

    route: str
    directive: str
    #: host, or the kind of a violation without one
    what: str
    #: key of the service that is denied, or "unknown"
    service: str


class Reports:
    """Answers ``csp``."""

    def __init__(self, site: Site, clock: Callable[[], float] = monotonic) -> None:
        """``clock``: seconds that only ever grow."""
        self._site = site
        self._clock = clock
        self._tokens, self._filled = _BURST, clock()
        # An enforced policy refused the request; a reported one let it go: that is what the status class says.
        self._status = "4xx" if site.settings.policy == "enforce" else "2xx"
        self._keys = Hourly()
        self._recent: set[int] = set()
        self._recent_until = 0.0

    async def take(self, exchange: Exchange) -> None:
        """POST csp: one report, or a list of them; the answer is empty and says at most what was wrong."""
        if exchange.method != "POST":
            await exchange.refuse_method("POST")
            return
        most = MAX_REPORT.get(exchange.kind)
        # A type that forms can't send also keeps other sites' pages from posting here unasked.
        if most is None:
            await exchange.empty(415)
        elif not self._may_pass():
            await exchange.empty(429, [(b"retry-after", b"1")])
        else:
            await self._take(exchange, most)

    async def _take(self, exchange: Exchange, most: int) -> None:
        try:
            reports = _parse(await exchange.body(most))
        except FormError as error:
            await exchange.empty(error.status)
            return
        await exchange.empty(400 if reports is None else 204)
        self._count(exchange, reports or [])

    def _may_pass(self) -> bool:
        """One token of a bucket that fills at a steady rate."""
        now = self._clock()
        self._tokens = min(_BURST, self._tokens + (now - self._filled) * _RATE)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _count(self, exchange: Exchange, reports: list[Mapping[str, Any]]) -> None:
        visitor = exchange.visitor
        hour = int(self._site.clock().timestamp()) // _HOUR * _HOUR
        for report in reports[:_MOST_REPORTS]:
            leak = self._read(report, visitor.host, exchange.consent.decision)
            if leak is None or not self._is_new(visitor.address, leak):
                continue
            route, why = self._named(hour, leak)
            self._site.recorder.put(Count(hour, "leak", route, self._status, visitor.bot, why=why))

    def _read(self, report: Mapping[str, Any], host: str, decision: Decision) -> _Leak | None:
        """What a report says, if it is about a page of ours and about something that was not allowed."""
        page = _split(_text(report, "document-uri", "documentURL"))
        if page is None or not host or page[0] != host:
            return None
        blocked = _text(report, "blocked-uri", "blockedURL")
        directive = _text(report, "effective-directive", "effectiveDirective", "violated-directive").partition(" ")[0]
        service = "unknown"
        if _FOREIGN.match(blocked):
            return None
        if (address := _split(blocked)) is not None:
            what, path = address
            found = self._site.catalogue.service_for_url(what, path)
            if found is not None:
                if found.key not in decision.denied:
                    # Allowed by now: a choice took effect in the page that was open, under the policy of before.
                    return None
                service = found.key
        else:
            kind = blocked.partition(":")[0].lower()
            what = kind if kind in _KINDS else OTHER
        return _Leak(template(unquote(page[1])), directive if directive in _DIRECTIVES else OTHER, what, service)

    def _is_new(self, address: str, leak: _Leak) -> bool:
        """Whether this visitor did not report the same a moment ago; kept as a salted number, for a minute."""
        now = self._clock()
        if now >= self._recent_until or len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
            self._recent_until = now + _WINDOW
        mark = hash((address, leak))
        if mark in self._recent:
            return False
        self._recent.add(mark)
        return True

    def _named(self, hour: int, leak: _Leak) -> tuple[str, str]:
        """Route and reason of the counter; "(other)" for both when the hour has seen too many different ones."""
        place = self._keys.place(hour, leak)
        if place == "over":
            return OTHER, OTHER
        if place == "new":
            logger.warning("a page reached for what was not allowed: %s %s (%s) on %s", *leak[1:], leak.route)
        return leak.route, f"{leak.directive} {leak.what} {leak.service}"


def _parse(body: bytes) -> list[Mapping[str, Any]] | None:
    """The reports of our kind in a body of either form, or None when it is no JSON of such a form."""
    given = json_of(body)
    if isinstance(given, dict):
        report = given.get("csp-report")
        return [report] if isinstance(report, dict) else None
    return list(_violations(given)) if isinstance(given, list) else None


def _violations(given: list[Any]) -> Iterator[Mapping[str, Any]]:
    for entry in given:
        # An endpoint gets whatever the site's other headers report to it, too; only violations are ours.
        if isinstance(entry, dict) and entry.get("type") == "csp-violation" and isinstance(entry.get("body"), dict):
            yield entry["body"]


def _text(report: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = report.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _split(url: str) -> tuple[str, str] | None:
    """Host and path of an http(s) or ws(s) address, or None. A host that can't be one becomes "(other)"."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https", "ws", "wss"):
        return None
    if ":" in host:
        host = f"[{host}]"
    return host_word(host), parts.path or "/"
