"""Each region has the regime its law sets, one that nobody stated gets the fallback, typing errors stop the start."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import Any

import pytest

from consentmw.errors import SettingsError
from consentmw.purposes import KINDS
from consentmw.regions import DECLINED, Law, Regions

TABLE = tomllib.loads((resources.files("consentmw") / "data" / "regimes.toml").read_text("utf-8"))
REGIONS = Regions.load()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

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
    assert REGIONS.regime(region, NOW).key == regime


def test_a_site_overrides_single_regions_and_the_fallback() -> None:
    regions = Regions.load(fallback="opt_out", overrides={"US-IA": "opt_in", "XX": "notice"})
    asked = ("US-IA", "US-WI", "XX", "", DECLINED)
    assert [regions.regime(region, NOW).key for region in asked] == ["opt_in", "notice", "notice", "opt_out", "opt_out"]
    assert REGIONS.regime("US-IA", NOW).key == "opt_out", "the shipped table is not touched"


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
    assert not REGIONS.regime(country, NOW).granted


@pytest.mark.parametrize("state", STATES.split())
def test_every_state_is_listed(state: str) -> None:
    """Otherwise it would get the regime of an unknown state, silently."""
    row = TABLE["regions"][f"US-{state}"]
    assert row["regime"] == "notice"
    assert [law["regime"] for law in row.get("laws", ())] in ([], ["opt_out"])


@pytest.mark.parametrize(("region", "row"), TABLE["regions"].items())
def test_every_row_names_its_source(region: str, row: dict[str, Any]) -> None:
    laws = row.get("laws", [])
    days = [law["from"] for law in laws]
    assert all(type(day) is date for day in days), "a text would not compare with a day"
    assert days == sorted(set(days))
    for law in (row, *laws):
        assert set(law) - {"laws", "from", "signal", "rest"} == {"regime", "source", "confidence"}
        assert type(law.get("signal", date.min)) is date
        assert type(law.get("rest", 0)) is int
        assert law["regime"] in TABLE["regimes"]
        assert len(law["source"]) > 3
        assert law["confidence"] in ("high", "medium", "low")


@pytest.mark.parametrize(
    ("region", "day"),
    [("US-OK", "2027-01-01"), ("US-LA", "2027-01-01"), ("US-AL", "2027-05-01"), ("US-VT", "2028-01-01"),
     ("US-IA", "2025-01-01"), ("US-MN", "2025-07-31"), ("US-CA", "2020-01-01")],
)  # fmt: skip
def test_a_law_starts_by_itself_when_its_day_begins_anywhere(region: str, day: str) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=14)
    before = start - timedelta(seconds=1)
    assert [REGIONS.regime(region, at).key for at in (before, start)] == ["notice", "opt_out"]
    assert REGIONS.until(region, before) == start
    assert REGIONS.until(region, start) is None
    assert REGIONS.law(region, start).since == date.fromisoformat(day)


def test_a_subdivision_has_no_law_of_its_country_beside_its_own() -> None:
    assert REGIONS.until("GB", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 2, 4, 10, tzinfo=UTC)
    assert REGIONS.until("GB-SCT", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 2, 4, 10, tzinfo=UTC)
    assert REGIONS.until("US-WI", NOW) is None
    assert REGIONS.until("", NOW) is None


def test_an_override_of_the_site_has_no_date_and_says_whose_it_is() -> None:
    regions = Regions.load(overrides={"US-OK": "opt_in"})
    for at in (NOW, NOW + timedelta(days=400)):
        assert regions.law("US-OK", at) == Law(date.min, "opt_in", "regimes.US-OK", "site")
    assert regions.until("US-OK", NOW) is None
    assert REGIONS.law("ZZ", NOW).confidence == "site", "the fallback is the site's, too"
