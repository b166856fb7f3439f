"""``python -m demo_site``: the site on PORT and the stand-in for third parties on the next port, in one process.

Knows ports, signals and what to print. Refuses to know what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn

from consentmw import Settings
from consentmw.settings import GOOGLE_VARIABLE

from . import certificate
from .app import SETTINGS, build
from .standin import HOSTS, StandIn
from .states import Playing

__all__ = ["main"]

#: certificate, database: everything the demo writes, under the working directory
_DATA: Final = Path("var")
#: what HOST may be for the stand-in to be found at 127.0.0.1, the one address that its certificate names
_CERTIFIED: Final = ("127.0.0.1", "localhost", "0.0.0.0")


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to :func:`_serve`, which has two of them to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> int:
    """Serve until interrupted. Returns 1 when a port is taken or no port, 0 after an orderly end."""
    host = os.environ.get("HOST") or "127.0.0.1"
    try:
        port = int(os.environ.get("PORT") or 8000)
        if not 0 < port < 65535:
            raise ValueError
    except ValueError:
        return _complain("PORT has to be a whole number from 1 to 65534.")
    with contextlib.ExitStack() as stack:
        sockets = []
        for number in (port, port + 1):
            try:
                sockets.append(stack.enter_context(_listen(host, number)))
            except OSError as error:
                # The exception's own words repeat the address in tuples; the system's are enough.
                reason = os.strerror(error.errno) if error.errno else str(error)
                return _complain(f"Cannot listen on {host}:{number} ({reason}); choose another pair with PORT=.")
        asyncio.run(_serve(host, port, *sockets))
    return 0


def _complain(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 1


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is known before anything starts. Raises OSError."""
    # create_server sets SO_REUSEADDR where that is safe, so that a restart need not wait.
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def _serve(host: str, port: int, site_socket: socket.socket, standin_socket: socket.socket) -> None:
    _DATA.mkdir(exist_ok=True)
    pem, key = certificate.ensure(_DATA, HOSTS)
    standin = StandIn()
    site = _Server(
        uvicorn.Config(Playing(build(_settings(host, port, pem), standin)), access_log=False, log_level="warning")
    )
    third_parties = _Server(
        uvicorn.Config(
            standin, access_log=False, log_level="error", lifespan="off", ssl_certfile=pem, ssl_keyfile=str(key)
        )
    )
    servers = (site, third_parties)

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    sys.stdout.write(_welcome(host, port))
    sys.stdout.flush()
    running = [
        asyncio.create_task(site.serve(sockets=[site_socket])),
        asyncio.create_task(third_parties.serve(sockets=[standin_socket])),
    ]
    # If one ends, by a signal or because it could not start, the other has nothing to stay for.
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*running)


def _settings(host: str, port: int, pem: Path) -> Settings:
    """The demo's settings, with a played CDN in front, and the stand-in as where the server's own events go."""
    settings = Settings.of(SETTINGS, region_headers="cloudflare", trusted_proxies=("127.0.0.1",))
    if not settings.google_analytics or host not in _CERTIFIED:
        return settings
    os.environ.setdefault(GOOGLE_VARIABLE, "the stand-in asks for none")
    # Nobody but this process trusts the stand-in's certificate, and it asks for nothing else over TLS.
    os.environ["SSL_CERT_FILE"] = str(pem)
    return Settings.of(settings, google_relay="eu", google_relay_endpoint=f"https://127.0.0.1:{port + 1}/mp/collect")


def _welcome(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return (
        f"Prairie Lakes Energy   http://{name}:{port}\n"
        f"Panel for QA           http://{name}:{port}/qa\n"
        f"Third parties          https://{name}:{port + 1}  (a stand-in; records every request)\n"
        "\n"
        "A browser in which the vendors' hosts are the stand-in, so that nothing leaves this machine:\n"
        f'  chromium --host-resolver-rules="MAP * {name}:{port + 1}, EXCLUDE {name}" --ignore-certificate-errors \\\n'
        f"    --user-data-dir=$(mktemp -d) http://{name}:{port}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
