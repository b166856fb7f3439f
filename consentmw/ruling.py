"""What follows for one visitor: the decision, and what the gates need of it, ready to use.

Refuses to know how it is worked out and remembered: that is site.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from .accounts import Known
from .decision import Decision
from .gate.cookies import hide
from .gate.hints import concealed
from .gate.html import Rules
from .sessions import Session
from .visitor import Visitor

__all__ = ["Ruling"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What follows for one visitor: the decision, and what the gates need of it, ready."""

    decision: Decision
    rules: Rules
    #: more headers for HTML answers: cookies that have to go, our policy (still without the address that its
    #: reports go to, see gate/csp.py), and in debug the reasons
    extra: tuple[tuple[bytes, bytes], ...]
    #: names of the visitor's cookies that the application does not get to see, because nobody may use them
    hidden: tuple[str, ...] = ()
    #: the kinds of purpose that were granted
    granted: frozenset[str] = frozenset()
    #: who is signed in, if anybody is
    known: Known | None = None
    #: the visit that the visitor's cookie names, where they may be followed
    session: Session | None = None
    #: whether there is a cookie by which the visitor may have asked for a service once
    asks_once: bool = False

    def seen(self, visitor: Visitor) -> list[tuple[bytes, bytes]]:
        """The request's headers as the application gets them."""
        headers = hide(visitor.headers, self.hidden) if self.hidden else visitor.headers
        return concealed(headers) if "analytics" not in self.granted and visitor.hinted else headers
