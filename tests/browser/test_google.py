"""What vendors' tags hear of a choice in a real browser, and what arrives at the vendors because of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ..mounted import mounted
from ..serving import serving
from .conftest import Visit
from .demo import Demo
from .visitor import Visitor, comes_true

pytestmark = pytest.mark.browser

GOOGLE = ("google_analytics", "google_ads", "google_tag_manager")
GPC = {"extra_http_headers": {"Sec-GPC": "1"}}

HEAD = '<!doctype html><html lang="en"><head><title>Page</title>'
REST = "</head><body><h1>Page</h1></body></html>"
GTAG = """<script async src="https://www.googletagmanager.com/gtag/js?id=G-TEST1234"></script>
<script>window.dataLayer = window.dataLayer || []; function gtag() { dataLayer.push(arguments); }
gtag("js", new Date()); gtag("config", "G-TEST1234");</script>"""
#: a bundle of the site's own that loads the tag in a way no server can see
BUNDLE = """<script>window.dataLayer = window.dataLayer || []; function track() { dataLayer.push(arguments); }
track("js", new Date()); track("config", "G-TEST1234");
addEventListener("load", () => {
  const tag = document.createElement("script"), host = "www." + ["google", "tagmanager"].join("") + ".com";
  tag.src = "https://" + host + "/gtag/" + "js?id=G-TEST1234";
  document.body.append(tag);
});</script>"""
GTM = """<script>(function(w,d,s,l,i){w[l]=w[l]||[];w[l].push({'gtm.start':new Date().getTime(),event:'gtm.js'});
var f=d.getElementsByTagName(s)[0],j=d.createElement(s);j.async=true;
j.src='https://www.googletagmanager.com/gtm.js?id='+i;f.parentNode.insertBefore(j,f);
})(window,document,'script','dataLayer','GTM-TESTHTML');</script>"""
OTHERS = """<script>(function(w,d,t,r,u){var f,n,i;w[u]=w[u]||[];n=d.createElement(t);n.src=r;n.async=1;
i=d.getElementsByTagName(t)[0];i.parentNode.insertBefore(n,i);})(window,document,"script","https://bat.bing.com/bat.js","uetq");
</script>
<script>(function(c,l,a,r,i,t,y){c[a]=c[a]||function(){(c[a].q=c[a].q||[]).push(arguments)};
t=l.createElement(r);t.async=1;t.src="https://www.clarity.ms/tag/"+i;
y=l.getElementsByTagName(r)[0];y.parentNode.insertBefore(t,y);})(window, document, "clarity", "script", "test");
</script>
<script>!function(f,b,e,v,n,t,s){if(f.fbq)return;n=f.fbq=function(){n.callMethod?
n.callMethod.apply(n,arguments):n.queue.push(arguments)};if(!f._fbq)f._fbq=n;n.push=n;n.loaded=!0;n.version='2.0';
n.queue=[];t=b.createElement(e);t.async=!0;t.src=v;s=b.getElementsByTagName(e)[0];s.parentNode.insertBefore(t,s)}
(window,document,'script','https://connect.facebook.net/en_US/fbevents.js');
fbq('init','1');window.early=[].slice.call(fbq.queue||[]).map(c=>[].slice.call(c));fbq('track','PageView');</script>"""
#: what a site's own script hears of a choice, kept over the page's end
LISTENER = """<script>document.addEventListener("consentmw", ({ detail }) => {
  const off = window["ga-disable-G-TEST1234"], said = [...dataLayer].filter((e) => e[0] === "consent").pop();
  sessionStorage.setItem("heard", JSON.stringify({ granted: detail.granted.includes("google_analytics"),
    signals: detail.signals, off, last: [said[1], said[2].analytics_storage] }));
});</script>"""
KEYS = """<script>for (const key of ["_hjSession_1", "hjViewportId", "cart", "my_hjSession"]) {
localStorage.setItem(key, "1"); sessionStorage.setItem(key, "1"); }</script>"""
STRICT = "script-src 'nonce-{0}' 'strict-dynamic'; style-src 'nonce-{0}'; require-trusted-types-for 'script'"

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a site whose pages all hold this in their head; gives its host."""
    running = ExitStack()

    def start(head: str = "", *, strict: bool = False, **options: Any) -> str:
        async def page(request: Request) -> Response:
            nonce = secrets.token_urlsafe(16)
            own = {"content-security-policy": STRICT.format(nonce)} if strict else {}
            once = KEYS if "keys" in request.url.path else ""
            return HTMLResponse(HEAD + head + once + REST, headers=own)

        routes = [Route("/favicon.ico", lambda _: Response(status_code=204)), Route("/{path:path}", page)]
        app = mounted(Starlette(routes=routes), **{"services_used": GOOGLE, **options})
        return running.enter_context(serving(app)).removeprefix("http://")

    with running:
        yield start


