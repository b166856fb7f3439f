"""The demo site, put together: pages, sign-in, the panel for QA, and consentmw around them.

Knows how the parts are wired. Refuses to know what a page says.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from consentmw import ConsentMiddleware, Settings
from consentmw.authorizations import open_authorizations

from . import pages, qa, sharing
from .standin import StandIn
from .trail import Memory, Trail

__all__ = ["SETTINGS", "build"]

_HERE: Final = Path(__file__).parent

#: the settings the demo runs with
SETTINGS: Final = _HERE / "consent.toml"


@asynccontextmanager
async def _closing(site: Starlette) -> AsyncIterator[None]:
    yield
    site.state.book.close()


def build(settings: Settings | None = None, standin: StandIn | None = None) -> ConsentMiddleware:
    """The site behind consentmw; without a stand-in, the panel has nothing to say about third parties."""
    memory = Memory()
    site = Starlette(
        routes=[
            *pages.ROUTES,
            *sharing.ROUTES,
            *qa.ROUTES,
            Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
        ],
        middleware=[
            Middleware(Trail, memory=memory),
            # A key of this process: signing in again after a restart is fine for a demonstration.
            Middleware(
                SessionMiddleware, secret_key=secrets.token_urlsafe(32), session_cookie="ple_session", max_age=None
            ),
        ],
        exception_handlers={404: pages.missing, 500: pages.broken, 503: pages.broken},
        lifespan=_closing,
    )
    guarded = ConsentMiddleware(site, settings or Settings.load(SETTINGS))
    site.state.book = open_authorizations(guarded.settings)
    site.state.panel = qa.Panel(guarded, standin, memory)
    return guarded
