"""The cookies of our own: what they are called, what is in them, and what of it is really ours.

Refuses to know what follows from any of it: that is site.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from .accounts import Known, in_force
from .choice import MAX_COOKIE, Choice, CookieCodec, Locale
from .errors import SettingsError
from .once import Once
from .purposes import Catalogue
from .settings import Settings
from .visitor import Visitor
from .visits import Visits

__all__ = ["Jar"]

#: the longest that browsers keep a cookie (RFC 6265bis, section 5.5)
_CARRIED: Final = timedelta(days=400)


class Jar:
    """The part of a site that reads and writes its cookies."""

    settings: Settings
    catalogue: Catalogue
    clock: Callable[[], datetime]

    def _prepare_cookies(self) -> None:
        """Make names and signers. Raises SettingsError when a choice would not fit into a cookie."""
        name, keys = self.settings.cookie_name, self.settings.secret_keys
        self.choices = CookieCodec(Choice, "choice", keys)
        self.locales = CookieCodec(Locale, "locale", keys)
        self.onces = CookieCodec(Once, "once", keys)
        self.badges = CookieCodec(Known, "account", keys)
        plain = tuple(name + end for end in ("", "-locale", "-once", "-account", "-visit"))
        #: by "is it https": __Host- makes a browser refuse a cookie that another host or http tries to set
        self._names = {False: plain, True: tuple(f"__Host-{one}" for one in plain)}
        #: without this in its cookies, a request asks for nothing that runs once
        self.once_mark = f"{plain[2]}=".encode("ascii")
        self.visits = Visits(
            self.settings,
            lambda: self.clock(),
            lambda visitor, value, lasts: self.cookie(visitor, self.cookie_names(visitor)[4], value, lasts),
            lambda visitor: visitor.cookie(self.cookie_names(visitor)[4]),
        )
        optional = frozenset(p.key for p in self.catalogue.purposes.values() if p.optional)
        longest = Choice("x" * 24, datetime(2100, 1, 1, tzinfo=UTC), self.catalogue.fingerprint, optional)
        known = Known("0" * 32, longest.at, minor=True, opted_out=True, choice=longest, aside=longest.receipt)
        try:
            self.badges.write(known)
        except ValueError as error:
            raise SettingsError(
                "purposes", f"fewer or shorter keys: the cookie must stay under {MAX_COOKIE} bytes"
            ) from error

    def cookie_names(self, visitor: Visitor) -> tuple[str, ...]:
        """Names of the cookies for choice, locale, what runs once, account and visit, by this visitor's scheme."""
        return self._names[self.secure(visitor)]

    def secure(self, visitor: Visitor) -> bool:
        """Whether our cookies carry Secure and the __Host- prefix: always, but on http while developing."""
        return not self.settings.debug or visitor.scheme == "https"

    def cookie(self, visitor: Visitor, name: str, value: str, lasts: timedelta) -> tuple[bytes, bytes]:
        """The header that sets a cookie of ours; one that lasts no time is removed."""
        age = int(lasts.total_seconds())
        secure = "; Secure" if self.secure(visitor) else ""
        line = f"{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
        return (b"set-cookie", line.encode("ascii"))

    def carry(self, visitor: Visitor, choice: Choice) -> tuple[bytes, bytes]:
        """The header that gives this choice to the visitor's browser.

        Kept as long as browsers keep any cookie: what was refused stays refused until they choose again.
        """
        return self.cookie(visitor, self.cookie_names(visitor)[0], self.choices.write(choice), _CARRIED)

    def choice(self, visitor: Visitor) -> Choice | None:
        """The choice in force: this browser's own, or that of the account which is signed in."""
        return in_force(self.own_choice(visitor), self.known(visitor))

    def known(self, visitor: Visitor) -> Known | None:
        """Who is signed in on this browser, None for nobody: the newest of what is really ours."""
        found = [k for raw in visitor.cookie(self.cookie_names(visitor)[3]) if (k := self.badges.read(raw)) is not None]
        return max(found, key=lambda k: k.at, default=None)

    def own_choice(self, visitor: Visitor) -> Choice | None:
        """The newest choice of this browser's own that is really ours, whoever is signed in."""
        found = [
            c for raw in visitor.cookie(self.cookie_names(visitor)[0]) if (c := self.choices.read(raw)) is not None
        ]
        return max(found, key=lambda c: c.at, default=None)

    def locale(self, visitor: Visitor) -> Locale:
        """What the visitor stated about language and region."""
        for raw in visitor.cookie(self.cookie_names(visitor)[1]):
            if (locale := self.locales.read(raw)) is not None:
                return locale
        return Locale()
