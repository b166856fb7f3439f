"""What an address tells about the network behind it: whether it is the site's own, its provider, its domain.

The provider comes from a file on this machine. The domain comes from the domain name system, which may be
slow or silent: a few threads of its own ask it, and whoever writes rows waits for all of them together, a
second at most. What is not known by then stays unknown. Refuses to know which tier may keep any of it.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from queue import Empty, Full, Queue
from socket import EAI_NODATA, EAI_NONAME, gaierror, getaddrinfo, gethostbyaddr, herror
from threading import Condition, Thread
from typing import Any, Final

from ..gate.domains import registrable
from ..mmdb import open_networks

__all__ = ["Domains", "Networks", "inside", "open_visitor_networks"]

logger = logging.getLogger("consentmw")

#: threads that ask; each may hang for as long as the system's resolver likes
_THREADS: Final = 8
#: addresses that may wait for one of them; of more the domain stays unknown
_WAITING: Final = 1_000
#: answers that are remembered; each some 200 bytes
_REMEMBERED: Final = 10_000
#: seconds that an answer holds, and that nobody is asked again where no answer came
_HOLDS: Final = 6 * 3600.0
_PAUSES: Final = 300.0
#: seconds that a batch of rows waits, at most; and for how long none waits after one that did so in vain
_PATIENCE: Final = 1.0
_IMPATIENCE: Final = 60.0
#: seconds after which a thread with nothing to ask ends
_IDLE: Final = 30.0
#: "there is no such name", as both of the system's functions say it (netdb.h)
_NONE: Final = frozenset({1, 4, EAI_NONAME, EAI_NODATA})
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?>(?:\.[a-z0-9_-]{1,63})+)")
_LONGEST_PROVIDER: Final = 80
#: what publishers call the provider, best first: GeoIP2 ISP, GeoLite2 ASN and ip-location-db, IPinfo
_PROVIDER: Final = ("isp", "autonomous_system_organization", "as_name", "name")


@lru_cache(maxsize=16)
def _compiled(networks: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(ip_network(network, strict=False) for network in networks)


@lru_cache(maxsize=4096)
def inside(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of these networks (CIDR); never for what is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in _compiled(networks) if network.version == found.version)


class Networks:
    """What a site wants to know about the networks of its visitors. Raises SettingsError when the file can't be used.

    Hashed by identity, so that it can travel beside an address.
    """

    def __init__(self, providers: Path | None = None, domains: Domains | None = None) -> None:
        """``providers``: an MMDB file, or None; ``domains``: who asks for names, or None."""
        self._record = open_networks(providers, "asn_networks") if providers is not None else None
        self._domains = domains

    def provider(self, address: str) -> str:
        """Who gives this address its connection; "" when nothing tells."""
        return _provider(self._record(address)) if self._record is not None else ""

    def domain(self, address: str) -> str:
        """The domain of this address as far as it is known by now, else ""."""
        return self._domains.known(address) if self._domains is not None else ""

    def prepare(self, addresses: Iterable[str]) -> None:
        """Find out about these addresses before :meth:`domain` is asked for them. Takes a second at most."""
        if self._domains is not None:
            self._domains.ask(addresses)


def open_visitor_networks(providers: Path | None, domains: bool) -> Networks | None:
    """What settings name, or None when nothing is to be found out. Raises SettingsError."""
    return Networks(providers, Domains() if domains else None) if providers is not None or domains else None


def _provider(record: Any) -> str:
    if not isinstance(record, dict):
        return ""
    names = (record[key] for key in _PROVIDER if isinstance(record.get(key), str))
    return "".join(c for c in next(names, "") if c.isprintable())[:_LONGEST_PROVIDER]


def _names(address: str) -> Collection[str]:
    """The names that the owner of a network gave an address; none when there are none. Raises OSError."""
    try:
        name, others, _ = gethostbyaddr(address)
    except (herror, gaierror) as error:
        if error.errno not in _NONE:
            raise
        return ()
    return (name, *others)


def _addresses(name: str) -> Collection[str]:
    """The addresses of a name; none when there are none. Raises OSError."""
    try:
        return {str(found[4][0]) for found in getaddrinfo(name, None)}
    except UnicodeError:
        return ()
    except gaierror as error:
        if error.errno not in _NONE:
            raise
        return ()


class Domains:
    """Registrable domains of addresses, by the domain name system, confirmed in both directions.

    Whoever owns an address may give it any name, so a name counts only when it leads back to the address.
    """

    def __init__(
        self,
        names: Callable[[str], Collection[str]] = _names,
        addresses: Callable[[str], Collection[str]] = _addresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``names`` of an address and ``addresses`` of a name raise OSError when nobody answers; ``clock``: seconds."""
        self._names, self._addresses, self._clock = names, addresses, clock
        self._begin()

    def _begin(self) -> None:
        """Everything that belongs to one process: a fork has none of its parent's threads."""
        self._process = os.getpid()
        self._changed = Condition()
        #: address -> domain and until when it holds; None while it is asked for
        self._found: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._waiting: Queue[str] = Queue(_WAITING)
        self._threads = 0
        self._impatient_until = -_IMPATIENCE

    def _renew(self) -> None:
        if self._process != os.getpid():
            self._begin()

    def known(self, address: str) -> str:
        """The domain, or "" as long as it is not known. Never waits."""
        self._renew()
        with self._changed:
            found, until = self._found.get(address, (None, 0.0))
        return found if found is not None and self._clock() < until else ""

    def ask(self, addresses: Iterable[str]) -> None:
        """Ask for all of these that are not known, and wait for the answers, a second at most."""
        self._renew()
        now = self._clock()
        with self._changed:
            asked = [address for address in dict.fromkeys(addresses) if self._wanted(address, now)]
            open_ = set(asked)
            if now < self._impatient_until or not open_:
                return
            if not self._changed.wait_for(lambda: self._answered(open_), _PATIENCE):
                self._impatient_until = self._clock() + _IMPATIENCE

    def _answered(self, addresses: Iterable[str]) -> bool:
        return all(self._found.get(address, ("", 0.0))[0] is not None for address in addresses)

    def _wanted(self, address: str, now: float) -> bool:
        """Put an address in the queue if its domain is to be found out."""
        found = self._found.get(address)
        if found is not None and (found[0] is None or now < found[1]):
            return False
        if not _public(address):
            return False
        try:
            self._waiting.put_nowait(address)
        except Full:
            return False
        if not self._staffed():
            return False
        self._remember(address, None, now + _PAUSES)
        return True

    def _staffed(self) -> bool:
        if self._threads < _THREADS:
            try:
                # Daemons: at the end of the process nobody waits for a resolver that hangs.
                Thread(target=self._work, args=(self._waiting,), name="consentmw-domains", daemon=True).start()
            except RuntimeError:
                return self._threads > 0
            self._threads += 1
        return True

    def _remember(self, address: str, domain: str | None, until: float) -> None:
        self._found[address] = (domain, until)
        self._found.move_to_end(address)
        while len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)

    def _work(self, waiting: Queue[str]) -> None:
        while True:
            try:
                address = waiting.get(timeout=_IDLE)
            except Empty:
                with self._changed:
                    if waiting.empty():
                        self._threads -= 1
                        return
                continue
            domain, holds = "", _PAUSES
            try:
                domain, holds = self._confirmed(address), _HOLDS
            except OSError:
                pass  # nobody answered; somebody may in some minutes
            except Exception:
                logger.exception("the domain of an address could not be found out")
            with self._changed:
                self._remember(address, domain, self._clock() + holds)
                self._changed.notify_all()

    def _confirmed(self, address: str) -> str:
        for name in list(self._names(address))[:4]:
            name = name.lower().rstrip(".")
            if not _NAME.fullmatch(name) or not (domain := registrable(name)):
                continue
            if any(_same(address, other) for other in self._addresses(name)):
                return domain
        return ""


def _public(address: str) -> bool:
    """Whether this is an address of the Internet: others mean nothing outside, and asking for them tells of us."""
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def _same(address: str, other: str) -> bool:
    try:
        return ip_address(address) == ip_address(other.partition("%")[0])
    except ValueError:
        return False
