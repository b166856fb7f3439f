"""Hosts that nobody named: what may watch a visitor is withheld, the rest is let through, and the operator is told."""

from __future__ import annotations

import logging
import random
from itertools import product
from typing import Any

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import ConsentMiddleware
from consentmw.consent import Consent
from consentmw.events import Count
from consentmw.events.hosts import OTHER, Met
from consentmw.gate.domains import registrable
from consentmw.gate.html import HtmlGate, Rules
from consentmw.gate.links import filter_links
from consentmw.gate.unknown import EVERY, Unknown, Watch, addresses
from consentmw.purposes import Catalogue
from consentmw.settings import Settings

from .asgi import App, body, html, http_scope, run, values
from .html_oracle import ALL, CATALOGUE, PIECES, leaks, soup
from .mounted import choice_cookie, mounted

RULES = Rules(CATALOGUE, ALL)
NOTHING_DENIED = Rules(CATALOGUE, frozenset())
DEFAULT = dict(Settings.of({"debug": True}).unknown)
OWN = ("cdn.example.net", "*.assets.example", "https://img.example.net:8443", "wss://live.example.net")
U = "//widgets.example-badges.net/b"
MARK = "data-consentmw-service=unknown"


def watch(host: str = "www.site.example", words: dict[str, str] | None = None, own: tuple[str, ...] = OWN) -> Watch:
    found = Unknown(CATALOGUE, DEFAULT if words is None else words, own).watch(host)
    assert found is not None
    return found


def all_as(word: str) -> dict[str, str]:
    return dict.fromkeys(EVERY, word)


def gated(html: str, look: Watch, rules: Rules = NOTHING_DENIED, **inserts: Any) -> str:
    gate = HtmlGate(rules, look, **inserts)
    return (gate.feed(html.encode()) + gate.close()).decode()


WITHHELD = [
    (f'<script src="{U}"></script>', f'<script type=text/plain {MARK} data-consentmw-src="{U}"></script>'),
    (f"<svg><script href={U}></script>", f"<svg><script type=text/plain {MARK} data-consentmw-href={U}></script>"),
    (f"<iframe src='{U}'>", f"<iframe {MARK} name=consentmw-off-unknown-0 data-consentmw-src='{U}'>"),
    (f"<embed src={U}>", f"<embed {MARK} data-consentmw-src={U}>"),
    (f"<object data={U}>", f"<object {MARK} data-consentmw-data={U}>"),
    (f"<img width=1 height=1 src={U}>", f"<img {MARK} width=1 height=1 data-consentmw-src={U}>"),
    (f"<link rel=modulepreload href={U}>", f"<link {MARK} rel=modulepreload data-consentmw-href={U}>"),
    (f"<a href=/x ping='/own {U}'>", f"<a href=/x data-consentmw-ping='/own {U}'>"),
    (f"<base href={U}>", f"<base {MARK} data-consentmw-href={U}>"),
    (f"<script>document.write('<script src={U}></script>')</script>",
     f"<script>document.write('<script type=text/plain {MARK} data-consentmw-src={U}></script>')</script>"),
    (f"<script type=speculationrules>{{\"prerender\":[{{\"urls\":[\"https:{U}\"]}}]}}</script>",
     f"<script type=text/plain {MARK} data-consentmw-type=speculationrules>"
     f"{{\"prerender\":[{{\"urls\":[\"https:{U}\"]}}]}}</script>"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "expected"), WITHHELD)
def test_code_frames_and_pixels_of_nobody_are_made_inert(page: str, expected: str) -> None:
    """By default, with nothing denied at all: the exact bytes, so that the same may be switched on later."""
    assert gated(page, watch()) == expected


