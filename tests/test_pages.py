"""The visitor's own pages: a choice is proven before it counts, a withdrawal is whole, and nothing foreign gets in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from consentmw import ConsentMiddleware, LedgerError
from consentmw.assets import STATIC
from consentmw.ledger import Entry
from consentmw.pages.exchange import MAX_FORM

from .asgi import App, body, cookies, header, headers, html, http_scope, request, run, status, values
from .mounted import PAGE, choice_cookie, mounted, post

ALL = ("analytics", "advertising", "media", "email_measurement")
REGIONS = ({"code": "US-IA", "label": "IOWA"}, {"code": "US-WI", "label": "WISCONSIN"})
FORM = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")]

Fields = dict[str, str] | list[tuple[str, str]]


async def choose(site: ConsentMiddleware, fields: Fields, *more: tuple[str, str], **scope: Any) -> list[Message]:
    return await post(site, "/privacy/choices", fields, headers=list(more), **scope)


def proof(site: ConsentMiddleware, sent: list[Message]) -> list[Entry]:
    """The ledger's rows for the cookie that an answer set."""
    choice = site.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    return site.site.ledger.entries(choice.receipt)


def carried(sent: list[Message]) -> tuple[str, str]:
    """The Cookie header of a browser that got this answer."""
    return ("cookie", "; ".join(f"{name}={value}" for name, value in cookies(sent).items() if value))


# -- taking a choice -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "granted", "event"),
    [
        ({"action": "accept", "surface": "banner"}, set(ALL), "given"),
        ({"action": "reject", "surface": "banner"}, set(), "refused"),
        ({"action": "withdraw", "surface": "choices"}, set(), "refused"),
        ({"action": "save", "purpose": "media", "surface": "choices"}, {"media"}, "given"),
        ({"action": "save", "surface": "choices"}, set(), "refused"),
        ([("action", "save"), ("purpose", "media"), ("purpose", "analytics")], {"media", "analytics"}, "given"),
        ([("action", "save"), ("purpose", "necessary"), ("purpose", "made-up")], set(), "refused"),
        ([("action", "reject"), ("purpose", "advertising")], set(), "refused"),
    ],
)
async def test_a_choice_grants_what_was_asked_for_and_is_on_record(
    fields: Fields, granted: set[str], event: str
) -> None:
    site = mounted(App())
    sent = await choose(site, fields)
    assert status(sent) == 303
    choice = site.site.choices.read(cookies(sent)["privacy"])
    assert choice is not None
    assert choice.granted == granted
    (row,) = proof(site, sent)
    assert row.event == event
    assert set(row.granted) == granted
    assert set(row.refused) == set(ALL) - granted
    assert row.notice == site.site.notices.id
    assert re.fullmatch(r"[0-9a-f]{64}", row.shown), "what the visitor saw, by its hash"
    assert site.site.ledger.verify() == []


@pytest.mark.parametrize(
    "fields", [{}, {"action": ""}, {"action": "ACCEPT"}, {"action": "delete"}, {"actions": "accept"}]
)
async def test_a_form_that_says_nothing_changes_nothing(fields: dict[str, str]) -> None:
    site = mounted(App())
    sent = await choose(site, fields)
    assert status(sent) == 400
    assert values(sent, "set-cookie") == []
    assert site.site.ledger.anchor().startswith("0:")


async def test_a_later_choice_is_chained_to_the_one_before() -> None:
    site = mounted(App())
    first = await choose(site, {"action": "accept"})
    second = await choose(site, {"action": "save", "purpose": "media"}, carried(first))
    third = await choose(site, {"action": "withdraw", "surface": "choices"}, carried(second))
    rows = proof(site, third)
    assert [row.event for row in rows] == ["given", "changed", "withdrawn"]
    assert [row.previous for row in rows[1:]] == [row.receipt for row in rows[:-1]]
    assert rows[-1].method == "choices:withdraw"


async def test_a_general_yes_is_no_answer_to_a_browser_that_says_no() -> None:
    """GPC: advertising stays off under "accept all" (11 CCR 7025(c))."""
    site = mounted(App())
    sent = await choose(site, {"action": "accept"}, ("sec-gpc", "1"))
    (row,) = proof(site, sent)
    assert "advertising" in row.refused
    assert "analytics" in row.granted
    assert row.gpc


