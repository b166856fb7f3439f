"""An application on a real server in a thread of this process, for as long as a test needs it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

__all__ = ["serving"]

#: seconds that a server may take to end what is under way
_PATIENCE = 20.0


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """``app`` on a free port of this machine; the value is its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(_PATIENCE)
