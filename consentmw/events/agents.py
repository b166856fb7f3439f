"""Browser, system and device class from a User-Agent: slow, so remembered, and never on the request path.

Refuses to know which of these a tier may keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

__all__ = ["read_agent"]


@lru_cache(maxsize=4096)
def read_agent(raw: str) -> Mapping[str, str]:
    """browser, os, device (desktop, mobile, tablet, bot or other) and agent (both with versions) of a User-Agent."""
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
    return {
        "browser": _plain(agent.browser.family),
        "os": _plain(agent.os.family),
        "device": next((name for name, fits in classes if fits), "other"),
        "agent": _plain(f"{agent.get_browser()} / {agent.get_os()}", 100),
    }


def _plain(text: str, longest: int = 40) -> str:
    return "".join(c for c in text if c.isascii() and c.isprintable())[:longest]
