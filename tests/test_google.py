"""Vendors are told what was decided and no more; their tags stand where the site wants them; keys in storage go."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import ConsentMiddleware
from consentmw.choice import Choice, Locale
from consentmw.decision import Decision, Verdict, decide
from consentmw.errors import ConsentError, SettingsError
from consentmw.purposes import Catalogue
from consentmw.regions import Regions
from consentmw.settings import Settings
from consentmw.visitor import Visitor

from .asgi import App, body, header, html, http_scope, run, values
from .mounted import PAGE, choice_cookie, mounted, post

GOOGLE = ("google_analytics", "google_ads", "google_tag_manager")
ALL = ("advertising", "analytics", "email_measurement")
SALE = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what we know about you."}}
CATALOGUE = Catalogue.load(only=(*GOOGLE, "meta_pixel", "youtube"))
REGIMES = Regions.load().regimes
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BARE = b"<!doctype html><html><head><title>Bare</title></head><body><h1>Bare</h1></body></html>"

GTAG = '<script async src="https://www.googletagmanager.com/gtag/js?id=G-OWN1234" data-consentmw></script>'
GTAG_OFF = (
    '<script async type="text/plain" data-consentmw-service="google_analytics" '
    'data-consentmw-src="https://www.googletagmanager.com/gtag/js?id=G-OWN1234" data-consentmw></script>'
)


async def page(site: ConsentMiddleware, *granted: str, chosen: bool = True, more: Any = ()) -> str:
    """The page as this visitor gets it; without ``chosen`` nobody has asked them yet."""
    sent = [("cookie", choice_cookie(site, *granted)), *more] if chosen else [*more]
    return body(await run(site, http_scope(headers=sent))).decode()


def told(text: str) -> dict[str, list[str]]:
    """The words on the script's tag, by attribute."""
    found = re.search(r'<script src="[^"]*/signals\.[0-9a-f]+\.js" data-consentmw([^>]*)>', text)
    assert found, "the script that speaks to vendors"
    said: dict[str, list[str]] = {}
    for name, value in re.findall(r' data-([a-z-]+)(?:="([^"]*)")?', found[1]):
        said[name] = value.split()
    return said


def facts(site: ConsentMiddleware) -> dict[str, Any]:
    return dict(site.site.signals.facts)


def decided(site: ConsentMiddleware, **more: Any) -> Decision:
    """What was decided for a visitor who has not chosen."""
    scope = http_scope(headers=[("sec-gpc", "1")] if more.get("gpc") else [])
    return site.site.ruling(Visitor.read(scope, ())).decision


# -- the words -----------------------------------------------------------------------------------


async def test_a_site_without_such_services_gets_no_script() -> None:
    site = mounted(App(*html(BARE)), services_used=("youtube", "hotjar"))
    assert "signals" not in await page(site, chosen=False)
    assert facts(site) == {}


async def test_the_script_is_first_and_not_deferred() -> None:
    """Before every tag of the page, and before our own deferred script, which tells it of a choice."""
    text = await page(mounted(App(*html(PAGE)), services_used=GOOGLE), *ALL)
    tag = re.search(r"<script [^>]*signals[^>]*>", text)
    assert tag
    assert not {"defer", "async"} & set(tag[0].split())
    assert text.index(tag[0]) < text.index("googletagmanager.com")
    assert text.index(tag[0]) < text.index(" defer")


async def test_what_is_granted_and_may_run_is_said() -> None:
    site = mounted(App(*html(PAGE)), services_used=(*GOOGLE, "meta_pixel", "youtube"))
    assert told(await page(site, chosen=False)) == {"signals": ["security_storage"]}
    some = told(await page(site, "analytics"))
    assert some == {"runs": ["google_analytics"], "signals": ["analytics_storage", "security_storage"]}
    everything = told(await page(site, *ALL, "media"))
    assert everything["runs"] == ["google_ads", "google_analytics", "google_tag_manager", "meta_pixel"]
    assert len(everything["signals"]) == 7
    assert "limits" not in everything


