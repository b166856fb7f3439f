"""ConsentMiddleware: who is asking → what may run → what the response may carry → what is recorded.

Pure ASGI, no framework: works wrapped by hand, through ``add_middleware``, mounted under a
root_path, with or without lifespan, and forwards every scope and message it does not know.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from time import time
from typing import Any, Final, TypeAlias, overload

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .accounts import Known
from .consent import Consent
from .decision import Decision
from .diagnostics import DiagnosticLog
from .events import Facts, minimise
from .events.notices import count_served
from .events.reading import queried, terms
from .gate.headers import restore_etag
from .gate.passing import Passing
from .gate.response import GatedResponse, Inserts
from .linking import Link, Linking
from .once import place
from .pages import Exchange, Pages
from .recorder import Recorder
from .ruling import Ruling
from .sessions import TIERS, Visiting
from .settings import Settings
from .site import Site
from .visitor import Visitor

__all__ = ["ConsentMiddleware"]

logger = logging.getLogger("consentmw")

#: what a page is asked for when somebody looks at it by itself, and not as a part of another (Fetch Metadata, 2.1);
#: "" from browsers that don't say, "empty" for a script that brings the next page
_LOOKED_AT: Final = frozenset({"", "document", "empty"})
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
        self.linking = Linking(self.site, self.pages.link_notice)

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
            # Lifespan and whatever comes: not a visitor. We flush when the server says goodbye.
            if scope["type"] == "lifespan":
                self.site.registry.start()
            await self.app(scope, receive, self._flush_at_shutdown(send))
            return
        site = self.site
        visitor = Visitor.read(scope, site.settings.trusted_proxies)
        ruling = site.ruling(visitor)
        found = self.pages.find(scope) if scope["type"] == "http" else None
        link = Link(self.linking, visitor, ruling)
        if link.known is not None and not (found and found[1]):
            # What has more in its address than the page's name is no page: a file, a pixel, a redirect.
            await link.look(scope)
            ruling = link.ruling
        if ruling.asks_once:
            ruling = self._once(scope, visitor, ruling)
        visit = site.visits.visiting(visitor, ruling, scope.get("query_string", b""))
        base = self.pages.base(scope)
        consent = Consent(ruling.decision, base, site, visitor, link, visit)
        if found is not None:
            page, rest = found
            await page(Exchange(scope, receive, send, visitor, consent, rest, link, visit))
            return
        # A copy: what we publish must not leak to whoever made the scope, nor routing back through it.
        scope = dict(scope)
        # A list: a server may give a generator, and reading it has used it up.
        scope["headers"] = ruling.seen(visitor)
        scope["consent"] = consent
        if scope["type"] == "websocket":
            link.late = True
            await self.app(scope, receive, send)
        else:
            await self._gated(scope, receive, send, visitor, consent, ruling, link, visit)

    async def _gated(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        visitor: Visitor,
        consent: Consent,
        ruling: Ruling,
        link: Link,
        visit: Visiting | None,
    ) -> None:
        started, first, recorded = time(), link.ruling, False
        passing, gate = Passing(), None
        if visitor.revalidates:
            # Before the application answers, because it has to be given its own ETag back.
            gate = self._response(scope, send, visitor, consent, ruling, link, visit)

        async def forward(message: Message) -> None:
            nonlocal gate, recorded, visit
            if message["type"] == "http.response.start":
                if link.ruling is not first:
                    # Somebody signed in or out: what was decided before does not hold for this answer.
                    visit = self.site.visits.visiting(visitor, link.ruling)
                    gate = self._response(scope, send, visitor, consent, link.ruling, link, visit)
                message = link.carried(message)
            if gate is None and not passing.takes(message):
                gate = self._response(scope, send, visitor, consent, ruling, link, visit)
                gate.status = passing.status
            await (send(message) if gate is None else gate.send(message))
            if not recorded and (gate or passing).finished:
                # At the last body message: after ``await self.app`` the background tasks have run, too.
                recorded = True
                self._record(scope, visitor, consent.decision, visit, gate or passing, started)

        try:
            await self.app(scope, receive, forward)
        except Exception:
            failed = gate or passing
            failed.status = failed.status or 500
            raise
        finally:
            if not recorded and (gate or passing).status:
                self._record(scope, visitor, consent.decision, visit, gate or passing, started)

    def _response(
        self,
        scope: Scope,
        send: Send,
        visitor: Visitor,
        consent: Consent,
        ruling: Ruling,
        link: Link,
        visit: Visiting | None,
    ) -> GatedResponse:
        """The way out for an answer under this ruling."""
        decision = ruling.decision
        # A page that says something once is no copy of the one that the browser may hold.
        state = decision.state if link.told is None else ""
        return GatedResponse(
            send,
            consent,
            self.site.catalogue,
            ruling.rules,
            visitor=visitor,
            granted=ruling.granted,
            own=lambda host: self.site.unknown.own(host, visitor.host),
            # It gets the status told: holding the response that holds it would leave both to the garbage collector.
            inserts=lambda status: self._inserts(scope, visitor, decision, status, link.told),
            extra=lambda: (*ruling.extra, *link.once, *self.site.visits.goes_on(visitor, visit)),
            head=scope["method"] == "HEAD",
            revalidates=visitor.revalidates and restore_etag(scope, state),
            watch=self.site.unknown.watch(visitor.host),
        )

    def _once(self, scope: Scope, visitor: Visitor, ruling: Ruling) -> Ruling:
        """What follows where the visitor may have asked for a service once, on this very page."""
        if scope["type"] != "http" or scope["method"] != "GET" or visitor.ahead:
            # Nobody looks at the answer to a HEAD, nor at a page that a browser only fetches ahead.
            return ruling
        page = place(scope["path"], scope.get("query_string", b""))
        return self.site.once(visitor, ruling, page)

    def _inserts(self, scope: Scope, visitor: Visitor, decision: Decision, status: int, told: Known | None) -> Inserts:
        try:
            inserts = self.pages.inserts(scope, decision, status, told)
        except Exception:
            logger.exception("the banner could not be rendered; the page goes out gated, without it")
            return Inserts()
        if decision.ask and inserts.body:
            count_served(self.recorder.put, "banner", visitor, decision)
        return inserts

    def _record(
        self,
        scope: Scope,
        visitor: Visitor,
        decision: Decision,
        visit: Visiting | None,
        response: GatedResponse | Passing,
        started: float,
    ) -> None:
        if self.site.diagnostics is not None:
            self._diagnose(self.site.diagnostics, scope, visitor, response.status, started)
        page = response.html and scope["method"] != "HEAD" and visitor.destination in _LOOKED_AT
        if page and self.site.relay.pages:
            self._report(scope, visitor, decision, response.status)
        # A script that fetched the next page shows it under another address, which ours tells where it runs.
        page = page and not (visit is not None and visitor.destination == "empty")
        mode = self.settings.record
        if mode == "none" or (mode == "pages" and not response.html):
            return
        try:
            route, made = self.site.routes.of(scope, response.status)
            facts = Facts(
                kind="page" if page else "request",
                at=started,
                method=scope["method"],
                route=route,
                status=response.status,
                duration_ms=int((time() - started) * 1000),
                visitor=visitor,
                query=scope.get("query_string", b""),
                language=decision.language,
                session="" if visit is None else visit.known,
            )
            count, event = minimise(facts, decision, self.site.policy)
            count = self.site.routes.counted(count, made)
            if page or mode == "all":
                self.recorder.put(count, event)
            if page and self.settings.search_keys:
                self._search(facts, decision, count.route)
            if response.watch is not None and response.watch.seen:
                for met in self.site.met.counters(count, response.watch.seen):
                    self.recorder.put(met)
        except Exception:
            logger.exception("a page view could not be recorded")

    def _search(self, facts: Facts, decision: Decision, route: str) -> None:
        """Record what somebody looked for on the site, where they chose to be measured."""
        if decision.tier not in TIERS or facts.method != "GET" or facts.status != 200:
            return
        words = next((terms(text) for _, text in queried(facts.query, self.settings.search_keys)), "")
        if words:
            count, event = minimise(replace(facts, kind="search", target=words), decision, self.site.policy)
            self.recorder.put(count._replace(route=route), event)

    def _diagnose(self, log: DiagnosticLog, scope: Scope, visitor: Visitor, status: int, started: float) -> None:
        """Note a request of the application. Ours are left out: a choice must not be found beside an address."""
        try:
            log.note(
                started, visitor.address, scope["method"], self.site.routes.of(scope, status)[0], status, visitor.agent
            )
        except Exception:
            logger.exception("a request could not be noted")

    def _report(self, scope: Scope, visitor: Visitor, decision: Decision, status: int) -> None:
        """Tell Google of a page that was seen, where the visitor allows it."""
        if status in (200, 304) and scope["method"] == "GET":
            try:
                self.site.relay.page_view(visitor, decision, self.site.routes.of(scope, status)[0])
            except Exception:
                logger.exception("a page view could not be relayed")

    def _flush_at_shutdown(self, send: Send) -> Send:
        async def forward(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.site.close()
            await send(message)

        return forward
