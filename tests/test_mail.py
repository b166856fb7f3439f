"""A mail that is rewritten keeps every byte but its links; and nobody is named in it who did not allow that."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import LedgerError, Settings, SettingsError
from consentmw.identity import Pseudonyms
from consentmw.ledger import Ledger
from consentmw.mail import GMAIL_CUTS, Mail, Mailer, open_mailer
from consentmw.recipients import Recipients
from consentmw.stores.memory import MemoryStore
from consentmw.tokens import ClickToken, Tokens

NEWSLETTER = Path(__file__).parent / "data" / "newsletter.html"
BASE = "https://www.utility.example"
KEY = "a key for tests, long enough"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

#: for the environment, where a comma separates keys
SECRET = "a-key-for-commands-long-enough"

tokens = Tokens([KEY])


def mailer(*, recipients: Recipients | None = None, base: str = BASE, **options: Any) -> Mailer:
    own = options.pop("own", lambda host: host == "pay.utility.example")
    return Mailer(tokens, base, own=own, recipients=recipients, **options)


def registry(store: MemoryStore | None = None) -> Recipients:
    kept = store or MemoryStore()
    return Recipients(Ledger(lambda: kept), Pseudonyms(KEY), valid_for=timedelta(days=180), clock=lambda: NOW)


def rewritten(html: str, **options: Any) -> Mail:
    """The mail without trap, foot and pixel in it: only what became of the links."""
    return mailer().rewrite(html + _FINISHED, "spring", trap=False, **options)


_FINISHED = f'<a href="{BASE}/privacy/mail/x"></a><img src="{BASE}/privacy/px/x.gif">'


def clicks(mail: Mail) -> list[ClickToken]:
    """What the click-throughs in a mail say, in order; the link that only programs follow is none."""
    links = re.findall(r'/privacy/go/([\w.-]+)(?!" style="display:none)(?=["\'\s>])', mail.html)
    return [tokens.read_click(text) for text in links]


# -- the whole mail -------------------------------------------------------------------------------


def test_a_newsletter_keeps_every_byte_but_its_links() -> None:
    """Mail programs are strange parsers: what worked before must work after."""
    before = NEWSLETTER.read_text("utf-8")
    mail = mailer().rewrite(before, "spring")
    after = mail.html
    assert mail.warnings == ()
    for link in mail.links:
        after = after.replace(link.address, "", 1)
    left = re.sub(r'<a href="[^"]*" style="display:none[^>]*></a><img [^>]*data-consentmw>', "", after)
    left = re.sub(r'<a href="[^"]*/privacy/mail/[^"]*">Privacy choices</a>', "{{privacy_choices}}", left)
    # The mail as it was, but for the addresses that were signed.
    signed = r"""(href=["']?)https://(?!www\.utility\.example/(?:title|style|commented-out))[^"'\s>]+"""
    assert left == re.sub(signed, r"\1", before, flags=re.IGNORECASE)


def test_every_link_of_a_newsletter_is_signed_and_named() -> None:
    """Also those that only Outlook reads, in capitals, without quotes, and with entities in them."""
    mail = mailer().rewrite(NEWSLETTER.read_text("utf-8"), "spring")
    found = clicks(mail)
    assert [(link.name, link.url) for link in mail.links] == [(token.link, token.url) for token in found]
    utm = "utm_source=newsletter&utm_medium=email&utm_campaign=spring"
    assert [(link.name, link.url) for link in mail.links] == [
        ("link-1", f"{BASE}/?{utm}"),
        ("outages", f"{BASE}/outages?from=mail&view=map&{utm}"),
        ("outages", f"{BASE}/outages?from=mail&view=map&{utm}#now"),
        ("link-4", f"{BASE}/news/rebates?{utm}"),
        ("partner", "https://heatpumps.example/guide?room=attic"),
        ("link-6", f"{BASE}/contact?{utm}"),
    ]
    assert {token.campaign for token in found} == {"spring"}
    assert {token.recipient for token in found} == {""}


def test_rewriting_twice_changes_nothing() -> None:
    once = mailer().rewrite(NEWSLETTER.read_text("utf-8"), "spring")
    twice = mailer().rewrite(once.html, "autumn", "somebody")
    assert (twice.html, twice.links, twice.warnings) == (once.html, (), ())


def test_a_mail_gets_pixel_choices_and_trap_at_the_end_of_its_body() -> None:
    html = mailer().rewrite("<html lang=es><body><p>Hola</p></body></html>", "spring").html
    start, foot, trap, pixel, end = re.fullmatch(
        r"(.*</p>)(<p style.*?</p>)(<a .*?></a>)(<img .*?>)(</body></html>)", html
    ).groups()  # type: ignore[union-attr]
    assert (start, end) == ("<html lang=es><body><p>Hola</p>", "</body></html>")
    assert "Opciones de privacidad" in foot, "in the language of the mail"
    assert tokens.read_mail(re.search(r"/privacy/mail/([\w.-]+)", foot)[1]).campaign == "spring"  # type: ignore[index]
    assert tokens.read_trap(re.search(r"/privacy/go/([\w.-]+)", trap)[1]).campaign == "spring"  # type: ignore[index]
    assert tokens.read_pixel(re.search(r"/px/([\w.-]+)\.gif", pixel)[1]).campaign == "spring"  # type: ignore[index]
    assert 'aria-hidden="true" tabindex="-1"' in trap, "no person comes across it"


@pytest.mark.parametrize(
    ("html", "begins"),
    [
        ("<p>x", "<p>x"),
        ("<p>x</html>", "<p>x"),
        ("<p>x</BODY >y</html>", "<p>x"),
        ("<body><!-- </body> --><p>x</p></body>", "<body><!-- </body> --><p>x</p>"),
        ("<body><!--[if mso]></body><![endif]--><p>x</p></body>", "<body><!--[if mso]></body><![endif]--><p>x</p>"),
        ("<body></body><p>x</p></body>", "<body></body><p>x</p>"),
        ("", ""),
    ],
)
def test_the_end_of_the_body_is_found(html: str, begins: str) -> None:
    out = mailer().rewrite(html, "spring").html
    assert out.startswith(begins + "<p style="), "our part comes next"


def test_the_marker_becomes_a_link_in_text_and_an_address_in_a_tag() -> None:
    html = mailer().rewrite('<p>{{ privacy_choices }}</p><a href="{{privacy_choices}}">Stop</a>', "spring").html
    address = rf"{re.escape(BASE)}/privacy/mail/[\w.-]+"
    assert re.match(rf'<p><a href="{address}">Privacy choices</a></p><a href="{address}">Stop</a><a [^>]*trap', html)


def test_a_mail_over_what_gmail_shows_is_warned_about() -> None:
    assert mailer().rewrite("x" * 1000, "spring").warnings == ()
    (warning,) = mailer().rewrite("x" * GMAIL_CUTS, "spring").warnings
    assert "Gmail" in warning


def test_bytes_in_another_encoding_come_out_as_they_went_in() -> None:
    raw = b'<p>Caf\xe9 \x80</p><a href="https://a.example/">x</a>\xff' + _FINISHED.encode()
    out = rewritten(raw.decode("utf-8", "surrogateescape")[: -len(_FINISHED)]).html.encode("utf-8", "surrogateescape")
    assert out.startswith(b"<p>Caf\xe9 \x80</p><a ")
    assert b">x</a>\xff" in out


def test_utf_16_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="UTF-16"):
        mailer().rewrite("<\0a\0>\0", "spring")


@pytest.mark.parametrize("campaign", ["", "a\nb", "x" * 129, "\ud800"])
def test_a_campaign_that_fits_in_no_token_is_refused(campaign: str) -> None:
    with pytest.raises(ValueError, match="campaign"):
        mailer().rewrite("<p>x</p>", campaign)


@pytest.mark.parametrize(
    "base",
    ["", "www.utility.example", "ftp://x.example", "https://", "https://a b.example", 'https://x.example/"', "//x",
     "https://x.example/?q", "https://u@x.example", "https://x.example/../y\n"],
)  # fmt: skip
def test_a_base_that_is_no_site_is_refused(base: str) -> None:
    """What stands before every link must not be able to break out of an attribute."""
    with pytest.raises(ValueError, match="base"):
        mailer(base=base)


# -- single links ---------------------------------------------------------------------------------

TARGET = "https://other.example/a?b=1&c=2"


@pytest.mark.parametrize(
    "html",
    [
        '<a href="{}">x</a>',
        "<a href='{}'>x</a>",
        "<A HREF={}>x</A>",
        "<a\nhref\n=\n{}\n>x</a>",
        '<a class=x href="{}"href="https://second.example/">x</a>',
        '<a title="a > b" href="{}">x</a>',
        '<area shape=rect href="{}">',
        '<v:roundrect href="{}" arcsize="8%"><center>x</center></v:roundrect>',
        '<!--[if mso]><v:rect href="{}"></v:rect><![endif]-->',
        '<!--[if (gte mso 9)|(IE)]><a href="{}">x</a><![endif]-->',
        '<!-- [if mso]><a href="{}">x</a><![endif]-->',
        '<!--[if mso]><a href="{}">x',
        '<!--[if !mso]><!--><a href="{}">x</a><!--<![endif]-->',
        '<![if !mso]><a href="{}">x</a><![endif]>',
        '</p <><a href="{}">x</a>',
        '<?xml version="1.0"?><a href="{}">x</a>',
        '<!DOCTYPE html><a href="{}">x</a>',
        '<style>a::before{{content:"</a>"}}</style><a href="{}">x</a>',
        '<title><a href="https://no.example/"></title><a href="{}">x</a>',
        '<a/href="{}">x</a>',
        "<noscript><a href='{}'>x</a></noscript>",
    ],
)
@pytest.mark.parametrize("written", [TARGET, TARGET.replace("&", "&amp;"), TARGET.replace("&", "&#38;")])
def test_a_link_is_found_however_it_is_written(html: str, written: str) -> None:
    mail = rewritten(html.format(written))
    assert [link.url for link in mail.links] == [TARGET]
    before, after = html.split("{}")
    address = re.escape(mail.links[0].address)
    before, after = (re.escape(part.replace("{{", "{").replace("}}", "}")) for part in (before.rstrip(" "), after))
    assert re.match(f"{before}{address}{after}", mail.html)


@pytest.mark.parametrize(
    "html",
    [
        '<a href="mailto:a@b.example">x</a>',
        '<a href="tel:+1">x</a>',
        '<a href="sms:+1">x</a>',
        '<a href="cid:part1">x</a>',
        '<a href="#top">x</a>',
        '<a href="">x</a>',
        "<a href>x</a>",
        "<a>x</a>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="*|UNSUB|*">x</a>',
        '<img src="https://other.example/a.png">',
        '<link rel=stylesheet href="https://other.example/a.css">',
        '<base href="https://other.example/">',
        '<!-- <a href="https://other.example/">x</a> -->',
        '<!--><!-- --!><!---><!-- <a href="https://other.example/"> ',
        '<style><a href="https://other.example/"></style>',
        '<textarea><a href="https://other.example/">x</a></textarea>',
        '<xmp><a href="https://other.example/">',
        '<plaintext><a href="https://other.example/">',
        '</a href="https://other.example/">',
        '<a href="https://other.example/',
        '<a href="https://other.example/>x</a>',
        '<p <a href="https://other.example/">x</a>',
        '<abbr href="https://other.example/">x</abbr>',
        '<a data-href="https://other.example/">x</a>',
        f'<a href="{BASE}/privacy/go/abc">x</a>',
        '<a href="HTTPS://WWW.UTILITY.EXAMPLE/privacy/choices">x</a>',
        f'<a href="{BASE}/privacy">x</a>',
        "<a href=\"https://other.example/\" ='",
        "< a href='https://other.example/'>",
    ],
)  # fmt: skip
def test_what_is_no_link_or_ours_already_stays(html: str) -> None:
    mail = mailer().rewrite(html, "spring", trap=False)
    assert mail.links == ()
    assert mail.html.startswith(html)
    assert mail.warnings == ()


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ('<a href="/outages">x</a>', "no scheme"),
        ('<a href="//other.example/">x</a>', "no scheme"),
        ('<a href="https://other.example/?c={{contact}}">x</a>', "placeholder"),
        ('<a href="https://*|DOMAIN|*/">x</a>', "placeholder"),
        ('<a href="https://münchen.example/">x</a>', "can't be signed"),
        ('<a href="https://user@other.example/">x</a>', "can't be signed"),
        ('<a href="https://other.example\\evil">x</a>', "can't be signed"),
        ('<a href="https:other.example">x</a>', "can't be signed"),
        ('<a href="https://[">x</a>', "can't be signed"),
        ('<a href="https://other.example/\udce9\x01">x</a>', "can't be signed"),
        (f'<a href="https://other.example/{"x" * 3000}">x</a>', "can't be signed"),
        (f'<a href="https://other.example/" data-link="{"x" * 200}">x</a>', "can't be signed"),
        ('<form action="https://other.example/search"><input name=q></form>', "form"),
    ],
)
def test_what_would_break_stays_and_is_warned_about(html: str, says: str) -> None:
    """A link that leads nowhere is worse than one that is not counted."""
    mail = rewritten(f"<p>\n{html}")
    assert mail.html.startswith(f"<p>\n{html}")
    (warning,) = mail.warnings
    assert says in warning
    assert warning.startswith("Line 2: ")
    assert warning.isprintable()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("?a=1&copy=2&reg=3", "?a=1&copy=2&reg=3"),
        ("?a=1&amp;b", "?a=1&b"),
        ("?a=1&ampb", "?a=1&ampb"),
        ("?a&#x26;b&#38;c&#38d", "?a&b&c&d"),
        ("?a&lt", "?a%3C"),
        ("?a&lt=", "?a&lt="),
        ("?a&nosuch;b", "?a&nosuch;b"),
        ("?a&copy;", "?a%C2%A9"),
        ("?a&", "?a&"),
    ],
)
def test_entities_are_read_as_browsers_read_them_in_attributes(written: str, read: str) -> None:
    """An unescaped ampersand before copy=2 is the usual mistake, and no copyright sign."""
    mail = rewritten(f'<a href="https://other.example/{written}">x</a>')
    assert [token.url for token in clicks(mail)] == [f"https://other.example/{read}"]


