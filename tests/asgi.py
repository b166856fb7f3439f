"""The raw driver of every test: a scope in, messages out, nothing in between.

It keeps each message that an application sends, the very same object and also of types nobody
knows, so that a test can say "these objects went through untouched". It refuses to be a client:
no redirects, no cookie jar, no decoding, no joined bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: a header as a test writes it; text is sent as latin-1, as servers deliver it
Header = tuple[str | bytes, str | bytes]

#: how long one exchange may take, in seconds, before the test fails instead of hanging
PATIENCE = 20.0

_DISCONNECT = {"http": "http.disconnect", "websocket": "websocket.disconnect"}


class App:
    """An application that replays these messages for each request, as they are, and remembers what it was given."""

    def __init__(self, *messages: Message, raises: Exception | None = None, read: bool = False) -> None:
        #: sent in this order, the same objects each time
        self.messages = messages
        #: raised after the last message
        self.raises = raises
        #: whether to read the request to its end before answering
        self.read = read
        #: every scope the application was called with
        self.scopes: list[Scope] = []
        #: every event it read
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        while self.read:
            event = await receive()
            self.received.append(event)
            if not event.get("more_body"):
                break
        for message in self.messages:
            await send(message)
        if self.raises is not None:
            raise self.raises

    @property
    def scope(self) -> Scope:
        """The scope of the last call; an IndexError means that the application was never reached."""
        return self.scopes[-1]


async def run(
    app: ASGIApp, scope: Scope, *events: Message, sent: list[Message] | None = None, patience: float = PATIENCE
) -> list[Message]:
    """Call ``app`` once and return every message it sent, in order, the very same objects.

    ``events`` are what ``receive()`` gives; without any, an HTTP request has an empty body. When
    they are used up, ``receive()`` waits for the response to be complete and then reports that the
    client left, as a server does. ``sent`` collects the messages in a list of the caller's, which
    is how a test sees what went out before an exception. Raises what the application raises, and
    TimeoutError after ``patience`` seconds.
    """
    messages: list[Message] = [] if sent is None else sent
    waiting = list(events)
    if not events and scope["type"] == "http":
        waiting = [request(b"")]
    complete = asyncio.Event()

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await complete.wait()
        return {"type": _DISCONNECT.get(scope["type"], "lifespan.shutdown")}

    async def send(message: Message) -> None:
        messages.append(message)
        if _ends(message, messages):
            complete.set()

    async with asyncio.timeout(patience):
        await app(scope, receive, send)
    return messages


def http_scope(
    path: str = "/", method: str = "GET", headers: Iterable[Header] = (), root_path: str = "", **extra: object
) -> Scope:
    """An HTTP scope as a server builds it from ``path?query``; ``extra`` overrides any key.

    ``path`` is what the visitor asked for, percent-encoded and with ``root_path`` in front where
    the application is mounted below one. A Host header is added unless ``headers`` holds one.
    """
    return _scope("http", "http", path, headers, root_path, {"method": method, **extra})


def websocket_scope(
    path: str = "/",
    headers: Iterable[Header] = (),
    root_path: str = "",
    subprotocols: Sequence[str] = (),
    **extra: object,
) -> Scope:
    """A WebSocket scope; the arguments are those of :func:`http_scope`."""
    return _scope("websocket", "ws", path, headers, root_path, {"subprotocols": list(subprotocols), **extra})


def request(body: bytes, *, more: bool = False) -> Message:
    """The event that brings (a part of) a request body."""
    return {"type": "http.request", "body": body, "more_body": more}


def response(*chunks: bytes, status: int = 200, headers: Iterable[Header] = ()) -> tuple[Message, ...]:
    """The messages of a plain response whose body comes in these chunks; for ``App(*response(...))``."""
    start: Message = {"type": "http.response.start", "status": status, "headers": pairs(headers)}
    parts = chunks or (b"",)
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    bodies[-1] = {"type": "http.response.body", "body": parts[-1], "more_body": False}
    return (start, *bodies)


def html(*chunks: bytes, status: int = 200, headers: Iterable[Header] = ()) -> tuple[Message, ...]:
    """The messages of an HTML page; as :func:`response`, with its type in front."""
    return response(*chunks, status=status, headers=[("content-type", "text/html; charset=utf-8"), *headers])


def status(messages: Sequence[Message]) -> int:
    """The status code of the one response; AssertionError when there is none or more than one."""
    return int(_start(messages)["status"])


def headers(messages: Sequence[Message]) -> list[tuple[bytes, bytes]]:
    """The header pairs of the response as they were sent: order, capitals and repetitions kept."""
    return list(_start(messages).get("headers") or ())


def values(messages: Sequence[Message], name: str) -> list[str]:
    """Every value of this header, in order; the name is compared without regard to capitals."""
    wanted = name.lower().encode("latin-1")
    return [value.decode("latin-1") for key, value in headers(messages) if key.lower() == wanted]


def header(messages: Sequence[Message], name: str) -> str | None:
    """The value of a header that may appear once, or None; AssertionError when it is repeated."""
    found = values(messages, name)
    assert len(found) < 2, f"{name} was sent {len(found)} times: {found}"
    return found[0] if found else None


def cookies(messages: Sequence[Message]) -> dict[str, str]:
    """Name to value of each Set-Cookie of the response; the attributes are in ``values(messages, "set-cookie")``."""
    crumbs = (line.partition(";")[0].partition("=") for line in values(messages, "set-cookie"))
    return {name.strip(): value.strip() for name, _, value in crumbs}


def body(messages: Sequence[Message]) -> bytes:
    """All body chunks of the response, joined."""
    return b"".join(message.get("body", b"") for message in messages if message["type"].endswith("http.response.body"))


def pairs(given: Iterable[Header]) -> list[tuple[bytes, bytes]]:
    """Headers in the form of the ASGI standard: a list of pairs of bytes."""
    return [(_bytes(name), _bytes(value)) for name, value in given]


def _scope(
    kind: str, scheme: str, path: str, given: Iterable[Header], root_path: str, extra: dict[str, object]
) -> Scope:
    raw_path, _, query = path.partition("?")
    sent = pairs(given)
    if not any(name.lower() == b"host" for name, _ in sent):
        sent.insert(0, (b"host", b"site.example"))
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": root_path,
        "headers": sent,
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {},
        **extra,
    }


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _start(messages: Sequence[Message]) -> Message:
    starts = [message for message in messages if message["type"].endswith("http.response.start")]
    assert len(starts) == 1, f"expected one response, got {[message['type'] for message in messages]}"
    return starts[0]


def _ends(message: Message, sent: Sequence[Message]) -> bool:
    """Whether a server would call the response complete with this message."""
    match message["type"]:
        case "http.response.body" | "websocket.http.response.body":
            trailers = any(earlier.get("trailers") for earlier in sent if earlier["type"].endswith(".start"))
            return not message.get("more_body") and not trailers
        case "http.response.trailers":
            return not message.get("more_trailers")
        case "http.response.zerocopysend":
            return not message.get("more_body")
        case "http.response.pathsend" | "websocket.close":
            return True
        case _:
            return False
