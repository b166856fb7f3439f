"""Redirects and Refresh: no load of a denied service by a detour, no click identifier that nobody allowed."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from consentmw.gate.redirects import loads, plain
from consentmw.purposes import KINDS

from .asgi import App, Header, body, header, http_scope, response, run, status, values
from .mounted import choice_cookie, mounted

PIXEL = "https://www.facebook.com/tr?id=1&ev=PageView"
ELSEWHERE = "https://partner.example.org/offer"
PAGE: list[Header] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]


def fetch(destination: str, mode: str = "no-cors") -> list[Header]:
    return [("sec-fetch-mode", mode), ("sec-fetch-dest", destination)]


async def redirected(
    to: str, asked: list[Header], *, code: int = 302, more: list[Header] | None = None
) -> list[Message]:
    """The answer to a new visitor whose request is sent on."""
    headers: list[Header] = [("location", to), ("content-type", "text/html"), ("content-length", "5"), *(more or [])]
    app = App(*response(b"moved", status=code, headers=headers))
    return await run(mounted(app), http_scope(headers=[("host", "www.utility.example"), *asked]))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("destination", ["image", "script", "style", "empty", "embed", "audio", "worker", "report"])
async def test_a_load_that_is_sent_on_to_a_denied_service_ends_here(code: int, destination: str) -> None:
    """A pixel of the site's own that leads to a third party is that third party's pixel."""
    sent = await redirected(PIXEL, fetch(destination), code=code, more=[("set-cookie", "a=1"), ("etag", '"a"')])
    assert (status(sent), body(sent)) == (204, b"")
    assert [header(sent, name) for name in ("location", "content-length", "content-type", "etag")] == [None] * 4
    assert header(sent, "cache-control") == "private, no-store"
    assert header(sent, "set-cookie") == "a=1"


@pytest.mark.parametrize(
    "to",
    [
        "//www.facebook.com/tr", "https:www.facebook.com/tr", "https:\\\\www.facebook.com\\tr", "HTTPS://WWW.FACEBOOK.COM/tr",
        "https://user@www.facebook.com:443/tr", "https://x&sol;@www.facebook.com/tr", "https://www.facebook.com./tr",
        " https://www.facebook.com/tr", "https://www.facebook%2ecom/tr", "https://www.face\tbook.com/tr",
    ],
)  # fmt: skip
async def test_an_address_is_read_as_browsers_read_it(to: str) -> None:
    """Headers have no character references, but everything else that a URL parser forgives."""
    assert status(await redirected(to, fetch("image"))) == 204


async def test_a_redirect_that_was_refused_is_known_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    app = App(*response(status=302, headers=[("location", PIXEL)]))
    with caplog.at_level(logging.INFO, "consentmw"):
        await run(mounted(app), http_scope(headers=fetch("image")))
    assert [(w.service, w.tag) for w in app.scope["consent"].withheld] == [("meta_pixel", "redirect")]
    assert "www.facebook.com" in caplog.text


async def test_a_frame_that_is_sent_on_to_a_video_shows_our_page_instead() -> None:
    """As a withheld frame of the page itself does: the visitor sees what is missing and may allow it."""
    sent = await redirected("https://www.youtube.com/embed/x", fetch("iframe", "navigate"), code=308)
    assert (status(sent), body(sent), header(sent, "location")) == (303, b"", "/privacy/held/youtube")


async def test_a_frame_that_nobody_would_miss_stays_empty() -> None:
    assert status(await redirected(PIXEL, fetch("iframe", "navigate"))) == 204


@pytest.mark.parametrize("asked", [PAGE, [], [("sec-fetch-mode", "navigate")], [("accept", "text/html,*/*")]])
async def test_a_visitor_who_goes_to_a_service_goes_there(asked: list[Header]) -> None:
    """A navigation shows where it leads, and they asked for it. No cache keeps it: an image may ask for it later."""
    sent = await redirected("https://www.youtube.com/watch?v=1", asked, more=[("cache-control", "public")])
    assert (status(sent), header(sent, "location")) == (302, "https://www.youtube.com/watch?v=1")
    assert "no-store" in (header(sent, "cache-control") or "")


@pytest.mark.parametrize("accept", ["image/avif,image/webp,*/*;q=0.8", "text/css,*/*;q=0.1"])
async def test_an_old_browser_s_picture_is_known_by_what_it_accepts(accept: str) -> None:
    assert status(await redirected(PIXEL, [("accept", accept)])) == 204


async def test_what_was_allowed_is_sent_on() -> None:
    app = App(*response(status=302, headers=[("location", PIXEL)]))
    site = mounted(app)
    asked = [*fetch("image"), ("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    sent = await run(site, http_scope(headers=asked))
    assert (status(sent), header(sent, "location")) == (302, PIXEL)
    assert header(sent, "cache-control") == "private, no-store"


async def test_nothing_of_a_refused_answer_gets_out() -> None:
    """Body pieces, files and trailers of the application: the answer is over with its start."""
    start = {"type": "http.response.start", "status": 302, "headers": [(b"location", PIXEL.encode())], "trailers": True}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def app(scope: object, receive: object, send: object) -> None:
        assert callable(send)
        await send(start)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.pathsend", "path": "/secret"})
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    await mounted(app)(http_scope(headers=fetch("image")), receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert not sent[0]["trailers"]
    assert sent[1]["body"] == b""


@pytest.mark.parametrize(
    ("to", "left"),
    [
        ("?gclid=1", ""),
        ("?gclid=1&a=2", "?a=2"),
        ("?a=%20b+c&GCLID=1&b=%2f#x", "?a=%20b+c&b=%2f#x"),
        ("?a=1&gclid=2#top", "?a=1#top"),
        ("?gclid=1&fbclid=2#top", "#top"),
        ("?gclid=1#_gl=2&a=3", "#a=3"),
        ("#/?gclid=1&a=2", "#/?a=2"),
        ("?gc%6Cid=1&b", "?b"),
        ("?gc\tlid=1&b", "?b"),
        ("?a=1;msclkid=2;b=3", "?a=1;b=3"),
        ("?x=1&amp;fbclid=2", "?x=1&amp"),
        ("?ScCid=1&mc_eid=2&_hsenc=3&vero_id=4&ttclid&twclid=&li_fat_id=5", ""),
        (";gclid=1/path?gclid=2", ";gclid=1/path"),
        ("?u=https://x.example/?gclid=1&b=2", "?u=https://x.example/?b=2"),
        ("?utm_source=a&utm_campaign=b", "?utm_source=a&utm_campaign=b"),
        ("?gclidx=1&xgclid=2&a=gclid", "?gclidx=1&xgclid=2&a=gclid"),
        ("?&&a=1&", "?&&a=1&"),
    ],
)
async def test_click_identifiers_do_not_cross_to_another_site(to: str, left: str) -> None:
    """The rest of the address stays byte for byte."""
    assert header(await redirected(ELSEWHERE + to, PAGE), "location") == ELSEWHERE + left


@pytest.mark.parametrize(
    "host", ["", "https://www.utility.example", "https://pay.utility.example:8443", "//utility.example"]
)
async def test_within_the_site_they_stay(host: str) -> None:
    """They are in the visitor's browser already, and go to nobody else."""
    assert header(await redirected(f"{host}/a?gclid=1", PAGE), "location") == f"{host}/a?gclid=1"