def hits(visitor: Visitor) -> list[tuple[str, str]]:
    """gcs and gcd of each hit at Analytics, oldest first, and that the browser says the same."""
    return [(hit["gcs"][0], hit["gcd"][0]) for hit in visitor.asked("www.google-analytics.com")[::-1]]


def layer(visitor: Visitor) -> list[list[Any]]:
    """The data layer's commands, each with its first two words."""
    found: list[list[Any]] = visitor.page.evaluate(
        "[...(window.dataLayer || [])].map(e => '0' in e ? [e[0], e[1].at ? e[1] : ''] : Object.keys(e))"
    )
    return found


def came(demo: Demo) -> set[str]:
    return {row["host"] for row in demo.received()}


# -- Basic ---------------------------------------------------------------------------------------


def test_basic_says_nothing_before_the_choice_and_everything_after(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(GTAG))
    visitor.open("/")
    assert visitor.nothing_left()
    assert layer(visitor) == [["consent", "default"], ["set", "ads_data_redaction"]]
    visitor.press("accept")
    comes_true(visitor.page, "document.cookie.includes('_ga')")
    visitor.settle()
    assert hits(visitor) == [("G111", "13r3r3r3r315")], "denied by default, then granted"
    order = layer(visitor)
    assert order.index(["consent", "default"]) < order.index(["consent", "update"]) < order.index(["js", ""])
    assert order.index(["js", ""]) < order.index(["config", "G-TEST1234"])
    visitor.forget()
    visitor.open("/next")
    assert hits(visitor) == [("G111", "13t3t3t3t3l5")], "granted by default, no update to wait for"
    assert layer(visitor)[0] == ["consent", "default"]


@pytest.mark.parametrize("mode", ["basic", "advanced"])
def test_after_a_refusal_nothing_loads(serve: Serve, visit: Visit, mode: str) -> None:
    visitor: Visitor = visit(host=serve(GTAG, google_mode=mode))
    visitor.open("/")
    visitor.press("reject")
    visitor.settle()
    visitor.forget()
    for path in ("/", "/next"):
        visitor.open(path)
    assert visitor.nothing_left()
    assert visitor.trackers() == set()


@pytest.mark.parametrize("mode", ["basic", "advanced"])
def test_under_the_signal_nothing_loads_early_and_advertising_never(serve: Serve, visit: Visit, mode: str) -> None:
    visitor: Visitor = visit(host=serve(GTAG, google_mode=mode), **GPC)
    visitor.open("/")
    assert visitor.nothing_left()
    visitor.press("accept")
    comes_true(visitor.page, "document.cookie.includes('_ga')")
    visitor.settle()
    assert hits(visitor) == [("G101", "13q3r3q3q315")]
    visitor.forget()
    visitor.open("/next")
    assert hits(visitor) == [("G101", "13p3t3p3p3l5")]


def test_a_tag_in_the_sites_own_bundle_is_switched_off(serve: Serve, visit: Visit, demo: Demo) -> None:
    """No server sees it load; but it finds that it may not send, and after the choice that it may."""
    visitor: Visitor = visit(host=serve(BUNDLE, google_analytics="G-TEST1234", google_insert=False))
    visitor.open("/")
    assert came(demo) == {"www.googletagmanager.com"}, "the tag came, otherwise this proves nothing"
    assert visitor.page.evaluate("window['ga-disable-G-TEST1234']") is True
    assert visitor.trackers() == set()
    visitor.press("accept")
    assert visitor.page.evaluate("window['ga-disable-G-TEST1234']") is False
    visitor.forget()
    visitor.open("/next")
    assert [gcs for gcs, _ in hits(visitor)] == ["G111"]


