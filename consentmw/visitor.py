"""Who is asking: what one request says about its visitor, as far as it can be believed.

The address behind trusted proxies, cookies, language, privacy signals, agent and whether a program
is asking. Everything here comes from the wire, so everything is bounded, nothing raises, and where
an answer would rest on an unverified claim the safe answer is given.

Refuses to know what any of it allows: no regime, no choice, no purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from .proxies import Headers, Trusted, client_address, first_parameter, vouched

__all__ = ["HINTS", "READ_HINTS", "SAID_HINTS", "Headers", "Trusted", "Visitor", "client_address", "cookies", "gpc"]

_BOTS: Final = Path(__file__).parent / "data" / "bots.txt"
#: no agent is longer than this unless it wants to be a burden
_MAX_AGENT: Final = 512
#: more than the longest host name with its port (RFC 1035), so that what is cut is no name
_MAX_HOST: Final = 300
#: the most of any header that is handed on as text: what is remembered by it must stay small
_MAX_TEXT: Final = 2048

_HOST: Final = re.compile(r"([a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{0,5})?")
_SPECULATIVE: Final = re.compile("prefetch|prerender|preview|instant", re.IGNORECASE)

#: client hints that a browser sends only where the site asked for them (RFC 8942; User-Agent Client Hints, section
#: 3; Device Memory; Network Information; Responsive Image Client Hints), under their old and new names
HINTS: Final = frozenset(
    b"sec-ch-ua-arch sec-ch-ua-bitness sec-ch-ua-form-factors sec-ch-ua-full-version sec-ch-ua-full-version-list "
    b"sec-ch-ua-high-entropy-values sec-ch-ua-model sec-ch-ua-platform-version sec-ch-ua-wow64 device-memory "
    b"sec-ch-device-memory dpr sec-ch-dpr width sec-ch-width viewport-width sec-ch-viewport-width "
    b"sec-ch-viewport-height downlink sec-ch-downlink ect sec-ch-ect rtt sec-ch-rtt".split()
)

#: what a browser says about itself unasked (User-Agent Client Hints, section 3), and of the hints that it only sends
#: where it was asked those that a row is made from
_SAYS: Final = (b"sec-ch-ua", b"sec-ch-ua-mobile", b"sec-ch-ua-platform")
READ_HINTS: Final = (
    b"sec-ch-ua-form-factors",
    b"sec-ch-ua-full-version-list",
    b"sec-ch-ua-model",
    b"sec-ch-ua-platform-version",
)
SAID_HINTS: Final = (*_SAYS, *READ_HINTS)
_MAX_HINT: Final = 512

#: header name -> the name it is kept under; several old names of one header share one
_KEPT: Final[dict[bytes, bytes]] = {
    name: name
    for name in (
        *(b"host", b"cookie", b"sec-gpc", b"dnt", b"accept", b"accept-language", b"user-agent", b"referer", b"origin"),
        *(
            b"sec-fetch-dest",
            b"sec-fetch-site",
            b"sec-purpose",
            b"x-forwarded-proto",
            b"forwarded",
            b"if-none-match",
            *_SAYS,
        ),
    )
} | {**dict.fromkeys((b"purpose", b"x-moz", b"x-purpose"), b"sec-purpose"), **dict.fromkeys(HINTS, b"hint")}
#: what joins the lines of a header that may come several times; of any other the first line counts
_JOINED: Final = {
    b"cookie": b"; ",
    **dict.fromkeys((b"sec-gpc", b"dnt", b"accept", b"accept-language", b"sec-purpose", *_SAYS), b", "),
}


def gpc(headers: Headers) -> bool:
    """Whether Global Privacy Control is on: a Sec-GPC field, or a member of one, that is exactly ``1``.

    W3C GPC section 3.2 asks for the value 1 and nothing else. A proxy may have joined several
    fields with commas, so each member counts; that deviates towards the visitor's privacy.
    """
    return any(_signals(value) for name, value in headers if name.lower() == b"sec-gpc")


def _signals(value: bytes) -> bool:
    return value == b"1" or any(member.strip(b" \t") == b"1" for member in value.split(b","))


def cookies(headers: Headers) -> list[tuple[str, str]]:
    """All cookies of all Cookie headers in order, repeated names included.

    A crumb without a name or without ``=`` is left out and costs no other crumb anything: another
    party's broken cookie must not erase a visitor's choice.
    """
    return _crumbs(b";".join(value for name, value in headers if name.lower() == b"cookie"))


def _crumbs(raw: bytes) -> list[tuple[str, str]]:
    found = []
    for crumb in raw.decode("latin-1").split(";"):
        name, equals, value = crumb.partition("=")
        name = name.strip(" \t")
        if equals and name:
            found.append((name, value.strip(" \t")))
    return found


@lru_cache(maxsize=1024)
def _hostname(raw: bytes) -> str:
    match = _HOST.fullmatch(raw.decode("latin-1").lower())
    return match[1].removesuffix(".") if match else ""


@lru_cache(maxsize=1)
def _marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What programs call themselves, and what only looks like it."""
    lines = [line.strip() for line in _BOTS.read_text("utf-8").splitlines()]
    marks = [line for line in lines if line and not line.startswith(("#", "!"))]
    innocent = [line[1:] for line in lines if line.startswith("!")]
    return re.compile("|".join(map(re.escape, marks))), re.compile("|".join(map(re.escape, innocent)))


