"""The registry of notices: every version that was ever in force, as the ledger's store keeps it.

The version in force is published once, with a row of the ledger that says what is different from the
one before, and before the first choice that names it. What was published is held in memory, so that
a page never waits for it. Refuses to know what a version says, and who reads it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from threading import Event, Lock, Thread
from typing import Final

from .errors import LedgerError
from .ledger import Ledger
from .versions import Version, changes, reworded

__all__ = ["Registry"]

logger = logging.getLogger("consentmw")

#: seconds between two attempts that nobody waits for
_PAUSE: Final = 30.0
#: seconds that another process gets to append the row of a version that it has just published
_TURN: Final = 2.0
#: characters of a row's detail that may list changes; the ledger takes 4,000
_MOST_WORDS: Final = 3_000


class Registry:
    """The versions of one site's notice. Threads may share one object, processes one ledger."""

    def __init__(self, version: Version, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        """``version``: the one in force."""
        self._ledger = ledger
        self._clock = clock
        self._lock = Lock()
        self._failures, self._failure = 0, ""
        self._published = Event()
        self._thread: Thread | None = None
        self._tried_at = -_PAUSE
        #: the version in force
        self.current = version
        #: every version known, oldest first; the one in force is last while it was not published
        self.versions: tuple[Version, ...] = (version,)
        #: whether what was published has been read
        self.loaded = False
        #: what can't be read of it: its content is not what was published
        self.problems: tuple[str, ...] = ()

    # -- reading, in memory --------------------------------------------------------------------

    def find(self, id: str) -> Version | None:  # noqa: A002
        """The version with this id."""
        return next((version for version in self.versions if version.id == id), None)

    def before(self, version: Version) -> Version | None:
        """The version that was published before this one."""
        place = self.versions.index(version)
        return self.versions[place - 1] if place else None

    def since(self, fingerprint: str) -> Version | None:
        """The last version under which this was asked about; None where no such version is known (yet)."""
        if not self.loaded:
            self.start()
        found = (version for version in reversed(self.versions) if version.fingerprint == fingerprint)
        return next(found, None)

    # -- with the store ------------------------------------------------------------------------

    def start(self) -> None:
        """Publish the version in force in a thread of its own, which nobody waits for."""
        now = time.monotonic()
        if self._published.is_set() or now - self._tried_at < _PAUSE:
            return
        self._tried_at = now
        self._thread = Thread(target=self._try, name="consentmw-notices", daemon=True)
        self._thread.start()

    def _try(self) -> None:
        try:
            self.publish()
        except LedgerError as error:
            logger.warning("the notice in force could not be published, and will be before the first choice: %s", error)
        except Exception:
            logger.exception("the notice in force could not be published")

    def publish(self) -> bool:
        """Publish the version in force, and wait until that is durable; whether it was new. Raises LedgerError.

        Costs nothing once it was done. Threads that wait for an attempt share its result.
        """
        if self._published.is_set():
            return False
        failures = self._failures
        with self._lock:
            if self._failures != failures:
                raise LedgerError(self._failure)
            if self._published.is_set():
                return False
            try:
                new = self._publish()
            except LedgerError as error:
                self._failures, self._failure = self._failures + 1, str(error)
                raise
            self._published.set()
            return new

    def _publish(self) -> bool:
        version = self.current
        content = version.snapshot.packed()
        new = self._ledger.publish(id=version.id, at=self._clock(), fingerprint=version.fingerprint, content=content)
        self.load()
        if new or not self._proven():
            self._prove(content)
        return new

    def load(self) -> None:
        """Read what was published. Raises LedgerError."""
        found: list[Version] = []
        problems: list[str] = []
        for row in self._ledger.published():
            try:
                found.append(Version.read(row.id, row.at, row.content))
            except (ValueError, TypeError, AttributeError, RecursionError):
                # A database takes other types, too, from whoever else writes into it.
                problems.append(f"notice {str(row.id)[:40]}: its content is not what was published")
        for problem in problems:
            logger.error(problem)
        # Of two versions of one second, the one in force came last.
        found.sort(key=lambda version: (version.at or datetime.max.replace(tzinfo=UTC), version.id == self.current.id))
        current = next((version for version in found if version.id == self.current.id), None)
        self.versions = (*found,) if current is not None else (*found, self.current)
        self.current = current or self.current
        self.problems = (*problems,)
        self.loaded = True

    def unproven(self) -> list[str]:
        """The published versions whose row of the ledger is missing or tells of another time. Raises LedgerError."""
        found = []
        for version in self.versions:
            if version.at is not None:
                said = (version.id, version.fingerprint, version.at.isoformat(timespec="seconds"))
                rows = self._ledger.entries(_receipt(version))
                if said not in [(row.notice, row.fingerprint, row.at) for row in rows]:
                    found.append(f"notice {version.id}: the ledger does not say that it was published then")
        return found

    def _proven(self) -> bool:
        """Whether the version's row is in the ledger, or comes: whoever has just published it appends it."""
        until = time.monotonic() + _TURN
        while not self._ledger.entries(_receipt(self.current)):
            if time.monotonic() >= until:
                # That process is gone. Should it only be slow, there are two rows that say the same.
                return False
            time.sleep(0.05)
        return True

    def _prove(self, content: str) -> None:
        version = self.current
        self._ledger.append(
            receipt=_receipt(version),
            at=version.at or self._clock(),
            event="notice",
            method="published",
            notice=version.id,
            shown=sha256(content.encode()).hexdigest(),
            fingerprint=version.fingerprint,
            detail=json.dumps(self._detail(version), separators=(",", ":")),
        )

    def _detail(self, version: Version) -> dict[str, object]:
        """What the row says beyond its fields: the date, the version before, and what is different, in English."""
        detail: dict[str, object] = {"updated": version.snapshot.updated.isoformat()}
        if (before := self.before(version)) is None:
            return detail
        found = changes(before.snapshot, version.snapshot)
        said: list[str] = []
        for change in found:
            # As they stand in JSON, where a letter may take six characters.
            if len(json.dumps([*said, change.text])) > _MOST_WORDS:
                said.append(f"and {len(found) - len(said)} more")
                break
            said.append(change.text)
        return {
            **detail,
            "before": before.id,
            "material": before.fingerprint != version.fingerprint,
            "changes": said,
            "reworded": reworded(before.snapshot, version.snapshot)[:20],
        }

    def close(self) -> None:
        """Wait for an attempt that is under way, so that it opens no store after the stores were closed."""
        if self._thread is not None:
            self._thread.join(5.0)


def _receipt(version: Version) -> str:
    """What finds the version's row."""
    return f"notice-{version.id}"
