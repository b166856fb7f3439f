"""Keys that services keep in the browser's own storage (localStorage, sessionStorage), and when they go.

No header reaches them, so the page's script (static/privacy.js) removes those of services that may not
run. It learns once which keys those are, and from each page which services keep theirs. Refuses to
touch a key that is in no catalogue, and those of services that visitors are not told about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..decision import Decision
from ..purposes import Catalogue

__all__ = ["Storage"]


class Storage:
    """The keys of one site's services."""

    def __init__(self, catalogue: Catalogue) -> None:
        optional = {key for key, purpose in catalogue.purposes.items() if purpose.optional}
        #: what static/privacy.js is told about the site, once: service to a regular expression of its keys
        self.facts: Mapping[str, str] = {
            service.key: "|".join(".*".join(map(re.escape, mark.split("*"))) for mark in service.storage)
            for service in catalogue.disclosed
            if service.storage and optional & set(service.purposes)
        }

    def keeping(self, decision: Decision) -> str | None:
        """The services whose keys stay, separated by spaces; None when no key has to go.

        When deciding failed nothing runs, but nothing is destroyed either.
        """
        if decision.denied.isdisjoint(self.facts) or any(v.reason == "error" for v in decision.purposes.values()):
            return None
        return " ".join(key for key in self.facts if key not in decision.denied)
