"""What a request says about its visitor is read as the standards say, and nothing hostile gets further than that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consentmw.errors import SettingsError
from consentmw.visitor import Visitor, client_address, cookies, gpc

DATA = Path(__file__).parent / "data"
XFF = json.loads((DATA / "xff_vectors.json").read_text())
GPC = json.loads((DATA / "gpc_header_vectors.json").read_text())

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
PROXIES = ("10.0.0.0/8", "fd00::/8")


def pairs(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def visitor(*headers: tuple[str, str], trusted: tuple[str, ...] = (), **scope: Any) -> Visitor:
    scope = {"type": "http", "scheme": "http", "client": ("203.0.113.9", 50000), "headers": pairs(*headers), **scope}
    return Visitor.read(scope, trusted)


# -- the address -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", XFF["cases"], ids=lambda case: case["why"])
def test_address_follows_the_vectors(case: dict[str, Any]) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in case["xff"]]
    assert client_address(case["peer"], headers, XFF["trusted"]) == case["client"]
    networks = [ip_network(entry) for entry in XFF["trusted"]]
    assert client_address(case["peer"], headers, networks) == case["client"], "networks count like texts"


@pytest.mark.parametrize(
    ("lines", "client", "why"),
    [
        (["6.6.6.6", "198.51.100.7", "10.0.0.9"], "198.51.100.7", "several lines are one list, in order"),
        (["198.51.100.7:4711"], "198.51.100.7", "IPv4 with a port"),
        (["fe80::1%eth0"], "fe80::1", "a zone means nothing here"),
        (["198.51.100.7, "], "10.0.0.1", "an empty last member: nobody vouches for what is left of it"),
        (["6.6.6.6, _hidden"], "10.0.0.1", "obfuscated: the forgery left of it is not believed"),
        (["198.51.100.7, garbage, 10.0.0.9"], "10.0.0.9", "the last address a trusted proxy vouched for"),
        (["010.1.1.1"], "10.0.0.1", "leading zeros are octal to some and decimal to others"),
        (["198.51.100.7:80:80"], "10.0.0.1", "two ports"),
        (["[198.51.100.7"], "10.0.0.1", "an open bracket"),
        (["[2001:db8::1]junk"], "10.0.0.1", "junk behind a bracket"),
        (["1" * 5000], "10.0.0.1", "longer than any address"),
        (["fe80::1%" + "x" * 5000], "10.0.0.1", "also when an address could be made of it: it would be remembered"),
        (["\u00b9.1.1.1"], "10.0.0.1", "a digit that is none"),
        ([", ".join(["10.0.0.9"] * 500)], "10.0.0.9", "an endless chain of trusted hops ends at a trusted one"),
        ([], "10.0.0.1", "no header at all"),
    ],
)
def test_address_behind_a_trusted_proxy(lines: list[str], client: str, why: str) -> None:
    assert client_address("10.0.0.1", pairs(*[("X-Forwarded-For", line) for line in lines]), PROXIES) == client, why


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('for="198.51.100.7:80";proto=https;by=10.0.0.1', "198.51.100.7"),
        ('By="_x";FOR="[2001:db8::7]:4711";proto=https', "2001:db8::7"),
        ("for=6.6.6.6, for=198.51.100.7, for=10.0.0.9", "198.51.100.7"),
        ("for=10.7.7.7, for=10.0.0.9", "10.7.7.7"),
        ("for=unknown", "10.0.0.1"),
        ('for="_gazonk"', "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        ("for=6.6.6.6;for=198.51.100.7", "10.0.0.1"),
        ("for 198.51.100.7", "10.0.0.1"),
        # A quote that the visitor left open must not swallow what the proxy wrote behind it,
        ('for="6.6.6.6, for=198.51.100.7', "198.51.100.7"),
        # and a host name with a comma, copied into quotes by the proxy, must not pass for an element.
        ('for=198.51.100.7;host="x, for=6.6.6.6"', "10.0.0.1"),
        ('for=198.51.100.7;host="x, for=6.6.6.6, y"', "10.0.0.1"),
        ('for=198.51.100.7;host="x, for=6.6.6.6;y=\\""', "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_address_from_the_forwarded_header(value: str, client: str) -> None:
    assert client_address("10.0.0.1", pairs(("Forwarded", value)), PROXIES) == client


def test_x_forwarded_for_wins_over_forwarded() -> None:
    headers = pairs(("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.7"))
    assert client_address("10.0.0.1", headers, PROXIES) == "198.51.100.7"


@pytest.mark.parametrize(
    ("peer", "trusted", "client"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("::ffff:203.0.113.9", (), "203.0.113.9"),
        ("testclient", (), ""),
        ("testclient", PROXIES, ""),
        (None, (), ""),
        (None, PROXIES, ""),
        (None, ("unix",), "198.51.100.7"),
        ("", ("unix",), "198.51.100.7"),
        ("10.0.0.1", ("unix",), "10.0.0.1"),
        ("::ffff:10.0.0.1", PROXIES, "198.51.100.7"),
        ("10.0.0.1", ("10.0.0.99/8",), "198.51.100.7"),
    ],
)
def test_the_peer_decides_whether_headers_are_believed(peer: str | None, trusted: tuple[str, ...], client: str) -> None:
    assert client_address(peer, pairs(("x-forwarded-for", "198.51.100.7")), trusted) == client


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "proxy.example", "", "*"])
def test_a_proxy_that_is_no_network_is_refused_by_its_name(entry: str) -> None:
    with pytest.raises(SettingsError, match="trusted_proxies"):
        client_address("10.0.0.1", [], (entry,))


NASTY = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"1.2.3.4", b"10.0.0.9", b"for=1.2.3.4", b'for="', b",", b";", b'"', b"\\", b"[::1]", b"unknown"]),
)


@given(st.lists(st.tuples(st.sampled_from([b"X-Forwarded-For", b"forwarded"]), st.lists(NASTY).map(b"".join))))
def test_no_header_makes_an_address_that_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever comes in, an address comes out, and never a visitor's claim past the nearest honest hop."""
    ip_address(client_address("10.0.0.1", headers, PROXIES))
    assert client_address("203.0.113.9", headers, PROXIES) == "203.0.113.9"
    said = [*headers, (b"x-forwarded-for", b"198.51.100.7")]
    assert client_address("10.0.0.1", said, PROXIES) == "198.51.100.7"


