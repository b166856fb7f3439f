"""Reports that a browser sends by itself: errors, violations of a policy, failed connections.

A site may name any host to receive them, and each report brings that host the visitor's address and
what they were looking at. Addresses of services without consent are taken out; what a policy forbids
stays forbidden, it is only reported to fewer.

Refuses to know consent, and to touch what is reported to the site itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .rules import Rules

__all__ = ["REPORTING", "filter_reporting"]

#: one member of Reporting-Endpoints: a key, and a string (RFC 9651, sections 3.2 and 3.3.3)
_MEMBER: Final = re.compile(
    rb'[ \t]*([a-z*][a-z0-9_.*-]*)[ \t]*=[ \t]*"((?>(?:[^"\\]|\\.)*))"((?>(?:[^,"]|"(?>(?:[^"\\]|\\.)*)")*))(?:,|$)'
)
_REPORT_URI: Final = re.compile(rb"(?i)report-uri(?=[\t\n\f\r ]|\Z)")


def filter_reporting(headers: Sequence[tuple[bytes, bytes]], rules: Rules) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The headers without endpoints at denied services, and whether any was taken out."""
    kept: list[tuple[bytes, bytes]] = []
    changed = False
    for name, value in headers:
        judge = _JUDGES.get(name.lower())
        if judge is None:
            kept.append((name, value))
            continue
        left = judge(value, rules)
        if left == value:
            kept.append((name, value))
            continue
        changed = True
        if left:
            kept.append((name, left))
    return kept, changed


def _policy(value: bytes, rules: Rules) -> bytes:
    """A Content-Security-Policy without those addresses of ``report-uri`` (CSP Level 3, section 6.5.1)."""
    if not _REPORT_URI.search(value):
        return value
    policies = value.split(b",")
    judged = ([_directive(part, rules) for part in policy.split(b";")] for policy in policies)
    found = [b";".join(part for part in parts if part is not None) for parts in judged]
    return value if found == policies else b",".join(policy for policy in found if policy.strip())


def _directive(directive: bytes, rules: Rules) -> bytes | None:
    """One directive; None for a report-uri that nothing is left of."""
    name, *addresses = directive.split() or [b""]
    if not _REPORT_URI.fullmatch(name):
        return directive
    left = [raw for raw in addresses if rules.url(raw.replace(b"&", b"&amp;")) is None]
    if len(left) == len(addresses):
        return directive
    return b" " + b" ".join((name, *left)) if left else None


def _endpoints(value: bytes, rules: Rules) -> bytes:
    """Reporting-Endpoints without those members (Reporting API, section 3.2)."""
    if rules.text(value) is None:
        return value
    left: list[bytes] = []
    at = 0
    while at < len(value):
        match = _MEMBER.match(value, at)
        if match is None:
            # A browser that can't read a dictionary ignores all of it; what is odd and names a service goes whole.
            return b""
        if rules.text(match[2]) is None:
            left.append(match[0].strip().removesuffix(b",").strip())
        at = match.end()
    return b", ".join(left)


def _report_to(value: bytes, rules: Rules) -> bytes:
    """Report-To, in which a group that is to be forgotten is said to last no time at all.

    Browsers keep groups for the origin, for as long as ``max_age`` says (Reporting API, draft of 2018, section
    3.1): one that was only left out would go on receiving reports after a withdrawal.
    """
    if rules.text(value) is None:
        return value
    try:
        groups = json.loads(b"[" + value + b"]")
        return ", ".join(json.dumps(_group(group, rules), separators=(",", ":")) for group in groups).encode("ascii")
    except (ValueError, TypeError, RecursionError):
        # Not JSON, or not in the form that browsers read.
        return b""


def _group(group: Any, rules: Rules) -> Mapping[str, Any]:
    if not isinstance(group, dict):
        raise TypeError("a group of endpoints is an object")
    endpoints = group.get("endpoints")
    if not isinstance(endpoints, list):
        raise TypeError("endpoints are a list")
    left = [endpoint for endpoint in endpoints if rules.text(json.dumps(endpoint).encode("ascii")) is None]
    return {**group, "endpoints": left, **({} if left else {"max_age": 0})}


_JUDGES: Final[Mapping[bytes, Callable[[bytes, Rules], bytes]]] = {
    b"content-security-policy": _policy,
    b"content-security-policy-report-only": _policy,
    b"report-to": _report_to,
    b"reporting-endpoints": _endpoints,
}
#: the headers that name where reports go
REPORTING: Final = frozenset(_JUDGES)