async def test_the_cookie_is_bound_to_the_host_and_out_of_scripts_reach() -> None:
    sent = await choose(mounted(App(), debug=False), {"action": "reject"}, scheme="https")
    (line,) = values(sent, "set-cookie")
    assert line.startswith("__Host-privacy=")
    attributes = {part.strip() for part in line.split(";")[1:]}
    assert attributes == {"Path=/", f"Max-Age={400 * 86_400}", "HttpOnly", "SameSite=Lax", "Secure"}


async def test_without_proof_nothing_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    site = mounted(App())
    monkeypatch.setattr(site.site.ledger, "append", fail(LedgerError("disk full")))
    sent = await choose(site, {"action": "accept"})
    assert status(sent) == 503
    assert values(sent, "set-cookie") == []
    assert b"nothing optional was switched on" in body(sent)


async def test_without_proof_a_refusal_counts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than before needs no proof to take effect, and what was recorded goes."""
    app = App(*html(PAGE))
    site = mounted(app)
    yes = carried(await choose(site, {"action": "accept"}))
    await run(site, http_scope("/seen", headers=[yes]))
    monkeypatch.setattr(site.site.ledger, "append", fail(LedgerError("disk full")))
    sent = await choose(site, {"action": "withdraw"}, yes)
    assert status(sent) == 503
    await run(site, http_scope(headers=[carried(sent)]))
    assert app.scope["consent"].why("analytics") == "choice"
    assert not app.scope["consent"].allows("analytics")
    assert site.recorder.flush(5)
    assert site.recorder.store.events() == []


# -- withdrawing -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fields", [{"action": "withdraw"}, {"action": "reject"}, {"action": "save", "purpose": "media"}]
)
async def test_a_withdrawal_deletes_the_rows_and_expires_the_cookies(fields: dict[str, str]) -> None:
    site = mounted(App(*html(PAGE)))
    yes = carried(await choose(site, {"action": "accept"}))
    for _ in range(3):
        await run(site, http_scope("/seen", headers=[yes]))
    assert site.recorder.flush(5)
    assert len(site.recorder.store.events()) == 3, "otherwise this proves nothing"
    sent = await choose(site, fields, ("cookie", yes[1] + "; _ga=1; _fbp=2; session=3"))
    gone = {line.partition("=")[0] for line in values(sent, "set-cookie") if "Max-Age=0" in line}
    assert gone == {"_ga", "_fbp"}
    assert site.recorder.flush(5)
    assert site.recorder.store.events() == []


async def test_rows_of_earlier_receipts_go_with_a_withdrawal() -> None:
    site = mounted(App(*html(PAGE)))
    first = carried(await choose(site, {"action": "accept"}))
    await run(site, http_scope("/one", headers=[first]))
    second = carried(await choose(site, {"action": "accept"}, first))
    await run(site, http_scope("/two", headers=[second]))
    await choose(site, {"action": "withdraw"}, second)
    assert site.recorder.flush(5)
    assert site.recorder.store.events() == []


async def test_a_consent_that_no_longer_counts_still_has_rows_and_they_go() -> None:
    """The services changed, so the visitor is asked again and refuses: the tier was low already, the rows are there."""
    site = mounted(App(*html(PAGE)))
    yes = await choose(site, {"action": "accept"})
    await run(site, http_scope("/seen", headers=[carried(yes)]))
    assert site.recorder.flush(5)
    assert len(site.recorder.store.events()) == 1
    choice = site.site.choices.read(cookies(yes)["privacy"])
    assert choice is not None
    changed = type(choice)(choice.receipt, choice.at, "0" * len(choice.fingerprint), choice.granted)
    await choose(site, {"action": "reject"}, ("cookie", f"privacy={site.site.choices.write(changed)}"))
    assert site.recorder.flush(5)
    assert site.recorder.store.events() == []


async def test_an_unreadable_ledger_keeps_no_withdrawal_from_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written, but its history can't be read: the cookie is set, and the rows of the last receipt go."""
    site = mounted(App(*html(PAGE)))
    yes = carried(await choose(site, {"action": "accept"}))
    await run(site, http_scope("/seen", headers=[yes]))
    monkeypatch.setattr(site.site.ledger, "entries", fail(LedgerError("read error")))
    sent = await choose(site, {"action": "withdraw"}, yes)
    assert status(sent) == 303
    assert "privacy" in cookies(sent)
    assert site.recorder.flush(5)
    assert site.recorder.store.events() == []


