"""What Google's Measurement Protocol for GA4 can be told: names, limits, identifiers, the body of one request.

Rules are those of Google's protocol reference (developers.google.com/analytics/devguides/collection/
protocol/ga4/reference), as of 2026-11-21. The layout of Google's cookies is not documented; whatever
differs from what is known reads as "no cookie". Refuses to know who may be told anything: no
decision, no queue, no network.
"""

from __future__ import annotations

import hmac
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Final, TypeAlias
from urllib.parse import quote

__all__ = [
    "MOST_BYTES",
    "MOST_EVENTS",
    "OLDEST",
    "Value",
    "body",
    "checked",
    "client_id",
    "derived_id",
    "event",
    "location",
    "session_id",
]

#: what a parameter may be
Value: TypeAlias = str | int | float | bool

#: events of one request, and bytes of its body (Google: under 130 kB)
MOST_EVENTS: Final = 25
MOST_BYTES: Final = 130_000 - 1_000
#: seconds that an event may lie back: 72 hours, less a little for the way
OLDEST: Final = 72 * 3600 - 600

#: 25 parameters an event, of which these are ours
_OURS: Final = frozenset({"session_id", "timestamp_micros"})
_MOST_PARAMETERS: Final = 25 - len(_OURS) - 1
#: no number of a report is larger, and JSON readers keep no larger one exactly
_LARGEST: Final = 2**53
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_PREFIXES: Final = ("firebase_", "ga_", "google_")
#: characters of a text; all others have the last number
_LONGEST: Final = {"page_location": 1000, "page_referrer": 420, "page_title": 300}
_LONGEST_OTHER: Final = 100
#: characters of a text that are looked at: more than any that is sent, by more than an address is long
_READ: Final = 2000
#: names that Google collects itself, or takes from apps only
_RESERVED: Final = frozenset(
    """
    ad_activeview ad_click ad_exposure ad_impression ad_query ad_reward adunit_exposure app_clear_data app_exception
    app_install app_remove app_store_refund app_update app_upgrade dynamic_link_app_open dynamic_link_app_update
    dynamic_link_first_open error first_open first_visit in_app_purchase notification_dismiss notification_foreground
    notification_open notification_receive notification_send os_update screen_view session_start user_engagement
    """.split()  # noqa: SIM905 - thirty words read better as words
)
#: an e-mail address, roughly: Google's terms forbid sending one, and a false alarm costs one event
_ADDRESS: Final = re.compile(r"[^\s@]@[^\s@]{1,255}\.[^\s@.]{2}")

#: a cookie of Google's is shorter than this
_LONGEST_COOKIE: Final = 300
_DOMAIN: Final = r"[0-9]{1,3}(?:-[0-9]{1,3})?"
_NUMBER: Final = r"[1-9][0-9]{0,9}"
_CLIENT: Final = re.compile(rf"GA1\.{_DOMAIN}\.({_NUMBER}\.{_NUMBER})")
_SESSION: Final = re.compile(rf"GS1\.{_DOMAIN}\.({_NUMBER})(?:\.[^$]*)?|GS2\.{_DOMAIN}\.(.*)")
_SESSION_PART: Final = re.compile(rf"s({_NUMBER})")