def test_white_space_around_an_address_or_in_it_is_read_as_browsers_do() -> None:
    mail = rewritten('<a href=" \nhttps://other.ex\nample/a b\t">x</a>')
    assert [token.url for token in clicks(mail)] == ["https://other.example/a%20b"]
    assert mail.html.startswith(f'<a href="{BASE}/privacy/go/')


def test_names_come_from_the_mail_or_from_the_order() -> None:
    html = '<a href="https://a.example/">1</a><a data-link="&quot;top&quot;" href="https://b.example/">2</a>'
    assert [link.name for link in rewritten(html + html).links] == ["link-1", '"top"', "link-3", '"top"']


# -- parameters -----------------------------------------------------------------------------------

UTM = "utm_source=newsletter&utm_medium=email&utm_campaign=spring"


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        (f"{BASE}", f"{BASE}?{UTM}"),
        (f"{BASE}/a?", f"{BASE}/a?{UTM}"),
        (f"{BASE}/a#b?c", f"{BASE}/a?{UTM}#b?c"),
        (f"{BASE}/a?utm_campaign=own&x", f"{BASE}/a?utm_campaign=own&x&utm_source=newsletter&utm_medium=email"),
        (f"{BASE}/a?UTM_Source=own", f"{BASE}/a?UTM_Source=own&utm_medium=email&utm_campaign=spring"),
        ("http://www.utility.example:8080/a", f"http://www.utility.example:8080/a?{UTM}"),
        ("https://pay.utility.example/", f"https://pay.utility.example/?{UTM}"),
        ("https://other.example/?x", "https://other.example/?x"),
        ("https://www.utility.example.other.example/", "https://www.utility.example.other.example/"),
        ("https://other.example/#www.utility.example", "https://other.example/#www.utility.example"),
        ("https://other.example/?gclid=1&x=2&FBCLID=3#msclkid=4", "https://other.example/?x=2"),
        ("https://other.example/?g%63lid=1", "https://other.example/"),
        ("https://other.example/?mc_eid=1", "https://other.example/"),
        (f"{BASE}/a?gclid=1", f"{BASE}/a?{UTM}"),
    ],
)
def test_campaign_parameters_go_to_own_sites_and_click_identifiers_nowhere(url: str, leads: str) -> None:
    (link,) = rewritten(f'<a href="{url}">x</a>').links
    assert link.url == leads


