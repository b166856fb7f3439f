"""The policy lists what this visitor allowed and weakens no other; its reports keep nobody's secrets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consentmw import ConsentMiddleware, Settings, SettingsError
from consentmw.consent import Consent
from consentmw.gate.csp import HostPolicy, sources, with_nonces
from consentmw.pages import Exchange
from consentmw.pages.reports import MAX_REPORT, Reports
from consentmw.purposes import Catalogue, Purpose, Service
from consentmw.visitor import Visitor

from .asgi import App, Header, body, header, headers, html, http_scope, request, response, run, status, values
from .mounted import PAGE, choice_cookie
from .mounted import mounted as plain

EVERYWHERE = ["'self'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"]
ONLY = {"services_used": ("google_maps", "hotjar", "meta_pixel")}
ENFORCED, WATCHED = "content-security-policy", "content-security-policy-report-only"
ACCOUNT = "4417220913"


async def policies(site: ConsentMiddleware, *granted: str, name: str = ENFORCED, **scope: Any) -> list[str]:
    who: list[Header] = [("cookie", choice_cookie(site, *granted))] if granted else []
    return values(await run(site, http_scope(headers=[*who, *scope.pop("headers", ())], **scope)), name)


def allowed(policy: str) -> list[str]:
    """The sources that a policy of ours lists beyond the page's own."""
    words = policy.partition(";")[0].split()
    assert words[:6] == ["default-src", *EVERYWHERE]
    return words[6:]


def mounted(app: ASGIApp, **options: Any) -> ConsentMiddleware:
    """A site that names what it uses, as one with a policy has to."""
    return plain(app, **{"services_used": ("hotjar", "meta_pixel", "youtube"), **options})


# -- the header --------------------------------------------------------------------------------------
async def test_off_sends_nothing_and_is_the_default() -> None:
    sent = await run(mounted(App(*html(PAGE))), http_scope())
    assert values(sent, ENFORCED) == values(sent, WATCHED) == values(sent, "reporting-endpoints") == []


@pytest.mark.parametrize(
    ("granted", "hosts"),
    [
        ((), set()),
        (("analytics",), {"hotjar.com", "*.hotjar.com", "hotjar.io", "*.hotjar.io", "contentsquare.net",
                          "*.contentsquare.net"}),
        (("advertising",), {"connect.facebook.net", "www.facebook.com", "facebook.com"}),
    ],
)  # fmt: skip
async def test_it_lists_the_hosts_of_what_was_allowed_and_no_others(granted: tuple[str, ...], hosts: set[str]) -> None:
    (policy,) = await policies(mounted(App(*html(PAGE)), policy="enforce", **ONLY), *granted)
    assert set(allowed(policy)) == hosts | {f"wss://{host}" for host in hosts}


async def test_a_signal_takes_hosts_off_the_list_again() -> None:
    site = mounted(App(*html(PAGE)), policy="enforce", **ONLY)
    (policy,) = await policies(site, "analytics", "advertising", headers=[("sec-gpc", "1")])
    assert "*.hotjar.com" in allowed(policy)
    assert "connect.facebook.net" not in policy


async def test_services_that_nobody_was_told_about_are_never_listed() -> None:
    site = mounted(App(*html(PAGE)), policy="enforce", **ONLY)
    (policy,) = await policies(site, "analytics", "advertising", "media", "email_measurement")
    assert "linkedin" not in policy
    assert "youtube" not in policy


async def test_watching_is_the_other_header_with_the_same_words() -> None:
    site = mounted(App(*html(PAGE)), policy="report-only", **ONLY)
    assert await policies(site) == []
    assert await policies(site, name=WATCHED) == await policies(
        mounted(App(*html(PAGE)), policy="enforce", **ONLY), name=ENFORCED
    )


async def test_what_the_site_allows_itself_is_in_every_policy() -> None:
    extra = ("https://cdn.example.net", "*.example.org", "wss://live.example.net:8443", "localhost:*")
    (policy,) = await policies(mounted(App(*html(PAGE)), policy="enforce", own_hosts=extra))
    assert allowed(policy) == list(extra)


