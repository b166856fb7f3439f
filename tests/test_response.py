"""One response on its way out: every byte counts, whatever the application sends and in whatever pieces.

What the forty pitfalls cover is not repeated here.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from consentmw import ConsentMiddleware
from consentmw.gate.inflate import PIECE, Inflater

from .asgi import App, Header, body, cookies, header, html, http_scope, response, run, status, values
from .mounted import PAGE, choice_cookie, mounted

Pack = Callable[[bytes], bytes]

SEALED = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


async def sent_for(*chunks: bytes, headers: Sequence[Header] = ()) -> list[Message]:
    """What a new visitor gets when the application sends this page."""
    return await run(mounted(App(*html(*chunks, headers=headers))), http_scope())


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
@given(cuts=st.lists(st.integers(0, 2000), max_size=5))
async def test_a_compressed_page_is_read_in_any_pieces(
    coding: str, pack: Callable[[bytes], bytes], cuts: list[int]
) -> None:
    sent = await sent_for(*pieces(pack(PAGE), cuts), headers=[("content-encoding", coding)])
    assert body(sent) == body(await sent_for(PAGE))
    assert header(sent, "content-encoding") is None


@given(garbage=st.binary(max_size=300))
async def test_a_page_that_says_it_is_compressed_and_is_not_goes_out_sealed(garbage: bytes) -> None:
    """Nothing of it can be read, so the browser's own gate has to hold; and no error reaches the visitor."""
    sent = await sent_for(b"\x00" + garbage, headers=[("content-encoding", "gzip")])
    assert status(sent) == 200
    assert header(sent, "content-security-policy") == SEALED or body(sent) == b""


async def test_a_compressed_page_that_is_damaged_later_on_ends_there() -> None:
    """The headers are gone by then; the application must not be hit by an error about its own bytes."""
    packed = gzip.compress(PAGE + bytes(range(256)) * 20)
    middle = len(packed) // 2
    damaged = [packed[:middle], b"\xff" * 60, packed[middle:], b""]
    sent = await sent_for(*damaged, headers=[("content-encoding", "gzip")])
    assert body(sent).startswith(b"<!doctype html>")
    assert not sent[-1].get("more_body")
    assert b'<iframe src="https://www.youtube.com' not in body(sent)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("text/html, text/html; charset=utf-16", b"<\0h\0"),
        ("text/html; charset=utf-16; charset=utf-8", b"<\0h\0"),
        ("text/html; charset=utf-32", b"<\0\0\0"),
        ("text/html; charset=gbk", b"<\0"),
        ("text/html; charset=iso-2022-jp", b"<h"),
        ("text/html; charset=csISO2022JP", b"<h"),
        ("text/html", b"<scr\x1b(Bipt>"),
        ("text/html; charset=made-up", b"\x1b$B"),
        ("text/html, text/html; charset=utf-8", b"\x1b(J"),
    ],
)
async def test_text_in_an_encoding_we_cannot_scan_is_sealed_and_untouched(kind: str, start: bytes) -> None:
    given_messages = response(start + PAGE, headers=[("content-type", kind)])
    sent = await run(mounted(App(*given_messages)), http_scope())
    assert header(sent, "content-security-policy") == SEALED
    assert body(sent) == start + PAGE


async def test_what_is_noted_of_a_page_is_bounded() -> None:
    """Millions of tags are withheld like one; the host application is told of the first thousand, and how many more."""
    app = App(*html(b"<img src=https://i.ytimg.com/x>" * 1_003))
    sent = await run(mounted(app), http_scope())
    assert body(sent).count(b"data-consentmw-src=") == 1_003
    withheld = app.scope["consent"].withheld
    assert (len(withheld), withheld.more) == (1_000, 3)


async def test_a_page_under_a_seal_keeps_the_sites_own_policy_too() -> None:
    """Policies add up; ours never loosens theirs."""
    sent = await sent_for(
        PAGE, headers=[("cache-control", "no-transform"), ("content-security-policy", "script-src 'none'")]
    )
    assert values(sent, "content-security-policy") == ["script-src 'none'", SEALED]


