"""The pages that take a choice: the purposes, and the language and region.

A choice is first written to the ledger, then carried by the cookie: no ledger, no grant. Every form
is a plain POST answered by a redirect; the script of the page may ask for JSON instead. A form that
another site's page sent is refused. Refuses to decide what a choice allows.
"""

from __future__ import annotations

import json as json_module
import logging
from dataclasses import dataclass
from typing import Final

from anyio.to_thread import run_sync

from ..choice import Choice, Locale
from ..consent import Consent
from ..decision import DENIED_BY_GPC, TIERS, Decision
from ..errors import LedgerError
from ..ledger import new_receipt
from ..regions import DECLINED
from ..site import Site
from ..visitor import Visitor
from .documents import Documents
from .exchange import Exchange, FormError, return_to

__all__ = ["Choosing"]

logger = logging.getLogger("consentmw")

_ACTIONS: Final = ("accept", "reject", "save", "withdraw", "opt_out")
_SURFACES: Final = ("banner", "choices", "opt_out", "placeholder")
#: kinds of purpose under which rows of a visitor's own are recorded (design: the tiers)
_MEASURED: Final = ("analytics", "advertising", "email_measurement")


@dataclass(frozen=True, slots=True)
class _Made:
    """A choice that was just made, before it is proven."""

    choice: Choice
    event: str
    method: str
    before: Choice | None


