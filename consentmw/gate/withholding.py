"""Makes the elements of denied services inert, under every parse that a browser may choose.

What a tag is depends on things a server can't see: whether scripts run (``noscript``), how a
browser repairs broken raw text, comments and foreign content. So every ``<`` with the name of a
loading tag counts as one, wherever it stands, even inside a comment, a script or another tag's
attribute. In return an edit must do no harm where it wasn't a tag: edits only ever insert, never a
quote, ``<`` or ``>``; an attribute is switched off by a prefix to its name.

Refuses to know where a document's head and body are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import Final

from ..consent import Noted
from .endings import CODE_END, reopened, swallowed
from .forms import instead
from .handlers import HANDLERS
from .hints import HINTS, asking
from .rules import Rules
from .tags import AFTER_NAME, BLANK, GAP, OFF, REST, TagAttribute, any_of, attributes, reader
from .unknown import UNKNOWN, Watch
from .view import Edits, View

__all__ = ["DEEPEST", "LONGEST_TAG", "Withheld", "Withholding"]

#: longest tag that is held back, in bytes; a longer one goes out under another name, unjudged
LONGEST_TAG: Final = 65_536
#: the same for a tag that is long because of base64 in a data: address, as photos inside pages are
LONGEST_DATA_TAG: Final = 2_097_152
#: a script or style sheet is judged on this many of its first bytes
LONGEST_CODE: Final = 131_072
#: how many tags may lie inside each other's attributes or code; deeper ones go out under another
#: name. Real pages nest two or three; without a bound, nesting would cost quadratic time.
DEEPEST: Final = 16

_ALIAS: Final = b"consentmw-withheld-"
#: no valid rule, so imports behind it still count once the style sheet is switched on
STOP_IMPORTS: Final = b"consentmw%{}"

#: the last ones are read by scripts that load what comes into view
_ADDRESSES: Final = (
    b"src srcset imagesrcset href xlink:href data poster srcdoc attributionsrc action formaction "
    b"data-src data-srcset data-lazy-src"
).split()
_ANIMATED: Final = b"to from by values".split()
_LOADS: Final = frozenset(_ADDRESSES) - {b"action"}
_READ: Final = b"content http-equiv type rel name method target id sandbox".split()
_READER: Final = reader([*_ADDRESSES, *_ANIMATED, *_READ, *HANDLERS])
#: what says of what kind an address is; read only where somebody asks
_SHOWN: Final = reader(b"rel as width height style hidden".split())

_ADDRESS_NAME: Final = any_of(_ADDRESSES) + rb"(?=[\t\n\f\r />=])"
_NAME: Final = rb"[^\t\n\f\r /><][^\t\n\f\r />=<]*+"
_SAFE_VALUE: Final = rb"""(?:"[^"<]*+"|'[^'<]*+'|[^\t\n\f\r "'><][^\t\n\f\r ><]*+(?=[\t\n\f\r >]))"""
_NO_VALUE: Final = rb"(?=[\t\n\f\r />])(?=" + BLANK + rb"[^=])"
#: the rest of a tag without any character that an address of another host needs, and without another tag;
#: values that hold none of them are the most, and their names need not be known
_HARMLESS: Final = (
    rb"(?>(?:" + GAP + rb"(?:" + _NAME + rb"""="[^"<:&\\/]*+(?>(?:/(?![\t\n\f\r /])[^"<:&\\/]*+)*)\""""
    + rb"|(?!" + _ADDRESS_NAME + rb"|on[a-z])" + _NAME + rb"(?:=" + _SAFE_VALUE + rb"|" + _NO_VALUE + rb")))*)"
    + GAP + rb">"
)  # fmt: skip
#: part of the same, as most tags are written, and sooner found: one space, a plain name, a quoted value
_PLAIN_TAG: Final = rb"""(?>(?: [a-z-]++="[^"<:&\\/]*+(?:"|/[^"<:&\\/\t\n\f\r ]++"))*)>"""
#: the same for a meta element: what it says is only read where it stands in for a header
_NO_HEADER: Final = (
    rb"(?>(?:" + GAP + rb"(?!http-equiv[\t\n\f\r />=])" + _NAME + rb"(?:=" + _SAFE_VALUE + rb"|" + _NO_VALUE + rb"))*)"
    + GAP + rb">"
)  # fmt: skip
#: svg and math change how code inside them is read
_FOREIGN: Final = frozenset({b"svg", b"math", b"/svg", b"/math"})
_FRAMES: Final = (b"iframe", b"frame")
#: an id that may stand unquoted in an address in a tag
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_ALWAYS: Final = frozenset({b"script", b"style", b"set", b"animate"}) | _FOREIGN
_WITH_ADDRESS: Final = frozenset(
    b"iframe frame img image input link source video audio track embed object use feimage base form "
    b"button body details marquee meta".split()
)


