"""The files around the code agree with it and with each other."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements" / "lock.txt").read_text("utf-8")
PINS = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LOCK.splitlines() if "==" in line
}


def own_files() -> Iterator[Path]:
    """Every file of the project: not what git ignores, nor git's own."""
    ignored = {line.strip().strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()} | {".git"}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in ignored and not f.endswith(".egg-info")]
        yield from (Path(folder, file) for file in files if file not in ignored and not file.endswith(".pyc"))


def requirements() -> list[Requirement]:
    project = PROJECT["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    texts += [text for group in PROJECT["dependency-groups"].values() for text in group]
    return [Requirement(text) for text in texts]


def make(*arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_says_how_to_start(command: str) -> None:
    assert command in (ROOT / "README.md").read_text("utf-8")


def test_readme_is_short_enough_to_be_read() -> None:
    assert (ROOT / "README.md").read_text("utf-8").count("\n") <= 120


def test_changelog_begins_with_the_version_that_is_built() -> None:
    heading = re.search(r"^## \[?([0-9][^\s\]]*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heading is not None
    assert heading[1] == PROJECT["project"]["version"]


def test_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")
    assert PROJECT["project"]["license"] == "MIT"


def test_types_are_promised() -> None:
    """Without this marker a type checker ignores every annotation of an installed package."""
    assert (ROOT / "consentmw" / "py.typed").is_file()


@pytest.mark.parametrize("file", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda file: file.name)
def test_pins_name_versions_and_no_place(file: Path) -> None:
    """A pin that names a server or a folder installs on one machine only."""
    for line in file.read_text("utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_pinned_to_a_version_it_allows(requirement: Requirement) -> None:
    pinned = PINS.get(canonicalize_name(requirement.name))
    assert pinned is not None, "run make lock"
    assert requirement.specifier.contains(pinned, prereleases=True)


def test_no_file_names_a_place_on_the_machine_it_was_written_on() -> None:
    # A checkout right below / has a name that innocent text may hold; a home never has.
    folders = {Path.home(), *([ROOT] if len(ROOT.parts) > 2 else [])} - {Path("/")}
    places = [f"{folder}/".encode() for folder in folders]
    found = [str(file.relative_to(ROOT)) for file in own_files() if any(p in file.read_bytes() for p in places)]
    assert not found


def test_make_lists_what_it_can_do() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (help .*)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^{target}:.*## \S", makefile, re.MULTILINE), f"{target} has no line in the help"


def test_make_demo_takes_the_port() -> None:
    assert "PORT=9000 exec" in make("demo", "PORT=9000")
    assert "PORT=8000 exec" in make("demo")


def test_make_test_installs_a_browser_where_none_is() -> None:
    script = make("test")
    assert "scripts/find-browser" in script
    assert "scripts/install-packages chromium" in script


def test_a_named_browser_that_is_none_is_refused() -> None:
    """Whoever sets CONSENTMW_CHROMIUM means that one: another in its place would hide the mistake."""
    environment = {**os.environ, "CONSENTMW_CHROMIUM": str(ROOT / "README.md")}
    done = subprocess.run(
        [str(ROOT / "scripts" / "find-browser")], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "CONSENTMW_CHROMIUM" in done.stderr


def test_make_test_installs_a_database_server_where_none_is() -> None:
    script = make("test")
    assert "scripts/find-postgres" in script
    assert "scripts/install-packages postgresql" in script


def test_a_named_database_server_that_is_none_is_refused() -> None:
    environment = {**os.environ, "CONSENTMW_POSTGRES": str(ROOT)}
    done = subprocess.run(
        [str(ROOT / "scripts" / "find-postgres")], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "CONSENTMW_POSTGRES" in done.stderr


def test_make_test_installs_what_agents_are_compared_with_where_it_is_missing() -> None:
    script = make("test")
    assert "scripts/find-uap-core" in script
    assert "scripts/install-packages uap-core" in script
    assert re.search(r"scripts/install-reference \S+ agent", script)


def test_named_fixtures_that_are_none_are_refused() -> None:
    environment = {**os.environ, "CONSENTMW_UAP_CORE": str(ROOT)}
    done = subprocess.run(
        [str(ROOT / "scripts" / "find-uap-core")], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "CONSENTMW_UAP_CORE" in done.stderr


def test_without_the_right_to_install_it_says_what_to_type(tmp_path: Path) -> None:
    """No apt on the path: the script must fail with the packages' names, not with a shell error."""
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "install-packages"), "chromium", "fonts-liberation"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("chromium fonts-liberation")
