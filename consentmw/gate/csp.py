"""The decision as a Content-Security-Policy: the browser itself refuses the hosts that nobody allowed.

A policy of ours goes out beside the site's own. Browsers enforce each on its own, so ours can only
narrow what the site's allows, never widen it (CSP Level 3, section 8.1). It speaks about hosts and
nothing else: inline code is the rewriter's and the site's own affair.

Refuses to know visitors, requests and the bodies of pages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from re import compile as pattern
from typing import Final
from urllib.parse import quote

from ..errors import SettingsError
from ..purposes import Catalogue, Service

__all__ = ["ENDPOINT", "HostPolicy", "placed", "sources", "with_nonces"]

logger = logging.getLogger("consentmw")

#: name of our endpoint in Reporting-Endpoints; the site's own policies may report to it, too
ENDPOINT: Final = "consentmw"

#: stands in a header where the address for reports goes: it depends on root_path, the rest does not
_ADDRESS: Final = b"{csp}"
#: what never leaves the browser for another host; without these the policy would forbid what it is not about
_EVERYWHERE: Final = ("'self'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:")
#: bytes of policy, with everything allowed, beyond which a proxy with its defaults may drop the page: nginx takes
#: 4 or 8 kB for all headers of an answer. Beyond the first the operator is told, beyond the second nothing starts.
_LONG: Final = 3_000
_LONGEST: Final = 7_000
_NAMES: Final = {"enforce": b"content-security-policy", "report-only": b"content-security-policy-report-only"}
_NONCE: Final = pattern(rb"'nonce-([A-Za-z0-9+/_-]{1,512}={0,2})'")


def sources(service: Service) -> tuple[str, ...]:
    """The host sources under which a browser finds a service, each once; paths are left out.

    A path in a policy no longer counts after a redirect (CSP Level 3, section 7.6), and ``/tr`` would match
    that one file only. ``*.host`` in a policy does not match ``host`` itself, in the catalogue it does.
    """
    found: dict[str, None] = {}
    for mark in service.hosts:
        host = mark.partition("/")[0]
        if host.startswith("*."):
            found[host[2:]] = None
        found[host] = None
    return tuple(found)


def extras(service: Service) -> tuple[str, ...]:
    """Sources that a service needs beyond its hosts. The directive they were noted for is dropped: ours is one."""
    found = (entry.rpartition(" ")[2] for entry in service.csp)
    return tuple(dict.fromkeys(source for source in found if source not in _EVERYWHERE))


class HostPolicy:
    """Words the policy for each set of denied services."""

    def __init__(self, catalogue: Catalogue, mode: str, allow: Iterable[str] = ()) -> None:
        """``mode``: off, report-only or enforce; ``allow``: host sources that every visitor's pages may use.

        Raises SettingsError when the policy would be too long for the proxies that a page passes.
        """
        self._name = _NAMES.get(mode)
        self._allow = tuple(allow)
        self._services = tuple((s.key, sources(s), extras(s)) for s in catalogue.services.values())
        #: the headers by denied services and "is it https"; as many as there are combinations in use
        self.headers = lru_cache(maxsize=256)(self._headers)
        untold = frozenset(key for key, service in catalogue.services.items() if not service.disclosed)
        size = sum(len(value) for _, value in self._headers(untold, True))
        if size > _LONGEST:
            expected = f"only services that the site uses: allowing all of them makes a policy of {size} bytes"
            raise SettingsError("services_used", f"{expected}, and over {_LONGEST} proxies drop pages")
        if size > _LONG:
            logger.warning("the policy takes up to %d bytes: let proxies buffer more than 4 kB of headers", size)

    def _headers(self, denied: frozenset[str], secure: bool) -> tuple[tuple[bytes, bytes], ...]:
        """Headers for an HTML answer, to be given their address by :func:`placed`; none when the policy is off.

        Over https reports go to ``report-to`` where a browser knows it, else to ``report-uri``. Over http
        Reporting-Endpoints does not count, and a browser that knows ``report-to`` would report nowhere.
        """
        if self._name is None:
            return ()
        allowed = [(hosts, more) for key, hosts, more in self._services if key not in denied]
        hosts = dict.fromkeys(host for found, _ in allowed for host in found)
        others = dict.fromkeys(source for _, found in allowed for source in found)
        # A source without a scheme means http(s) as the page has it; sockets have to be named.
        listed = [*_EVERYWHERE, *self._allow, *hosts, *(f"wss://{host}" for host in hosts), *others]
        policy = f"default-src {' '.join(listed)}; report-uri ".encode("ascii") + _ADDRESS
        if not secure:
            return ((self._name, policy),)
        policy += f"; report-to {ENDPOINT}".encode()
        # A dictionary may come in several lines (RFC 9651, 3.2), so the site's own endpoints stay.
        return (self._name, policy), (b"reporting-endpoints", ENDPOINT.encode() + b'="' + _ADDRESS + b'"')


def placed(headers: Sequence[tuple[bytes, bytes]], address: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with the address that reports go to under this request's root_path."""
    return [(name, _placed(value, address) if _ADDRESS in value else value) for name, value in headers]


@lru_cache(maxsize=256)
def _placed(value: bytes, address: str) -> bytes:
    # A root_path may hold what a visitor wrote: it must end neither the directive nor the string, nor name a host.
    path = "/" + quote(address.lstrip("/\\"), safe="/~-._")
    return value.replace(_ADDRESS, path.encode("ascii"))


# -- the site's own policy --------------------------------------------------------------------------


def with_nonces(head: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Our script and style with the nonces of the site's own policy, if it has any in its headers.

    Under ``'strict-dynamic'`` a browser ignores host lists and ``'self'``: without the nonce the site's policy
    would refuse our script. A nonce that is not base64 is no nonce (CSP Level 3, section 2.3.1).
    """
    # The policy that is enforced first: the other one only watches.
    own = [value for kind in _NAMES.values() for name, value in headers if name.lower() == kind]
    if not any(b"'nonce-" in value for value in own):
        return head
    for tag, directives in ((b"<script ", _SCRIPTS), (b"<link ", _STYLES)):
        nonce = next(_nonces(own, directives), None)
        if nonce is not None:
            head = head.replace(tag, tag + b'nonce="' + nonce + b'" ')
    return head


#: which directive speaks about an element, the closest first (CSP Level 3, section 6.8.3)
_SCRIPTS: Final = (b"script-src-elem", b"script-src", b"default-src")
_STYLES: Final = (b"style-src-elem", b"style-src", b"default-src")


def _nonces(values: Iterable[bytes], directives: Sequence[bytes]) -> Iterator[bytes]:
    """The first nonce of each policy for these elements; one header line may hold several policies."""
    for policy in (policy for value in values for policy in value.split(b",")):
        said: dict[bytes, bytes] = {}
        for directive in policy.split(b";"):
            name, _, rest = directive.strip().partition(b" ")
            # Of a directive that comes twice the first counts.
            said.setdefault(name.lower(), rest)
        speaking = next((name for name in directives if name in said), None)
        if speaking is not None and (match := _NONCE.search(said[speaking])) is not None:
            yield match[1]