@pytest.mark.parametrize("own", ["default-src 'none'; script-src 'nonce-abc' 'strict-dynamic'", "", "nonsense;;,"])
async def test_the_sites_own_policy_stays_as_it_is_and_ours_stands_beside_it(own: str) -> None:
    """Two headers intersect; words added to one header would widen it, a header replaced would be lost."""
    site = mounted(App(*html(PAGE, headers=[("Content-Security-Policy", own), (WATCHED, own)])), policy="enforce")
    sent = await run(site, http_scope())
    first, second = values(sent, ENFORCED)
    assert first == own
    assert allowed(second) == []
    assert values(sent, WATCHED) == [own]


async def test_ours_never_speaks_about_inline_code_navigation_or_frames_around_the_page() -> None:
    """A nonce or strict-dynamic in it would make browsers forbid inline code that the site's policy allows."""
    site = mounted(App(*html(PAGE)), policy="enforce")
    (policy,) = await policies(site, "analytics", "advertising", "media", scheme="https")
    assert [d.split()[0] for d in policy.split(";")] == ["default-src", "report-uri", "report-to"]
    for word in ("nonce-", "sha256-", "strict-dynamic", " https: ", " * "):
        assert word not in policy


async def test_only_documents_carry_it() -> None:
    data = App(*response(b"{}", headers=[("content-type", "application/json")]))
    assert await policies(mounted(data, policy="enforce")) == []
    assert len(await policies(mounted(App(*html(PAGE)), policy="enforce"), method="HEAD")) == 1


async def test_html_that_cannot_be_read_gets_it_and_the_seal() -> None:
    site = mounted(App(*html(PAGE, headers=[("content-encoding", "br")])), policy="enforce", own_hosts=("a.example",))
    ours, seal = await policies(site)
    assert allowed(ours) == ["a.example"]
    assert seal == " ".join(["default-src", *EVERYWHERE])


async def test_when_deciding_fails_the_own_hostss_nothing_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    site = mounted(App(*html(PAGE)), policy="enforce", fallback_regime="notice")
    assert allowed((await policies(site))[0]) != []

    def broken(*_: object) -> None:
        raise RuntimeError("no decision today")

    monkeypatch.setattr(site.site, "decide_with", broken)
    (policy,) = await policies(site, headers=[("accept-language", "es")])
    assert allowed(policy) == []


def test_a_policy_that_proxies_would_choke_on_does_not_start() -> None:
    """nginx answers 502 when an answer's headers outgrow its buffer, and only for visitors who said yes."""
    hosts = [f"tag{number}.vendor.example" for number in range(200)]
    own = {"vendor": {"name": "V", "provider": "V", "purposes": ["analytics"], "hosts": hosts}}
    with pytest.raises(SettingsError, match=r"services_used.*proxies") as caught:
        mounted(App(), policy="enforce", services=own)
    assert caught.value.key == "services_used"
    assert plain(App(), policy="off", services=own), "without a policy there is nothing to choke on"


