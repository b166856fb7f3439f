"""The page of choices: each purpose on its own, with mouse, keyboard and on a small screen."""

from __future__ import annotations

import pytest

from .conftest import Visit

pytestmark = pytest.mark.browser


def test_one_purpose_alone(visit: Visit, javascript: bool) -> None:
    """Videos were allowed, measuring was not: the frame loads, and Analytics has nothing to do with it."""
    visitor = visit(javascript=javascript)
    visitor.open("/news")
    story = visitor.page.locator("main a[href*='/news/']").first.get_attribute("href") or ""
    visitor.open("/privacy/choices")
    visitor.page.locator("label", has=visitor.page.locator("input[value=media]")).click()
    visitor.press("save")
    assert visitor.page.locator("input[value=media]").is_checked()
    assert not visitor.page.locator("input[value=analytics]").is_checked()
    for path in (story, "/news/heat-pump", "/contact"):
        visitor.open(path)
    hosts = visitor.hosts()
    assert hosts & {"www.youtube.com", "player.vimeo.com", "www.google.com"}
    assert hosts & {"www.googletagmanager.com", "www.google-analytics.com", "connect.facebook.net"} == set()


def test_a_video_allowed_later_appears_in_the_open_page(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/news")
    links = visitor.page.locator("main a[href*='/news/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    found = [
        link for link in dict.fromkeys(links) if _has_frame(visitor.context.request.get(visitor.url + link).text())
    ]
    visitor.open(found[0])
    foreign = [frame.url for frame in visitor.page.frames if not frame.url.startswith(("about:", visitor.url))]
    assert foreign == [], "at most a page of ours stands where the video will be"
    assert visitor.nothing_left()
    visitor.press("accept")
    assert any("youtube.com" in frame.url or "vimeo.com" in frame.url for frame in visitor.page.frames)


def _has_frame(text: str) -> bool:
    return "youtube.com/embed" in text or "player.vimeo.com/video" in text


def test_the_keyboard_reaches_the_banner_first(visit: Visit) -> None:
    """After the skip link at most; Enter presses, and the focus goes to what happened."""
    visitor = visit()
    visitor.open("/")
    reached: list[str] = []
    for _ in range(6):
        visitor.page.keyboard.press("Tab")
        reached.append(visitor.page.evaluate("document.activeElement.dataset.consentmwAction || ''"))
        if reached[-1] == "reject":
            break
    assert reached[-2:] == ["accept", "reject"]
    assert len(reached) <= 4, "a link in the banner's text, at most the skip link, then the buttons"
    outline = visitor.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "one sees where one is"
    with visitor.page.expect_response("**/privacy/choices"):
        visitor.page.keyboard.press("Enter")
    visitor.page.locator("#consentmw [role=status]:focus").wait_for()
    assert visitor.nothing_left()


@pytest.mark.parametrize("path", ["/", "/privacy", "/privacy/choices", "/privacy/locale", "/privacy/receipt"])
def test_nothing_runs_out_of_a_small_screen(visit: Visit, path: str) -> None:
    """320 CSS pixels without scrolling sideways (WCAG 2.2, 1.4.10); targets of 24 (2.5.8)."""
    visitor = visit(viewport={"width": 320, "height": 640})
    visitor.open(path)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320
    for button in visitor.page.locator(".cmw-b, .cmw-r, .cmw-foot a, .cmw-head nav a, summary").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24


def test_accept_and_reject_are_of_one_size_and_colour(visit: Visit) -> None:
    """A refusal that is harder to see is no free choice (EDPB, cookie banner taskforce, 2023)."""
    visitor = visit()
    for width in (1280, 360):
        visitor.page.set_viewport_size({"width": width, "height": 800})
        visitor.open("/")
        boxes, looks = [], []
        for action in ("accept", "reject"):
            box = visitor.button(action).bounding_box()
            assert box is not None
            boxes.append(box)
            style = (
                "e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor, s.fontSize, s.fontWeight]; }"
            )
            looks.append(visitor.button(action).evaluate(style))
        assert looks[0] == looks[1]
        assert boxes[0]["height"] == boxes[1]["height"]
        assert abs(boxes[0]["width"] - boxes[1]["width"]) <= 0.25 * boxes[0]["width"]
        assert boxes[1]["y"] + boxes[1]["height"] <= 800, "without scrolling"


def test_the_receipt_shows_what_was_chosen(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")
    visitor.press("accept")
    visitor.open("/privacy/choices")
    visitor.press("withdraw")
    visitor.open("/privacy/receipt")
    happened = visitor.page.locator(".cmw-card dd:nth-of-type(2)").all_inner_texts()
    assert happened == ["You withdrew your consent", "You allowed some or all purposes"]
