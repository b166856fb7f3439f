"""What is known of a visitor's network comes from a file or is confirmed both ways, and nobody waits for it long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from consentmw import ConsentMiddleware
from consentmw.errors import SettingsError
from consentmw.events import Context, Count, Policy, Raw, complete, minimise, prepare
from consentmw.events import networks as room
from consentmw.events.networks import Domains, Networks, inside
from consentmw.settings import Settings

from .asgi import App, Header, html, http_scope, run
from .mounted import PAGE, choice_cookie, mounted
from .test_events import CHROME, GOOGLEBOT, decision, facts

HOME = "93.184.215.14"
SIX = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


class Names:
    """A domain name system that says what it is told, and can keep a caller waiting."""

    def __init__(self, reverse: dict[str, tuple[str, ...]], forward: dict[str, tuple[str, ...]]) -> None:
        self.reverse, self.forward = reverse, forward
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    def names(self, address: str) -> Collection[str]:
        self.asked.append(address)
        self.answers.wait(20)
        if address not in self.reverse:
            raise OSError("no answer")
        return self.reverse[address]

    def addresses(self, name: str) -> Collection[str]:
        return self.forward.get(name, ())


@pytest.fixture
def system() -> Iterator[Callable[..., tuple[Names, Domains]]]:
    made: list[Names] = []

    def make(reverse: Any, forward: Any = (), clock: Callable[[], float] = lambda: 0.0) -> tuple[Names, Domains]:
        names = Names(dict(reverse), dict(forward))
        made.append(names)
        return names, Domains(names.names, names.addresses, clock)

    yield make
    for names in made:
        names.answers.set()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    writer = MMDBWriter(6, ipv4_compatible=True, database_type="Test-ASN")
    rows: dict[str, dict[str, Any]] = {
        "203.0.113.0/25": {"autonomous_system_number": 64500, "autonomous_system_organization": "Prairie Fibre"},
        "203.0.113.128/26": {"as_name": "Lakes Cable", "asn": "AS64501"},
        "203.0.113.192/26": {"isp": "Wireless", "autonomous_system_organization": "Backbone"},
        "198.51.100.0/25": {"autonomous_system_organization": 7, "name": ["x"]},
        "198.51.100.128/25": {"autonomous_system_organization": "a\x00b\nc" + "é" * 200},
        "2001:db8::/32": {"autonomous_system_organization": "Six"},
    }
    for network, row in rows.items():
        writer.insert_network(IPSet([network]), row)
    path = tmp_path / "asn.mmdb"
    writer.to_db_file(str(path))
    return path


# -- the provider -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("203.0.113.5", "Prairie Fibre"),
        ("203.0.113.130", "Lakes Cable"),
        ("203.0.113.200", "Wireless"),
        ("2001:db8::1", "Six"),
        ("198.51.100.1", ""),
        ("198.51.100.200", "abc" + "é" * 77),
        ("8.8.8.8", ""),
        ("", ""),
        ("nobody", ""),
    ],
)
def test_a_file_tells_the_provider(file: Path, address: str, provider: str) -> None:
    assert Networks(file).provider(address) == provider


def test_an_unusable_file_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "x.mmdb").write_bytes(b"no such thing")
    for path in (tmp_path / "x.mmdb", tmp_path / "none.mmdb", tmp_path):
        with pytest.raises(SettingsError, match="asn_networks"):
            Networks(path)


# -- the domain ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "forward", "domain"),
    [
        (("host-5.dyn.example.com",), {"host-5.dyn.example.com": (HOME,)}, "example.com"),
        (("Host.Example.CO.UK.",), {"host.example.co.uk": ("192.0.2.1", HOME)}, "example.co.uk"),
        (("a.example.com",), {"a.example.com": ("192.0.2.1",)}, ""),
        (("a.example.com",), {}, ""),
        (("a.example.net", "a.example.com"), {"a.example.com": (HOME,)}, "example.com"),
        ((), {}, ""),
        (("localhost",), {"localhost": (HOME,)}, ""),
        (("co.uk",), {"co.uk": (HOME,)}, ""),
        ((HOME,), {HOME: (HOME,)}, ""),
        (("a.b\x00.example.com",), {"a.b\x00.example.com": (HOME,)}, ""),
        (("<script>.example.com",), {"<script>.example.com": (HOME,)}, ""),
        (("ä.example.com",), {"ä.example.com": (HOME,)}, ""),
        ((".".join(["a" * 60] * 5) + ".com",), {".".join(["a" * 60] * 5) + ".com": (HOME,)}, ""),
        (("a..example.com",), {"a..example.com": (HOME,)}, ""),
        (("x.example.com",), {"x.example.com": ("nobody", "%", HOME + "%eth0")}, "example.com"),
    ],
)
def test_a_name_counts_when_it_leads_back(
    system: Callable[..., tuple[Names, Domains]], names: tuple[str, ...], forward: Any, domain: str
) -> None:
    """Whoever owns an address writes its name: unconfirmed, anybody could come from anywhere."""
    _, domains = system({HOME: names}, forward)
    domains.ask([HOME])
    assert domains.known(HOME) == domain


def test_an_ipv6_address_is_confirmed_however_it_is_written(system: Callable[..., tuple[Names, Domains]]) -> None:
    _, domains = system({SIX: ("a.example.com",)}, {"a.example.com": (SIX.upper(),)})
    domains.ask([SIX])
    assert domains.known(SIX) == "example.com"


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "192.168.1.1", "", "nobody", "224.0.0.1%"]
)
def test_nobody_is_asked_for_what_is_no_address_of_the_internet(
    system: Callable[..., tuple[Names, Domains]], address: str
) -> None:
    names, domains = system({address: ("a.example.com",)}, {"a.example.com": (address,)})
    domains.ask([address])
    assert (names.asked, domains.known(address)) == ([], "")


def test_an_answer_is_remembered_for_hours_and_silence_for_minutes(
    system: Callable[..., tuple[Names, Domains]],
) -> None:
    now = [0.0]
    names, domains = system({HOME: ("a.example.com",)}, {"a.example.com": (HOME,)}, lambda: now[0])
    for at in (0.0, 3600.0, 6 * 3600.0 - 1):
        now[0] = at
        domains.ask([HOME, SIX])
        assert (domains.known(HOME), domains.known(SIX)) == ("example.com", "")
    assert (names.asked.count(HOME), names.asked.count(SIX)) == (1, 3)
    now[0] = 6 * 3600.0
    assert domains.known(HOME) == ""
    domains.ask([HOME])
    assert names.asked.count(HOME) == 2


def test_a_silent_system_holds_nobody_up(
    system: Callable[..., tuple[Names, Domains]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch waits its second in vain, the next ones not at all; what is answered later is there for later rows."""
    waits: list[float | None] = []
    real = threading.Condition.wait_for
    monkeypatch.setattr(room, "_PATIENCE", 0.05)
    now = [0.0]
    names, domains = system({HOME: ("a.example.com",)}, {"a.example.com": (HOME,)}, lambda: now[0])

    def wait_for(self: threading.Condition, test: Callable[[], bool], timeout: float | None = None) -> bool:
        waits.append(timeout)
        return real(self, test, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", wait_for)
    names.answers.clear()
    domains.ask([HOME])
    assert (domains.known(HOME), waits) == ("", [0.05])
    domains.ask(["93.184.215.15"])
    domains.ask(["93.184.215.16"])
    assert waits == [0.05]
    now[0] = 61.0
    domains.ask(["93.184.215.17"])
    assert waits == [0.05, 0.05]
    names.answers.set()
    with domains._changed:
        assert real(domains._changed, lambda: domains._found[HOME][0] is not None, 20)
    assert domains.known(HOME) == "example.com"


def test_addresses_that_wait_are_bounded(
    system: Callable[..., tuple[Names, Domains]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_PATIENCE", 0.01)
    monkeypatch.setattr(room, "_REMEMBERED", 100)
    names, domains = system({})
    names.answers.clear()
    domains.ask(f"93.184.{n // 250}.{n % 250}" for n in range(5_000))
    assert domains._waiting.qsize() <= 1_000
    assert domains._threads <= 8
    assert len(domains._found) <= 100


def test_a_mistake_of_the_system_leaves_the_domain_unknown() -> None:
    def broken(address: str) -> Collection[str]:
        raise RuntimeError("not foreseen")

    domains = Domains(broken, broken, lambda: 0.0)
    domains.ask([HOME])
    assert domains.known(HOME) == ""


def test_a_fork_asks_with_threads_of_its_own(
    system: Callable[..., tuple[Names, Domains]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child has none of its parent's threads, and a lock that one of them held would never open."""
    _, domains = system({HOME: ("a.example.com",)}, {"a.example.com": (HOME,)})
    domains.ask([HOME])
    domains._changed.acquire()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    done = threading.Thread(target=lambda: domains.ask([HOME]), daemon=True)
    done.start()
    done.join(20)
    assert not done.is_alive()
    assert domains.known(HOME) == "example.com"


def test_the_systems_own_functions_answer_or_say_that_nobody_does() -> None:
    """Of this machine only: what its own file of hosts says."""
    for ask, asked in (
        (room._names, "127.0.0.1"),
        (room._addresses, "localhost"),
        (room._addresses, "a" * 300 + ".example"),
    ):
        try:
            answer = ask(asked)
        except OSError:
            continue
        assert all(isinstance(found, str) for found in answer)
    assert "127.0.0.1" in room._addresses("localhost") or "::1" in room._addresses("localhost")


@given(st.text(max_size=60))
def test_no_name_breaks_it(name: str) -> None:
    domains = Domains(lambda address: (name,), lambda name: (HOME,), lambda: 0.0)
    assert domains._confirmed(HOME).isascii()


# -- rows ---------------------------------------------------------------------------------------


def rows(networks: Networks, tier: str, **policy: Any) -> Context:
    _, event = minimise(facts(recipient=""), decision(tier), Policy(networks=networks, **policy))
    assert event is not None
    prepare([event.context])
    return event.context


@pytest.mark.parametrize("ip", ["none", "truncated", "full"])
def test_a_visit_has_provider_and_domain_and_no_more_of_the_address(
    file: Path, system: Callable[..., tuple[Names, Domains]], ip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address travels to the writer in memory; a row has of it what ``ip`` allows."""
    monkeypatch.setattr(room, "_public", lambda address: True)
    _, domains = system({"203.0.113.77": ("h.example.com",)}, {"h.example.com": ("203.0.113.77",)})
    context = rows(Networks(file, domains), "visit", ip=ip)
    assert "203.0.113.77" not in repr(context).replace("ip='203.0.113.77'", "")
    whole = complete(context)
    assert (whole.isp, whole.domain, whole.raw) == ("Prairie Fibre", "example.com", None)
    assert whole.ip == {"none": None, "truncated": "203.0.113.0", "full": "203.0.113.77"}[ip]


def test_without_a_choice_nobody_looks_the_address_up(file: Path, system: Callable[..., tuple[Names, Domains]]) -> None:
    names, domains = system({})
    context = rows(Networks(file, domains), "coarse")
    assert context.raw is not None
    assert (context.raw.address, context.raw.networks, names.asked) == ("", None, [])
    assert (complete(context).isp, complete(context).domain) == (None, None)


def test_without_the_settings_the_address_goes_no_further() -> None:
    _, event = minimise(facts(recipient=""), decision("visit"), Policy(ip="none"))
    assert event is not None
    assert event.context.raw == Raw(CHROME, who="r" * 22)


async def test_a_site_records_them_as_its_settings_say(file: Path) -> None:
    site = mounted(App(*html(PAGE)), asn_networks=file)
    cookie = ("cookie", choice_cookie(site, "analytics"))
    await run(site, http_scope(headers=[cookie, ("user-agent", CHROME)], client=("203.0.113.7", 1)))
    assert site.recorder.flush(20)
    (row,) = site.recorder.store.events()
    assert (row["isp"], row["domain"], row["ip"]) == ("Prairie Fibre", "", "203.0.113.0")
    await site.site.close()


# -- the site's own people ----------------------------------------------------------------------

OWN = ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7")


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("10.1.2.3", True),
        ("2001:db8::1", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("::ffff:8.8.8.8", False),
        ("", False),
        ("nobody", False),
        ("10.1.2.3\x00", False),
    ],
)
def test_an_address_is_inside_or_not(address: str, own: bool) -> None:
    assert inside(address, OWN) is own


async def counted(client: str, agent: str, *more: Header, **options: Any) -> list[dict[str, Any]]:
    site = mounted(App(*html(PAGE)), internal_networks=("203.0.113.0/24",), **options)
    headers: list[Header] = [
        ("cookie", choice_cookie(site, "analytics")),
        ("user-agent", agent),
        ("x-forwarded-for", "203.0.113.9"),
        *more,
    ]
    await run(site, http_scope(headers=headers, client=(client, 1)))
    assert site.recorder.flush(20)
    found = [*site.recorder.store.counts(), *site.recorder.store.events()]
    await site.site.close()
    return found


@pytest.mark.parametrize(
    ("client", "agent", "verdict"),
    [
        ("203.0.113.7", CHROME, "internal"),
        ("203.0.113.7", GOOGLEBOT, "internal"),
        ("198.51.100.7", CHROME, ""),
        ("198.51.100.7", GOOGLEBOT, "bot: bot"),
    ],
)
async def test_own_people_are_marked_and_never_left_out(client: str, agent: str, verdict: str) -> None:
    """Nor is it enough to say so: the header of an untrusted peer makes nobody an employee."""
    count, row = await counted(client, agent)
    assert (count["bot"], row["bot"]) == (verdict, verdict)


@pytest.mark.parametrize(
    "header", [("Sec-Purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch")]
)
async def test_what_a_browser_fetches_ahead_is_recorded_as_that(header: Header) -> None:
    count, row = await counted("198.51.100.7", CHROME, header)
    assert (count["bot"], row["bot"]) == ("prefetch", "prefetch")


async def test_own_people_behind_a_trusted_proxy_are_marked() -> None:
    count, _ = await counted("198.51.100.7", CHROME, trusted_proxies=("198.51.100.0/24",))
    assert count["bot"] == "internal"


@pytest.mark.parametrize("networks", [["office"], ["10.0.0.1/8"], ["unix"], [""]])
def test_a_network_that_is_none_is_refused(networks: list[str]) -> None:
    with pytest.raises(SettingsError, match="internal_networks"):
        Settings.of({"debug": True, "internal_networks": networks})


def test_the_networks_of_proxies_are_still_checked() -> None:
    """Both options have a check of one kind; one must not replace the other."""
    with pytest.raises(SettingsError, match="trusted_proxies"):
        Settings.of({"debug": True, "trusted_proxies": ["office"]})
    assert Settings.of({"debug": True, "trusted_proxies": ["unix", "10.0.0.0/8"]}).trusted_proxies


def test_a_refused_file_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="asn_networks"):
        ConsentMiddleware(App(), {"debug": True, "store": "memory:", "asn_networks": tmp_path / "none"})


def test_a_count_stays_a_count() -> None:
    """The verdict is data of the counter, too, for visitors who leave no row."""
    count, event = minimise(facts(recipient=""), decision("count"), Policy(internal=("203.0.113.0/24",)))
    assert event is None
    assert isinstance(count, Count)
    assert count.bot == "internal"
