"""On the way to another site: what goes along in the address, and a page that names the site first.

The page leads on by a link and never by itself, and only to a target that was signed. Refuses to
record anything, and to know who clicks.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from ..decision import granted_kinds
from ..errors import BadToken
from ..gate.redirects import plain
from ..site import Site
from ..tokens import ClickToken
from .documents import Documents
from .exchange import Exchange
from .templating import Templating

__all__ = ["Leaving", "shown_host"]

_PUNYCODE: Final = "xn--"


class Leaving:
    """Answers ``leaving/<token>``, and says where a click-through goes."""

    def __init__(self, site: Site, documents: Documents, templating: Templating) -> None:
        self._site = site
        self._documents = documents
        self._templating = templating
        self._asks = site.settings.leaving == "other sites"
        age = site.settings.token_days * 86_400 or None
        size = 4096 if age is None else 0
        self._read = lru_cache(size)(lambda token: site.tokens.read_click(token, age))

    async def click(self, exchange: Exchange) -> ClickToken | None:
        """The click that stands in the address, None when it leads nowhere and that was answered. Raises BadToken."""
        token: ClickToken = self._read(exchange.rest)
        if not self._site.revoked.covers(exchange.rest, token.campaign):
            return token
        page = self._documents.problem(exchange.consent, "This link is no longer in use.")
        await exchange.html(page, status=410)
        return None

    def location(self, exchange: Exchange, token: ClickToken) -> str:
        """Where to send the browser for this click: to its target, or first to the page that names it."""
        if not self.foreign(exchange, token.url):
            return token.url
        return exchange.consent.url(f"leaving/{exchange.rest}") if self._asks else self._bare(exchange, token.url)

    async def page(self, exchange: Exchange) -> None:
        """GET leaving/<token>: which site is next, and a link to go there."""
        try:
            token = await self.click(exchange)
        except BadToken:
            page = self._documents.problem(
                exchange.consent, "This link is not one of ours, or it was changed on its way."
            )
            await exchange.html(page, status=404)
            return
        if token is not None:
            url = self._bare(exchange, token.url) if self.foreign(exchange, token.url) else token.url
            host, ascii_host = shown_host(_host(token.url) or exchange.visitor.host)
            page = self._templating.page(
                "leaving.html", exchange.consent, here="-", url=url, host=host, ascii_host=ascii_host
            )
            await exchange.html(page)

    def foreign(self, exchange: Exchange, url: str) -> bool:
        """Whether a target is on another site than this one."""
        host = _host(url)
        return bool(host) and not self._site.unknown.own(host, exchange.visitor.host)

    def _bare(self, exchange: Exchange, url: str) -> str:
        """The address without the click identifiers that this visitor has not allowed to pass on."""
        if "?" not in url and "#" not in url:
            return url
        return _plain(url, granted_kinds(self._site.catalogue, exchange.consent.decision))


@lru_cache(maxsize=4096)
def _host(url: str) -> str:
    """The host of a signed target, "" for a path of this site."""
    return (urlsplit(url).hostname or "").rstrip(".")


@lru_cache(maxsize=1024)
def _plain(url: str, kinds: frozenset[str]) -> str:
    return plain(url.encode("ascii"), kinds).decode("ascii")


def shown_host(host: str) -> tuple[str, str]:
    """A host as a person should read it, and its ASCII form where that is another one, else "".

    Letters beyond ASCII are shown only where each part of the name is in one script; a name that mixes scripts, or
    is not written as browsers write it, is shown in ASCII (UTS 39, section 5, "Mixed-Script Detection"). A name in
    one foreign script can still look like another, so the ASCII form stands beside it.
    """
    if _PUNYCODE not in host:
        return host, ""
    labels = []
    for label in host.split("."):
        words = _decoded(label) if label.startswith(_PUNYCODE) else label
        if not words or not _one_script(words):
            return host, ""
        labels.append(words)
    return ".".join(labels), host


def _decoded(label: str) -> str:
    """The letters of a punycode label, "" when it is not exactly what would be written for them."""
    try:
        words = label.removeprefix(_PUNYCODE).encode("ascii").decode("punycode")
        again = _PUNYCODE + words.encode("punycode").decode("ascii")
    except (UnicodeError, ValueError, OverflowError):
        return ""
    plain_words = unicodedata.normalize("NFKC", words).casefold()
    return words if again == label and plain_words == words and not words.isascii() else ""


def _one_script(words: str) -> bool:
    """Whether all letters are of one script, and nothing but letters, digits and hyphens is there."""
    if not all(c == "-" or c.isalpha() or c.isdecimal() or unicodedata.category(c) in ("Mn", "Mc") for c in words):
        return False
    # The first word of a character's name is its script, for every script that host names are written in.
    return len({unicodedata.name(c, c).partition(" ")[0] for c in words if c.isalpha()}) == 1
