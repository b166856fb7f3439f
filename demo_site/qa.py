"""The panel for QA: what was decided for this visitor and why, what was withheld, received and written.

Knows consentmw's public objects, the memory of pages and the stand-in, and shows them. Refuses to
decide or change anything but this browser's own cookies and the stand-in's list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from consentmw import ConsentMiddleware, LedgerError, StoreError

from .standin import StandIn
from .trail import Memory, Seen
from .view import render, url

__all__ = ["ROUTES", "Panel", "SignalSwitch"]

#: events that the panel shows
_ROWS: Final = 30
#: counters that it shows; they come sorted by kind, so a short list would hide the last kinds
_COUNTERS: Final = 500
#: the fields of rows that hold seconds since 1970
_TIMES: Final = ("hour", "at", "expires")
#: the cookie by which a browser without Global Privacy Control can play one that has it
_SIGNAL: Final = "demo_gpc"


class Panel:
    """Collects the facts about one visitor."""

    def __init__(self, guarded: ConsentMiddleware, standin: StandIn | None, memory: Memory) -> None:
        self.guarded = guarded
        self.standin = standin
        self.memory = memory

    async def facts(self, request: Request) -> dict[str, Any]:
        """Everything the panel shows, ready for JSON."""
        consent = request.scope["consent"]
        return {
            "decision": self._decision(consent.decision),
            "pages": [_page(seen) for seen in self.memory.pages(request.scope["demo.visit"])],
            "cookies": self._cookies(request),
            "third_parties": self._third_parties(),
            "rows": await run_in_threadpool(self._rows, consent.receipt),
        }

    def _decision(self, decision: Any) -> dict[str, Any]:
        catalogue = self.guarded.site.catalogue
        plain = ("tier", "regime", "region", "region_source", "language", "gpc", "notice", "receipt", "ask")
        return {
            **{name: getattr(decision, name) for name in plain},
            "until": decision.until.isoformat() if decision.until else "",
            "google": dict(decision.google),
            "purposes": [
                {"key": key, "title": catalogue.purposes[key].title, "granted": v.granted, "reason": v.reason}
                for key, v in decision.purposes.items()
            ],
            "services": [
                {
                    "key": key,
                    "title": catalogue.services[key].name,
                    "purposes": list(catalogue.services[key].purposes),
                    "granted": v.granted,
                    "reason": v.reason,
                }
                for key, v in decision.services.items()
                if catalogue.services[key].disclosed
            ],
        }

    def _cookies(self, request: Request) -> list[dict[str, str]]:
        """Names only: a panel that shows values ends up in a screenshot."""
        find = self.guarded.site.catalogue.service_for_cookie
        return [
            {"name": name, "service": owner.name if (owner := find(name)) else ""} for name in sorted(request.cookies)
        ]

    def _third_parties(self) -> dict[str, Any]:
        if self.standin is None:
            return {"connected": False, "total": 0, "requests": []}
        requests = [received.as_dict() for received in self.standin.newest()]
        return {"connected": True, "total": self.standin.total, "requests": requests}

    def _rows(self, receipt: str) -> dict[str, Any]:
        guarded = self.guarded
        rows: dict[str, Any] = {"error": "", "counters": [], "events": [], "ledger": []}
        try:
            guarded.recorder.flush(timeout=2.0)
            store = guarded.recorder.store
            rows["counters"] = [_plain(row) for row in store.counts(limit=_COUNTERS)]
            if receipt:
                rows["events"] = [_plain(row) for row in store.events(receipt=receipt, limit=_ROWS)]
                rows["ledger"] = [_plain(row) for row in guarded.site.ledger.entries(receipt)]
        except (StoreError, LedgerError) as error:
            # A store that is down is a fact that QA wants to see, not a reason to show nothing.
            rows["error"] = str(error)
        return rows


def _page(seen: Seen) -> dict[str, Any]:
    return {
        "path": seen.path,
        "status": seen.status,
        "at": seen.at.isoformat(timespec="seconds"),
        "withheld": [{"service": w.service, "tag": w.tag, "host": w.host} for w in seen.consent.withheld],
        "dropped_cookies": list(seen.consent.dropped_cookies),
    }


def _plain(row: Any) -> Any:
    """A row as JSON knows it: no bytes, no times, no sets."""
    if is_dataclass(row) and not isinstance(row, type):
        row = asdict(row)
    if isinstance(row, Mapping):
        return {str(key): _plain(value) for key, value in row.items()}
    if isinstance(row, datetime):
        return row.isoformat()
    if isinstance(row, (list, tuple, set, frozenset)):
        return [_plain(value) for value in row]
    if isinstance(row, bytes):
        return row.hex()
    return row if row is None or isinstance(row, (str, int, float, bool)) else str(row)


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for people: times written out, lists as words."""
    shown = dict(row)
    for key, value in row.items():
        if key in _TIMES and isinstance(value, (int, float)):
            shown[key] = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
        elif isinstance(value, list):
            shown[key] = ", ".join(map(str, value))
    return shown


