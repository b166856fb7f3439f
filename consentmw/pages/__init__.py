"""The visitor's own pages and endpoints, all under one neutral prefix.

``find`` says which of them a request is for; ``inserts`` are the pieces that other pages get: the
banner, its style and script, the line of links at the end. All of it works without JavaScript.
Refuses to know the application behind the middleware.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from starlette.types import Scope

from ..accounts import Known
from ..decision import Decision
from ..gate.response import Inserts
from ..lawful import refuse
from ..site import Site
from ..subjects import Subjects
from .choosing import Choosing
from .collecting import Collecting
from .documents import Documents
from .examining import Examining
from .exchange import Exchange
from .files import Files
from .history import History
from .holding import Holding
from .leaving import Leaving
from .linked import Linked
from .mailing import Mailing
from .measuring import Measuring
from .metrics import Metrics
from .render import Renderer
from .reports import Reports
from .requesting import Requesting
from .showing import Showing
from .takeout import Takeout
from .templating import Templating
from .unsent import Unsent

__all__ = ["Exchange", "Page", "Pages"]

Page = Callable[[Exchange], Awaitable[None]]

_GPC: Final = "/.well-known/gpc.json"


class Pages:
    """Finds the page for a path and renders what is inserted into others.

    Raises SettingsError for a template of the site's own that can't be rendered, or that a regime forbids.
    """

    def __init__(self, site: Site) -> None:
        self._prefix = site.settings.prefix
        self._below = site.settings.prefix + "/"
        files = Files(site)
        templating = Templating(site, files)
        renderer = Renderer(site, templating)
        documents = Documents(site, templating, renderer)
        choosing = Choosing(site, documents)
        leaving = Leaving(site, documents, templating)
        measuring = Measuring(site, documents, leaving)
        showing = Showing(site, documents)
        subjects = Subjects(site)
        takeout = Takeout(site, subjects, templating)
        self._renderer = renderer
        self._linked = Linked(site, templating)
        self._gpc = _read_only(files.gpc)
        self._pages: dict[str, Page] = {
            "": _read_only(showing.notice),
            "choices": choosing.choices,
            "data": Requesting(site, documents, takeout, subjects).data,
            "locale": choosing.locale,
            "opt-out": _read_only(showing.opt_out),
            "receipt": _read_only(showing.receipt),
            "history": _read_only(History(site, templating, documents, showing.missing).answer),
            "take": _read_only(showing.receipt_file),
            "state": _read_only(showing.state),
            "held": Holding(site, documents, showing.missing).held,
            "form": Unsent(site, documents).answer,
            "go": measuring.click_through,
            "leaving": _read_only(leaving.page),
            "mail": Mailing(site, documents, templating).page,
            "px": measuring.pixel,
            "static": _read_only(files.static),
            "metrics": _read_only(Metrics(site).show),
        }
        self._missing = showing.missing
        if site.settings.policy != "off":
            self._pages["csp"] = Reports(site).take
        if site.visits.follows:
            self._pages["events"] = Collecting(site).take
        #: what is weak about the site's own templates
        self.warnings = refuse(Examining(site, templating, renderer, documents).findings(self._pages))

    def base(self, scope: Scope) -> str:
        """The address of our pages for this request: its root_path and the prefix."""
        # Exactly one slash in front: two would begin the address of another host.
        root: str = scope.get("root_path", "").strip("/")
        return f"/{root}{self._prefix}" if root else self._prefix

    def find(self, scope: Scope) -> tuple[Page, str] | None:
        """The page of ours for this request and what is behind its name, or None: it is for the application."""
        path: str = scope["path"]
        root: str = scope.get("root_path", "").rstrip("/")
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
            # Since ASGI 3 made it clear, path includes root_path; a prefix is cut at a slash only.
            path = path[len(root) :]
        if path.startswith(self._below):
            name, _, rest = path[len(self._below) :].partition("/")
            page = self._pages.get(name, self._missing)
            takes_rest = name in {"form", "go", "held", "leaving", "mail", "px", "static", "take"}
            return (page if bool(rest) == takes_rest or name == "history" else self._missing), rest
        if path == self._prefix:
            return self._pages[""], ""
        return (self._gpc, "") if path == _GPC else None

    def inserts(self, scope: Scope, decision: Decision, status: int, told: Known | None = None) -> Inserts:
        """What goes into a document of the application for this visitor; ``told``: what it has to say once."""
        base = self.base(scope)
        inserts = self._renderer.inserts(base, decision, scope, status)
        if told is None:
            return inserts
        return replace(inserts, body=self._linked.news(base, decision, told) + inserts.body)

    def link_notice(self, language: str) -> str:
        """A sentence for the page on which somebody signs in."""
        return self._linked.notice(language)


def _read_only(page: Page) -> Page:
    async def answer(exchange: Exchange) -> None:
        if exchange.reads:
            await page(exchange)
        else:
            await exchange.refuse_method("GET, HEAD")

    return answer
