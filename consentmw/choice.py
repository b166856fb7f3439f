"""What a visitor chose, and the signed cookies that carry it from page to page.

Two small facts live in two cookies: the *choice* (which purposes, when, under which purposes and
services, on which receipt) and the *locale* (the language and region the visitor stated, or that
they declined to state one). Both are signed, HttpOnly and bounded; anything forged, truncated,
oversized or of another version reads as "no choice" and never as an error.

Refuses to know what a choice allows: that is decision.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Generic, Protocol, Self, TypeVar

from itsdangerous import BadSignature, Signer

__all__ = ["MAX_COOKIE", "Choice", "CookieCodec", "Locale"]

#: the longest cookie value we write or read, in bytes: all cookies of a site share about 8 kB
MAX_COOKIE: Final = 400

#: the version of the layout below; a cookie of any other version is no choice
_VERSION: Final = "1"

_RECEIPT: Final = re.compile(r"[A-Za-z0-9_-]{8,40}")
#: seconds since 1970 in hexadecimal, up to the year 4147
_TIME: Final = re.compile(r"[0-9a-f]{1,9}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}")
_KEYS: Final = re.compile(r"([a-z][a-z0-9_]*(\+[a-z][a-z0-9_]*)*)?")
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?")
#: what stands in the cookie for an override
_OVERRIDE: Final = "override"
_REGION: Final = re.compile(r"([A-Z]{2}(-[A-Z0-9]{1,3})?|-)?")


class _Value(Protocol):
    def pack(self) -> str: ...
    @classmethod
    def unpack(cls, text: str) -> Self | None: ...


_T = TypeVar("_T", bound=_Value)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a visitor chose: everything that is neither granted nor silent was refused."""

    #: public id of the ledger row that proves it
    receipt: str
    #: when, in UTC, to the second
    at: datetime
    #: fingerprint of the purposes and services that were shown
    fingerprint: str
    #: keys of the optional purposes that were granted
    granted: frozenset[str]
    #: keys of those about which it says nothing: somebody who only opts out of sale has said no word on measurement
    silent: frozenset[str] = frozenset()
    #: whether advertising or sale was granted in a step of its own, although the browser's signal denies it
    override: bool = False

    def pack(self) -> str:
        at = format(int(self.at.timestamp()), "x")
        parts = [self.receipt, at, self.fingerprint, "+".join(sorted(self.granted))]
        if self.silent or self.override:
            parts += ["+".join(sorted(self.silent)), _OVERRIDE if self.override else ""]
        return "~".join(parts)

    @classmethod
    def unpack(cls, text: str) -> Choice | None:
        # The first cookies had no silent purposes and no overrides, and choices without them still look the same.
        parts = text.split("~") + ["", ""] * (text.count("~") == 3)
        if len(parts) != 6:
            return None
        receipt, at, fingerprint, granted, silent, override = parts
        if not (_RECEIPT.fullmatch(receipt) and _TIME.fullmatch(at) and _FINGERPRINT.fullmatch(fingerprint)):
            return None
        if not (_KEYS.fullmatch(granted) and _KEYS.fullmatch(silent) and override in ("", _OVERRIDE)):
            return None
        when = datetime.fromtimestamp(int(at, 16), UTC)
        return cls(receipt, when, fingerprint, _split(granted), _split(silent), override == _OVERRIDE)


def _split(keys: str) -> frozenset[str]:
    return frozenset(keys.split("+")) if keys else frozenset()


@dataclass(frozen=True, slots=True)
class Locale:
    """The language and region a visitor stated; "" where they stated none."""

    language: str = ""
    #: ISO 3166-2 code, "" when never asked, "-" when the visitor said NO THANKS
    region: str = ""

    def pack(self) -> str:
        return f"{self.language}~{self.region}"

    @classmethod
    def unpack(cls, text: str) -> Locale | None:
        language, tilde, region = text.partition("~")
        if not tilde or not _LANGUAGE.fullmatch(language) or not _REGION.fullmatch(region):
            return None
        return cls(language, region)


class CookieCodec(Generic[_T]):
    """Signs one kind of value into a cookie and reads it back; never raises on what a visitor sent."""

    def __init__(self, kind: type[_T], salt: str, keys: Sequence[str]) -> None:
        # All keys verify, the newest (the last) signs: rotation is adding a key at the end.
        self._signer = Signer(list(keys), salt=f"consentmw.{salt}", digest_method=sha256, key_derivation="hmac")
        self._kind = kind

    def write(self, value: _T) -> str:
        """The cookie value for this; at most :data:`MAX_COOKIE` bytes."""
        text = self._signer.sign(f"{_VERSION}~{value.pack()}").decode("ascii")
        if len(text) > MAX_COOKIE:
            raise ValueError(f"a cookie of {len(text)} bytes is over {MAX_COOKIE}; use fewer or shorter purpose keys")
        return text

    def read(self, raw: str) -> _T | None:
        """The value that we once signed, or None for anything else."""
        if not raw or len(raw) > MAX_COOKIE:
            return None
        try:
            text = self._signer.unsign(raw.encode("latin-1")).decode("ascii")
        except (BadSignature, UnicodeError):
            return None
        version, _, packed = text.partition("~")
        return self._kind.unpack(packed) if version == _VERSION else None
