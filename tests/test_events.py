"""A row holds what its tier allows and nothing else, whatever a request says."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.decision import TIERS, Decision, Verdict
from consentmw.events import (
    EVENT_FIELDS,
    TIER_FIELDS,
    Count,
    Event,
    Facts,
    Policy,
    Raw,
    complete,
    minimise,
    template,
    truncate,
    uuid7,
)
from consentmw.visitor import Visitor

AT = 1_800_001_234.5
HOUR = 1_800_000_000
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS 18_5", "iPad; CPU OS 18_5")
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
VECTORS = json.loads((Path(__file__).parent / "data" / "ip_anon_vectors.json").read_text("utf-8"))
POLICY = Policy(query_keys=frozenset({"utm_source"}))
#: what every row holds, whatever its tier
ALWAYS = {"id", "at", "kind", "tier", "receipt", "notice", "expires"}


def visitor(**headers: str) -> Visitor:
    sent = {
        "host": "utility.example",
        "user-agent": CHROME,
        "accept-language": "en-US,en;q=0.8",
        "referer": "https://user:secret@news.example:8443/accounts/4711081512/bills?token=secret#secret",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return Visitor.read({"type": "http", "scheme": "https", "client": ("203.0.113.77", 1), "headers": pairs})


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "kind": "page",
        "at": AT,
        "method": "GET",
        "route": "/accounts/{id}",
        "status": 200,
        "visitor": visitor(),
        "duration_ms": 12.7,
        "query": b"utm_source=spring&account=4711081512",
        "language": "es-US",
        "campaign": "spring",
        "link": "top",
        "recipient": "customer:4711",
        "session": "a visit",
        "target": "tariff.example/rates",
        "value": 84.5,
    }
    return Facts(**{**values, **changes})


def decision(tier: str, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "purposes": {"analytics": Verdict(tier != "count", "choice" if tier != "count" else "gpc")},
        "services": {},
        "tier": tier,
        "regime": "opt_out",
        "region": "US-IA",
        "region_source": "stated",
        "language": "es",
        "gpc": False,
        "notice": "n7",
        "receipt": "r" * 22,
        "ask": False,
        "denied": frozenset(),
        "google": {},
    }
    return Decision(**{**values, **changes})


def whole(event: Event) -> SimpleNamespace:
    """All columns of a row, but for the number that its store gives."""
    own = {name: value for name, value in event._asdict().items() if name != "context"}
    context = complete(event.context)._asdict()
    assert context.pop("raw") is None
    assert own.pop("told") == event.told
    return SimpleNamespace(**own, **context)


def row(tier: str, policy: Policy = POLICY, **changes: Any) -> SimpleNamespace:
    """The completed row of one request that names no recipient: whose mail it is decides apart from the tier."""
    changes.setdefault("recipient", "")
    _, event = minimise(facts(**changes), decision(tier), policy)
    assert event is not None
    return whole(event)


# -- tiers --------------------------------------------------------------------------------------


def test_each_tier_allows_all_that_the_lower_ones_do() -> None:
    """A visitor who grants more never has less recorded by accident of a table."""
    assert list(TIER_FIELDS) == list(TIERS)
    allowed = list(TIER_FIELDS.values())
    assert all(low < high for low, high in pairwise(allowed))
    assert allowed[-1] | ALWAYS == set(EVENT_FIELDS)


@pytest.mark.parametrize("tier", ["coarse", "visit", "person"])
def test_a_row_holds_exactly_the_fields_of_its_tier(tier: str) -> None:
    event = row(tier)
    held = {name for name, value in vars(event).items() if value is not None}
    assert held | {"id"} == ALWAYS | TIER_FIELDS[tier]


@pytest.mark.parametrize("tier", ["count", "nonsense", ""])
def test_without_consent_there_is_a_counter_and_no_row(tier: str) -> None:
    """An unknown tier must fail closed, too."""
    count, event = minimise(facts(recipient="", campaign=""), decision(tier), POLICY)
    assert event is None
    assert count.tier == "count"


def test_a_counter_says_why_nothing_more_was_kept() -> None:
    """Reports show the share of traffic that a figure covers, and why the rest is missing."""
    count, _ = minimise(facts(recipient=""), decision("count"), POLICY)
    assert count == Count(HOUR, "page", "/accounts/{id}", "2xx", "", "", "count", "gpc")
    count, _ = minimise(facts(recipient=""), decision("visit"), POLICY)
    assert (count.tier, count.why) == ("visit", "")


#: pieces of the request above, and the lowest tier whose row may show them
RAW = {
    "203.0.113.77": None,
    "secret": None,
    "4711081512": None,
    "account": "visit",  # as a word of the referring page's path template
    "203.0.113.0": "visit",
    "131": "visit",
    "en-US,en;q=0.8": "visit",
    "spring": "visit",
    "a visit": "visit",
    "tariff.example": "visit",
    "84.5": "visit",
    "customer:4711": None,
    "top": "person",
}


@pytest.mark.parametrize(("piece", "lowest"), RAW.items())
@pytest.mark.parametrize("tier", ["count", "coarse", "visit", "person"])
def test_no_piece_of_a_request_shows_below_its_tier(tier: str, piece: str, lowest: str | None) -> None:
    """Looks for the raw values themselves, so that a new field can't carry them unnoticed."""
    count, event = minimise(facts(recipient="", route="/usage/{id}"), decision(tier), POLICY)
    shown = json.dumps([*count, *(vars(whole(event)).values() if event else [])])
    shown = shown.replace("desktop", "")
    assert (piece in shown) == (lowest is not None and TIERS.index(tier) >= TIERS.index(lowest))


