"""The registry of notices: what was in force is on record, what changed is said, and nothing in it can run."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import ConsentMiddleware, Settings, registry
from consentmw.choice import Choice
from consentmw.errors import LedgerError
from consentmw.ledger import Ledger
from consentmw.notices import Notices
from consentmw.purposes import Catalogue
from consentmw.registry import Registry
from consentmw.stores import open_ledger_store
from consentmw.versions import Snapshot, Version, changes, reworded

from .asgi import PATIENCE, App, Header, body, cookies, header, html, http_scope, run, status
from .mounted import choice_cookie, mounted, post

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PAGE = b"<!doctype html><html><head><title>t</title></head><body><p>Hello</p></body></html>"
USED = ["google_analytics", "youtube"]
#: what someone who can write a notice, or the store, might like a browser to do
HOSTILE = (
    '<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror="alert(1)"> {{ 7 * 7 }} '
    "{% include 'page.html' %} [y](/privacy/choices) </article><form action=https://evil.example>"
)


def snapshot(**options: Any) -> Snapshot:
    settings = Settings.of({"debug": True, "services_used": USED, **options})
    catalogue = Catalogue.load(
        purposes=settings.purposes,
        services=settings.services,
        only=settings.services_used,
        retention_days=settings.retention_days,
    )
    return Notices.load(settings, catalogue).version.snapshot


def site(url: str = "memory:", **options: Any) -> ConsentMiddleware:
    return mounted(App(*html(PAGE)), store=url, **{"services_used": USED, **options})


def ledger(url: str) -> Ledger:
    return Ledger(lambda: open_ledger_store(url))


async def get(middleware: ConsentMiddleware, path: str = "/", *headers: Header, **scope: Any) -> str:
    return body(await run(middleware, http_scope(path, headers=headers, **scope))).decode()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    address: str = request.getfixturevalue("postgres").url()
    return address


# -- versions ------------------------------------------------------------------------------------


def test_an_id_stands_for_the_words_and_cannot_be_given_to_others() -> None:
    """Who holds a receipt that names a notice can check the notice they are shown."""
    version = Version.of(snapshot())
    content = version.snapshot.packed()
    assert Version.read(version.id, NOW.isoformat(), content) == replace(version, at=NOW)
    with pytest.raises(ValueError, match="zone"):
        Version.read(version.id, "2026-11-21", content)
    for forged in (content + " ", content.replace("Google", "Giggle", 1), "", "{}", "\ud800"):
        with pytest.raises(ValueError, match=r"changed|surrogates"):
            Version.read(version.id, NOW.isoformat(), forged)


def test_a_snapshot_is_what_visitors_read() -> None:
    """No field is left to be filled in: a later release, or a later setting, can't change what was said."""
    kept = snapshot(site_name="Prairie", contact="a@b.example")
    for language, text in kept.texts.items():
        assert "{{" not in text, language
        assert "{%" not in text, language
        assert "Prairie" in text, language
    assert {service.key for service in kept.services} == set(USED)
    assert kept.purposes[-1].title.keys() == {"en", "es"}


@pytest.mark.parametrize(
    "option",
    [{"site_name": "Other"}, {"contact": "a@b.example"}, {"valid_days": 90}, {"ip": "none"}, {"languages": ("en",)}],
    ids=str,
)
def test_other_words_are_another_version_and_nobody_is_asked_again(option: dict[str, Any]) -> None:
    before, after = snapshot(), snapshot(**option)
    assert Version.of(before).id != Version.of(after).id
    assert before.fingerprint == after.fingerprint
    assert changes(before, after) == []


