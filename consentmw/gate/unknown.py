"""Hosts that nobody named: neither the site's own, nor of a service in the catalogue.

What would load from one is of a kind (script, frame, pixel ...), and for each kind the operator said
one word: withhold it, let it through and report it, or allow it. Whatever is met is noted by kind and
host, so that the operator can name it. Only addresses in attributes that load are judged; what stands
in texts, style sheets and code is not.

Refuses to know visitors, decisions and how an element is made inert.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from html import unescape
from typing import Final

from ..purposes import Catalogue
from .domains import registrable
from .tags import TagAttribute
from .urls import read_address

__all__ = ["EVERY", "UNKNOWN", "Unknown", "Watch", "addresses", "kinds", "link_kinds"]

#: stands where a service's key would: in marks, in counters, in what a page says was withheld
UNKNOWN: Final = "unknown"

#: for what may load anything: a base, or a link that can't be read
EVERY: Final = ("script", "frame", "pixel", "image", "style", "font", "media", "connect", "form")

_STRICTNESS: Final = {"allow": 0, "report": 1, "withhold": 2}
#: different kinds and hosts noted of one response; a page that names more says nothing new by them
_MOST: Final = 100
#: a host name may hold nothing else: the rest are templates of scripts, "${host}" or "' + host + '"
_NO_HOST: Final = re.compile(r"[^a-z0-9._:\[\]\x80-\U0010ffff-]")
#: one candidate of a srcset: an address, then descriptors up to the next comma outside parentheses
_CANDIDATE: Final = re.compile(r"[\s,]*+(\S++)(?:(?<!,)(?>(?:[^,(]++|\([^)]*+\)?)*))?")

_TAGS: Final[Mapping[bytes, str]] = {
    b"script": "script",
    **dict.fromkeys((b"iframe", b"frame", b"embed", b"object"), "frame"),
    **dict.fromkeys((b"img", b"image", b"input", b"use", b"feimage"), "image"),
    **dict.fromkeys((b"source", b"video", b"audio", b"track"), "media"),
}
#: attributes that mean the same on every element
_ATTRIBUTES: Final[Mapping[bytes, str]] = {
    **dict.fromkeys((b"action", b"formaction"), "form"),
    b"attributionsrc": "pixel",
    **dict.fromkeys((b"poster", b"srcset", b"imagesrcset", b"data-srcset"), "image"),
}
_LINKS: Final[Mapping[str, str]] = {
    "modulepreload": "script",
    "prerender": "frame",
    "stylesheet": "style",
    **dict.fromkeys(
        ("icon", "apple-touch-icon", "apple-touch-icon-precomposed", "apple-touch-startup-image", "mask-icon"), "image"
    ),
    **dict.fromkeys(
        ("preconnect", "dns-prefetch", "prefetch", "preload", "manifest", "compression-dictionary"), "connect"
    ),
}
#: what a preload, or a prefetch, is for (``as``); anything else is data
_PRELOADS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("script", "worker", "serviceworker", "sharedworker", "audioworklet", "paintworklet"), "script"),
    **dict.fromkeys(("frame", "iframe", "document", "embed", "object"), "frame"),
    **dict.fromkeys(("audio", "video", "track"), "media"),
    **{word: word for word in ("image", "style", "font")},
}

#: pixels: nobody sees an image that is no larger than this one way
_TINY: Final = 3.0
_DIMENSION: Final = re.compile(r"\s*\+?([0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)(%?)")
_HIDDEN: Final = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))(?![a-z-])")
_SIZES: Final = re.compile(
    r"(?:\A|[;\s])(?:max-)?(?:width|height)\s*:\s*\+?([0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)(px)?(?=[\s;!]|\Z)"
)
_STYLE_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)


class Unknown:
    """The operator's words about unknown hosts, compiled once for a site."""

    __slots__ = ("_below", "_hosts", "catalogue", "idle", "withholds", "words")

    def __init__(self, catalogue: Catalogue, words: Mapping[str, str], own: Iterable[str] = ()) -> None:
        """``words``: withhold, report or allow for each of :data:`EVERY`; ``own``: the site's other hosts.

        ``own`` holds host sources of CSP Level 3, section 2.3.1; their schemes and ports don't matter here.
        """
        self.catalogue = catalogue
        self.words = words
        #: whether everything is allowed: then nobody looks
        self.idle = all(word == "allow" for word in words.values())
        #: whether anything is ever changed in a page
        self.withholds = "withhold" in words.values()
        names = [re.sub(r"\A[a-z]+://|:[0-9*]+\Z", "", source) for source in own]
        self._hosts = frozenset(name for name in names if not name.startswith("*."))
        self._below = tuple(name[1:] for name in names if name.startswith("*."))

    def watch(self, host: str) -> Watch | None:
        """The look-out for one response to a request for ``host``; None when everything is allowed."""
        return None if self.idle else Watch(self, host)

    def named(self, host: str) -> bool:
        """Whether the settings name this host as the site's own."""
        return host in self._hosts or (bool(self._below) and host.endswith(self._below))

    def own(self, host: str, asked: str) -> bool:
        """Whether a host is the site's own for a request to ``asked``: the same, a relative of it, or named so."""
        if host == asked or self.named(host):
            return True
        domain = registrable(asked)
        return domain != "" and host.endswith(domain) and registrable(host) == domain


