"""P3: the HTML gate against a bare rewriter in Rust (lol-html) and one on ``html.parser``, same page, same edits.

The page is a plausible 50 kB of navigation, cards, forms and tables with 8 third-party tags, all
denied, and a banner to insert. Time is CPU time of this process, in interleaved rounds, medians.
Then all of them but html.parser meet thousands of broken pages; what still loads is counted.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from lolhtml import ContentType, HTMLRewriter

sys.path.insert(0, str(Path(__file__).parent.parent))

from consentmw.gate.html import HtmlGate, Rules
from tests.html_oracle import ALL, CATALOGUE, leaks, soup

ROUNDS: Final = 41
PAGES_A_ROUND: Final = 10
SOUPS: Final = 5_000

HEAD: Final = b'<link rel="stylesheet" href="/privacy/static/consentmw.css" data-consentmw>'
BANNER: Final = b"".join(
    (
        b'<section id="consentmw" data-consentmw><form method="post" action="/privacy/choices">',
        b"<h2>Your privacy</h2><p>",
        b"We would like to measure visits and to show videos. You decide. " * 8,
        b'</p><button data-consentmw-action="accept">Accept</button>',
        b'<button data-consentmw-action="reject">Reject</button></form></section>',
    )
)

RULES: Final = Rules(CATALOGUE, ALL)

_LOADS: Final = ("src", "srcset", "href", "data", "poster")
#: every tag that loads, and only those whose address names a host: less is seen, in less time
_THOROUGH: Final = (
    "script, iframe, img, link, source, video, audio, embed, object, input, base, image, use, track, frame"
)
_QUICK: Final = 'script[src*="//"], iframe[src*="//"], img[src*="//"], link[href*="//"]'


_HEAD_AND_NAVIGATION: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Usage | Riverbend Water</title>
<link rel="stylesheet" href="/static/site.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="canonical" href="https://www.example.com/usage">
<script src="/static/site.js" defer></script>
<link rel="preconnect" href="https://www.googletagmanager.com/gtag/">
<script async src="https://www.googletagmanager.com/gtag/js?id=G-0000000"></script>
<script>
window.dataLayer = window.dataLayer || [];
function gtag(){dataLayer.push(arguments)}
gtag('js', new Date()); gtag('config', 'G-0000000');
</script>
<script>
!function(f,b){f.fbq=function(){};b.x=1}(window,document); fbq('init', '123'); fbq('track', 'PageView');
</script>
<noscript><img height="1" width="1" style="display:none" alt=""
 src="https://www.facebook.com/tr?id=123&amp;ev=PageView"></noscript>
<script src="https://www.clarity.ms/tag/abc"></script>
</head>
<body class="page page--usage">
<header><nav><ul class="nav">
"""
_ITEM: Final = (
    '<li class="nav__item"><a class="nav__link" href="/usage/month/{n}" data-index="{n}">Month {n}</a></li>\n'
)
_CARD: Final = """<article class="card card--usage" id="card-{n}">
<h3 class="card__title"><a href="/premises/{n}">Premise {n}</a></h3>
<img class="card__image" src="/media/premise-{n}.jpg" alt="Meter {n}" width="320" height="180" loading="lazy">
<p class="card__text">You used <strong>{n} m³</strong> this month, which is 4&nbsp;% less than a year ago. Leaks
are often small: a dripping tap wastes up to 20 litres a day, and a running cistern ten times as much.</p>
<table class="usage"><tr><th scope="row">Reading</th><td>{n}12</td><td>actual</td></tr></table>
<form action="/alerts" method="post"><label for="limit-{n}">Alert above</label>
<input id="limit-{n}" name="limit" type="number" value="{n}"><button class="button">Save</button></form>
</article>
"""
_THIRD_PARTIES_AND_FOOTER: Final = """
<iframe width="560" height="315" src="https://www.youtube.com/embed/abc" title="How to read your meter"></iframe>
<iframe src="https://www.google.com/maps/embed?pb=1" loading="lazy"></iframe>
</main>
<footer><p>© Riverbend Water</p><a href="/privacy">Privacy Policy</a></footer>
</body>
</html>
"""


def page() -> bytes:
    """About 50 kB, two thirds of it markup, as a utility's website writes it."""
    items = "".join(_ITEM.format(n=n) for n in range(40))
    cards = "".join(_CARD.format(n=n) for n in range(61))
    html = f"{_HEAD_AND_NAVIGATION}{items}</ul></nav></header>\n<main>\n{cards}{_THIRD_PARTIES_AND_FOOTER}"
    return html.encode()


def ours(html: bytes) -> bytes:
    gate = HtmlGate(RULES, head=HEAD, body=BANNER)
    return gate.feed(html) + gate.close()


class _Bare:
    """What a careful person writes with lol-html in an afternoon."""

    def element(self, element: Any) -> None:
        tag = element.tag_name
        if tag == "head":
            element.prepend(HEAD.decode(), ContentType.HTML)
        elif tag == "body":
            element.prepend(BANNER.decode(), ContentType.HTML)
        else:
            key = ""
            for name in _LOADS:
                value = element.get_attribute(name)
                if value and (hit := RULES.url(value.encode())):
                    key = hit[0]
                    element.remove_attribute(name)
                    element.set_attribute(f"data-consentmw-{name}", value)
            if key:
                if tag == "script":
                    element.set_attribute("type", "text/plain")
                element.set_attribute("data-consentmw-service", key)


