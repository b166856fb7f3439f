"""The gate when the gate itself failed: every tag that could load anything becomes unknown to browsers.

Refuses to judge: what is left of that page loads nothing, whoever it belongs to.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Blunt"]

_TAGS: Final = re.compile(
    rb"<(?=(?:script|iframe|frame|img|image|use|link|source|video|audio|track|embed|object|input|meta|base|style"
    rb"|feimage|set|animate|body|table|t[dh])[\s/>])",
    re.IGNORECASE,
)


class Blunt:
    """Takes the place of an HtmlGate in the middle of a page."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that can be sent after this chunk arrived."""
        data = self._tail + chunk
        # A tag name may end in the next chunk; the longest one above has seven letters.
        cut = data.rfind(b"<", -9)
        data, self._tail = (data, b"") if cut < 0 else (data[:cut], data[cut:])
        return _TAGS.sub(b"<consentmw-", data)

    def close(self) -> bytes:
        """What was held back."""
        return _TAGS.sub(b"<consentmw-", self._tail)
