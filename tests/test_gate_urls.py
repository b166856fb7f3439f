"""Addresses as browsers read them: whatever reaches a denied host is recognised, what stays at home is left alone."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.gate.rules import Rules
from consentmw.gate.urls import mentions, read_address
from consentmw.purposes import Catalogue, Purpose, Service

from .html_oracle import ALL, CATALOGUE

RULES = Rules(CATALOGUE, ALL)

#: what browsers fetch from www.youtube.com, and the reason they do
REACHES = [
    ("https://www.youtube.com/embed/a", "the plain form"),
    ("http://www.youtube.com/embed/a", "the other scheme"),
    ("HTTPS://WWW.YouTube.COM/embed/a", "schemes and hosts know no case"),
    ("//www.youtube.com/embed/a", "the scheme of the page"),
    ("///www.youtube.com/embed/a", "further slashes are ignored"),
    ("////////www.youtube.com", "any number of them"),
    ("https:/www.youtube.com/a", "one slash is enough"),
    ("https:www.youtube.com/a", "on a page of another scheme none is needed"),
    ("https:\\\\www.youtube.com\\a", "backslashes are slashes"),
    ("\\\\www.youtube.com\\a", "without a scheme too"),
    ("/\\www.youtube.com", "and mixed"),
    ("\\/www.youtube.com", "either way round"),
    ("  https://www.youtube.com/  ", "white space around"),
    ("\x01\x1f https://www.youtube.com/", "control characters around"),
    ("ht\ntps://www.you\ttube.com/\r", "tabs and line ends inside vanish"),
    ("/\t/www.youtube.com", "between the slashes too"),
    ("https://user:pass@www.youtube.com/", "a user and a password"),
    ("https://www.example.com@www.youtube.com/", "a user that looks like a host"),
    ("https://a@b@www.youtube.com/", "the last @ counts"),
    ("https://www.youtube.com:443/", "a port"),
    ("https://www.youtube.com:/", "an empty port"),
    ("https://www.youtube.com./embed/a", "the final dot of a complete name"),
    ("https://www.youtube.com?x", "a query without a path"),
    ("https://www.youtube.com#x", "a fragment without a path"),
    ("https://www.%79outube.com/", "percent-encoded letters in the host"),
    ("https://www%2Eyoutube%2ecom/", "percent-encoded dots"),
    ("https://www.%EF%BD%99outube.com/", "a percent-encoded full-width letter"),
    ("https://ｗｗｗ.ｙｏｕｔｕｂｅ.ｃｏｍ/", "full-width letters"),
    ("https://www。youtube。com/", "ideographic full stops"),
    ("https://www．youtube｡com/", "full-width and half-width full stops"),
    ("https://www.you\u00adtube.com/", "a soft hyphen is not there"),
    ("https://www.you\u200btube.com/", "nor is a zero width space"),
    ("https://www.youtuⓑe.com/", "a letter in a circle"),
    ("https://www.𝐲outube.com/", "a mathematical letter"),
    ("https&colon;//www.youtube.com/", "a named character reference"),
    ("https&colon;&sol;&sol;www&period;youtube&period;com/", "several"),
    ("&#104;ttps://www.youtube.com/", "a decimal one"),
    ("&#x68;ttps://www.youtube.com/", "a hexadecimal one"),
    ("&#X68;ttps://www.youtube.com/", "with a capital X"),
    ("&#0000104ttps://www.youtube.com/", "with zeros and without a semicolon"),
    ("https:&sol;&Tab;/www.youtube.com/", "a tab by name"),
    ("https://www.you&NewLine;tube.com/", "a line end by name"),
    ("https://www.you&#9;tube.com/", "a tab by number"),
    ("&#32;https://www.youtube.com/", "white space by number"),
    ("https:&bsol;&bsol;www.youtube.com/", "backslashes by name"),
    ("//www.youtube.com&sol;embed", "a slash after the host by name"),
    ("wss://www.youtube.com/live", "a socket is a connection too"),
    ("ftp://www.youtube.com/a", "and so is this"),
    ("data:text/html,<img src=https://www.youtube.com/a>", "a page in an address"),
    ("DATA:text/html;charset=utf-8,%3Cimg%20src=https://www.youtube.com/a%3E", "percent-encoded"),
    ("data:text/html;base64," + base64.b64encode(b"<img src=//www.youtube.com/a>").decode(), "in base64"),
    ("data:text/html;base64," + base64.b64encode(b"<img src=//www.youtube.com/abcd>").decode().rstrip("="), "cut off"),
    ("data:image/svg+xml,<image href='https://www.youtube.com/a'/>", "a picture that loads another"),
    ("javascript:document.write('<img src=//www.youtube.com>')", "a program in an address"),
    ("java\nscript:load('www.youtube.com')", "with a line end inside"),
    ("javascript:load('www.you\\x74ube.com')", "with an escaped letter"),
    ("blob:https://www.youtube.com/uuid", "an object of that host"),
]


@pytest.mark.parametrize(("raw", "why"), REACHES, ids=[why for _, why in REACHES])
def test_browser_would_go_there(raw: str, why: str) -> None:
    assert RULES.url(raw.encode()) == ("youtube", "www.youtube.com"), why


STAYS = [
    ("", "nothing"),
    ("/embed/a", "a path"),
    ("www.youtube.com/embed/a", "without slashes it is the name of a file"),
    ("./https://www.youtube.com/", "a relative path that holds an address"),
    ("?u=https://www.youtube.com/", "a query that holds one"),
    ("#https://www.youtube.com/", "a fragment that holds one"),
    ("https://www.example.com/?u=https://www.youtube.com/", "a query to another host"),
    ("https://www.example.com/www.youtube.com/", "a path on another host"),
    ("https://www.youtube.com.example.com/", "a longer name"),
    ("https://notwww.youtube.com.example/", "a different end"),
    ("https://youtube.com.example/", "a different end"),
    ("https://www.youtube.com@www.example.com/", "only the user looks like it"),
    ("mailto:a@www.youtube.com", "a letter"),
    ("tel:+15550100", "a call"),
    ("about:blank", "nothing at all"),
    ("https://[::1]/", "a number"),
    ("https:///", "no host"),
    ("https://" + "a." * 40_000 + "com/", "a name that no server can have"),
    ("data:image/png;base64,aHR0cHM6Ly93d3cueW91dHViZS5jb20=", "pixels load nothing, whatever they spell"),
    ("data:image/png,www.youtube.com", "nor as text"),
    ("data:text/html;base64,%%%", "base64 that is none"),
    ("data:,", "no content"),
    ("&", "half a character reference"),
    ("&#xFFFFFFFFFF;//www.youtube.com", "a reference to no character"),
    ("\ufffd//www.youtube.com/", "a path that begins with a strange character"),
]


@pytest.mark.parametrize(("raw", "why"), STAYS, ids=[f"{why} {n}" for n, (_, why) in enumerate(STAYS)])
def test_what_stays_at_home_is_left_alone(raw: str, why: str) -> None:
    assert RULES.url(raw.encode()) is None, why


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("https://www.googletagmanager.com/gtag/js?id=G-1", "google_analytics"),
        ("https://www.googletagmanager.com/gtm.js?id=GTM-1", "google_tag_manager"),
        ("https://www.googletagmanager.com/other", None),
        ("https://www.googletagmanager.com/x/../gtm.js", "google_tag_manager"),
        ("https://www.googletagmanager.com/x/%2e%2e/gtm.js", "google_tag_manager"),
        ("https://www.googletagmanager.com/./gtag/js", "google_analytics"),
        ("https://www.googletagmanager.com//gtag//js", "google_analytics"),
        ("https://www.googletagmanager.com/%67tag/js", "google_analytics"),
        ("https://www.googletagmanager.com\\gtag\\js", "google_analytics"),
        (
            "https://www.googletagmanager.com/gtag/..",
            "google_analytics",
        ),  # as written and as resolved: the worse one counts
        ("https://region1.google-analytics.com/g/collect", "google_analytics"),
        ("https://a.b.google-analytics.com/", "google_analytics"),
        ("https://google-analytics.com.example/", None),
        ("https://www.google.com/search?q=maps", None),
        ("https://www.google.com/maps/embed?pb=1", "google_maps"),
        ("https://www.facebook.com/tr?id=1", "meta_pixel"),
        ("https://www.facebook.com/riverbend", None),
    ],
)
def test_path_decides_between_products_of_one_host(raw: str, key: str | None) -> None:
    """Protects shared hosts: a search isn't a map, and no spelling of a path hides a product."""
    found = RULES.url(raw.encode())
    assert (found and found[0]) == key


