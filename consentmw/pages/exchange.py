"""One request to a page of ours, and the ways to answer it.

Knows the headers that every answer of ours carries, how a form is read and when it is refused;
refuses to know what a page says.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import parse_qsl

from anyio.to_thread import run_sync
from starlette.types import Receive, Scope, Send

from ..consent import Consent
from ..linking import Link
from ..sessions import Visiting
from ..visitor import Visitor

__all__ = ["MAX_FORM", "Exchange", "FormError", "fields_of", "json_of", "return_to"]

#: the largest form we read, in bytes; ours are under 1 kB, unless the page's address is long
MAX_FORM: Final = 16_384
_MOST_RETURN: Final = 2000
#: bytes of a file sent together
_PIECE: Final = 65_536

_POLICY: Final = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_SAFE: Final = (
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)

Headers = Iterable[tuple[bytes, bytes]]


class FormError(Exception):
    """Raised when a form can't be read; carries the status and the sentence to answer with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Exchange:
    """A request to one of our pages."""

    scope: Scope
    receive: Receive
    send: Send
    visitor: Visitor
    consent: Consent
    #: what stands in the path behind the page's name: a token, a file
    rest: str
    #: who is signed in, and what every answer carries for it
    link: Link | None = None
    #: the visit it is part of, where one may be followed
    visit: Visiting | None = None

    @property
    def method(self) -> str:
        """GET, HEAD, POST ..."""
        return str(self.scope["method"])

    @property
    def reads(self) -> bool:
        """Whether the page is only asked for: GET or HEAD."""
        return self.scope["method"] in ("GET", "HEAD")

    @property
    def saved(self) -> bool:
        """Whether the browser was sent here by a form that was saved."""
        return bytes(self.scope.get("query_string", b"")) == b"saved"

    @property
    def kind(self) -> str:
        """The type of the request's body, in lower case and without parameters; "" when none was told."""
        return self.visitor.field(b"content-type").partition(b";")[0].strip().lower().decode("latin-1")

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send one whole answer; a HEAD gets the headers of the GET and no body."""
        length = (b"content-length", str(len(body)).encode())
        start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
        await self.send(self.link.carried(start) if self.link is not None else start)
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def empty(self, status: int, extra: Headers = ()) -> None:
        """Send a status and no body, to a browser or a script that acts on its own and reads none."""
        # By hand: a 204 has no Content-Length (RFC 9110, 8.6).
        length = [] if status == 204 else [(b"content-length", b"0")]
        headers = [(b"cache-control", b"no-store"), *length, *extra]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b""})

    async def html(self, page: bytes, *, status: int = 200, extra: Headers = ()) -> None:
        """Send a page of ours: never stored by a cache, and under a policy that lets nothing foreign in."""
        kind = (b"content-type", b"text/html; charset=utf-8")
        language = (b"content-language", self.consent.language.encode())
        await self.answer(status, page, [kind, language, *_SAFE, (b"content-security-policy", _POLICY), *extra])

    async def download(self, name: str, kind: bytes, file: IO[bytes], length: int) -> None:
        """Send a file to keep, from where it stands, in pieces; ``name`` is what it is saved under."""
        headers = [
            (b"content-type", kind),
            (b"content-disposition", f'attachment; filename="{name}"'.encode("ascii")),
            (b"content-length", str(length).encode()),
            *_SAFE,
        ]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        while piece := await run_sync(file.read, _PIECE):
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def json(self, body: bytes, *, extra: Headers = ()) -> None:
        """Send a JSON answer that no cache keeps."""
        await self.answer(200, body, [(b"content-type", b"application/json"), *_SAFE, *extra])

    async def plain(self, status: int, text: str, *, extra: Headers = ()) -> None:
        """Send a sentence as plain text."""
        kind = (b"content-type", b"text/plain; charset=utf-8")
        await self.answer(status, text.encode() + b"\n", [kind, *_SAFE, *extra])

    async def see_other(self, location: str, extra: Headers = ()) -> None:
        """Send the browser on with a GET after a form (303)."""
        await self.answer(303, b"", [(b"location", location.encode("ascii", "ignore")), *_SAFE, *extra])

    async def refuse_method(self, allowed: str) -> None:
        """Say which methods this address takes (405)."""
        await self.plain(405, f"Use {allowed} here.", extra=[(b"allow", allowed.encode())])

    def from_elsewhere(self) -> bool:
        """Whether another site's page sent this form, so that it must not count as the visitor's act.

        Sec-Fetch-Site is the browser's own word; without it Origin has to be ours; a request with
        neither comes from no current browser's cross-site form, and carries no ambient intent to abuse.
        """
        visitor = self.visitor
        if visitor.fetch_site:
            return visitor.fetch_site not in ("same-origin", "none")
        if visitor.origin:
            return visitor.origin.partition("://")[2].lower() != visitor.authority.lower()
        return False

    async def body(self, most: int) -> bytes:
        """The request's body. Raises FormError when it is larger than ``most`` bytes or cut off."""
        body = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise FormError(400, "The form did not arrive whole.")
            body += message.get("body", b"")
            if len(body) > most:
                raise FormError(413, "The form is too large.")
            if not message.get("more_body", False):
                return bytes(body)

    async def form(self) -> list[tuple[str, str]]:
        """The fields of an urlencoded form that a page of this site sent.

        Raises FormError when another site's page sent it, and when it is too large, cut off or not a form.
        """
        if self.from_elsewhere():
            # A page of another site must not be able to choose for a visitor.
            raise FormError(403, "This form was sent from another website, so nothing was changed.")
        return fields_of(await self.body(MAX_FORM))


def fields_of(body: bytes) -> list[tuple[str, str]]:
    """The fields of an urlencoded form. Raises FormError when it is none."""
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise FormError(400, "The form could not be read.") from None


def json_of(body: bytes) -> Any:
    """What a body says as JSON in UTF-8, None when it is none. How deep it nests does not matter."""
    try:
        return json_module.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def return_to(path: str, otherwise: str) -> str:
    """The path to go back to, if it surely is a path of this site."""
    plain = path.isascii() and path.isprintable() and len(path) <= _MOST_RETURN
    # Browsers read // and /\\ as the start of another host.
    return path if plain and path.startswith("/") and path[1:2] not in ("/", "\\") else otherwise