# -- Global Privacy Control --------------------------------------------------------------------


@pytest.mark.parametrize("case", GPC, ids=lambda case: case["why"] or str(case["headers"]))
def test_gpc_follows_the_vectors(case: dict[str, Any]) -> None:
    headers = pairs(*[(name, value) for name, value in case["headers"]])
    assert gpc(headers) is case["gpc"]
    assert Visitor.read({"headers": headers}).gpc is case["gpc"]


@pytest.mark.parametrize(
    ("value", "on"),
    [("1, 1", True), ("0,1", True), ("1;q=1", False), ("11", False), ("01", False), ("true", False), ("\x0b1", False)],
)
def test_gpc_of_joined_and_decorated_values(value: str, on: bool) -> None:
    headers = pairs(("SEC-GPC", value))
    assert gpc(headers) is on
    assert Visitor.read({"headers": headers}).gpc is on


@given(st.lists(st.tuples(st.sampled_from([b"sec-gpc", b"Sec-GPC", b"dnt"]), st.binary(max_size=8)), max_size=4))
@example([(b"sec-gpc", b"0"), (b"Sec-GPC", b"1")])
def test_both_ways_to_read_gpc_agree(headers: list[tuple[bytes, bytes]]) -> None:
    assert gpc(headers) is Visitor.read({"headers": headers}).gpc


# -- cookies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("a=1; b=2", [("a", "1"), ("b", "2")]),
        ('a=1; {"k":1}; choice=x', [("a", "1"), ("choice", "x")]),
        ("a=1; foo; choice=x", [("a", "1"), ("choice", "x")]),
        ("=nameless; choice=x", [("choice", "x")]),
        ("a=1;;; b = 2 ;", [("a", "1"), ("b", "2")]),
        ('a="1; b=2"', [("a", '"1'), ("b", '2"')]),
        ("a=b=c", [("a", "b=c")]),
        ("a=1; a=2", [("a", "1"), ("a", "2")]),
        ("a=\xe4\xff", [("a", "\xe4\xff")]),
        ("", []),
        (";=;=;", []),
    ],
)
def test_a_broken_crumb_costs_no_other(header: str, expected: list[tuple[str, str]]) -> None:
    assert cookies(pairs(("cookie", header))) == expected


