"""Tier by field: whatever is asked, chosen, signalled or broken, nothing is kept above what the visitor allowed.

Requests carry words that exist nowhere else, one in each place where something about a visitor can stand.
They go through the middleware into a real store; then everything that it wrote is searched byte by byte.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentmw import ConsentMiddleware
from consentmw.decision import TIERS
from consentmw.errors import StoreError
from consentmw.events import TIER_FIELDS, Count, Event
from consentmw.events.rollups import DIMENSIONS
from consentmw.stores import EventStore, open_event_store

from .asgi import App, Header, cookies, html, http_scope, request, run, status
from .clickhouse import Server as ClickHouse
from .mounted import PAGE, choice_cookie, mounted
from .postgres import Server

#: how the store behaves: takes everything; fails at first; stays away; refuses for ever
Weather = Literal["fine", "late", "away", "refuses"]

#: higher than any tier: nobody's to keep
NEVER = len(TIERS)


@dataclass(frozen=True)
class Ask:
    """One visitor's request."""

    #: told: a page whose script tells what happened there
    kind: Literal["page", "told", "pixel", "click"]
    #: purposes granted; None: no choice was made
    granted: frozenset[str] | None
    gpc: bool
    #: whether a mail names its recipient, and whether they allowed to be measured, by mail
    named: bool
    mailed: bool
    erased: bool

    @property
    def about_a_person(self) -> bool:
        """Whether it is of a mail that names who got it: then their own choice counts, and nothing of the device."""
        return self.named and self.kind in ("pixel", "click")

    def ceiling(self, regime: str) -> int:
        """The highest tier that this visitor allowed, said anew: not by asking the code that is tested."""
        if self.about_a_person:
            refused = self.granted is not None and "email_measurement" not in self.granted
            return 3 if self.mailed and not refused else 0
        if self.granted is None:
            return 1 if regime == "opt_out" and not self.gpc else 0
        if "analytics" not in self.granted:
            return 0
        personal = {"email_measurement"} if self.gpc else {"email_measurement", "advertising"}
        return 3 if self.granted & personal else 2

    def withdrawn(self) -> bool:
        """Whether there was a choice under which something may have been recorded, and it was withdrawn."""
        return self.erased and (self.mailed if self.about_a_person else self.granted is not None)


