"""On the way to another site: it is named first where the settings say so, and what was revoked leads nowhere."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import ConsentMiddleware, SettingsError
from consentmw.pages.leaving import shown_host
from consentmw.revoked import Revoked

from .asgi import App, body, header, http_scope, run, status
from .mounted import choice_cookie, mounted

OTHER = "https://other.example/guide?room=attic#top"


def site(**options: Any) -> ConsentMiddleware:
    return mounted(App(), **options)


def token(on: ConsentMiddleware, url: str, campaign: str = "spring") -> str:
    return on.site.tokens.click(url, campaign, "a")


async def location(on: ConsentMiddleware, url: str, *headers: tuple[str, str], **scope: Any) -> str | None:
    root: str = scope.get("root_path", "")
    sent = await run(on, http_scope(f"{root}/privacy/go/{token(on, url)}", headers=headers, **scope))
    assert status(sent) == 302
    assert header(sent, "referrer-policy") == "no-referrer"
    assert header(sent, "cache-control") == "no-store, no-cache, must-revalidate, private"
    return header(sent, "location")


# -- click identifiers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "granted", "leads"),
    [
        ("https://other.example/?gclid=1&x=2", (), "https://other.example/?x=2"),
        ("https://other.example/?gclid=1&x=2", ("analytics",), "https://other.example/?x=2"),
        ("https://other.example/?gclid=1&x=2", ("advertising",), "https://other.example/?gclid=1&x=2"),
        ("https://other.example/#fbclid=1", (), "https://other.example/"),
        ("https://other.example/?mc_eid=1", ("email_measurement",), "https://other.example/?mc_eid=1"),
        ("https://site.example/?gclid=1", (), "https://site.example/?gclid=1"),
        ("https://pay.site.example/?gclid=1", (), "https://pay.site.example/?gclid=1"),
        ("/?gclid=1", (), "/?gclid=1"),
    ],
)
async def test_no_click_identifier_leaves_that_nobody_allowed(url: str, granted: tuple[str, ...], leads: str) -> None:
    """As in every other redirect of the site; between its own pages nothing is touched."""
    on = site()
    cookie = [("cookie", choice_cookie(on, *granted))] if granted else []
    assert await location(on, url, *cookie) == leads


# -- the page in between --------------------------------------------------------------------------


async def test_by_default_a_link_leads_straight_on() -> None:
    assert await location(site(), OTHER) == OTHER


async def test_a_link_to_another_site_is_named_first_where_the_settings_say_so() -> None:
    on = site(leaving="other sites", own_hosts=("paysite.example",))
    assert await location(on, OTHER) == f"/privacy/leaving/{token(on, OTHER)}"
    assert await location(on, OTHER, root_path="/shop") == f"/shop/privacy/leaving/{token(on, OTHER)}"
    for own in ("/outages", "https://site.example/x", "https://www.site.example/x", "https://paysite.example/"):
        assert await location(on, own) == own


async def test_the_page_names_the_host_and_waits_for_a_click() -> None:
    on = site(leaving="other sites")
    sent = await run(on, http_scope(f"/privacy/leaving/{token(on, 'https://other.example/?gclid=1&x=%22%3E&y=2')}"))
    text = body(sent).decode()
    assert status(sent) == 200
    assert "<bdi>other.example</bdi>" in text
    assert 'href="https://other.example/?x=%22%3E&amp;y=2" rel="noopener noreferrer"' in text
    assert "refresh" not in text.lower()
    assert "<script" not in text
    assert header(sent, "refresh") is header(sent, "location") is None
    spanish = await run(on, http_scope(f"/privacy/leaving/{token(on, OTHER)}", headers=[("accept-language", "es")]))
    assert "Está saliendo de" in body(spanish).decode()
    assert "Continuar a other.example" in body(spanish).decode()


@pytest.mark.parametrize("path", ["", "/x", "/https://other.example/", "/?to=https://other.example/"])
async def test_the_page_names_nothing_that_was_not_signed(path: str) -> None:
    """An open page "you are leaving" would lend a swindler the site's good name."""
    on = site(leaving="other sites")
    sent = await run(on, http_scope(f"/privacy/leaving{path}"))
    assert status(sent) == 404
    assert b"other.example" not in body(sent)


