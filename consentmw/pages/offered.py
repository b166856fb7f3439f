"""What a rendered page offers a visitor: buttons and what they send, boxes and whether they are ticked, links.

Reads HTML of a site's own templates, at start. What is hidden from a visitor counts as not there, as
far as the markup alone tells it. Refuses to know stylesheets, laws, and what an offer should be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

__all__ = ["Box", "Button", "Form", "Offered"]

#: elements without an end tag (HTML Standard, 13.1.2)
_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
#: what is in these is not shown, or only without scripts, or only when a script opens it
_UNSEEN: Final = frozenset({"dialog", "noscript", "script", "style", "template"})
_HIDING: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden")


@dataclass(frozen=True, slots=True)
class Form:
    """Where a form leads, and how."""

    action: str
    #: lower case
    method: str


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press: what submits a form, or a link or other element marked as one of ours."""

    #: ``data-consentmw-action``
    mark: str
    name: str
    value: str
    #: its tag
    element: str
    classes: frozenset[str]
    #: what it sends, or None when it sends none
    form: Form | None


@dataclass(frozen=True, slots=True)
class Box:
    """A field that grants one purpose."""

    purpose: str
    #: whether it is granted when the visitor touches nothing
    ticked: bool


class Offered(HTMLParser):
    """The offers of one page, or of a piece of one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.buttons: list[Button] = []
        self.boxes: list[Box] = []
        self.forms: list[Form] = []
        #: addresses of links that can be seen
        self.links: set[str] = set()
        #: whether something names what this is: a heading, or a label of the first element
        self.headed = False
        #: ids of all elements
        self.ids: set[str] = set()
        #: open elements, each with whether it hides what is in it
        self._open: list[tuple[str, bool]] = []
        self._form: Form | None = None
        self._by_id: dict[str, Form] = {}
        #: forms that send an action whatever is pressed, with that action
        self._fixed: list[tuple[Form, str]] = []
        #: attributes of buttons, with tag and surrounding form: which form they name may come after them
        self._pressed: list[tuple[str, dict[str, str], Form | None]] = []
        self.feed(html)
        self.close()
        self.buttons = [self._button(*found) for found in self._pressed]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what this element offers."""
        # Of two attributes of one name a browser takes the first.
        given = {name: value or "" for name, value in reversed(attrs)}
        hidden = any(hides for _, hides in self._open) or _hides(tag, given)
        if tag not in _VOID:
            self._open.append((tag, hidden))
        self.ids.add(given.get("id", ""))
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").strip().lower())
            self.forms.append(self._form)
            self._by_id[given.get("id", "")] = self._form
        if hidden and given.get("type") != "hidden":
            return
        if self._form is not None and (given.get("type"), given.get("name")) == ("hidden", "action"):
            self._fixed.append((self._form, given.get("value", "")))
        self.headed = self.headed or tag in _HEADINGS or bool(given.get("aria-label"))
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if _submits(tag, given) or given.get("data-consentmw-action"):
            self._pressed.append((tag, given, self._form))
        elif given.get("name") == "purpose" and tag in ("input", "select"):
            self._box(tag, given)

    def handle_endtag(self, tag: str) -> None:
        """Leave the innermost open element of this name, and all in it."""
        names = [name for name, _ in self._open]
        if tag in names:
            del self._open[len(names) - 1 - names[::-1].index(tag) :]
        if tag == "form":
            self._form = None

    def _box(self, tag: str, given: dict[str, str]) -> None:
        kind = given.get("type", "text")
        if tag == "select":
            # A list has its first entry chosen until the visitor chooses another.
            self.boxes.append(Box("", ticked="multiple" not in given))
        else:
            ticked = "checked" in given if kind in ("checkbox", "radio") else True
            self.boxes.append(Box(given.get("value", ""), ticked))

    def _button(self, tag: str, given: dict[str, str], around: Form | None) -> Button:
        form = self._by_id.get(given["form"]) if "form" in given else around
        name, value = given.get("name", ""), given.get("value", "")
        for fixed, action in self._fixed:
            if fixed is form and name != "action":
                name, value = "action", action
        if form is not None:
            action, method = given.get("formaction", form.action), given.get("formmethod", form.method)
            form = Form(action, method.strip().lower())
        return Button(
            mark=given.get("data-consentmw-action", ""),
            name=name,
            value=value,
            element=tag,
            classes=frozenset(given.get("class", "").split()),
            form=form if _submits(tag, given) else None,
        )


def _submits(tag: str, given: dict[str, str]) -> bool:
    kind = given.get("type", "").strip().lower()
    if tag == "button":
        return kind not in ("button", "reset")
    return tag == "input" and kind in ("submit", "image")


def _hides(tag: str, given: dict[str, str]) -> bool:
    closed = tag in _UNSEEN or (tag == "details" and "open" not in given)
    off = {"hidden", "inert", "disabled"} & given.keys() or given.get("aria-hidden", "").lower() == "true"
    return closed or bool(off) or bool(_HIDING.search(given.get("style", "").lower()))
