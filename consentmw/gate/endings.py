"""Where the code of a script or style element ends, and where a browser may see it otherwise.

Whether an end tag is one depends on comments, on CDATA and, in SVG and MathML, on the tags around it.
Refuses to know what the code does.
"""

from __future__ import annotations

import re
from typing import Final

from .tags import AFTER_NAME, COMMENT, REST

__all__ = ["CODE_END", "reopened", "swallowed"]

CODE_END: Final = {name: re.compile(rb"</" + name + AFTER_NAME) for name in (b"script", b"style")}
_OPENED: Final = re.compile(rb"<!--(?:-?>)?|<!\[cdata\[")
_COMMENT_END: Final = re.compile(rb"--!?>")
_CDATA_END: Final = re.compile(rb"\]\]>")
_CDATA: Final = rb"<!\[cdata\[[^\]]*+(?>(?:\](?!\]>)[^\]]*+)*)\]\]>"
_OTHER_TAG: Final = rb"<(?!/?(?:script|style)[\t\n\f\r />])/?[a-z][^\t\n\f\r />]*+" + REST.pattern
#: what stands before the end tag when the code is read as markup, as SVG and MathML read it
_AS_MARKUP: Final = re.compile(
    rb"(?>(?:[^<]++|" + COMMENT + rb"|" + _CDATA + rb"|" + _OTHER_TAG + rb"|<(?=[^a-z/!?]))*)"
)  # fmt: skip


def reopened(low: bytes, at: int, end: int) -> bool:
    """Whether this code ends inside a comment or CDATA section, so that its end tag may not be one."""
    while opened := _OPENED.search(low, at, end):
        at = opened.end()
        if not opened[0].endswith(b">"):
            closed = (_CDATA_END if opened[0].endswith(b"[") else _COMMENT_END).search(low, at, end)
            if closed is None:
                return True
            at = closed.end()
    return False


def swallowed(low: bytes, at: int, end: int, limit: int) -> bool:
    """Whether this code's end tag ends something else when the code is read as markup."""
    inside = low.find(b"<", at, end) >= 0
    return inside and (match := _AS_MARKUP.match(low, at, limit)) is not None and match.end() != end
