"""One request to Google, and what became of it: delivered, answered with an error, never begun, or nobody knows.

The protocol can't recognise a repeated request, so the one question that matters is whether any
event may have left. It is answered by the body itself: before its first byte was asked for, nothing
has. Refuses to know what is sent, and whether it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ..errors import RelayError, Unreachable

if TYPE_CHECKING:
    import httpx

__all__ = ["Delivery", "Recalled"]


class Recalled(Exception):
    """Raised when the events were withdrawn before the first of their bytes left."""


class Delivery:
    """A connection to one endpoint. For one thread; httpx is imported with the first request."""

    def __init__(self, endpoint: str, measurement_id: str, secret: str, timeout: float) -> None:
        """``endpoint``: address without a query; ``timeout``: seconds for each of connecting, writing and reading."""
        self._url = f"{endpoint}?{urlencode({'measurement_id': measurement_id, 'api_secret': secret})}"
        self._timeout = timeout
        self._transport: httpx.HTTPTransport | None = None

    def post(self, body: bytes, recalled: Callable[[], bool]) -> int:
        """Send this once and return the status of the answer. ``recalled`` is asked right before the body leaves.

        Raises Recalled, Unreachable when nothing was sent, RelayError when nobody can say.
        """
        import httpx

        begun = False

        def content() -> Iterator[bytes]:
            nonlocal begun
            if recalled():
                raise Recalled
            begun = True
            yield body

        headers = {"content-type": "application/json", "content-length": str(len(body)), "user-agent": "consentmw"}
        patience = httpx.Timeout(self._timeout).as_dict()
        request = httpx.Request("POST", self._url, headers=headers, content=content(), extensions={"timeout": patience})
        try:
            if self._transport is None:
                # Not a Client: that logs the whole address, and the secret stands in it. It also follows nothing.
                self._transport = httpx.HTTPTransport(limits=httpx.Limits(max_connections=1))
            response = self._transport.handle_request(request)
            try:
                if response.headers.get("content-length") == "0" or response.status_code == 204:
                    # As Google answers. Read to its end, the connection can be used again; nothing else is worth it.
                    response.read()
                return response.status_code
            finally:
                response.close()
        except Recalled:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise (RelayError(text) if begun else Unreachable(text)) from error

    def close(self) -> None:
        """Let go of the connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
