"""Where the links are in the HTML of an e-mail, down to the byte, so that the rest can stay as it is.

Tags are read as browsers read them (tags.py in the gate has the grammar), with one addition: what
stands inside a conditional comment is markup for Outlook, so links are found there, too. Time is
linear in the bytes, whatever the markup. Refuses to know what a link should become.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from html.entities import html5
from typing import Final

from ..gate.tags import AFTER_NAME, BLANK, COMMENT, GAP

__all__ = ["MARKER", "Link", "Markup", "read_markup"]

#: what a mail has where the link to the choices shall stand
MARKER: Final = re.compile(rb"\{\{[ \t]*+privacy_choices[ \t]*+\}\}")

_NEXT: Final = re.compile(rb"<(?:(!--)|(/?)([a-z][^\t\n\f\r />]*+)|[!?/])")
_ATTRIBUTE: Final = re.compile(
    GAP + rb"([^\t\n\f\r />][^\t\n\f\r />=]*+)"
    # An equals sign without a whole value: the tag is not complete, and must not be read otherwise.
    rb"(?:" + BLANK + rb"=" + BLANK + rb"""(?:"([^"]*+)"|'([^']*+)'|(?!["'])([^\t\n\f\r >]*+))|(?!""" + BLANK + rb"=))"
)
_END: Final = re.compile(GAP + rb">")
_COMMENT: Final = re.compile(COMMENT)
#: opens markup that only Outlook reads: <!--[if mso]>, <!--[if (gte mso 9)|(IE)]>
_CONDITION: Final = re.compile(rb"<!--[\t\n\f\r ]*+\[if\b[^\]>]*+\]>")

#: elements whose content is text until their end tag
_TEXTUAL: Final = {
    name: re.compile(rb"</" + name + AFTER_NAME)
    for name in (b"iframe", b"noembed", b"noframes", b"script", b"style", b"textarea", b"title", b"xmp")
}
_REFERENCE: Final = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*;?)(?=(=?))")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a mail."""

    #: where the address stands, in bytes: without its quotes
    start: int
    end: int
    #: the address, with its character references resolved
    url: str
    #: what ``data-link`` calls it, or ""
    name: str


@dataclass(slots=True)
class Markup:
    """What was found in a mail."""

    #: in their order
    links: list[Link] = field(default_factory=list)
    #: forms, of which a redirect would lose what was filled in
    forms: list[Link] = field(default_factory=list)
    #: the markers, and whether one stands inside a tag
    markers: list[tuple[int, int, bool]] = field(default_factory=list)
    #: addresses of images
    images: list[str] = field(default_factory=list)
    #: where the content ends: at the end tag of the body or of the document, else at the end
    end: int = 0
    #: of the html element, or ""
    language: str = ""
    #: whether a link of ours for programs is in it already
    trapped: bool = False


def read_markup(data: bytes) -> Markup:
    """What is in the HTML of a mail, in any encoding that keeps ASCII. Never raises."""
    reader = _Reader(data)
    reader.read(0, len(data))
    return reader.finished()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._low = data.lower()
        self._found = Markup()
        self._inside = False
        self._ends: dict[bytes, int] = {}

    def finished(self) -> Markup:
        self._found.end = self._ends.get(b"body", self._ends.get(b"html", len(self._data)))
        return self._found

    def read(self, at: int, end: int) -> None:
        """Read from ``at`` on; nothing begins at ``end`` or after it."""
        while at < end:
            match = _NEXT.search(self._low, at, end)
            self._markers(at, match.start() if match else end, tag=False)
            if match is None:
                return
            start = match.start()
            if match[1]:
                at = self._comment(start, end)
            elif match[3]:
                at = self._tag(match, end)
            else:
                # What no parser knows is a comment up to the next ">".
                close = self._low.find(b">", start, end)
                at = close + 1 if close >= 0 else end

    def _comment(self, start: int, end: int) -> int:
        """Where to go on after a comment that starts here."""
        if condition := _CONDITION.match(self._low, start, end):
            if self._inside:
                return condition.end()
            close = self._low.find(b"-->", condition.end(), end)
            stop = close if close >= 0 else end
            self._inside = True
            self.read(condition.end(), stop)
            self._inside = False
            return min(stop + 3, end)
        comment = _COMMENT.match(self._low, start, end)
        return comment.end() if comment else end

    def _tag(self, begun: re.Match[bytes], end: int) -> int:
        """Where to go on after a tag of which this is the beginning; one without an end is the last."""
        start, at, name = begun.start(), begun.end(), begun[3]
        attributes: dict[bytes, tuple[int, int]] = {}
        while match := _ATTRIBUTE.match(self._low, at, end):
            at = match.end()
            if match.lastindex and match.lastindex > 1:
                # Of two attributes with one name the first counts.
                attributes.setdefault(match[1], match.span(match.lastindex))
        close = _END.match(self._low, at, end)
        if close is None:
            return end
        at = close.end()
        self._markers(start, at, tag=True)
        if begun[2]:
            if not self._inside:
                self._ends[name] = start
            return at
        self._element(name, attributes)
        if name == b"plaintext":
            return end
        if textual := _TEXTUAL.get(name):
            ended = textual.search(self._low, at, end)
            return ended.start() if ended else end
        return at

    def _element(self, name: bytes, attributes: dict[bytes, tuple[int, int]]) -> None:
        found = self._found
        if name in (b"a", b"area") or name.startswith(b"v:"):
            if b"href" in attributes:
                found.links.append(self._link(attributes[b"href"], self._text(attributes, b"data-link")))
            found.trapped = found.trapped or self._text(attributes, b"data-consentmw") == "trap"
        elif name == b"form" and b"action" in attributes:
            found.forms.append(self._link(attributes[b"action"], ""))
        elif name == b"img" and b"src" in attributes:
            found.images.append(self._text(attributes, b"src"))
        elif name == b"html" and not found.language:
            found.language = self._text(attributes, b"lang")

    def _link(self, span: tuple[int, int], name: str) -> Link:
        return Link(*span, self._value(span), name)

    def _text(self, attributes: dict[bytes, tuple[int, int]], name: bytes) -> str:
        return self._value(attributes[name]).strip() if name in attributes else ""

    def _value(self, span: tuple[int, int]) -> str:
        return _resolved(self._data[slice(*span)].decode("utf-8", "surrogateescape"))

    def _markers(self, start: int, end: int, *, tag: bool) -> None:
        self._found.markers += [(*match.span(), tag) for match in MARKER.finditer(self._data, start, end)]


def _resolved(value: str) -> str:
    """The value with its character references resolved, as in an attribute: ``?a=1&copy=2`` holds none of them.

    HTML Standard, 13.2.5.73: a name without a semicolon counts only where neither "=" nor a letter or digit follows.
    """

    def one(match: re.Match[str]) -> str:
        said = match[0]
        if said[1] == "#" or said.endswith(";"):
            # A name that only begins like one that is known is none here.
            return unescape(said) if said[1] == "#" or said[1:] in html5 else said
        return unescape(said) if said[1:] in html5 and not match[1] else said

    return _REFERENCE.sub(one, value) if "&" in value else value