def test_granted_service_is_not_found() -> None:
    rules = Rules(CATALOGUE, frozenset({"meta_pixel"}))
    assert rules.url(b"https://www.youtube.com/") is None
    assert rules.url(b"https://connect.facebook.net/x.js") == ("meta_pixel", "connect.facebook.net")


def test_nothing_denied_finds_nothing() -> None:
    rules = Rules(CATALOGUE, frozenset({"no_such_service"}))
    assert rules.empty
    assert rules.url(b"https://www.youtube.com/") is None
    assert rules.text(b"www.youtube.com") is None
    assert rules.code(b"fbq('init', 1)") is None


@pytest.mark.parametrize(
    "srcset",
    [
        "https://i.ytimg.com/a.jpg",
        "/a.jpg 1x, https://i.ytimg.com/a.jpg 2x",
        "/a.jpg 1x,//i.ytimg.com/a.jpg 2x",
        "\n  /a.jpg 480w,\n  https://i.ytimg.com/a.jpg 800w\n",
        "/a.jpg 1x&comma; https://i.ytimg.com/a.jpg 2x",
        "/a.jpg&#32;1x,&#32;https://i.ytimg.com/a.jpg&#32;2x",
    ],
)
def test_one_candidate_is_enough(srcset: str) -> None:
    assert RULES.urls(srcset.encode()) == ("youtube", "i.ytimg.com")


