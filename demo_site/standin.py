"""A stand-in for every third party: it plays each vendor's host and writes down what it was asked.

Knows the vendors' host names and answers as a browser expects, with scripts and pages of its own.
Refuses to know the site, its visitors and consent: it records whatever reaches it.
"""

from __future__ import annotations

from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

__all__ = ["HOSTS", "Received", "StandIn"]

_FILES: Final = Path(__file__).parent / "vendors"

#: every host it plays and whose it is, as a person knows the product
HOSTS: Final[Mapping[str, str]] = {
    "www.googletagmanager.com": "Google tag",
    "www.google-analytics.com": "Google Analytics",
    "region1.google-analytics.com": "Google Analytics",
    "googleads.g.doubleclick.net": "Google Ads",
    "www.googleadservices.com": "Google Ads",
    "pagead2.googlesyndication.com": "Google Ads",
    "connect.facebook.net": "Meta Pixel",
    "www.facebook.com": "Meta Pixel",
    "bat.bing.com": "Microsoft Advertising",
    "www.clarity.ms": "Microsoft Clarity",
    "k.clarity.ms": "Microsoft Clarity",
    "static.hotjar.com": "Hotjar",
    "vc.hotjar.io": "Hotjar",
    "snap.licdn.com": "LinkedIn Insight",
    "px.ads.linkedin.com": "LinkedIn Insight",
    "www.youtube.com": "YouTube",
    "www.youtube-nocookie.com": "YouTube",
    "i.ytimg.com": "YouTube",
    "player.vimeo.com": "Vimeo",
    "i.vimeocdn.com": "Vimeo",
    "www.google.com": "Google Maps",
    "maps.googleapis.com": "Google Maps",
    "maps.gstatic.com": "Google Maps",
    "prairielakes.us1.list-manage.com": "Mailchimp",
    # In no catalogue: somebody pasted it in, and nobody decided about it.
    "widgets.example-badges.net": "Example Badges",
}

#: what is kept; a test looks at a handful, a demonstration at some dozens
_MOST: Final = 1000
#: the longest piece of a header or address that is kept, in characters
_LONGEST: Final = 2000