def test_all_cookie_headers_count() -> None:
    """HTTP/2 splits them, and servers hand them on in pieces."""
    headers = pairs(("cookie", "a=1"), ("Cookie", "b=2; a=3"))
    assert cookies(headers) == [("a", "1"), ("b", "2"), ("a", "3")]
    read = Visitor.read({"headers": headers})
    assert read.cookie("a") == ["1", "3"]
    assert read.cookie_names() == ["a", "b"]


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("privacy=1", ["1"]),
        ("xprivacy=0; privacy=1; privacy2=2; y=privacy=3", ["1"]),
        ("privacy=privacy=1;privacy = 2 ", ["privacy=1", "2"]),
        ("privacy; a privacy=0", []),
        ("Privacy=1", []),
        ("", []),
    ],
)
def test_a_cookie_is_found_by_its_whole_name(header: str, values: list[str]) -> None:
    assert visitor(("cookie", header)).cookie("privacy") == values


CRUMBS = st.lists(st.sampled_from(["a", "b", "ab", "=", ";", " ", "\t", '"', "\xff", "\x00", "a=1", "; ", ","])).map(
    "".join
)


@given(st.lists(CRUMBS, max_size=4))
@example(["a=1;a", "=2"])
def test_the_quick_way_to_a_cookie_agrees_with_the_thorough_one(lines: list[str]) -> None:
    headers = pairs(*[("cookie", line) for line in lines])
    read = Visitor.read({"headers": headers})
    for name in ("a", "b", "ab"):
        assert read.cookie(name) == [value for found, value in cookies(headers) if found == name]
    assert set(read.cookie_names()) == {name for name, _ in cookies(headers)}


# -- the rest of the request ---------------------------------------------------------------------


def test_every_part_is_read_whatever_the_spelling() -> None:
    read = visitor(
        ("HOST", "WWW.Example.COM.:8443"),
        ("User-Agent", CHROME),
        ("Accept", "text/html"),
        ("Accept", "*/*"),
        ("ACCEPT-LANGUAGE", "es"),
        ("Referer", "https://a.example/b"),
        ("Origin", "https://www.example.com"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("DNT", "1"),
    )
    assert (read.host, read.authority) == ("www.example.com", "WWW.Example.COM.:8443")
    assert (read.agent, read.accept, read.accept_language) == (CHROME, "text/html, */*", "es")
    assert (read.referrer, read.origin) == ("https://a.example/b", "https://www.example.com")
    assert read.fetch_site == "same-origin"
    assert read.field(b"dnt") == b"1"
    assert read.field(b"sec-fetch-mode") == b"navigate"
    assert read.address == "203.0.113.9"


def test_an_empty_scope_is_a_visitor_too() -> None:
    scopes: list[dict[str, Any]] = [{}, {"headers": None, "client": None}, {"headers": [], "scheme": None}]
    for scope in scopes:
        read = Visitor.read(scope)
        assert (read.host, read.scheme, read.address, read.agent, read.cookies) == ("", "http", "", "", b"")
        assert not read.gpc
        assert read.field(b"dnt") == read.field(b"x-signal") == b""
        assert [*read.cookie("privacy"), *read.cookie_names(), *read.headers] == []


def test_headers_from_a_generator_are_kept_for_the_application() -> None:
    """A generator can be read once; whoever comes after us must find the headers too."""

    def generate() -> Iterator[tuple[bytes, bytes]]:
        yield b"host", b"example.com"
        yield b"x-forwarded-for", b"198.51.100.7"

    read = Visitor.read({"headers": generate(), "client": ("10.0.0.1", 1)}, PROXIES)
    assert read.address == "198.51.100.7"
    assert read.headers == [(b"host", b"example.com"), (b"x-forwarded-for", b"198.51.100.7")]


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("example.com", "example.com"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "[::1]"),
        ("exa_mple.com:", "exa_mple.com"),
        ("user@example.com", ""),
        ("example.com/path", ""),
        ("example.com:80, evil.example", ""),
        ("example.com\r\nX: 1", ""),
        ("a" * 70_000, ""),
        ("example.com" + "x" * 300, ""),
        ("", ""),
    ],
)
def test_a_host_is_a_host_or_nothing(header: str, host: str) -> None:
    assert visitor(("host", header)).host == host