class Watch:
    """The unknown hosts of one response."""

    __slots__ = ("_host", "_unknown", "seen", "withholds")

    def __init__(self, unknown: Unknown, host: str) -> None:
        self._unknown = unknown
        #: the host that was asked; anybody can make one up, so nothing is compiled for it
        self._host = host
        self.withholds = unknown.withholds
        #: what was met: the word for each kind and host
        self.seen: dict[tuple[str, str], str] = {}

    def withheld(self, of: Collection[str], raw: bytes) -> str:
        """The unknown host that a browser would ask for this attribute value and may not, or "".

        ``of``: the kinds it may be; the strictest word counts. Notes the host whatever becomes of it.
        """
        address = read_address(raw) if of else None
        if address is None or not address.host or _NO_HOST.search(address.host):
            return ""
        host, unknown = _ascii(address.host), self._unknown
        if unknown.own(host, self._host):
            return ""
        if any(unknown.catalogue.knows(host, path) for path in address.paths):
            return ""
        kind = max(of, key=lambda name: _STRICTNESS[unknown.words[name]])
        word = unknown.words[kind]
        if len(self.seen) < _MOST:
            self.seen[kind, host] = word
        return host if word == "withhold" else ""

    def strangers(
        self, tag: bytes, loading: Iterable[TagAttribute], shown: Iterable[TagAttribute], *, odd: bool
    ) -> tuple[str, set[int]]:
        """The first unknown host that a tag would ask and may not, or "", and where the attributes are that name any.

        ``loading``: the attributes by which it loads; ``shown``: those that tell what it is for; ``odd``: whether
        another parse may read them differently.
        """
        # Of two attributes of one name the first counts.
        values = {a.name: a.value for a in reversed(list(shown))}
        first, off = "", set()
        for attribute in loading:
            of = kinds(tag, attribute.name, values, odd=odd)
            hosts = [host for raw in addresses(attribute.name, attribute.value) if (host := self.withheld(of, raw))]
            if hosts:
                off.add(attribute.at)
                first = first or hosts[0]
        return first, off


def _ascii(host: str) -> str:
    """A host as it stands in a Host header."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def addresses(attribute: bytes, raw: bytes) -> Iterable[bytes]:
    """The addresses in an attribute's value: one, or a list as in ``srcset`` and ``ping``."""
    if attribute in (b"ping", b"attributionsrc"):
        return raw.split()
    return _candidates(raw) if attribute.endswith(b"srcset") else (raw,)


def _candidates(raw: bytes) -> Iterator[bytes]:
    """The addresses of a srcset (HTML Standard, "parse a srcset attribute")."""
    for match in _CANDIDATE.finditer(unescape(raw.decode("utf-8", "replace"))):
        yield match[1].rstrip(",").encode("utf-8", "replace")


def kinds(tag: bytes, attribute: bytes, values: Mapping[bytes, bytes], *, odd: bool) -> Collection[str]:
    """What an attribute of a tag loads; () when it loads nothing from its address.

    ``values``: the tag's attributes; ``odd``: whether another parse may read them differently.
    """
    if tag == b"base":
        # Every relative address leads there: it is as strict as the strictest of them.
        return EVERY
    if attribute == b"srcdoc":
        return ()
    if tag == b"link" and attribute == b"href":
        return EVERY if odd else link_kinds(_word(values.get(b"rel", b"")), _word(values.get(b"as", b"")))
    if attribute in _ATTRIBUTES and (tag not in (b"img", b"image") or attribute == b"attributionsrc"):
        return (_ATTRIBUTES[attribute],)
    kind = _TAGS.get(tag)
    if kind is None:
        return ()
    return ("pixel",) if tag in (b"img", b"image") and _unseen(values) else (kind,)


def link_kinds(relations: str, purpose: str) -> Collection[str]:
    """What a link with these relations loads; ``purpose``: its ``as``. Other relations than these load nothing."""
    # A preload is as strict as what it is for.
    fetched = _PRELOADS.get(purpose.strip(), "connect")
    words = relations.split()
    return {fetched if word in ("preload", "prefetch") else _LINKS[word] for word in words if word in _LINKS}


def _unseen(values: Mapping[bytes, bytes]) -> bool:
    """Whether an image is too small to be seen, or hidden, by its attributes and its own style."""
    if b"hidden" in values:
        return True
    for name in (b"width", b"height"):
        size = _DIMENSION.match(_word(values[name])) if name in values else None
        if size is not None and float(size[1]) <= (0 if size[2] else _TINY):
            return True
    style = _STYLE_COMMENT.sub("", _word(values.get(b"style", b"")))
    return bool(_HIDDEN.search(style)) or any(float(size[1]) <= _TINY for size in _SIZES.finditer(style))


def _word(value: bytes) -> str:
    return unescape(value.decode("latin-1")).lower()
