"""Every error that consentmw raises, in one tree.

ConsentError
├── SettingsError        a setting is missing, wrong or unlawful; raised at start only
├── CatalogueError       a service or purpose in the catalogue contradicts itself; raised at start only
├── BadToken             a token from a visitor cannot be used
│   ├── ForgedToken      its signature is not ours, or it was made for another purpose
│   └── ExpiredToken     it was ours and its time is over
├── AuthorizationError   no valid authorization covers a hand-over of usage data, or one is given wrongly
├── GppError             a Global Privacy Platform string can't be read, or a section can't be written
├── RecordError          something could not be recorded
│   ├── LedgerError      the proof of a choice could not be made durable
│   ├── StoreError       the event store did not take a batch
│   └── SpoolFull        as many batches wait for the store as may wait
└── RelayError           events may or may not have reached Google
    └── Unreachable      nothing was sent

Knows what went wrong and what a person may be told about it; refuses to know HTTP.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AuthorizationError",
    "BadToken",
    "CatalogueError",
    "ConsentError",
    "ExpiredToken",
    "ForgedToken",
    "GppError",
    "LedgerError",
    "RecordError",
    "RelayError",
    "SettingsError",
    "SpoolFull",
    "StoreError",
    "Unreachable",
]


class ConsentError(Exception):
    """The root: catch this to catch everything that consentmw raises on purpose."""


class SettingsError(ConsentError):
    """Raised at start when a setting cannot be used; the process should not go on."""

    def __init__(self, key: str, expected: str, path: Path | None = None) -> None:
        #: the setting, dotted as in the file: ``purposes.analytics.kind``
        self.key = key
        #: what would have been accepted, for the person who edits the file
        self.expected = expected
        #: the file the setting came from, if it came from one
        self.path = path
        where = f"{path}: " if path else ""
        super().__init__(f"{where}{key}: {expected}")


class CatalogueError(SettingsError):
    """Raised at start when a service names an unknown purpose, has no host, or repeats a key."""


class BadToken(ConsentError):
    """Raised when a token that a visitor sent cannot be used."""


class ForgedToken(BadToken):
    """Raised when a token was not signed by us, or was signed for another purpose."""


class ExpiredToken(BadToken):
    """Raised when a token was ours and its time is over."""


class AuthorizationError(ConsentError):
    """Raised when nothing a customer allowed covers a hand-over, or when an authorization can't be one."""


class GppError(ConsentError):
    """Raised when a Global Privacy Platform string is malformed, or says what a section has no way to say."""

    def __init__(self, where: str, expected: str) -> None:
        #: the part that is wrong: ``header``, ``usia`` or ``usia.SaleOptOut``
        self.where = where
        #: what would have been accepted
        self.expected = expected
        super().__init__(f"{where}: {expected}")


class RecordError(ConsentError):
    """Raised when something could not be recorded; the page is served all the same."""


class LedgerError(RecordError):
    """Raised when the proof of a choice could not be made durable; no choice may be granted then."""


class StoreError(RecordError):
    """Raised when the event store did not take a batch; the recorder keeps it and tries again."""


class SpoolFull(RecordError):
    """Raised when the spool holds as many bytes as it may; what comes then is dropped and counted."""


class RelayError(ConsentError):
    """Raised when a request to Google broke off after its events had begun to leave: they must not be sent again."""


class Unreachable(RelayError):
    """Raised when a request to Google broke off before any event left; it may be tried again."""
