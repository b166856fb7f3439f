"""One HTML response on its way out: what is denied leaves it inert, what is ours is put in its place.

Bytes stream through; only an unfinished tag, or a script that is still to be judged, is held back.
For any division into chunks the output is the same, and for nothing denied and nothing inserted it
is the input. Time is linear in the bytes and memory bounded, whatever the markup.

Refuses to know headers, visitors and decisions: it is given ready rules and ready bytes.
"""

from __future__ import annotations

import re
from typing import Final

from ..consent import Noted
from .loose import LooseAttributes
from .places import Places
from .rules import Rules
from .unknown import Watch
from .view import Edits, View
from .withholding import Withheld, Withholding

__all__ = ["HtmlGate", "Rules", "Withheld"]

#: bytes that may always be searched again with each new chunk; more wait until it is worth it
_CHEAP: Final = 256
#: how often, on average, a byte may be searched again because a tag may just have ended
_PATIENCE: Final = 16
_HEADSTART: Final = 1_048_576
#: what may be written unquoted into a tag without harm under any parse
_PATH: Final = re.compile(rb"/[A-Za-z0-9._~-][A-Za-z0-9/._~-]{0,3000}")


class HtmlGate:
    """The gate for one response: ``feed`` its chunks, then ``close``."""

    __slots__ = ("_arrived", "_base", "_before", "_data", "_edits", "_fresh", "_loose", "_places", "_spent", "_total",
                 "_withholding", "withheld")  # fmt: skip

    def __init__(
        self,
        rules: Rules,
        watch: Watch | None = None,
        /,
        *,
        head: bytes = b"",
        body: bytes = b"",
        foot: bytes = b"",
        frame: bytes = b"",
        form: bytes = b"",
        asks: bool = True,
    ) -> None:
        """``watch``: the look-out for unknown hosts, None where all of them are allowed.

        ``asks``: whether the page may ask a browser for client hints that are not free;
        ``frame``: the path, up to the service's key, of the page shown where a visible frame was withheld;
        ``form``: the same of the page that a withheld form leads to.
        """
        self._withholding: Withholding | None = None
        self._loose: LooseAttributes | None = None
        #: what was made inert so far
        self.withheld = Noted()
        if not rules.empty or watch is not None or not asks:
            self._withholding = Withholding(rules, _plain(frame), form=_plain(form), watch=watch, asks=asks)
            self.withheld = self._withholding.found
            self._loose = LooseAttributes(rules, self.withheld, watch)
        self._places = Places(head, body, foot)
        self._edits = Edits()
        self._data = b""
        self._base = 0
        self._before = b""
        self._arrived: list[bytes] = []
        self._fresh = self._total = self._spent = 0

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that can be sent after this chunk arrived; may be empty."""
        if self._withholding is None and self._places.done and not self._data and not self._arrived:
            return chunk
        self._arrived.append(chunk)
        self._fresh += len(chunk)
        self._total += len(chunk)
        if self._should_wait(chunk):
            return b""
        return self._advance(final=False)

    def close(self) -> bytes:
        """The rest of the response."""
        return self._advance(final=True)

    def _should_wait(self, chunk: bytes) -> bool:
        """Whether searching what is held once more would cost more than it can be worth now.

        Nothing long ends without ``>``, and a stream of many small chunks with many ``>`` must not
        cost quadratic time either: past a fair share, what is held is searched when it has grown.
        """
        held = len(self._data)
        if held < _CHEAP or self._fresh * 8 >= held:
            return False
        return b">" not in chunk or self._spent > _PATIENCE * self._total + _HEADSTART

    def _advance(self, *, final: bool) -> bytes:
        data = b"".join((self._data, *self._arrived)) if self._data or len(self._arrived) != 1 else self._arrived[0]
        self._arrived = []
        self._fresh = 0
        self._spent += len(data)
        view = View(data, data.lower(), self._base, final, self._before)
        cut = self._base + len(data)
        if self._withholding is not None and self._loose is not None:
            cut = self._withholding.scan(view, self._edits)
            cut = min(cut, self._loose.scan(view, self._edits, self._withholding.drawn))
        if not self._places.done:
            cut = min(cut, self._places.scan(view, self._edits))
        out = self._edits.apply(data, self._base, cut)
        sent = cut - self._base
        self._before = data[sent - 1 : sent] or self._before
        self._data = data[sent:]
        self._base = cut
        return out


def _plain(path: bytes) -> bytes:
    return path if _PATH.fullmatch(path) else b""