async def test_who_allowed_everything_gets_no_seal() -> None:
    site = mounted(App(*html(PAGE, headers=[("cache-control", "no-transform")])))
    everything = [("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    assert header(await run(site, http_scope(headers=everything)), "content-security-policy") is None


@pytest.mark.parametrize(
    ("given_control", "expected"),
    [
        ("public, max-age=600", {"private"}),
        ("no-store", {"private", "no-store"}),
        ("No-Store, Must-Revalidate", {"private", "no-store", "must-revalidate"}),
        ("s-maxage=60, immutable, stale-while-revalidate=60", {"private"}),
        ("", {"private"}),
    ],
)
async def test_a_page_for_one_visitor_is_kept_by_no_shared_cache(given_control: str, expected: set[str]) -> None:
    sent = await sent_for(PAGE, headers=[("cache-control", given_control)])
    words = {word.strip() for word in (header(sent, "cache-control") or "").split(",")}
    assert expected <= words
    assert not words & {"public", "immutable"}
    assert not any(word.startswith(("max-age", "s-maxage", "stale")) for word in words)


async def test_repeated_cache_control_lines_become_one_that_holds_what_all_forbade() -> None:
    sent = await sent_for(PAGE, headers=[("cache-control", "no-store"), ("cache-control", "max-age=60")])
    assert "no-store" in (header(sent, "cache-control") or "")


async def test_dates_and_ranges_that_a_browser_could_revalidate_by_are_gone() -> None:
    """By date alone, a 304 would carry one consent state's page into another."""
    sent = await sent_for(
        PAGE, headers=[("last-modified", "Mon, 01 Jan 2029 00:00:00 GMT"), ("expires", "0"), ("accept-ranges", "bytes")]
    )
    assert [header(sent, name) for name in ("last-modified", "expires", "accept-ranges")] == [None, None, None]


ETAGS = ['"a"', 'W/"a"', '""', '"a~b"', "bare", '"\xff"']


@pytest.mark.parametrize("tag", ETAGS)
async def test_an_etag_comes_back_to_the_application_as_it_gave_it(tag: str) -> None:
    app = App(*html(PAGE, headers=[("etag", tag)]))
    site = mounted(app)
    ours = header(await run(site, http_scope()), "etag") or ""
    await run(site, http_scope(headers=[("if-none-match", ours)]))
    back = dict(app.scope["headers"])[b"if-none-match"].decode("latin-1")
    opaque = tag.removeprefix("W/").strip('"')
    assert f'"{opaque}"' in [part.strip() for part in back.split(",")]


@given(st.text('"W/~,* ab0é', max_size=60))
async def test_no_if_none_match_breaks_a_page(value: str) -> None:
    app = App(*html(PAGE, headers=[("etag", '"a"')]))
    sent = await run(mounted(app), http_scope(headers=[("if-none-match", value)]))
    assert status(sent) == 200
    assert b'id="consentmw"' in body(sent)


async def test_a_tag_of_another_state_between_others_is_taken_out_alone() -> None:
    app = App(*html(PAGE, headers=[("etag", '"a"')]))
    site = mounted(app)
    mine = header(await run(site, http_scope()), "etag")
    await run(site, http_scope(headers=[("if-none-match", f'"plain", W/"a~000000000000", {mine}')]))
    back = dict(app.scope["headers"])[b"if-none-match"].decode()
    assert "~" not in back
    assert '"plain"' in back
    assert '"a"' in back


async def test_cookies_left_in_the_browser_are_expired_by_any_page_of_the_site() -> None:
    """Set before there was a consentmw, or by a script a second before the withdrawal: the next page ends them."""
    headers: list[Header] = [("cookie", "_ga=1; _ga_X=2; session=3"), ("host", "www.utility.example")]
    site = mounted(App(*html(PAGE, headers=[("set-cookie", "session=4")])))
    sent = await run(site, http_scope(headers=headers))
    gone = [line for line in values(sent, "set-cookie") if "Max-Age=0" in line]
    assert {line.partition("=")[0] for line in gone} == {"_ga", "_ga_X"}
    assert any("Domain=utility.example" in line for line in gone)
    assert cookies(sent)["session"] == "4"


async def test_what_is_no_page_expires_nothing() -> None:
    """A picture may be kept by a shared cache, and a cached Set-Cookie would reach everyone."""
    picture = response(b"x", headers=[("content-type", "image/png"), ("cache-control", "public")])
    sent = await run(mounted(App(*picture)), http_scope(headers=[("cookie", "_ga=1")]))
    assert values(sent, "set-cookie") == []


async def test_xhtml_is_a_page_too_and_stays_well_formed() -> None:
    """An attribute without quotes would end an XML page with an error, so the browser guards this one."""
    page = response(PAGE, headers=[("content-type", "application/xhtml+xml"), ("cache-control", "public")])
    sent = await run(mounted(App(*page)), http_scope())
    assert body(sent) == PAGE
    assert "default-src 'self'" in (header(sent, "content-security-policy") or "")
    assert (header(sent, "cache-control") or "").startswith("private")


@pytest.mark.parametrize("start", [b"", b" \n\t", b"<!-- -->", b"<p>"])
async def test_a_page_without_a_type_is_looked_at_as_browsers_do(start: bytes) -> None:
    sent = await run(mounted(App(*response(start + PAGE))), http_scope())
    assert b"<iframe data-consentmw-service=youtube" in body(sent)
    assert (header(sent, "cache-control") or "").startswith("private")


@pytest.mark.parametrize("start", [b"{}", b"\x89PNG", b"plain <b>", b"\0<html>"])
async def test_what_has_no_type_and_is_no_page_passes_untouched(start: bytes) -> None:
    given = response(start, b"<iframe src='https://www.youtube.com/embed/x'>")
    sent = await run(mounted(App(*given)), http_scope())
    assert all(a is b for a, b in zip(sent, given, strict=True))


async def test_the_type_is_told_by_the_first_byte_that_comes() -> None:
    sent = await run(mounted(App(*response(b"", b"", PAGE))), http_scope())
    assert b'id="consentmw"' in body(sent)


async def test_a_page_without_a_body_element_or_of_one_byte_arrives() -> None:
    for page in (b"", b"x", b"<", b"<!doctype html>", b"<p>no head, no body"):
        assert page.strip(b"<") in body(await sent_for(page))


async def test_many_empty_chunks_stay_in_order_and_end_once() -> None:
    sent = await sent_for(b"", PAGE[:100], b"", b"", PAGE[100:], b"")
    assert body(sent) == body(await sent_for(PAGE))
    ends = [m for m in sent if m["type"] == "http.response.body" and not m.get("more_body")]
    assert len(ends) == 1
    assert sent[-1] is ends[0]


async def test_a_stream_reaches_the_browser_piece_by_piece() -> None:
    """What stands before an open tag is not held back until the page is complete."""
    sent = await sent_for(PAGE[:400], PAGE[400:500], PAGE[500:])
    bodies = [m["body"] for m in sent if m["type"] == "http.response.body"]
    assert len(bodies) == 3
    assert re.search(rb"<html", bodies[0])


@given(page=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=5))
async def test_any_bytes_called_html_arrive_and_how_they_are_cut_changes_nothing(page: bytes, cuts: list[int]) -> None:
    whole = body(await sent_for(page))
    assert body(await sent_for(*pieces(page, cuts))) == whole


async def test_a_page_without_a_type_that_must_stay_as_it_is_is_sealed() -> None:
    page = response(PAGE, headers=[("cache-control", "no-transform")])
    sent = await run(mounted(App(*page)), http_scope())
    assert body(sent) == PAGE
    assert "default-src 'self'" in (header(sent, "content-security-policy") or "")


async def whole_and_in_bytes(page: bytes, headers: Sequence[Header]) -> list[list[Message]]:
    """What a new visitor gets of a body sent in one piece, and of the same sent byte by byte."""
    cut = [page[n : n + 1] for n in range(len(page))]
    return [
        await run(mounted(App(*response(*chunks, headers=headers))), http_scope(method="GET"))
        for chunks in ((page,), cut)
    ]


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ([("content-type", "text/html, text/html")], b"\xff\xfe<\0"),
        # The time within would make another name of this test in each process that collects it.
        (
            [("content-type", "text/html, text/html"), ("content-encoding", "gzip")],
            gzip.compress(b"\xff\xfe<\0", mtime=0),
        ),
        ([("content-type", "text/html"), ("content-encoding", "br")], b"\x1b\x05"),
        ([("content-type", "text/html"), ("content-encoding", "gzip, gzip")], gzip.compress(gzip.compress(PAGE))),
        ([("content-type", "text/html"), ("content-encoding", "br"), ("content-encoding", "gzip")], b"x"),
        ([("content-encoding", "br")], b"\x1b\x05"),
    ],
)
async def test_what_can_t_be_read_is_sealed_however_it_is_cut(headers: Sequence[Header], page: bytes) -> None:
    """A byte order mark counts inside gzip and over two chunks; a list of codings is none that we unpack."""
    for sent in await whole_and_in_bytes(page, headers):
        assert values(sent, "content-security-policy") == [SEALED]
        assert body(sent) == page


