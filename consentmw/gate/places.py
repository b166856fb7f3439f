"""Where a document's head and body begin and its body ends, in the parse that browsers normally make.

A small reading of the HTML Standard's tree construction (13.2.6): comments, raw text and quoted
attributes are passed over, omitted tags are found where the parser would imply them, scripting is
taken to be on. What isn't a document (a fragment for an already open page) has no such places.

Refuses to know what is inserted, and what is withheld.
"""

from __future__ import annotations

import re
from typing import Final

from .tags import AFTER_NAME, ATTRIBUTE, BLANK, COMMENT, GAP, REST
from .view import Edits, View

__all__ = ["Places"]

_BOGUS: Final = rb"<(?:[?]|!(?!--)|/(?![a-z]))[^>]*+>"
_RAW: Final = rb"script|style|title|textarea|noscript|iframe|noembed|noframes|xmp|plaintext"
#: tags that neither open the body nor change how what follows is read
_QUIET: Final = (
    rb"<(?:html|meta|link|base|basefont|bgsound|/(?!body|html|br|template)[a-z][^\t\n\f\r />]*+)" + AFTER_NAME
)

_SKIP_PROLOG: Final = re.compile(rb"(?>(?:\xef\xbb\xbf|[\t\n\f\r ]++|" + COMMENT + rb"|<[?][^>]*+>)*)")
_SKIP_HEAD: Final = re.compile(
    rb"(?>(?:[\t\n\f\r ]++|" + COMMENT + rb"|" + _BOGUS + rb"|" + _QUIET + REST.pattern + rb")*)"
)
_SKIP_BODY: Final = re.compile(
    rb"(?>(?:[^<]++|<(?!(?:" + _RAW + rb"|/body)" + AFTER_NAME + rb")/?[a-z][^\t\n\f\r />]*+" + REST.pattern
    + rb"|" + COMMENT + rb"|" + _BOGUS + rb"|<(?=[^a-z/!?]))*)"
)  # fmt: skip
_NAME: Final = re.compile(rb"<(/?[a-z][^\t\n\f\r />]*+)" + AFTER_NAME)
_ATTRIBUTES: Final = re.compile(rb"(?>(?:" + ATTRIBUTE + rb")*)" + GAP)
_OPEN_VALUE: Final = re.compile(rb"[^\t\n\f\r />][^\t\n\f\r />=]*+" + BLANK + rb"=" + BLANK + rb"([^\t\n\f\r ])")
_DOCTYPE: Final = re.compile(rb"<!doctype[\t\n\f\r >]")

_COMMENT_END: Final = re.compile(rb"--!?>")
_BOGUS_END: Final = re.compile(rb">")
#: ends of a value, by its first byte; an unquoted one ends before white space
_VALUE_ENDS: Final = {b'"': re.compile(rb'"'), b"'": re.compile(rb"'")}
_UNQUOTED_END: Final = re.compile(rb"(?=[\t\n\f\r >])")
_RAW_ENDS: Final = {name: re.compile(rb"(?=</" + name + AFTER_NAME + rb")") for name in _RAW.split(b"|")}
#: nothing ends plaintext
_RAW_ENDS[b"plaintext"] = re.compile(rb"(?!)")

#: elements that a head may hold; the start of any other begins the body
_IN_HEAD: Final = frozenset(
    b"html head meta link base basefont bgsound script style title noscript noframes template".split()
)
_DOCUMENT: Final = frozenset({b"html", b"head", b"body"})

#: enough bytes to know an end tag of raw text, or the start of a document, when it is cut off
_LOOKAHEAD: Final = 12


