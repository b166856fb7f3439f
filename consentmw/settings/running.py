"""Options about what may run, and about what a response may carry.

Refuses to know Google's own words and what is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, Field, InstanceOf, field_validator

from ..signals import Signal
from .folders import existing_folder

__all__ = ["RunningOptions"]

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
#: days that a choice may count at the very most
_LONGEST_CHOICE: Final = 390
#: a host source of CSP Level 3 (section 2.3.1) without a path; "https:" or "*" alone would allow everybody
_SOURCE: Final = re.compile(r"((https?|wss?)://)?(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:(\d{1,5}|\*))?")


class RunningOptions(BaseModel):
    """Regimes, purposes, services, the banner and the gates."""

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
    valid_days: int = Field(default=180, ge=1)
    #: days that nobody is asked again who refused everything or, where things run unasked, opted out of sale and
    #: advertising; California asks for 12 months of it (Civ. Code 1798.135(c)(4))
    refusal_days: int = Field(default=365, ge=1, le=390)
    #: the browser's signals that are honoured: "gpc", and coming ones as "module:object" or Signal
    signals: tuple[str | InstanceOf[Signal], ...] = ("gpc",)
    #: Do Not Track: no, or the same as Global Privacy Control. It was given up in 2019 and no law makes it binding,
    #: but California wants visitors to be told which (Bus. & Prof. Code 22575(b)(5)), so the notice says it
    honor_dnt: Literal["no", "as_gpc"] = "no"

    # -- what the response carries -------------------------------------------------------------
    #: name of our cookies; over https they are ``__Host-<name>``, the same with ``-locale``, ``-once``, ``-account``
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
    #: what pages tell advertising companies in the IAB's words (GPP): auto, by the law of the visitor's state;
    #: national, by the national section for everybody who is not known to be abroad; off, nothing, as where another
    #: product does
    gpp: Literal["auto", "national", "off"] = "auto"
    #: the mode in which a signatory of the IAB's Multi-State Privacy Agreement covers its transactions; "" for all
    #: others
    mspa: Literal["", "opt_out", "service_provider"] = ""
    #: the site's other hosts, as host sources: "https://cdn.example.net", "*.example.net"; own for gate and policy
    own_hosts: tuple[str, ...] = ()
    #: what becomes of hosts that nobody named, by what would load from them: withhold, report or allow. One word
    #: for everything, or a table of those that differ. Code, frames and pixels can watch a visitor, and a hint to
    #: connect only saves time; without images, styles and fonts a page falls apart.
    unknown: Mapping[str, _Word] = Field(default_factory=lambda: dict(_UNKNOWN))

    @field_validator("valid_days")
    @classmethod
    def _not_for_ever(cls, value: int) -> int:
        if value > _LONGEST_CHOICE:
            source = "expiry over the maximum; CNIL: 13 months for trackers; RFC 6265bis: 400 days for cookies"
            raise ValueError(f"{_LONGEST_CHOICE} days or less, not {value} [{source}]")
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

    _notices_exist = field_validator("notices")(existing_folder)
