"""P1: a JSON endpoint behind the whole middleware against the same endpoint bare; CPU a request, bare ÷ ours.

Ours verifies a signed choice (remembered after the first time), decides, and records a row in
SQLite by a thread of the same process on the same core, whose time counts.
"""

from __future__ import annotations

import visit
from load import TOTAL, Contender, compare, uvicorn


def main() -> None:
    requests = visit.requests("/api/readings")
    with visit.store() as (environment, file):
        with (
            uvicorn("visit:json_app") as bare,
            uvicorn("visit:json_behind_middleware", environment) as ours,
        ):
            figures = compare({"bare": Contender(bare, requests), "ours": Contender(ours, requests)})
        visit.check_recorded(file, TOTAL)
    print(f"P1 {figures['bare'].cpu / figures['ours'].cpu:.2f}")


if __name__ == "__main__":
    main()
