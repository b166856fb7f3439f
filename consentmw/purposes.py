"""What may run and why: purposes, the services that serve them, and the catalogue that finds a service.

A *purpose* is a reason to process data that a visitor can allow or refuse. A *service* is a
third party's product (Google Analytics 4, YouTube) with the marks by which a server recognises
it: hosts and path prefixes, pieces of inline code, cookie names. The *catalogue* is all of them,
compiled at start into tables that a request only looks up.

Refuses to know any visitor, choice or HTML.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

from .errors import CatalogueError

__all__ = ["KINDS", "Catalogue", "Purpose", "Service"]

#: the kinds of purpose; law and browser signals are written in terms of these (design: the decision)
KINDS: Final = ("necessary", "preferences", "analytics", "advertising", "sale", "email_measurement")

#: kinds that the site itself may serve without any third party: its own statistics, its own e-mails
_OWN_KINDS: Final = ("necessary", "analytics", "email_measurement")

#: says in marks and counters that no service is meant
_RESERVED: Final = "unknown"

_DATA: Final = Path(__file__).parent / "data" / "services.toml"
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+(/[!-~]*)?")
#: a fetch directive (or form-action) and one source of it: a scheme, or a scheme and a host (CSP Level 3, 2.3.1)
_CSP: Final = re.compile(
    r"((child|connect|font|frame|img|manifest|media|object|script|style|worker)-src|form-action) "
    r"(blob:|data:|(https|wss)://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?)"
)
_WILDCARD: Final = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Purpose:
    """A reason to process data, which a visitor can allow or refuse on its own."""

    #: short name in cookies, settings and code: ``analytics``
    key: str
    #: one of :data:`KINDS`; regimes and signals act on the kind
    kind: str
    #: title and explanation shown to a visitor, in English; translated through the gettext catalogue
    title: str
    text: str

    @property
    def optional(self) -> bool:
        """Whether a visitor may refuse it: everything but what the site cannot work without."""
        return self.kind != "necessary"


@dataclass(frozen=True, slots=True)
class Service:
    """A third party's product and the marks by which a server recognises it."""

    key: str
    name: str
    #: who runs it, as the notice names them
    provider: str
    #: keys of the purposes it serves; it runs only when all of them are granted
    purposes: tuple[str, ...]
    #: ``host``, ``*.host`` (the host and everything below it) or either with a path prefix
    hosts: tuple[str, ...] = ()
    #: literal pieces of inline code that only this service's snippet holds
    inline: tuple[str, ...] = ()
    #: cookie names it sets in the site's own domain, with ``*`` and ``?`` as wildcards
    cookies: tuple[str, ...] = ()
    #: localStorage and sessionStorage keys it writes, with ``*`` as wildcard
    storage: tuple[str, ...] = ()
    #: sources for a Content-Security-Policy that don't follow from ``hosts``: ``connect-src wss://ws.example``
    csp: tuple[str, ...] = ()
    #: Google consent signals it needs (``analytics_storage``, ``ad_storage`` ...)
    google: tuple[str, ...] = ()
    #: those of ``hosts`` and ``inline`` whose code heeds these signals: it stores nothing while they are denied
    cookieless: tuple[str, ...] = ()
    #: how long its cookies live, in days, as its documentation says; 0 for none
    retention_days: int = 0
    privacy_url: str = ""
    opt_out_url: str = ""
    #: whether visitors are told and asked about it; one they are not told about is recognised and never runs
    disclosed: bool = True


