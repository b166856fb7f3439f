"""P4: a signed pixel, recorded, against a bare ASGI pixel on the same server; CPU a request, bare ÷ ours.

Ours takes a campaign's signed pixel from visitors who accepted: token, choice, decision, a full row
in SQLite. Beside it: visitors without any choice, who are only counted, and pixels that are signed
for one recipient each, so that no verified token can be remembered and each recipient is looked up
in the ledger, where nobody allowed to be named. Where nginx is installed, its
``empty_gif`` with an access log on the same core is the physical reference.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

import visit
from consentmw import ConsentMiddleware
from consentmw.pages.measuring import GIF
from consentmw.tokens import Tokens
from load import TOTAL, Contender, Server, compare, started, uvicorn

#: more than any cache of verified tokens holds
RECIPIENTS = 6_400

_NGINX = """
daemon off; master_process off; error_log stderr; pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    keepalive_requests 100000000;
    access_log {folder}/access.log combined;
    server {{ listen 127.0.0.1:{port}; location / {{ empty_gif; }} }}
}}
"""


def bare() -> ASGIApp:
    """The least that an ASGI application can do to serve a pixel."""
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"image/gif"), (b"content-length", b"43"), (b"cache-control", b"no-store")],
    }
    body = {"type": "http.response.body", "body": GIF}

    async def pixel(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(start)
            await send(body)

    return pixel


def ours() -> ASGIApp:
    """The whole middleware; the application behind it is never reached."""
    return ConsentMiddleware(visit.json_app(), visit.settings())


@contextmanager
def nginx(program: str) -> Iterator[Server]:
    """One nginx process with an access log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port), "ascii")
        with started([program, "-p", folder, "-c", str(config)], os.environ) as process:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield Server(process.pid, port)


def main() -> None:
    tokens = Tokens(visit.KEYS)
    campaigns = [f"/privacy/px/{tokens.pixel(f'bill-{month}', '')}.gif" for month in range(12)]
    personal = [f"/privacy/px/{tokens.pixel('bill-1', f'recipient-{n}')}.gif" for n in range(RECIPIENTS)]
    accepted = visit.requests(campaigns)
    with ExitStack() as stack:
        environment, file = stack.enter_context(visit.store())
        with ExitStack() as servers:
            plain = servers.enter_context(uvicorn("p4_pixel:bare"))
            signed = servers.enter_context(uvicorn("p4_pixel:ours", environment))
            contenders = {
                "bare ASGI pixel": Contender(plain, accepted),
                "signed, full row": Contender(signed, accepted),
                "signed, no choice: counted": Contender(signed, visit.requests(campaigns, accepted=False)),
                "signed for one recipient: looked up, counted": Contender(signed, visit.requests(personal)),
            }
            if program := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
                contenders["nginx empty_gif, access log"] = Contender(servers.enter_context(nginx(program)), accepted)
            figures = compare(contenders)
        # One of the three contenders of ours leaves rows; the others are only counted.
        visit.check_recorded(file, TOTAL)
    pixel = figures["signed, full row"].cpu
    if "nginx empty_gif, access log" in figures:
        print(f"of nginx: {figures['nginx empty_gif, access log'].cpu / pixel:.2f}")
    print(f"P4 {figures['bare ASGI pixel'].cpu / pixel:.2f}")


if __name__ == "__main__":
    main()
