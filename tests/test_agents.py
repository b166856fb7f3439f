"""What client hints say wins over a frozen User-Agent, and nothing that is sent can break the reading."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.events import complete, minimise
from consentmw.events.agents import read_agent
from consentmw.settings.recording import Hint
from consentmw.visitor import READ_HINTS, SAID_HINTS, Visitor

from .asgi import App, html, http_scope, run, values
from .mounted import PAGE, choice_cookie, mounted
from .test_events import AT, CHROME, GOOGLEBOT, IPAD, POLICY, decision, facts

ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"
)
TABLET = ANDROID.replace(" Mobile", "")
BRANDS = '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"'
FULL = '"Google Chrome";v="131.0.6778.86", "Chromium";v="131.0.6778.86", "Not_A Brand";v="24.0.0.0"'


def read(agent: str = CHROME, **said: str) -> dict[str, str]:
    names = {"brands": "sec-ch-ua", "mobile": "sec-ch-ua-mobile", "platform": "sec-ch-ua-platform"}
    names |= {"full": "sec-ch-ua-full-version-list", "model": "sec-ch-ua-model", "forms": "sec-ch-ua-form-factors"}
    names |= {"version": "sec-ch-ua-platform-version"}
    sent = {names[name].encode(): value.encode() for name, value in said.items()}
    return dict(read_agent(agent, tuple(sent.get(name, b"") for name in SAID_HINTS)))


@pytest.mark.parametrize(
    ("brands", "mobile", "browser"),
    [
        (BRANDS, "?0", "Chrome"),
        (BRANDS, "?1", "Chrome Mobile"),
        ('"Not(A:Brand";v="99", "Microsoft Edge";v="133", "Chromium";v="133"', "?0", "Edge"),
        ('"Chromium";v="131", " Not A;Brand";v="99", "Brave";v="131"', "?0", "Brave"),
        ('"Chromium";v="128", "Not;A=Brand";v="24", "Opera";v="114"', "?1", "Opera Mobile"),
        ('"Microsoft Edge WebView2";v="131", "Microsoft Edge";v="131", "Not/A)Brand";v="8"', "?0", "Edge"),
        ('"Android WebView";v="131", "Chromium";v="131"', "?1", "Chrome Mobile WebView"),
        ('"A Browser To Come";v="1"', "?0", "A Browser To Come"),
        ('"Chromium";v="131", "Not_A Brand";v="24"', "?0", "Chrome"),
        ('"Not_A Brand";v="24"', "?0", "Chrome"),
        ('"Brave";v="131", ', "?0", "Chrome"),
        ("", "?0", "Chrome"),
        ('"' + "x" * 500 + '"', "?0", "x" * 40),
    ],
)
def test_a_brand_is_what_the_browser_calls_itself(brands: str, mobile: str, browser: str) -> None:
    """Brave and others send the User-Agent of Chrome; what they make up on purpose, or break, is no brand."""
    assert read(brands=brands, mobile=mobile)["browser"] == browser


@pytest.mark.parametrize(
    ("platform", "version", "system", "said"),
    [
        ('"Windows"', '"13.0.0"', "Windows", "Windows 11"),
        ('"Windows"', '"19.0.0"', "Windows", "Windows 11"),
        ('"Windows"', '"12.0.0"', "Windows", "Windows 10"),
        ('"Windows"', '"10.0.0"', "Windows", "Windows 10"),
        ('"Windows"', '"1.0.0"', "Windows", "Windows 10"),
        ('"Windows"', '"0.3.0"', "Windows", "Windows 8.1"),
        ('"Windows"', '"0.1"', "Windows", "Windows 7"),
        ('"Windows"', '"0.0.0"', "Windows", "Windows"),
        ('"Windows"', '"' + "9" * 400 + '"', "Windows", "Windows"),
        ('"Windows"', '"x"', "Windows", "Windows"),
        ('"Windows"', "", "Windows", "Windows"),
        ('"macOS"', '"15.1.0"', "Mac OS X", "Mac OS X 15.1.0"),
        ('"Linux"', '""', "Linux", "Linux"),
        ('"Unknown"', '"1"', "Windows", "Windows 10"),
        ("Windows\x00", '"13"', "Windows", "Windows 10"),
    ],
)
def test_a_system_is_what_the_platform_is_called(platform: str, version: str, system: str, said: str) -> None:
    """Windows 11 calls itself 10 in the User-Agent, for ever; so without the hint no number is believed."""
    found = read(platform=platform, version=version)
    assert (found["os"], found["agent"].partition(" / ")[2]) == (system, said)


@pytest.mark.parametrize(
    ("agent", "said", "device"),
    [
        (CHROME, {"mobile": "?0"}, "desktop"),
        (CHROME, {"mobile": "?1"}, "mobile"),
        (ANDROID, {"mobile": "?1"}, "mobile"),
        (ANDROID, {"mobile": "?0"}, "desktop"),
        (TABLET, {"mobile": "?0"}, "tablet"),
        (IPAD, {"mobile": "?1"}, "tablet"),
        (CHROME, {"mobile": "?0", "forms": '"Tablet"'}, "tablet"),
        (CHROME, {"forms": '"Desktop", "XR"'}, "desktop"),
        (CHROME, {"forms": '"Watch"'}, "other"),
        (CHROME, {"forms": '"Tablet", '}, "desktop"),
        (GOOGLEBOT, {"mobile": "?1", "forms": '"Mobile"'}, "bot"),
    ],
)
def test_a_device_is_of_the_class_it_says(agent: str, said: dict[str, str], device: str) -> None:
    assert read(agent, **said)["device"] == device


def test_all_that_was_asked_for_is_in_one_text() -> None:
    found = read(
        ANDROID, brands=BRANDS, full=FULL, mobile="?1", platform='"Android"', version='"15.0.0"', model='"Pixel 9"'
    )
    assert found["agent"] == "Chrome Mobile 131.0.6778.86 / Android 15.0.0 / Pixel 9"


@given(st.text(max_size=80), st.lists(st.binary(max_size=80), max_size=len(SAID_HINTS)))
def test_no_hint_breaks_the_reading(agent: str, said: list[bytes]) -> None:
    found = read_agent(agent, tuple(said))
    assert set(found) == {"browser", "os", "device", "agent"}
    assert all(len(text) <= 100 and text.isprintable() for text in found.values())


# -- who is asked, and whose answer is read -----------------------------------------------------


def sent(*, tier: str, **headers: str) -> Any:
    pairs = [(b"user-agent", CHROME.encode())]
    pairs += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    visitor = Visitor.read({"type": "http", "client": ("203.0.113.77", 1), "headers": pairs})
    _, event = minimise(facts(visitor=visitor, recipient="", at=AT), decision(tier), POLICY)
    assert event is not None
    return complete(event.context)


def test_what_was_only_told_on_request_is_read_with_consent_alone() -> None:
    """Without a choice a browser may still send what it was asked for before; its form factor is not even a class."""
    told = {
        "Sec_CH_UA_Form_Factors": '"Tablet"',
        "Sec_CH_UA_Platform_Version": '"15.0.0"',
        "Sec_CH_UA_Platform": '"Windows"',
    }
    assert (sent(tier="coarse", **told).device, sent(tier="coarse", **told).agent) == ("desktop", None)
    assert (sent(tier="visit", **told).device, sent(tier="visit", **told).agent) == (
        "tablet",
        "Chrome 131.0 / Windows 11",
    )


def test_what_every_browser_tells_is_read_without_a_choice() -> None:
    assert sent(tier="coarse", sec_ch_ua='"Brave";v="131"').browser == "Brave"


def test_a_hint_longer_than_any_browsers_is_left_out() -> None:
    assert sent(tier="visit", sec_ch_ua='"Brave";v="' + "1" * 600 + '"').browser == "Chrome"


def test_a_browser_without_a_window_says_so_in_a_second_place() -> None:
    headers = [(b"user-agent", CHROME.encode()), (b"sec-ch-ua", b'"HeadlessChrome";v="131", "Chromium";v="131"')]
    assert Visitor.read({"headers": headers}).bot == "bot: headless"


def test_nobody_is_asked_for_what_nobody_reads() -> None:
    assert {name.lower().encode() for name in get_args(Hint)} == set(READ_HINTS)


async def test_a_browser_is_asked_with_consent_and_told_to_stop_without() -> None:
    app = App(*html(PAGE))
    site = mounted(app, accept_hints=("Sec-CH-UA-Model", "Sec-CH-UA-Platform-Version"))
    model = ("sec-ch-ua-model", '"Pixel 9"')
    assert values(await run(site, http_scope()), "accept-ch") == []
    allowed = ("cookie", choice_cookie(site, "analytics"))
    assert values(await run(site, http_scope(headers=[allowed])), "accept-ch") == [
        "Sec-CH-UA-Model, Sec-CH-UA-Platform-Version"
    ]
    # After a withdrawal, or when the choice has expired, it goes on for one request and no more.
    refused = ("cookie", choice_cookie(site))
    assert values(await run(site, http_scope(headers=[refused, model])), "accept-ch") == [""]
    assert b"sec-ch-ua-model" not in dict(app.scope["headers"])


async def test_nobody_is_asked_unless_the_site_says_so() -> None:
    site = mounted(App(*html(PAGE)))
    assert (
        values(await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics"))])), "accept-ch") == []
    )
