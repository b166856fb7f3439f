"""States that a tester could otherwise not reach without travelling, waiting or another browser.

Plays a browser with Global Privacy Control and a CDN that knows where its visitors are; lets a choice grow old, or
the notice change under it. Knows cookies of its own for that. Refuses to decide anything: consentmw does, from
what it is told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from consentmw.visitor import Visitor, cookies

from .forms import fields
from .view import url

__all__ = ["PLACES", "ROUTES", "Playing", "played"]

#: the cookies by which a browser asks to be played with
_SIGNAL: Final = "demo_gpc"
_REGION: Final = "demo_region"

#: regions to come from, one of each kind of law and some that differ within it (ISO 3166-2)
PLACES: Final = {
    "US-IA": "Iowa",
    "US-WI": "Wisconsin",
    "US-CA": "California",
    "US-MN": "Minnesota",
    "US-IL": "Illinois",
    "US-OK": "Oklahoma, a law from 2027 on",
    "CA-QC": "Quebec",
    "DE": "Germany",
    "FR": "France",
    "GB": "United Kingdom",
    "JP": "Japan",
}
#: where the CDN stands, as seen from the site
_PROXY: Final = ("127.0.0.1", 0)


class Playing:
    """Adds what a signal or a CDN would add, while a cookie asks for it. Stands outside consentmw.

    Chromium has no switch for the signal; a header that the browser itself sent is left alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers, and say that they can be had."""
        if scope["type"] == "http":
            scope = {**scope, "demo.playing": True}
            given = dict(cookies(scope["headers"]))
            if given.get(_SIGNAL) == "1" and not any(name == b"sec-gpc" for name, _ in scope["headers"]):
                scope["headers"] = [*scope["headers"], (b"sec-gpc", b"1")]
            if (code := given.get(_REGION, "")) in PLACES:
                country, _, state = code.partition("-")
                said = [(b"cf-ipcountry", country.encode()), (b"cf-region-code", state.encode())]
                scope["headers"] = [*scope["headers"], *said[: 2 if state else 1]]
                scope["client"] = _PROXY
        await self.app(scope, receive, send)


def played(request: Request) -> dict[str, Any]:
    """What is being played for this browser, for the panel; empty where nothing can be."""
    if not request.scope.get("demo.playing"):
        return {}
    return {"signal": request.cookies.get(_SIGNAL) == "1", "region": request.cookies.get(_REGION, "")}


def _back(request: Request) -> Response:
    return RedirectResponse(url(request, "panel"), status_code=303)


async def signal(request: Request) -> Response:
    """Turn the played signal on or off."""
    response = _back(request)
    if request.cookies.get(_SIGNAL) == "1":
        response.delete_cookie(_SIGNAL)
    else:
        response.set_cookie(_SIGNAL, "1", httponly=True, samesite="lax")
    return response


async def region(request: Request) -> Response:
    """Come from somewhere else, or from nowhere in particular."""
    response, code = _back(request), (await fields(request)).get("region", "")
    if code in PLACES:
        response.set_cookie(_REGION, code, httponly=True, samesite="lax")
    else:
        response.delete_cookie(_REGION)
    return response


async def age(request: Request) -> Response:
    """Let this browser's choice run out, or let it be one about other purposes; without a choice, nothing."""
    response, site = _back(request), request.app.state.panel.guarded.site
    visitor = Visitor.read(request.scope, site.settings.trusted_proxies)
    choice = site.choice(visitor)
    if choice is not None:
        if (await fields(request)).get("how") == "notice":
            choice = replace(choice, fingerprint="0" * len(choice.fingerprint))
        else:
            choice = replace(choice, at=choice.at - site.valid_for)
        name = site.cookie_names(visitor)[0]
        _, line = site.cookie(visitor, name, site.choices.write(choice), site.valid_for)
        response.headers.append("set-cookie", line.decode("ascii"))
    return response


ROUTES: Final = [
    Route("/qa/signal", signal, methods=["POST"]),
    Route("/qa/region", region, methods=["POST"]),
    Route("/qa/age", age, methods=["POST"]),
]
