"""E-mail: opens and clicks are counted, links lead where they say, and nobody is named who did not allow it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from consentmw import ConsentMiddleware
from consentmw.mail import Mailer

from ..mounted import mounted
from ..serving import serving
from .conftest import Visit
from .demo import Demo
from .visitor import Visitor

pytestmark = pytest.mark.browser

COUNTED = "SELECT coalesce(sum(count), 0) FROM counts WHERE kind = ? AND campaign = 'spring-2027'"


def test_an_open_is_counted_and_names_nobody(visit: Visit, demo: Demo, javascript: bool) -> None:
    ((before,),) = demo.rows(COUNTED, "pixel")
    visitor = visit(javascript=javascript)
    visitor.open("/email")
    demo.until(lambda: demo.rows(COUNTED, "pixel") == [(before + 1,)], "the open to be counted")
    assert (
        demo.rows("SELECT 1 FROM events JOIN contexts ON contexts.id = context WHERE kind = 'pixel' AND receipt = ''")
        == []
    )
    assert visitor.nothing_left()


def test_a_link_leads_to_its_target_and_is_counted(visit: Visit, demo: Demo) -> None:
    ((before,),) = demo.rows(COUNTED, "click")
    visitor = visit()
    visitor.open("/email")
    visitor.page.locator(".mail-links a", has_text="outages").click()
    visitor.page.wait_for_url("**/outages?utm_source=newsletter*")
    visitor.settle()
    assert visitor.page.url.startswith(f"{visitor.url}/outages")
    demo.until(lambda: demo.rows(COUNTED, "click") == [(before + 1,)], "the click to be counted")
    assert visitor.nothing_left()


def test_whoever_allowed_it_is_recorded_with_the_click(visit: Visit, demo: Demo, javascript: bool) -> None:
    """Allowed on the page behind the mail's own link, not by what a browser accepts; and refused there again."""
    rows = "SELECT recipient, campaign, link FROM events WHERE kind = 'click' AND recipient IS NOT NULL"
    visitor = visit(javascript=javascript)
    visitor.open("/")
    visitor.press("accept")
    follow(visitor)
    assert demo.rows(rows) == []
    answer(visitor, "allow")
    assert visitor.page.get_by_text("You allowed this.").is_visible()
    follow(visitor)
    demo.until(lambda: demo.rows(rows), "the row of the click")
    assert demo.rows(rows) == [("reader-0417", "spring-2027", "outages")]
    answer(visitor, "refuse")
    demo.until(lambda: demo.rows(rows) == [], "the row to go")
    follow(visitor)
    assert demo.rows(rows) == []


def follow(visitor: Visitor) -> None:
    """Open the mail and follow one of its links."""
    visitor.open("/email")
    visitor.page.locator(".mail-links a", has_text="outages").click()
    visitor.page.wait_for_url("**/outages?*")
    visitor.settle()


def answer(visitor: Visitor, word: str) -> None:
    """Go where the mail's own link leads, and answer."""
    visitor.open("/email")
    link = visitor.page.frame_locator(".mail-body").locator("a[href*='/privacy/mail/']")
    visitor.page.goto(str(link.get_attribute("href")))
    visitor.page.locator(f"button[value={word}]").click()
    visitor.page.wait_for_url("**?saved")


# -- a whole newsletter -----------------------------------------------------------------------------

NEWSLETTER = Path(__file__).parent.parent / "data" / "newsletter.html"
#: a Chromium that is driven says so, and then counts as a program
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


class Sent:
    """A utility's site, and its newsletter as a file, rewritten for one recipient."""

    def __init__(self, folder: Path, base: str, site: ConsentMiddleware) -> None:
        self.base = base
        self.site = site
        self._folder = folder
        self._mailer = Mailer(site.site.tokens, base, recipients=site.site.recipients)

    def to(self, recipient: str) -> str:
        """Address of the file that this recipient got."""
        html = NEWSLETTER.read_text("utf-8").replace("https://www.utility.example", self.base)
        mail = self._mailer.rewrite(html, "spring", recipient)
        assert (mail.warnings, len(mail.links)) == ((), 6)
        file = self._folder / f"{recipient}.html"
        file.write_text(mail.html, "utf-8")
        return file.as_uri()

    def rows(self) -> list[tuple[str, str, str]]:
        """What was recorded by name."""
        assert self.site.recorder.flush(5)
        rows = [row for row in self.site.recorder.store.events() if row["recipient"]]
        return sorted((row["kind"], row["recipient"], row["link"]) for row in rows)

    def count(self, kind: str, bot: str = "") -> int:
        """The campaign's counter."""
        assert self.site.recorder.flush(5)
        rows = self.site.recorder.store.counts()
        return sum(r["count"] for r in rows if (r["kind"], r["campaign"], r["bot"]) == (kind, "spring", bot))


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[Sent]:
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<!doctype html><html lang=en><title>Page</title><h1>{request.url.path}</h1></html>")

    app = Starlette(routes=[Route("/{path:path}", page)])
    site = mounted(app, leaving="other sites")
    with serving(site) as base:
        yield Sent(tmp_path, base, site)


