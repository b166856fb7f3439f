"""The relay to Google: nothing without consent, nothing twice, nothing after a withdrawal, and no page ever waits."""

from __future__ import annotations

import json
import logging
import re
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from consentmw import ConsentMiddleware, SettingsError
from consentmw.decision import Decision
from consentmw.errors import RelayError, StoreError, Unreachable
from consentmw.events import Count
from consentmw.relay import ENDPOINTS, Relay, protocol
from consentmw.relay.delivery import Delivery, Recalled
from consentmw.settings import GOOGLE_VARIABLE
from consentmw.visitor import Visitor
from demo_site import certificate

from .asgi import App, Header, body, header, html, http_scope, response, run, status
from .google import Google, until
from .mounted import PAGE, choice_cookie, mounted, post

NOW = 1_800_000_000.0
ID = "G-TEST1234"
SECRET = "secret/of the=property"
CLIENT = "1234567890.1700000000"
GA = f"_ga=GA1.1.{CLIENT}"
RECEIPT = "r" * 22

#: makes decisions as they are in service
SITE = mounted(App(*html(PAGE)))
OPT_OUT = mounted(App(*html(PAGE)), fallback_regime="opt_out")


#: what a person's browser says
PERSON: Header = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")


def visitor(*cookies: str, headers: tuple[Header, ...] = (), agent: Header = PERSON, **scope: Any) -> Visitor:
    return Visitor.read(http_scope(headers=[("cookie", "; ".join(cookies)), agent, *headers], **scope))


def decided(*granted: str, receipt: str = RECEIPT, headers: tuple[Header, ...] = ()) -> Decision:
    """The decision for a visitor who granted these purposes."""
    return SITE.site.ruling(visitor(choice_cookie(SITE, *granted, receipt=receipt), headers=headers)).decision


ALLOWED = decided("analytics")


class Relays:
    """Makes relays whose endpoint is on this machine, and ends them."""

    def __init__(self) -> None:
        self.made: list[Relay] = []
        self.counted: list[Count] = []
        self.now = NOW
        self.erased: Callable[[str], bool] = lambda _: False

    def __call__(self, url: str, **options: Any) -> Relay:
        options = {"interval": 0.01, "longest_pause": 0.05, "clock": lambda: self.now, **options}
        relay = Relay(
            url, ID, SECRET, key=b"k" * 16, count=self.counted.append, withdrawn=lambda r: self.erased(r), **options
        )
        self.made.append(relay)
        return relay


@pytest.fixture
def relays() -> Iterator[Relays]:
    made = Relays()
    yield made
    for relay in made.made:
        relay.close(0)


@pytest.fixture
def google() -> Iterator[Google]:
    server = Google()
    yield server
    server.close()


@pytest.fixture
def gone() -> Google:
    """A server that has been closed."""
    server = Google()
    server.close()
    return server


@pytest.fixture
def nowhere(gone: Google) -> str:
    """An address at which nobody listens."""
    return gone.url


# -- what the protocol takes --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1st",
        "_x",
        "with space",
        "x" * 41,
        "bill-paid",
        "naïve",
        "a\n",
        "session_start",
        "ga_x",
        "firebase_x",
        "error",
    ],
)
def test_a_name_that_google_would_drop_is_the_programs_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="event"):
        protocol.checked(name, {})


@pytest.mark.parametrize(
    "key", ["", "a b", "x" * 41, "_private", "google_x", "gtag.x", "session_id", "firebase_conversion"]
)
def test_a_parameter_that_google_reserves_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="parameter"):
        protocol.checked("paid", {key: 1})


@pytest.mark.parametrize("value", [None, [], {}, b"x", float("nan"), float("inf"), 2**54, 1j, object()])
def test_a_value_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="'v'"):
        protocol.checked("paid", {"v": value})


def test_more_parameters_than_google_reads_are_refused() -> None:
    """25 an event, of which three are ours."""
    assert protocol.checked("paid", {f"p{n}": n for n in range(22)}) is not None
    with pytest.raises(ValueError, match="22"):
        protocol.checked("paid", {f"p{n}": n for n in range(23)})


def test_texts_are_cut_to_what_google_keeps() -> None:
    long = "x" * 5000
    found = protocol.checked("paid", {"v": long, "page_title": long, "page_location": long, "page_referrer": long})
    assert found is not None
    assert {key: len(str(value)) for key, value in found.items()} == {
        "v": 100,
        "page_title": 300,
        "page_location": 1000,
        "page_referrer": 420,
    }
    assert protocol.checked("paid", {"a": True, "b": False, "c": 1.5, "d": -3}) == {
        "a": "true",
        "b": "false",
        "c": 1.5,
        "d": -3,
    }


@pytest.mark.parametrize(
    "text",
    [
        "ann@utility.example",
        "Mail me at ann.lee+x@mail.utility.example, please",
        "https://utility.example/?mail=ann%40utility.example",
        "ann＠utility.example",
        "x" * 95 + "ann@utility.example",
        "@" * 500 + "ann@utility.example",
    ],
)
def test_an_address_is_not_sent_even_in_part(text: str) -> None:
    """Google's terms forbid it, and a cut address is still one."""
    assert protocol.checked("search", {"term": text}) is None


