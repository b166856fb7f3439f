"""What pages say in GPP: to whom, in which words, where in the page; and nothing at all where nobody asks."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from consentmw import ConsentMiddleware, gpp
from consentmw.choice import Locale
from consentmw.consent import Consent
from consentmw.errors import SettingsError
from consentmw.settings import Settings
from consentmw.visitor import Visitor

from .asgi import App, body, header, html, http_scope, run
from .mounted import PAGE, choice_cookie, mounted, post

USED = ("google_ads", "google_analytics", "meta_pixel")
SALE = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what we know about you."}}
EVERYTHING = ("advertising", "analytics", "sale", "email_measurement")
TAG = re.compile(
    rb"<script src=\"[^\"]*/gpp\.[0-9a-f]{8}\.js\" data-consentmw( data-ask)? data-said='([^']*)'></script>"
)


def site(*answer: Any, **options: Any) -> ConsentMiddleware:
    """A site that advertises and sells."""
    return mounted(App(*(answer or html(PAGE))), **{"services_used": USED, "purposes": SALE, **options})


def cookies(middleware: ConsentMiddleware, region: str, *granted: str, chosen: bool = False) -> str:
    """The cookies of a visitor who stated this region, and chose."""
    found = [f"privacy-locale={middleware.site.locales.write(Locale('en', region))}"] if region else []
    if granted or chosen:
        found.append(choice_cookie(middleware, *granted))
    return "; ".join(found)


async def page(
    middleware: ConsentMiddleware, region: str, *granted: str, chosen: bool = False, gpc: bool = False, **scope: Any
) -> bytes:
    headers = [("cookie", cookies(middleware, region, *granted, chosen=chosen))]
    headers += [("sec-gpc", "1")] * gpc
    return body(await run(middleware, http_scope(headers=headers, **scope)))


def said(text: bytes) -> dict[str, Any]:
    """What the script in this page is told."""
    found = TAG.search(text)
    assert found, "the script that answers"
    words: dict[str, Any] = json.loads(unescape(found[2].decode()))
    return words


async def consent(middleware: ConsentMiddleware, region: str, *granted: str, gpc: bool = False) -> Consent:
    """What the application found on its scope."""
    await page(middleware, region, *granted, gpc=gpc)
    app = middleware.app
    assert isinstance(app, App)
    found: Consent = app.scope["consent"]
    return found


# -- to whom ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "region", "ids"),
    [
        ("auto", "US-IA", [18]),
        ("auto", "US-MN", [23]),
        ("auto", "US-CA", [8]),
        ("auto", "US-MD", [7]),
        ("auto", "US", [7]),
        ("auto", "US-WI", [-1]),
        ("auto", "US-IL", [-1]),
        ("auto", "US-MI", [-1]),
        ("national", "US-IA", [7]),
        ("national", "US-WI", [7]),
        ("national", "", [7]),
        ("national", "-", [7]),
        ("national", "DE", [-1]),
        ("national", "CA-QC", [-1]),
    ],
)
async def test_the_sections_in_force_are_those_of_the_region(mode: str, region: str, ids: list[int]) -> None:
    """And -1 says that none applies: without it a tag would wait for a string, or guess."""
    words = said(await page(site(gpp=mode), region))
    assert words["applicableSections"] == ids
    assert words["sectionList"] == [number for number in ids if number > 0]
    assert [key.split(":") for key in gpp.supported() if int(key.split(":")[0]) in ids] == [
        [str(number), name] for number, name in zip(words["sectionList"], words["parsedSections"], strict=True)
    ]


@pytest.mark.parametrize(
    ("options", "region"),
    [
        ({}, "DE"),
        ({}, ""),
        ({}, "-"),
        ({}, "CA-QC"),
        ({"gpp": "off"}, "US-IA"),
        ({"purposes": {}, "services_used": ("google_analytics", "youtube")}, "US-IA"),
        ({"purposes": {}, "services_used": ("youtube",), "gpp": "national"}, "US-IA"),
    ],
)
async def test_where_there_is_nothing_to_say_there_is_no_script(options: dict[str, Any], region: str) -> None:
    """Abroad, in an unknown region, beside another product, and on sites that neither sell nor advertise."""
    middleware = site(**options)
    text = await page(middleware, region)
    assert b"gpp." not in text
    assert b"__gpp" not in text
    found = await consent(middleware, region)
    assert (found.gpp, found.gpp_sid) == ("", "")
    state = json.loads(body(await run(middleware, http_scope("/privacy/state"))))
    assert "gpp" not in state


async def test_a_site_that_sells_without_any_service_speaks() -> None:
    """Data can be sold without a tag in any page."""
    assert said(await page(site(services_used=()), "US-IA"))["parsedSections"]["usia"][0]["SaleOptOutNotice"] == 1


@pytest.mark.parametrize(("mode", "opted_out"), [("national", 1), ("auto", None)])
async def test_a_decision_that_failed_is_an_opt_out(
    mode: str, opted_out: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it is nothing at all, where the region would have to be known for it."""
    middleware = site(gpp=mode)
    monkeypatch.setattr(middleware.site, "decide_with", None)
    text = await page(middleware, "US-IA")
    assert b"<h1>Home</h1>" in text
    found = said(text)["parsedSections"]["usnat"][0]["SaleOptOut"] if TAG.search(text) else None
    assert found == opted_out


