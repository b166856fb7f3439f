"""Which addresses, texts and code belong to a service that was denied.

Compiled once for a catalogue and a set of denied services; the same Rules serve every response
that has this set. Refuses to know HTML, visitors, or why a service was denied.
"""

from __future__ import annotations

import re
import sys
from hashlib import blake2b
from html import unescape
from typing import Final

from ..purposes import Catalogue
from .urls import mentions, read_address, unescaped

__all__ = ["Rules"]

#: white space goes, all quotes become one: formatters and minifiers change both, the code stays the same
_QUOTES: Final = bytes.maketrans(b'"`', b"''")
_WHITE: Final = b" \t\n\v\f\r"
#: what a script element in SVG leaves out of its code, where comments and elements are markup
_MARKUP: Final = re.compile(rb"<!--.*?(?:-->|\Z)|<!\[CDATA\[|\]\]>|<[^<>]*+>", re.DOTALL)
#: what a module asks for by its address, once white space is gone and all quotes are one
_IMPORT: Final = re.compile(rb"(?:import|from)(?>(?:/\*.*?\*/|\()*)'([^'\n]++)'")
#: without one of these, style text names no host; all others are relative
_LEAVES: Final = re.compile(rb"/[\t\n\f\r]*+/|\\|&|h[\t\n\f\r]*+t[\t\n\f\r]*+t[\t\n\f\r]*+p|base64", re.IGNORECASE)
_CANDIDATES: Final = re.compile(r"[\s,]+")

#: verdicts on inline code and text that are remembered, by digest; a site has a few dozen snippets
_REMEMBERED: Final = 1024
#: how many bytes of a mark are looked for at once: those of an unsigned int
_GRAM: Final = 4
#: marks up to this many are searched one by one, which is then faster
_FEW: Final = 64


