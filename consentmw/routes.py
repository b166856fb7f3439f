"""What a route is called: by the framework, by the site's own list, else by a template made from the path.

Names that were made from a path are bounded in counters, because anybody can ask for any path. A page's
script gets the name of its route signed, so that what it tells stands beside the page view. Refuses to
know which rows a route ends up in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from itsdangerous import BadSignature, Signer

from .events import Count, template
from .events.hosts import OTHER, Hourly

__all__ = ["MAX_NAME", "Routes"]

#: made-up routes with counters of their own in an hour; what comes then is counted as "(other)"
_MOST: Final = 1_000
#: characters of the longest signed name that is read
MAX_NAME: Final = 600
_PLACES: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*(:path)?\}")


class Routes:
    """The routes of one site."""

    def __init__(self, templates: Sequence[str], keys: Sequence[str], most: int = _MOST) -> None:
        """``templates``: the site's own, the first that fits counts; ``keys``: sign, the newest last."""
        self._templates = templates
        self._pattern = re.compile("|".join(f"({_regex(text)})" for text in templates)) if templates else None
        self._signer = Signer(list(keys), salt="consentmw.route", digest_method=sha256, key_derivation="hmac")
        self._hourly = Hourly(most)
        self._known = lru_cache(maxsize=2048)(self._find)
        #: the name as a page's script may carry it
        self.signed = lru_cache(maxsize=2048)(self._sign)

    def of(self, scope: Mapping[str, Any], status: int) -> tuple[str, bool]:
        """The route of an answered request, and whether its name was made from the path."""
        named = scope.get("route")
        route = getattr(named, "path", None)
        # What has routes of its own, or files, is mounted there: its name is not that of a page.
        if isinstance(route, str) and route and not hasattr(named, "routes"):
            return _mounted(scope) + route, False
        if status == 404:
            # A path nobody serves was written by whoever asked; it is no page of ours to list.
            return "(not found)", False
        path: str = scope["path"]
        found, made = self.named(path)
        if made and (parameters := scope.get("path_params")):
            for name, value in parameters.items():
                path = path.replace(f"/{value}", f"/{{{name}}}")
            found = template(path)
        return found, made

    def named(self, path: str) -> tuple[str, bool]:
        """The route of a path, decoded, and whether its name was made from it."""
        found = self._known(path[:1024]) if self._pattern is not None else ""
        return (found, False) if found else (template(path), True)

    def counted(self, count: Count, made: bool) -> Count:
        """The counter as it may be kept: under "(other)" when the hour has seen too many routes made from paths."""
        if made and self._hourly.place(count.hour, count.route) == "over":
            return count._replace(route=OTHER)
        return count

    def read(self, text: str) -> str | None:
        """The name that we once signed, or None for anything else."""
        if not text or len(text) > MAX_NAME or not text.isprintable():
            return None
        try:
            return self._signer.unsign(text.encode()).decode()
        except (BadSignature, UnicodeError):
            return None

    def _sign(self, route: str) -> str:
        text = self._signer.sign(route.encode("utf-8", "replace")).decode()
        # Too long to carry: then the page's script tells the path.
        return text if len(text) <= MAX_NAME else ""

    def _find(self, path: str) -> str:
        match = self._pattern.fullmatch(path.rstrip("/") or "/") if self._pattern is not None else None
        return self._templates[match.lastindex - 1] if match is not None and match.lastindex else ""


def _mounted(scope: Mapping[str, Any]) -> str:
    """Where the application that named the route is mounted in the one that we wrap, as a template; "" for itself.

    Starlette and FastAPI let the root path grow on the way to it, and keep what it was at first.
    """
    outer, inner = scope.get("app_root_path"), scope.get("root_path", "")
    if not isinstance(outer, str) or len(inner) <= len(outer):
        return ""
    place = f"{inner[len(outer) :]}/"
    for name, value in (scope.get("path_params") or {}).items():
        place = place.replace(f"/{value}/", f"/{{{name}}}/", 1)
    return template(place)


def _regex(text: str) -> str:
    """The paths of a template: ``{name}`` is one part of a path, ``{name:path}`` any number of them."""
    parts = []
    end = 0
    for place in _PLACES.finditer(text):
        parts += [re.escape(text[end : place.start()]), ".+" if place[1] else "[^/]+"]
        end = place.end()
    return "".join([*parts, re.escape(text[end:])])
