"""The __gpp API in a real browser, with the official library as the judge of what it answers."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Frame
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from consentmw.choice import Locale

from ..mounted import mounted
from ..serving import serving
from .conftest import Visit
from .visitor import Visitor, comes_true

pytestmark = pytest.mark.browser

LIBRARY = Path(sys.prefix, "gpp_reference", "node_modules", "@iabgpp", "cmpapi", "lib", "mjs")
GPC: dict[str, Any] = {"extra_http_headers": {"Sec-GPC": "1"}}
SALE = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what we know about you."}}

HEAD = '<!doctype html><html lang="en"><head><title>Page</title>'
REST = "</head><body><h1>Page</h1></body></html>"
STRICT = "default-src 'none'; script-src 'nonce-{0}' 'strict-dynamic'; style-src 'nonce-{0}'; connect-src 'self'; "
TYPES = "require-trusted-types-for 'script'; trusted-types consentmw"
#: the first script of the page: what it is answered, and what it hears later
EARLY = """<script nonce="{0}">
__gpp("ping", (data, success) => { window.early = [data, success]; });
window.heard = [];
__gpp("addEventListener", (said, success) => heard.push([said.eventName, said.data, said.pingData.gppString, success]));
addEventListener("pagehide", () => sessionStorage.setItem("heard", JSON.stringify(heard)));
</script>"""
#: a tag of another company in its own frame, as the CMP API's specification has it find the page to ask
FRAME = """<!doctype html><html lang="en"><head><title>Tag</title></head><body><script>
window.got = [];
addEventListener("message", ({ data }) => got.push(data));
window.locate = () => {
  for (let found = window; ; found = found.parent) {
    try { if (found.frames.__gppLocator) return found; } catch {}
    if (found === window.top) return null;
  }
};
window.ask = (data) => locate().postMessage(data, "*");
</script></body></html>"""

Serve = Callable[..., "Served"]


class Served:
    """A running site; ``host`` for visitors, ``frames`` the address of another company's."""

    def __init__(self, running: ExitStack, head: str, frame: str, own: str, options: dict[str, Any]) -> None:
        async def page(request: Request) -> Response:
            nonce = secrets.token_urlsafe(16)
            headers = {"content-security-policy": own.replace("{0}", nonce)} if own else {}
            framed = frame.replace("{frames}", self.frames)
            text = HEAD + head.replace("{0}", nonce) + REST.replace("</body>", f"{framed}</body>")
            return HTMLResponse(text, headers=headers)

        async def tag(request: Request) -> Response:
            return HTMLResponse(FRAME)

        icon = Route("/favicon.ico", lambda _: Response(status_code=204))
        self.frames = running.enter_context(serving(Starlette(routes=[icon, Route("/", tag)])))
        routes = [icon, Mount("/library", StaticFiles(directory=LIBRARY)), Route("/{path:path}", page)]
        given = {"services_used": ("google_ads", "meta_pixel"), "purposes": SALE, "unknown": "allow"}
        given["regimes"] = {"US-IA": "opt_in"}
        self.middleware = mounted(Starlette(routes=routes), **{**given, **options})
        self.host = running.enter_context(serving(self.middleware)).removeprefix("http://")

    def visitor(self, visit: Visit, region: str = "US-IA", **options: Any) -> Visitor:
        """One who stated this region."""
        visitor: Visitor = visit(host=self.host, **options)
        stated = self.middleware.site.locales.write(Locale("en", region))
        visitor.context.add_cookies([{"name": "privacy-locale", "value": stated, "url": visitor.url}])
        return visitor


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a site whose pages all hold this in their head, and this frame."""
    assert LIBRARY.exists(), "make test installs the official library; by hand: scripts/install-gpp-reference .venv"
    running = ExitStack()

    def start(head: str = EARLY, frame: str = "", own: str = "", **options: Any) -> Served:
        return Served(running, head, frame, own, options)

    with running:
        yield start


def ask(where: Visitor | Frame, command: object, parameter: object = None) -> Any:
    """What __gpp answers to a command at once: data and success, or None when it doesn't call back."""
    page = where.page if isinstance(where, Visitor) else where
    call = "let got = null; __gpp(command, (...all) => { got = all; }, parameter); return got;"
    return page.evaluate(f"([command, parameter]) => {{ {call} }}", [command, parameter])


def names(heard: list[list[Any]]) -> list[tuple[str, Any]]:
    return [(name, data) for name, data, _, _ in heard]


# -- what is answered ----------------------------------------------------------------------------

