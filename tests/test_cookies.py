"""What a response may set and what it takes away: denied services' cookies never stand, HttpOnly ones included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.gate.cookies import expiries, filter_set_cookie, hide, leftovers
from consentmw.purposes import Catalogue

CATALOGUE = Catalogue.load()
EVERYTHING = frozenset(CATALOGUE.services)
ATTRIBUTES = {b"Path", b"Domain", b"Max-Age", b"Expires", b"Secure"}


def lines(pairs: list[tuple[bytes, bytes]]) -> list[str]:
    return [value.decode("latin-1") for _, value in pairs]


@pytest.mark.parametrize(
    "line",
    [
        b"_ga=1",
        b" _ga =1",
        b"_ga",
        b"_ga=1; HttpOnly; Domain=site.example",
        b"_ga_ABC=GS2.1",
        b"_gcl_au=1",
        b"_fbp=fb.1",
    ],
)
def test_a_denied_services_cookie_is_not_set_however_it_is_written(line: bytes) -> None:
    kept, dropped = filter_set_cookie([(b"Set-Cookie", line), (b"x-other", b"1")], CATALOGUE, EVERYTHING)
    assert kept == [(b"x-other", b"1")]
    assert dropped == [line.partition(b"=")[0].decode().strip()]


@pytest.mark.parametrize("line", [b"session=_ga=1", b"my_ga=1", b"_gallery=1", b"x=1; Comment=_ga", b"", b"=", b";;"])
def test_a_cookie_that_is_in_no_catalogue_is_left_alone(line: bytes) -> None:
    given_headers = [(b"set-cookie", line)]
    assert filter_set_cookie(given_headers, CATALOGUE, EVERYTHING) == (given_headers, [])


def test_a_granted_services_cookie_is_set() -> None:
    given_headers = [(b"set-cookie", b"_ga=1"), (b"set-cookie", b"_fbp=1")]
    kept, dropped = filter_set_cookie(given_headers, CATALOGUE, frozenset({"meta_pixel"}))
    assert kept == given_headers[:1]
    assert dropped == ["_fbp"]


def test_leftovers_name_each_denied_cookie_once_and_no_other() -> None:
    names = ["session", "_ga", "_fbp", "_ga", "_ga_X1"]
    assert leftovers(names, CATALOGUE, frozenset({"google_analytics"})) == ["_ga", "_ga_X1"]


def test_a_cookie_is_expired_for_the_host_and_every_domain_above_it() -> None:
    """A request shows only the name, so each domain a script may have chosen gets its line."""
    found = lines(expiries(["_ga"], "a.www.utility.example", secure=True))
    domains = [line.partition("Domain=")[2].partition(";")[0] for line in found]
    assert domains == ["", "a.www.utility.example", "www.utility.example", "utility.example"]
    for line in found:
        assert line.startswith("_ga=;")
        assert "Max-Age=0" in line
        assert "Path=/;" in line
        assert line.endswith("; Secure")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "::1", "localhost", "", "..", "ütility.example", "a..b"])
def test_a_host_without_parents_gets_one_line(host: str) -> None:
    assert len(expiries(["_ga"], host, secure=False)) == 1


def test_a_public_suffix_is_never_a_cookies_domain() -> None:
    found = "\n".join(lines(expiries(["_ga"], "shop.example.co.uk", secure=False)))
    assert "Domain=example.co.uk" in found
    assert "Domain=co.uk" not in found
    assert "Secure" not in found


@given(st.lists(st.text(max_size=30), max_size=40), st.text(max_size=60))
def test_whatever_a_request_holds_no_line_can_be_split_and_their_number_is_bounded(names: list[str], host: str) -> None:
    found = expiries(names, host, secure=True)
    assert len(found) <= 60
    for name, value in found:
        assert name == b"set-cookie"
        assert not any(byte < 32 or byte == 127 for byte in value)
        crumb, _, attributes = value.partition(b";")
        assert crumb.endswith(b"="), "the value is empty, and nothing of the name became an attribute"
        assert {part.partition(b"=")[0].strip() for part in attributes.split(b";")} <= ATTRIBUTES


# -- what the application does not get to see --------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ([b"_ga=1; mine=1"], [b"mine=1"]),
        ([b"mine=1; _ga=1; other=a=b"], [b"mine=1; other=a=b"]),
        ([b"_ga=1", b"mine=1"], [b"mine=1"]),
        ([b"_ga=1; _ga=2"], []),
        ([b"a_ga=1; _ga_=2"], [b"a_ga=1; _ga_=2"]),
        ([b'{"k": 1}; _ga=1; =; "'], [b'{"k": 1}; =; "']),
        ([b"mine=1"], [b"mine=1"]),
    ],
)
def test_cookies_that_may_not_be_used_are_not_seen(sent: list[bytes], left: list[bytes]) -> None:
    """Every other crumb stays as it was, broken ones too: they are the application's business."""
    headers = [(b"host", b"x"), *((b"Cookie", value) for value in sent)]
    assert hide(headers, ["_ga"]) == [(b"host", b"x"), *((b"Cookie", value) for value in left)]
