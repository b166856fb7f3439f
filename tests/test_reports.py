"""The report says what counters and roll-ups say, of the days that were asked for, and names nobody."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from consentmw.events import Count
from consentmw.events.uniques import Mark
from consentmw.reports import figures, lines
from consentmw.stores.memory import MemoryStore

from .asgi import App, Header, html, http_scope, run
from .mounted import PAGE, choice_cookie, mounted
from .test_cli import consentmw, settings
from .test_rollups import DAY, event

FIRST = date(2027, 1, 16)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"


def filled(store: MemoryStore) -> MemoryStore:
    """Two days: pages by people who allowed a row and by others, by programs, and what is no page."""
    measured, other = Count(DAY, "page", "/outages", "2xx", tier="visit"), Count(DAY, "page", "/outages", "2xx")
    counts = {measured: 3, other: 5, other._replace(bot="bot: curl"): 7, other._replace(kind="request"): 100}
    marks = [Mark(DAY, "visit", number, "") for number in (1, 2)] + [Mark(DAY + 86_400, "coarse", 3)]
    for mark in marks:
        store.salt(mark.day)
    rows = [event(), event(route="/bill", browser="Chrome"), event(DAY + 86_400, referrer_host="a.example")]
    store.write(
        {**counts, measured._replace(hour=DAY + 86_400): 1}, [*rows, event()._replace(kind="leave")], marks=marks
    )
    return store


def test_figures_are_of_the_days_that_were_asked_for() -> None:
    with closing(filled(MemoryStore())) as store:
        day, both = figures(store, FIRST, FIRST), figures(store, FIRST, date(2027, 1, 17))
        none = figures(store, date(2027, 2, 1), date(2027, 2, 2))
    assert (day.page_views, day.by_programs, day.measured) == (8, 7, 3)
    assert (both.page_views, both.by_programs, both.measured) == (9, 7, 4)
    assert day.visitors == {FIRST: {"visit": 2}}
    assert both.visitors == {FIRST: {"visit": 2}, date(2027, 1, 17): {"coarse": 1}}
    assert day.values["pages"] == {"/bill": 1, "/outages": 1}
    assert both.values["browser"] == {"Firefox": 2, "Chrome": 1}
    assert both.values["referrer_host"] == {"": 2, "a.example": 1}
    assert (none.page_views, none.visitors, none.values["pages"]) == (0, {}, {})


def test_days_in_no_order_are_refused() -> None:
    with closing(MemoryStore()) as store, pytest.raises(ValueError, match="2027-01-15 is before 2027-01-16"):
        figures(store, FIRST, date(2027, 1, 15))


def test_it_can_be_read() -> None:
    with closing(filled(MemoryStore())) as store:
        said = "\n".join(lines(figures(store, FIRST, date(2027, 1, 17)), 1))
        empty = list(lines(figures(store, date(2027, 2, 1), date(2027, 2, 2)), 1))
    assert "Page views by people: 9; by programs: 7" in said
    assert "rules do: 4 (44%)" in said
    assert "2 on average; most on 2027-01-16: 2" in said
    assert "  Firefox             2\n  all others          1\n" in said
    assert len(empty) == 3


async def test_the_command_reports_what_visitors_did(tmp_path: Path) -> None:
    """From requests to the report: who allowed it is measured, everybody is counted."""
    file = settings(tmp_path, "")
    site = mounted(App(*html(PAGE)), store=f"sqlite:///{tmp_path}/ledger.db")
    who: list[Header] = [("user-agent", BROWSER)]
    for number in range(3):
        await run(site, http_scope("/outages", headers=who))
        cookie = ("cookie", choice_cookie(site, "analytics", receipt=f"{number}" * 22))
        await run(site, http_scope("/bill", headers=[*who, cookie]))
    await site.site.close()
    said = consentmw("report", file).stdout
    assert "Page views by people: 6; by programs: 0" in said
    assert "rules do: 3 (50%)" in said
    assert "3 on average; most on " in said
    assert "Pages\n  /bill          3\n" in said
    known = json.loads(consentmw("report", file, "--json").stdout)
    assert known["values"]["browser"] == {"Firefox": 3}
    assert list(known["visitors"].values()) == [{"visit": 3}]
    assert "0" * 22 not in json.dumps(known)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--since", "2027-01-02", "--until", "2027-01-01"], "is before"),
        (["--since", "yesterday"], "Invalid value"),
        (["--top", "0"], "Invalid value"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, given: list[str], says: str) -> None:
    done = consentmw("report", settings(tmp_path), *given)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_says_when_the_store_is_away(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database, and long enough to be none", "utf-8")
    done = consentmw("report", settings(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
