"""The relay: events that the host application reports to Google Analytics from the server, within consent.

Every event passes the decision before it is queued, and what its visitor withdraws is taken out of
the queue. One daemon thread sends what is left, so that no response waits for Google. The protocol
can't tell a repeated event from a new one: what may have arrived is never sent again.

Refuses to know what the protocol allows (protocol.py), how events wait (waiting.py) and how a
request goes out (delivery.py).
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Event as Signal
from threading import Lock, Thread
from typing import Final

from ..decision import Decision
from ..errors import SettingsError, StoreError, Unreachable
from ..events import Count
from ..events.networks import inside
from ..purposes import Catalogue
from ..settings import GOOGLE_VARIABLE, Settings
from ..visitor import Visitor
from . import protocol
from .delivery import Delivery, Recalled
from .protocol import Value
from .waiting import Batch, Item, Source, Waiting

__all__ = ["ENDPOINTS", "SERVICE", "Relay", "Value", "open_relay"]

logger = logging.getLogger("consentmw.relay")

#: where Google takes events, by region: with "eu" they are collected in the European Union
ENDPOINTS: Final[Mapping[str, str]] = {
    "eu": "https://region1.google-analytics.com/mp/collect",
    "global": "https://www.google-analytics.com/mp/collect",
}
#: the service of the catalogue without which nothing is sent
SERVICE: Final = "google_analytics"

_HOUR: Final = 3600
#: seconds between two complaints; and seconds that the end of the interpreter may wait for a relay nobody closed
_QUIET: Final = 60.0
_LAST_CHANCE: Final = 3.0
#: event names that have a counter of their own
_MOST_NAMES: Final = 500
#: seconds that an event may wait whose visitor has made no choice: no receipt could recall it from another process
_WITHOUT_RECEIPT: Final = 60.0


class Relay:
    """Takes events from requests and sends them behind their backs; without an endpoint it takes none."""

    def __init__(
        self,
        endpoint: str,
        measurement_id: str,
        secret: str,
        *,
        key: bytes,
        count: Callable[[Count], object],
        withdrawn: Callable[[str], bool],
        pages: bool = False,
        internal: tuple[str, ...] = (),
        capacity: int = 10_000,
        interval: float = 1.0,
        longest_pause: float = 300.0,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``key`` makes client ids; ``count`` takes a counter; ``withdrawn`` says whether any process erased a receipt.

        ``pages``: whether page views are sent too. ``internal``: networks of the site's own people, of whom nothing is
        sent. ``capacity``: events that may wait (some 300 bytes each); beyond it the oldest is dropped. ``interval``:
        seconds that events are gathered for; ``longest_pause``: seconds between two attempts while Google fails, at
        most; ``timeout``: seconds for each step of a request.
        """
        self._on = bool(endpoint)
        self.pages = pages and self._on
        self._sessions = f"_ga_{measurement_id.removeprefix('G-')}"
        self._key, self._record, self._erased, self._internal = key, count, withdrawn, internal
        self._interval, self._longest_pause, self._clock = interval, longest_pause, clock
        self._delivery = Delivery(endpoint, measurement_id, secret, timeout)
        self._waiting = Waiting(capacity)
        #: events by what became of them: ``sent``, or why not
        self.tally: dict[str, int] = {}
        self._counting, self._starting, self._closing = Lock(), Lock(), Lock()
        self._names: set[str] = set()
        self._sender: Thread | None = None
        self._wake, self._stop = Signal(), Signal()
        self._ended: bool | None = None
        self._deadline = 0.0
        self._failures, self._not_before = 0, 0.0
        self._complained_at = -_QUIET

    # -- on the request path -------------------------------------------------------------------

    def measure(self, visitor: Visitor, decision: Decision, name: str, params: Mapping[str, Value]) -> bool:
        """Queue an event; False when it may not be sent, or can't be. Never waits for Google.

        Raises ValueError for a name, number or type the protocol does not take, also for a visitor without
        consent: a mistake should show where it is made.
        """
        given = protocol.checked(name, params)
        if not self._on:
            return False
        try:
            return self._put(visitor, decision, name, given)
        except Exception:
            logger.exception("an event could not be queued")
            return False

    def page_view(self, visitor: Visitor, decision: Decision, route: str) -> None:
        """Queue a page view of a person who allows it; the page is named by its route's template."""
        if not refusal(decision) and not self._nobody(visitor):
            where = protocol.location(visitor.scheme, visitor.host, route)
            self.measure(visitor, decision, "page_view", {"page_location": where})

    def _put(
        self, visitor: Visitor, decision: Decision, name: str, given: Mapping[str, str | int | float] | None
    ) -> bool:
        # Of somebody who said nothing about measurement, the receipt is no name to be measured under.
        receipt = decision.receipt if decision.why(SERVICE) == "choice" else ""
        client = protocol.client_id(visitor.cookie("_ga"))
        if not client and receipt:
            client = protocol.derived_id(self._key, receipt)
        why = refusal(decision) or self._nobody(visitor)
        why = why or ("personal" if given is None else "" if client else "no client")
        if why or given is None:
            self._note([name], why)
            return False
        now = self._clock()
        until = now + (protocol.OLDEST if receipt else _WITHOUT_RECEIPT)
        if decision.until is not None:
            until = min(until, decision.until.timestamp())
        session = protocol.session_id(visitor.cookie(self._sessions))
        item = Item(name, protocol.event(name, given, now, session), until)
        source = Source(client, receipt, decision.google["ad_user_data"], decision.google["ad_personalization"])
        why, lost = self._waiting.put(source, item)
        self._drop(lost, "queue full")
        if why:
            self._note([name], why)
            return False
        if self._sender is None and not self._start():
            return False
        self._wake.set()
        return True

    def _nobody(self, visitor: Visitor) -> str:
        """The verdict of somebody whom figures about visitors are not about, as rows have it; "" for a visitor."""
        # In this order, so that one request has one verdict wherever it is counted.
        return "internal" if self._internal and inside(visitor.address, self._internal) else visitor.bot

    def remove(self, receipt: str) -> None:
        """Drop what waits under a receipt, and whatever comes under it later: its visitor withdrew."""
        if receipt and self._on:
            self._drop(self._waiting.withdraw(receipt), "withdrawn")

    def stop(self, visitor: Visitor, decision: Decision) -> None:
        """Drop what waits for this visitor's browser, when the new decision allows nothing more to be sent.

        For those who had made no choice before, and so had no receipt.
        """
        client = protocol.client_id(visitor.cookie("_ga"))
        if client and self._on and refusal(decision):
            self._drop(self._waiting.forget(client), "withdrawn")

    # -- counting ------------------------------------------------------------------------------

    def _drop(self, items: Iterable[Item], why: str) -> None:
        self._note([item.name for item in items], why)

    def _note(self, names: Iterable[str], why: str, status: str = "") -> None:
        for name in names:
            with self._counting:
                outcome = why or "sent"
                self.tally[outcome] = self.tally.get(outcome, 0) + 1
                if len(self._names) < _MOST_NAMES:
                    self._names.add(name)
                # Names come from the application, which may have let a visitor make them up.
                shown = name if name in self._names else "(other)"
            self._record(Count(int(self._clock()) // _HOUR * _HOUR, "relay", shown, status, why=why))

    # -- around it -----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return len(self._waiting)

    def close(self, timeout: float = 3.0) -> bool:
        """Send what is queued, at most for ``timeout`` seconds; False when events were lost.

        May be called again; the answer stays the same.
        """
        with self._closing:
            if self._ended is None:
                self._ended = self._end(timeout)
            return self._ended

    def _end(self, timeout: float) -> bool:
        self._waiting.close()
        self._deadline = time.monotonic() + timeout
        self._stop.set()
        self._wake.set()
        with self._starting:
            sender = self._sender
        if sender is not None:
            sender.join(timeout)
            atexit.unregister(self.close)
        left, flying = self._waiting.give_up()
        self._drop(left, "not sent at shutdown")
        self._drop(flying, "unknown")
        if left:
            logger.error("%d events for Google were not sent before the end", len(left))
        return not left and not flying

    # -- the sender's thread -------------------------------------------------------------------

    def _start(self) -> bool:
        # At the first event, not before: servers that fork their workers do so after the application was made.
        with self._starting:
            if self._sender is None:
                sender = Thread(target=self._run, name="consentmw-relay", daemon=True)
                try:
                    sender.start()
                except RuntimeError:
                    self._drop(self._waiting.give_up()[0], "no thread")
                    return False
                self._sender = sender
                # Not every server says goodbye. Registered after the recorder's own, so that it comes before it.
                atexit.register(self.close, _LAST_CHANCE)
            return True

    def _run(self) -> None:
        stopping = False
        while not stopping:
            self._wake.wait()
            self._wake.clear()
            # While Google fails nothing is tried: what waits is worth more than what is lost in trying.
            self._stop.wait(max(self._interval, self._not_before - time.monotonic()))
            stopping = self._stop.is_set()
            try:
                self._drain()
            except Exception:
                logger.exception("events could not be sent")
                self._failed()
        self._delivery.close()

    def _drain(self) -> None:
        while not (self._stop.is_set() and time.monotonic() >= self._deadline):
            batch, late = self._waiting.take(self._clock(), protocol.MOST_EVENTS, protocol.MOST_BYTES)
            self._drop(late, "too old")
            if batch is None:
                return
            if not self._deliver(batch):
                self._failed()
                return
            self._failures = 0

    def _failed(self) -> None:
        self._failures += 1
        pause = min(self._longest_pause, self._interval * 2 ** min(self._failures, 16))
        self._not_before = time.monotonic() + pause
        self._wake.set()

    def _deliver(self, batch: Batch) -> bool:
        """Send one batch; False when it is wise to wait before the next."""
        source, items = batch
        status = 0
        try:
            if source.receipt and self._erased(source.receipt):
                raise Recalled
            body = protocol.body(source.client, source.user_data, source.personalization, [item.body for item in items])
            status = self._delivery.post(body, self._waiting.recalled)
            why = "" if 200 <= status < 300 else "refused"
        except Recalled:
            why = "withdrawn"
        except (Unreachable, StoreError) as error:
            # Nothing left. A store that can't say whether they were withdrawn holds events back, too.
            if (lost := self._waiting.put_back()) is not None:
                self._drop(lost, "queue full")
                self._complain("events for Google can't be sent; %d wait: %s", len(self._waiting), error)
                return False
            why = "withdrawn"
        except Exception as error:
            why = "unknown"
            self._complain("%d events may or may not have reached Google: %s", len(items), error)
        if self._waiting.done():
            self._note([item.name for item in items], why, f"{status // 100}xx" if status else "")
        if why == "refused":
            self._complain("Google refused %d events with status %d", len(items), status)
        return why in ("", "withdrawn")

    def _complain(self, text: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _QUIET:
            self._complained_at = now
            logger.error(text, *values)


def refusal(decision: Decision) -> str:
    """Why nothing about this visitor may be sent to Google, in a word; "" when it may."""
    if not decision.allows(SERVICE):
        return decision.why(SERVICE)
    return "" if decision.google["analytics_storage"] == "granted" else "analytics"


def open_relay(
    settings: Settings, catalogue: Catalogue, *, count: Callable[[Count], object], withdrawn: Callable[[str], bool]
) -> Relay:
    """The relay that the settings ask for. Raises SettingsError when it could never send anything."""
    secret = os.environ.get(GOOGLE_VARIABLE, "").strip()
    on = settings.google_relay != "off"
    if on and not secret:
        raise SettingsError(GOOGLE_VARIABLE, "google_relay needs the API secret of the property, here")
    if on and not catalogue.services[SERVICE].disclosed:
        raise SettingsError("google_relay", f"{SERVICE} among services_used: visitors have to be asked about it")
    return Relay(
        settings.google_relay_endpoint or ENDPOINTS[settings.google_relay] if on else "",
        settings.google_analytics,
        secret,
        key=settings.secret_keys[0].encode(),
        count=count,
        withdrawn=withdrawn,
        pages=settings.google_relay_pages,
        internal=settings.internal_networks,
        capacity=settings.queue_capacity,
    )