def test_only_disclosed_vendors_are_spoken_to() -> None:
    site = mounted(App(), services_used=("microsoft_clarity", "microsoft_ads"))
    assert facts(site) == {"vendors": ["uet", "clarity"]}
    assert facts(mounted(App(), services_used=("google_ads", "meta_pixel")))["vendors"] == ["google", "meta"]


async def test_a_purpose_of_the_same_kind_says_nothing_about_google() -> None:
    """A survey is of kind analytics, too: allowing it must not let Analytics store, nor refusing it stop Analytics."""
    survey = {"kind": "analytics", "title": "Surveys", "text": "Ask how a page helped."}
    site = mounted(App(*html(PAGE)), services_used=GOOGLE, purposes={"survey": survey})
    assert "analytics_storage" not in told(await page(site, "survey"))["signals"]
    assert "analytics_storage" in told(await page(site, "analytics"))["signals"]


async def test_the_same_words_answer_a_choice_and_the_state() -> None:
    site = mounted(App(*html(PAGE)), services_used=GOOGLE)
    sent = await post(site, "/privacy/choices", {"action": "accept"}, headers=[("accept", "application/json")])
    answer = json.loads(body(sent))
    assert {"google_ads", "google_analytics", "google_tag_manager"} <= set(answer["granted"])
    assert {"analytics", "advertising"} <= set(answer["purposes"])
    assert "ad_storage" in answer["signals"]
    assert answer["limits"] == []
    assert answer["reload"] is False
    cookie = (header(sent, "set-cookie") or "").partition(";")[0]
    state = json.loads(body(await run(site, http_scope("/privacy/state", headers=[("cookie", cookie)]))))
    assert {key: state[key] for key in ("granted", "purposes", "signals", "limits")} == {
        key: answer[key] for key in ("granted", "purposes", "signals", "limits")
    }


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "restrict", "limited"),
    [
        (("analytics",), True, True),
        (("analytics",), False, False),
        (("analytics", "advertising"), True, False),
        (("advertising",), True, False),
    ],
)
async def test_a_container_that_runs_is_restricted_while_something_is_denied(
    granted: tuple[str, ...], restrict: bool, limited: bool
) -> None:
    """E-mails are no matter of a page: they restrict nothing. A container that doesn't run needs no restriction."""
    own = {"google_tag_manager": {"purposes": ["analytics"]}}
    options = {"services_used": GOOGLE, "services": own, "google_restrict_containers": restrict}
    text = await page(mounted(App(*html(PAGE)), **options), *granted)
    assert ("containers" in told(text).get("limits", ())) is limited


@pytest.mark.parametrize(("granted", "limited"), [(("advertising",), True), (("advertising", "sale"), False)])
async def test_meta_is_told_when_nothing_may_be_sold(granted: tuple[str, ...], limited: bool) -> None:
    text = await page(mounted(App(*html(PAGE)), services_used=("meta_pixel",), purposes=SALE), *granted)
    assert ("sale" in told(text).get("limits", ())) is limited


async def test_where_google_finds_the_visitor_may_only_take_away() -> None:
    """Listed are the regions whose rules allow less than what was decided without knowing the region."""
    site = mounted(App(*html(PAGE)), services_used=GOOGLE, fallback_regime="opt_out")
    regions = facts(site)["regions"]
    assert {"DE", "FR", "GB", "BR", "CA-QC"} <= set(regions)
    assert not {"US", "US-IA", "JP", "CA", "CH"} & set(regions)
    for code in regions:
        assert site.site.regions.regime(code, site.site.clock()).granted < site.site.regions.regimes["opt_out"].granted
    assert told(await page(site, chosen=False))["limits"] == ["regions"]
    assert "limits" not in told(await page(site, "analytics", "advertising", "media")), "a choice counts everywhere"
    assert "regions" not in facts(mounted(App(), services_used=GOOGLE)), "nothing is allowed, so nothing is to narrow"


