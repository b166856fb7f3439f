"""Strings of the IAB Global Privacy Platform (GPP): read, written, and worded from a Decision.

Vendors that a site may load read a visitor's opt-outs from such a string. Knows the sections for
the United States, as data; carries all others unread and unchanged. Refuses to decide anything:
what the string says was decided before.

    gpp.encode({"usia": {"SaleOptOutNotice": 1, "SaleOptOut": 1, "Gpc": True}})
    gpp.decode("DBABCw~BVFAAAgA.YA")["usia"]["SaleOptOut"]
    gpp.of(consent.decision, catalogue)
"""

from .said import macros, of, supported
from .strings import decode, encode, section_ids, segments

__all__ = ["decode", "encode", "macros", "of", "section_ids", "segments", "supported"]
