"""The visitor's own pages as bytes: choices, notice, locale, opt-out, receipt and what stands in for a service.

Refuses to decide anything, and to know how a request asked for a page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..consent import Consent
from ..decision import DENIED_BY_GPC, Decision, showable
from ..notices import to_html
from ..purposes import Service
from ..site import Site
from .render import Renderer
from .templating import Templating

if TYPE_CHECKING:
    from ..ledger import Entry

__all__ = ["Documents"]


class Documents:
    """Renders every page of ours of one site."""

    def __init__(self, site: Site, templating: Templating, renderer: Renderer) -> None:
        self._site = site
        self._texts = templating.texts
        self._templating = templating
        self._renderer = renderer

    def choices(self, consent: Consent, *, saved: bool) -> bytes:
        """The page of purposes and services."""
        decision = consent.decision
        purposes = [
            {**purpose, "granted": decision.allows(purpose["key"]), "locked": _locked(purpose, decision)}
            for purpose in self._purposes()
        ]
        granted = any(p["optional"] and p["granted"] for p in purposes)
        return self._templating.page(
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
        return self._templating.page(
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
        return self._templating.page(
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
        template = self._templating.environment.overlay(autoescape=False).from_string(text)
        markdown = template.render(
            site_name=settings.site_name,
            contact=settings.contact,
            base=consent.url(),
            cookie=settings.cookie_name if settings.debug else f"__Host-{settings.cookie_name}",
            valid_days=settings.valid_days,
            advanced=settings.google_mode == "advanced",
            follows=self._site.follows,
            retention=max(settings.retention_days.values()),
            ip=translate(_IP_WORDS[settings.ip]),
            purposes=purposes,
        )
        return self._templating.page(
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
        return self._templating.page(
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
        return self._templating.page(
            "unsent.html", consent, here="-", service=service, missing=missing, return_path=return_path
        )

    def receipt(self, consent: Consent, entries: Iterable[Entry]) -> bytes:
        """What the ledger holds about this browser's choices."""
        catalogue = self._site.catalogue
        titles = {s.key: s.name for s in catalogue.disclosed} | {p.key: p.title for p in catalogue.purposes.values()}
        translate = self._texts.for_language(consent.language).gettext
        names = {key: translate(name) for key, name in _EVENT_NAMES.items()}
        return self._templating.page(
            "receipt.html", consent, here="/receipt", entries=list(entries)[::-1], titles=titles, event_names=names
        )

    def problem(self, consent: Consent, text: str) -> bytes:
        """A page that says, in a sentence, why something was not done."""
        return self._templating.page("problem.html", consent, here="-", text=text)

    def saved(self, decision: Decision) -> str:
        """The sentence that confirms a choice."""
        return self._texts.for_language(decision.language).gettext("Your choices are saved.")

    def shown(self, consent: Consent, surface: str, service: str = "") -> str:
        """sha256 of what the visitor saw when choosing: the banner, the page of choices, or a frame's placeholder."""
        if surface == "choices":
            page = self.choices(consent, saved=False)
        elif surface == "opt_out":
            page = self.opt_out(consent, saved=False)
        elif surface == "placeholder" and (held := self._site.catalogue.services.get(service)) is not None:
            page = self.held(consent, held, "/")
        else:
            page = self._renderer.banner(consent.url(), consent.decision)
        return hashlib.sha256(page).hexdigest()

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
