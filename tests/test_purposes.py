"""Every shipped service is recognised by its own documented snippet and by nothing else's; a catalogue that
contradicts itself is refused at start, by the name of the field."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest

from consentmw.errors import CatalogueError
from consentmw.gate.html import HtmlGate, Rules
from consentmw.purposes import KINDS, Catalogue, Purpose, Service

ROOT = Path(__file__).parent.parent
FILE: dict[str, Any] = tomllib.loads((ROOT / "consentmw" / "data" / "services.toml").read_text("utf-8"))
PASTED: dict[str, list[str]] = tomllib.loads((ROOT / "tests" / "data" / "snippets.toml").read_text("utf-8"))

SHIPPED = Catalogue.load()
#: with those that need no question, as on a site that lists every single one
EVERY = Catalogue.load(only=FILE["services"])

#: for the services found on most sites: addresses the browser loads, and inline code in many forms
GTAG = "window.dataLayer = window.dataLayer || []; function gtag(){dataLayer.push(arguments);} gtag('js', new Date());"
SNIPPETS: dict[str, tuple[list[str], list[str]]] = {
    "google_analytics": (
        [
            "www.googletagmanager.com/gtag/js",
            "region1.google-analytics.com/g/collect",
            "www.google-analytics.com/ga.js",
        ],
        [
            GTAG + " gtag('config', 'G-ABC123');",
            'gtag("event","pay_bill",{value:1})',
            "ga('create', 'UA-1-1', 'auto');",
        ],
    ),
    "google_tag_manager": (
        ["www.googletagmanager.com/gtm.js", "www.googletagmanager.com/ns.html", "www.googletagmanager.com/debug/x"],
        [
            "(function(w,d,s,l,i){w[l]=w[l]||[];w[l].push({'gtm.start':new Date().getTime(),event:'gtm.js'});"
            "var f=d.getElementsByTagName(s)[0],j=d.createElement(s);j.async=true;j.src="
            "'https://www.googletagmanager.com/gtm.js?id='+i;f.parentNode.insertBefore(j,f);"
            "})(window,document,'script','dataLayer','GTM-ABC123');"
        ],
    ),
    "google_ads": (
        [
            "www.googleadservices.com/pagead/conversion.js",
            "googleads.g.doubleclick.net/pagead/viewthroughconversion/1/",
            "stats.g.doubleclick.net/dc.js",
            "www.google.com/pagead/1p-user-list/1/",
            "www.google.com/ccm/collect",
            "pagead2.googlesyndication.com/pagead/js/adsbygoogle.js",
        ],
        [
            "var google_conversion_id = 123456789;",
            "var target = 'AW-123456789/abc';",
            "function gtag_report_conversion(url){}",
        ],
    ),
    "meta_pixel": (
        ["connect.facebook.net/en_US/fbevents.js", "www.facebook.com/tr"],
        [
            "!function(f,b,e,v,n,t,s){if(f.fbq)return;n=f.fbq=function(){n.callMethod?n.callMethod.apply(n,arguments):"
            "n.queue.push(arguments)};t=b.createElement(e);t.async=!0;t.src=v;s=b.getElementsByTagName(e)[0];"
            "s.parentNode.insertBefore(t,s)}(window,document,'script','https://connect.facebook.net/en_US/fbevents.js');",
            "fbq('init', '1234567890');",
            'fbq("track","PageView")',
        ],
    ),
    "youtube": (
        [
            "www.youtube.com/embed/abc",
            "www.youtube-nocookie.com/embed/abc",
            "i.ytimg.com/vi/abc/hq.jpg",
            "youtu.be/abc",
        ],
        [
            "var tag = document.createElement('script'); tag.src = 'https://www.youtube.com/iframe_api';",
            "new YT.Player('p')",
        ],
    ),
    "vimeo": (
        ["player.vimeo.com/video/1", "f.vimeocdn.com/p/player.js", "vimeo.com/api/oembed.json"],
        ["var player = new Vimeo.Player('made-in-iowa');"],
    ),
    "google_maps": (
        [
            "www.google.com/maps/embed",
            "maps.googleapis.com/maps/api/js",
            "maps.gstatic.com/x.png",
            "maps.google.com/maps",
        ],
        [
            "const map = new google.maps.Map(document.getElementById('map'), {zoom: 4});",
            '(g=>{var h,a,k,p="The Google Maps JavaScript API",c="google";a.src=`https://maps.${c}apis.com/maps/api/js?`+e;})',
        ],
    ),
    "microsoft_clarity": (
        ["www.clarity.ms/tag/abc", "k.clarity.ms/collect", "c.bing.com/c.gif"],
        [
            "(function(c,l,a,r,i,t,y){c[a]=c[a]||function(){(c[a].q=c[a].q||[]).push(arguments)};t=l.createElement(r);"
            't.async=1;t.src="https://www.clarity.ms/tag/"+i;y=l.getElementsByTagName(r)[0];y.parentNode.insertBefore(t,y);'
            '})(window, document, "clarity", "script", "abcdefghij");',
            'window.clarity("set", "plan", "x");',
        ],
    ),
    "hotjar": (
        [
            "static.hotjar.com/c/hotjar-1.js",
            "script.hotjar.com/modules.js",
            "ws1.hotjar.io/x",
            "t.contentsquare.net/uxa/a.js",
        ],
        [
            "(function(h,o,t,j,a,r){h.hj=h.hj||function(){(h.hj.q=h.hj.q||[]).push(arguments)};"
            "h._hjSettings={hjid:1234567,hjsv:6};a=o.getElementsByTagName('head')[0];r=o.createElement('script');r.async=1;"
            "r.src=t+h._hjSettings.hjid+j+h._hjSettings.hjsv;a.appendChild(r);"
            "})(window,document,'https://static.hotjar.com/c/hotjar-','.js?sv=');",
            "hj('event', 'paid');",
        ],
    ),
    "linkedin_insight": (
        ["snap.licdn.com/li.lms-analytics/insight.min.js", "px.ads.linkedin.com/collect/", "px4.ads.linkedin.com/x"],
        [
            '_linkedin_partner_id = "123456";'
            "window._linkedin_data_partner_ids = window._linkedin_data_partner_ids || [];",
            "(function(l){if(!l){window.lintrk=function(a,b){window.lintrk.q.push([a,b])};window.lintrk.q=[]}"
            'b.src="https://snap.licdn.com/li.lms-analytics/insight.min.js";})(window.lintrk);',
            "window.lintrk('track', { conversion_id: 1 });",
        ],
    ),
}
GOOGLE = {"google_analytics", "google_tag_manager", "google_ads", "google_ad_manager"}

#: every shipped service by what it is for
SERVED = {
    ("analytics",): """
        adobe_analytics akamai_mpulse amplitude application_insights bugsnag chartbeat cloudflare_analytics
        crazy_egg datadog_rum digital_analytics_program dynatrace fathom foresee fullstory google_analytics
        heap hotjar jetpack_stats logrocket lucky_orange matomo medallia microsoft_clarity mixpanel monsido
        mouseflow new_relic optimizely parsely piwik_pro plausible posthog qualtrics quantum_metric rollbar
        sentry simple_analytics siteimprove surveymonkey vwo
    """,
    ("analytics", "advertising"): """
        adobe_tags adobe_target comscore google_tag_manager hubspot quantcast segment tealium
    """,
    ("advertising",): """
        activecampaign adobe_audience_manager adroll amazon_ads constant_contact criteo eloqua
        google_ad_manager google_ads klaviyo linkedin_insight mailchimp marketo meta_pixel microsoft_ads
        outbrain pardot pinterest_tag reddit_pixel sharethis simplifi snap_pixel stackadapt taboola
        tiktok_pixel trade_desk x_ads
    """,
    ("media",): """
        addtoany arcgis bing_maps brightcove crisp datacapable drift facebook_plugins freshchat genesys
        google_calendar google_forms google_maps google_translate govdelivery granicus_video gtranslate
        here_maps instagram intercom jotform jw_player kaltura kubra_storm_center linkedin_plugins livechat
        liveperson mapbox maptiler microsoft_forms olark openstreetmap pinterest_widgets power_bi
        salesforce_chat soundcloud spotify tableau tawk tidio tiktok_embeds touchpoints typeform vimeo weglot
        wistia x_embeds youtube zendesk
    """,
    ("media", "advertising"): """
        disqus
    """,
    ("necessary",): """
        accessibe adobe_fonts audioeye authorize_net bootstrap_cdn braintree cdnjs font_awesome google_fonts
        google_hosted_libraries google_sign_in hcaptcha invoice_cloud jquery_cdn jsdelivr kubra_billing
        microsoft_ajax_cdn monotype_fonts paymentus paypal recaptcha smarthub speedpay square stripe turnstile
        unpkg userway
    """,
}

URLS = [(key, url) for key, (urls, _) in SNIPPETS.items() for url in urls]
CODES = [(key, code) for key, (_, codes) in SNIPPETS.items() for code in codes]


# -- snippets as they are pasted ------------------------------------------------------------------


def rewritten(html: str, catalogue: Catalogue, denied: frozenset[str]) -> tuple[str, set[str]]:
    """The page after the gate, and the services that something was withheld of."""
    gate = HtmlGate(Rules(catalogue, denied))
    out = gate.feed(html.encode()) + gate.close()
    return out.decode(), {withheld.service for withheld in gate.withheld}


def alive(html: str) -> Iterator[str]:
    """What a browser would still load or run, with scripting on and off; links only lead somewhere."""
    for scripting in (True, False):
        for element in html5lib.parse(html, scripting=scripting, namespaceHTMLElements=False).iter():
            inert = element.get("type") == "text/plain"
            if element.tag in ("script", "style") and not inert and "".join(element.itertext()).strip():
                yield f"{element.tag}: {''.join(element.itertext())}"
            if element.tag != "a":
                yield from (
                    f"{element.tag} {name}" for name in ("src", "href", "srcset") if "//" in element.get(name, "")
                )


def test_the_catalogue_is_as_large_as_promised_and_every_service_has_its_snippet() -> None:
    assert len(FILE["services"]) >= 80
    assert set(PASTED) == set(EVERY.services) == set(FILE["services"])
    assert all(PASTED.values())


@pytest.mark.parametrize(("key", "html"), [(key, html) for key, snippets in PASTED.items() for html in snippets])
def test_a_pasted_snippet_is_withheld_as_its_own_service_and_no_other(key: str, html: str) -> None:
    everything = frozenset(EVERY.services)
    assert list(alive(html)), "the snippet itself does something"
    out, services = rewritten(html, EVERY, everything)
    assert list(alive(out)) == []
    assert services == {key}
    # Denied all the others, it stays as it was, so none of them claims it.
    assert rewritten(html, EVERY, everything - {key}) == (html, set())


def test_what_is_granted_stays_byte_for_byte() -> None:
    for html in (html for snippets in PASTED.values() for html in snippets):
        assert rewritten(html, EVERY, frozenset()) == (html, set())


@pytest.mark.parametrize("key", [key for key, service in EVERY.services.items() if service.purposes == ("necessary",)])
def test_what_needs_no_question_runs_on_a_site_that_does_not_list_it(key: str) -> None:
    """A forgotten captcha or font must not break a page; listed, it stands in the notice."""
    site = Catalogue.load(only=["youtube"])
    for html in PASTED[key]:
        assert rewritten(html, site, frozenset(site.services)) == (html, set())
    for cookie in EVERY.services[key].cookies:
        assert site.service_for_cookie(cookie) is None
    assert Catalogue.load(only=[key]).services[key].disclosed


def test_a_site_may_ask_about_what_is_shipped_as_needed() -> None:
    """As courts in Germany want it for fonts from Google's servers."""
    site = Catalogue.load(services={"google_fonts": {"purposes": ["media"]}}, only=())
    assert [service.key for service in site.disclosed] == ["google_fonts"]
    html = PASTED["google_fonts"][1]
    assert rewritten(html, site, frozenset(site.services))[1] == {"google_fonts"}