#: the official library's view of a ping: its own keys and words, and what it reads from the string
JUDGE = """async (ping) => {
  const library = await import("/library/index.js");
  const { CmpApiContext, CmpDisplayStatus, CmpStatus, GppModel, PingData, SignalStatus } = library;
  const model = new GppModel(ping.gppString);
  return {
    keys: Object.keys(new PingData(new CmpApiContext())).sort(),
    words: [CmpStatus, CmpDisplayStatus, SignalStatus].map((words) => Object.values(words)),
    ids: model.getSectionIds(),
    sections: model.toObject(),
    version: new CmpApiContext().gppVersion,
  };
}"""


@pytest.mark.parametrize(
    ("region", "options"),
    [
        ("US-IA", {}),
        ("US-IA", GPC),
        ("US-CA", GPC),
        ("US-VA", {}),
        ("US-MD", {}),
        ("US-WI", {}),
    ],
)
def test_the_official_library_finds_its_own_words_in_the_answer(
    serve: Serve, visit: Visit, region: str, options: dict[str, Any]
) -> None:
    visitor = serve().visitor(visit, region, **options)
    visitor.open("/")
    ping, success = visitor.page.evaluate("early")
    assert success is True
    judged = visitor.page.evaluate(JUDGE, ping)
    assert sorted(ping) == judged["keys"]
    assert ping["gppVersion"] == judged["version"]
    for word, words in zip(("cmpStatus", "cmpDisplayStatus", "signalStatus"), judged["words"], strict=True):
        assert ping[word] in words, word
    assert ping["sectionList"] == judged["ids"]
    flat = {
        name: {key.replace("SubsectionType", "GpcSegmentType"): value for one in said for key, value in one.items()}
        for name, said in ping["parsedSections"].items()
    }
    assert flat == judged["sections"]
    assert ping["applicableSections"] == (judged["ids"] or [-1])
    assert all(f"{number}:{name}" in ping["supportedAPIs"] for number, name in zip(judged["ids"], flat, strict=True))
    assert visitor.unexpected() == []


def test_the_first_script_of_a_page_is_answered_at_once(serve: Serve, visit: Visit) -> None:
    """No stub, no queue: the string that is in force, and ready."""
    visitor = serve().visitor(visit, **GPC)
    visitor.open("/")
    ping, _ = visitor.page.evaluate("early")
    assert (ping["cmpStatus"], ping["signalStatus"], ping["cmpDisplayStatus"]) == ("loaded", "ready", "visible")
    assert (ping["gppString"], ping["cmpId"]) == ("DBABCw~BVFAAAgA.YA", 1)
    assert names(visitor.page.evaluate("heard")) == [("listenerRegistered", True)]


def test_every_command_answers_and_nothing_odd_breaks_one(serve: Serve, visit: Visit) -> None:
    visitor = serve().visitor(visit, **GPC)
    visitor.open("/")
    core, signal = ask(visitor, "getSection", "usia")[0]
    assert (core["SaleOptOut"], signal) == (1, {"SubsectionType": 1, "Gpc": True})
    for command, parameter, expected in [
        ("hasSection", "usia", [True, True]),
        ("hasSection", "usca", [False, True]),
        ("hasSection", "__proto__", [False, True]),
        ("hasSection", "toString", [False, True]),
        ("getSection", "usca", [None, False]),
        ("getSection", "constructor", [None, False]),
        ("getField", "usia.SaleOptOut", [1, True]),
        ("getField", "usia.Gpc", [True, True]),
        ("getField", "usia.SensitiveDataProcessing", [[0] * 8, True]),
        ("getField", "usia.Nothing", [None, False]),
        ("getField", "usia.toString", [None, False]),
        ("getField", "usia.SaleOptOut.length", [None, False]),
        ("getField", "usia", [None, False]),
        ("getField", "usca.SaleOptOut", [None, False]),
        ("getField", ".", [None, False]),
        ("getGPPData", None, [None, False]),
        ("toString", None, [None, False]),
        ("__proto__", "usia", [None, False]),
        (7, None, [None, False]),
        (None, None, [None, False]),
        ({"ping": 1}, None, [None, False]),
        *(
            (command, odd, [None, False])
            for command in ("hasSection", "getSection", "getField")
            for odd in (None, "", 5, [], ["usia"], {"a": 1}, "usia" * 250_000, "." * 1_000_000)
        ),
    ]:
        assert ask(visitor, command, parameter) == expected, (command, str(parameter)[:40])
    for odd in (None, 0, 99, "1", {"id": 1}):
        said, success = ask(visitor, "removeEventListener", odd)
        assert (said["eventName"], said["data"], success) == ("listenerRemoved", False, True)
    visitor.page.evaluate("() => { __gpp('ping'); __gpp('ping', 'no function'); __gpp(); __gpp('addEventListener'); }")
    assert visitor.page.evaluate("__gpp('ping', () => {})") is None, "1.1 has no return values"
    assert visitor.unexpected() == []