class SignalSwitch:
    """Plays a browser with Global Privacy Control while a cookie asks for it. Stands outside consentmw.

    Chromium has no switch for the signal; a header that the browser itself sent is left alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the header when the cookie is there, and say that the switch exists."""
        if scope["type"] == "http":
            headers = scope["headers"]
            cookies = b"; ".join(value for name, value in headers if name == b"cookie").split(b"; ")
            if f"{_SIGNAL}=1".encode() in cookies and not any(name == b"sec-gpc" for name, _ in headers):
                headers = [*headers, (b"sec-gpc", b"1")]
            scope = {**scope, "headers": headers, "demo.signal_switch": True}
        await self.app(scope, receive, send)


async def panel(request: Request) -> Response:
    """The panel as a page."""
    facts = await request.app.state.panel.facts(request)
    standin = request.app.state.panel.standin
    consent = request.scope["consent"]
    facts["rows"] = {
        kind: [_readable(row) for row in rows] if isinstance(rows, list) else rows
        for kind, rows in facts["rows"].items()
    }
    links = {name: consent.url(page) for name, page in (("notice", ""), ("choices", "choices"), ("locale", "locale"))}
    response = render(
        request,
        "qa.html",
        facts=facts,
        links=links,
        port=(request.url.port or 80) + 1,
        address=str(request.base_url),
        standin=standin is not None,
        switch=request.scope.get("demo.signal_switch", False),
        switched=request.cookies.get(_SIGNAL) == "1",
    )
    response.headers["cache-control"] = "no-store"
    return response


async def panel_json(request: Request) -> Response:
    """The same facts for programs."""
    facts = await request.app.state.panel.facts(request)
    return JSONResponse(facts, headers={"cache-control": "no-store"})


def _back(request: Request, name: str) -> Response:
    return RedirectResponse(url(request, name), status_code=303)


async def clear(request: Request) -> Response:
    """Empty the stand-in's list."""
    standin = request.app.state.panel.standin
    if standin is not None:
        standin.clear()
    return _back(request, "panel")


async def new_visitor(request: Request) -> Response:
    """Forget this browser: every cookie it sent goes, and what scripts stored in it."""
    request.app.state.panel.memory.forget(request.scope["demo.visit"])
    request.session.clear()
    response = _back(request, "home")
    for name in request.cookies:
        response.delete_cookie(name, secure=request.url.scheme == "https")
    response.headers["clear-site-data"] = '"cookies", "storage"'
    return response


async def signal(request: Request) -> Response:
    """Turn the played signal on or off."""
    response = _back(request, "panel")
    if request.cookies.get(_SIGNAL) == "1":
        response.delete_cookie(_SIGNAL)
    else:
        response.set_cookie(_SIGNAL, "1", httponly=True, samesite="lax")
    return response


ROUTES: Final = [
    Route("/qa", panel),
    Route("/qa.json", panel_json),
    Route("/qa/clear", clear, methods=["POST"]),
    Route("/qa/new-visitor", new_visitor, methods=["POST"]),
    Route("/qa/signal", signal, methods=["POST"]),
]
