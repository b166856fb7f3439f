"""The visitor's own pages as bytes: choices, notice, locale, opt-out, receipt and what stands in for a service.

Refuses to decide anything, and to know how a request asked for a page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

from ..consent import Consent
from ..decision import DENIED_BY_GPC, Decision, showable
from ..lawful import ASKS_FIRST
from ..notices import to_html
from ..purposes import Service
from ..regions import DECLINED
from ..site import Site
from .render import Renderer
from .templating import Templating
from .wording import Wording

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
        translate = self._texts.for_language(consent.language).gettext
        purposes = [{**purpose, **_answer(purpose, decision)} for purpose in self._purposes()]
        granted = any(p["optional"] and p["granted"] for p in purposes)
        locked = [p for p in purposes if p["locked"] and not p["minor"]]
        return self._templating.page(
            "choices.html",
            consent,
            here="/choices",
            saved=saved,
            purposes=purposes,
            linked=consent.linked,
            overruled=[translate(p["title"]) for p in locked if p["granted"]],
            opposed=[p for p in locked if not p["granted"]],
            receipt=decision.receipt,
            withdrawable=bool(decision.receipt) and granted,
            regime_name=self._wording(decision.language).rules(decision),
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
            overruled=bool(decision.overridden),
            receipt=decision.receipt,
            others=list(dict.fromkeys([*others, *_INDUSTRY])),
            contact=site.settings.contact,
            region=decision.region,
            law=law.source if law.confidence != "site" else "",
        )

    def locale(self, consent: Consent, *, saved: bool) -> bytes:
        """The page of the language and region selector."""
        settings, decision = self._site.settings, consent.decision
        words = self._wording(consent.language)
        languages = [{"tag": tag, "name": self._texts.for_language(tag).name} for tag in settings.languages]
        return self._templating.page(
            "locale.html",
            consent,
            here="/locale",
            saved=saved,
            languages=languages,
            region_choices=settings.region_choices,
            region_stated=consent.region,
            region=words.region(decision.region) if decision.region not in ("", DECLINED) else "",
            region_source=decision.region_source,
            source=words.source(decision.region_source),
            rules=words.rules(decision),
            guesses=settings.guesses_region,
            strictest=settings.fallback_regime in ASKS_FIRST,
        )

    def notice(self, consent: Consent) -> bytes:
        """The notice in force."""
        from markupsafe import Markup

        notices = self._site.notices
        snapshot = notices.version.snapshot
        text, language = snapshot.text(consent.language)
        return self._templating.page(
            "notice.html",
            consent,
            here="",
            body=Markup(to_html(text, snapshot.pages, escape(consent.url()))),  # noqa: S704 - sanitised in to_html
            updated=self._texts.for_language(consent.language).date(notices.updated),
            notice_id=notices.id,
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
        words = self._wording(consent.language)
        rows = [words.row(entry) for entry in entries]
        return self._templating.page("receipt.html", consent, here="/receipt", entries=rows[::-1])

    def data(self, consent: Consent, **found: Any) -> bytes:
        """What is held about a visitor, in numbers, with the ways to have it and to have it erased."""
        contact = self._site.settings.contact
        return self._templating.page(
            "data.html", consent, here="/data", contact=contact, linked=consent.linked, **found
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

    def _wording(self, language: str) -> Wording:
        return Wording(self._site, self._texts.for_language(language))


def _answer(purpose: Mapping[str, Any], decision: Decision) -> dict[str, bool]:
    """What is so now for this purpose: granted, locked by a signal, or by the visitor's age."""
    firm = purpose["kind"] in DENIED_BY_GPC
    locked = firm and purpose["kind"] in decision.opposed
    return {"granted": decision.allows(purpose["key"]), "locked": locked, "minor": firm and decision.minor}


#: where the advertising industry and the largest of its companies take an opt-out (as of 2026-11)
_INDUSTRY: Final = (
    ("Digital Advertising Alliance", "https://optout.aboutads.info/"),
    ("Network Advertising Initiative", "https://optout.networkadvertising.org/"),
    ("Google: My Ad Center", "https://myadcenter.google.com/"),
    ("Google Analytics: browser add-on", "https://tools.google.com/dlpage/gaoptout"),
)
