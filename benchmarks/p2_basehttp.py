"""P2: an empty Starlette ``BaseHTTPMiddleware`` against the whole of ours, around the same JSON endpoint.

The ratio is CPU a request of the application behind the empty one ÷ behind ours: how many times
more a site pays for a middleware that does nothing in that way. Both figures hold the endpoint
itself; the line before the last takes it off both, and so says what the layers alone cost.
"""

from __future__ import annotations

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

import visit
from load import TOTAL, Contender, compare, uvicorn


async def _nothing(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def json_behind_nothing() -> ASGIApp:
    """The JSON application behind a ``BaseHTTPMiddleware`` that does nothing."""
    return BaseHTTPMiddleware(visit.json_app(), dispatch=_nothing)


def main() -> None:
    requests = visit.requests("/api/readings")
    with visit.store() as (environment, file):
        with (
            uvicorn("visit:json_app") as bare,
            uvicorn("p2_basehttp:json_behind_nothing") as empty,
            uvicorn("visit:json_behind_middleware", environment) as ours,
        ):
            figures = compare(
                {
                    "bare": Contender(bare, requests),
                    "empty BaseHTTPMiddleware": Contender(empty, requests),
                    "ours": Contender(ours, requests),
                }
            )
        visit.check_recorded(file, TOTAL)
    base, nothing, everything = (figure.cpu for figure in figures.values())
    empty_layer, our_layer = nothing - base, everything - base
    print(f"the layers alone: {empty_layer / our_layer:.2f} ({empty_layer:.1f} against {our_layer:.1f} µs)")
    print(f"P2 {nothing / everything:.2f}")


if __name__ == "__main__":
    main()