def test_a_campaign_with_odd_letters_is_escaped() -> None:
    (link,) = mailer().rewrite(f'<a href="{BASE}/">x</a>', "Früh&jahr #1", source="", trap=False).links
    assert parse_qs(urlsplit(link.url).query) == {"utm_medium": ["email"], "utm_campaign": ["Früh&jahr #1"]}


# -- recipients -----------------------------------------------------------------------------------


def test_tokens_name_only_a_recipient_who_allowed_it() -> None:
    people = registry()
    people.choose("yes-1", True, method="mail:allow")
    people.choose("no-1", False, method="mail:refuse")
    ours = mailer(recipients=people)
    html = NEWSLETTER.read_text("utf-8")
    for recipient, named in (("yes-1", "yes-1"), ("no-1", ""), ("new-1", ""), ("", "")):
        mail = ours.rewrite(html, "spring", recipient, trap=False)
        assert mail.individual == bool(named)
        assert {token.recipient for token in clicks(mail)} == {named}
        pixel = re.search(r"/px/([\w.-]+)\.gif", mail.html)
        assert pixel is not None
        assert tokens.read_pixel(pixel[1]).recipient == named
        choices = re.search(r"/privacy/mail/([\w.-]+)", mail.html)
        assert choices is not None
        assert tokens.read_mail(choices[1]).recipient == recipient, "the choice is about them, whatever it is"
        link = tokens.read_click(ours.link(f"{BASE}/x", "spring", "text", recipient).rpartition("/")[2])
        assert (link.recipient, link.link) == (named, "text")
        assert tokens.read_pixel(ours.pixel("spring", recipient).rpartition("/")[2][:-4]).recipient == named


