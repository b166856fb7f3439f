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
from .consentmode import google_signals
from .purposes import Catalogue, Purpose
from .regions import Regime
from .signals import Heard
from .standing import Standing, stand

__all__ = [
    "DENIED_BY_GPC", "TIERS", "Decision", "Verdict", "closed", "decide", "granted_kinds", "honoured", "once",
    "showable",
]  # fmt: skip

#: the four tiers of recording, least to most (design 3)
TIERS: Final = ("count", "coarse", "visit", "person")

#: what Global Privacy Control denies, over a general yes too: sale, sharing and targeted advertising (W3C GPC,
#: section 3.1; 11 CCR 7025)
DENIED_BY_GPC: Final = frozenset({"advertising", "sale"})
#: what it denies where nobody chose: a signal against tracking also speaks against measurement unasked for
_BY_GPC: Final = ("gpc", DENIED_BY_GPC | {"analytics"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Granted or denied, and the reason in a word that operators can count.

    Reasons: ``necessary``, ``choice``, ``gpc`` or the key of another signal, ``regime``, ``no choice``, ``expired``,
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
    #: whether Global Privacy Control is on
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
    #: keys of the browser's signals that are on
    signals: tuple[str, ...] = ()
    #: kinds of purpose that these deny, and those among them that the visitor allowed in a step of its own
    opposed: frozenset[str] = frozenset()
    overridden: frozenset[str] = frozenset()
    #: whether the visitor is known to be a minor
    minor: bool = False
    #: fingerprint of what was asked about when the visitor chose, if that has changed since and they are asked again
    chosen_under: str = ""
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
            self.chosen_under,
            f"{self.ask:d}{self.gpc:d}{self.minor:d}",
            *self.signals,
            _named(self.opposed),
            _named(self.overridden),
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
    rest: timedelta = timedelta(),
    others: Heard = (),
    region: str = "",
    region_source: str = "unknown",
    minor: bool = False,
    advanced: bool = False,
    law_until: datetime | None = None,
) -> Decision:
    """Decide every purpose and service: explicit choice, then browser signal, then the regime's default.

    A signal denies advertising and sale even over an older "accept all" (11 CCR 7025; W3C GPC), unless the
    choice in force granted them in a step of its own. A choice that expired or was made under other purposes
    and services counts as none, except that what it refused stays refused until the visitor chooses again.

    ``rest``: how long nobody is asked again who refused everything or, where things run unasked, opted out of
    sale and advertising. ``others``: signals beside ``gpc``. A known ``minor``: Cal. Civ. Code 1798.120(c), and
    the laws of CT and MD, where not even consent allows advertising to a minor; one rule for everywhere.
    ``advanced``: whether consent-aware code may load before a choice (Google's Advanced consent mode).
    """
    firm = _firm(catalogue)
    standing = stand(
        choice,
        now=now,
        fingerprint=catalogue.fingerprint,
        valid_for=valid_for,
        rest=rest,
        enough=firm if regime.granted >= DENIED_BY_GPC else (),
    )
    heard = (_BY_GPC, *others) if gpc else others
    opposed = {kind: key for key, kinds in reversed(heard) for kind in kinds}
    overridden = _overridden(catalogue, standing).intersection(opposed) if heard and not minor else frozenset()
    against = {kind: key for kind, key in opposed.items() if kind not in overridden} if overridden else opposed
    purposes = {
        purpose.key: _verdict(purpose, regime, standing, against, minor=minor)
        for purpose in catalogue.purposes.values()
    }
    services, denied = _services(catalogue, tuple(purposes.items()))
    early = advanced and not heard and not minor
    cookieless = _cookieless(catalogue, denied, standing) if early else frozenset()
    in_force = standing.in_force
    return Decision(
        purposes=purposes,
        services={**services, **dict.fromkeys(cookieless, Verdict(False, "advanced"))} if cookieless else services,
        tier=_tier(catalogue, purposes, in_force),
        regime=regime.key,
        region=region,
        region_source=region_source,
        language=language,
        gpc=gpc,
        notice=notice,
        receipt=in_force.receipt if in_force else "",
        ask=in_force is None and regime.ask,
        denied=denied,
        google=google_signals(catalogue, [key for key, verdict in purposes.items() if verdict.granted]),
        cookieless=cookieless,
        chosen_under=choice.fingerprint if choice is not None and standing.stale == "notice changed" else "",
        signals=tuple(key for key, _ in heard),
        opposed=frozenset(opposed),
        overridden=overridden,
        minor=minor,
        until=min(filter(None, (standing.until, law_until)), default=None),
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
        google=google_signals(catalogue, [key for key, verdict in purposes.items() if verdict.granted]),
    )


def granted_kinds(catalogue: Catalogue, decision: Decision) -> frozenset[str]:
    """The kinds of purpose that were granted, each by at least one purpose of this kind."""
    return frozenset(catalogue.purposes[key].kind for key, verdict in decision.purposes.items() if verdict.granted)


def honoured(catalogue: Catalogue, decision: Decision) -> bool:
    """Whether a signal against sale and advertising is on and in force, so that visitors are told so.

    Also where a site does neither (11 CCR 7025(c)(6)).
    """
    denied = any(decision.why(key) in decision.signals for key in _firm(catalogue))
    return denied or (bool(decision.opposed & DENIED_BY_GPC) and not decision.overridden)


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


@lru_cache(maxsize=16)
def _firm(catalogue: Catalogue) -> frozenset[str]:
    """Keys of the purposes that a signal denies over a general yes."""
    return frozenset(p.key for p in catalogue.purposes.values() if p.kind in DENIED_BY_GPC)


def _overridden(catalogue: Catalogue, standing: Standing) -> frozenset[str]:
    """Kinds of purpose that an override in force granted."""
    choice = standing.choice
    if choice is None or not choice.override or standing.stale:
        return frozenset()
    return frozenset(catalogue.purposes[key].kind for key in choice.granted & _firm(catalogue))


def _cookieless(catalogue: Catalogue, denied: frozenset[str], standing: Standing) -> frozenset[str]:
    """The denied services that nobody has refused and whose code stores nothing by itself.

    A refusal is kept, also one that is due to be asked again: then nothing of them loads.
    """
    refused = {p.key for p in catalogue.purposes.values() if p.optional and standing.refused(p.key)}
    told = (service for service in catalogue.disclosed if service.cookieless and service.key in denied)
    return frozenset(service.key for service in told if refused.isdisjoint(service.purposes))


@lru_cache(maxsize=256)
def _named(denied: frozenset[str]) -> str:
    return ",".join(sorted(denied))


def _verdict(
    purpose: Purpose, regime: Regime, standing: Standing, against: Mapping[str, str], *, minor: bool
) -> Verdict:
    if not purpose.optional:
        return Verdict(True, "necessary")
    firm, signal = purpose.kind in DENIED_BY_GPC, against.get(purpose.kind)
    if minor and firm:
        return Verdict(False, "minor")
    if signal and firm:
        return Verdict(False, signal)
    if (said := standing.says(purpose.key)) is not None:
        # A purpose the visitor was not asked about was not granted.
        return Verdict(said, "choice")
    if purpose.kind not in regime.granted or standing.refused(purpose.key):
        # Under a regime that asks first, the missing answer is the reason; a stale one says why it is missing.
        return Verdict(False, standing.stale or "no choice")
    if signal:
        return Verdict(False, signal)
    return Verdict(True, "regime")


def _tier(catalogue: Catalogue, purposes: Mapping[str, Verdict], choice: Choice | None) -> str:
    reasons = {p.kind: purposes[p.key].reason for p in catalogue.purposes.values() if purposes[p.key].granted}
    if "analytics" not in reasons:
        return "count"
    if reasons["analytics"] != "choice":
        return "coarse"
    return "person" if choice is not None and reasons.keys() & {"advertising", "email_measurement"} else "visit"
