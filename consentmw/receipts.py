"""What a visitor takes home: the rows of the ledger as JSON, as ISO/IEC TS 27560 records, as a Kantara receipt.

A row holds what was chosen; who asks, for what and who else is involved are the site's and the
catalogue's, and are joined here. Knows the two vocabularies; refuses to know where rows come from
or who asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

from .identity import Party
from .purposes import Catalogue, Service
from .stores import Entry

__all__ = ["Issuer", "as_kantara", "as_plain", "as_records"]

#: the profile of DPV 2.3 for consent records (W3C guide "consent-27560")
_PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#record"
_CONTEXT: Final = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "loc": "https://w3id.org/dpv/loc#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "schema": "https://schema.org/",
}
#: kind of purpose -> term of DPV 2.3, words of the Kantara specification 1.1 (its appendix of purposes)
_PURPOSES: Final = {
    "necessary": ("dpv:TechnicalServiceProvision", "Core Function"),
    "preferences": ("dpv:UserInterfacePersonalisation", "Personalized Experience"),
    "analytics": ("dpv:ServiceUsageAnalytics", "Improve Performance"),
    "advertising": ("dpv:TargetedAdvertising", "Marketing Third Parties"),
    "sale": ("dpv:SellDataToThirdParties", "Sharing for Marketing"),
    "email_measurement": ("dpv:Marketing", "Marketing"),
}
#: what a site's own kind of purpose gets
_OTHER: Final = ("dpv:ServiceProvision", "Contracted Service")
_DATA: Final = ("pd:UID", "pd:BrowsingBehaviour", "pd:UserAgent")
_VERSION: Final = "KI-CR-v1.1.0"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who gives a receipt: the site, the company behind it, and where visitors change their minds."""

    #: as visitors know it
    site: str
    party: Party
    #: e-mail address for privacy questions
    email: str
    #: absolute address of our pages: ``https://www.utility.example/privacy``
    pages: str
    #: days that rows about a visit are kept
    stored_days: int

    @property
    def name(self) -> str:
        """The company's name."""
        return self.party.name or self.site

    @property
    def address(self) -> dict[str, str]:
        """As schema.org has it (PostalAddress), without what is not known."""
        party = self.party
        known = {
            "streetAddress": party.street,
            "addressLocality": party.city,
            "addressRegion": party.state,
            "postalCode": party.postal_code,
            "addressCountry": party.country,
        }
        return {name: value for name, value in known.items() if value}


def as_plain(entries: Sequence[Entry]) -> dict[str, Any]:
    """The rows as they are, oldest first, with everything that their hashes are made of."""
    return {
        "entries": [{**asdict(entry), "granted": [*entry.granted], "refused": [*entry.refused]} for entry in entries]
    }


def as_records(entries: Sequence[Entry], catalogue: Catalogue, issuer: Issuer) -> dict[str, Any]:
    """JSON-LD: a ``dpv:ConsentRecord`` for each row, oldest first."""
    graph = [_record(entry, catalogue, issuer) for entry in entries]
    return {"@context": _CONTEXT, "@graph": graph}


def _record(entry: Entry, catalogue: Catalogue, issuer: Issuer) -> dict[str, Any]:
    subject = {"@id": f"urn:consentmw:receipt:{entry.previous or entry.receipt}", "@type": "dpv:DataSubject"}
    record: dict[str, Any] = {
        "@id": f"urn:consentmw:receipt:{entry.receipt}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": entry.receipt,
        "dct:conformsTo": {"@id": _PROFILE},
        "dpv:hasDataSubject": subject,
        "dpv:hasDataController": _party(issuer),
        "dpv:hasLegalBasis": {"@id": "dpv:ExpressedConsent"},
        "dpv:hasNotice": {
            "@type": "dpv:ConsentNotice",
            "dct:identifier": entry.notice,
            "dct:language": entry.language,
            "schema:sha256": entry.shown,
            "schema:url": issuer.pages,
        },
        "dpv:hasConsentControl": [
            {"@type": kind, "dpv:isExercisedAt": {"@id": f"{issuer.pages}/choices"}}
            for kind in ("dpv:WithdrawConsent", "dpv:ProvideConsent")
        ],
        "dpv:hasProcess": list(_processes(entry, catalogue, issuer, subject["@id"])),
    }
    if len(entry.region) > 1:
        record["dpv:hasJurisdiction"] = {"@id": f"loc:{entry.region}"}
    return record


