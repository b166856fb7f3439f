"""What browsers say for their users: signals in request headers, and what each of them denies.

Global Privacy Control and Do Not Track are shipped; a site adds a coming one with a :class:`Signal`
of its own. A signal only ever denies: a header can be put into a request by any program on its way,
names no site and no purpose, and leaves no act that could be proven, so it can't be the consent that
a law asks for (GDPR art. 4(11) and 7(1)). A no needs none of that.

Signals are read anew for every request and kept nowhere. Refuses to know what follows from them:
that is decision.py.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, TypeAlias

from .errors import SettingsError
from .purposes import KINDS

__all__ = ["DNT", "GPC", "Heard", "Listening", "Signal"]

logger = logging.getLogger("consentmw")

#: signals that are on, each with the kinds of purpose it denies to this request
Heard: TypeAlias = tuple[tuple[str, frozenset[str]], ...]

_OPTIONAL: Final = frozenset(KINDS) - {"necessary"}
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
#: a field name of RFC 9110, in lower case
_FIELD: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,80}")
#: words that already are reasons of a verdict
_TAKEN: Final = frozenset({"necessary", "choice", "regime", "expired", "minor", "error", "once", "advanced", "unknown"})
#: bytes of a field that are read; no signal needs more
_LONGEST: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal: where it stands in a request and what each of its values denies.

    For a header whose values are not simply words in a list, override :meth:`read`.
    Raises ValueError when it could not work.
    """

    #: the word for it in reasons and in the ledger
    key: str
    #: what visitors know it by
    name: str
    #: the request header
    header: str
    #: value of the header -> kinds of purpose it denies; every other value says nothing
    denies: Mapping[str, frozenset[str]]
    #: where its meaning is written down
    source: str

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key) or self.key in _TAKEN:
            raise ValueError(f"key: a word like gpc that is no reason already, not {self.key!r:.40}")
        if not _FIELD.fullmatch(self.header):
            raise ValueError(f"header: the name of a request header in lower case, not {self.header!r:.40}")
        if unknown := frozenset().union(*self.denies.values()) - _OPTIONAL:
            raise ValueError(f"denies: kinds among {', '.join(sorted(_OPTIONAL))}, not {', '.join(sorted(unknown))}")
        if not self.name or not self.source:
            raise ValueError("name and source: what visitors know it by, and where its meaning is written down")

    def read(self, value: bytes) -> frozenset[str]:
        """The kinds of purpose that this field value denies; several fields come joined with commas."""
        said = (member.strip(" \t") for member in value.decode("latin-1").split(","))
        return frozenset().union(*(self.denies.get(word, frozenset()) for word in said))


_AGAINST_SALE: Final = {"1": frozenset({"advertising", "sale", "analytics"})}

GPC: Final = Signal(
    key="gpc",
    name="Global Privacy Control",
    header="sec-gpc",
    denies=_AGAINST_SALE,
    source="W3C Global Privacy Control, section 3.2; 11 CCR 7025",
)
DNT: Final = Signal(
    key="dnt",
    name="Do Not Track",
    header="dnt",
    denies=_AGAINST_SALE,
    source="W3C Tracking Preference Expression, discontinued in 2019; no law makes it binding",
)


class Listening:
    """The signals that one site honours."""

    def __init__(self, signals: Sequence[Signal]) -> None:
        self.signals = {signal.key: signal for signal in signals}
        #: whether Global Privacy Control is among them
        self.gpc = GPC.key in self.signals
        #: those that :meth:`others` reads
        self._others = tuple((signal.header.encode(), signal) for signal in signals if signal is not GPC)
        #: whether there are no others, so that nothing has to be looked up for them
        self.alone = not self._others

    @classmethod
    def load(cls, wanted: Sequence[str | Signal], *, dnt: bool) -> Listening:
        """The signals of these settings: a name of ours, ``module:object``, or a Signal. Raises SettingsError."""
        signals = [_found(one) for one in wanted] + ([DNT] if dnt else [])
        for one, other in ((a, b) for n, a in enumerate(signals) for b in signals[:n]):
            if one.key == other.key:
                raise SettingsError("signals", f"each signal once; two are called {one.key}")
        return cls(signals)

    def others(self, field: Callable[[bytes], bytes]) -> Heard:
        """The signals beside Global Privacy Control that are on; ``field`` gives a request's header, b"" for none.

        A signal that fails to read what was sent counts as said: a doubt denies.
        """
        heard = []
        for header, signal in self._others:
            if value := field(header)[:_LONGEST]:
                try:
                    denied = frozenset(signal.read(value)) & _OPTIONAL
                except Exception:
                    logger.exception("the signal %s could not be read; it counts as said", signal.key)
                    denied = frozenset().union(*signal.denies.values()) or _OPTIONAL
                if denied:
                    heard.append((signal.key, denied))
        return tuple(heard)


def _found(wanted: str | Signal) -> Signal:
    if isinstance(wanted, Signal):
        return wanted
    if wanted == GPC.key:
        return GPC
    if wanted == DNT.key:
        raise SettingsError("signals", 'Do Not Track is switched on by honor_dnt = "as_gpc"')
    module, colon, name = wanted.partition(":")
    if not colon:
        raise SettingsError("signals", f'"gpc" or "module:object", not {wanted!r:.80}')
    try:
        found = getattr(import_module(module), name)
    except Exception as error:
        raise SettingsError("signals", f"{wanted}: an object that can be imported ({error})") from error
    if not isinstance(found, Signal):
        raise SettingsError("signals", f"{wanted}: a consentmw.Signal, not {type(found).__name__}")
    return found
