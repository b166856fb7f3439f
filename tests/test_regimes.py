"""The whole table of the law: every region, signal, choice and date has the verdicts that the data promises, and why.

The expectation is worked out anew from data/regimes.toml, by a reading of the rules that shares no
code with the product: explicit choice, then browser signal, then the regime's default; a signal
against sale and advertising wins over every general yes; what a stale choice refused stays refused.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from itertools import product
from typing import Any

import pytest

from consentmw.choice import Choice
from consentmw.decision import decide
from consentmw.purposes import Catalogue
from consentmw.regions import Regions

TABLE = tomllib.loads((resources.files("consentmw") / "data" / "regimes.toml").read_text("utf-8"))
CATALOGUE = Catalogue.load(purposes={"sale": {"kind": "sale", "title": "Sale", "text": "Sell data."}})
OPTIONAL = {key: purpose.kind for key, purpose in CATALOGUE.purposes.items() if purpose.optional}
REGIONS = Regions.load()
TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
VALID = timedelta(days=180)
CHOICES = ("none", "all", "nothing", "expired all", "expired nothing", "other notice")
AGAINST = {"advertising", "sale"}


def days_of(row: dict[str, Any]) -> list[datetime]:
    """Today, and for every law of the region the last moment before it and the first moment of it."""
    starts = [datetime.combine(law["from"], datetime.min.time(), UTC) - timedelta(hours=14) for law in row["laws"]]
    return [TODAY, *(moment for start in starts for moment in (start - timedelta(seconds=1), start))]


def regime_on(row: dict[str, Any], now: datetime) -> str:
    key: str = row["regime"]
    for law in row["laws"]:
        if law["from"] <= (now + timedelta(hours=14)).date():
            key = law["regime"]
    return key


def chosen(name: str, now: datetime) -> Choice | None:
    if name == "none":
        return None
    granted = frozenset(OPTIONAL) if "all" in name or "other" in name else frozenset[str]()
    made = now - timedelta(days=200 if "expired" in name else 20)
    return Choice("receipt", made, "another" if "other" in name else CATALOGUE.fingerprint, granted)


def expected(regime: dict[str, Any], kind: str, choice: str, *, gpc: bool) -> tuple[bool, str]:
    if gpc and kind in AGAINST:
        return False, "gpc"
    if choice in ("all", "nothing"):
        return choice == "all", "choice"
    stale = {"none": "no choice", "other notice": "notice changed"}.get(choice, "expired")
    if kind not in regime["granted"] or choice == "expired nothing":
        return False, stale
    if gpc and kind == "analytics":
        return False, "gpc"
    return True, "regime"


CASES = {region: {"laws": [], **row} for region, row in {**TABLE["regions"], "": {"regime": "strict"}}.items()}


@pytest.mark.parametrize("region", CASES)
def test_every_region_signal_choice_and_date(region: str) -> None:
    row = CASES[region]
    for now, name, gpc in product(days_of(row), CHOICES, (False, True)):
        key = regime_on(row, now)
        decision = decide(
            CATALOGUE,
            REGIONS.regime(region, now),
            chosen(name, now),
            now=now,
            language="en",
            gpc=gpc,
            notice="",
            valid_for=VALID,
            region=region,
        )
        assert decision.regime == key
        for purpose, kind in OPTIONAL.items():
            verdict = decision.purposes[purpose]
            assert (verdict.granted, verdict.reason) == expected(TABLE["regimes"][key], kind, name, gpc=gpc), (
                f"{purpose} on {now} under {key}, choice {name}, gpc {gpc}"
            )
        for service in CATALOGUE.disclosed:
            allowed = all(decision.purposes[purpose].granted for purpose in service.purposes)
            assert (service.key in decision.denied) is not allowed
        assert decision.ask is (name not in ("all", "nothing"))


def test_the_table_is_as_large_as_the_world() -> None:
    """A table that lost its rows would pass every test above."""
    assert len(TABLE["regions"]) > 150
    assert sum(len(row["laws"]) for row in CASES.values()) >= 25
    coming = {law["from"] for row in CASES.values() for law in row["laws"] if law["from"] > TODAY.date()}
    assert coming >= {date(2027, 1, 1), date(2027, 5, 1), date(2028, 1, 1)}
