"""Signed tokens for pixels and click-throughs: short texts that fit into one segment of a path.

A token is the only thing that may name a redirect's target, and the only thing that may name a
campaign or a recipient; so each is signed, for its own purpose, and checked again when it comes
back. Nothing in it is secret: who holds a link can read it.

Refuses to know what a visitor allows: an honest token is no consent.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from itsdangerous import BadSignature, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

from .errors import BadToken, ExpiredToken, ForgedToken

__all__ = ["MAX_TOKEN", "ClickToken", "MailToken", "PixelToken", "Tokens"]

#: characters of the longest token we write or read; servers accept request lines of 8,000
MAX_TOKEN: Final = 4096
_MAX_URL: Final = 2048
_MAX_FIELD: Final = 128

#: payload, time, signature. The last character of a SHA-256 signature carries four bits, so only these can
#: end one: with any other, two texts would be the same token.
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{1,4000}\.[A-Za-z0-9_-]{4,12}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")

#: what RFC 3986 allows in path, query and fragment, besides letters, digits and ``-._~``
_URL_MARKS: Final = "/?#:@!$&'()*+,;=%[]"
_TARGET: Final = re.compile(
    # No user name: in https://bank.example@evil.example it is the part that people read.
    r"(?:https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?=[/?#]|$)|/(?!/))"
    r"[A-Za-z0-9._~/?#:@!$&'()*+,;=%\[\]-]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PixelToken:
    """What a pixel's token says."""

    campaign: str
    #: the host application's reference for the person the mail went to; "" when the mail is counted as one of many
    recipient: str
    #: when it was signed, seconds since 1970: an open seconds after the sending was a scanner
    signed: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ClickToken:
    """What a click-through's token says."""

    #: an absolute http(s) URL or a path on the own site, ASCII, fit for a Location header
    url: str
    campaign: str
    link: str
    recipient: str
    #: when it was signed, seconds since 1970
    signed: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class MailToken:
    """Which mail, and whose: what a link to the choices about e-mail says, and a link that only programs follow."""

    campaign: str
    #: the host application's reference for the person the mail went to; "" when it went to one of many
    recipient: str


class _Signer(TimestampSigner):
    def __init__(self, keys: Sequence[str], purpose: str, clock: Callable[[], float]) -> None:
        super().__init__(list(keys), salt=f"consentmw.{purpose}", digest_method=sha256, key_derivation="hmac")
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Tokens:
    """Writes and reads tokens. All keys verify, the newest (the last) signs: rotation is adding one at the end."""

    def __init__(self, keys: Sequence[str], *, clock: Callable[[], float] = time.time) -> None:
        if isinstance(keys, str) or not keys or not all(keys):
            raise ValueError("keys: a sequence of texts, none of them empty, the newest last")
        # A salt for each purpose, so that a pixel's token can't be replayed as a redirect.
        self._pixel = _Signer(keys, "pixel", clock)
        self._click = _Signer(keys, "click", clock)
        self._mail = _Signer(keys, "mail", clock)
        self._trap = _Signer(keys, "trap", clock)

    def pixel(self, campaign: str = "", recipient: str = "") -> str:
        """A token for a pixel. Raises ValueError for a field that is too long or holds control characters."""
        return _sign(self._pixel, _field("campaign", campaign), _field("recipient", recipient))

    def read_pixel(self, token: str, max_age: float | None = None) -> PixelToken:
        """What this pixel's token says; ``max_age`` in seconds. Raises BadToken."""
        (campaign, recipient), signed = _read(self._pixel, token, 2, max_age)
        return PixelToken(campaign, recipient, signed)

    def click(self, url: str, campaign: str = "", link: str = "", recipient: str = "") -> str:
        """A token for a redirect to ``url``: an absolute http(s) URL, or a path on the own site.

        Raises ValueError for any other target, and for fields that are too long or hold control characters.
        """
        target = _target(url)
        return _sign(
            self._click,
            target,
            _field("campaign", campaign),
            _field("link", link),
            _field("recipient", recipient),
        )

    def read_click(self, token: str, max_age: float | None = None) -> ClickToken:
        """What this redirect's token says; ``max_age`` in seconds. Raises BadToken."""
        (url, campaign, link, recipient), signed = _read(self._click, token, 4, max_age)
        try:
            # Signed once is not safe for ever: an older version may have signed what this one refuses.
            safe = _target(url) == url
        except ValueError as error:
            raise BadToken("its target is one that nobody may be sent to") from error
        if not safe:
            raise BadToken("its target is not written as we write targets")
        return ClickToken(url, campaign, link, recipient, signed)

    def mail(self, campaign: str = "", recipient: str = "") -> str:
        """A token for the page where a recipient says what may be noted of them. Raises ValueError as :meth:`pixel`."""
        return _sign(self._mail, _field("campaign", campaign), _field("recipient", recipient))

    def read_mail(self, token: str) -> MailToken:
        """Which mail that page was opened from; of any age, since nobody may lose their way out. Raises BadToken."""
        return MailToken(*_read(self._mail, token, 2, None)[0])

    def trap(self, campaign: str = "", recipient: str = "") -> str:
        """A token for a link that no person sees, so that who follows it is a program. Raises ValueError."""
        return _sign(self._trap, _field("campaign", campaign), _field("recipient", recipient))

    def read_trap(self, token: str) -> MailToken:
        """Which mail the hidden link stood in. Raises BadToken."""
        return MailToken(*_read(self._trap, token, 2, None)[0])


