"""What stands in the place of a withheld video or map: said in words, seen once or allowed, harmless everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous.encoding import base64_encode
from starlette.types import Message

from consentmw import ConsentMiddleware
from consentmw.choice import CookieCodec
from consentmw.decision import once, showable
from consentmw.errors import StoreError
from consentmw.gate.html import HtmlGate, Rules
from consentmw.once import LASTS, Once, place
from consentmw.purposes import Catalogue
from consentmw.visitor import Visitor

from .asgi import App, body, cookies, header, headers, html, http_scope, request, run, status, values
from .mounted import KEY, choice_cookie, mounted, post

FRAME = b'<iframe title=v src="https://www.youtube.com/embed/x"></iframe>'
MAP = b'<iframe src="https://www.google.com/maps/embed?pb=1"></iframe>'
PAGE = b"<!doctype html><body>" + FRAME + MAP
CATALOGUE = Catalogue.load()
RULES = Rules(CATALOGUE, frozenset(CATALOGUE.services))
#: a service that shows something and measures as well
BOTH = {"services": {"shower": {"purposes": ["media", "analytics"], "hosts": ["show.example"]}}}


def held(service: str, page: str = "/news?a=1") -> str:
    """The address of the placeholder that this page's frame gets."""
    return f"/privacy/held/{base64_encode(page).decode()}/{service}"


def site(**options: Any) -> ConsentMiddleware:
    return mounted(App(*html(PAGE)), **options)


def field(page: bytes, name: str) -> list[str]:
    found = re.findall(rf'name="{name}" value="([^"]*)"', page.decode())
    return [unescape(value) for value in found]


async def ask(of: ConsentMiddleware, service: str = "youtube", back: str = "/news?a=1", **extra: Any) -> list[Message]:
    """Press "Show once"."""
    return await post(of, f"/privacy/held/{service}", {"return": back}, **extra)


def spent(sent: list[Message]) -> bool:
    """Whether this answer takes the cookie away."""
    return any(line.startswith("privacy-once=;") and "Max-Age=0" in line for line in values(sent, "set-cookie"))


def shows(sent: list[Message]) -> set[str]:
    """Which of the two frames of the page load."""
    page = body(sent).replace(b"data-consentmw-src", b"")
    hosts = {b"www.youtube.com": "youtube", b"www.google.com/maps": "google_maps"}
    return {key for host, key in hosts.items() if b' src="https://' + host in page}


async def view(of: ConsentMiddleware, cookie: str, path: str = "/news?a=1", **extra: Any) -> list[Message]:
    return await run(of, http_scope(path, headers=[("cookie", cookie)], **extra))


async def asked(of: ConsentMiddleware, service: str = "youtube", back: str = "/news?a=1", **extra: Any) -> str:
    """The Cookie header after pressing "Show once"."""
    return f"privacy-once={cookies(await ask(of, service, back, **extra))['privacy-once']}"


# -- the placeholder ---------------------------------------------------------------------------


async def test_a_withheld_video_says_what_it_is() -> None:
    sent = await run(site(), http_scope("/sub/news", root_path="/sub"))
    src = f"/sub{held('youtube', '/sub/news')}"
    assert f" src={src}".encode() in body(sent)
    sent = await run(site(), http_scope(src, root_path="/sub"))
    assert status(sent) == 200
    page = body(sent).decode()
    assert "<h1>YouTube</h1>" in page
    assert "Google LLC" in page, "who learns of the visit"
    assert "Allow “Videos, maps and other content”" in page
    assert 'action="/sub/privacy/held/youtube"' in page
    assert "frame-ancestors 'self'" in (header(sent, "content-security-policy") or "")


async def test_its_button_allows_that_purpose_and_keeps_the_others() -> None:
    of = site()
    had = ("cookie", choice_cookie(of, "analytics"))
    page = body(await run(of, http_scope(held("youtube"), headers=[had])))
    assert field(page, "return") == ["/news?a=1", "/news?a=1"]
    assert field(page, "purpose") == ["analytics", "media"]
    fields = [("action", "save"), ("surface", "placeholder"), ("service", "youtube"), ("return", "/news?a=1")]
    fields += [("purpose", "analytics"), ("purpose", "media")]
    sent = await post(of, "/privacy/choices", fields, headers=[had])
    assert header(sent, "location") == "/news?a=1"
    choice = of.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    assert choice.granted == {"analytics", "media"}
    assert of.site.ledger.entries(choice.receipt)[-1].method == "placeholder:save"
    await of.site.close()


