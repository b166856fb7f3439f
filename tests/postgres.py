"""A real PostgreSQL server for the tests: private, in a temporary folder, on a Unix socket, fully durable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["Server"]

#: seconds until a server has to answer; the machine may be busy
PATIENCE = 60.0


class Server:
    """One cluster and the server that serves it. The superuser is ``postgres``, and nobody needs a password."""

    def __init__(self, programs: Path) -> None:
        """Make the cluster with the programs in this folder, and start it."""
        self._programs = programs
        # Not pytest's own folder: that is closed to other users, and the path of a socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="consentmw-postgres-"))
        # The server refuses to run as root; whoever else runs the tests runs it, too.
        self._as: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
        if os.geteuid() != 0:
            self._as = {}
        else:
            shutil.chown(self.folder, "postgres", "postgres")
        self._log = self.folder / "log"
        self._server: subprocess.Popen[bytes] | None = None
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", f"--pgdata={self.folder}/data", *options)
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self._as)
        assert done.returncode == 0, done.stdout + done.stderr

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The address of a database, through the socket."""
        return f"postgresql:///{database}?host={self.folder}&user={user}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the superuser, without transactions."""
        return psycopg.connect(self.url(database), autocommit=True)

    def run(self, *statements: str, database: str = "postgres") -> list[Any]:
        """What the superuser does; the rows of the last statement, if it gave any."""
        with self.connect(database) as connection:
            for statement in statements:
                found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def start(self) -> None:
        """Serve, if it doesn't, and wait until the server answers."""
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < until, self._log.read_text("utf-8")
            if self._server is None or self._server.poll() is not None:
                # After a kill, the first attempts meet the memory that processes of the last one still hold.
                with self._log.open("ab") as log:
                    self._server = subprocess.Popen(
                        [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", ""],
                        cwd=self.folder,
                        stdout=log,
                        stderr=log,
                        **self._as,
                    )
            time.sleep(0.02)

    def _answers(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            return False
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: an orderly end without waiting for clients. SIGKILL: none at all."""
        if self._server is not None:
            serving = _children(self._server.pid) if how is signal.SIGKILL else []
            self._server.send_signal(how)
            self._server.wait(PATIENCE)
            self._server = None
            for process in serving:
                # They notice only after a while that they are alone, and serve until then.
                with suppress(ProcessLookupError):
                    os.kill(process, how)

    def freeze(self, process: int, *, frozen: bool) -> None:
        """Stop one of the server's processes in its tracks, or let it go on."""
        os.kill(process, signal.SIGSTOP if frozen else signal.SIGCONT)

    @property
    def process(self) -> int:
        """Number of the server's main process."""
        assert self._server is not None
        return self._server.pid

    def remove(self) -> None:
        """End it and leave nothing behind."""
        self.end()
        shutil.rmtree(self.folder)


def _children(parent: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything and ends with the last bracket: state, parent.
            if int(entry.read_text("utf-8").rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.parent.name))
    return found