class Places:
    """Inserts into one document while it streams by."""

    def __init__(self, head: bytes, body: bytes, foot: bytes) -> None:
        self._head, self._body, self._foot = head, body, foot
        #: nothing is left to insert, or nothing can be
        self.done = not (head or body or foot)
        self._next = 0
        self._stage = "prolog"
        #: what the reader is inside of: the pattern of its end, or None between tags
        self._until: re.Pattern[bytes] | None = None
        self._in_tag = False
        #: what follows the end of the tag that is being read
        self._insert = b""
        self._enter: re.Pattern[bytes] | None = None
        #: open template elements; their content belongs to no body
        self._templates = 0

    def scan(self, view: View, edits: Edits) -> int:
        """Read on; returns the offset of the first byte that can't be sent yet."""
        base, size = view.base, len(view.low)
        at = self._next - base
        moved = True
        while moved and not self.done:
            before = at, self._in_tag, self._until, self._stage
            if self._until is not None:
                at = self._pass(view, at)
            elif self._in_tag:
                at = self._attributes(view, at, edits)
            else:
                at = self._between(view, at, edits)
            moved = before != (at, self._in_tag, self._until, self._stage)
        if self.done:
            return base + size
        if view.final:
            self._finish(edits, base + size)
            return base + size
        self._next = base + at
        return self._next

    def _finish(self, edits: Edits, end: int) -> None:
        """The document ended before its places came: browsers imply them there."""
        self.done = True
        if self._stage == "prolog":
            return
        edits.place(end, self._insert + (self._head + self._body if self._stage == "head" else b"") + self._foot)

    def _pass(self, view: View, at: int) -> int:
        """Inside a comment, raw text or a value: on to its end."""
        assert self._until is not None  # noqa: S101 - the caller asked; the type checker has to know
        end = self._until.search(view.low, at)
        if end is None:
            return max(at, len(view.low) - _LOOKAHEAD)
        self._until = None
        return end.end()

    def _attributes(self, view: View, at: int, edits: Edits) -> int:
        """Inside a tag: on to its end, or to the value that the bytes end in."""
        match = _ATTRIBUTES.match(view.low, at)
        at = match.end() if match else at
        if view.low[at : at + 1] == b">":
            at += 1
            self._in_tag = False
            self._until, self._enter = self._enter, None
            if self._insert:
                edits.place(view.base + at, self._insert)
                self._insert = b""
            if self._stage == "body" and not self._foot:
                self.done = True
        elif value := _OPEN_VALUE.match(view.low, at):
            quoted = _VALUE_ENDS.get(value[1])
            self._until = quoted or _UNQUOTED_END
            return value.end() if quoted else value.start(1)
        return at

    def _between(self, view: View, at: int, edits: Edits) -> int:
        """Between tags: on to the next one that matters."""
        skip = {"prolog": _SKIP_PROLOG, "head": _SKIP_HEAD}.get(self._stage, _SKIP_BODY).match(view.low, at)
        at = skip.end() if skip else at
        rest = view.low[at : at + _LOOKAHEAD]
        if not rest:
            return at
        if name := _NAME.match(view.low, at):
            return self._tag(view, at, name, edits)
        if self._cut_off(rest):
            return at
        if rest.startswith(b"<!--"):
            self._until = _COMMENT_END
            return at + 4
        if self._stage == "prolog" and not rest.startswith(b"<?"):
            self._stage = "head" if _DOCTYPE.match(rest) else self._stage
            self.done = self._stage == "prolog"
            return at
        if rest.startswith((b"<!", b"<?", b"</")):
            self._until = _BOGUS_END
            return at
        if self._templates:
            following = view.low.find(b"<", at + 1)
            return following if following >= 0 else len(view.low)
        self._begin_body(view.base + at, edits)
        return at

    def _cut_off(self, rest: bytes) -> bool:
        """Whether only more bytes can tell what this is the beginning of."""
        if rest in (b"<", b"</", b"<!", b"<!-", b"<!--", b"<!---"):
            return True
        if self._stage == "prolog" and (b"<!doctype ".startswith(rest) or b"\xef\xbb\xbf".startswith(rest)):
            return True
        # A tag's name, or _NAME would have matched.
        return rest[:1] == b"<" and rest[1:3].lstrip(b"/")[:1].isalpha()

    def _begin_body(self, offset: int, edits: Edits) -> None:
        edits.place(offset, self._head + self._body)
        self._head = self._body = b""
        self._stage = "body"
        self.done = not self._foot

    def _tag(self, view: View, at: int, match: re.Match[bytes], edits: Edits) -> int:
        """A tag begins at ``at``: act on its name, then read its attributes."""
        name = match[1]
        offset = view.base + at
        if self._stage == "prolog":
            if name not in _DOCUMENT:
                self.done = True
                return at
            self._stage = "head"
        if name in (b"template", b"/template"):
            self._templates = max(0, self._templates + (-1 if name.startswith(b"/") else 1))
        elif self._stage == "head" and not self._templates:
            self._tag_in_head(name, offset, edits)
        if self._stage == "body" and name == b"/body":
            edits.place(offset, self._foot)
            self.done = True
        if self.done:
            return at
        self._enter = _RAW_ENDS.get(name)
        self._in_tag = True
        return match.end()

    def _tag_in_head(self, name: bytes, offset: int, edits: Edits) -> None:
        if name == b"head":
            self._insert, self._head = self._head, b""
        elif name == b"body":
            if self._head:
                edits.place(offset, self._head)
            self._insert, self._head, self._body = self._body, b"", b""
            self._stage = "body"
        elif name == b"frameset":
            # A page of frames has no body to put anything into.
            edits.place(offset, self._head)
            self.done = True
        elif name in (b"/body", b"/html", b"/br") or (name not in _IN_HEAD and not name.startswith(b"/")):
            self._begin_body(offset, edits)