_GIF: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_YEAR: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request that reached a third party."""

    at: datetime
    method: str
    host: str
    #: path and query as they were sent
    path: str
    #: whose host that is; "" for a host nobody plays
    vendor: str
    referer: str
    #: names of the cookies that came along
    cookies: tuple[str, ...]
    #: names of the cookies that the answer asked the browser to keep, whether or not the browser did
    offered: tuple[str, ...]
    gpc: str
    #: names of the fields of a form in its body; what was typed into them is not kept
    fields: tuple[str, ...]
    #: Sec-Fetch-Site: ``cross-site`` when a page asked for it, ``none`` when the browser did on its own
    site: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "at": self.at.isoformat(timespec="milliseconds"),
            "cookies": list(self.cookies),
            "offered": list(self.offered),
            "fields": list(self.fields),
        }


class StandIn:
    """The ASGI application behind all the vendors' host names."""

    def __init__(self) -> None:
        #: the newest requests, oldest first
        self.received: deque[Received] = deque(maxlen=_MOST)
        #: how many there were since the start or the last :meth:`clear`
        self.total = 0
        scripts = {
            name: (_FILES / f"{name}.js").read_bytes()
            for name in ("google", "fbevents", "clarity", "hotjar", "insight", "uet", "badge")
        }
        pages = {name: Template((_FILES / f"{name}.html").read_text("utf-8")) for name in ("player", "map")}
        self._answers: tuple[tuple[str, str, Callable[[], Response]], ...] = (
            ("www.googletagmanager.com", "/gtag/js", lambda: _script(scripts["google"])),
            ("www.googletagmanager.com", "/gtm.js", lambda: _script(scripts["google"])),
            ("www.googletagmanager.com", "/ns.html", lambda: HTMLResponse("<!doctype html><title>ns</title>")),
            ("connect.facebook.net", "/", lambda: _script(scripts["fbevents"])),
            ("bat.bing.com", "/bat.js", lambda: _script(scripts["uet"])),
            ("www.clarity.ms", "/tag/", lambda: _script(scripts["clarity"])),
            ("static.hotjar.com", "/c/", lambda: _script(scripts["hotjar"])),
            ("snap.licdn.com", "/", lambda: _script(scripts["insight"])),
            ("widgets.example-badges.net", "/badge.js", lambda: _script(scripts["badge"])),
            ("px.ads.linkedin.com", "/", _linkedin),
            ("www.facebook.com", "/tr", lambda: _image("fr", "facebook.com")),
            ("googleads.g.doubleclick.net", "/", lambda: _image("IDE", "doubleclick.net")),
            ("www.youtube.com", "/embed/", lambda: _embed(pages["player"], "YouTube")),
            ("www.youtube-nocookie.com", "/embed/", lambda: _embed(pages["player"], "YouTube")),
            ("player.vimeo.com", "/video/", lambda: _embed(pages["player"], "Vimeo")),
            ("prairielakes.us1.list-manage.com", "/", _subscribed),
            ("www.google.com", "/maps/", lambda: _embed(pages["map"], "Google Maps")),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the request down and play the vendor."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        host = host.lower()[:_LONGEST]
        if request.url.path == "/mp/collect":
            # What the site's server sends comes by address, under no vendor's name.
            host = "region1.google-analytics.com"
        answer = self._answer(request, host)
        self._note(request, host, answer, await _fields(request))
        await answer(scope, receive, send)

    def clear(self) -> None:
        """Forget what was received."""
        self.received.clear()
        self.total = 0

    def newest(self, limit: int = 100) -> list[Received]:
        """The last requests, newest first."""
        return list(self.received)[: -limit - 1 : -1]

    def _note(self, request: Request, host: str, answer: Response, fields: tuple[str, ...]) -> None:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        headers = request.headers
        self.total += 1
        self.received.append(
            Received(
                at=datetime.now(UTC),
                method=request.method,
                host=host,
                path=path[:_LONGEST],
                vendor=HOSTS.get(host, ""),
                referer=headers.get("referer", "")[:_LONGEST],
                cookies=tuple(sorted(request.cookies))[:50],
                offered=tuple(line.partition("=")[0] for line in answer.headers.getlist("set-cookie")),
                gpc=headers.get("sec-gpc", "")[:_LONGEST],
                fields=fields,
                site=headers.get("sec-fetch-site", "")[:_LONGEST],
            )
        )

    def _answer(self, request: Request, host: str) -> Response:
        path = request.url.path
        for name, start, answer in self._answers:
            if host == name and path.startswith(start):
                return answer()
        if host not in HOSTS:
            return _stranger(host)
        wants_image = "image" in request.headers.get("accept", "") and "html" not in request.headers.get("accept", "")
        return _image() if wants_image else Response(status_code=204, headers=_OPEN)


async def _fields(request: Request) -> tuple[str, ...]:
    """Names of the fields of a form that was sent, at most fifty."""
    if request.headers.get("content-type", "") != "application/x-www-form-urlencoded":
        return ()
    async with request.form(max_files=0, max_fields=1000) as form:
        return tuple(name[:_LONGEST] for name in form)[:50]


#: what lets any page read the answer, as measurement hosts allow it
_OPEN: Final = {"access-control-allow-origin": "*", "cache-control": "no-store"}


def _script(code: bytes) -> Response:
    return Response(code, media_type="text/javascript", headers=_OPEN)


def _image(cookie: str = "", domain: str = "") -> Response:
    response = Response(_GIF, media_type="image/gif", headers=_OPEN)
    return _with_cookie(response, cookie, domain) if cookie else response


def _linkedin() -> Response:
    response = _with_cookie(_image(), "bcookie", "linkedin.com")
    return _with_cookie(response, "li_sugr", "linkedin.com")


def _with_cookie(response: Response, name: str, domain: str) -> Response:
    response.set_cookie(name, "standin", max_age=_YEAR, domain=domain, secure=True, samesite="none")
    return response


def _embed(page: Template, name: str) -> Response:
    pixel, cookie, domain = {
        "YouTube": ("https://i.ytimg.com/vi/demoVideo01/hqdefault.jpg", "VISITOR_INFO1_LIVE", "youtube.com"),
        "Vimeo": ("https://i.vimeocdn.com/video/76979871.jpg", "vuid", "vimeo.com"),
        "Google Maps": ("https://maps.googleapis.com/maps/vt", "NID", "google.com"),
    }[name]
    response = HTMLResponse(page.substitute(name=name, pixel=pixel), headers=_OPEN)
    return _with_cookie(response, cookie, domain)


def _subscribed() -> Response:
    text = "<h1>Stand-in</h1><p>The mailing company of this demo received the form. Go back to look at the panel.</p>"
    return HTMLResponse(
        f"<!doctype html><html lang=en><title>Stand-in</title><link rel=icon href=data:,>{text}", headers=_OPEN
    )


def _stranger(host: str) -> Response:
    if not host:
        return PlainTextResponse("no host", status_code=400)
    text = f"<p>A stand-in answers for {escape(host)} in this demo.</p>"
    return HTMLResponse(f"<!doctype html><html lang=en><title>Stand-in</title>{text}", status_code=404)
