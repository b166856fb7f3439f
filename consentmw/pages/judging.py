"""What a rendered page offers, judged: what the regime it is shown under forbids, and what is weak.

Each finding names its rule and where the rule is written down, as those about settings do (lawful.py).
Refuses to render anything, and to judge colours and sizes: those are in stylesheets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..decision import Decision
from ..lawful import ASKS_FIRST, Finding
from .offered import Button, Form, Offered

__all__ = ["State", "judge"]

_TASKFORCE: Final = "EDPB Cookie Banner Taskforce"
_SYMMETRY: Final = "11 CCR 7004(a)(2), symmetry in choice"
_CONSENT: Final = "GDPR art. 4(11)"
_WITHDRAWAL: Final = "GDPR art. 7(3)"
#: pages that take a form only by POST
_POSTED: Final = ("choices", "locale", "held")


@dataclass(frozen=True, slots=True)
class State:
    """One way in which a visitor can meet a page."""

    decision: Decision
    #: keys of the purposes that can be chosen in it
    askable: frozenset[str]
    #: the address of our pages
    base: str
    #: names of our pages, and the actions that the choices take
    pages: Collection[str]
    actions: Collection[str]

    @property
    def asks_first(self) -> bool:
        """Whether nothing optional runs before the visitor said yes."""
        return self.decision.regime in ASKS_FIRST

    def __str__(self) -> str:
        signal = ", with Global Privacy Control" if self.decision.gpc else ""
        return f"{self.decision.regime}, {self.decision.language}{signal}"


@dataclass(frozen=True, slots=True)
class _Judge:
    """Findings about one page in one state."""

    name: str
    offered: Offered
    state: State

    def say(self, forbidden: bool, rule: str, text: str, source: str) -> Finding:
        return Finding(forbidden, rule, f"templates.{self.name}", f"{text} ({self.state})", source)

    def sends(self, action: str) -> list[Button]:
        """The buttons that send this action to the choices."""
        to = f"{self.state.base}/choices"
        return [
            button
            for button in self.offered.buttons
            if button.form is not None
            and button.form.action == to
            and (button.name, button.value) == ("action", action)
        ]

    def links_to(self, page: str) -> bool:
        """Whether a link leads to this page of ours, whatever part of it."""
        address = self.state.base + page
        return any(link.partition("#")[0].partition("?")[0] == address for link in self.offered.links)

    # -- every page ----------------------------------------------------------------------------
    def forms(self) -> Iterator[Finding]:
        """What is pressed must arrive, and must be what the button says."""
        for form in self.offered.forms:
            yield from self._form(form)
        for button in self.offered.buttons:
            yield from self._button(button)

    def _form(self, form: Form) -> Iterator[Finding]:
        page = self._page(form)
        if page is None:
            return
        if page not in self.state.pages:
            wanted = f"a form that leads to one of our pages: there is no {form.action!r}"
            yield self.say(True, "an answer arrives", wanted, "docs/pages.md")
        elif page in _POSTED and form.method != "post":
            wanted = f'method="post" for the form to {form.action!r}: an answer is no part of an address'
            yield self.say(True, "an answer arrives", wanted, "docs/pages.md")

    def _button(self, button: Button) -> Iterator[Finding]:
        mark, form = button.mark, button.form
        taken = sorted(self.state.actions)
        if form is not None and self._page(form) == "choices":
            if button.name != "action" or button.value not in taken:
                wanted = f'a button with name="action" and one of {", ".join(taken)} as its value, not {button.value!r}'
                yield self.say(True, "an answer arrives", wanted, "docs/pages.md")
            elif mark in taken and mark != button.value:
                wanted = f"a button marked {mark!r} that sends it, not {button.value!r}"
                yield self.say(True, "a button does what it says", wanted, f"{_CONSENT}; {_SYMMETRY}")
            elif not mark:
                wanted = f'data-consentmw-action="{button.value}" on the button: our script and audits find it by that'
                yield self.say(False, "marked buttons", wanted, "docs/pages.md")
        elif form is not None and mark in taken:
            wanted = (
                f"the button marked {mark!r} in a form that leads to {self.state.base}/choices, not to {form.action!r}"
            )
            yield self.say(True, "an answer arrives", wanted, "docs/pages.md")

    def _page(self, form: Form) -> str | None:
        """The name of our page that a form leads to, or None for one that is not ours."""
        path = urlsplit(form.action).path
        if path == self.state.base:
            return ""
        below = path.removeprefix(self.state.base + "/")
        return below.partition("/")[0] if below != path else None

    def ticked(self) -> Iterator[Finding]:
        """A box that is ticked although nobody granted that is no consent."""
        decision = self.state.decision
        early = [box.purpose for box in self.offered.boxes if box.ticked and not decision.allows(box.purpose)]
        if early:
            named = ", ".join(sorted(filter(None, early))) or "a purpose"
            wanted = f"nothing granted until the visitor grants it: {named} is ticked before"
            source = f"CJEU C-673/17, Planet49; {_TASKFORCE} B"
            yield self.say(self.state.asks_first, "no pre-ticked purpose", wanted, source)

    # -- the banner ----------------------------------------------------------------------------
    def banner(self) -> Iterator[Finding]:
        """The first layer: refusing as easy as accepting, and both informed."""
        accept, reject = self.sends("accept"), self.sends("reject")
        first = self.state.asks_first
        if not reject and (first or accept):
            link = any(button.mark == "reject" for button in self.offered.buttons)
            wanted = "a button that rejects everything beside the one that accepts"
            wanted += ", not a link or a button without a form" if link else ""
            source = f"{_TASKFORCE} {'C' if link else 'A'}; {_CONSENT}" if first else _SYMMETRY
            yield self.say(first, "reject on the first layer", wanted, source)
        yield from self.ticked()
        if not self.links_to(""):
            wanted = f"a link to the notice, {self.state.base}: nobody consents to what they can't read about"
            # A site may keep its notice at an address of its own: what a link leads to can't be told from here.
            elsewhere = any(not link.startswith(("#", f"{self.state.base}/")) for link in self.offered.links)
            yield self.say(first and not elsewhere, "informed", wanted, f"{_CONSENT}, 13")
        if not self.links_to("/choices") and not self.offered.boxes:
            wanted = f"a link to {self.state.base}/choices, where each purpose can be chosen by itself"
            yield self.say(first, "a choice for each purpose", wanted, _CONSENT)
        yield from self._weak(accept, reject)

    def _weak(self, accept: list[Button], reject: list[Button]) -> Iterator[Finding]:
        for yes, no in zip(accept[:1], reject[:1], strict=False):
            if (yes.element, yes.classes) != (no.element, no.classes):
                wanted = "the same element and classes for accepting and rejecting"
                yield self.say(False, "equal prominence", wanted, f"{_TASKFORCE} C, D, E; {_SYMMETRY}")
        if not self.offered.headed:
            wanted = "a heading or a label: without one, nobody who listens to the page learns what this is"
            yield self.say(False, "a heading", wanted, "WCAG 2.2, 2.4.6")
        if "consentmw" not in self.offered.ids:
            wanted = 'id="consentmw" on the outermost element: our script and audits find the banner by it'
            yield self.say(False, "marked banner", wanted, "docs/pages.md")

    # -- the other pages -----------------------------------------------------------------------
    def choices(self) -> Iterator[Finding]:
        """The second layer: every purpose by itself, and taking back as easy as giving."""
        first = self.state.asks_first
        yield from self.ticked()
        if missing := sorted(self.state.askable - {box.purpose for box in self.offered.boxes}):
            wanted = f'a box with name="purpose" for each purpose: {", ".join(missing)} has none'
            yield self.say(first, "a choice for each purpose", wanted, _CONSENT)
        if not self.sends("save"):
            wanted = "a button that saves what was ticked"
            yield self.say(first, "a choice for each purpose", wanted, _CONSENT)
        if not self.sends("reject") and not self.sends("withdraw"):
            wanted = "a button that rejects or withdraws everything"
            yield self.say(first, "withdrawal as easy as consent", wanted, f"{_WITHDRAWAL}; {_TASKFORCE} K")

    def opt_out(self) -> Iterator[Finding]:
        """The page that ends sale and advertising, while they run."""
        decision = self.state.decision
        if not decision.gpc and decision.allows("advertising") and not self.sends("opt_out"):
            wanted = "a button that opts out of sale and advertising"
            source = "Cal. Civ. Code 1798.135(a); US state privacy laws, see data/regimes.toml"
            yield self.say(decision.regime == "opt_out", "a way to opt out", wanted, source)

    def foot(self) -> Iterator[Finding]:
        """The line of links at the end of each page."""
        if not self.links_to("/choices"):
            wanted = f"a link to {self.state.base}/choices on each page"
            yield self.say(False, "withdrawal as easy as consent", wanted, f"{_WITHDRAWAL}; {_TASKFORCE} K")


def judge(name: str, offered: Offered, state: State) -> Iterator[Finding]:
    """What there is to say about this page in this state; ``name`` is that of its template."""
    page = _Judge(name, offered, state)
    yield from page.forms()
    if name == "banner.html" and state.decision.ask:
        yield from page.banner()
    elif name == "choices.html":
        yield from page.choices()
    elif name == "opt_out.html":
        yield from page.opt_out()
    elif name == "foot.html":
        yield from page.foot()