@lru_cache(maxsize=4096)
def _program(agent: str) -> str:
    marks, innocent = _marks()
    match = marks.search(innocent.sub("", agent.lower()))
    return f"bot: {match[0]}" if match else ""


class _Text:
    """A header as text, "" when absent, cut to a sane length; decoded only when somebody asks."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def __get__(self, visitor: Visitor, owner: type[Visitor]) -> str:
        return visitor._found.get(self._name, b"")[:_MAX_TEXT].decode("latin-1")


class Visitor:
    """One request's visitor. Built by :meth:`read`; what costs more than a look is worked out when asked for."""

    __slots__ = (
        "_address", "_bot", "_found", "_peer", "_trusted",
        "cookies", "gpc", "headers", "host", "raw_language", "scheme",
    )  # fmt: skip

    #: the request's headers, as a list even where the server gave a generator
    headers: list[tuple[bytes, bytes]]
    #: the host asked for: lower case, without port or final dot; "" when missing or malformed
    host: str
    #: "https" or "http", also for websockets; a trusted proxy's word counts
    scheme: str
    #: every Cookie header, joined, as sent
    cookies: bytes
    #: whether Global Privacy Control is on
    gpc: bool
    #: the Accept-Language header as sent: what is remembered by it needs no decoding
    raw_language: bytes
    _address: str | None
    _bot: str | None
    _found: dict[bytes, bytes]
    _peer: str | None
    _trusted: Trusted

    accept = _Text(b"accept")
    accept_language = _Text(b"accept-language")
    agent = _Text(b"user-agent")
    #: the Host header as sent, with its port
    authority = _Text(b"host")
    #: what the answer is for: ``document``, ``iframe``, ``empty`` for a script ...; "" from browsers that don't say
    destination = _Text(b"sec-fetch-dest")
    fetch_site = _Text(b"sec-fetch-site")
    origin = _Text(b"origin")
    referrer = _Text(b"referer")
    #: Sec-Purpose and what browsers sent before there was one
    sec_purpose = _Text(b"sec-purpose")

    @classmethod
    def read(cls, scope: Mapping[str, Any], trusted: Trusted = ()) -> Visitor:
        """The visitor of an ASGI http or websocket scope; never raises on what a visitor sent."""
        headers = scope.get("headers") or []
        if type(headers) is not list:
            headers = list(headers)
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            key = _KEPT.get(name) or _KEPT.get(name.lower())
            if key is None:
                continue
            if key not in found:
                found[key] = value
            elif key in _JOINED:
                found[key] += _JOINED[key] + value
        self = cls.__new__(cls)
        client = scope.get("client")
        self._peer = client[0] if client else None
        self._trusted = trusted
        self._found = found
        self._address = self._bot = None
        self.headers = headers
        self.cookies = found.get(b"cookie", b"")
        self.raw_language = found.get(b"accept-language", b"")
        self.gpc = b"sec-gpc" in found and _signals(found[b"sec-gpc"])
        self.host = _hostname(found[b"host"][:_MAX_HOST]) if b"host" in found else ""
        self.scheme = "https" if scope.get("scheme") in ("https", "wss") or (trusted and self._secure()) else "http"
        return self

    def _secure(self) -> bool:
        """Whether a trusted proxy says that the visitor came over TLS."""
        if not self.vouched:
            return False
        said = self._found.get(b"x-forwarded-proto")
        if said is None:
            said = first_parameter(self._found.get(b"forwarded", b""), b"proto")
        # The leftmost is the visitor's own connection. Whoever forges it only spoils their own cookies.
        return said.partition(b",")[0].strip(b" \t").lower() in (b"https", b"wss")

    @property
    def address(self) -> str:
        """The visitor's address behind trusted proxies, or ""; see :func:`client_address`."""
        if self._address is None:
            self._address = client_address(self._peer, self.headers, self._trusted)
        return self._address

    @property
    def vouched(self) -> bool:
        """Whether a trusted proxy sent this request, so that what it wrote into the headers counts."""
        return bool(self._trusted) and vouched(self._peer, self._trusted)

    @property
    def revalidates(self) -> bool:
        """Whether the browser holds a copy and asks if it is still good (If-None-Match)."""
        return b"if-none-match" in self._found

    @property
    def ahead(self) -> bool:
        """Whether a browser only fetches this ahead, so that its user may never see it."""
        return bool(self._found.get(b"sec-purpose"))

    @property
    def hinted(self) -> bool:
        """Whether the browser tells about its device what it only tells where it was asked to."""
        return b"hint" in self._found

    def field(self, name: bytes) -> bytes:
        """Any header of the request as sent, b"" when absent; ``name`` in lower case, several lines joined."""
        if _KEPT.get(name) == name:
            return self._found.get(name, b"")
        return b", ".join(value for key, value in self.headers if key.lower() == name)

    def hints(self, asked: bool) -> tuple[bytes, ...]:
        """Client hints about browser and device, as sent, in the order of :data:`SAID_HINTS`; none from most browsers.

        ``asked``: also those that were only sent on request.
        """
        found = self._found
        # What is cut is broken, and a broken field counts as absent.
        said: tuple[bytes, ...] = ()
        if b"sec-ch-ua" in found or b"sec-ch-ua-platform" in found:
            said = tuple([found.get(name, b"")[:_MAX_HINT] for name in _SAYS])
        if asked and b"hint" in found:
            sent = {name.lower(): value[:_MAX_HINT] for name, value in self.headers}
            said = (*(said or (b"",) * len(_SAYS)), *(sent.get(name, b"") for name in READ_HINTS))
        return said

    def cookie(self, name: str) -> list[str]:
        """All values of this cookie in the order sent: other paths and domains may have set it too."""
        # By find and slice, not by splitting: this runs for every request, on whatever a site piled up.
        raw, key, values = self.cookies, name.encode("latin-1"), []
        at = raw.find(key)
        while at >= 0:
            end = raw.find(b";", at)
            crumb = raw[raw.rfind(b";", 0, at) + 1 : end if end >= 0 else None]
            found, equals, value = crumb.partition(b"=")
            if equals and found.strip(b" \t") == key:
                values.append(value.strip(b" \t").decode("latin-1"))
            at = raw.find(key, end) if end >= 0 else -1
        return values

    def cookie_names(self) -> list[str]:
        """The names of all cookies, each once, in the order sent."""
        return list(dict.fromkeys(name for name, _ in _crumbs(self.cookies)))

    @property
    def bot(self) -> str:
        """Empty for a person; else why not: ``prefetch``, ``no agent`` or ``bot: `` with the mark that was found."""
        if self._bot is None:
            self._bot = self._judged()
        return self._bot

    def _judged(self) -> str:
        if b"sec-purpose" in self._found and _SPECULATIVE.search(self.sec_purpose):
            return "prefetch"
        agent = self.agent[:_MAX_AGENT]
        if not agent.strip():
            return "no agent"
        # Programs that borrow a browser's name forget that it also says it in another place.
        return _program(agent) or ("bot: headless" if b"Headless" in self._found.get(b"sec-ch-ua", b"") else "")
