"""Signed notes of how far the ledger was: kept elsewhere, they find a ledger that was rewritten as a whole.

A line is ``number:hash:time:signature``: the row that was last then, its hash, when that was (UTC, ISO 8601
in its short form) and an HMAC by the site's secret key. Who has the ledger but not the key can make no line;
who takes lines away from the end of the file takes away what only they prove, and no more.

Refuses to know what is wrong with a ledger: chain.py compares.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from itsdangerous import BadSignature, Signer

from .errors import LedgerError

__all__ = ["Checkpoint", "Checkpoints", "noted"]

_LINE: Final = re.compile(
    r"([1-9][0-9]{0,17}):([0-9a-f]{64}):([0-9]{8}T[0-9]{6}Z):([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"
)
_TIME: Final = "%Y%m%dT%H%M%SZ"
#: bytes of a longer line than any of ours
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One line, read and found to be ours."""

    number: int
    hash: str
    at: datetime


class Checkpoints:
    """Writes and reads lines. All keys verify, the newest (the last) signs."""

    def __init__(self, keys: Sequence[str]) -> None:
        # Its own salt, so that no cookie or token of ours can be taken for a checkpoint.
        salt = "consentmw.checkpoint"
        self._signer = Signer(list(keys), salt=salt, sep=":", digest_method=sha256, key_derivation="hmac")

    def line(self, anchor: str, at: datetime) -> str:
        """The line for an anchor, as :meth:`Ledger.anchor` gave it. Raises LedgerError when the ledger is empty."""
        number, _, digest = anchor.partition(":")
        line = self._signer.sign(f"{number}:{digest}:{at.astimezone(UTC).strftime(_TIME)}").decode("ascii")
        if not _LINE.fullmatch(line):
            raise LedgerError("there is nothing to sign: the ledger has no rows")
        return line

    def read(self, line: str) -> Checkpoint:
        """What a line says. Raises LedgerError when it is none, or when none of the keys made it."""
        match = _LINE.fullmatch(line)
        if match is None:
            raise LedgerError("not a checkpoint: it looks like number:hash:time:signature")
        try:
            self._signer.unsign(line)
        except BadSignature as error:
            raise LedgerError("its signature is not ours: it was forged, or its key is no longer in use") from error
        try:
            at = datetime.strptime(match[3], _TIME).replace(tzinfo=UTC)
        except ValueError as error:
            raise LedgerError("not a checkpoint: there is no such time") from error
        return Checkpoint(int(match[1]), match[2], at)

    def load(self, file: Path) -> list[Checkpoint]:
        """Every checkpoint in a file; empty lines are left out. Raises LedgerError with the number of a bad line."""
        found: list[Checkpoint] = []
        try:
            with file.open("rb") as opened:
                for number, line in _lines(opened):
                    try:
                        found.append(self.read(line))
                    except LedgerError as error:
                        raise LedgerError(f"{file.name}, line {number}: {error}") from error
        except OSError as error:
            raise LedgerError(f"{file.name} can't be read: {error.strerror}") from error
        if not found:
            raise LedgerError(f"{file.name} holds no checkpoint")
        return found

    def add(self, file: Path, line: str) -> None:
        """Append a line to a file, durably; makes the file, for its owner alone. Raises LedgerError."""
        try:
            with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as opened:
                # A line that a power failure cut short stays a line of its own.
                size = opened.seek(0, os.SEEK_END)
                opened.seek(max(size - 1, 0))
                broken = opened.read(1) not in (b"", b"\n")
                opened.write(b"\n" * broken + line.encode("ascii") + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
        except OSError as error:
            raise LedgerError(f"{file.name} can't be written: {error.strerror}") from error


def noted(checkpoints: Sequence[Checkpoint]) -> dict[int, set[str]]:
    """The hashes of rows by their numbers, for :meth:`Ledger.verify`; two for one row can't both be true."""
    found: dict[int, set[str]] = {}
    for one in checkpoints:
        found.setdefault(one.number, set()).add(one.hash)
    return found


def _lines(opened: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers; of a longer one than any of ours only the beginning."""
    number = 0
    while raw := opened.readline(_LONGEST):
        number += 1
        if text := raw.decode("ascii", "replace").strip():
            yield number, text
