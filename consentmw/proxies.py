"""Who is behind a chain of proxies: the client's address, as far as a trusted proxy vouches for it.

Knows X-Forwarded-For and Forwarded (RFC 7239) and who may write them; whatever else comes from the
wire is bounded and believed nothing. Refuses to know anything else of a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from .errors import SettingsError

__all__ = ["Headers", "Trusted", "client_address", "first_parameter", "vouched"]

#: header pairs as ASGI gives them: names may come in capitals, from a list or a generator
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
#: proxies whose word is taken: addresses or networks, and "unix" for a peer on a Unix socket
Trusted: TypeAlias = Sequence[str] | Sequence[IPv4Network | IPv6Network]

_Address: TypeAlias = IPv4Address | IPv6Address

#: an address chain longer than this is not followed to its end; real ones have two or three
_MAX_HOPS: Final = 32
#: more than the longest address with brackets, zone and port
_MAX_NODE: Final = 80

_PORTED: Final = re.compile(r"(?:\[([^][]*)\]|([0-9.]+))(?::[0-9A-Za-z._-]{1,12})?")
_PAIR: Final = re.compile(rb"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"([^"\\]*)"|([^",;\s\\]*))""")


class _Trust:
    """The trusted proxies, compiled."""

    __slots__ = ("_networks", "unix")

    def __init__(self, trusted: tuple[str | IPv4Network | IPv6Network, ...]) -> None:
        self.unix = "unix" in trusted
        networks = []
        for entry in trusted:
            if entry == "unix":
                continue
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError as error:
                raise SettingsError("trusted_proxies", f"addresses, networks or 'unix', not {entry!r}") from error
        self._networks = tuple(networks)

    def __contains__(self, address: _Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


@lru_cache(maxsize=16)
def _trust(trusted: tuple[str | IPv4Network | IPv6Network, ...]) -> _Trust:
    return _Trust(trusted)


@lru_cache(maxsize=4096)
def _address(text: str) -> _Address | None:
    """The address in its plain form (no zone, no IPv4 inside IPv6), or None when it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


@lru_cache(maxsize=4096)
def _text(peer: str) -> str:
    address = _address(peer)
    return str(address) if address is not None else ""


def _node(text: str) -> _Address | None:
    """One hop as a proxy wrote it: ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``."""
    text = text.strip(" \t")
    if len(text) > _MAX_NODE:
        return None
    match = _PORTED.fullmatch(text)
    return _address(match[1] or match[2] or "") if match else _address(text)


def _pairs(element: bytes) -> dict[bytes, bytes]:
    """The parameters of one RFC 7239 element; empty when any part of it is malformed or comes twice."""
    found: dict[bytes, bytes] = {}
    for part in element.split(b";"):
        text = part.strip(b" \t")
        match = _PAIR.fullmatch(text)
        if match is not None and match[1].lower() not in found:
            found[match[1].lower()] = match[2] if match[2] is not None else match[3]
        elif text:
            return {}
    return found


def _hops(headers: Headers) -> Iterator[str]:
    """The hops that proxies noted, nearest first. X-Forwarded-For wins over Forwarded when both came."""
    listed: list[bytes] = []
    forwarded: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"x-forwarded-for":
            listed.append(value)
        elif lowered == b"forwarded":
            forwarded.append(value)
    # Cut at every comma, also inside quotes: a quote that a visitor left open then cannot swallow
    # what a proxy wrote after it, and an element cut in two is malformed and ends the walk.
    for hop in reversed(b",".join(listed or forwarded).rsplit(b",", _MAX_HOPS)):
        yield (hop if listed else _pairs(hop).get(b"for", b"")).decode("latin-1")


def client_address(peer: str | None, headers: Headers, trusted: Trusted = ()) -> str:
    """The visitor's address, or "" when it cannot be told.

    ``peer`` is who connected; None is a Unix socket, believed only with "unix" among the trusted.
    A peer that is not trusted is the visitor, whatever the headers say. Behind trusted proxies the
    hops of X-Forwarded-For, or of Forwarded (RFC 7239) when only that came, are walked from right
    to left: the first that is not trusted is the visitor, and a malformed or hidden one ends the
    walk at the last address that a trusted proxy vouched for. A trusted proxy must write one of the
    two itself, and should drop the other. Raises SettingsError when ``trusted`` holds something else
    than addresses, networks and "unix".
    """
    if not trusted:
        return _text(peer) if peer else ""
    verified = _address(peer) if peer else None
    trust = _trust(tuple(trusted))
    if not _vouched(peer, verified, trust):
        return str(verified) if verified is not None else ""
    for hop in _hops(headers):
        address = _node(hop)
        if address is None:
            break
        verified = address
        if address not in trust:
            break
    return str(verified) if verified is not None else ""


def _vouched(peer: str | None, address: _Address | None, trust: _Trust) -> bool:
    """Whether the headers come from a trusted proxy."""
    return address in trust if address is not None else (not peer and trust.unix)


def vouched(peer: str | None, trusted: Trusted) -> bool:
    """Whether this peer is a proxy whose headers are believed."""
    return _vouched(peer, _address(peer) if peer else None, _trust(tuple(trusted)))


def first_parameter(forwarded: bytes, name: bytes) -> bytes:
    """A parameter of the first element of a Forwarded header: the hop nearest to the visitor; b"" without one."""
    return _pairs(forwarded.partition(b",")[0]).get(name, b"")