@pytest.mark.parametrize("tier", list(TIERS))
@pytest.mark.parametrize("kind", ["pixel", "click"])
@pytest.mark.parametrize("why", ["no choice", "choice", "expired", "error"])
def test_a_recipient_is_only_recorded_with_their_own_consent(kind: str, tier: str, why: str) -> None:
    """What a browser allowed says nothing about the person a mail went to: it may have been forwarded."""
    count, event = minimise(facts(kind=kind, route=f"({kind})", why=why), decision(tier), POLICY)
    assert event is None
    assert (count.campaign, count.tier, count.why) == ("spring", "count", why)
    assert "4711" not in str(count)


@pytest.mark.parametrize("tier", list(TIERS))
def test_a_recipients_row_holds_nothing_about_a_device(tier: str) -> None:
    """Who allowed to note an opening allowed no address, no agent and no region; whatever the browser's tier is."""
    _, event = minimise(facts(kind="click", receipt="m" * 22), decision(tier), POLICY)
    assert event is not None
    held = {name for name, value in vars(whole(event)).items() if value is not None}
    about = {"route", "status", "bot", "campaign", "link", "recipient"}
    assert held | {"id"} == ALWAYS | about
    assert held | {"id"} <= ALWAYS | TIER_FIELDS["person"]
    assert (event.recipient, event.context.receipt, event.context.tier) == ("customer:4711", "m" * 22, "person")
    assert event.expires == int(AT) + POLICY.retention_days["person"] * 86_400


def test_a_refusal_in_the_browser_counts_against_an_allowance_by_mail() -> None:
    """Of two words of one person about the same thing, the one for their privacy counts."""
    refused = decision("visit", purposes={"email_measurement": Verdict(False, "choice")})
    count, event = minimise(facts(kind="click", receipt="m" * 22), refused, POLICY)
    assert (event, count.tier, count.why) == (None, "count", "choice")


def test_what_is_known_better_than_the_headers_goes_before_them() -> None:
    count, _ = minimise(facts(recipient="", verdict="scanner: burst"), decision("coarse"), POLICY)
    assert count.bot == "scanner: burst"


def test_a_mail_without_recipient_makes_a_row_without_campaign_details() -> None:
    event = row("visit", kind="click")
    assert (event.campaign, event.link, event.recipient) == (None, None, None)


def test_a_page_view_is_not_counted_by_campaign() -> None:
    """Only a signed token bounds the campaign names; a counter keyed by free text would grow without limit."""
    count, _ = minimise(facts(recipient=""), decision("person"), POLICY)
    assert count.campaign == ""


def test_a_visitor_of_a_coarse_row_is_told_apart_without_being_named() -> None:
    """What the day's mark is made of travels in memory, is in no column and in no repr."""
    _, event = minimise(facts(recipient=""), decision("coarse", receipt=""), POLICY)
    assert event is not None
    assert event.context.raw is not None
    assert event.context.raw.who == f"203.0.113.77\0{CHROME}\0utility.example"
    assert "203.0.113" not in repr(event)
    assert "raw" not in EVENT_FIELDS


@pytest.mark.parametrize("tier", ["visit", "person"])
def test_a_visitor_who_chose_is_told_apart_by_the_receipt(tier: str) -> None:
    _, event = minimise(facts(recipient=""), decision(tier), POLICY)
    assert event is not None
    assert event.context.raw is not None
    assert event.context.raw.who == "r" * 22