def _stops() -> re.Pattern[bytes]:
    """Every tag to judge. By first letter: ``re`` then sees from one byte that most tags are none of them."""
    letters: dict[bytes, list[bytes]] = {}
    for name in sorted(_ALWAYS | _WITH_ADDRESS):
        harmless = _NO_HEADER if name == b"meta" else _PLAIN_TAG + rb"|" + _HARMLESS
        unless = rb"" if name in _ALWAYS else rb"(?!" + harmless + rb")"
        letters.setdefault(name[:1], []).append(name[1:] + AFTER_NAME + unless)
    return re.compile(rb"<(?:" + b"|".join(k + rb"(?:" + b"|".join(v) + rb")" for k, v in letters.items()) + rb")")


_STOP: Final = _stops()
_UNFINISHED: Final = re.compile(rb"</?[a-z]{0,8}\Z")
_LONG_DATA: Final = re.compile(rb"data:[a-z0-9.+/-]{3,60}+;base64,[a-z0-9+/=\t\n\f\r ]*+\Z")

#: relations of a link that only name another page; every other one may fetch or connect
_NAMING: Final = frozenset(
    b"alternate amphtml author bookmark canonical editlink external first help index last license me next nofollow "
    b"noopener noreferrer opener prev privacy-policy search self shortlink tag terms-of-service up".split()
)
#: types of script elements that browsers run (HTML Standard, "JavaScript MIME type essence match", and modules)
_RUN: Final = frozenset({b"", b"module"}) | frozenset(
    b"application/ecmascript application/javascript application/x-ecmascript application/x-javascript "
    b"text/ecmascript text/javascript text/javascript1.0 text/javascript1.1 text/javascript1.2 text/javascript1.3 "
    b"text/javascript1.4 text/javascript1.5 text/jscript text/livescript text/x-ecmascript text/x-javascript".split()
)

#: texts of speculation rules; addresses among them are whole
_STRING: Final = re.compile(rb'"([^"]*+)"')


@dataclass(frozen=True, slots=True)
class Withheld:
    """One element, or one attribute, that was made inert."""

    #: catalogue key; "unknown" for a host that nobody named; "" for markup too long or too deep to judge
    service: str
    #: ``script``, ``inline script``, ``iframe``, ``img``, ``style attribute`` ...
    tag: str
    #: "" for inline code
    host: str


class _Wait(Exception):
    """More bytes are needed to judge this tag."""