@pytest.mark.parametrize("text", ["@utility", "5 kWh @ 0.12", "a@b", "100 %", "", "%40", "@@@@"])
def test_what_only_looks_a_little_like_an_address_is_sent(text: str) -> None:
    assert protocol.checked("search", {"term": text}) == {"term": text}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,40}", fullmatch=True), st.text(max_size=2500), max_size=22))
def test_whatever_a_visitor_wrote_becomes_a_body_that_google_can_read(params: dict[str, str]) -> None:
    try:
        found = protocol.checked("search", params)
    except ValueError:
        return  # a reserved name
    if found is not None:
        event = protocol.event("search", found, NOW, "")
        assert len(event) < protocol.MOST_BYTES
        read = json.loads(protocol.body(CLIENT, "denied", "denied", [event, event]).decode())
        assert [e["name"] for e in read["events"]] == ["search", "search"]
        assert all(len(str(value)) <= 1000 for value in read["events"][0]["params"].values())


@pytest.mark.parametrize(
    ("cookies", "client"),
    [
        (["GA1.1.123.456"], "123.456"),
        (["GA1.2.1162820436.1749482504"], "1162820436.1749482504"),
        (["GA1.3-2.1.2"], "1.2"),
        (["forged", "GA1.1.123.456", "GA1.1.7.8"], "123.456"),
        ([], ""),
        ([""], ""),
        (["GA1.1.0.456"], ""),
        (["GA1.1.-1.456"], ""),
        (["GA1.1.123.456.789"], ""),
        (["GA1.1.123.456\n"], ""),
        (["GA1.1.123.45678901234"], ""),
        (["GA2.1.123.456"], ""),
        (["1.2.123.456"], ""),
        (["GA1.1." + "1" * 5000], ""),
        (["GA1.1.ann@utility.example"], ""),
        (["GA1.1.１２３.456"], ""),
    ],
)
def test_the_client_id_is_two_numbers_or_nothing(cookies: list[str], client: str) -> None:
    """A cookie is whatever a visitor sends; Google asks for two positive numbers."""
    assert protocol.client_id(cookies) == client


@pytest.mark.parametrize(
    ("cookies", "session"),
    [
        (["GS1.1.1746825440.14.0.17468254406.0.0.295082955"], "1746825440"),
        (["GS1.1.1746825440"], "1746825440"),
        (["GS2.1.s1747132561$o1$g0$t1747132655$j0$l0$h0"], "1747132561"),
        (["GS2.1.o1$t5$s1747132561"], "1747132561"),
        (["GS2.1.o1$g0", "GS1.1.5"], "5"),
        (["GS2.1.sx$s-1$s0$s"], ""),
        (["GS2.1.s" + "1" * 11], ""),
        (["GS3.1.s1747132561"], ""),
        (["GS2.1." + "$" * 100_000 + "s1"], ""),
        ([], ""),
    ],
)
def test_the_session_id_is_read_from_both_layouts(cookies: list[str], session: str) -> None:
    assert protocol.session_id(cookies) == session


@given(st.lists(st.text() | st.from_regex(r"G[AS][12]\.[0-9.$s\-]*")))
def test_no_cookie_puts_anything_but_numbers_into_an_id(cookies: list[str]) -> None:
    assert re.fullmatch(r"([1-9][0-9]{0,9}\.[1-9][0-9]{0,9})?", protocol.client_id(cookies))
    assert re.fullmatch(r"([1-9][0-9]{0,9})?", protocol.session_id(cookies))


def test_a_derived_id_is_steady_and_tells_nothing_of_the_receipt() -> None:
    one = protocol.derived_id(b"key", RECEIPT)
    assert one == protocol.derived_id(b"key", RECEIPT)
    assert len({one, protocol.derived_id(b"key", "other"), protocol.derived_id(b"other key", RECEIPT)}) == 3
    assert re.fullmatch(r"[1-9][0-9]{0,9}\.[1-9][0-9]{0,9}", one)


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/", "/"),
        ("/account/{account}/bill", "/account/:account/bill"),
        ("/file/{rest:path}", "/file/:rest"),
        ("/{x}/a b/ñ", "/:x/a%20b/%C3%B1"),
        ("(not found)", "%28not%20found%29"),
        ("/{" * 500, "/%7B" * 500),
    ],
)
def test_a_page_is_told_by_its_template(route: str, path: str) -> None:
    assert protocol.location("https", "www.utility.example", route) == f"https://www.utility.example{path}"


# -- what is sent -------------------------------------------------------------------------------


