"""Long answers: pages, event streams and downloads pass in their own time, in a memory that does not grow with them."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from threading import Semaphore
from urllib.parse import urlsplit

import pytest
from starlette.types import Message, Receive, Scope, Send

from .asgi import App, Header, http_scope, pairs, response, run
from .mounted import mounted
from .serving import serving

MB = 1_048_576
#: bytes that the middleware may hold more for a long page than for a short one
SLACK = 2 * MB

#: 32 kB of a page; the last part is one long text without any tag
PIECES = (
    b'<p style="background:url(https://i.ytimg.com/a)">a</p><script src="https://connect.facebook.net/x.js"></script>',
    b"<ul>" + b'<li class="a">word &amp; word <a href="/own">on</a></li>' * 300 + b"</ul>",
    b"word " * 3_000,
)


class Endless:
    """An application that writes these parts as they are asked for, and keeps none."""

    def __init__(self, parts: Iterable[bytes], *headers: Header) -> None:
        self.parts = parts
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": pairs(self.headers)})
        for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def passed(app: Endless) -> tuple[int, int, int]:
    """Bytes that came out, the most memory that was held meanwhile, and tags of a denied service, off less live."""
    size = off = 0

    async def send(message: Message) -> None:
        nonlocal size, off
        body = message.get("body", b"")
        size += len(body)
        off += body.count(b'data-consentmw-src="https://connect') - body.count(b'<script src="https://connect')

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    middleware = mounted(app)
    tracemalloc.start()
    try:
        await middleware(http_scope(), receive, send)
        return size, tracemalloc.get_traced_memory()[1], off
    finally:
        tracemalloc.stop()


def page(size: int) -> Iterator[bytes]:
    """A page of this many bytes, or a little more, in chunks of 16 to 20 kB."""
    yield b"<!doctype html><html><head><title>Long</title></head><body>"
    sent = 0
    while sent < size:
        for part in PIECES:
            sent += len(part)
            yield part


def packed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same as one gzip stream."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    for part in parts:
        if piece := packer.compress(part):
            yield piece
    yield packer.flush()


def wide(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same in UTF-16, with each letter at a chunk's end cut in two."""
    held = b""
    for part in parts:
        data = held + part.decode().encode("utf-16-le")
        yield data[:-1]
        held = data[-1:]
    yield held


@pytest.mark.parametrize(("coding", "charset"), [("", "utf-8"), ("gzip", "utf-8"), ("", "utf-16")])
async def test_a_page_of_50_mb_takes_no_more_memory_than_one_of_2(coding: str, charset: str) -> None:
    headers: list[Header] = [("content-type", f"text/html; charset={charset}")]
    headers += [("content-encoding", coding)] if coding else []
    most = []
    for size in (2 * MB, 50 * MB):
        parts = packed(page(size)) if coding else page(size)
        parts = wide(parts) if charset == "utf-16" else parts
        came, memory, off = await passed(Endless(parts, *headers))
        assert came > size, "something of the page is missing"
        assert off > size // 100_000, "tags of a denied service are live"
        most.append(memory)
    assert most[1] - most[0] < SLACK, f"{most[0]:,} bytes at most for 2 MB, {most[1]:,} for 50 MB"


async def test_a_small_chunk_that_unpacks_to_very_much_is_not_unpacked_in_one_piece() -> None:
    """A page of 200 kB that is 200 MB of spaces: it is passed on piece by piece, as it is unpacked."""
    bomb = gzip.compress(b"<!doctype html><body>" + b" " * (200 * MB))
    assert len(bomb) < MB
    headers: list[Header] = [("content-type", "text/html"), ("content-encoding", "gzip")]
    came, memory, _ = await passed(Endless([bomb], *headers))
    assert came > 200 * MB
    assert memory < 8 * MB, f"{memory:,} bytes at most"


def test_each_event_arrives_before_the_next_is_made() -> None:
    """Lock-step over a real server: the application makes an event only after the visitor has read the one before."""
    read = Semaphore(0)

    async def events(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(20):
            await send({"type": "http.response.body", "body": b"data: <script %d\n\n" % number, "more_body": True})
            assert await asyncio.to_thread(read.acquire, timeout=20), "the event was not read"
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    with serving(mounted(events)) as address, closing(connected(address)) as connection:
        connection.request("GET", "/")
        answer = connection.getresponse()
        for number in range(20):
            # Whatever is held back makes this wait for ever, and the application, too.
            assert answer.fp.readline() + answer.fp.readline() + answer.fp.readline() + answer.fp.readline() == (
                b"%x\r\n" % (16 + len(str(number))) + b"data: <script %d\n\n\r\n" % number
            )
            read.release()
        answer.close()


def test_a_download_of_a_gigabyte_passes_as_it_is() -> None:
    """The bytes, the length and the headers are those of the application, and the middleware keeps none of them."""
    total, step = 1024 * MB, MB
    noise = sha256(b"noise").digest() * (step // 32)

    def parts() -> Iterator[bytes]:
        return (number.to_bytes(8, "big") + noise[8:] for number in range(total // step))

    given = [("content-type", "application/octet-stream"), ("content-length", str(total)), ("etag", '"one"')]
    app = Endless([], *given)

    async def download(scope: Scope, receive: Receive, send: Send) -> None:
        app.parts = parts()
        await app(scope, receive, send)

    came = sha256()
    with serving(mounted(download)) as address, closing(connected(address)) as connection:
        connection.request("GET", "/file.bin")
        answer = connection.getresponse()
        assert [answer.getheader(name) for name, _ in given] == [value for _, value in given]
        buffer = bytearray(step)
        tracemalloc.start()
        try:
            while size := answer.readinto(buffer):
                came.update(memoryview(buffer)[:size])
            memory = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    sent = sha256()
    for part in parts():
        sent.update(part)
    assert came.digest() == sent.digest()
    assert memory < 32 * MB, f"{memory:,} bytes at most"


async def test_the_messages_of_a_download_are_the_same_objects() -> None:
    given = response(*([b"x" * 65_536] * 64), headers=[("content-type", "application/octet-stream")])
    sent = await run(mounted(App(*given)), http_scope())
    assert len(sent) == len(given)
    assert all(one is other for one, other in zip(sent, given, strict=True))


def connected(address: str) -> http.client.HTTPConnection:
    """A connection to a server of this machine."""
    return http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
