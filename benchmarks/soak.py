"""SOAK: memory of a server under load, a quarter of an hour at 70 % of what it can do; ends with status 1 if it grows.

How much it can do is measured first, for half a minute. Then visits arrive at a fixed rate: first pages without a
choice, choices, refusals and withdrawals, pages and data of those who chose, pixels and links of mails for all and
for one recipient, what pages' scripts tell, the notice, and paths that there are not. Every visit is somebody else's,
with another receipt, address, agent and language, so that whatever is remembered has to make room again and again.

The memory is the resident set of the whole process, looked at every second. The figure is its median in the last
third of the time, divided by the one in the second third; the first is left out, in which caches fill. Over 1.05
counts as growing. Beside it: the slope of the last two thirds (Theil-Sen, the median of all slopes between two
points), open files, threads, and what was answered.

usage: python benchmarks/soak.py [MINUTES]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.types import ASGIApp

import visit
from arrivals import arriving, flood, quantile
from consentmw import ConsentMiddleware
from consentmw.tokens import Tokens
from load import Server, uvicorn

MINUTES: Final = 15.0
#: of what the server can do; seconds for which that is measured
SHARE: Final = 0.7
FLOOD: Final = 30.0
#: what the last third may hold of what the second held
MOST: Final = 1.05
#: requests of one visit
STEPS: Final = 12
_JSON: Final = ("Content-Type: application/json",)
_FORM: Final = ("Content-Type: application/x-www-form-urlencoded",)
_LANGUAGES: Final = ("en-US,en;q=0.8", "es-MX,es;q=0.9,en;q=0.5", "de-DE,de;q=0.7", "fr;q=0.8,en;q=0.3")

tokens: Final = Tokens(visit.KEYS)


def site() -> ASGIApp:
    """A page and a JSON endpoint behind the whole middleware, which believes what addresses it is told."""
    options = visit.settings() | {"trusted_proxies": ("127.0.0.1/32",), "search_keys": {"q"}, "goals": ("bill paid",)}
    del options["queue_capacity"]
    return ConsentMiddleware(visit.pages_app(), options)


# -- visits ---------------------------------------------------------------------------------------


def request(number: int) -> bytes:
    """One request of somebody's visit; each twelfth begins another's."""
    visitor, step = divmod(number, STEPS)
    method, path, more, body = _step(visitor, step)
    cookies = "" if step < 2 else _cookies(visitor)
    agent = visit.AGENTS[visitor % 4].format(f"{100 + visitor % 40}.0.{visitor % 9973}.{visitor % 211}")
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"User-Agent: {agent}",
        f"X-Forwarded-For: 10.{visitor >> 16 & 255}.{visitor >> 8 & 255}.{visitor & 255}",
        f"Accept-Language: {_LANGUAGES[visitor % 4]}",
        "Accept: text/html,*/*;q=0.8",
        "Accept-Encoding: gzip, deflate, br",
        "Sec-Fetch-Site: same-origin",
        f"Referer: https://{'www' if step else f's{visitor % 5000}'}.example.com/offers/{_letters(visitor)}",
        *([f"Cookie: {cookies}"] if cookies else ()),
        *more,
        *([f"Content-Length: {len(body)}"] if method == "POST" else ()),
    ]
    return "\r\n".join([*lines, "", body]).encode("ascii")


def _step(visitor: int, step: int) -> tuple[str, str, Sequence[str], str]:
    """Method, path, further headers and body of this step of somebody's visit."""
    match step:
        case 0:
            return "GET", f"/bills?utm_source=mail&utm_campaign=c{visitor % 300}", (), ""
        case 1 if visitor % 10 == 0:
            return _choose("reject" if visitor % 20 else "accept")
        case 4:
            return "GET", f"/bills?{urlencode({'q': f'outage {_letters(visitor)}'})}", (), ""
        case 5:
            return "GET", f"/privacy/px/{_pixel(f'bill-{visitor % 12}')}.gif", (), ""
        case 6:
            return "GET", f"/privacy/go/{_link(f'bill-{visitor % 12}')}", (), ""
        case 7:
            told = '{"kind": "leave", "seconds": 7, "depth": 8}, {"kind": "goal", "name": "bill paid", "value": 8.5}'
            body = f'{{"id": "batch-{visitor}-of-it", "page": "/bills", "events": [{told}]}}'
            return "POST", "/privacy/events", _JSON, body
        case 10:
            return "GET", f"/privacy/px/{tokens.pixel('bill-1', f'recipient-{visitor}')}.gif", (), ""
        case 11 if visitor % 100 == 0:
            return _choose("withdraw")
        case 11 if visitor % 4 == 1:
            return "GET", "/privacy", (), ""
        case 11:
            return "GET", f"/{_letters(visitor)}/{visitor}", (), ""
    return "GET", "/bills" if step % 2 == 0 else "/api/readings", (), ""