def test_a_request_is_exactly_this(relays: Relays, google: Google) -> None:
    """Nothing about the visitor but the two ids: no address, no agent, no language."""
    relay = relays(google.url)
    who = visitor(
        GA, "_ga_TEST1234=GS2.1.s1747132561$o1", headers=(("user-agent", "Browser/1"), ("accept-language", "es"))
    )
    assert relay.measure(who, ALLOWED, "bill_paid", {"value": 12.5, "currency": "USD"})
    until(lambda: google.hits)
    (hit,) = google.hits
    assert hit.line == f"POST /mp/collect?measurement_id={ID}&api_secret=secret%2Fof+the%3Dproperty HTTP/1.1"
    assert hit.headers == {
        "host": f"127.0.0.1:{google.port}",
        "content-type": "application/json",
        "content-length": str(len(hit.body)),
        "user-agent": "consentmw",
    }
    assert hit.json == {
        "client_id": CLIENT,
        "consent": {"ad_user_data": "DENIED", "ad_personalization": "DENIED"},
        "events": [
            {
                "name": "bill_paid",
                "params": {
                    "engagement_time_msec": 1,
                    "value": 12.5,
                    "currency": "USD",
                    "timestamp_micros": 1_800_000_000_000_000,
                    "session_id": "1747132561",
                },
            }
        ],
    }
    until(lambda: relay.tally == {"sent": 1})
    assert relays.counted == [Count(int(NOW) // 3600 * 3600, "relay", "bill_paid", "2xx")]


@pytest.mark.parametrize(
    ("granted", "gpc", "ads"),
    [
        (("analytics",), False, "DENIED"),
        (("analytics", "advertising"), False, "GRANTED"),
        (("analytics", "advertising"), True, "DENIED"),
    ],
)
def test_the_consent_object_says_what_was_decided(
    relays: Relays, google: Google, granted: tuple[str, ...], gpc: bool, ads: str
) -> None:
    """Left out, Google would take the consent of an earlier visit."""
    relay = relays(google.url)
    headers: tuple[Header, ...] = (("sec-gpc", "1"),) if gpc else ()
    assert relay.measure(visitor(GA), decided(*granted, headers=headers), "paid", {})
    until(lambda: google.hits)
    assert google.hits[0].json["consent"] == {"ad_user_data": ads, "ad_personalization": ads}


def without_consent() -> dict[str, tuple[Decision, str]]:
    expired = choice_cookie(SITE, "analytics", at=datetime.now(UTC) - timedelta(days=200))
    unlisted = mounted(App(), services_used=["youtube"])
    advanced = mounted(App(), google_mode="advanced", google_analytics=ID)
    moved = mounted(App(), services={"google_analytics": {"purposes": ["media"]}})
    signal = (("sec-gpc", "1"),)
    return {
        "no choice": (SITE.site.ruling(visitor()).decision, "no choice"),
        "refused": (decided(), "choice"),
        "other purposes": (decided("media", "advertising", "email_measurement"), "choice"),
        "expired": (SITE.site.ruling(visitor(expired)).decision, "expired"),
        "signal": (OPT_OUT.site.ruling(visitor(headers=signal)).decision, "gpc"),
        "not disclosed": (
            unlisted.site.ruling(visitor(choice_cookie(unlisted, "analytics"))).decision,
            "not disclosed",
        ),
        "tags without cookies": (advanced.site.ruling(visitor()).decision, "advanced"),
        "service under another purpose": (
            moved.site.ruling(visitor(choice_cookie(moved, "media"))).decision,
            "analytics",
        ),
    }


@pytest.mark.parametrize("case", list(without_consent()))
def test_nothing_is_sent_without_consent_and_the_reason_is_counted(relays: Relays, google: Google, case: str) -> None:
    decision, why = without_consent()[case]
    relay = relays(google.url)
    assert not relay.measure(visitor(GA), decision, "paid", {"value": 1})
    assert relay.close(5)
    assert google.connections == 0
    assert [(count.kind, count.route, count.why) for count in relays.counted] == [("relay", "paid", why)]


@pytest.mark.parametrize(
    ("headers", "agent", "why"),
    [
        ((), ("user-agent", "Googlebot/2.1"), "bot: bot"),
        ((), ("user-agent", ""), "no agent"),
        ((("sec-purpose", "prefetch;prerender"),), PERSON, "prefetch"),
        ((("x-moz", "prefetch"),), PERSON, "prefetch"),
    ],
)
def test_a_program_is_nobody_to_report(
    relays: Relays, google: Google, headers: tuple[Header, ...], agent: Header, why: str
) -> None:
    """Also one that carries a person's cookies, as a browser does that fetches ahead."""
    relay = relays(google.url)
    assert not relay.measure(visitor(GA, headers=headers, agent=agent), ALLOWED, "paid", {})
    relay.page_view(visitor(GA, headers=headers, agent=agent), ALLOWED, "/bill")
    assert relay.close(5)
    assert google.connections == 0
    assert [(count.route, count.why) for count in relays.counted] == [("paid", why)]


async def test_the_sites_own_people_are_not_reported(served: Callable[..., ConsentMiddleware], google: Google) -> None:
    """Whatever they chose: what staff look at says nothing about visitors. Behind a proxy their own address counts."""
    answers: list[bool] = []
    options: dict[str, Any] = {"internal_networks": ("198.51.100.0/24",), "trusted_proxies": ("10.0.0.1",)}
    site = served(pays(answers), google_relay_pages=True, **options)
    who = ("cookie", f"{choice_cookie(site, 'analytics')}; {GA}")
    behind: dict[str, Any] = {"client": ("10.0.0.1", 5)}
    await run(site, http_scope(headers=[who, PERSON], client=("198.51.100.7", 5)))
    await run(site, http_scope(headers=[who, PERSON, ("x-forwarded-for", "198.51.100.8")], **behind))
    await run(site, http_scope(headers=[who, PERSON, ("x-forwarded-for", "203.0.113.9")], **behind))
    assert answers == [False, False, True]
    assert await run_sync(site.site.relay.close, 20)
    assert sorted(google.names) == ["bill_paid", "page_view"]
    assert site.site.relay.tally == {"internal": 2, "sent": 2}


def test_where_nobody_has_to_be_asked_only_an_id_of_googles_is_used(relays: Relays, google: Google) -> None:
    """Without a choice there is no receipt to derive an id from, and we make none from an address."""
    relay = relays(google.url)
    decision = OPT_OUT.site.ruling(visitor()).decision
    assert not relay.measure(visitor(), decision, "paid", {})
    assert relay.measure(visitor(GA), decision, "paid", {})
    until(lambda: google.hits)
    assert google.hits[0].json["client_id"] == CLIENT
    assert relay.tally["no client"] == 1


def test_without_a_cookie_the_receipt_gives_the_id(relays: Relays, google: Google) -> None:
    relay = relays(google.url)
    for cookies in ((), ("_ga=forged",), ("_ga=GA1.1.ann@utility.example",)):
        assert relay.measure(visitor(*cookies), ALLOWED, "paid", {})
    until(lambda: len(google.names) == 3)
    assert {hit.json["client_id"] for hit in google.hits} == {protocol.derived_id(b"k" * 16, RECEIPT)}
    assert RECEIPT.encode() not in google.bytes
    assert "session_id" not in google.hits[0].json["events"][0]["params"]


def test_an_address_in_a_value_keeps_the_event_back(relays: Relays, google: Google) -> None:
    """No error: a visitor may write one into any field."""
    relay = relays(google.url)
    assert not relay.measure(visitor(GA), ALLOWED, "search", {"term": "ann@utility.example"})
    assert relay.close(5)
    assert (google.connections, relay.tally) == (0, {"personal": 1})


def test_one_request_is_one_visitor_and_at_most_25_events(relays: Relays, google: Google) -> None:
    relay = relays(google.url, interval=0.2)
    other = decided("analytics", "advertising", receipt="s" * 22)
    for number in range(60):
        assert relay.measure(visitor(GA), ALLOWED, f"a{number}", {})
        if number % 3 == 0:
            assert relay.measure(visitor("_ga=GA1.1.5.6"), other, f"b{number}", {})
    until(lambda: len(google.names) == 80)
    assert [len(hit.names) for hit in google.hits] == [25, 25, 10, 20]
    assert {hit.json["client_id"]: {name[0] for name in hit.names} for hit in google.hits} == {
        CLIENT: {"a"},
        "5.6": {"b"},
    }
    assert [name for name in google.names if name[0] == "a"] == [f"a{n}" for n in range(60)]
    assert google.connections == 1, "an open connection is used again"


def test_no_body_is_larger_than_google_takes(relays: Relays, google: Google) -> None:
    relay = relays(google.url, interval=0.2)
    params: dict[str, Any] = {f"p{n:02d}_{'x' * 36}": "\U0001f4a1" * 100 for n in range(22)}
    for number in range(30):
        assert relay.measure(visitor(GA), ALLOWED, f"e{number}", params)
    until(lambda: len(google.names) == 30)
    assert all(60_000 < len(hit.body) < 130_000 for hit in google.hits[:-1])
    assert len(google.hits[-1].body) < 130_000


# -- when Google fails --------------------------------------------------------------------------


def test_what_never_left_is_sent_later_and_once(relays: Relays, gone: Google) -> None:
    relay = relays(gone.url)
    for number in range(30):
        assert relay.measure(visitor(GA), ALLOWED, f"e{number}", {})
    until(lambda: relay._failures >= 3)
    assert relay.tally == {}
    server = Google(port=gone.port)
    try:
        until(lambda: len(server.names) == 30)
        assert server.names == [f"e{n}" for n in range(30)]
        until(lambda: relay.tally == {"sent": 30})
    finally:
        server.close()


@pytest.mark.parametrize(
    ("how", "why", "status"),
    [
        ("hang", "unknown", ""),
        ("reset", "unknown", ""),
        ("close", "unknown", ""),
        ("half", "unknown", ""),
        (500, "refused", "5xx"),
        (503, "refused", "5xx"),
        (429, "refused", "4xx"),
        (400, "refused", "4xx"),
        (302, "refused", "3xx"),
    ],
)
def test_what_may_have_arrived_is_never_sent_again(
    relays: Relays, google: Google, how: int | str, why: str, status: str
) -> None:
    """The protocol can't tell a repeated event from a new one. What comes after is sent all the same."""
    google.how = how
    relay = relays(google.url, timeout=0.5 if how == "hang" else 20.0)
    assert relay.measure(visitor(GA), ALLOWED, "first", {})
    until(lambda: relay.tally)
    assert relay.tally == {why: 1}
    assert [(count.status, count.why) for count in relays.counted] == [(status, why)]
    google.how = 204
    later = 0
    while "sent" not in relay.tally:  # a busy machine may be late for half a second again
        assert relay.measure(visitor(GA), ALLOWED, f"later{later}", {})
        until(lambda: len(relays.counted) == later + 2)  # noqa: B023
        later += 1
    assert google.names.count("first") == 1
    assert len(set(google.names)) == len(google.names)


def test_while_google_fails_nothing_piles_up(relays: Relays, nowhere: str) -> None:
    """The oldest goes, counted, under its own name."""
    relay = relays(nowhere, capacity=10, longest_pause=30.0, interval=0.001)
    relay.measure(visitor(GA), ALLOWED, "first", {})
    until(lambda: relay._failures)
    for number in range(40):
        assert relay.measure(visitor(GA), ALLOWED, f"e{number}", {})
    until(lambda: relay.tally.get("queue full", 0) >= 31)
    assert relay.waiting <= 10
    assert "first" in {count.route for count in relays.counted if count.why == "queue full"}


def test_a_broken_circuit_stays_quiet(relays: Relays, google: Google) -> None:
    """While Google refuses everything, events wait instead of being lost one request after the other."""
    google.how = 500
    relay = relays(google.url, longest_pause=30.0, interval=0.01)
    relay._failures = 20  # it has failed for long
    relay.measure(visitor(GA), ALLOWED, "first", {})
    until(lambda: relay.tally == {"refused": 1})
    for number in range(20):
        assert relay.measure(visitor(f"_ga=GA1.1.{number + 1}.1"), ALLOWED, "later", {})
    assert not threading.Event().wait(0.1)
    assert (len(google.hits), relay.waiting) == (1, 20)


def test_what_google_would_date_wrong_is_not_sent(relays: Relays, nowhere: str) -> None:
    relay = relays(nowhere)
    relay.measure(visitor(GA), ALLOWED, "old", {})
    until(lambda: relay._failures)
    relays.now += 72 * 3600
    until(lambda: relay.tally == {"too old": 1})


@pytest.mark.parametrize(("wait", "late"), [(59, False), (61, True)])
def test_who_made_no_choice_is_not_kept_waiting(relays: Relays, nowhere: str, wait: int, late: bool) -> None:
    """No receipt could recall their events from another process."""
    relay = relays(nowhere)
    relay.measure(visitor(GA), OPT_OUT.site.ruling(visitor()).decision, "paid", {})
    until(lambda: relay._failures)
    relays.now += wait
    failures = relay._failures
    until(lambda: relay.tally or relay._failures > failures + 1)
    assert relay.tally == ({"too old": 1} if late else {})


def test_nothing_is_sent_once_the_choice_has_expired(relays: Relays, nowhere: str) -> None:
    assert ALLOWED.until is not None
    relays.now = ALLOWED.until.timestamp() - 10
    relay = relays(nowhere)
    relay.measure(visitor(GA), ALLOWED, "paid", {})
    until(lambda: relay._failures)
    relays.now += 11
    until(lambda: relay.tally == {"too old": 1})


def test_over_tls_an_impostor_gets_nothing(relays: Relays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem, key = certificate.ensure(tmp_path, ["utility.example"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server = Google(tls=context)
    try:
        relay = relays(server.url)
        relay.measure(visitor(GA), ALLOWED, "paid", {})
        until(lambda: relay._failures >= 2)
        assert (server.hits, server.bytes) == ([], b"")
        relay.close(0)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        trusting = relays(server.url)
        trusting.measure(visitor(GA), ALLOWED, "paid", {})
        until(lambda: server.names == ["paid"])
    finally:
        server.close()


def test_the_secret_is_in_no_log_and_no_error(
    relays: Relays, google: Google, nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP clients like to log whole addresses."""
    caplog.set_level(logging.DEBUG)
    google.how = 400
    for url in (google.url, nowhere):
        relay = relays(url)
        relay.measure(visitor(GA), ALLOWED, "paid", {"value": 1})
        until(lambda relay=relay: relay._failures)  # type: ignore[misc]
        relay.close(0)
    with pytest.raises(Unreachable) as caught:
        Delivery(nowhere, ID, SECRET, 1).post(b"{}", lambda: False)
    told = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.records) + repr(caught.value)
    assert "status 400" in told
    assert "secret" not in told
    assert CLIENT not in told


# -- withdrawal ---------------------------------------------------------------------------------


def test_what_is_withdrawn_is_taken_out_and_nothing_more_comes_in(relays: Relays, google: Google) -> None:
    """Also what a request adds that was under way all the time."""
    relay = relays(google.url, interval=0.3)
    other = decided("analytics", receipt="s" * 22)
    relay.measure(visitor(GA), ALLOWED, "gone", {})
    relay.measure(visitor("_ga=GA1.1.5.6"), other, "stays", {})
    relay.remove(RECEIPT)
    assert not relay.measure(visitor(GA), ALLOWED, "late", {})
    assert relay.close(5)
    assert google.names == ["stays"]
    assert relay.tally == {"withdrawn": 2, "sent": 1}


def test_what_waits_for_a_second_attempt_is_taken_out_too(relays: Relays, nowhere: str) -> None:
    relay = relays(nowhere)
    relay.measure(visitor(GA), ALLOWED, "gone", {})
    until(lambda: relay._failures >= 2)
    relay.remove(RECEIPT)
    until(lambda: relay.tally == {"withdrawn": 1})
    assert relay.waiting == 0


def test_without_a_receipt_the_browsers_id_recalls_it(relays: Relays, google: Google) -> None:
    relay = relays(google.url, interval=0.3)
    relay.measure(visitor(GA), OPT_OUT.site.ruling(visitor()).decision, "gone", {})
    relay.stop(visitor(GA), ALLOWED)
    assert relay.waiting == 1, "a decision that allows it withdraws nothing"
    relay.stop(visitor("_ga=GA1.1.5.6"), decided())
    assert relay.waiting == 1
    relay.stop(visitor(GA), decided())
    assert relay.close(5)
    assert (google.connections, relay.tally) == (0, {"withdrawn": 1})


def test_a_withdrawal_in_another_process_counts(relays: Relays, google: Google) -> None:
    relays.erased = RECEIPT.__eq__
    relay = relays(google.url)
    relay.measure(visitor(GA), ALLOWED, "gone", {})
    until(lambda: relay.tally == {"withdrawn": 1})
    assert google.connections == 0


def test_while_nobody_can_say_what_was_withdrawn_events_wait(relays: Relays, google: Google) -> None:
    def down(_: str) -> bool:
        raise StoreError("down")

    relays.erased = down
    relay = relays(google.url)
    relay.measure(visitor(GA), ALLOWED, "paid", {})
    until(lambda: relay._failures >= 2)
    assert google.connections == 0
    relays.erased = lambda _: False
    until(lambda: google.names == ["paid"])


def test_a_withdrawal_counts_until_the_first_byte_of_an_event(google: Google) -> None:
    """Connecting takes time, and the visitor may say no in it."""
    delivery = Delivery(google.url, ID, SECRET, 5)
    with pytest.raises(Recalled):
        delivery.post(b'{"client_id":"1.2"}', lambda: True)
    assert google.hits == []
    assert b"client_id" not in google.bytes
    assert delivery.post(b"{}", lambda: False) == 204, "and the next is sent all the same"
    delivery.close()


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("by", ["receipt", "browser"])
def test_what_the_sender_has_taken_can_still_be_withdrawn(
    relays: Relays, google: Google, nowhere: str, up: bool, by: str
) -> None:
    """Neither does it leave, nor come back into the queue from a connection that failed."""
    relay = relays(google.url if up else nowhere)

    def meanwhile(_: str) -> bool:
        if by == "receipt":
            relay.remove(RECEIPT)
        else:
            relay.stop(visitor(GA), decided())
        return False

    relays.erased = meanwhile
    relay.measure(visitor(GA), ALLOWED, "gone", {})
    until(lambda: relay.tally == {"withdrawn": 1})
    assert relay.waiting == 0
    assert b"gone" not in google.bytes


@pytest.mark.parametrize("how", ["reset", "close", "half", "hang"])
def test_the_error_says_whether_anything_left(google: Google, nowhere: str, how: str) -> None:
    google.how = how
    with pytest.raises(RelayError) as caught:
        Delivery(google.url, ID, SECRET, 0.2).post(b"{}", lambda: False)
    assert not isinstance(caught.value, Unreachable)
    with pytest.raises(Unreachable):
        Delivery(nowhere, ID, SECRET, 0.2).post(b"{}", lambda: False)


# -- the end ------------------------------------------------------------------------------------


def test_closing_sends_what_waits_and_may_be_repeated(relays: Relays, google: Google) -> None:
    relay = relays(google.url, interval=3600.0)
    for number in range(60):
        relay.measure(visitor(GA), ALLOWED, f"e{number}", {})
    assert relay.close(20)
    assert relay.close(20)
    assert len(google.names) == 60
    assert not relay.measure(visitor(GA), ALLOWED, "after", {})
    assert relay.tally == {"sent": 60, "closed": 1}


def test_a_server_that_hangs_does_not_hold_up_the_end(relays: Relays, google: Google) -> None:
    google.how = "hang"
    relay = relays(google.url)
    relay.measure(visitor(GA), ALLOWED, "first", {})
    until(lambda: google.hits)
    relay.measure(visitor("_ga=GA1.1.5.6"), ALLOWED, "second", {})
    assert relay.close(0.05) is False
    assert relay.close(0.05) is False
    assert relay.tally == {"not sent at shutdown": 1, "unknown": 1}
    google.close()
    assert relay._sender is not None
    relay._sender.join(20)
    assert relay.tally == {"not sent at shutdown": 1, "unknown": 1}, "nothing is counted twice"


def test_a_server_that_is_down_does_not_either(relays: Relays, nowhere: str) -> None:
    relay = relays(nowhere, longest_pause=30.0)
    relay.measure(visitor(GA), ALLOWED, "first", {})
    until(lambda: relay._failures)
    assert relay.close(20) is False
    assert relay.tally == {"not sent at shutdown": 1}


def test_without_a_thread_events_are_dropped_and_counted(
    relays: Relays, google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    relay = relays(google.url)
    monkeypatch.setattr(threading.Thread, "start", fail)
    assert not relay.measure(visitor(GA), ALLOWED, "paid", {})
    assert (relay.tally, relay.waiting) == ({"no thread": 1}, 0)


def test_names_that_a_visitor_made_up_do_not_become_counters(relays: Relays, google: Google) -> None:
    relay = relays(google.url)
    for number in range(600):
        relay.measure(visitor(GA), decided(), f"e{number}", {})
    counted = Counter(count.route for count in relays.counted)
    assert len(counted) == 501
    assert counted["(other)"] == 100


END = """
import sys, time
from consentmw import ConsentMiddleware
from consentmw.relay import Relay
from consentmw.visitor import Visitor
from tests.mounted import choice_cookie, mounted
from tests.asgi import http_scope
site = mounted(None)
who = Visitor.read(http_scope(headers=[("cookie", choice_cookie(site, "analytics")), ("user-agent", "Firefox")]))
relay = Relay(sys.argv[1], "G-TEST1234", "s", key=b"k", count=print, withdrawn=lambda _: False, interval=3600.0)
assert "httpx" not in sys.modules
for number in range(5):
    assert relay.measure(who, site.site.ruling(who).decision, "paid", {})
"""


def test_an_interpreter_that_ends_sends_what_waits(google: Google) -> None:
    """Not every server says goodbye. And nothing heavy is loaded before something is sent."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", END, google.url], check=True, capture_output=True, timeout=60
    )
    assert done.stderr == b""
    assert len(google.names) == 5


# -- through the whole middleware ---------------------------------------------------------------


@pytest.fixture
def served(google: Google, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ConsentMiddleware]]:
    """The middleware around an application, its relay pointed at this machine."""
    monkeypatch.setenv(GOOGLE_VARIABLE, SECRET)
    made: list[ConsentMiddleware] = []

    def build(app: ASGIApp, **options: Any) -> ConsentMiddleware:
        options = {"google_relay": "eu", "google_analytics": ID, "google_relay_endpoint": google.url, **options}
        made.append(mounted(app, **options))
        return made[-1]

    yield build
    for site in made:
        site.site.relay.close(0)


def pays(answers: list[bool]) -> ASGIApp:
    """An application that reports a payment with each page."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answers.append(scope["consent"].measure("bill_paid", {"value": 84.2, "currency": "USD"}))
        for message in html(PAGE):
            await send(message)

    return app


async def test_an_application_reports_through_its_consent_object(
    served: Callable[..., ConsentMiddleware], google: Google
) -> None:
    """The counter of what became of it is in the store, and a shutdown leaves nothing behind."""
    answers: list[bool] = []
    site = served(pays(answers))
    who = ("cookie", f"{choice_cookie(site, 'analytics')}; {GA}")
    await run(site, http_scope(headers=[who, PERSON]))
    await run(site, http_scope(headers=[PERSON]))
    assert answers == [True, False]
    assert await run_sync(site.site.relay.close, 20)
    (hit,) = google.hits
    assert (hit.json["client_id"], hit.names) == (CLIENT, ["bill_paid"])
    assert site.recorder.flush(20)
    counted = {
        (row["route"], row["status"], row["why"]) for row in site.recorder.store.counts() if row["kind"] == "relay"
    }
    assert counted == {("bill_paid", "2xx", ""), ("bill_paid", "", "no choice")}


async def test_a_page_is_the_same_whatever_google_does(
    served: Callable[..., ConsentMiddleware], google: Google, nowhere: str
) -> None:
    pages = set()
    for how, url in (("hang", google.url), ("reset", google.url), (500, google.url), (204, nowhere)):
        google.how = how
        site = served(pays([]), google_relay_endpoint=url)
        who = ("cookie", f"{choice_cookie(site, 'analytics')}; {GA}")
        for _ in range(3):
            pages.add(body(await run(site, http_scope(headers=[who, PERSON]))))
    assert len(pages) == 1


async def test_choosing_less_takes_out_what_waits(served: Callable[..., ConsentMiddleware], google: Google) -> None:
    answers: list[bool] = []
    site = served(pays(answers))
    site.site.relay._interval = 3600.0
    who = ("cookie", f"{choice_cookie(site, 'analytics')}; {GA}")
    await run(site, http_scope(headers=[who, PERSON]))
    assert site.site.relay.waiting == 1
    sent = await post(site, "/privacy/choices", {"action": "withdraw"}, headers=[who, PERSON])
    assert status(sent) == 303
    await run(site, http_scope(headers=[who, PERSON]))  # another tab, with the cookie of before
    assert answers == [True, False]
    assert await run_sync(site.site.relay.close, 20)
    assert google.connections == 0
    assert site.site.relay.tally == {"withdrawn": 2}
    assert site.recorder.flush(20)
    assert site.recorder.store.erased(RECEIPT), "where other processes look before they send"


async def test_a_first_refusal_takes_out_what_the_rules_allowed(
    served: Callable[..., ConsentMiddleware], google: Google
) -> None:
    """Where nobody has to be asked, there is no receipt to go by."""
    answers: list[bool] = []
    site = served(pays(answers), fallback_regime="opt_out")
    site.site.relay._interval = 3600.0
    await run(site, http_scope(headers=[("cookie", GA), PERSON]))
    assert answers == [True]
    await post(site, "/privacy/choices", {"action": "reject"}, headers=[("cookie", GA)])
    assert await run_sync(site.site.relay.close, 20)
    assert (google.connections, site.site.relay.tally) == (0, {"withdrawn": 1})


async def test_page_views_are_told_by_their_route_and_only_those_of_people(
    served: Callable[..., ConsentMiddleware], google: Google
) -> None:
    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def data(request: Request) -> Response:
        return JSONResponse({})

    routes = [Route("/account/{account}/bill", page, methods=["GET", "POST"]), Route("/data", data), Route("/", page)]
    site = served(Starlette(routes=routes), google_relay_pages=True)
    yes: Header = ("cookie", f"{choice_cookie(site, 'analytics')}; {GA}")
    over_tls: Header = ("cookie", f"__Host-{choice_cookie(site, 'analytics')}; {GA}")
    address = "/account/4417220913/bill?mail=a@b.example"
    await run(site, http_scope(address, headers=[over_tls, PERSON], scheme="https"))
    await run(site, http_scope(headers=[PERSON]))
    await run(site, http_scope(headers=[yes, PERSON, ("sec-purpose", "prefetch")]))
    await run(site, http_scope(headers=[yes, ("user-agent", "Googlebot/2.1")]))
    await run(site, http_scope("/data", headers=[yes, PERSON]))
    await run(site, http_scope("/nowhere", headers=[yes, PERSON]))
    await run(site, http_scope("/", "HEAD", headers=[yes, PERSON]))
    await run(site, http_scope("/account/1/bill", "POST", headers=[yes, PERSON]))
    assert await run_sync(site.site.relay.close, 20)
    ((event,),) = (hit.json["events"] for hit in google.hits)
    assert event["name"] == "page_view"
    assert event["params"]["page_location"] == "https://site.example/account/:account/bill"
    assert site.site.relay.tally == {"sent": 1}


async def test_a_page_that_the_browser_had_already_is_told_again(
    served: Callable[..., ConsentMiddleware], google: Google
) -> None:
    """Somebody looks at it, as at any other; a file that the browser had is no page."""
    answers = {
        "/": html(PAGE, headers=[("etag", '"a"')]),
        "/again": response(status=304, headers=[("etag", '"a"')]),
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in answers[scope["path"]]:
            await send(message)

    site = served(app, google_relay_pages=True)
    who = ("cookie", f"{choice_cookie(site, 'analytics')}; {GA}")
    tag = header(await run(site, http_scope(headers=[who, PERSON])), "etag") or ""
    for held in (tag, '"a"'):
        await run(site, http_scope("/again", headers=[who, PERSON, ("if-none-match", held)]))
    assert await run_sync(site.site.relay.close, 20)
    assert google.names == ["page_view"] * 2


async def test_a_server_that_says_goodbye_waits_for_what_is_queued(
    served: Callable[..., ConsentMiddleware], google: Google
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await pays([])(scope, receive, send)

    site = served(app)
    site.site.relay._interval = 3600.0
    await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics")), PERSON]))
    await run(site, {"type": "lifespan"})
    assert google.names == ["bill_paid"]


@pytest.mark.parametrize("region", ["eu", "global"])
async def test_the_region_names_the_endpoint(
    served: Callable[..., ConsentMiddleware], google: Google, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    assert ENDPOINTS == {
        "eu": "https://region1.google-analytics.com/mp/collect",
        "global": "https://www.google-analytics.com/mp/collect",
    }
    monkeypatch.setattr("consentmw.relay.ENDPOINTS", {"eu": "", "global": "", region: google.url})
    site = served(pays([]), google_relay=region, google_relay_endpoint="")
    await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics")), PERSON]))
    assert await run_sync(site.site.relay.close, 20)
    assert google.names == ["bill_paid"]


async def test_without_a_relay_nothing_is_sent_and_mistakes_still_show() -> None:
    answers: list[bool] = []
    site = mounted(pays(answers), google_relay_pages=True)
    await run(site, http_scope(headers=[("cookie", choice_cookie(site, "analytics")), PERSON]))
    assert answers == [False]
    assert (site.site.relay.tally, site.site.relay.pages) == ({}, False)
    with pytest.raises(ValueError, match="event"):
        site.site.relay.measure(visitor(GA), ALLOWED, "bill paid", {})


@pytest.mark.parametrize(
    ("options", "secret", "expected"),
    [
        ({"google_analytics": ID}, "", GOOGLE_VARIABLE),
        ({"google_analytics": ID}, "  ", GOOGLE_VARIABLE),
        ({}, SECRET, "google_analytics"),
        ({"google_analytics": ID, "services_used": ["youtube"]}, SECRET, "services_used"),
        *(
            ({"google_analytics": ID, "google_relay_endpoint": url}, SECRET, "google_relay_endpoint")
            for url in (
                "http://egress.example/mp/collect",
                "http://127.0.0.1.example/",
                "https://user:word@egress.example/",
                "https://egress.example/collect?to=x",
                "https://egress.example/a b",
                "ftp://egress.example/",
                "egress.example",
                "https://",
            )
        ),
    ],
)
def test_a_relay_that_could_never_send_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], secret: str, expected: str
) -> None:
    monkeypatch.setenv(GOOGLE_VARIABLE, secret)
    with pytest.raises(SettingsError, match=expected) as caught:
        mounted(App(), google_relay="eu", **options)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://egress.example/mp/collect", "https://egress.example:8443", "http://127.0.0.1:8080/x", "http://[::1]:80/"],
)
def test_a_proxy_may_stand_in_for_google(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(GOOGLE_VARIABLE, SECRET)
    assert mounted(App(), google_relay="eu", google_analytics=ID, google_relay_endpoint=url).settings
