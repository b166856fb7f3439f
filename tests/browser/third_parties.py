"""Every third party at once: a socket that notes each connection and each request, and answers with nothing.

Unlike the demo's stand-in it also sees what never becomes a request: a browser that only connects says in its TLS
greeting to whom. Plain and TLS come in on the same port, whatever port the address named.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread

from demo_site.certificate import ensure

from .demo import PATIENCE

__all__ = ["ThirdParties"]

_ANSWER = (
    b"HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\naccess-control-allow-headers: *\r\n"
    b"timing-allow-origin: *\r\n\r\n"
)
_LONGEST = 65_536


class ThirdParties:
    """The socket; ``port`` is where every name but the site's has to lead."""

    def __init__(self, folder: Path) -> None:
        self._lock = Lock()
        self._seen: list[str] = []
        self._last = time.monotonic()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*ensure(folder, ["third-party.example"]))
        self._context.sni_callback = self._greeted
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        Thread(target=self._listen, daemon=True).start()

    def seen(self) -> list[str]:
        """What came since the last :meth:`clear`: host names of connections, ``host/path`` of requests."""
        with self._lock:
            return list(self._seen)

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()
            self._last = time.monotonic()

    def quiet(self, seconds: float) -> None:
        """Wait until nobody came for so long. Raises AssertionError when somebody always does."""
        end = time.monotonic() + PATIENCE
        while (left := seconds - (time.monotonic() - self._last)) > 0:
            assert time.monotonic() < end, "third parties are still asked"
            time.sleep(left)

    def stop(self) -> None:
        with suppress(OSError):
            # Closing alone would leave accept() waiting.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _note(self, what: str) -> None:
        with self._lock:
            self._seen.append(what)
            self._last = time.monotonic()

    def _greeted(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self._note(name or "(no name)")

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                Thread(target=self._serve, args=(self._socket.accept()[0],), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        # A browser that only connected, or gave up, is no error of ours.
        with suppress(OSError, ValueError), plain:
            plain.settimeout(PATIENCE)
            with self._secured(plain) as connection:
                waiting = b""
                while len(waiting) < _LONGEST and (more := connection.recv(_LONGEST)):
                    waiting += more
                    while b"\r\n\r\n" in waiting:
                        head, _, waiting = waiting.partition(b"\r\n\r\n")
                        self._answer(connection, head.decode("latin-1").split("\r\n"))

    def _answer(self, connection: socket.socket, lines: list[str]) -> None:
        # What a ping or a form sends after its head is read as a part of the next head, and names nobody.
        host = next((line[5:].strip() for line in lines if line.lower().startswith("host:")), "")
        words = lines[0].rsplit(" ", 2)
        if host and len(words) == 3:
            self._note(f"{host}{words[1]}")
            connection.sendall(_ANSWER)

    @contextmanager
    def _secured(self, plain: socket.socket) -> Iterator[socket.socket]:
        if plain.recv(1, socket.MSG_PEEK) != b"\x16":
            yield plain
            return
        with self._context.wrap_socket(plain, server_side=True) as secured:
            yield secured