SURVEY = {"name": "Survey", "provider": "Survey Inc", "purposes": ["analytics"], "hosts": ["survey.example"]}
OWN = {"kind": "analytics", "title": "Surveys", "text": "Ask."}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"services": {"survey": SURVEY}}, ["New service: Survey of Survey Inc, for Measuring visits."]),
        ({"services": {"survey": SURVEY}}, {}, ["No longer used: Survey of Survey Inc."]),
        ({}, {"purposes": {"surveys": OWN}}, ["New purpose: Surveys."]),
        ({"purposes": {"surveys": OWN}}, {}, ["This purpose is gone: Surveys."]),
        (
            {"purposes": {"surveys": OWN}},
            {"purposes": {"surveys": {**OWN, "kind": "advertising"}}},
            ["“Surveys” now stands for another kind of use."],
        ),
        (
            {"services": {"survey": SURVEY}},
            {"services": {"survey": {**SURVEY, "purposes": ["analytics", "media"]}}},
            ["Survey is now used for Measuring visits, Videos, maps and other content; "
             "before, for Measuring visits."],
        ),
        (
            {"services": {"survey": SURVEY}},
            {"services": {"survey": {**SURVEY, "provider": "Ads Inc"}}},
            ["Data from Survey now goes to Ads Inc; before, to Survey Inc."],
        ),
        (
            {"services": {"survey": SURVEY}},
            {"services": {"survey": {**SURVEY, "retention_days": 30}}},
            ["Survey keeps data longer: up to 30 days; before, 0."],
        ),
        (
            {"services": {"survey": {**SURVEY, "retention_days": 30}}},
            {"services": {"survey": {**SURVEY, "retention_days": 7}}},
            ["Survey keeps data for less time: up to 7 days; before, 30."],
        ),
        (
            {"retention_days": {"visit": 30}},
            {"retention_days": {"visit": 60}},
            ["We keep page views recorded with your consent longer: up to 60 days; before, 30."],
        ),
        (
            {"retention_days": {"person": 60}},
            {"retention_days": {"person": 30}},
            ["We keep opened newsletters and followed links for less time: up to 30 days; before, 60."],
        ),
        ({"services": {"survey": SURVEY}}, {"services": {"survey": {**SURVEY, "name": "Poll", "cookies": ["a"]}}}, []),
        ({"purposes": {"surveys": OWN}}, {"purposes": {"surveys": {**OWN, "title": "Polls", "text": "More."}}}, []),
        (
            {"services": {"survey": {**SURVEY, "purposes": ["media", "analytics"]}}},
            {"services": {"survey": {**SURVEY, "purposes": ["analytics", "media"]}}},
            [],
        ),
    ],
)  # fmt: skip
def test_what_is_material_asks_again_and_is_said(
    before: dict[str, Any], after: dict[str, Any], said: list[str]
) -> None:
    """Purposes, services, recipients and retention are material, whatever the direction; words are not."""
    old, new = snapshot(**before), snapshot(**after)
    assert [change.text for change in changes(old, new)] == said
    assert (old.fingerprint != new.fingerprint) == bool(said)


def test_changes_are_told_in_the_readers_language() -> None:
    old, new = snapshot(), snapshot(services={"survey": SURVEY}, retention_days={"visit": 7})
    assert [change.text for change in changes(old, new, "es")] == [
        "Nuevo servicio: Survey, de Survey Inc, para: Medición de visitas.",
        "Conservamos páginas vistas registradas con su consentimiento menos tiempo: hasta 7 días; antes, 390.",
    ]
    assert [change.text for change in changes(old, new, "es-MX")] == [change.text for change in changes(old, new, "es")]
    assert [change.text for change in changes(old, new, "de")] == [change.text for change in changes(old, new)]


_KINDS = st.sampled_from(["necessary", "analytics", "advertising"])
_NAMES = st.sampled_from(["Ann", "Bob", "a:b", "('x',)", "%(days)s", "<b>"])
_PURPOSES = st.dictionaries(st.sampled_from(["pa", "pb", "pc"]), _KINDS, min_size=1)


@st.composite
def _facts(draw: st.DrawFn) -> dict[str, Any]:
    kinds = draw(_PURPOSES)
    served = st.lists(st.sampled_from(sorted(kinds)), min_size=1, unique=True)
    service = st.fixed_dictionaries(
        {"name": _NAMES, "provider": _NAMES, "purposes": served, "retention_days": st.sampled_from([0, 1, 30])}
    )
    services = draw(st.dictionaries(st.sampled_from(["sa", "sb"]), service))
    return {
        "services_used": [],
        "purposes": {key: {"kind": kind, "title": draw(_NAMES), "text": "t"} for key, kind in kinds.items()},
        "services": {key: {**one, "hosts": [f"{key}.example"]} for key, one in services.items()},
        "retention_days": {"visit": draw(st.sampled_from([7, 8]))},
    }