def arrive(visitor: Visitor, mail: str, link: str) -> Page:
    """Open the mail and click a link in it; the page it leads to."""
    visitor.page.goto(mail)
    # In this window, so that the visitor sees everything that is asked for.
    visitor.page.eval_on_selector_all("[target]", "found => found.forEach(one => one.removeAttribute('target'))")
    visitor.page.locator(link).click(position={"x": 5, "y": 5})
    visitor.page.wait_for_url(lambda url: url.startswith("http"))
    visitor.settle()
    return visitor.page


def test_a_newsletter_is_opened_and_followed_and_names_nobody(visit: Visit, demo: Demo, sent: Sent) -> None:
    visitor = visit(user_agent=PERSON)
    landed = arrive(visitor, sent.to("customer-1"), "#outages")
    assert landed.locator("h1").inner_text() == "/outages"
    assert landed.url.endswith("?from=mail&view=map&utm_source=newsletter&utm_medium=email&utm_campaign=spring#now")
    demo.until(lambda: (sent.count("pixel"), sent.count("click")) == (1, 1), "an open and a click")
    assert sent.rows() == []


def test_a_newsletter_is_recorded_by_name_for_who_allowed_it(visit: Visit, demo: Demo, sent: Sent) -> None:
    visitor = visit(user_agent=PERSON)
    choices = arrive(visitor, sent.to("customer-1"), "#foot a")
    choices.locator("button[value=allow]").click()
    choices.wait_for_url("**?saved")
    assert choices.get_by_text("You allowed this.").is_visible()
    mail = sent.to("customer-1")
    arrive(visitor, mail, "#outages")
    named = [("click", "customer-1", "outages"), ("pixel", "customer-1", "")]
    demo.until(lambda: sent.rows() == named, "an open and a click by name")
    arrive(visitor, mail, "#foot a").locator("button[value=refuse]").click()
    visitor.page.get_by_text("You refused this.").wait_for()
    demo.until(lambda: sent.rows() == [], "all of it to go")
    assert arrive(visitor, mail, "[usemap]").locator("h1").inner_text() == "/contact"
    demo.until(lambda: sent.count("click") == 2, "the click to be counted")
    assert sent.rows() == [], "in the mail that was sent before, too"


def test_a_partner_is_named_before_anybody_gets_there(visit: Visit, sent: Sent) -> None:
    visitor = visit(user_agent=PERSON)
    between = arrive(visitor, sent.to("customer-1"), "#partner")
    assert between.url.startswith(f"{sent.base}/privacy/leaving/")
    assert between.locator("bdi").inner_text() == "heatpumps.example"
    assert visitor.foreign == [], "nothing leads on by itself"
    between.get_by_role("link", name="Continue to heatpumps.example").click()
    between.wait_for_url("https://heatpumps.example/guide?room=attic")
    assert between.evaluate("document.referrer") == ""


def test_nobody_comes_across_the_link_for_programs(visit: Visit, demo: Demo, sent: Sent) -> None:
    """Neither by eye nor by keyboard; and what stays as it was are telephone, e-mail and places in the mail."""
    visitor = visit(user_agent=PERSON)
    visitor.page.goto(sent.to("customer-1"))
    trap = visitor.page.locator("[data-consentmw=trap]")
    assert trap.bounding_box() is None
    reached = set()
    for _ in range(15):
        visitor.page.keyboard.press("Tab")
        reached.add(visitor.page.evaluate("document.activeElement.dataset.consentmw === 'trap'"))
    assert reached == {False}
    hrefs = visitor.page.eval_on_selector_all("a", "found => found.map(one => one.getAttribute('href'))")
    assert [href for href in hrefs if not href.startswith("http")] == [
        "mailto:news@utility.example?subject=Hello", "tel:+13195550123", "#top",
    ]  # fmt: skip
    visitor.page.request.get(str(trap.get_attribute("href")), headers={"user-agent": PERSON})
    demo.until(lambda: sent.count("click", "scanner: honeypot") == 1, "the program to be found out")
