"""What visitors are told about accounts: before they sign in, and once when signing in changed what runs here.

Refuses to know when it is said: that is linking.py.
"""

from __future__ import annotations

from ..accounts import Known
from ..decision import DENIED_BY_GPC, Decision
from ..site import Site
from .templating import Templating

__all__ = ["Linked"]


class Linked:
    """Words the news about accounts of one site."""

    def __init__(self, site: Site, templating: Templating) -> None:
        self._site = site
        self._templating = templating

    def news(self, base: str, decision: Decision, known: Known) -> bytes:
        """What the next page says: what differs from before on this browser, since when and why."""
        texts = self._templating.texts.for_language(decision.language)
        titles = {p.key: texts.gettext(p.title) for p in self._site.catalogue.purposes.values() if p.optional}
        now = {key for key in titles if decision.allows(key)}
        before = now if known.before is None else known.before
        firm = any(p.kind in DENIED_BY_GPC and p.key in before - now for p in self._site.catalogue.purposes.values())
        return self._templating.render(
            "account.html",
            base,
            decision,
            what=known.told,
            date=texts.date(known.choice.at) if known.choice is not None else "",
            minor=known.minor and firm,
            opted_out=known.opted_out and firm,
            on=[title for key, title in titles.items() if key in now - before],
            off=[title for key, title in titles.items() if key in before - now],
        ).encode()

    def notice(self, language: str) -> str:
        """What to say before somebody signs in."""
        text = (
            "When you sign in, your privacy choices follow your account: the newest one counts on every device on "
            "which you are signed in. When you sign out, this browser goes back to its own choice."
        )
        return self._templating.texts.for_language(language).gettext(text)
