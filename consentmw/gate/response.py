"""One response on its way out: a state machine over ASGI messages.

HTML is held back until its first bytes tell whether it can be rewritten; all else is forwarded as it
came, the very same message objects when nothing has to change. Unknown messages
(early hints, pathsend, trailers, extensions to come) are always forwarded.

Refuses to decide anything: what is denied, and what is inserted, comes in ready.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

from starlette.types import Message, Send

from ..consent import Consent
from ..decision import Decision
from ..purposes import Catalogue
from ..visitor import Visitor
from . import kinds
from .body import PageBody
from .csp import placed, with_nonces
from .headers import private, rewritten
from .hints import forgotten
from .html import HtmlGate, Rules
from .links import filter_early_hint
from .opening import UNREADABLE, Opening, opens
from .outgoing import JUDGED, HeaderGate
from .unknown import Watch
from .wide import labelled, relabelled

__all__ = ["GatedResponse", "Inserts"]

logger = logging.getLogger("consentmw")

_BODYLESS: Final = frozenset({204, 205, 304})
#: messages that stand for a body whose bytes don't pass us
_FILES: Final = ("http.response.pathsend", "http.response.zerocopysend")
#: the browser's own gate for HTML that we cannot read: nothing from other hosts loads at all
_SEAL: Final = (b"content-security-policy", b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:")


@dataclass(frozen=True, slots=True)
class Inserts:
    """What is written into a page: bytes for the head, the start of the body, its end, and into withheld frames."""

    head: bytes = b""
    body: bytes = b""
    foot: bytes = b""
    #: path, up to the service's key, of the page that stands in for a frame
    frame: bytes = b""
    #: tags in the head that a page may have already: the id they would stand there with, then their pieces
    own: tuple[tuple[bytes, ...], ...] = ()
    #: path, up to the service's key, of the page that a withheld form leads to
    form: bytes = b""

    def head_for(self, start: bytes) -> bytes:
        """The head for a page that starts like this, without the tags that it brings itself."""
        head = self.head
        for mark, *pieces in self.own:
            if mark in start:
                for piece in pieces:
                    head = head.replace(piece, b"", 1)
        return head


class GatedResponse:
    """Wraps ``send`` for one response of the application."""

    __slots__ = (
        "_consent", "_dropped", "_early", "_extra", "_head", "_held", "_hinted", "_inserts", "_opening", "_outgoing",
        "_page", "_revalidates", "_rules", "_send", "_untold", "finished", "html", "status", "watch",
    )  # fmt: skip

    def __init__(
        self,
        send: Send,
        consent: Consent,
        catalogue: Catalogue,
        rules: Rules,
        *,
        visitor: Visitor,
        granted: frozenset[str],
        own: Callable[[str], bool],
        inserts: Callable[[int], Inserts],
        extra: Callable[[], Sequence[tuple[bytes, bytes]]],
        head: bool,
        revalidates: bool,
        watch: Watch | None = None,
    ) -> None:
        """``granted``: the kinds of purpose that were; ``own``: whether a host is the site's own."""
        self._send = send
        self._consent = consent
        self._rules = rules
        self._outgoing = HeaderGate(consent, catalogue, rules, visitor=visitor, kinds=granted, own=own, watch=watch)
        self._hinted = visitor.hinted
        self._inserts = inserts
        self._extra = extra
        self._head = head
        self._revalidates = revalidates
        #: the look-out for hosts that nobody named
        self.watch = watch
        #: a start that waits until it is known what the body is, and the body messages that wait with it
        self._held: MutableMapping[str, Any] | None = None
        self._early: list[Message] = []
        self._opening: Opening | None = None
        self._page: PageBody | None = None
        #: the start to send if an answer that was told no type turns out to be no page
        self._untold: Message | None = None
        #: whether the body must not be sent, because a redirect was refused
        self._dropped = False
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
        elif self._dropped:
            if kind in _FILES:
                await self._body({"type": "http.response.body", "more_body": message.get("more_body", False)})
        else:
            # Whatever it is, it came after the start that we may hold; a file's bytes never pass us either.
            await self._release_unread()
            if kind == "http.response.early_hint" and self._outgoing.guards:
                links = list(message.get("links") or ())
                left = filter_early_hint(links, self._rules, self.watch)
                message = message if left == links else {**message, "links": left}
            await self._send(message)
            if kind in _FILES:
                self.finished = not message.get("more_body", False)

    # -- headers -------------------------------------------------------------------------------
    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        given = message.get("headers") or ()
        headers: list[tuple[bytes, bytes]] = given if isinstance(given, list) else list(given)
        kind = kinds.UNTOLD
        found: set[bytes] = set()
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                kind = kind if kind == kinds.HTML else kinds.kind(value) or kind
            elif lower in JUDGED:
                found.add(lower)
        # A generator is used up by now; anything else goes on as it came.
        changed = not isinstance(given, (list, tuple))
        if found:
            judged = self._outgoing.judge(headers, found, self.status)
            if self._outgoing.refused:
                await self._refuse(message, judged)
                return
            headers, changed = judged, changed or judged != headers
        self.html = kind == kinds.HTML
        if self.html:
            headers = self._page_headers(headers)
            if (ready := self._without_body(message, headers)) is None:
                self._hold({**message, "headers": headers})
                return
            headers, changed = ready, True
        elif self.status == 304 and self._revalidates:
            # What a 304 says replaces what the browser kept with the page. Only pages have a tag with our mark, so this
            # is one that is seen again.
            self.html = True
            headers, changed = rewritten(self._page_headers(headers)), True
        elif kind == kinds.DOCUMENT:
            # The same for every visitor, because caches may keep it.
            headers, changed = [*headers, _SEAL], True
        elif kind == kinds.UNTOLD and self._outgoing.guards and not self._head and self.status not in _BODYLESS:
            # A browser that is told no type looks at the first bytes; so do we.
            if opens(headers):
                self._untold = {**message, "headers": headers} if changed else message
                self._hold({**message, "headers": headers})
                return
            headers, changed = [*headers, _SEAL], True
        await self._send({**message, "headers": headers} if changed else message)

    async def _refuse(self, start: Message, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer without the redirect, and without whatever the application says further."""
        self._dropped = True
        start = self._outgoing.refusal(start, headers)
        self.status = start["status"]
        await self._send(start)

    def _page_headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers of a page that is written for this visitor."""
        decision = self._consent.decision
        headers = private(headers, decision.state, kept=not _runs_any(decision))
        if self._hinted and not self._outgoing.asks:
            headers = forgotten(headers)
        return headers + placed(self._extra(), self._consent.url("csp"))

    def _without_body(self, message: Message, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]] | None:
        """The headers of a page whose body needn't be seen to know them, or None."""
        if self.status == 206:
            # A part of a page can't be judged: it may begin inside a tag.
            return self._sealed(headers)
        if self.status in _BODYLESS:
            return rewritten(headers)
        if kinds.untouchable(message, headers) or not opens(headers):
            return self._sealed(headers)
        if not self._head:
            return None
        # A GET would carry another length; HEAD may leave it out (RFC 9110 9.3.2).
        return relabelled(rewritten(headers)) if labelled(headers) else rewritten(headers)

    def _sealed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Headers for HTML that we do not rewrite: a second policy, under which no other host is reached."""
        return [*headers, _SEAL] if self._consent.decision.denied else headers

    # -- body ----------------------------------------------------------------------------------
    def _hold(self, start: MutableMapping[str, Any]) -> None:
        """Wait for the first bytes before anything is sent."""
        self._held = start
        self._opening = Opening(start["headers"], untyped=self._untold is not None)

    async def _body(self, message: Message) -> None:
        last = not message.get("more_body", False)
        body = message.get("body", b"")
        if self._held is not None:
            if body or last:
                await self._first_body(self._held, message, last)
            # Else nothing has come yet: what says nothing about the page need not be sent before its start.
        elif self._page is not None and self._opening is not None:
            await self._stream(self._page.feed(self._opening.unpacked(body, last), last), message)
        elif not self._dropped:
            await self._send(message)
        elif last:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self.finished = self.finished or last

    async def _first_body(self, held: MutableMapping[str, Any], message: Message, last: bool) -> None:
        """Take in the first bytes, and go on as soon as they tell what the body is."""
        opening, headers = self._opening, held["headers"]
        assert opening is not None  # noqa: S101 - made with what is held; the type checker has to know
        self._early.append(message)
        pieces = opening.unpacked(message.get("body", b""), last)
        try:
            kind = opening.look(pieces, last)
        except Exception:
            logger.exception("a page can't be read; it goes out sealed by a policy")
            kind = UNREADABLE
        if kind is None:
            return
        if kind in (kinds.OTHER, kinds.DOCUMENT):
            # Only where no type was told is that a question.
            plain = self._untold or held
            await self._forward(plain if kind == kinds.OTHER else {**held, "headers": [*headers, _SEAL]})
            return
        self.html = True
        if self._untold is not None:
            headers = self._page_headers(headers)
            kind = UNREADABLE if kinds.untouchable(self._untold, headers) else kind
        out = self._begun(opening, headers, pieces, last) if kind == kinds.HTML else None
        if out is None:
            await self._forward({**held, "headers": self._sealed(headers)})
            return
        self._held = None
        headers = relabelled(rewritten(headers)) if opening.recodes else rewritten(headers)
        # Two pieces tell whether the first one is the whole page; a stream goes out without a length.
        ready = list(islice(out, 2))
        if last and len(ready) == 1:
            headers.append((b"content-length", str(len(ready[0])).encode()))
        await self._send({**held, "headers": headers})
        await self._stream(chain(ready, out), message)

    def _begun(
        self, opening: Opening, headers: Sequence[tuple[bytes, bytes]], pieces: Iterator[bytes], last: bool
    ) -> Iterator[bytes] | None:
        """What can be sent of a page that begins like this; None when rewriting it fails."""
        try:
            self._page, out = opening.page(self._gate(headers, opening.start), pieces, last)
            # While nothing was sent, an error costs nothing but our markup.
            first = next(out)
        except Exception:
            logger.exception("a page could not be rewritten; it goes out sealed by a policy instead")
            self._page = None
            return None
        return chain((first,), out)

    def _gate(self, headers: Sequence[tuple[bytes, bytes]], start: bytes) -> HtmlGate:
        """The gate for a page that starts like this."""
        inserts = self._inserts(self.status)
        head = with_nonces(inserts.head_for(start), headers)
        gate = HtmlGate(
            self._rules,
            self.watch,
            head=head,
            body=inserts.body,
            foot=inserts.foot,
            frame=inserts.frame,
            form=inserts.form,
            asks=self._outgoing.asks,
        )
        self._consent.withheld = gate.withheld
        return gate

    async def _stream(self, pieces: Iterator[bytes], message: Message) -> None:
        """Send pieces in place of one body message of the application; only the last one can end the response."""
        held = next(pieces)
        for piece in pieces:
            if held:
                await self._send({**message, "body": held, "more_body": True})
            held = piece
        await self._send({**message, "body": held})

    async def _forward(self, start: Message) -> None:
        """Send a start, and whatever of the body waited with it, as it came."""
        self._held, early, self._early = None, self._early, []
        await self._send(start)
        for message in early:
            await self._send(message)

    async def _release_unread(self) -> None:
        if self._held is not None:
            await self._forward({**self._held, "headers": self._sealed(self._held["headers"])})


def _runs_any(decision: Decision) -> bool:
    """Whether some third party's service may run in this page."""
    granted = (verdict for verdict in decision.purposes.values() if verdict.granted)
    return bool(decision.once or decision.cookieless) or any(verdict.reason != "necessary" for verdict in granted)
