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
from ..events.uniques import Mark

__all__ = ["Batch", "Row", "undivided"]

#: a counter, and the row that the visitor allowed
Row: TypeAlias = tuple[Count, Event | None]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, or the receipt whose rows have to go."""

    id: str
    rows: Sequence[Row] = ()
    erase: str = ""
    #: the visitors of a day who are in it
    marks: tuple[Mark, ...] = ()

    @property
    def counts(self) -> Counter[Count]:
        """The counters, added up, but for those of :attr:`told`."""
        return Counter(count for count, event in self.rows if event is None or not event.told)

    @property
    def events(self) -> list[Event]:
        """The rows of those who allowed one, but for those of :attr:`told`."""
        return [event for _, event in self.rows if event is not None and not event.told]

    @property
    def told(self) -> dict[str, list[tuple[Count, Event]]]:
        """What pages' scripts told, by the id under which they did: one that comes again counts for nothing."""
        found: dict[str, list[tuple[Count, Event]]] = {}
        for count, event in self.rows:
            if event is not None and event.told:
                found.setdefault(event.told, []).append((count, event))
        return found

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches, the same two each time: when something in this one can't be stored, half of it may be."""
        middle = len(self.rows) // 2
        return _part(self, "0", self.rows[:middle]), _part(self, "1", self.rows[middle:])

    def encode(self) -> bytes:
        """The batch as bytes. What was read from an agent is in it, the agent as sent is not, nor anything else raw."""
        counts: dict[Count, int] = {}
        contexts: dict[Context, int] = {}
        rows: list[list[Any]] = []
        for count, event in self.rows:
            row: list[Any] = [counts.setdefault(count, len(counts))]
            if event is not None:
                number = contexts.setdefault(complete(event.context), len(contexts))
                row += event._replace(context=number)  # type: ignore[arg-type]
            rows.append(row)
        said = {
            "version": _VERSION,
            "id": self.id,
            "erase": self.erase,
            "counts": list(counts),
            "contexts": list(contexts),
            "rows": rows,
            "marks": list(self.marks),
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
            marks = tuple(Mark(*mark) for mark in said["marks"])
            return cls(str(said["id"]), rows, str(said["erase"]), marks)
        except (ValueError, TypeError, LookupError) as error:
            raise StoreError("what waited for the store is no batch of ours") from error


def undivided(items: Sequence[object], number: int) -> int:
    """How many items make a batch of about ``number`` that ends with none of what was told under one id left behind.

    Left for the next batch, it would be taken for something that came again.
    """
    while 0 < number < len(items) and (told := _told(items[number - 1])) and told == _told(items[number]):
        number += 1
    return number


def _told(item: object) -> str:
    event = item[1] if isinstance(item, tuple) else None
    return event.told if isinstance(event, Event) else ""


def _part(batch: Batch, name: str, rows: Sequence[Row]) -> Batch:
    # What was told at once may be in both parts: the second must not be taken for the first, come again.
    own = [(c, e._replace(told=f"{e.told}.{name}") if e is not None and e.told else e) for c, e in rows]
    # A mark counts once, however often it comes.
    return Batch(f"{batch.id}.{name}", own, marks=batch.marks)


def _event(values: Sequence[Any], contexts: Sequence[Context]) -> Event:
    event = Event(*values)
    return event._replace(context=contexts[event.context])  # type: ignore[call-overload]
