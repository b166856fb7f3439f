"""What each section of a GPP string holds, field by field, and how it is read and written.

The layouts are data (data/gpp_sections.toml). Refuses to know visitors and which section applies.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import GppError
from .bits import from_text, to_text

__all__ = ["BY_ID", "BY_NAME", "Fields", "Section", "Value"]

#: a notice, an opt-out or a consent as a number, several of them, a flag, or a letter of ``uspv1``
Value: TypeAlias = int | str | list[int]
Fields: TypeAlias = dict[str, Value]

_DATA: Final = Path(__file__).parent.parent / "data" / "gpp_sections.toml"

#: second segments: the field that says whether it is there, and what it holds
_TAILS: Final = {
    "gpc": ("GpcSegmentIncluded", ("GpcSegmentType", "Gpc:1")),
    "sensitive": ("SensitiveDataConsentSegmentIncluded", ("SensitiveDataProcessing*8",)),
}


@dataclass(frozen=True, slots=True)
class _Field:
    """A number, a list of numbers or a flag, at a fixed place."""

    name: str
    #: bits of each number
    width: int = 2
    #: how many numbers; 0 for one that is not a list
    count: int = 0
    #: the numbers that mean something
    lowest: int = 0
    highest: int = 2
    #: what is written when nothing is said
    default: int = 0

    @classmethod
    def of(cls, text: str) -> _Field:
        """From the notation of the data file: ``Name``, ``Name*8`` or ``Name:6``."""
        name, _, count = text.partition("*")
        name, _, width = name.partition(":")
        if name == "MspaCoveredTransaction":
            # It has no neutral value. Saying nothing must not claim a contract that the site may not
            # have signed, so the value for that is 2; the official library would write 1.
            return cls(name, lowest=1, default=2)
        if name == "GpcSegmentType":
            return cls(name, lowest=1, highest=1, default=1)
        return cls(name, int(width or 2), int(count or 0))

    @property
    def bits(self) -> int:
        return self.width * (self.count or 1)

    def read(self, bits: str) -> Value:
        if self.width == 1:
            return bits == "1"
        if not self.count:
            return int(bits, 2)
        return [int(bits[at : at + self.width], 2) for at in range(0, len(bits), self.width)]

    def write(self, value: object, section: str) -> str:
        """The bits of a value. Raises GppError for one that the section doesn't know."""
        where = f"{section}.{self.name}"
        if self.width == 1:
            if not isinstance(value, bool):
                raise GppError(where, f"true or false, not {value!r:.40}")
            return f"{value:b}"
        numbers = value if self.count else [value]
        if not isinstance(numbers, (list, tuple)) or len(numbers) != (self.count or 1):
            raise GppError(where, f"a list of {self.count} numbers, not {value!r:.40}")
        for number in numbers:
            # True and False would pass as 1 and 0, and "opted out: no" is 2.
            if type(number) is not int or not self.lowest <= number <= self.highest:
                raise GppError(where, f"a number from {self.lowest} to {self.highest}, not {number!r:.40}")
        return "".join(f"{number:0{self.width}b}" for number in numbers)

    @property
    def unsaid(self) -> Value:
        """The value when nothing is said about it."""
        if self.width == 1:
            return False
        return [self.default] * self.count if self.count else self.default