@pytest.mark.parametrize(
    "headers",
    [
        [("content-encoding", "gzip")],
        [("content-type", "*/*")],
        [("content-type", "")],
        [("content-type", "html")],
        [("content-type", "unknown/unknown")],
        [("content-type", "application/json, text/html")],
        [("content-type", "TEXT/HTML;charset=utf-8")],
        [("content-type", "text/html"), ("content-type", "*/*")],
        [("content-type", "application/json"), ("content-type", "text/html")],
    ],
)
async def test_a_page_is_known_by_what_browsers_take_for_its_type(headers: Sequence[Header]) -> None:
    """No type at all, one that says nothing, several of them; compressed, after white space, byte by byte."""
    packed = any(name == "content-encoding" for name, _ in headers)
    page = b" \n" * 300 + PAGE
    for sent in await whole_and_in_bytes(gzip.compress(page) if packed else page, headers):
        assert b"<iframe data-consentmw-service=youtube" in body(sent)


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=iso-8859-1", "application/json", "image/png"])
async def test_a_type_that_is_never_sniffed_as_a_page_is_left_alone(kind: str) -> None:
    """MIME Sniffing never makes HTML of text/plain, whatever is in it."""
    given = response(PAGE, headers=[("content-type", kind)])
    sent = await run(mounted(App(*given)), http_scope())
    assert all(a is b for a, b in zip(sent, given, strict=True))


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/xml", "Application/XML; charset=utf-8", "application/atom+xml",
                                  "multipart/x-mixed-replace; boundary=x", None])  # fmt: skip
