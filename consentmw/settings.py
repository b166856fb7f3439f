"""Every option, with its default, its unit and the reason for it; read once at start.

Settings come from a TOML file, a mapping or keywords; secrets come from the environment. A value
that can't work is refused with the file, the key and what was expected, because a privacy
middleware that starts with half its settings is worse than one that doesn't start.
"""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import SettingsError
from .identity import Party, RegionChoice

__all__ = ["GOOGLE_VARIABLE", "KEYS_VARIABLE", "Settings", "postgres_parameters"]

#: environment variable with the signing keys, comma separated, oldest first; the last one signs
KEYS_VARIABLE: Final = "CONSENTMW_SECRET_KEYS"
#: environment variable with the Measurement Protocol API secret of the Analytics property
GOOGLE_VARIABLE: Final = "CONSENTMW_GOOGLE_API_SECRET"

_MIN_SECRET: Final = 16
#: 13 months: what the CNIL allows for audience measurement
_RETENTION: Final = {"coarse": 390, "visit": 390, "person": 390}
#: what a page may load from hosts that nobody named
_Word: TypeAlias = Literal["withhold", "report", "allow"]
_UNKNOWN: Final[Mapping[str, _Word]] = {
    "script": "withhold",
    "frame": "withhold",
    "pixel": "withhold",
    "image": "allow",
    "style": "allow",
    "font": "allow",
    "media": "allow",
    "connect": "withhold",
    "form": "allow",
}
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
#: a host source of CSP Level 3 (section 2.3.1) without a path; "https:" or "*" alone would allow everybody
_SOURCE: Final = re.compile(r"((https?|wss?)://)?(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:(\d{1,5}|\*))?")
#: an address without a query; plain http only to this machine, where a proxy may stand beside the server
_COLLECTOR: Final = (
    r"^((https://[A-Za-z0-9.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?)?$"
)
_POSTGRES: Final = "postgresql://"