@given(_facts(), _facts())
def test_everybody_who_is_asked_again_is_told_why_and_nobody_else(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """The fingerprint decides who is asked, the sentences say why: they must agree on every pair."""
    old, new = snapshot(**before), snapshot(**after)
    assert bool(changes(old, new)) == (old.fingerprint != new.fingerprint)


def test_languages_that_came_went_or_changed_are_named() -> None:
    one = snapshot()
    assert reworded(one, one) == []
    assert reworded(one, snapshot(languages=("en",))) == ["es"]
    assert reworded(one, snapshot(valid_days=7)) == ["en", "es"]


# -- publishing ----------------------------------------------------------------------------------


async def test_the_notice_is_on_record_before_the_first_choice_that_names_it(url: str) -> None:
    """A row that names a notice nobody can look up would prove nothing. Here there is no lifespan."""
    middleware = site(url)
    for _ in range(2):
        assert status(await post(middleware, "/privacy/choices", {"action": "accept"})) == 303
    notice, *choices = middleware.site.ledger.all()
    published = middleware.site.ledger.published()
    assert (notice.event, notice.method, notice.receipt) == ("notice", "published", f"notice-{notice.notice}")
    assert [row.notice for row in choices] == [notice.notice] * 2
    assert [(row.id, row.fingerprint) for row in published] == [(notice.notice, notice.fingerprint)]
    assert "# Privacy Policy" in json.loads(published[0].content)["texts"]["en"]
    assert middleware.site.ledger.verify() == []
    await middleware.site.close()


def test_many_processes_publish_a_version_once(url: str) -> None:
    version = Version.of(snapshot())
    ledgers = [ledger(url) for _ in range(8)]
    news: list[bool] = []

    def work(one: Ledger) -> None:
        news.append(Registry(version, one, lambda: NOW).publish())

    ledgers[0].verify()
    threads = [threading.Thread(target=work, args=(one,)) for one in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(news) == [False] * 7 + [True]
    assert [row.event for row in ledgers[0].all()] == ["notice"]
    assert len(ledgers[0].published()) == 1
    for one in ledgers:
        one.close()


def test_each_version_has_a_row_that_says_what_it_changed(url: str) -> None:
    one = ledger(url)
    made: tuple[dict[str, Any], ...] = ({}, {"contact": "a@b.example"}, {"services": {"survey": SURVEY}})
    for days, options in enumerate(made):
        day = NOW + timedelta(days=days)
        version = Version.of(snapshot(**options))
        known = Registry(version, one, lambda day=day: day)  # type: ignore[misc]
        assert known.publish()
        assert not known.publish()
    first, words, material = (json.loads(row.detail) for row in one.all())
    assert first == {"updated": "2026-11-21"}
    assert (words["material"], words["changes"], words["reworded"]) == (False, [], ["en", "es"])
    assert material["material"]
    assert material["changes"] == ["New service: Survey of Survey Inc, for Measuring visits."]
    assert material["before"] == known.versions[1].id
    # Going back to an earlier version is no new one.
    again = Registry(Version.of(snapshot()), one, lambda: NOW + timedelta(days=9))
    assert not again.publish()
    assert (again.current, len(again.versions)) == (again.versions[0], 3)
    one.close()


def test_a_change_of_everything_fits_into_the_row(tmp_path: Path) -> None:
    """The ledger takes rows of a bounded size only; what does not fit is counted."""
    one = ledger(f"sqlite:///{tmp_path}/ledger.db")
    many = {
        f"s{n}": {"name": "ü" * 60, "provider": "é" * 60, "purposes": ["analytics"], "hosts": [f"h{n}.example"]}
        for n in range(200)
    }
    Registry(Version.of(snapshot()), one, lambda: NOW).publish()
    Registry(Version.of(snapshot(services=many)), one, lambda: NOW + timedelta(days=1)).publish()
    *_, row = one.all()
    said = json.loads(row.detail)["changes"]
    assert 1 < len(said) < 200
    assert said[-1] == f"and {200 - len(said) + 1} more"
    one.close()


def test_a_row_that_a_killed_process_left_out_is_added(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(registry, "_TURN", 0.0)
    one, version = ledger(url), Version.of(snapshot())
    one.publish(version.id, NOW, version.fingerprint, version.snapshot.packed())
    known = Registry(version, one, lambda: NOW + timedelta(hours=1))
    assert not known.publish()
    (row,) = one.all()
    assert (row.event, row.at) == ("notice", "2026-11-21T12:00:00+00:00")
    one.close()


async def test_a_lifespan_publishes_at_start_and_waits_for_nothing(tmp_path: Path) -> None:
    middleware = mounted(App({"type": "lifespan.startup.complete"}), store=f"sqlite:///{tmp_path}/ledger.db")
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    assert await run(middleware, scope) == [{"type": "lifespan.startup.complete"}]
    # Closing waits for what is under way, so that nothing is left open behind it.
    await middleware.site.close()
    assert [row.event for row in middleware.site.ledger.all()] == ["notice"]
    middleware.site.ledger.close()


async def test_a_store_that_is_down_costs_no_page_and_grants_nothing(tmp_path: Path) -> None:
    """And as soon as it is back, the next choice finds everything in order."""
    folder = tmp_path / "folder"
    folder.write_text("a file where a folder should be")
    middleware = site(f"sqlite:///{folder}/ledger.db", record="none")
    middleware.site.registry.start()
    assert 'id="consentmw"' in await get(middleware)
    assert status(await post(middleware, "/privacy/choices", {"action": "accept"})) == 503
    assert status(await run(middleware, http_scope("/privacy/history"))) == 503
    assert status(await run(middleware, http_scope("/privacy"))) == 200
    folder.unlink()
    assert status(await post(middleware, "/privacy/choices", {"action": "accept"})) == 303
    assert [row.event for row in middleware.site.ledger.all()] == ["notice", "given"]
    assert status(await run(middleware, http_scope("/privacy/history"))) == 200
    await middleware.site.close()


def test_those_who_wait_for_a_store_share_its_answer() -> None:
    """Each of forty threads would otherwise wait its own five seconds, one behind the other."""
    calls: list[int] = []
    first, go = threading.Event(), threading.Event()

    class Down:
        def publish(self, *_: object, **__: object) -> bool:
            calls.append(1)
            first.set()
            go.wait(10)
            raise LedgerError("down")

    class Door:
        """A lock that tells how many came to it."""

        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            queue.append(1)
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    known = Registry(Version.of(snapshot()), Down(), lambda: NOW)  # type: ignore[arg-type]
    known._lock = Door()  # type: ignore[assignment]
    queue: list[int] = []
    told: list[str] = []

    def work() -> None:
        try:
            known.publish()
        except LedgerError as error:
            told.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert first.wait(10)
    while len(queue) < len(threads):
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join()
    assert told == ["down"] * 8
    assert len(calls) == 1


# -- the banner ----------------------------------------------------------------------------------


async def chosen_before(url: str, days: int = 1, **options: Any) -> str:
    """The Cookie header of a visitor who allowed everything, days ago, on a site with these options."""
    middleware = site(url, **options)
    middleware.site.clock = lambda: datetime.now(UTC) - timedelta(days=days)
    sent = await post(middleware, "/privacy/choices", {"action": "accept", "surface": "banner"})
    await middleware.site.close()
    return f"privacy={cookies(sent)['privacy']}"


async def loaded(url: str, **options: Any) -> ConsentMiddleware:
    """The site of today, which has read what was published."""
    middleware = site(url, **options)
    middleware.site.registry.publish()
    return middleware


async def test_the_banner_says_what_changed_since_the_visitor_chose(url: str) -> None:
    cookie = ("cookie", await chosen_before(url))
    middleware = await loaded(url, services={"survey": SURVEY}, retention_days={"visit": 7})
    english = await get(middleware, "/", cookie)
    then = datetime.now(UTC) - timedelta(days=1)
    assert f"What has changed since {then:%B} {then.day}, {then.year}:" in english
    assert "<li>New service: Survey of Survey Inc, for Measuring visits.</li>" in english
    assert "<li>We keep page views recorded with your consent for less time" in english
    spanish = await get(middleware, "/", cookie, ("accept-language", "es"))
    assert "Qué ha cambiado desde el" in spanish
    assert "<li>Nuevo servicio: Survey, de Survey Inc, para: Medición de visitas.</li>" in spanish
    assert "cmw-news" not in await get(middleware), "who never chose has nothing to compare with"
    await middleware.site.close()


async def test_other_words_announce_nothing(url: str) -> None:
    cookie = ("cookie", await chosen_before(url))
    middleware = await loaded(url, contact="a@b.example")
    assert 'id="consentmw"' not in await get(middleware, "/", cookie), "nor is anybody asked again"
    await middleware.site.close()


async def test_a_banner_stays_short_and_says_how_much_more_there_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    cookie = ("cookie", await chosen_before(url))
    many = {f"s{n}": {**SURVEY, "name": f"S{n}", "hosts": [f"s{n}.example"]} for n in range(9)}
    middleware = await loaded(url, services=many)
    banner = (await get(middleware, "/", cookie)).partition("cmw-news")[2].partition("</ul>")[0]
    assert banner.count("<li>New service:") == 4
    assert "<li>and 5 more</li>" in banner
    await middleware.site.close()


async def test_an_unknown_version_is_announced_in_general_and_in_detail_once_it_is_known(tmp_path: Path) -> None:
    """Rendering waits for no store: what is read in a thread shows with the next page."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    cookie = ("cookie", await chosen_before(url))
    middleware = site(url, services={"survey": SURVEY})
    assert "What we ask you about has changed since you chose" in await get(middleware, "/", cookie)
    await wait(lambda: middleware.site.registry.loaded)
    assert "<li>New service: Survey" in await get(middleware, "/", cookie)
    lost = Choice("r" * 22, datetime.now(UTC), "0" * 12, frozenset({"analytics"}))
    forgotten = ("cookie", f"privacy={middleware.site.choices.write(lost)}")
    assert "What we ask you about has changed since you chose" in await get(middleware, "/", forgotten)
    await middleware.site.close()


async def wait(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.005)


async def test_pages_that_say_different_things_have_different_states(tmp_path: Path) -> None:
    """Else a browser's copy from before, with other news in it, would be confirmed as fresh."""
    middleware = site()
    choices = [Choice("r" * 22, datetime.now(UTC), f"{n:012x}", frozenset({"analytics"})) for n in (1, 2)]
    tags = set()
    for choice in choices:
        cookie = ("cookie", f"privacy={middleware.site.choices.write(choice)}")
        decision = middleware.site.decide_with(_visitor(cookie), choice)
        assert decision.chosen_under == choice.fingerprint
        tags.add(decision.state)
    assert len(tags) == 2
    current = middleware.site.decide_with(_visitor(("cookie", choice_cookie(middleware))), None)
    assert current.chosen_under == ""


def _visitor(*headers: Header) -> Any:
    from consentmw.visitor import Visitor

    return Visitor.read(http_scope("/", headers=headers), ())


async def test_what_is_announced_can_not_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    cookie = ("cookie", await chosen_before(url))
    middleware = await loaded(url, services={"survey": {**SURVEY, "name": HOSTILE[:200], "provider": "<b>%(days)s"}})
    for page in (await get(middleware, "/", cookie), await get(middleware, "/privacy/history")):
        assert "New service: &lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<b>%" not in page
    await middleware.site.close()


# -- the pages -----------------------------------------------------------------------------------


async def test_the_history_lists_every_version_and_what_it_changed(url: str) -> None:
    await chosen_before(url, 3)
    await chosen_before(url, 2, contact="a@b.example")
    middleware = await loaded(url, services={"survey": SURVEY})
    page = await get(middleware, "/privacy/history")
    assert page.count("<section") == 3
    newest, words, first = page.split("<section")[1:]
    assert "In force" in newest
    assert "<li>New service: Survey of Survey Inc, for Measuring visits.</li>" in newest
    assert "No longer in force" in words
    assert "Only words changed" in words
    assert "English, Español" in words
    assert "The first version on record." in first
    assert 'href="/privacy/history"' in await get(middleware, "/privacy")
    spanish = await get(middleware, "/privacy/history", ("accept-language", "es"))
    assert "Solo cambiaron las palabras" in spanish
    await middleware.site.close()


async def test_a_receipt_leads_to_the_notice_it_names(url: str) -> None:
    cookie = ("cookie", await chosen_before(url))
    middleware = await loaded(url, contact="a@b.example")
    old = middleware.site.registry.versions[0].id
    assert f'href="/privacy/history/{old}"' in await get(middleware, "/privacy/receipt", cookie)
    assert status(await run(middleware, http_scope(f"/privacy/history/{old}"))) == 200
    await middleware.site.close()


async def test_an_earlier_version_is_shown_as_it_was(url: str) -> None:
    await chosen_before(url, site_name="Old Name", contact="old@b.example")
    middleware = await loaded(url, site_name="New Name")
    old, new = (version.id for version in middleware.site.registry.versions)
    page = await get(middleware, f"/privacy/history/{old}")
    assert "No longer in force" in page
    assert "Old Name treats what it learns" in page
    assert "old@b.example" in page
    assert '<article class="cmw-notice" lang="es">' in await get(
        middleware, f"/privacy/history/{old}", ("accept-language", "es")
    )
    current = await get(middleware, f"/privacy/history/{new}")
    assert "No longer in force" not in current
    assert "New Name treats" in current
    await middleware.site.close()


@pytest.mark.parametrize("id", ["0" * 16, "x", "%00", "..%2f..%2fetc", "history", "<script>", "a" * 5000, "a/b"])
async def test_an_unknown_version_is_no_page(id: str) -> None:  # noqa: A002
    sent = await run(site(), http_scope(f"/privacy/history/{id}"))
    assert status(sent) == 404
    assert b"<script>alert" not in body(sent)


async def test_the_history_is_only_read() -> None:
    middleware = site()
    sent = await run(middleware, http_scope("/privacy/history", "POST"))
    assert (status(sent), header(sent, "allow")) == (405, "GET, HEAD")
    assert status(await run(middleware, http_scope("/privacy/history/", "GET"))) == 200


async def test_links_in_old_texts_lead_to_where_our_pages_are_now(tmp_path: Path) -> None:
    """Mounted below another path, or under another prefix than in the days of that version."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    await chosen_before(url)
    middleware = await loaded(url, prefix="/data")
    old = middleware.site.registry.versions[0].id
    page = await get(middleware, f"/app/data/history/{old}", root_path="/app")
    assert '<a href="/app/data/choices"' in page
    assert '"/privacy' not in page
    notice = await get(middleware, "/app/data", root_path="/app")
    assert '<a href="/app/data/choices"' in notice
    await middleware.site.close()


async def test_nothing_in_a_stored_version_can_run(url: str) -> None:
    """Text from the store is data: no template, no HTML."""
    kept = snapshot()
    hostile = kept.model_copy(update={"texts": {"en": HOSTILE}, "services": (), "site_name": HOSTILE})
    version = Version.of(hostile)
    one = ledger(url)
    one.publish(version.id, NOW, version.fingerprint, hostile.packed())
    one.close()
    middleware = await loaded(url)
    page = await get(middleware, f"/privacy/history/{version.id}")
    article = page.partition("<article")[2].partition("</article>")[0]
    assert "{{ 7 * 7 }}" in article
    for forbidden in ("<script", "<img", "<form", "javascript:alert(1)&quot;", 'href="javascript', "49"):
        assert forbidden not in article
    await middleware.site.close()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"texts":', "null", "[" * 100_000, '{"updated":"2026-11-21","texts":{"en":1}}'],
    ids=["empty", "list", "no fields", "cut", "null", "deep", "types"],
)
async def test_what_was_tampered_with_is_not_shown_and_is_named(content: str, tmp_path: Path) -> None:
    """Whether the id fits the content, or the content fits its id and is no snapshot."""
    from hashlib import sha256

    url = f"sqlite:///{tmp_path}/ledger.db"
    one = ledger(url)
    for number, id in enumerate(("f" * 16, sha256(content.encode()).hexdigest()[:16])):  # noqa: A001
        one.publish(id, NOW + timedelta(days=number), "0" * 12, content)
    one.close()
    middleware = await loaded(url)
    assert len(middleware.site.registry.problems) == 2
    assert len(middleware.site.registry.versions) == 1
    assert status(await run(middleware, http_scope("/privacy/history"))) == 200
    assert status(await run(middleware, http_scope(f"/privacy/history/{'f' * 16}"))) == 404
    await middleware.site.close()


@pytest.mark.parametrize(
    "change",
    ["at = 'soon'", "at = '2026-11-21'", "at = 7", "content = 7", "content = x'ff'", "id = 7", "id = x'ff'"],
)
async def test_whatever_stands_in_the_table_choices_go_on(change: str, tmp_path: Path) -> None:
    """SQLite takes any type in any column, from whoever else writes into the file."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    await chosen_before(url)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute(f"UPDATE notices SET {change}")
    middleware = site(url, services={"survey": SURVEY})
    assert status(await post(middleware, "/privacy/choices", {"action": "accept"})) == 303
    assert len(middleware.site.registry.problems) == 1
    assert status(await run(middleware, http_scope("/privacy/history"))) == 200
    await middleware.site.close()


def test_a_version_that_is_dated_anew_is_named(url: str) -> None:
    """The number proves the words, the row of the ledger the time."""
    one = ledger(url)
    known = Registry(Version.of(snapshot()), one, lambda: NOW)
    known.publish()
    assert known.unproven() == []
    other = Version.of(snapshot(contact="a@b.example"))
    one.publish(other.id, NOW - timedelta(days=900), other.fingerprint, other.snapshot.packed())
    known.load()
    assert known.unproven() == [f"notice {other.id}: the ledger does not say that it was published then"]
    one.close()


# -- counting ------------------------------------------------------------------------------------


def counted(middleware: ConsentMiddleware) -> dict[tuple[str, str, str], int]:
    assert middleware.recorder.flush(5)
    rows = [row for row in middleware.recorder.store.counts() if row["kind"] in ("banner", "notice")]
    assert all(row["campaign"] == "" and row["tier"] == "count" for row in rows)
    return {(row["kind"], row["route"], row["why"]): row["count"] for row in rows}


@pytest.mark.parametrize("record", ["pages", "none"])
async def test_notices_served_are_counted_by_version_and_language(record: str) -> None:
    middleware = site(record=record)
    number = middleware.site.notices.id
    for language in ("en", "en", "es"):
        await get(middleware, "/", ("accept-language", language))
        await get(middleware, "/privacy", ("accept-language", language))
    assert counted(middleware) == {
        ("banner", "(banner)", f"{number} en"): 2,
        ("banner", "(banner)", f"{number} es"): 1,
        ("notice", "(notice)", f"{number} en"): 2,
        ("notice", "(notice)", f"{number} es"): 1,
    }


async def test_what_nobody_saw_is_not_counted() -> None:
    middleware = site()
    cookie = ("cookie", choice_cookie(middleware, "analytics"))
    assert "consentmw-action" not in await get(middleware, "/", cookie)
    for path in ("/", "/privacy"):
        await run(middleware, http_scope(path, "HEAD"))
    assert counted(middleware) == {}


# -- the command line ----------------------------------------------------------------------------


def consentmw(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "consentmw", "notice", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path]:
    """Settings files of two versions over one store."""
    files = []
    for name, used in (("old", USED), ("new", [*USED, "hotjar"])):
        file = tmp_path / f"{name}.toml"
        file.write_text(f'debug = true\nstore = "sqlite:///{tmp_path}/l.db"\nservices_used = {json.dumps(used)}\n')
        files.append(file)
    return files[0], files[1]


def test_a_new_version_is_published_before_it_is_deployed(versions: tuple[Path, Path]) -> None:
    old, new = versions
    done = consentmw("publish", old)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "  the first version"
    done = consentmw("publish", new)
    first, words, change = done.stdout.splitlines()
    assert first.endswith(": published")
    assert words == "  material, everybody is asked again; purposes that changed: 0, services: 1"
    assert "New service: Hotjar" in change
    assert "published before" in consentmw("publish", new).stdout
    listed = consentmw("list", old).stdout.splitlines()
    assert [line[:16] for line in listed if not line.startswith(" ")] == [first[:16], Version.of(snapshot()).id]
    assert "in force" in listed[-2]
    shown = consentmw("show", old, first[:6], "--language", "es")
    assert shown.returncode == 0
    assert "# Política de privacidad" in shown.stdout
    assert "Hotjar" in shown.stdout


def test_commands_say_what_is_wrong(versions: tuple[Path, Path], tmp_path: Path) -> None:
    old, _ = versions
    assert "not published" in consentmw("list", old).stdout
    consentmw("publish", old)
    for arguments, words in (
        (("show", old, "zzz"), "no version begins"),
        (("show", old, Version.of(snapshot()).id, "--language", "de"), "en, es"),
        (("list", tmp_path / "none.toml"), "none.toml"),
    ):
        done = consentmw(*arguments)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    one = ledger(f"sqlite:///{tmp_path}/l.db")
    one.publish("f" * 16, NOW, "0" * 12, "{}")
    one.close()
    done = consentmw("list", old)
    assert done.returncode == 1
    assert "ffffffffffffffff: its content is not what was published" in done.stderr