@dataclass(frozen=True)
class Words:
    """The words of one request, each with the lowest tier whose row may show it."""

    number: int

    def word(self, what: str) -> str:
        return f"qz{what}{chr(97 + self.number)}zq"

    @property
    def address(self) -> str:
        return f"198.51.{100 + self.number}.77"

    def allowed(self, ask: Ask, ip: str, ceiling: int) -> set[bytes]:
        """What may be kept of this request, at most."""
        if ask.about_a_person:
            return {self.word(what).encode() for what in ("rcpt", "link")} if ceiling == 3 else set()
        return {word for word, low in self.sought(ip).items() if low <= ceiling}

    def sought(self, ip: str) -> dict[bytes, int]:
        """What is searched for, with the lowest tier that may hold it."""
        network = f"198.51.{100 + self.number}.0"
        found = {
            self.address: 2 if ip == "full" else NEVER,
            network: 2 if ip == "truncated" else NEVER,
            self.word("agent"): NEVER,
            f"Chrome 73{self.number}5": 2,
            self.word("refhost"): 1,
            self.word("refuser"): NEVER,
            f"4417{self.number}220913": NEVER,
            self.word("refquery"): NEVER,
            self.word("refpage"): 2,
            self.word("cookie"): NEVER,
            self.word("source"): 2,
            self.word("secret"): NEVER,
            self.word("host"): 2,
            f"q=0.73{self.number}": 2,
            self.word("rcpt"): 3,
            self.word("link"): 3,
            self.word("model"): 2,
            self.word("search"): 2,
            self.word("out"): 2,
            self.word("form"): 2,
            self.word("file"): 2,
            self.word("typed"): NEVER,
        }
        return {text.encode(): lowest for text, lowest in found.items()}

    def headers(self, ask: Ask) -> list[Header]:
        agent = f"Mozilla/5.0 (X11; Linux x86_64) Chrome/73{self.number}5.0 Safari/537.36 {self.word('agent')}"
        refuser, refhost, refpage = (self.word(what) for what in ("refuser", "refhost", "refpage"))
        headers: list[Header] = [
            ("host", f"{self.word('host')}.example"),
            ("user-agent", agent),
            (
                "referer",
                f"https://{refuser}@{refhost}.example/{refpage}/4417{self.number}220913?q={self.word('refquery')}",
            ),
            ("accept-language", f"es-MX,es;q=0.73{self.number}"),
            ("cookie", f"sid={self.word('cookie')}"),
            ("x-forwarded-for", self.word("secret")),
            ("sec-ch-ua-model", f'"{self.word("model")}"'),
            ("authorization", f"Bearer {self.word('secret')}"),
        ]
        return [*headers, ("sec-gpc", "1")] if ask.gpc else headers

    def path(self, ask: Ask, site: ConsentMiddleware) -> str:
        recipient = self.word("rcpt") if ask.named else ""
        tokens = site.site.tokens
        query = f"?utm_source={self.word('source')}&account={self.word('secret')}&q={self.word('search')}"
        if ask.kind == "pixel":
            return f"/privacy/px/{tokens.pixel('spring', recipient)}.gif{query}"
        if ask.kind == "click":
            return f"/privacy/go/{tokens.click('https://a.example/', 'spring', self.word('link'), recipient)}{query}"
        return f"/account/4417{self.number}220913/bill{query}"

    def told(self) -> bytes:
        """What the script of this visitor's page says, and what one says that was tampered with."""
        address = f"https://{self.word('out')}.example/a?{self.word('typed')}#{self.word('typed')}"
        events = [
            {"kind": "outbound", "to": address, "text": self.word("typed")},
            {
                "kind": "download",
                "to": f"https://{self.word('host')}.example/{self.word('file')}.pdf?{self.word('typed')}",
            },
            {"kind": "form_submit", "name": self.word("form"), "fields": {"mail": self.word("typed")}},
            {"kind": self.word("typed"), "name": self.word("typed")},
        ]
        page = f"/account/4417{self.number}220913/bill?{self.word('secret')}"
        return json.dumps({"id": f"batch-{self.number:04}", "page": page, "events": events}).encode()