async def test_a_stated_region_is_not_second_guessed() -> None:
    choices = [{"code": "US-IA", "label": "IOWA"}]
    site = mounted(App(*html(PAGE)), services_used=GOOGLE, fallback_regime="opt_out", region_choices=choices)
    for region, limits in (("US-IA", None), ("-", ["regions"])):
        cookie = f"privacy-locale={site.site.locales.write(Locale('en', region))}"
        said = told(await page(site, chosen=False, more=[("cookie", cookie)]))
        assert said.get("limits") == limits
        assert "ad_storage" in said["signals"]


# -- tags that the site has us put in ------------------------------------------------------------


def inserted(**options: Any) -> ConsentMiddleware:
    return mounted(App(*html(options.pop("page", BARE))), services_used=GOOGLE, google_analytics="G-OWN1234", **options)


async def test_the_tag_is_withheld_until_it_is_allowed() -> None:
    site = inserted()
    for text in (await page(site, chosen=False), await page(site), await page(site, "advertising")):
        assert GTAG_OFF in text
        assert GTAG not in text
    text = await page(site, "analytics")
    assert GTAG in text
    assert GTAG_OFF not in text
    assert told(text)["own-ga"] == []
    assert text.index("signals.") < text.index(GTAG)


async def test_the_container_is_put_in_the_same_way() -> None:
    site = inserted(google_tag_manager="GTM-OWN123")
    address = "https://www.googletagmanager.com/gtm.js?id=GTM-OWN123"
    assert f'data-consentmw-src="{address}"' in await page(site, "analytics")
    text = await page(site, "analytics", "advertising")
    assert f'<script async src="{address}" data-consentmw></script>' in text
    assert {"own-ga", "own-gtm"} <= set(told(text))


@pytest.mark.parametrize("packed", [False, True])
async def test_a_page_that_has_the_tag_gets_no_second_one(packed: bool) -> None:
    """Two would count each page view twice."""
    own = PAGE.replace(b"G-TEST", b"G-OWN1234")
    messages = html(gzip.compress(own) if packed else own)
    if packed:
        messages[0]["headers"] = [*messages[0]["headers"], (b"content-encoding", b"gzip")]
    site = mounted(App(*messages), services_used=GOOGLE, google_analytics="G-OWN1234", google_tag_manager="GTM-OWN123")
    text = await page(site, *ALL)
    assert text.count("gtag/js?id=G-OWN1234") == 1
    assert "own-ga" not in told(text)
    assert "gtm.js?id=GTM-OWN123" in text, "the other one is not there yet"


async def test_an_id_alone_puts_nothing_in_when_told_so() -> None:
    site = inserted(google_insert=False)
    text = await page(site, *ALL)
    assert "googletagmanager" not in text
    assert facts(site)["ga"] == "G-OWN1234", "it is still switched off in the page while it is denied"


async def test_inserted_tags_carry_the_nonce_of_a_strict_site() -> None:
    messages = html(BARE)
    messages[0]["headers"] = [
        *messages[0]["headers"], (b"content-security-policy", b"script-src 'nonce-abc' 'strict-dynamic'")
    ]  # fmt: skip
    site = mounted(App(*messages), services_used=GOOGLE, google_analytics="G-OWN1234")
    # Of who chose to be measured, the visit is followed, too.
    for text, number in ((await page(site, chosen=False), 3), (await page(site, *ALL), 4)):
        assert text.count("<script ") == text.count('<script nonce="abc" ') == number


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("google_analytics", "UA-123-1"),
        ("google_analytics", "G-"),
        ("google_analytics", "g-abcd123"),
        ("google_analytics", 'G-A"><script>'),
        ("google_analytics", "G-ABCD123\n"),
        ("google_tag_manager", "G-ABCD123"),
        ("google_tag_manager", "GTM-' + alert(1)"),
        ("google_mode", "easy"),
    ],
)
def test_an_id_that_is_none_is_refused(option: str, value: str) -> None:
    with pytest.raises(SettingsError, match=option):
        Settings.of({"debug": True, option: value})