async def test_a_document_that_is_no_html_is_sealed_and_keeps_everything_else(kind: str | None) -> None:
    """Opened as a document, SVG loads like a page. The seal is the same for everybody, since caches keep the file."""
    drawing = (
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><image href='https://www.youtube.com/x'/></svg>"
    )
    headers: list[Header] = [("etag", '"a"'), ("cache-control", "public, max-age=60"), ("content-length", "99")]
    headers += [("content-type", kind)] if kind else []
    sent = await run(mounted(App(*response(drawing, headers=headers))), http_scope())
    assert [(n.decode(), v.decode()) for n, v in sent[0]["headers"]] == [*headers, ("content-security-policy", SEALED)]
    assert body(sent) == drawing


async def test_the_seal_of_a_document_does_not_depend_on_consent() -> None:
    """A shared cache would hand one visitor's answer to another."""
    site = mounted(App(*response(b"<svg/>", headers=[("content-type", "image/svg+xml")])))
    everything = [("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    assert header(await run(site, http_scope(headers=everything)), "content-security-policy") == SEALED


async def test_an_escape_sequence_later_in_a_page_of_unknown_encoding_is_broken() -> None:
    """In ISO-2022-JP it would vanish and leave a script behind; a page that says its encoding keeps its bytes."""
    parts = [b"<!doctype html><html><body>", b"<scr\x1b", b"(Bipt src=https://www.youtube.com/x></script>"]
    unknown = await run(mounted(App(*response(*parts, headers=[("content-type", "text/html")]))), http_scope())
    assert b"\x1b" not in body(unknown)
    assert b"<scr\x1a(Bipt" in body(unknown)
    assert b"\x1b(B" in body(await sent_for(*parts))


async def test_a_page_that_unpacks_to_very_much_goes_out_in_pieces() -> None:
    """A gzip bomb must not stand in memory: pieces are made one after the other, as they are sent."""
    page = b"<!doctype html><html><body>" + b"a" * 5_000_000 + b"<iframe src='https://www.youtube.com/embed/x'>"
    sent = await sent_for(gzip.compress(page), headers=[("content-encoding", "gzip")])
    bodies = [message["body"] for message in sent[1:]]
    assert max(map(len, bodies)) < 600_000
    assert sum(map(len, bodies)) > 5_000_000
    assert b"<iframe data-consentmw-service=youtube" in body(sent)
    assert header(sent, "content-length") is None


async def test_nothing_is_unpacked_before_the_server_takes_what_came_before() -> None:
    """Backpressure: while the server waits for a slow reader, no more of the page is made."""
    unpacked = Inflater(b"gzip")
    pieces = unpacked.pieces(gzip.compress(b"a" * 50_000_000), last=True)
    first = next(pieces)
    assert len(first) <= PIECE
    assert len(first) + sum(map(len, pieces)) == 50_000_000


async def test_what_follows_a_gzip_stream_is_ignored_as_browsers_do() -> None:
    """A second member, or anything else, is no part of the page in any browser."""
    packed = gzip.compress(PAGE) + gzip.compress(b"<script src=https://www.youtube.com/x></script>")
    sent = await sent_for(packed, b"tail", headers=[("content-encoding", "gzip")])
    assert body(sent) == body(await sent_for(PAGE))


async def test_a_compressed_page_that_never_tells_anything_is_not_held_for_ever() -> None:
    """A gzip header may hold a file name of any length."""
    endless = [b"\x1f\x8b\x08\x08" + b"\0" * 6, *[b"n" * 10_000] * 8]
    sent = await sent_for(*endless, headers=[("content-encoding", "gzip")])
    assert header(sent, "content-security-policy") == SEALED
    assert body(sent) == b"".join(endless)


SIGNED: list[tuple[str, str]] = [
    ("content-md5", "eA=="), ("digest", "sha-256=eA=="), ("content-digest", "sha-256=:eA==:"),
    ("repr-digest", "sha-256=:eA==:"), ("unencoded-digest", "sha-256=:eA==:"), ("signature", "a=:eA==:"),
    ("signature-input", "a=()"), ("content-length", "99"),
]  # fmt: skip


async def test_what_was_said_about_the_old_bytes_is_not_said_about_the_new() -> None:
    sent = await sent_for(PAGE, headers=SIGNED)
    assert [header(sent, name) for name, _ in SIGNED[:-1]] == [None] * 7
    assert header(sent, "content-length") == str(len(body(sent)))


async def test_bytes_that_stay_keep_what_was_said_about_them() -> None:
    sent = await sent_for(PAGE, headers=[("cache-control", "no-transform"), *SIGNED])
    assert [header(sent, name) for name, _ in SIGNED] == [value for _, value in SIGNED]


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "text/html"), *SIGNED, ("etag", '"a"'), ("content-encoding", "gzip")],
        [("content-type", "text/html"), ("cache-control", "no-transform"), ("content-length", "99")],
        [("content-type", "application/xhtml+xml"), ("content-length", "99")],
        [("content-type", "text/html"), ("content-encoding", "br"), ("content-length", "99")],
        [("content-type", "image/svg+xml"), ("content-length", "99")],
        [("content-type", "application/json"), ("content-length", "99"), ("etag", '"a"')],
    ],
)
async def test_head_says_what_get_says(headers: Sequence[Header]) -> None:
    """RFC 9110, 9.3.2: the same headers, but that the length of what was never made may be missing."""
    packed = gzip.compress(PAGE) if ("content-encoding", "gzip") in headers else PAGE
    get = await run(mounted(App(*response(packed, b"", headers=headers))), http_scope())
    head = await run(mounted(App(*response(headers=headers))), http_scope(method="HEAD"))
    assert head[0]["headers"] == get[0]["headers"]


