"""What a page tells the vendors' tags about consent, and the tags that the site has us put in.

Google (Consent Mode v2), Microsoft (UET, Clarity) and Meta have commands by which a page says what was
allowed. The script in the page (static/signals.js) gives them, before any tag can run; this room
only words what it needs to know: what is true of the site once, at start, and what is true of the
visitor as attributes of the script's tag. Refuses to decide anything, and to know how vendors spell it.

Sources: Google's guides "Set up consent mode on websites", "Restrict tag deployment" and "Measurement
opt-out"; Microsoft's "UET consent mode" and "Clarity consent API v2"; Meta's "General Data Protection
Regulation" and "Data Processing Options" pages for the pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from ..decision import Decision
from ..errors import SettingsError
from ..purposes import Catalogue
from ..regions import Regions
from ..settings import Settings

__all__ = ["Signals"]

#: services that listen, beside Google's, and the name the script has for their language
_VENDORS: Final = {"microsoft_ads": "uet", "microsoft_clarity": "clarity", "meta_pixel": "meta"}
_ANALYTICS: Final = "google_analytics"
_CONTAINER: Final = "google_tag_manager"
#: by setting: where its tag comes from, the service it is, and the mark the script knows it by
_TAGS: Final = {
    _ANALYTICS: ("https://www.googletagmanager.com/gtag/js?id=", "data-own-ga"),
    _CONTAINER: ("https://www.googletagmanager.com/gtm.js?id=", "data-own-gtm"),
}
#: purposes of a page; what a visitor said about e-mails is no reason to hold a container back
_OF_PAGES: Final = frozenset({"preferences", "analytics", "advertising", "sale"})


class Signals:
    """The words for one site. Raises SettingsError when it has a tag that visitors are not told about."""

    def __init__(self, settings: Settings, catalogue: Catalogue, regions: Regions) -> None:
        told = {service.key: service for service in catalogue.disclosed}
        self._google = frozenset(key for key, service in told.items() if service.google)
        self._listening = self._google | (told.keys() & _VENDORS.keys())
        self._kinds = {key: purpose.kind for key, purpose in catalogue.purposes.items()}
        self._ids: Mapping[str, str] = {
            key: value for key in _TAGS if (value := str(getattr(settings, key))) and _disclosed(key, told)
        }
        # Page views that the server reports must not be counted by a tag as well.
        twice = {_ANALYTICS} if settings.google_relay_pages else set()
        self._inserted = tuple(key for key in self._ids if settings.google_insert and key not in twice)
        self._restricts = settings.google_restrict_containers and _CONTAINER in told
        narrower = _narrower(regions) if self._google else ()
        self._regional = bool(narrower)
        vendors = ["google"] * bool(self._google) + [word for key, word in _VENDORS.items() if key in told]
        facts = {
            "vendors": vendors,
            "ga": self._ids.get(_ANALYTICS),
            "gtm": self._ids.get(_CONTAINER),
            "regions": narrower,
        }
        #: what static/signals.js is told about the site, once: none of it depends on a visitor
        self.facts: Mapping[str, object] = {name: value for name, value in facts.items() if value}

    def words(self, decision: Decision) -> dict[str, list[str]]:
        """What the page's scripts are told: who may run, which purposes and signals are granted, which limits hold."""
        return {
            "granted": [key for key, verdict in decision.services.items() if verdict.granted],
            "purposes": [key for key, verdict in decision.purposes.items() if verdict.granted],
            "signals": _granted(decision),
            "limits": self._limits(decision),
        }

    def head(self, decision: Decision, script: str) -> tuple[str, tuple[tuple[bytes, ...], ...]]:
        """The tags for the head of a page; and for each that a page may have already, its id and its pieces.

        The first is the script that speaks, ``script`` its address. It is not deferred: no tag may run
        before it, not even one in the site's own bundle, which no server sees. A site of no such service
        gets nothing.
        """
        if not self._listening:
            return "", ()
        may_run = decision.cookieless | {key for key in self._listening if decision.services[key].granted}
        words = {"runs": sorted(may_run & self._listening), "signals": _granted(decision)}
        words["limits"] = self._limits(decision)
        said = "".join(f' data-{name}="{escape(" ".join(value))}"' for name, value in words.items() if value)
        tag = f'<script src="{escape(script)}" data-consentmw{said}'
        tags = ""
        own = []
        for key in self._inserted:
            address, mark = _TAGS[key]
            element = _element(key, address + self._ids[key], live=key in may_run)
            tag += f" {mark}"
            tags += element
            own.append((self._ids[key].encode(), f" {mark}".encode(), element.encode()))
        return f"{tag}></script>{tags}", tuple(own)

    def _limits(self, decision: Decision) -> list[str]:
        """What holds beside the signals: ``containers``, ``sale`` and ``regions``."""
        limits = []
        denied = {self._kinds[key] for key, verdict in decision.purposes.items() if not verdict.granted}
        if self._restricts and decision.allows(_CONTAINER) and denied & _OF_PAGES:
            limits.append("containers")
        if "sale" in denied and decision.allows("meta_pixel"):
            limits.append("sale")
        unasked = any(verdict.reason == "regime" for verdict in decision.purposes.values())
        if self._regional and (unasked or not decision.receipt) and decision.region_source != "stated":
            limits.append("regions")
        return limits


def _granted(decision: Decision) -> list[str]:
    return [signal for signal, value in decision.google.items() if value == "granted"]


def _disclosed(key: str, told: Mapping[str, object]) -> bool:
    if key not in told:
        raise SettingsError(key, f"{key} among services_used: visitors have to be told about it")
    return True


def _narrower(regions: Regions) -> tuple[str, ...]:
    """Codes of the regions where less may run before a choice than where the region is unknown.

    Google finds out by itself where a visitor is, and the closest code counts for it (guide, "Region-specific
    behavior"). So these, told as denied, only ever take away from what was decided here. Laws that are still to
    come count, too: this is worked out once, at start.
    """
    regimes = regions.regimes
    fallback = regimes[regions.fallback].granted
    narrower = {key for key, regime in regimes.items() if not fallback <= regime.granted}
    # The last two: the law in force, and the one that follows it, where there is one.
    return tuple(
        sorted(code for code, laws in regions.laws.items() if any(law.regime in narrower for law in laws[-2:]))
    )


def _element(key: str, address: str, *, live: bool) -> str:
    """A tag of Google's; withheld in the form that the gate gives to others, so that a choice can switch it on."""
    if live:
        return f'<script async src="{address}" data-consentmw></script>'
    withheld = f'type="text/plain" data-consentmw-service="{key}" data-consentmw-src="{address}"'
    return f"<script async {withheld} data-consentmw></script>"
