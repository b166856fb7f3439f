"""Templates to bytes: the banner, the line of links and our own pages, in the visitor's language.

The banner is rendered once for each state it can be in and remembered; a request only puts its own
path into it. Jinja2, Babel and the Markdown parser are loaded at the first page, not at import.
Refuses to decide anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

from itsdangerous.encoding import base64_encode
from starlette.types import Scope

from ..assets import TEMPLATES
from ..consent import Consent
from ..decision import DENIED_BY_GPC, Decision, showable
from ..gate.response import Inserts
from ..i18n import Texts
from ..notices import to_html
from ..purposes import Service
from ..site import Site
from .files import Files

if TYPE_CHECKING:
    from jinja2 import Environment

    from ..ledger import Entry

__all__ = ["Renderer"]

#: stands in the rendered banner where the path of the page goes; nothing in a template looks like it
_RETURN: Final = "consentmw-return-here"

#: banner states remembered; each is about 5 kB
_REMEMBERED: Final = 512


#: for the head, tags in it that a page may have already, for the start of the body around its path, for its end
_Parts: TypeAlias = tuple[bytes, tuple[tuple[bytes, ...], ...], tuple[bytes, ...], bytes]


class Renderer:
    """Renders every page and insert of one site."""

    def __init__(self, site: Site, files: Files) -> None:
        self._site = site
        self._files = files
        self._texts = Texts()
        self._inserts: dict[tuple[str, str], _Parts] = {}

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

        own = self._site.settings.templates
        loaders = [FileSystemLoader(path) for path in (own, TEMPLATES) if path is not None]
        return Environment(
            loader=ChoiceLoader(loaders),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )

    # -- what goes into other pages ------------------------------------------------------------
    def inserts(self, base: str, decision: Decision, scope: Scope) -> Inserts:
        """The pieces for a document of the application: style and script, banner, links."""
        head, own, banner, foot = self._parts(base, decision)
        path = _return_path(scope)
        # The page is named in the frame's address: not every site lets its pages say where they are (Referer).
        page = base64_encode(path) + b"/" if path else b""
        frame, form = (f"{base}/{name}/".encode("ascii", "replace") + page for name in ("held", "form"))
        body = escape(path, quote=True).encode("ascii").join(banner)
        return Inserts(head, body, foot, frame=frame, own=own, form=form)

    def shown(self, consent: Consent, surface: str, service: str = "") -> str:
        """sha256 of what the visitor saw when choosing: the banner, the page of choices, or a frame's placeholder."""
        if surface == "choices":
            page = self.choices(consent, saved=False)
        elif surface == "opt_out":
            page = self.opt_out(consent, saved=False)
        elif surface == "placeholder" and (held := self._site.catalogue.services.get(service)) is not None:
            page = self.held(consent, held, "/")
        else:
            page = _RETURN.encode().join(self._parts(consent.url(), consent.decision)[2])
        return hashlib.sha256(page).hexdigest()

    def _parts(self, base: str, decision: Decision) -> _Parts:
        key = (base, decision.state)
        known = self._inserts.get(key)
        if known is None:
            if len(self._inserts) >= _REMEMBERED:
                self._inserts.clear()
            known = self._inserts[key] = self._render_parts(base, decision)
        return known

    def _render_parts(self, base: str, decision: Decision) -> _Parts:
        settings = self._site.settings
        banner = foot = ""
        if decision.ask:
            kinds = self._site.regions.regimes[decision.regime].granted
            asks_region = not decision.region and decision.region_source == "unknown"
            banner = self._render(
                "banner.html",
                base,
                decision,
                position=settings.banner_position,
                defaults=bool(kinds - {"necessary", "preferences"}),
                early=bool(decision.cookieless),
                regions=settings.region_choices if asks_region else (),
                return_mark=_RETURN,
            )
        if settings.footer:
            foot = self._render("foot.html", base, decision)
        keeping = self._site.storage.keeping(decision)
        keep = "" if keeping is None else f' data-keep="{keeping}"'
        tags, own = self._site.signals.head(decision, self._file(base, "signals.js"))
        style = f'<link rel="stylesheet" href="{escape(self._file(base, "privacy.css"))}" data-consentmw>'
        script = f'<script src="{escape(self._file(base, "privacy.js"))}" data-consentmw{keep} defer></script>'
        return f"{style}{tags}{script}".encode(), own, tuple(banner.encode().split(_RETURN.encode())), foot.encode()

    # -- our own pages -------------------------------------------------------------------------
    def choices(self, consent: Consent, *, saved: bool) -> bytes:
        """The page of purposes and services."""
        decision = consent.decision
        purposes = [
            {**purpose, "granted": decision.allows(purpose["key"]), "locked": _locked(purpose, decision)}
            for purpose in self._purposes()
        ]
        granted = any(p["optional"] and p["granted"] for p in purposes)
        return self._page(
            "choices.html",
            consent,
            here="/choices",
            saved=saved,
            purposes=purposes,
            receipt=decision.receipt,
            withdrawable=bool(decision.receipt) and granted,
            regime_name=self._regime_name(decision),
        )

    def opt_out(self, consent: Consent, *, saved: bool) -> bytes:
        """The page of the rights to say no: sale and advertising, sensitive data, other companies, messages."""
        site, decision = self._site, consent.decision
        translate = self._texts.for_language(consent.language).gettext
        purposes = site.catalogue.purposes.values()
        others = [(s.name, s.opt_out_url) for s in site.catalogue.disclosed if s.opt_out_url]
        law = site.regions.law(decision.region, site.clock())
        return self._page(
            "opt_out.html",
            consent,
            here="/opt-out",
            saved=saved,
            running=[translate(p.title) for p in purposes if p.kind in DENIED_BY_GPC and decision.allows(p.key)],
            receipt=decision.receipt,
            others=list(dict.fromkeys([*others, *_INDUSTRY])),
            contact=site.settings.contact,
            region=decision.region,
            law=law.source if law.confidence != "site" else "",
        )

    def locale(self, consent: Consent, *, saved: bool) -> bytes:
        """The page of the language and region selector."""
        settings = self._site.settings
        languages = [{"tag": tag, "name": self._texts.for_language(tag).name} for tag in settings.languages]
        return self._page(
            "locale.html",
            consent,
            here="/locale",
            saved=saved,
            languages=languages,
            region_choices=settings.region_choices,
            region_stated=consent.region,
        )

    def notice(self, consent: Consent) -> bytes:
        """The notice in force."""
        from markupsafe import Markup

        settings = self._site.settings
        text, language = self._site.notices.text(consent.language, settings.default_language)
        translate = self._texts.for_language(language).gettext
        purposes = [{**p, "title": translate(p["title"]), "text": translate(p["text"])} for p in self._purposes()]
        # Markdown has its own escapes; autoescape would show &amp; in running text.
        template = self._environment.overlay(autoescape=False).from_string(text)
        markdown = template.render(
            site_name=settings.site_name,
            contact=settings.contact,
            base=consent.url(),
            cookie=settings.cookie_name if settings.debug else f"__Host-{settings.cookie_name}",
            valid_days=settings.valid_days,
            advanced=settings.google_mode == "advanced",
            retention=max(settings.retention_days.values()),
            ip=translate(_IP_WORDS[settings.ip]),
            purposes=purposes,
        )
        return self._page(
            "notice.html",
            consent,
            here="",
            body=Markup(to_html(markdown)),  # noqa: S704 - sanitised by nh3 in to_html
            updated=self._texts.for_language(consent.language).date(self._site.notices.updated),
            notice_id=self._site.notices.id,
            notice_lang=language,
        )

    def held(self, consent: Consent, service: Service, return_path: str) -> bytes:
        """What stands in a frame that was withheld: what it is, how to see it once, and how to allow it."""
        purposes = self._site.catalogue.purposes
        missing = [purposes[key] for key in service.purposes if not consent.allows(key)] or [
            purposes[service.purposes[0]]
        ]
        granted = [key for key, p in purposes.items() if p.optional and consent.allows(key)]
        return self._page(
            "held.html",
            consent,
            service=service,
            missing=missing,
            once=bool(return_path) and showable(self._site.catalogue, service.key),
            granted=[*granted, *(p.key for p in missing)],
            return_path=return_path,
        )

    def unsent(self, consent: Consent, service: Service | None, return_path: str) -> bytes:
        """What a form leads to that would have brought what was typed to a service without consent.

        ``service``: None when visitors can't be asked about whoever it is.
        """
        purposes = [] if service is None else [self._site.catalogue.purposes[key] for key in service.purposes]
        missing = [purpose for purpose in purposes if not consent.allows(purpose.key)]
        return self._page("unsent.html", consent, here="-", service=service, missing=missing, return_path=return_path)

    def receipt(self, consent: Consent, entries: Iterable[Entry]) -> bytes:
        """What the ledger holds about this browser's choices."""
        catalogue = self._site.catalogue
        titles = {s.key: s.name for s in catalogue.disclosed} | {p.key: p.title for p in catalogue.purposes.values()}
        translate = self._texts.for_language(consent.language).gettext
        names = {key: translate(name) for key, name in _EVENT_NAMES.items()}
        return self._page(
            "receipt.html", consent, here="/receipt", entries=list(entries)[::-1], titles=titles, event_names=names
        )

    def problem(self, consent: Consent, text: str) -> bytes:
        """A page that says, in a sentence, why something was not done."""
        return self._page("problem.html", consent, here="-", text=text)

    def saved(self, decision: Decision) -> str:
        """The sentence that confirms a choice."""
        return self._texts.for_language(decision.language).gettext("Your choices are saved.")

    # -- shared --------------------------------------------------------------------------------
    def _page(self, name: str, consent: Consent, **values: Any) -> bytes:
        base = consent.url()
        home = base.removesuffix(self._site.settings.prefix) + "/"
        css = self._file(base, "privacy.css")
        values = {"saved": False, **values}
        sheet = self._site.settings.stylesheet
        stylesheet = base.removesuffix(self._site.settings.prefix) + sheet if sheet else ""
        return self._render(name, base, consent.decision, home=home, css=css, stylesheet=stylesheet, **values).encode()

    def _render(self, name: str, base: str, decision: Decision, **values: Any) -> str:
        texts = self._texts.for_language(decision.language)
        return self._environment.get_template(name).render(
            _=texts.gettext,
            ngettext=texts.ngettext,
            lang=decision.language,
            dir=texts.direction,
            site_name=self._site.settings.site_name,
            base=base,
            gpc=decision.gpc,
            **values,
        )

    def _file(self, base: str, name: str) -> str:
        return f"{base}/static/{self._files.names[name]}"

    def _purposes(self) -> list[dict[str, Any]]:
        services = self._site.catalogue.disclosed
        return [
            {
                "key": p.key,
                "kind": p.kind,
                "title": p.title,
                "text": p.text,
                "optional": p.optional,
                "services": [s for s in services if p.key in s.purposes],
            }
            for p in self._site.catalogue.purposes.values()
        ]

    def _regime_name(self, decision: Decision) -> str:
        texts = self._texts.for_language(decision.language)
        return texts.gettext(_REGIME_NAMES.get("early" if decision.cookieless else decision.regime, decision.regime))


