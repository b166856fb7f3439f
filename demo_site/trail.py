"""Which pages a visitor saw last, with what consentmw said about each: the memory behind the QA panel.

Knows a random visit number in a cookie and the newest pages of the newest visits. Refuses to know
who the visitor is, and to keep anything longer than the process lives.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COOKIE", "Memory", "Seen", "Trail"]

#: the site's own functional cookie: it ties the pages of one visit together and goes with the browser's session
COOKIE: Final = "ple_visit"

_VISIT: Final = re.compile(r"[A-Za-z0-9_-]{16,32}")
_MOST_VISITS: Final = 500
_MOST_PAGES: Final = 8

#: pages about the site rather than of it
_APART: Final = ("/qa", "/static/")


@dataclass(frozen=True, slots=True)
class Seen:
    """One page that was sent, and consentmw's object for it, which fills while the page streams out."""

    path: str
    status: int
    at: datetime
    consent: Any


class Memory:
    """The newest pages of the newest visits; bounded both ways."""

    def __init__(self) -> None:
        self._visits: OrderedDict[str, deque[Seen]] = OrderedDict()

    def add(self, visit: str, seen: Seen) -> None:
        """Remember a page; the visit that was quiet the longest makes room."""
        self._visits.setdefault(visit, deque(maxlen=_MOST_PAGES)).append(seen)
        self._visits.move_to_end(visit)
        while len(self._visits) > _MOST_VISITS:
            self._visits.popitem(last=False)

    def pages(self, visit: str) -> Sequence[Seen]:
        """The pages of a visit, newest first."""
        return list(self._visits.get(visit, ()))[::-1]

    def forget(self, visit: str) -> None:
        """Forget a visit."""
        self._visits.pop(visit, None)


class Trail:
    """Gives each visit its number and remembers the pages it saw. Stands inside consentmw."""

    def __init__(self, app: ASGIApp, memory: Memory) -> None:
        self.app = app
        self.memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note the page it got."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = _visit(Headers(scope=scope).getlist("cookie"))
        visit = scope["demo.visit"] = known or secrets.token_urlsafe(16)

        async def forward(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    self._note(scope, visit, message["status"])
                if not known:
                    headers.append("set-cookie", f"{COOKIE}={visit}; Path=/; HttpOnly; SameSite=Lax")
            await send(message)

        await self.app(scope, receive, forward)

    def _note(self, scope: Scope, visit: str, status: int) -> None:
        if not scope["path"].startswith(_APART):
            self.memory.add(visit, Seen(scope["path"], status, datetime.now(UTC), scope["consent"]))


def _visit(headers: Sequence[str]) -> str:
    """The visit number in the Cookie headers, "" when there is none of ours."""
    for header in headers:
        try:
            found = SimpleCookie(header).get(COOKIE)
        except CookieError:
            continue
        if found is not None and _VISIT.fullmatch(found.value):
            return found.value
    return ""
