"""What a form about purposes asks for, as a choice.

A general yes never touches what the browser's signal denies: that takes a step of its own, which
says so. Whoever only opts out of sale and advertising, or only takes this step, has said no word on
anything else. Refuses to know how a choice is proven and carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..choice import Choice
from ..decision import DENIED_BY_GPC, Decision
from ..ledger import new_receipt
from ..site import Site
from .exchange import FormError

__all__ = ["ACTIONS", "Made", "read_choice"]

#: what a form to the choices may ask for
ACTIONS: Final = ("accept", "reject", "save", "withdraw", "opt_out", "override")
_SURFACES: Final = ("banner", "choices", "opt_out", "placeholder")


@dataclass(frozen=True, slots=True)
class Made:
    """A choice that was just made, before it is proven."""

    choice: Choice
    event: str
    method: str
    before: Choice | None

    @property
    def refuses(self) -> bool:
        """Whether it is a refusal, which rests longer than a grant lives."""
        return not self.choice.granted or self.event == "opted out"


def read_choice(site: Site, decision: Decision, before: Choice | None, form: list[tuple[str, str]]) -> Made:
    """The choice that this form makes; ``before`` is the one it replaces. Raises FormError."""
    fields = dict(form)
    action, surface = fields.get("action", ""), fields.get("surface", "")
    optional = {p.key: p.kind for p in site.catalogue.purposes.values() if p.optional}
    named = optional.keys() & {value for name, value in form if name == "purpose"}
    opposed = {key for key, kind in optional.items() if kind in DENIED_BY_GPC & decision.opposed}
    if action not in ACTIONS or (action == "override" and surface != "choices"):
        # Nobody is asked in a banner to overrule their own browser (11 CCR 7025(e)-(g)).
        raise FormError(400, "The form did not say what you chose, so nothing was changed.")
    granted: set[str] = set()
    silent: set[str] = set()
    if action == "override":
        # Not even a step of its own allows advertising to a known minor.
        granted = _allowed_all_the_same(set() if decision.minor else opposed, named)
        granted, silent = _beside(optional, granted, decision, before)
    elif action == "opt_out":
        firm = {key for key, kind in optional.items() if kind in DENIED_BY_GPC}
        granted, silent = _beside(optional, firm, decision, before)
        granted -= firm
    else:
        # A general yes is no answer to a browser that says no for its user (11 CCR 7025(c)).
        granted = {"accept": set(optional), "save": set(named)}.get(action, set()) - opposed
    choice = Choice(
        new_receipt(),
        site.clock().replace(microsecond=0),
        site.catalogue.fingerprint,
        frozenset(granted),
        frozenset(silent),
        override=action == "override",
    )
    method = f"{surface if surface in _SURFACES else 'other'}:{action}"
    return Made(choice, _event(action, choice, before), method, before)


def _allowed_all_the_same(opposed: set[str], named: set[str]) -> set[str]:
    """The purposes that a visitor allows although the browser denies them. Raises FormError."""
    if not opposed:
        raise FormError(400, "No signal says no to this any more, so this step is not needed.")
    if not opposed & named:
        raise FormError(400, "You ticked nothing in this step, so nothing was changed.")
    return opposed & named


def _beside(
    optional: Mapping[str, str], answered: set[str], decision: Decision, before: Choice | None
) -> tuple[set[str], set[str]]:
    """What is granted and what stays unsaid after a step about some purposes only: all else stays as it is."""
    granted, silent = set(answered), set()
    for key in optional.keys() - answered:
        if decision.why(key) == "choice":
            granted |= {key} if decision.allows(key) else set()
        elif before is None or key in before.granted | before.silent:
            silent.add(key)
    return granted, silent


def _event(action: str, choice: Choice, before: Choice | None) -> str:
    if action in ("opt_out", "override"):
        return {"opt_out": "opted out"}.get(action, action)
    if before is None:
        return "given" if choice.granted else "refused"
    return "changed" if choice.granted else "withdrawn" if before.granted else "refused"
