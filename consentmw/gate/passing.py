"""A response that needs no gate: it is no page, and its headers carry nothing to judge.

Most are like that: files, data, images. Their messages go out as they came, and this only notes what the
access log wants to know. Refuses to change a message, and to know what becomes of those that it does not take.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Message

from . import kinds
from .outgoing import JUDGED

__all__ = ["Passing"]


class Passing:
    """What is known of a response that passes."""

    __slots__ = ("finished", "status")

    #: it is no page, so that nobody looks out for hosts in it
    html: Final = False
    watch: Final = None

    def __init__(self) -> None:
        self.status = 0
        self.finished = False

    def takes(self, message: Message) -> bool:
        """Whether this message may go out as it came. If not, it and all that follow belong to a GatedResponse."""
        kind = message["type"]
        if kind == "http.response.body":
            self.finished = self.finished or not message.get("more_body", False)
            return True
        headers = message.get("headers")
        if kind != "http.response.start" or not isinstance(headers, (list, tuple)):
            # A generator of headers can only be read once.
            return False
        told = False
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                told = True
                if kinds.kind(value) != kinds.OTHER:
                    return False
            elif lower in JUDGED:
                return False
        self.status = message["status"]
        return told
