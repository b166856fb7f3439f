"""The cookies of a response: what the application may set, and what has to go.

A cookie of a service without consent is not set, whoever asks for it, and one that the browser
still holds is expired for the host and every parent domain, HttpOnly ones included, which no
script in the page could do. Refuses to touch a cookie that is in no catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from ..purposes import Catalogue
from .domains import registrable

__all__ = ["expiries", "filter_set_cookie", "hide", "leftovers"]

#: the most expiry lines on one response: proxies refuse header blocks of more than 8 kB
_MOST: Final = 60

_GONE: Final = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"

Headers = Sequence[tuple[bytes, bytes]]


def filter_set_cookie(
    headers: Headers, catalogue: Catalogue, denied: frozenset[str]
) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """The headers without Set-Cookie lines of denied services, and the names that were dropped."""
    kept: list[tuple[bytes, bytes]] = []
    dropped: list[str] = []
    for pair in headers:
        if pair[0].lower() == b"set-cookie":
            name = pair[1].partition(b"=")[0].strip().decode("latin-1")
            service = catalogue.service_for_cookie(name)
            if service is not None and service.key in denied:
                dropped.append(name)
                continue
        kept.append(pair)
    return kept, dropped


def hide(headers: Headers, names: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Request headers without the cookies of these names: what may not be used need not be seen.

    The application gets every other cookie byte for byte; a Cookie header that would be empty is left out.
    """
    hidden = {name.encode("latin-1", "replace") for name in names}
    kept: list[tuple[bytes, bytes]] = []
    for pair in headers:
        if pair[0].lower() != b"cookie":
            kept.append(pair)
            continue
        crumbs = [crumb for crumb in pair[1].split(b";") if crumb.partition(b"=")[0].strip(b" \t") not in hidden]
        if left := b";".join(crumbs).strip(b" \t"):
            kept.append((pair[0], left))
    return kept


def leftovers(names: Iterable[str], catalogue: Catalogue, denied: frozenset[str]) -> list[str]:
    """Those cookies of a request that belong to a denied service, each once."""
    found = (name for name in names if (s := catalogue.service_for_cookie(name)) is not None and s.key in denied)
    return list(dict.fromkeys(found))


def expiries(names: Iterable[str], host: str, *, secure: bool) -> list[tuple[bytes, bytes]]:
    """Set-Cookie lines that expire these names for the host alone and for every domain above it.

    Only the name is visible in a request, so each domain a script may have chosen gets its line;
    a browser ignores those that name no cookie of its own. Names that can't stand in a header are left out.
    """
    lines: list[tuple[bytes, bytes]] = []
    end = f"; Path=/; {_GONE}" + ("; Secure" if secure else "")
    for name in names:
        if any(c <= " " or c in "=;,\x7f" or c > "\xff" for c in name):
            continue
        for domain in ("", *_domains(host)):
            if len(lines) == _MOST:
                return lines
            where = f"; Domain={domain}" if domain else ""
            lines.append((b"set-cookie", f"{name}={where}{end}".encode("latin-1")))
    return lines


@lru_cache(maxsize=1024)
def _domains(host: str) -> tuple[str, ...]:
    """The host and every parent down to the registrable domain; none for an address or a single label."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        return ()
    labels = host.split(".")
    if len(labels) < 2 or not all(labels) or not host.isascii():
        return ()
    # A host that is itself a public suffix (github.io) has no domain cookies; its own name is harmless.
    most = len(labels) - len((registrable(host) or host).split(".")) + 1
    return tuple(".".join(labels[i:]) for i in range(most))
