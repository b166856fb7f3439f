"""Whole GPP strings: a header and the sections it names, joined by ``~``.

Sections that we can't read, because we don't know them or they are of another version, keep their
text under their number, so that writing puts it back byte for byte: the specification wants strings
passed on as they are. Refuses to read anything longer than a request could carry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import GppError
from .bits import HIGHEST_ID, header, read_header
from .sections import BY_ID, BY_NAME, Fields

__all__ = ["decode", "encode", "section_ids", "segments"]

#: characters; servers refuse longer header lines, and a string with every section we know takes 250
_LONGEST: Final = 16_384

_HEADER: Final = re.compile(r"[A-Za-z0-9_-]+")
_SECTION: Final = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,4}")


def decode(text: str) -> dict[str, Fields]:
    """The sections of a GPP string by name, each as its fields.

    Names and values are those of the official library (``toObj`` there), with ``GpcSegmentIncluded`` or
    ``SensitiveDataConsentSegmentIncluded`` beside them. A section we can't read has its number for
    a name and its text for a field: ``{"2": {"Text": "CPXxRfA..."}}``. Values are reported as found, those
    without a meaning too. Raises GppError for text that is no GPP string, and only that.
    """
    found: dict[str, Fields] = {}
    for number, part in _parts(text):
        section = BY_ID.get(number)
        fields = section.read(part) if section else None
        if section is None or fields is None:
            found[str(number)] = {"Text": part}
        else:
            found[section.name] = fields
    return found


def segments(text: str) -> dict[str, list[Fields]]:
    """The sections of a GPP string by name, each as one object a segment: what a page's CMP API hands out.

    Names are those of the specification, so that the number of the second segment is ``SubsectionType``.
    A section we can't read is one object with its text. Raises GppError.
    """
    return {
        name: [fields] if name not in BY_NAME else BY_NAME[name].segments(fields)
        for name, fields in decode(text).items()
    }


def encode(sections: Mapping[str, Mapping[str, object]]) -> str:
    """The GPP string of these sections, byte for byte as the official library writes it.

    Takes what :func:`decode` gives, in any order. Fields left out say nothing: 0, and 2 (not covered)
    for ``MspaCoveredTransaction``, where the library claims a contract. A second segment is written
    unless its ``...Included`` field is False. Raises GppError, which names section and field.
    """
    parts: dict[int, str] = {}
    for name, fields in sections.items():
        if not isinstance(fields, Mapping):
            raise GppError(f"{name!s:.40}", "its fields by name")
        section = BY_NAME.get(name)
        number = section.id if section else _number(name)
        if number in parts:
            raise GppError(name, f"section {number} only once")
        parts[number] = section.write(fields) if section else _kept(name, fields)
    ids = sorted(parts)
    text = "~".join([header(ids), *(parts[number] for number in ids)])
    if len(text) > _LONGEST:
        raise GppError("sections", f"a string of at most {_LONGEST} characters, not {len(text)}")
    return text


def section_ids(text: str) -> tuple[int, ...]:
    """Numbers of the sections in a GPP string, in order, as its header names them. Raises GppError."""
    return tuple(number for number, _ in _parts(text))


def _parts(text: str) -> list[tuple[int, str]]:
    """Number and text of each section. Raises GppError."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise GppError("string", f"a text of at most {_LONGEST} characters")
    head, *sections = text.split("~")
    if not _HEADER.fullmatch(head):
        raise GppError("header", "letters, digits, - and _")
    if head.startswith("C"):
        raise GppError("header", "a GPP string, which begins with DB; this is a bare TCF string")
    ids = read_header(head, len(sections))
    for number, section in zip(ids, sections, strict=True):
        if not _SECTION.fullmatch(section):
            raise GppError(f"section {number}", "letters, digits, -, _ and .")
    return list(zip(ids, sections, strict=True))


def _number(name: object) -> int:
    if isinstance(name, str) and _NUMBER.fullmatch(name) and int(name) <= HIGHEST_ID:
        return int(name)
    raise GppError(f"{name!s:.40}", f"a section we know ({', '.join(BY_NAME)}) or the number of another")


def _kept(name: str, fields: Mapping[str, object]) -> str:
    text = fields.get("Text")
    if len(fields) != 1 or not isinstance(text, str) or not _SECTION.fullmatch(text):
        raise GppError(name, "only Text, as it stood in the string: letters, digits, -, _ and .")
    return text
