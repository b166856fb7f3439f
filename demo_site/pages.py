"""The utility's pages: what a customer reads, fills in and pays.

Knows routes and forms, and reports what only the server sees: a bill that was paid, an outage.
Refuses to know consent; the vendors' snippets stand in the templates, and two careless headers
stand here, as they do on many sites.
"""

from __future__ import annotations

import re
import secrets
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from . import content
from .forms import fields as read
from .view import render, url

__all__ = ["ROUTES", "broken", "missing"]

_ACCOUNT: Final = re.compile(r"[0-9]{10}")
#: where signing in may lead; names, so that no address from outside is ever followed
_BEHIND_LOGIN: Final = ("bill", "usage", "sharing")
_MARK: Final = Path(__file__).parent / "static" / "mark.svg"


def _see(request: Request, name: str, **params: str) -> Response:
    return RedirectResponse(url(request, name, **params), status_code=303)


async def home(request: Request) -> Response:
    """The first page."""
    outages = content.FACTS["outages"]
    return render(
        request,
        "home.html",
        off=sum(row["customers"] for row in outages),
        outages=outages,
        stories=content.FACTS["stories"],
    )


async def outages(request: Request) -> Response:
    """The map, the list, and a form to report an outage."""
    rows = content.FACTS["outages"]
    if request.method == "POST":
        await read(request)
        request.scope["consent"].measure("outage_reported")
        request.scope["consent"].goal("outage reported")
        return _see(request, "outage_reported")
    return render(
        request,
        "outages.html",
        outages=rows,
        markers=content.markers(),
        towns=content.towns(),
        outlines=content.outlines(),
        river=content.river(),
    )


async def outage_reported(request: Request) -> Response:
    """Thanks for a report."""
    return render(request, "outage_reported.html")


async def login(request: Request) -> Response:
    """Sign in with any ten digits and any password; then on to the page that asked for it."""
    then = request.query_params.get("then", "bill")
    then = then if then in _BEHIND_LOGIN else "bill"
    consent = request.scope["consent"]
    shown = {"then": then, "notice": consent.link_notice(), "choices": consent.url("choices")}
    if request.method == "GET":
        return render(request, "login.html", wrong=False, **shown)
    fields = await read(request)
    number = re.sub(r"[\s-]", "", fields.get("account", ""))
    if not _ACCOUNT.fullmatch(number) or len(fields.get("password", "")) < 4:
        return render(request, "login.html", status=422, wrong=True, **shown)
    request.session["account"] = number
    await consent.sign_in(number, minor=number in content.FACTS["minors"])
    return _see(request, then, account=number) if then == "bill" else _see(request, then)


async def logout(request: Request) -> Response:
    """Sign out."""
    request.session.clear()
    await request.scope["consent"].sign_out()
    return _see(request, "home")


async def pay(request: Request) -> Response:
    """The short address of the bill, for letters and links."""
    account = request.session.get("account")
    if not account:
        return RedirectResponse(url(request, "login") + "?then=bill", status_code=303)
    return _see(request, "bill", account=account)


async def bill(request: Request) -> Response:
    """A customer's bill and the form that pays it; nobody sees an account they are not signed in to."""
    account = request.session.get("account")
    if not account:
        return RedirectResponse(url(request, "login") + "?then=bill", status_code=303)
    if account != request.path_params["account"]:
        raise HTTPException(404)
    if request.method == "GET":
        return render(request, "bill.html", bill=content.FACTS["bill"], wrong=False)
    amount = _dollars((await read(request)).get("amount", ""))
    if amount is None:
        return render(request, "bill.html", status=422, bill=content.FACTS["bill"], wrong=True)
    request.scope["consent"].measure("bill_paid", {"value": float(amount), "currency": "USD"})
    request.scope["consent"].goal("bill paid", float(amount))
    return _see(request, "paid", account=account)


async def paid(request: Request) -> Response:
    """Thanks for a payment."""
    if request.session.get("account") != request.path_params["account"]:
        raise HTTPException(404)
    return render(request, "paid.html", number=f"PLE-{secrets.randbelow(10**8):08d}")


def _dollars(text: str) -> Decimal | None:
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 1 <= amount <= 5000 else None


async def service(request: Request) -> Response:
    """Start, stop or transfer service."""
    if request.method == "GET":
        return render(request, "service.html", wrong=False)
    fields = await read(request)
    try:
        date.fromisoformat(fields.get("day", ""))
    except ValueError:
        return render(request, "service.html", status=422, wrong=True)
    if not fields.get("address") or "@" not in fields.get("mail", ""):
        return render(request, "service.html", status=422, wrong=True)
    return _see(request, "service_done")