async def test_more_consent_deletes_nothing() -> None:
    site = mounted(App(*html(PAGE)))
    some = carried(await choose(site, {"action": "save", "purpose": "analytics"}))
    await run(site, http_scope("/seen", headers=[some]))
    await choose(site, {"action": "accept"}, some)
    assert site.recorder.flush(5)
    assert len(site.recorder.store.events()) == 1


# -- for the page's script -------------------------------------------------------------------------
async def test_the_script_learns_what_to_switch_on_and_nothing_else() -> None:
    site = mounted(App(), services_used=("google_analytics", "google_maps", "vimeo", "youtube"))
    sent = await choose(site, {"action": "save", "purpose": "media"}, ("accept", "application/json"))
    answer = json.loads(body(sent))
    assert sorted(answer["granted"]) == ["google_maps", "vimeo", "youtube"]
    assert "analytics_storage" not in answer["signals"]
    assert not answer["reload"]
    assert "privacy" in cookies(sent)


async def test_the_script_is_told_when_something_runs_that_may_not() -> None:
    """Where a law lets tags run until refused, a refusal has to end what runs: only a new page does."""
    site = mounted(App(), fallback_regime="opt_out")
    sent = await choose(site, {"action": "reject"}, ("accept", "application/json"))
    assert json.loads(body(sent))["reload"]


# -- where a form leads ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "leads"),
    [
        ("/outages?fuel=gas", "/outages?fuel=gas"),
        ("/", "/"),
        ("", None),
        ("https://evil.example/", None),
        ("//evil.example", None),
        ("/\\evil.example", None),
        ("/\t/evil.example", None),
        ("\\\\evil.example", None),
        ("javascript:alert(1)", None),
        ("/a\r\nset-cookie: x=1", None),
        ("/ümlaut", None),
        ("/" + "a" * 3000, None),
    ],
)
async def test_a_form_leads_back_into_this_site_or_to_our_page(wanted: str, leads: str | None) -> None:
    sent = await choose(mounted(App()), {"action": "reject", "return": wanted})
    assert header(sent, "location") == (leads or "/privacy/choices?saved")


@given(st.text(max_size=200))
async def test_no_text_at_all_leads_to_another_site(wanted: str) -> None:
    sent = await choose(mounted(App()), {"action": "reject", "return": wanted})
    where = header(sent, "location") or ""
    assert re.fullmatch(r"/(?![/\\])[ -~]*", where)
    assert len(values(sent, "location")) == 1


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"x" * (MAX_FORM + 1), 413),
        (b"action=accept&" + b"&".join(b"a=b" for _ in range(70)), 400),
        (b"\xff\xfe\x00", 400),
        (b'{"action": "accept"}', 400),
        (b"", 400),
        (b"action=accept%00", 400),
    ],
)
async def test_hostile_bodies_are_refused_with_a_sentence(raw: bytes, code: int) -> None:
    sent = await run(mounted(App()), http_scope("/privacy/choices", "POST", FORM), request(raw))
    assert status(sent) == code
    assert values(sent, "set-cookie") == []
    assert b"<h1>" in body(sent)


async def test_a_form_that_breaks_off_counts_for_nothing() -> None:
    site = mounted(App())
    events = (request(b"action=accept", more=True), {"type": "http.disconnect"})
    assert status(await run(site, http_scope("/privacy/choices", "POST", FORM), *events)) == 400
    assert site.site.ledger.anchor().startswith("0:")


# -- language and region ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "language", "region"),
    [
        ({"language": "es"}, "es", ""),
        ({"region": "US-IA"}, "", "US-IA"),
        ({"region": "-"}, "", "-"),
        ({"language": "xx", "region": "US-TX"}, "", ""),
        ({"language": "../etc", "region": "x" * 500}, "", ""),
        ({}, "", ""),
    ],
)
async def test_only_what_is_offered_can_be_stated(fields: dict[str, str], language: str, region: str) -> None:
    site = mounted(App(), region_choices=REGIONS)
    sent = await post(site, "/privacy/locale", fields)
    stated = site.site.locales.read(cookies(sent)["privacy-locale"])
    assert stated is not None
    assert (stated.language, stated.region) == (language, region)


