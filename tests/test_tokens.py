"""A token that we did not sign for this purpose is refused, and none leads where nobody should be sent."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner
from itsdangerous.encoding import base64_encode

from consentmw.errors import BadToken, ExpiredToken, ForgedToken
from consentmw.tokens import MAX_TOKEN, ClickToken, PixelToken, Tokens

OLD, NEW = "an old key for tests, long enough", "a new key for tests, long enough"
URL = "https://www.example.org/plans?from=mail#top"
SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
SIGNED_AT = 1_800_000_000

tokens = Tokens([OLD], clock=lambda: SIGNED_AT)

#: no line ends or other controls, which are refused, and no lone surrogates, which no text from a wire holds
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=128)


def forged(salt: str, *fields: str, key: str = OLD) -> str:
    """A token signed with our key, holding what our own methods refuse to sign."""
    signer = TimestampSigner([key], salt=f"consentmw.{salt}", digest_method=sha256, key_derivation="hmac")
    return signer.sign(base64_encode("\n".join(fields))).decode("ascii")


# -- what is written is read --------------------------------------------------------------------


@given(names, names)
def test_a_pixel_says_what_was_signed(campaign: str, recipient: str) -> None:
    token = tokens.pixel(campaign, recipient)
    assert tokens.read_pixel(token) == PixelToken(campaign, recipient)
    assert set(token) <= set(SAFE)


@given(names, names, names)
def test_a_click_says_what_was_signed(campaign: str, link: str, recipient: str) -> None:
    token = tokens.click(URL, campaign, link, recipient)
    assert tokens.read_click(token) == ClickToken(URL, campaign, link, recipient)
    assert set(token) <= set(SAFE)


def test_a_token_knows_when_it_was_signed() -> None:
    """A mail opened seconds after it was sent was opened by a scanner."""
    assert tokens.read_pixel(tokens.pixel("a")).signed == SIGNED_AT
    assert tokens.read_click(tokens.click("/")).signed == SIGNED_AT


# -- forgeries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [tokens.pixel("spring", "c:1"), tokens.pixel()])
def test_every_single_edit_of_a_token_is_refused(token: str) -> None:
    """Also the edits that a lenient base64 decoder would not notice."""
    edits = [token[:n] + c + token[n + 1 :] for n in range(len(token)) for c in "A9_-.!" if c != token[n]]
    edits += [token[:n] + token[n + 1 :] for n in range(len(token))]
    edits += [token[:n] + c + token[n:] for n in range(len(token) + 1) for c in "A=\n\x00"]
    edits += [token[:n] for n in range(len(token))]
    edits += [f"{token[:-1]}{c}" for c in SAFE if c != token[-1]]
    edits += [f"{token}.{token}", f" {token}", token.upper(), token.swapcase(), token + "é"]
    accepted = [edit for edit in edits if _reads(edit)]
    assert accepted == []


def _reads(token: str) -> bool:
    try:
        tokens.read_pixel(token)
    except ForgedToken:
        return False
    return True


def test_a_token_is_good_for_its_own_purpose_only() -> None:
    """A pixel's token must not become a redirect, nor the other way round."""
    with pytest.raises(ForgedToken):
        tokens.read_click(tokens.pixel("a", "b"))
    with pytest.raises(ForgedToken):
        tokens.read_pixel(tokens.click(URL))
    with pytest.raises(ForgedToken):
        tokens.read_click(forged("choice", URL, "", "", ""))


@given(st.text(max_size=200) | st.text(SAFE, max_size=200))
def test_any_text_is_refused_and_never_an_error(text: str) -> None:
    for read in (tokens.read_pixel, tokens.read_click):
        with pytest.raises(BadToken):
            read(text)


@pytest.mark.parametrize(
    "hostile",
    ["", ".", "..", "a.b.c", "\x00", "\ud800", "é" * 50, "A" * 1_000_000, "." * 4096, "a" * 4000 + ".AAAA." + "A" * 43],
    ids=lambda text: ascii(text[:5]),
)
def test_hostile_text_is_refused(hostile: str) -> None:
    with pytest.raises(ForgedToken):
        tokens.read_click(hostile)


@pytest.mark.parametrize("fields", [(), ("a",), ("a", "b", "c"), ("a" * 3000, "")])
def test_other_fields_are_refused_even_when_signed(fields: tuple[str, ...]) -> None:
    """The layout of another version must not be read as this one's."""
    with pytest.raises(BadToken):
        tokens.read_pixel(forged("pixel", *fields))


# -- keys and age -------------------------------------------------------------------------------


def test_links_in_old_mails_survive_a_new_key() -> None:
    both = Tokens([OLD, NEW])
    assert both.read_pixel(tokens.pixel("a")) == PixelToken("a", "")
    with pytest.raises(ForgedToken):
        tokens.read_pixel(both.pixel("a"))  # the newest signs
    with pytest.raises(ForgedToken):
        Tokens([NEW]).read_pixel(tokens.pixel("a"))  # a retired key is over


