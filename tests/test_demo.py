"""The demo site: usage goes to nobody without an authorization, and a tester reaches every state that there is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.types import ASGIApp

from consentmw import ConsentMiddleware, Settings
from demo_site.app import SETTINGS, build
from demo_site.content import FACTS
from demo_site.standin import StandIn
from demo_site.states import PLACES, Playing

ACCOUNT = "4402718855"
OTHER = "1234567890"
TODAY = datetime.now(UTC).date()


@asynccontextmanager
async def browser(app: ASGIApp) -> AsyncIterator[AsyncClient]:
    """A browser in front of an application."""
    transport = ASGITransport(app, client=("127.0.0.1", 50_000))
    async with AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", follow_redirects=True) as made:
        yield made


@pytest.fixture
def site() -> ConsentMiddleware:
    """The demo as it is started, with everything in memory."""
    options: dict[str, Any] = {"region_headers": "cloudflare", "trusted_proxies": ("127.0.0.1",)}
    return build(Settings.of(SETTINGS, store="memory:", **options), StandIn())


@pytest.fixture
async def client(site: ConsentMiddleware) -> AsyncIterator[AsyncClient]:
    """A browser that can be played with."""
    async with browser(Playing(site)) as made:
        yield made


async def sign_in(client: AsyncClient, account: str = ACCOUNT) -> None:
    answer = await client.post("/login?then=sharing", data={"account": account, "password": "prairie"})
    assert answer.url.path == "/sharing"


async def facts(client: AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/qa.json")).json()
    return found


async def authorize(client: AsyncClient, recipient: str = "solar") -> str:
    """Grant what this recipient asks for; the id of the authorization."""
    answer = await client.post(f"/sharing/with/{recipient}", data={"agree": "yes"})
    assert answer.url.path == "/sharing"
    return str(re.findall(r'name="id" value="([^"]+)"', answer.text)[0])


async def hand_over(client: AsyncClient, authorization: str, **form: str) -> tuple[int, str]:
    """What the desk says about a hand-over."""
    last = TODAY - timedelta(days=1)
    fields = {
        "do": "hand",
        "number": ACCOUNT,
        "recipient": "solar",
        "id": authorization,
        "blocks": "4_5",
        "first": str(last - timedelta(days=30)),
        "last": str(last),
    }
    answer = await client.post("/sharing/desk", data={**fields, **form})
    said = re.search(r'<p class="alert[^>]*>(.*?)</p>', answer.text)
    assert said is not None
    return answer.status_code, said[1]


# -- energy data sharing ---------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/sharing", "/sharing/with/solar"])
async def test_what_is_a_customers_own_is_behind_the_sign_in(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).url.path == "/login"


@pytest.mark.parametrize(("language", "words"), [("en", "may not sell it"), ("es", "No puede venderlos")])
async def test_an_authorization_says_all_that_the_standard_language_asks_for(
    client: AsyncClient, language: str, words: str
) -> None:
    """Purpose, history, period, prohibition on sharing, revocation, destruction, complaints (ICC order 15-0073)."""
    await sign_in(client)
    page = (await client.get("/sharing/with/adviser", headers={"accept-language": language})).text
    for term in (words, "24", "FB=4_10_15;IntervalDuration=86400", "Hearthside Energy Advisers", "Commission"):
        assert term in page
    assert page.count("<dt>") >= 10
    assert "checked" not in page


async def test_nothing_is_shared_without_the_box(client: AsyncClient) -> None:
    await sign_in(client)
    answer = await client.post("/sharing/with/solar", data={})
    assert answer.status_code == 422
    assert "You have not authorized anybody." in (await client.get("/sharing")).text


async def test_a_customer_grants_sees_and_ends(client: AsyncClient) -> None:
    await sign_in(client)
    id = await authorize(client)  # noqa: A001
    assert (await hand_over(client, id))[0] == 200
    page = (await client.get("/sharing")).text
    assert "In force" in page
    assert page.count("<tbody><tr>") == 1, "the hand-over is there to be seen"
    await client.post("/sharing/end", data={"id": id})
    assert "Ended by you" in (await client.get("/sharing")).text
    status, said = await hand_over(client, id)
    assert status == 422
    assert "revoked" in said


async def test_accept_all_shares_no_usage(client: AsyncClient) -> None:
    await sign_in(client)
    await client.post("/privacy/choices", data={"action": "accept"}, headers={"sec-fetch-site": "same-origin"})
    assert (await facts(client))["decision"]["receipt"]
    assert await hand_over(client, "none") == (422, "Refused: this customer gave no such authorization.")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"id": "none"}, "no such authorization"),
        ({"number": OTHER}, "no such authorization"),
        ({"recipient": "adviser"}, "another recipient"),
        ({"blocks": "16"}, "does not cover FB=16"),
        ({"blocks": ""}, "a scope like FB="),
        ({"first": "2001-01-01"}, "months back"),
        ({"last": str(TODAY + timedelta(days=9))}, "days that have been"),
        ({"first": "soon"}, "first and the last day"),
        ({"recipient": "nobody"}, "choose a recipient"),
        ({"number": "12"}, "ten digits"),
    ],
)
async def test_the_desk_refuses_and_says_why(client: AsyncClient, form: dict[str, str], reason: str) -> None:
    await sign_in(client)
    status, said = await hand_over(client, form.get("id") or await authorize(client), **form)
    assert status == 422
    assert said.startswith("Refused: ")
    assert reason in said
    assert "Nothing was handed over." in (await client.get("/sharing")).text


async def test_nobody_ends_what_another_customer_gave(client: AsyncClient) -> None:
    await sign_in(client)
    id = await authorize(client)  # noqa: A001
    await sign_in(client, OTHER)
    assert (await client.post("/sharing/end", data={"id": id})).status_code == 404
    await sign_in(client)
    assert "In force" in (await client.get("/sharing")).text


async def test_what_came_on_paper_is_entered_with_its_evidence(client: AsyncClient) -> None:
    form = {"do": "enter", "number": ACCOUNT, "recipient": "solar", "evidence": "2026-118"}
    page = (await client.post("/sharing/desk", data=form)).text
    assert "paper form 2026-118" in page
    assert "service desk 12" in page
    assert (await client.post("/sharing/desk", data={**form, "evidence": ""})).status_code == 422


async def test_every_authorization_and_hand_over_is_on_record(client: AsyncClient, site: ConsentMiddleware) -> None:
    await sign_in(client)
    await hand_over(client, await authorize(client))
    book = site.app.state.book  # type: ignore[attr-defined]
    rows = list(book.export(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)))
    assert [row["event"] for row in rows] == ["authorized", "disclosed"]
    assert ACCOUNT not in str(rows)


# -- a form to a third party -----------------------------------------------------------------------
async def test_the_sign_up_form_leads_nowhere_without_consent_and_the_panel_says_why(client: AsyncClient) -> None:
    page = (await client.get("/newsletter")).text
    assert 'action="https://prairielakes' not in page.replace("data-consentmw-action", "")
    last = (await facts(client))["pages"][0]
    (form,) = [row for row in last["withheld"] if row["tag"] == "form"]
    assert form == {
        "service": "mailchimp", "tag": "form", "host": "prairielakes.us1.list-manage.com", "why": "no choice"
    }  # fmt: skip


# -- states ----------------------------------------------------------------------------------------
async def test_every_regime_can_be_reached_and_is_named(client: AsyncClient) -> None:
    seen = {"strict"}
    assert (await facts(client))["decision"]["regime"] == "strict"
    page = (await client.get("/qa")).text
    for code in PLACES:
        await client.post("/qa/region", data={"region": code})
        decision = (await facts(client))["decision"]
        assert (decision["region"], decision["region_source"]) == (code, "header")
        assert f"({code}): {decision['regime']}</option>" in page
        seen.add(decision["regime"])
    assert seen == {"strict", "opt_in", "opt_in_stats_exempt", "opt_out", "notice"}
    await client.post("/qa/region", data={"region": "nowhere"})
    assert (await facts(client))["decision"]["region_source"] == "unknown"


async def test_what_a_visitor_states_comes_before_what_is_played(client: AsyncClient) -> None:
    await client.post("/qa/region", data={"region": "US-CA"})
    await client.post("/privacy/locale", data={"region": "US-IA"}, headers={"sec-fetch-site": "same-origin"})
    assert (await facts(client))["decision"]["region_source"] == "stated"
    await client.post("/privacy/locale", data={"region": "-"}, headers={"sec-fetch-site": "same-origin"})
    decision = (await facts(client))["decision"]
    assert (decision["regime"], decision["region_source"]) == ("strict", "declined")


async def test_the_signal_can_be_played(client: AsyncClient) -> None:
    for expected in (["gpc"], []):
        await client.post("/qa/signal")
        assert (await facts(client))["decision"]["signals"] == expected


@pytest.mark.parametrize(("how", "reason"), [("time", "expired"), ("notice", "notice changed")])
async def test_a_choice_can_grow_old_and_a_notice_change_under_it(client: AsyncClient, how: str, reason: str) -> None:
    await client.post("/privacy/choices", data={"action": "accept"}, headers={"sec-fetch-site": "same-origin"})
    await client.post("/qa/age", data={"how": how})
    decision = (await facts(client))["decision"]
    assert {row["reason"] for row in decision["purposes"]} == {"necessary", reason}
    assert decision["ask"]


async def test_without_a_choice_nothing_grows_old(client: AsyncClient) -> None:
    assert (await client.post("/qa/age", data={"how": "time"})).url.path == "/qa"
    assert (await facts(client))["decision"]["purposes"][-1]["reason"] == "no choice"


async def test_a_known_minor_can_be_signed_in(client: AsyncClient) -> None:
    await sign_in(client, FACTS["minors"][0])
    await client.post("/privacy/choices", data={"action": "accept"}, headers={"sec-fetch-site": "same-origin"})
    decision = (await facts(client))["decision"]
    assert decision["minor"]
    assert [row["reason"] for row in decision["purposes"] if row["key"] == "advertising"] == ["minor"]


async def test_the_panel_says_what_was_withheld_and_why(client: AsyncClient) -> None:
    await client.get("/contact")
    found = {(row["service"], row["why"]) for row in (await facts(client))["pages"][0]["withheld"]}
    assert ("google_analytics", "no choice") in found
    assert ("unknown", "nobody named this host") in found
    assert "nobody named this host" in (await client.get("/qa")).text


async def test_nothing_is_played_without_the_player() -> None:
    """Mounted by itself the site has no switch, and a visitor's own cookie is no region."""
    settings = Settings.of(SETTINGS, store="memory:", region_headers="cloudflare", trusted_proxies=("127.0.0.1",))
    async with browser(build(settings)) as client:
        client.cookies.set("demo_region", "DE")
        assert (await facts(client))["decision"]["region"] == ""
        assert "Come from" not in (await client.get("/qa")).text