@pytest.mark.parametrize(
    ("key", "pattern"), [(key, name) for key, service in EVERY.services.items() for name in service.cookies]
)
def test_every_cookie_belongs_to_the_service_that_names_it(key: str, pattern: str) -> None:
    for part in ("7", "0a1b2c", "x.y-z"):
        name = pattern.replace("[0-9]", "4").replace("*", part).replace("?", "q")
        owner = EVERY.service_for_cookie(name)
        assert owner is not None
        assert owner.key == key


@pytest.mark.parametrize(("key", "url"), URLS)
def test_each_address_belongs_to_one_service(key: str, url: str) -> None:
    """And it is the marks of that service that find it: without it, nobody else claims the address."""
    host, _, path = url.partition("/")
    found = SHIPPED.service_for_url(host, f"/{path}")
    assert found is not None
    assert found.key == key
    others = Catalogue(SHIPPED.purposes, {k: s for k, s in SHIPPED.services.items() if k != key})
    rest = others.service_for_url(host, f"/{path}")
    # Tag Manager owns the rest of a host on which Analytics has a folder; nothing else overlaps.
    assert rest is None or (key, rest.key) == ("google_analytics", "google_tag_manager")


def owners(catalogue: Catalogue, code: str) -> list[str]:
    """The services without which this inline code may not run."""
    return [key for key in catalogue.services if Rules(catalogue, frozenset({key})).code(code.encode())]


