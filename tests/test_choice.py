"""A choice comes back from a cookie exactly as it was signed, or not at all; no cookie is ever an error."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from itsdangerous import Signer

from consentmw.choice import MAX_COOKIE, Choice, CookieCodec, Locale

AT = datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC)
CHOICE = Choice("Zk3v_9-aBcDeFgHiJkLmNo", AT, "0123456789ab", frozenset({"analytics", "media"}))
CODEC = CookieCodec(Choice, "choice", ["old key", "new key"])
LOCALES = CookieCodec(Locale, "locale", ["old key", "new key"])

keys = st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True)
choices = st.builds(
    Choice,
    receipt=st.from_regex(r"[A-Za-z0-9_-]{8,40}", fullmatch=True),
    at=st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1)).map(lambda d: d.replace(microsecond=0, tzinfo=UTC)),  # noqa: DTZ001
    fingerprint=st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    granted=st.frozensets(keys, max_size=5),
    silent=st.frozensets(keys, max_size=4),
    override=st.booleans(),
)


@given(choices)
@example(CHOICE)
@example(Choice("x" * 8, AT, "0" * 12, frozenset()))
def test_what_is_written_is_read(choice: Choice) -> None:
    cookie = CODEC.write(choice)
    assert CODEC.read(cookie) == choice
    assert len(cookie) <= MAX_COOKIE
    # RFC 6265 cookie-octets: no quotes, commas, semicolons, backslashes or spaces to be escaped or lost.
    assert not set(cookie) & set('",;\\ ')
    assert cookie.isascii()


@given(st.data())
def test_no_changed_cookie_says_anything_else(data: st.DataObject) -> None:
    """One bit flipped, a piece cut out, a character put in: never another choice."""
    cookie = CODEC.write(CHOICE).encode()
    at = data.draw(st.integers(0, len(cookie) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = cookie[:at] + bytes([cookie[at] ^ 1 << bit]) + cookie[at + 1 :]
    cut = cookie[:at] + cookie[data.draw(st.integers(at + 1, len(cookie))) :]
    grown = cookie[:at] + data.draw(st.binary(min_size=1, max_size=3)) + cookie[at:]
    for forged in (flipped, cut, grown):
        # The last character of a base64 signature has two bits that mean nothing: the same choice may come out.
        assert CODEC.read(forged.decode("latin-1")) in (None, CHOICE)


def test_the_signed_part_is_what_counts() -> None:
    cookie = CODEC.write(CHOICE)
    value, _, signature = cookie.rpartition(".")
    assert CODEC.read(value.replace("media", "media+advertising") + "." + signature) is None
    assert CODEC.read(value) is None
    assert CODEC.read(cookie[:-1]) is None
    assert CODEC.read(cookie + ".") is None
    assert CODEC.read(f"{value}.{signature}.{signature}") is None


@pytest.mark.parametrize(
    "raw",
    ["", ".", "~", "1~~~~", "a" * (MAX_COOKIE + 1), "\x00", "\xff" * 50, "é.é", "\u0436.\u0436", "1~" * 100, "." * 300],
)
def test_rubbish_is_no_choice(raw: str) -> None:
    assert CODEC.read(raw) is None
    assert LOCALES.read(raw) is None


@given(st.text(max_size=450))
def test_nothing_a_visitor_sends_raises(raw: str) -> None:
    assert CODEC.read(raw) is None


def test_a_cookie_for_another_use_is_no_choice() -> None:
    """One secret signs several things: the salt keeps a token of one kind from passing for another."""
    assert CookieCodec(Choice, "locale", ["old key", "new key"]).read(CODEC.write(CHOICE)) is None
    assert LOCALES.read(CODEC.write(CHOICE)) is None
    assert CODEC.read(LOCALES.write(Locale("en", "US-IA"))) is None


def test_keys_rotate_without_asking_anybody_again() -> None:
    """The last key signs, every key reads, and a key that is gone reads nothing."""
    before = CookieCodec(Choice, "choice", ["old key"]).write(CHOICE)
    assert CODEC.read(before) == CHOICE
    after = CODEC.write(CHOICE)
    assert after != before
    assert CookieCodec(Choice, "choice", ["new key"]).read(after) == CHOICE
    assert CookieCodec(Choice, "choice", ["new key"]).read(before) is None
    assert CookieCodec(Choice, "choice", ["other key"]).read(after) is None


def sign(text: str) -> str:
    """What we would have signed, had an older or later version of us written it."""
    signer = Signer(["old key", "new key"], salt="consentmw.choice", digest_method=sha256, key_derivation="hmac")
    return signer.sign(text).decode()


@pytest.mark.parametrize(
    "text",
    [
        "2~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics",
        "Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics~x",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics~media~yes",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics~Media~override",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics~~override~",
        "1~short~6921a0cd~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~-1~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~ 1 ~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~0x1~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~ffffffffffffffff~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~~0123456789ab~analytics",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789AB~analytics",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~Analytics",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~+",
        "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics\n",
        "",
    ],
)
def test_another_layout_is_no_choice_even_when_signed(text: str) -> None:
    assert CODEC.read(sign(text)) is None


def test_a_cookie_over_the_limit_is_not_even_verified() -> None:
    assert CODEC.read(sign(f"1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~{'a' * MAX_COOKIE}")) is None
    assert CODEC.read(sign(f"1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~{'a' * 200}")) is not None


def test_the_cookie_that_is_out_there_stays_readable() -> None:
    """Cookies live half a year: the first version wrote this one, layout, salt, digest and all."""
    cookie = "1~Zk3v_9-aBcDeFg~6921a0cd~0123456789ab~analytics+media." + "SnL-VxAOg8-RGtrfJFdmi3fuPrj7f3zW2y9jIOm_TnA"
    at = datetime(2025, 11, 22, 11, 38, 53, tzinfo=UTC)
    assert CODEC.read(cookie) == Choice("Zk3v_9-aBcDeFg", at, "0123456789ab", frozenset({"analytics", "media"}))


def test_a_choice_without_the_later_fields_looks_as_it_always_did() -> None:
    """A version before this one still reads it, should a site go back to it."""
    assert CHOICE.pack().count("~") == 3
    assert CODEC.read(CODEC.write(CHOICE)) == CHOICE
    assert (CHOICE.silent, CHOICE.override) == (frozenset(), False)


def test_a_cookie_too_long_for_browsers_is_never_written() -> None:
    many = frozenset(f"purpose_number_{n}" for n in range(40))
    with pytest.raises(ValueError, match=str(MAX_COOKIE)):
        CODEC.write(Choice("x" * 22, AT, "0" * 12, many))


@pytest.mark.parametrize(
    "locale", [Locale(), Locale("es"), Locale("zh-Hant-TW", "US-IA"), Locale("en", "-"), Locale("", "DE")]
)
def test_a_locale_comes_back(locale: Locale) -> None:
    assert LOCALES.read(LOCALES.write(locale)) == locale


@pytest.mark.parametrize(
    "text", ["", "en", "en~us-ia", "en~IOWA", "e~", "en_US~", "en~US-IA~x", "en~--", '"><script>~']
)
def test_a_locale_that_is_none_is_not_read(text: str) -> None:
    assert Locale.unpack(text) is None
