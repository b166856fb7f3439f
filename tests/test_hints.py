"""Client hints: a device is asked about itself only where the visitor may be measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.gate.hints import asks, concealed, forgotten, free
from consentmw.visitor import HINTS

from .asgi import App, Header, body, header, html, http_scope, response, run, values
from .mounted import PAGE, choice_cookie, mounted

MODEL = "Sec-CH-UA-Model"


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (["Sec-CH-UA-Model, Sec-CH-Prefers-Color-Scheme"], ["Sec-CH-Prefers-Color-Scheme"]),
        (["DPR", "Save-Data", "Width"], ["Save-Data"]),
        (["Sec-CH-UA, sec-ch-ua-mobile"], ["Sec-CH-UA, sec-ch-ua-mobile"]),
        (["Sec-CH-UA-Model"], [""]),
        ([""], [""]),
        (["Sec-CH-Not-Invented-Yet"], [""]),
        (["Save-Data;x=1"], [""]),
        ([",, Save-Data ,"], ["Save-Data"]),
    ],
)
async def test_without_consent_a_page_asks_only_for_free_hints(lines: list[str], left: list[str]) -> None:
    """In one line: browsers ignore a joined list that has an empty member, and an empty one makes them forget."""
    app = App(*html(PAGE, headers=[("Accept-CH", line) for line in lines]))
    assert values(await run(mounted(app), http_scope()), "accept-ch") == left


@pytest.mark.parametrize(("value", "left"), [("Sec-CH-UA-Model", []), ("Save-Data, Sec-CH-UA-Arch", ["Save-Data"])])
async def test_no_request_is_sent_again_for_a_hint_nobody_may_use(value: str, left: list[str]) -> None:
    """Critical-CH makes a browser repeat its first request with the hints."""
    assert (
        values(await run(mounted(App(*html(PAGE, headers=[("critical-ch", value)]))), http_scope()), "critical-ch")
        == left
    )


async def test_hints_are_asked_for_on_whatever_is_no_page_too() -> None:
    app = App(*response(b"{}", headers=[("content-type", "application/json"), ("accept-ch", MODEL)]))
    assert header(await run(mounted(app), http_scope()), "accept-ch") == ""


async def test_who_allowed_analytics_is_asked_as_the_application_says() -> None:
    app = App(*html(PAGE, headers=[("accept-ch", MODEL), ("critical-ch", MODEL)]))
    site = mounted(app)
    allowed: list[Header] = [("cookie", choice_cookie(site, "analytics")), (MODEL, '"Pixel"')]
    sent = await run(site, http_scope(headers=allowed))
    assert (values(sent, "accept-ch"), values(sent, "critical-ch")) == ([MODEL], [MODEL])
    assert dict(app.scope["headers"])[MODEL.encode()] == b'"Pixel"'


@pytest.mark.parametrize("hint", sorted(HINTS))
async def test_a_hint_that_a_browser_still_sends_is_hidden_and_ended(hint: bytes) -> None:
    """A browser remembers what it was asked; after a withdrawal the application sees no more of it."""
    app = App(*html(PAGE))
    kept: list[Header] = [("sec-ch-ua", '"A"'), ("save-data", "on"), ("sec-ch-prefers-color-scheme", "dark")]
    sent = await run(mounted(app), http_scope(headers=[*kept, (hint.upper(), b"1"), ("sec-ch-unheard-of", "1")]))
    names = [name.lower() for name, _ in app.scope["headers"]]
    assert hint not in names
    assert b"sec-ch-unheard-of" not in names
    assert {b"sec-ch-ua", b"save-data", b"sec-ch-prefers-color-scheme"} <= set(names)
    assert values(sent, "accept-ch") == [""]


async def test_a_browser_is_told_to_stop_in_one_line() -> None:
    """Two Accept-CH lines, one of them empty, would be ignored together."""
    app = App(*html(PAGE, headers=[("accept-ch", "Save-Data")]))
    assert values(await run(mounted(app), http_scope(headers=[(MODEL, "1")])), "accept-ch") == ["Save-Data"]


async def test_who_sends_no_hints_is_told_nothing() -> None:
    sent = await run(mounted(App(*html(PAGE))), http_scope(headers=[("sec-ch-ua", '"A"')]))
    assert values(sent, "accept-ch") == []


@given(
    st.lists(st.tuples(st.sampled_from([b"Accept-CH", b"critical-ch", b"vary"]), st.binary(max_size=60)), max_size=5)
)
def test_no_header_breaks_it_and_nothing_but_free_hints_is_left(headers: list[tuple[bytes, bytes]]) -> None:
    left = free(headers)
    assert [pair for pair in left if pair[0] == b"vary"] == [pair for pair in headers if pair[0] == b"vary"]
    assert not any(asks(value) for name, value in left if name != b"vary")
    assert sum(name.lower() == b"accept-ch" for name, _ in left) <= 1
    assert sum(name.lower() == b"accept-ch" for name, _ in forgotten(left)) == 1


@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=9)), max_size=5))
def test_no_request_header_breaks_hiding(headers: list[tuple[bytes, bytes]]) -> None:
    assert concealed(headers) == [pair for pair in headers if pair in concealed([pair])]


@pytest.mark.parametrize(
    ("tag", "stays"),
    [
        (b'<meta http-equiv="Accept-CH" content="sec-ch-ua-model">', False),
        (b"<meta content=DPR http-equiv=accept-ch>", False),
        (b"<META HTTP-EQUIV='&#97;ccept-ch' CONTENT='Save-Data,&#87;idth'>", False),
        (b'<meta http-equiv="delegate-ch" content="sec-ch-ua-arch https://cdn.utility.example; sec-ch-dpr">', False),
        (b'<meta http-equiv="accept-ch" content="Save-Data, Sec-CH-Prefers-Color-Scheme">', True),
        (b'<meta http-equiv="accept-ch" content="">', True),
        (b'<meta name="accept-ch" content="sec-ch-ua-model">', True),
        (b'<meta http-equiv="content-language" content="dpr">', True),
    ],
)
async def test_a_page_asks_for_no_more_in_its_head(tag: bytes, stays: bool) -> None:
    """``meta`` elements ask as headers do; the attribute with the list is switched off, the rest stays."""
    page = b"<!doctype html><html><head>" + tag + b"</head><body></body></html>"
    sent = body(await run(mounted(App(*html(page))), http_scope()))
    assert (tag in sent) is stays
    assert (b"data-consentmw-content" in sent.lower()) is not stays
    site = mounted(App(*html(page)))
    allowed = await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics"))]))
    assert tag in body(allowed)


async def test_hints_are_handed_on_to_no_denied_service() -> None:
    """Also where the site itself may ask for them."""
    tag = b'<meta http-equiv="delegate-ch" content="sec-ch-ua-arch https://connect.facebook.net">'
    site = mounted(App(*html(b"<!doctype html><html><head>" + tag + b"</head></html>")))
    sent = await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics"))]))
    assert b"data-consentmw-content" in body(sent)