def _locked(purpose: Mapping[str, Any], decision: Decision) -> bool:
    return decision.gpc and purpose["kind"] in DENIED_BY_GPC


def _return_path(scope: Scope) -> str:
    """The page's own path and query, by which a form leads back to it: ASCII, and only of a GET."""
    if scope["method"] not in ("GET", "HEAD"):
        return ""
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~-._")
    query = scope.get("query_string", b"").decode("latin-1")
    target = f"{path}?{quote(query, safe='/:@!$&()*+,;=~-._?%')}" if query else path
    return target if len(target) <= 2000 else path[:2000]


_REGIME_NAMES: Final = {
    "strict": "everything optional is off until you allow it",
    "opt_in": "everything optional is off until you allow it",
    "opt_in_stats_exempt": "everything optional is off until you allow it, except our own anonymous statistics",
    "opt_out": "you can switch off what you do not want",
    "notice": "you are informed and can switch off what you do not want",
    "early": "everything optional is off until you allow it, except that until you choose, Google's tags tell Google "
    "which pages are viewed, without cookies",
}

#: where the advertising industry and the largest of its companies take an opt-out (as of 2026-11)
_INDUSTRY: Final = (
    ("Digital Advertising Alliance", "https://optout.aboutads.info/"),
    ("Network Advertising Initiative", "https://optout.networkadvertising.org/"),
    ("Google: My Ad Center", "https://myadcenter.google.com/"),
    ("Google Analytics: browser add-on", "https://tools.google.com/dlpage/gaoptout"),
)

_IP_WORDS: Final = {
    "none": "never your network address",
    "truncated": "a shortened form of your network address",
    "full": "your network address",
}

_EVENT_NAMES: Final = {
    "given": "You allowed some or all purposes",
    "refused": "You refused everything optional",
    "changed": "You changed your choice",
    "withdrawn": "You withdrew your consent",
    "opted out": "You opted out of sale and advertising",
    "once": "You had this shown once, on one page",
}
