"""No usage data leaves without a valid authorization, and every hand-over is proven before it happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from consentmw.authorizations import (
    Authorization,
    Authorizations,
    open_authorizations,
    read_scope,
)
from consentmw.cli import _app
from consentmw.errors import AuthorizationError, LedgerError, SettingsError
from consentmw.identity import ACCOUNT_VARIABLE, Pseudonyms
from consentmw.ledger import Ledger
from consentmw.settings import Settings
from consentmw.stores import open_ledger_store
from consentmw.stores.memory import MemoryStore

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SCOPE = "FB=4_5_15;IntervalDuration=3600;BlockDuration=monthly;HistoryLength=13"
GIVEN = Authorization(
    recipient="Solar Planner LLC",
    scope=SCOPE,
    purpose="Size a rooftop system",
    starts=date(2026, 11, 1),
    ends=date(2027, 10, 31),
    history_months=13,
    evidence="online",
    entered_by="customer",
    destroy_by=date(2027, 12, 31),
)
ACCOUNT = "4400-123456-7"
FIRST, LAST = date(2026, 1, 1), date(2026, 10, 31)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(
        lambda: open_ledger_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db")
    )
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(ledger: Ledger, clock: Clock) -> Authorizations:
    return Authorizations(ledger, Pseudonyms("a key for tests, long enough"), clock)


def test_an_authorization_is_used_shown_and_proven(book: Authorizations, ledger: Ledger) -> None:
    made = book.grant(ACCOUNT, GIVEN, language="en", notice="n7")
    assert book.of(ACCOUNT) == [made] == [replace(GIVEN, id=made.id)]
    handed = book.disclose(ACCOUNT, made.id, "Solar Planner LLC", "FB=4_5", FIRST, LAST)
    assert book.disclosures(ACCOUNT) == [handed]
    rows = list(ledger.all())
    assert [row.event for row in rows] == ["authorized", "disclosed"]
    assert ledger.verify() == []


def test_no_row_holds_the_account(book: Authorizations, ledger: Ledger) -> None:
    book.disclose(ACCOUNT, book.grant(ACCOUNT, GIVEN).id, "Solar Planner LLC", SCOPE, FIRST, LAST)
    assert not [row for row in ledger.all() if ACCOUNT in repr(row) or "123456" in repr(row)]
    other = Authorizations(ledger, Pseudonyms("another key, long enough"), lambda: NOW)
    assert other.of(ACCOUNT) == [], "without the key the hash is nobody's"


Use = dict[str, Any]


@pytest.mark.parametrize(
    ("use", "why"),
    [
        ({"recipient": "Solar Planner Inc"}, "another recipient"),
        ({"scope": "FB=4_5_16"}, "FB=16"),
        ({"scope": "everything"}, "a scope like"),
        ({"first": date(2025, 9, 30)}, "13 months back"),
        ({"last": date(2026, 11, 22)}, "days that have been"),
        ({"first": LAST, "last": FIRST}, "from the first to the last"),
        ({"id": "unknown"}, "no such authorization"),
        ({"account": "4400-999999-9"}, "no such authorization"),
    ],
)
def test_what_was_not_authorized_is_refused_and_leaves_no_record(
    book: Authorizations, ledger: Ledger, use: Use, why: str
) -> None:
    made = book.grant(ACCOUNT, GIVEN)
    asked: Use = {"account": ACCOUNT, "id": made.id, "recipient": GIVEN.recipient, "scope": SCOPE}
    with pytest.raises(AuthorizationError, match=why):
        book.disclose(**{**asked, "first": FIRST, "last": LAST, **use})
    assert book.disclosures(ACCOUNT) == []
    assert len(list(ledger.all())) == 1


@pytest.mark.parametrize(("days", "allowed"), [(-21, False), (-20, True), (344, True), (345, False)])
def test_it_holds_from_its_first_day_to_its_last(book: Authorizations, clock: Clock, days: int, allowed: bool) -> None:
    made = book.grant(ACCOUNT, GIVEN)
    clock.now = NOW + timedelta(days=days)
    use: Callable[[], Any] = lambda: book.disclose(  # noqa: E731
        ACCOUNT, made.id, GIVEN.recipient, SCOPE, FIRST, date(2026, 10, 1)
    )
    if allowed:
        assert use().authorization == made.id
    else:
        with pytest.raises(AuthorizationError, match="holds from"):
            use()


def test_a_revocation_counts_at_once_and_for_good(book: Authorizations) -> None:
    made = book.grant(ACCOUNT, GIVEN)
    revoked = book.revoke(ACCOUNT, made.id, by="customer")
    assert revoked.revoked
    assert book.revoke(ACCOUNT, made.id, by="service desk 12") == revoked, "it is revoked once"
    with pytest.raises(AuthorizationError, match="revoked at"):
        book.disclose(ACCOUNT, made.id, GIVEN.recipient, SCOPE, FIRST, LAST)
    again = book.grant(ACCOUNT, GIVEN)
    assert book.disclose(ACCOUNT, again.id, GIVEN.recipient, SCOPE, FIRST, LAST)
    assert [bool(one.revoked) for one in book.of(ACCOUNT)] == [True, False]


def test_a_regulator_gets_the_rows_of_a_time_without_accounts(book: Authorizations, clock: Clock) -> None:
    made = book.grant(ACCOUNT, GIVEN)
    clock.now = NOW + timedelta(days=2)
    book.disclose(ACCOUNT, made.id, GIVEN.recipient, SCOPE, FIRST, LAST)
    rows = list(book.export(NOW + timedelta(days=1), NOW + timedelta(days=3)))
    assert [(row["event"], row["recipient"], row["first"]) for row in rows] == [
        ("disclosed", "Solar Planner LLC", "2026-01-01")
    ]
    assert json.loads(json.dumps(rows)) == rows
    assert ACCOUNT not in repr(rows)


def test_data_that_has_to_come_back_is_named_on_its_day(book: Authorizations) -> None:
    made = book.grant(ACCOUNT, GIVEN)
    book.grant(ACCOUNT, replace(GIVEN, destroy_by=None))
    assert book.due(date(2027, 12, 30)) == []
    assert book.due(date(2027, 12, 31)) == [made]


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "FB="},
        {"recipient": " "},
        {"purpose": "x" * 401},
        {"ends": date(2026, 10, 31)},
        {"history_months": -1},
        {"history_months": 121},
        {"destroy_by": date(2027, 1, 1)},
        {"evidence": ""},
        {"entered_by": ""},
    ],
)
def test_a_bad_authorization_is_refused(book: Authorizations, changes: dict[str, Any]) -> None:
    with pytest.raises(AuthorizationError):
        book.grant(ACCOUNT, replace(GIVEN, **changes))
    assert book.of(ACCOUNT) == []


def test_without_proof_nothing_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    book = Authorizations(Ledger(lambda: store), Pseudonyms("a key for tests, long enough"), lambda: NOW)
    made = book.grant(ACCOUNT, GIVEN)

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store, "append", fail)
    with pytest.raises(LedgerError):
        book.disclose(ACCOUNT, made.id, GIVEN.recipient, SCOPE, FIRST, LAST)


@pytest.mark.parametrize(
    "text", ["", "FB", "FB=0", "FB=4,5", "IntervalDuration=60", "FB=4;FB=5", "FB=4; X=1", "FB=4;é=1"]
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        read_scope(text)


@given(st.text(max_size=500))
def test_any_text_is_a_scope_or_refused(text: str) -> None:
    try:
        terms = read_scope(text)
    except ValueError:
        return
    assert ";".join(f"{name}={value}" for name, value in terms.items()) == text


def test_customer_service_and_application_find_the_same_book(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ACCOUNT_VARIABLE, "a key that never changes")
    settings = Settings.of(None, secret_keys=("a key for tests, long enough",), store=f"sqlite:///{tmp_path}/l.db")
    one, other = open_authorizations(settings), open_authorizations(settings)
    made = one.grant(ACCOUNT, GIVEN)
    assert other.of(ACCOUNT) == [made]
    one.close()
    other.close()


@pytest.mark.parametrize("key", ["", "short"])
def test_without_a_key_no_book_is_opened(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(ACCOUNT_VARIABLE, key)
    with pytest.raises(SettingsError, match=ACCOUNT_VARIABLE):
        open_authorizations(Settings.of(None, secret_keys=("a key for tests, long enough",), store="memory:"))


def test_the_command_line_accounts_for_every_hand_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ACCOUNT_VARIABLE, "a key that never changes")
    file = tmp_path / "consent.toml"
    file.write_text(f'debug = true\nstore = "sqlite:///{tmp_path}/l.db"\n', "utf-8")
    book = open_authorizations(Settings.load(file), lambda: datetime(2024, 6, 15, tzinfo=UTC))
    long_ago = replace(GIVEN, starts=date(2024, 6, 1), ends=date(2024, 12, 31), destroy_by=date(2025, 1, 1))
    made = book.grant(ACCOUNT, long_ago)
    book.disclose(ACCOUNT, made.id, GIVEN.recipient, SCOPE, date(2024, 1, 1), date(2024, 5, 31))
    book.close()
    run = CliRunner().invoke
    told = run(_app, ["authorizations", "export", str(file), "2024-06-01", "2024-07-01"])
    assert [json.loads(line)["event"] for line in told.output.splitlines()] == ["authorized", "disclosed"]
    assert ACCOUNT not in told.output
    late = run(_app, ["authorizations", "due", str(file)])
    assert late.exit_code == 1
    assert made.id in late.output


def test_the_evidence_is_where_an_erasure_finds_it(book: Authorizations, ledger: Ledger) -> None:
    """It may name a person; the other fields of a row stay for ever."""
    made = book.grant(ACCOUNT, replace(GIVEN, evidence="call with Ann Example, recorded"))
    book.disclose(ACCOUNT, made.id, GIVEN.recipient, SCOPE, FIRST, LAST)
    book.revoke(ACCOUNT, made.id, by="desk of Bob Example")
    assert [row.method for row in ledger.all()] == ["authorization"] * 3
    assert book.of(ACCOUNT)[0].evidence == "call with Ann Example, recorded"
    exported = repr(list(book.export(NOW - timedelta(days=1), NOW + timedelta(days=1))))
    assert "Ann Example" not in exported
    assert ledger.erase((), book.subject(ACCOUNT), at=NOW, method="cli") == 3
    assert "Example" not in repr(list(ledger.all()))
    assert (book.of(ACCOUNT), book.disclosures(ACCOUNT), book.due(date(2030, 1, 1))) == ([], [], [])
    rows = list(book.export(NOW - timedelta(days=1), NOW + timedelta(days=1)))
    assert [(row["event"], row["customer"]) for row in rows] == [("authorized", ""), ("disclosed", ""), ("revoked", "")]
    assert ledger.verify() == []


def test_a_row_from_before_evidence_could_be_erased_is_read(book: Authorizations, ledger: Ledger) -> None:
    made = book.grant(ACCOUNT, GIVEN)
    detail = json.loads(next(iter(ledger.all())).detail)
    del detail["evidence"]
    ledger.append(
        receipt="older",
        at=NOW,
        event="authorized",
        method="paper form 2026-118",
        subject=book.subject(ACCOUNT),
        detail=json.dumps(detail),
    )
    assert book.of(ACCOUNT) == [made, replace(GIVEN, id="older", evidence="paper form 2026-118")]
