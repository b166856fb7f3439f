"""Options about what is recorded, where it is kept and for how long.

Refuses to open any store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field, field_validator

from .networks import checked_networks

__all__ = [
    "CLICKHOUSE_VARIABLE",
    "POSTGRES",
    "ClickHouse",
    "Hint",
    "RecordingOptions",
    "clickhouse_parameters",
    "postgres_parameters",
]

#: 13 months: what the CNIL allows for audience measurement
_RETENTION: Final = {"coarse": 390, "visit": 390, "person": 390}
#: what a stated route looks like: ``{name}`` is one part of a path, ``{name:path}`` any number of them
_ROUTE: Final = re.compile(r"/(?>[^{}\s?#]|\{[A-Za-z_][A-Za-z0-9_]*(?::path)?\})*")
_MOST_ROUTES, _MOST_GOALS, _LONGEST = 1_000, 200, 200
#: the client hints that a row is made from: nobody is asked for what nobody reads
Hint: TypeAlias = Literal[
    "Sec-CH-UA-Form-Factors", "Sec-CH-UA-Full-Version-List", "Sec-CH-UA-Model", "Sec-CH-UA-Platform-Version"
]
#: what the address of a PostgreSQL database begins with
POSTGRES: Final = "postgresql://"
#: environment variable with the password of the ClickHouse server
CLICKHOUSE_VARIABLE: Final = "CONSENTMW_CLICKHOUSE_PASSWORD"
#: what its address begins with, and the port that is meant when none is named
_CLICKHOUSE: Final = {"clickhouse": 8123, "clickhouses": 8443}
_DATABASE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class RecordingOptions(BaseModel):
    """Events, stores, retention, and the links in e-mails."""

    # -- what is recorded ----------------------------------------------------------------------
    #: where events and the ledger live: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``memory:`` or
    #: ``postgresql://user@host:5432/database``; not in the repr, because such an address may hold a password
    store: str = Field(default="sqlite:///consentmw.db", repr=False)
    #: where event rows live instead, for sites with very many: ``clickhouse://user@host:8123/database``, or
    #: ``clickhouses://`` for TLS. Counters, proofs and erased receipts stay in ``store``
    events_store: str = ""
    #: pages: HTML answers; all: every answer of the application; none: choices only
    record: Literal["pages", "all", "none"] = "pages"
    #: what becomes of a visitor's address on rows of the visit tier: none, truncated (/24, /48) or full
    ip: Literal["none", "truncated", "full"] = "truncated"
    #: networks of the site's own people (CIDR): their requests are counted and recorded as ``internal``
    internal_networks: tuple[str, ...] = ()
    #: MMDB file (GeoLite2 ASN, ip-location-db ...) that tells the provider of an address, for rows of the visit tier;
    #: None asks none
    asn_networks: Path | None = None
    #: whether the domain name system is asked for the domain of an address, for rows of the visit tier: the operator
    #: of the visitor's network can see that
    reverse_dns: bool = False
    #: what browsers are asked to tell about themselves (Accept-CH) where analytics is allowed
    accept_hints: tuple[Hint, ...] = ()
    #: query keys that may be kept on rows of the visit tier; all others are dropped. Identifiers of clicks
    #: (data/clicks.toml) are kept only where their own purpose is allowed, too
    query_keys: frozenset[str] = frozenset({"utm_source", "utm_medium", "utm_campaign"})
    #: query keys that hold the words of the site's own search; on rows of the visit tier, without digits and addresses
    search_keys: frozenset[str] = frozenset()
    #: whether visits of those who chose to be measured are followed: a cookie for the visit, and in their pages a
    #: small script that tells of links, downloads, forms, time and scrolling
    clickstream: bool = True
    #: what the application may count as reached with ``scope["consent"].goal(...)``
    goals: tuple[str, ...] = ()
    #: routes of an application whose framework names none: "/accounts/{id}/bills"; the first that fits counts
    routes: tuple[str, ...] = ()
    #: days that event rows are kept, by tier
    retention_days: Mapping[str, int] = Field(default_factory=lambda: dict(_RETENTION))
    #: events that may wait for the store before new ones are dropped and counted
    queue_capacity: int = Field(default=10_000, ge=10, le=1_000_000)
    #: seconds between two writes to the store: what a killed process can lose
    flush_seconds: float = Field(default=0.5, gt=0, le=60)
    #: folder in which rows wait while the store does not take them, for all processes of one machine; None: beside
    #: the SQLite file, else ``consentmw.spool`` in the working folder
    spool: Path | None = None
    #: megabytes that may wait there before new rows are dropped and counted; 0: rows wait in memory only
    spool_megabytes: int = Field(default=256, ge=0, le=1_000_000)

    # -- finding faults ------------------------------------------------------------------------
    #: file in which each request of the application stands with its full address, a new one each day, its date behind
    #: the name; None writes none
    diagnostic_log: Path | None = None
    #: days until such a file is deleted
    diagnostic_days: int = Field(default=7, ge=1, le=30)

    # -- links in e-mails ----------------------------------------------------------------------
    #: days that click-through links and pixels are honoured after signing; 0 for ever, since old mails are opened
    token_days: int = Field(default=0, ge=0, le=3650)
    #: file with campaigns and tokens whose links and pixels are no longer honoured, one a line; read again when it
    #: changes; None revokes nothing
    revoked_links: Path | None = None
    #: whether a click-through to another site first shows a page that names it: never, or for all other sites
    leaving: Literal["never", "other sites"] = "never"

    # -- requests of people --------------------------------------------------------------------
    #: whether a customer who is signed in may download and erase the account's data, too, on the page "Your data";
    #: on a shared computer that is whoever sits there. Authorizations of energy-usage data are never erased there
    account_requests: bool = False

    @field_validator("retention_days")
    @classmethod
    def _tiers(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if not set(value) <= set(_RETENTION) or not all(1 <= days <= 3650 for days in value.values()):
            raise ValueError(f"days from 1 to 3650 for some of {', '.join(_RETENTION)}")
        return {**_RETENTION, **value}

    @field_validator("goals")
    @classmethod
    def _goal_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > _MOST_GOALS or not all(name == name.strip() and 0 < len(name) <= 60 for name in value):
            raise ValueError(f"at most {_MOST_GOALS} names of at most 60 characters")
        if not all(name.isprintable() for name in value):
            raise ValueError("names that can be printed")
        return value

    @field_validator("routes")
    @classmethod
    def _stated_routes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for route in value:
            if not _ROUTE.fullmatch(route) or len(route) > _LONGEST:
                raise ValueError(f'paths like "/accounts/{{id}}/bills", not {route[:_LONGEST]!r}')
        if len(value) > _MOST_ROUTES:
            raise ValueError(f"at most {_MOST_ROUTES} of them")
        return value

    @field_validator("internal_networks")
    @classmethod
    def _own_people(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_networks(value)

    @field_validator("diagnostic_log")
    @classmethod
    def _in_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and (not value.parent.is_dir() or value.is_dir()):
            raise ValueError("a file in a folder that exists")
        return value

    @field_validator("store")
    @classmethod
    def _store_url(cls, value: str) -> str:
        if value.startswith(POSTGRES):
            postgres_parameters(value)
            return value
        if value != "memory:" and not (value.startswith("sqlite:///") and len(value) > len("sqlite:///")):
            raise ValueError(
                '"memory:", "sqlite:///relative.db", "sqlite:////absolute.db" or "postgresql://user@host/database"'
            )
        return value

    @field_validator("events_store")
    @classmethod
    def _events_store_url(cls, value: str) -> str:
        if value:
            clickhouse_parameters(value)
        return value


class ClickHouse(NamedTuple):
    """What an address of ClickHouse says."""

    secure: bool
    host: str
    port: int
    user: str
    database: str


def clickhouse_parameters(url: str) -> ClickHouse:
    """What an address like ``clickhouse://user@host:8123/database`` says.

    Raises ValueError that shows nothing of it, for anything else and for an address with a password in it.
    """
    expected = "an address like clickhouse://user@host:8123/database, or clickhouses:// for TLS"
    try:
        read = urlsplit(url)
        port = read.port
    except ValueError:
        raise ValueError(expected) from None
    if read.password is not None:
        raise ValueError(f"an address without a password; set {CLICKHOUSE_VARIABLE} in the environment")
    database = unquote(read.path[1:]) or "default"
    printable = url.isascii() and url.isprintable() and " " not in url
    if (
        read.scheme not in _CLICKHOUSE
        or not read.hostname
        or port == 0
        or read.query
        or read.fragment
        or not printable
        or not _DATABASE.fullmatch(database)
    ):
        raise ValueError(expected)
    user = unquote(read.username or "default")
    return ClickHouse(read.scheme == "clickhouses", read.hostname, port or _CLICKHOUSE[read.scheme], user, database)


def postgres_parameters(url: str) -> dict[str, Any]:
    """What PostgreSQL's own client reads from an address. Raises ValueError that shows nothing of it: no password."""
    try:
        from psycopg import Error
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ValueError("for PostgreSQL, install consentmw[postgres]") from None
    try:
        read = dict(conninfo_to_dict(url))
    except (Error, UnicodeError):
        read = {}
    # What the client would only find out when it connects; and a NUL would end the address for it.
    if not read or "\0" in url or not all(port.isdecimal() for port in str(read.get("port") or "0").split(",") if port):
        raise ValueError("an address like postgresql://user@host:5432/database")
    return read