@pytest.mark.parametrize(
    "page", ["https://evil.example/", "//evil.example/x", "/\\evil.example", "", "news", "/a\r\nX: y", "/" + "a" * 2000]
)
async def test_only_a_page_of_this_site_is_gone_back_to(page: str) -> None:
    """The address can be made up by anybody who makes a link to it; without a page there is no "once"."""
    sent = body(await run(mounted(App()), http_scope(held("youtube", page))))
    assert field(sent, "return") == [""]
    assert b"Show once" not in sent


@pytest.mark.parametrize("page", ["%", "a", "_", "=", "/////", "L25ld3M_YT0x/../x", "\N{SNOWMAN}", "gICA"])
async def test_a_page_that_can_not_be_read_is_no_page(page: str) -> None:
    sent = await run(mounted(App()), http_scope(f"/privacy/held/{quote(page)}/youtube"))
    assert status(sent) == 200
    assert field(body(sent), "return") == [""]


@pytest.mark.parametrize(("query", "mark"), [("player-1", "#player-1"), ("a b", ""), ("x&y", ""), ("i" * 65, "")])
async def test_the_frames_own_id_is_led_back_to(query: str, mark: str) -> None:
    sent = await run(mounted(App()), http_scope(held("youtube"), query_string=query.encode()))
    assert field(body(sent), "return")[0] == f"/news?a=1{mark}"


def test_the_gate_hands_on_an_id_only_where_it_can_do_no_harm() -> None:
    gate = HtmlGate(RULES, frame=b"/privacy/held/")
    plain = FRAME.replace(b"title=v", b"id=player")
    odd = [FRAME.replace(b"title=v", b"id='%s'" % value) for value in (b"a b", b"a>", b"&quot;", b'"', b"x" * 65)]
    out = gate.feed(plain + b"".join(odd)) + gate.close()
    assert out.count(b" src=/privacy/held/youtube?player ") == 1
    assert out.count(b" src=/privacy/held/youtube ") == len(odd)


def test_a_sandbox_is_for_the_service_and_not_for_our_page() -> None:
    """In it the buttons would do nothing; it is put back with the address."""
    gate = HtmlGate(RULES, frame=b"/privacy/held/")
    out = gate.feed(FRAME.replace(b"title=v", b"title=v sandbox=allow-scripts")) + gate.close()
    assert b" src=/privacy/held/youtube title=v data-consentmw-sandbox=allow-scripts data-consentmw-src=" in out


