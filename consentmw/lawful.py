"""What laws have to say about settings: what a regime forbids stops the start, what is weak is said.

Each finding names its rule and where the rule is written down. Only regimes that a visitor of this
site can get count: those of its region selector, of its guesses, and the fallback. Not legal
advice: the rules that a program can check, no more. Refuses to change any setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .errors import SettingsError
from .purposes import Catalogue
from .regions import Law, Regions
from .settings import Settings

__all__ = ["Finding", "examine", "refuse_unlawful"]

#: regimes from the one that allows most before a choice to the one that allows least
_STRICTNESS: Final = {"notice": 0, "opt_out": 1, "opt_in_stats_exempt": 2, "opt_in": 3, "strict": 4}
_ASKS_FIRST: Final = frozenset({"opt_in_stats_exempt", "opt_in", "strict"})
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
    """The warnings; raises SettingsError for the first setting that a configured regime forbids."""
    found = list(examine(settings, catalogue, regions, now))
    for finding in found:
        if finding.forbidden:
            raise SettingsError(finding.key, str(finding))
    return found


def examine(settings: Settings, catalogue: Catalogue, regions: Regions, now: datetime) -> Iterator[Finding]:
    """Everything there is to say about these settings on this day."""
    yield from _weaker(settings, now)
    yield from _misnamed(settings, catalogue)
    regimes = _possible(settings, regions, now)
    asking = sorted(regimes & _ASKS_FIRST)
    if asking and settings.valid_days < _REST:
        text = f"{_REST} days or more: who refused is asked again after {settings.valid_days}, which wears people down"
        yield Finding(False, "no repeated asking", "valid_days", text, "CNIL recommendation 2020-092; Garante 2021")
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
    if settings.fallback_regime not in _ASKS_FIRST:
        text = f"who comes from an unknown region gets {settings.fallback_regime}, also where the law asks first"
        yield Finding(False, "unknown region", "fallback_regime", text, "ePrivacy Directive art. 5(3)")
    if settings.fallback_regime == "notice":
        text = "opt_out or stricter: a visitor from a state that is not known may live in one with an opt-out law"
        yield Finding(False, "unknown state", "fallback_regime", text, "US state privacy laws, see data/regimes.toml")


def _possible(settings: Settings, regions: Regions, now: datetime) -> set[str]:
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