async def test_the_page_is_only_read() -> None:
    on = site(leaving="other sites")
    assert status(await run(on, http_scope(f"/privacy/leaving/{token(on, OTHER)}", "POST"))) == 405


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("other.example", ("other.example", "")),
        ("xn--mnchen-3ya.example", ("münchen.example", "xn--mnchen-3ya.example")),
        ("www.xn--e1afmkfd.xn--p1ai", ("www.пример.рф", "www.xn--e1afmkfd.xn--p1ai")),
        # Cyrillic "а" in a Latin word, Greek in Latin: mixed
        ("xn--pple-43d.com", ("xn--pple-43d.com", "")),
        ("xn--gogle-sce.com", ("xn--gogle-sce.com", "")),
        # All Cyrillic, and looks like "apple": shown, with its ASCII form beside it
        ("xn--80ak6aa92e.com", ("аррӏе.com", "xn--80ak6aa92e.com")),
        ("xn--.example", ("xn--.example", "")),
        ("xn--a.example", ("xn--a.example", "")),
        ("xn--abc-.example", ("xn--abc-.example", "")),
        ("xn--99999999999999999999.example", ("xn--99999999999999999999.example", "")),
        ("xn--mnchen-3ya.xn--pple-43d.com", ("xn--mnchen-3ya.xn--pple-43d.com", "")),
        # An emoji, a dot that is none, a slash that is none, and a direction turned around
        ("xn--ls8h.example", ("xn--ls8h.example", "")),
        ("xn--ab-6xp.example", ("xn--ab-6xp.example", "")),
        ("192.0.2.1", ("192.0.2.1", "")),
        ("2001:db8::1", ("2001:db8::1", "")),
    ],
)
def test_a_host_is_shown_so_that_it_cannot_pose_as_another(host: str, shown: tuple[str, str]) -> None:
    assert shown_host(host) == shown


@given(st.text(min_size=1, max_size=12))
def test_what_is_shown_beyond_ascii_is_letters_and_leads_to_the_same_host(words: str) -> None:
    try:
        host = "xn--" + words.encode("punycode").decode("ascii") + ".example"
    except (UnicodeError, ValueError):
        return
    text, ascii_host = shown_host(host)
    if ascii_host:
        assert ascii_host == host
        assert all(c.isalnum() or c in "-." or unicodedata.category(c).startswith("M") for c in text)
        assert text.removesuffix(".example").encode("punycode").decode() == host[4:-8]
    else:
        assert text == host


# -- revoked links --------------------------------------------------------------------------------


async def test_revoked_campaigns_and_tokens_lead_nowhere(tmp_path: Path) -> None:
    """A partner's site was taken over: links in mails that cannot be called back stop leading there."""
    listed = tmp_path / "revoked.txt"
    listed.write_text("# taken over\n\n  autumn \nsommer fest\n", "utf-8")
    on = site(revoked_links=listed, leaving="other sites")
    for campaign, code in (("autumn", 410), ("sommer fest", 410), ("spring", 302), ("", 302)):
        link = token(on, OTHER, campaign)
        sent = await run(on, http_scope(f"/privacy/go/{link}"))
        assert (status(sent), header(sent, "location") is None) == (code, code == 410)
        image = await run(on, http_scope(f"/privacy/px/{on.site.tokens.pixel(campaign)}.gif"))
        assert status(image) == (410 if code == 410 else 200)
        assert status(await run(on, http_scope(f"/privacy/leaving/{link}"))) == (410 if code == 410 else 200)
    assert status(await run(on, http_scope(f"/privacy/mail/{on.site.tokens.mail('autumn', 'r1')}"))) == 200
    single = token(on, OTHER)
    listed.write_text(single, "ascii")
    on.site.revoked._look_at = 0.0
    assert status(await run(on, http_scope(f"/privacy/go/{single}"))) == 410
    assert status(await run(on, http_scope(f"/privacy/go/{token(on, '/', 'autumn')}"))) == 302


def test_the_list_is_read_again_when_it_changes_and_kept_when_it_cannot_be(tmp_path: Path) -> None:
    now = 0.0
    listed = tmp_path / "revoked.txt"
    listed.write_text("autumn", "ascii")
    revoked = Revoked(listed, lambda: now)
    listed.write_text("autumn\nwinter", "ascii")
    assert not revoked.covers("t", "winter"), "looked at every few seconds, not at every click"
    now = 5.0
    assert revoked.covers("t", "winter")
    for spoil in (lambda: listed.write_bytes(b"\xff\xfe"), lambda: os.truncate(listed, 5_000_000), listed.unlink):
        spoil()
        now += 5.0
        assert revoked.covers("t", "winter"), "what was revoked stays so"
    listed.write_text("autumn", "ascii")
    now += 5.0
    assert not revoked.covers("t", "winter")


def test_a_list_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="revoked_links"):
        site(revoked_links=tmp_path / "none.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="revoked_links"):
        site(revoked_links=tmp_path / "bad.txt")
    file = tmp_path / "consent.toml"
    file.write_text('debug = true\nstore = "memory:"\nrevoked_links = "lists/revoked.txt"\n', "ascii")
    with pytest.raises(SettingsError, match="revoked_links"):
        ConsentMiddleware(App(), file)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "revoked.txt").write_text("autumn", "ascii")
    assert ConsentMiddleware(App(), file).site.revoked.covers("", "autumn"), "relative to the settings file"


def test_without_a_list_nothing_is_revoked() -> None:
    assert not Revoked(None).covers("", "")
    assert not Revoked(None).covers("token", "campaign")


def test_no_other_word_than_the_two_is_a_setting() -> None:
    with pytest.raises(SettingsError, match="leaving"):
        site(leaving="always")
    assert re.match("never", site().settings.leaving)
