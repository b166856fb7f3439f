"""Each region has the regime its law sets, one that nobody stated gets the fallback, typing errors stop the start."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from consentmw.errors import SettingsError
from consentmw.purposes import KINDS
from consentmw.regions import DECLINED, Regions

TABLE = tomllib.loads((resources.files("consentmw") / "data" / "regimes.toml").read_text("utf-8"))
REGIONS = Regions.load()

STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR "
    "PA RI SC SD TN TX UT VT VA WA WV WI WY DC"
)
EEA = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO"


@pytest.mark.parametrize(
    ("region", "regime"),
    [
        ("US-IA", "opt_out"),
        ("US-MN", "opt_out"),
        ("US-CA", "opt_out"),
        ("US-WI", "notice"),
        ("US-IL", "notice"),
        ("US-MI", "notice"),
        ("US-OK", "notice"),
        ("US-GA", "notice"),
        ("US", "opt_out"),
        ("US-ZZ", "opt_out"),
        ("DE", "opt_in"),
        ("DE-BY", "opt_in"),
        ("FR", "opt_in_stats_exempt"),
        ("GB", "opt_in_stats_exempt"),
        ("CA", "opt_out"),
        ("CA-ON", "opt_out"),
        ("CA-QC", "opt_in"),
        ("BR", "opt_in"),
        ("JP", "notice"),
        ("ZZ", "strict"),
        ("", "strict"),
        (DECLINED, "strict"),
        ("us-ia", "strict"),
        ("US-IA-X", "opt_out"),
    ],
)
def test_the_subdivision_else_the_country_else_the_fallback(region: str, regime: str) -> None:
    assert REGIONS.regime(region).key == regime


def test_a_site_overrides_single_regions_and_the_fallback() -> None:
    regions = Regions.load(fallback="opt_out", overrides={"US-IA": "opt_in", "XX": "notice"})
    asked = ("US-IA", "US-WI", "XX", "", DECLINED)
    assert [regions.regime(region).key for region in asked] == ["opt_in", "notice", "notice", "opt_out", "opt_out"]
    assert REGIONS.regime("US-IA").key == "opt_out", "the shipped table is not touched"


@pytest.mark.parametrize(
    ("fallback", "overrides", "key"),
    [
        ("lax", {}, "fallback_regime"),
        ("", {}, "fallback_regime"),
        ("strict", {"US-IA": "lax"}, "regimes.US-IA"),
        ("strict", {"Iowa": "opt_in"}, "regimes.Iowa"),
        ("strict", {"us-ia": "opt_in"}, "regimes.us-ia"),
        ("strict", {"": "opt_in"}, "regimes."),
        ("strict", {"fallback": "opt_in"}, "regimes.fallback"),
    ],
)
def test_a_typing_error_is_named_at_start(fallback: str, overrides: dict[str, str], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Regions.load(fallback=fallback, overrides=overrides)
    assert caught.value.key == key


def test_regimes_that_ask_first_grant_nothing() -> None:
    """One word too many in the table would let trackers run before anybody chose."""
    granted = {key: regime.granted for key, regime in REGIONS.regimes.items()}
    after = frozenset({"preferences", "analytics", "advertising", "sale"})
    assert granted == {
        "strict": frozenset(),
        "opt_in": frozenset(),
        "opt_in_stats_exempt": frozenset(),
        "opt_out": after,
        "notice": after,
    }
    assert after <= set(KINDS)
    assert all(regime.ask for regime in REGIONS.regimes.values())


@pytest.mark.parametrize("country", EEA.split())
def test_nothing_runs_unasked_in_europe(country: str) -> None:
    assert not REGIONS.regime(country).granted


@pytest.mark.parametrize("state", STATES.split())
def test_every_state_is_listed(state: str) -> None:
    """Otherwise it would get the regime of an unknown state, silently."""
    assert TABLE["regions"][f"US-{state}"]["regime"] in ("opt_out", "notice")


@pytest.mark.parametrize(("region", "row"), TABLE["regions"].items())
def test_every_row_names_its_source(region: str, row: dict[str, str]) -> None:
    assert set(row) == {"regime", "source", "confidence"}
    assert row["regime"] in TABLE["regimes"]
    assert len(row["source"]) > 3
    assert row["confidence"] in ("high", "medium", "low")
