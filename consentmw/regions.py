"""Which rule applies where and when: a region, and the regime that its law sets on a day.

Regimes and regions are data (data/regimes.toml) with source and dates: a law that starts on a day
starts then by itself. A site overrides single regions. Refuses to guess: a region that nobody
stated is unknown, and unknown gets the site's fallback, by default the strictest regime.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from .errors import SettingsError

__all__ = ["DECLINED", "Law", "Regime", "Regions"]

#: the region of a visitor who was asked and said NO THANKS
DECLINED: Final = "-"

_REGION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_DATA: Final = Path(__file__).parent / "data" / "regimes.toml"
#: where a day begins first: nobody's law is applied later than it starts
_FIRST_MIDNIGHT: Final = timedelta(hours=14)
_ALWAYS: Final = date.min


@dataclass(frozen=True, slots=True)
class Regime:
    """What the law of a region allows before anybody chose (the table's source: data/regimes.toml)."""

    key: str
    #: kinds of purpose that may run without a choice
    granted: frozenset[str]
    #: whether the visitor is asked by a banner
    ask: bool


@dataclass(frozen=True, slots=True)
class Law:
    """What sets the regime of a region from a day on."""

    #: first day in force
    since: date
    #: key of the regime
    regime: str
    source: str
    #: how well the row was checked: high, medium or low; "site" for a site's own setting
    confidence: str
    #: first day on which a browser's opt-out signal has to be honoured, or None
    signal: date | None = None
    #: days for which whoever opted out must not be asked to opt in again
    rest: int = 0


@dataclass(frozen=True, slots=True)
class Regions:
    """Region code to the laws in force there, compiled at start."""

    regimes: Mapping[str, Regime]
    #: by region, the oldest law first; the first of each has always been in force
    laws: Mapping[str, tuple[Law, ...]]
    fallback: str

    def law(self, region: str, now: datetime) -> Law:
        """What applies for an ISO 3166-2 code: to the subdivision, else its country, else the fallback."""
        laws = self.laws.get(region) or self.laws.get(region.partition("-")[0])
        if laws is None:
            return Law(_ALWAYS, self.fallback, "fallback_regime: the region is not known", "site")
        today = _today(now)
        return next(law for law in reversed(laws) if law.since <= today)

    def regime(self, region: str, now: datetime) -> Regime:
        """The regime of that law."""
        return self.regimes[self.law(region, now).regime]

    def signalled(self, region: str, now: datetime) -> bool:
        """Whether the law there makes it a duty to honour a browser's opt-out signal."""
        since = self.law(region, now).signal
        return since is not None and since <= _today(now)

    def until(self, region: str, now: datetime) -> datetime | None:
        """When the next law of this region starts, or None."""
        laws = self.laws.get(region) or self.laws.get(region.partition("-")[0]) or ()
        today = _today(now)
        coming = next((law.since for law in laws if law.since > today), None)
        return datetime(coming.year, coming.month, coming.day, tzinfo=UTC) - _FIRST_MIDNIGHT if coming else None

    @classmethod
    def load(cls, *, fallback: str = "strict", overrides: Mapping[str, str] | None = None) -> Regions:
        """The shipped table with a site's own regions over it. Raises SettingsError."""
        regimes, laws = _shipped()
        if fallback not in regimes:
            raise SettingsError("fallback_regime", f"one of {', '.join(regimes)}, not {fallback!r}")
        own: dict[str, tuple[Law, ...]] = {}
        for region, key in (overrides or {}).items():
            if not _REGION.fullmatch(region):
                raise SettingsError(f"regimes.{region}", "an ISO 3166 code: US-IA for a state, DE for a country")
            if key not in regimes:
                raise SettingsError(f"regimes.{region}", f"one of {', '.join(regimes)}, not {key!r}")
            own[region] = (Law(_ALWAYS, key, f"regimes.{region}", "site"),)
        return cls(regimes, {**laws, **own}, fallback)


def _today(now: datetime) -> date:
    return (now.astimezone(UTC) + _FIRST_MIDNIGHT).date()


@lru_cache(maxsize=1)
def _shipped() -> tuple[dict[str, Regime], dict[str, tuple[Law, ...]]]:
    with _DATA.open("rb") as file:
        data = tomllib.load(file)
    regimes = {
        key: Regime(key, frozenset(value["granted"]), bool(value["ask"])) for key, value in data["regimes"].items()
    }
    return regimes, {region: tuple(_laws(row)) for region, row in data["regions"].items()}


def _laws(row: Mapping[str, Any]) -> list[Law]:
    rows = [{**row, "from": _ALWAYS}, *row.get("laws", ())]
    laws = [
        Law(law["from"], law["regime"], law["source"], law["confidence"], law.get("signal"), law.get("rest", 0))
        for law in rows
    ]
    return sorted(laws, key=lambda law: law.since)
