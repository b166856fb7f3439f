"""What goes into the pages of an application: the banner and the line of links, in the visitor's language.

The banner is rendered once for each state it can be in and remembered; a request only puts its own
path into it. Refuses to decide anything.
"""

from __future__ import annotations

from html import escape
from typing import Final, TypeAlias
from urllib.parse import quote

from itsdangerous.encoding import base64_encode
from starlette.types import Scope

from ..decision import Decision
from ..gate.response import Inserts
from ..sessions import TIERS
from ..site import Site
from .news import news
from .templating import Templating

__all__ = ["Renderer"]

#: stands in the rendered banner where the path of the page goes; nothing in a template looks like it
_RETURN: Final = "consentmw-return-here"

#: banner states remembered; each is about 5 kB
_REMEMBERED: Final = 512

#: for the head, tags in it that a page may have already, for the start of the body around its path, for its end
_Parts: TypeAlias = tuple[bytes, tuple[tuple[bytes, ...], ...], tuple[bytes, ...], bytes]


class Renderer:
    """Renders the inserts of one site."""

    def __init__(self, site: Site, templating: Templating) -> None:
        self._site = site
        self._templating = templating
        self._inserts: dict[tuple[str, str, bool], _Parts] = {}

    def inserts(self, base: str, decision: Decision, scope: Scope, status: int) -> Inserts:
        """The pieces for a document of the application: style and script, banner, links."""
        head, own, banner, foot = self._parts(base, decision)
        path = _return_path(scope)
        # The page is named in the frame's address: not every site lets its pages say where they are (Referer).
        page = base64_encode(path) + b"/" if path else b""
        frame, form = (f"{base}/{name}/".encode("ascii", "replace") + page for name in ("held", "form"))
        body = escape(path, quote=True).encode("ascii").join(banner)
        if self._site.visits.follows and decision.tier in TIERS:
            head += self._clicks(base, scope, status)
        return Inserts(head, body, foot, frame=frame, own=own, form=form)

    def _clicks(self, base: str, scope: Scope, status: int) -> bytes:
        """The script that tells what happens in the page, with the name of its route."""
        routes = self._site.routes
        route = escape(routes.signed(routes.of(scope, status)[0]))
        file = escape(self._templating.file(base, "clicks.js"))
        return f'<script src="{file}" data-consentmw data-page="{route}" defer></script>'.encode()

    def banner(self, base: str, decision: Decision) -> bytes:
        """The banner as this visitor gets it, but for the path of the page."""
        return _RETURN.encode().join(self._parts(base, decision)[2])

    def _parts(self, base: str, decision: Decision) -> _Parts:
        # What changed since a visitor chose can be said as soon as it has been read.
        key = (base, decision.state, bool(decision.chosen_under) and self._site.registry.loaded)
        known = self._inserts.get(key)
        if known is None:
            if len(self._inserts) >= _REMEMBERED:
                self._inserts.clear()
            known = self._inserts[key] = self._render_parts(base, decision)
        return known

    def _render_parts(self, base: str, decision: Decision) -> _Parts:
        settings = self._site.settings
        banner = foot = ""
        if decision.ask:
            kinds = self._site.regions.regimes[decision.regime].granted
            asks_region = not decision.region and decision.region_source == "unknown"
            banner = self._templating.render(
                "banner.html",
                base,
                decision,
                position=settings.banner_position,
                defaults=bool(kinds - {"necessary", "preferences"}),
                early=bool(decision.cookieless),
                regions=settings.region_choices if asks_region else (),
                return_mark=_RETURN,
                news=news(self._site.registry, decision),
            )
        if settings.footer:
            foot = self._templating.render("foot.html", base, decision)
        keeping = self._site.storage.keeping(decision)
        keep = "" if keeping is None else f' data-keep="{keeping}"'
        gpp, another = self._site.gpp.head(decision, self._templating.file(base, "gpp.js"))
        tags, own = self._site.signals.head(decision, self._templating.file(base, "signals.js"))
        style = f'<link rel="stylesheet" href="{escape(self._templating.file(base, "privacy.css"))}" data-consentmw>'
        script = (
            f'<script src="{escape(self._templating.file(base, "privacy.js"))}" data-consentmw{keep} defer></script>'
        )
        # First of all, because a script behind a style sheet waits for it.
        head = f"{gpp}{style}{tags}{script}".encode()
        return head, (*another, *own), tuple(banner.encode().split(_RETURN.encode())), foot.encode()


def _return_path(scope: Scope) -> str:
    """The page's own path and query, by which a form leads back to it: ASCII, and only of a GET."""
    if scope["method"] not in ("GET", "HEAD"):
        return ""
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~-._")
    query = scope.get("query_string", b"").decode("latin-1")
    target = f"{path}?{quote(query, safe='/:@!$&()*+,;=~-._?%')}" if query else path
    return target if len(target) <= 2000 else path[:2000]