@pytest.mark.parametrize(("key", "code"), CODES)
def test_each_snippet_belongs_to_one_service(key: str, code: str) -> None:
    assert owners(SHIPPED, code) == [key]


def test_one_script_for_two_products_belongs_to_both() -> None:
    """It may run only when both may: an Ads id in the Analytics snippet sends to Ads."""
    code = GTAG + "gtag('config', 'G-ABC123'); gtag('config', 'AW-123456789');"
    assert owners(SHIPPED, code) == ["google_analytics", "google_ads"]


@pytest.mark.parametrize(
    "url",
    [
        "www.example.com/gtag/js",
        "www.google.com/search",
        "www.google.com/recaptchas",
        "docs.google.com/document/d/1",
        "www.bing.com/search",
        "www.facebook.com/city",
        "t.co/abc",
        "www.tiktok.com/@city",
        "sc-static.net/other.js",
        "www.redditstatic.com/desktop2x/x.js",
        "accounts.google.com/signin",
        "notkubra.io/stormcenter",
        "www.linkedin.com/company/x",
        "media.licdn.com/dms/image/x",
        "notyoutube.com/embed/x",
        "youtube.com.evil.example/embed/x",
        "com/",
        "/",
    ],
)
def test_what_only_looks_alike_belongs_to_nobody(url: str) -> None:
    host, _, path = url.partition("/")
    assert EVERY.service_for_url(host, f"/{path}") is None


