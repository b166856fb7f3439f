"""Every way to smuggle a tag past the middleware that we know, through the middleware, judged by html5lib.

The same rows go through a real Chromium in browser/test_smuggling.py; what this judge suspects, that browser loads.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from starlette.types import Message

from consentmw import ConsentMiddleware

from .answer_oracle import reaches
from .asgi import App, header, http_scope, run
from .mounted import mounted
from .smuggled import ROWS, Row

#: what html5lib reads as older browsers did, and what is XML: there only the browser says that it loads
BEYOND_THE_JUDGE = {
    *("svg-cdata-breakout", "tree-select-image"),
    *("type-xhtml-entity", "type-xhtml-prefix", "type-svg-stylesheet", "type-application-xml"),
}
#: what the judge takes for live and no browser does: what only older ones read, or what they show as text
ONLY_LOOKS_LIVE = {"el-attributionsrc-a", "type-mhtml", "enc-ebcdic"}
#: how many rows build their address at run time or wait for a click, and how many are pages no rewriter may touch
POLICY_ONLY, GAPS = 8, 2


def test_the_set_is_large_and_each_row_says_where_it_is_from() -> None:
    """At least 300 ways that count, each written once; the row's own name does not make two payloads two."""
    assert sum(row.counts for row in ROWS) >= 300
    payloads = [
        json.dumps(
            [row.html, row.fill, row.type, row.headers, row.encoding, row.coding, row.chunk, row.status, row.javascript]
        )
        for row in ROWS
    ]
    assert len({text.replace(row.id, "") for row, text in zip(ROWS, payloads, strict=True)}) == len(ROWS)
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert [row.id for row in ROWS if not (row.origin and row.tries)] == []


def test_what_a_rewriter_cannot_see_is_little_and_said() -> None:
    """docs/gate.md names these numbers."""
    assert sum(row.policy_only for row in ROWS) == POLICY_ONLY
    assert sum(bool(row.gap) for row in ROWS) == GAPS


SEEN = [row for row in ROWS if not row.policy_only and row.id not in ONLY_LOOKS_LIVE]
BY_ID = pytest.mark.parametrize("row", SEEN, ids=[row.id for row in SEEN])


@pytest.fixture(scope="module")
def gated() -> ConsentMiddleware:
    """The middleware before a visitor who allowed nothing. Hosts of no service pass: the catalogue alone has to do."""
    return mounted(App(), unknown="allow")


@BY_ID
def test_the_row_is_no_empty_threat(row: Row) -> None:
    """As it stands, without the middleware, the judge finds a load in it."""
    if row.counts and row.id not in BEYOND_THE_JUDGE:
        assert reaches(replace(row, coding="").answer(), row.encoding), row.tries


@BY_ID
async def test_nothing_denied_is_reached(gated: ConsentMiddleware, row: Row) -> None:
    """Whole and in chunks of one byte, no parse of the answer loads from a denied service."""
    whole = row.answer()
    for messages in (whole, _in_bytes(whole)):
        gated.app = App(*messages)
        answer = await run(gated, http_scope())
        assert reaches(answer, row.encoding) == [], row.tries
        assert row.gap == "" or "default-src 'self'" in (header(answer, "content-security-policy") or "")


def _in_bytes(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    start, *bodies = messages
    data = b"".join(message["body"] for message in bodies)
    # Long ones are long for one attribute; a step of an odd size cuts the rest of them everywhere in time.
    size = 1 if len(data) < 4_000 else 89
    return (
        start,
        *(
            {"type": "http.response.body", "body": data[at : at + size], "more_body": True}
            for at in range(0, len(data), size)
        ),
        {"type": "http.response.body", "body": b"", "more_body": False},
    )