KINDS = [
    (f"<script src={U}></script>", "script"),
    (f"<script data-src={U}></script>", "script"),
    (f"<script><img src='{U}'></script>", "image"),
    (f"<link rel='preload stylesheet' as=style href={U}>", "style"),
    (f"<link rel=preload as=script href={U}>", "script"),
    (f"<link rel=preload as=Font href={U} crossorigin>", "font"),
    (f"<link rel=preload as=image imagesrcset='{U} 2x'>", "image"),
    (f"<link rel=preload as=fetch href={U}>", "connect"),
    (f"<link rel=prefetch as=document href={U}>", "frame"),
    (f"<link rel=prefetch href={U}>", "connect"),
    (f"<link rel=PreConnect href={U}>", "connect"),
    (f"<link rel='preconnect' as=style href={U}>", "connect"),
    (f"<link rel=prerender href={U}>", "frame"),
    (f"<link rel='shortcut icon' href={U}>", "image"),
    (f"<link rel=manifest href={U}>", "connect"),
    (f"<frame src={U}>", "frame"),
    (f"<img src={U}>", "image"),
    (f"<img src={U} width=600 height=400 style='max-width:100%'>", "image"),
    (f"<img src={U} style='border-width:1px; line-height:1; width:50px'>", "image"),
    (f"<img srcset='/a 1x, {U} 2x'>", "image"),
    (f"<img data-src={U} src=/1.gif>", "image"),
    (f"<input type=image src={U}>", "image"),
    (f"<svg><image href={U} /></svg>", "image"),
    (f"<picture><source srcset={U}></picture>", "image"),
    (f"<td background={U}>", "image"),
    (f"<video poster={U}>", "image"),
    (f"<video src={U}>", "media"),
    (f"<audio><source src={U}>", "media"),
    (f"<track src={U}>", "media"),
    (f"<form action={U}>", "form"),
    (f"<button formaction={U}>", "form"),
    (f"<img src=/a.jpg attributionsrc='{U}'>", "pixel"),
    *((f"<img src={U} {tiny}>", "pixel") for tiny in (
        "width=0", "height='1'", "width=' 3px '", "width=1.5", "width=0%", "hidden", "HIDDEN=''", "style='width:1px'",
        "style='WIDTH : 0 ; x:y'", "style='color:red;height:1px!important'", "style='display:none'",
        "style='a:b;visibility: hidden'", "style='width:/**/1px'", "style='max-height:0'",
        "style='display&colon;none'",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("page", "kind"), KINDS)
def test_what_it_loads_says_what_kind_it_is(page: str, kind: str) -> None:
    """Each kind follows its own word: withheld alone when that word says so, and noted under it."""
    only = {**all_as("report"), kind: "withhold"}
    look = watch(words=only)
    assert "data-consentmw-" in gated(page, look)
    assert look.seen == {(kind, "widgets.example-badges.net"): "withhold"}
    for word in ("report", "allow"):
        look = watch(words={**all_as("withhold"), kind: word})
        assert gated(page, look) == page
        assert look.seen == {(kind, "widgets.example-badges.net"): word}


@pytest.mark.parametrize(
    "page",
    [
        f"<a href={U}>",
        f"<area href={U}>",
        f"<link rel=canonical href={U}>",
        f"<link rel=profile href={U}>",
        f"<link itemprop=url href={U}>",
        f"<meta property=og:image content={U}>",
        f"<meta http-equiv=refresh content='0;url={U}'>",
        f"<style>a{{background:url({U})}}</style>",
        f"<p style='background:url({U})'>",
        f"<script>fetch('https:{U}')</script>",
        f'<script type=application/ld+json>{{"url":"https:{U}"}}</script>',
        f"<div data-src={U} title={U}>",
        "<img src='data:image/gif;base64,//8A' srcset='data:image/png;base64,//8A8A, /x 2x'>",
        "<script>'<script src=\"https://' + host + '/x.js\"><\\/script>'</script>",
        "<script>`<img width=1 src='https://${host}/x.gif'>`</script>",
        "<script src=/own.js></script><img src=own.jpg width=1>",
        "<script src='//'></script><script src='http://'></script><script src='blob:x'></script>",
        "<script src='mailto:a@b.example'></script>",
        "<script src='https://a b.example/x'></script>",
    ],
)
def test_what_loads_nothing_from_an_address_is_left_alone(page: str) -> None:
    look = watch(words=all_as("withhold"))
    assert gated(page, look) == page
    assert look.seen == {}


@pytest.mark.parametrize(
    ("asked", "host", "own"),
    [
        ("www.site.example", "www.site.example", True),
        ("www.site.example", "WWW.Site.Example.:8443", True),
        ("www.site.example", "static.site.example", True),
        ("www.site.example", "site.example", True),
        ("site.example", "a.b.site.example", True),
        ("www.site.example", "evilsite.example", False),
        ("www.site.example", "site.example.evil.net", False),
        ("www.council.gov.uk", "maps.council.gov.uk", True),
        ("www.council.gov.uk", "www.other.gov.uk", False),
        ("one.github.io", "two.github.io", False),
        ("github.io", "two.github.io", False),
        ("127.0.0.1", "127.0.0.1:9000", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "9.0.0.1", False),
        ("localhost", "localhost:9000", True),
        ("localhost", "other", False),
        ("[::1]", "[::1]:9000", True),
        ("[::1]", "[::2]", False),
        ("xn--mnchen-3ya.example", "www.münchen.example", True),
        ("", "www.site.example", False),
        ("www.site.example", "cdn.example.net", True),
        ("www.site.example", "sub.cdn.example.net", False),
        ("www.site.example", "a.assets.example", True),
        ("www.site.example", "assets.example", False),
        ("www.site.example", "img.example.net", True),
        ("www.site.example", "live.example.net", True),
        ("www.site.example", "example.net", False),
    ],
)
def test_the_sites_own_hosts_are_no_strangers(asked: str, host: str, own: bool) -> None:
    """The host itself, its relatives under one registrable domain, and what the settings name; nobody else."""
    look = watch(asked)
    page = f"<script src='https://{host}/x.js'></script>"
    assert (gated(page, look) == page) is own
    assert bool(look.seen) is not own


def test_an_address_and_a_suffix_have_no_relatives() -> None:
    """Two machines of one network, or two customers of one host, are not one site."""
    for host in ("10.0.0.1", "1.0x7f", "[::1]", "localhost", "co.uk", "github.io", "", ".", "a..b", "münchen.example"):
        assert registrable(host) == "", host
    assert registrable("www.council.gov.uk") == "council.gov.uk"
    assert registrable("a.b.unheard-of-suffix") == "b.unheard-of-suffix"


def test_what_the_catalogue_knows_is_no_stranger() -> None:
    """Granted services load; those that need no question load although the site didn't list them."""
    catalogue = Catalogue.load(only=["youtube"])
    look = Unknown(catalogue, DEFAULT).watch("www.site.example")
    assert look is not None
    page = "<iframe src=https://www.youtube.com/embed/a></iframe><script src=https://js.stripe.com/v3/></script>"
    assert catalogue.service_for_url("js.stripe.com") is None
    assert gated(page, look, Rules(catalogue, frozenset())) == page
    assert look.seen == {}


def test_a_path_of_a_known_host_that_no_service_has_is_unknown() -> None:
    look = watch()
    assert MARK in gated("<iframe src=https://www.facebook.com/plugins/like.php></iframe>", look)
    assert look.seen == {("frame", "www.facebook.com"): "withhold"}


def test_a_denied_service_is_denied_by_its_own_name() -> None:
    look = watch()
    page = gated("<script src=https://connect.facebook.net/x.js></script>", look, RULES)
    assert "data-consentmw-service=meta_pixel" in page
    assert look.seen == {}


def test_what_is_switched_on_with_a_service_brings_no_stranger_along() -> None:
    """The page's script switches on an element by its service: one with a stranger in it must not be among them."""
    page = f"<video src=https://www.youtube.com/v poster={U}></video>"
    out = gated(page, watch(words=all_as("withhold")), RULES)
    assert MARK in out
    assert "data-consentmw-src=" in out
    assert "data-consentmw-poster=" in out


def test_with_a_base_of_another_host_no_relative_address_leads_there() -> None:
    """A base of a stranger would take every relative script along; without it they come from the site itself."""
    page = f"<base href=https:{U}/><script src=app.js></script>"
    look = watch()
    assert f"<base {MARK} data-consentmw-href=" in gated(page, look)
    assert [host for _, host in look.seen] == ["widgets.example-badges.net"]
    for own in ("https://www.site.example/", "https://cdn.example.net/", "/folder/", "folder/"):
        page = f"<base href={own}><script src=app.js></script>"
        assert gated(page, watch()) == page


def test_a_withheld_frame_of_a_stranger_gets_no_placeholder() -> None:
    """There is nothing that a visitor could allow."""
    out = gated(f"<iframe src={U}></iframe>", watch(), RULES, frame=b"/privacy/held/")
    assert " src=" not in out.replace("data-consentmw-src", "")


@pytest.mark.parametrize("word", ["report", "allow"])
def test_without_withholding_no_byte_changes(word: str) -> None:
    """Not even where markup can't be judged: too long, too deep, cut off."""
    page = f"<img src={U}" + "<img x=" * 40 + ">" + f"<img alt='{'x' * 70_000}' src={U}>" + "<a ping=" * 40 + U
    words = {**all_as("allow"), "script": word, "frame": "report"}
    assert gated(page, watch(words=words)) == page


def test_when_everything_is_allowed_nobody_looks() -> None:
    assert Unknown(CATALOGUE, all_as("allow")).watch("www.site.example") is None


def test_a_page_can_name_no_end_of_hosts() -> None:
    """What is noted is bounded; what is withheld is not."""
    look = watch()
    page = gated("".join(f"<script src=//h{n}.example-badges.net/></script>" for n in range(1000)), look)
    assert page.count(MARK) == 1000
    assert len(look.seen) == 100


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a.jpg 1x,//b/c 2x", ["a.jpg", "//b/c"]),
        ("//a/b,c 2x", ["//a/b,c"]),
        (" , //a, ,//b ", ["//a", "//b"]),
        ("data:image/png;base64,//8A 1x, /b 2x", ["data:image/png;base64,//8A", "/b"]),
        ("//a (1,//no) 2x, //b", ["//a", "//b"]),
        ("//a&#44; //b", ["//a", "//b"]),
        ("", []),
    ],
)
def test_a_srcset_is_read_as_browsers_do(value: str, found: list[str]) -> None:
    assert [one.decode() for one in addresses(b"srcset", value.encode())] == found


