"""What may run follows from choice, signal and regime exactly as the table says, and every verdict says why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.choice import Choice
from consentmw.consentmode import GOOGLE_SIGNALS
from consentmw.decision import TIERS, Decision, closed, decide
from consentmw.purposes import Catalogue
from consentmw.regions import Regions

SALE = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what we know about you."}}
#: what the site of these tests tells its visitors about; all else in the catalogue they know nothing of
TOLD = {
    *("google_analytics", "google_tag_manager", "google_ads", "meta_pixel", "youtube", "vimeo", "google_maps"),
    *("microsoft_clarity", "hotjar", "linkedin_insight"),
}
CATALOGUE = Catalogue.load(purposes=SALE, only=TOLD)
REGIMES = Regions.load().regimes
OPTIONAL = frozenset(purpose.key for purpose in CATALOGUE.purposes.values() if purpose.optional)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
VALID = timedelta(days=180)


def choose(*granted: str, at: datetime = NOW - timedelta(days=1), fingerprint: str = CATALOGUE.fingerprint) -> Choice:
    return Choice("receipt-0123456789", at, fingerprint, frozenset(granted))


CHOICES: dict[str, Choice | None] = {
    "nothing yet": None,
    "all": choose(*OPTIONAL),
    "none": choose(),
    "all, expired": choose(*OPTIONAL, at=NOW - VALID),
    "none, expired": choose(at=NOW - VALID),
    "all, other notice": choose(*OPTIONAL, fingerprint="000000000000"),
    "none, other notice": choose(fingerprint="000000000000"),
}

ASKING = ("strict", "opt_in", "opt_in_stats_exempt")
TELLING = ("opt_out", "notice")

# Verdicts for media, analytics, advertising and sale, e-mail measurement; then the tier and whether to ask.
# "+" is granted, "-" denied; the word is the reason.
TABLE: list[tuple[tuple[str, ...], str, bool, str]] = [
    (ASKING, "nothing yet", False, "-no choice | -no choice | -no choice | -no choice | count | ask"),
    (ASKING, "nothing yet", True, "-no choice | -no choice | -gpc | -no choice | count | ask"),
    (ASKING, "all", False, "+choice | +choice | +choice | +choice | person | -"),
    (ASKING, "all", True, "+choice | +choice | -gpc | +choice | person | -"),
    (ASKING, "none", False, "-choice | -choice | -choice | -choice | count | -"),
    (ASKING, "none", True, "-choice | -choice | -gpc | -choice | count | -"),
    (ASKING, "all, expired", False, "-expired | -expired | -expired | -expired | count | ask"),
    (ASKING, "all, expired", True, "-expired | -expired | -gpc | -expired | count | ask"),
    (ASKING, "none, expired", False, "-expired | -expired | -expired | -expired | count | ask"),
    (ASKING, "none, expired", True, "-expired | -expired | -gpc | -expired | count | ask"),
    (
        ASKING,
        "all, other notice",
        False,
        "-notice changed | -notice changed | -notice changed | -notice changed | count | ask",
    ),
    (ASKING, "all, other notice", True, "-notice changed | -notice changed | -gpc | -notice changed | count | ask"),
    (
        ASKING,
        "none, other notice",
        False,
        "-notice changed | -notice changed | -notice changed | -notice changed | count | ask",
    ),
    (ASKING, "none, other notice", True, "-notice changed | -notice changed | -gpc | -notice changed | count | ask"),
    (TELLING, "nothing yet", False, "+regime | +regime | +regime | -no choice | coarse | ask"),
    (TELLING, "nothing yet", True, "+regime | -gpc | -gpc | -no choice | count | ask"),
    (TELLING, "all", False, "+choice | +choice | +choice | +choice | person | -"),
    (TELLING, "all", True, "+choice | +choice | -gpc | +choice | person | -"),
    (TELLING, "none", False, "-choice | -choice | -choice | -choice | count | -"),
    (TELLING, "none", True, "-choice | -choice | -gpc | -choice | count | -"),
    (TELLING, "all, expired", False, "+regime | +regime | +regime | -expired | coarse | ask"),
    (TELLING, "all, expired", True, "+regime | -gpc | -gpc | -expired | count | ask"),
    # An opt-out does not lapse: the visitor is asked again, but not opted in meanwhile.
    (TELLING, "none, expired", False, "-expired | -expired | -expired | -expired | count | ask"),
    (TELLING, "none, expired", True, "-expired | -expired | -gpc | -expired | count | ask"),
    (TELLING, "all, other notice", False, "+regime | +regime | +regime | -notice changed | coarse | ask"),
    (TELLING, "all, other notice", True, "+regime | -gpc | -gpc | -notice changed | count | ask"),
    (
        TELLING,
        "none, other notice",
        False,
        "-notice changed | -notice changed | -notice changed | -notice changed | count | ask",
    ),
    (TELLING, "none, other notice", True, "-notice changed | -notice changed | -gpc | -notice changed | count | ask"),
]
ROWS = [(regime, choice, gpc, row) for regimes, choice, gpc, row in TABLE for regime in regimes]


def decided(
    regime: str = "strict", choice: Choice | None = None, catalogue: Catalogue = CATALOGUE, **more: Any
) -> Decision:
    given = {"now": NOW, "language": "en", "gpc": False, "notice": "n1", "valid_for": VALID, **more}
    return decide(catalogue, REGIMES[regime], choice, **given)


def said(decision: Decision, key: str) -> str:
    verdict = decision.purposes[key]
    return f"{'+' if verdict.granted else '-'}{verdict.reason}"


def test_the_table_is_whole() -> None:
    assert {row[:3] for row in ROWS} == {(r, c, g) for r in REGIMES for c in CHOICES for g in (False, True)}


@pytest.mark.parametrize(("regime", "choice", "gpc", "row"), ROWS)
def test_every_state_is_decided_as_the_table_says(regime: str, choice: str, gpc: bool, row: str) -> None:
    media, analytics, advertising, email, tier, ask = row.split(" | ")
    decision = decided(regime, CHOICES[choice], gpc=gpc)
    assert said(decision, "necessary") == "+necessary"
    found = [said(decision, key) for key in ("media", "analytics", "advertising", "sale", "email_measurement")]
    assert found == [media, analytics, advertising, advertising, email]
    assert (decision.tier, decision.ask) == (tier, ask == "ask")
    assert (decision.regime, decision.gpc) == (regime, gpc)
    assert decision.receipt == ("receipt-0123456789" if choice in ("all", "none") else "")
    assert decision.until == (NOW - timedelta(days=1) + VALID if choice in ("all", "none") else None)


@pytest.mark.parametrize(("regime", "choice", "gpc", "row"), ROWS)
def test_for_a_minor_nothing_is_sold_or_advertised(regime: str, choice: str, gpc: bool, row: str) -> None:
    """Whatever was chosen, and nothing else changes."""
    adult = decided(regime, CHOICES[choice], gpc=gpc)
    minor = decided(regime, CHOICES[choice], gpc=gpc, minor=True)
    assert said(minor, "advertising") == said(minor, "sale") == "-minor"
    for key in ("necessary", "media", "analytics", "email_measurement"):
        assert minor.purposes[key] == adult.purposes[key]
    assert {"google_ads", "meta_pixel", "google_tag_manager", "linkedin_insight"} <= minor.denied


@pytest.mark.parametrize(
    ("granted", "tier"),
    [
        ((), "count"),
        (("media",), "count"),
        (("email_measurement", "advertising"), "count"),
        (("analytics",), "visit"),
        (("analytics", "media"), "visit"),
        (("analytics", "advertising"), "person"),
        (("analytics", "email_measurement"), "person"),
    ],
)
def test_the_tier_needs_each_consent_it_rests_on(granted: tuple[str, ...], tier: str) -> None:
    """A person's row holds what a visit's row holds, so consent to e-mail measurement alone is not enough."""
    assert decided("strict", choose(*granted)).tier == tier


def test_a_purpose_nobody_asked_about_was_not_granted() -> None:
    decision = decided("opt_out", choose("analytics"))
    assert said(decision, "analytics") == "+choice"
    assert said(decision, "advertising") == "-choice"


def test_a_grant_of_something_unknown_grants_nothing() -> None:
    """A purpose that the site dropped may still stand in old cookies."""
    decision = decided("strict", choose("analytics", "gone"))
    assert not decision.allows("gone")
    assert decision.why("gone") == "unknown"


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (timedelta(0), "choice"),
        (VALID - timedelta(seconds=1), "choice"),
        (VALID, "expired"),
        (timedelta(days=40_000), "expired"),
        (timedelta(hours=-23), "choice"),
        (timedelta(days=-2), "expired"),
    ],
)
def test_a_choice_lives_its_time_and_not_longer(age: timedelta, reason: str) -> None:
    """Nor does one from the future, which a wrong clock wrote, live for ever."""
    assert decided("strict", choose("analytics", at=NOW - age)).purposes["analytics"].reason == reason


# -- services ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "running"),
    [
        ((), set()),
        (("media",), {"youtube", "vimeo", "google_maps"}),
        (("analytics",), {"google_analytics", "microsoft_clarity", "hotjar"}),
        (("advertising",), {"google_ads", "meta_pixel", "linkedin_insight"}),
        (("analytics", "advertising", "media"), TOLD),
    ],
)
def test_a_service_runs_when_all_its_purposes_may(granted: tuple[str, ...], running: set[str]) -> None:
    decision = decided("strict", choose(*granted))
    assert {key for key in CATALOGUE.services if decision.allows(key)} == running
    assert decision.denied == set(CATALOGUE.services) - running
    untold = CATALOGUE.services.keys() - TOLD
    assert len(untold) > len(TOLD)
    assert {decision.why(key) for key in untold} == {"not disclosed"}


def test_a_service_gives_the_reason_of_the_purpose_that_stopped_it() -> None:
    decision = decided("strict", CHOICES["all"], gpc=True)
    assert decision.why("google_tag_manager") == "gpc"
    assert decision.why("google_analytics") == "choice"


def test_a_service_of_the_sites_own_needs_is_never_stopped() -> None:
    services = {"cdn": {"purposes": ["necessary"], "hosts": ["cdn.example.net"]}}
    catalogue = Catalogue.load(services=services, only=())
    assert decided("strict", None, catalogue).why("cdn") == "necessary"
    assert closed(catalogue, language="en").allows("cdn")


def test_two_catalogues_never_share_a_decision() -> None:
    """What is remembered of one site's services must not answer for another's, nor may their pages share an ETag."""
    own = {"stats": {"purposes": ["analytics"], "hosts": ["stats.example.net"]}}
    one, other = Catalogue.load(only=["hotjar"]), Catalogue.load(only=["hotjar"], services=own)
    decisions = [decided("strict", None, catalogue) for catalogue in (one, other, one)]
    assert ["stats" in decision.services for decision in decisions] == [False, True, False]
    assert decisions[0].state == decisions[2].state != decisions[1].state


# -- Google's signals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "gpc", "on"),
    [
        ((), False, set()),
        (("analytics",), False, {"analytics_storage"}),
        (("advertising",), False, {"ad_storage", "ad_user_data", "ad_personalization"}),
        (("analytics", "advertising"), True, {"analytics_storage"}),
        (("media",), False, {"functionality_storage", "personalization_storage"}),
    ],
)
def test_google_is_told_what_was_decided(granted: tuple[str, ...], gpc: bool, on: set[str]) -> None:
    signals = decided("strict", choose(*granted), gpc=gpc).google
    assert set(signals) == set(GOOGLE_SIGNALS)
    assert {name for name, value in signals.items() if value == "granted"} == on | {"security_storage"}
    assert set(signals.values()) <= {"granted", "denied"}


# -- rules that hold everywhere ------------------------------------------------------------------

optional = st.frozensets(st.sampled_from(sorted(OPTIONAL)))


def made(granted: frozenset[str], silent: frozenset[str], age: int, changed: bool, override: bool) -> Choice:
    fingerprint = "000000000000" if changed else CATALOGUE.fingerprint
    return Choice("receipt-0123456789", NOW - timedelta(days=age), fingerprint, granted, silent - granted, override)


any_choice = st.none() | st.builds(
    made,
    granted=optional,
    silent=optional,
    age=st.integers(-3, 20) | st.sampled_from([179, 180, 364, 365, 2000]),
    changed=st.booleans(),
    override=st.booleans(),
)
anything = st.fixed_dictionaries(
    {
        "regime": st.sampled_from(sorted(REGIMES)),
        "choice": any_choice,
        "gpc": st.booleans(),
        "minor": st.booleans(),
        "others": st.sampled_from([(), (("quiet", frozenset({"analytics", "sale"})),)]),
        "rest": st.sampled_from([timedelta(), timedelta(days=365)]),
    }
)


@given(anything)
def test_rules_without_exception(case: Mapping[str, Any]) -> None:
    decision = decided(**case)
    choice: Choice | None = case["choice"]
    live = choice is not None and choice.fingerprint == CATALOGUE.fingerprint and choice.at > NOW - VALID
    against = {"advertising", "sale"} if case["gpc"] else {"sale"} if case["others"] else set()
    for key, purpose in CATALOGUE.purposes.items():
        verdict = decision.purposes[key]
        assert verdict.reason
        if purpose.kind in ("advertising", "sale") and verdict.granted:
            assert not case["minor"]
            if purpose.kind in against:
                assert choice is not None
                assert choice.override
                assert live
                assert key in choice.granted, "nothing but a step of its own"
        if choice is not None and purpose.optional and key not in choice.granted | choice.silent:
            assert not verdict.granted, "refused once, granted never"
        if case["regime"] in ASKING and verdict.granted and purpose.optional:
            assert verdict.reason == "choice"
            assert live
    if decision.tier in ("visit", "person"):
        assert decision.why("analytics") == "choice", "rows of one's own take a yes of one's own"
    if choice is not None and not choice.granted and timedelta(days=-1) < NOW - choice.at < case["rest"]:
        assert not decision.ask, "a refusal is left alone"
    for key, service in CATALOGUE.services.items():
        may = service.disclosed and all(decision.allows(name) for name in service.purposes)
        assert decision.allows(key) == may == (key not in decision.denied)
    assert decision.tier in TIERS
    assert decision.tier == "count" or decision.allows("analytics")
    for signal, kind in GOOGLE_SIGNALS.items():
        kinds = {purpose.kind for key, purpose in CATALOGUE.purposes.items() if decision.allows(key)}
        assert (decision.google[signal] == "granted") == (kind in kinds)


@given(anything, anything)
def test_equal_states_mean_equal_pages(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """An ETag is made of the state: two pages that differ must never share it."""
    first, second = decided(**one), decided(**other)
    shown = [
        (d.purposes, d.services, d.ask, d.language, d.region, d.regime, d.google, d.signals, d.overridden, d.minor)
        for d in (first, second)
    ]
    assert (first.state == second.state) <= (shown[0] == shown[1])
    assert decided(**one).state == first.state


def test_language_and_region_are_part_of_the_state() -> None:
    states = {decided(language=lang, region=region).state for lang in ("en", "es") for region in ("", "US-IA", "US-WI")}
    assert len(states) == 6


def test_when_deciding_failed_nothing_optional_runs() -> None:
    decision = closed(CATALOGUE, language="es")
    assert {key: said(decision, key) for key in CATALOGUE.purposes} == {
        "necessary": "+necessary",
        **dict.fromkeys(OPTIONAL, "-error"),
    }
    assert decision.denied == set(CATALOGUE.services)
    assert {decision.why(key) for key in TOLD} == {"error"}
    assert (decision.tier, decision.ask, decision.language, decision.receipt) == ("count", False, "es", "")
    assert {name for name, value in decision.google.items() if value == "granted"} == {"security_storage"}


def test_what_nobody_knows_may_not_run() -> None:
    decision = decided("notice")
    assert not decision.allows("surprise")
    assert decision.why("surprise") == "unknown"
