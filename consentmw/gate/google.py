"""Google Consent Mode v2: which signals a page has to state, and to whom.

Basic mode: nothing of Google runs before the visitor's choice, so the signals matter from the
moment something may. The script in the page (static/privacy.js) pushes them into the data layer
before any tag reads it; this room only words them. Source: Google's consent guide for gtag.js.
"""

from __future__ import annotations

from ..decision import Decision
from ..purposes import Catalogue

__all__ = ["needs_signals", "signals"]


def signals(decision: Decision) -> str:
    """The granted signals, separated by spaces, as the page's script tag carries them."""
    return " ".join(signal for signal, value in decision.google.items() if value == "granted")


def needs_signals(decision: Decision, catalogue: Catalogue) -> bool:
    """Whether a Google service may run in this page, so that the signals must come before its tags."""
    return any(s.google and decision.services[s.key].granted for s in catalogue.services.values())
