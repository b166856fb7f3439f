"""What a site chose to keep of what a visitor allows.

Refuses to know visitors and tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .networks import Networks

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site chose to keep inside the limits of a tier."""

    #: of the address, in the visit and person tiers: nothing, the network (/24, /48) or all of it
    ip: Literal["none", "truncated", "full"] = "truncated"
    #: query keys whose values may be kept; everything else in a query is dropped
    query_keys: frozenset[str] = frozenset()
    #: more of them, by the purpose that has to be granted: those that tell one click, or who clicked, from others
    bound_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: networks of the site's own people (CIDR), whose requests are marked ``internal``
    internal: tuple[str, ...] = ()
    #: what is found out about visitors' networks, in the visit and person tiers
    networks: Networks | None = None
    #: days a row is kept, by tier; 390 are the 13 months that the CNIL allows for audience measurement
    retention_days: Mapping[str, int] = field(default_factory=lambda: {"coarse": 390, "visit": 390, "person": 390})

    def keys(self, allows: Callable[[str], bool]) -> frozenset[str]:
        """The query keys that may be kept of somebody who allows these purposes."""
        if not self.bound_keys:
            return self.query_keys
        return self.query_keys.union(*(keys for purpose, keys in self.bound_keys.items() if allows(purpose)))