async def test_a_304_says_no_more_about_a_page_than_the_page_did() -> None:
    """A browser takes a 304's headers over: with the application's own it would keep the page for an hour."""
    app = App(*html(PAGE, headers=[("etag", '"a"')]))
    site = mounted(app)
    tag = header(await run(site, http_scope()), "etag") or ""
    bare = response(status=304, headers=[("etag", '"a"'), ("cache-control", "public, max-age=3600"),
                                         ("expires", "x"), ("last-modified", "x"), *SIGNED])  # fmt: skip
    again = mounted(App(*bare))
    sent = await run(again, http_scope(headers=[("if-none-match", tag)]))
    assert (status(sent), body(sent)) == (304, b"")
    assert header(sent, "etag") == tag
    assert header(sent, "cache-control") == "private, no-cache"
    gone = ["expires", "last-modified", *(name for name, _ in SIGNED)]
    assert [header(sent, name) for name in gone] == [None] * len(gone)


async def test_a_304_about_something_else_passes_untouched() -> None:
    given = response(status=304, headers=[("etag", '"a"'), ("cache-control", "public, max-age=3600")])
    sent = await run(mounted(App(*given)), http_scope(headers=[("if-none-match", '"a"')]))
    assert all(a is b for a, b in zip(sent, given, strict=True))