def test_nobody_can_change_what_others_are_answered(serve: Serve, visit: Visit) -> None:
    visitor = serve().visitor(visit, **GPC)
    visitor.open("/")
    visitor.page.evaluate("""() => {
      __gpp("ping", (data) => { data.parsedSections.usia[0].SaleOptOut = 2; data.supportedAPIs.length = 0; });
      __gpp("getSection", (data) => { data[0].SaleOptOut = 2; }, "usia");
    }""")
    assert ask(visitor, "getField", "usia.SaleOptOut") == [1, True]
    assert ask(visitor, "ping") == visitor.page.evaluate("early")


# -- events --------------------------------------------------------------------------------------

CHANGE = [
    ("listenerRegistered", True),
    ("signalStatus", "not ready"),
    ("cmpDisplayStatus", "hidden"),
    ("sectionChange", "usia"),
    ("signalStatus", "ready"),
]


def test_a_choice_is_in_force_without_a_second_page(serve: Serve, visit: Visit) -> None:
    visitor = serve().visitor(visit)
    visitor.open("/")
    visitor.page.evaluate("window.mark = 'still here'")
    visitor.press("accept")
    heard = visitor.page.evaluate("heard")
    assert visitor.page.evaluate("window.mark") == "still here"
    assert names(heard) == CHANGE
    denied, allowed = "DBABCw~BVFAAAgA.QA", "DBABCw~BVKAAAgA.QA"
    assert [text for _, _, text, _ in heard] == [denied, denied, denied, allowed, allowed]
    ping, _ = ask(visitor, "ping")
    assert (ping["gppString"], ping["signalStatus"], ping["cmpDisplayStatus"]) == (allowed, "ready", "hidden")
    state = visitor.page.evaluate("fetch('/privacy/state').then((answer) => answer.json())")
    assert state["gpp"]["gppString"] == allowed
    visitor.open("/next")
    ping, _ = visitor.page.evaluate("early")
    assert (ping["gppString"], ping["cmpDisplayStatus"]) == (allowed, "disabled")


def test_a_refusal_is_told_before_the_page_ends(serve: Serve, visit: Visit) -> None:
    """What ran can't be switched off in a page, so another one comes; its tags are told first."""
    visitor = serve(regimes={"US-IA": "opt_out"}).visitor(visit)
    visitor.open("/")
    assert visitor.page.evaluate("early")[0]["gppString"] == "DBABCw~BVKAAAgA.QA"
    visitor.press("reject")
    comes_true(visitor.page, "early[0].cmpDisplayStatus === 'disabled'")
    assert len(visitor.loaded) == 2
    heard = json.loads(visitor.page.evaluate("sessionStorage.getItem('heard')"))
    assert names(heard) == CHANGE
    assert heard[-1][2] == visitor.page.evaluate("early")[0]["gppString"] == "DBABCw~BVFAAAgA.QA"


def test_a_choice_that_changes_nothing_changes_no_section(serve: Serve, visit: Visit) -> None:
    visitor = serve().visitor(visit)
    visitor.open("/")
    visitor.press("reject")
    assert names(visitor.page.evaluate("heard")) == [said for said in CHANGE if said[0] != "sectionChange"]


def test_a_listener_that_throws_costs_nobody_else_anything(serve: Serve, visit: Visit) -> None:
    throwing = "<script>__gpp('addEventListener', (said) => { throw new Error('mine ' + said.eventName); });</script>"
    visitor = serve(throwing + EARLY).visitor(visit)
    visitor.open("/")
    visitor.press("accept")
    assert names(visitor.page.evaluate("heard")) == CHANGE
    assert not visitor.banner.is_visible() or "status" in visitor.banner.inner_html()
    reported = [line for line in visitor.unexpected() if "mine" in line]
    assert len(reported) >= len(CHANGE), "its owner can find it in the console"


def test_a_listener_that_was_removed_hears_nothing(serve: Serve, visit: Visit) -> None:
    visitor = serve().visitor(visit)
    visitor.open("/")
    said, success = ask(visitor, "removeEventListener", 1)
    assert (said["eventName"], said["listenerId"], said["data"], success) == ("listenerRemoved", 1, True, True)
    visitor.press("accept")
    assert names(visitor.page.evaluate("heard")) == CHANGE[:1]


