"""A visitor's proof is readable elsewhere: valid Kantara receipts, records in terms that DPV really has."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from rdflib import Graph, URIRef

from consentmw.identity import Party
from consentmw.ledger import Entry, Ledger
from consentmw.purposes import Catalogue
from consentmw.receipts import Issuer, as_kantara, as_plain, as_records
from consentmw.stores.memory import MemoryStore

from .asgi import App, body, cookies, header, http_scope, run, status
from .mounted import mounted, post

DATA = Path(__file__).parent / "data"
AT = datetime(2026, 11, 21, 8, 15, 30, tzinfo=UTC)
CATALOGUE = Catalogue.load(only=["google_analytics", "google_ads", "youtube"])
PAGES = "https://www.utility.example/privacy"
PARTY = Party(
    name="Example Power & Light Co.", street="100 Main St", city="Cedar Rapids", state="IA", phone="+1-555-0100",
    url="https://www.utility.example",
)  # fmt: skip
ISSUER = Issuer("Example Power", PARTY, "privacy@utility.example", PAGES, 390)
#: terms of DPV 2.3, from its published vocabulary
TERMS = frozenset((DATA / "dpv_terms.txt").read_text("ascii").split())


def entry(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "receipt": "q1Zr0p9cVn4",
        "at": AT,
        "event": "given",
        "method": "banner:save",
        "granted": ["analytics"],
        "refused": ["advertising"],
        "regime": "opt_out",
        "region": "US-IA",
        "region_source": "stated",
        "language": "en",
        "notice": "0123456789abcdef",
        "shown": "5f" * 32,
        "fingerprint": CATALOGUE.fingerprint,
        "valid_until": AT + timedelta(days=180),
    }
    return Ledger(MemoryStore).append(**{**values, **changes})


ENTRIES = [
    entry(),
    entry(event="withdrawn", granted=[], refused=["analytics", "advertising"], previous="q1Zr0p9cVn4", receipt="two"),
    entry(event="refused", granted=[], refused=["analytics"], gpc=True, region="", valid_until=None),
    entry(event="changed", granted=["analytics", "gone_from_catalogue"], region="-", language="es"),
]


@pytest.mark.parametrize("made", ENTRIES)
@pytest.mark.parametrize("issuer", [ISSUER, Issuer("Only a name", Party(), "", PAGES, 1)])
def test_a_kantara_receipt_is_valid(made: Entry, issuer: Issuer) -> None:
    receipt = as_kantara(made, CATALOGUE, issuer)
    schema = json.loads((DATA / "kantara-cr-1.1.schema.json").read_text("utf-8"))
    assert [error.message for error in Draft4Validator(schema).iter_errors(json.loads(json.dumps(receipt)))] == []
    assert receipt["consentTimestamp"] == int(AT.timestamp())


def test_a_kantara_receipt_says_what_was_granted_to_whom_and_how_it_ends() -> None:
    (service,) = as_kantara(ENTRIES[0], CATALOGUE, ISSUER)["services"]
    (purpose,) = service["purposes"]
    assert purpose["thirdPartyName"] == "Google LLC"
    assert purpose["termination"] == f"{PAGES}/choices, or on 2027-05-20"
    assert as_kantara(ENTRIES[1], CATALOGUE, ISSUER)["services"] == []


# The library's own parser warns about the library's own class.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_records_parse_as_linked_data_and_every_term_exists() -> None:
    """A misspelt term would be accepted by every parser and mean nothing to anybody."""
    made = as_records(ENTRIES, CATALOGUE, ISSUER)
    graph = Graph().parse(data=json.dumps(made), format="json-ld")
    named = {str(part) for triple in graph for part in triple if isinstance(part, URIRef)}
    used = {name for name in named if re.match(r"https://w3id\.org/dpv(/pd)?#", name)}
    assert len(used) > 15
    assert {name.rpartition("/")[2].replace("#", ":") for name in used} <= TERMS
    assert "https://w3id.org/dpv/loc#US-IA" in named


def test_each_purpose_has_its_status_with_time_method_and_validity() -> None:
    first, second, third, fourth = as_records(ENTRIES, CATALOGUE, ISSUER)["@graph"]
    said = [process["dpv:hasConsentStatus"] for process in first["dpv:hasProcess"]]
    assert [status["@type"] for status in said] == ["dpv:ConsentGiven", "dpv:ConsentRefused"]
    assert said[0]["dpv:isIndicatedAtTime"]["@value"] == "2026-11-21T08:15:30+00:00"
    assert said[0]["dpv:hasDuration"] == "P180D"
    assert {p["dpv:hasConsentStatus"]["@type"] for p in second["dpv:hasProcess"]} == {"dpv:ConsentWithdrawn"}
    assert second["dpv:hasDataSubject"]["@id"].endswith("q1Zr0p9cVn4"), "the receipts of one browser name one subject"
    assert "Sec-GPC" in third["dpv:hasProcess"][0]["dpv:hasConsentStatus"]["dpv:hasIndicationMethod"]
    assert "dpv:hasDuration" not in third["dpv:hasProcess"][0]["dpv:hasConsentStatus"]
    assert "dpv:hasJurisdiction" not in third
    assert "dpv:hasJurisdiction" not in fourth, "NO THANKS is no place"
    assert fourth["dpv:hasProcess"][1]["dct:title"] == "gone_from_catalogue"


def test_the_plain_form_holds_all_that_the_hash_is_made_of() -> None:
    (row,) = as_plain(ENTRIES[:1])["entries"]
    assert json.loads(json.dumps(row)) == row
    assert Entry(**{**row, "granted": tuple(row["granted"]), "refused": tuple(row["refused"])}) == ENTRIES[0]
    assert replace(ENTRIES[0], shown="").hash == row["hash"]


async def test_a_visitor_takes_the_receipt_of_their_own_choice_home() -> None:
    site = mounted(App(), controller={"name": "Example Power & Light Co."})
    chosen = cookies(await post(site, "/privacy/choices", {"action": "accept", "surface": "banner"}))["privacy"]
    own, host = ("cookie", f"privacy={chosen}"), ("host", "www.utility.example")
    for name in ("receipt.json", "receipt.jsonld", "kantara.json"):
        answer = await run(site, http_scope(f"/privacy/take/{name}", headers=[own, host]))
        assert status(answer) == 200
        assert header(answer, "content-disposition") == f'attachment; filename="{name}"'
        assert "no-store" in (header(answer, "cache-control") or "")
        assert json.loads(body(answer))
        without = await run(site, http_scope(f"/privacy/take/{name}", headers=[host]))
        assert status(without) == 404, "nobody else has it"
    receipt = json.loads(body(await run(site, http_scope("/privacy/take/kantara.json", headers=[own, host]))))
    assert receipt["policyUrl"] == "http://www.utility.example/privacy"
    assert receipt["piiControllers"][0]["piiController"] == "Example Power & Light Co."


@pytest.mark.parametrize("name", ["", "receipt.xml", "../receipt.json", "receipt.json/x"])
async def test_there_is_no_other_form(name: str) -> None:
    assert status(await run(mounted(App()), http_scope(f"/privacy/take/{name}"))) == 404


async def test_a_video_seen_once_does_not_take_the_place_of_the_choice() -> None:
    site = mounted(App(), services_used=["youtube", "google_analytics"])
    sent = await post(site, "/privacy/choices", {"action": "save", "purpose": "analytics", "surface": "choices"})
    own = ("cookie", f"privacy={cookies(sent)['privacy']}")
    assert status(await post(site, "/privacy/held/youtube", {"return": "/"}, headers=[own])) == 303
    assert [row.event for row in site.site.ledger.all()] == ["notice", "given", "once"]
    receipt = json.loads(body(await run(site, http_scope("/privacy/take/kantara.json", headers=[own]))))
    assert [purpose["purpose"] for purpose in receipt["services"][0]["purposes"]] == ["Measuring visits"]


def test_what_expired_is_said_to_have_and_what_was_refused_stays_refused() -> None:
    over = entry(event="expired", method="clock", valid_until=None)
    (record,) = as_records([over], CATALOGUE, ISSUER)["@graph"]
    said = [process["dpv:hasConsentStatus"]["@type"] for process in record["dpv:hasProcess"]]
    assert said == ["dpv:ConsentExpired", "dpv:ConsentRefused"]
    assert {*said} <= TERMS


async def test_a_choice_that_expired_does_not_take_the_place_of_itself() -> None:
    """The receipt is of the consent that was given, with the day on which it ends."""
    site = mounted(App())
    sent = await post(site, "/privacy/choices", {"action": "accept", "surface": "banner"})
    own = ("cookie", f"privacy={cookies(sent)['privacy']}")
    assert site.site.ledger.expire(datetime.now(UTC) + timedelta(days=4_000)) == 1
    assert [row.event for row in site.site.ledger.all()] == ["notice", "given", "expired"]
    receipt = json.loads(body(await run(site, http_scope("/privacy/take/kantara.json", headers=[own]))))
    assert receipt["collectionMethod"] == "banner:accept"
    assert all("or on 20" in purpose["termination"] for purpose in receipt["services"][0]["purposes"])
