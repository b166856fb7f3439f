"""How many visitors a day had, exactly, and nobody can say afterwards who: marks under a salt that is thrown away.

A day has a random salt, shared through the store. The mark of a visitor is a keyed hash of what they sent,
and means nothing without the salt. Both are deleted before the day's beginning is 48 hours past; their
number stays. A day is a day in UTC, so nobody needs the salt of the day before.

Refuses to know where salts and marks are kept, and what a mark is made of: rows bring it with them.
"""

from __future__ import annotations

from hashlib import blake2b
from secrets import token_hex
from typing import Final, NamedTuple

__all__ = ["KEPT", "Mark", "day_of", "mark_of", "new_salt"]

_DAY: Final = 86_400
#: seconds after the beginning of a day at which its salt goes. The design promises 48 hours; this leaves two hours
#: for a store that does not answer.
KEPT: Final = 46 * 3600


class Mark(NamedTuple):
    """What stands for a visitor among those of a day."""

    #: its beginning, in UTC, seconds since 1970
    day: int
    tier: str
    mark: int
    #: of the visitor's choice, so that a withdrawal finds the mark on its way; "" in the coarse tier. Not stored.
    receipt: str = ""


def day_of(at: float) -> int:
    """The beginning of a day, in UTC, seconds since 1970."""
    return int(at) // _DAY * _DAY


def new_salt() -> str:
    """32 random bytes, in hexadecimal digits."""
    return token_hex(32)


def mark_of(salt: str, raw: str) -> int:
    """What stands for a visitor on one day: 64 bits, of which nothing can be read without the salt.

    Among a million visitors of a day, two share a mark once in 37 million days.
    """
    digest = blake2b(raw.encode("utf-8", "surrogatepass"), key=bytes.fromhex(salt), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
