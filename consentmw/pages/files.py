"""Our static files, read once at start and named by their content, and /.well-known/gpc.json.

A file's address holds a hash of its bytes, so that a browser may keep it for a year and still gets
a new one after an upgrade. Refuses to look at the disk during a request.
"""

from __future__ import annotations

import hashlib
import json as json_module
from collections.abc import Mapping
from typing import Final

from ..assets import STATIC
from ..site import Site
from .exchange import Exchange

__all__ = ["Files"]

_TYPES: Final = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8", ".svg": b"image/svg+xml"}


#: stands in a script where it is told what is true of the site: once, in a file that browsers keep, not in each page
_FACTS: Final = b"const SITE = {};"


class Files:
    """Answers for files under ``static/`` and for the site's GPC statement."""

    def __init__(self, site: Site) -> None:
        self._bodies: dict[str, tuple[bytes, bytes]] = {}
        #: plain name to name with hash: ``privacy.css`` to ``privacy.1a2b3c4d.css``
        self.names: dict[str, str] = {}
        facts = {"privacy.js": site.storage.facts, "signals.js": site.signals.facts, "gpp.js": site.gpp.facts}
        for path in sorted(STATIC.iterdir()):
            if path.suffix in _TYPES:
                body = path.read_bytes()
                if path.name in facts:
                    body = body.replace(_FACTS, _FACTS[:-3] + _compact(facts[path.name]) + b";", 1)
                name = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:8]}{path.suffix}"
                self.names[path.name] = name
                self._bodies[name] = (_TYPES[path.suffix], body)
        statement = {"gpc": site.listening.gpc, "lastUpdate": site.notices.updated.isoformat()}
        self._statement = json_module.dumps(statement).encode()

    async def static(self, exchange: Exchange) -> None:
        """GET static/<name>: one of our files, to be kept for a year."""
        found = self._bodies.get(exchange.rest)
        if found is None:
            await exchange.plain(404, "There is no such file.")
            return
        kind, body = found
        keep = (b"cache-control", b"public, max-age=31536000, immutable")
        headers = [(b"content-type", kind), keep, (b"x-content-type-options", b"nosniff")]
        await exchange.answer(200, body, headers)

    async def gpc(self, exchange: Exchange) -> None:
        """GET /.well-known/gpc.json: that the site abides by Global Privacy Control (W3C GPC, GPC Support Resource)."""
        keep = (b"cache-control", b"public, max-age=86400")
        headers = [(b"content-type", b"application/json"), keep, (b"access-control-allow-origin", b"*")]
        await exchange.answer(200, self._statement, headers)


def _compact(facts: Mapping[str, object]) -> bytes:
    return json_module.dumps(facts, separators=(",", ":")).encode("ascii")
