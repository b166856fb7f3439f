"""The codes of the ledger in words, in a visitor's language: what happened, how, under which rules, where.

A code that has no words here is shown as it is: a row may be older or newer than this list, and a
made-up word would be worse. Refuses to know templates, and to leave anything of a row out.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ..decision import Decision
from ..i18n import Texts
from ..regions import DECLINED
from ..site import Site

if TYPE_CHECKING:
    from ..ledger import Entry

__all__ = ["Wording"]


class Wording:
    """Words of one site, in one language."""

    def __init__(self, site: Site, texts: Texts) -> None:
        self._site = site
        self._texts = texts

    def row(self, entry: Entry) -> dict[str, Any]:
        """A row of the ledger for people to read."""
        return {
            "receipt": entry.receipt,
            "event": self._in_words(_MAIL_NAMES if entry.method.startswith("mail:") else _EVENT_NAMES, entry.event),
            "when": self.moment(entry.at),
            "at": entry.at,
            # A download or an erasure is no answer to a question about purposes.
            "answers": entry.event not in _UNASKED,
            "granted": [self._title(key) for key in entry.granted],
            "refused": [self._title(key) for key in entry.refused],
            "how": self.method(entry.method),
            "gpc": entry.gpc,
            "rules": self._in_words(_REGIME_NAMES, entry.regime) if entry.regime else "",
            "region": self.region(entry.region) if entry.region not in ("", DECLINED) else "",
            "source": self._in_words(_SOURCE_NAMES, entry.region_source) if entry.region_source else "",
            "language": Texts.for_language(entry.language).name if entry.language else "",
            "notice": entry.notice,
            "shown": entry.shown,
            "valid_until": self.moment(entry.valid_until),
            "until": entry.valid_until,
        }

    def method(self, code: str) -> str:
        """How something was done: ``banner:accept`` is “Accept all”, in the banner."""
        where, _, what = code.rpartition(":")
        said = self._in_words(_ACTION_NAMES, what)
        return f"{said}, {self._in_words(_SURFACE_NAMES, where)}" if where else said

    def rules(self, decision: Decision) -> str:
        """What applies to this visitor before they choose."""
        return self._in_words(_REGIME_NAMES, "early" if decision.cookieless else decision.regime)

    def region(self, code: str) -> str:
        """A region by the name the site gives it, else with its country's name; always with its code."""
        labels = {choice.code: choice.label for choice in self._site.settings.region_choices}
        name = labels.get(code) or self._texts.country(code.partition("-")[0])
        return f"{name} ({code})" if name else code

    def source(self, code: str) -> str:
        """How a region is known."""
        return self._in_words(_SOURCE_NAMES, code)

    def moment(self, iso: str) -> str:
        """A moment as people write it, to the second, in UTC; "" for none."""
        if not iso:
            return ""
        at = datetime.fromisoformat(iso)
        return f"{self._texts.date(at.date())}, {at:%H:%M:%S} UTC"

    def _title(self, key: str) -> str:
        catalogue = self._site.catalogue
        if purpose := catalogue.purposes.get(key):
            return self._texts.gettext(purpose.title)
        service = catalogue.services.get(key)
        return service.name if service is not None else key

    def _in_words(self, names: dict[str, str], code: str) -> str:
        return self._texts.gettext(names[code]) if code in names else code


#: events that answer no question about purposes
_UNASKED: Final = frozenset(
    {
        *("access", "portability", "erased", "notice", "unlinked", "signal", "authorized", "revoked", "disclosed"),
        *("unsubscribed", "subscribed"),
    }
)

_EVENT_NAMES: Final[dict[str, str]] = {
    "given": "You allowed some or all purposes",
    "refused": "You refused everything optional",
    "changed": "You changed your choice",
    "withdrawn": "You withdrew your consent",
    "opted out": "You opted out of sale and advertising",
    "once": "You had this shown once, on one page",
    "override": "You allowed advertising although your browser sends a signal against it",
    "expired": "Your choice ended, because its time was over",
    "linked": "The choice of a browser became that of your account",
    "adopted": "The choice of your account was taken over on this browser",
    "unlinked": "This browser's choice was separated from your account",
    "signal": "Your browser's signal was honoured",
    "erased": "What we held about you was erased",
    "access": "You downloaded what we hold about you",
    "portability": "You took what we hold about you with you",
    "notice": "A new version of the notice was published",
    "authorized": "You authorized a company to receive your energy data",
    "revoked": "You ended an authorization",
    "disclosed": "Energy data was handed over under your authorization",
}

#: answers given by the link in an e-mail
_MAIL_NAMES: Final[dict[str, str]] = {
    "given": "You allowed us to note when you open our e-mails and follow their links",
    "refused": "You refused that we note when you open our e-mails and follow their links",
    "withdrawn": "You no longer allow us to note when you open our e-mails and follow their links",
    "unsubscribed": "You asked for no more e-mails",
    "subscribed": "You asked for e-mails again",
}

_SURFACE_NAMES: Final[dict[str, str]] = {
    "banner": "in the banner",
    "choices": "on the page of privacy choices",
    "opt_out": "on the page about your opt-out rights",
    "placeholder": "in the place of a video or map",
    "data": "on the page about your data",
    "mail": "on the page about our e-mails to you",
    "account": "on another device on which you are signed in",
    "other": "on another page of this site",
}

_ACTION_NAMES: Final[dict[str, str]] = {
    "accept": "With the button “Accept all”",
    "reject": "With the button “Reject all”",
    "save": "With the boxes you ticked",
    "withdraw": "With the button “Withdraw consent”",
    "opt_out": "With the button “Opt out”",
    "once": "With the button “Show once”",
    "override": "With a separate confirmation",
    "erase": "With the button that erases your data",
    "published": "By the website",
    "allow": "With the button “Allow”",
    "refuse": "With the button “Refuse”",
    "unsubscribe": "With the button “Send me no more”",
    "subscribe": "With the button “Send them again”",
    "one click": "With the button of your mail program",
    "account": "Because you are signed in",
    "withdrawn": "Because you withdrew it",
    "clock": "Because its time was over",
    "cli": "By our customer service",
    "page": "On the page about your data",
    "authorization": "With an authorization for energy data",
}

_SOURCE_NAMES: Final[dict[str, str]] = {
    "stated": "you told us",
    "declined": "you chose not to say where you are, and we did not look it up",
    "header": "a guess: the network that delivers our pages says where your connection comes from",
    "network": "a guess: a list of networks on our own machine says where your network address belongs",
    "unknown": "nobody told us, and we did not guess",
}

_REGIME_NAMES: Final[dict[str, str]] = {
    "strict": "everything optional is off until you allow it",
    "opt_in": "everything optional is off until you allow it",
    "opt_in_stats_exempt": "everything optional is off until you allow it, except our own anonymous statistics",
    "opt_out": "you can switch off what you do not want",
    "notice": "you are informed and can switch off what you do not want",
    "early": "everything optional is off until you allow it, except that until you choose, Google's tags tell Google "
    "which pages are viewed, without cookies",
}
