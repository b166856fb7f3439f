"""Real servers, with and without a root_path: the same application answers the same on all of them.

uvicorn takes the prefix as what a proxy cut off and puts it in front of the path; hypercorn and
granian are asked with the prefix in the path. Both are what ASGI's root_path means.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode

import pytest

ROOT = Path(__file__).parent.parent
APP = "tests.served:app"
#: seconds that a server may take to listen or to answer before a test fails instead of hanging
PATIENCE = 30

Connection: TypeAlias = http.client.HTTPConnection

COMMANDS = {
    "uvicorn-h11": ["uvicorn", APP, "--host=127.0.0.1", "--port={port}", "--http=h11", "--log-level=warning"],
    "uvicorn-httptools": ["uvicorn", APP, "--host=127.0.0.1", "--port={port}", "--http=httptools"],
    "hypercorn": ["hypercorn", APP, "--bind=127.0.0.1:{port}"],
    "granian": ["granian", "--interface=asgi", "--host=127.0.0.1", "--port={port}", APP],
}
ROOT_OPTION = {"granian": "--url-path-prefix=/sub"}


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, what stands before each path a browser sees and before one we ask for."""

    port: int
    root: str
    asked: str

    def connect(self) -> Connection:
        return Connection("127.0.0.1", self.port, timeout=PATIENCE)


@dataclass(frozen=True)
class Answer:
    """One whole answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@pytest.fixture(scope="module", params=[(name, root) for name in COMMANDS for root in ("", "/sub")], ids="".join)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own process on a free port; ended by its own id."""
    name, root = request.param
    port = free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in COMMANDS[name])]
    if root:
        command.append(ROOT_OPTION.get(name, f"--root-path={root}"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(port, process)
        yield Server(port, root, "" if name.startswith("uvicorn") else root)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    """A connection to it, closed afterwards."""
    with closing(server.connect()) as opened:
        yield opened


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    process.kill()
    pytest.fail(f"the server did not listen:\n{process.communicate()[0].decode()}", pytrace=False)


def ask(
    connection: Connection,
    path: str,
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
    form: dict[str, str] | None = None,
) -> Answer:
    """Send one request with exactly these headers, repeated ones included, and read its answer to the end."""
    sent = urlencode(form).encode() if form is not None else b""
    connection.putrequest(method, path)
    for name, value in headers:
        connection.putheader(name, value)
    if form is not None:
        connection.putheader("content-type", "application/x-www-form-urlencoded")
        connection.putheader("content-length", str(len(sent)))
    connection.endheaders(sent)
    response = connection.getresponse()
    return Answer(response.status, response.getheaders(), response.read())


def test_a_page_is_gated_and_every_address_has_the_root(server: Server, connection: Connection) -> None:
    answer = ask(connection, f"{server.asked}/")
    text = answer.body.decode()
    assert answer.status == 200
    assert f'action="{server.root}/privacy/choices"' in text
    assert f'href="{server.root}/privacy/static/' in text
    assert '<iframe src="https://www.youtube.com' not in text
    assert [line.partition("=")[0] for line in answer.values("set-cookie")] == ["mine"]
    assert answer.values("content-length") == [str(len(answer.body))]


@pytest.mark.parametrize("path", ["/privacy", "/privacy/choices", "/privacy/locale", "/.well-known/gpc.json"])
def test_our_own_pages_answer_under_the_root(server: Server, connection: Connection, path: str) -> None:
    answer = ask(connection, server.asked + path)
    assert answer.status == 200
    assert answer.values("content-length") == [str(len(answer.body))]


def test_a_stream_arrives_while_it_is_written(server: Server, connection: Connection) -> None:
    """The second half is written only after the first was read: who holds a page back waits here for ever."""
    connection.request("GET", f"{server.asked}/stream")
    response = connection.getresponse()
    first = b""
    while b"<h1>Home</h1>" not in first:
        piece = response.read1(4096)
        assert piece, "the page ended too early"
        first += piece
    with closing(server.connect()) as other:
        assert ask(other, f"{server.asked}/on").status == 204
    rest = response.read()
    assert response.getheader("content-length") is None
    assert b'id="consentmw"' in first
    assert rest.endswith(b"</html>\n")
    assert b' src="https://www.youtube.com' not in rest.replace(b"data-consentmw-src", b"")


def test_many_answers_come_over_one_connection(server: Server, connection: Connection) -> None:
    """A length that is wrong by a byte, or a body behind a HEAD, would garble the next answer."""
    ask(connection, f"{server.asked}/told")
    first = connection.sock
    for method, path in (("HEAD", "/"), ("GET", "/"), ("HEAD", "/privacy"), ("GET", "/privacy"), ("HEAD", "/told")):
        answer = ask(connection, server.asked + path, method)
        assert answer.status == 200
        assert bool(answer.body) == (method == "GET")
    assert connection.sock is first is not None, "the connection was kept alive"


def test_a_choice_counts_on_the_next_page_even_in_a_second_cookie_header(
    server: Server, connection: Connection
) -> None:
    """HTTP/2 allows several Cookie headers, and servers hand them on as they come."""
    own = (("sec-fetch-site", "same-origin"),)
    form = {"action": "accept", "surface": "banner", "return": f"{server.root}/"}
    chosen = ask(connection, f"{server.asked}/privacy/choices", "POST", own, form)
    assert chosen.status == 303
    assert chosen.values("location") == [f"{server.root}/"]
    (cookie,) = (line.partition(";")[0] for line in chosen.values("set-cookie"))
    told = ask(connection, f"{server.asked}/told", headers=(("cookie", "a=1"), ("cookie", cookie)))
    assert json.loads(told.body) == {"analytics": True, "choices": f"{server.root}/privacy/choices"}
    page = ask(connection, f"{server.asked}/", headers=(("cookie", cookie),))
    assert b'<iframe src="https://www.youtube.com' in page.body
    assert b'id="consentmw"' not in page.body


def test_a_form_from_another_site_is_refused(server: Server, connection: Connection) -> None:
    foreign = (("sec-fetch-site", "cross-site"),)
    answer = ask(connection, f"{server.asked}/privacy/choices", "POST", foreign, {"action": "accept"})
    assert answer.status == 403
    assert answer.values("set-cookie") == []
