"""Where a form leads that would bring what a visitor typed to somebody without consent.

It gets an action of ours before its own: of two attributes of one name a browser takes the first. It
is sent by POST, so that nothing typed gets into an address, and where its answer is seen. Refuses to
know whether a form may be sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .tags import OFF, TagAttribute

__all__ = ["instead"]

#: how it is sent, and how it would be without a word from the page
_SENT: Final = ((b"method", b"post", b"get"), (b"target", b"_self", b"_self"))


def instead(path: bytes, key: str, found: Iterable[TagAttribute], off: set[int]) -> bytes:
    """Attributes for the tag of a withheld form; the page's own that they replace join ``off``.

    ``path``: of our page up to the service's key; without one the form comes back to the page it is in.
    """
    text = b" action=" + path + key.encode() if path else b""
    for name, ours, default in _SENT:
        own = {a.at for a in found if a.name == name}
        off |= own
        text += b" " + name + b"=" + ours
        # What the page didn't say can't be switched on again, so it is said.
        text += b"" if own else b" " + OFF + name + b"=" + default
    return text