class _Cookies:
    """Cookie names of all services, looked up in a time that doesn't grow with their number."""

    __slots__ = ("_exact", "_heads", "_lengths")

    def __init__(self, services: Iterable[Service]) -> None:
        self._exact: dict[str, Service] = {}
        #: by what stands before the first wildcard
        self._heads: dict[str, list[tuple[re.Pattern[str], Service]]] = {}
        for service in services:
            for name in service.cookies:
                if wildcard := _WILDCARD.search(name):
                    marks = self._heads.setdefault(name[: wildcard.start()], [])
                    marks.append((re.compile(translate(name)), service))
                else:
                    self._exact.setdefault(name, service)
        self._lengths = sorted({len(head) for head in self._heads}, reverse=True)

    def owner(self, name: str) -> Service | None:
        """The service of the whole name, else of the longest beginning that a pattern has."""
        if found := self._exact.get(name):
            return found
        for length in self._lengths:
            # A name shorter than this is met again, whole, at its own length.
            for pattern, service in self._heads.get(name[:length], ()):
                if pattern.match(name):
                    return service
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """All purposes and services of a site, with the look-ups that the gates need."""

    purposes: Mapping[str, Purpose]
    services: Mapping[str, Service]
    #: short hash of everything material: purposes, services, who gets the data, what for, how long it is kept, here
    #: and there. A choice made under another fingerprint no longer counts (design 2).
    fingerprint: str = field(init=False)
    #: shipped services that serve nothing optional and that the site doesn't list: not asked about, not withheld
    spared: tuple[Service, ...] = ()
    #: days that the site keeps its own rows, by tier
    retention_days: Mapping[str, int] = field(default_factory=dict)
    _hosts: _Hosts = field(init=False, repr=False)
    _spared: _Hosts = field(init=False, repr=False)
    _cookies: _Cookies = field(init=False, repr=False)

    def __post_init__(self) -> None:
        hosts: dict[str, dict[str, Service]] = {}
        for service in self.services.values():
            self._check(service)
            for mark in service.hosts:
                host, slash, path = mark.partition("/")
                other = hosts.setdefault(host, {}).setdefault(slash + path, service)
                # What the site doesn't use gives way: a service of its own may stand at the same address.
                if other is not service and service.disclosed:
                    raise CatalogueError(f"services.{service.key}.hosts", f"{mark!r} only once: {other.key} has it too")
        object.__setattr__(self, "_hosts", _by_path(hosts))
        spared: dict[str, dict[str, Service]] = {}
        for service in self.spared:
            for mark in service.hosts:
                host, slash, path = mark.partition("/")
                spared.setdefault(host, {})[slash + path] = service
        object.__setattr__(self, "_spared", _by_path(spared))
        object.__setattr__(self, "_cookies", _Cookies(self.services.values()))
        # As Python writes them: quoted, so that no name can be mistaken for the end of one.
        material = [repr((p.key, p.kind)) for p in self.purposes.values()]
        material += [repr((s.key, s.provider, sorted(s.purposes), s.retention_days)) for s in self.disclosed]
        material += [repr((tier, days)) for tier, days in self.retention_days.items()]
        digest = hashlib.sha256("\n".join(sorted(material)).encode()).hexdigest()
        object.__setattr__(self, "fingerprint", digest[:12])

    @property
    def disclosed(self) -> tuple[Service, ...]:
        """The services that visitors are told and asked about."""
        return tuple(service for service in self.services.values() if service.disclosed)

    def _check(self, service: Service) -> None:
        key = f"services.{service.key}"
        if not service.purposes:
            text = "at least one purpose: a visitor is asked for each, and a service that serves none must not run"
            raise CatalogueError(f"{key}.purposes", f"{text} [service without purpose; GDPR art. 5(1)(b)]")
        for purpose in service.purposes if service.disclosed else ():
            if purpose not in self.purposes:
                raise CatalogueError(f"{key}.purposes", f"one of {', '.join(self.purposes)}, not {purpose!r}")
        if not (service.hosts or service.inline):
            raise CatalogueError(f"{key}.hosts", "at least one host or inline mark, or it can't be recognised")
        for host in service.hosts:
            if not _HOST.fullmatch(host):
                raise CatalogueError(f"{key}.hosts", f"a lower-case host, *.host or host/path, not {host!r}")
        for mark in service.inline:
            if len(mark) < 4:
                raise CatalogueError(
                    f"{key}.inline", f"4 characters or more that only this service writes, not {mark!r}"
                )

        if other := set(service.cookieless) - {*service.hosts, *service.inline}:
            raise CatalogueError(f"{key}.cookieless", f"some of its hosts and inline marks, and {min(other)!r} is none")
        for source in service.csp:
            if not _CSP.fullmatch(source):
                raise CatalogueError(f"{key}.csp", f'texts like "connect-src wss://a.example", not {source!r}')

    def service_for_url(self, host: str, path: str = "/") -> Service | None:
        """The service that answers at this host and path, or None. ``host`` is lower case, without port."""
        return _answering(self._hosts, host, path)

    def knows(self, host: str, path: str = "/") -> bool:
        """Whether a service answers at this host and path, be it one that needs no question and isn't listed."""
        return any(_answering(table, host, path) is not None for table in (self._hosts, self._spared))

    def service_for_cookie(self, name: str) -> Service | None:
        """The service that sets a cookie of this name, or None."""
        return self._cookies.owner(name)

    @classmethod
    def load(
        cls,
        *,
        purposes: Mapping[str, Mapping[str, object]] | None = None,
        services: Mapping[str, Mapping[str, object]] | None = None,
        only: Iterable[str] | None = None,
        retention_days: Mapping[str, int] | None = None,
    ) -> Catalogue:
        """The shipped catalogue with a site's own purposes and services added or overridden.

        ``only`` names those of the shipped services that the site uses: the notice lists no others; None
        means all that visitors are asked about. The others stay recognised and are always withheld, since
        nobody was asked about them, but for those that serve nothing optional: a captcha or a font that
        a site forgot to list must not break its pages, so the catalogue leaves them out. ``retention_days``:
        for how many the site keeps its own rows, by tier. Raises CatalogueError.
        """
        shipped = _shipped()
        needed = {key for key, value in shipped["services"].items() if _needed(value, shipped["purposes"])}
        kept = set(shipped["services"].keys() - needed if only is None else only)
        if unknown := sorted(kept - set(shipped["services"]) - set(services or ())):
            raise CatalogueError("services_used", f"known services; {', '.join(unknown)} is in no catalogue")
        merged = _merged(shipped["services"], services or {}, "services")
        wanted = {key: value for key, value in merged.items() if key in kept or key in (services or {})}
        others = {key: value for key, value in merged.items() if key not in wanted and key not in needed}
        used = {
            name for key, value in wanted.items() for name in _names(value.get("purposes"), f"services.{key}.purposes")
        }
        found = {
            key: _purpose(key, value)
            for key, value in _merged(shipped["purposes"], purposes or {}, "purposes").items()
            # A purpose that no service serves is not asked about, unless the site declared it itself.
            if key in used or key in (purposes or {}) or value.get("kind") in _OWN_KINDS
        }
        told = {key: _service(key, value) for key, value in wanted.items()}
        untold = {key: replace(_service(key, value), disclosed=False) for key, value in others.items()}
        spared = tuple(_service(key, merged[key]) for key in sorted(needed - wanted.keys()))
        return cls(found, told | untold, spared, retention_days or {})