async def test_a_part_of_a_page_is_sealed_and_stays_the_part_it_says() -> None:
    """A range may begin inside a tag, so nothing in it can be judged."""
    part = [("content-type", "text/html"), ("content-range", "bytes 5-9/99"), ("content-length", "5")]
    sent = await run(
        mounted(App(*response(b"<scri", status=206, headers=part))), http_scope(headers=[("range", "bytes=5-9")])
    )
    assert (status(sent), body(sent), header(sent, "content-length")) == (206, b"<scri", "5")
    assert header(sent, "content-range") == "bytes 5-9/99"
    assert header(sent, "content-security-policy") == SEALED


async def test_no_if_range_finds_the_application_s_own_tag_in_ours() -> None:
    """A range of the rewritten page would be of other bytes, so the page is asked for anew."""
    app = App(*html(PAGE, headers=[("etag", '"a"')]))
    site = mounted(app)
    ours = header(await run(site, http_scope()), "etag") or ""
    await run(site, http_scope(headers=[("range", "bytes=5-9"), ("if-range", ours)]))
    assert dict(app.scope["headers"])[b"if-range"] == ours.encode()
    assert ours.startswith("W/")


async def test_a_tag_with_a_comma_between_others_comes_back_whole() -> None:
    app = App(*html(PAGE, headers=[("etag", '"a,b"')]))
    site = mounted(app)
    mine = header(await run(site, http_scope()), "etag")
    await run(site, http_scope(headers=[("if-none-match", f'"x,y", {mine}')]))
    assert dict(app.scope["headers"])[b"if-none-match"] == b'"a,b", W/"a,b", "x,y"'


# -- what passes without a gate --------------------------------------------------------------------

JSON: Header = ("Content-Type", "application/json")


def counted(site: ConsentMiddleware) -> list[tuple[str, str, int]]:
    assert site.recorder.flush(5)
    return [(row["kind"], row["status"], row["count"]) for row in site.recorder.store.counts()]


