"""The HTML of an e-mail with links that can be counted: signed, within what its recipient allows, the rest untouched.

Every http(s) link becomes a click-through of ours; links to the sender's own sites get campaign
parameters, no link keeps a click identifier, and the mail gets a pixel, a link to the choices about
it and a link that only programs follow. Tokens name the recipient only if the recipient allowed it.

Refuses to send anything, and to know who opens it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit

from ..errors import SettingsError
from ..gate.redirects import plain
from ..gate.unknown import Unknown
from ..i18n import Texts
from ..identity import Pseudonyms
from ..ledger import Ledger
from ..purposes import Catalogue
from ..recipients import Recipients
from ..settings import Settings
from ..stores import open_ledger_store
from ..tokens import Tokens
from .markup import Link, Markup, read_markup

__all__ = ["GMAIL_CUTS", "Mail", "Mailer", "SignedLink", "open_mailer"]

#: bytes after which Gmail hides the rest of a message behind a link, the pixel and the choices with it
GMAIL_CUTS: Final = 102 * 1024

_WEB: Final = re.compile(r"https?:", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
#: what mail programs fill in later: signed as it stands, it would stay so for ever
_PLACEHOLDER: Final = re.compile(r"\{\{|\{%|\$\{|\*\||%%|\[\[|<%")
_EDGE: Final = "".join(map(chr, range(33)))
#: what browsers drop inside an address
_DROPPED: Final = str.maketrans("", "", "\t\n\r")
_BASE: Final = re.compile(
    r"https?://[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})(?::[0-9]{1,5})?(?>(?:/[A-Za-z0-9._~-]+)*)", re.IGNORECASE
)
_FOOT: Final = (
    '<p style="margin:16px 0;font-size:12px;text-align:center" data-consentmw><a href="{url}">{words}</a></p>'
)
_PIXEL: Final = '<img src="{url}" width="1" height="1" alt="" data-consentmw>'
#: empty, hidden from eyes, screen readers and Outlook: whoever follows it reads the markup
_TRAP: Final = (
    '<a href="{url}" style="display:none;mso-hide:all" aria-hidden="true" tabindex="-1" rel="nofollow" '
    'data-consentmw="trap"></a>'
)


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link that became a click-through."""

    #: what reports call it
    name: str
    #: where it leads
    url: str
    #: what stands in the mail
    address: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail, rewritten."""

    html: str
    #: whether its tokens name the recipient, because the recipient allowed it
    individual: bool
    links: tuple[SignedLink, ...]
    #: what the sender should look at, a sentence each
    warnings: tuple[str, ...]


class Mailer:
    """Rewrites the mails of one site. Raises ValueError for a base that is no address of a site."""

    def __init__(
        self,
        tokens: Tokens,
        base: str,
        *,
        prefix: str = "/privacy",
        own: Callable[[str], bool] | None = None,
        recipients: Recipients | None = None,
        language: str = "en",
    ) -> None:
        """``base``: address of the site, ``https://www.example.com``, with its root path if it has one.

        ``prefix``: where our pages live; ``own``: whether a host is the site's own, besides that of ``base``;
        ``recipients``: what recipients allow, None when nobody can be asked; ``language``: of a mail that names none.
        """
        base = base.rstrip("/")
        if not _BASE.fullmatch(base):
            raise ValueError("base: the address of the site, like https://www.example.com")
        self._tokens = tokens
        self._base = base + prefix
        parts = urlsplit(base)
        self._origin = (parts.netloc.lower(), parts.path)
        self._host = parts.hostname or ""
        self._prefix = prefix
        self._own = own or (lambda _host: False)
        self._recipients = recipients
        self._language = language

    # -- addresses -----------------------------------------------------------------------------

    def link(self, url: str, campaign: str, link: str = "", recipient: str = "") -> str:
        """Address of a click-through to ``url``, for the text part of a mail.

        It names the recipient only if they allowed it. Raises ValueError for a target that nobody should be sent to,
        LedgerError when the recipient can't be looked up.
        """
        return self._click(url, campaign, link, self._named(recipient))

    def pixel(self, campaign: str, recipient: str = "") -> str:
        """Address of a pixel; it names the recipient only if they allowed it. Raises ValueError and LedgerError."""
        return f"{self._base}/px/{self._tokens.pixel(campaign, self._named(recipient))}.gif"

    def choices(self, campaign: str, recipient: str = "") -> str:
        """Address where the recipient says what may be noted, and whether they want more mails. Raises ValueError.

        It names them, since it is about them; opening it is not recorded.
        """
        return f"{self._base}/mail/{self._tokens.mail(campaign, recipient)}"

    def unsubscribe_headers(self, campaign: str, recipient: str) -> dict[str, str]:
        """Header fields with which a mail program offers to unsubscribe with one click (RFC 8058, section 3.1).

        DKIM has to sign both. Raises ValueError without a recipient, without a key for recipients' choices, and for
        a base that is not https.
        """
        if not recipient or self._recipients is None:
            raise ValueError("recipient: somebody has to be named and found again, or nobody can be unsubscribed")
        if not self._base.lower().startswith("https:"):
            raise ValueError("base: one-click unsubscribing needs https (RFC 8058, section 3.1)")
        return {
            "List-Unsubscribe": f"<{self.choices(campaign, recipient)}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }

    # -- people --------------------------------------------------------------------------------

    def individual(self, recipient: str) -> bool:
        """Whether tokens may name this recipient. Raises LedgerError when that can't be looked up."""
        return bool(recipient) and self._recipients is not None and self._recipients.standing(recipient).allowed

    def unsubscribed(self, recipient: str) -> bool:
        """Whether this recipient asked for no more mails. Raises LedgerError."""
        return bool(recipient) and self._recipients is not None and self._recipients.standing(recipient).unsubscribed

    def close(self) -> None:
        """Let go of the ledger."""
        if self._recipients is not None:
            self._recipients.close()

    def _named(self, recipient: str) -> str:
        return recipient if self.individual(recipient) else ""

    # -- rewriting -----------------------------------------------------------------------------

    def rewrite(
        self,
        html: str,
        campaign: str,
        recipient: str = "",
        *,
        source: str = "newsletter",
        medium: str = "email",
        trap: bool = True,
    ) -> Mail:
        """The mail with signed links, pixel, choices and trap; a mail that has them stays as it is.

        ``html``: the whole mail; bytes that are no UTF-8 may come in it as surrogates (``surrogateescape``).
        ``campaign``: its name in reports and, with ``source`` and ``medium``, in the utm parameters of own links.
        ``trap``: whether to add a link that only programs follow.
        Raises ValueError for a campaign or recipient that fits in no token, LedgerError when the recipient can't be
        looked up.
        """
        if not campaign:
            raise ValueError("campaign: a name, by which the mail is counted")
        data = html.encode("utf-8", "surrogateescape")
        if b"\0" in data:
            raise ValueError("html: text in UTF-8 or another encoding that keeps ASCII; this looks like UTF-16")
        named = self._named(recipient)
        tags = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign}
        work = _Work(self, data, campaign, named, {key: value for key, value in tags.items() if value})
        markup = read_markup(data)
        work.sign(markup)
        work.finish(markup, self.choices(campaign, recipient), self._language, trap=trap)
        return work.done(bool(named))

    def ours(self, url: str) -> bool:
        """Whether an address is one of our own pages, which must not be wrapped once more."""
        parts = _split(url)
        origin, path = self._origin
        home = path + self._prefix
        return parts is not None and parts[0] == origin and (parts[1] == home or parts[1].startswith(f"{home}/"))

    def target(self, url: str, tags: dict[str, str], *, named: bool) -> str:
        """The address a link leads to: without click identifiers, on own sites with the parameters of the campaign."""
        kinds = frozenset({"email_measurement"} if named else ())
        url = plain(url.encode("utf-8", "surrogateescape"), kinds).decode("utf-8", "surrogateescape")
        host = urlsplit(url).hostname or ""
        return _tagged(url, tags) if host == self._host or self._own(host) else url

    def _click(self, url: str, campaign: str, link: str, named: str) -> str:
        return f"{self._base}/go/{self._tokens.click(url, campaign, link, named)}"

    def _trap(self, campaign: str, named: str) -> str:
        return f"{self._base}/go/{self._tokens.trap(campaign, named)}"

    def _shows(self, campaign: str, named: str) -> str:
        return f"{self._base}/px/{self._tokens.pixel(campaign, named)}.gif"


