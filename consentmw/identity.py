"""Who is who: the company behind a site, the regions it asks about, and what stands for a customer in a record.

Refuses to know what a region's law is, who is shown any of this, and what is recorded of a customer.
"""

from __future__ import annotations

import hmac
import os
import re
from hashlib import sha256
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from .errors import SettingsError

__all__ = ["ACCOUNT_VARIABLE", "Party", "Pseudonyms", "RegionChoice"]

#: environment variable with the key that account numbers are hashed with
ACCOUNT_VARIABLE: Final = "CONSENTMW_ACCOUNT_KEY"
_SHORTEST_KEY: Final = 16

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


class Pseudonyms:
    """What stands for an account wherever something is recorded: a keyed hash, which nobody can guess without the key.

    The key never changes: whoever changes it finds nothing that was recorded about any account before.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8", "surrogateescape")

    def of(self, account: str) -> str:
        """32 hexadecimal characters for this account number; spaces around it do not count."""
        return self._hashed(b"account\0", account)

    def recipient(self, reference: str) -> str:
        """The same for a sender's reference of somebody who gets its e-mails; never what stands for an account."""
        return self._hashed(b"recipient\0", reference)

    def _hashed(self, what: bytes, text: str) -> str:
        # Whatever a host calls somebody has a name here, also what is no text.
        said = text.strip().encode("utf-8", "surrogatepass")
        return hmac.new(self._key, what + said, sha256).hexdigest()[:32]

    def linked(self, receipt: str) -> str:
        """The receipt under which an account holds what a browser chose under this one.

        Always the same, so that it can be found again; and without the key nobody can tell that the two are one.
        """
        return hmac.new(self._key, b"linked\0" + receipt.encode(), sha256).hexdigest()[:24]

    @classmethod
    def configured(cls, otherwise: str = "") -> Pseudonyms | None:
        """As :meth:`from_environment`, but None where no key was given at all."""
        return cls.from_environment(otherwise) if otherwise or os.environ.get(ACCOUNT_VARIABLE) else None

    @classmethod
    def from_environment(cls, otherwise: str = "") -> Pseudonyms:
        """With the key that the environment holds, else this one. Raises SettingsError without a long enough one."""
        key = os.environ.get(ACCOUNT_VARIABLE, "").strip() or otherwise
        if len(key) < _SHORTEST_KEY:
            expected = f"a random key of {_SHORTEST_KEY} characters or more that never changes: it finds accounts again"
            raise SettingsError(ACCOUNT_VARIABLE, expected)
        return cls(key)
