"""An application behind the middleware, as the tests mount it: in memory, in debug, with a known key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message, Scope

from consentmw import ConsentMiddleware
from consentmw.choice import Choice

from .asgi import Header, http_scope, request, run

KEY = "a key for tests, long enough"

#: a page with one tag of each kind that a web team pastes in
PAGE = b"""<!doctype html>
<html lang="en"><head><title>Home</title>
<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST"></script>
<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments);}
gtag('js',new Date());gtag('config','G-TEST');</script>
</head><body><h1>Home</h1><iframe src="https://www.youtube.com/embed/x"></iframe>
<img src="https://www.facebook.com/tr?id=1&ev=PageView"></body></html>
"""


def mounted(app: ASGIApp, **options: Any) -> ConsentMiddleware:
    """The middleware around ``app`` with a memory store; options override."""
    return ConsentMiddleware(app, {"debug": True, "store": "memory:", "secret_keys": (KEY,), **options})


def choice_cookie(
    middleware: ConsentMiddleware, *granted: str, at: datetime | None = None, receipt: str = "r" * 22
) -> str:
    """A Cookie header with a choice that grants these purposes."""
    site = middleware.site
    choice = Choice(
        receipt, at or datetime.now(UTC).replace(microsecond=0), site.catalogue.fingerprint, frozenset(granted)
    )
    return f"{site.settings.cookie_name}={site.choices.write(choice)}"


async def post(app: ASGIApp, path: str, fields: dict[str, str] | list[tuple[str, str]], **scope: Any) -> list[Message]:
    """Send a form as a browser would from a page of the same site."""
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-origin"),
        *scope.pop("headers", ()),
    ]
    return await run(app, form_scope(path, headers, **scope), request(urlencode(fields).encode()))


def form_scope(path: str, headers: Sequence[Header], **extra: Any) -> Scope:
    """The scope of a POST."""
    return http_scope(path, "POST", headers, **extra)
