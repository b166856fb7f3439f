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
from .events.hosts import OTHER
from .gate.headers import restore_etag
from .gate.response import GatedResponse, Inserts
from .once import place
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
        if self.site.once_mark in visitor.cookies:
            ruling = self._once(scope, visitor, ruling)
        consent = Consent(ruling.decision, self.pages.base(scope), self.site.tokens, self.site.relay, visitor)
        # A copy: what we publish must not leak to whoever made the scope, nor routing back through it.
        # The headers as a list: a server may give a generator, and reading it has used it up.
        scope = {**scope, "headers": ruling.seen(visitor), "consent": consent}
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
            visitor=visitor,
            granted=ruling.granted,
            own=lambda host: self.site.unknown.own(host, visitor.host),
            inserts=lambda: self._inserts(scope, decision),
            extra=ruling.extra,
            head=scope["method"] == "HEAD",
            revalidates=visitor.revalidates and restore_etag(scope, decision.state),
            watch=self.site.unknown.watch(visitor.host),
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

    def _once(self, scope: Scope, visitor: Visitor, ruling: Ruling) -> Ruling:
        """What follows where the visitor may have asked for a service once, on this very page."""
        if scope["type"] != "http" or scope["method"] != "GET" or visitor.sec_purpose:
            # Nobody looks at the answer to a HEAD, nor at a page that a browser only fetches ahead.
            return ruling
        page = place(scope["path"], scope.get("query_string", b""))
        return self.site.once(visitor, ruling, page)

    def _inserts(self, scope: Scope, decision: Decision) -> Inserts:
        try:
            return self.pages.inserts(scope, decision)
        except Exception:
            logger.exception("the banner could not be rendered; the page goes out gated, without it")
            return Inserts()

    def _record(
        self, scope: Scope, visitor: Visitor, decision: Decision, response: GatedResponse, started: float
    ) -> None:
        if self.site.relay.pages:
            self._report(scope, visitor, decision, response)
        mode = self.settings.record
        if mode == "none" or (mode == "pages" and not response.html):
            return
        try:
            facts = Facts(
                kind="page" if response.html else "request",
                at=started,
                method=scope["method"],
                route=self._bounded_route(scope, response.status, started),
                status=response.status,
                duration_ms=int((time() - started) * 1000),
                visitor=visitor,
                query=scope.get("query_string", b""),
                language=decision.language,
            )
            count, event = minimise(facts, decision, self.site.policy)
            self.recorder.put(count, event)
            if response.watch is not None and response.watch.seen:
                for met in self.site.met.counters(count, response.watch.seen):
                    self.recorder.put(met)
        except Exception:
            logger.exception("a page view could not be recorded")

    def _bounded_route(self, scope: Scope, status: int, at: float) -> str:
        """The route, or "(other)" when it is made from a path and this hour has had too many such."""
        route = _route(scope, status)
        if getattr(scope.get("route"), "path", None) or self.site.routes.place(int(at) // 3600, route) != "over":
            return route
        return OTHER

    def _report(self, scope: Scope, visitor: Visitor, decision: Decision, response: GatedResponse) -> None:
        """Tell Google of a page that was seen, where the visitor allows it."""
        if response.html and response.status == 200 and scope["method"] == "GET":
            try:
                self.site.relay.page_view(visitor, decision, _route(scope, response.status))
            except Exception:
                logger.exception("a page view could not be relayed")

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