def test_a_long_policy_is_said_at_start(caplog: pytest.LogCaptureFixture) -> None:
    hosts = [f"tag{number}.vendor.example" for number in range(80)]
    mounted(App(), policy="enforce")
    assert caplog.messages == []
    mounted(App(), policy="enforce", own_hosts=hosts + [f"wss://{host}" for host in hosts])
    assert "let proxies buffer more" in caplog.messages[0]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (("www.facebook.com/tr", "www.facebook.com"), ("www.facebook.com",)),
        (("*.clarity.ms", "c.bing.com"), ("clarity.ms", "*.clarity.ms", "c.bing.com")),
        ((), ()),
    ],
)
def test_sources_are_hosts_without_paths(hosts: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """In a policy ``*.host`` leaves out the host itself, and a path would match one file only."""
    assert sources(Service("a", "A", "A", ("analytics",), hosts=hosts)) == expected


@pytest.mark.parametrize(
    "source",
    ["*", "https:", "data:", "'unsafe-inline'", "a.example; script-src *", "a.example, b.example", "a b", "", "{csp}",
     "https://a.example/path", "*.*.example", "a.*.example", "ftp://a.example", "a.example:port", "a\n.example",
     "https://user@a.example", "ä.example", "a.example." + "a" * 300, "A.example", "//a.example", "https://*"],
)  # fmt: skip
def test_a_source_that_would_allow_more_than_hosts_is_refused(source: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.of({"debug": True, "policy": "enforce", "own_hosts": (source,)})
    assert caught.value.key.startswith("own_hosts")


def test_a_policy_of_another_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="policy"):
        Settings.of({"debug": True, "policy": "strict"})


# -- where reports go --------------------------------------------------------------------------------
async def test_over_https_the_sites_own_endpoints_stay_and_ours_is_added() -> None:
    own = 'main="https://reports.example/x", other="/y"'
    site = mounted(App(*html(PAGE, headers=[("Reporting-Endpoints", own)])), policy="enforce")
    sent = await run(site, http_scope(scheme="https"))
    assert values(sent, "reporting-endpoints") == [own, 'consentmw="/privacy/csp"']
    (policy,) = values(sent, ENFORCED)
    assert policy.endswith("; report-uri /privacy/csp; report-to consentmw")


async def test_over_http_only_the_old_way_is_named_because_the_new_one_counts_over_https_only() -> None:
    sent = await run(mounted(App(*html(PAGE)), policy="enforce"), http_scope())
    assert header(sent, "reporting-endpoints") is None
    assert (header(sent, ENFORCED) or "").endswith("; report-uri /privacy/csp")


@pytest.mark.parametrize(
    ("root", "address"),
    [
        ("", "/privacy/csp"),
        ("/shop", "/shop/privacy/csp"),
        ("/shop/", "/shop/privacy/csp"),
        ("//evil.example", "/evil.example/privacy/csp"),
        ("/\\evil.example", "/evil.example/privacy/csp"),
        ("/a; script-src *", "/a%3B%20script-src%20%2A/privacy/csp"),
        ('/a", x="//evil.example', "/a%22%2C%20x%3D%22//evil.example/privacy/csp"),
        ("/ä\r\nx", "/%C3%A4%0D%0Ax/privacy/csp"),
    ],
)
async def test_the_address_is_below_root_path_and_stays_an_address_of_ours(root: str, address: str) -> None:
    """A path parameter of a mount is written by whoever asks: it must not end the directive or name a host."""
    site = mounted(App(*html(PAGE)), policy="enforce")
    sent = await run(site, http_scope("/", root_path=root, scheme="https"))
    (policy,) = values(sent, ENFORCED)
    assert policy.split("; ")[1:] == [f"report-uri {address}", "report-to consentmw"]
    assert values(sent, "reporting-endpoints") == [f'consentmw="{address}"']


async def test_two_mounts_of_one_site_do_not_share_an_address() -> None:
    """The verdict is remembered by visitor; the address is not part of it."""
    site = mounted(App(*html(PAGE)), policy="enforce")
    found = [(await policies(site, path=f"{root}/", root_path=root))[0] for root in ("/a", "/b", "/a")]
    assert [policy.rpartition(" ")[2] for policy in found] == ["/a/privacy/csp", "/b/privacy/csp", "/a/privacy/csp"]


# -- the nonce of the site's policy ------------------------------------------------------------------
HEAD = b'<link rel="stylesheet" href="/a.css" data-consentmw><script src="/a.js" data-consentmw defer></script>'


@pytest.mark.parametrize(
    ("given", "script", "style"),
    [
        ([(ENFORCED, "script-src 'nonce-abc' 'strict-dynamic'; style-src 'nonce-xyz'")], b"abc", b"xyz"),
        ([(ENFORCED, "default-src 'self' 'nonce-abc='")], b"abc=", b"abc="),
        ([(ENFORCED, "default-src 'nonce-no'; script-src 'self'")], None, b"no"),
        ([(ENFORCED, "script-src 'nonce-no'; script-src-elem 'nonce-abc'")], b"abc", None),
        ([(ENFORCED, "script-src 'nonce-abc'; script-src 'nonce-no'")], b"abc", None),
        ([(ENFORCED, "default-src 'self', SCRIPT-SRC 'nonce-abc'")], b"abc", None),
        ([(ENFORCED, "img-src *"), ("Content-Security-Policy", "script-src 'nonce-abc'")], b"abc", None),
        ([(WATCHED, "script-src 'nonce-no'"), (ENFORCED, "script-src 'nonce-abc'")], b"abc", None),
        ([(WATCHED, "script-src 'nonce-abc'")], b"abc", None),
        ([("x-policy", "script-src 'nonce-no'")], None, None),
        ([(ENFORCED, "img-src 'nonce-no'")], None, None),
        ([(ENFORCED, "script-src 'nonce-'")], None, None),
        ([(ENFORCED, "script-src 'nonce-a\"><script>alert(1)</script>'")], None, None),
        ([(ENFORCED, "script-src 'nonce-" + "a" * 600 + "'")], None, None),
    ],
)
def test_our_script_and_style_carry_the_nonce_that_the_site_asks_of_them(
    given: list[tuple[str, str]], script: bytes | None, style: bytes | None
) -> None:
    """Under strict-dynamic nothing else lets them in; and a nonce is copied into markup, so it must be one."""
    expected = HEAD
    for tag, nonce in ((b"<script ", script), (b"<link ", style)):
        if nonce is not None:
            expected = expected.replace(tag, tag + b'nonce="' + nonce + b'" ')
    assert with_nonces(HEAD, [(name.encode(), value.encode()) for name, value in given]) == expected


@given(st.binary(max_size=200))
def test_no_header_of_a_site_can_write_markup_through_its_nonce(value: bytes) -> None:
    out = with_nonces(HEAD, [(ENFORCED.encode(), b"script-src 'nonce-" + value + b"' 'nonce-abc'")])
    assert out.count(b"<") == HEAD.count(b"<")
    assert out.count(b">") == HEAD.count(b">")


async def test_the_page_has_the_nonce_of_this_answer() -> None:
    given = [(ENFORCED, "script-src 'nonce-r4nd0m' 'strict-dynamic'")]
    text = body(await run(mounted(App(*html(PAGE, headers=given))), http_scope()))
    assert b'<script nonce="r4nd0m" src="/privacy/static/privacy.' in text


# -- the endpoint ------------------------------------------------------------------------------------
class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def old(
    blocked: object = "https://connect.facebook.net/x.js", page: object = "http://site.example/", **more: Any
) -> Any:
    """A report as browsers have sent it since CSP 1."""
    report = {"document-uri": page, "blocked-uri": blocked, "effective-directive": "script-src-elem", **more}
    return {"csp-report": {key.replace("_", "-"): value for key, value in report.items()}}


def new(blocked: object, page: object = "https://site.example/", **more: Any) -> dict[str, Any]:
    """One entry of the Reporting API."""
    told = {"documentURL": page, "blockedURL": blocked, "effectiveDirective": "img-src", **more}
    return {"type": "csp-violation", "age": 1, "url": page, "body": told}


async def post(app: ASGIApp, report: Any, *more: Header, kind: str = "application/csp-report", **scope: Any) -> int:
    raw = report if isinstance(report, bytes) else json.dumps(report).encode()
    sent = await run(app, http_scope("/privacy/csp", "POST", [("content-type", kind), *more], **scope), request(raw))
    assert body(sent) == b"", "whoever reports is told nothing"
    return status(sent)


def leaks(site: ConsentMiddleware) -> list[tuple[str, str, str, int]]:
    assert site.recorder.flush(5)
    rows = [row for row in site.recorder.store.counts() if row["kind"] == "leak"]
    assert site.recorder.store.events() == []
    return sorted((row["route"], row["why"], row["status"], row["count"]) for row in rows)


def watched(clock: Callable[[], float], **options: Any) -> tuple[ConsentMiddleware, ASGIApp]:
    """A site, and its endpoint alone under a clock of the test's."""
    site = mounted(App(*html(PAGE)), policy="enforce", **options)
    reports = Reports(site.site, clock)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        visitor = Visitor.read(scope)
        consent = Consent(site.site.ruling(visitor).decision, "/privacy", site.site, visitor)
        await reports.take(Exchange(scope, receive, send, visitor, consent, ""))

    return site, app


@pytest.fixture
def site() -> ConsentMiddleware:
    return mounted(App(*html(PAGE)), policy="enforce")


async def test_a_report_leaves_page_directive_and_host_and_nothing_else(site: ConsentMiddleware) -> None:
    page = f"https://me:secret@site.example:8443/account/{ACCOUNT}/bill?account={ACCOUNT}#mail=a@b.example"
    blocked = f"https://CONNECT.facebook.net/{ACCOUNT}/x.js?id={ACCOUNT}&mail=a@b.example#f"
    telling = {"referrer": page, "script-sample": ACCOUNT, "source-file": page, "original-policy": "default-src 'self'"}
    assert await post(site, old(blocked, page, **telling)) == 204
    assert leaks(site) == [("/account/{x}/bill", "script-src-elem connect.facebook.net meta_pixel", "4xx", 1)]
    everything = repr(site.recorder.store.counts())
    for secret in (ACCOUNT, "b.example", "secret", "x.js", "203.0.113.7"):
        assert secret not in everything


async def test_both_forms_of_report_are_read(site: ConsentMiddleware) -> None:
    batch = [
        new("https://www.facebook.com/tr?id=1"),
        {"type": "deprecation", "url": "https://site.example/", "body": {"id": "x"}},
        new("https://images.example.net/a.png", effectiveDirective="font-src"),
    ]
    assert await post(site, batch, kind="application/reports+json; charset=utf-8") == 204
    assert await post(
        site, old("wss://ws.hotjar.com/api", effective_directive=None, violated_directive="connect-src x")
    )
    assert leaks(site) == [
        ("/", "connect-src ws.hotjar.com hotjar", "4xx", 1),
        ("/", "font-src images.example.net unknown", "4xx", 1),
        ("/", "img-src www.facebook.com meta_pixel", "4xx", 1),
    ]


async def test_where_nothing_is_refused_the_counter_says_that_it_left() -> None:
    site = mounted(App(*html(PAGE)), policy="report-only")
    await post(site, old())
    assert [leak[2] for leak in leaks(site)] == ["2xx"]


async def test_what_this_visitor_allows_by_now_is_no_leak(site: ConsentMiddleware) -> None:
    """A choice takes effect in the page that is open, whose policy is that of before."""
    who = ("cookie", choice_cookie(site, "advertising"))
    assert await post(site, old(), who) == 204
    assert await post(site, old("https://static.hotjar.com/x.js"), who) == 204
    assert leaks(site) == [("/", "script-src-elem static.hotjar.com hotjar", "4xx", 1)]


@pytest.mark.parametrize(
    "page",
    ["https://other.example/", "https://site.example.evil.example/", "https://evil.example/site.example", "about:blank",
     "data:text/html,x", "", None, 7, [], "https://[::1", "//site.example/", "javascript://site.example/"],
)  # fmt: skip
async def test_a_report_about_a_page_that_is_not_ours_counts_nothing(site: ConsentMiddleware, page: object) -> None:
    assert await post(site, old(page=page)) == 204
    assert leaks(site) == []


@pytest.mark.parametrize("host", [b"", b"a b", b"\xff"])
async def test_without_a_host_of_our_own_nothing_is_counted(site: ConsentMiddleware, host: bytes) -> None:
    assert await post(site, old(page="http:///"), ("host", host)) == 204
    assert leaks(site) == []


@pytest.mark.parametrize(
    ("blocked", "what"),
    [
        ("inline", "inline"),
        ("eval", "eval"),
        ("wasm-eval", "wasm-eval"),
        ("data", "data"),
        ("data:image/png;base64,c2VjcmV0", "data"),
        ("blob:https://site.example/0b5c-secret", "blob"),
        ("trusted-types-sink", "trusted-types-sink"),
        ("secret-scheme:secret", "(other)"),
        ("secret", "(other)"),
        ("", "(other)"),
        (None, "(other)"),
        ({"secret": 1}, "(other)"),
        ("https://[::1/secret", "(other)"),
        ("https://sec ret.example/", "(other)"),
        ("https://" + "secret." * 40 + "example/", "(other)"),
        ("https://ex\u0430mple.example/", "(other)"),
        ("https://user:secret@cdn.example:444/secret?secret#secret", "cdn.example"),
        ("https://CDN.Example./secret", "cdn.example"),
        ("http://[2001:DB8::1]/secret", "[2001:db8::1]"),
    ],
)
async def test_of_what_was_refused_only_the_host_or_the_kind_is_kept(
    site: ConsentMiddleware, blocked: object, what: str
) -> None:
    assert await post(site, old(blocked)) == 204
    assert [leak[1] for leak in leaks(site)] == [f"script-src-elem {what} unknown"]


@pytest.mark.parametrize("blocked", ["chrome-extension", "moz-extension://0b5c/x.js", "safari-web-extension://x"])
async def test_what_a_browser_extension_does_is_no_leak_of_the_site(site: ConsentMiddleware, blocked: str) -> None:
    assert await post(site, old(blocked)) == 204
    assert leaks(site) == []


@pytest.mark.parametrize("directive", ["", "secret", "img-src\nsecret", "IMG-SRC", "x" * 1000, None, 5])
async def test_a_directive_nobody_knows_is_other(site: ConsentMiddleware, directive: object) -> None:
    await post(site, old(effective_directive=directive))
    assert [leak[1] for leak in leaks(site)] == ["(other) connect.facebook.net meta_pixel"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["csp-report", "type", "body", "document-uri", "documentURL", "x"]), inner)
    ),
    max_leaves=12,
)


