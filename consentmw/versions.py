"""Versions of the privacy notice: the snapshot that makes one, and what is different between two.

A change is material when it touches what visitors are asked about: purposes, services, who gets the
data, how long it is kept. Then they are asked again, and told in a sentence each what is different.
Refuses to know where versions are kept, and which one is in force.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from .i18n import Texts

__all__ = ["AskedPurpose", "Change", "Snapshot", "ToldService", "Version", "changes", "reworded"]

#: what changed, in a sentence for visitors
_CHANGED: Final[Mapping[str, str]] = {
    "purpose added": "New purpose: %(purpose)s.",
    "purpose removed": "This purpose is gone: %(purpose)s.",
    "purpose kind": "“%(purpose)s” now stands for another kind of use.",
    "service added": "New service: %(service)s of %(provider)s, for %(purposes)s.",
    "service removed": "No longer used: %(service)s of %(provider)s.",
    "service purposes": "%(service)s is now used for %(purposes)s; before, for %(before)s.",
    "service provider": "Data from %(service)s now goes to %(provider)s; before, to %(before)s.",
    "service longer": "%(service)s keeps data longer: up to %(days)s days; before, %(before)s.",
    "service shorter": "%(service)s keeps data for less time: up to %(days)s days; before, %(before)s.",
    "rows longer": "We keep %(rows)s longer: up to %(days)s days; before, %(before)s.",
    "rows shorter": "We keep %(rows)s for less time: up to %(days)s days; before, %(before)s.",
}

#: the site's own rows, by tier
_ROWS: Final[Mapping[str, str]] = {
    "coarse": "page views without an identifier",
    "visit": "page views recorded with your consent",
    "person": "opened newsletters and followed links",
}


class AskedPurpose(BaseModel):
    """A purpose, as visitors were asked about it; title and text by language."""

    model_config = ConfigDict(frozen=True)

    key: str
    kind: str
    title: dict[str, str]
    text: dict[str, str]


class ToldService(BaseModel):
    """A service, as visitors were told about it."""

    model_config = ConfigDict(frozen=True)

    key: str
    name: str
    #: who gets the data
    provider: str
    purposes: tuple[str, ...]
    #: 0 where its documentation names none
    retention_days: int
    privacy_url: str


class Snapshot(BaseModel):
    """Everything that one version of the notice tells a visitor. Fields of later versions are not read."""

    model_config = ConfigDict(frozen=True)

    #: the day the text last changed, as the notice itself says
    updated: date
    site_name: str
    contact: str
    default_language: str
    #: where our pages were: links in the texts begin with it
    pages: str
    #: of what is material, see :attr:`consentmw.purposes.Catalogue.fingerprint`
    fingerprint: str
    #: days that the site kept its own rows, by tier
    retention_days: dict[str, int]
    #: language to Markdown, every field in it filled in
    texts: dict[str, str]
    purposes: tuple[AskedPurpose, ...]
    services: tuple[ToldService, ...]

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.default_language not in self.texts:
            raise ValueError("a text in the default language")
        return self

    def packed(self) -> str:
        """As JSON in ASCII, in one order and without spaces, so that a notice has the same id in every process."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def text(self, language: str) -> tuple[str, str]:
        """The Markdown for a language, and the language it is really in."""
        found = language if language in self.texts else self.default_language
        return self.texts[found], found


@dataclass(frozen=True, slots=True)
class Version:
    """A snapshot with its id, and the day it was published."""

    #: the first 16 hexadecimal digits of the SHA-256 of the snapshot's JSON
    id: str
    #: None for one that was not published yet
    at: datetime | None
    snapshot: Snapshot

    @classmethod
    def of(cls, snapshot: Snapshot) -> Version:
        """The version that this snapshot makes."""
        return cls(_id(snapshot.packed()), None, snapshot)

    @classmethod
    def read(cls, id: str, at: str, content: str) -> Version:  # noqa: A002
        """A version as it was published, ``at`` in ISO 8601 with its zone.

        Raises ValueError when the content is not what the id is the hash of, or can't be read.
        """
        if _id(content) != id:
            raise ValueError(f"notice {id}: its content was changed")
        when = datetime.fromisoformat(at)
        if when.tzinfo is None:
            raise ValueError(f"notice {id}: a time without a zone")
        return cls(id, when, Snapshot.model_validate_json(content))

    @property
    def fingerprint(self) -> str:
        """Of what is material in it."""
        return self.snapshot.fingerprint