@pytest.mark.parametrize(
    "code",
    [
        "",
        "var target = 'widget';",
        "dataLayer = []",
        '{"@context":"https://schema.org"}',
        "var utilities_account = 1; customers_account = 2; readGas4(3);",
        "minheap.push(1); spectrum.show(); const map = new Map(); form.render('#box');",
    ],
)
def test_other_code_belongs_to_nobody(code: str) -> None:
    assert owners(EVERY, code) == []


@pytest.mark.parametrize(
    ("cookie", "key"),
    [
        ("_ga", "google_analytics"),
        ("_ga_ABC123", "google_analytics"),
        ("_gid", "google_analytics"),
        ("_gat_gtag_UA_1_1", "google_analytics"),
        ("__utmz", "google_analytics"),
        ("FPID", "google_analytics"),
        ("_gcl_au", "google_ads"),
        ("_gac_UA-1-1", "google_ads"),
        ("_fbp", "meta_pixel"),
        ("_clck", "microsoft_clarity"),
        ("_hjSessionUser_1", "hotjar"),
        ("li_fat_id", "linkedin_insight"),
        ("AMP_TOKEN", "google_analytics"),
        ("AMP_0123456789", "amplitude"),
        ("lpv1000", "pardot"),
        ("lpvalue", None),
        ("amp_consent", None),
        ("_gax", None),
        ("_GA", None),
        ("x_ga", None),
        ("session", None),
        ("privacy", None),
        ("", None),
    ],
)
def test_cookies_are_told_by_their_whole_name(cookie: str, key: str | None) -> None:
    found = SHIPPED.service_for_cookie(cookie)
    assert (found and found.key) == key


@pytest.mark.parametrize("service", EVERY.services.values(), ids=lambda service: service.key)
def test_every_shipped_service_can_be_explained_to_a_visitor(service: Service) -> None:
    assert service.name
    assert service.provider
    assert service.retention_days > 0 or not service.cookies
    for url in (service.privacy_url, service.opt_out_url):
        assert not url or re.fullmatch(r"https://[a-z.-]+/[\w/.-]*", url)
    assert service.privacy_url
    signals = {"analytics_storage", "ad_storage", "ad_user_data", "ad_personalization"}
    assert set(service.google) <= signals
    assert bool(service.google) is (service.key in GOOGLE)