@pytest.mark.parametrize(
    "answer",
    [
        response(b"{", b"}", headers=[JSON]),
        (*response(b"{}", headers=[JSON]), {"type": "http.response.trailers", "headers": []}),
        ({**response(headers=[JSON])[0], "headers": ((b"content-type", b"application/json"),)}, response(b"{}")[1]),
        (response(headers=[JSON])[0], {"type": "http.response.pathsend", "path": "/data.json"}),
    ],
    ids=["pieces", "trailers", "a tuple of headers", "a file"],
)
async def test_what_needs_no_gate_is_the_applications_own_and_is_counted_once(answer: tuple[Message, ...]) -> None:
    site = mounted(App(*answer), record="all")
    sent = await run(site, http_scope())
    assert len(sent) == len(answer)
    assert all(one is other for one, other in zip(sent, answer, strict=True))
    assert counted(site) == [("request", "2xx", 1)]


@pytest.mark.parametrize("after", [(), ({"type": "http.response.pathsend", "path": "/data.json", "more_body": True},)])
async def test_a_failure_behind_what_needs_no_gate_leaves_its_status(after: tuple[Message, ...]) -> None:
    site = mounted(App(response(status=404, headers=[JSON])[0], *after, raises=RuntimeError("late")), record="all")
    with pytest.raises(RuntimeError):
        await run(site, http_scope())
    assert counted(site) == [("request", "4xx", 1)]


async def test_a_failure_before_any_answer_is_counted_as_one() -> None:
    site = mounted(App(raises=RuntimeError("early")), record="all")
    with pytest.raises(RuntimeError):
        await run(site, http_scope())
    assert counted(site) == [("request", "5xx", 1)]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "hidden",
    [
        ("SET-COOKIE", "_ga=GA1.1.1; Path=/"),
        ("Link", "<https://www.googletagmanager.com/gtag/js>; rel=preload; as=script"),
        ("Accept-CH", "Sec-CH-UA-Model"),
        ("Report-To", '{"endpoints":[{"url":"https://www.google-analytics.com/r"}],"group":"a","max_age":9}'),
    ],
)
async def test_data_whose_headers_carry_what_lacks_consent_is_gated(hidden: Header, first: bool) -> None:
    """However they are spelt, and wherever they stand beside a type that needs no gate."""
    kind = ("content-type", "application/json")
    headers = [hidden, kind] if first else [kind, hidden]
    sent = await run(mounted(App(*response(b"{}", headers=headers))), http_scope())
    name, value = (str(part) for part in hidden)
    assert value not in values(sent, name)
    assert body(sent) == b"{}"


@pytest.mark.parametrize("types", [("application/json", "text/html"), ("text/html", "application/json")])
async def test_an_answer_of_two_types_is_gated_when_one_is_a_page(types: tuple[str, str]) -> None:
    start = response(headers=[("content-type", one) for one in types])[0]
    sent = await run(mounted(App(start, *response(PAGE)[1:])), http_scope())
    assert b'id="consentmw"' in body(sent)


async def test_hints_that_follow_the_start_of_data_are_gated() -> None:
    start, end = response(b"{}", headers=[JSON])
    links = [b"<https://www.googletagmanager.com/gtag/js>; rel=preload; as=script", b"</a.css>; rel=preload; as=style"]
    site = mounted(App(start, {"type": "http.response.early_hint", "links": links}, end), record="all")
    sent = await run(site, http_scope())
    assert sent[0] is start
    assert sent[1]["links"] == links[1:]
    assert sent[2] is end
    assert counted(site) == [("request", "2xx", 1)]


async def test_who_signs_in_by_an_answer_without_a_page_gets_the_cookie_and_no_cache_does() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["consent"].sign_in("4711")
        for message in response(b"{}", headers=[JSON]):
            await send(message)

    site = mounted(app)
    sent = await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics"))]))
    assert any(line.startswith("privacy-account=") for line in values(sent, "set-cookie"))
    assert header(sent, "cache-control") == "private"
