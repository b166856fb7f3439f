"""What a page's script tells of a visit: links that were followed, files, forms, time, routes within the page, goals.

The answer is sent first and says nothing but "received". What arrives was written by whoever sent it, so
everything is bounded and read by name: kind, place and number; nothing else of it is looked at. Whoever
did not choose to be measured is not even read. Refuses to know what a row may hold.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from ..events import Count, Facts, minimise, template
from ..events.reading import referring
from ..sessions import Session
from ..site import Site
from .exchange import Exchange, FormError, json_of

__all__ = ["MAX_BODY", "MAX_EVENTS", "Collecting"]

logger = logging.getLogger("consentmw")

#: bytes of the largest body; a full one of ours has some 5,000
MAX_BODY: Final = 16_384
#: events of one body; ours have at most 20
MAX_EVENTS: Final = 50
#: events of one visit in an hour, in each process, and visits that are counted; more is no person
_MOST_OF_ONE: Final = 1_000
_MOST_VISITS: Final = 20_000
#: batches remembered in this process, where one may come again before its store has seen it
_MOST_RECENT: Final = 8_192
#: seconds that an event may have waited in the page: no clock of a visitor's is believed further
_LONGEST_WAIT: Final = 30.0
_LONGEST_STAY: Final = 86_400
_LONGEST_URL: Final = 2_000
#: characters of what names the page: a signed route or a path
_LONGEST_PAGE: Final = 2_000
_LONGEST_TEXT: Final = 100
_HOUR: Final = 3600
_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,40}")


class _Told(NamedTuple):
    """One event, read."""

    target: str = ""
    value: float | None = None
    duration_ms: int = 0
    kind: str = ""


class _Body(NamedTuple):
    """What was sent, as far as its outline is right."""

    id: str
    page: str
    events: list[Any]


class Collecting:
    """Answers ``events``."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._hour = 0
        self._told: dict[str, int] = {}
        self._recent: dict[str, None] = {}
        self._readers: Mapping[str, Callable[[Mapping[str, Any], str], _Told | None]] = {
            "outbound": _outbound,
            "download": _download,
            "form_start": _form,
            "form_submit": _form,
            "leave": _leave,
            "route": lambda _said, _host: _Told(),
            "goal": self._goal,
        }

    async def take(self, exchange: Exchange) -> None:
        """POST events: some events of one page; the answer is empty and says at most what was wrong."""
        if exchange.method != "POST":
            await exchange.refuse_method("POST")
        elif exchange.from_elsewhere():
            await exchange.empty(403)
        elif exchange.visit is None or (session := exchange.visit.session) is None:
            # Not followed: not read, not counted, and told no more than anybody else.
            await exchange.empty(204)
        elif exchange.kind != "application/json":
            # A type that no form can have: another site's page can't send it unasked.
            await self._refuse(exchange, 415, "type")
        else:
            await self._take(exchange, session, exchange.visit.before)

    async def _take(self, exchange: Exchange, session: Session, before: Session | None) -> None:
        try:
            body = _parse(await exchange.body(MAX_BODY))
        except FormError as error:
            await self._refuse(exchange, error.status, "size" if error.status == 413 else "cut off")
            return
        if body is None:
            await self._refuse(exchange, 400, "form")
            return
        # By the visit: nobody can use up a stranger's ids, nor tell from what is kept whose they were.
        mark = blake2b(f"{session.id} {body.id}".encode(), digest_size=16).hexdigest()
        if not self._is_new(mark):
            await self._refuse(exchange, 204, "again")
            return
        told, dropped = self._read(exchange, session, body, goes_on=before is not None and before.id == session.id)
        # Acting in a page begins a visit or lets it go on, as loading one does.
        acts = session is not before and any(one.kind != "leave" for one, _ in told)
        await exchange.empty(204, self._site.visits.goes_on(exchange.visitor, exchange.visit) if acts else ())
        self._record(exchange, session, body.page, mark, told)
        for reason, number in dropped.items():
            for _ in range(number):
                self._count(exchange, "2xx", reason)

    async def _refuse(self, exchange: Exchange, status: int, reason: str) -> None:
        await exchange.empty(status)
        self._count(exchange, f"{status // 100}xx", reason)

    def _count(self, exchange: Exchange, status: str, reason: str) -> None:
        """Count what was not recorded, by the reason."""
        hour = int(self._site.clock().timestamp()) // _HOUR * _HOUR
        self._site.recorder.put(Count(hour, "refused", "(events)", status, exchange.visitor.bot, why=reason))

    def _is_new(self, mark: str) -> bool:
        """Whether no batch of this mark came a moment ago; the store knows those of the last week."""
        if mark in self._recent:
            return False
        self._recent[mark] = None
        if len(self._recent) > _MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        return True

    # -- reading -------------------------------------------------------------------------------

    def _read(
        self, exchange: Exchange, session: Session, body: _Body, *, goes_on: bool
    ) -> tuple[list[tuple[_Told, float]], dict[str, int]]:
        """The events that count, with the seconds they waited in the page; and how many do not, by reason."""
        host = exchange.visitor.host
        room = self._room(session.id, len(body.events))
        told: list[tuple[_Told, float]] = []
        dropped: dict[str, int] = {}
        for said in body.events:
            one, reason = self._event(said, host)
            if one is not None and one.kind == "leave" and not goes_on:
                # The page was open longer than the visit lasted: leaving it is not a visit of its own.
                one, reason = None, "no visit"
            if one is not None and len(told) >= room:
                one, reason = None, "too many"
            if one is None:
                dropped[reason] = dropped.get(reason, 0) + 1
            else:
                told.append((one, _waited(said)))
        return told, dropped

    def _event(self, said: object, host: str) -> tuple[_Told | None, str]:
        if not isinstance(said, dict):
            return None, "form"
        kind = said.get("kind")
        if not isinstance(kind, str) or kind not in self._readers:
            return None, "kind"
        one = self._readers[kind](said, host)
        # Another route in the same page is another page to whoever reads it.
        return (None, "value") if one is None else (one._replace(kind="page" if kind == "route" else kind), "")

    def _goal(self, said: Mapping[str, Any], _host: str) -> _Told | None:
        name, value = said.get("name"), said.get("value")
        if not self._site.goals.knows(name, value):
            return None
        return _Told(str(name), None if value is None else float(value))

    def _room(self, session: str, wanted: int) -> int:
        """How many more events of this visit are taken in this hour, of so many."""
        hour = int(self._site.clock().timestamp()) // _HOUR
        if hour != self._hour or len(self._told) >= _MOST_VISITS:
            self._hour = hour
            self._told.clear()
        before = self._told.get(session, 0)
        self._told[session] = min(_MOST_OF_ONE, before + wanted)
        return _MOST_OF_ONE - before

    # -- recording -----------------------------------------------------------------------------

    def _record(
        self, exchange: Exchange, session: Session, page: str, mark: str, told: list[tuple[_Told, float]]
    ) -> None:
        site, decision = self._site, exchange.consent.decision
        try:
            now = site.clock().timestamp()
            route, made = self._page(page)
            facts = Facts(
                "", now, exchange.method, route, 204, exchange.visitor,
                language=decision.language, session=session.id, told=mark,
            )  # fmt: skip
            rows = []
            for one, waited in told:
                goal = one.kind == "goal"
                said = replace(
                    facts,
                    kind=one.kind,
                    at=now - waited,
                    route=one.target if goal else route,
                    duration_ms=one.duration_ms,
                    target=one.target,
                    value=one.value,
                )
                count, event = minimise(said, decision, site.policy)
                rows.append((site.routes.counted(count, made and not goal), event))
            if rows:
                (count, event), *more = rows
                site.recorder.put(count, event, *more)
        except Exception:
            logger.exception("what a page told could not be recorded")

    def _page(self, page: str) -> tuple[str, bool]:
        """The route of a page: as we signed it, else by its path, which a page's script may have changed."""
        signed = self._site.routes.read(page)
        return (signed, False) if signed is not None else self._site.routes.named(unquote(page))