@pytest.mark.parametrize("tier", ["coarse", "visit", "person"])
def test_programs_are_no_visitors(tier: str) -> None:
    _, event = minimise(facts(visitor=visitor(user_agent=GOOGLEBOT), recipient=""), decision(tier), POLICY)
    assert event is not None
    assert event.context.raw is not None
    assert event.context.raw.who == ""


def test_a_coarse_row_can_not_be_matched_by_its_time() -> None:
    event = row("coarse")
    assert event.at == HOUR
    assert row("visit").at == AT


@pytest.mark.parametrize(("tier", "days"), [("coarse", 10), ("visit", 20), ("person", 30)])
def test_a_row_expires_by_its_tier(tier: str, days: int) -> None:
    policy = Policy(retention_days={"coarse": 10, "visit": 20, "person": 30})
    assert row(tier, policy).expires == int(AT) + days * 86_400


@pytest.mark.parametrize(("mode", "kept"), [("none", None), ("truncated", "203.0.113.0"), ("full", "203.0.113.77")])
def test_the_address_is_kept_as_the_site_chose(mode: Literal["none", "truncated", "full"], kept: str | None) -> None:
    assert row("person", Policy(ip=mode)).ip == kept


def test_a_visitor_who_declined_to_state_a_region_is_in_none() -> None:
    _, event = minimise(facts(recipient=""), decision("coarse", region="-"), POLICY)
    assert event is not None
    assert event.context.region == ""


def test_the_base_language_is_kept_and_nonsense_is_not() -> None:
    assert row("coarse").language == "es"
    for hostile in ("", "x" * 50, "e\x00n", "日本", "en<script>"):
        assert row("coarse", language=hostile).language == ""


def test_a_machine_is_counted_with_the_reason() -> None:
    count, event = minimise(facts(visitor=visitor(user_agent=GOOGLEBOT), recipient=""), decision("coarse"), POLICY)
    assert count.bot.startswith("bot: ")
    assert event is not None
    assert event.context.bot == count.bot
    assert whole(event).device == "bot"


# -- queries and referrers ----------------------------------------------------------------------


def test_only_listed_query_keys_are_kept() -> None:
    assert row("visit").query == "utm_source=spring"
    assert row("visit", Policy()).query == ""


@pytest.mark.parametrize("value", ["4711081512", "jo@example.org", "jo%40example.org", "x-2024111-y"])
def test_a_listed_key_does_not_carry_a_customer(value: str) -> None:
    """Mailers put customer numbers and addresses behind campaign parameters."""
    assert row("visit", query=f"utm_source={value}".encode()).query == "utm_source={x}"


@given(st.binary(max_size=300))
def test_any_query_becomes_plain_text_of_listed_keys(raw: bytes) -> None:
    query = row("visit", query=b"utm_source=" + raw + b"&" + raw).query
    assert query is not None
    assert query.isascii()
    assert query.isprintable()
    assert {key for key, _ in parse_qsl(query)} <= {"utm_source"}


def test_a_query_is_bounded() -> None:
    for hostile in (b"utm_source=" + b"a" * 100_000, b"&".join([b"utm_source=a"] * 1_000)):
        assert len(row("visit", query=hostile).query or "") <= 1_000


@pytest.mark.parametrize(
    ("sent", "host", "page"),
    [
        ("https://news.example/today/", "news.example", "news.example/today"),
        ("HTTPS://News.Example:8443?x=1", "news.example", "news.example/"),
        (
            "https://utility.example/accounts/4711081512/bills#7",
            "utility.example",
            "utility.example/accounts/{x}/bills",
        ),
        ("https://a.example/%34%37%31%31", "a.example", "a.example/{x}"),
        ("https://jo:pw@a.example/", "a.example", "a.example/"),
        ("android-app://com.example", "", ""),
        ("javascript:alert(1)", "", ""),
        ("https://<script>/", "", ""),
        ("https://", "", ""),
        ("http://[::1", "", ""),
        ("news.example", "", ""),
        ("", "", ""),
    ],
)
def test_a_referrer_is_a_host_and_a_template(sent: str, host: str, page: str) -> None:
    event = row("visit", visitor=visitor(referer=sent))
    assert (event.referrer_host, event.referrer) == (host, page)


# -- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['ip']}/{v.get('v4', v.get('v6'))}")
def test_an_address_becomes_its_network(vector: dict[str, Any]) -> None:
    widths = {name: vector[name] for name in ("v4", "v6") if name in vector}
    assert truncate(vector["ip"], **widths) == vector["out"]


@pytest.mark.parametrize("hostile", ["", "unknown", "1.2.3", "1.2.3.4\x00", "::1::", "\ud800", "1.2.3.4, 5.6.7.8", "%"])
def test_what_is_no_address_is_not_kept(hostile: str) -> None:
    assert truncate(hostile) == ""


