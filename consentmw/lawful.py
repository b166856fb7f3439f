"""What laws have to say about settings: what a regime forbids stops the start, what is weak is said.

Each finding names its rule and where the rule is written down. Only regimes that a visitor of this
site can get count: those of its region selector, of its guesses, and the fallback. Not legal
advice: the rules that a program can check, no more. Refuses to change any setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .errors import SettingsError
from .purposes import Catalogue, Purpose
from .regions import Law, Regions
from .settings import Settings
from .signals import Listening

__all__ = ["ASKS_FIRST", "Finding", "examine", "possible", "refuse", "refuse_unlawful"]

#: regimes from the one that allows most before a choice to the one that allows least
_STRICTNESS: Final = {"notice": 0, "opt_out": 1, "opt_in_stats_exempt": 2, "opt_in": 3, "strict": 4}
#: regimes under which nothing optional runs before the visitor said yes
ASKS_FIRST: Final = frozenset({"opt_in_stats_exempt", "opt_in", "strict"})
#: what a page loads that can watch a visitor, by the names of the setting ``unknown``
_WATCHING: Final = ("script", "frame", "pixel", "connect")
#: the kinds of purpose that Global Privacy Control ends
_SIGNALLED: Final = frozenset({"advertising", "sale"})
#: the shortest time before a visitor who refused is asked again, in days
_REST: Final = 180
#: the longest that rows of audience measurement may be kept, in days: 25 months
_LONGEST: Final = 760


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a law, or the authority that applies it, says about a setting."""

    #: whether the site may not start like this
    forbidden: bool
    #: short name of the rule
    rule: str
    #: the setting
    key: str
    text: str
    #: where it is written
    source: str

    def __str__(self) -> str:
        return f"{self.text} [{self.rule}; {self.source}]"


def refuse_unlawful(settings: Settings, catalogue: Catalogue, regions: Regions, now: datetime) -> list[Finding]:
    """The warnings; raises SettingsError for what a configured regime forbids."""
    return refuse(examine(settings, catalogue, regions, now))


def refuse(findings: Iterable[Finding]) -> list[Finding]:
    """The warnings among these findings; raises SettingsError with all of the others, if there are any."""
    found = list(findings)
    if forbidden := [finding for finding in found if finding.forbidden]:
        # All of them at once: who mends one should not meet the next at the next start.
        first, *others = forbidden
        raise SettingsError(first.key, "\n".join([str(first), *(f"{other.key}: {other}" for other in others)]))
    return found


def examine(settings: Settings, catalogue: Catalogue, regions: Regions, now: datetime) -> Iterator[Finding]:
    """Everything there is to say about these settings on this day."""
    yield from _weaker(settings, now)
    yield from _misnamed(settings, catalogue)
    yield from _recast(settings, catalogue)
    regimes = possible(settings, regions, now)
    asking = sorted(regimes & ASKS_FIRST)
    if asking and settings.valid_days < _REST:
        often = f"who refused a part is asked again after {settings.valid_days}, which wears people down"
        text = f"{_REST} days or more: {often}"
        yield Finding(False, "no repeated asking", "valid_days", text, "CNIL recommendation 2020-092; Garante 2021")
    yield from _rests(settings, now)
    yield from _deaf(settings, now)
    if asking and (loose := sorted(kind for kind in _WATCHING if settings.unknown[kind] != "withhold")):
        text = f"withhold for {', '.join(loose)}: nobody was asked about hosts that nobody named"
        yield Finding(False, "nothing before consent", "unknown", text, "ePrivacy Directive art. 5(3)")
    for tier, days in settings.retention_days.items():
        if asking and tier != "coarse" and days > _LONGEST:
            text = f"{_LONGEST} days or less for {tier} rows, 25 months, not {days}"
            yield Finding(
                False, "storage limit", "retention_days", text, "CNIL on audience measurement; GDPR art. 5(1)(e)"
            )
    if not settings.footer:
        text = "pages have no line with the link to the choices: the site's own templates have to link to them"
        yield Finding(
            False, "withdrawal as easy as consent", "footer", text, "GDPR art. 7(3); EDPB Cookie Banner Taskforce K"
        )
    if settings.fallback_regime not in ASKS_FIRST:
        text = f"who comes from an unknown region gets {settings.fallback_regime}, also where the law asks first"
        yield Finding(False, "unknown region", "fallback_regime", text, "ePrivacy Directive art. 5(3)")
    if settings.fallback_regime == "notice":
        text = "opt_out or stricter: a visitor from a state that is not known may live in one with an opt-out law"
        yield Finding(False, "unknown state", "fallback_regime", text, "US state privacy laws, see data/regimes.toml")


def _met(settings: Settings) -> set[str]:
    """Codes of the regions that a visitor of this site can state, or be guessed to come from."""
    shipped = Regions.load().laws.keys()
    stated = {choice.code for choice in settings.region_choices}
    if settings.guesses_region:
        return stated | shipped
    # Somebody from a state that is not named may live in any of them.
    return stated | {code for code in shipped if code.startswith("US-") and "US" in stated}