class _Work:
    """One mail while it is rewritten."""

    def __init__(self, mailer: Mailer, data: bytes, campaign: str, named: str, tags: dict[str, str]) -> None:
        self._mailer = mailer
        self._data = data
        self._campaign = campaign
        self._named = named
        self._tags = tags
        self._edits: list[tuple[int, int, str]] = []
        self._links: list[SignedLink] = []
        self._warnings: list[str] = []

    def sign(self, markup: Markup) -> None:
        """Turn every link that can be counted into a click-through."""
        for link in markup.links:
            url = link.url.strip(_EDGE).translate(_DROPPED).replace(" ", "%20")
            if reason := _unsignable(url):
                self._warn(link, reason)
            elif _WEB.match(url) and not self._mailer.ours(url):
                self._sign(link, url)
        for form in markup.forms:
            if _WEB.match(form.url.strip(_EDGE)):
                self._warn(form, "is a form; a click-through would lose what is filled in")

    def _sign(self, link: Link, url: str) -> None:
        name = link.name or f"link-{len(self._links) + 1}"
        mailer = self._mailer
        try:
            target = mailer.target(url, self._tags, named=bool(self._named))
            address = mailer._click(target, self._campaign, name, self._named)
        except ValueError as error:
            self._warn(link, f"can't be signed ({error})")
            return
        self._links.append(SignedLink(name, target, address))
        self._edits.append((link.start, link.end, address))

    def finish(self, markup: Markup, choices: str, language: str, *, trap: bool) -> None:
        """Put the choices where they belong, and trap and pixel at the end."""
        words = escape(Texts.for_language(markup.language or language).gettext("Privacy choices"))
        for start, end, tag in markup.markers:
            self._edits.append((start, end, choices if tag else f'<a href="{choices}">{words}</a>'))
        mailer, last = self._mailer, ""
        if not markup.markers and not any(mailer.ours(link.url) and "/mail/" in link.url for link in markup.links):
            last += _FOOT.format(url=choices, words=words)
        if trap and not markup.trapped:
            last += _TRAP.format(url=mailer._trap(self._campaign, self._named))
        if not any(mailer.ours(url) and "/px/" in url for url in markup.images):
            last += _PIXEL.format(url=mailer._shows(self._campaign, self._named))
        self._edits.append((markup.end, markup.end, last))

    def done(self, individual: bool) -> Mail:
        """The mail as it is now."""
        parts: list[bytes] = []
        at = 0
        for start, end, text in sorted(self._edits):
            parts += [self._data[at:start], text.encode("ascii", "xmlcharrefreplace")]
            at = end
        out = b"".join([*parts, self._data[at:]])
        if len(out) > GMAIL_CUTS:
            size = f"The mail has {len(out):,} bytes; Gmail hides what comes after {GMAIL_CUTS:,}, the pixel with it."
            self._warnings.append(size)
        html = out.decode("utf-8", "surrogateescape")
        return Mail(html, individual, tuple(self._links), tuple(self._warnings))

    def _warn(self, link: Link, reason: str) -> None:
        line = self._data.count(b"\n", 0, link.start) + 1
        shown = link.url if len(link.url) <= 80 else f"{link.url[:79]}…"
        self._warnings.append(f"Line {line}: {shown!a} {reason}, and stays as it is.")


