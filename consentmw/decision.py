"""What may run for this visitor, and why: a pure function from values to a Decision.

No I/O, no clock, no request: time, choice, regime and signals come in as values. One Decision
governs every destination: the HTML, the headers, the log, the relay. Each verdict carries its
reason, because a refusal that nobody can explain is a support call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from .choice import Choice
from .purposes import Catalogue, Purpose
from .regions import Regime

__all__ = [
    "DENIED_BY_GPC", "GOOGLE_SIGNALS", "TIERS", "Decision", "Verdict", "closed", "decide", "granted_kinds", "once",
    "showable",
]  # fmt: skip

#: the four tiers of recording, least to most (design 3)
TIERS: Final = ("count", "coarse", "visit", "person")

#: what Global Privacy Control denies: sale, sharing and targeted advertising (W3C GPC, section 1.4 of the facts)
DENIED_BY_GPC: Final = frozenset({"advertising", "sale"})

#: the Google consent signals (Consent Mode v2) and the kind of purpose that grants each
GOOGLE_SIGNALS: Final = {
    "ad_storage": "advertising",
    "ad_user_data": "advertising",
    "ad_personalization": "advertising",
    "analytics_storage": "analytics",
    "functionality_storage": "preferences",
    "personalization_storage": "preferences",
    "security_storage": "necessary",
}

#: how far the clocks of a site's machines may differ
_CLOCK_SKEW: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Granted or denied, and the reason in a word that operators can count.

    Reasons: ``necessary``, ``choice``, ``gpc``, ``regime``, ``no choice``, ``expired``,
    ``notice changed``, ``minor``, ``not disclosed``, ``error``; for a service the reason of the purpose that decided,
    ``once``, or ``advanced``: denied, but what of it stores nothing may load.
    """

    granted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that was decided for one visitor; immutable, shared between requests."""

    purposes: dict[str, Verdict]
    services: dict[str, Verdict]
    #: the most that an event row may hold: one of :data:`TIERS`
    tier: str
    regime: str
    #: ISO 3166-2 code or "" when unknown
    region: str
    #: where the region came from: stated, declined or unknown
    region_source: str
    language: str
    gpc: bool
    #: id of the notice in force
    notice: str
    #: receipt of the choice that is in force, or ""
    receipt: str
    #: whether the visitor should be asked (again)
    ask: bool
    #: keys of the services that must not run, worked out once for the gates
    denied: frozenset[str]
    #: Google Consent Mode v2 signals, ``granted`` or ``denied`` for each
    google: Mapping[str, str]
    #: keys of denied services whose consent-aware code may load all the same, to store nothing (Advanced mode)
    cookieless: frozenset[str] = frozenset()
    #: key of the service that may run on this one page only, or ""
    once: str = ""
    #: when this decision has to be made anew because the choice expires or a new law starts then, or None
    until: datetime | None = None
    #: short key for ETags: decisions with equal keys get equal pages
    state: str = ""

    def __post_init__(self) -> None:
        # With one catalogue the purposes' verdicts settle the services'; the denied ones tell catalogues apart.
        shown = [f"{key}{verdict.granted:d}{verdict.reason}" for key, verdict in self.purposes.items()]
        shown += [
            _named(self.denied),
            _named(self.cookieless),
            self.language,
            self.region,
            self.regime,
            self.notice,
            f"{self.ask:d}{self.gpc:d}",
        ]
        digest = hashlib.blake2s("\n".join(shown).encode(), digest_size=6).hexdigest()
        object.__setattr__(self, "state", digest)

    def allows(self, key: str) -> bool:
        """Whether this purpose or service may run. Anything unknown may not."""
        verdict = self.purposes.get(key, self.services.get(key))
        return verdict is not None and verdict.granted

    def why(self, key: str) -> str:
        """The reason for the verdict on this purpose or service; ``unknown`` when there is none."""
        verdict = self.purposes.get(key, self.services.get(key))
        return verdict.reason if verdict is not None else "unknown"


def decide(
    catalogue: Catalogue,
    regime: Regime,
    choice: Choice | None,
    *,
    now: datetime,
    language: str,
    gpc: bool,
    notice: str,
    valid_for: timedelta,
    region: str = "",
    region_source: str = "unknown",
    minor: bool = False,
    advanced: bool = False,
    law_until: datetime | None = None,
) -> Decision:
    """Decide every purpose and service: explicit choice, then browser signal, then the regime's default.

    GPC denies advertising and sale even over an older "accept all" (11 CCR 7025; W3C GPC).
    A choice that expired or was made under other purposes and services counts as none, except that
    what it refused stays refused until the visitor chooses again: an opt-out does not lapse because
    a site changed its notice (Cal. Civ. Code 1798.135(c)(4) asks for twelve months of it).

    ``advanced``: whether consent-aware code may load before a choice (Google's Advanced consent mode).
    """
    stale = _stale(catalogue, choice, now, valid_for)
    live = choice if choice is not None and not stale else None
    purposes = {
        purpose.key: _verdict(purpose, regime, choice, stale, gpc=gpc, minor=minor)
        for purpose in catalogue.purposes.values()
    }
    services, denied = _services(catalogue, tuple(purposes.items()))
    cookieless = _cookieless(catalogue, denied, choice) if advanced and not gpc and not minor else frozenset()
    return Decision(
        purposes=purposes,
        services={**services, **dict.fromkeys(cookieless, Verdict(False, "advanced"))} if cookieless else services,
        tier=_tier(catalogue, purposes, live),
        regime=regime.key,
        region=region,
        region_source=region_source,
        language=language,
        gpc=gpc,
        notice=notice,
        receipt=live.receipt if live else "",
        ask=live is None and regime.ask,
        denied=denied,
        google=_google(catalogue, purposes),
        cookieless=cookieless,
        until=min(filter(None, (live.at + valid_for if live else None, law_until)), default=None),
    )


def closed(catalogue: Catalogue, *, language: str, reason: str = "error") -> Decision:
    """The decision when deciding failed: nothing optional runs, nothing is asked, only counters are kept."""
    purposes = {
        purpose.key: Verdict(False, reason) if purpose.optional else Verdict(True, "necessary")
        for purpose in catalogue.purposes.values()
    }
    services, denied = _services(catalogue, tuple(purposes.items()))
    return Decision(
        purposes=purposes,
        services=services,
        tier="count",
        regime="strict",
        region="",
        region_source="unknown",
        language=language,
        gpc=False,
        notice="",
        receipt="",
        ask=False,
        denied=denied,
        google=_google(catalogue, purposes),
    )


def granted_kinds(catalogue: Catalogue, decision: Decision) -> frozenset[str]:
    """The kinds of purpose that were granted, each by at least one purpose of this kind."""
    return frozenset(catalogue.purposes[key].kind for key, verdict in decision.purposes.items() if verdict.granted)


def showable(catalogue: Catalogue, key: str) -> bool:
    """Whether a visitor may ask for this service on one page: it only shows something that they see and miss.

    That a service measures or advertises as well can't be allowed by a click on a video, nor can what
    Global Privacy Control denies.
    """
    service = catalogue.services.get(key)
    if service is None or not service.disclosed:
        return False
    return all(catalogue.purposes[name].kind == "preferences" for name in service.purposes)


def once(catalogue: Catalogue, decision: Decision, key: str) -> Decision:
    """The decision for a page on which the visitor asked for this service; the same one where it can't be had.

    Nothing else follows from it: no purpose is granted, no signal and no tier of recording changes.
    """
    if key not in decision.denied or not showable(catalogue, key) or decision.why(key) == "error":
        return decision
    services = {**decision.services, key: Verdict(True, "once")}
    return replace(decision, services=services, denied=decision.denied - {key}, once=key)


@lru_cache(maxsize=256)
def _services(
    catalogue: Catalogue, decided: tuple[tuple[str, Verdict], ...]
) -> tuple[dict[str, Verdict], frozenset[str]]:
    """A service runs when all its purposes may; the first that may not gives the reason. And those denied.

    Remembered, because purposes can be decided in a few ways only, and services may be many.
    """
    purposes = dict(decided)
    services = {}
    for service in catalogue.services.values():
        if not service.disclosed:
            services[service.key] = Verdict(False, "not disclosed")
            continue
        verdicts = [purposes[key] for key in service.purposes]
        refused = next((verdict for verdict in verdicts if not verdict.granted), None)
        services[service.key] = refused or verdicts[0]
    return services, frozenset(key for key, verdict in services.items() if not verdict.granted)


def _cookieless(catalogue: Catalogue, denied: frozenset[str], choice: Choice | None) -> frozenset[str]:
    """The denied services that nobody has refused and whose code stores nothing by itself.

    A refusal is kept, also one that is due to be asked again: then nothing of them loads.
    """
    refused = {p.key for p in catalogue.purposes.values() if p.optional and choice and p.key not in choice.granted}
    told = (service for service in catalogue.disclosed if service.cookieless and service.key in denied)
    return frozenset(service.key for service in told if refused.isdisjoint(service.purposes))


@lru_cache(maxsize=256)
def _named(denied: frozenset[str]) -> str:
    return ",".join(sorted(denied))


def _stale(catalogue: Catalogue, choice: Choice | None, now: datetime, valid_for: timedelta) -> str:
    if choice is None:
        return "no choice"
    # A choice from the future was dated by a clock that was wrong; taken at its word it might never end.
    if not -_CLOCK_SKEW < now - choice.at < valid_for:
        return "expired"
    if choice.fingerprint != catalogue.fingerprint:
        return "notice changed"
    return ""


def _verdict(purpose: Purpose, regime: Regime, choice: Choice | None, stale: str, *, gpc: bool, minor: bool) -> Verdict:
    if not purpose.optional:
        return Verdict(True, "necessary")
    if minor and purpose.kind in DENIED_BY_GPC:
        return Verdict(False, "minor")
    if gpc and purpose.kind in DENIED_BY_GPC:
        return Verdict(False, "gpc")
    if choice is not None and not stale:
        # A purpose the visitor was not asked about was not granted.
        return Verdict(purpose.key in choice.granted, "choice")
    if purpose.kind not in regime.granted:
        # Under a regime that asks first, the missing answer is the reason; a stale one says why it is missing.
        return Verdict(False, stale)
    if choice is not None and purpose.key not in choice.granted:
        return Verdict(False, stale)
    if gpc and purpose.kind == "analytics":
        # Without a choice, a signal against tracking also speaks against measurement that nobody asked for.
        return Verdict(False, "gpc")
    return Verdict(True, "regime")


def _tier(catalogue: Catalogue, purposes: Mapping[str, Verdict], choice: Choice | None) -> str:
    reasons = {p.kind: purposes[p.key].reason for p in catalogue.purposes.values() if purposes[p.key].granted}
    if "analytics" not in reasons:
        return "count"
    if reasons["analytics"] != "choice":
        return "coarse"
    return "person" if choice is not None and reasons.keys() & {"advertising", "email_measurement"} else "visit"


def _google(catalogue: Catalogue, purposes: Mapping[str, Verdict]) -> dict[str, str]:
    return {
        signal: "granted" if keys is None or (keys and all(purposes[key].granted for key in keys)) else "denied"
        for signal, keys in _behind(catalogue)
    }


@lru_cache(maxsize=16)
def _behind(catalogue: Catalogue) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """Each signal with the purposes that all have to be granted for it; None: it needs none.

    Those for which a service of Google's stands in the notice, of the signal's kind: a survey that was allowed,
    which is of kind analytics, too, says nothing about Analytics. Without such a service, all of that kind.
    """
    found: list[tuple[str, tuple[str, ...] | None]] = []
    for signal, kind in GOOGLE_SIGNALS.items():
        alike = [p.key for p in catalogue.purposes.values() if p.kind == kind]
        used = {key for service in catalogue.disclosed if signal in service.google for key in service.purposes}
        found.append((signal, None if kind == "necessary" else tuple([k for k in alike if k in used] or alike)))
    return tuple(found)
