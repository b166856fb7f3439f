"""What people install works without the checkout: templates, styles, notices and the command are in the wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

#: a whole site in one file, run by the Python of the fresh environment; prints what a visitor got, as JSON
SITE = r"""
import asyncio, json, pathlib, re, sys
import consentmw

async def site(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<!doctype html><title>t</title><body><p>Hello</p></body>"})

app = consentmw.ConsentMiddleware(site, {"debug": True, "site_name": "X", "store": "memory:"})

async def get(target):
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"site.example"), (b"accept", b"text/html")],
        "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 80),
    }
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    types = [value.decode() for name, value in start["headers"] if name.lower() == b"content-type"]
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return {"status": start["status"], "type": types[0] if types else "", "body": body.decode("utf-8", "replace")}

async def visit():
    home = await get("/")
    sheets = re.findall(r'<link\b[^>]*\bhref="?([^">\s]+\.css[^">\s]*)', home["body"])
    return {
        "package": str(pathlib.Path(consentmw.__file__).parent),
        "home": home,
        "sheets": {sheet: await get(sheet) for sheet in sheets},
        "notice": await get("/privacy"),
        "choices": await get("/privacy/choices"),
    }

print(json.dumps(asyncio.run(visit())))
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))[:200]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution and not from the checkout: what one lacks, so does the other."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT, cwd=dist)
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that holds the wheel and what it depends on, nothing more."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    programs = home / "venv" / "bin"
    pins = ROOT / "requirements" / "lock.txt"
    pip = (programs / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    run(*pip, "--constraint", pins, wheel, cwd=home)
    return programs


@pytest.fixture(scope="module")
def visit(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a visitor gets from a site that runs on the installed package."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "site.py").write_text(SITE, "utf-8")
    # -P keeps the script's folder off the path, -W error holds an installed package to what tests are held to.
    seen: dict[str, Any] = json.loads(run(installed / "python", "-P", "-W", "error", "site.py", cwd=elsewhere))
    return seen


def test_wheel_holds_every_file_that_is_not_code(wheel: Path) -> None:
    """Templates and static files live outside the package in the checkout: each one has to arrive inside it."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"consentmw/{file.relative_to(ROOT).as_posix()}"
        for folder in ("templates", "static")
        for file in (ROOT / folder).rglob("*")
        if file.is_file()
    }
    expected |= {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "consentmw").rglob("*")
        if file.is_file() and file.suffix != ".pyc" and file.name != ".DS_Store"
    }
    assert expected <= inside, sorted(expected - inside)
    assert {"consentmw/py.typed", "consentmw/templates", "consentmw/static"} <= {
        *inside,
        *(name.rpartition("/")[0] for name in inside),
    }


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    """No tests, demo, database or secret of the checkout travels along."""
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"consentmw"}
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".db", ".sqlite", ".pyc", ".env"))]


def test_page_carries_the_banner(visit: dict[str, Any]) -> None:
    assert "site-packages" in visit["package"]
    assert visit["home"]["status"] == 200
    assert 'id="consentmw"' in visit["home"]["body"]
    assert "<p>Hello</p>" in visit["home"]["body"]


def test_stylesheet_of_the_banner_is_served(visit: dict[str, Any]) -> None:
    assert visit["sheets"], "the page links no stylesheet"
    for sheet in visit["sheets"].values():
        assert sheet["status"] == 200
        assert sheet["type"].startswith("text/css")
        assert "{" in sheet["body"]


@pytest.mark.parametrize("page", ["notice", "choices"])
def test_our_own_pages_are_served(visit: dict[str, Any], page: str) -> None:
    assert visit[page]["status"] == 200
    assert visit[page]["type"].startswith("text/html")
    assert "</html>" in visit[page]["body"]


@pytest.mark.parametrize("command", [("consentmw",), ("python", "-m", "consentmw")], ids=" ".join)
def test_command_explains_itself(installed: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    assert "Usage" in run(installed / command[0], *command[1:], "--help", cwd=tmp_path)