class _BareCode:
    """Inline scripts: lol-html shows the code after the tag, so the code itself has to go."""

    def __init__(self) -> None:
        self._code: list[str] = []

    def text(self, chunk: Any) -> None:
        self._code.append(chunk.text)
        chunk.remove()
        if chunk.last_in_text_node:
            code = "".join(self._code)
            self._code = []
            key = RULES.code(code.encode())
            chunk.after(f"/* {key} */" if key else code, ContentType.HTML)


def _lolhtml(html: bytes, selector: str) -> bytes:
    out: list[bytes] = []
    rewriter = HTMLRewriter(lambda piece: out.append(bytes(piece)))
    rewriter.on("head, body, " + selector, _Bare())
    rewriter.on("script:not([src])", _BareCode())
    rewriter.write(html)
    rewriter.end()
    return b"".join(out)


def thorough_lolhtml(html: bytes) -> bytes:
    return _lolhtml(html, _THOROUGH)


def quick_lolhtml(html: bytes) -> bytes:
    return _lolhtml(html, _QUICK)


class _Parser(HTMLParser):
    """The same with the standard library."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.out: list[str] = []
        self._script: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text = self.get_starttag_text() or ""
        key = next(
            (hit[0] for name, value in attrs if name in _LOADS and (hit := RULES.url((value or "").encode()))), ""
        )
        if tag == "script" and not key and not any(name == "src" for name, _ in attrs):
            self._script = text
            return
        self.out.append(self._inert(tag, attrs, key) if key and tag != "a" else text)
        if tag == "head":
            self.out.append(HEAD.decode())
        elif tag == "body":
            self.out.append(BANNER.decode())

    def _inert(self, tag: str, attrs: list[tuple[str, str | None]], key: str) -> str:
        kept = [(f"data-consentmw-{n}" if n in (*_LOADS, "type") else n, v) for n, v in attrs]
        kind = " type=text/plain" if tag == "script" else ""
        return (
            f"<{tag}{kind} data-consentmw-service={key} " + " ".join(f'{n}="{escape(v or "")}"' for n, v in kept) + ">"
        )

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            key = RULES.code(data.encode())
            self.out.append(self._inert("script", [], key) if key else self._script)
            self._script = None
        self.out.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.out.append(f"</{tag}>")

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.out.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.out.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.out.append(f"<!{decl}>")


def html_parser(html: bytes) -> bytes:
    parser = _Parser()
    parser.feed(html.decode())
    parser.close()
    return "".join(parser.out).encode()


def measured(contenders: Mapping[str, Callable[[bytes], bytes]], html: bytes) -> dict[str, float]:
    """Milliseconds of CPU a page, medians of interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, rewrite in contenders.items():
            start = time.process_time()
            for _ in range(PAGES_A_ROUND):
                rewrite(html)
            times[name].append((time.process_time() - start) / PAGES_A_ROUND * 1e3)
    return {name: statistics.median(rounds) for name, rounds in times.items()}


def leaking(contenders: Mapping[str, Callable[[bytes], bytes]]) -> tuple[int, dict[str, int], dict[str, int]]:
    """How many soups are live as they stand, and for each contender how many still are, or raise."""
    live = 0
    leaked, raised = dict.fromkeys(contenders, 0), dict.fromkeys(contenders, 0)
    source = random.Random(2026)
    for _ in range(SOUPS):
        html = soup(source)
        live += bool(leaks(html))
        for name, rewrite in contenders.items():
            try:
                leaked[name] += bool(leaks(rewrite(html.encode()).decode()))
            except Exception:
                raised[name] += 1
    return live, leaked, raised


def main() -> None:
    html = page()
    contenders = {
        "ours": ours,
        "lol-html": quick_lolhtml,
        "lol-html, all": thorough_lolhtml,
        "html.parser": html_parser,
    }
    plain = {name: len(leaks(rewrite(html).decode())) for name, rewrite in contenders.items()}
    speed = measured(contenders, html)
    live, leaked, raised = leaking({"ours": ours, "lol-html": quick_lolhtml, "lol-html, all": thorough_lolhtml})
    print(f"one page of {len(html):,} bytes, 8 third-party tags; {SOUPS:,} broken pages, {live:,} with a live tag")
    print(f"{'':13} {'ms a page':>10} {'MB/s':>7} {'live in it':>11} {'leaks':>7} {'errors':>7}")
    for name, cost in speed.items():
        rest = f"{leaked[name]:7} {raised[name]:7}" if name in leaked else ""
        print(f"{name:13} {cost:10.3f} {len(html) / cost / 1e3:7.0f} {plain[name]:11} {rest}")
    print(f"against html.parser: {speed['html.parser'] / speed['ours']:.1f}x")
    print(f"P3 {speed['lol-html'] / speed['ours']:.2f}")


if __name__ == "__main__":
    main()