async def test_a_host_that_the_settings_name_is_the_site_s_own() -> None:
    app = App(*response(status=302, headers=[("location", "https://shop.example.net/?gclid=1")]))
    assert header(await run(mounted(app, own_hosts=("*.example.net",)), http_scope()), "location") == (
        "https://shop.example.net/?gclid=1"
    )


@pytest.mark.parametrize(
    ("purpose", "left"),
    [("advertising", "?gclid=1"), ("email_measurement", "?mc_eid=2"), ("analytics", "?_gl=3")],
)
async def test_each_identifier_crosses_with_the_purpose_it_serves(purpose: str, left: str) -> None:
    app = App(*response(status=302, headers=[("location", f"{ELSEWHERE}?gclid=1&mc_eid=2&_gl=3")]))
    site = mounted(app)
    granted = [key for key, found in site.site.catalogue.purposes.items() if found.kind == purpose]
    sent = await run(site, http_scope(headers=[("cookie", choice_cookie(site, *granted))]))
    assert header(sent, "location") == ELSEWHERE + left
    assert header(sent, "cache-control") == "private, no-store"


async def test_a_redirect_that_has_nothing_to_do_with_consent_is_left_alone() -> None:
    given = response(b"moved", status=301, headers=[("location", ELSEWHERE + "?a=1"), ("cache-control", "public")])
    sent = await run(mounted(App(*given)), http_scope(headers=[*PAGE, ("host", "www.utility.example")]))
    # Without a type it is looked at like any answer, but nothing is changed.
    assert all(a is b for a, b in zip(sent, given, strict=True))