def _sign(signer: _Signer, *fields: str) -> str:
    token = signer.sign(base64_encode("\n".join(fields))).decode("ascii")
    if len(token) > MAX_TOKEN:
        raise ValueError(f"a token of {len(token)} characters is over {MAX_TOKEN}; shorten the target")
    return token


def _read(signer: _Signer, token: str, number: int, max_age: float | None) -> tuple[list[str], int]:
    """The fields of a token and when it was signed. Raises ForgedToken, ExpiredToken or BadToken."""
    if len(token) > MAX_TOKEN or not _SHAPE.fullmatch(token):
        raise ForgedToken("not a token of ours")
    try:
        payload, when = signer.unsign(token, return_timestamp=True)
        signed = int(when.timestamp())
    except (BadSignature, OverflowError, OSError) as error:
        raise ForgedToken("its signature is not ours, or it was made for another purpose") from error
    # Our own comparison: itsdangerous also refuses a token from a machine whose clock is a second ahead.
    if max_age is not None and signer.get_timestamp() - signed > max_age:
        raise ExpiredToken("its time is over")
    try:
        fields = base64_decode(payload).decode("utf-8").split("\n")
    except (ValueError, BadSignature) as error:
        raise BadToken("signed by us, and unreadable") from error
    if len(fields) != number or max(map(len, fields)) > _MAX_URL:
        raise BadToken("signed by us, with other fields than these")
    return fields, signed


def _field(name: str, text: str) -> str:
    if len(text) > _MAX_FIELD:
        raise ValueError(f"{name}: at most {_MAX_FIELD} characters, not {len(text)}")
    # Controls, line separators and lone surrogates: nothing that could end a field, a line or a row.
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise ValueError(f"{name}: no control characters")
    return text


def _target(url: str) -> str:
    """The URL as it may stand in a Location header. Raises ValueError when no visitor should be sent there."""
    # What browsers silently drop (tabs, line ends) or read as a slash (a backslash) must not be repaired
    # by quoting: it was put there to be misread.
    if "\\" in url or any(c.isspace() or unicodedata.category(c)[0] == "C" for c in url):
        raise ValueError("url: no spaces, control characters or backslashes; percent-encode them")
    target = quote(url, safe=_URL_MARKS)
    if len(target) > _MAX_URL:
        raise ValueError(f"url: at most {_MAX_URL} characters, not {len(target)}")
    if not _TARGET.fullmatch(target):
        raise ValueError("url: an absolute http(s) URL with a host and no user name, or a path that starts with one /")
    port = re.match(r"https?://[^/?#]*:([0-9]+)(?=[/?#]|$)", target, re.IGNORECASE)
    if port and int(port[1]) > 65_535:
        raise ValueError("url: a port up to 65535")
    return target