def _rests(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Refusals that are not left alone as long as they should be."""
    shipped = Regions.load()
    days = settings.refusal_days
    laws = {code: law for code in sorted(_met(settings)) if (law := shipped.law(code, now)).rest > days}
    for code, law in laws.items():
        text = f"{law.rest} days or more where visitors may come from {code}, not {days}"
        yield Finding(True, "an opt-out rests", "refusal_days", text, law.source)
    if days < _REST and not laws:
        text = f"{_REST} days or more: who refused everything is asked again after {days}, which wears people down"
        source = "CNIL recommendation 2020-092; Garante 2021; Digital Omnibus, COM(2025) 837, art. 88a"
        yield Finding(False, "no repeated asking", "refusal_days", text, source)


def _deaf(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Global Privacy Control switched off."""
    if Listening.load(settings.signals, dnt=False).gpc:
        return
    shipped = Regions.load()
    owed = [code for code in sorted(_met(settings)) if shipped.signalled(code, now)]
    if owed:
        text = f'"gpc" among them: visitors may come from {", ".join(owed)}, where it is a duty'
        yield Finding(True, "a signal is honoured", "signals", text, shipped.law(owed[0], now).source)
    else:
        text = '"gpc" among them: a visitor whose region nobody knows may live where it is a duty'
        yield Finding(False, "a signal is honoured", "signals", text, "US state privacy laws, see data/regimes.toml")


def possible(settings: Settings, regions: Regions, now: datetime) -> set[str]:
    """Keys of the regimes that a visitor of this site can get."""
    codes = {choice.code for choice in settings.region_choices}
    if settings.guesses_region:
        codes |= regions.laws.keys()
    return {settings.fallback_regime, *(regions.regime(code, now).key for code in codes)}


def _weaker(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Regions for which the site set less than their law asks for."""
    shipped = Regions.load()
    for code, key in settings.regimes.items():
        law = shipped.law(code, now)
        if law.confidence == "site":
            # A region the table doesn't know: nothing to compare with.
            continue
        if _STRICTNESS[key] < _STRICTNESS[law.regime]:
            text = f"{law.regime} or stricter for {code}, not {key}"
            # A guess of ours stops nobody who examined the law.
            yield Finding(law.confidence != "low", "weaker than the law", f"regimes.{code}", text, law.source)
        elif (coming := _coming(shipped, code, now)) and _STRICTNESS[key] < _STRICTNESS[coming.regime]:
            text = f"{coming.regime} or stricter for {code} from {coming.since}, not {key}"
            yield Finding(False, "weaker than a coming law", f"regimes.{code}", text, coming.source)


def _coming(regions: Regions, code: str, now: datetime) -> Law | None:
    start = regions.until(code, now)
    return regions.law(code, start) if start is not None else None


def _misnamed(settings: Settings, catalogue: Catalogue) -> Iterator[Finding]:
    """Optional services that the site calls necessary."""
    needed = {purpose.key for purpose in catalogue.purposes.values() if not purpose.optional}
    shipped = Catalogue.load()
    for key, service in catalogue.services.items():
        known = shipped.services.get(key)
        if key in settings.services and known is not None and set(service.purposes) <= needed:
            serves = ", ".join(known.purposes)
            text = f"a purpose that visitors can refuse: {known.name} serves {serves} and is not necessary"
            source = "ePrivacy Directive art. 5(3); EDPB Cookie Banner Taskforce I"
            yield Finding(True, "nothing optional is necessary", f"services.{key}.purposes", text, source)


def _recast(settings: Settings, catalogue: Catalogue) -> Iterator[Finding]:
    """Purposes and services that the site calls another kind than they are, out of reach of a choice or a signal."""
    shipped = Catalogue.load()
    for key, known in shipped.purposes.items():
        own = catalogue.purposes.get(key)
        if key not in settings.purposes or own is None:
            continue
        if known.optional and not own.optional:
            text = f"a kind that visitors can refuse, such as {known.kind}"
            source = "ePrivacy Directive art. 5(3); EDPB Cookie Banner Taskforce I"
            yield Finding(True, "nothing optional is necessary", f"purposes.{key}.kind", text, source)
        elif known.kind in _SIGNALLED and own.kind not in _SIGNALLED:
            text = f"advertising or sale, which Global Privacy Control ends, not {own.kind}"
            yield Finding(True, "a signal is honoured", f"purposes.{key}.kind", text, "11 CCR 7025; W3C GPC")
    for key, service in catalogue.services.items():
        known_service = shipped.services.get(key)
        if key not in settings.services or known_service is None:
            continue
        was = _kinds(known_service.purposes, shipped.purposes)
        now = _kinds(service.purposes, catalogue.purposes)
        if was & _SIGNALLED and not now & _SIGNALLED and now != {"necessary"}:
            text = f"a purpose of kind advertising or sale: {known_service.name} serves {', '.join(sorted(was))}"
            # What serves other kinds, too, may be set up for those alone: a container that holds only measurement.
            never = was <= _SIGNALLED
            yield Finding(never, "a signal is honoured", f"services.{key}.purposes", text, "11 CCR 7025; W3C GPC")


def _kinds(keys: Iterable[str], purposes: Mapping[str, Purpose]) -> set[str]:
    return {purposes[key].kind for key in keys if key in purposes}
