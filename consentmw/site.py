"""A site, compiled: everything that settings mean, worked out once so that a request only selects.

Holds the catalogue, the regimes, the signers, the recorder and the ledger, and makes the decision
for a visitor, remembering it by the few header values it depends on. Refuses to know ASGI.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from .accounts import BY_ACCOUNT, NOBODY, Known, in_force
from .choice import Choice
from .decision import Decision, closed, decide, granted_kinds, once
from .diagnostics import open_diagnostics
from .errors import LedgerError, StoreError
from .events import Policy
from .events.hosts import Met
from .events.networks import open_visitor_networks
from .gate.cookies import expiries, leftovers
from .gate.csp import HostPolicy
from .gate.gpp_page import GppPage
from .gate.html import Rules
from .gate.redirects import grants_click
from .gate.signals import Signals
from .gate.storage import Storage
from .gate.unknown import Unknown
from .goals import Goals
from .i18n import lookup
from .identity import Pseudonyms
from .jar import Jar
from .lawful import refuse_unlawful
from .ledger import Ledger, new_receipt
from .notices import Notices
from .purposes import Catalogue
from .recipients import Recipients
from .recorder import Recorder
from .recorder.spool import open_spool
from .regions import DECLINED, Regions
from .registry import Registry
from .relay import open_relay
from .revoked import Revoked
from .routes import Routes
from .ruling import Ruling
from .settings import Settings
from .signals import Listening
from .stores import open_event_store, open_ledger_store
from .tokens import Tokens
from .visitor import Visitor
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Site"]

logger = logging.getLogger("consentmw")

#: visitors remembered, and the bytes of headers that one may cost: some 10 MB at the very most
_REMEMBERED: Final = 4096
_LONGEST_KEY: Final = 2048


class Site(Jar):
    """One site's settings, ready for requests. Raises SettingsError when they contradict each other."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] | None = None) -> None:
        self.settings = settings
        self.clock = clock or partial(datetime.now, UTC)
        self.catalogue = Catalogue.load(
            purposes=settings.purposes,
            services=settings.services,
            only=settings.services_used,
            retention_days=settings.retention_days,
        )
        self.regions = Regions.load(fallback=settings.fallback_regime, overrides=settings.regimes)
        self.whereabouts = Whereabouts(settings.region_headers, settings.networks)
        self.listening = Listening.load(settings.signals, dnt=settings.honor_dnt == "as_gpc")
        self.warnings = refuse_unlawful(settings, self.catalogue, self.regions, self.clock())
        self.notices = Notices.load(settings, self.catalogue)
        self.tokens = Tokens(settings.secret_keys)
        self.routes = Routes(settings.routes, settings.secret_keys)
        #: what stands for account numbers; None where no key was given, so that nothing can be linked to an account
        self.pseudonyms = Pseudonyms.configured(settings.secret_keys[0] if settings.debug else "")
        self.valid_for = timedelta(days=settings.valid_days)
        self.rest = timedelta(days=settings.refusal_days)
        self.policy = _policy(settings, self.catalogue)
        self.diagnostics = open_diagnostics(settings.diagnostic_log, settings.diagnostic_days)
        self.recorder = Recorder(
            lambda: open_event_store(settings.store, settings.events_store),
            capacity=settings.queue_capacity,
            interval=settings.flush_seconds,
            spool=open_spool(settings),
            daily=lambda: self.ledger.expire(self.clock()),
        )
        self.goals = Goals(settings.goals, self.policy, self.recorder.put)
        self.relay = open_relay(
            settings, self.catalogue, count=self.recorder.put, withdrawn=lambda one: self.recorder.store.erased(one)
        )
        self.ledger = Ledger(lambda: open_ledger_store(settings.store))
        self.registry = Registry(self.notices.version, self.ledger, lambda: self.clock())
        self.recipients = Recipients.among(self.pseudonyms, self.ledger, valid_for=self.valid_for, clock=self.clock)
        self.revoked = Revoked(settings.revoked_links)
        self.rules = lru_cache(maxsize=256)(lambda denied, aware=frozenset(): Rules(self.catalogue, denied, aware))
        self.signals = Signals(settings, self.catalogue, self.regions)
        self.gpp = GppPage(settings, self.catalogue)
        self.storage = Storage(self.catalogue)
        self.hosts = HostPolicy(self.catalogue, settings.policy, settings.own_hosts)
        self.unknown = Unknown(self.catalogue, settings.unknown, settings.own_hosts)
        self.met = Met()
        self._known: dict[tuple[object, ...], Ruling] = {}
        self._prepare_cookies()

    # -- the decision --------------------------------------------------------------------------
    def ruling(self, visitor: Visitor) -> Ruling:
        """What was decided for this visitor. Never raises: when deciding fails, nothing optional runs.

        Remembered by the few header values that it depends on, so that the second page of a visit
        verifies no signature, decides nothing and looks up no cookie.
        """
        key: tuple[object, ...]
        key = (visitor.cookies, visitor.gpc, visitor.raw_language, visitor.scheme, visitor.host)
        if self.whereabouts.known or not self.listening.alone:
            # What most sites don't ask a request for.
            key = (*key, self.whereabouts.region(visitor), self.listening.others(visitor.field))
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
        known = self.known(visitor)
        return self.follow(visitor, in_force(self.own_choice(visitor), known), known)

    def follow(self, visitor: Visitor, choice: Choice | None, known: Known | None) -> Ruling:
        """What follows for a visitor under a choice, and for who is signed in; neither need be in a cookie yet."""
        return replace(self._follow(visitor, self.decide_with(visitor, choice, known=known or NOBODY)), known=known)

    def _follow(self, visitor: Visitor, decision: Decision) -> Ruling:
        left = self._left(visitor, decision)
        secure = visitor.scheme == "https"
        hosts = self.hosts.headers(decision.denied - decision.cookieless, secure)
        session, ended = self.visits.found(visitor, decision)
        extra = (*expiries(left, visitor.host, secure=secure), *ended, *hosts)
        extra += _reasons(decision) if self.settings.debug else ()
        granted = granted_kinds(self.catalogue, decision)
        if self.settings.accept_hints and "analytics" in granted:
            extra += ((b"accept-ch", ", ".join(self.settings.accept_hints).encode("ascii")),)
        rules, asks = self.rules(decision.denied, decision.cookieless), self.once_mark in visitor.cookies
        return Ruling(decision, rules, extra, left, granted, session=session, asks_once=asks)

    def expiries(self, visitor: Visitor, decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
        """Set-Cookie lines that remove what the browser still holds of services that may not run, and of a visit."""
        left = self._left(visitor, decision)
        ended = self.visits.found(visitor, decision)[1]
        return (*expiries(left, visitor.host, secure=visitor.scheme == "https"), *ended)

    def _left(self, visitor: Visitor, decision: Decision) -> tuple[str, ...]:
        if not decision.denied or not visitor.cookies:
            return ()
        return tuple(leftovers(visitor.cookie_names(), self.catalogue, decision.denied))

    def decide_with(
        self, visitor: Visitor, choice: Choice | None, *, known: Known | None = None, minor: bool = False
    ) -> Decision:
        """The decision for this visitor under a choice that no cookie carries yet.

        ``known``: who is signed in, by default whoever the cookie says. ``minor``: whether the host application
        knows that this is a minor, beside what ``known`` says.
        """
        settings = self.settings
        known = known or self.known(visitor) or NOBODY
        others = self.listening.others(visitor.field)
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
            gpc=visitor.gpc and self.listening.gpc,
            others=(*others, BY_ACCOUNT) if known.opted_out else others,
            notice=self.notices.id,
            valid_for=self.valid_for,
            rest=self.rest,
            minor=minor or known.minor,
            region=locale.region or region,
            region_source=source,
            law_until=self.regions.until(region, now),
            advanced=settings.google_mode == "advanced",
        )

    async def prove(self, decision: Decision, **row: Any) -> None:
        """Add a row about this visitor to the ledger, and wait until it is durable; for ``row`` see Ledger.append.

        Raises LedgerError: then there is no proof, and nothing may be granted.
        """
        await run_sync(partial(self.append, decision, **row))

    def append(self, decision: Decision, **row: Any) -> None:
        """As :meth:`prove`, for a thread that may wait."""
        # No row may name a notice that is not on record.
        self.registry.publish()
        known: dict[str, Any] = {
            "regime": decision.regime,
            "region": decision.region,
            "region_source": decision.region_source,
            "language": decision.language,
            "gpc": decision.gpc,
            "notice": decision.notice,
            "fingerprint": self.catalogue.fingerprint,
        }
        others = [key for key in decision.signals if key != "gpc"]
        if others:
            # Global Privacy Control has a field of its own.
            known["detail"] = f"signals: {', '.join(others)}"
        self.ledger.append(**{**known, **self._unerased(row)})

    def _unerased(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row without receipts that were erased while a cookie still carried them: nothing may name them again."""
        carried = ("previous", "receipt") if row["event"] == "once" else ("previous",)
        for name in carried:
            if (receipt := row.get(name, "")) and self._was_erased(receipt):
                row = {**row, name: "" if name == "previous" else new_receipt()}
        return row

    def _was_erased(self, receipt: str) -> bool:
        try:
            # Whose rows about visits went with a withdrawal still has its row in the ledger.
            return self.recorder.store.erased(receipt) and not self.ledger.entries(receipt)
        except StoreError as error:
            raise LedgerError(f"it can't be told whether a receipt was erased: {error}") from error

    async def close(self) -> None:
        """Write what is queued and close the stores; for an orderly shutdown."""
        # It may have the ledger open.
        await run_sync(self.registry.close)
        # First, because what becomes of its events is counted.
        await run_sync(self.relay.close)
        await run_sync(self.recorder.close)
        await run_sync(self.ledger.close)
        if self.diagnostics is not None:
            await run_sync(self.diagnostics.close)


def _policy(settings: Settings, catalogue: Catalogue) -> Policy:
    kinds = {key: grants_click(key) for key in settings.query_keys}
    bound = {
        purpose.key: frozenset(key for key, kind in kinds.items() if kind == purpose.kind)
        for purpose in catalogue.purposes.values()
        if purpose.kind in kinds.values()
    }
    return Policy(
        settings.ip,
        frozenset(key for key, kind in kinds.items() if not kind),
        bound,
        internal=settings.internal_networks,
        networks=open_visitor_networks(settings.asn_networks, settings.reverse_dns),
        retention_days=settings.retention_days,
    )


def _reasons(decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
    """A header that says what was decided and why, for whoever develops the site."""
    said = [f"{key}={'yes' if v.granted else 'no'} ({v.reason})" for key, v in decision.purposes.items()]
    text = f"{decision.regime}, {decision.tier}; " + ", ".join(said)
    return ((b"x-consentmw", text.encode("ascii", "replace")),)
