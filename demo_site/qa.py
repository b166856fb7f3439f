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

from consentmw import ConsentMiddleware, LedgerError, StoreError

from . import states
from .standin import StandIn
from .trail import Memory, Seen
from .view import render, url

__all__ = ["ROUTES", "Panel"]

#: events that the panel shows
_ROWS: Final = 30
#: counters that it shows; they come sorted by kind, so a short list would hide the last kinds
_COUNTERS: Final = 500
#: the fields of rows that hold seconds since 1970
_TIMES: Final = ("hour", "at", "expires")


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
            "signed_in": consent.signed_in,
            "pages": [_page(seen) for seen in self.memory.pages(request.scope["demo.visit"])],
            "cookies": self._cookies(request),
            "third_parties": self._third_parties(),
            "rows": await run_in_threadpool(self._rows, consent.receipt),
        }

    def _decision(self, decision: Any) -> dict[str, Any]:
        catalogue = self.guarded.site.catalogue
        plain = ("tier", "regime", "region", "region_source", "language", "gpc", "minor", "notice", "receipt", "ask")
        return {
            **{name: getattr(decision, name) for name in plain},
            "signals": list(decision.signals),
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
        "withheld": [
            {"service": w.service, "why": _why(seen.consent, w.service), "tag": w.tag, "host": w.host}
            for w in seen.consent.withheld
        ],
        "dropped_cookies": list(seen.consent.dropped_cookies),
    }


def _why(consent: Any, service: str) -> str:
    """The reason for withholding it, where one was decided."""
    if not service:
        return "too long or too deep to judge"
    return "nobody named this host" if service == "unknown" else consent.why(service)


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


def _places(site: Any) -> list[dict[str, str]]:
    """The regions that can be played, each with the regime that applies there today."""
    now = site.clock()
    return [
        {"code": code, "name": name, "regime": site.regions.regime(code, now).key}
        for code, name in states.PLACES.items()
    ]


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
        played=states.played(request),
        elsewhere=_places(request.app.state.panel.guarded.site),
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


ROUTES: Final = [
    Route("/qa", panel),
    Route("/qa.json", panel_json),
    Route("/qa/clear", clear, methods=["POST"]),
    Route("/qa/new-visitor", new_visitor, methods=["POST"]),
    *states.ROUTES,
]