def test_tags_hear_of_a_refusal_before_their_page_ends(serve: Serve, visit: Visit) -> None:
    """What runs can't be switched off in a page, so another one is loaded; the tags are told first."""
    host = serve(GTAG + LISTENER, google_analytics="G-TEST1234", fallback_regime="opt_out")
    visitor: Visitor = visit(host=host)
    visitor.open("/")
    assert [gcs for gcs, _ in hits(visitor)] == ["G111"]
    visitor.press("reject")
    visitor.settle()
    heard = json.loads(visitor.page.evaluate("sessionStorage.getItem('heard')"))
    assert heard == {"granted": False, "signals": ["security_storage"], "off": True, "last": ["update", "denied"]}
    assert len(visitor.loaded) == 2
    assert visitor.trackers() == set()


def test_where_the_region_is_unknown_google_narrows_by_its_own(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(GTAG, fallback_regime="opt_out"))
    visitor.open("/")
    defaults = visitor.page.evaluate("[...dataLayer].filter(e => e[1] === 'default').map(e => e[2])")
    assert [("region" in said, said["ad_storage"]) for said in defaults] == [(False, "granted"), (True, "denied")]
    assert {"DE", "CA-QC"} <= set(defaults[1]["region"])
    assert "security_storage" not in defaults[1]
    visitor.press("accept")
    visitor.open("/next")
    assert len(visitor.page.evaluate("[...dataLayer].filter(e => e[1] === 'default')")) == 1


# -- Advanced ------------------------------------------------------------------------------------


def test_advanced_sends_pings_without_cookies_until_the_choice(serve: Serve, visit: Visit, demo: Demo) -> None:
    visitor: Visitor = visit(host=serve(GTAG, google_mode="advanced", google_analytics="G-TEST1234"))
    visitor.open("/")
    assert hits(visitor) == [("G100", "13p3p3p3p3l5")]
    assert visitor.trackers() == set()
    assert came(demo) == {"www.googletagmanager.com", "www.google-analytics.com"}
    visitor.page.evaluate("window.mark = 'still here'")
    visitor.press("accept")
    visitor.page.evaluate("gtag('event', 'after')")
    visitor.settle()
    assert visitor.page.evaluate("window.mark") == "still here"
    assert [gcs for gcs, _ in hits(visitor)] == ["G100", "G111"]
    assert "_ga" in visitor.cookies()


def test_refusing_ends_what_advanced_began(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(GTAG, google_mode="advanced"))
    visitor.open("/")
    visitor.page.evaluate("window.mark = 'still here'")
    visitor.forget()
    visitor.press("reject")
    visitor.settle()
    assert visitor.page.evaluate("window.mark") is None, "the page with the tag is gone"
    assert visitor.nothing_left()


# -- containers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "restrict", "other"), [("save", True, False), ("save", False, True), ("accept", True, True)]
)
def test_a_container_runs_only_what_was_allowed(
    serve: Serve, visit: Visit, demo: Demo, action: str, restrict: bool, other: bool
) -> None:
    """It holds another company's pixel, about which it asks nobody. With advertising denied it stays where it is."""
    own = {"google_tag_manager": {"purposes": ["analytics"]}}
    visitor: Visitor = visit(host=serve(GTM, services=own, google_restrict_containers=restrict))
    visitor.open("/privacy/choices")
    if action == "save":
        visitor.page.locator("label", has=visitor.page.locator("input[value=analytics]")).click()
        visitor.press("save")
    else:
        visitor.open("/")
        visitor.press("accept")
    visitor.open("/next")
    order = layer(visitor)
    assert ("px.ads.linkedin.com" in came(demo)) is other
    assert "www.google-analytics.com" in came(demo)
    assert (["gtm.blocklist"] in order) is not other
    if not other:
        assert order.index(["gtm.blocklist"]) < order.index(["gtm.start", "event"])


def test_triggers_hear_of_the_choice(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(GTM))
    visitor.open("/")
    visitor.press("accept")
    event = visitor.page.evaluate("[...dataLayer].find(e => e.event === 'consentmw')")
    assert "google_tag_manager" in event["consentmw"]["granted"]
    assert "advertising" in event["consentmw"]["purposes"]
    order = layer(visitor)
    assert (
        order.index(["consent", "update"]) < order.index(["event", "consentmw"]) < order.index(["gtm.start", "event"])
    )


