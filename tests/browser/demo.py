"""The demo site as a process of its own, with the stand-in that plays every third party and writes down who came."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["HOSTNAME", "PATIENCE", "Demo"]

ROOT = Path(__file__).parent.parent.parent
#: seconds to wait for something that has to come
PATIENCE = 20.0
#: a name with a parent domain, under which the browser finds the same site
HOSTNAME = "www.utility.example"


@dataclass(frozen=True)
class Demo:
    """A running demo: the site on a port, the stand-in on the next one, its files in a folder of the test's."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path) -> Demo:
        """Start it on a free pair of ports. Raises AssertionError when it doesn't listen in time."""
        port = _free_pair()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(port)}
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "demo_site"],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        demo = cls(folder, port, process)
        demo.until(lambda: _listens(port) and _listens(port + 1), "the demo to listen")
        return demo

    def stop(self) -> None:
        """End the process by its own id."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resolver_rules(self) -> str:
        """What makes every third party's name lead to the stand-in, and our second name to the site."""
        return f"MAP {HOSTNAME} 127.0.0.1:{self.port}, MAP * 127.0.0.1:{self.port + 1}, EXCLUDE 127.0.0.1"

    def received(self) -> list[dict[str, Any]]:
        """What pages made the browser ask third parties for, newest first."""
        # What Chromium asks for on its own has no page behind it.
        return [row for row in self.everything() if row["site"] not in ("", "none")]

    def everything(self) -> list[dict[str, Any]]:
        """What third parties were asked for by anybody, newest first."""
        with urlopen(f"{self.url}/qa.json", timeout=PATIENCE) as answer:
            found: list[dict[str, Any]] = json.load(answer)["third_parties"]["requests"]
        return found

    def clear(self) -> None:
        """Let the stand-in forget."""
        with urlopen(Request(f"{self.url}/qa/clear", method="POST"), timeout=PATIENCE):
            pass

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the demo's database, read past the running process."""
        path = self.folder / "var" / "consentmw.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            return connection.execute(query, values).fetchall()

    def until(self, true: Any, what: str) -> None:
        """Wait for something to become true. Raises AssertionError with the demo's output when it doesn't."""
        end = time.monotonic() + PATIENCE
        while not true():
            output = (self.folder / "output").read_text("utf-8", "replace")
            assert self.process.poll() is None, f"the demo ended: {output}"
            assert time.monotonic() < end, f"waited for {what}; the demo said: {output}"
            time.sleep(0.05)


def _free_pair() -> int:
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except (OSError, OverflowError):
                continue
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
