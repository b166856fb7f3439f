"""Link headers and early hints: nothing is fetched from, or connected to, a service without consent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from consentmw.gate.html import Rules
from consentmw.gate.links import filter_early_hint, filter_links
from consentmw.purposes import Catalogue

from .asgi import App, html, http_scope, run, values
from .mounted import PAGE, choice_cookie, mounted

CATALOGUE = Catalogue.load()
RULES = Rules(CATALOGUE, frozenset(CATALOGUE.services))
GTAG = b"<https://www.googletagmanager.com/gtag/js?id=G-1>"


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (GTAG + b"; rel=preload; as=script", []),
        (b"</a.css>; rel=preload, " + GTAG + b"; rel=preload", [b"</a.css>; rel=preload"]),
        (GTAG + b"; rel=preload, </a.css>; rel=preload", [b"</a.css>; rel=preload"]),
        (b"<//www.youtube.com>;rel=preconnect", []),
        (b'<https://www.youtube.com>; title="a, b"; rel="dns-prefetch"', []),
        (b"<https://WWW.YouTube.COM.>; REL=PRECONNECT", []),
        (b'<https://www.youtube.com>; rel="foo preconnect"', []),
        (GTAG, []),
        (
            b"<https://www.youtube.com/watch?v=1>; rel=canonical",
            [b"<https://www.youtube.com/watch?v=1>; rel=canonical"],
        ),
        (b"</next>; rel=next", [b"</next>; rel=next"]),
        (b"https://www.youtube.com; rel=preconnect", []),
        (b"<https://www.youtube.com; rel=preconnect", []),
        (b"garbage, more", [b"garbage, more"]),
        (b"", [b""]),
    ],
)
def test_links_to_denied_services_go_and_others_stay(value: bytes, left: list[bytes]) -> None:
    headers, _ = filter_links([(b"Link", value), (b"x-other", b"1")], RULES)
    assert [v for n, v in headers if n == b"Link"] == left
    assert (b"x-other", b"1") in headers


@given(st.binary(max_size=200))
def test_hostile_values_neither_raise_nor_leak(value: bytes) -> None:
    headers, changed = filter_links([(b"link", value)], RULES)
    assert changed or headers == [(b"link", value)]
    for _, kept in headers:
        assert b"www.youtube.com" not in kept.lower() or b"www.youtube.com" in value.lower()


def test_early_hints_are_filtered_too() -> None:
    assert filter_early_hint([GTAG + b"; rel=preload", b"</a.css>; rel=preload"], RULES) == [b"</a.css>; rel=preload"]


async def test_through_the_middleware_by_consent() -> None:
    hint: Message = {"type": "http.response.early_hint", "links": [GTAG + b"; rel=preload", b"</a.css>; rel=preload"]}
    page = html(PAGE, headers=[("link", (GTAG + b"; rel=preload").decode())])
    site = mounted(App(hint, *page))
    sent = await run(site, http_scope())
    assert sent[0]["links"] == [b"</a.css>; rel=preload"]
    assert values(sent[1:], "link") == []
    granted = [("cookie", choice_cookie(site, "analytics"))]
    sent = await run(site, http_scope(headers=granted))
    assert sent[0] is hint
    assert len(values(sent[1:], "link")) == 1