# -- other vendors -------------------------------------------------------------------------------

SALE = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what we know about you."}}


def test_microsoft_and_meta_are_told_before_they_run(serve: Serve, visit: Visit, demo: Demo) -> None:
    used = ("microsoft_ads", "microsoft_clarity", "meta_pixel")
    visitor: Visitor = visit(host=serve(OTHERS, services_used=used))
    visitor.open("/")
    assert visitor.nothing_left()
    queue = visitor.page.evaluate("uetq.map(e => typeof e === 'string' ? e : e.ad_storage)")
    assert queue == ["consent", "default", "denied"]
    visitor.press("accept")
    comes_true(visitor.page, "document.cookie.includes('_fbp')")
    visitor.settle()
    assert visitor.page.evaluate("early[0]") == ["consent", "grant"], "before init"
    for _ in range(2):
        assert {hit["asc"][0] for hit in visitor.asked("bat.bing.com") if "asc" in hit} == {"G"}
        assert {hit["consent"][0] for hit in visitor.asked("k.clarity.ms")} == {"granted"}
        assert "www.facebook.com" in came(demo)
        visitor.forget()
        visitor.open("/next")


def test_meta_limits_its_use_where_nothing_may_be_sold(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(OTHERS, services_used=("meta_pixel",), purposes=SALE))
    visitor.open("/privacy/choices")
    visitor.page.locator("label", has=visitor.page.locator("input[value=advertising]")).click()
    visitor.press("save")
    visitor.open("/")
    assert visitor.page.evaluate("early") == [
        ["consent", "grant"],
        ["dataProcessingOptions", ["LDU"], 0, 0],
        ["init", "1"],
    ]
    assert [hit["dpo"] for hit in visitor.asked("www.facebook.com")] == [["LDU"]]


# -- the tag that a site has put in --------------------------------------------------------------


@pytest.mark.parametrize("strict", [False, True], ids=["no policy", "strict policy"])
def test_a_tag_that_is_put_in_runs_after_the_choice(serve: Serve, visit: Visit, strict: bool) -> None:
    visitor: Visitor = visit(host=serve(google_analytics="G-TEST1234", strict=strict))
    visitor.open("/")
    assert visitor.nothing_left()
    assert visitor.page.locator("script[data-consentmw-src]").count() == 1
    visitor.press("accept")
    comes_true(visitor.page, "document.cookie.includes('_ga')")
    visitor.settle()
    assert [gcs for gcs, _ in hits(visitor)] == ["G111"], "one page view"
    visitor.forget()
    visitor.open("/next")
    assert [gcs for gcs, _ in hits(visitor)] == ["G111"]
    assert layer(visitor).count(["config", "G-TEST1234"]) == 1
    assert visitor.unexpected() == []


def test_a_container_that_is_put_in_starts_once(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(google_tag_manager="GTM-TEST123"))
    visitor.open("/")
    visitor.press("accept")
    visitor.settle()
    assert layer(visitor).count(["gtm.start", "event"]) == 1
    assert [hit["gtm"] for hit in visitor.asked("www.google-analytics.com")] == [["GTM-TEST123"]]


def test_without_script_a_tag_that_is_put_in_does_nothing(serve: Serve, visit: Visit) -> None:
    visitor: Visitor = visit(host=serve(google_analytics="G-TEST1234"), javascript=False)
    visitor.open("/")
    visitor.press("accept")
    assert not visitor.banner.is_visible()
    assert visitor.nothing_left()


# -- keys in the browser's storage ---------------------------------------------------------------


def test_keys_go_with_the_consent_and_others_stay(serve: Serve, visit: Visit) -> None:
    left = "[...Object.keys(localStorage), ...Object.keys(sessionStorage)].sort()"
    visitor: Visitor = visit(host=serve(services_used=("hotjar",)))
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/keys")
    everything = visitor.page.evaluate(left)
    assert everything == sorted(2 * ["_hjSession_1", "hjViewportId", "cart", "my_hjSession"])
    visitor.open("/privacy/choices")
    visitor.press("withdraw")
    visitor.open("/")
    assert visitor.page.evaluate(left) == ["cart", "cart", "my_hjSession", "my_hjSession"]
    assert visitor.unexpected() == []
