"""Which rule applies where: a region stated by the visitor, and the regime the law sets there.

Regimes and regions are data (data/regimes.toml) with their source and date; a site overrides
single regions. Refuses to guess: a region that nobody stated is unknown, and unknown gets the
site's fallback, by default the strictest regime.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from .errors import SettingsError

__all__ = ["DECLINED", "Regime", "Regions"]

#: the region of a visitor who was asked and said NO THANKS
DECLINED: Final = "-"

_REGION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_DATA: Final = Path(__file__).parent / "data" / "regimes.toml"


@dataclass(frozen=True, slots=True)
class Regime:
    """What the law of a region allows before anybody chose (the table's source: data/regimes.toml)."""

    key: str
    #: kinds of purpose that may run without a choice
    granted: frozenset[str]
    #: whether the visitor is asked by a banner
    ask: bool


@dataclass(frozen=True, slots=True)
class Regions:
    """Region code to regime, compiled at start."""

    regimes: Mapping[str, Regime]
    by_region: Mapping[str, str]
    fallback: str

    def regime(self, region: str) -> Regime:
        """The regime for an ISO 3166-2 code: the subdivision, else its country, else the fallback."""
        key = self.by_region.get(region) or self.by_region.get(region.partition("-")[0])
        return self.regimes[key or self.fallback]

    @classmethod
    def load(cls, *, fallback: str = "strict", overrides: Mapping[str, str] | None = None) -> Regions:
        """The shipped table with a site's own regions over it. Raises SettingsError."""
        regimes, regions = _shipped()
        if fallback not in regimes:
            raise SettingsError("fallback_regime", f"one of {', '.join(regimes)}, not {fallback!r}")
        for region, key in (overrides or {}).items():
            if not _REGION.fullmatch(region):
                raise SettingsError(f"regimes.{region}", "an ISO 3166 code: US-IA for a state, DE for a country")
            if key not in regimes:
                raise SettingsError(f"regimes.{region}", f"one of {', '.join(regimes)}, not {key!r}")
        return cls(regimes, {**regions, **(overrides or {})}, fallback)


@lru_cache(maxsize=1)
def _shipped() -> tuple[dict[str, Regime], dict[str, str]]:
    with _DATA.open("rb") as file:
        data = tomllib.load(file)
    regimes = {
        key: Regime(key, frozenset(value["granted"]), bool(value["ask"])) for key, value in data["regimes"].items()
    }
    return regimes, {region: row["regime"] for region, row in data["regions"].items()}