async def test_stating_a_language_keeps_the_region_and_the_other_way_round() -> None:
    site = mounted(App(), region_choices=REGIONS)
    first = await post(site, "/privacy/locale", {"region": "US-IA"})
    second = await post(site, "/privacy/locale", {"language": "es"}, headers=[carried(first)])
    stated = site.site.locales.read(cookies(second)["privacy-locale"])
    assert stated is not None
    assert (stated.language, stated.region) == ("es", "US-IA")


async def test_another_sites_page_cannot_state_a_region() -> None:
    sent = await run(
        mounted(App()), http_scope("/privacy/locale", "POST", [("sec-fetch-site", "cross-site")]), request(b"region=-")
    )
    assert status(sent) == 403
    assert values(sent, "set-cookie") == []


@pytest.mark.parametrize(("region", "asks"), [("", True), ("US-IA", False), ("-", False)])
async def test_the_banner_asks_for_the_region_until_there_is_an_answer(region: str, asks: bool) -> None:
    site = mounted(App(*html(PAGE)), region_choices=REGIONS, fallback_regime="strict", regimes={"US-IA": "opt_in"})
    answer = await post(site, "/privacy/locale", {"region": region})
    text = body(await run(site, http_scope(headers=[carried(answer)] if region else []))).decode()
    assert 'id="consentmw"' in text
    assert ("NO THANKS" in text) == asks


# -- showing ---------------------------------------------------------------------------------------
PATHS = ("", "/choices", "/opt-out", "/locale", "/receipt", "/no-such-page")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("extra", [(), (("sec-gpc", "1"),)], ids=["plain", "gpc"])
async def test_every_page_of_ours_is_whole_html_and_carries_nothing_inline(
    path: str, language: str, extra: tuple[tuple[str, str], ...]
) -> None:
    site = mounted(App(), region_choices=REGIONS)
    sent = await run(site, http_scope(f"/privacy{path}", headers=[("accept-language", language), *extra]))
    text = body(sent).decode()
    parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
    root = parser.parse(text)
    assert parser.errors == []
    assert root.get("lang") == language
    assert len(root.findall(".//h1")) == 1
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids)), "an id twice breaks labels"
    for node in root.iter():
        assert not any(name.startswith("on") or name == "style" for name in node.attrib), "our own policy forbids it"
        for name in ("src", "action"):
            assert (node.get(name) or "/").startswith("/"), "nothing of ours loads from or posts to another host"
    assert ("Opt-Out Request Honored" in text) == (bool(extra) and language == "en")
    assert header(sent, "cache-control") == "private, no-store"
    assert header(sent, "content-language") == language
    assert "default-src 'none'" in (header(sent, "content-security-policy") or "")


async def test_the_page_of_choices_shows_what_holds_now() -> None:
    site = mounted(App())
    text = body(await run(site, http_scope("/privacy/choices", headers=[("cookie", choice_cookie(site, "media"))])))
    checked = re.findall(r'value="(\w+)" checked', text.decode())
    assert checked == ["media"]
    assert 'data-consentmw-action="withdraw"' in text.decode()


async def test_nothing_optional_is_ticked_before_anybody_ticked_it() -> None:
    """Planet49 (C-673/17): a box that is ticked already is no consent."""
    text = body(await run(mounted(App()), http_scope("/privacy/choices"))).decode()
    assert " checked" not in text
    assert 'data-consentmw-action="withdraw"' not in text


async def test_refusing_is_as_easy_as_accepting() -> None:
    """Both stand on the first layer, in the same element and class, reject no later than by one place."""
    text = body(await run(mounted(App(*html(PAGE))), http_scope())).decode()
    buttons = re.findall(r'<button class="([^"]*)" name="action" value="(\w+)"', text)
    assert [value for _, value in buttons] == ["accept", "reject"]
    assert len({look for look, _ in buttons}) == 1


async def test_the_receipt_shows_ones_own_choices_only() -> None:
    site = mounted(App())
    mine = await choose(site, {"action": "accept"})
    other = await choose(site, {"action": "reject"})
    mine_id, other_id = (proof(site, sent)[0].receipt for sent in (mine, other))
    text = body(await run(site, http_scope("/privacy/receipt", headers=[carried(mine)]))).decode()
    assert mine_id in text
    assert other_id not in text
    guess = http_scope(f"/privacy/receipt?receipt={other_id}")
    assert other_id not in body(await run(site, guess)).decode()


