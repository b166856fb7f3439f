"""Whoever holds a receipt gets everything held under it, or has it erased everywhere, and reaches nobody else's."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from jsonschema import Draft202012Validator
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner, Result

from consentmw import ConsentMiddleware, subjects
from consentmw.authorizations import Authorization, Authorizations
from consentmw.errors import LedgerError, StoreError
from consentmw.events import EVENT_FIELDS, Context, Count, Event
from consentmw.identity import Pseudonyms
from consentmw.ledger import new_receipt
from consentmw.officer import app
from consentmw.pages.takeout import Takeout, into_zip, new_zip
from consentmw.stores.memory import MemoryStore
from consentmw.subjects import AUTHORIZING, Subjects

from .asgi import App, body, header, html, http_scope, run, status, values
from .mounted import PAGE, mounted, post

ROOT = Path(__file__).parent.parent
NOW = datetime.now(UTC).replace(microsecond=0)
ACCOUNT = "4711-0815"
KEY = "an account key for tests"


def address(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "postgresql":
        url: str = request.getfixturevalue("postgres").url()
        return url
    return f"sqlite:///{folder}/site.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, request, tmp_path)


@pytest.fixture
def site(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsentMiddleware]:
    monkeypatch.setenv("CONSENTMW_ACCOUNT_KEY", KEY)
    made = opened(url)
    yield made
    shut(made)


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[ConsentMiddleware]:
    """A site in one SQLite file, for what does not depend on the database."""
    made = opened(f"sqlite:///{tmp_path}/site.db")
    yield made
    shut(made)


def opened(url: str, **options: Any) -> ConsentMiddleware:
    return mounted(App(*html(PAGE)), store=url, services_used=("google_analytics", "meta_pixel"), **options)


def shut(made: ConsentMiddleware) -> None:
    made.site.relay.close()
    made.site.recorder.close()
    made.site.registry.close()
    made.site.ledger.close()


class Browser:
    """A visitor with a cookie jar."""

    def __init__(self, made: ConsentMiddleware, language: str = "en") -> None:
        self.site = made
        self.jar: dict[str, str] = {}
        self.language = language

    @property
    def headers(self) -> list[tuple[str, str]]:
        jar = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        return [
            ("cookie", jar),
            ("accept", "text/html"),
            ("accept-language", self.language),
            ("user-agent", "Mozilla/5.0 (X11) Firefox/140.0"),
        ]

    async def get(self, path: str) -> Any:
        return self._kept(await run(self.site, http_scope(path, headers=self.headers)))

    async def send(self, path: str, **fields: str) -> Any:
        return self._kept(await post(self.site, path, fields, headers=self.headers))

    def _kept(self, answer: Any) -> Any:
        for line in values(answer, "set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        return answer

    @property
    def receipt(self) -> str:
        choice = self.site.site.choices.read(self.jar["privacy"])
        assert choice is not None
        return choice.receipt

    @staticmethod
    def analytics(answer: Any) -> bool:
        """Whether measuring was allowed on this page."""
        return "analytics=yes" in (header(answer, "x-consentmw") or "")

    async def busy(self, pages: int = 3) -> list[str]:
        """Allow something, look around, allow more, look around; the receipts of both choices."""
        await self.send("/privacy/choices", action="save", surface="choices", purpose="analytics")
        first = self.receipt
        for number in range(pages):
            await self.get(f"/outages/{number}?utm_source=bill")
        await self.send("/privacy/choices", action="accept", surface="banner")
        await self.get("/bills")
        assert self.site.recorder.flush()
        return [first, self.receipt]


def files(answer: Any) -> dict[str, bytes]:
    assert status(answer) == 200, body(answer)
    with zipfile.ZipFile(BytesIO(body(answer))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def event(receipt: str, number: int = 0, **changes: Any) -> Event:
    at = NOW.timestamp() - number
    made: dict[str, Any] = {"route": "/x", "status": 200, **changes}
    own = {name: value for name, value in made.items() if name in Event._fields}
    known = {name: value for name, value in made.items() if name in Context._fields}
    return Event(at, "page", int(at) + 86_400, Context("person", receipt, "notice", **known), **own)


def write(made: ConsentMiddleware, *events: Event) -> None:
    made.recorder.store.write({Count(0, "page", "/x", "2xx"): len(events)}, events)


def choose(made: ConsentMiddleware, receipt: str, **row: Any) -> None:
    values = {"event": "given", "method": "banner:accept", "granted": ["analytics"], "at": NOW, **row}
    made.site.ledger.append(receipt=receipt, **values)


def authorize(made: ConsentMiddleware, account: str = ACCOUNT) -> Authorization:
    book = Authorizations(made.site.ledger, Pseudonyms(KEY))
    today = NOW.date()
    given = Authorization(
        "Solar Planner LLC", "FB=4_5", "Size a rooftop system", today, today + timedelta(days=300), 13,
        "call recorded", "service desk 12",
    )  # fmt: skip
    granted = book.grant(account, given)
    book.disclose(account, granted.id, "Solar Planner LLC", "FB=4", today - timedelta(days=30), today)
    return granted


def everything(url: str, postgres: Any = None) -> bytes:
    """Every byte that the store holds: the files of SQLite, or each table of PostgreSQL."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))
    tables = postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'consentmw'")
    return repr([postgres.run(f'SELECT * FROM consentmw."{name}"') for (name,) in tables]).encode()


# -- access -----------------------------------------------------------------------------------------


async def test_a_visitor_takes_everything_home(site: ConsentMiddleware) -> None:
    """What is in the archive is what the stores hold: each row of the ledger, each event with every field."""
    ann = Browser(site)
    receipts = await ann.busy()
    found = files(await ann.send("/privacy/data", action="access"))
    assert set(found) == {"index.html", "data.json", "events.csv", "receipt.json", "receipt.jsonld", "kantara.json"}
    data = json.loads(found["data.json"])
    assert [row["receipt"] for row in data["ledger"]] == receipts
    assert sorted(data["receipts"]) == sorted(receipts)
    stored = [row for receipt in receipts for row in site.recorder.store.events(receipt)]
    assert {row["id"] for row in data["events"]} == {row["id"] for row in stored}
    assert len(stored) == 4
    assert all(tuple(row) == EVENT_FIELDS for row in data["events"])
    table = list(csv.DictReader(StringIO(found["events.csv"].decode("utf-8-sig"))))
    assert sorted(int(row["id"]) for row in table) == sorted(row["id"] for row in stored)
    assert {row["route"] for row in table} == {"/outages/{x}", "/bills"}
    assert "Google LLC" in {one["provider"] for one in data["recipients"]}
    assert data["notices"][0]["id"] == site.site.notices.id
    assert json.loads(found["receipt.json"])["entries"][0]["receipt"] == receipts[0]


