"""What a Decision says in GPP: which section applies to a visitor, and what stands in it.

A pure function of what was decided, for sites that have not signed the IAB's multi-state contract
(MSPA) unless they say that they have. Refuses to decide: what may run was decided before, and a
string that can't be made must not let anything run.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from functools import lru_cache
from typing import Final, Literal

from ..decision import Decision
from ..errors import GppError
from ..purposes import Catalogue
from .sections import BY_NAME, Fields
from .strings import encode

__all__ = ["macros", "of", "supported"]

_NATIONAL: Final = "usnat"

#: the section of each state; where text and library of the standard disagree, the national one says the same
_BY_REGION: Final = {
    section.region: section.name if section.settled else _NATIONAL for section in BY_NAME.values() if section.region
}

#: MspaCoveredTransaction, MspaOptOutOptionMode, MspaServiceProviderMode
_MSPA: Final = {"": (2, 0, 0), "opt_out": (1, 1, 2), "service_provider": (1, 2, 1)}

#: a number that vendors can have; the specification's list of them is not ours to know
_MACRO: Final = re.compile(r"\$\{GPP_(?:(SID)|STRING(?:_([1-9][0-9]{0,9}))?)\}")
_STRING: Final = re.compile(r"[A-Za-z0-9_.~-]*")


def of(
    decision: Decision,
    catalogue: Catalogue,
    *,
    mspa: Literal["", "opt_out", "service_provider"] = "",
    national: bool = False,
) -> str:
    """The GPP string for this decision, or "" where no section applies.

    The section is that of the visitor's state; elsewhere in the United States the national one, except
    where the regime is ``notice``, because no law gives an opt-out there; abroad none. ``national``: the
    national section for everybody but visitors who are known to be abroad.

    ``mspa`` is for signatories of the IAB's Multi-State Privacy Agreement only: the mode in which they
    cover this transaction. Raises GppError for another word.
    """
    if mspa not in _MSPA:
        raise GppError("mspa", f"one of {', '.join(map(repr, _MSPA))}, not {mspa!r:.40}")
    section = _national(decision) if national else _applicable(decision)
    if not section:
        return ""
    sale, advertising = (_opted_out(decision, catalogue, kind) for kind in ("sale", "advertising"))
    return _string(section, sale, advertising, decision.minor, decision.gpc, mspa)


def supported(*, national: bool = False) -> list[str]:
    """The sections that :func:`of` may choose, in the notation of the CMP API: number, colon, name."""
    names = {_NATIONAL} if national else {_NATIONAL, *_BY_REGION.values()}
    return [f"{section.id}:{name}" for name, section in BY_NAME.items() if name in names]


def _applicable(decision: Decision) -> str:
    region = decision.region
    if found := _BY_REGION.get(region):
        return found
    # A site may treat its visitors better than their law does, so any regime that is stricter counts too.
    return _NATIONAL if region.partition("-")[0] == "US" and decision.regime != "notice" else ""


def _national(decision: Decision) -> str:
    # "-" is who declined to say where they are. A site that speaks for the whole country speaks for them, too:
    # a string nobody needed does no harm, an opt-out that is not passed on does.
    country = decision.region.partition("-")[0]
    return _NATIONAL if country in ("", "US") else ""


def _opted_out(decision: Decision, catalogue: Catalogue, kind: str) -> int:
    """0 when the site has no purpose of this kind, 1 when the visitor is opted out of one, 2 when of none.

    Why it was denied doesn't matter: whoever reads the string must not do what may not run here.
    """
    found = [decision.allows(purpose.key) for purpose in catalogue.purposes.values() if purpose.kind == kind]
    return (2 if all(found) else 1) if found else 0


@lru_cache(maxsize=512)
def _string(section: str, sale: int, advertising: int, minor: bool, gpc: bool, mspa: str) -> str:
    covered, option, provider = _MSPA[mspa]
    # "Sharing" is California's word for giving data away for advertising. Its right is one, "do not sell or
    # share" (Cal. Civ. Code 1798.120), so an opt-out of sale is one of sharing too.
    sharing = advertising and min(advertising, sale or advertising)
    said: Fields = {
        # Every page carries the banner or the line of links to the notice, so notice was given (1) of
        # whatever the site does, and 0 says that it doesn't.
        "ProcessingNotice": 1,
        "SharingNotice": 1,
        "SaleOptOutNotice": min(sale, 1),
        "SharingOptOutNotice": min(sharing, 1),
        "TargetedAdvertisingOptOutNotice": min(advertising, 1),
        "SaleOptOut": sale,
        "SharingOptOut": sharing,
        "TargetedAdvertisingOptOut": advertising,
        "MspaCoveredTransaction": covered,
        "MspaOptOutOptionMode": option,
        "MspaServiceProviderMode": provider,
        # What the browser sent, also where the state's law doesn't ask to honour it.
        "Gpc": gpc,
    }
    fields = BY_NAME[section].unsaid
    found = {name: value for name, value in said.items() if name in fields}
    if minor:
        # 1 is "no consent", for every age that the section knows.
        unsaid = fields["KnownChildSensitiveDataConsents"]
        found["KnownChildSensitiveDataConsents"] = [1] * len(unsaid) if isinstance(unsaid, list) else 1
    # No purpose of ours stands for sensitive data or for consent beyond the notice: 0, not applicable.
    return encode({section: found})


def macros(url: str, text: str, sids: Sequence[int], *, vendors: Container[int] | None = None) -> str:
    """The URL with its GPP macros filled in, for tags that a server calls or writes.

    ``${GPP_STRING}`` and ``${GPP_STRING_123}`` become ``text``, ``${GPP_SID}`` the numbers of the sections in
    force, -1 when there are none. A macro for a vendor that is not in ``vendors``, where given, is left
    as it is: the specification wants its number checked, and only a site knows its vendors. Raises
    GppError for a text that is no GPP string or more than the two sections that may be in force.
    Source: GPP Consent String Specification, URL-based services.
    """
    if not _STRING.fullmatch(text):
        raise GppError("string", "a GPP string, or an empty text")
    if len(sids) > 2 or not all(isinstance(number, int) for number in sids):
        raise GppError("sids", f"the numbers of at most two sections in force, not {sids!r:.40}")
    numbers = ",".join(map(str, sids)) or "-1"

    def filled(match: re.Match[str]) -> str:
        sid, vendor = match.groups()
        if sid:
            return numbers
        return match[0] if vendor and vendors is not None and int(vendor) not in vendors else text

    return _MACRO.sub(filled, url)
