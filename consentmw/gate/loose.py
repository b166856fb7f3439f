"""Switches off attributes that load from any element: ``style``, ``ping`` and ``background``.

They are searched by their own names, not tag by tag: so no parse of the tags around them can hide
one, and pages pay for three plain searches only. The edit is the same as for withheld elements, a
prefix to the name, and does no harm where the name wasn't an attribute.

Refuses to know which element an attribute belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Final

from .rules import Rules
from .tags import BLANK, OFF
from .unknown import UNKNOWN, Watch, addresses
from .view import Edits, View
from .withholding import DEEPEST, LONGEST_TAG, Withheld

__all__ = ["LooseAttributes"]

_WORDS: Final = (b"style", b"ping", b"background")
#: what an address in them is for, where a host that nobody named may be meant
_KINDS: Final = {b"ping": "pixel", b"background": "image"}
#: paint and pointers of SVG, and code that it runs; searched behind the first svg element only
_DRAWN: Final = (
    *(b"mask", b"fill", b"filter", b"stroke", b"cursor", b"clip-path", b"marker-start", b"marker-mid", b"marker-end"),
    b"onload",
)
_BEFORE: Final = b"\t\n\f\r /\"'"
_EQUALS: Final = re.compile(BLANK + rb"(=?)")
_VALUE: Final = re.compile(
    BLANK + rb"=" + BLANK + rb"""(?:"([^"]*+)"|'([^']*+)'|(?!["'])([^\t\n\f\r >]*+)(?=[\t\n\f\r >]))"""
)


def _beginnings(word: bytes) -> re.Pattern[bytes]:
    parts = b"|".join(word[:size] for size in range(len(word), 0, -1))
    return re.compile(rb"(?:\A|(?<=[\t\n\f\r /\"']))(?:" + parts + rb")\Z")


_UNFINISHED: Final = {word: _beginnings(word) for word in (*_WORDS, *_DRAWN)}


class LooseAttributes:
    """The search for denied addresses in attributes of any element, in one response."""

    def __init__(self, rules: Rules, found: list[Withheld], watch: Watch | None = None) -> None:
        self._found = found
        self._watch = watch
        #: whether anything may be changed: what can't be judged is only touched then
        self._strict = not rules.empty or (watch is not None and watch.withholds)
        #: with nothing denied, texts need not be read
        self._words = tuple(_KINDS) if rules.empty else _WORDS
        self._next = dict.fromkeys(self._words, 0)
        self._reach: dict[bytes, list[int]] = {word: [] for word in self._words}
        self._drawn = False
        self._judges: dict[bytes, Callable[[bytes], tuple[str, str] | None]] = {
            **dict.fromkeys((b"style", *_DRAWN), lambda value: rules.style(_read(value))),
            b"onload": rules.markup,
            b"ping": rules.urls,
            b"background": rules.url,
        }

    def scan(self, view: View, edits: Edits, drawn: int | None = None) -> int:
        """Search on; returns the offset of the first byte that can't be sent yet.

        ``drawn``: the offset of the first svg element, None before there is one.
        """
        if drawn is not None and not self._drawn:
            self._drawn = True
            if self._words is _WORDS:
                self._words = (*_WORDS, *_DRAWN)
                self._next |= dict.fromkeys(_DRAWN, drawn)
                self._reach |= {word: [] for word in _DRAWN}
        return min(self._scan(word, view, edits) for word in self._words)

    def _scan(self, word: bytes, view: View, edits: Edits) -> int:
        low, base = view.low, view.base
        at = self._next[word] - base
        while (at := low.find(word, at)) >= 0:
            before = low[at - 1 : at] if at else view.before
            if before and before in _BEFORE and not self._judge(word, view, at, edits):
                break
            at += len(word)
        if at < 0:
            at = len(low)
            unfinished = None if view.final else _UNFINISHED[word].search(low, max(0, at - len(word)))
            if unfinished:
                at = unfinished.start()
        self._next[word] = base + at
        return self._next[word]

    def _judge(self, word: bytes, view: View, at: int, edits: Edits) -> bool:
        """Judge the attribute whose name begins at ``at``; False when more bytes are needed."""
        here, after, limit = view.base + at, at + len(word), at + LONGEST_TAG
        early = len(view.low) < limit
        reach = self._reach[word] = [end for end in self._reach[word] if end > here]
        equals = _EQUALS.match(view.low, after, limit)
        if equals is None or not equals[1]:
            # Only white space so far: a word in a text, unless "=" comes with the next bytes.
            return view.final or equals is None or equals.end() < len(view.low)
        hit = ("", "") if self._strict else None
        if len(reach) < DEEPEST:
            value = _VALUE.match(view.low, after, limit)
            if value is not None:
                hit = self._hit(word, view.data[slice(*value.span(value.lastindex or 1))])
            elif early and not view.final:
                return False
            elif early:
                # The response ends inside a value: what we insert at the end could finish it.
                hit = self._hit(word, view.data[after:].lstrip(_BEFORE + b"="))
            reach.append(view.base + (value.end() if value else limit))
        if hit is not None:
            edits.mark(here, OFF)
            self._found.append(Withheld(hit[0], f"{word.decode()} attribute", hit[1]))
        return True

    def _hit(self, word: bytes, value: bytes) -> tuple[str, str] | None:
        """Service key and host, when this value names a denied service, or a host that nobody named."""
        found = self._judges[word](value)
        if found is None and self._watch is not None and word in _KINDS:
            watch, of = self._watch, (_KINDS[word],)
            hosts = [host for raw in addresses(word, value) if (host := watch.withheld(of, raw))]
            return (UNKNOWN, hosts[0]) if hosts else None
        return found


def _read(value: bytes) -> bytes:
    return unescape(value.decode("latin-1")).encode("latin-1", "replace")
