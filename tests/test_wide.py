"""Pages in UTF-16 are read as browsers read them, gated, and sent in UTF-8, so that all browsers read what was gated.

What Chromium makes of the same types and bytes was looked up in Chromium.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from consentmw.gate.wide import Recoder

from .asgi import App, Header, body, header, http_scope, response, run
from .mounted import PAGE, mounted

MARK = b"\xef\xbb\xbf"
SEALED = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
#: letters of one, two, three and four bytes in UTF-8; the last one is a pair in UTF-16
TEXT = PAGE.decode().replace("<body>", "<body><p>aé€\U0001f600</p>")
LITTLE, BIG = TEXT.encode("utf-16-le"), TEXT.encode("utf-16-be")


def decoded(data: bytes, *, big: bool) -> str:
    """The shared UTF-16 decoder of the Encoding Standard, section 14.2.1, byte by byte as it is written there."""
    out: list[str] = []
    half: int | None = None
    lead: int | None = None
    queue = list(data)
    at = 0
    while at < len(queue):
        byte, at = queue[at], at + 1
        if half is None:
            half = byte
            continue
        unit, half = (half << 8) + byte if big else (byte << 8) + half, None
        if lead is not None:
            first, lead = lead, None
            if 0xDC00 <= unit <= 0xDFFF:
                out.append(chr(0x10000 + ((first - 0xD800) << 10) + (unit - 0xDC00)))
            else:
                out.append("\ufffd")
                # Both bytes are read again.
                at -= 2
        elif 0xD800 <= unit <= 0xDBFF:
            lead = unit
        else:
            out.append("\ufffd" if 0xDC00 <= unit <= 0xDFFF else chr(unit))
    return "".join(out) + ("\ufffd" if half is not None or lead is not None else "")


#: bytes in which surrogates, whole and broken, are likely
UNITS = st.lists(st.sampled_from([b"\xd8", b"\xdb", b"\xdc", b"\xdf", b"\0", b"<", b"\xff", b"\xfe"]), max_size=30)


@given(data=st.one_of(UNITS.map(b"".join), st.binary(max_size=40)), cuts=st.lists(st.integers(0, 40), max_size=6),
       big=st.booleans())  # fmt: skip
def test_any_bytes_become_what_the_standard_s_decoder_makes_of_them(data: bytes, cuts: list[int], big: bool) -> None:
    """However they are cut: halves of letters, lone surrogates and an odd last byte become U+FFFD, never an error."""
    recoder = Recoder("utf-16-be" if big else "utf-16-le")
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out = b"".join(recoder.feed(data[a:b], last=False) for a, b in pairwise(edges)) + recoder.feed(b"", last=True)
    text = decoded(data, big=big).removeprefix("\ufeff")
    assert out.removeprefix(MARK) == text.encode()
    assert out.startswith(MARK) or out == b""


async def answered(page: bytes, *headers: Header, cut: int = 0, method: str = "GET") -> list[Message]:
    """What a new visitor gets of this page, sent whole or in chunks of so many bytes."""
    chunks = [page[at : at + cut] for at in range(0, len(page), cut)] if cut else [page]
    return await run(mounted(App(*response(*chunks, headers=headers))), http_scope(method=method))


async def gated(text: str) -> bytes:
    """What the gate makes of the same page in UTF-8, with its mark."""
    return body(await answered(MARK + text.encode(), ("content-type", "text/html; charset=utf-8")))


@pytest.mark.parametrize("cut", [0, 1, 3])
@pytest.mark.parametrize(
    ("kind", "said", "page"),
    [
        ("text/html", "text/html; charset=utf-8", b"\xff\xfe" + LITTLE),
        ("text/html", "text/html; charset=utf-8", b"\xfe\xff" + BIG),
        ("text/html;charset=UTF-8", "text/html; charset=utf-8", b"\xff\xfe" + LITTLE),
        ("text/html; charset=gbk", "text/html; charset=utf-8", b"\xff\xfe" + LITTLE),
        ("text/html; charset=utf-16", "text/html; charset=utf-8", LITTLE),
        ("TEXT/HTML; CHARSET=UTF-16LE", "TEXT/HTML; charset=utf-8", LITTLE),
        ("text/html;charset=utf-16be", "text/html; charset=utf-8", BIG),
        ('text/html; a=b; charset=" ucs-2 "; c="d e"', 'text/html; a=b; charset=utf-8; c="d e"', LITTLE),
        ("text/html;; charset=unicodeFFFE ;", "text/html;; charset=utf-8;", BIG),
        ("text/html; charset=utf-16", "text/html; charset=utf-8", b"\xfe\xff" + BIG),
        ("text/html; charset=utf-16be", "text/html; charset=utf-8", b"\xff\xfe" + LITTLE),
        ("text/html; charset=utf-16", "text/html; charset=utf-8", MARK + TEXT.encode()),
    ],
)
async def test_a_page_in_utf_16_is_gated_and_goes_out_in_utf_8(kind: str, said: str, page: bytes, cut: int) -> None:
    """A mark is stronger than the label, a label without an order is little endian; other parameters stay."""
    sent = await answered(page, ("content-type", kind), cut=cut)
    assert body(sent) == await gated(TEXT)
    assert b"<iframe data-consentmw-service=youtube" in body(sent)
    assert header(sent, "content-type") == said
    assert header(sent, "content-security-policy") is None


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
async def test_an_xml_declaration_tells_where_nothing_else_does(codec: str, cut: int) -> None:
    """The one case in which the HTML Standard has browsers find UTF-16 by letters; a label ends it."""
    text = "<?xml version='1.0'?>" + TEXT
    sent = await answered(text.encode(codec), ("content-type", "text/html"), cut=cut)
    assert body(sent) == await gated(text)
    named = await answered(text.encode(codec), ("content-type", "text/html; charset=utf-8"), cut=cut)
    assert text.encode(codec)[:12] in body(named)


async def test_a_second_mark_stays_a_letter() -> None:
    """Browsers take one mark away; the next is text, and text before a doctype changes the page's mode."""
    sent = await answered("\ufeff\ufeffa".encode("utf-16-le"), ("content-type", "text/html"))
    assert body(sent) == MARK + MARK + b"a"


