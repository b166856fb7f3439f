"""The rows of data/smuggling.toml as answers of an application: what a hostile or careless page sends.

Refuses to judge them: that is for html5lib and for a real browser.
"""

from __future__ import annotations

import gzip
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from .asgi import pairs

__all__ = ["ROWS", "Row", "serve"]

_FILE: Final = Path(__file__).parent / "data" / "smuggling.toml"


@dataclass(frozen=True)
class Row:
    """One way to smuggle a third party's tag past a rewriter; the fields are those of the file."""

    id: str
    tries: str
    origin: str
    html: str = ""
    type: str = "text/html; charset=utf-8"
    encoding: str = "utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    coding: str = ""
    javascript: bool = True
    click: str = ""
    top: bool = False
    chunk: int = 0
    status: int = 200
    old: str = ""
    policy_only: bool = False
    gap: str = ""
    fill: str = ""
    times: int = 0

    @property
    def text(self) -> str:
        """The body before it is encoded."""
        return self.html.replace("~~~", self.fill * self.times)

    @property
    def counts(self) -> bool:
        """Whether the Chromium of today loads it and a rewriter can see it."""
        return not (self.old or self.policy_only or self.gap)

    def answer(self) -> tuple[Message, ...]:
        """The messages of an application that sends it."""
        body = _packed(self.text.encode(self.encoding), self.coding)
        given = list(self.headers)
        if self.coding and not any(name.lower() == "content-encoding" for name, _ in given):
            given.append(("content-encoding", _NAMES.get(self.coding, self.coding)))
        if self.type:
            given.insert(0, ("content-type", self.type))
        size = self.chunk or max(len(body), 1)
        parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        return (
            {"type": "http.response.start", "status": self.status, "headers": pairs(given)},
            *({"type": "http.response.body", "body": part, "more_body": True} for part in parts),
            {"type": "http.response.body", "body": b"", "more_body": False},
        )


#: codings of the file that the header names otherwise
_NAMES: Final = {"raw-deflate": "deflate", "members": "gzip", "twice": "gzip, gzip"}


def _packed(body: bytes, coding: str) -> bytes:
    match coding:
        case "gzip":
            return gzip.compress(body)
        case "twice":
            return gzip.compress(gzip.compress(body))
        case "members":
            return gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])
        case "deflate":
            return zlib.compress(body)
        case "raw-deflate":
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            return packer.compress(body) + packer.flush()
        case _:
            return body


def _row(fields: dict[str, Any]) -> Row:
    headers = tuple((name, value) for name, value in fields.pop("headers", ()))
    return Row(**fields, headers=headers)


def _read() -> tuple[Row, ...]:
    with _FILE.open("rb") as file:
        return tuple(_row(fields) for fields in tomllib.load(file)["row"])


ROWS: Final = _read()
_BY_ID: Final = {row.id: row for row in ROWS}


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application with each row at ``/row/<id>``, and nothing anywhere else."""
    if scope["type"] != "http":
        return
    row = _BY_ID.get(scope["path"].rpartition("/row/")[2])
    if row is None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b""})
        return
    for message in row.answer():
        await send(message)
