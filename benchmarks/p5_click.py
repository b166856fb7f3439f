"""P5: a signed click-through, recorded, against a bare ASGI redirect on the same server; CPU a request, bare ÷ ours.

Ours takes a campaign's signed link from visitors who accepted: token, choice, decision, the redirect
and a full row in SQLite.
"""

from __future__ import annotations

from contextlib import ExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

import visit
from consentmw import ConsentMiddleware
from consentmw.tokens import Tokens
from load import TOTAL, Contender, compare, uvicorn


def bare() -> ASGIApp:
    """The least that an ASGI application can do to send a visitor on."""
    start = {
        "type": "http.response.start",
        "status": 302,
        "headers": [(b"location", b"https://www.example.com/pay"), (b"content-length", b"0")],
    }
    body = {"type": "http.response.body", "body": b""}

    async def redirect(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(start)
            await send(body)

    return redirect


def ours() -> ASGIApp:
    """The whole middleware; the application behind it is never reached."""
    return ConsentMiddleware(visit.json_app(), visit.settings())


def main() -> None:
    tokens = Tokens(visit.KEYS)
    links = [f"/privacy/go/{tokens.click('https://www.example.com/pay', f'bill-{n}', 'top')}" for n in range(12)]
    accepted = visit.requests(links)
    with ExitStack() as stack:
        environment, file = stack.enter_context(visit.store())
        with ExitStack() as servers:
            figures = compare(
                {
                    "bare ASGI 302": Contender(servers.enter_context(uvicorn("p5_click:bare")), accepted, 302),
                    "signed, full row": Contender(
                        servers.enter_context(uvicorn("p5_click:ours", environment)), accepted, 302
                    ),
                }
            )
        visit.check_recorded(file, TOTAL)
    print(f"P5 {figures['bare ASGI 302'].cpu / figures['signed, full row'].cpu:.2f}")


if __name__ == "__main__":
    main()
