"""ClickHouse for the tests: its engine in a process of its own, behind HTTP on 127.0.0.1, as a server speaks it.

The engine is the embedded one (chdb): the same SQL, parts and mutations, in a folder of its own. What the
engine has no part in, the process adds: users, chunked and compressed bodies, codes of errors in a header.
A test can have it answer with an error, or not at all, and reads what it was asked.

usage: python -m tests.clickhouse FOLDER PORT
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import lz4.frame  # type: ignore[import-untyped]
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import HTTPError

__all__ = ["Server"]

ROOT = Path(__file__).parents[1]
#: seconds until the server has to answer; the machine may be busy
PATIENCE: Final = 60.0
USER, PASSWORD = "web", "secret é :"


class Server:
    """One engine and the process that serves it."""

    def __init__(self) -> None:
        """Make the folder, and start it."""
        self.folder = Path(tempfile.mkdtemp(prefix="consentmw-clickhouse-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, database: str = "site") -> str:
        """The address, as the setting takes it."""
        return f"clickhouse://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Serve, if it doesn't, and wait until it answers."""
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < until, (self.folder / "log").read_text("utf-8")
            if self._process is None or self._process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    command = [sys.executable, "-m", "tests.clickhouse", str(self.folder), str(self.port)]
                    self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            time.sleep(0.05)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        with suppress(HTTPError, OSError, AssertionError):
            return self.run("SELECT 1") == [[1]]
        return False

    def run(self, statement: str, database: str = "default") -> list[list[Any]]:
        """What an administrator does; the rows that it gave, if it gave any."""
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        with HTTPConnectionPool("127.0.0.1", self.port, timeout=PATIENCE, retries=False) as pool:
            body = f"{statement} FORMAT JSONCompactEachRow" if statement.startswith("SELECT") else statement
            headers = {"authorization": f"Basic {secret}"}
            said = pool.request("POST", f"/?database={database}", body=body.encode(), headers=headers)
            assert said.status == 200, said.data.decode()
            return [json.loads(line) for line in said.data.splitlines()] if statement.startswith("SELECT") else []

    def fails(self, code: int = 0, text: str = "", *, statements: str = "", silent: bool = False) -> None:
        """From now on answer every statement that matches with this error, or with nothing at all."""
        fault = {"code": code, "text": text, "statements": statements, "silent": silent}
        fresh = self.folder / "fault.new"
        fresh.write_text(json.dumps(fault) if code or silent else "", "utf-8")
        fresh.replace(self.folder / "fault")

    def asked(self) -> str:
        """Addresses and statements that it was asked, without the rows."""
        return (self.folder / "asked").read_text("utf-8")

    def data(self) -> bytes:
        """All that the files of tables hold, old parts included."""
        return b"".join(file.read_bytes() for file in (self.folder / "data").rglob("*") if file.is_file())

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """SIGTERM: an orderly end. SIGKILL: none at all."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def remove(self) -> None:
        """End it and leave nothing behind."""
        self.end(signal.SIGKILL)
        shutil.rmtree(self.folder)


#: as docs/clickhouse.md names the cluster
CONFIG: Final = """
<clickhouse><tcp_port>9000</tcp_port><remote_servers><utility><shard><replica>
<host>127.0.0.1</host><port>9000</port>
</replica></shard></utility></remote_servers></clickhouse>
"""

# -- the process --------------------------------------------------------------------------------

_FORMAT = re.compile(rb"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(rb"(INSERT INTO .{1,2000}?) FORMAT Native\n", re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
#: what belongs to the way there and not to the question
_TRANSPORT = {
    "cancel_http_readonly_queries_on_client_close",
    "client_protocol_version",
    "compress",
    "database",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "query",
    "query_id",
    "send_progress_in_http_headers",
    "wait_end_of_query",
}


class _Refused(Exception):
    """An error of the server, as its text."""


class Engine:
    """The engine, one question at a time."""

    def __init__(self, folder: Path) -> None:
        """The tables are in ``data`` in this folder."""
        # Half a gigabyte: for this process only.
        engine: Any = import_module("chdb")
        self._folder = folder
        self._lock = Lock()
        # A cluster of this one machine, which is its own when the port is the one that it would listen on.
        (folder / "config.xml").write_text(CONFIG, "utf-8")
        self._connection: Any = engine.connect(f"{folder}/data?config-file={folder}/config.xml")

    def answer(self, statement: bytes, options: dict[str, str]) -> bytes:
        """What the engine says. Raises _Refused."""
        settings = {name: value for name, value in options.items() if name not in _TRANSPORT and name[:6] != "param_"}
        values = {name[6:]: value for name, value in options.items() if name.startswith("param_")}
        with self._lock:
            try:
                self._ask(f"USE `{options.get('database', 'default')}`")
                for name, value in settings.items():
                    self._ask(f"SET {name} = '{value}'")
                return self._said(statement, values)
            except RuntimeError as error:
                raise _Refused(str(error)) from error
            finally:
                for name in settings:
                    with suppress(RuntimeError):
                        self._ask(f"SET {name} = DEFAULT")

    def _said(self, statement: bytes, values: dict[str, str]) -> bytes:
        if inserted := _INSERT.match(statement):
            with tempfile.NamedTemporaryFile(dir=self._folder) as rows:
                rows.write(statement[inserted.end() :])
                rows.flush()
                return self._ask(f"{inserted[1].decode()} FROM INFILE '{rows.name}' FORMAT Native")
        wanted = _FORMAT.search(statement)
        text = (statement[: wanted.start()] if wanted else statement).decode()
        return self._ask(text, wanted[1].decode() if wanted else "TabSeparated", values)

    def _ask(self, text: str, form: str = "TabSeparated", values: dict[str, str] | None = None) -> bytes:
        said: bytes = self._connection.query(text, form, params=values or {}).bytes()
        return said


class Answering(BaseHTTPRequestHandler):
    """A request as ClickHouse takes it."""

    protocol_version = "HTTP/1.1"
    engine: Engine
    folder: Path

    def do_GET(self) -> None:
        """As POST, with the question in the address."""
        self.do_POST()

    def do_POST(self) -> None:
        """A question, or rows."""
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        statement = "\n".join(filter(None, [options.get("query", ""), ""])).encode() + body
        with (self.folder / "asked").open("a") as log:
            log.write(f"{self.path}\n{statement.partition(b'FORMAT Native')[0].decode()}\n")
        try:
            self._check(statement)
            said = self.engine.answer(statement, options)
        except _Refused as error:
            code = (_CODE.search(str(error)) or [""])[0].removeprefix("Code: ") or "1"
            status = 403 if code == "516" else 404 if code in ("60", "81") else 500
            self._send(status, str(error).encode(), {"X-ClickHouse-Exception-Code": code})
            return
        self._send(200, said, {"X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Summary": "{}"})

    def _check(self, statement: bytes) -> None:
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("authorization") != f"Basic {secret}":
            raise _Refused("Code: 516. DB::Exception: web: Authentication failed (AUTHENTICATION_FAILED)")
        with suppress(FileNotFoundError):
            fault = json.loads((self.folder / "fault").read_text("utf-8") or "{}")
            if fault and re.search(fault["statements"].encode(), statement):
                if fault["silent"]:
                    time.sleep(PATIENCE)
                raise _Refused(f"Code: {fault['code']}. DB::Exception: {fault['text']}")

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return lz4.frame.decompress(body) if self.headers.get("content-encoding") == "lz4" else body

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: what was asked is in a file."""


def main() -> None:
    """Serve until the end."""
    Answering.folder = Path(sys.argv[1])
    Answering.engine = Engine(Answering.folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Answering)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