def _unsignable(url: str) -> str:
    """Why a link should be looked at, although it is left alone; "" when it is fine."""
    if _WEB.match(url) and _PLACEHOLDER.search(url):
        return "holds a placeholder, which has to be filled in before the link is signed"
    relative = bool(url) and not url.startswith("#") and not _SCHEME.match(url) and not _PLACEHOLDER.search(url)
    return "has no scheme, so mail programs don't know where it leads" if relative else ""


def _split(url: str) -> tuple[str, str] | None:
    """Host with port, and path, in the form in which our own addresses are written."""
    try:
        parts = urlsplit(url.strip(_EDGE))
    except ValueError:
        return None
    return parts.netloc.lower(), parts.path


def _tagged(url: str, tags: dict[str, str]) -> str:
    """The address with these parameters; those that it has already stay."""
    address, hash_, fragment = url.partition("#")
    path, mark, query = address.partition("?")
    known = {unquote_plus(pair.partition("=")[0]).lower() for pair in query.split("&")}
    new = "&".join(f"{key}={quote(value, safe='')}" for key, value in tags.items() if key not in known)
    joined = "&".join(part for part in (query, new) if part)
    return f"{path}{'?' if joined or mark else ''}{joined}{hash_}{fragment}"


def open_mailer(settings: Settings, base: str = "") -> Mailer:
    """The mailer of a site, for programs that send its mails; ``base`` is the site's address, else controller.url.

    Raises SettingsError when no address is known.
    """
    base = base or settings.controller.url
    if not base:
        raise SettingsError("controller.url", "the address of the site, or name it as base")
    catalogue = Catalogue.load(purposes=settings.purposes, services=settings.services, only=settings.services_used)
    hosts = Unknown(catalogue, settings.unknown, settings.own_hosts)
    home = urlsplit(base).hostname or ""
    names = Pseudonyms.configured(settings.secret_keys[0] if settings.debug else "")
    ledger = Ledger(lambda: open_ledger_store(settings.store))
    try:
        return Mailer(
            Tokens(settings.secret_keys),
            base,
            prefix=settings.prefix,
            own=lambda host: hosts.own(host, home),
            recipients=Recipients.among(names, ledger, valid_for=timedelta(days=settings.valid_days)),
            language=settings.default_language,
        )
    except ValueError as error:
        raise SettingsError("controller.url", str(error)) from error