def _outbound(said: Mapping[str, Any], host: str) -> _Told | None:
    there, page = _address(said)
    return _Told(page) if there and there != host else None


def _download(said: Mapping[str, Any], host: str) -> _Told | None:
    there, page = _address(said)
    return _Told(page.removeprefix(there) if there == host else page) if there else None


def _address(said: Mapping[str, Any]) -> tuple[str, str]:
    to = said.get("to")
    return referring(to) if isinstance(to, str) and len(to) <= _LONGEST_URL else ("", "")


def _form(said: Mapping[str, Any], _host: str) -> _Told | None:
    name = said.get("name")
    if not isinstance(name, str) or len(name) > _LONGEST_TEXT:
        return None
    return _Told(template(name.replace("/", "-")).removeprefix("/"))


def _leave(said: Mapping[str, Any], _host: str) -> _Told | None:
    seconds, depth = _number(said.get("seconds"), _LONGEST_STAY), _number(said.get("depth"), 10)
    if seconds is None or depth is None:
        return None
    return _Told("", float(int(depth)), int(seconds * 1000))


def _number(value: object, most: float) -> float | None:
    """A number from 0 to ``most``, or None. What is not finite is in no such range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        return None
    return float(value)


def _waited(said: Mapping[str, Any]) -> float:
    """Seconds since it happened, as far as they are believed."""
    ago = said.get("ago")
    if isinstance(ago, bool) or not isinstance(ago, (int, float)) or not ago > 0:
        return 0.0
    return min(ago / 1000, _LONGEST_WAIT) if ago < 1e9 else _LONGEST_WAIT


def _parse(content: bytes) -> _Body | None:
    """The outline of a body, or None when it is no JSON of such a form."""
    said = json_of(content)
    if not isinstance(said, dict):
        return None
    known, page, events = said.get("id"), said.get("page"), said.get("events")
    if not isinstance(known, str) or not _ID.fullmatch(known) or not isinstance(page, str) or len(page) > _LONGEST_PAGE:
        return None
    if not isinstance(events, list) or not 0 < len(events) <= MAX_EVENTS:
        return None
    return _Body(known, page, events)
