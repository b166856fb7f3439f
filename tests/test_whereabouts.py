"""A region that nobody stated is a guess from a trusted proxy or a local file, says so, and is never guessed wildly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from consentmw.errors import SettingsError
from consentmw.visitor import Visitor
from consentmw.whereabouts import CDNS, Whereabouts

Pairs = list[tuple[bytes, bytes]]


def visitor(headers: Pairs = [], peer: str = "10.0.0.1", trusted: tuple[str, ...] = ("10.0.0.0/8",)) -> Visitor:  # noqa: B006
    return Visitor.read({"type": "http", "client": (peer, 1), "headers": headers}, trusted)


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    writer = MMDBWriter(6, ipv4_compatible=True, database_type="Test-City")
    rows: dict[str, dict[str, Any]] = {
        "192.0.2.0/25": {"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "IA"}]},
        "192.0.2.128/25": {"country_code": "DE"},
        "198.51.100.0/24": {"country": "odd", "subdivisions": "odd"},
        "203.0.113.0/24": {"country": {"iso_code": 7}, "subdivisions": [7]},
        "2001:db8::/32": {"country": {"iso_code": "CA"}, "subdivisions": [{"iso_code": "QC"}]},
    }
    for network, row in rows.items():
        writer.insert_network(IPSet([network]), row)
    path = tmp_path / "networks.mmdb"
    writer.to_db_file(str(path))
    return path


@pytest.mark.parametrize(
    ("cdn", "headers", "region"),
    [
        ("cloudflare", [(b"cf-ipcountry", b"US"), (b"cf-region-code", b"IA")], "US-IA"),
        ("cloudflare", [(b"CF-IPCountry", b"de")], "DE"),
        ("cloudfront", [(b"cloudfront-viewer-country", b"US"), (b"cloudfront-viewer-country-region", b"WI")], "US-WI"),
        ("vercel", [(b"x-vercel-ip-country", b"CA"), (b"x-vercel-ip-country-region", b"CA-QC")], "CA-QC"),
        ("akamai", [(b"x-akamai-edgescape", b"georegion=1,country_code=US,region_code=MN,city=X")], "US-MN"),
        ("akamai", [(b"x-akamai-edgescape", b"country_code=FR")], "FR"),
        ("cloudflare", [(b"cf-ipcountry", b"XX")], ""),
        ("cloudflare", [(b"cf-ipcountry", b"T1")], ""),
        ("cloudflare", [(b"cf-region-code", b"IA")], ""),
        ("cloudflare", [(b"cf-ipcountry", b"US"), (b"cf-ipcountry", b"DE")], ""),
        ("cloudflare", [(b"cf-ipcountry", b"US"), (b"cf-region-code", b"Iowa")], "US"),
        ("cloudflare", [(b"cf-ipcountry", b"U\xff")], ""),
        ("cloudflare", [(b"x-vercel-ip-country", b"US")], ""),
        ("", [(b"cf-ipcountry", b"US")], ""),
    ],
)
def test_a_cdn_behind_a_trusted_proxy_tells_the_region(cdn: str, headers: Pairs, region: str) -> None:
    assert Whereabouts(cdn).region(visitor(headers)) == ((region, "header") if region else ("", "unknown"))


@pytest.mark.parametrize(("peer", "trusted"), [("192.0.2.7", ("10.0.0.0/8",)), ("10.0.0.1", ())])
def test_nobody_else_writes_that_header(peer: str, trusted: tuple[str, ...]) -> None:
    """Else every visitor could choose the law they are under, and a page of another regime would be theirs."""
    asked = visitor([(b"cf-ipcountry", b"US"), (b"cf-region-code", b"WI")], peer, trusted)
    assert Whereabouts("cloudflare").region(asked) == ("", "unknown")


@pytest.mark.parametrize(
    ("address", "region"),
    [("192.0.2.5", "US-IA"), ("192.0.2.200", "DE"), ("2001:db8::1", "CA-QC"), ("198.51.100.1", ""),
     ("203.0.113.1", ""), ("8.8.8.8", ""), ("::1", ""), ("", ""), ("nobody", "")],
)  # fmt: skip
def test_a_file_of_networks_tells_the_region_of_the_real_address(networks: Path, address: str, region: str) -> None:
    asked = visitor([(b"x-forwarded-for", address.encode())], "10.0.0.1")
    if not address or address == "nobody":
        asked = visitor([], address)
    assert Whereabouts("", networks).region(asked) == ((region, "network") if region else ("", "unknown"))


def test_the_cdn_knows_better_than_the_file(networks: Path) -> None:
    asked = visitor([(b"cf-ipcountry", b"US"), (b"x-forwarded-for", b"192.0.2.200")])
    assert Whereabouts("cloudflare", networks).region(asked) == ("US", "header")


@pytest.mark.parametrize("content", [None, b"", b"no database", b"\xab\xcd\xefMaxMind.com" + b"\x00" * 40])
def test_a_file_that_is_none_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="networks"):
        Whereabouts("", path)


@given(st.sampled_from(sorted(CDNS)), st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_a_header_says_it_is_a_region_or_none(cdn: str, country: bytes, subdivision: bytes) -> None:
    names = [name for name in CDNS[cdn] if name]
    found, source = Whereabouts(cdn).region(visitor(list(zip(names, (country, subdivision), strict=False))))
    assert source == ("header" if found else "unknown")
    assert found == "" or (found.isascii() and found.isupper() and 2 <= len(found) <= 6)
