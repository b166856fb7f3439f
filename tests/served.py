"""The application that the tests of real servers serve: a page, a stream that waits, what it was told, a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .mounted import PAGE, mounted

__all__ = ["app"]

_waiting: list[asyncio.Event] = []


async def page(request: Request) -> Response:
    """One page with a tag of each kind, and a cookie that somebody sets without asking."""
    response = HTMLResponse(PAGE)
    response.set_cookie("_ga_SERVER", "1")
    response.set_cookie("mine", "2")
    return response


async def stream(request: Request) -> Response:
    """Half a page, and the rest only after somebody asked for ``on``."""
    told = asyncio.Event()
    _waiting.append(told)

    async def parts() -> AsyncIterator[bytes]:
        at = PAGE.index(b"<iframe")
        yield PAGE[:at]
        await told.wait()
        yield PAGE[at:]

    return StreamingResponse(parts(), media_type="text/html")


async def on(request: Request) -> Response:
    """Let every waiting stream go on."""
    while _waiting:
        _waiting.pop().set()
    return Response(status_code=204)


async def told(request: Request) -> Response:
    """What consentmw told this application about the visitor."""
    consent = request.scope["consent"]
    return JSONResponse({"analytics": consent.allows("analytics"), "choices": consent.url("choices")})


_site = Starlette(routes=[Route("/", page), Route("/stream", stream), Route("/on", on), Route("/told", told)])

app = mounted(_site)
