"""The headers of a response, without what lacks consent: one gate that calls the rooms for each of them.

Refuses to know bodies, and the headers that only say how long a page may be kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import quote

from starlette.types import Message

from ..consent import Consent
from ..purposes import Catalogue
from ..visitor import Visitor
from . import redirects
from .cookies import filter_set_cookie
from .headers import rewritten, without
from .hints import ASKING, free
from .html import Rules, Withheld
from .links import LINKS, filter_links
from .reporting import REPORTING, filter_reporting
from .unknown import Watch

__all__ = ["JUDGED", "HeaderGate"]

logger = logging.getLogger("consentmw")

#: headers that may carry what lacks consent
JUDGED: Final = LINKS | REPORTING | ASKING | {b"set-cookie", b"refresh", b"location"}

_Headers = list[tuple[bytes, bytes]]


class HeaderGate:
    """What a visitor's decision means for the headers of one response."""

    __slots__ = ("_catalogue", "_consent", "_kinds", "_own", "_rules", "_visitor", "_watch", "refused")

    def __init__(
        self,
        consent: Consent,
        catalogue: Catalogue,
        rules: Rules,
        *,
        visitor: Visitor,
        kinds: frozenset[str],
        own: Callable[[str], bool],
        watch: Watch | None,
    ) -> None:
        """``kinds``: the kinds of purpose that were granted; ``own``: whether a host is the site's own."""
        self._consent = consent
        self._catalogue = catalogue
        self._rules = rules
        self._visitor = visitor
        self._kinds = kinds
        self._own = own
        self._watch = watch
        #: key of the service that a redirect was refused for
        self.refused = ""

    @property
    def guards(self) -> bool:
        """Whether there are hosts that this visitor's browser must not be sent to."""
        return self._watch is not None or bool(self._consent.decision.denied)

    @property
    def asks(self) -> bool:
        """Whether the site may ask a browser for more than it tells by itself."""
        return "analytics" in self._kinds

    def judge(self, headers: _Headers, found: Collection[bytes], status: int) -> _Headers:
        """The headers without what lacks consent; ``found``: which of :data:`JUDGED` are among them."""
        denied = self._consent.decision.denied
        if denied and b"set-cookie" in found:
            headers, dropped = filter_set_cookie(headers, self._catalogue, denied)
            self._consent.dropped_cookies.extend(dropped)
        if self.guards and not LINKS.isdisjoint(found):
            headers, _ = filter_links(headers, self._rules, self._watch)
        if denied and not REPORTING.isdisjoint(found):
            headers, _ = filter_reporting(headers, self._rules)
        if not self.asks and not ASKING.isdisjoint(found):
            headers = free(headers)
        if b"refresh" in found:
            headers = redirects.filter_refresh(headers, self._rules, self._kinds, self._own)
        if b"location" in found and status in redirects.FOLLOWED:
            headers = self._redirected(headers)
        return headers

    def _redirected(self, headers: _Headers) -> _Headers:
        """The headers of a redirect. Sets ``refused`` when it would load a service without consent."""
        kept: _Headers = []
        depends = False
        for name, value in headers:
            to = redirects.address(value) if name.lower() == b"location" else None
            if to is not None:
                hit = self._rules.url(redirects.literal(value))
                wanted = redirects.loads(self._visitor.headers)
                if hit is not None and wanted:
                    self.refused = hit[0]
                    self._consent.withheld.append(Withheld(hit[0], "redirect", hit[1]))
                    logger.info("a redirect of a request for %s to %s was refused", wanted, hit[1])
                depends = depends or any(self._catalogue.service_for_url(to.host, path) for path in to.paths)
                if not self._own(to.host):
                    depends = depends or redirects.plain(value, frozenset()) != value
                    value = redirects.plain(value, self._kinds)
            kept.append((name, value))
        return redirects.unstored(kept) if depends else kept

    def refusal(self, start: Message, headers: _Headers) -> Message:
        """The start of the answer in place of a redirect that was refused: nothing, or our page in its frame."""
        headers = redirects.unstored(
            without(rewritten(headers), b"location", b"content-type", b"etag", b"last-modified", b"refresh")
        )
        if redirects.loads(self._visitor.headers) in ("iframe", "frame") and self._rules.visible(self.refused):
            page = quote(self._consent.url(f"held/{self.refused}"), safe="/~")
            headers += [(b"location", page.encode("ascii")), (b"content-length", b"0")]
            return {**start, "status": 303, "headers": headers, "trailers": False}
        # No content is what a script, a style sheet and a request of a script take without an error.
        return {**start, "status": 204, "headers": headers, "trailers": False}
