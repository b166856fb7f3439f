"""Ids that sort by time.

Refuses to know what they name.
"""

from __future__ import annotations

from secrets import randbits

__all__ = ["uuid7"]


def uuid7(at: float) -> str:
    """A time-ordered unique id (RFC 9562, 5.7): 48 bits of milliseconds since 1970, 74 random bits.

    ``at`` is in seconds since 1970. The bits are the system's: an application that seeds Python's own generator would
    make all of its workers count alike.
    """
    time, noise = f"{int(at * 1000) & 0xFFFF_FFFF_FFFF:012x}", randbits(74)
    rest = f"{noise >> 62:03x}{noise & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000:016x}"
    return f"{time[:8]}-{time[8:]}-7{rest[:3]}-{rest[3:7]}-{rest[7:]}"
