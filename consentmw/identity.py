"""What a site says of itself in its settings: the company behind it, and the regions it asks about.

Refuses to know what a region's law is, and who is shown any of this.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Party", "RegionChoice"]

_REGION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


class RegionChoice(BaseModel):
    """One button of the region selector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: ISO 3166-2 code: ``US-IA``
    code: str = Field(pattern=_REGION.pattern)
    #: the word on the button: ``IOWA``
    label: str = Field(min_length=1, max_length=40)


class Party(BaseModel):
    """Who is responsible for the data, as receipts name them (ISO/IEC TS 27560, party; Kantara, piiController)."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=200)

    #: the company's name; "" takes the site's
    name: str = ""
    street: str = ""
    city: str = ""
    #: ISO 3166-2 subdivision without its country: ``IA``
    state: str = ""
    postal_code: str = ""
    #: ISO 3166-1: ``US``
    country: str = ""
    phone: str = ""
    #: the company's own website
    url: str = ""
