"""A judge of rewritten pages that shares nothing with the gate: html5lib's parser and its own reading of addresses.

``leaks`` says what a browser would load or run, with scripting on and off; ``soup`` makes broken
markup out of the pieces that broke rewriters before; ``CATALOGUE`` is a small one, written by hand.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import html5lib

from consentmw.purposes import Catalogue, Purpose, Service

__all__ = ["ALL", "CATALOGUE", "PIECES", "leaks", "parse", "soup"]


def _service(key: str, purpose: str, hosts: tuple[str, ...], inline: tuple[str, ...] = ()) -> Service:
    return Service(key, key, "Example Inc.", (purpose,), hosts, inline)


_SERVICES: Final = (
    _service(
        "google_analytics",
        "analytics",
        ("www.googletagmanager.com/gtag/", "*.google-analytics.com"),
        ("gtag('config'", "GoogleAnalyticsObject"),
    ),
    _service(
        "google_tag_manager",
        "analytics",
        ("www.googletagmanager.com/gtm.js", "www.googletagmanager.com/ns.html"),
        ("googletagmanager.com/gtm.js", "'gtm.start'"),
    ),
    _service("meta_pixel", "advertising", ("connect.facebook.net", "www.facebook.com/tr"), ("fbq('init'",)),
    _service("youtube", "media", ("www.youtube.com", "www.youtube-nocookie.com", "i.ytimg.com")),
    _service("google_maps", "media", ("www.google.com/maps", "maps.googleapis.com")),
    _service("clarity", "analytics", ("*.clarity.ms",), ("clarity('set'",)),
)

CATALOGUE: Final = Catalogue(
    {
        "analytics": Purpose("analytics", "analytics", "Measuring", "Count visits."),
        "advertising": Purpose("advertising", "advertising", "Advertising", "Show ads."),
        "media": Purpose("media", "preferences", "Media", "Show videos and maps."),
    },
    {service.key: service for service in _SERVICES},
)
ALL: Final = frozenset(CATALOGUE.services)

_DENIED: Final = re.compile(
    r"(?<![a-z0-9_])(?:www\.googletagmanager\.com/(?:gtag/|gtm\.js|ns\.html)|(?:[a-z0-9-]+\.)*google-analytics\.com/"
    r"|connect\.facebook\.net/|www\.facebook\.com/tr|www\.youtube(?:-nocookie)?\.com/|i\.ytimg\.com/"
    r"|www\.google\.com/maps|maps\.googleapis\.com/|(?:[a-z0-9-]+\.)*clarity\.ms/)"
)
_SIGNATURES: Final = tuple(mark for service in _SERVICES for mark in service.inline)

_NAMING: Final = {"canonical", "alternate", "next", "prev", "author", "license", "help", "search"}
_LOADING: Final = {
    "iframe": ("src", "srcdoc"),
    "frame": ("src",),
    "img": ("src", "srcset", "attributionsrc"),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "link": ("href", "imagesrcset"),
    "image": ("href", "src"),
    "use": ("href",),
    "feImage": ("href",),
    "base": ("href",),
    "body": ("background",),
    "table": ("background",),
    "td": ("background",),
    "th": ("background",),
    "a": ("ping",),
    "area": ("ping",),
    "set": ("to",),
    "animate": ("values", "to", "from"),
}


def leaks(html: str) -> list[str]:
    """What reaches a denied service in this page, in words; empty when nothing does."""
    found = [leak for scripting in (True, False) for leak in _leaks_in(parse(html, scripting))]
    return [*dict.fromkeys(found), *_crude(html)]


def parse(html: str, scripting: bool) -> Any:
    parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"))
    try:
        return parser.parse(html, scripting=scripting)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        # html5lib gives up on some nonsense around select and frameset; what it built so far is judged.
        return parser.tree.getDocument()


def _leaks_in(tree: Any) -> Iterator[str]:
    for element in tree.iter():
        if not isinstance(element.tag, str):
            continue
        tag = element.tag.rpartition("}")[2]
        values = {name.rpartition("}")[2].removeprefix("xlink:"): value for name, value in element.attrib.items()}
        if tag == "script":
            yield from _leaks_in_script(element, values)
        elif tag == "style" and values.get("type", "") in ("", "text/css") and _in_style(_text(element)):
            yield f"style: {_text(element)!r}"
        elif (
            tag == "meta" and values.get("http-equiv", "").lower() == "refresh" and _in_text(values.get("content", ""))
        ):
            yield f"refresh: {values['content']!r}"
        if _in_style(values.get("style", "")):
            yield f"style attribute: {values['style']!r}"
        if tag == "link" and set(values.get("rel", "").lower().split()) <= _NAMING:
            continue
        for name in _LOADING.get(tag, ()):
            if name in values and _reaches(name, values[name]):
                yield f"{tag} {name}: {values[name]!r}"


def _text(element: Any) -> str:
    return (element.text or "") + "".join(child.tail or "" for child in element)


def _leaks_in_script(element: Any, values: dict[str, str]) -> Iterator[str]:
    kind = values.get("type", "").strip().lower()
    if kind and kind != "module" and not re.fullmatch(r"(text|application)/(x-)?(java|ecma|j|live)script[0-9.]*", kind):
        return
    for name in ("src", "href"):
        if name in values and _reaches(name, values[name]):
            yield f"script {name}: {values[name]!r}"
    code = re.sub(r"\s", "", _text(element)).replace('"', "'")
    if any(mark in code for mark in _SIGNATURES):
        yield f"inline script: {code!r}"


def _reaches(name: str, value: str) -> bool:
    if name == "srcdoc":
        return bool(leaks(value))
    if name in ("values", "to", "from"):
        return _in_text(value)
    if name in ("srcset", "imagesrcset"):
        return any(_goes_there(part.split(" ")[0]) for part in re.split(r",\s+|(?<=[0-9][xw]),", value.strip()))
    if name in ("ping", "attributionsrc"):
        return any(_goes_there(part) for part in value.split())
    return _goes_there(value)


def _goes_there(value: str) -> bool:
    value = re.sub(r"[\t\n\r]", "", value.strip("".join(map(chr, range(33))))).replace("\\", "/")
    if re.match(r"(data|javascript):", value, re.IGNORECASE):
        return _in_text(value)
    match = re.match(r"(?:(?:https?|wss?|ftp):/*|//+)(?:[^/?#]*@)?([^/?#:]*)(?::\d*)?([^?#]*)", value, re.IGNORECASE)
    if match is None:
        return False
    host = unicodedata.normalize("NFKC", unquote(match[1])).lower().replace("\u3002", ".").rstrip(".")
    return _DENIED.match(host + (match[2] or "/")) is not None


def _in_style(value: str) -> bool:
    return re.search(r"//|https?:", value) is not None and _in_text(value)


def _in_text(value: str) -> bool:
    return _DENIED.search(unquote(value).lower().replace("\\", "/")) is not None


_CRUDE: Final = re.compile(
    r"<(script|iframe|img|embed|source|video)"
    r"(?>(?:\s++(?!src=|poster=)[^\s=<>\"']++(?:=(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>]++))?)*)"
    r"\s++(?:src|poster)=[\"']?(?:https?:)?//([^\s\"'<>]++)[\"']?(?:\s[^<>\"']*+)?>",
    re.IGNORECASE,
)


def _crude(html: str) -> list[str]:
    """What even somebody who knows no HTML would call a live tag."""
    return [match[0] for match in _CRUDE.finditer(html) if _DENIED.match(match[2].lower())]


#: pieces of markup that mean different things to different parses, or nothing at all
PIECES: Final = (
    '<script src="https://connect.facebook.net/en_US/fbevents.js">', "<script>", "</script>", "fbq('init', '1');",
    "<script async src=https://www.googletagmanager.com/gtag/js?id=G-1>", "gtag('config', 'G-1');",
    "<script type=module>", '<iframe src="https://www.youtube.com/embed/a">', "<iframe>", "</iframe>",
    '<img src="https://www.facebook.com/tr?id=1">', "<img src='//region1.google-analytics.com/collect'", "<img alt=",
    '<img alt="', "<img alt='", "<link rel=preload href=//", "www.youtube.com/embed/b",
    "https://i.ytimg.com/vi/1.jpg", "https:\\\\www.youtube.com\\c", " src=", " srcset=", " href=", ' data="',
    " type=text/javascript", ' type="application/json"', " x=", "=", '"', "'", ">", "<", "/", " ", "\n", "\t",
    "<!--", "-->", "--!>", "<!-->", "<![CDATA[", "]]>", "<!doctype html>", "<!x", "<?x", "</", "</ x>", "<>",
    "<noscript>", "</noscript>", "<style>", "</style>", "<textarea>", "</textarea>", "<title>", "</title>", "<xmp>",
    "</xmp>", "<noembed>", "</noembed>", "<noframes>", "</noframes>", "<plaintext>", "<template>", "</template>",
    "<svg>", "</svg>", "<math>", "</math>", "<svg><script>", "<svg><style>", "<foreignObject>", "<desc>", "<mi>",
    "<annotation-xml encoding=text/html>", "<select>", "</select>", "<option>", "<table>", "<tr>", "<td>",
    "</table>", "<body>", "</body>", "<head>", "</head>", "<html>", "</html>", "<frameset>", "<p>", "<div title=",
    "<div x='", '<div x="', "<a href=https://www.youtube.com/watch>", "<object data=//www.youtube.com/v/a>",
    "<svg><image href=", "<use xlink:href=https://www.youtube.com/s.svg#a>", "<base href=https://www.youtube.com/>",
    "<video poster=", "<meta http-equiv=refresh content='0;url=https://www.youtube.com/'>", "text", "&quot;",
    "&#62;", "&lt;img src=x>", "\x00", " style='background:url(https://i.ytimg.com/a)'",
    "@import 'https://www.youtube.com/a.css';", "<input src=https:/", '<iframe srcdoc="', "<iframe srcdoc='",
    "<img/src=//www.youtube.com/i>", "<IMG SRC=//WWW.YOUTUBE.COM/i>", "\r", "\x0c",
)  # fmt: skip


def soup(source: random.Random) -> str:
    """A broken page of up to 25 pieces."""
    return "".join(source.choices(PIECES, k=source.randint(1, 25)))