@given(st.lists(st.sampled_from([*PIECES, f'src="{U}"', f"href={U}", "<script ", "<link rel=preload as=script "])))
def test_soup_is_edited_the_same_in_any_chunks(pieces: list[str]) -> None:
    """Broken markup with strangers in it: no error, and the same bytes however they arrive."""
    page = "".join(pieces).encode()
    whole, split = HtmlGate(RULES, watch()), HtmlGate(RULES, watch())
    expected = whole.feed(page) + whole.close()
    assert b"".join([*(split.feed(page[at : at + 7]) for at in range(0, len(page), 7)), split.close()]) == expected


def test_soup_leaks_nothing_denied_with_strangers_around() -> None:
    """The edits for strangers must not undo those for services."""
    pieces = random.Random(20)
    for _ in range(400):
        page = soup(pieces).replace("/own.js", U)
        assert leaks(gated(page, watch(), RULES)) == []


@given(st.text(max_size=60), st.sampled_from(["www.site.example", "10.0.0.1", "[::1]", ""]))
def test_hostile_addresses_and_hosts_raise_nothing(text: str, host: str) -> None:
    for asked, named in product((host, text), (text, "//" + text, "https://" + text)):
        watch(asked).withheld(EVERY, named.encode("utf-8", "replace"))


# -- Link headers --------------------------------------------------------------------------------


