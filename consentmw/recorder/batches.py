"""Rows on their way to a store, under an id by which a store knows them again.

A batch may reach a store twice: after a crash, or when an answer was lost. Its id makes the second
time do nothing, for counters and rows alike. As bytes it waits in a spool, and holds no more than
the store would. Refuses to know how it gets there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..errors import StoreError
from ..events import Context, Count, Event, complete

__all__ = ["Batch", "Row"]

#: a counter, and the row that the visitor allowed
Row: TypeAlias = tuple[Count, Event | None]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, or the receipt whose rows have to go."""

    id: str
    rows: Sequence[Row] = ()
    erase: str = ""

    @property
    def counts(self) -> Counter[Count]:
        """The counters, added up."""
        return Counter(count for count, _ in self.rows)

    @property
    def events(self) -> list[Event]:
        """The rows of those who allowed one."""
        return [event for _, event in self.rows if event is not None]

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches, the same two each time: when something in this one can't be stored, half of it may be."""
        middle = len(self.rows) // 2
        return Batch(f"{self.id}.0", self.rows[:middle]), Batch(f"{self.id}.1", self.rows[middle:])

    def encode(self) -> bytes:
        """The batch as bytes. What was read from an agent is in it, the agent as sent is not, nor anything else raw."""
        counts: dict[Count, int] = {}
        contexts: dict[Context, int] = {}
        rows: list[list[Any]] = []
        for count, event in self.rows:
            row: list[Any] = [counts.setdefault(count, len(counts))]
            if event is not None:
                number = contexts.setdefault(complete(event.context), len(contexts))
                row += event._replace(context=number, raw="")  # type: ignore[arg-type]
            rows.append(row)
        said = {
            "version": _VERSION,
            "id": self.id,
            "erase": self.erase,
            "counts": list(counts),
            "contexts": list(contexts),
            "rows": rows,
        }
        # ASCII, so that what is no UTF-8 gets as far as the store that refuses it.
        return json.dumps(said, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, content: bytes) -> Batch:
        """The batch that these bytes are. Raises StoreError for what no version of ours wrote."""
        try:
            said = json.loads(content)
            if said["version"] != _VERSION:
                raise StoreError(f"a batch of version {said['version']}, and this version knows {_VERSION}")
            counts = [Count(*count) for count in said["counts"]]
            contexts = [Context(*context) for context in said["contexts"]]
            rows = [(counts[row[0]], _event(row[1:], contexts) if len(row) > 1 else None) for row in said["rows"]]
            return cls(str(said["id"]), rows, str(said["erase"]))
        except (ValueError, TypeError, LookupError) as error:
            raise StoreError("what waited for the store is no batch of ours") from error


def _event(values: Sequence[Any], contexts: Sequence[Context]) -> Event:
    event = Event(*values)
    return event._replace(context=contexts[event.context])  # type: ignore[call-overload]