class Unsteady:
    """A store in this weather."""

    def __init__(self, store: EventStore, weather: Weather) -> None:
        self._store = store
        self._failures = {"fine": 0, "late": 2, "away": 10**9, "refuses": 0}[weather]
        self._refuses = weather == "refuses"

    def write(self, counts: Mapping[Count, int], events: Sequence[Event], *more: Any, **named: Any) -> None:
        self._failures -= 1
        if self._failures >= 0:
            raise StoreError("away")
        if self._refuses and events:
            raise ValueError("never")
        self._store.write(counts, events, *more, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


ASKS = st.lists(
    st.builds(
        Ask,
        kind=st.sampled_from(["page", "told", "pixel", "click"]),
        granted=st.one_of(
            st.none(),
            st.frozensets(st.sampled_from(["analytics", "analytics", "advertising", "email_measurement", "media"])),
        ),
        gpc=st.booleans(),
        named=st.booleans(),
        mailed=st.booleans(),
        erased=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
IP = st.sampled_from(["none", "truncated", "full"])
REGIME = st.sampled_from(["opt_in", "opt_out"])
WEATHER = st.sampled_from(["fine", "late", "away", "refuses"])


def record(
    asks: Sequence[Ask], url: str, folder: Path, ip: str, regime: str, weather: Weather, rows: str = ""
) -> EventStore:
    """Send the requests through the middleware, and end it; the store that it had. ``rows``: where rows go instead."""
    with patch("consentmw.site.open_event_store", lambda *urls: Unsteady(open_event_store(*urls), weather)):
        site = mounted(
            App(*html(PAGE)),
            store=url,
            events_store=rows,
            spool=folder / "spool",
            ip=ip,
            fallback_regime=regime,
            flush_seconds=0.01,
            search_keys=["q"],
        )
        people = site.site.recipients
        assert people is not None
        for number, ask in enumerate(asks):
            if ask.mailed:
                people.choose(Words(number).word("rcpt"), True, method="mail:allow")
        asyncio.run(_ask(site, asks))
        recorder = site.recorder
        assert recorder.flush(20)
        until(lambda: weather == "away" or not recorder.behind)
        for number, ask in enumerate(asks):
            if ask.erased:
                recorder.remove(receipt(number))
                for gone in people.choose(Words(number).word("rcpt"), False, method="mail:refuse"):
                    recorder.remove(gone)
        assert recorder.flush(20)
        until(lambda: weather == "away" or not recorder.behind)
        store = recorder.store
        asyncio.run(site.site.close())
        return store


async def _ask(site: ConsentMiddleware, asks: Sequence[Ask]) -> None:
    for number, ask in enumerate(asks):
        words = Words(number)
        headers = words.headers(ask)
        if ask.granted is not None:
            headers.append(("cookie", choice_cookie(site, *ask.granted, receipt=receipt(number))))
        sent = await run(site, http_scope(words.path(ask, site), headers=headers, client=(words.address, 5)))
        assert status(sent) == {"page": 200, "told": 200, "pixel": 200, "click": 302}[ask.kind]
        if ask.kind == "told":
            headers += [("content-type", "application/json"), ("sec-fetch-site", "same-origin")]
            headers += [("cookie", f"{name}={value}") for name, value in cookies(sent).items()]
            scope = http_scope("/privacy/events", "POST", headers, client=(words.address, 5))
            assert status(await run(site, scope, request(words.told()))) == 204


def receipt(number: int) -> str:
    return f"{number}" * 22


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def above(asks: Sequence[Ask], kept: bytes, ip: str, regime: str, *, waits: bool) -> list[str]:
    """What was kept above its tier, or of visitors who withdrew. ``waits``: whether withdrawals wait, too."""
    found = []
    for number, ask in enumerate(asks):
        ceiling = 0 if ask.withdrawn() and not waits else ask.ceiling(regime)
        words = Words(number)
        forbidden = words.sought(ip).keys() - words.allowed(ask, ip, ceiling)
        found += [f"{ask}: {word!r} at {TIERS[ceiling]}" for word in sorted(forbidden) if word in kept]
    return found


def files(folder: Path) -> bytes:
    """Every byte of every file: database, log, index, spool."""
    return b"\n".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def forbidden(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Fields above the tier of their row. A row's own columns and its context's are looked at apart, too."""
    fields = TIER_FIELDS["person"]
    return [
        f"{row['tier']}: {name}"
        for row in rows
        for name in fields & row.keys()
        if row[name] is not None and name not in TIER_FIELDS[row["tier"]]
    ]


@settings(max_examples=40)
@given(ASKS, IP, REGIME, WEATHER)
def test_nothing_is_kept_above_its_tier(asks: list[Ask], ip: str, regime: str, weather: Weather) -> None:
    """In the bytes of the database, its log and the spool; and field by field in rows, contexts and roll-ups."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record(asks, f"sqlite:///{folder}/e.db", folder, ip, regime, weather)
        assert above(asks, files(folder), ip, regime, waits=weather == "away") == []
        with closing(sqlite3.connect(folder / "e.db")) as database:
            database.row_factory = sqlite3.Row
            for query in (
                "SELECT * FROM contexts",
                "SELECT contexts.tier, events.* FROM events JOIN contexts ON contexts.id = events.context",
            ):
                assert forbidden([dict(row) for row in database.execute(query)]) == []
            rolled = {row["dimension"] for row in database.execute("SELECT dimension FROM rollups")}
            assert rolled <= DIMENSIONS.keys() <= TIER_FIELDS["coarse"]
            tables = {row["name"] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            assert {"events", "contexts", "rollups", "marks", "salts", "uniques", "counts"} <= tables


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=ASKS, ip=IP, regime=REGIME, weather=WEATHER)
def test_nothing_is_kept_above_its_tier_in_postgresql(
    postgres: Server, asks: list[Ask], ip: str, regime: str, weather: Weather
) -> None:
    """Every table of the schema, whichever there are, as the server writes it out; and the spool."""
    postgres.run("DROP SCHEMA IF EXISTS consentmw CASCADE")
    with tempfile.TemporaryDirectory() as name:
        record(asks, postgres.url(), Path(name), ip, regime, weather)
        kept = files(Path(name))
    tables = [row[0] for row in postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'consentmw'")]
    assert {"events", "contexts", "rollups", "marks", "salts", "uniques", "counts"} <= set(tables)
    rows = chain.from_iterable(postgres.run(f'SELECT t::text FROM consentmw."{table}" t') for table in tables)
    kept += b"\n".join(row[0].encode() for row in rows)
    assert above(asks, kept, ip, regime, waits=weather == "away") == []


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=ASKS, ip=IP, regime=REGIME, weather=WEATHER)
def test_nothing_is_kept_above_its_tier_in_clickhouse(
    clickhouse: ClickHouse, asks: list[Ask], ip: str, regime: str, weather: Weather
) -> None:
    """Every column of every row that it can be asked for, the files beside it, and what it was asked."""
    for table in ("consentmw_events", "consentmw_versions"):
        clickhouse.run(f"DROP TABLE IF EXISTS {table} SYNC", "site")
    with tempfile.TemporaryDirectory() as name:
        record(asks, f"sqlite:///{name}/e.db", Path(name), ip, regime, weather, clickhouse.url())
        kept = files(Path(name))
    rows: list[list[Any]] = []
    if clickhouse.run("SELECT 1 FROM system.tables WHERE database = 'site' AND name = 'consentmw_events'"):
        rows = clickhouse.run("SELECT * FROM consentmw_events FINAL", "site")
    kept += json.dumps(rows).encode()
    assert above(asks, kept, ip, regime, waits=weather == "away") == []
    asked = clickhouse.asked().encode()
    assert [word for number in range(len(asks)) for word in Words(number).sought(ip) if word in asked] == []


@settings(max_examples=40)
@given(ASKS, IP, REGIME)
def test_nothing_is_kept_above_its_tier_in_memory(asks: list[Ask], ip: str, regime: str) -> None:
    """All that the store holds, as Python shows it; it has no spool, so there is no weather."""
    with tempfile.TemporaryDirectory() as name:
        store = record(asks, "memory:", Path(name), ip, regime, "fine")
        kept = repr(vars(store._store)).encode()  # type: ignore[attr-defined]
        assert files(Path(name)) == b""
    assert above(asks, kept, ip, regime, waits=False) == []


EVERYTHING = frozenset({"analytics", "advertising", "email_measurement"})


@pytest.mark.parametrize("weather", ["fine", "away"])
@pytest.mark.parametrize("ip", ["none", "truncated", "full"])
def test_the_search_finds_what_was_allowed(tmp_path: Path, weather: Weather, ip: str) -> None:
    """Protects the tests above: a search that finds nothing where there is something would prove nothing."""
    asks = [
        Ask("told", EVERYTHING, gpc=False, named=False, mailed=False, erased=False),
        Ask("click", EVERYTHING, gpc=False, named=True, mailed=True, erased=False),
        Ask("told", None, gpc=False, named=False, mailed=False, erased=False),
        Ask("click", None, gpc=False, named=True, mailed=False, erased=False),
    ]
    record(asks, f"sqlite:///{tmp_path}/e.db", tmp_path, ip, "opt_out", weather)
    kept = files(tmp_path)
    for number, ask in enumerate(asks):
        words = Words(number)
        expected = words.allowed(ask, ip, ask.ceiling("opt_out"))
        if not ask.about_a_person:
            expected -= {words.word(what).encode() for what in ("rcpt", "link")}  # a page is no mail
        assert {word for word in words.sought(ip) if word in kept} == expected


@pytest.mark.parametrize("tier", TIERS)
def test_the_check_of_fields_knows_each_tier(tier: str) -> None:
    """Protects it likewise: every field above a tier is named, and none within it."""
    row = {"tier": tier, **dict.fromkeys(TIER_FIELDS["person"], "x")}
    assert {found.partition(": ")[2] for found in forbidden([row])} == TIER_FIELDS["person"] - TIER_FIELDS[tier]