_Table: TypeAlias = Mapping[str, Mapping[str, object]]
_Hosts: TypeAlias = Mapping[str, tuple[tuple[str, Service], ...]]


def _by_path(hosts: Mapping[str, Mapping[str, Service]]) -> _Hosts:
    """The longest path first, so that a host shared by two products goes to the closer match."""
    return {host: tuple(sorted(marks.items(), key=lambda m: -len(m[0]))) for host, marks in hosts.items()}


def _answering(hosts: _Hosts, host: str, path: str) -> Service | None:
    # The host itself, then it and each parent as a wildcard: nearer marks win over wider ones.
    for prefix, service in hosts.get(host, ()):
        if path.startswith(prefix):
            return service
    name = host
    while name:
        for prefix, service in hosts.get("*." + name, ()):
            if path.startswith(prefix):
                return service
        name = name.partition(".")[2]
    return None


def _merged(shipped: _Table, own: _Table, name: str) -> dict[str, dict[str, object]]:
    """The shipped entries with a site's own fields over them, and its new entries after them."""
    merged = {key: dict(values) for key, values in shipped.items()}
    for key, values in own.items():
        if not isinstance(values, Mapping):
            raise CatalogueError(f"{name}.{key}", "a table of fields")
        merged.setdefault(key, {}).update(values)
    return merged


def _needed(service: Mapping[str, object], purposes: _Table) -> bool:
    """Whether a shipped service serves nothing that a visitor may refuse."""
    return all(purposes[name]["kind"] == "necessary" for name in _names(service["purposes"], "purposes"))


@lru_cache(maxsize=1)
def _shipped() -> dict[str, _Table]:
    with _DATA.open("rb") as file:
        return tomllib.load(file)


def _purpose(key: str, value: Mapping[str, object]) -> Purpose:
    kind = str(value.get("kind", ""))
    if not _KEY.fullmatch(key):
        raise CatalogueError(f"purposes.{key}", "a key of lower-case letters, digits and _, at most 32")
    if kind not in KINDS:
        raise CatalogueError(f"purposes.{key}.kind", f"one of {', '.join(KINDS)}")
    title, text = str(value.get("title", "")), str(value.get("text", ""))
    if not title or not text:
        raise CatalogueError(f"purposes.{key}", "a title and a text, because a visitor is asked about it")
    return Purpose(key, kind, title, text)


def _service(key: str, value: Mapping[str, object]) -> Service:
    if not _KEY.fullmatch(key) or key == _RESERVED:
        raise CatalogueError(
            f"services.{key}", f'a key of lower-case letters, digits and _, at most 32, and not "{_RESERVED}"'
        )
    lists = ("purposes", "hosts", "inline", "cookies", "storage", "csp", "google", "cookieless")
    texts = ("name", "provider", "privacy_url", "opt_out_url")
    fields = (*texts, *lists, "retention_days")
    if unknown := sorted(set(value) - set(fields)):
        raise CatalogueError(f"services.{key}.{unknown[0]}", f"a field that exists: one of {', '.join(fields)}")
    parts = {name: _names(value.get(name), f"services.{key}.{name}") for name in lists}
    words = {name: str(value.get(name, "")) for name in texts}
    words["name"] = words["name"] or key
    words["provider"] = words["provider"] or words["name"]
    days = value.get("retention_days", 0)
    if not isinstance(days, int) or isinstance(days, bool) or days < 0:
        raise CatalogueError(f"services.{key}.retention_days", "a whole number of days")
    return Service(key=key, **words, **parts, retention_days=days)  # type: ignore[arg-type]


def _names(value: object, key: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise CatalogueError(key, "a list of texts")
    return tuple(value)
