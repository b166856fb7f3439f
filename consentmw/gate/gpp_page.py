"""What a page says to advertising companies in the words of the Global Privacy Platform (GPP).

The script in the page (static/gpp.js) answers their tags; this room words what it answers: what is true
of the site once, at start, and what is true of the visitor as an attribute of the script's tag. It also
says where there is anything to say. Refuses to decide anything, and to know how strings are laid out.

Sources: IAB Tech Lab, "Consent Management Platform API" 1.1 and "Consent String Specification" of the GPP.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import Final, Literal

from .. import gpp
from ..decision import DENIED_BY_GPC, Decision
from ..purposes import Catalogue
from ..settings import Settings

__all__ = ["GppPage"]

#: what a string without sections is, and the number for "no section applies"
_EMPTY: Final = gpp.encode({})
_NOT_APPLICABLE: Final = -1
#: a page with this in its first piece brings a CMP of its own: the name of the frame that each has to make
_ANOTHER: Final = b"__gppLocator"


class GppPage:
    """The words for one site."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._national = settings.gpp == "national"
        self._mspa: Literal["", "opt_out", "service_provider"] = settings.mspa
        # A site that neither sells nor advertises has nothing to signal.
        does = any(purpose.kind in DENIED_BY_GPC for purpose in catalogue.purposes.values())
        self._speaks = settings.gpp != "off" and does
        facts = {"apis": gpp.supported(national=self._national), **({"debug": True} if settings.debug else {})}
        #: what static/gpp.js is told about the site, once: none of it depends on a visitor
        self.facts: Mapping[str, object] = facts if self._speaks else {}

    def said(self, decision: Decision) -> tuple[str, str]:
        """The string and the numbers of the sections in force, for addresses: "" and -1 where none applies.

        Both are "" where the page says nothing at all.
        """
        if not self._present(decision):
            return "", ""
        text = self._string(decision)
        return text, _answers(text)[1]

    def words(self, decision: Decision) -> dict[str, object]:
        """What the page's script answers from now on, under the name that it has in JSON; {} where it is not there."""
        return {"gpp": _answers(self._string(decision))[0]} if self._present(decision) else {}

    def head(self, decision: Decision, script: str) -> tuple[str, tuple[tuple[bytes, ...], ...]]:
        """The tag for the start of the head, ``script`` its address; and its mark in a page that has a CMP of its own.

        It is not deferred: whatever asks, in the page or in a frame, is to be answered from the start.
        """
        words = self.words(decision)
        if not words:
            return "", ()
        said = json_module.dumps(words["gpp"], separators=(",", ":"))
        asks = " data-ask" * decision.ask
        # JSON is full of double quotes, so the attribute has single ones; what is said has no other mark-up.
        tag = f"<script src=\"{escape(script)}\" data-consentmw{asks} data-said='{said}'></script>"
        return tag, ((_ANOTHER, tag.encode()),)

    def _present(self, decision: Decision) -> bool:
        """Whether the page has the script. Where no law of the United States is concerned, nobody asks for it."""
        return self._speaks and (self._national or decision.region.partition("-")[0] == "US")

    def _string(self, decision: Decision) -> str:
        return gpp.of(decision, self._catalogue, mspa=self._mspa, national=self._national)


@lru_cache(maxsize=512)
def _answers(text: str) -> tuple[Mapping[str, object], str]:
    """What the script answers while this string is in force; and the numbers of its sections, for addresses."""
    ids = list(gpp.section_ids(text)) if text else []
    applicable = ids or [_NOT_APPLICABLE]
    answers = {
        "gppString": text or _EMPTY,
        "sectionList": ids,
        "applicableSections": applicable,
        "parsedSections": gpp.segments(text) if text else {},
    }
    return answers, ",".join(map(str, applicable))