@pytest.mark.parametrize(
    ("option", "value", "used"),
    [
        ("google_analytics", "G-OWN1234", ("google_tag_manager",)),
        ("google_tag_manager", "GTM-OWN123", ("google_analytics",)),
    ],
)
def test_a_tag_nobody_was_told_about_is_refused(option: str, value: str, used: tuple[str, ...]) -> None:
    with pytest.raises(ConsentError, match=f"{option} among services_used"):
        mounted(App(), services_used=used, **{option: value})


# -- Advanced mode -------------------------------------------------------------------------------

#: what a site pastes for Google: a tag and its code, a container, a static pixel, the older snippets
PASTED = b"""<!doctype html><html><head><title>All</title>
<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST"></script>
<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments);}
gtag('js',new Date());gtag('config','G-TEST');gtag('config','AW-1');</script>
<script>w[l].push({'gtm.start':new Date().getTime(),event:'gtm.js'})</script>
<script>ga('create','UA-1-1','auto');</script>
<script>gtag('event','x');fbq('track','Lead');</script>
<script src="https://www.googleadservices.com/pagead/conversion.js"></script>
</head><body><img alt="" src="https://googleads.g.doubleclick.net/pagead/viewthroughconversion/1/">
<img alt="" src="https://www.google-analytics.com/collect?v=1"></body></html>"""


def advanced(**options: Any) -> ConsentMiddleware:
    used = (*GOOGLE, "meta_pixel")
    return mounted(App(*html(PASTED)), services_used=used, google_mode="advanced", **options)


async def test_before_a_choice_only_consent_aware_code_loads() -> None:
    """The tag and its commands know the signals; containers, static pixels and older snippets don't."""
    text = await page(advanced(), chosen=False)
    assert '<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST">' in text
    assert "<script>window.dataLayer" in text
    assert text.count("<script type=text/plain data-consentmw-service=") == 4
    assert text.count("<img data-consentmw-service=") == 2
    said = told(text)
    assert said["signals"] == ["security_storage"], "with everything denied"
    assert said["runs"] == ["google_ads", "google_analytics"]


async def test_what_loads_early_may_store_nothing() -> None:
    """Its cookies are not set, not shown to the application, and expired, as for any denied service."""
    site = advanced()
    app = site.app
    assert isinstance(app, App)
    app.messages = html(PASTED, headers=[("set-cookie", "_ga=1"), ("set-cookie", "_gcl_au=1")])
    sent = await run(site, http_scope(headers=[("cookie", "_ga=GA1.1.1.1; theme=dark")]))
    lines = values(sent, "set-cookie")
    assert [line for line in lines if "_ga" in line and "Max-Age=0" not in line] == []
    assert any(line.startswith("_ga=;") for line in lines)
    assert [v for n, v in app.scope["headers"] if n == b"cookie"] == [b"theme=dark"]
    consent = app.scope["consent"]
    assert not consent.allows("google_analytics")
    assert consent.why("google_analytics") == "advanced"
    assert header(sent, "cache-control") == "private, no-cache, no-store"


@pytest.mark.parametrize(
    ("granted", "more"),
    [((), ()), (("media",), ()), (("email_measurement",), ())],
    ids=["refused", "media only", "e-mail only"],
)
async def test_a_refusal_is_kept(granted: tuple[str, ...], more: Any) -> None:
    """Google's own Advanced mode goes on sending pings after a refusal; here nothing loads then."""
    site = advanced()
    text = await page(site, *granted, more=more)
    assert "<script async src=" not in text
    assert "<script>window" not in text
    assert "runs" not in told(text)