@pytest.mark.parametrize("name", ["nobody", "%3Cscript%3E", "youtube/x", "meta_pixel/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_service_has_no_page(name: str, method: str) -> None:
    assert status(await run(mounted(App()), http_scope(f"/privacy/held/{name}", method))) == 404


@pytest.mark.parametrize("frame", [b"", b"/a b/", b'/"/', b"/a>/", b"relative/", b"//other.example/"])
def test_a_path_that_could_not_stand_unquoted_is_left_out(frame: bytes) -> None:
    gate = HtmlGate(RULES, frame=frame)
    out = gate.feed(FRAME) + gate.close()
    assert b" src=" not in out.replace(b"data-consentmw-src", b"")


def test_what_nobody_sees_gets_no_page() -> None:
    gate = HtmlGate(RULES, frame=b"/privacy/held/")
    out = gate.feed(b'<iframe src="https://www.googletagmanager.com/ns.html?id=GTM-1"></iframe>') + gate.close()
    assert b"/privacy/held/" not in out


# -- once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["off", "enforce"])
async def test_once_is_one_service_on_one_page_one_time(policy: str) -> None:
    of = site(policy=policy, services_used=("youtube", "google_maps"))
    sent = await ask(of)
    assert status(sent) == 303
    assert header(sent, "location") == "/news?a=1"
    line = next(line for line in values(sent, "set-cookie") if line.startswith("privacy-once="))
    assert {"Path=/", "Max-Age=60", "HttpOnly", "SameSite=Lax"} <= set(line.split("; "))
    cookie = line.partition(";")[0]

    page = await view(of, cookie)
    assert shows(page) == {"youtube"}
    assert spent(page)
    assert "no-store" in (header(page, "cache-control") or ""), "going back must not show it again"
    allowed = header(page, "content-security-policy") or ""
    assert ("*.youtube.com" in allowed, "maps" in allowed) == (policy == "enforce", False)
    assert shows(await run(of, http_scope("/news?a=1"))) == set(), "without the cookie it is withheld again"
    await of.site.close()


@pytest.mark.parametrize("path", ["/news", "/news?a=2", "/news/?a=1", "/", "/privacy/state"])
async def test_another_page_neither_shows_nor_spends_it(path: str) -> None:
    """A page that loads in another window must not take it away."""
    of = site()
    sent = await view(of, await asked(of), path)
    assert shows(sent) == set()
    assert not spent(sent)
    assert b"youtube" not in body(sent) or path != "/privacy/state"
    await of.site.close()


@pytest.mark.parametrize(
    ("path", "root"),
    [("/a%20b/%C3%A9?q=%22%3C&r=%27", ""), ("/a;b/c,d@e:f", ""), ("/sub/x", "/sub"), ("/sub", "/sub"), ("/%2Fx", "")],
)
async def test_odd_addresses_find_their_page(path: str, root: str) -> None:
    """From the page through the frame's address and the form back to the page, as a browser carries them."""
    of = site()
    first = body(await run(of, http_scope(path, root_path=root))).decode()
    found = re.search(r" src=(\S+/youtube)", first)
    assert found is not None
    back = field(body(await run(of, http_scope(found[1], root_path=root))), "return")[0]
    if path == "/%2Fx":
        assert back == "", "what might be another host is not gone back to"
        return
    sent = await post(of, f"{root}/privacy/held/youtube", {"return": back}, root_path=root)
    cookie = f"privacy-once={cookies(sent)['privacy-once']}"
    assert shows(await view(of, cookie, header(sent, "location") or "", root_path=root)) == {"youtube"}
    await of.site.close()


async def test_a_fragment_is_no_part_of_the_page() -> None:
    of = site()
    sent = await ask(of, back="/news?a=1#player")
    assert header(sent, "location") == "/news?a=1#player"
    assert shows(await view(of, f"privacy-once={cookies(sent)['privacy-once']}")) == {"youtube"}
    await of.site.close()


@pytest.mark.parametrize(
    ("method", "extra"), [("HEAD", ()), ("POST", ()), ("GET", [("sec-purpose", "prefetch;prerender")])]
)
async def test_what_nobody_looks_at_does_not_spend_it(method: str, extra: Iterable[tuple[str, str]]) -> None:
    app = App(*html(PAGE))
    of = mounted(app)
    sent = await run(of, http_scope("/news?a=1", method, [("cookie", await asked(of)), *extra]))
    assert not app.scope["consent"].allows("youtube")
    assert not spent(sent)
    await of.site.close()


async def test_what_is_no_page_does_not_spend_it() -> None:
    """A picture or a script's data at the same address leave it to the page."""
    json = App({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]},
               {"type": "http.response.body", "body": b"{}"})  # fmt: skip
    of = mounted(json)
    assert headers(await view(of, await asked(of))) == json.messages[0]["headers"]
    await of.site.close()


async def test_nothing_else_follows_from_it() -> None:
    """No purpose is granted, no signal changes, nothing more is recorded, and the application sees what runs."""
    app = App(*html(PAGE))
    of = mounted(app)
    await run(of, http_scope("/news?a=1"))
    before = app.scope["consent"].decision
    await view(of, await asked(of))
    consent = app.scope["consent"]
    assert consent.allows("youtube")
    assert consent.why("youtube") == "once"
    assert not consent.allows("media")
    decision = consent.decision
    for name in ("purposes", "tier", "google", "receipt", "ask", "until"):
        assert getattr(decision, name) == getattr(before, name), name
    assert before.denied - decision.denied == {"youtube"}
    assert decision.state != before.state, "or a 304 would carry the page into another state"
    await of.site.close()


# -- proof -------------------------------------------------------------------------------------


async def test_it_is_proven_under_the_visitors_receipt() -> None:
    of = site()
    had = ("cookie", choice_cookie(of, "analytics"))
    sent = await ask(of, headers=[had])
    assert set(cookies(sent)) == {"privacy-once"}, "the choice itself is untouched"
    row = of.site.ledger.entries("r" * 22)[-1]
    assert (row.event, row.method, row.granted, row.refused) == ("once", "placeholder:once", ("youtube",), ())
    assert row.valid_until > row.at
    assert len(row.shown) == 64
    assert of.site.ledger.verify() == []
    page = body(await run(of, http_scope("/privacy/receipt", headers=[had]))).decode()
    assert "You had this shown once, on one page" in page
    assert "<dd>YouTube</dd>" in page
    await of.site.close()


async def test_without_a_choice_it_is_proven_all_the_same() -> None:
    """Under a receipt of its own: nobody gets a lasting cookie for looking at a video once."""
    of = site()
    sent = await ask(of)
    assert set(cookies(sent)) == {"privacy-once"}
    notice, row = of.site.ledger._opened().all()
    assert (notice.event, row.event) == ("notice", "once"), "and what it was asked under is on record before it"
    assert len(row.receipt) == 22
    await of.site.close()


async def test_no_proof_no_video(monkeypatch: pytest.MonkeyPatch) -> None:
    of = site()

    def broken() -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(of.site.ledger, "_open", broken)
    sent = await ask(of)
    assert status(sent) == 503
    assert cookies(sent) == {}


async def test_what_was_allowed_meanwhile_is_not_asked_for() -> None:
    of = site()
    sent = await ask(of, headers=[("cookie", choice_cookie(of, "media"))])
    assert header(sent, "location") == "/news?a=1"
    assert cookies(sent) == {}
    assert list(of.site.ledger._opened().all()) == []
    await of.site.close()


# -- what may not be had once ------------------------------------------------------------------


@pytest.mark.parametrize("service", ["meta_pixel", "google_analytics", "hotjar", "nobody", "shower"])
async def test_only_what_visitors_see_and_miss_can_be_had_once(service: str) -> None:
    """A pixel is no video, and a video that measures as well takes both purposes."""
    of = site(**BOTH)
    sent = await ask(of, service)
    assert status(sent) == 404
    assert cookies(sent) == {}
    page = body(await run(of, http_scope(held("shower"))))
    assert b"Show once" not in page
    assert "Allow “Videos, maps and other content, " in page.decode(), "the button names all that it allows"
    # Not with a cookie that was honestly signed while the settings were others, either.
    old = Once(service, of.site.clock(), place("/news", b"a=1"), "")
    assert not spent(await view(of, f"privacy-once={of.site.onces.write(old)}"))


@pytest.mark.parametrize("key", sorted(CATALOGUE.services))
def test_nothing_that_global_privacy_control_denies_can_be_had_once(key: str) -> None:
    kinds = {CATALOGUE.purposes[name].kind for name in CATALOGUE.services[key].purposes}
    assert showable(CATALOGUE, key) == (kinds == {"preferences"})


def test_a_service_that_nobody_was_told_of_can_not_be_had_once() -> None:
    catalogue = Catalogue.load(only=["vimeo"])
    assert showable(catalogue, "vimeo")
    assert not showable(catalogue, "youtube")


async def test_a_failure_in_deciding_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When our code fails, nothing optional runs, a video that was asked for included."""
    of = site()
    cookie = await asked(of)
    decide = of.site.decide_with
    monkeypatch.setattr(of.site, "decide_with", lambda *_: 1 / 0)
    sent = await view(of, cookie)
    assert status(sent) == 200
    assert shows(sent) == set()
    monkeypatch.setattr(of.site, "decide_with", decide)
    monkeypatch.setattr(of.site.onces, "read", lambda _: 1 / 0)
    assert shows(await view(of, cookie)) == set()
    await of.site.close()


# -- hostile -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    [[("sec-fetch-site", "cross-site")], [("sec-fetch-site", "same-site")], [("origin", "https://evil.example")]],
)
async def test_another_sites_form_shows_nothing(extra: list[tuple[str, str]]) -> None:
    of = site()
    scope = http_scope("/privacy/held/youtube", "POST", extra)
    sent = await run(of, scope, request(b"return=/news"))
    assert status(sent) == 403
    assert cookies(sent) == {}


@pytest.mark.parametrize(
    "back", ["", "https://evil.example/", "//evil.example", "/\\evil.example", "x", "/a\nb", "/\u2603", "/" * 3000]
)
async def test_it_leads_to_no_other_site(back: str) -> None:
    sent = await ask(site(), back=back)
    assert status(sent) == 400
    assert header(sent, "location") is None
    assert cookies(sent) == {}


async def test_other_methods_are_refused() -> None:
    sent = await run(site(), http_scope("/privacy/held/youtube", "DELETE"))
    assert status(sent) == 405
    assert header(sent, "allow") == "GET, HEAD, POST"


async def test_an_expired_cookie_shows_nothing() -> None:
    """Even when the browser, or whoever kept it, sends it again."""
    of = site()
    cookie = await asked(of)
    later = datetime.now(UTC) + LASTS + timedelta(seconds=1)
    of.site.clock = lambda: later
    sent = await view(of, cookie)
    assert shows(sent) == set()
    assert not spent(sent)
    await of.site.close()


async def test_a_newer_choice_ends_it() -> None:
    """Withdrawing everything is not outlived by a video that was asked for before."""
    of = site()
    had = choice_cookie(of, "analytics")
    cookie = await asked(of, headers=[("cookie", had)])
    assert shows(await view(of, f"{had}; {cookie}")) == {"youtube"}
    newer = choice_cookie(of, receipt="n" * 22)
    assert shows(await view(of, f"{newer}; {cookie}")) == set()
    assert shows(await view(of, cookie)) == set()
    await of.site.close()


async def test_forged_cookies_show_nothing() -> None:
    of = site()
    good = (await asked(of)).partition("=")[2]
    once_text = Once("youtube", of.site.clock(), place("/news", b"a=1"), "")
    other_key = CookieCodec(Once, "once", ("another key, as long as ours is",)).write(once_text)
    other_salt = CookieCodec(Once, "choice", (KEY,)).write(once_text)
    edited = good.replace("youtube", "google_maps")
    forged = ["", "x", "~", edited, good[:-1], good + "a", other_key, other_salt, "a" * 5000, "\xff\xfe", "%00"]
    for value in forged:
        sent = await view(of, f"privacy-once={value}")
        assert shows(sent) == set(), value
        assert status(sent) == 200
    assert shows(await view(of, f"privacy-once=forged; privacy-once={good}")) == {"youtube"}, "the good one is found"
    await of.site.close()


async def test_over_https_no_other_host_can_set_it() -> None:
    of = mounted(App(*html(PAGE)), debug=False)
    sent = await ask(of, scheme="https")
    (line,) = values(sent, "set-cookie")
    assert line.startswith("__Host-privacy-once=")
    assert "; Secure" in line
    name, _, value = line.partition(";")[0].partition("=")
    assert shows(await view(of, f"privacy-once={value}", scheme="https")) == set()
    sent = await view(of, f"{name}={value}", scheme="https")
    assert shows(sent) == {"youtube"}
    assert any(v.startswith(f"{name}=;") and "Secure" in v for v in values(sent, "set-cookie"))
    await of.site.close()


@given(st.text(max_size=200))
def test_whatever_was_signed_is_read_or_is_nothing(text: str) -> None:
    """A layout of another version reads as nothing; what is read packs to the same text."""
    found = Once.unpack(text)
    assert found is None or Once.unpack(found.pack()) == found


@given(st.text(max_size=50), st.binary(max_size=50))
def test_pages_have_short_names_that_tell_them_apart(path: str, query: bytes) -> None:
    assert re.fullmatch("[0-9a-f]{24}", place(path, query))
    assert place(path, query) != place(path + "x", query)
    assert place(path, query) != place(path, query + b"x")


@given(st.integers(0, 16**9 - 1))
def test_what_is_packed_comes_back(seconds: int) -> None:
    given_then = Once("youtube", datetime.fromtimestamp(seconds, UTC), place("/", b""), "r" * 22)
    assert Once.unpack(given_then.pack()) == given_then


def test_a_decision_that_has_it_already_stays_the_same() -> None:
    """The same object: then nothing about the answer changes, and the cookie isn't spent."""
    of = mounted(App())
    decision = of.site.decide_with(Visitor.read(http_scope()), None)
    assert once(of.site.catalogue, decision, "") is decision
    shown = once(of.site.catalogue, decision, "youtube")
    assert once(of.site.catalogue, shown, "youtube") is shown