class Settings(BaseModel):
    """All options of :class:`consentmw.ConsentMiddleware`; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # -- the site ------------------------------------------------------------------------------
    #: the name visitors know the site by, in the banner and the notice
    site_name: str = Field(default="This website", min_length=1, max_length=120)
    #: e-mail address for privacy questions, shown in the notice; "" shows none
    contact: str = Field(default="", max_length=200)
    #: the company behind the site, in receipts
    controller: Party = Party()
    #: where our pages live; neutral, because ad-block lists hide addresses that say cookie or track
    prefix: str = "/privacy"
    #: development: http cookies without the __Host- prefix, a random secret when none is set, reasons in headers
    debug: bool = False
    #: signing keys, oldest to newest, at least 16 characters each; normally from CONSENTMW_SECRET_KEYS
    secret_keys: tuple[str, ...] = Field(default=(), repr=False)
    #: path of a stylesheet of the site, loaded on our own pages after ours: for its colours and fonts
    stylesheet: str = Field(default="", pattern=r"^(/[!-~]*)?$")
    #: folder with templates that replace ours of the same name
    templates: Path | None = None

    # -- who is asking -------------------------------------------------------------------------
    #: networks of our own reverse proxies (CIDR), or "unix"; X-Forwarded-* counts only from these
    trusted_proxies: tuple[str, ...] = ()
    #: the CDN whose country and region headers count when a trusted proxy sends them: cloudflare, cloudfront, vercel,
    #: akamai; "" asks none. Only for visitors who did not state a region
    region_headers: Literal["", "cloudflare", "cloudfront", "vercel", "akamai"] = ""
    #: MMDB file (GeoLite2 City, ip-location-db ...) that tells a region from an address; None asks none
    networks: Path | None = None
    #: languages the pages are offered in; the first is not special, ``default_language`` is
    languages: tuple[str, ...] = ("en", "es")
    default_language: str = "en"
    #: the buttons of the region selector; NO THANKS is always offered beside them; empty hides it
    region_choices: tuple[RegionChoice, ...] = ()

    # -- what may run --------------------------------------------------------------------------
    #: the regime for a visitor whose region is unknown: strict asks before anything optional
    fallback_regime: str = "strict"
    #: region code to regime, over the shipped table
    regimes: Mapping[str, str] = Field(default_factory=dict)
    #: keys of the shipped services that the site uses; None discloses every one that needs a question
    services_used: tuple[str, ...] | None = None
    #: services the site adds or changes, as in data/services.toml
    services: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    #: purposes the site adds or changes, as in data/services.toml
    purposes: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    #: days until a choice is asked for again; CNIL recommends 6 months, browsers keep a cookie at most 400 days
    valid_days: int = Field(default=180, ge=1, le=390)

    # -- what the response carries -------------------------------------------------------------
    #: name of our cookies; over https they are ``__Host-<name>``, the same with ``-locale`` and with ``-once``
    cookie_name: str = Field(default="privacy", pattern=r"^[A-Za-z0-9_-]{1,40}$")
    #: top: first in the page and in its flow, hides nothing; bottom: stays at the lower edge of the window
    banner_position: Literal["top", "bottom"] = "top"
    #: whether pages get the line with the links to notice, choices and locale at their end
    footer: bool = True
    #: folder with the site's own notices, ``<language>.md``; None uses the shipped text
    notices: Path | None = None

    #: a Content-Security-Policy beside the site's own, with the hosts this visitor allowed: off sends none,
    #: report-only counts what pages reach for beyond it, enforce makes browsers refuse it
    policy: Literal["off", "report-only", "enforce"] = "off"
    #: the site's other hosts, as host sources: "https://cdn.example.net", "*.example.net"; own for gate and policy
    own_hosts: tuple[str, ...] = ()
    #: what becomes of hosts that nobody named, by what would load from them: withhold, report or allow. One word
    #: for everything, or a table of those that differ. Code, frames and pixels can watch a visitor, and a hint to
    #: connect only saves time; without images, styles and fonts a page falls apart.
    unknown: Mapping[str, _Word] = Field(default_factory=lambda: dict(_UNKNOWN))

    # -- Google --------------------------------------------------------------------------------
    #: basic: nothing of Google's loads before the choice; advanced: its consent-aware tags may load before it, with
    #: everything denied, and send pings without cookies. A refusal and Global Privacy Control hold in both.
    google_mode: Literal["basic", "advanced"] = "basic"
    #: measurement id of the site's Analytics property: switched off in the page itself while analytics is denied
    google_analytics: str = Field(default="", pattern=r"^(G-[A-Z0-9]{4,16})?$")
    #: id of the site's Tag Manager container
    google_tag_manager: str = Field(default="", pattern=r"^(GTM-[A-Z0-9]{4,12})?$")
    #: whether the tags of these two ids are written into pages that don't have them
    google_insert: bool = True
    #: whether a container may run nothing but Google's own tags while some purpose of the page is denied: what it
    #: loads no server can see
    google_restrict_containers: bool = True
    #: whether events of the host application are sent to Google from the server, and where Google collects them
    google_relay: Literal["off", "eu", "global"] = "off"
    #: whether page views are sent, too: for a site whose pages have no Google tag, or each would count twice
    google_relay_pages: bool = False
    #: address of a proxy that takes the events in Google's stead; "" sends them to the region of google_relay
    google_relay_endpoint: str = Field(default="", pattern=_COLLECTOR)

    # -- what is recorded ----------------------------------------------------------------------
    #: where events and the ledger live: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``memory:`` or
    #: ``postgresql://user@host:5432/database``; not in the repr, because such an address may hold a password
    store: str = Field(default="sqlite:///consentmw.db", repr=False)
    #: pages: HTML answers; all: every answer of the application; none: choices only
    record: Literal["pages", "all", "none"] = "pages"
    #: what becomes of a visitor's address on rows of the visit tier: none, truncated (/24, /48) or full
    ip: Literal["none", "truncated", "full"] = "truncated"
    #: query keys that may be kept on rows of the visit tier; all others are dropped
    query_keys: frozenset[str] = frozenset({"utm_source", "utm_medium", "utm_campaign"})
    #: days that event rows are kept, by tier
    retention_days: Mapping[str, int] = Field(default_factory=lambda: dict(_RETENTION))
    #: events that may wait for the store before new ones are dropped and counted
    queue_capacity: int = Field(default=10_000, ge=10, le=1_000_000)
    #: seconds between two writes to the store: what a killed process can lose
    flush_seconds: float = Field(default=0.5, gt=0, le=60)

    # -- links in e-mails ----------------------------------------------------------------------
    #: days that click-through links and pixels are honoured after signing; 0 for ever, since old mails are opened
    token_days: int = Field(default=0, ge=0, le=3650)

    @field_validator("prefix")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value) or "/." in value:
            raise ValueError('a path like "/privacy", without a slash at its end')
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                if network != "unix":
                    ip_network(network)
            except ValueError:
                raise ValueError(f'networks like "10.0.0.0/8" or "unix", not {network!r}') from None
        return value

    @field_validator("languages")
    @classmethod
    def _tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(_LANGUAGE.fullmatch(tag) for tag in value):
            raise ValueError('at least one language tag like "en" or "es-US"')
        return value

    @field_validator("secret_keys")
    @classmethod
    def _long_enough(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < _MIN_SECRET for key in value):
            raise ValueError(f"keys of at least {_MIN_SECRET} characters")
        return value

    @field_validator("unknown", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if isinstance(value, str):
            return dict.fromkeys(_UNKNOWN, value)
        if not isinstance(value, Mapping) or not set(value) <= set(_UNKNOWN):
            raise ValueError(f'"withhold", "report" or "allow", or a table of these for {", ".join(_UNKNOWN)}')
        return {**_UNKNOWN, **value}

    @field_validator("own_hosts")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            if not _SOURCE.fullmatch(source) or len(source) > 300:
                raise ValueError(f'hosts like "https://cdn.example.net" or "*.example.net", not {source!r}')
        return value

    @field_validator("retention_days")
    @classmethod
    def _tiers(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if not set(value) <= set(_RETENTION) or not all(1 <= days <= 3650 for days in value.values()):
            raise ValueError(f"days from 1 to 3650 for some of {', '.join(_RETENTION)}")
        return {**_RETENTION, **value}

    @field_validator("templates", "notices")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"an existing folder, and {value.name!r} is none")
        return value

    @field_validator("store")
    @classmethod
    def _store_url(cls, value: str) -> str:
        if value.startswith(_POSTGRES):
            postgres_parameters(value)
            return value
        if value != "memory:" and not (value.startswith("sqlite:///") and len(value) > len("sqlite:///")):
            raise ValueError(
                '"memory:", "sqlite:///relative.db", "sqlite:////absolute.db" or "postgresql://user@host/database"'
            )
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.default_language not in self.languages:
            raise ValueError(f"default_language: one of languages ({', '.join(self.languages)})")
        if self.google_relay != "off" and not self.google_analytics:
            raise ValueError("google_relay: needs google_analytics, the id of the property")
        return self

    @property
    def guesses_region(self) -> bool:
        """Whether a region may come from headers or a file, so that every region's regime can apply."""
        return bool(self.region_headers or self.networks)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Settings:
        """Settings from a TOML file; folders in it are relative to the file. Raises SettingsError."""
        file = Path(path)
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise SettingsError("file", f"a readable TOML file ({error.strerror})", file) from error
        except UnicodeDecodeError as error:
            raise SettingsError("file", "a TOML file in UTF-8", file) from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError("file", f"valid TOML ({error})", file) from error
        for key in ("templates", "notices", "networks"):
            if isinstance(values.get(key), str):
                values[key] = file.parent / values[key]
        if "secret_keys" in values:
            raise SettingsError("secret_keys", f"no secret in a file; set {KEYS_VARIABLE} in the environment", file)
        loaded = cls._build(values, file)
        if loaded.store.startswith(_POSTGRES) and {"password", "sslpassword"} & {*postgres_parameters(loaded.store)}:
            raise SettingsError("store", "no password in a file; set PGPASSWORD or PGPASSFILE in the environment", file)
        return loaded

    @classmethod
    def of(cls, value: Settings | Mapping[str, Any] | str | os.PathLike[str] | None, **keywords: Any) -> Settings:
        """Settings from whatever a caller holds: Settings, a mapping, a path, or keywords. Raises SettingsError."""
        if isinstance(value, Settings):
            return value._with_secrets(None) if not keywords else cls._build({**dict(value), **keywords}, None)
        if isinstance(value, (str, os.PathLike)):
            loaded = cls.load(value)
            return loaded if not keywords else cls._build({**dict(loaded), **keywords}, Path(value))
        return cls._build({**(value or {}), **keywords}, None)

    @classmethod
    def _build(cls, values: Mapping[str, Any], path: Path | None) -> Settings:
        try:
            return cls.model_validate(dict(values))._with_secrets(path)
        except ValidationError as error:
            raise _explain(error, path) from None

    def _with_secrets(self, path: Path | None) -> Settings:
        if self.secret_keys:
            return self
        keys = tuple(key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip())
        if any(len(key) < _MIN_SECRET for key in keys):
            raise SettingsError(KEYS_VARIABLE, f"keys of at least {_MIN_SECRET} characters, separated by commas", path)
        if not keys and not self.debug:
            raise SettingsError(
                KEYS_VARIABLE, "set it in the environment: at least one random key, or debug = true", path
            )
        # A random key is fine while developing: choices made before a restart are simply asked for again.
        return self.model_copy(update={"secret_keys": keys or (secrets.token_urlsafe(32),)})


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


def _explain(error: ValidationError, path: Path | None) -> SettingsError:
    """The first thing that is wrong, named as in the file."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(set(Settings.model_fields) - {"secret_keys"}))
        message = f"a known option; the options are {known}"
    if not key:
        key, _, message = message.partition(": ")
    return SettingsError(key, message, path)