def test_what_each_service_is_for() -> None:
    """The line between measuring and advertising is a promise to visitors: nobody moves it by accident."""
    served: dict[tuple[str, ...], set[str]] = {}
    for service in EVERY.services.values():
        served.setdefault(service.purposes, set()).add(service.key)
    assert served == {purposes: set(keys.split()) for purposes, keys in SERVED.items()}


def test_only_necessary_purposes_cannot_be_refused() -> None:
    assert {p.kind for p in SHIPPED.purposes.values() if not p.optional} == {"necessary"}
    assert {p.kind for p in SHIPPED.purposes.values()} <= set(KINDS)


# -- a site's own catalogue ----------------------------------------------------------------------

OWN: dict[str, Any] = {"purposes": ["analytics"], "hosts": ["stats.example.net"]}


def test_only_what_a_site_uses_is_asked_about() -> None:
    """A generator will do, and what no service serves is left out of the question."""
    small = Catalogue.load(only=(key for key in ("youtube", "google_analytics")))
    assert [service.key for service in small.disclosed] == ["google_analytics", "youtube"]
    assert list(small.purposes) == ["necessary", "media", "analytics", "email_measurement"]
    other = small.service_for_url("connect.facebook.net", "/x")
    assert other is not None, "what visitors were not told about is recognised all the same"
    assert not other.disclosed


def test_a_site_adds_a_service_and_a_purpose() -> None:
    chat = {"kind": "preferences", "title": "Chat", "text": "Talk to us."}
    service = {**OWN, "purposes": ["chat"], "inline": ["startChat("], "cookies": ["chat_*"]}
    mine = Catalogue.load(purposes={"chat": chat}, services={"chatty": service}, only=())
    assert [service.key for service in mine.disclosed] == ["chatty"]
    assert mine.purposes["chat"] == Purpose("chat", "preferences", "Chat", "Talk to us.")
    assert mine.service_for_url("stats.example.net") == mine.services["chatty"]
    assert mine.services["chatty"].name == mine.services["chatty"].provider == "chatty"


def test_a_site_changes_single_fields_of_what_is_shipped() -> None:
    changed = Catalogue.load(
        services={"youtube": {"retention_days": 30}}, purposes={"media": {"title": "Films"}}, only=["vimeo"]
    )
    assert changed.services["youtube"].retention_days == 30
    assert changed.services["youtube"].hosts == SHIPPED.services["youtube"].hosts
    assert changed.purposes["media"].title == "Films"
    assert changed.purposes["media"].text == SHIPPED.purposes["media"].text


def test_a_site_takes_over_the_address_of_a_service_it_does_not_use() -> None:
    services = {"films": {"purposes": ["media"], "hosts": ["*.vimeo.com"], "cookies": ["_hj*"]}}
    mine = Catalogue.load(services=services, only=())
    found = mine.service_for_url("player.vimeo.com", "/video/1")
    assert found is mine.services["films"]
    assert mine.service_for_cookie("_hjid") is mine.services["films"]
    with pytest.raises(CatalogueError, match=r"vimeo\.com"):
        Catalogue.load(services=services, only=["vimeo"])


def test_the_nearest_cookie_pattern_wins() -> None:
    services = {
        "wide": {**OWN, "cookies": ["a*"]},
        "near": {**OWN, "hosts": ["b.example.net"], "cookies": ["ab*", "x*y"]},
        "whole": {**OWN, "hosts": ["c.example.net"], "cookies": ["abc"]},
    }
    mine = Catalogue.load(services=services, only=())
    names = ["a", "ax", "ab", "abx", "abc", "abcd", "xy", "x1y", "x1", "", "b"]
    found = [service.key if (service := mine.service_for_cookie(name)) else None for name in names]
    assert found == ["wide", "wide", "near", "near", "whole", "near", "near", "near", None, None, None]


def test_a_nearer_mark_wins_over_a_wider_one() -> None:
    services = {
        "wide": {**OWN, "hosts": ["*.example.net"]},
        "host": {**OWN, "hosts": ["cdn.example.net"]},
        "path": {**OWN, "hosts": ["cdn.example.net/player/"]},
        "below": {**OWN, "hosts": ["*.cdn.example.net"]},
    }
    catalogue = Catalogue.load(services=services, only=())
    asked = [
        ("example.net", "/"),
        ("a.b.example.net", "/"),
        ("cdn.example.net", "/x"),
        ("cdn.example.net", "/player/x"),
    ]
    found = [catalogue.service_for_url(host, path) for host, path in [*asked, ("a.cdn.example.net", "/")]]
    assert [service.key if service else None for service in found] == ["wide", "wide", "host", "path", "below"]