# -- in which words --------------------------------------------------------------------------------


async def test_the_words_are_the_string_read() -> None:
    words = said(await page(site(regimes={"US-IA": "opt_out"}), "US-IA", gpc=True))
    assert words["gppString"] == "DBABCw~BVFAAAgA.YA"
    core, signal = words["parsedSections"]["usia"]
    read = gpp.decode(words["gppString"])["usia"]
    assert signal == {"SubsectionType": 1, "Gpc": True}
    assert {**core, "Gpc": True, "GpcSegmentType": 1, "GpcSegmentIncluded": True} == read


async def test_a_section_without_a_signal_has_one_segment() -> None:
    (core,) = said(await page(site(), "US-VA"))["parsedSections"]["usva"]
    assert core["SaleOptOut"] == 2
    assert "Gpc" not in core


async def test_no_section_is_an_empty_string_of_the_platform() -> None:
    words = said(await page(site(), "US-WI"))
    assert (words["gppString"], words["parsedSections"]) == ("DBAA", {})


@pytest.mark.parametrize(
    ("granted", "gpc", "expected"),
    [
        (None, False, (2, 2, False)),
        (None, True, (1, 1, True)),
        (EVERYTHING, False, (2, 2, False)),
        (EVERYTHING, True, (1, 1, True)),
        (("analytics",), False, (1, 1, False)),
        (("sale",), False, (2, 1, False)),
        ((), False, (1, 1, False)),
    ],
)
async def test_it_says_what_was_decided(
    granted: tuple[str, ...] | None, gpc: bool, expected: tuple[int, int, bool]
) -> None:
    text = await page(site(), "US-IA", *(granted or ()), chosen=granted is not None, gpc=gpc)
    core, signal = said(text)["parsedSections"]["usia"]
    assert (core["SaleOptOut"], core["TargetedAdvertisingOptOut"], signal["Gpc"]) == expected


async def test_an_opt_in_over_the_signal_is_said_beside_the_signal() -> None:
    """Whoever allowed it in a step of its own did not opt out; the browser sends its signal all the same."""
    middleware = site()
    fields = [("action", "override"), ("surface", "choices"), ("purpose", "sale"), ("purpose", "advertising")]
    headers = [("sec-gpc", "1"), ("accept", "application/json"), ("cookie", cookies(middleware, "US-IA"))]
    before = said(await page(middleware, "US-IA", gpc=True))["parsedSections"]["usia"]
    after = json.loads(body(await post(middleware, "/privacy/choices", fields, headers=headers)))
    core, signal = after["gpp"]["parsedSections"]["usia"]
    assert (before[0]["SaleOptOut"], before[0]["TargetedAdvertisingOptOut"], before[1]["Gpc"]) == (1, 1, True)
    assert (core["SaleOptOut"], core["TargetedAdvertisingOptOut"], signal["Gpc"]) == (2, 2, True)


@pytest.mark.parametrize("minor", [True, False])
def test_a_minor_consented_to_nothing(minor: bool) -> None:
    middleware = site()
    visitor = Visitor.read(http_scope(headers=[("cookie", cookies(middleware, "US-IA", *EVERYTHING))]), ())
    decision = middleware.site.decide_with(visitor, middleware.site.choice(visitor), minor=minor)
    words: Any = middleware.site.gpp.words(decision)["gpp"]
    core, _ = words["parsedSections"]["usia"]
    assert (core["SaleOptOut"], core["KnownChildSensitiveDataConsents"]) == ((1, 1) if minor else (2, 0))


@pytest.mark.parametrize(
    ("mspa", "numbers"), [("", (2, 0, 0)), ("opt_out", (1, 1, 2)), ("service_provider", (1, 2, 1))]
)
async def test_a_signatory_says_so(mspa: str, numbers: tuple[int, int, int]) -> None:
    (core, _) = said(await page(site(mspa=mspa), "US-IA"))["parsedSections"]["usia"]
    names = ("MspaCoveredTransaction", "MspaOptOutOptionMode", "MspaServiceProviderMode")
    assert tuple(core[name] for name in names) == numbers


