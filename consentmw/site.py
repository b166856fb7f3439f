"""A site, compiled: everything that settings mean, worked out once so that a request only selects.

Holds the catalogue, the regimes, the signers, the recorder and the ledger, and makes the decision
for a visitor, remembering it by the few header values it depends on. Refuses to know ASGI.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from time import time
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from .choice import MAX_COOKIE, Choice, CookieCodec, Locale
from .decision import Decision, closed, decide, granted_kinds, once
from .errors import SettingsError
from .events import Policy
from .events.hosts import Hourly, Met
from .gate.cookies import expiries, hide, leftovers
from .gate.csp import HostPolicy
from .gate.hints import concealed
from .gate.html import Rules
from .gate.signals import Signals
from .gate.storage import Storage
from .gate.unknown import Unknown
from .i18n import lookup
from .lawful import refuse_unlawful
from .ledger import Ledger
from .notices import Notices
from .once import Once
from .purposes import Catalogue
from .recorder import Recorder
from .recorder.spool import open_spool
from .regions import DECLINED, Regions
from .relay import open_relay
from .settings import Settings
from .stores import open_event_store, open_ledger_store
from .tokens import Tokens
from .visitor import Visitor
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ruling", "Site"]

logger = logging.getLogger("consentmw")

#: visitors remembered, and the bytes of headers that one may cost: some 10 MB at the very most
_REMEMBERED: Final = 4096
_LONGEST_KEY: Final = 2048
_UNKNOWN: Final = ("", "unknown")
#: different routes an hour that are made from paths
_ROUTES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Ruling:
    """What follows for one visitor: the decision, and what the gates need of it, ready."""

    decision: Decision
    rules: Rules
    #: more headers for HTML answers: cookies that have to go, our policy (still without the address that its
    #: reports go to, see gate/csp.py), and in debug the reasons
    extra: tuple[tuple[bytes, bytes], ...]
    #: names of the visitor's cookies that the application does not get to see, because nobody may use them
    hidden: tuple[str, ...] = ()
    #: the kinds of purpose that were granted
    granted: frozenset[str] = frozenset()

    def seen(self, visitor: Visitor) -> list[tuple[bytes, bytes]]:
        """The request's headers as the application gets them."""
        headers = hide(visitor.headers, self.hidden) if self.hidden else visitor.headers
        return concealed(headers) if visitor.hinted and "analytics" not in self.granted else headers