def test_listeners_of_one_window_are_bounded(serve: Serve, visit: Visit) -> None:
    visitor = serve().visitor(visit)
    visitor.open("/")
    ids = visitor.page.evaluate("""() => {
      const ids = [];
      for (let n = 0; n < 150; n += 1) {
        __gpp("addEventListener", ({ data, listenerId }) => ids.push([data, listenerId]));
      }
      return ids;
    }""")
    assert ids == [[True, number] for number in range(2, 101)] + [[False, 0]] * 51


# -- frames --------------------------------------------------------------------------------------

TAG = '<iframe id="tag" title="Tag" src="{frames}/"></iframe>'
SANDBOXED = '<iframe id="tag" title="Tag" sandbox="allow-scripts" src="{frames}/"></iframe>'


def framed(visitor: Visitor) -> Frame:
    """The frame of the other company."""
    visitor.open("/")
    handle = visitor.page.query_selector("#tag")
    assert handle
    frame = handle.content_frame()
    assert frame
    return frame


def got(frame: Frame, number: int) -> list[Any]:
    """The messages that the frame got, once there are so many."""
    comes_true(frame, f"got.length >= {number}")
    found: list[Any] = frame.evaluate("got")
    return found


@pytest.mark.parametrize("tag", [TAG, SANDBOXED], ids=["another origin", "sandboxed"])
@pytest.mark.parametrize("text", [False, True], ids=["object", "text"])
def test_a_frame_of_another_company_is_answered_by_messages(serve: Serve, visit: Visit, tag: str, text: bool) -> None:
    """In the form in which it asked, and it hears of a choice."""
    visitor = serve(frame=tag).visitor(visit)
    frame = framed(visitor)
    wrap = "ask(JSON.stringify({ __gppCall: call }))" if text else "ask({ __gppCall: call })"
    for call in (
        {"command": "ping", "version": "1.1", "callId": "first"},
        {"command": "getField", "parameter": "usia.SaleOptOut", "callId": 7},
        {"command": "nothing", "callId": 8},
        {"command": "addEventListener", "callId": "events"},
    ):
        frame.evaluate(f"(call) => {wrap}", call)
    visitor_got = got(frame, 4)
    answers = [(json.loads(one) if text else one)["__gppReturn"] for one in visitor_got]
    assert [(one["callId"], one["success"]) for one in answers] == [
        ("first", True),
        (7, True),
        (8, False),
        ("events", True),
    ]
    assert answers[0]["returnValue"] == visitor.page.evaluate("early[0]")
    assert (answers[1]["returnValue"], answers[2]["returnValue"]) == (1, None)
    visitor.press("accept")
    later = [(json.loads(one) if text else one)["__gppReturn"] for one in got(frame, 8)][3:]
    assert {one["callId"] for one in later} == {"events"}
    assert [(one["returnValue"]["eventName"], one["returnValue"]["data"]) for one in later] == CHANGE
    assert visitor.unexpected() == []


ODD = """() => {
  const calls = [null, undefined, 0, "", "__gppCall", [], {}, { command: "ping" }, { command: "ping", callId: null },
    { command: "ping", callId: {} }, { command: "ping", callId: [1] }, { command: "ping", callId: "x".repeat(1000) },
    { command: "ping", callId: true }];
  for (const call of calls) { ask({ __gppCall: call }); ask(JSON.stringify({ __gppCall: call })); }
  const sent = ["__gppCall", "{", '{"__gppCall"', "x".repeat(1e6), '"__gppCall"', "null", "[]",
    '{"__gppCall":' + "[".repeat(5000), null, undefined, 5, true,
    JSON.stringify({ __gppCall: { command: "ping", callId: 1, parameter: "x".repeat(1e6) } }),
    new Date(), new Map([["__gppCall", 1]]), new Uint8Array(1e6), [{ __gppCall: { command: "ping", callId: 1 } }],
    { __gppReturn: { callId: 1 } }, { __tcfapiCall: { command: "ping", callId: 1 } }];
  for (const data of sent) ask(data);
  const loop = { command: "getField", callId: "last", parameter: {} };
  loop.parameter.self = loop;
  ask({ __gppCall: loop });
}"""


