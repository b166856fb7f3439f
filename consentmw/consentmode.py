"""The signals of Google's Consent Mode v2, and which purposes have to be granted for each.

Pure. Refuses to decide what is granted, and to know how a page or an event says it.
"""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import Final

from .purposes import Catalogue

__all__ = ["GOOGLE_SIGNALS", "google_signals"]

#: the Google consent signals (Consent Mode v2) and the kind of purpose that grants each
GOOGLE_SIGNALS: Final = {
    "ad_storage": "advertising",
    "ad_user_data": "advertising",
    "ad_personalization": "advertising",
    "analytics_storage": "analytics",
    "functionality_storage": "preferences",
    "personalization_storage": "preferences",
    "security_storage": "necessary",
}


def google_signals(catalogue: Catalogue, granted: Container[str]) -> dict[str, str]:
    """Each signal as ``granted`` or ``denied``, where these purposes are granted."""
    return {
        signal: "granted" if keys is None or (keys and all(key in granted for key in keys)) else "denied"
        for signal, keys in _behind(catalogue)
    }


@lru_cache(maxsize=16)
def _behind(catalogue: Catalogue) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """Each signal with the purposes that all have to be granted for it; None: it needs none.

    Those for which a service of Google's stands in the notice, of the signal's kind: a survey that was allowed,
    which is of kind analytics, too, says nothing about Analytics. Without such a service, all of that kind.
    """
    found: list[tuple[str, tuple[str, ...] | None]] = []
    for signal, kind in GOOGLE_SIGNALS.items():
        alike = [p.key for p in catalogue.purposes.values() if p.kind == kind]
        used = {key for service in catalogue.disclosed if signal in service.google for key in service.purposes}
        found.append((signal, None if kind == "necessary" else tuple([k for k in alike if k in used] or alike)))
    return tuple(found)