class Site:
    """One site's settings, ready for requests. Raises SettingsError when they contradict each other."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] | None = None) -> None:
        self.settings = settings
        self.clock = clock or (lambda: datetime.now(UTC))
        self.catalogue = Catalogue.load(
            purposes=settings.purposes, services=settings.services, only=settings.services_used
        )
        self.regions = Regions.load(fallback=settings.fallback_regime, overrides=settings.regimes)
        self.whereabouts = Whereabouts(settings.region_headers, settings.networks)
        self.warnings = refuse_unlawful(settings, self.catalogue, self.regions, self.clock())
        self.notices = Notices.load(settings, self.catalogue)
        keys = settings.secret_keys
        self.tokens = Tokens(keys)
        self.choices = CookieCodec(Choice, "choice", keys)
        self.locales = CookieCodec(Locale, "locale", keys)
        self.onces = CookieCodec(Once, "once", keys)
        self.valid_for = timedelta(days=settings.valid_days)
        self.policy = Policy(settings.ip, settings.query_keys, settings.retention_days)
        self.recorder = Recorder(
            lambda: open_event_store(settings.store),
            capacity=settings.queue_capacity,
            interval=settings.flush_seconds,
            spool=open_spool(settings, time),
        )
        self.relay = open_relay(
            settings,
            self.catalogue,
            count=self.recorder.put,
            withdrawn=lambda receipt: self.recorder.store.erased(receipt),
        )
        self.ledger = Ledger(lambda: open_ledger_store(settings.store))
        self.rules = lru_cache(maxsize=256)(lambda denied, aware=frozenset(): Rules(self.catalogue, denied, aware))
        self.signals = Signals(settings, self.catalogue, self.regions)
        self.storage = Storage(self.catalogue)
        self.hosts = HostPolicy(self.catalogue, settings.policy, settings.own_hosts)
        self.unknown = Unknown(self.catalogue, settings.unknown, settings.own_hosts)
        self.met = Met()
        #: those made from paths, because the application names none: whoever asks can make up any number
        self.routes = Hourly(_ROUTES)
        plain = (settings.cookie_name, f"{settings.cookie_name}-locale", f"{settings.cookie_name}-once")
        #: by "is it https": __Host- makes a browser refuse a cookie that another host or http tries to set
        self._names = {False: plain, True: (f"__Host-{plain[0]}", f"__Host-{plain[1]}", f"__Host-{plain[2]}")}
        #: without this in its cookies, a request asks for nothing that runs once
        self.once_mark = f"{plain[2]}=".encode("ascii")
        self._known: dict[tuple[object, ...], Ruling] = {}
        self._check_cookie_fits()

    def _check_cookie_fits(self) -> None:
        optional = frozenset(p.key for p in self.catalogue.purposes.values() if p.optional)
        longest = Choice("x" * 22, datetime(2100, 1, 1, tzinfo=UTC), self.catalogue.fingerprint, optional)
        try:
            self.choices.write(longest)
        except ValueError as error:
            raise SettingsError(
                "purposes", f"fewer or shorter keys: the cookie must stay under {MAX_COOKIE} bytes"
            ) from error

    # -- cookies -------------------------------------------------------------------------------
    def cookie_names(self, visitor: Visitor) -> tuple[str, str, str]:
        """Names of the cookies for the choice, the locale and what runs once, as this visitor's scheme has them."""
        return self._names[self.secure(visitor)]

    def secure(self, visitor: Visitor) -> bool:
        """Whether our cookies carry Secure and the __Host- prefix: always, but on http while developing."""
        return not self.settings.debug or visitor.scheme == "https"

    def cookie(self, visitor: Visitor, name: str, value: str, lasts: timedelta) -> tuple[bytes, bytes]:
        """The header that sets a cookie of ours; one that lasts no time is removed."""
        age = int(lasts.total_seconds())
        secure = "; Secure" if self.secure(visitor) else ""
        line = f"{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
        return (b"set-cookie", line.encode("ascii"))

    def choice(self, visitor: Visitor) -> Choice | None:
        """The newest choice among the visitor's cookies that is really ours."""
        found = [
            c for raw in visitor.cookie(self.cookie_names(visitor)[0]) if (c := self.choices.read(raw)) is not None
        ]
        return max(found, key=lambda c: c.at, default=None)

    def locale(self, visitor: Visitor) -> Locale:
        """What the visitor stated about language and region."""
        for raw in visitor.cookie(self.cookie_names(visitor)[1]):
            if (locale := self.locales.read(raw)) is not None:
                return locale
        return Locale()

    # -- the decision --------------------------------------------------------------------------
    def ruling(self, visitor: Visitor) -> Ruling:
        """What was decided for this visitor. Never raises: when deciding fails, nothing optional runs.

        Remembered by the few header values that it depends on, so that the second page of a visit
        verifies no signature, decides nothing and looks up no cookie.
        """
        guess = self.whereabouts.region(visitor) if self.whereabouts.known else _UNKNOWN
        key = (visitor.cookies, visitor.gpc, visitor.raw_language, visitor.scheme, visitor.host, guess)
        known = self._known.get(key)
        if known is not None and (known.decision.until is None or self.clock() < known.decision.until):
            return known
        try:
            known = self._ruling(visitor)
        except Exception:
            logger.exception("deciding failed; nothing optional runs for this request")
            decision = closed(self.catalogue, language=self.settings.default_language)
            hosts = self.hosts.headers(decision.denied, visitor.scheme == "https")
            return Ruling(decision, self.rules(decision.denied), hosts)
        if len(visitor.cookies) + len(visitor.raw_language) <= _LONGEST_KEY:
            if len(self._known) >= _REMEMBERED:
                # Forgetting all at once keeps a flood of odd headers from costing more than it is worth.
                self._known.clear()
            self._known[key] = known
        return known

    def once(self, visitor: Visitor, ruling: Ruling, page: str) -> Ruling:
        """The ruling for a page on which the visitor asked for a service once; else the same one. Never raises.

        Not remembered: it is true for one answer, which also takes the cookie away that asked for it.
        """
        try:
            name = self.cookie_names(visitor)[2]
            receipt = ruling.decision.receipt
            asked = [o for raw in visitor.cookie(name) if (o := self.onces.read(raw)) is not None]
            key = next((o.service for o in asked if o.holds(self.clock(), page, receipt)), "")
            decision = once(self.catalogue, ruling.decision, key)
            if decision is ruling.decision:
                return ruling
            anew = self._follow(visitor, decision)
            return replace(anew, extra=(*anew.extra, self.cookie(visitor, name, "", timedelta())))
        except Exception:
            logger.exception("what was asked for once could not be decided; it stays withheld")
            return ruling

    def _ruling(self, visitor: Visitor) -> Ruling:
        return self._follow(visitor, self.decide_with(visitor, self.choice(visitor)))

    def _follow(self, visitor: Visitor, decision: Decision) -> Ruling:
        left = self._left(visitor, decision)
        secure = visitor.scheme == "https"
        hosts = self.hosts.headers(decision.denied - decision.cookieless, secure)
        extra = (*expiries(left, visitor.host, secure=secure), *hosts)
        extra += _reasons(decision) if self.settings.debug else ()
        granted = granted_kinds(self.catalogue, decision)
        return Ruling(decision, self.rules(decision.denied, decision.cookieless), extra, left, granted)

    def expiries(self, visitor: Visitor, decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
        """Set-Cookie lines that remove what the browser still holds of services that may not run."""
        left = self._left(visitor, decision)
        return tuple(expiries(left, visitor.host, secure=visitor.scheme == "https"))

    def _left(self, visitor: Visitor, decision: Decision) -> tuple[str, ...]:
        if not decision.denied or not visitor.cookies:
            return ()
        return tuple(leftovers(visitor.cookie_names(), self.catalogue, decision.denied))

    def decide_with(self, visitor: Visitor, choice: Choice | None) -> Decision:
        """The decision for this visitor under a choice that no cookie carries yet."""
        settings = self.settings
        locale = self.locale(visitor)
        language = locale.language if locale.language in settings.languages else ""
        region, source = locale.region, "stated"
        if region == DECLINED:
            # Who says NO THANKS is not looked up behind their back.
            region, source = "", "declined"
        elif not region:
            region, source = self.whereabouts.region(visitor)
        now = self.clock()
        return decide(
            self.catalogue,
            self.regions.regime(region, now),
            choice,
            now=now,
            language=language or lookup(visitor.accept_language, settings.languages, settings.default_language),
            gpc=visitor.gpc,
            notice=self.notices.id,
            valid_for=self.valid_for,
            region=locale.region or region,
            region_source=source,
            law_until=self.regions.until(region, now),
            advanced=settings.google_mode == "advanced",
        )

    async def prove(self, decision: Decision, **row: Any) -> None:
        """Add a row about this visitor to the ledger, and wait until it is durable; for ``row`` see Ledger.append.

        Raises LedgerError: then there is no proof, and nothing may be granted.
        """
        known: dict[str, Any] = {
            "regime": decision.regime,
            "region": decision.region,
            "region_source": decision.region_source,
            "language": decision.language,
            "gpc": decision.gpc,
            "notice": decision.notice,
            "fingerprint": self.catalogue.fingerprint,
        }
        await run_sync(partial(self.ledger.append, **known, **row))

    async def close(self) -> None:
        """Write what is queued and close the stores; for an orderly shutdown."""
        # First, because what becomes of its events is counted.
        await run_sync(self.relay.close)
        await run_sync(self.recorder.close)
        await run_sync(self.ledger.close)


def _reasons(decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
    """A header that says what was decided and why, for whoever develops the site."""
    said = [f"{key}={'yes' if v.granted else 'no'} ({v.reason})" for key, v in decision.purposes.items()]
    text = f"{decision.regime}, {decision.tier}; " + ", ".join(said)
    return ((b"x-consentmw", text.encode("ascii", "replace")),)