@dataclass(frozen=True, slots=True)
class _Layout:
    """Fields side by side, without gaps."""

    fields: tuple[_Field, ...]
    bits: int

    @classmethod
    def of(cls, texts: tuple[str, ...]) -> _Layout:
        fields = tuple(_Field.of(text) for text in texts)
        return cls(fields, sum(field.bits for field in fields))

    def read(self, bits: str) -> Fields:
        found: Fields = {}
        at = 0
        for field in self.fields:
            found[field.name] = field.read(bits[at : at + field.bits])
            at += field.bits
        return found

    @property
    def unsaid(self) -> Fields:
        """All fields when nothing is said about any."""
        return {field.name: field.unsaid for field in self.fields}

    def write(self, fields: Mapping[str, object], section: str) -> str:
        return "".join(field.write(fields.get(field.name, field.unsaid), section) for field in self.fields)


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its number in the header, whose law it is for, and its layouts by version."""

    name: str
    id: int
    #: ISO 3166-2 code of the state, or "" for the national section
    region: str
    #: whether text and library of the standard agree about it
    settled: bool
    versions: Mapping[int, _Layout]
    #: the field that says whether there is a second segment, or ""
    included: str
    tail: _Layout

    @property
    def newest(self) -> int:
        return max(self.versions)

    @property
    def version(self) -> str:
        """Name of the first field: the version of the layout."""
        return self.versions[self.newest].fields[0].name

    @property
    def unsaid(self) -> Fields:
        """All fields of the newest version when nothing is said about any."""
        fields = self.versions[self.newest].unsaid | {self.version: self.newest}
        return fields | {self.included: True} | self.tail.unsaid if self.included else fields

    def read(self, text: str) -> Fields | None:
        """The fields of this text; None for another version or form, to be kept unread. Raises GppError."""
        core, dot, rest = text.partition(".")
        if not core or (dot and not rest):
            raise GppError(self.name, "segments that are not empty")
        bits = from_text(core)
        version = int(bits[:6], 2)
        layout = self.versions.get(version)
        if layout is None or "." in rest or (rest and not self.included):
            return None
        # For a while the library wrote the longer lists of usnat's version 2 under version 1; it reads by length.
        newest = self.versions[self.newest]
        layout = newest if len(bits) >= newest.bits else layout
        fields = self._fields(layout, bits)
        if not self.included:
            return fields
        # Without the segment the library reports its fields all the same, as if nothing was said in them.
        said = self._fields(self.tail, from_text(rest)) if rest else self.tail.unsaid
        return None if fields is None or said is None else fields | {self.included: bool(rest)} | said

    def _fields(self, layout: _Layout, bits: str) -> Fields | None:
        if len(bits) < layout.bits:
            raise GppError(self.name, f"a segment of {layout.bits} bits or more, not {len(bits)}")
        # Zeros fill up the last character; anything else is a field that this version doesn't have.
        return None if "1" in bits[layout.bits :] else layout.read(bits)

    def segments(self, fields: Fields) -> list[Fields]:
        """What :meth:`read` gave, one object a segment, as the CMP API shows a section."""
        second = {field.name for field in self.tail.fields} | {self.included}
        found = [{name: value for name, value in fields.items() if name not in second}]
        if fields.get(self.included):
            # The specification has another name than its library for the number of a segment.
            renamed = {"GpcSegmentType": "SubsectionType"}
            found.append({renamed.get(field.name, field.name): fields[field.name] for field in self.tail.fields})
        return found

    def write(self, fields: Mapping[str, object]) -> str:
        """The text of a section with these fields; those left out say nothing. Raises GppError."""
        version = fields.get(self.version, self.newest)
        layout = self.versions.get(version) if type(version) is int else None
        if layout is None:
            raise GppError(f"{self.name}.{self.version}", f"one of {sorted(self.versions)}, not {version!r:.40}")
        names = {field.name for field in chain(layout.fields, self.tail.fields)} | {self.included} - {""}
        if unknown := [name for name in fields if name not in names]:
            raise GppError(self.name, f"fields that it has ({', '.join(sorted(names))}), not {unknown[0]!r:.40}")
        head, *others = layout.fields
        numbered = f"{version:0{head.width}b}" + _Layout(tuple(others), 0).write(fields, self.name)
        text = to_text(numbered)
        if not self.included:
            return text
        tail = self.tail.write(fields, self.name)
        included = fields.get(self.included, True)
        if not isinstance(included, bool):
            raise GppError(f"{self.name}.{self.included}", f"true or false, not {included!r:.40}")
        if not included and tail != self.tail.write({}, self.name):
            raise GppError(f"{self.name}.{self.included}", "true, or what the segment says would be lost")
        return f"{text}.{to_text(tail)}" if included else text


class _UsPrivacy(Section):
    """The legacy US Privacy string: four characters, not bits (CCPA Compliance Framework, 2020)."""

    __slots__ = ()

    _LETTERS: Final = ("Notice", "OptOutSale", "LspaCovered")
    _TEXT: Final = re.compile(r"1[YN-]{3}")

    @property
    def unsaid(self) -> Fields:
        return {"Version": 1, **dict.fromkeys(self._LETTERS, "-")}

    def read(self, text: str) -> Fields | None:
        if not self._TEXT.fullmatch(text):
            return None
        return {"Version": 1, **dict(zip(self._LETTERS, text[1:], strict=True))}

    def write(self, fields: Mapping[str, object]) -> str:
        said = {**self.unsaid, **fields}
        if unknown := [name for name in fields if name not in self.unsaid]:
            raise GppError(self.name, f"fields that it has ({', '.join(self.unsaid)}), not {unknown[0]!r:.40}")
        if type(said["Version"]) is not int or said["Version"] != 1:
            raise GppError(f"{self.name}.Version", f"1, not {said['Version']!r:.40}")
        for name in self._LETTERS:
            if said[name] not in ("Y", "N", "-"):
                raise GppError(f"{self.name}.{name}", f'"Y", "N" or "-", not {said[name]!r:.40}')
        return "1" + "".join(str(said[name]) for name in self._LETTERS)


def _load() -> dict[str, Section]:
    with _DATA.open("rb") as file:
        rows = tomllib.load(file)
    nothing = _Layout((), 0)
    found: dict[str, Section] = {"uspv1": _UsPrivacy("uspv1", 6, "", True, {1: nothing}, "", nothing)}
    for name, row in rows.items():
        included, tail = _TAILS.get(row.get("tail", ""), ("", ()))
        versions = {int(number): _Layout.of(tuple(fields)) for number, fields in row["versions"].items()}
        settled = not row.get("unsettled", False)
        found[name] = Section(name, row["id"], row.get("region", ""), settled, versions, included, _Layout.of(tail))
    return found


BY_NAME: Final[Mapping[str, Section]] = _load()
BY_ID: Final[Mapping[int, Section]] = {section.id: section for section in BY_NAME.values()}