def test_odd_messages_from_anybody_are_left_alone(serve: Serve, visit: Visit) -> None:
    """Nothing is answered that is no call, nothing breaks, and a sound call after them is answered."""
    visitor = serve(frame=TAG).visitor(visit)
    frame = framed(visitor)
    frame.evaluate(ODD)
    (answer,) = got(frame, 1)
    assert answer == {"__gppReturn": {"returnValue": None, "success": False, "callId": "last"}}
    assert visitor.unexpected() == []


def test_a_frame_cannot_remove_listeners_of_others_and_goes_with_its_own(serve: Serve, visit: Visit) -> None:
    visitor = serve(frame=TAG).visitor(visit)
    frame = framed(visitor)
    frame.evaluate("ask({ __gppCall: { command: 'removeEventListener', parameter: 1, callId: 1 } })")
    frame.evaluate("ask({ __gppCall: { command: 'addEventListener', callId: 2 } })")
    refused, registered = (one["__gppReturn"]["returnValue"] for one in got(frame, 2))
    assert (refused["data"], registered["data"], registered["listenerId"]) == (False, True, 2)
    visitor.page.evaluate("document.querySelector('#tag').remove()")
    visitor.press("accept")
    assert names(visitor.page.evaluate("heard")) == CHANGE
    assert ask(visitor, "addEventListener")[0]["listenerId"] == 3
    assert visitor.unexpected() == []


# -- policies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [STRICT + TYPES, STRICT, ""], ids=["Trusted Types", "strict", "ours alone"])
def test_it_works_under_enforced_policies(serve: Serve, visit: Visit, own: str) -> None:
    """Ours is enforced, too; the page's own script carries the nonce, and so does the one that answers it."""
    visitor = serve(own=own, policy="enforce").visitor(visit)
    visitor.open("/")
    visitor.press("accept")
    assert names(visitor.page.evaluate("heard")) == CHANGE
    assert visitor.page.evaluate("window.frames.__gppLocator !== undefined")
    assert visitor.unexpected() == []


# -- another CMP ---------------------------------------------------------------------------------


def test_another_cmp_that_is_there_already_is_left_as_it_is(serve: Serve, visit: Visit) -> None:
    visitor = serve(head="").visitor(visit)
    said: list[str] = []
    visitor.context.on("console", lambda message: said.append(message.text))
    visitor.page.add_init_script("window.theirs = window.__gpp = (command, callback) => callback('theirs', true);")
    visitor.open("/")
    assert ask(visitor, "ping") == ["theirs", True]
    assert visitor.page.evaluate("__gpp === theirs && window.frames.__gppLocator === undefined")
    assert any("another __gpp" in line for line in said)
    visitor.press("accept")
    assert visitor.unexpected() == []


#: a CMP in the site's bundle, made of the official library; its stub came too late to be needed
OTHER = """<script nonce="{0}" type="module">
import { CmpApi } from "/library/index.js";
const theirs = new CmpApi(31, 1);
theirs.setApplicableSections([8]);
theirs.setFieldValue("usca", "SaleOptOut", 1);
theirs.setSignalStatus("ready");
window.ready = true;
</script>"""


def test_another_cmp_that_comes_later_takes_over(serve: Serve, visit: Visit) -> None:
    """From then on ours is silent: a frame that asks by message must not get two answers that differ."""
    visitor = serve(EARLY + OTHER, frame=TAG).visitor(visit)
    frame = framed(visitor)
    comes_true(visitor.page, "window.ready")
    ping, _ = ask(visitor, "ping")
    assert (ping["cmpId"], ping["applicableSections"]) == (31, [8])
    frame.evaluate("ask({ __gppCall: { command: 'ping', callId: 1 } })")
    visitor.press("accept")
    assert names(visitor.page.evaluate("heard")) == CHANGE[:1]
    assert frame.evaluate("got") == []
    assert visitor.unexpected() == []


STUB = """<script>
if (typeof window.__gpp !== "function") {
  window.__gpp = (...all) => all.length ? void __gpp.queue.push(all) : __gpp.queue;
  __gpp.queue = [];
  const frame = document.createElement("iframe");
  frame.name = "__gppLocator";
  document.head.append(frame);
}
__gpp("ping", (data) => { window.early = data; });
</script>"""


def test_a_page_with_the_stub_of_another_cmp_is_all_its_own(serve: Serve, visit: Visit) -> None:
    visitor = serve(STUB + OTHER).visitor(visit)
    visitor.open("/")
    comes_true(visitor.page, "window.ready")
    assert visitor.page.locator("script[src*='/gpp.']").count() == 0
    assert visitor.page.evaluate("early.cmpId") == 31
    assert visitor.unexpected() == []