def test_link_headers_load_nothing_from_strangers() -> None:
    look = watch()
    kept = b"<//widgets.example-badges.net/a.css>; rel=preload; as=style"
    link = b"<https:" + U.encode() + b'>; rel="preload"; as=script, ' + kept + b", <" + U.encode() + b">; rel=next"
    headers, changed = filter_links([(b"link", link)], NOTHING_DENIED, look)
    assert changed
    assert headers == [(b"link", kept + b", <" + U.encode() + b">; rel=next")]
    assert look.seen == {
        ("script", "widgets.example-badges.net"): "withhold",
        ("style", "widgets.example-badges.net"): "allow",
    }
    assert filter_links([(b"link", b"garbage, " + U.encode())], NOTHING_DENIED, watch()) == ([], True)


# -- through the middleware ----------------------------------------------------------------------

BADGES = (
    f"<!doctype html><title>t</title><script src='https:{U}'></script><script src='https:{U}2'></script>"
    f"<img src=https:{U}.png><img width=1 src='https://pixel.example-beacons.com/p'>"
).encode()


async def counters(site: ConsentMiddleware) -> list[dict[str, Any]]:
    assert site.recorder.flush(5)
    return sorted((row for row in site.recorder.store.counts() if row["kind"] == "unknown"), key=lambda r: r["why"])


@pytest.mark.parametrize("granted", [(), ("analytics",), ("analytics", "advertising", "media", "preferences")])
async def test_in_every_consent_state_strangers_are_withheld_and_counted_once_a_page(granted: tuple[str, ...]) -> None:
    site = mounted(App(*html(BADGES)))
    who = [("cookie", choice_cookie(site, *granted))] if granted else []
    agent = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 Safari/537.36")
    sent = await run(site, http_scope("/account/4417220913/bill?secret=1", headers=[*who, agent]))
    page = body(sent).decode()
    assert page.count(MARK) == 3
    rows = await counters(site)
    assert [row["why"] for row in rows] == [
        "image widgets.example-badges.net allowed",
        "pixel pixel.example-beacons.com withheld",
        "script widgets.example-badges.net withheld",
    ]
    assert {(row["route"], row["status"], row["count"], row["tier"]) for row in rows} == {
        ("/account/{x}/bill", "2xx", 1, "count")
    }
    await site.site.close()


