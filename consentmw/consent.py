"""What a host application holds: ``scope["consent"]``, one object per request.

It answers what may run and why, mints signed links and pixels under the right address, and after
the response says what was withheld from it. It takes one thing in: who signed in, and out. Refuses to
change a decision in any other way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from .decision import Decision

if TYPE_CHECKING:
    from .gate.html import Withheld
    from .linking import Link
    from .relay import Value
    from .sessions import Visiting
    from .site import Site
    from .visitor import Visitor

__all__ = ["Consent", "Noted"]

logger = logging.getLogger("consentmw")

#: elements noted of one response; a page may hold millions
_MOST_NOTED: Final = 1_000


class Noted(list["Withheld"]):
    """What was withheld from a response: the first thousand, and the number of those that followed."""

    def __init__(self) -> None:
        super().__init__()
        self.more = 0

    def append(self, one: Withheld, /) -> None:
        """Note one, or count it."""
        if len(self) < _MOST_NOTED:
            super().append(one)
        else:
            self.more += 1


class Consent:
    """The decision for this request, for templates and handlers of the host application."""

    __slots__ = (
        "_base",
        "_dropped",
        "_link",
        "_site",
        "_visit",
        "_visitor",
        "_withheld",
        "decision",
    )

    def __init__(
        self,
        decision: Decision,
        base: str,
        site: Site,
        visitor: Visitor,
        link: Link | None = None,
        visit: Visiting | None = None,
    ) -> None:
        """``link``: None where no answer could carry it, as in a websocket; ``visit``: None outside of one."""
        #: everything that was decided, with reasons
        self.decision = decision
        self._base = base
        self._site = site
        self._visitor = visitor
        self._link = link
        self._visit = visit
        # Most responses have nothing to note, so these are made when somebody asks for them.
        self._withheld: Noted | None = None
        self._dropped: list[str] | None = None

    @property
    def withheld(self) -> Noted:
        """The elements that were made inert in this response; filled while the page streams out."""
        if self._withheld is None:
            self._withheld = Noted()
        return self._withheld

    @withheld.setter
    def withheld(self, noted: Noted) -> None:
        self._withheld = noted

    @property
    def dropped_cookies(self) -> list[str]:
        """Names of the application's cookies that were not set, for want of consent."""
        if self._dropped is None:
            self._dropped = []
        return self._dropped

    def allows(self, key: str) -> bool:
        """Whether this purpose or service may run for this visitor; False for anything unknown."""
        return self.decision.allows(key)

    def why(self, key: str) -> str:
        """The reason for that, in a word: ``choice``, ``gpc``, ``no choice`` ..."""
        return self.decision.why(key)

    @property
    def tier(self) -> str:
        """The most that a recorded row may hold: count, coarse, visit or person."""
        return self.decision.tier

    @property
    def regime(self) -> str:
        """Key of the regime that applies."""
        return self.decision.regime

    @property
    def region(self) -> str:
        """The region the visitor stated (ISO 3166-2), "" when unknown, "-" when they said NO THANKS."""
        return self.decision.region

    @property
    def language(self) -> str:
        """The language for this visitor: stated, else from the browser, else the default."""
        return self.decision.language

    @property
    def gpc(self) -> bool:
        """Whether the browser sent a Global Privacy Control signal."""
        return self.decision.gpc

    @property
    def receipt(self) -> str:
        """Receipt of the choice in force, or ""."""
        return self.decision.receipt

    @property
    def gpp(self) -> str:
        """The GPP string for tags that the server writes or calls, "" when there is none."""
        return self._site.gpp.said(self.decision)[0]

    @property
    def gpp_sid(self) -> str:
        """Numbers of the GPP sections in force, comma separated: "-1" when none applies, "" when nothing is said."""
        return self._site.gpp.said(self.decision)[1]

    @property
    def session(self) -> str:
        """Random id of the visit, which begins if there was none; "" unless the visitor chose to be measured."""
        session = None if self._visit is None else self._visit.session
        return "" if session is None else session.id

    def url(self, page: str = "") -> str:
        """Path of one of our pages under this request's root_path: "" is the notice, then "choices", "locale" ..."""
        return f"{self._base}/{page}" if page else self._base

    def click_through(self, url: str, campaign: str = "", link: str = "", recipient: str = "") -> str:
        """Path of a signed redirect to ``url``. Raises ValueError for a target no visitor should be sent to."""
        return f"{self._base}/go/{self._site.tokens.click(url, campaign, link, recipient)}"

    def pixel(self, campaign: str = "", recipient: str = "") -> str:
        """Path of a signed one-pixel image that counts a load."""
        return f"{self._base}/px/{self._site.tokens.pixel(campaign, recipient)}.gif"

    def mail_choice(self, campaign: str = "", recipient: str = "") -> str:
        """Path of the page where the recipient of an e-mail says what may be noted of them. Raises ValueError."""
        return f"{self._base}/mail/{self._site.tokens.mail(campaign, recipient)}"

    def measure(self, name: str, params: Mapping[str, Value] | None = None) -> bool:
        """Report an event to Google Analytics from the server, if this visitor allows it; whether it was queued.

        Never waits for Google. Raises ValueError for a name, number or type that its Measurement Protocol
        does not take.
        """
        return self._site.relay.measure(self._visitor, self.decision, name, params or {})

    def goal(self, name: str, value: float | None = None) -> None:
        """Count a goal of the site as reached; with a row of the visit where this visitor allows one.

        ``value``: an amount, such as the sum that was paid. Raises ValueError for a name that the settings don't list,
        also for a visitor without consent.
        """
        self._site.goals.reach(self._visitor, self.decision, self.session, name, value)

    # -- accounts ------------------------------------------------------------------------------
    @property
    def signed_in(self) -> bool:
        """Whether :meth:`sign_in` was called for this browser and :meth:`sign_out` was not."""
        return self._link is not None and self._link.known is not None

    @property
    def linked(self) -> bool:
        """Whether what this visitor chooses counts for an account."""
        return self._link is not None and self._link.known is not None and bool(self._link.known.subject)

    async def sign_in(self, account: str, *, minor: bool = False) -> bool:
        """Link this browser's privacy choices to the account that signs in; call it before the response begins.

        ``account``: whatever the application calls the customer by; only a keyed hash of it is kept. ``minor``:
        whether the application knows that they are a minor, for whom nothing is sold, shared or used for
        advertising (COPPA; Cal. Civ. Code 1798.120(c)). Returns whether the account's choices could be looked up;
        otherwise a later page tries again. Never raises.
        """
        if self._link is None:
            return False
        try:
            return await self._link.sign_in(self, str(account), minor=minor)
        except Exception:
            logger.exception("sign_in failed; nothing more than before is granted")
            return False

    async def sign_out(self) -> bool:
        """End that: this browser goes back to its own choice. Returns whether it is on record. Never raises."""
        if self._link is None:
            return False
        try:
            return await self._link.sign_out(self)
        except Exception:
            logger.exception("sign_out failed; nothing more than before is granted")
            return False

    def link_notice(self) -> str:
        """A sentence for the sign-in page, in the visitor's language: that choices follow the account."""
        return self._link.notice(self.decision.language) if self._link is not None else ""