class Rules:
    """What is denied, as the gates ask it."""

    __slots__ = ("_aware", "_catalogue", "_denied", "_grams", "_known", "_marks", "_order", "_short")

    def __init__(self, catalogue: Catalogue, denied: frozenset[str], aware: frozenset[str] = frozenset()) -> None:
        """``aware``: those of the denied services whose consent-aware code may load all the same."""
        self._catalogue = catalogue
        self._denied = denied & catalogue.services.keys()
        #: their addresses: key, host as a host mark has it, and the start of the path
        self._aware = [
            (key, host, slash + path)
            for key in aware
            for mark in catalogue.services[key].cookieless
            if mark in catalogue.services[key].hosts
            for host, slash, path in (mark.partition("/"),)
        ]
        self._marks = [
            (_squeezed(mark.encode()), service.key)
            for service in catalogue.services.values()
            if service.key in self._denied
            for mark in service.inline
            if not mark.isspace() and not (service.key in aware and mark in service.cookieless)
        ]
        self._short = [mark for mark in self._marks if len(mark[0]) < _GRAM]
        self._grams: dict[int, list[tuple[bytes, str]]] = {}
        for mark in self._marks:
            if len(mark[0]) >= _GRAM:
                # By its end, where vendors' marks differ more than at their beginning ("https://cdn.").
                self._grams.setdefault(int.from_bytes(mark[0][-_GRAM:], sys.byteorder), []).append(mark)
        self._order = {mark: place for place, mark in enumerate(self._marks)}
        self._known: dict[bytes, tuple[str, str] | None] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing is denied, so that every page may stay as it is."""
        return not self._denied

    def visible(self, key: str) -> bool:
        """Whether visitors see what this service shows, so that it is missed where it was withheld."""
        service, purposes = self._catalogue.services[key], self._catalogue.purposes
        return service.disclosed and any(purposes[name].kind == "preferences" for name in service.purposes)

    def url(self, raw: bytes) -> tuple[str, str] | None:
        """Service key and host, when a browser would fetch this attribute value from a denied service."""
        address = read_address(raw)
        if address is None:
            return None
        if address.content:
            return self._mentioned(address.content.encode("utf-8", "replace"))
        for path in address.paths:
            if key := self._key(address.host, path):
                return key, address.host
        return None

    def urls(self, raw: bytes) -> tuple[str, str] | None:
        """The same for a list of addresses: ``srcset``, ``ping``; the first denied one decides."""
        whole = self.url(raw)
        if whole is not None:
            return whole
        parts = _CANDIDATES.split(unescape(raw.decode("utf-8", "replace")))
        return next((found for part in parts if (found := self.url(part.encode("utf-8", "replace")))), None)

    def text(self, raw: bytes) -> tuple[str, str] | None:
        """Service key and host of the first denied host that stands in this text, however escaped."""
        return None if self.empty else self._mentioned(raw)

    def style(self, raw: bytes) -> tuple[str, str] | None:
        """Service key and host, when style sheet text names a denied host."""
        return self.text(raw) if _LEAVES.search(raw) else None

    def markup(self, raw: bytes) -> tuple[str, str] | None:
        """The same for an attribute that holds a document or code: a denied host, or denied code ("")."""
        if found := self.text(raw):
            return found
        key = self.code(unescape(raw.decode("latin-1")).encode("latin-1", "replace"))
        return (key, "") if key else None

    def code(self, text: bytes) -> str | None:
        """Key of the first denied service, in catalogue order, whose snippet this inline code is or holds.

        Spacing and the kind of quotes don't matter. The code is read as HTML has it and as SVG has
        it, where character references count and comments don't.
        """
        if not self._marks:
            return None
        digest = blake2b(text, digest_size=16, person=b"code").digest()
        if digest in (known := self._known):
            found = known[digest]
        else:
            key = self._marked(text)
            found = self._remember(digest, (key, "") if key else None)
        return found[0] if found else None

    def _marked(self, text: bytes) -> str | None:
        plain = _squeezed(text)
        if b"&" in text or b"<" in text:
            foreign = unescape(_MARKUP.sub(b"", text).decode("latin-1")).encode("latin-1", "replace")
            # All readings, one search: no mark can reach over the line end between them.
            plain += b"\n" + _squeezed(foreign)
        if b"\\" in text:
            plain += b"\n" + _squeezed(unescaped(text.decode("latin-1")).encode("latin-1", "replace"))
        if b"import" in plain or b"from" in plain:
            imported = (self.url(address) for address in _IMPORT.findall(plain))
            if found := next((hit for hit in imported if hit), None):
                return found[0]
        if len(self._marks) < _FEW:
            return next((key for mark, key in self._marks if mark in plain), None)
        # Four passes see every four bytes in a row as a number; only marks that hold one of them are searched.
        seen: set[int] = set()
        for shift in range(_GRAM):
            seen.update(memoryview(plain)[shift : len(plain) - (len(plain) - shift) % _GRAM].cast("I"))
        likely = [mark for gram in self._grams.keys() & seen for mark in self._grams[gram]]
        marks = [mark for mark in (*likely, *self._short) if mark[0] in plain]
        return min(marks, key=self._order.__getitem__)[1] if marks else None

    def _mentioned(self, raw: bytes) -> tuple[str, str] | None:
        digest = blake2b(raw, digest_size=16, person=b"text").digest()
        if digest in (known := self._known):
            return known[digest]
        named = mentions(raw.decode("utf-8", "replace"))
        hits = ((key, host) for host, path in named if (key := self._key(host, path)))
        return self._remember(digest, next(hits, None))

    def _remember(self, digest: bytes, verdict: tuple[str, str] | None) -> tuple[str, str] | None:
        if len(self._known) >= _REMEMBERED:
            # A new one instead of clear(): another thread may be between looking and reading.
            self._known = {}
        self._known[digest] = verdict
        return verdict

    def _key(self, host: str, path: str) -> str | None:
        service = self._catalogue.service_for_url(host, path)
        if service is None or service.key not in self._denied:
            return None
        for key, name, start in self._aware:
            there = host == name.removeprefix("*.") or (name.startswith("*.") and host.endswith(name[1:]))
            if key == service.key and there and path.startswith(start):
                return None
        return service.key


def _squeezed(code: bytes) -> bytes:
    return code.translate(_QUOTES, _WHITE)