def test_the_recipients_own_identifiers_are_kept_for_those_who_allowed_it() -> None:
    people = registry()
    people.choose("yes-1", True, method="mail:allow")
    (link,) = mailer(recipients=people).rewrite('<a href="https://o.example/?mc_eid=1&gclid=2">', "s", "yes-1").links
    assert link.url == "https://o.example/?mc_eid=1"


def test_without_a_ledger_nobody_is_named_and_the_sender_is_told() -> None:
    def broken() -> MemoryStore:
        raise OSError("no disk")

    people = Recipients(Ledger(broken), Pseudonyms(KEY), valid_for=timedelta(days=1))
    with pytest.raises(LedgerError):
        mailer(recipients=people).rewrite("<p>", "spring", "yes-1")
    assert not mailer(recipients=people).rewrite("<p>", "spring").individual


def test_unsubscribe_headers_are_those_of_the_standard() -> None:
    """RFC 8058, section 3.1: both fields, an https address, and this very value."""
    headers = mailer(recipients=registry()).unsubscribe_headers("spring", "r-1")
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    match = re.fullmatch(rf"<{BASE}/privacy/mail/([\w.-]+)>", headers["List-Unsubscribe"])
    assert match is not None
    assert tokens.read_mail(match[1]).recipient == "r-1"
    with pytest.raises(ValueError, match="recipient"):
        mailer(recipients=registry()).unsubscribe_headers("spring", "")
    with pytest.raises(ValueError, match="recipient"):
        mailer().unsubscribe_headers("spring", "r-1")
    with pytest.raises(ValueError, match="https"):
        mailer(recipients=registry(), base="http://www.utility.example").unsubscribe_headers("spring", "r-1")


