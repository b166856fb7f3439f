"""Energy data sharing: what a customer authorizes, sees and revokes, and the desk at which data is handed over.

Knows two made-up recipients and the words of an authorization, and asks consentmw's book of authorizations for
everything that counts: nothing here decides whether data may go. Refuses to know a meter reading.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from consentmw import LedgerError
from consentmw.authorizations import Authorization, Authorizations, read_scope
from consentmw.errors import AuthorizationError

from . import content
from .forms import fields
from .view import render, url

__all__ = ["ROUTES"]

_ACCOUNT: Final = re.compile(r"[0-9]{10}")
#: what stands for the employee in front of the desk
_EMPLOYEE: Final = "service desk 12"
#: months after its end by which a recipient has to have destroyed what it got
_DESTROYED: Final = 3

_T = TypeVar("_T")


def _recipients() -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = content.FACTS["recipients"]
    return found


def _book(request: Request) -> Authorizations:
    book: Authorizations = request.app.state.book
    return book


async def _asked(call: Callable[..., _T], *arguments: object, **named: object) -> _T:
    """The book's answer, off the event loop: it waits for a database. Raises HTTPException when that is down."""
    try:
        return await run_in_threadpool(call, *arguments, **named)
    except LedgerError as error:
        raise HTTPException(503) from error


def _today() -> date:
    return datetime.now(UTC).date()


def _later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _draft(key: str, language: str, *, evidence: str, entered_by: str) -> Authorization:
    """What this recipient asks for, as the customer is shown it."""
    recipient = _recipients()[key]
    starts = _today()
    ends = _later(starts, recipient["months"])
    return Authorization(
        recipient=recipient["name"],
        scope=recipient["scope"],
        purpose=content.texts(language)["sharing"]["purposes"][key],
        starts=starts,
        ends=ends,
        history_months=recipient["history"],
        evidence=evidence,
        entered_by=entered_by,
        destroy_by=_later(ends, _DESTROYED),
    )


def _blocks(scope: str, words: Mapping[str, Any]) -> list[str]:
    """The function blocks of a Green Button scope in words; one without words by its number."""
    known: Mapping[str, str] = words["sharing"]["blocks"]
    return [known.get(number, f"FB {number}") for number in read_scope(scope)["FB"].split("_")]


def _shown(one: Authorization, words: Mapping[str, Any]) -> dict[str, Any]:
    today = _today()
    state = "revoked" if one.revoked else "active" if one.valid(today) else "ended"
    return {"is": one, "state": state, "blocks": _blocks(one.scope, words)}


# -- the customer's pages --------------------------------------------------------------------------
async def sharing(request: Request) -> Response:
    """What this customer authorized, what was handed over, and who else asks."""
    account = request.session.get("account")
    if not account:
        return RedirectResponse(url(request, "login") + "?then=sharing", status_code=303)
    book, words = _book(request), content.texts(request.scope["consent"].language)
    given = await _asked(book.of, account)
    handed = await _asked(book.disclosures, account)
    return render(
        request,
        "sharing.html",
        given=[_shown(one, words) for one in reversed(given)],
        handed=[{"is": one, "blocks": _blocks(one.scope, words)} for one in reversed(handed)],
        recipients=_recipients(),
        done=request.query_params.get("done", "") if request.query_params.get("done") in ("given", "ended") else "",
    )


async def authorize(request: Request) -> Response:
    """One recipient's request in the words of an authorization; a POST with the box ticked grants it."""
    account, key = request.session.get("account"), request.path_params["recipient"]
    if key not in _recipients():
        raise HTTPException(404)
    if not account:
        return RedirectResponse(url(request, "login") + "?then=sharing", status_code=303)
    consent = request.scope["consent"]
    draft = _draft(key, consent.language, evidence="online", entered_by="customer")
    given = await fields(request) if request.method == "POST" else {}
    if given.get("agree") == "yes":
        # The notice in force is part of what the customer was told.
        notice = consent.decision.notice
        await _asked(_book(request).grant, account, draft, language=consent.language, notice=notice)
        return RedirectResponse(url(request, "sharing") + "?done=given", status_code=303)
    return render(
        request,
        "authorize.html",
        status=422 if request.method == "POST" else 200,
        draft=draft,
        key=key,
        blocks=_blocks(draft.scope, content.texts(consent.language)),
        wrong=request.method == "POST",
    )


async def revoke(request: Request) -> Response:
    """End an authorization; only one of the customer's own."""
    account = request.session.get("account")
    if not account:
        return RedirectResponse(url(request, "login") + "?then=sharing", status_code=303)
    try:
        await _asked(_book(request).revoke, account, (await fields(request)).get("id", ""), by="customer")
    except AuthorizationError as error:
        raise HTTPException(404) from error
    return RedirectResponse(url(request, "sharing") + "?done=ended", status_code=303)


# -- the desk --------------------------------------------------------------------------------------
async def desk(request: Request) -> Response:
    """What staff does: hand data over, or enter what a customer gave on paper. A simulation without a sign-in."""
    given = dict(await fields(request)) if request.method == "POST" else {}
    account = re.sub(r"[\s-]", "", given.get("number", "") or request.session.get("account", ""))
    done, refused = "", ""
    if request.method == "POST":
        try:
            done = await _at_the_desk(request, account, given)
        except (AuthorizationError, ValueError) as error:
            refused = str(error)
    book = _book(request)
    known = bool(_ACCOUNT.fullmatch(account))
    words = content.texts("en")
    return render(
        request,
        "desk.html",
        status=422 if refused else 200,
        number=account if known else "",
        given=given,
        done=done,
        refused=refused,
        authorizations=[_shown(one, words) for one in await _asked(book.of, account)] if known else [],
        handed=(await _asked(book.disclosures, account))[::-1] if known else [],
        due=await _asked(book.due, _today()),
        recipients=_recipients(),
        today=_today(),
        since=_later(_today(), -1),
    )


async def _at_the_desk(request: Request, account: str, given: Mapping[str, str]) -> str:
    """Do what the form asks for and say what was done. Raises AuthorizationError, and ValueError for a bad form."""
    if not _ACCOUNT.fullmatch(account):
        raise ValueError("an account number has ten digits")
    if given.get("recipient") not in _recipients():
        raise ValueError("choose a recipient")
    key, book = given["recipient"], _book(request)
    if given.get("do") == "enter":
        evidence = given.get("evidence", "")
        draft = _draft(key, "en", evidence=f"paper form {evidence}" if evidence else "", entered_by=_EMPLOYEE)
        made = await _asked(book.grant, account, draft)
        return f"Entered: authorization {made.id} for {made.recipient}, until {made.ends}."
    recipient = _recipients()[key]["name"]
    try:
        first, last = date.fromisoformat(given.get("first", "")), date.fromisoformat(given.get("last", ""))
    except ValueError:
        raise ValueError("give the first and the last day of the usage") from None
    scope, id = f"FB={given.get('blocks', '')}", given.get("id", "")  # noqa: A001
    made_over = await _asked(book.disclose, account, id, recipient, scope, first, last)
    return f"Handed over to {recipient}, {made_over.first} to {made_over.last}; the record was made first."


ROUTES: Final = [
    Route("/sharing", sharing),
    Route("/sharing/end", revoke, methods=["POST"]),
    Route("/sharing/desk", desk, methods=["GET", "POST"]),
    Route("/sharing/with/{recipient}", authorize, methods=["GET", "POST"]),
]