def test_list_of_own_pictures_is_left_alone() -> None:
    assert RULES.urls(b"/a.jpg 1x, https://www.example.com/a.jpg 2x") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"background:url(https://www.youtube.com/a)", "plain"),
        (b"background:url(//www.youtube.com/a)", "without a scheme"),
        (rb"background:u\72l(https\3a //www.\79 outube.com/a)", "CSS escapes"),
        (rb"background:url(https:\/\/www.youtube\.com/a)", "escaped punctuation"),
        (rb'{"src":"https:\/\/www.youtube.com"}', "JSON"),
        (rb"x='https://www\u002eyoutube\u{2e}com'", "JavaScript escapes"),
        (b"&lt;img src=https://www.youtube.com&gt;", "character references"),
        (b"&amp;lt;img src=https:&amp;sol;/www&amp;period;youtube.com&gt;", "twice"),
        (b"<img src=https://www.you\ntube.com/>", "a line end inside"),
        (b"http%3A%2F%2Fwww.youtube.com%2F", "percent-encoded"),
        ("url(https://ｗｗｗ.youtube.com)".encode(), "full-width letters"),
        (b"<!--www.youtube.com//-->", "right behind a comment's opening"),
        (b"//www.youtube.com./", "a final dot"),
        (b"https://WWW.YOUTUBE.COM:443", "capitals and a port"),
    ],
)
def test_host_in_a_text_is_found_however_escaped(text: bytes, why: str) -> None:
    assert RULES.text(text) == ("youtube", "www.youtube.com"), why