class Withholding:
    """The search for denied elements in one response."""

    def __init__(self, rules: Rules, frame: bytes = b"", *, form: bytes = b"", watch: Watch | None = None,
                 asks: bool = True) -> None:  # fmt: skip
        """``frame``, ``form``: paths, up to a key, of what stands in for a frame and of where a form leads instead."""
        self._frame, self._form = frame, form
        self._watch, self._asks = watch, asks
        #: whether anything may be changed: what can't be judged is only touched then
        self._strict = not rules.empty or (watch is not None and watch.withholds)
        #: frames withheld so far
        self._frames = 0
        self.found = Noted()
        self._rules = rules
        #: offset of the first byte that was not searched
        self._next = 0
        #: where the tags and code end that reach beyond the current tag
        self._reach: list[int] = []
        #: open svg and math elements
        self._foreign = 0
        #: offset of the first svg element, behind which more attributes load
        self.drawn: int | None = None
        url, urls, text = rules.url, rules.urls, rules.text
        self._judges: dict[bytes, Callable[[bytes], tuple[str, str] | None]] = {
            b"src": url, b"href": url, b"xlink:href": url, b"data": url, b"poster": url,
            b"action": url, b"formaction": url, b"srcset": urls, b"imagesrcset": urls, b"attributionsrc": urls,
            b"data-src": url, b"data-lazy-src": url, b"data-srcset": urls,
            **dict.fromkeys(HANDLERS, rules.markup),
            b"srcdoc": rules.markup, b"content": text, b"to": text, b"from": text, b"by": text, b"values": text,
        }  # fmt: skip

    def scan(self, view: View, edits: Edits) -> int:
        """Search on; returns the offset of the first byte that can't be sent yet."""
        low, base = view.low, view.base
        at = self._next - base
        while stop := _STOP.search(low, at):
            start, at = stop.span()
            reach = self._reach
            name = low[start + 1 : at]
            if name in _FOREIGN:
                if name == b"svg" and self.drawn is None:
                    self.drawn = base + start
                self._foreign += -1 if name.startswith(b"/") else 1
                continue
            try:
                self._judge(view, name, start, at, edits)
            except _Wait:
                # The tag is judged anew from its start, so it must not count as its own surrounding.
                self._reach = reach
                self._next = base + start
                return self._next
        unfinished = None if view.final else _UNFINISHED.search(low, max(at, len(low) - 10))
        self._next = base + (unfinished.start() if unfinished else len(low))
        return self._next

    def _judge(self, view: View, name: bytes, start: int, at: int, edits: Edits) -> None:
        """Judge the tag that begins at ``start`` and whose name ends at ``at``."""
        here = view.base + start
        self._reach = [end for end in self._reach if end > here]
        if len(self._reach) >= DEEPEST:
            self._rename(here, name, edits)
            return
        end = self._end(view, start, at)
        self._reach.append(view.base + end if end else here + LONGEST_TAG)
        if end == 0:
            self._rename(here, name, edits)
            return
        found = attributes(_READER, view.low, view.data, at, end)
        # A tag inside this one's attributes may change where they end; then no attribute excuses it.
        odd = view.low.find(b"<", at, end) >= 0
        denied = [(a, hit) for a in found if (judge := self._judges.get(a.name)) and (hit := judge(a.value))]
        deciding = _deciding(name, found, odd)
        hit = next((hit for a, hit in denied if a.name in deciding), None)
        off = {a.at for a, _ in denied}
        tag = name.decode()
        if self._watch is not None and (loading := [a for a in found if a.name in deciding and a.at not in off]):
            shown = attributes(_SHOWN, view.low, view.data, at, end)
            host, strange = self._watch.strangers(name, loading, shown, odd=odd)
            off |= strange
            # Also where a denied service has its part: what is switched on with it would bring the stranger along.
            hit = (UNKNOWN, host) if host else hit
        if name == b"meta" and not self._asks and (lists := asking(found)):
            hit, off = hit or (HINTS, ""), off | lists
        if name in CODE_END:
            if hit is None:
                hit = self._code(view, name, end, found, odd)
                tag = "inline script" if name == b"script" else tag
            off |= {a.at for a in found if a.name in (b"type", b"src")}
        if hit is not None:
            inert = self._inert(name, hit[0], found, off)
            space = b" " if view.low[at] == 0x2F else b""
            edits.mark(view.base + at, inert + space)
            for offset in off:
                edits.mark(view.base + offset, OFF)
            if name == b"style":
                # Looking ahead, Chromium loads imports whatever the type says, up to whatever is none.
                edits.mark(view.base + end, STOP_IMPORTS)
            self.found.append(Withheld(hit[0], tag, hit[1]))
        for a, (key, host) in denied:
            if a.name in HANDLERS:
                edits.mark(view.base + a.at, OFF)
                self.found.append(Withheld(key, f"{a.name.decode()} attribute", host))

    def _inert(self, name: bytes, key: str, found: list[TagAttribute], off: set[int]) -> bytes:
        """What is written behind the tag's name; the attributes that have to give way to it join ``off``."""
        inert = b" type=text/plain" if name in CODE_END else b""
        inert += b" data-consentmw-service=" + key.encode()
        if name == b"form":
            return inert + instead(self._form, key, found, off)
        if name in _FRAMES:
            # Going back, a browser loads a frame from its history, by its name, whatever it says now:
            # so it gets a name that no page had while the service was allowed, nor another service's frame.
            inert += b" name=consentmw-off-%s-%d" % (key.encode(), self._frames)
            self._frames += 1
            off |= {a.at for a in found if a.name == b"name"}
        if name == b"iframe" and self._frame and key != UNKNOWN and self._rules.visible(key):
            # Of two attributes of one name the first counts: the placeholder's, whatever the page says later.
            # And where on the page it is, if it has a plain name: the visitor is led back to it.
            own = next((b"?" + a.value for a in found if a.name == b"id" and _PLAIN_ID.fullmatch(a.value)), b"")
            inert += b" src=" + self._frame + key.encode() + own
            # What the page forbids the service, our page needs: to send a form, and to lead the visitor on.
            off |= {a.at for a in found if a.name == b"sandbox"}
            if not any(a.name in (b"src", b"srcdoc") and a.at in off for a in found):
                # A script of the page's loads it: when it is switched on, the placeholder has to go.
                inert += b" " + OFF + b"src=about:blank"
        return inert

    def _end(self, view: View, start: int, at: int) -> int:
        """Where the tag ends, or 0 when it is too long, or the response ends inside it.

        No browser loads a tag that isn't finished, but what we insert at the end could finish it.
        """
        if rest := REST.match(view.low, at, start + LONGEST_TAG):
            return rest.end()
        size = len(view.low) - start
        limit = LONGEST_TAG
        if size >= LONGEST_TAG and _LONG_DATA.search(view.low, start, start + LONGEST_TAG):
            if rest := REST.match(view.low, at, start + LONGEST_DATA_TAG):
                return rest.end()
            limit = LONGEST_DATA_TAG
        if size < limit and not view.final:
            raise _Wait
        return 0

    def _code(self, view: View, name: bytes, at: int, found: list[TagAttribute], odd: bool) -> tuple[str, str] | None:
        """The denied service whose code or style sheet begins at ``at``."""
        rules = self._rules
        if name == b"style":
            return None if rules.empty else rules.style(self._content(view, name, at))
        kind = next((a.value for a in found if a.name == b"type"), b"")
        kind = unescape(kind.decode("latin-1")).strip(" \t\n\f\r").lower().encode("latin-1", "replace")
        if kind == b"speculationrules":
            content = self._content(view, name, at)
            return rules.text(content) or self._speculated(content)
        if kind == b"importmap":
            return rules.text(self._content(view, name, at))
        if rules.empty or (kind not in _RUN and not odd):
            return None
        key = rules.code(self._content(view, name, at))
        return (key, "") if key else None

    def _speculated(self, content: bytes) -> tuple[str, str] | None:
        """An unknown host that speculation rules would load a page from."""
        if (watch := self._watch) is None:
            return None
        hosts = [host for text in _STRING.findall(content) if (host := watch.withheld(("script",), text))]
        return (UNKNOWN, hosts[0]) if hosts else None

    def _content(self, view: View, name: bytes, at: int) -> bytes:
        """The code of a script or style element, up to the farthest end tag that a browser may take for its end."""
        limit = at + LONGEST_CODE
        low = view.low
        close = CODE_END[name].search(low, at, limit)
        if close is None and len(low) < limit and not view.final:
            raise _Wait
        end = close.start() if close else limit
        if close and (reopened(low, at, end) or (self._foreign > 0 and swallowed(low, at, end, limit))):
            # The end tag may be part of a comment, of CDATA or of a tag in SVG: the code goes on.
            if len(low) < limit and not view.final:
                raise _Wait
            end = limit
        self._reach.append(view.base + end)
        return view.data[at:end]

    def _rename(self, here: int, name: bytes, edits: Edits) -> None:
        if not self._strict:
            return
        # Joined to the name, not put before it: a space could split another tag's unquoted value in two.
        edits.mark(here + 1, _ALIAS)
        self.found.append(Withheld("", name.decode(), ""))


def _deciding(name: bytes, found: list[TagAttribute], odd: bool) -> frozenset[bytes]:
    """Names of the attributes by which this tag makes a browser load something."""
    if name == b"meta":
        words = b" ".join(_word(a.value) for a in found if a.name == b"http-equiv")
        return frozenset({b"content"}) if b"refresh" in words or b"delegate-ch" in words or odd else frozenset()
    if name == b"form":
        return frozenset({b"action"})
    if name in (b"set", b"animate"):
        return frozenset({b"to", b"from", b"by", b"values"})
    if name == b"link" and not odd:
        kinds = {kind for a in found if a.name == b"rel" for kind in _word(a.value).split()}
        if kinds <= _NAMING:
            return frozenset()
    return _LOADS


def _word(value: bytes) -> bytes:
    return unescape(value.decode("latin-1")).lower().encode("latin-1", "replace")
