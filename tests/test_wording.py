"""What the ledger writes in codes, visitors read in words: for everything that the code writes, in both languages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consentmw.choice import Locale
from consentmw.i18n import Texts
from consentmw.ledger import Entry, Ledger
from consentmw.pages.wishes import ACTIONS
from consentmw.pages.wording import Wording
from consentmw.regions import Regions
from consentmw.stores import open_ledger_store

from .asgi import App, body, cookies, http_scope, run
from .mounted import mounted, post

PACKAGE = Path(__file__).parent.parent / "consentmw"
SURFACES = ("banner", "choices", "opt_out", "placeholder", "other")


def wording(language: str, **options: Any) -> Wording:
    return Wording(mounted(App(), **options).site, Texts.for_language(language))


def written(keyword: str) -> Iterator[str]:
    """Every constant that the code gives a row as its ``event`` or ``method``."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == keyword:
                either = (node.value.body, node.value.orelse) if isinstance(node.value, ast.IfExp) else (node.value,)
                yield from (
                    part.value for part in either if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )


def row(**fields: Any) -> Entry:
    ledger = Ledger(lambda: open_ledger_store("memory:"))
    return ledger.append(
        **{"receipt": "r" * 22, "at": datetime.now(UTC), "event": "given", "method": "clock", **fields}
    )


def test_every_event_has_words() -> None:
    words = wording("es")
    codes = {*written("event"), "given", "refused", "changed", "withdrawn", "opted out", "override", "erased"}
    assert {"once", "expired", "linked", "adopted", "notice"} <= codes, "the reader of the code finds them"
    assert {code for code in codes if words.row(row(event=code))["event"] == code} == set()


def test_every_method_has_words() -> None:
    words = wording("es")
    codes = {f"{surface}:{action}" for surface in SURFACES for action in ACTIONS} | set(written("method"))
    assert {"clock", "data:erase", "placeholder:once"} <= codes
    assert {code for code in codes if {*code.split(":")}.intersection(words.method(code).split(", "))} == set()


def test_a_code_without_words_is_shown_as_it_is() -> None:
    words = wording("en")
    assert words.method("kiosk:nodded") == "nodded, kiosk"
    assert words.method("") == ""


@pytest.mark.parametrize(
    ("code", "language", "expected"),
    [
        ("US-IA", "en", "IOWA (US-IA)"),
        ("US-CA", "en", "United States (US-CA)"),
        ("DE", "es", "Alemania (DE)"),
        ("QQ", "en", "QQ"),
    ],
)
def test_a_region_has_its_name_and_its_code(code: str, language: str, expected: str) -> None:
    regions = ({"code": "US-IA", "label": "IOWA"},)
    assert wording(language, region_choices=regions).region(code) == expected


def test_every_regime_has_words() -> None:
    words = wording("en")
    for regime in Regions.load().regimes:
        assert words.row(row(regime=regime))["rules"] not in ("", regime)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            ("“Reject all”, in the banner", "Global Privacy Control was on", "SHA-256", "not known: nobody told us"),
        ),
        ("es", ("«Rechazar todo», en el aviso", "estaba activado", "SHA-256", "no se conoce: nadie nos lo dijo")),
    ],
)
async def test_the_receipt_says_how_under_which_rules_and_what_was_shown(language: str, words: tuple[str, ...]) -> None:
    site = mounted(App())
    asked = [("accept-language", language), ("sec-gpc", "1")]
    sent = await post(site, "/privacy/choices", {"action": "reject", "surface": "banner"}, headers=asked)
    asked.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies(sent).items())))
    page = body(await run(site, http_scope("/privacy/receipt", headers=asked))).decode()
    for word in words:
        assert word in page
    assert "banner:reject" not in page


@pytest.mark.parametrize(
    ("headers", "cookie", "words"),
    [
        ([("cf-ipcountry", "DE")], "", ("Germany (DE)", "network that delivers our pages", "A guess can be wrong")),
        (
            [("cf-ipcountry", "DE")],
            "~-",
            ("not known", "you chose not to say where you are, and we did not look it up"),
        ),
        ([("cf-ipcountry", "DE")], "~US-IA", ("IOWA (US-IA)", "you told us")),
        ([], "", ("not known", "nobody told us, and we did not guess")),
    ],
    ids=["guessed", "declined", "stated", "unknown"],
)
async def test_the_page_of_regions_says_what_is_known_and_from_where(
    headers: list[tuple[str, str]], cookie: str, words: tuple[str, ...]
) -> None:
    """A guess is never silent: it is shown with its source, and a visitor's own word comes before it."""
    regions = ({"code": "US-IA", "label": "IOWA"},)
    site = mounted(App(), region_headers="cloudflare", trusted_proxies=("203.0.113.7",), region_choices=regions)
    stated = Locale.unpack(cookie)
    if stated is not None:
        headers = [*headers, ("cookie", f"privacy-locale={site.site.locales.write(stated)}")]
    page = body(await run(site, http_scope("/privacy/locale", headers=headers))).decode()
    for word in words:
        assert word in page
    assert ("A guess can be wrong" in page) == ("A guess can be wrong" in words)
    assert "NO THANKS" in page


async def test_a_guess_can_be_refused_where_no_region_is_offered() -> None:
    site = mounted(App(), region_headers="cloudflare", trusted_proxies=("203.0.113.7",))
    page = body(await run(site, http_scope("/privacy/locale", headers=[("cf-ipcountry", "FR")]))).decode()
    assert "France (FR)" in page
    assert 'name="region" value="-"' in page


@pytest.mark.parametrize(("options", "guesses"), [({}, False), ({"region_headers": "cloudflare"}, True)])
@pytest.mark.parametrize(
    ("language", "never", "guess"), [("en", "do not guess", "it is a guess"), ("es", "No adivinamos", "una suposición")]
)
async def test_the_notice_promises_not_to_guess_only_where_nothing_is_guessed(
    options: dict[str, Any], guesses: bool, language: str, never: str, guess: str
) -> None:
    page = body(await run(mounted(App(), **options), http_scope("/privacy", headers=[("accept-language", language)])))
    assert ((never in page.decode()), (guess in page.decode())) == (not guesses, guesses)
