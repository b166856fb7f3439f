"""The gated page beside the original, parse by parse: addresses are taken out and nothing else of a tree changes.

Whatever html5lib makes of a page, with scripting on and off, it makes of the gated page as well, once our marks are
undone; and how the page arrived changes no byte. Where a tag stands in another's attribute the marks may split
that attribute in two, so there the bytes alone are compared (docs/decisions/0001).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consentmw.gate.html import HtmlGate, Rules
from consentmw.purposes import Catalogue

from .answer_oracle import loads
from .html_oracle import ALL, CATALOGUE, PIECES, leaks, parse, soup
from .smuggled import ROWS, Row

SHIPPED = Catalogue.load()
EVERYTHING = Rules(SHIPPED, frozenset(SHIPPED.services))
RULES = Rules(CATALOGUE, ALL)
INSERTS = {
    "head": b'<link rel="stylesheet" href="/privacy/a.css" data-consentmw>',
    "body": b'<div id="consentmw" data-consentmw><p>"Hello"</p></div>',
    "foot": b'<nav data-consentmw><a href="/privacy">Privacy</a></nav>',
}

#: rows whose answer is read as HTML in UTF-8 and none of whose tags is too long to be judged
PAGES = [
    row
    for row in ROWS
    if row.encoding == "utf-8"
    and "html" in (row.type or "html")
    and row.times < 4_000
    # It writes marks like ours itself.
    and row.id != "tag-prefix"
]
BY_ID = pytest.mark.parametrize("row", PAGES, ids=[row.id for row in PAGES])

#: pages as people write them, with all that is optional left out or done twice
HANDWRITTEN = (
    "<!doctype html><title>t</title><p>one<p>two<img src=//i.ytimg.com/a>"
    "<ul><li>a<li>b</ul><table><tr><td>c<td>d</table>",
    "<html><head><script>window.a = '</' + 'script>';</script><style>a > b { color: red }</style></head>"
    "<body onload=\"go()\"><noscript><img src='https://www.facebook.com/tr?id=1'></noscript></body></html>",
    "<!-- a --><!doctype html><body class=a><body id=b><h1>x</h2></h1><b><i>y</b>z</i><br/></br>",
    "<p>caf\u00e9 &eacute; &amp;lt; &#128;"
    "<svg viewbox='0 0 1 1'><lineargradient id=a /><text>x<![CDATA[<b>]]></text></svg>",
    "<select><option>a<option>b</select><textarea>\n<p></textarea><pre>\n\nx</pre>"
    "<iframe src=https://www.youtube.com/embed/a></iframe>",
    "<form><input name=a value='>'><button>go</button></form>"
    "<math><mi>x</mi><annotation-xml encoding=text/html><p>y</math>",
    "<link rel=preload as=script href=https://connect.facebook.net/a.js>"
    "<script async src=https://connect.facebook.net/a.js></script>",
)  # fmt: skip

_MARKS = re.compile(
    r" type=text/plain data-consentmw-service=[a-z0-9_]+"
    r"| data-consentmw-service=[a-z0-9_]+(?: name=consentmw-off-[a-z0-9_]+-[0-9]+)?"
    r"|data-consentmw-|consentmw-withheld-|consentmw%\{\}"
)
#: a mark before a slash brings a space along, and nothing in a text tells it from one that was there
_SPACED = re.compile(r"(<[A-Za-z][^\s/<>]*) (?=/)")


def gated(html: str, rules: Rules, cuts: list[int] | None = None, /, **inserts: Any) -> str:
    """What the gate makes of a page that arrives in pieces with these ends."""
    gate = HtmlGate(rules, **inserts)
    data = html.encode()
    ends = [0, *sorted(cut % (len(data) + 1) for cut in cuts or ()), len(data)]
    return (b"".join(gate.feed(data[a:b]) for a, b in pairwise(ends)) + gate.close()).decode()


def tree(html: str, scripting: bool) -> list[tuple[str, ...]]:
    """Elements, attributes and text in order, with our marks undone and our elements left out."""
    found: list[tuple[str, ...]] = []
    for what in _flat(parse(html, scripting)):
        if what[0] == "text" and found and found[-1][0] == "text":
            # An element of ours between two texts leaves one.
            what = "text", found.pop()[1] + what[1]
        found.append(what)
    # White space before the first text of a page is dropped; a mark before it would keep it.
    return [(what[0], what[1].strip()) if what[0] == "text" else what for what in found]


def _flat(element: Any) -> Iterator[tuple[str, ...]]:
    name = element.tag if isinstance(element.tag, str) else "comment"
    given = {
        str(key).replace("{http://www.w3.org/1999/xlink}", "xlink:"): value for key, value in element.attrib.items()
    }
    if "data-consentmw" in given:
        return
    if "data-consentmw-service" in given:
        del given["data-consentmw-service"]
        if given.get("type") == "text/plain":
            del given["type"]
        if given.get("name", "").startswith("consentmw-off-"):
            del given["name"]
    marks: dict[str, str] = {}
    for key, value in given.items():
        # Of two attributes of one name the first counts, whichever of them was switched off.
        marks.setdefault(_undone(key), _undone(value))
    yield name.replace("consentmw-withheld-", ""), *(f"{key}={value}" for key, value in sorted(marks.items()))
    yield "text", _undone(element.text or "")
    for child in element:
        yield from _flat(child)
        yield "text", _undone(child.tail or "")
    yield "end", name


def _undone(text: str) -> str:
    return _SPACED.sub(r"\1", _MARKS.sub("", text))


def tag_in_attribute(html: str, scripting: bool) -> bool:
    """Whether a parse of this page has a bracket in an attribute, or may have one in a tag that never ends."""
    open_end = html.rfind("<") > html.rfind(">")
    return open_end or any(
        "<" in f"{key}{value}" for element in parse(html, scripting).iter() for key, value in element.attrib.items()
    )


def same_tree(html: str, out: str) -> bool:
    """Whether both pages have the same trees once the marks are undone."""
    return all(
        tree(html, scripting) == tree(out, scripting)
        for scripting in (True, False)
        if not tag_in_attribute(html, scripting)
    )


@BY_ID
def test_each_hostile_page_keeps_its_trees(row: Row) -> None:
    out = gated(row.text, EVERYTHING)
    assert same_tree(row.text, out)
    assert same_tree(row.text, gated(row.text, EVERYTHING, **INSERTS))


@BY_ID
def test_each_hostile_page_is_the_same_however_it_arrives(row: Row) -> None:
    """Cut in two at every byte of a short page, and at random in a long one."""
    size = len(row.text.encode())
    whole = gated(row.text, EVERYTHING, **INSERTS)
    source = random.Random(row.id)
    for cut in range(size) if size < 250 else source.sample(range(size), 40):
        assert gated(row.text, EVERYTHING, [cut], **INSERTS) == whole, row.text[:cut]


@pytest.mark.parametrize("html", HANDWRITTEN)
def test_pages_as_people_write_them_keep_their_trees(html: str) -> None:
    out = gated(html, EVERYTHING, **INSERTS)
    assert same_tree(html, out)
    assert loads(out) == []
    assert all(gated(html, EVERYTHING, [cut], **INSERTS) == out for cut in range(len(html.encode())))


def test_a_long_series_of_soups_keeps_its_trees() -> None:
    """2,000 broken pages, of which more than half can be compared; none loads what is denied."""
    source = random.Random(11)
    pages = [soup(source) for _ in range(2_000)]
    compared = [page for page in pages if not tag_in_attribute(page, scripting=True)]
    assert len(compared) > 1_000
    assert [page for page in pages if not same_tree(page, gated(page, RULES))] == []
    assert [page for page in pages if leaks(gated(page, RULES, **INSERTS))] == []


PIECE = st.one_of(st.sampled_from(PIECES), st.sampled_from([row.text for row in PAGES if len(row.text) < 200]))


@settings(max_examples=300)
@example('<script src="https://connect.facebook.net/a.js"><img / / src=https://i.ytimg.com/vi/a.jpg / >', [])
@given(st.lists(PIECE, max_size=12).map("".join), st.lists(st.integers(0, 4_000), max_size=12))
def test_any_mixture_keeps_its_trees_and_its_bytes(html: str, cuts: list[int]) -> None:
    """Hypothesis puts hostile pages and pieces together, and cuts them up."""
    out = gated(html, EVERYTHING)
    assert gated(html, EVERYTHING, cuts) == out
    assert same_tree(html, out)
    assert leaks(out) == []