async def service_done(request: Request) -> Response:
    """Thanks for a request; the page on which the vendors count a conversion."""
    return render(request, "service_done.html", number=f"S-{secrets.randbelow(10**6):06d}")


async def usage(request: Request) -> Response:
    """A year of gas or electricity, month by month; behind the sign-in."""
    if not request.session.get("account"):
        return RedirectResponse(url(request, "login") + "?then=usage", status_code=303)
    fuel = "gas" if request.query_params.get("fuel") == "gas" else "electric"
    words = content.texts(request.scope["consent"].language)
    return render(
        request, "usage.html", fuel=fuel, chart=content.chart(content.FACTS["usage"][fuel], words["usage"]["months"])
    )


async def news(request: Request) -> Response:
    """The list of stories."""
    response = render(request, "news.html", stories=content.FACTS["stories"])
    _careless(response)
    return response


async def story(request: Request) -> Response:
    """One story, two of them with a video."""
    found = next((s for s in content.FACTS["stories"] if s["key"] == request.path_params["key"]), None)
    if found is None:
        raise HTTPException(404)
    response = render(request, "story.html", story=found)
    _careless(response)
    return response


def _careless(response: Response) -> None:
    """What somebody once added for speed and for server-side measurement, and nobody looked at again."""
    response.headers.append("link", "<https://www.youtube.com>; rel=preconnect")
    response.headers.append("link", "<https://www.googletagmanager.com/gtag/js?id=G-DEMO12345>; rel=preload; as=script")
    number = secrets.randbelow(2**31)
    response.set_cookie("_ga_SERVER01", f"GS2.1.s{number}", max_age=63_072_000, httponly=True, samesite="lax")


async def newsletter(request: Request) -> Response:
    """A sign-up form as a mailing company gives it to paste in: it sends what is typed to that company."""
    return render(request, "newsletter.html")


async def contact(request: Request) -> Response:
    """Telephone numbers, offices and a form."""
    if request.method == "GET":
        return render(request, "contact.html", state="")
    fields = await read(request)
    if "@" not in fields.get("mail", "") or not fields.get("message"):
        return render(request, "contact.html", status=422, state="wrong")
    return render(request, "contact.html", state="done")


async def email(request: Request) -> Response:
    """The newsletter as a mail program shows it, with signed links and a pixel."""
    consent = request.scope["consent"]
    root = f"{request.url.scheme}://{request.url.netloc}"
    campaign, recipient = "spring-2027", "reader-0417"
    targets = {
        "outages": root + url(request, "outages") + "?utm_source=newsletter&utm_medium=email&utm_campaign=spring-2027",
        "bill": root + url(request, "pay") + "?utm_source=newsletter&utm_medium=email&utm_campaign=spring-2027",
        "rebate": root + url(request, "story", key="rebates") + "?utm_source=newsletter&utm_medium=email",
        "partner": "https://heatpumps.example/guide",
    }
    links = {
        name: root + consent.click_through(target, campaign=campaign, link=name, recipient=recipient)
        for name, target in targets.items()
    }
    return render(
        request,
        "email.html",
        targets=targets,
        links=links,
        pixel=root + consent.pixel(campaign=campaign, recipient=recipient),
        choices=root + consent.mail_choice(campaign, recipient),
    )


async def icon(_: Request) -> Response:
    """The mark, for pages that name no icon: those of consentmw, and files opened by themselves."""
    return FileResponse(_MARK)


async def missing(request: Request, _: Exception) -> Response:
    """A page that does not exist."""
    return render(request, "message.html", status=404, kind="missing")


async def broken(request: Request, _: Exception) -> Response:
    """An error of ours."""
    return render(request, "message.html", status=500, kind="error")


ROUTES: Final = [
    Route("/", home),
    Route("/outages", outages, methods=["GET", "POST"]),
    Route("/outages/reported", outage_reported),
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", logout, methods=["POST"]),
    Route("/pay", pay),
    Route("/account/{account}/bill", bill, methods=["GET", "POST"]),
    Route("/account/{account}/paid", paid),
    Route("/service", service, methods=["GET", "POST"]),
    Route("/service/done", service_done),
    Route("/usage", usage),
    Route("/news", news),
    Route("/news/{key}", story),
    Route("/contact", contact, methods=["GET", "POST"]),
    Route("/newsletter", newsletter),
    Route("/email", email),
    Route("/favicon.ico", icon),
]