@pytest.mark.parametrize("page", [b"", b"<", b"\xff\xfe", b"\xff", b"\xef\xbb"])
async def test_a_page_of_next_to_nothing_arrives(page: bytes) -> None:
    for kind in ("text/html", "text/html; charset=utf-16"):
        sent = await answered(page, ("content-type", kind))
        assert not sent[-1].get("more_body")
        assert header(sent, "content-length") == str(len(body(sent)))


@pytest.mark.parametrize("start", [b"<\0", b"\0<", b"\0", b"h\0e\0", b"<\0?\0"])
async def test_what_only_looks_like_utf_16_goes_out_as_what_most_browsers_see(start: bytes) -> None:
    """Firefox guesses UTF-16 by zeros, others don't: told the encoding, all of them read what was gated."""
    sent = await answered(start + b"\x93" + PAGE, ("content-type", "text/html"), cut=1)
    assert body(sent).startswith(MARK + start + "\u201c".encode())
    assert b"<iframe data-consentmw-service=youtube" in body(sent)
    assert header(sent, "content-type") == "text/html; charset=utf-8"


async def test_utf_16_that_nothing_tells_is_live_in_no_browser() -> None:
    """Its tags are no tags with zeros in them, and nobody guesses at a page that says what it is."""
    sent = await answered(TEXT.encode("utf-16-le"), ("content-type", "text/html"))
    assert body(sent).startswith(MARK + b"<\0!\0d\0")
    assert header(sent, "content-type") == "text/html; charset=utf-8"


async def test_utf_32_is_to_us_what_it_is_to_browsers() -> None:
    """Its mark begins with that of UTF-16; by its label, which they don't know, they would have to guess."""
    sent = await answered(TEXT.encode("utf-32"), ("content-type", "text/html"))
    assert body(sent).startswith(MARK + b"\0<\0!\0")
    sealed = await answered(PAGE, ("content-type", "text/html; charset=utf-32"))
    assert (body(sealed), header(sealed, "content-security-policy")) == (PAGE, SEALED)


async def test_utf_16_said_by_the_markup_is_utf_8_as_in_browsers() -> None:
    sent = await answered(b"<meta charset=utf-16>" + PAGE, ("content-type", "text/html"))
    assert b"<iframe data-consentmw-service=youtube" in body(sent)
    assert header(sent, "content-type") == "text/html"


