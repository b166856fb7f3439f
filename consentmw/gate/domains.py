"""Which hosts belong together: the registrable domain of a host, by the Public Suffix List.

Refuses to know what follows from it: cookies and unknown hosts ask for reasons of their own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["registrable"]

#: what browsers take for an IP address: brackets, or a number as the last label (URL Standard, "ends in a number")
_ADDRESS: Final = re.compile(r"\[.*|(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@lru_cache(maxsize=4096)
def registrable(host: str) -> str:
    """``example.co.uk`` for ``www.example.co.uk``; "" for an address, a single label and a public suffix itself.

    ``host``: lower case, in ASCII, without port and final dot.
    """
    if "." not in host or _ADDRESS.fullmatch(host) or not host.isascii() or not all(host.split(".")):
        return ""
    found: str | None = _suffixes().privatesuffix(host)
    return found or ""


@lru_cache(maxsize=1)
def _suffixes():  # type: ignore[no-untyped-def]  # the library is untyped, and loading it costs 20 ms: first use only
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