# -- hostile mails --------------------------------------------------------------------------------

PIECES = (
    '<a href="https://o.example/1">', "<a href=https://o.example/2>", "</a>", "<p>", "text", "<!--", "-->", "<!-->",
    "<!--[if mso]>", "<![endif]-->", "<![if !mso]>", '"', "'", ">", "<", "=", " ", "\n", "/", "<style>", "</style>",
    "<title>", "</title>", "<textarea>", "</textarea>", "<script>", "</script>", "--!>", "<a href='", '<b title="',
    "</", "<?", "<!", "&amp;", "é", "\x0c", "<area href=https://o.example/3 ", "<a title=\">\" href='https://o.example/4'>",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_whatever_the_markup_nothing_else_changes(markup: str) -> None:
    """Another parser, html5lib, sees the same tree with other addresses; and every link it sees is signed."""
    # Our own parts come first, so that nothing is added.
    mail = mailer().rewrite(_FINISHED + markup, "spring", trap=False)
    before, after = (html5lib.parse(text, namespaceHTMLElements=False) for text in (_FINISHED + markup, mail.html))
    assert shape(before) == shape(after)
    links = [one.get("href", "").strip() for one in after.iter() if one.tag in ("a", "area")]
    assert [href for href in links if re.fullmatch(r"https://o\.example/[1-4]", href)] == [], "was missed"


def shape(tree: Any) -> list[Any]:
    """A tree, with its web links all alike. What stands in comments is for Outlook alone."""
    found: list[Any] = []
    for element in tree.iter():
        if not isinstance(element.tag, str):
            found.append("comment")
            continue
        attributes = dict(element.attrib)
        if element.tag in ("a", "area") and attributes.get("href", "").strip().startswith("https:"):
            attributes["href"] = "(link)"
        found.append((element.tag, attributes, element.text, element.tail))
    return found


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_is_rewritten_or_refused_with_a_sentence(text: str) -> None:
    try:
        mail = mailer().rewrite(text, "spring")
    except ValueError as error:
        assert "\0" in text or "surrogates" in str(error)  # noqa: PT017 - either is a reason
        return
    assert mailer().rewrite(mail.html, "spring").html == mail.html or "<" in text


@pytest.mark.parametrize(
    "piece",
    ["<!--[if mso]>", "<!--", "<a href='", "<a b=", "<style>", "&", '<a href="https://o.example/">', "<", "</body>",
     "{{privacy_choices", '<a title="', "<!--[if x]><!--[if y]>"],
)  # fmt: skip
def test_a_mail_of_a_megabyte_is_read_in_one_go(piece: str) -> None:
    """Reading must take time in proportion to the bytes: steps are counted by what is read, not by a clock."""
    number = 1_000_000 // len(piece)
    mail = mailer().rewrite(piece * number, "spring", trap=False)
    assert len(mail.html) >= number * len(piece)


# -- the command ----------------------------------------------------------------------------------


def consentmw(*arguments: str | Path, env: dict[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", "-m", "consentmw", *map(str, arguments)]
    whole = {"PYTHONPATH": str(Path(__file__).parent.parent), **env}
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60, env=whole)


def settings(folder: Path, text: str = "") -> Path:
    file = folder / "consent.toml"
    file.write_text(f'store = "sqlite:///{folder}/ledger.db"\n{text}', "utf-8")
    return file


def test_the_command_writes_the_mail_and_says_what_to_look_at(tmp_path: Path) -> None:
    file = settings(tmp_path, f'controller = {{ url = "{BASE}" }}')
    raw = b'<a href="https://a.example/">\xe9</a><a href="/x">y</a>'
    done = consentmw("links", file, "-", "--campaign", "spring", stdin=raw, env={"CONSENTMW_SECRET_KEYS": SECRET})
    assert done.returncode == 0, done.stderr
    assert re.match(
        rb'<a href="https://www\.utility\.example/privacy/go/[\w.-]+">\xe9</a><a href="/x">y</a>', done.stdout
    )
    assert done.stderr.decode().splitlines() == [
        "1 links signed; the tokens name nobody.",
        "Line 1: '/x' has no scheme, so mail programs don't know where it leads, and stays as it is.",
    ]


def test_the_command_names_nobody_without_consent_and_writes_to_nobody_who_left(tmp_path: Path) -> None:
    file = settings(tmp_path)
    keys = {"CONSENTMW_SECRET_KEYS": SECRET, "CONSENTMW_ACCOUNT_KEY": "another key for tests"}
    given: list[str | Path] = ["links", file, NEWSLETTER, "--campaign", "spring", "--base", BASE, "--recipient", "r-1"]
    assert b"name nobody" in consentmw(*given, env=keys).stderr
    headers = consentmw(*given, "--headers", env=keys).stdout.decode()
    assert [line.partition(":")[0] for line in headers.splitlines()] == ["List-Unsubscribe", "List-Unsubscribe-Post"]
    from consentmw.stores import open_ledger_store

    ledger = Ledger(lambda: open_ledger_store(f"sqlite:///{tmp_path}/ledger.db"))
    people = Recipients(ledger, Pseudonyms(keys["CONSENTMW_ACCOUNT_KEY"]), valid_for=timedelta(days=1))
    people.choose("r-1", True, method="mail:allow")
    assert b"name the recipient" in consentmw(*given, env=keys).stderr
    people.unsubscribe("r-1", method="mail:one click")
    people.close()
    done = consentmw(*given, env=keys)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no more e-mails" in done.stderr


@pytest.mark.parametrize(
    ("text", "more", "environment", "says"),
    [
        ("debug = true", ["--base", BASE], {}, b"CONSENTMW_SECRET_KEYS"),
        ("", [], {"CONSENTMW_SECRET_KEYS": SECRET}, b"controller.url"),
        ("", ["--base", "nonsense"], {"CONSENTMW_SECRET_KEYS": SECRET}, b"the address of the site"),
        ("", ["--base", BASE], {"CONSENTMW_SECRET_KEYS": SECRET, "CONSENTMW_ACCOUNT_KEY": "short"}, b"ACCOUNT_KEY"),
        ("", ["--base", BASE, "--headers"], {"CONSENTMW_SECRET_KEYS": SECRET}, b"recipient"),
        ("nonsense = 1", ["--base", BASE], {"CONSENTMW_SECRET_KEYS": SECRET}, b"known option"),
    ],
)
def test_the_command_says_what_is_missing(
    tmp_path: Path, text: str, more: list[str], environment: dict[str, str], says: bytes
) -> None:
    done = consentmw("links", settings(tmp_path, text), NEWSLETTER, "--campaign", "spring", *more, env=environment)
    assert (done.returncode, done.stdout) == (1, b"")
    assert says in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_mailer_is_opened_from_settings() -> None:
    keywords: dict[str, Any] = {
        "debug": True,
        "store": "memory:",
        "secret_keys": (KEY,),
        "own_hosts": ("*.paysite.example",),
    }
    opened = open_mailer(Settings.of(None, **keywords), BASE)
    html = '<a href="https://eu.paysite.example/"><a href="https://pay.utility.example/"><a href="https://o.example/">'
    assert [UTM in link.url for link in opened.rewrite(html, "spring").links] == [True, True, False]
    opened.close()
    with pytest.raises(SettingsError, match=r"controller\.url"):
        open_mailer(Settings.of(None, **keywords))


def test_the_command_adds_up_what_became_of_a_campaign(tmp_path: Path) -> None:
    from consentmw.events import Count
    from consentmw.stores import open_event_store

    file = settings(tmp_path)
    store = open_event_store(f"sqlite:///{tmp_path}/ledger.db")
    seen = Count(0, "pixel", "(pixel)", "2xx", campaign="spring")
    store.write({seen: 7, seen._replace(bot="proxy: google"): 2, seen._replace(campaign="autumn"): 1}, [])
    store.close()
    env = {"CONSENTMW_SECRET_KEYS": SECRET}
    done = consentmw("opens", file, "--campaign", "spring", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "spring",
        "  opens: 7 by people, 2 more by proxies of mail providers (proxy: google 2)",
        "  clicks: 0 by people",
    ]
    assert len(consentmw("opens", file, env=env).stdout.splitlines()) == 6
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    broken = consentmw("opens", file, env=env)
    assert (broken.returncode, broken.stdout) == (1, b"")
    assert b"Traceback" not in broken.stderr


def test_a_mail_that_is_not_there_is_a_wrong_command(tmp_path: Path) -> None:
    done = consentmw("links", settings(tmp_path), tmp_path / "none.html", "--campaign", "spring", env={})
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