def _choose(action: str) -> tuple[str, str, Sequence[str], str]:
    return "POST", "/privacy/choices", _FORM, f"action={action}&surface=banner"


@cache
def _pixel(campaign: str) -> str:
    return tokens.pixel(campaign, "")


@cache
def _link(campaign: str) -> str:
    return tokens.click("https://www.example.com/pay", campaign, "top")


def _letters(number: int) -> str:
    """A word that nobody else has, as far as the words of a path are kept."""
    return "".join("aeiou"[int(digit) % 5] + "lmnrs"[int(digit) // 2] for digit in str(number))


class _Last:
    """The cookies of the visit that is being made up: they are needed for ten requests."""

    visitor = -1
    cookies = ""


def _cookies(visitor: int) -> str:
    """One of ten visitors chose nothing, two refused, seven accepted."""
    if _Last.visitor != visitor:
        _Last.visitor, _Last.cookies = visitor, f"session={visitor:032x}; theme=dark"
        if visitor % 10 > 0:
            accepted = visitor % 10 > 2
            _Last.cookies += f"; privacy={visit.choice(visitor, accepted=accepted)}"
            _Last.cookies += f"; {visit.session_cookie(visitor)}" if accepted else ""
    return _Last.cookies


# -- measuring ------------------------------------------------------------------------------------


class Look(NamedTuple):
    """What a process holds at one moment."""

    at: float
    #: MB
    memory: float
    #: open ones, connections left out
    files: int
    threads: int


def look(server: Server) -> Look:
    place = Path(f"/proc/{server.pid}")
    said = dict(line.split(":", 1) for line in (place / "status").read_text("ascii").splitlines())
    memory = int(said["VmRSS"].split()[0]) * 1024 / 1e6
    files = 0
    for entry in (place / "fd").iterdir():
        # A file may be closed, and a connection be the client's affair.
        with suppress(FileNotFoundError):
            files += not entry.readlink().name.startswith("socket:")
    return Look(time.monotonic(), memory, files, int(said["Threads"]))


def slope(looks: Sequence[Look]) -> float:
    """MB an hour, by Theil and Sen: one moment that is unlike the others does not move it."""
    # Every fifth second: all pairs of all seconds are a million, and say the same.
    some = looks[::5]
    slopes = [
        (later.memory - one.memory) / (later.at - one.at)
        for number, one in enumerate(some)
        for later in some[number + 1 :]
    ]
    return statistics.median(slopes) * 3600


def soak(server: Server, minutes: float) -> float:
    """Load it, report, and return the ratio. Ends the benchmark where a request was not answered as it should be."""
    most, sent = flood(server, request, FLOOD)
    rate = most * SHARE
    print(f"{most:,.0f} requests a second at most; now {rate:,.0f} for {minutes:g} minutes, {rate / STEPS:,.0f} visits")
    looks: list[Look] = []
    with arriving(server, rate, lambda number: request(sent + number)) as load:
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + minutes * 60:
            looks.append(look(server))
            time.sleep(max(0.0, min(1.0, begin + minutes * 60 - now)))
        samples = load.end()
    third = len(looks) // 3
    medians = [statistics.median(one.memory for one in looks[n * third : (n + 1) * third]) for n in range(3)]
    names = ", ".join(f"{median:.1f}" for median in medians)
    print(f"memory in MB, medians of thirds: {names}; {slope(looks[third:]):+.1f} MB an hour in the last two")
    for name, one in {"at first": looks[0], "in the middle": looks[len(looks) // 2], "at last": looks[-1]}.items():
        print(f"{name:14}  {one.memory:7.1f} MB  {one.files:4} open files  {one.threads:3} threads")
    took = sorted(value for value in samples.took if value >= 0)
    print(f"ms to answer: p50 {quantile(took, 0.5) * 1e3:.2f}, p99 {quantile(took, 0.99) * 1e3:.2f}")
    statuses = Counter(samples.status)
    print("answers: " + ", ".join(f"{number:,} x {status}" for status, number in sorted(statuses.items())))
    if wrong := {status for status in statuses if status not in (200, 204, 302, 303, 404)}:
        sys.exit(f"no figure: there were answers {wrong}")
    return medians[2] / medians[1]


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with visit.store() as (environment, _), uvicorn("soak:site", environment) as server:
        ratio = soak(server, minutes)
    print(f"SOAK {ratio:.3f}")
    if ratio > MOST:
        sys.exit(f"memory grows: over {MOST}")


if __name__ == "__main__":
    main()