def _processes(entry: Entry, catalogue: Catalogue, issuer: Issuer, subject: str) -> Iterator[dict[str, Any]]:
    for title, (term, _), recipients, granted in _purposes(entry, catalogue):
        status: dict[str, Any] = {
            "@type": _status(entry, granted=granted),
            "dpv:isIndicatedBy": {"@id": subject},
            "dpv:hasIndicationMethod": _method(entry),
            "dpv:isIndicatedAtTime": {"@value": entry.at, "@type": "xsd:dateTime"},
        }
        if days := _validity(entry):
            status["dpv:hasDuration"] = days
        yield {
            "@type": "dpv:Process",
            "dct:title": title,
            "dpv:hasPurpose": {"@id": term},
            "dpv:hasPersonalData": [{"@id": data} for data in _DATA],
            "dpv:hasRecipient": [{"@type": "dpv:Recipient", "dpv:hasName": name} for name in recipients],
            "dpv:hasStorageCondition": {"@type": "dpv:StorageDuration", "dpv:hasDuration": f"P{issuer.stored_days}D"},
            "dpv:hasConsentStatus": status,
        }


def as_kantara(entry: Entry, catalogue: Catalogue, issuer: Issuer) -> dict[str, Any]:
    """One row as a Kantara consent receipt 1.1; what was refused is not part of such a receipt."""
    purposes = [
        {
            "purpose": title,
            "purposeCategory": [category],
            "consentType": "EXPLICIT",
            "piiCategory": ["Network/Service", "Behavioral"],
            "primaryPurpose": False,
            "termination": f"{issuer.pages}/choices"
            + (f", or on {entry.valid_until[:10]}" if entry.valid_until else ""),
            "thirdPartyDisclosure": bool(recipients),
            **({"thirdPartyName": ", ".join(recipients)} if recipients else {}),
        }
        for title, (_, category), recipients, granted in _purposes(entry, catalogue)
        if granted
    ]
    return {
        "version": _VERSION,
        "jurisdiction": entry.region if len(entry.region) > 1 else "unknown",
        "consentTimestamp": int(datetime.fromisoformat(entry.at).timestamp()),
        "collectionMethod": _method(entry),
        "consentReceiptID": entry.receipt,
        "language": entry.language,
        "piiPrincipalId": entry.previous or entry.receipt,
        "piiControllers": [
            {
                "piiController": issuer.name,
                "contact": issuer.name,
                "address": issuer.address,
                "email": issuer.email,
                "phone": issuer.party.phone,
                **({"piiControllerUrl": issuer.party.url} if issuer.party.url else {}),
            }
        ],
        "policyUrl": issuer.pages,
        "services": [{"service": issuer.site, "purposes": purposes}] if purposes else [],
        "sensitive": False,
        "spiCat": [],
    }


def _purposes(entry: Entry, catalogue: Catalogue) -> Iterator[tuple[str, tuple[str, str], list[str], bool]]:
    """Title, terms, recipients and answer for each purpose that was asked about, in the row's order."""
    for granted, keys in ((True, entry.granted), (False, entry.refused)):
        for key in keys:
            purpose = catalogue.purposes.get(key)
            # A purpose that the site no longer has keeps its key: the row is older than the catalogue.
            title = purpose.title if purpose is not None else key
            terms = _PURPOSES.get(purpose.kind, _OTHER) if purpose is not None else _OTHER
            yield title, terms, _recipients(catalogue.disclosed, key), granted


def _recipients(services: Sequence[Service], purpose: str) -> list[str]:
    return list(dict.fromkeys(service.provider for service in services if purpose in service.purposes))


def _status(entry: Entry, *, granted: bool) -> str:
    if granted and entry.event == "expired":
        return "dpv:ConsentExpired"
    if granted:
        return "dpv:RenewedConsentGiven" if entry.event == "changed" else "dpv:ConsentGiven"
    return "dpv:ConsentWithdrawn" if entry.event == "withdrawn" else "dpv:ConsentRefused"


def _method(entry: Entry) -> str:
    return f"{entry.method}, with Sec-GPC: 1" if entry.gpc else entry.method


def _validity(entry: Entry) -> str:
    if not entry.valid_until:
        return ""
    days = date.fromisoformat(entry.valid_until[:10]) - date.fromisoformat(entry.at[:10])
    return f"P{days.days}D"


def _party(issuer: Issuer) -> dict[str, Any]:
    party: dict[str, Any] = {"@type": "dpv:DataController", "dpv:hasName": issuer.name}
    if issuer.address:
        party["dpv:hasAddress"] = ", ".join(issuer.address.values())
    if issuer.email:
        party["dpv:hasContact"] = f"mailto:{issuer.email}"
    if issuer.party.url:
        party["schema:url"] = issuer.party.url
    return party