@pytest.mark.parametrize("keys", [[], "a string is a sequence of short keys", [OLD, ""]])
def test_unusable_keys_are_refused_at_start(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="keys"):
        Tokens(keys)


def test_a_token_expires_only_where_an_age_is_set() -> None:
    token = tokens.pixel("a")
    later = Tokens([OLD], clock=lambda: SIGNED_AT + 100)
    assert later.read_pixel(token, 100).campaign == "a"
    assert later.read_pixel(token).campaign == "a"
    with pytest.raises(ExpiredToken):
        later.read_pixel(token, 99)
    with pytest.raises(ExpiredToken):
        later.read_click(tokens.click("/"), 99)


def test_a_clock_that_is_behind_costs_no_link() -> None:
    """Two machines are never quite together: a token from the one ahead must work at once."""
    behind = Tokens([OLD], clock=lambda: SIGNED_AT - 30)
    assert behind.read_pixel(tokens.pixel("a"), 3600).campaign == "a"


# -- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "written"),
    [
        (URL, URL),
        ("http://example.org", "http://example.org"),
        ("HTTPS://Example.org:8443?x", "HTTPS://Example.org:8443?x"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
        ("https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example/"),
        ("https://example.org/straße?q=ñ#é", "https://example.org/stra%C3%9Fe?q=%C3%B1#%C3%A9"),
        ("https://example.org/a%20b|c", "https://example.org/a%20b%7Cc"),
        ("/", "/"),
        ("/outages?zip=50309#map", "/outages?zip=50309#map"),
        ("/a//b/https://c", "/a//b/https://c"),
    ],
)
def test_a_good_target_is_signed_as_a_header_takes_it(target: str, written: str) -> None:
    assert tokens.read_click(tokens.click(target)).url == written


BAD_TARGETS = [
    "",
    "example.org",
    "outages",
    "?x",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/a\\b",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://",
    "https://?x",
    "https://:80/",
    "https://a.example@evil.example/",
    "https://a.example:pw@evil.example/",
    "https://a.example\\@evil.example/",
    "https://a.example:99999/",
    "https://a.example:80x/",
    "https://münchen.example/",
    "https://a.example%2f.evil.example/",
    "javascript:alert(1)",
    "JavaScript://a.example/%0aalert(1)",
    "data:text/html,x",
    "ftp://a.example/",
    "file:///etc/passwd",
    " https://a.example/",
    "https://a.example/ ",
    "https://a.ex ample/",
    "/\t/evil.example",
    "\t//evil.example",
    "/a\r\nset-cookie: x=1",
    "/a\x00b",
    "/a\x7fb",
    "/a\u2028b",
    "/a\u00a0b",
    "/a\ud800b",
    "/" + "a" * 2048,
    "https://a.example/" + "é" * 1000,
]


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_a_bad_target_is_refused_when_it_is_signed(target: str) -> None:
    with pytest.raises(ValueError, match="url"):
        tokens.click(target)


@pytest.mark.parametrize("target", [t for t in BAD_TARGETS if len(t) < 2000 and t.isascii() and "\n" not in t])
def test_a_bad_target_is_refused_when_it_is_read_even_if_signed(target: str) -> None:
    """An earlier version, or another program with the key, may have signed what we would not."""
    with pytest.raises(BadToken):
        tokens.read_click(forged("click", target, "", "", ""))


def test_a_target_that_we_would_have_written_otherwise_is_refused() -> None:
    with pytest.raises(BadToken):
        tokens.read_click(forged("click", "/stra|e", "", "", ""))


@given(st.text(st.sampled_from("htps:/\\@.?#[]%ae1 \t\x00é-"), max_size=40) | st.text(max_size=60))
def test_whatever_is_signed_leads_where_a_parser_agrees(text: str) -> None:
    """Every signed target is plain ASCII and means the same host to Python's own parser, or stays on the site."""
    try:
        url = tokens.read_click(tokens.click(text)).url
    except ValueError:
        return
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    parts = urlsplit(url)
    if url.startswith("/"):
        assert (parts.scheme, parts.netloc) == ("", "")
    else:
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert parts.username is None


@pytest.mark.parametrize("text", ["a" * 129, "a\nb", "a\x00", "\x7f", "a\u2028b", "\ud800"])
def test_a_field_that_could_break_a_row_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="campaign"):
        tokens.pixel(text)
    with pytest.raises(ValueError, match="recipient"):
        tokens.pixel("", text)
    with pytest.raises(ValueError, match="link"):
        tokens.click("/", "", text)


def test_the_longest_token_that_is_written_can_be_read() -> None:
    """Nothing may be signed that is then refused for its length."""
    url = "/" + "a" * 2047
    assert tokens.read_click(tokens.click(url, "c" * 128, "l" * 128, "r" * 128)).url == url
    with pytest.raises(ValueError, match=str(MAX_TOKEN)):
        tokens.click(url, "😀" * 128, "😀" * 128, "😀" * 128)
