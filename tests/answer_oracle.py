"""A judge of whole answers that shares nothing with the gate: does a browser reach a denied service for this one?

It takes every element that html5lib finds, with scripting on and off, and asks of each text by which a browser
loads, runs or connects whether it names a denied service, in any way of writing it. So it suspects more than browsers
do, which is right for a judge: what it lets pass names nobody.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any, Final
from urllib.parse import unquote

from starlette.types import Message

from .asgi import body, values
from .html_oracle import parse

__all__ = ["loads", "reaches"]

_HOSTS: Final = re.compile(
    r"(?<![a-z0-9_-])(?:(?:[a-z0-9-]+\.)*(?:youtube\.com|ytimg\.com|clarity\.ms|hotjar\.com|google-analytics\.com)"
    r"|connect\.facebook\.net|www\.facebook\.com|px\.ads\.linkedin\.com|snap\.licdn\.com|player\.vimeo\.com"
    r"|www\.googletagmanager\.com)(?![a-z0-9_-])"
)
_INVISIBLE: Final = re.compile("[\u00ad\u200b\u2060\ufe00-\ufe0f\ufeff]")
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|u\{([0-9a-f]+)\}|([0-9a-f]{1,6})\s?|\n|(.))", re.IGNORECASE
)
#: what the gate leaves of an attribute in a tag that stands in a text
_SWITCHED_OFF: Final = re.compile(r"data-consentmw-[a-z:-]+=\S*")
_PACKED: Final = re.compile(r"base64\s*,([A-Za-z0-9+/=\s]+)", re.IGNORECASE)
#: what can be undone in a text, in any order
_WRITINGS: Final = (
    unescape,
    unquote,
    lambda text: re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL),
    lambda text: re.sub(r"[\t\n\r]", "", text),
    lambda text: text.replace("\\", "/"),
    lambda text: _ESCAPE.sub(_character, text),
    lambda text: " ".join(_decoded(packed) for packed in _PACKED.findall(text)),
)
_NAMING: Final = frozenset(["canonical", "alternate", "next", "prev", "author", "license", "help", "search"])
_SOURCES: Final = {
    *("script", "img", "image", "iframe", "frame", "embed", "input"),
    *("source", "video", "audio", "track"),
}
_REFERENCES: Final = {"use", "image", "feimage", "script", "base"}
#: what loads or runs on any element, or might
_EVERYWHERE: Final = (
    *("style", "background", "ping", "attributionsrc", "srcdoc", "srcset", "imagesrcset", "poster", "data"),
    *("mask", "fill", "filter", "stroke", "cursor", "clip-path", "marker", "marker-start", "marker-mid", "marker-end"),
)
_RUNS: Final = re.compile(
    r"(?:module|importmap|speculationrules|(?:text|application)/(?:x-)?(?:java|ecma|j|live)script[0-9.]*)?"
)
_SEAL: Final = "default-src 'self'"
_LINKS: Final = re.compile(r'<\s*([^>]*?)\s*>((?:"(?:\\.|[^"\\])*"?|[^,"])*)')
_LOADING: Final = re.compile(r"preload|prefetch|preconnect|stylesheet|prerender|icon|manifest")


def reaches(messages: Sequence[Message], encoding: str) -> list[str]:
    """What in this answer makes a browser reach a denied service, in words; a sealed page loads nothing from others."""
    found = [f"refresh: {value}" for value in values(messages, "refresh") if _named(value)]
    for value in values(messages, "link"):
        for target, rest in _LINKS.findall(value):
            if _LOADING.search(rest.lower().replace("\\", "")) and (_named(target) or _named(rest)):
                found.append(f"link: {target}{rest}")
    if any(_SEAL in policy for policy in values(messages, "content-security-policy")):
        return found
    page = body(messages)
    # The mark of UTF-8 is stronger than anything that a header says (Encoding Standard, section 6).
    text = page.decode("utf-8" if page.startswith(b"\xef\xbb\xbf") else encoding, "replace")
    # Whoever takes the page for ISO-2022-JP does not see its escape sequences.
    for reading in dict.fromkeys((text, re.sub(r"\x1b[$(][@BIJ]", "", text))):
        found += loads(reading)
    return found


def loads(html: str) -> list[str]:
    """What in this page makes a browser load, run or connect to what names a denied service, in words."""
    suspects = dict.fromkeys(suspect for scripting in (True, False) for suspect in _suspects(parse(html, scripting)))
    return [f"{where}: {text[:200]}" for where, text in suspects if _named(text)]


def _suspects(tree: Any) -> Iterator[tuple[str, str]]:
    for element in tree.iter():
        if not isinstance(element.tag, str):
            continue
        tag = element.tag.rpartition("}")[2].lower()
        given = {name.rpartition("}")[2].removeprefix("xlink:").lower(): text for name, text in element.attrib.items()}
        names = [*_EVERYWHERE, *(name for name in given if name.startswith("on"))]
        if tag in _SOURCES:
            names.append("src")
        if tag in _REFERENCES or (tag == "link" and not set(given.get("rel", "").lower().split()) <= _NAMING):
            names.append("href")
        if tag in ("set", "animate"):
            names += ["to", "from", "by", "values"]
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            names.append("content")
        yield from ((f"{tag} {name}", given[name]) for name in names if name in given)
        if tag in ("script", "style"):
            yield from _code(tag, given.get("type", "").strip().lower(), _text(element))


def _code(tag: str, kind: str, text: str) -> Iterator[tuple[str, str]]:
    if tag == "script" and _RUNS.fullmatch(kind):
        yield "code", text
    # Chromium looks ahead for imports whatever the type says, as long as nothing else comes before them.
    if tag == "style" and (kind in ("", "text/css") or re.match(r"\s*(?:@|/\*|<!--)", text)):
        yield "style", text


def _text(element: Any) -> str:
    # A comment has a text of its own, which is none of the element's.
    inner = (_text(child) if isinstance(child.tag, str) else "" for child in element)
    tails = (child.tail or "" for child in element)
    return (element.text or "") + "".join(text + tail for text, tail in zip(inner, tails, strict=True))


def _named(text: str) -> bool:
    """Whether any way of reading this text names a denied host."""
    text = _SWITCHED_OFF.sub("", text)
    readings, fresh = {text}, {text}
    for _ in range(6):
        if any(_HOSTS.search(_plain(reading)) for reading in fresh):
            return True
        fresh = {undo(reading) for reading in fresh for undo in _WRITINGS} - readings
        readings |= fresh
        if len(readings) > 400:
            return False
    return False


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold().replace("\u3002", ".")


def _character(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3] or match[4]
    if digits:
        return chr(int(digits, 16)) if int(digits, 16) <= 0x10FFFF else ""
    return match[5] or ""


def _decoded(packed: str) -> str:
    letters = re.sub(r"[^A-Za-z0-9+/]", "", packed)
    return b64decode(letters + "A" * (-len(letters) % 4)).decode("latin-1")
