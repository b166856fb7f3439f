"""Browser, system and device class from a User-Agent and client hints: slow, so remembered, never on the request path.

Where a browser sends hints its User-Agent is frozen: it names an old system, no model, and often another
brand. So hints win (User-Agent Client Hints, section 3). Refuses to know which of these a tier may keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from ..visitor import SAID_HINTS
from . import fields

__all__ = ["Hints", "read_agent"]

#: what was sent, in the order of SAID_HINTS
Hints: TypeAlias = tuple[bytes, ...]

#: what brands are called in a User-Agent, on desktops and on phones
_BRANDS: Final = {
    "Google Chrome": ("Chrome", "Chrome Mobile"),
    "HeadlessChrome": ("HeadlessChrome", "HeadlessChrome"),
    "Android WebView": ("Chrome Mobile WebView", "Chrome Mobile WebView"),
    "Microsoft Edge": ("Edge", "Edge Mobile"),
    "Opera": ("Opera", "Opera Mobile"),
    "YaBrowser": ("Yandex Browser", "Yandex Browser"),
    "Yandex": ("Yandex Browser", "Yandex Browser"),
}
_SYSTEMS: Final = {"macOS": "Mac OS X", "Chromium OS": "Chrome OS"}
#: what Windows is called whose platform version, that of its highest API contract, is below 1; from 1 it is 10, from
#: 13 it is 11
_WINDOWS: Final = {"0.1": "7", "0.2": "8", "0.3": "8.1"}
#: form factors that are no class of their own: cars, headsets, watches and e-readers
_FORMS: Final = {"Tablet": "tablet", "Mobile": "mobile", "Desktop": "desktop"}


@lru_cache(maxsize=4096)
def read_agent(raw: str, hints: Hints = ()) -> Mapping[str, str]:
    """browser, os, device (desktop, mobile, tablet, bot or other), and agent: those with versions, and the model.

    ``hints``: what the browser sent of those that the visitor's tier allows to read.
    """
    # Imported here because these two load megabytes of patterns that a web worker may never need.
    import ua_parser
    from user_agents import parsers

    found = ua_parser.parse(raw).with_defaults()
    # user-agents parses with ua-parser's old interface, which costs fifteen times as much as the current
    # one; its judgement of devices works on the same values, so it gets them ready-made.
    agent = parsers.UserAgent.__new__(parsers.UserAgent)
    agent.ua_string = raw
    agent.os = parsers.parse_operating_system(found.os.family, found.os.major, found.os.minor, found.os.patch)
    agent.browser = parsers.parse_browser(found.user_agent.family, found.user_agent.major, found.user_agent.minor)
    agent.device = parsers.parse_device(found.device.family, found.device.brand, found.device.model)
    classes = (
        ("bot", agent.is_bot),
        ("tablet", agent.is_tablet),
        ("mobile", agent.is_mobile),
        ("desktop", agent.is_pc),
    )
    said = {name.decode("ascii"): value.decode("latin-1") for name, value in zip(SAID_HINTS, hints, strict=False)}
    device = _device(next((name for name, fits in classes if fits), "other"), said)
    browser, browser_version = _brand(said) or (agent.browser.family, agent.browser.version_string)
    system, system_version = _system(said) or (agent.os.family, agent.os.version_string)
    named = (f"{browser} {browser_version}", f"{system} {system_version}", fields.bare(said.get("sec-ch-ua-model", "")))
    return {
        "browser": _plain(browser),
        "os": _plain(system),
        "device": device,
        "agent": _plain(" / ".join(part.strip() for part in named if part.strip()), 100),
    }


def _brand(said: Mapping[str, str]) -> tuple[str, str] | None:
    """Browser and version, or None where nothing tells more than the User-Agent does."""
    listed = {name: values.get("v", "") for name, values in fields.items(said.get("sec-ch-ua", ""))}
    whole = {name: values.get("v", "") for name, values in fields.items(said.get("sec-ch-ua-full-version-list", ""))}
    # Chromium alone is what an application calls itself that has no brand, and whose User-Agent names it.
    named = [name for name in {**listed, **whole} if not _greased(name) and name not in ("Chromium", "")]
    if not named:
        return None
    # A browser that goes by two names, like one inside an application, lists the wider one first or last, as it likes.
    name = next((name for name in named if name in _BRANDS), named[0])
    families = _BRANDS.get(name, (name, name))
    mobile = fields.bare(said.get("sec-ch-ua-mobile", "")) == "1"
    return families[mobile], whole.get(name) or listed.get(name, "")


def _greased(name: str) -> bool:
    """Whether a brand is the one that browsers make up, so that nobody relies on a list ("GREASE")."""
    return "".join(c for c in name if c.isalpha()) == "NotABrand"


def _system(said: Mapping[str, str]) -> tuple[str, str] | None:
    """System and version. Without a hint about the version there is none: the one in the User-Agent is frozen."""
    name = fields.bare(said.get("sec-ch-ua-platform", ""))
    if not name or name == "Unknown":
        return None
    version = fields.bare(said.get("sec-ch-ua-platform-version", ""))
    if name == "Windows":
        major = version.partition(".")[0]
        number = int(major) if major.isdecimal() and len(major) < 9 else 0
        version = "11" if number >= 13 else "10" if number else _WINDOWS.get(".".join(version.split(".")[:2]), "")
    return _SYSTEMS.get(name, name), version


def _device(read: str, said: Mapping[str, str]) -> str:
    """The class of a device by its hints, else as the User-Agent was read."""
    if read == "bot":
        return read
    forms = [name for name, _ in fields.items(said.get("sec-ch-ua-form-factors", ""))]
    if forms:
        return next((device for name, device in _FORMS.items() if name in forms), "other")
    mobile = fields.bare(said.get("sec-ch-ua-mobile", ""))
    if mobile == "1" and read != "tablet":
        return "mobile"
    # A tablet asks for the page of a desktop; so does a phone whose owner prefers that.
    return "desktop" if mobile == "0" and read == "mobile" else read


def _plain(text: str, longest: int = 40) -> str:
    return "".join(c for c in text if c.isprintable())[:longest]
