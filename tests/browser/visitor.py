"""A visitor with a fresh browser profile, who notes every request that leaves the browser and every complaint."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Frame,
    Locator,
    Page,
    Request,
    Response,
)

from .demo import HOSTNAME, PATIENCE, Demo

__all__ = ["TRACKERS", "Visitor", "comes_true"]

#: cookies of third parties' tags, as the catalogue and the stand-in name them
TRACKERS = ("_ga", "_gid", "_gcl", "_fbp", "_fbc", "_clck", "_clsk", "_hj", "li_", "ln_", "IDE", "fr", "bcookie", "NID")
#: seconds without a request after which a page is at rest
_QUIET = 0.4
_OWN = ("127.0.0.1", HOSTNAME)


def comes_true(where: Page | Frame, expression: str) -> None:
    """Wait until this is true in the page, or in the one that comes after it.

    Playwright's own ``wait_for_function`` asks again by an ``eval`` in the page, which a page's policy forbids: it
    works only where the first answer is yes.
    """
    end, said = time.monotonic() + PATIENCE, ""
    while True:
        try:
            if where.evaluate(expression):
                return
        except Error as error:  # the page is being replaced, or its script has not run yet
            said = str(error)
        assert time.monotonic() < end, f"waited for {expression}; {said}"
        where.wait_for_timeout(50)


class Visitor:
    """One person in front of one browser window; ``page`` is what they look at."""

    def __init__(
        self, browser: Browser, demo: Demo, *, javascript: bool = True, host: str = "", **options: Any
    ) -> None:
        self.demo = demo
        self.javascript = javascript
        self.url = f"http://{host}" if host else demo.url
        self.context: BrowserContext = browser.new_context(
            java_script_enabled=javascript, ignore_https_errors=True, locale=options.pop("locale", "en-US"), **options
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        #: addresses on other hosts that the browser asked for
        self.foreign: list[str] = []
        #: documents that the window loaded
        self.loaded: list[str] = []
        #: what the console said
        self.complaints: list[str] = []
        #: requests under way, and when the last one began or ended
        self._open: set[Request] = set()
        self._last = time.monotonic()
        self.context.on("request", self._request)
        self.context.on("requestfinished", self._ended)
        self.context.on("requestfailed", self._ended)
        self.context.on("response", self._response)
        self.context.on("console", self._console)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = self.context.new_page()

    def _ended(self, request: Request) -> None:
        self._open.discard(request)
        self._last = time.monotonic()

    def _request(self, request: Request) -> None:
        self._open.add(request)
        self._last = time.monotonic()
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.hostname not in _OWN:
            self.foreign.append(request.url)

    def _response(self, response: Response) -> None:
        request = response.request
        if request.is_navigation_request() and request.frame == self.page.main_frame and response.status < 300:
            self.loaded.append(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    # -- doing ---------------------------------------------------------------------------------
    def open(self, path: str) -> Response | None:
        """Go to a page of the site and wait until it asks for nothing more."""
        answer = self.page.goto(self.url + path)
        self.settle()
        return answer

    def settle(self) -> None:
        """Wait until the page asks for nothing more."""
        self.page.wait_for_load_state("load")
        end = time.monotonic() + PATIENCE
        # Without scripts nothing is asked for after the load event.
        while self.javascript and (self._open or time.monotonic() - self._last < _QUIET):
            assert time.monotonic() < end, f"still loading: {[request.url for request in self._open]}"
            self.page.wait_for_timeout(50)

    def press(self, action: str) -> None:
        """Press one of the buttons that take a choice, and wait for what follows."""
        with self.page.expect_response(lambda r: "/privacy/choices" in r.url and r.request.method == "POST"):
            self.button(action).click()
        self.settle()

    def forget(self) -> None:
        """Start counting anew: what was asked for before is no longer of interest."""
        self.demo.clear()
        self.foreign.clear()
        self.loaded.clear()

    def close(self) -> None:
        self.context.close()

    # -- looking -------------------------------------------------------------------------------
    @property
    def banner(self) -> Locator:
        return self.page.locator("#consentmw")

    def button(self, action: str) -> Locator:
        return self.page.locator(f"[data-consentmw-action={action}]").first

    def nothing_left(self) -> bool:
        """Whether no third party was asked for anything, by the browser's word and by the third parties'."""
        received = [f"{row['host']}{row['path']}" for row in self.demo.received()]
        assert self.foreign == [], f"the browser asked for {self.foreign}"
        assert received == [], f"third parties received {received}"
        return True

    def asked(self, host: str) -> list[dict[str, list[str]]]:
        """The queries with which this host was asked, newest first; browser and stand-in must tell the same."""
        theirs = [f"https://{row['host']}{row['path']}" for row in self.demo.received() if row["host"] == host]
        ours = [url for url in self.foreign if urlsplit(url).hostname == host]
        assert sorted(theirs) == sorted(ours)
        return [parse_qs(urlsplit(url).query) for url in theirs]

    def hosts(self) -> set[str]:
        """Third parties that were asked, by the browser's word and by theirs."""
        seen = {urlsplit(url).hostname or "" for url in self.foreign}
        assert seen == {row["host"] for row in self.demo.received()}
        return seen

    def cookies(self) -> dict[str, str]:
        """Name to domain of every cookie in the jar."""
        return {cookie.get("name", ""): cookie.get("domain", "") for cookie in self.context.cookies()}

    def trackers(self) -> set[str]:
        """Names of third parties' cookies in the jar, in whatever domain."""
        return {
            name
            for name, domain in self.cookies().items()
            if name.startswith(TRACKERS) or not domain.endswith(("127.0.0.1", "utility.example"))
        }

    def unexpected(self) -> list[str]:
        """What the console complained about, except for pages that the test knew to be missing."""
        return [line for line in self.complaints if "status of 404" not in line]

    def receipt(self) -> str:
        """The receipt that the site shows this visitor, "" when there is none."""
        page = self.context.new_page()
        page.goto(self.url + "/privacy/receipt")
        codes = page.locator("h2 code").all_inner_texts()
        page.close()
        return codes[0] if codes else ""