@pytest.mark.parametrize(
    "kind",
    ["text/html, text/html; charset=utf-16", "text/html; charset =utf-16", "text/html; charset=utf-8; charset=utf-16",
     'text/html; x="; charset=utf-16"', "*/*; charset=utf-16", "text/html; charset=utf16",
     "text/html x; charset=utf-16", 'text/html; charset="utf-16',
     'text/html; charset="ut\\f-16"', "text/html; x=unicode; charset=hz-gb-2312"],
)  # fmt: skip
async def test_a_type_that_is_not_plain_is_not_guessed_at(kind: str) -> None:
    """No encoding could be named in it so that every browser would follow, so the page stays under the seal."""
    sent = await answered(LITTLE, ("content-type", kind))
    assert (body(sent), header(sent, "content-security-policy")) == (LITTLE, SEALED)
    assert header(sent, "content-type") == kind


@given(kind=st.lists(st.sampled_from([*' ;,="\\\t', "text/html", "charset=", "utf-16", "utf-8"])).map("".join))
async def test_no_type_lets_a_page_in_utf_16_pass_ungated(kind: str) -> None:
    """Whatever the type says: sent as it came only under the seal, else in UTF-8, and then saying so."""
    sent = await answered(b"\xff\xfe" + LITTLE, ("content-type", "text/html;" + kind))
    if body(sent) == b"\xff\xfe" + LITTLE:
        assert header(sent, "content-security-policy") == SEALED
    else:
        assert "charset=utf-8" in (header(sent, "content-type") or "")
        assert body(sent).startswith(MARK)
        assert b' src="https://www.youtube.com' not in body(sent)


HEADERS: list[Header] = [("content-type", "text/html; charset=utf-16"), ("etag", '"a"'), ("content-length", "99"),
                         ("content-encoding", "gzip")]  # fmt: skip


async def test_a_packed_page_in_utf_16_is_unpacked_first_and_head_says_the_same() -> None:
    for cut in (0, 1):
        sent = await answered(gzip.compress(LITTLE), *HEADERS, cut=cut)
        assert body(sent) == await gated(TEXT)
        assert (header(sent, "etag") or "").startswith('W/"a~')
        assert header(sent, "content-encoding") is None
    bare = await answered(gzip.compress(LITTLE), *HEADERS)
    head = await answered(b"", *HEADERS, method="HEAD")
    assert head[0]["headers"] == [pair for pair in bare[0]["headers"] if pair[0] != b"content-length"]
    assert header(bare, "content-length") == str(len(body(bare)))


async def test_a_page_that_must_stay_as_it_is_stays_in_utf_16() -> None:
    kind = ("content-type", "text/html; charset=utf-16")
    sent = await answered(LITTLE, kind, ("cache-control", "no-transform"))
    assert (body(sent), header(sent, "content-type")) == (LITTLE, kind[1])
    assert header(sent, "content-security-policy") == SEALED


class Failing:
    """A decoder that fails at its ``fails``-th piece; the first one is looked at twice."""

    fails = 0

    def __init__(self, codec: str) -> None:
        self._real = Recoder(codec)
        self._left = Failing.fails

    def feed(self, piece: bytes, last: bool) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise MemoryError
        return self._real.feed(piece, last)


@pytest.mark.parametrize("fails", [0, 1])
async def test_a_decoder_that_fails_costs_no_page_and_lets_nothing_load(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: int
) -> None:
    """At once, the page goes out as it came under the seal; later, what is left loses every tag that loads."""
    monkeypatch.setattr(Failing, "fails", fails)
    monkeypatch.setattr("consentmw.gate.opening.Recoder", Failing)
    # In bytes that were never decoded a tag may stand as it is.
    later = "<p>".encode("utf-16-le") + b"<img src=https://i.ytimg.com/x>"
    given: Sequence[bytes] = (LITTLE[:400], later)
    with caplog.at_level(logging.ERROR, "consentmw"):
        headers = [("content-type", "text/html; charset=utf-16")]
        sent = await run(mounted(App(*response(*given, headers=headers))), http_scope())
    assert caplog.records
    assert not sent[-1].get("more_body")
    if fails == 0:
        assert (body(sent), header(sent, "content-security-policy")) == (b"".join(given), SEALED)
    else:
        assert body(sent).startswith(MARK + b"<!doctype")
        assert b"<consentmw-img src=" in body(sent)
