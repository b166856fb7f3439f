"""The whole table of the law: every region, signal, choice and date has the verdicts that the data promises, and why.

The expectation is worked out anew from data/regimes.toml, by a reading of the rules that shares no
code with the product: explicit choice, then browser signal, then the regime's default; a signal
against sale and advertising wins over every general yes, and gives way only to a step of its own; a
refusal rests for a year and stays one after it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from itertools import product
from typing import Any

import pytest

from consentmw.choice import Choice
from consentmw.decision import Decision, decide
from consentmw.purposes import Catalogue
from consentmw.regions import Regions
from consentmw.signals import Listening, Signal

TABLE = tomllib.loads((resources.files("consentmw") / "data" / "regimes.toml").read_text("utf-8"))
CATALOGUE = Catalogue.load(purposes={"sale": {"kind": "sale", "title": "Sale", "text": "Sell data."}})
OPTIONAL = {key: purpose.kind for key, purpose in CATALOGUE.purposes.items() if purpose.optional}
REGIONS = Regions.load()
TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
VALID, REST = 180, 365
EVERY = frozenset(OPTIONAL.values())
FIRM = frozenset({"advertising", "sale"})


@dataclass(frozen=True)
class Case:
    """A choice by the kinds of purpose it is about."""

    granted: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    #: days ago
    age: int = 20
    changed: bool = False
    override: bool = False

    def made(self, now: datetime) -> Choice:
        granted, silent = (
            frozenset(k for k, kind in OPTIONAL.items() if kind in kinds) for kinds in (self.granted, self.silent)
        )
        fingerprint = "another" if self.changed else CATALOGUE.fingerprint
        return Choice("receipt", now - timedelta(days=self.age), fingerprint, granted, silent, self.override)


SOME, SILENT = frozenset({"analytics", "preferences"}), EVERY - FIRM
CHOICES: dict[str, Case | None] = {
    "none": None,
    "all": Case(EVERY),
    "all, expired": Case(EVERY, age=200),
    "all, notice changed": Case(EVERY, changed=True),
    "nothing": Case(),
    "nothing, expired": Case(age=200),
    "nothing, notice changed": Case(changed=True),
    "nothing, rested": Case(age=REST),
    "some": Case(SOME),
    "some, expired": Case(SOME, age=200),
    "some, notice changed": Case(SOME, changed=True),
    "some, rested": Case(SOME, age=400),
    "analytics and advertising": Case(frozenset({"analytics", "advertising"}), age=VALID - 1),
    "opted out": Case(silent=SILENT),
    "opted out, expired": Case(silent=SILENT, age=200),
    "opted out, notice changed": Case(silent=SILENT, changed=True),
    "opted out, rested": Case(silent=SILENT, age=400),
    "override": Case(frozenset({"advertising"}), SILENT, override=True),
    "override, expired": Case(frozenset({"advertising"}), SILENT, age=VALID, override=True),
    "override, notice changed": Case(EVERY, changed=True, override=True),
    "from the future": Case(EVERY, age=-3),
}

#: a signal of the future, which is about measurement and content and says nothing about sale
QUIET = Signal(
    key="quiet",
    name="Quiet",
    header="sec-quiet",
    denies={"1": frozenset({"analytics", "preferences"})},
    source="a draft",
)
#: what is sent, whether Do Not Track counts, and what each signal that counts denies, in the order of reasons
SIGNALS: dict[str, tuple[dict[bytes, bytes], bool, list[tuple[str, frozenset[str]]]]] = {
    "none": ({}, False, []),
    "gpc": ({b"sec-gpc": b"1"}, False, [("gpc", FIRM | {"analytics"})]),
    "dnt, which does not count": ({b"dnt": b"1"}, False, []),
    "dnt, which counts": ({b"dnt": b"1"}, True, [("dnt", FIRM | {"analytics"})]),
    "dnt, which allows": ({b"dnt": b"0"}, True, []),
    "a coming one": ({b"sec-quiet": b"1"}, False, [("quiet", SOME)]),
    "gpc and a coming one": (
        {b"sec-gpc": b"1", b"sec-quiet": b"1"},
        True,
        [("gpc", FIRM | {"analytics"}), ("quiet", SOME)],
    ),
}
LISTENING = {dnt: Listening.load(("gpc", QUIET), dnt=dnt) for dnt in (False, True)}


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


def holds(case: Case, regime: dict[str, Any]) -> tuple[str, bool]:
    """Why the grants of a choice don't count, "" when they do; and whether its refusals are in force."""
    if case.age < -1:
        return "expired", False
    stale = "expired" if case.age >= VALID else "notice changed" if case.changed else ""
    # Where things run unasked, the refusal that counts is the one of sale and advertising.
    refusal = not case.granted & FIRM if "advertising" in regime["granted"] else not case.granted
    if not refusal or case.age >= REST:
        return stale, False
    return (stale, True) if case.granted or case.silent else ("", True)