async def test_the_receipt_says_so_when_the_ledger_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    site = mounted(App())
    mine = await choose(site, {"action": "accept"})
    monkeypatch.setattr(site.site.ledger, "entries", fail(LedgerError("down")))
    sent = await run(site, http_scope("/privacy/receipt", headers=[carried(mine)]))
    assert status(sent) == 503
    assert b"can&#39;t be read" in body(sent)


async def test_names_from_settings_are_text_and_never_markup() -> None:
    evil = '<script>alert(1)</script>"{{ "ev" * 3 }}'
    site = mounted(App(*html(PAGE)), site_name=evil, contact=evil)
    for path in ("/", "/privacy", "/privacy/choices"):
        text = body(await run(site, http_scope(path))).decode()
        assert "<script>alert" not in text
        assert "evevev" not in text


@pytest.mark.parametrize(
    "path", ["/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/?x=%22><script>alert(1)</script>", "/a&quot;'><b>"]
)
async def test_an_address_is_text_in_the_banner(path: str) -> None:
    """The form's return field repeats the page's own address: nothing in it may become markup."""
    text = body(await run(mounted(App(*html(PAGE))), http_scope(path))).decode()
    assert 'id="consentmw"' in text
    assert "<script>alert" not in text
    assert "><b>" not in text


async def test_state_is_for_scripts_of_the_site() -> None:
    site = mounted(App(), services_used=("google_analytics", "google_maps", "vimeo", "youtube"))
    sent = await run(site, http_scope("/privacy/state", headers=[("cookie", choice_cookie(site, "media"))]))
    state = json.loads(body(sent))
    assert sorted(state["granted"]) == ["google_maps", "vimeo", "youtube"]
    assert state["ask"] is False
    assert header(sent, "access-control-allow-origin") is None, "for this site only"


# -- files and statements --------------------------------------------------------------------------
async def test_static_files_are_named_by_their_bytes_and_kept() -> None:
    site = mounted(App(*html(PAGE)))
    names = set(re.findall(r"/privacy/static/([^\"]+)", body(await run(site, http_scope())).decode()))
    assert {name.partition(".")[0] for name in names} == {"privacy", "signals"}
    assert len(names) == 3, "privacy is a style and a script"
    for name in names:
        sent = await run(site, http_scope(f"/privacy/static/{name}"))
        stem, digest, suffix = name.split(".")
        assert hashlib.sha256(body(sent)).hexdigest().startswith(digest)
        written = (STATIC / f"{stem}.{suffix}").read_bytes()
        facts = re.search(rb"const SITE = (\{.+\});", body(sent))
        # A script is told once what is true of the site; all else is as it was written.
        assert body(sent).replace(facts[1] if facts else b"{}", b"{}", 1) == written
        assert (facts is None) == (suffix == "css")
        assert "immutable" in (header(sent, "cache-control") or "")


@pytest.mark.parametrize("name", ["", "privacy.css", "..%2fpyproject.toml", "../../etc/passwd", "a/b", "%00"])
async def test_no_other_file_is_served(name: str) -> None:
    app = App(*html(PAGE))
    assert status(await run(mounted(app), http_scope(f"/privacy/static/{name}"))) == 404
    assert app.scopes == []


async def test_the_site_states_that_it_honours_gpc() -> None:
    sent = await run(mounted(App()), http_scope("/.well-known/gpc.json"))
    statement = json.loads(body(sent))
    assert statement["gpc"] is True
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", statement["lastUpdate"])
    assert header(sent, "content-type") == "application/json"


READ_ONLY = ("/privacy", "/privacy/receipt", "/privacy/state", "/.well-known/gpc.json", "/privacy/static/x")


@pytest.mark.parametrize("path", READ_ONLY)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "X"])
async def test_pages_that_are_only_read_say_so(path: str, method: str) -> None:
    sent = await run(mounted(App()), http_scope(path, method))
    assert status(sent) == 405
    assert header(sent, "allow") == "GET, HEAD"


@pytest.mark.parametrize("path", ["/privacy/choices", "/privacy/locale"])
async def test_forms_say_which_methods_they_take(path: str) -> None:
    sent = await run(mounted(App()), http_scope(path, "PUT", FORM))
    assert status(sent) == 405
    assert header(sent, "allow") == "GET, HEAD, POST"


