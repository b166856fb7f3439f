"""A server on this machine that plays Google's Measurement Protocol: it counts what arrives, and fails in every way."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Google", "Hit", "until"]


@dataclass(frozen=True)
class Hit:
    """One request, whole."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> list[str]:
        """Names of its events."""
        return [event["name"] for event in self.json["events"]]


class Google:
    """Answers each request as ``how`` says: a status, ``hang``, ``reset``, ``close`` or ``half`` an answer."""

    def __init__(self, how: int | str = 204, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.how = how
        #: requests that arrived with their whole body
        self.hits: list[Hit] = []
        #: connections that were opened, and bytes that came over them, whatever became of them
        self.connections = 0
        self.bytes = b""
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/mp/collect"
        self._tls = tls
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        # Closing alone leaves accept() asleep on some systems.
        for one in (self.listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def names(self) -> list[str]:
        """Names of all events that arrived, in order."""
        return [name for hit in self.hits for name in hit.names]

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(one)
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        try:
            if self._tls is not None:
                one = self._tls.wrap_socket(one, server_side=True)
                self._open.append(one)
            while (hit := self._read(one)) is not None:
                self.hits.append(hit)
                if not self._answer(one):
                    return
        except OSError:
            return
        finally:
            one.close()

    def _read(self, one: socket.socket) -> Hit | None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := one.recv(65_536)):
                return None
            data += more
            self.bytes += more
        head, _, body = data.partition(b"\r\n\r\n")
        line, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            if not (more := one.recv(65_536)):
                return None
            body += more
            self.bytes += more
        return Hit(line, headers, body)

    def _answer(self, one: socket.socket) -> bool:
        """Answer once; whether the connection stays."""
        how = self.how
        if how == "hang":
            self._over.wait(20)
        elif how == "half":
            one.sendall(b"HTTP/1.1 204 No Con")
        elif how == "reset":
            one.sendall(b"HTTP/1.1 2")
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how != "close":
            one.sendall(f"HTTP/1.1 {how} Answer\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".encode())
            return True
        return False


def until(true: Callable[[], object], patience: float = 20.0) -> None:
    """Wait until something is true. Raises AssertionError when it isn't in time."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
