"""What every test stands on: a clean environment, hypothesis profiles, the browser, the database."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from consentmw.recorder.processes import living

from . import clickhouse as rows
from .postgres import Server

ROOT = Path(__file__).parent.parent

#: the environment as the caller set it, before it is cleaned; only the search for a browser sees it
_CALLER = dict(os.environ)

# A developer's own keys or store must neither help nor harm a test.
for _name in [name for name in os.environ if name.startswith("CONSENTMW_")]:
    del os.environ[_name]

# Machines are shared and slow at times: time is no verdict here, a found example is.
settings.register_profile(
    "ci", max_examples=100, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", settings.get_profile("ci"), max_examples=5_000)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _no_leaking_options() -> Iterator[None]:
    """A test that leaves an option of ours in the environment fails, before it misleads the next one."""
    yield
    left = sorted(name for name in os.environ if name.startswith("CONSENTMW_"))
    for name in left:
        del os.environ[name]
    assert not left, f"left in the environment: {left}; set it through monkeypatch"


@pytest.fixture(autouse=True)
def _no_recorders_left() -> Iterator[None]:
    """Each site that recorded has a thread; thousands of them, left over, would slow every later test down."""
    before = living()
    yield
    for recorder in living() - before:
        recorder.close(1.0)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium to drive. Without one a browser test fails and says how to get it: a skip would prove nothing."""
    search = [str(ROOT / "scripts" / "find-browser")]
    found = subprocess.run(search, env=_CALLER, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(found.stderr.strip(), pytrace=False)
    return found.stdout.strip()


@pytest.fixture(scope="session")
def uap_core() -> Path:
    """The folder with the fixtures of uap-core. Without one a test fails and says how to get it."""
    search = [str(ROOT / "scripts" / "find-uap-core")]
    found = subprocess.run(search, env=_CALLER, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(found.stderr.strip(), pytrace=False)
    return Path(found.stdout.strip())


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[Server]:
    search = [str(ROOT / "scripts" / "find-postgres")]
    found = subprocess.run(search, env=_CALLER, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(found.stderr.strip(), pytrace=False)
    server = Server(Path(found.stdout.strip()))
    yield server
    server.remove()


@pytest.fixture
def postgres(_postgres_server: Server) -> Server:
    """A PostgreSQL server that runs and holds nothing of ours, whatever the test before did to it."""
    _postgres_server.start()
    _postgres_server.run("DROP SCHEMA IF EXISTS consentmw CASCADE")
    return _postgres_server


@pytest.fixture(scope="session")
def _clickhouse_server() -> Iterator[rows.Server]:
    server = rows.Server()
    yield server
    server.remove()


@pytest.fixture
def clickhouse(_clickhouse_server: rows.Server, monkeypatch: pytest.MonkeyPatch) -> rows.Server:
    """A ClickHouse server that runs, with an empty database ``site``, whatever the test before did to it."""
    _clickhouse_server.fails()
    _clickhouse_server.start()
    _clickhouse_server.run("DROP DATABASE IF EXISTS site SYNC")
    _clickhouse_server.run("CREATE DATABASE site")
    monkeypatch.setenv("CONSENTMW_CLICKHOUSE_PASSWORD", rows.PASSWORD)
    return _clickhouse_server