class Choosing:
    """Shows and takes choices, languages and regions."""

    def __init__(self, site: Site, documents: Documents) -> None:
        self._site = site
        self._documents = documents

    async def choices(self, exchange: Exchange) -> None:
        """GET shows every purpose and service; POST takes a choice."""
        if exchange.reads:
            await exchange.html(self._documents.choices(exchange.consent, saved=exchange.saved))
        elif (form := await self._form(exchange)) is not None:
            await self._choose(exchange, form)

    async def locale(self, exchange: Exchange) -> None:
        """GET shows languages and regions; POST states one of them."""
        if exchange.reads:
            await exchange.html(self._documents.locale(exchange.consent, saved=exchange.saved))
        elif (form := await self._form(exchange)) is not None:
            await self._state(exchange, dict(form))

    async def _state(self, exchange: Exchange, fields: dict[str, str]) -> None:
        site, visitor = self._site, exchange.visitor
        known = site.locale(visitor)
        regions = {DECLINED, *(choice.code for choice in site.settings.region_choices)}
        language, region = fields.get("language", ""), fields.get("region", "")
        stated = Locale(
            language if language in site.settings.languages else known.language,
            region if region in regions else known.region,
        )
        cookie = self._cookie(visitor, site.cookie_names(visitor)[1], site.locales.write(stated))
        back = return_to(fields.get("return", ""), exchange.consent.url("locale") + "?saved")
        await exchange.see_other(back, [cookie])

    async def _form(self, exchange: Exchange) -> list[tuple[str, str]] | None:
        """The fields of an acceptable form, or None when it was refused and answered."""
        if exchange.method != "POST":
            await exchange.refuse_method("GET, HEAD, POST")
        else:
            try:
                return await exchange.form()
            except FormError as error:
                await self._problem(exchange, error.status, error.reason)
        return None

    async def _choose(self, exchange: Exchange, form: list[tuple[str, str]]) -> None:
        site, visitor, consent = self._site, exchange.visitor, exchange.consent
        fields = dict(form)
        made = self._read_choice(visitor, consent.decision, form)
        if made is None:
            await self._problem(exchange, 400, "The form did not say what you chose, so nothing was changed.")
            return
        try:
            await self._prove(made, consent, fields)
        except LedgerError:
            logger.exception("a choice could not be recorded")
            await self._unproven(exchange, made)
            return
        decision = site.decide_with(visitor, made.choice)
        site.relay.stop(visitor, decision)
        await self._forget(made, consent, decision)
        headers = [self._cookie(visitor, site.cookie_names(visitor)[0], site.choices.write(made.choice))]
        headers += site.expiries(visitor, decision)
        if "application/json" in visitor.accept:
            # What runs in a page can't be switched off there: then the script has to load it anew.
            answer = {
                **site.signals.words(decision),
                "message": self._documents.saved(decision),
                "reload": bool(_running(consent.decision) - _running(decision)),
            }
            await exchange.json(json_module.dumps(answer).encode(), extra=headers)
        else:
            await exchange.see_other(return_to(fields.get("return", ""), consent.url("choices") + "?saved"), headers)

    def _read_choice(self, visitor: Visitor, decision: Decision, form: list[tuple[str, str]]) -> _Made | None:
        fields = dict(form)
        action = fields.get("action", "")
        if action not in _ACTIONS:
            return None
        site = self._site
        optional = {p.key: p.kind for p in site.catalogue.purposes.values() if p.optional}
        wanted = {
            "accept": set(optional),
            "save": {value for name, value in form if name == "purpose"},
            # Whatever else is allowed now, by a choice or by the regime, stays so.
            "opt_out": {key for key, kind in optional.items() if decision.allows(key) and kind not in DENIED_BY_GPC},
        }
        granted = wanted.get(action, set()) & set(optional)
        if visitor.gpc:
            # A general yes is no answer to a browser that says no for its user (11 CCR 7025(c)).
            granted = {key for key in granted if optional[key] not in DENIED_BY_GPC}
        before = site.choice(visitor)
        event = "given" if granted else "refused"
        if before is not None:
            event = "changed" if granted else "withdrawn" if before.granted else "refused"
        if action == "opt_out":
            event = "opted out"
        surface = fields.get("surface", "")
        choice = Choice(
            new_receipt(), site.clock().replace(microsecond=0), site.catalogue.fingerprint, frozenset(granted)
        )
        return _Made(choice, event, f"{surface if surface in _SURFACES else 'other'}:{action}", before)

    async def _prove(self, made: _Made, consent: Consent, fields: dict[str, str]) -> None:
        """Write the ledger row and wait until it is durable. Raises LedgerError."""
        site = self._site
        optional = {p.key for p in site.catalogue.purposes.values() if p.optional}
        shown = self._documents.shown(consent, fields.get("surface", ""), fields.get("service", ""))
        await site.prove(
            consent.decision,
            receipt=made.choice.receipt,
            at=made.choice.at,
            event=made.event,
            method=made.method,
            granted=sorted(made.choice.granted),
            refused=sorted(optional - made.choice.granted),
            shown=shown,
            valid_until=made.choice.at + site.valid_for,
            previous=made.before.receipt if made.before else "",
        )

    async def _forget(self, made: _Made, consent: Consent, decision: Decision) -> None:
        """Delete what was recorded under the old receipts, when less is allowed than before."""
        before = made.before
        if before is None:
            return
        site = self._site
        measured = {p.key for p in site.catalogue.purposes.values() if p.kind in _MEASURED}
        # By the choice as well as by the tier: a consent that lapsed has rows, too, and allows nothing any more.
        lost = before.granted & measured - made.choice.granted
        if not lost and TIERS.index(decision.tier) >= TIERS.index(consent.tier):
            return
        receipts = {before.receipt}
        try:
            receipts |= {entry.receipt for entry in await run_sync(site.ledger.entries, before.receipt)}
        except LedgerError:
            logger.exception("older receipts could not be looked up; the rows of the last one are deleted")
        for receipt in receipts:
            site.recorder.remove(receipt)
            site.relay.remove(receipt)

    async def _unproven(self, exchange: Exchange, made: _Made) -> None:
        """The ledger is down: nothing is granted, but less than before takes effect at once."""
        headers: list[tuple[bytes, bytes]] = []
        text = "We could not record your choice just now, so nothing optional was switched on. Please try again."
        if not made.choice.granted:
            text = "We could not record your choice just now. It is in force on this device all the same."
            site, visitor = self._site, exchange.visitor
            headers.append(self._cookie(visitor, site.cookie_names(visitor)[0], site.choices.write(made.choice)))
            decision = site.decide_with(visitor, made.choice)
            site.relay.stop(visitor, decision)
            headers += site.expiries(visitor, decision)
            await self._forget(made, exchange.consent, decision)
        await self._problem(exchange, 503, text, headers)

    def _cookie(self, visitor: Visitor, name: str, value: str) -> tuple[bytes, bytes]:
        return self._site.cookie(visitor, name, value, self._site.valid_for)

    async def _problem(
        self, exchange: Exchange, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        page = self._documents.problem(exchange.consent, text)
        await exchange.html(page, status=status, extra=extra or [])


def _running(decision: Decision) -> frozenset[str]:
    """Keys of the services of which something may run in a page under this decision."""
    return frozenset(decision.services) - decision.denied | decision.cookieless
