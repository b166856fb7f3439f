"""One response on its way out: a state machine over ASGI messages.

HTML is held back for exactly one message, until it is known whether it can be rewritten; all else
is forwarded as it came, the very same message objects when nothing has to change. Unknown messages
(early hints, pathsend, trailers, extensions to come) are always forwarded.

Refuses to decide anything: what is denied, and what is inserted, comes in ready.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Message, Send

from ..consent import Consent
from ..decision import Decision
from ..purposes import Catalogue
from .cookies import filter_set_cookie
from .csp import placed, with_nonces
from .headers import private, state_etag, without
from .html import HtmlGate, Rules, Withheld
from .links import filter_early_hint, filter_links

__all__ = ["GatedResponse", "Inserts"]

logger = logging.getLogger("consentmw")

#: XHTML is a page, too, but no markup of ours would be well-formed in it
_XHTML: Final = b"application/xhtml+xml"
_HTML: Final = (b"text/html", _XHTML)
_BODYLESS: Final = frozenset({204, 205, 206, 304})
#: encodings of text in which every byte below 128 is the ASCII character, as the scanner needs
_UNREADABLE_CHARSETS: Final = (b"utf-16", b"utf-32", b"ucs-2", b"unicode", b"iso-2022", b"hz-gb", b"csutf16")
_BOMS: Final = (b"\xfe\xff", b"\xff\xfe", b"\x00<", b"<\x00")

#: the browser's own gate for HTML that we cannot read: nothing from other hosts loads at all
_SEALED: Final = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


@dataclass(frozen=True, slots=True)
class Inserts:
    """What is written into a page: bytes for the head, the start of the body, its end, and into withheld frames."""

    head: bytes = b""
    body: bytes = b""
    foot: bytes = b""
    #: path, up to the service's key, of the page that stands in for a frame
    frame: bytes = b""


class GatedResponse:
    """Wraps ``send`` for one response of the application."""

    __slots__ = (
        "_catalogue", "_consent", "_damaged", "_decoder", "_extra", "_gate", "_head", "_held", "_inserts",
        "_revalidates", "_rules", "_send", "_untyped", "finished", "html", "status",
    )  # fmt: skip

    def __init__(
        self,
        send: Send,
        consent: Consent,
        catalogue: Catalogue,
        rules: Rules,
        *,
        inserts: Callable[[], Inserts],
        extra: Sequence[tuple[bytes, bytes]],
        head: bool,
        revalidates: bool,
    ) -> None:
        self._send = send
        self._consent = consent
        self._catalogue = catalogue
        self._rules = rules
        self._inserts = inserts
        self._extra = extra
        self._head = head
        self._revalidates = revalidates
        self._held: MutableMapping[str, Any] | None = None
        self._gate: HtmlGate | _Blunt | None = None
        self._decoder: Any = None
        #: the start to send if an answer that was told no type turns out to be no page
        self._untyped: Message | None = None
        self._damaged = False
        #: what the access log wants to know; 0 until the application answered
        self.status = 0
        self.html = False
        #: whether the last body message was sent
        self.finished = False

    async def send(self, message: Message) -> None:
        """Forward one message of the application, changed where it must be."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._start(message)
        elif kind == "http.response.body":
            await self._body(message)
        else:
            # Whatever it is, it came after the start that we may hold; a file's bytes never pass us either.
            await self._release_unread()
            if kind == "http.response.early_hint" and self._consent.decision.denied:
                links = list(message.get("links") or ())
                left = filter_early_hint(links, self._rules)
                message = message if left == links else {**message, "links": left}
            await self._send(message)
            if kind in ("http.response.pathsend", "http.response.zerocopysend"):
                self.finished = not message.get("more_body", False)

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        given = message.get("headers") or ()
        headers: list[tuple[bytes, bytes]] = given if isinstance(given, list) else list(given)
        decision = self._consent.decision
        sets_cookies = links = typed = False
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                typed = True
                self.html = value.strip().lower().startswith(_HTML)
            elif lower == b"set-cookie":
                sets_cookies = True
            elif lower == b"link":
                links = True
        # A generator is used up by now; anything else goes on as it came.
        changed = not isinstance(given, (list, tuple))
        if sets_cookies and decision.denied:
            headers, dropped = filter_set_cookie(headers, self._catalogue, decision.denied)
            self._consent.dropped_cookies += dropped
            changed = changed or bool(dropped)
        if links and decision.denied:
            headers, filtered = filter_links(headers, self._rules)
            changed = changed or filtered
        bodyless = self._head or self.status in _BODYLESS
        if not typed and not bodyless and decision.denied:
            # A browser that is told no type looks at the first bytes; so do we.
            self._held = {**message, "headers": headers}
            self._untyped = self._held if changed else message
            return
        if self.html:
            headers, changed = self._page(headers), True
            if self._head:
                # A GET would carry another length; HEAD may leave it out (RFC 9110 9.3.2).
                headers = without(headers, b"content-length")
            elif not bodyless:
                if not _untouchable(message, headers):
                    self._held = {**message, "headers": headers}
                    return
                headers = self._sealed(headers)
        elif self.status == 304 and self._revalidates:
            headers = [(n, state_etag(v, decision.state) if n.lower() == b"etag" else v) for n, v in headers]
            changed = True
        await self._send({**message, "headers": headers} if changed else message)

    def _page(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers of a page that is written for this visitor."""
        decision = self._consent.decision
        headers = private(headers, decision.state, kept=not _runs_any(decision))
        return headers + placed(self._extra, self._consent.url("csp"))

    async def _body(self, message: Message) -> None:
        last = not message.get("more_body", False)
        if self._held is not None:
            if message.get("body", b"") or last:
                await self._first_body(message, last)
            # Else nothing has come yet: what says nothing about the page need not be sent before its start.
        elif self._gate is not None:
            await self._send({**message, "body": self._edit(message.get("body", b""), last)})
        else:
            await self._send(message)
        self.finished = self.finished or last

    async def _first_body(self, message: Message, last: bool) -> None:
        held = self._held
        assert held is not None  # noqa: S101 - the caller asked; the type checker has to know
        self._held = None
        if self._untyped is not None and not _like_html(message.get("body", b"")):
            await self._send(self._untyped)
            await self._send(message)
            return
        headers: list[tuple[bytes, bytes]] = held["headers"] if self._untyped is None else self._page(held["headers"])
        self.html = True
        try:
            body = self._begin(headers, message.get("body", b""), last)
        except Exception:
            logger.exception("a page could not be rewritten; it goes out sealed by a policy instead")
            body = None
        if body is None:
            self._gate = None
            held["headers"] = self._sealed(headers)
            await self._send(held)
            await self._send(message)
            return
        headers = without(headers, b"content-length", b"content-encoding")
        if last:
            # The whole page is here, so its length is known; a stream goes out without one.
            headers.append((b"content-length", str(len(body)).encode()))
        held["headers"] = headers
        await self._send(held)
        await self._send({**message, "body": body})

    def _begin(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, last: bool) -> bytes | None:
        """The first bytes of the rewritten page, or None when it can't be read or must stay as it is."""
        if (self._untyped and _untouchable(self._untyped, headers)) or not self._readable(headers, body):
            return None
        inserts = self._inserts()
        head = with_nonces(inserts.head, headers)
        gate = HtmlGate(self._rules, head=head, body=inserts.body, foot=inserts.foot, frame=inserts.frame)
        self._consent.withheld = gate.withheld
        self._gate = gate
        if self._decoder is not None:
            body = self._decoder.decompress(body) + (self._decoder.flush() if last else b"")
        out = gate.feed(body)
        return out + gate.close() if last else out

    def _readable(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Whether the scanner can read this body; sets up decoding when it is compressed."""
        coding, kind = b"", b""
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-encoding":
                coding = value.strip().lower()
            elif lower == b"content-type":
                kind = value.lower()
        if coding in (b"gzip", b"x-gzip", b"deflate"):
            self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding != b"deflate" else zlib.decompressobj()
        elif coding not in (b"", b"identity"):
            return False
        if kind.strip().startswith(_XHTML) or any(name in kind for name in _UNREADABLE_CHARSETS):
            return False
        return not (self._decoder is None and body.startswith(_BOMS))

    def _edit(self, body: bytes, last: bool) -> bytes:
        gate = self._gate
        assert gate is not None  # noqa: S101 - the caller asked; the type checker has to know
        if self._decoder is not None:
            body = self._inflate(body, last)
        try:
            out = gate.feed(body)
            return out + gate.close() if last else out
        except Exception:
            # The headers are gone, so no policy can help: what is left of the page loses every tag that loads.
            logger.exception("a page could not be rewritten to its end; the rest goes out without loading tags")
            self._gate = blunt = _Blunt()
            return blunt.feed(body) + (blunt.close() if last else b"")

    def _inflate(self, body: bytes, last: bool) -> bytes:
        """More of a compressed page; nothing from where it is damaged on, as in a browser."""
        try:
            return bytes(self._decoder.decompress(body) + (self._decoder.flush() if last else b""))
        except zlib.error:
            if not self._damaged:
                logger.exception("a compressed page is damaged; it ends where it can't be read on")
            self._damaged = True
            return b""

    async def _release_unread(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held["headers"] = self._sealed(held["headers"])
            await self._send(held)

    def _sealed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Headers for HTML that we do not rewrite: a second policy, under which no other host is reached."""
        return [*headers, (b"content-security-policy", _SEALED)] if self._consent.decision.denied else headers


class _Blunt:
    """The gate when the gate itself failed: every tag that could load anything becomes unknown to browsers."""

    _TAGS = re.compile(
        rb"<(?=(?:script|iframe|frame|img|image|use|link|source|video|audio|track|embed|object|input|meta|base|style"
        rb"|body|table|t[dh])[\s/>])",
        re.IGNORECASE,
    )
    withheld: list[Withheld] = []  # noqa: RUF012 - never written: what was withheld bluntly is in the log

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        data = self._tail + chunk
        # A tag name may end in the next chunk; the longest one above has six letters.
        cut = data.rfind(b"<", -8)
        data, self._tail = (data, b"") if cut < 0 else (data[:cut], data[cut:])
        return self._TAGS.sub(b"<consentmw-", data)

    def close(self) -> bytes:
        return self._TAGS.sub(b"<consentmw-", self._tail)


def _like_html(body: bytes) -> bool:
    """Whether a browser might take these first bytes for HTML (MIME Sniffing, 7.1: a tag after white space)."""
    start = body[:1445].lstrip(b"\t\n\f\r ")
    return start.startswith(b"<") and not start.startswith(b"<?xml")


def _runs_any(decision: Decision) -> bool:
    """Whether some third party's service may run in this visitor's pages."""
    return any(verdict.granted and verdict.reason != "necessary" for verdict in decision.purposes.values())


def _untouchable(message: Message, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """HTML that must go out byte for byte: trailers that sign it, no-transform, a file to save."""
    if message.get("trailers"):
        return True
    for name, value in headers:
        lower = name.lower()
        if lower == b"cache-control" and b"no-transform" in value.lower():
            return True
        if lower == b"content-disposition" and value.strip().lower().startswith(b"attachment"):
            return True
    return False