def checked(name: str, params: Mapping[str, Value]) -> dict[str, str | int | float] | None:
    """The parameters as they may be sent, texts cut to Google's limits; None when one looks like an e-mail address.

    Raises ValueError, whoever the visitor is, for what only a program can get wrong: names, types, numbers.
    An address is no such mistake: a visitor may write one into any field.
    """
    _check_name("event", name)
    if name in _RESERVED or name.startswith(_PREFIXES):
        raise ValueError(f"event {name!r}: a name that Google reserves")
    if len(params) > _MOST_PARAMETERS:
        raise ValueError(f"event {name!r}: at most {_MOST_PARAMETERS} parameters, not {len(params)}")
    found: dict[str, str | int | float] = {}
    personal = False
    for key, value in params.items():
        _check_name("parameter", key)
        if key in _OURS or key == "firebase_conversion" or key.startswith(_PREFIXES):
            raise ValueError(f"parameter {key!r}: a name that Google or consentmw reserves")
        if isinstance(value, bool):
            found[key] = "true" if value else "false"
        elif isinstance(value, str):
            text = value[:_READ]
            personal = personal or _names_someone(text)
            # Half a surrogate pair has no form in UTF-8, and Google would drop the whole request.
            found[key] = text[: _LONGEST.get(key, _LONGEST_OTHER)].encode("utf-8", "replace").decode()
        elif isinstance(value, (int, float)) and isfinite(value) and abs(value) <= _LARGEST:
            found[key] = value
        else:
            raise ValueError(f"parameter {key!r}: a text, a finite number or a boolean, not {type(value).__name__}")
    return None if personal else found


def _check_name(kind: str, name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{kind} {str(name)[:60]!r}: 1 to 40 letters, digits and underscores, a letter first")


def _names_someone(text: str) -> bool:
    if "@" in text and _ADDRESS.search(text):
        return True
    # Full-width signs and percent-encoding are the forms in which an address gets past a plain search.
    if text.isascii() and "%40" not in text:
        return False
    return _ADDRESS.search(unicodedata.normalize("NFKC", text).replace("%40", "@")) is not None


def event(name: str, params: Mapping[str, str | int | float], at: float, session: str) -> bytes:
    """One event as JSON. ``at``: seconds since 1970; ``session``: the visitor's session id, "" for none.

    Google shows no event in real time without an engagement time, which a server can't measure; 1 ms says
    as little as can be said.
    """
    ours: dict[str, str | int | float] = {"engagement_time_msec": 1, **params, "timestamp_micros": int(at * 1_000_000)}
    if session:
        ours["session_id"] = session
    return json.dumps({"name": name, "params": ours}, ensure_ascii=False, separators=(",", ":")).encode()


def body(client: str, user_data: str, personalization: str, events: Sequence[bytes]) -> bytes:
    """The body of one request; the consent object is always stated.

    Left out, Google would take the consent of the visitor's last visit with a browser. Neither an address
    (``ip_override``) nor an agent is in it.
    """
    head = {
        "client_id": client,
        "consent": {"ad_user_data": user_data.upper(), "ad_personalization": personalization.upper()},
    }
    return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"events":[' + b",".join(events) + b"]}"


def client_id(cookies: Iterable[str]) -> str:
    """The client id in the first readable ``_ga`` cookie: two numbers and a dot between them; "" when there is none."""
    found = (_CLIENT.fullmatch(cookie) for cookie in cookies if len(cookie) <= _LONGEST_COOKIE)
    return next((match[1] for match in found if match), "")


def derived_id(key: bytes, receipt: str) -> str:
    """A client id for a visitor without a cookie of Google's: the same for all of a receipt, telling nothing of it."""
    digest = hmac.digest(key, b"consentmw.relay\0" + receipt.encode("utf-8", "replace"), "sha256")
    first, second = (int.from_bytes(digest[at : at + 4], "big") % (2**31 - 1) + 1 for at in (0, 4))
    return f"{first}.{second}"


def session_id(cookies: Iterable[str]) -> str:
    """The session id in the first readable ``_ga_<stream>`` cookie, of the older or the newer layout; "" for none."""
    for cookie in cookies:
        match = _SESSION.fullmatch(cookie) if len(cookie) <= _LONGEST_COOKIE else None
        if match and match[1]:
            return match[1]
        parts = (_SESSION_PART.fullmatch(part) for part in match[2].split("$")) if match else ()
        if found := next((part[1] for part in parts if part), ""):
            return found
    return ""


def location(scheme: str, host: str, route: str) -> str:
    """The address of a page as it may be told: the route's template, a name where an account number stood."""
    plain = re.sub(r"\{([A-Za-z_]\w{0,40})[^{}]{0,40}\}", r":\1", route)
    return f"{scheme}://{host}{quote(plain, safe='/:')}"