@pytest.mark.parametrize(
    ("services", "field"),
    [
        ({"x": {"hosts": ["a.example"]}}, "services.x.purposes"),
        ({"x": {**OWN, "purposes": ["spying"]}}, "services.x.purposes"),
        ({"x": {**OWN, "purposes": "analytics"}}, "services.x.purposes"),
        ({"x": {"purposes": ["analytics"]}}, "services.x.hosts"),
        ({"x": {**OWN, "hosts": ["https://a.example"]}}, "services.x.hosts"),
        ({"x": {**OWN, "hosts": ["A.example"]}}, "services.x.hosts"),
        ({"x": {**OWN, "hosts": ["*.example.*"]}}, "services.x.hosts"),
        ({"x": {**OWN, "hosts": ["player.vimeo.com", "*.vimeo.com"]}}, "services.x.hosts"),
        ({"x": {**OWN, "inline": ["x("]}}, "services.x.inline"),
        ({"x": {**OWN, "csp": ["connect-src"]}}, "services.x.csp"),
        ({"x": {**OWN, "csp": ["connect-src *"]}}, "services.x.csp"),
        ({"x": {**OWN, "csp": ["script-src 'unsafe-inline'"]}}, "services.x.csp"),
        ({"x": {**OWN, "csp": ["img-src https://a.example; script-src *"]}}, "services.x.csp"),
        ({"x": {**OWN, "csp": ["img-src https://a.example\n"]}}, "services.x.csp"),
        ({"x": {**OWN, "csp": ["frame-ancestors https://a.example"]}}, "services.x.csp"),
        ({"x": {**OWN, "csp": "img-src https://a.example"}}, "services.x.csp"),
        ({"x": {**OWN, "retention_days": -1}}, "services.x.retention_days"),
        ({"x": {**OWN, "retention_days": True}}, "services.x.retention_days"),
        ({"x": {**OWN, "cookie": ["a"]}}, "services.x.cookie"),
        ({"X y": OWN}, "services.X y"),
        ({"x": "youtube"}, "services.x"),
    ],
)
def test_a_service_that_cannot_work_is_refused(services: dict[str, Any], field: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(services=services)
    assert caught.value.key == field


@pytest.mark.parametrize(
    ("purposes", "field"),
    [
        ({"x": {"kind": "fun", "title": "a", "text": "b"}}, "purposes.x.kind"),
        ({"x": {"kind": "analytics", "title": "a"}}, "purposes.x"),
        ({"a+b": {"kind": "analytics", "title": "a", "text": "b"}}, "purposes.a+b"),
        ({"x" * 33: {"kind": "analytics", "title": "a", "text": "b"}}, f"purposes.{'x' * 33}"),
    ],
)
def test_a_purpose_that_cannot_be_asked_about_is_refused(purposes: dict[str, Any], field: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(purposes=purposes)
    assert caught.value.key == field


def test_an_unknown_name_among_the_used_services_is_refused() -> None:
    with pytest.raises(CatalogueError, match="hotjarr"):
        Catalogue.load(only=["hotjar", "hotjarr"])


# -- the fingerprint -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"services": {"our_own": OWN}},
        {"services": {"youtube": {"retention_days": 181}}},
        {"services": {"youtube": {"purposes": ["advertising"]}}},
        {"services": {"youtube": {"provider": "Somebody else"}}},
        {"only": ["youtube"]},
        {"purposes": {"media": {"kind": "advertising"}}},
    ],
    ids=str,
)
def test_a_material_change_asks_everybody_again(change: dict[str, Any]) -> None:
    assert Catalogue.load(**change).fingerprint != SHIPPED.fingerprint


@pytest.mark.parametrize(
    "change",
    [{}, {"purposes": {"media": {"text": "Better words."}}}, {"services": {"youtube": {"cookies": ["VISITOR_*"]}}}],
)
def test_other_words_and_better_marks_ask_nobody(change: dict[str, Any]) -> None:
    assert Catalogue.load(**change).fingerprint == SHIPPED.fingerprint