async def test_the_host_application_sees_what_was_withheld() -> None:
    app = App(*html(BADGES))
    site = mounted(app)
    await run(site, http_scope())
    consent: Consent = app.scope["consent"]
    assert [(w.service, w.tag, w.host) for w in consent.withheld] == [
        ("unknown", "script", "widgets.example-badges.net"),
        ("unknown", "script", "widgets.example-badges.net"),
        ("unknown", "img", "pixel.example-beacons.com"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"own_hosts": ("*.example-badges.net", "pixel.example-beacons.com")},
        {"unknown": "allow"},
        {
            "services": {
                "badges": {"purposes": ["necessary"], "hosts": ["*.example-badges.net", "pixel.example-beacons.com"]}
            }
        },
    ],
    ids=["own hosts", "allowed", "a service"],
)
async def test_naming_a_host_ends_it(options: dict[str, Any]) -> None:
    """By naming it as the site's own or as a service, or by allowing all: the page's own tags are as they were."""
    site = mounted(App(*html(BADGES)), **options)
    assert MARK not in body(await run(site, http_scope())).decode()
    assert await counters(site) == []


async def test_a_report_lets_it_through_and_counts() -> None:
    site = mounted(App(*html(BADGES)), unknown="report")
    assert MARK not in body(await run(site, http_scope())).decode()
    assert [row["why"].split()[2] for row in await counters(site)] == ["reported"] * 3


async def test_who_records_nothing_counts_nothing() -> None:
    site = mounted(App(*html(BADGES)), record="none")
    assert MARK in body(await run(site, http_scope())).decode()
    assert await counters(site) == []


async def test_when_deciding_fails_strangers_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    site = mounted(App(*html(BADGES)))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(site.site, "decide_with", broken)
    assert body(await run(site, http_scope())).decode().count(MARK) == 3