@pytest.mark.parametrize(
    ("key", "value"), [("gpp", "on"), ("gpp", "usnat"), ("mspa", "opt_out_option"), ("mspa", "yes")]
)
def test_other_words_are_refused_at_start(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key):
        Settings.of({"debug": True, key: value})


# -- where it stands ---------------------------------------------------------------------------------


async def test_it_is_the_first_thing_in_the_head_and_not_deferred() -> None:
    """Before every tag of the page, before our style sheet too: a script behind that one would wait for it."""
    text = await page(site(), "US-IA", *EVERYTHING)
    found = TAG.search(text)
    assert found
    assert found.start() == text.index(b"<head>") + len(b"<head>")
    assert text.count(b"/gpp.") == 1


async def test_it_says_whether_the_banner_is_shown() -> None:
    for chosen in (False, True):
        found = TAG.search(await page(site(), "US-IA", chosen=chosen))
        assert found
        assert (found[1] is None) is chosen


async def test_it_carries_the_nonce_of_the_sites_policy() -> None:
    policy = [("content-security-policy", "script-src 'nonce-abc123' 'strict-dynamic'")]
    text = await page(site(*html(PAGE, headers=policy)), "US-IA")
    assert re.search(rb'<script nonce="abc123" src="[^"]*/gpp\.', text)


async def test_a_page_with_a_cmp_of_its_own_gets_none() -> None:
    """Its stub, which makes the frame of that name, would find ours in its place and not start."""
    stub = PAGE.replace(b"</title>", b"</title><script>addFrame('__gppLocator')</script>")
    text = await page(site(*html(stub)), "US-IA")
    assert not TAG.search(text)
    assert b"/privacy." in text
    asking = PAGE.replace(b"</title>", b"</title><script>window.__gpp && __gpp('ping', heard)</script>")
    assert TAG.search(await page(site(*html(asking)), "US-IA")), "a page that only asks needs an answer"


@pytest.mark.parametrize("root", ["/a'b", '/a"b', "/a&b<c>"])
async def test_no_root_path_breaks_out_of_the_tag(root: str) -> None:
    reader = _First()
    reader.feed((await page(site(), "US-IA", root_path=root)).decode())
    assert (reader.attributes["src"] or "").startswith(f"{root}/privacy/static/gpp.")
    assert set(reader.attributes) == {"src", "data-consentmw", "data-ask", "data-said"}


class _First(HTMLParser):
    """The attributes of the first script of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and not self.attributes:
            self.attributes = dict(attrs)


async def test_the_script_knows_the_sections_and_nothing_of_the_visitor() -> None:
    middleware = site(gpp="national")
    found = TAG.search(await page(middleware, "US-IA"))
    assert found
    address = found[0].split(b'"')[1].decode()
    script = body(await run(middleware, http_scope(address))).decode()
    assert 'const SITE = {"apis":["7:usnat"],"debug":true};' in script
    assert middleware.site.gpp.facts["apis"] == ["7:usnat"]
    assert "18:usia" in str(site().site.gpp.facts["apis"])


# -- after a choice, and for applications ------------------------------------------------------------


async def test_the_answer_to_a_choice_has_the_new_words_and_so_has_the_state() -> None:
    middleware = site()
    sent = await post(
        middleware,
        "/privacy/choices",
        {"action": "reject"},
        headers=[("accept", "application/json"), ("cookie", cookies(middleware, "US-IA"))],
    )
    answer = json.loads(body(sent))["gpp"]
    assert answer["parsedSections"]["usia"][0]["SaleOptOut"] == 1
    cookie = (header(sent, "set-cookie") or "").partition(";")[0]
    both = f"{cookies(middleware, 'US-IA')}; {cookie}"
    state = json.loads(body(await run(middleware, http_scope("/privacy/state", headers=[("cookie", both)]))))
    assert state["gpp"] == answer
    assert said(body(await run(middleware, http_scope(headers=[("cookie", both)])))) == answer


async def test_an_application_finds_string_and_sections_for_its_tags() -> None:
    middleware = site()
    found = await consent(middleware, "US-IA", gpc=True)
    assert (found.gpp, found.gpp_sid) == ("DBABCw~BVFAAAgA.YA", "18")
    url = "https://ads.example/px?gpp=${GPP_STRING}&gpp_sid=${GPP_SID}"
    assert gpp.macros(url, found.gpp, gpp.section_ids(found.gpp)) == (
        f"https://ads.example/px?gpp={found.gpp}&gpp_sid={found.gpp_sid}"
    )
    none = await consent(middleware, "US-WI")
    assert (none.gpp, none.gpp_sid) == ("", "-1")
