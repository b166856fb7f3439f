"""Bits and the characters they travel in: base64url as GPP pads it, Fibonacci codes, the header.

Bits are a text of 0 and 1: strings are short, and positions in a text are easy to check against
the specification. Refuses to know what a section means. Source: GPP Consent String Specification.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

from ..errors import GppError

__all__ = ["HIGHEST_ID", "fibonacci", "from_text", "header", "read_header", "to_text"]

#: no section has such a number; without an end, a few characters could name billions of sections
HIGHEST_ID: Final = 65_535

_FIBONACCI: Final = (
    *(1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233),
    *(377, 610, 987, 1597, 2584, 4181, 6765, 10946, 17711, 28657, 46368),
)

#: type 3 (a GPP header), version 1, six bits each; in characters ``DB``
_HEADER: Final = "000011000001"
#: bits of the number of ranges that follow
_COUNT: Final = 12


def to_text(bits: str) -> str:
    """The characters for these bits, filled with zeros to whole bytes first, as the official library does.

    The specification fills to whole characters only, so this may be one character longer.
    """
    size = (len(bits) + 7) // 8
    return urlsafe_b64encode(int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big")).decode().rstrip("=")


def from_text(text: str) -> str:
    """The bits of these characters, six each, with whatever fills them at the end. Only base64url characters."""
    raw = urlsafe_b64decode(text + "A" * (-len(text) % 4))
    return format(int.from_bytes(raw, "big"), f"0{len(raw) * 8}b")[: len(text) * 6]


def fibonacci(number: int) -> str:
    """The Fibonacci code of 1 or more, up to :data:`HIGHEST_ID`: the smallest part first, and a 1 at the end."""
    digits = ""
    for part in reversed(_FIBONACCI):
        if part <= number:
            number -= part
            digits = "1" + digits
        elif digits:
            digits = "0" + digits
    return digits + "1"


def _read_fibonacci(bits: str, at: int) -> tuple[int, int]:
    """The number coded at this position and the position after it. Raises GppError."""
    end = bits.find("11", at, at + len(_FIBONACCI) + 1)
    if end < 0:
        raise GppError("header", "a list of section numbers that is not cut short")
    return sum(part for part, bit in zip(_FIBONACCI, bits[at : end + 1], strict=False) if bit == "1"), end + 2


def header(ids: Sequence[int]) -> str:
    """The header for sections with these numbers, which are in ascending order. Raises GppError for too many."""
    ranges: list[list[int]] = []
    for number in ids:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    if len(ranges) >= 1 << _COUNT:
        raise GppError("header", f"fewer than {1 << _COUNT} ranges of sections")
    parts = [_HEADER, f"{len(ranges):0{_COUNT}b}"]
    last = 0
    for first, final in ranges:
        parts += [f"{final > first:b}", fibonacci(first - last)]
        if final > first:
            parts.append(fibonacci(final - first))
        last = final
    return to_text("".join(parts))


def read_header(text: str, count: int) -> list[int]:
    """Numbers of the ``count`` sections that follow this header, in their order. Raises GppError."""
    bits = from_text(text)
    if not bits.startswith(_HEADER) or len(bits) < len(_HEADER) + _COUNT:
        raise GppError("header", "a GPP string, version 1: it begins with DB")
    at = len(_HEADER) + _COUNT
    ids: list[int] = []
    last = 0
    for _ in range(int(bits[len(_HEADER) : at], 2)):
        several = bits[at : at + 1] == "1"
        first, at = _read_fibonacci(bits, at + 1)
        span, at = _read_fibonacci(bits, at) if several else (0, at)
        first += last
        last = first + span
        # Counted before the range is written out: a range can name more sections than anyone could send.
        if last > HIGHEST_ID or len(ids) + span + 1 > count:
            break
        ids += range(first, last + 1)
    else:
        if len(ids) == count and "1" not in bits[at:]:
            return ids
    raise GppError("header", f"a list of exactly the {count} sections that follow it")