@given(raw=st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("kind", list(MAX_REPORT))
async def test_no_body_breaks_the_endpoint(kind: str, raw: bytes) -> None:
    _, app = watched(Clock())
    assert await post(app, raw, kind=kind) in (204, 400)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[" * 8_000, b'{"csp-report":' * 500, b'{"csp-report": []}', b'"x"', b"1" * 5_000, b"\xff\xfe{",
     b'{"csp-report": null}', b"null"],
)  # fmt: skip
async def test_what_is_no_report_is_refused(site: ConsentMiddleware, raw: bytes) -> None:
    assert await post(site, raw) == 400
    assert leaks(site) == []


@pytest.mark.parametrize(("kind", "most"), MAX_REPORT.items())
async def test_a_body_is_as_large_as_its_kind_may_be_and_no_larger(
    site: ConsentMiddleware, kind: str, most: int
) -> None:
    whole = json.dumps([new("https://a.example/")] if "+json" in kind else old()).encode().ljust(most)
    assert await post(site, whole, kind=kind) == 204
    sent = await run(
        site,
        http_scope("/privacy/csp", "POST", [("content-type", kind)]),
        request(whole, more=True),
        request(b" ", more=True),
        request(b" " * 1_000_000),
    )
    assert status(sent) == 413
    assert sum(leak[3] for leak in leaks(site)) == 1


async def test_a_report_that_breaks_off_counts_nothing(site: ConsentMiddleware) -> None:
    scope = http_scope("/privacy/csp", "POST", [("content-type", "application/csp-report")])
    half = request(json.dumps(old()).encode(), more=True)
    assert status(await run(site, scope, half, {"type": "http.disconnect"})) == 400
    assert leaks(site) == []


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_type_that_another_sites_page_can_send_unasked_is_refused(site: ConsentMiddleware, kind: str) -> None:
    assert await post(site, old(), kind=kind) == 415
    assert leaks(site) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_only_a_post_reports(site: ConsentMiddleware, method: str) -> None:
    sent = await run(site, http_scope("/privacy/csp", method))
    assert status(sent) == 405
    assert header(sent, "allow") == "POST"
    assert header(sent, "access-control-allow-origin") is None


async def test_an_empty_answer_says_no_length_and_is_kept_nowhere(site: ConsentMiddleware) -> None:
    scope = http_scope("/privacy/csp", "POST", [("content-type", "application/csp-report")])
    sent = await run(site, scope, request(json.dumps(old()).encode()))
    assert headers(sent) == [(b"cache-control", b"no-store")]


async def test_without_a_policy_there_is_no_endpoint() -> None:
    site = mounted(App(*html(PAGE)))
    scope = http_scope("/privacy/csp", "POST", [("content-type", "application/csp-report")])
    assert status(await run(site, scope, request(json.dumps(old()).encode()))) == 404
    assert leaks(site) == []


# -- bounds ------------------------------------------------------------------------------------------
async def each(number: int, send: Callable[[int], Awaitable[int]]) -> list[int]:
    return [await send(n) for n in range(number)]


async def test_reports_come_at_a_steady_rate_at_most() -> None:
    """Whoever floods the endpoint costs the site 20 small bodies a second, and is answered without being read."""
    clock = Clock()
    _, app = watched(clock)
    first = await each(100, lambda n: post(app, b"{}"))
    assert first == [400] * 60 + [429] * 40
    clock.now += 1
    assert (await each(30, lambda n: post(app, b"{}"))).count(400) == 20
    clock.now += 3600
    assert (await each(100, lambda n: post(app, b"{}"))).count(400) == 60, "what was not used is not saved up"
    scope = http_scope("/privacy/csp", "POST", [("content-type", "application/csp-report")])
    assert header(await run(app, scope, request(b"{}")), "retry-after") == "1"


async def test_the_same_of_the_same_visitor_counts_once_a_minute() -> None:
    clock = Clock()
    site, app = watched(clock)
    for _ in range(3):
        await post(app, [new("https://a.example/1"), new("https://a.example/2")], kind="application/reports+json")
    assert [leak[3] for leak in leaks(site)] == [1]
    await post(app, [new("https://a.example/")], kind="application/reports+json", client=("198.51.100.9", 1))
    assert [leak[3] for leak in leaks(site)] == [2], "another visitor"
    clock.now += 61
    await post(app, [new("https://a.example/")], kind="application/reports+json")
    assert [leak[3] for leak in leaks(site)] == [3]


async def test_an_hour_has_a_limited_number_of_counters_whatever_is_reported() -> None:
    """Made-up pages and hosts must not fill the store; the next hour begins anew."""
    clock = Clock()
    site, app = watched(clock)
    now = datetime(2027, 3, 1, 12, 30, tzinfo=UTC)
    site.site.clock = lambda: now
    names = [f"h{n}.example" for n in range(700)]

    async def send(start: int) -> None:
        clock.now += 10
        batch = [new(f"https://{name}/") for name in names[start : start + 50]]
        assert await post(app, batch, kind="application/reports+json") == 204

    for start in range(0, 700, 50):
        await send(start)
    found = leaks(site)
    assert len(found) == 501
    assert ("(other)", "(other)", "4xx", 200) in found
    now += timedelta(hours=1)
    clock.now += 3600
    await send(650)
    assert len(leaks(site)) == 551


async def test_of_one_body_a_limited_number_of_reports_is_read() -> None:
    site, app = watched(Clock())
    batch = [new(f"https://h{n}.example/") for n in range(200)]
    assert await post(app, batch, kind="application/reports+json") == 204
    assert len(leaks(site)) == 50


async def test_a_flood_of_visitors_is_not_remembered() -> None:
    """What keeps repetitions apart is forgotten when there is too much of it, and holds no address."""
    clock = Clock()
    site = mounted(App(*html(PAGE)), policy="enforce", queue_capacity=100_000)
    reports = Reports(site.site, clock)
    visitor = Visitor.read(http_scope())
    consent = Consent(site.site.ruling(visitor).decision, "/privacy", site.site, visitor)
    payload = json.dumps([new(f"https://h{n}.example/") for n in range(50)]).encode()
    sent: list[Message] = []

    async def receive() -> Message:
        return request(payload)

    async def send(message: Message) -> None:
        sent.append(message)

    for number in range(120):
        clock.now += 0.1
        scope = http_scope("/privacy/csp", "POST", [("content-type", "application/reports+json")],
                           client=(f"198.51.{number}.1", 1))  # fmt: skip
        await reports.take(Exchange(scope, receive, send, Visitor.read(scope), consent, ""))
        remembered = vars(reports)["_recent"]
        assert len(remembered) <= 4_096
        assert all(isinstance(mark, int) for mark in remembered)
    assert [m["status"] for m in sent if "status" in m] == [204] * 120


def test_sources_beyond_the_hosts_are_in_the_policy_once() -> None:
    """What a service needs elsewhere, sockets and storage of its own, as the catalogue notes it."""
    extra = ("connect-src wss://ws.example.net:8443", "img-src https://i.example.org", "font-src https://i.example.org")
    service = Service("x", "X", "X", ("p",), hosts=("*.example.net/a/",), csp=(*extra, "img-src data:"))
    catalogue = Catalogue({"p": Purpose("p", "analytics", "t", "t")}, {"x": service})
    (_, value), *_ = HostPolicy(catalogue, "enforce").headers(frozenset(), False)
    words = value.decode().partition(";")[0].split()
    assert words.count("wss://ws.example.net:8443") == words.count("https://i.example.org") == words.count("data:") == 1
    (_, value), *_ = HostPolicy(catalogue, "enforce").headers(frozenset({"x"}), False)
    assert b"example" not in value
