"""A site's own templates, rendered at start in the states in which a visitor can meet them.

A template that can't be rendered stops the start with its file and line, one that a regime of this site
forbids with the rule and its source; what is weak is said (judging.py). A site without templates of its
own costs nothing here: ours are looked at by tests. Refuses to know how a page looks, and to repair one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Final

from ..assets import TEMPLATES
from ..choice import Choice
from ..consent import Consent
from ..decision import DENIED_BY_GPC, Decision, decide
from ..errors import SettingsError
from ..lawful import Finding, possible
from ..ledger import Entry, Ledger
from ..stores import open_ledger_store
from ..visitor import Visitor
from .judging import State, judge
from .offered import Offered
from .wishes import ACTIONS

if TYPE_CHECKING:
    from ..site import Site
    from .documents import Documents
    from .render import Renderer
    from .templating import Templating

__all__ = ["Examining"]

_RECEIPT: Final = "a-receipt-to-look-at"
#: what every template is given (templating.py)
_GIVEN: Final = (
    "_",
    "ngettext",
    "lang",
    "dir",
    "site_name",
    "base",
    "gpc",
    "home",
    "css",
    "stylesheet",
    "saved",
    "here",
)
#: pieces and pages that page.html is not around
_UNFRAMED: Final = frozenset({"banner.html", "foot.html", "held.html"})
#: what the pages are seen after: no choice, no choice and a signal, yes to everything, no to everything
_CASES: Final = ((None, False), (None, True), (True, False), (False, False))


class Examining:
    """Looks at the templates of one site."""

    def __init__(self, site: Site, templating: Templating, renderer: Renderer, documents: Documents) -> None:
        self._site = site
        self._templating = templating
        self._renderer = renderer
        self._documents = documents

    def findings(self, pages: Collection[str]) -> list[Finding]:
        """What there is to say about the site's own templates, each thing once; nothing when it has none.

        ``pages``: names of our pages. Raises SettingsError for a template that can't be read or rendered.
        """
        folder = self._site.settings.templates
        own = {path.name for path in folder.glob("*.html")} if folder is not None else set()
        if folder is None or not own:
            return []
        found: dict[tuple[str, str], Finding] = {}
        offers: dict[str, dict[str, set[str]]] = {}
        for name in sorted(own):
            # Also those that no page of ours is made of: who put them there includes them somewhere.
            self._compile(name)
        self._known_words(folder, own)
        kept = Ledger(lambda: open_ledger_store("memory:"))
        row = kept.append(receipt=_RECEIPT, at=self._site.clock(), event="given", method="banner:accept")
        # A page of ours may stand in a frame (page.html) that is the site's.
        framed = "page.html" in own
        for state in self._states(pages):
            for name, make in self._pages(state, row):
                if name not in own and (name in _UNFRAMED or not framed):
                    continue
                offered = self._offered(make)
                for finding in judge(name, offered, state):
                    found.setdefault((finding.key, finding.rule), finding)
                sent = {button.value for button in offered.buttons}
                offers.setdefault(name, {}).setdefault(state.decision.language, set()).update(sent)
        return [*found.values(), *_unlike(offers)]

    def _states(self, pages: Collection[str]) -> Iterator[State]:
        site = self._site
        optional = {p.key: p.kind for p in site.catalogue.purposes.values() if p.optional}
        for regime in sorted(possible(site.settings, site.regions, site.clock())):
            for language in site.settings.languages:
                for yes, gpc in _CASES:
                    decision = self._decided(regime, language, yes, gpc=gpc, optional=frozenset(optional))
                    askable = frozenset(key for key, kind in optional.items() if not gpc or kind not in DENIED_BY_GPC)
                    yield State(decision, askable, site.settings.prefix, pages, ACTIONS)

    def _decided(
        self, regime: str, language: str, yes: bool | None, *, gpc: bool, optional: frozenset[str]
    ) -> Decision:
        site = self._site
        now = site.clock()
        given = Choice(_RECEIPT, now, site.catalogue.fingerprint, optional if yes else frozenset())
        return decide(
            site.catalogue,
            site.regions.regimes[regime],
            None if yes is None else given,
            now=now,
            language=language,
            gpc=gpc,
            notice=site.notices.id,
            valid_for=site.valid_for,
            advanced=site.settings.google_mode == "advanced",
        )

    def _compile(self, name: str) -> None:
        folder = self._site.settings.templates
        try:
            self._templating.environment.get_template(name)
        except Exception as error:
            raise _broken(error, folder, name) from error

    def _known_words(self, folder: Path, own: Collection[str]) -> None:
        """Every page in place of ours asks for what it is given only, also where no state leads to it at start."""
        from jinja2 import meta, nodes

        environment = self._templating.environment
        given = {*environment.globals, *_GIVEN}
        for path in TEMPLATES.glob("*.html"):
            given |= meta.find_undeclared_variables(environment.parse(path.read_text("utf-8")))
        for name in sorted({path.name for path in TEMPLATES.glob("*.html")}.intersection(own)):
            tree = environment.parse((folder / name).read_text("utf-8"))
            unknown = meta.find_undeclared_variables(tree) - given
            for node in tree.find_all(nodes.Name):
                if node.name in unknown:
                    expected = f"{name}, line {node.lineno}: nothing here is called {node.name!r}"
                    raise SettingsError("templates", f"templates that can be rendered, and {expected}")

    def _pages(self, state: State, row: Entry) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Every piece and page of ours in this state, by its template, with what renders it."""
        site, show, base = self._site, self._documents, state.base
        visitor = Visitor.read({"type": "http", "method": "GET", "path": "/", "headers": []}, ())
        consent = Consent(state.decision, base, site, visitor)
        inserts = partial(self._renderer.inserts, base, state.decision, {"method": "GET", "path": "/"}, 200)
        yield "banner.html", lambda: inserts().body
        yield "foot.html", lambda: inserts().foot
        yield "choices.html", lambda: show.choices(consent, saved=True)
        yield "opt_out.html", lambda: show.opt_out(consent, saved=True)
        yield "locale.html", lambda: show.locale(consent, saved=True)
        yield "notice.html", lambda: show.notice(consent)
        yield "receipt.html", lambda: show.receipt(consent, [])
        yield "receipt.html", lambda: show.receipt(consent, [row])
        yield "problem.html", lambda: show.problem(consent, "There is no such page here.")
        for service in site.catalogue.disclosed[:1]:
            yield "unsent.html", partial(show.unsent, consent, service, "/")
            yield "held.html", partial(show.held, consent, service, "/")

    def _offered(self, make: Callable[[], bytes]) -> Offered:
        try:
            return Offered(make().decode())
        except Exception as error:
            raise _broken(error, self._site.settings.templates) from error


def _broken(error: Exception, folder: Path | None, name: str = "") -> SettingsError:
    """What is wrong with which template, and in which line of it: Jinja2 puts that into the trace of the error."""
    path, line = getattr(error, "filename", None), getattr(error, "lineno", None)
    if line is None and folder is not None:
        frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]
        path, line = (frames[-1].filename, frames[-1].lineno) if frames else (folder / name, None)
    place = f"{path}, line {line}" if line else str(path)
    reason = getattr(error, "message", None) or str(error) or type(error).__name__
    return SettingsError("templates", f"templates that can be rendered, and {place} can't: {reason}")


def _unlike(offers: dict[str, dict[str, set[str]]]) -> Iterator[Finding]:
    """Languages in which a page offers less than in another."""
    for name, by_language in offers.items():
        everything = set().union(*by_language.values())
        for language, sent in by_language.items():
            if missing := sorted(filter(None, everything - sent)):
                text = f"the same buttons in every language: {', '.join(missing)} is missing in {language}"
                source = "GDPR art. 12(1); Minn. Stat. 325M: in each language of the service"
                yield Finding(False, "the same in every language", f"templates.{name}", text, source)
