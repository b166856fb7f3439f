"""Where a visitor seems to be, when they did not say: from a CDN's headers or a file of networks.

Both are guesses, so both say that they are: a region comes with its source. A header counts only
from a trusted proxy, and a file is read on the machine: no address is sent anywhere. Refuses to
know what a region means.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .mmdb import open_networks
from .visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CDNS", "Whereabouts"]

#: what CDNs call the headers with country and subdivision (ISO 3166-1 and -2); Akamai packs both into one
CDNS: Final = {
    "cloudflare": (b"cf-ipcountry", b"cf-region-code"),
    "cloudfront": (b"cloudfront-viewer-country", b"cloudfront-viewer-country-region"),
    "vercel": (b"x-vercel-ip-country", b"x-vercel-ip-country-region"),
    "akamai": (b"x-akamai-edgescape", b""),
}

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SUBDIVISION: Final = re.compile(r"[A-Z0-9]{1,3}")
#: what CDNs write for "not known" and for the Tor network; EU and AP are no countries
_NOWHERE: Final = frozenset({"XX", "T1", "ZZ", "EU", "AP", "A1", "A2", "O1"})
_LONGEST: Final = 512
_REMEMBERED: Final = 8192


class Whereabouts:
    """Guesses regions. Raises SettingsError when the file can't be used."""

    def __init__(self, cdn: str = "", networks: Path | None = None) -> None:
        """``cdn``: a key of :data:`CDNS`, or "" for none; ``networks``: an MMDB file, or None."""
        self._names = CDNS.get(cdn)
        self._find: Callable[[str], str] | None = None
        if networks is not None:
            record = open_networks(networks, "networks")
            self._find = lru_cache(_REMEMBERED)(lambda address: _located(record(address)))
        #: whether there is anything to ask
        self.known = bool(self._names or self._find)

    def region(self, visitor: Visitor) -> tuple[str, str]:
        """ISO 3166 code and where it came from, ``header`` or ``network``; ("", "unknown") when nothing tells."""
        if self._names is not None and visitor.vouched and (region := self._said(visitor, self._names)):
            return region, "header"
        if self._find is not None and (address := visitor.address) and (region := self._find(address)):
            return region, "network"
        return "", "unknown"

    def _said(self, visitor: Visitor, names: tuple[bytes, bytes]) -> str:
        """What the CDN's headers say. A header that came twice was not written by one CDN, and counts as none."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in visitor.headers:
            lower = name.lower()
            if lower in names:
                found.setdefault(lower, []).append(value)
        country, subdivision = (
            found[name][0][:_LONGEST].decode("latin-1").strip() if len(found.get(name, ())) == 1 else ""
            for name in names
        )
        if not names[1]:
            pairs = dict(part.strip().partition("=")[::2] for part in country.split(","))
            country, subdivision = pairs.get("country_code", ""), pairs.get("region_code", "")
        return _code(country, subdivision)


def _code(country: str, subdivision: str) -> str:
    country, subdivision = country.upper(), subdivision.upper()
    if not _COUNTRY.fullmatch(country) or country in _NOWHERE:
        return ""
    # CloudFront writes IA, some write US-IA.
    subdivision = subdivision.removeprefix(f"{country}-")
    return f"{country}-{subdivision}" if _SUBDIVISION.fullmatch(subdivision) else country


def _located(found: Any) -> str:
    """The region in a record: GeoIP2's nested names, or the flat ones of the ip-location-db files."""
    if not isinstance(found, dict):
        return ""
    country: Any = found.get("country") or found.get("country_code") or ""
    if isinstance(country, dict):
        country = country.get("iso_code", "")
    divisions: Any = found.get("subdivisions") or ()
    first = divisions[0] if isinstance(divisions, list) and divisions else {}
    subdivision: Any = first.get("iso_code", "") if isinstance(first, dict) else ""
    return _code(country, subdivision if isinstance(subdivision, str) else "") if isinstance(country, str) else ""