async def test_the_data_follow_their_schema(filed: ConsentMiddleware) -> None:
    """Portability: who reads the file finds what the documented schema promises."""
    schema = json.loads((ROOT / "docs" / "subjects.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    ann = Browser(filed)
    await ann.busy()
    answer = await ann.send("/privacy/data", action="portability")
    assert header(answer, "content-type") == "application/json"
    assert header(answer, "content-disposition") == 'attachment; filename="data.json"'
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(json.loads(body(answer)))]
    assert errors == []
    assert set(schema["properties"]["events"]["items"]["required"]) == set(EVENT_FIELDS)


class _Loads(HTMLParser):
    """What a page would load, and the words it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "action")]
        self.loads += [value or "" for name, value in attrs if name == "href" and tag == "link"]


@pytest.mark.parametrize(("language", "title"), [("en", "Your data"), ("es", "Sus datos")])
async def test_the_page_to_read_needs_nothing_but_itself(filed: ConsentMiddleware, language: str, title: str) -> None:
    ann = Browser(filed, language)
    await ann.busy()
    page = files(await ann.send("/privacy/data", action="access"))["index.html"].decode()
    seen = _Loads()
    seen.feed(page)
    assert seen.loads == []
    assert not seen.tags & {"script", "link", "img", "iframe", "object"}
    assert f"<h1>{title}</h1>" in page
    assert f'lang="{language}"' in page
    for column in EVENT_FIELDS:
        assert f"<code>{column}</code></dt>" in page, "each column is explained"
    assert "Google LLC" in page
    assert filed.site.notices.id in page


async def test_what_only_waits_is_in_it(filed: ConsentMiddleware) -> None:
    """A row that the queue still holds is held, too."""
    ann = Browser(filed)
    await ann.send("/privacy/choices", action="accept", surface="banner")
    await ann.get("/outages")
    data = json.loads(body(await ann.send("/privacy/data", action="portability")))
    assert [row["route"] for row in data["events"]] == ["/outages"]


async def test_every_download_is_on_record_without_the_visitor(filed: ConsentMiddleware) -> None:
    ann = Browser(filed)
    receipts = await ann.busy()
    await ann.send("/privacy/data", action="access")
    await ann.send("/privacy/data", action="portability")
    rows = [row for row in filed.site.ledger.all() if row.method == "page"]
    assert [row.event for row in rows] == ["access", "portability"]
    assert [json.loads(row.detail) for row in rows] == [{"events": 4, "rows": 2}] * 2
    assert not {row.receipt for row in rows} & set(receipts)
    assert {row.subject for row in rows} == {""}


async def test_a_download_that_can_t_be_put_on_record_is_not_given(
    filed: ConsentMiddleware, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Browser(filed)
    await ann.busy()

    def refuse(*_: object, **__: object) -> None:
        raise LedgerError("down")

    monkeypatch.setattr(filed.site.ledger, "append", refuse)
    answer = await ann.send("/privacy/data", action="access")
    assert status(answer) == 503
    assert b"try again" in body(answer)


async def test_one_process_makes_a_few_downloads_at_a_time(filed: ConsentMiddleware) -> None:
    """Each packs everything somebody has: a crowd must not take every thread."""
    ann = Browser(filed)
    await ann.busy()
    requesting: Any = filed.pages._pages["data"].__self__  # type: ignore[attr-defined]
    requesting._busy = 2
    assert status(await ann.send("/privacy/data", action="access")) == 503
    requesting._busy = 0
    assert status(await ann.send("/privacy/data", action="access")) == 200
    assert requesting._busy == 0


def test_many_rows_need_no_more_memory_than_a_page_of_them(site: ConsentMiddleware, tmp_path: Path) -> None:
    """Also the most active visitor can have their data without harm to the others."""
    choose(site, "r" * 22)
    number = 20_000
    for start in range(0, number, 10_000):
        write(site, *(event("r" * 22, one) for one in range(start, start + 10_000)))
    subjects = Subjects(site.site)
    holdings = subjects.collect("r" * 22)
    takeout = Takeout(site.site, subjects, site.pages._renderer._templating)
    path = tmp_path / "all.zip"
    tracemalloc.start()
    try:
        with path.open("wb") as file, new_zip(file) as archive:
            assert takeout.write(holdings, into_zip(archive), language="en", pages="/privacy") == number
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000, f"{peak:,} bytes"
    with zipfile.ZipFile(path) as archive:
        assert len(json.loads(archive.read("data.json"))["events"]) == number
        assert len(archive.read("events.csv").splitlines()) == number + 1
        page = archive.read("index.html").decode()
    assert "20000 rows are on record." in page
    assert len(page) < 200_000, "the page shows the newest, the table all of them"


# -- erasure ----------------------------------------------------------------------------------------


async def test_after_an_erasure_no_store_holds_the_subject(
    site: ConsentMiddleware, url: str, request: pytest.FixtureRequest
) -> None:
    """Events, queue, ledger, authorizations, notices and counters are filled first; then the raw bytes are read."""
    server = request.getfixturevalue("postgres") if url.startswith("postgresql") else None
    ann, ben = Browser(site), Browser(site)
    receipts = await ann.busy()
    others = await ben.busy()
    granted = authorize(site)
    pseudonym = Pseudonyms(KEY).of(ACCOUNT)
    choose(site, "linked-receipt-of-ann", subject=pseudonym, previous="")
    write(site, event("linked-receipt-of-ann"))
    before = everything(url, server)
    gone = [*receipts, pseudonym, granted.id, "linked-receipt-of-ann", "Solar Planner LLC"]
    assert all(text.encode() in before for text in gone), "else this would prove nothing"
    counted = sum(row["count"] for row in site.recorder.store.counts())
    await ann.get("/outages/waits-in-the-queue")

    subjects = Subjects(site.site)
    erased = subjects.erase(subjects.collect(receipts[1], pseudonym, later=True), method="cli")
    assert erased.rows == 5
    assert erased.events >= 5
    assert site.recorder.flush()
    after = everything(url, server)
    assert [text for text in gone if text.encode() in after] == []
    assert all(text.encode() in after for text in others), "nobody else's data is touched"
    assert site.site.ledger.verify() == []
    assert sum(row["count"] for row in site.recorder.store.counts()) == counted + 1, "counters still count"
    (row,) = [row for row in site.site.ledger.all() if row.event == "erased"]
    assert row.method == "cli"


async def test_a_visitor_erases_with_a_button_and_a_second_one(filed: ConsentMiddleware) -> None:
    """Without a script: the page asks back, then erases, then says in numbers what it did."""
    ann = Browser(filed)
    old = await ann.busy()
    asked = await ann.send("/privacy/data", action="erase")
    assert (status(asked), header(asked, "location")) == (303, "/privacy/data?erase")
    page = body(await ann.get("/privacy/data?erase")).decode()
    assert 'name="sure" value="yes"' in page
    assert len(filed.recorder.store.events(old[0])) == 3, "asking back erases nothing"

    done = await ann.send("/privacy/data", action="erase", sure="yes")
    assert status(done) == 303
    assert ann.receipt not in old
    page = body(await ann.get(header(done, "location") or "")).decode()
    assert "Your data was erased." in page
    assert "4 rows about your visits were deleted." in page
    assert "2 rows about your choices no longer lead to you." in page
    assert [row for receipt in old for row in filed.recorder.store.events(receipt)] == []
    rows = {row.event: row for row in filed.site.ledger.all() if row.receipt}
    refusal = rows["refused"]
    assert refusal.receipt == ann.receipt
    assert refusal.previous == "", "an erasure leads back to nothing"
    assert refusal.granted == ()
    assert (refusal.method, len(refusal.shown)) == ("data:erase", 64)
    assert filed.site.ledger.verify() == []


async def test_what_waits_in_the_spool_is_erased_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away nothing is reported as done; when it is back, no byte of the visitor is left anywhere."""
    made = opened(f"sqlite:///{tmp_path}/site.db", spool=tmp_path / "spool", flush_seconds=0.02)
    ann = Browser(made)
    receipts = await ann.busy()
    store = made.recorder.store
    with monkeypatch.context() as away:
        away.setattr(store, "write", refuse)
        await ann.get("/while/it/is/away")
        assert made.recorder.flush()
        assert receipts[-1].encode() in held(tmp_path / "spool")
        away.setattr(subjects, "_PATIENCE", 0.1)
        assert status(await ann.send("/privacy/data", action="erase", sure="yes")) == 503
    assert status(await ann.send("/privacy/data", action="erase", sure="yes")) == 303
    shut(made)
    assert [receipt for receipt in receipts if receipt.encode() in held(tmp_path)] == []


def held(folder: Path) -> bytes:
    """Every byte of the files in a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def refuse(*_: object) -> None:
    raise StoreError("away")


async def test_an_erasure_never_opts_anybody_back_in(tmp_path: Path) -> None:
    """Where the regime grants without asking, who refused and then erases still refuses."""
    made = opened(f"sqlite:///{tmp_path}/site.db", fallback_regime="opt_out")
    try:
        ann = Browser(made)
        assert "analytics=yes (regime)" in (header(await ann.get("/"), "x-consentmw") or "")
        await ann.send("/privacy/choices", action="reject", surface="banner")
        await ann.send("/privacy/data", action="erase", sure="yes")
        assert "analytics=no (choice)" in (header(await ann.get("/"), "x-consentmw") or "")
        assert b'id="consentmw"' not in body(await ann.get("/")), "and is not asked again"
    finally:
        shut(made)


async def test_cookies_of_services_go_with_an_erasure(filed: ConsentMiddleware) -> None:
    ann = Browser(filed)
    await ann.busy()
    ann.jar["_ga"] = "GA1.1.1.1"
    done = await ann.send("/privacy/data", action="erase", sure="yes")
    assert any(line.startswith("_ga=") and "Max-Age=0" in line for line in values(done, "set-cookie"))


async def test_rows_under_way_are_not_written_after_an_erasure(site: ConsentMiddleware, url: str) -> None:
    """Another process has a page of the visitor in its queue at that moment."""
    ann = Browser(site)
    (_, receipt) = await ann.busy()
    elsewhere = opened(url)
    try:
        cookie = ann.headers
        await ann.send("/privacy/data", action="erase", sure="yes")
        await run(elsewhere, http_scope("/late", headers=cookie))
        assert elsewhere.recorder.flush()
        assert site.recorder.store.events(receipt) == []
    finally:
        shut(elsewhere)


async def test_what_waits_for_google_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENTMW_GOOGLE_API_SECRET", "a secret for tests")
    options: dict[str, Any] = {"google_analytics": "G-ABCD1234", "google_relay": "eu", "google_relay_pages": True}
    made = opened(f"sqlite:///{tmp_path}/site.db", google_relay_endpoint="http://127.0.0.1:9/collect", **options)
    try:
        ann = Browser(made)
        await ann.busy()
        assert made.site.relay.waiting
        await ann.send("/privacy/data", action="erase", sure="yes")
        assert made.site.relay.waiting == 0
    finally:
        made.site.relay.close(0.1)
        shut(made)


@pytest.mark.parametrize("step", range(1, 8))
async def test_an_erasure_that_breaks_off_is_finished_by_repeating_it(
    filed: ConsentMiddleware, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """At any step: what was not done is said not to be, nothing is lost track of, and a second attempt does it all."""
    ann = Browser(filed)
    receipts = await ann.busy()
    calls = 0

    def stumbling(real: Any, error: type[Exception]) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                raise error("the disk is full")
            return real(*args, **options)

        return call

    store, ledger = filed.recorder.store, filed.site.ledger
    with monkeypatch.context() as broken:
        broken.setattr(store, "erase", stumbling(store.erase, StoreError))
        for name in ("entries", "erase", "append"):
            broken.setattr(ledger, name, stumbling(getattr(ledger, name), LedgerError))
        answer = await ann.send("/privacy/data", action="erase", sure="yes")
    done = status(answer) == 303
    assert done or status(answer) == 503
    if not done:
        assert b"not all of it" in body(answer)
        assert ann.receipt == receipts[1], "who is told that it failed can try again"
        answer = await ann.send("/privacy/data", action="erase", sure="yes")
        assert status(answer) == 303
    assert ann.receipt not in receipts
    assert [row for receipt in receipts for row in store.events(receipt)] == []
    assert not {row.receipt for row in ledger.all()} & {*receipts}
    assert ledger.verify() == []
    page = body(await ann.get(header(answer, "location") or "")).decode()
    proven = ann.receipt in {row.receipt for row in ledger.all()}
    assert ("could not be put on record" in page) is not proven


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from consentmw.stores.sqlite import SqliteStore
from consentmw.ledger import Ledger
from consentmw.subjects import Subjects
from tests.test_subjects import opened
at, calls = int(sys.argv[2]), 0
def dying(real, after):
    def call(*args, **options):
        global calls
        calls += 1
        if calls == at and not after: os.kill(os.getpid(), signal.SIGKILL)
        found = real(*args, **options)
        if calls == at and after: os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call
SqliteStore.erase = dying(SqliteStore.erase, True)
Ledger.erase = dying(Ledger.erase, False)
made = opened(sys.argv[1])
subjects = Subjects(made.site)
subjects.erase(subjects.collect(sys.argv[3], later=True), method="cli")
os._exit(0)
"""


async def test_a_kill_between_two_steps_of_an_erasure_leaves_what_leads_to_the_rest(filed: ConsentMiddleware) -> None:
    """SIGKILL after the first receipt's events, after all of them, and right before the ledger."""
    ann = Browser(filed)
    receipts = await ann.busy()
    for at in (1, 2, 3, 9):
        script = KILLED.format(root=str(ROOT))
        line = [sys.executable, "-c", script, filed.settings.store, str(at), receipts[1]]
        killed = await to_thread.run_sync(partial(subprocess.run, line, capture_output=True, check=False))
        assert killed.returncode == (0 if at == 9 else -9), killed.stderr
        assert filed.site.ledger.verify() == []
        left = [row.receipt for row in filed.site.ledger.all() if row.receipt in receipts]
        assert left == ([] if at == 9 else receipts), "the ledger goes last"
    assert [row for receipt in receipts for row in filed.recorder.store.events(receipt)] == []


async def test_without_the_ledger_nothing_is_said_to_be_erased(
    filed: ConsentMiddleware, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Browser(filed)
    receipts = await ann.busy()

    def refuse(*_: object, **__: object) -> None:
        raise LedgerError("down")

    monkeypatch.setattr(filed.site.ledger, "entries", refuse)
    answer = await ann.send("/privacy/data", action="erase", sure="yes")
    assert status(answer) == 503
    assert len(filed.recorder.store.events(receipts[0])) == 3
    assert status(await ann.get("/privacy/data")) == 503


async def test_a_refusal_that_can_t_be_put_on_record_holds_all_the_same(
    filed: ConsentMiddleware, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger goes down right after the erasure: the page says what was done and what was not."""
    ann = Browser(filed)
    await ann.busy()
    real = filed.site.ledger.append

    def refuse(**row: Any) -> Any:
        if row["event"] == "refused":
            raise LedgerError("down")
        return real(**row)

    monkeypatch.setattr(filed.site.ledger, "append", refuse)
    done = await ann.send("/privacy/data", action="erase", sure="yes")
    page = body(await ann.get(header(done, "location") or "")).decode()
    assert "Your data was erased." in page
    assert "could not be put on record" in page
    assert not ann.analytics(await ann.get("/"))


async def test_under_a_root_path_the_page_leads_to_itself(filed: ConsentMiddleware) -> None:
    ann = Browser(filed)
    await ann.busy()
    where: dict[str, Any] = {"headers": ann.headers, "root_path": "/app"}
    assert b'action="/app/privacy/data"' in body(await run(filed, http_scope("/app/privacy/data", **where)))
    sent = await post(filed, "/app/privacy/data", {"action": "erase", "sure": "yes"}, **where)
    assert (header(sent, "location") or "").startswith("/app/privacy/data?done=")


async def test_a_browser_that_still_carries_an_erased_receipt_brings_it_into_no_row(
    site: ConsentMiddleware, url: str, request: pytest.FixtureRequest
) -> None:
    """An officer erased it; the browser's cookie does not know. Its next choice must not name it again."""
    ann = Browser(site)
    receipts = await ann.busy()
    subjects = Subjects(site.site)
    subjects.erase(subjects.collect(receipts[1], later=True), method="cli")
    await ann.get("/outages")
    assert status(await ann.send("/privacy/choices", action="reject", surface="choices")) == 303
    assert site.recorder.flush()
    server = request.getfixturevalue("postgres") if url.startswith("postgresql") else None
    after = everything(url, server)
    assert [receipt for receipt in receipts if receipt.encode() in after] == []
    assert site.site.ledger.verify() == []


async def test_what_is_shown_once_names_no_erased_receipt(tmp_path: Path) -> None:
    """The row of a video seen once has the receipt of the cookie: it gets one of its own when that was erased."""
    made = mounted(App(), store=f"sqlite:///{tmp_path}/site.db", services_used=("youtube",))
    try:
        ann = Browser(made)
        await ann.send("/privacy/choices", action="reject", surface="banner")
        old = ann.receipt
        subjects = Subjects(made.site)
        subjects.erase(subjects.collect(old, later=True), method="cli")
        assert status(await ann.send("/privacy/held/youtube", **{"return": "/"})) == 303
        (row,) = [row for row in made.site.ledger.all() if row.event == "once"]
        assert row.receipt not in ("", old)
    finally:
        shut(made)


# -- whose it is ------------------------------------------------------------------------------------


async def test_nobody_reaches_what_is_another_s(filed: ConsentMiddleware) -> None:
    """A receipt that was read over a shoulder is not enough: the cookie is signed, and no field names a receipt."""
    ann, eve = Browser(filed), Browser(filed)
    receipts = await ann.busy()
    await eve.busy()
    for fields in ({"receipt": receipts[1]}, {"receipt": "*"}, {"receipt": "%"}):
        found = files(await eve.send("/privacy/data", action="access", **fields))
        assert not any(receipt.encode() in content for receipt in receipts for content in found.values())
        await eve.send("/privacy/data", action="erase", sure="yes", **fields)
    assert len(filed.recorder.store.events(receipts[0])) == 3
    forged = Browser(filed)
    forged.jar["privacy"] = ann.jar["privacy"].replace(receipts[1], receipts[0])
    assert b"Nothing is held" in body(await forged.get("/privacy/data"))
    assert status(await forged.send("/privacy/data", action="access")) == 404


async def test_an_old_cookie_gives_nothing_that_came_after_it(filed: ConsentMiddleware) -> None:
    """Whoever kept a copy of a cookie has not shown that what the browser did later is theirs."""
    ann = Browser(filed)
    await ann.send("/privacy/choices", action="save", surface="choices", purpose="analytics")
    kept = Browser(filed)
    kept.jar.update(ann.jar)
    await ann.get("/before")
    await ann.send("/privacy/choices", action="accept", surface="banner")
    await ann.get("/after")
    data = json.loads(body(await kept.send("/privacy/data", action="portability")))
    assert [row["route"] for row in data["events"]] == ["/before"]
    assert len(data["ledger"]) == 1


async def test_an_erasure_takes_what_came_after_as_well(site: ConsentMiddleware) -> None:
    """A customer names an old receipt at the counter, or two tabs chose at once: nothing is left behind."""
    ann = Browser(site)
    receipts = await ann.busy()
    subjects = Subjects(site.site)
    erased = subjects.erase(subjects.collect(receipts[0], later=True), method="cli")
    assert (erased.events, erased.rows) == (4, 2)
    assert [row for receipt in receipts for row in site.recorder.store.events(receipt)] == []


def test_an_account_has_what_was_recorded_since_a_browser_was_tied_to_it(filed: ConsentMiddleware) -> None:
    """Who used a shared computer before somebody signed in is not known: that is attached to no account."""
    pseudonym = Pseudonyms(KEY).of(ACCOUNT)
    choose(filed, "tied-to-the-account", subject=pseudonym, at=NOW - timedelta(hours=1))
    write(filed, event("tied-to-the-account", 7_200, route="/before"), event("tied-to-the-account", route="/since"))
    subjects = Subjects(filed.site)
    holdings = subjects.collect(account=pseudonym)
    assert [row["route"] for row in subjects.events(holdings)] == ["/since"]
    assert subjects.number(holdings, 10) == 1


def test_what_replaced_a_receipt_is_found_in_memory_too() -> None:
    made = mounted(App())
    choose(made, "one" * 5, at=NOW - timedelta(days=2))
    choose(made, "two" * 5, previous="one" * 5, at=NOW - timedelta(days=1))
    choose(made, "six" * 5, previous="two" * 5)
    choose(made, "not" * 5)
    subjects = Subjects(made.site)
    assert subjects.collect("two" * 5, later=True).own == {"one" * 5, "two" * 5, "six" * 5}
    assert subjects.collect("two" * 5).own == {"one" * 5, "two" * 5}
    assert isinstance(made.recorder.store, MemoryStore)


def test_a_ring_of_receipts_ends(filed: ConsentMiddleware) -> None:
    """Nobody but a tamperer makes one; looking for them must not go on for ever."""
    choose(filed, "a" * 22, previous="b" * 22)
    choose(filed, "b" * 22, previous="a" * 22)
    assert len(Subjects(filed.site).collect("a" * 22, later=True).entries) == 2


def test_more_choices_than_the_ledger_follows_at_a_time_are_all_found(filed: ConsentMiddleware) -> None:
    """An erasure that stopped at the two hundredth choice would be none."""
    names = [f"{number:022d}" for number in range(230)]
    for previous, name in zip(["", *names], names, strict=False):
        choose(filed, name, previous=previous)
    assert Subjects(filed.site).collect(names[-1]).own == {*names}


# -- who is signed in -------------------------------------------------------------------------------


async def portal(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose sign-in page signs one customer in."""
    if scope["path"] == "/in":
        assert await scope["consent"].sign_in(ACCOUNT)
    for message in html(PAGE):
        await send(message)


@pytest.fixture(params=[False, True], ids=["browser only", "account, too"])
def signing(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ConsentMiddleware, bool]]:
    monkeypatch.setenv("CONSENTMW_ACCOUNT_KEY", KEY)
    options: dict[str, Any] = {"services_used": ("google_analytics",), "account_minutes": 0}
    made = mounted(portal, store=f"sqlite:///{tmp_path}/site.db", account_requests=request.param, **options)
    yield made, request.param
    shut(made)


async def test_an_account_is_reached_only_where_the_site_says_so(signing: tuple[ConsentMiddleware, bool]) -> None:
    """Whoever sits at a shared computer must not take or erase a household's record: that is off by default."""
    made, allowed = signing
    authorize(made)
    pseudonym = Pseudonyms(KEY).of(ACCOUNT)
    ann, phone = Browser(made), Browser(made)
    await ann.send("/privacy/choices", action="accept", surface="banner")
    await ann.get("/in")
    await phone.get("/in")
    await phone.get("/")
    data = json.loads(body(await ann.send("/privacy/data", action="portability")))
    assert [one["event"] for one in data["authorizations"]] == (["authorized", "disclosed"] if allowed else [])
    assert (pseudonym in json.dumps(data)) is allowed
    page = body(await ann.get("/privacy/data")).decode()
    assert ("Energy-usage data" in page) is allowed

    before = [row.seq for row in made.site.ledger.about(pseudonym)]
    assert status(await ann.send("/privacy/data", action="erase", sure="yes")) == 303
    rows = made.site.ledger.about(pseudonym)
    kept = {row.event for row in rows if row.seq in before}
    # What the rules for utilities ask for is never erased from a browser.
    assert kept >= {"authorized", "disclosed"}
    assert (kept == {"authorized", "disclosed"}) is allowed
    assert made.site.ledger.verify() == []
    assert not phone.analytics(await phone.get("/")), "the refusal is the account's, too: nobody is opted back in"
    assert not ann.analytics(await ann.get("/"))


# -- recipients of e-mails --------------------------------------------------------------------------

#: what a sender calls somebody, and somebody else
READER, OTHER = "reader-4417220913", "reader-5528331024"


async def reads(made: ConsentMiddleware, recipient: str) -> list[str]:
    """Allow it, open a mail, follow a link, and ask for no more and for mails again; the receipts of the answers."""
    tokens = made.site.tokens
    page = f"/privacy/mail/{tokens.mail('spring', recipient)}"
    for answer in ("allow", "unsubscribe", "subscribe"):
        assert status(await post(made, page, {"answer": answer})) == 303
    await opens(made, recipient)
    assert made.recorder.flush()
    return [row.receipt for row in made.site.ledger.about(Pseudonyms(KEY).recipient(recipient))]


async def opens(made: ConsentMiddleware, recipient: str) -> None:
    tokens, agent = made.site.tokens, [("user-agent", "Mozilla/5.0 (X11) Firefox/140.0")]
    await run(made, http_scope(f"/privacy/px/{tokens.pixel('spring', recipient)}.gif", headers=agent))
    link = tokens.click("https://o.example/", "spring", "tariffs", recipient)
    await run(made, http_scope(f"/privacy/go/{link}", headers=agent))


def of_reader(made: ConsentMiddleware, recipient: str = READER) -> subjects.Holdings:
    return Subjects(made.site).collect(recipient=Pseudonyms(KEY).recipient(recipient), later=True)


async def test_after_an_erasure_no_store_holds_the_recipient(
    site: ConsentMiddleware, url: str, request: pytest.FixtureRequest
) -> None:
    """Answers, opens and clicks of one person leave every store, and those of another stay; raw bytes are read."""
    server = request.getfixturevalue("postgres") if url.startswith("postgresql") else None
    receipts, others = await reads(site, READER), await reads(site, OTHER)
    assert len(receipts) == len(others) == 3
    pseudonym = Pseudonyms(KEY).recipient(READER)
    gone = [*receipts, pseudonym, READER]
    before = everything(url, server)
    assert all(text.encode() in before for text in gone), "else this would prove nothing"
    await opens(site, READER)  # waits in the queue
    erased = Subjects(site.site).erase(of_reader(site), method="cli")
    assert (erased.events >= 2, erased.rows) == (True, 3)
    await opens(site, READER)  # by a process that remembers the allowance for a minute
    assert site.recorder.flush()
    after = everything(url, server)
    assert [text for text in gone if text.encode() in after] == []
    assert all(text.encode() in after for text in (*others, OTHER)), "nobody else's data is touched"
    assert site.site.ledger.verify() == []
    assert sum(row["count"] for row in site.recorder.store.counts() if row["campaign"]) == 8, "counters still count"


async def test_a_recipient_in_the_spool_is_erased_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of a mail that waits for a store that was away belongs to what is held and to what goes."""
    monkeypatch.setenv("CONSENTMW_ACCOUNT_KEY", KEY)
    made = opened(f"sqlite:///{tmp_path}/site.db", spool=tmp_path / "spool", flush_seconds=0.02)
    receipts = await reads(made, READER)
    with monkeypatch.context() as away:
        away.setattr(made.recorder.store, "write", refuse)
        await opens(made, READER)
        assert made.recorder.flush()
        assert READER.encode() in held(tmp_path / "spool")
        away.setattr(subjects, "_PATIENCE", 0.1)
        with pytest.raises(StoreError):
            Subjects(made.site).erase(of_reader(made), method="cli")
        assert len(of_reader(made).entries) == 3, "what leads to the rest is still there"
    Subjects(made.site).erase(of_reader(made), method="cli")
    shut(made)
    assert [text for text in (READER, *receipts) if text.encode() in held(tmp_path)] == []


async def test_an_erasure_brings_nobody_back_on_the_mailing_list(site: ConsentMiddleware) -> None:
    """Who asked for no more e-mails and then has everything erased gets none: that one wish outlasts the rest."""
    await reads(site, READER)
    page = f"/privacy/mail/{site.site.tokens.mail('spring', READER)}"
    await post(site, page, {"answer": "unsubscribe"})
    Subjects(site.site).erase(of_reader(site), method="cli")
    assert [row.event for row in of_reader(site).entries] == ["unsubscribed", "unsubscribed"]
    recipients = site.site.recipients
    assert recipients is not None
    assert recipients.standing(READER).unsubscribed
    assert not recipients.standing(READER).allowed
    assert site.site.ledger.verify() == []
    await post(site, page, {"answer": "subscribe"})
    Subjects(site.site).erase(of_reader(site), method="cli")
    assert of_reader(site).entries == (), "who wanted them again has nothing to be kept for"


async def test_an_account_and_a_recipient_are_erased_together(filed: ConsentMiddleware) -> None:
    """The officer knows that both are one person; nothing in the records does."""
    pseudonym = Pseudonyms(KEY).of(ACCOUNT)
    choose(filed, "of-the-account", subject=pseudonym)
    choose(filed, "of-the-reader", subject=Pseudonyms(KEY).recipient(READER), method="mail:allow")
    write(filed, event("of-the-account"), event("of-the-reader"))
    found = Subjects(filed.site)
    erased = found.erase(found.collect("", pseudonym, Pseudonyms(KEY).recipient(READER), later=True), method="cli")
    assert (erased.events, erased.rows) == (2, 2)
    assert not [row for row in filed.site.ledger.all() if row.subject]
    assert filed.site.ledger.verify() == []


# -- forms and foreigners ---------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["access", "portability", "erase"])
async def test_another_site_s_page_can_t_ask(filed: ConsentMiddleware, action: str) -> None:
    ann = Browser(filed)
    receipts = await ann.busy()
    headers = [*ann.headers, ("sec-fetch-site", "cross-site"), ("content-type", "application/x-www-form-urlencoded")]
    scope = http_scope("/privacy/data", "POST", headers)
    answer = await run(filed, scope, {"type": "http.request", "body": f"action={action}&sure=yes".encode()})
    assert status(answer) == 403
    assert len(filed.recorder.store.events(receipts[0])) == 3
    assert not [row for row in filed.site.ledger.all() if row.method == "page"]


async def test_looking_changes_nothing(filed: ConsentMiddleware) -> None:
    """A browser that fetches ahead, or a link checker, follows every link: no GET downloads or erases."""
    ann = Browser(filed)
    await ann.busy()
    before = len([*filed.site.ledger.all()])
    for path in ("/privacy/data", "/privacy/data?erase", "/privacy/data?action=erase&sure=yes", "/privacy/data?done=x"):
        answer = await ann.get(path)
        assert status(answer) == 200
        assert b"<h1>" in body(answer)
        assert "no-store" in (header(answer, "cache-control") or "")
    assert len([*filed.site.ledger.all()]) == before


@pytest.mark.parametrize("fields", [{}, {"action": ""}, {"action": "destroy"}, {"sure": "yes"}])
async def test_a_form_that_says_nothing_does_nothing(filed: ConsentMiddleware, fields: dict[str, str]) -> None:
    ann = Browser(filed)
    await ann.busy()
    assert status(await ann.send("/privacy/data", **fields)) == 400
    assert status(await run(filed, http_scope("/privacy/data", "DELETE", ann.headers))) == 405
    assert status(await ann.get("/privacy/data/other")) == 404


async def test_without_a_choice_there_is_nothing_to_have(filed: ConsentMiddleware) -> None:
    ann = Browser(filed)
    assert b"Nothing is held" in body(await ann.get("/privacy/data"))
    assert b"Nothing is held" in body(await ann.get("/privacy/data?erase"))
    assert status(await ann.send("/privacy/data", action="access")) == 404
    erased = await ann.send("/privacy/data", action="erase", sure="yes")
    assert header(erased, "location") == "/privacy/data"
    assert [row.event for row in filed.site.ledger.all() if row.event != "notice"] == []


async def test_the_report_of_an_erasure_is_shown_to_nobody_else(filed: ConsentMiddleware) -> None:
    """The address may be passed on: on another browser it must not claim that something was erased."""
    ann, eve = Browser(filed), Browser(filed)
    await ann.busy()
    await eve.busy()
    done = header(await ann.send("/privacy/data", action="erase", sure="yes"), "location") or ""
    assert b"Your data was erased." in body(await ann.get(done))
    assert b"Your data was erased." not in body(await eve.get(done))
    for forged in (done[:-3], done + "x", "/privacy/data?done=", "/privacy/data?done=" + "9" * 1000):
        assert b"Your data was erased." not in body(await ann.get(forged))


# -- what somebody wrote into a field ---------------------------------------------------------------

HOSTILE = (
    '=HYPERLINK("http://evil.example","x")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1",
    '"a,b"\n=2',
    "<script>",
)


def test_no_field_becomes_a_formula_or_a_tag(filed: ConsentMiddleware) -> None:
    """A campaign's name is anybody's text: a spreadsheet must not calculate with it, nor a page run it."""
    choose(filed, "r" * 22)
    write(filed, *(event("r" * 22, n, route=text, browser=text, query=text) for n, text in enumerate(HOSTILE)))
    subjects = Subjects(filed.site)
    takeout = Takeout(filed.site, subjects, filed.pages._renderer._templating)
    made = BytesIO()
    with new_zip(made) as archive:
        takeout.write(subjects.collect("r" * 22), into_zip(archive), language="en", pages="/privacy")
    with zipfile.ZipFile(made) as archive:
        table = list(csv.reader(StringIO(archive.read("events.csv").decode("utf-8-sig"), newline="")))
        page, data = archive.read("index.html").decode(), json.loads(archive.read("data.json"))
    assert len(table) == len(HOSTILE) + 1
    assert all(len(row) == len(EVENT_FIELDS) for row in table)
    assert not [cell for row in table for cell in row if cell[:1] in "=+-@\t\r\n＝" and cell]
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert {row["route"] for row in data["events"]} == set(HOSTILE), "for programs, as it is"


def test_a_row_of_the_ledger_that_somebody_broke_is_shown_as_it_is(filed: ConsentMiddleware) -> None:
    """What customer service or a tamperer wrote need not be JSON, nor one of our codes."""
    choose(filed, "r" * 22, event="authorized", detail="no JSON <b>", method="<i>", granted=[])
    choose(filed, "r" * 22, event="<u>", detail="[1]", regime="<u>", notice="../../etc/passwd")
    subjects = Subjects(filed.site)
    takeout = Takeout(filed.site, subjects, filed.pages._renderer._templating)
    made = BytesIO()
    with new_zip(made) as archive:
        takeout.write(subjects.collect("r" * 22), into_zip(archive), language="es", pages="/privacy")
    with zipfile.ZipFile(made) as archive:
        assert all(name == Path(name).name for name in archive.namelist())
        page = archive.read("index.html").decode()
    assert "<u>" not in page
    assert "&lt;u&gt;" in page


def test_a_notice_that_somebody_changed_is_not_shown_as_the_one_that_was(filed: ConsentMiddleware) -> None:
    filed.site.ledger.publish("0" * 16, NOW, "f" * 12, "<p>You agreed to everything.</p>")
    choose(filed, "r" * 22, notice="0" * 16)
    subjects = Subjects(filed.site)
    takeout = Takeout(filed.site, subjects, filed.pages._renderer._templating)
    made = BytesIO()
    with new_zip(made) as archive:
        takeout.write(subjects.collect("r" * 22), into_zip(archive), language="en", pages="/privacy")
    with zipfile.ZipFile(made) as archive:
        page = archive.read("index.html").decode()
    assert "0" * 16 in page
    assert "Its text can&#39;t be read." in page or "Its text can't be read." in page
    assert "agreed to everything" not in page


# -- the command line -------------------------------------------------------------------------------


def command(*arguments: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], input=typed)


@pytest.fixture
def config(filed: ConsentMiddleware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of ``filed`` in a file."""
    monkeypatch.setenv("CONSENTMW_ACCOUNT_KEY", KEY)
    file = tmp_path / "consent.toml"
    file.write_text(f'debug = true\nstore = "{filed.settings.store}"\nservices_used = ["google_analytics"]\n', "utf-8")
    return file


def test_the_officer_exports_and_erases_a_receipt(filed: ConsentMiddleware, config: Path, tmp_path: Path) -> None:
    choose(filed, "r" * 22)
    write(filed, event("r" * 22))
    to = tmp_path / "out.zip"
    done = command("export", config, "--receipt", "r" * 22, "--to", to, "--language", "es")
    assert done.exit_code == 0, done.stderr
    assert "1 row of the ledger, 1 row about visits and e-mails" in done.stdout
    assert to.stat().st_mode & 0o077 == 0, "readable for its owner only"
    with zipfile.ZipFile(to) as archive:
        assert "Sus datos" in archive.read("index.html").decode()
    assert command("export", config, "--receipt", "r" * 22, "--to", tmp_path / "data.json").exit_code == 0
    assert command("export", config, "--receipt", "r" * 22, "--to", tmp_path / "folder").exit_code == 0
    assert (tmp_path / "folder" / "events.csv").is_file()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no drafts are left"

    kept = command("erase", config, "--receipt", "r" * 22, typed="n\n")
    assert kept.exit_code == 1
    assert filed.recorder.store.events("r" * 22)
    done = command("erase", config, "--receipt", "r" * 22, typed="y\n")
    assert done.exit_code == 0, done.stderr
    assert "1 row about visits and e-mails deleted, 1 row of the ledger blanked" in done.stdout
    assert command("erase", config, "--receipt", "r" * 22, "--yes").exit_code == 1, "nothing is held any more"
    methods = [(row.event, row.method) for row in filed.site.ledger.all() if row.method == "cli"]
    assert methods == [("access", "cli"), ("portability", "cli"), ("access", "cli"), ("erased", "cli")]
    assert filed.site.ledger.verify() == []


def test_the_officer_erases_an_account_and_may_keep_its_authorizations(
    filed: ConsentMiddleware, config: Path, tmp_path: Path
) -> None:
    """Rules for utilities ask for the record of who got usage data; what else is known of the customer goes."""
    pseudonym = Pseudonyms(KEY).of(ACCOUNT)
    choose(filed, "of-the-account", subject=pseudonym)
    authorize(filed)
    authorize(filed, "another account")
    to = tmp_path / "out.zip"
    done = command("export", config, "--account", "-", "--to", to, typed=f"{ACCOUNT}\n")
    assert done.exit_code == 0, done.stderr
    with zipfile.ZipFile(to) as archive:
        found = json.loads(archive.read("data.json"))["authorizations"]
        assert "Solar Planner LLC" in archive.read("index.html").decode()
    assert [one["event"] for one in found] == ["authorized", "disclosed"]
    done = command("erase", config, "--account", ACCOUNT, "--keep-authorizations", "--yes")
    assert done.exit_code == 0, done.stderr
    assert {row.event for row in filed.site.ledger.about(pseudonym)} == AUTHORIZING - {"revoked"}
    assert command("erase", config, "--account", ACCOUNT, "--yes").exit_code == 0
    assert filed.site.ledger.about(pseudonym) == []
    assert len(filed.site.ledger.about(Pseudonyms(KEY).of("another account"))) == 2
    assert filed.site.ledger.verify() == []


async def test_the_officer_exports_and_erases_a_recipient(
    filed: ConsentMiddleware, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the reference that the sender uses: answers and what was done with mails, in words and in files."""
    shut(filed)
    monkeypatch.setenv("CONSENTMW_ACCOUNT_KEY", KEY)
    made = opened(filed.settings.store)
    receipts = await reads(made, READER)
    shut(made)
    to = tmp_path / "out.zip"
    done = command("export", config, "--recipient", "-", "--to", to, typed=f"{READER}\n")
    assert done.exit_code == 0, done.stderr
    assert "3 rows of the ledger, 2 rows about visits and e-mails" in done.stdout
    with zipfile.ZipFile(to) as archive:
        data, page = json.loads(archive.read("data.json")), archive.read("index.html").decode()
        table = [*csv.DictReader(StringIO(archive.read("events.csv").decode("utf-8-sig")))]
        record = json.loads(archive.read("receipt.jsonld"))
    assert [row["receipt"] for row in data["ledger"]] == receipts
    assert sorted((row["kind"], row["campaign"], row["link"], row["recipient"]) for row in table) == [
        ("click", "spring", "tariffs", READER),
        ("pixel", "spring", "", READER),
    ]
    for words in (
        "the e-mails that we sent you",
        "You allowed us to note when you open our e-mails",
        "With the button “Allow”, on the page about our e-mails to you",
        "You asked for no more e-mails",
        "spring: tariffs",
    ):
        assert words in page
    assert record["@graph"][0]["dct:identifier"] == receipts[0]

    assert command("erase", config, "--recipient", OTHER, "--yes").exit_code == 1, "nothing is held of others"
    done = command("erase", config, "--recipient", READER, "--yes")
    assert done.exit_code == 0, done.stderr
    assert "2 rows about visits and e-mails deleted, 4 rows of the ledger blanked" in done.stdout, "with the request"
    assert command("erase", config, "--recipient", READER, "--yes").exit_code == 1, "nothing is held any more"


async def test_the_officer_is_told_that_an_unsubscription_stays(
    filed: ConsentMiddleware, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(filed, "left-the-list", event="unsubscribed", subject=Pseudonyms(KEY).recipient(READER), granted=[])
    done = command("erase", config, "--recipient", READER, "--yes")
    assert done.exit_code == 0, done.stderr
    assert "0 rows of the ledger blanked" in done.stdout
    assert "Kept: that this recipient asked for no more e-mails." in done.stdout


def test_an_authorization_that_ended_is_told_as_one(filed: ConsentMiddleware) -> None:
    """Its end is a row like the end of a choice; the customer must not read that a choice of theirs was over."""
    granted = authorize(filed)
    filed.site.ledger.expire(NOW + timedelta(days=1_000))
    pseudonym = Pseudonyms(KEY).of(ACCOUNT)
    holdings = Subjects(filed.site).collect(account=pseudonym)
    assert [one["event"] for one in holdings.authorizing] == ["authorized", "disclosed", "expired"]
    assert {one["id"] for one in holdings.authorizing} == {granted.id}
    assert holdings.rest == []
    assert holdings.choices == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("export", "--to", "x.zip"), 2),
        (("erase",), 2),
        (("erase", "--receipt", "a\nb"), 2),
        (("erase", "--receipt", "'; DROP TABLE ledger; --"), 2),
        (("erase", "--receipt", "*"), 2),
        (("erase", "--receipt", "%"), 2),
        (("erase", "--receipt", "nobody"), 1),
        (("export", "--receipt", "nobody", "--to", "x.zip"), 1),
        (("export", "--receipt", "known-receipt", "--to", "x.zip", "--language", "xx"), 2),
        (("export", "--receipt", "known-receipt", "--to", "/nowhere/x.zip"), 1),
        (("export", "--receipt", "known-receipt", "--to", "/"), 2),
    ],
)
def test_a_wrong_command_says_so_and_does_nothing(
    filed: ConsentMiddleware, config: Path, arguments: tuple[str, ...], code: int
) -> None:
    choose(filed, "known-receipt")
    before = len([*filed.site.ledger.all()])
    done = command(arguments[0], config, *arguments[1:])
    assert done.exit_code == code, done.stdout + done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert len([*filed.site.ledger.all()]) == before


def test_a_store_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "consent.toml"
    file.write_text('debug = true\nstore = "sqlite:////proc/nothing/site.db"\n', "utf-8")
    done = command("erase", file, "--receipt", new_receipt(), "--yes")
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "can't be opened" in done.stderr


def test_the_commands_are_where_an_officer_looks_for_them() -> None:
    line = [sys.executable, "-W", "error", "-m", "consentmw", "subject", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "export" in done.stdout
    assert "erase" in done.stdout