@pytest.mark.parametrize(
    "text", [b"", b"www.example.com", b"notwww.youtube.com.example", rb"\110000 \x", b"%ff%00", b"a-" * 9_000]
)
def test_other_text_holds_no_denied_host(text: bytes) -> None:
    assert RULES.text(text) is None


@pytest.mark.parametrize(
    ("code", "key"),
    [
        (b"gtag('config', 'G-1')", "google_analytics"),
        (b'gtag( "config", "G-1" )', "google_analytics"),
        (b"gtag(\n\t`config`,\n 'G-1')", "google_analytics"),
        (b"w[l].push({'gtm.start': new Date().getTime()})", "google_tag_manager"),
        (b"fbq('init','1');gtag('config','G-1')", "google_analytics"),
        (b"f&#98;q('init')", "meta_pixel"),
        (b"f<!-- x -->bq('init')", "meta_pixel"),
        (b"<![CDATA[fbq('init')]]>", "meta_pixel"),
        (b"// <b>\nfbq('init')", "meta_pixel"),
        (b"fbq('unit')", None),
        (b"window.page = 'gtag'", None),
        (b"fb\nq('in", None),
        (b"", None),
    ],
)
def test_snippet_is_recognised_by_its_code(code: bytes, key: str | None) -> None:
    """Spacing, quotes, and what SVG leaves out, don't hide it; of several the first in the catalogue is named."""
    assert RULES.code(code) == key
    assert RULES.code(code) == key, "the remembered verdict is the same"


def test_mark_of_white_space_matches_nothing() -> None:
    """A catalogue may hold nonsense; it must not withhold every script."""
    service = Service("odd", "Odd", "Example Inc.", ("p",), inline=("     ",))
    rules = Rules(Catalogue({"p": Purpose("p", "analytics", "t", "t")}, {"odd": service}), frozenset({"odd"}))
    assert rules.code(b"alert(1)     ") is None


def test_verdicts_stay_right_when_the_memory_is_full() -> None:
    rules = Rules(CATALOGUE, ALL)
    for number in range(3_000):
        assert rules.code(b"f(%d)" % number) is None
        assert rules.code(b"fbq('init', %d)" % number) == "meta_pixel"
    assert rules.code(b"fbq('init', 0)") == "meta_pixel"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(raw: bytes) -> None:
    """Whatever stands in an attribute, the answer is an address or none, never an error."""
    address = read_address(raw)
    assert address is None or address.content or (address.host and address.host == address.host.lower())
    RULES.urls(raw)
    RULES.markup(raw)
    RULES.style(raw)
    assert list(mentions(raw.decode("latin-1"))) is not None


@given(st.text("ht ps:/\\.wyoube&#;%2eE@\t\n", max_size=30))
def test_prefixes_and_suffixes_never_hide_an_address(noise: str) -> None:
    """Protects the reading of queries: nothing behind the host makes it another one."""
    assert RULES.url(f"https://www.youtube.com/?{noise}".encode()) == ("youtube", "www.youtube.com")


marks = st.lists(st.text("abcdef(.", min_size=4, max_size=9), min_size=65, max_size=90, unique=True)


@given(marks, st.lists(st.text("abcdef(. ", max_size=12), max_size=12))
def test_many_marks_are_found_as_one_by_one(marks: list[str], pieces: list[str]) -> None:
    """With many services their snippets are looked up all at once; the answer is that of the plain search."""
    purposes = {"p": Purpose("p", "analytics", "t", "t")}
    services = {f"s{n}": Service(f"s{n}", f"s{n}", f"s{n}", ("p",), inline=(mark,)) for n, mark in enumerate(marks)}
    rules = Rules(Catalogue(purposes, services), frozenset(services))
    code = "".join(pieces)
    squeezed = code.replace(" ", "")
    assert rules.code(code.encode()) == next((f"s{n}" for n, mark in enumerate(marks) if mark in squeezed), None)
