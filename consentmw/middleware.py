"""ConsentMiddleware: who is asking → what may run → what the response may carry → what is recorded.

Pure ASGI, no framework: works wrapped by hand, through ``add_middleware``, mounted under a
root_path, with or without lifespan, and forwards every scope and message it does not know.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from time import time
from typing import Any, TypeAlias, overload

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .consent import Consent
from .decision import Decision
from .events import Facts, minimise, template
from .gate.headers import restore_etag
from .gate.response import GatedResponse, Inserts
from .pages import Exchange, Pages
from .recorder import Recorder
from .settings import Settings
from .site import Ruling, Site
from .visitor import Visitor

__all__ = ["ConsentMiddleware"]

logger = logging.getLogger("consentmw")

#: where settings may come from
Source: TypeAlias = Settings | Mapping[str, Any] | str | os.PathLike[str] | None


class ConsentMiddleware:
    """Gates and records one ASGI application.

    ``settings`` is a path to a TOML file, a mapping, or Settings; keywords override single options.
    Wrap it outermost, so that error pages and compression pass through it too.
    Raises SettingsError when the settings can't work.
    """

    # The first form is what Starlette's typed Middleware(...) and add_middleware can follow.
    @overload
    def __init__(self, app: ASGIApp, settings: Source = None) -> None: ...

    @overload
    def __init__(self, app: ASGIApp, settings: Source = None, **options: Any) -> None: ...

    def __init__(self, app: ASGIApp, settings: Source = None, **options: Any) -> None:
        self.app = app
        self.site = Site(Settings.of(settings, **options))
        self.pages = Pages(self.site)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.site.settings

    @property
    def recorder(self) -> Recorder:
        """Queue and writer of the event store."""
        return self.site.recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            # Lifespan and whatever comes: not a visitor. We only flush when the server says goodbye.
            await self.app(scope, receive, self._flush_at_shutdown(send))
            return
        visitor = Visitor.read(scope, self.settings.trusted_proxies)
        ruling = self.site.ruling(visitor)
        consent = Consent(ruling.decision, self.pages.base(scope), self.site.tokens)
        # A copy: what we publish must not leak to whoever made the scope, nor routing back through it.
        # The headers as a list: a server may give a generator, and reading it has used it up.
        scope = {**scope, "headers": ruling.seen(visitor.headers), "consent": consent}
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif (found := self.pages.find(scope)) is not None:
            page, rest = found
            await page(Exchange(scope, receive, send, visitor, consent, rest))
        else:
            await self._gated(scope, receive, send, visitor, consent, ruling)

    async def _gated(
        self, scope: Scope, receive: Receive, send: Send, visitor: Visitor, consent: Consent, ruling: Ruling
    ) -> None:
        started = time()
        decision = ruling.decision
        response = GatedResponse(
            send,
            consent,
            self.site.catalogue,
            ruling.rules,
            inserts=lambda: self._inserts(scope, decision),
            extra=ruling.extra,
            head=scope["method"] == "HEAD",
            revalidates=visitor.revalidates and restore_etag(scope, decision.state),
        )
        recorded = False

        async def forward(message: Message) -> None:
            nonlocal recorded
            await response.send(message)
            if response.finished and not recorded:
                # At the last body message: after ``await self.app`` the background tasks have run, too.
                recorded = True
                self._record(scope, visitor, decision, response, started)

        try:
            await self.app(scope, receive, forward)
        except Exception:
            response.status = response.status or 500
            raise
        finally:
            if not recorded and response.status:
                self._record(scope, visitor, decision, response, started)

    def _inserts(self, scope: Scope, decision: Decision) -> Inserts:
        try:
            return self.pages.inserts(scope, decision)
        except Exception:
            logger.exception("the banner could not be rendered; the page goes out gated, without it")
            return Inserts()

    def _record(
        self, scope: Scope, visitor: Visitor, decision: Decision, response: GatedResponse, started: float
    ) -> None:
        mode = self.settings.record
        if mode == "none" or (mode == "pages" and not response.html):
            return
        try:
            facts = Facts(
                kind="page" if response.html else "request",
                at=started,
                method=scope["method"],
                route=_route(scope, response.status),
                status=response.status,
                duration_ms=int((time() - started) * 1000),
                visitor=visitor,
                query=scope.get("query_string", b""),
                language=decision.language,
            )
            self.recorder.put(*minimise(facts, decision, self.site.policy))
        except Exception:
            logger.exception("a page view could not be recorded")

    def _flush_at_shutdown(self, send: Send) -> Send:
        async def forward(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.site.close()
            await send(message)

        return forward


def _route(scope: Scope, status: int) -> str:
    """The route template: what the framework matched, else a template made from the path."""
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str) and route:
        return route
    if status == 404:
        # A path nobody serves was written by whoever asked; it is no page of ours to list.
        return "(not found)"
    path = scope["path"]
    for name, value in (scope.get("path_params") or {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}")
    return template(path)