@pytest.mark.parametrize("path", [f"/privacy{path}" for path in PATHS] + ["/.well-known/gpc.json", "/privacy/state"])
async def test_head_of_our_pages_is_get_without_a_body(path: str) -> None:
    site = mounted(App())
    head, get = [await run(site, http_scope(path, method)) for method in ("HEAD", "GET")]
    assert body(head) == b""
    assert headers(head) == headers(get)


# -- pixel and click-through -----------------------------------------------------------------------
async def minted(*granted: str) -> tuple[ConsentMiddleware, str, str, list[tuple[str, str]]]:
    """A site with a pixel and a link that name a person, and the headers of a visitor."""
    app = App(*html(PAGE))
    site = mounted(app)
    who = [("cookie", choice_cookie(site, *granted))] if granted else []
    await run(site, http_scope(headers=who))
    consent = app.scope["consent"]
    where = consent.click_through("https://partner.example/a?b=c", campaign="spring", link="top", recipient="r1")
    assert site.recorder.flush(5)
    return site, consent.pixel("spring", "r1"), where, who


async def test_a_pixel_is_43_bytes_that_no_cache_keeps_and_counts_once() -> None:
    site, pixel, _, _ = await minted()
    sent = await run(site, http_scope(pixel))
    assert body(sent)[:6] == b"GIF89a"
    assert header(sent, "content-length") == "43" == str(len(body(sent)))
    assert "no-store" in (header(sent, "cache-control") or "")
    assert values(sent, "set-cookie") == []
    assert site.recorder.flush(5)
    (row,) = (row for row in site.recorder.store.counts() if row["kind"] == "pixel")
    assert (row["count"], row["campaign"]) == (1, "spring")
    assert site.recorder.store.events() == [], "who opened it is asked for first"


async def test_a_browser_that_allows_everything_does_not_name_the_recipient_of_a_mail() -> None:
    """Only the recipient's own word counts (tests/test_mail.py): the mail may have been forwarded."""
    site, _, link, who = await minted("analytics", "email_measurement")
    sent = await run(site, http_scope(link, headers=who))
    assert (status(sent), header(sent, "location")) == (302, "https://partner.example/a?b=c")
    assert site.recorder.flush(5)
    assert [row for row in site.recorder.store.events() if row["kind"] == "click"] == []


async def test_a_link_leads_on_with_every_store_down(monkeypatch: pytest.MonkeyPatch) -> None:
    site, pixel, link, _ = await minted()
    monkeypatch.setattr(site.recorder, "put", fail(RuntimeError("down")))
    assert status(await run(site, http_scope(link))) == 302
    assert status(await run(site, http_scope(pixel))) == 200


Spoil = Callable[[str, str], str]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good, _: good[:-1],
        lambda good, _: good + "A",
        lambda good, _: good.swapcase(),
        lambda good, other: other,
        lambda good, _: "x" * 5000,
        lambda good, _: "",
        lambda good, _: good + "/../../x",
    ],
    ids=["cut", "longer", "changed", "of another kind", "huge", "empty", "path"],
)
async def test_a_token_that_is_not_ours_leads_nowhere(spoil: Spoil) -> None:
    site, pixel, link, _ = await minted()
    go, px = link.rpartition("/")[2], pixel.rpartition("/")[2]
    click = await run(site, http_scope(f"/privacy/go/{spoil(go, px.removesuffix('.gif'))}"))
    assert (status(click), header(click, "location")) == (404, None)
    image = await run(site, http_scope(f"/privacy/px/{spoil(px.removesuffix('.gif'), go)}.gif"))
    assert status(image) == 404
    assert site.recorder.flush(5)
    assert {row["kind"] for row in site.recorder.store.counts()} == {"banner", "page"}, "and counts for nothing"


async def test_a_head_of_a_pixel_has_no_body() -> None:
    site, pixel, _, _ = await minted()
    sent = await run(site, http_scope(pixel, "HEAD"))
    assert (status(sent), body(sent)) == (200, b"")


async def test_tokens_expire_when_the_site_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(*html(PAGE))
    site = mounted(app, token_days=1)
    await run(site, http_scope())
    link = app.scope["consent"].click_through("https://partner.example/")
    assert status(await run(site, http_scope(link))) == 302
    signer = site.site.tokens._click
    monkeypatch.setattr(signer, "_clock", lambda: 4_000_000_000)
    assert status(await run(site, http_scope(link))) == 404


def fail(error: Exception) -> Callable[..., Awaitable[None]]:
    def raises(*_: object, **__: object) -> Any:
        raise error

    return raises
