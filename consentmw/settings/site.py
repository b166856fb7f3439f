"""Options about the site itself, and about how its visitors are recognised: who is asking.

Refuses to know what may run for them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, Field, field_validator

from ..identity import Party, RegionChoice
from .folders import existing_folder
from .networks import checked_networks

__all__ = ["MIN_SECRET", "SiteOptions"]

#: characters of the shortest signing key
MIN_SECRET: Final = 16
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class SiteOptions(BaseModel):
    """The site, its pages and its proxies."""

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
    #: minutes after which the page of a signed-in visitor looks for choices made on their other devices; 0: every page
    account_minutes: int = Field(default=5, ge=0, le=1440)
    #: languages the pages are offered in; the first is not special, ``default_language`` is
    languages: tuple[str, ...] = ("en", "es")
    default_language: str = "en"
    #: the buttons of the region selector; NO THANKS is always offered beside them; empty hides it
    region_choices: tuple[RegionChoice, ...] = ()

    @field_validator("prefix")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value) or "/." in value:
            raise ValueError('a path like "/privacy", without a slash at its end')
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_networks(value, "unix")

    @field_validator("languages")
    @classmethod
    def _tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(_LANGUAGE.fullmatch(tag) for tag in value):
            raise ValueError('at least one language tag like "en" or "es-US"')
        return value

    @field_validator("secret_keys")
    @classmethod
    def _long_enough(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < MIN_SECRET for key in value):
            raise ValueError(f"keys of at least {MIN_SECRET} characters")
        return value

    _templates_exist = field_validator("templates")(existing_folder)
