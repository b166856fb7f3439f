"""The page of rights: one click ends sale and advertising and nothing else, and a signal is seen to be heard."""

from __future__ import annotations

from typing import Any

import pytest

from consentmw import ConsentMiddleware, LedgerError
from consentmw.choice import Locale

from .asgi import App, body, cookies, html, http_scope, run, status
from .mounted import PAGE, mounted, post

SERVICES = ("google_analytics", "meta_pixel", "google_ads")


def site(**options: Any) -> ConsentMiddleware:
    return mounted(App(*html(PAGE)), fallback_regime="opt_out", services_used=SERVICES, **options)


async def page(middleware: ConsentMiddleware, *headers: tuple[str, str]) -> str:
    return body(await run(middleware, http_scope("/privacy/opt-out", headers=list(headers)))).decode()


async def test_one_click_opts_out_of_sale_and_advertising_and_of_nothing_else() -> None:
    middleware = site()
    assert 'value="opt_out"' in await page(middleware)
    sent = await post(middleware, "/privacy/choices", {"action": "opt_out", "surface": "opt_out"})
    cookie = cookies(sent)["privacy"]
    choice = middleware.site.choices.read(cookie)
    assert choice is not None
    (row,) = middleware.site.ledger.entries(choice.receipt)
    assert (row.event, row.method) == ("opted out", "opt_out:opt_out")
    assert (row.granted, row.refused) == ((), ("advertising",)), "about measurement and e-mails nothing was said"
    assert row.shown
    shown = await page(middleware, ("cookie", f"privacy={cookie}"))
    assert 'value="opt_out"' not in shown
    assert row.receipt in shown


async def test_a_refusal_before_stays_one() -> None:
    """Opting out must not switch on what was refused."""
    middleware = site()
    refused = cookies(await post(middleware, "/privacy/choices", {"action": "reject"}))["privacy"]
    sent = await post(middleware, "/privacy/choices", {"action": "opt_out"}, headers=[("cookie", f"privacy={refused}")])
    choice = middleware.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    assert choice.granted == frozenset()


async def test_a_browser_that_opted_out_is_told_that_it_was_heard() -> None:
    """11 CCR 7025(c)(6): whether the signal was processed has to be shown."""
    shown = await page(site(), ("sec-gpc", "1"))
    assert "Opt-Out Request Honored" in shown
    assert 'value="opt_out"' not in shown


async def test_the_rights_name_the_other_companies_and_the_law() -> None:
    middleware = site(region_choices=({"code": "US-IA", "label": "IOWA"},))
    shown = await page(middleware, ("cookie", f"privacy-locale={middleware.site.locales.write(Locale('', 'US-IA'))}"))
    assert "Iowa Code 715D" in shown
    assert "https://optout.aboutads.info/" in shown
    addresses = {s.opt_out_url for s in middleware.site.catalogue.disclosed if s.opt_out_url}
    assert addresses
    assert all(address in shown for address in addresses)
    assert "The rule for your region" not in await page(middleware), "nothing is claimed of an unknown region"


async def test_every_page_leads_there() -> None:
    middleware = site()
    for path in ("/", "/privacy", "/privacy/choices"):
        assert 'href="/privacy/opt-out"' in body(await run(middleware, http_scope(path))).decode(), path


async def test_an_opt_out_waits_for_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes effect on this device at once, with nothing granted that no row would prove."""
    middleware = site()
    accepted = cookies(await post(middleware, "/privacy/choices", {"action": "accept"}))["privacy"]

    def fails(**row: Any) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(middleware.site.ledger, "append", fails)
    header = ("cookie", f"privacy={accepted}")
    sent = await post(middleware, "/privacy/choices", {"action": "opt_out", "surface": "opt_out"}, headers=[header])
    assert status(sent) == 503
    choice = middleware.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    assert choice.granted == frozenset()
    assert "advertising" not in choice.silent
    shown = await page(middleware, ("cookie", f"privacy={cookies(sent)['privacy']}"))
    assert "Opted out" in shown
