"""Networks that options name, in CIDR notation."""

from __future__ import annotations

from ipaddress import ip_network

__all__ = ["checked_networks"]


def checked_networks(value: tuple[str, ...], *words: str) -> tuple[str, ...]:
    """The networks, and any of ``words`` among them. Raises ValueError for anything else."""
    for network in value:
        try:
            if network not in words:
                ip_network(network)
        except ValueError:
            kinds = " or ".join(['networks like "10.0.0.0/8"', *(f'"{word}"' for word in words)])
            raise ValueError(f"{kinds}, not {network!r}") from None
    return value