@given(st.ip_addresses())
def test_two_neighbours_have_the_same_network(address: Any) -> None:
    """Whatever the last bits are: below /24 and /48 no two addresses can be told apart."""
    neighbour = type(address)(int(address) ^ 0xFF)
    mapped = getattr(address, "ipv4_mapped", None)
    assert truncate(str(address)) == truncate(str(neighbour)) or mapped is not None


# -- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("", "/"),
        ("*", "/{x}"),
        ("/outages/report-new/", "/outages/report-new"),
        ("/MyAccount/PayBill", "/MyAccount/PayBill"),
        ("/index.html", "/index.html"),
        ("/Störung/facturación/支払い", "/Störung/facturación/支払い"),
        ("/accounts/4711081512/bills", "/accounts/{x}/bills"),
        ("/meters/M-٤٧١١", "/meters/{x}"),
        ("/meters/１２３", "/meters/{x}"),
        ("/meters/四七一一", "/meters/{x}"),
        ("/premise/Ⅻ", "/premise/{x}"),
        ("/reset/jo@example.org", "/reset/{x}"),
        ("/reset/jo%40example", "/reset/{x}"),
        ("/u/jo.doe", "/u/{x}"),
        ("/b/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/b/{x}"),
        ("/t/kJhGfDsAqWeRtY", "/t/{x}"),
        ("/t/xkcdqwrtzpl", "/t/{x}"),
        ("/t/deadbeefcafe", "/t/{x}"),
        ("/" + "a" * 41, "/{x}"),
        ("/a//b", "/a/b"),
        ("/a/../b", "/a/{x}/b"),
        ("/a\x00b/c\nd", "/{x}/{x}"),
        ("/\ud800/\x7f", "/{x}/{x}"),
        ("/accounts/{account_id}", "/accounts/{account_id}"),
        ("/{4711}", "/{x}"),
        ("/a" * 8, "/a" * 8),
        ("/a" * 9, "/a" * 7 + "/{rest}"),
    ],
)
def test_a_path_keeps_its_words_and_loses_its_values(path: str, expected: str) -> None:
    assert template(path) == expected


@given(st.text(st.sampled_from("/ab1Z{}x_%.\x00é@-\ud800"), max_size=80) | st.text(max_size=80))
def test_a_template_is_bounded_stable_and_without_numbers(path: str) -> None:
    found = template(path)
    assert template(found) == found
    assert len(found) <= 8 * 41
    assert not any(c.isnumeric() or not c.isprintable() for c in found)
    found.encode("utf-8")


@pytest.mark.parametrize("length", [4, 6, 8, 10, 12])
def test_account_numbers_of_any_shape_are_replaced(length: int) -> None:
    number = "".join(random.Random(length).choices("0123456789", k=length))
    for shape in (number, f"acct-{number}", f"{number}.pdf", f"{number}_bill", f"PREM{number}", f"a{number}"):
        assert template(f"/x/{shape}/y") == "/x/{x}/y"


# -- agents and ids -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "browser", "system", "device"),
    [
        (CHROME, "Chrome", "Windows", "desktop"),
        (IPHONE, "Mobile Safari", "iOS", "mobile"),
        (IPAD, "Mobile Safari", "iOS", "tablet"),
        (GOOGLEBOT, "Googlebot", "Other", "bot"),
        ("\x00" * 600, "Other", "Other", "other"),
        ("ÿþ<script>", "Other", "Other", "other"),
    ],
)
def test_an_agent_becomes_families_and_a_class(raw: str, browser: str, system: str, device: str) -> None:
    event = row("coarse", visitor=visitor(user_agent=raw))
    assert (event.browser, event.os, event.device, event.agent) == (browser, system, device, None)


def test_the_raw_agent_is_gone_once_it_was_read() -> None:
    _, event = minimise(facts(recipient=""), decision("person"), POLICY)
    assert event is not None
    assert event.context.raw == Raw(CHROME, who="r" * 22)
    assert "KHTML" not in repr(event)
    assert complete(complete(event.context)).raw is None
    assert complete(event.context).agent == "Chrome 131.0 / Windows 10"
    assert "KHTML" not in repr(complete(event.context))


def test_ids_are_version_7_unique_and_in_order() -> None:
    ids = [uuid7(AT + n / 100) for n in range(1_000)]
    assert all((UUID(text).version, UUID(text).variant) == (7, "specified in RFC 4122") for text in ids)
    assert all(str(UUID(text)) == text for text in ids)
    assert ids == sorted(set(ids))
    assert len({uuid7(AT) for _ in range(1_000)}) == 1_000