async def test_a_refusal_outlives_its_time() -> None:
    """An expired choice is asked for again; what it refused stays refused meanwhile."""
    site = advanced()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    for granted, loads in (((), False), (("analytics", "advertising"), True)):
        cookie = choice_cookie(site, *granted, at=long_ago)
        text = body(await run(site, http_scope(headers=[("cookie", cookie)]))).decode()
        assert ("<script async src=" in text) is loads


async def test_the_signal_of_a_browser_is_a_refusal() -> None:
    """Global Privacy Control: not even a ping without cookies, of advertising or of measurement."""
    text = await page(advanced(), chosen=False, more=[("sec-gpc", "1")])
    assert "<script async src=" not in text
    assert "runs" not in told(text)
    assert decided(advanced(), gpc=True).cookieless == frozenset()


async def test_refusing_in_the_open_page_ends_what_ran() -> None:
    """Nothing was granted before and nothing is now, yet tags run in the page: it has to be loaded anew."""
    site = advanced()
    for action, anew in (("reject", True), ("accept", False)):
        sent = await post(site, "/privacy/choices", {"action": action}, headers=[("accept", "application/json")])
        assert json.loads(body(sent))["reload"] is anew


async def test_the_policy_lets_the_pings_through() -> None:
    sent = await run(advanced(policy="enforce"), http_scope())
    policy = header(sent, "content-security-policy") or ""
    assert "*.google-analytics.com" in policy
    assert "connect.facebook.net" not in policy


async def test_basic_mode_is_the_default_and_lets_nothing_of_it_through() -> None:
    site = mounted(App(*html(PASTED)), services_used=(*GOOGLE, "meta_pixel"))
    text = await page(site, chosen=False)
    assert "<script async src=" not in text
    assert decided(site).cookieless == frozenset()


async def test_the_tag_that_is_put_in_is_live_in_advanced_mode() -> None:
    site = inserted(google_mode="advanced")
    assert GTAG in await page(site, chosen=False)
    assert GTAG_OFF in await page(site)


def test_states_with_and_without_early_tags_differ() -> None:
    """Equal ETags would let one page stand for the other."""
    assert decided(advanced()).state != decided(mounted(App(), services_used=(*GOOGLE, "meta_pixel"))).state


def test_only_marks_of_its_own_can_be_cookieless() -> None:
    with pytest.raises(ConsentError, match=r"services\.google_ads\.cookieless"):
        Catalogue.load(services={"google_ads": {"cookieless": ["everything"]}})


choices = st.none() | st.builds(
    lambda granted, days: (frozenset(granted), days),
    st.sets(st.sampled_from([*ALL, "media"])),
    st.sampled_from([1, 1000]),
)


@given(choices, st.booleans(), st.booleans(), st.sampled_from(["strict", "opt_in", "opt_out"]))
def test_what_loads_early_is_denied_and_was_never_refused(
    choice: tuple[frozenset[str], int] | None, gpc: bool, minor: bool, regime: str
) -> None:
    """Whatever was chosen, signalled or is the law: loading early is no grant, and no is no."""
    made = choice and Choice("r" * 22, NOW - timedelta(days=choice[1]), CATALOGUE.fingerprint, choice[0])
    options: dict[str, Any] = {"now": NOW, "language": "en", "notice": "n", "valid_for": timedelta(days=180)}
    basic, early = (
        decide(CATALOGUE, REGIMES[regime], made or None, gpc=gpc, minor=minor, advanced=advanced, **options)
        for advanced in (False, True)
    )
    assert basic.cookieless == frozenset()
    assert early.cookieless <= early.denied == basic.denied
    assert (early.purposes, early.google, early.tier) == (basic.purposes, basic.google, basic.tier)
    assert not (early.cookieless and (gpc or minor))
    for key in early.cookieless:
        assert early.services[key] == Verdict(False, "advanced")
        assert choice is None or set(CATALOGUE.services[key].purposes) <= choice[0]
    assert (early.state == basic.state) == (early.cookieless == frozenset())


