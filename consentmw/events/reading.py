"""What one request says about itself, as far as it may be kept: the referring page, query keys, searches, a network.

Refuses to know which tier may keep any of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set as AbstractSet
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

from .paths import template

__all__ = ["LANGUAGES", "kept_query", "queried", "referring", "terms", "truncate"]

_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}")
#: a long number or an address: what mailers like to put behind a campaign parameter
_NAMES_SOMEONE: Final = re.compile(r"\d{6}|@")
#: an e-mail address, as somebody may type it into a search
_MAIL: Final = re.compile(r"[^\s@]*+@\S*+")
_LONGEST_TERMS: Final = 100
#: what an Accept-Language header looks like that is kept
LANGUAGES: Final = re.compile(r"[A-Za-z0-9,;=.* -]{1,200}")


def truncate(ip: str, v4: int = 24, v6: int = 48) -> str:
    """The network of an address: its first ``v4`` or ``v6`` bits, the rest zero; "" for what is no address.

    An IPv4 address written as IPv6 is treated as IPv4, and a zone (``%eth0``) is dropped.
    """
    ip = ip.partition("%")[0]
    try:
        family, packed = (AF_INET6, inet_pton(AF_INET6, ip)) if ":" in ip else (AF_INET, inet_pton(AF_INET, ip))
    except (OSError, ValueError):
        return ""
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        family, packed = AF_INET, packed[12:]
    spare = len(packed) * 8 - (v4 if family == AF_INET else v6)
    return inet_ntop(family, (int.from_bytes(packed, "big") >> spare << spare).to_bytes(len(packed), "big"))


@lru_cache(maxsize=1024)
def referring(url: str) -> tuple[str, str]:
    """Host, and host with path template, of a referrer; ("", "") for anything that is not an http(s) URL."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return "", ""
    authority, _, path = rest.partition("#")[0].partition("?")[0].partition("/")
    host = authority.rpartition("@")[2].partition(":")[0].lower()
    # The site's own pages are referrers too, and their paths may hold account numbers.
    return (host, host + template(unquote(path))) if _HOST.fullmatch(host) else ("", "")


def kept_query(query: bytes, keys: AbstractSet[str]) -> str:
    """Those pairs of a query whose keys are listed, written anew; values that may name somebody are replaced."""
    if not query:
        return ""
    kept = [(key, "{x}" if _NAMES_SOMEONE.search(value) else value[:200]) for key, value in queried(query, keys)]
    # Encoded again, so that no control character or broken UTF-8 gets into a column.
    return urlencode(kept, safe="{}")[:1000]


def queried(query: bytes, keys: AbstractSet[str]) -> list[tuple[str, str]]:
    """The pairs of a query whose keys are listed, in order, as sent; none of a query that is none."""
    if not keys or not query:
        return []
    text = query[:4096].decode("latin-1")
    # Most queries hold none of them, and parsing costs as much as everything else here.
    if not any(key in text for key in keys):
        return []
    try:
        return [(key, value) for key, value in parse_qsl(text, max_num_fields=100) if key in keys]
    except ValueError:
        return []


def terms(text: str) -> str:
    """What somebody searched for, at most 100 characters, in lower case; addresses and digits are replaced by ``#``."""
    plain = _MAIL.sub("#", unicodedata.normalize("NFC", text[:1000]))
    kept = ("#" if c.isnumeric() else c if c.isprintable() else " " for c in plain.lower())
    return " ".join("".join(kept).split())[:_LONGEST_TERMS]