def expected(
    regime: dict[str, Any], kind: str, case: Case | None, against: list[tuple[str, frozenset[str]]]
) -> tuple[bool, str]:
    signal = next((key for key, kinds in against if kind in kinds), "")
    stale, rests = holds(case, regime) if case else ("no choice", False)
    if kind in FIRM and signal and not (case and case.override and not stale and kind in case.granted):
        return False, signal
    if case and kind not in case.silent:
        if not stale:
            return kind in case.granted, "choice"
        if rests and kind not in case.granted:
            return False, "choice"
    if kind not in regime["granted"]:
        return False, stale or "no choice"
    if case and kind not in case.granted | case.silent:
        return False, stale
    if signal and kind not in FIRM:
        return False, signal
    return True, "regime"


def decided(region: str, now: datetime, choice: str, signal: str, **more: Any) -> Decision:
    sent, dnt, _ = SIGNALS[signal]
    case = CHOICES[choice]
    return decide(
        CATALOGUE,
        REGIONS.regime(region, now),
        case.made(now) if case else None,
        now=now,
        language="en",
        gpc=sent.get(b"sec-gpc") == b"1",
        others=LISTENING[dnt].others(lambda name: sent.get(name, b"")),
        notice="",
        valid_for=timedelta(days=VALID),
        rest=timedelta(days=REST),
        region=region,
        **more,
    )


CASES = {region: {"laws": [], **row} for region, row in {**TABLE["regions"], "": {"regime": "strict"}}.items()}


@pytest.mark.parametrize("region", CASES)
def test_every_region_signal_choice_and_date(region: str) -> None:
    row = CASES[region]
    seen = set()
    for now, name, signal in product(days_of(row), CHOICES, SIGNALS):
        key, case, against = regime_on(row, now), CHOICES[name], SIGNALS[signal][2]
        regime = TABLE["regimes"][key]
        decision = decided(region, now, name, signal)
        at = f"on {now} under {key}, choice {name}, signal {signal}"
        assert decision.regime == key, at
        for purpose, kind in OPTIONAL.items():
            verdict = decision.purposes[purpose]
            assert (verdict.granted, verdict.reason) == expected(regime, kind, case, against), f"{purpose} {at}"
        stale, rests = holds(case, regime) if case else ("no choice", False)
        assert decision.ask is bool(stale and not rests), at
        assert decision.receipt == ("" if decision.ask else "receipt"), at
        assert (decision.gpc, decision.signals) == (signal.startswith("gpc"), tuple(key for key, _ in against)), at
        if decision.state not in seen:
            seen.add(decision.state)
            for service in CATALOGUE.disclosed:
                allowed = all(decision.purposes[purpose].granted for purpose in service.purposes)
                assert (service.key in decision.denied) is not allowed, at


@pytest.mark.parametrize("regime", TABLE["regimes"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_to_a_known_minor_nothing_is_sold_and_nothing_advertised(regime: str, signal: str) -> None:
    """Whatever was chosen, also in a step of its own; and nothing else changes (STANDARDS 2.2, 1798.120(c))."""
    region = next(region for region, row in CASES.items() if regime_on(row, TODAY) == regime)
    for choice in CHOICES:
        adult, minor = (decided(region, TODAY, choice, signal, minor=flag) for flag in (False, True))
        assert (adult.minor, minor.minor) == (False, True)
        assert adult.state != minor.state, "a page for a minor is another page"
        assert minor.overridden == frozenset()
        for purpose, kind in OPTIONAL.items():
            if kind in FIRM:
                assert (minor.allows(purpose), minor.why(purpose)) == (False, "minor"), choice
            else:
                assert minor.purposes[purpose] == adult.purposes[purpose], choice


def test_a_decision_is_made_anew_when_what_it_rests_on_ends() -> None:
    """``until`` is the moment from which something else may run or be asked: before it nothing does."""
    for choice, regime in product(CHOICES, TABLE["regimes"]):
        region = next(region for region, row in CASES.items() if regime_on(row, TODAY) == regime)
        case = CHOICES[choice]
        first = decided(region, TODAY, choice, "none")
        if case is None or first.until is None:
            continue

        def after(moment: datetime, region: str = region, case: Case = case) -> Decision:
            return decide(
                CATALOGUE,
                REGIONS.regime(region, TODAY),
                case.made(TODAY),
                now=moment,
                language="en",
                gpc=False,
                notice="",
                valid_for=timedelta(days=VALID),
                rest=timedelta(days=REST),
                region=region,
            )

        assert first.until > TODAY
        before = after(first.until - timedelta(seconds=1))
        assert (before.denied, before.google, before.ask) == (first.denied, first.google, first.ask), choice
        assert after(first.until).state != first.state, (choice, regime)


def test_the_table_is_as_large_as_the_world() -> None:
    """A table that lost its rows would pass every test above."""
    assert len(TABLE["regions"]) > 150
    assert sum(len(row["laws"]) for row in CASES.values()) >= 25
    coming = {law["from"] for row in CASES.values() for law in row["laws"] if law["from"] > TODAY.date()}
    assert coming >= {date(2027, 1, 1), date(2027, 5, 1), date(2028, 1, 1)}