def test_check_reminds_of_advanced_mode(tmp_path: Path) -> None:
    for mode, said in (("basic", False), ("advanced", True)):
        file = tmp_path / f"{mode}.toml"
        file.write_text(
            f'debug = true\nservices_used = ["google_analytics"]\ngoogle_mode = "{mode}"\nstore = "memory:"'
        )
        done = subprocess.run(
            [sys.executable, "-m", "consentmw", "check", str(file)], capture_output=True, text=True, check=True
        )
        assert ("pings before the choice" in done.stdout) is said


async def test_page_views_that_the_server_reports_are_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENTMW_GOOGLE_API_SECRET", "a secret of nobody")
    site = inserted(google_relay="eu", google_relay_pages=True)
    assert "googletagmanager" not in await page(site, *ALL)


# -- keys in the browser's storage ---------------------------------------------------------------


def kept(text: str) -> list[str] | None:
    found = re.search(r' data-keep="([^"]*)" defer>', text)
    return found[1].split() if found else None


async def test_keys_of_denied_services_are_named_once_and_go() -> None:
    site = mounted(App(*html(BARE)), services_used=("hotjar", "linkedin_insight", "recaptcha", "youtube"))
    keys = site.site.storage.facts
    assert set(keys) == {"hotjar", "linkedin_insight"}, "what is necessary keeps its keys"
    pattern = re.compile(f"^(?:{keys['hotjar']})$")
    assert pattern.match("_hjSession_1")
    assert pattern.match("hjViewportId")
    assert not pattern.match("my_hjSession")
    assert kept(await page(site, chosen=False)) == []
    assert kept(await page(site, "analytics")) == ["hotjar"]
    assert kept(await page(site, "analytics", "advertising", "media")) is None


async def test_odd_keys_are_matched_as_they_are_written() -> None:
    marks = ["a.b*", "taboola global:*", "x|y", "(z)", "\\d", "w+"]
    odd = {"purposes": ["analytics"], "hosts": ["odd.example"], "storage": marks}
    site = mounted(App(*html(BARE)), services_used=(), services={"odd": odd})
    pattern = re.compile(f"^(?:{site.site.storage.facts['odd']})$")
    assert all(pattern.match(mark) for mark in marks)
    assert not any(pattern.match(key) for key in ("aXb", "x", "y", "z", "7", "ww"))


async def test_an_error_of_ours_destroys_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When deciding fails nothing runs, but what a visitor had allowed keeps its keys."""
    site = mounted(App(*html(BARE)), services_used=("hotjar",))

    def fail(*_: Any, **__: Any) -> Decision:
        raise RuntimeError("broken")

    monkeypatch.setattr("consentmw.site.decide", fail)
    assert kept(await page(site, chosen=False)) is None


# -- what visitors are told about Advanced mode ----------------------------------------------------


@pytest.mark.parametrize(("language", "words"), [("en", "tags tell Google which"), ("es", "dicen a Google qué")])
async def test_visitors_are_told_what_happens_before_they_choose(language: str, words: str) -> None:
    """The banner says that nothing runs until yes; where something does, it must not say so."""
    spoken = [("accept-language", language)]
    text = await page(advanced(), chosen=False, more=spoken)
    assert words in text.replace("&#39;", "'")
    basic = mounted(App(*html(PASTED)), services_used=(*GOOGLE, "meta_pixel"))
    assert words not in await page(basic, chosen=False, more=spoken)
    for site, told_so in ((advanced(), True), (basic, False)):
        choices = body(await run(site, http_scope("/privacy/choices", headers=spoken))).decode()
        assert (words in choices) is told_so
        notice = body(await run(site, http_scope("/privacy", headers=spoken))).decode()
        assert (
            "Global Privacy Control" in notice.partition("<h2>E-mails" if language == "en" else "<h2>Correo")[0]
        ) is told_so