async def test_headers_are_judged_with_nothing_denied_too() -> None:
    page = html(b"<!doctype html>", headers=[("link", f"<{U}>; rel=preload; as=script")])
    site = mounted(App(*page))
    everything = [("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    assert values(await run(site, http_scope(headers=everything)), "link") == []


async def test_an_answer_without_a_type_is_judged_with_nothing_denied_too() -> None:
    start, *rest = html(BADGES)
    site = mounted(App({**start, "headers": []}, *rest))
    everything = [("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    assert MARK in body(await run(site, http_scope(headers=everything))).decode()


def page_count(route: str = "/", hour: int = 3600) -> Count:
    return Count(hour, "page", route, "2xx", "", "spring", "visit", "")


def test_an_hour_has_room_for_so_many_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever pages name: counters and log lines are bounded, and the next hour begins anew."""
    met = Met()
    with caplog.at_level(logging.INFO, logger="consentmw"):
        for n in range(600):
            (count,) = met.counters(page_count(f"/{n}"), {("script", "a.example"): "withhold"})
            assert count.why == ("script a.example withheld" if n < 500 else OTHER)
            assert count.route == (f"/{n}" if n < 500 else OTHER)
            assert (count.tier, count.campaign) == ("count", "")
        assert len(caplog.records) == 500
        list(met.counters(page_count("/0"), {("script", "a.example"): "withhold"}))
        assert len(caplog.records) == 500
        (count,) = met.counters(page_count("/0", 7200), {("script", "a.example"): "withhold"})
        assert count.why == "script a.example withheld"
    assert len(caplog.records) == 501


@pytest.mark.parametrize("host", ["x" * 101, "münchen.example", "a b", "a\nb", "[::1", ""])
def test_a_counter_holds_no_odd_host(host: str) -> None:
    (count,) = Met().counters(page_count(), {("script", host): "report"})
    assert count.why == f"script {OTHER} reported"


# -- forms ---------------------------------------------------------------------------------------

FORM = "https://demo.us1.list-manage.com/subscribe/post"


def parsed(page: str) -> dict[str, str]:
    """The attributes of the page's last form, as a browser reads them: of two of one name the first counts."""
    return dict(html5lib.parse(page, namespaceHTMLElements=False).findall(".//form")[-1].attrib)


async def test_a_form_of_a_denied_service_sends_nothing_there() -> None:
    page = f"<!doctype html><body><form action='{FORM}' method=get target=_blank><input name=EMAIL></form>"
    site = mounted(App(*html(page.encode())), services_used=["mailchimp"])
    attributes = parsed(body(await run(site, http_scope("/news"))).decode())
    assert attributes["action"].startswith("/privacy/form/")
    assert attributes["action"].endswith("/mailchimp")
    assert (attributes["method"], attributes["target"]) == ("post", "_self")
    restored = {name: attributes[f"data-consentmw-{name}"] for name in ("action", "method", "target")}
    assert restored == {"action": FORM, "method": "get", "target": "_blank"}
    assert attributes["data-consentmw-service"] == "mailchimp"
    await site.site.close()


def test_what_a_form_did_not_say_is_said_for_later() -> None:
    """Switched on again it is sent as it would have been: by GET, into its own window."""
    rules = Rules(Catalogue.load(), frozenset({"mailchimp"}))
    gate = HtmlGate(rules, form=b"/privacy/form/")
    attributes = parsed((gate.feed(f"<form action={FORM}>".encode()) + gate.close()).decode())
    assert attributes["data-consentmw-method"] == "get"
    assert attributes["data-consentmw-target"] == "_self"
    assert attributes["action"] == "/privacy/form/mailchimp"


def test_without_a_page_of_ours_a_form_comes_back_to_its_own() -> None:
    gate = HtmlGate(Rules(Catalogue.load(), frozenset({"mailchimp"})), form=b"/a b/")
    attributes = parsed((gate.feed(f"<form action={FORM}>".encode()) + gate.close()).decode())
    assert "action" not in attributes
    assert attributes["data-consentmw-action"] == FORM


def test_a_form_to_a_stranger_is_withheld_where_the_operator_says_so() -> None:
    look = watch(words={**DEFAULT, "form": "withhold"})
    attributes = parsed(gated(f"<form action={U}>", look, form=b"/privacy/form/"))
    assert attributes["action"] == "/privacy/form/unknown"
    assert gated(f"<form action={U}>", watch()) == f"<form action={U}>"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("key", "says"),
    [("mailchimp", "Intuit"), ("meta_pixel", "another company"), ("unknown", "another company"), ("x", "another")],
)
async def test_the_page_a_form_leads_to_says_that_nothing_was_sent(method: str, key: str, says: str) -> None:
    """For services that visitors can be asked about, for others, and for strangers; never kept, never counted."""
    site = mounted(App(), services_used=["mailchimp"])
    asked = http_scope(f"/privacy/form/{key}", method)

    async def receive() -> Any:
        raise AssertionError("what was typed is read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await site(asked, receive, send)
    assert sent[0]["status"] == 200
    assert (b"cache-control", b"private, no-store") in sent[0]["headers"]
    page = body(sent).decode()
    assert "Nothing was sent" in page
    assert says in page
    assert site.recorder.waiting == 0
    await site.site.close()


async def test_that_page_leads_back_and_takes_no_other_method() -> None:
    site = mounted(App(*html(f"<!doctype html><body><form action='{FORM}'>".encode())), services_used=["mailchimp"])
    action = parsed(body(await run(site, http_scope("/news?a=1"))).decode())["action"]
    page = body(await run(site, http_scope(action, "POST"))).decode()
    assert 'href="/news?a=1"' in page
    assert (await run(site, http_scope(action, "PUT")))[0]["status"] == 405
    allowed = [("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    assert "allowed now" in body(await run(site, http_scope(action, "POST", allowed))).decode()
    await site.site.close()


# -- lazy loaders --------------------------------------------------------------------------------


def test_a_lazy_frame_gets_its_placeholder_and_loses_it_when_switched_on() -> None:
    """The page's script copies every attribute back: then the placeholder's address has to give way."""
    page = "<iframe data-src=https://www.youtube.com/embed/a src=about:blank></iframe>"
    gate = HtmlGate(RULES, frame=b"/privacy/held/")
    out = (gate.feed(page.encode()) + gate.close()).decode()
    assert " src=/privacy/held/youtube data-consentmw-src=about:blank data-consentmw-data-src=" in out
