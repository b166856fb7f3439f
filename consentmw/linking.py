"""Signing in and out: a visitor's choice goes with their account, and the newest explicit one counts everywhere.

Signing in never changes this browser's own choice, so signing out only takes a cookie away. A choice
of the browser that is newer than the account's becomes the account's, under a receipt that leads
back to nothing; a choice of the account that is newer holds here while its customer is signed in.
What was recorded before is attached to no account.

No error of ours reaches the host's handler, and none grants anything: without the ledger what the
browser carries stays in force. Refuses to know how any of it is shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Final, TypeVar

from anyio import move_on_after
from anyio.to_thread import run_sync
from starlette.types import Message, Scope

from .accounts import NOBODY, Known, in_force
from .choice import Choice
from .consent import Consent
from .decision import Decision
from .ruling import Ruling
from .settling import Settled, Settling
from .site import Site
from .visitor import Visitor

__all__ = ["Link", "Linking"]

logger = logging.getLogger("consentmw")

#: seconds that a page waits for the ledger, and that signing in or out and choosing do
_GLANCE: Final = 0.5
_PATIENCE: Final = 2.0
#: seconds without a look after one that failed, so that a ledger that hangs holds up one page and not all
_REST: Final = 10.0
#: threads that may wait for a ledger that hangs
_MOST: Final = 32

_T = TypeVar("_T")
_Header = tuple[bytes, bytes]


class Linking:
    """Links the browsers of one site to accounts. Requests share one object."""

    def __init__(self, site: Site, notice: Callable[[str], str]) -> None:
        """``notice``: what to tell in a language before somebody signs in."""
        self.site = site
        self.notice = notice
        #: None where no account can be told from another, because no key was given
        self.settling = Settling(site, site.pseudonyms) if site.pseudonyms is not None else None
        self.every = timedelta(minutes=site.settings.account_minutes)
        self._waiting: set[object] = set()
        self._resting = 0.0

    async def ask(self, job: Callable[[], _T], *, glance: bool = False) -> _T | None:
        """What ``job`` finds in the ledger, in a thread; None when it fails or takes too long.

        ``glance``: for a page, which waits less, and not at all soon after it was in vain.
        """
        if len(self._waiting) >= _MOST or (glance and monotonic() < self._resting):
            return None
        found: list[_T] = []
        with move_on_after(_GLANCE if glance else _PATIENCE):
            await run_sync(partial(self._run, job, found), abandon_on_cancel=True)
        if not found:
            self._resting = monotonic() + _REST
        return found[0] if found else None

    def _run(self, job: Callable[[], _T], found: list[_T]) -> None:
        mark = object()
        self._waiting.add(mark)
        try:
            found.append(job())
        except Exception:
            logger.exception("an account could not be looked up; what this browser carries stays in force")
        finally:
            self._waiting.discard(mark)


class Link:
    """The link of one request's visitor to an account: who is signed in, and what the answer has to carry for it."""

    __slots__ = ("_linking", "_narrowed", "_visitor", "cookies", "known", "late", "once", "ruling", "told")

    def __init__(self, linking: Linking, visitor: Visitor, ruling: Ruling) -> None:
        self._linking = linking
        self._visitor = visitor
        #: what this browser's own choice became when its account withdrew some of it, on this very request
        self._narrowed: Choice | None = None
        #: who is signed in
        self.known = ruling.known
        #: what follows now
        self.ruling = ruling
        #: headers for any answer
        self.cookies: tuple[_Header, ...] = ()
        #: what a page has to say once, and the headers of a page that says it
        self.told: Known | None = None
        self.once: tuple[_Header, ...] = ()
        #: whether an answer is on its way, so that it can carry nothing any more
        self.late = False

    # -- before the page -----------------------------------------------------------------------
    async def look(self, scope: Scope) -> None:
        """Look the account up where it is time to, for a page that a person will see. Never raises."""
        known, visitor, linking = self.known, self._visitor, self._linking
        shown = scope["type"] == "http" and scope["method"] == "GET" and "text/html" in visitor.accept
        if known is None or not shown or visitor.ahead:
            return
        try:
            now = linking.site.clock()
            if linking.settling is not None and known.due(now, linking.every):
                job = partial(linking.settling.settle, self._own, self.ruling.decision, known)
                if (settled := await linking.ask(job, glance=True)) is not None:
                    self._take(self._known(known, settled), settled)
            self._tell()
        except Exception:
            logger.exception("an account could not be looked up; what this browser carries stays in force")

    def _tell(self) -> None:
        """Say on this page what there is to say, and have the page's answer end it."""
        known = self.known
        if known is not None and known.told:
            self.told = known
            # The browser must not show a copy of this page again, which says it once more.
            self.once = (self._cookie(known.silent()), (b"cache-control", b"no-store"))

    # -- from the host's handlers --------------------------------------------------------------
    async def sign_in(self, consent: Consent, account: str, *, minor: bool) -> bool:
        """See :meth:`Consent.sign_in`."""
        linking, site = self._linking, self._linking.site
        if self.late:
            logger.error("sign_in came after the response had begun, so nothing was linked")
            return False
        subject = site.pseudonyms.of(account) if site.pseudonyms is not None and account.strip() else ""
        if self.known is not None and self.known.subject not in ("", subject):
            await self.sign_out(consent)
        known = self.known if self.known is not None and self.known.subject == subject else Known(subject, NOBODY.at)
        known = replace(known, minor=minor)
        settled = None
        if subject and linking.settling is not None:
            settled = await linking.ask(partial(linking.settling.settle, self._own, self.ruling.decision, known))
        elif linking.settling is None:
            logger.warning("no choice can be linked to an account: CONSENTMW_ACCOUNT_KEY is not set")
        if not subject and not minor:
            self._take(None, None)
        else:
            self._take(self._known(known, settled) if settled is not None else known, settled)
        consent.decision = self.ruling.decision
        return settled is not None

    async def sign_out(self, consent: Consent) -> bool:
        """See :meth:`Consent.sign_out`."""
        linking, known, before = self._linking, self.known, self.ruling.decision
        if self.late:
            logger.error("sign_out came after the response had begun; the next page can't know of it")
            return False
        self._take(None, None)
        consent.decision = self.ruling.decision
        if known is None or not known.subject or linking.settling is None:
            return True
        return await linking.ask(partial(linking.settling.unlink, before, known)) is not None

    async def chosen(self, decision: Decision, choice: Choice) -> None:
        """Give the account a choice that was just made and proven on this browser, where somebody is signed in."""
        linking, known = self._linking, self.known
        if known is None:
            return
        settled = None
        if known.subject and linking.settling is not None:
            settled = await linking.ask(partial(linking.settling.chosen, decision, known.subject, choice))
        # Else the browser's own choice stands alone until the account is looked up again.
        anew = replace(known, at=NOBODY.at, choice=None, aside="") if settled is None else self._known(known, settled)
        self._take(anew.silent(), settled, choice)

    def alone(self, choice: Choice) -> None:
        """Let a choice that could not be proven stand for this browser, whatever its account says."""
        if self.known is not None:
            self._take(replace(self.known.silent(), at=NOBODY.at, choice=None, aside=""), None, choice)

    # -- what follows --------------------------------------------------------------------------
    @property
    def _own(self) -> Choice | None:
        """This browser's own choice."""
        return self._narrowed or self._linking.site.own_choice(self._visitor)

    def _known(self, known: Known, settled: Settled) -> Known:
        now, account = self._linking.site.clock().replace(microsecond=0), settled.account
        return replace(known, at=now, opted_out=account.opted_out, choice=account.choice, aside=settled.aside)

    def _take(self, known: Known | None, settled: Settled | None, chosen: Choice | None = None) -> None:
        """Let this be in force from here on; ``chosen``: this browser's own choice, where no cookie has it yet."""
        site, visitor = self._linking.site, self._visitor
        if settled is not None and settled.own is not None:
            self._narrowed = settled.own
        own = chosen or self._own
        before = _running(self.ruling.decision)
        self.ruling = site.follow(visitor, in_force(own, known), known)
        if known is not None and chosen is None:
            if _running(self.ruling.decision) != before:
                known = replace(known, told="changed", before=before)
            elif settled is not None and settled.linked:
                known = replace(known, told="linked", before=None)
            site.relay.stop(visitor, self.ruling.decision)
        self.known, self.told, self.once = known, None, ()
        self.cookies = (self._cookie(known),)
        if self._narrowed is not None:
            self.cookies += (site.carry(visitor, self._narrowed),)

    def carried(self, message: Message) -> Message:
        """The start of an answer, with what it has to carry; after it nothing can be carried any more."""
        self.late = True
        if not self.cookies:
            return message
        # Nobody else may get these cookies out of a cache, whatever the answer is.
        headers = [*(message.get("headers") or ()), *self.cookies, (b"cache-control", b"private")]
        return {**message, "headers": headers}

    def _cookie(self, known: Known | None) -> _Header:
        site, name = self._linking.site, self._linking.site.cookie_names(self._visitor)[3]
        if known is None:
            return site.cookie(self._visitor, name, "", timedelta())
        try:
            value = site.badges.write(known)
        except ValueError:
            value = site.badges.write(replace(known, before=None))
        return site.cookie(self._visitor, name, value, site.valid_for)

    def notice(self, language: str) -> str:
        """See :meth:`Consent.link_notice`."""
        return self._linking.notice(language)


def _running(decision: Decision) -> frozenset[str]:
    """Keys of the purposes that are on and could be off."""
    return frozenset(key for key, v in decision.purposes.items() if v.granted and v.reason != "necessary")