@pytest.mark.parametrize(
    ("scheme", "headers", "trusted", "expected"),
    [
        ("http", [], (), "http"),
        ("https", [], (), "https"),
        ("wss", [], (), "https"),
        ("ws", [], (), "http"),
        ("http", [("x-forwarded-proto", "https")], (), "http"),
        ("http", [("x-forwarded-proto", "https")], ("192.0.2.1",), "http"),
        ("http", [("X-Forwarded-Proto", "HTTPS")], ("203.0.113.9",), "https"),
        ("http", [("x-forwarded-proto", "https, http")], ("203.0.113.9",), "https"),
        ("http", [("x-forwarded-proto", "http, https")], ("203.0.113.9",), "http"),
        ("http", [("x-forwarded-proto", "httpsx")], ("203.0.113.9",), "http"),
        ("http", [("forwarded", "for=1.2.3.4;proto=https")], ("203.0.113.9",), "https"),
        ("http", [("forwarded", "proto=https"), ("x-forwarded-proto", "http")], ("203.0.113.9",), "http"),
        ("https", [("x-forwarded-proto", "http")], ("203.0.113.9",), "https"),
    ],
)
def test_the_scheme_is_believed_from_trusted_proxies_only(
    scheme: str, headers: list[tuple[str, str]], trusted: tuple[str, ...], expected: str
) -> None:
    assert visitor(*headers, trusted=trusted, scheme=scheme).scheme == expected


def test_what_is_handed_on_as_text_is_bounded() -> None:
    """Texts become keys of what is remembered; a visitor must not choose how much memory that takes."""
    long = "a" * 1_000_000
    read = visitor(("user-agent", long), ("accept-language", long), ("referer", long))
    assert max(map(len, (read.agent, read.accept_language, read.referrer))) <= 2048


# -- programs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (CHROME, ""),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/26.0 Safari/604.1", ""),
        ("Mozilla/5.0 (Linux; Android 13; CUBOT X70) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36", ""),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", ""),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot: bot"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/141.0.0.0 Safari/537.36", "bot: headless"),
        ("curl/8.5.0", "bot: curl"),
        ("python-requests/2.32", "bot: python-requests"),
        ("FacebookExternalHit/1.1", "bot: facebookexternalhit"),
        ("CUBOT crawler", "bot: crawl"),
        ("", "no agent"),
        (" \t", "no agent"),
    ],
)
def test_programs_are_told_from_people(agent: str, reason: str) -> None:
    assert visitor(("user-agent", agent)).bot == reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Sec-Purpose", "prefetch", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender", "prefetch"),
        ("Purpose", "prefetch", "prefetch"),
        ("X-Moz", "Prefetch", "prefetch"),
        ("X-Purpose", "preview", "prefetch"),
        ("X-Purpose", "instant", "prefetch"),
        ("Sec-Purpose", "", ""),
        ("Sec-Purpose", "something-new", ""),
    ],
)
def test_a_page_fetched_ahead_is_not_seen_by_anybody(name: str, value: str, reason: str) -> None:
    assert visitor(("user-agent", CHROME), (name, value)).bot == reason


def test_no_agent_header_is_no_agent() -> None:
    assert visitor().bot == "no agent"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"cookie", b"Host", b"user-agent", b"sec-gpc", b"accept-language", b"forwarded", b"x"]),
            st.binary(max_size=60),
        ),
        max_size=8,
    )
)
def test_no_header_makes_reading_fail(headers: list[tuple[bytes, bytes]]) -> None:
    read = Visitor.read({"headers": headers, "client": ("10.0.0.1", 1)}, PROXIES)
    assert isinstance(read.bot, str)
    assert read.scheme in ("http", "https")
    assert all(isinstance(name, str) for name in (*read.cookie_names(), *read.cookie("a"), read.accept_language))