def _id(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Change(NamedTuple):
    """One thing that is different, and what it is about."""

    #: ``purpose``, ``service`` or ``rows`` (those that the site itself keeps)
    about: str
    #: key of the purpose or service, or the tier
    key: str
    #: in a sentence
    text: str


def changes(before: Snapshot, after: Snapshot, language: str = "en") -> list[Change]:
    """What of a change is material, in the reader's language; [] when it asks nobody again."""
    return list(_Comparison(before, after, language))


def reworded(before: Snapshot, after: Snapshot) -> list[str]:
    """The languages whose text is another, or new, or gone."""
    both = {**before.texts, **after.texts}
    return sorted(language for language in both if before.texts.get(language) != after.texts.get(language))


class _Comparison:
    """Two snapshots side by side."""

    def __init__(self, before: Snapshot, after: Snapshot, language: str) -> None:
        self._before, self._after = before, after
        self._language = language
        self._gettext = Texts.for_language(language).gettext
        # The newer words where both have some.
        self._titles = {p.key: self._title(p, of) for of in (before, after) for p in of.purposes}

    def __iter__(self) -> Iterator[Change]:
        yield from self._purposes()
        yield from self._services()
        old, new = self._before.retention_days, self._after.retention_days
        for tier in sorted(old.keys() | new.keys()):
            rows = self._gettext(_ROWS.get(tier, tier))
            yield from self._kept("rows", tier, old.get(tier, 0), new.get(tier, 0), rows=rows)

    def _purposes(self) -> Iterator[Change]:
        old = {purpose.key: purpose for purpose in self._before.purposes}
        new = {purpose.key: purpose for purpose in self._after.purposes}
        for key, title in sorted(self._titles.items()):
            if key not in old:
                yield self._change("purpose added", key, purpose=title)
            elif key not in new:
                yield self._change("purpose removed", key, purpose=title)
            elif old[key].kind != new[key].kind:
                yield self._change("purpose kind", key, purpose=title)

    def _services(self) -> Iterator[Change]:
        old = {service.key: service for service in self._before.services}
        new = {service.key: service for service in self._after.services}
        for key in sorted(new.keys() - old.keys()):
            one = new[key]
            served = self._named(one.purposes)
            yield self._change("service added", key, service=one.name, provider=one.provider, purposes=served)
        for key in sorted(old.keys() - new.keys()):
            yield self._change("service removed", key, service=old[key].name, provider=old[key].provider)
        for key in sorted(old.keys() & new.keys()):
            yield from self._service(old[key], new[key])

    def _service(self, old: ToldService, new: ToldService) -> Iterator[Change]:
        if set(old.purposes) != set(new.purposes):
            served, before = self._named(new.purposes), self._named(old.purposes)
            yield self._change("service purposes", new.key, service=new.name, purposes=served, before=before)
        if old.provider != new.provider:
            both = {"provider": new.provider, "before": old.provider}
            yield self._change("service provider", new.key, service=new.name, **both)
        yield from self._kept("service", new.key, old.retention_days, new.retention_days, service=new.name)

    def _kept(self, about: str, key: str, old: int, new: int, **whose: str) -> Iterator[Change]:
        if old != new:
            what = f"{about} longer" if new > old else f"{about} shorter"
            yield self._change(what, key, days=str(new), before=str(old), **whose)

    def _change(self, what: str, key: str, **values: str) -> Change:
        return Change(what.partition(" ")[0], key, self._gettext(_CHANGED[what]) % values)

    def _title(self, purpose: AskedPurpose, of: Snapshot) -> str:
        for language in (self._language, self._language.partition("-")[0], of.default_language):
            if title := purpose.title.get(language):
                return title
        return purpose.key

    def _named(self, purposes: tuple[str, ...]) -> str:
        return ", ".join(sorted(self._titles.get(key, key) for key in purposes))