async def test_a_location_that_no_browser_follows_says_what_it_says() -> None:
    app = App(*response(status=201, headers=[("location", PIXEL), ("content-type", "text/plain")]))
    assert header(await run(mounted(app), http_scope(headers=fetch("empty"))), "location") == PIXEL


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("5", ["5"]),
        ("0; url=/next?gclid=1", ["0; url=/next?gclid=1"]),
        ("0; url=https://www.facebook.com/tr", []),
        ("0;https://www.facebook.com/tr", []),
        ("0,URL = 'https://www.facebook.com/tr'", []),
        ('0 url="https://www.facebook.com/tr" x"', []),
        ("0;url='https://a'@www.facebook.com/tr'", []),
        (".5; //www.facebook.com/tr", []),
        ("url=https://www.facebook.com/tr", []),
        ("x;url=https://www.facebook.com/tr", []),
        ("0;url=https://x&sol;@www.facebook.com/tr", []),
        (f"0; url='{ELSEWHERE}?gclid=1&a=2'", [f"0; url='{ELSEWHERE}?a=2'"]),
        (f"0;{ELSEWHERE}?a=2&fbclid=1", [f"0;{ELSEWHERE}?a=2"]),
        (f"0; url={ELSEWHERE}?u=https://www.facebook.com/", [f"0; url={ELSEWHERE}?u=https://www.facebook.com/"]),
        ("", [""]),
    ],
)
async def test_refresh_is_read_as_browsers_read_it(value: str, left: list[str]) -> None:
    headers = [("refresh", value), ("content-type", "text/plain")]
    sent = await run(mounted(App(*response(headers=headers))), http_scope(headers=[("host", "www.utility.example")]))
    assert values(sent, "refresh") == left


@given(st.text("?&;#=gclid1%6/\t ", max_size=40))
def test_no_address_breaks_it_and_nothing_else_is_lost(rest: str) -> None:
    raw = b"https://x.example/" + rest.encode()
    left = plain(raw, frozenset())
    assert plain(left, frozenset()) == left
    assert plain(raw, frozenset({"advertising", "analytics", "email_measurement"})) == raw
    if b"gclid" not in raw and b"%" not in raw and b"\t" not in raw:
        assert left == raw


@given(st.binary(max_size=60), st.sampled_from(["location", "refresh"]))
async def test_no_value_of_a_header_costs_the_visitor_the_answer(value: bytes, name: str) -> None:
    app = App(*response(status=302, headers=[(name, value), ("content-type", "text/plain")]))
    assert status(await run(mounted(app), http_scope())) == 302


@given(st.lists(st.tuples(st.sampled_from([b"sec-fetch-dest", b"Sec-Fetch-Mode", b"accept"]), st.binary(max_size=20))))
def test_no_request_header_breaks_telling_a_navigation(headers: list[tuple[bytes, bytes]]) -> None:
    assert isinstance(loads(headers), str)


def test_every_click_identifier_says_where_it_is_from_and_what_grants_it() -> None:
    """The list is data that somebody will question: each name has an origin and a kind of purpose that exists."""
    file = Path(__file__).parent.parent / "consentmw" / "data" / "clicks.toml"
    found = tomllib.loads(file.read_text("utf-8"))
    names = [name for group in found.values() for name in group]
    assert found.keys() <= set(KINDS)
    assert len(names) == len(set(names)) >= 50
    assert all(name == name.lower() and origin for group in found.values() for name, origin in group.items())


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ('"https://www.googletagmanager.com/rules.json"', []),
        ('"/rules.json", "//static.hotjar.com/r"', []),
        ('"/r.json"', ['"/r.json"']),
    ],
)
async def test_no_rules_to_load_pages_ahead_come_from_a_denied_service(value: str, left: list[str]) -> None:
    """A browser fetches them as soon as it has the headers."""
    app = App(*response(headers=[("speculation-rules", value), ("content-type", "text/html")]))
    assert values(await run(mounted(app), http_scope()), "speculation-rules") == left
