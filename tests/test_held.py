"""What stands in the place of a withheld video or map: said in words, allowed with one button, harmless everywhere."""

from __future__ import annotations

import pytest

from consentmw.gate.html import HtmlGate, Rules
from consentmw.purposes import Catalogue

from .asgi import App, body, cookies, header, html, http_scope, run, status
from .mounted import choice_cookie, mounted, post

FRAME = b'<iframe title=v src="https://www.youtube.com/embed/x"></iframe>'
CATALOGUE = Catalogue.load()
RULES = Rules(CATALOGUE, frozenset(CATALOGUE.services))


async def test_a_withheld_video_says_what_it_is() -> None:
    site = mounted(App(*html(b"<!doctype html><body>" + FRAME)))
    page = body(await run(site, http_scope("/sub/", root_path="/sub"))).decode()
    assert " src=/sub/privacy/held/youtube" in page
    sent = await run(site, http_scope("/sub/privacy/held/youtube", root_path="/sub"))
    assert status(sent) == 200
    assert "YouTube" in body(sent).decode()
    assert "Videos, maps and other content" in body(sent).decode()
    assert "frame-ancestors 'self'" in (header(sent, "content-security-policy") or "")


async def test_its_button_allows_that_purpose_and_keeps_the_others() -> None:
    site = mounted(App())
    had = ("cookie", choice_cookie(site, "analytics"))
    scope = http_scope("/privacy/held/youtube", headers=[had, ("referer", "http://site.example/news?a=1")])
    page = body(await run(site, scope)).decode()
    assert 'name="return" value="/news?a=1"' in page
    assert 'name="purpose" value="analytics"' in page
    fields = [("action", "save"), ("surface", "placeholder"), ("service", "youtube"), ("return", "/news?a=1")]
    fields += [("purpose", "analytics"), ("purpose", "media")]
    sent = await post(site, "/privacy/choices", fields, headers=[had])
    assert header(sent, "location") == "/news?a=1"
    choice = site.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    assert choice.granted == {"analytics", "media"}
    assert site.site.ledger.entries(choice.receipt)[-1].method == "placeholder:save"
    await site.site.close()


@pytest.mark.parametrize("referer", ["https://evil.example/x", "http://site.example:81/x", "", "::", "http://[/x"])
async def test_only_a_page_of_this_site_is_gone_back_to(referer: str) -> None:
    scope = http_scope("/privacy/held/youtube", headers=[("referer", referer)])
    assert 'name="return" value=""' in body(await run(mounted(App()), scope)).decode()


@pytest.mark.parametrize("name", ["nobody", "%3Cscript%3E", "youtube/x"])
async def test_an_unknown_service_has_no_page(name: str) -> None:
    assert status(await run(mounted(App()), http_scope(f"/privacy/held/{name}"))) == 404


@pytest.mark.parametrize("frame", [b"", b"/a b/", b'/"/', b"/a>/", b"relative/", b"//other.example/"])
def test_a_path_that_could_not_stand_unquoted_is_left_out(frame: bytes) -> None:
    gate = HtmlGate(RULES, frame=frame)
    out = gate.feed(FRAME) + gate.close()
    assert b" src=" not in out.replace(b"data-consentmw-src", b"")


def test_what_nobody_sees_gets_no_page() -> None:
    gate = HtmlGate(RULES, frame=b"/privacy/held/")
    out = gate.feed(b'<iframe src="https://www.googletagmanager.com/ns.html?id=GTM-1"></iframe>') + gate.close()
    assert b"/privacy/held/" not in out
