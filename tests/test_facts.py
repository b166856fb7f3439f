"""What the product rests on, row by row, against the facts that were gathered from laws and standards.

tests/data holds the facts as they were found. Where ours say something else, the difference is named
here with its reason.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from rdflib import Graph

from consentmw.gpp.sections import BY_NAME
from consentmw.receipts import as_kantara, as_records
from consentmw.regions import Regions

from .asgi import App, body, header, http_scope, run
from .mounted import mounted
from .test_receipts import CATALOGUE, ENTRIES, ISSUER, PARTY, TERMS

DATA = Path(__file__).parent / "data"
REGIONS = Regions.load()
AS_OF = datetime(2026, 11, 21, 12, tzinfo=UTC)


def facts(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


# -- laws ----------------------------------------------------------------------------------------------

STATES = {row["region"]: row for row in facts("us_states.json")["states"]}


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_law_from_its_day_on(state: str) -> None:
    row, laws = STATES[state], REGIONS.laws[state]
    assert laws[0].regime == "notice", "before there was a law"
    if row["model"] == "notice":
        # Washington's law is about health data only; the other three states have none.
        assert len(laws) == 1
        return
    (law,) = laws[1:]
    assert law.since == date.fromisoformat(row["effective"][:10])
    # Nevada's is about sale only; the regime is the same, since it grants less and never more.
    assert law.regime == row["model"].removesuffix("_sale_only")
    assert law.source.split()[0] in row["law"], law.source


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_duty_to_honour_a_signal(state: str) -> None:
    """For Alabama it is not settled (null): by default the signal is honoured everywhere, so nothing hangs on it."""
    uoom = STATES[state]["uoom"]
    found = next((law.signal for law in REGIONS.laws[state] if law.signal), None)
    assert found == (date.fromisoformat(uoom["since"][:10]) if uoom["required"] else None)


@pytest.mark.parametrize("state", [code for code, row in STATES.items() if row["uoom"]["required"]])
def test_the_duty_begins_on_its_day(state: str) -> None:
    """Not with the law: in most states the signal became binding later."""
    since = date.fromisoformat(STATES[state]["uoom"]["since"][:10])
    start = datetime(since.year, since.month, since.day, tzinfo=UTC) - timedelta(hours=14)
    assert [REGIONS.signalled(state, at) for at in (start - timedelta(seconds=1), start)] == [False, True]


def test_only_these_states_have_such_a_duty() -> None:
    owed = {code for code, laws in REGIONS.laws.items() if any(law.signal for law in laws)}
    assert owed == {code for code, row in STATES.items() if row["uoom"]["required"]}
    assert len([code for code in owed if REGIONS.signalled(code, AS_OF)]) == 12
    assert {code for code in owed if not REGIONS.signalled(code, AS_OF)} == {"US-LA", "US-VT"}
    assert {code: law.rest for code, laws in REGIONS.laws.items() for law in laws if law.rest} == {"US-CA": 365}


#: region to the regime that ours has instead, and why
OTHERWISE = {"US": "opt_out"}  # a visitor whose state nobody knows may live in one that has a law

REGIMES = facts("regimes.json")


@pytest.mark.parametrize("region", REGIMES["regions"])
def test_each_region_has_its_regime(region: str) -> None:
    regime, _ = REGIMES["regions"][region]
    found = REGIONS.regime(region, AS_OF).key
    assert found == OTHERWISE.get(region, regime)
    assert OTHERWISE.get(region) != regime, "no difference any more"


def test_the_fallback_is_stricter_than_the_facts_propose() -> None:
    """Both ask before anything optional runs; ``strict`` also says so to whoever reads the reasons."""
    assert "opt_in" in REGIMES["fallback"]["unknown_region"]
    assert REGIONS.regime("ZZ", AS_OF).key == "strict"
    assert REGIONS.regimes["strict"].granted == REGIONS.regimes["opt_in"].granted == frozenset()


# -- Global Privacy Control ------------------------------------------------------------------------------


def read_support(text: str) -> tuple[bool | None, str | None]:
    """What a GPC Support Resource says (W3C GPC, section 4): support or None for unknown, and its date or None."""
    try:
        said = json.loads(text)
    except ValueError:
        return None, None
    if not isinstance(said, dict):
        return None, None
    support, when = said.get("gpc"), said.get("lastUpdate")
    valid = isinstance(when, str) and re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", when)
    return (support if isinstance(support, bool) else None), (when if valid else None)


@pytest.mark.parametrize("vector", facts("gpc_json_vectors.json"), ids=lambda vector: vector["body"])
def test_the_reader_of_support_follows_the_vectors(vector: dict[str, Any]) -> None:
    """Protects the test below: it is with this reader that ours is read."""
    assert read_support(vector["body"]) == (vector["support"], vector["lastUpdate"])


@pytest.mark.parametrize(("signals", "support"), [(("gpc",), True), ((), False)])
async def test_our_own_statement_of_support_is_one_that_others_can_read(
    signals: tuple[str, ...], support: bool
) -> None:
    middleware = mounted(App(), signals=signals)
    sent = await run(middleware, http_scope("/.well-known/gpc.json"))
    assert header(sent, "content-type") == "application/json"
    found, when = read_support(body(sent).decode())
    assert found is support
    assert when is not None


# -- GPP -----------------------------------------------------------------------------------------------

SECTIONS = {name: row for name, row in facts("gpp_sections.json")["sections"].items() if "core" in row}


def laid_out(name: str) -> list[list[Any]]:
    """Name, width and number of each field of the version of a section that we write."""
    text = (Path(__file__).parent.parent / "consentmw" / "data" / "gpp_sections.toml").read_text("utf-8")
    versions = tomllib.loads(text)[name]["versions"]
    newest = versions[max(versions, key=int)]
    found = []
    for field in newest:
        match = re.fullmatch(r"(\w+)(?:\*(\d+))?(?::(\d+))?", field)
        assert match is not None
        found.append([match[1], int(match[3] or 2), int(match[2] or 1)])
    return found


@pytest.mark.parametrize("name", SECTIONS)
def test_each_section_is_laid_out_as_the_official_library_does(name: str) -> None:
    row = SECTIONS[name]
    assert BY_NAME[name].id == row["id"]
    assert laid_out(name) == row["core"]
    assert sum(width * count for _, width, count in row["core"]) == row["core_bits"]


# -- receipts ------------------------------------------------------------------------------------------


def places(value: Any, at: str = "") -> Iterator[str]:
    """Every place of a JSON document where something is said, without the numbers of lists."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield f"{at}.{key}"
        yield from places(inner, f"{at}.{key}")
    for inner in value if isinstance(value, list) else ():
        yield from places(inner, at)


