"""The pages that take a choice: the purposes, and the language and region.

A choice is first written to the ledger, then carried by the cookie: no ledger, no grant. Every form
is a plain POST answered by a redirect; the script of the page may ask for JSON instead. A form that
another site's page sent is refused. Refuses to decide what a choice allows.
"""

from __future__ import annotations

import json as json_module
import logging
from dataclasses import replace

from anyio.to_thread import run_sync

from ..choice import Locale
from ..decision import TIERS, Decision
from ..errors import LedgerError
from ..regions import DECLINED
from ..settling import MEASURED
from ..site import Site
from .documents import Documents
from .exchange import Exchange, FormError, return_to
from .wishes import Made, read_choice

__all__ = ["Choosing"]

logger = logging.getLogger("consentmw")


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
        cookie = site.cookie(visitor, site.cookie_names(visitor)[1], site.locales.write(stated), site.valid_for)
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
        try:
            made = read_choice(site, consent.decision, site.choice(visitor), form)
        except FormError as error:
            await self._problem(exchange, error.status, error.reason)
            return
        try:
            await self._prove(made, exchange, fields)
        except LedgerError:
            logger.exception("a choice could not be recorded")
            await self._unproven(exchange, made)
            return
        link = exchange.link
        if link is not None and link.known is not None:
            await link.chosen(consent.decision, made.choice)
            decision = link.ruling.decision
        else:
            decision = site.decide_with(visitor, made.choice)
        site.relay.stop(visitor, decision)
        await self._forget(made, exchange, decision)
        headers = [site.carry(visitor, made.choice)]
        headers += site.expiries(visitor, decision)
        if "application/json" in visitor.accept:
            # What runs in a page can't be switched off there: then the script has to load it anew.
            answer = {
                **site.signals.words(decision),
                **site.gpp.words(decision),
                "message": self._documents.saved(decision),
                "reload": bool(_running(consent.decision) - _running(decision)),
            }
            await exchange.json(json_module.dumps(answer).encode(), extra=headers)
        else:
            await exchange.see_other(return_to(fields.get("return", ""), consent.url("choices") + "?saved"), headers)

    async def _prove(self, made: Made, exchange: Exchange, fields: dict[str, str]) -> None:
        """Write the ledger row and wait until it is durable. Raises LedgerError."""
        site, consent = self._site, exchange.consent
        # Its own one, also where the account's was in force: nothing ties what a browser did before to an account.
        own = site.own_choice(exchange.visitor)
        optional = {p.key for p in site.catalogue.purposes.values() if p.optional}
        shown = self._documents.shown(consent, fields.get("surface", ""), fields.get("service", ""))
        await site.prove(
            consent.decision,
            receipt=made.choice.receipt,
            at=made.choice.at,
            event=made.event,
            method=made.method,
            granted=sorted(made.choice.granted),
            refused=sorted(optional - made.choice.granted - made.choice.silent),
            shown=shown,
            valid_until=made.choice.at + (max(site.valid_for, site.rest) if made.refuses else site.valid_for),
            previous=own.receipt if own else "",
        )

    async def _forget(self, made: Made, exchange: Exchange, decision: Decision) -> None:
        """Delete what was recorded under the old receipts, when less is allowed than before."""
        before, consent = made.before, exchange.consent
        if before is None:
            return
        site = self._site
        measured = {p.key for p in site.catalogue.purposes.values() if p.kind in MEASURED}
        # By the choice as well as by the tier: a consent that lapsed has rows, too, and allows nothing any more.
        lost = before.granted & measured - made.choice.granted
        if not lost and TIERS.index(decision.tier) >= TIERS.index(consent.tier):
            return
        own = site.own_choice(exchange.visitor)
        receipts = {before.receipt, own.receipt if own else before.receipt}
        try:
            for receipt in tuple(receipts):
                receipts |= {entry.receipt for entry in await run_sync(site.ledger.entries, receipt)}
        except LedgerError:
            logger.exception("older receipts could not be looked up; the rows of the last one are deleted")
        for receipt in receipts:
            site.recorder.remove(receipt)
            site.relay.remove(receipt)

    async def _unproven(self, exchange: Exchange, made: Made) -> None:
        """The ledger is down: nothing is granted, but less than before takes effect at once."""
        headers: list[tuple[bytes, bytes]] = []
        text = "We could not record your choice just now, so nothing optional was switched on. Please try again."
        choice = made.choice
        if made.event == "opted out":
            # No grant without proof, but an opt-out waits for none: what was allowed beside it is left unsaid.
            choice = replace(choice, granted=frozenset(), silent=choice.silent | choice.granted)
        if not choice.granted:
            text = "We could not record your choice just now. It is in force on this device all the same."
            site, visitor = self._site, exchange.visitor
            headers.append(site.carry(visitor, choice))
            if exchange.link is not None:
                exchange.link.alone(choice)
            decision = site.decide_with(visitor, choice)
            site.relay.stop(visitor, decision)
            headers += site.expiries(visitor, decision)
            await self._forget(replace(made, choice=choice), exchange, decision)
        await self._problem(exchange, 503, text, headers)

    async def _problem(
        self, exchange: Exchange, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        page = self._documents.problem(exchange.consent, text)
        await exchange.html(page, status=status, extra=extra or [])


def _running(decision: Decision) -> frozenset[str]:
    """Keys of the services of which something may run in a page under this decision."""
    return frozenset(decision.services) - decision.denied | decision.cookieless