def missing(example: Any, *ours: Any) -> set[str]:
    return set(places(example)) - {place for one in ours for place in places(one)}


def test_a_kantara_receipt_says_all_that_the_example_says() -> None:
    example = facts("consent_receipt_kantara11.json")
    assert [*Draft4Validator(facts("kantara-cr-1.1.schema.json")).iter_errors(example)] == []
    whole = replace(ISSUER, party=PARTY.model_copy(update={"postal_code": "52401", "country": "US"}))
    assert missing(example, *(as_kantara(entry, CATALOGUE, whole) for entry in ENTRIES)) == set()


#: what the example says and our records don't, and why
UNSAID = {
    # the controller is named, with its address; an identifier of its own is nothing that a setting asks for
    ".dpv:hasDataController.@id",
    ".dpv:hasDataController.dpv:hasIdentifier",
    # a row names the notice by the hash of its text, which says more than a date
    ".dpv:hasNotice.@id",
    ".dpv:hasNotice.dct:date",
    # parts of a record are blank nodes: nobody points to one of them from outside
    ".dpv:hasProcess.@id",
    ".dpv:hasProcess.dpv:hasConsentStatus.@id",
    ".dpv:hasProcess.dpv:hasRecipient.@id",
    # where other companies keep data is theirs to say; the notice links to their policies
    ".dpv:hasProcess.dpv:hasStorageCondition.dpv:hasLocation",
    ".dpv:hasProcess.dpv:hasStorageCondition.dpv:hasLocation.@id",
    # rights are exercised where consent is; the record names that page as its controls
    ".dpv:hasRight",
    ".dpv:hasRight.@type",
    ".dpv:hasRight.dct:title",
    ".dpv:hasRight.dpv:isExercisedAt",
    ".dpv:hasRight.dpv:isExercisedAt.@id",
}


# The library's own parser warns about the library's own class.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_a_record_says_all_that_the_example_says() -> None:
    example = facts("consent_record_27560.jsonld")
    assert len(Graph().parse(data=json.dumps(example), format="json-ld")) > 30
    ours = as_records(ENTRIES, CATALOGUE, ISSUER)["@graph"]
    assert missing({k: v for k, v in example.items() if k != "@context"}, *ours) <= UNSAID


def test_the_vocabulary_has_the_terms_of_the_example() -> None:
    """Protects the test of our own terms: a list that lacked these would refuse what is right."""
    text = (DATA / "consent_record_27560.jsonld").read_text("utf-8")
    used = set(re.findall(r'"((?:dpv|pd):[A-Za-z]+)"', text))
    assert len(used) > 20
    assert used <= TERMS
