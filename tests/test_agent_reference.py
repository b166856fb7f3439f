"""Agents are read as public fixtures read them, and programs found as public lists find them; the shares are told.

The fixtures are those of uap-core, the project behind ua-parser, as Debian ships them; the list is
crawler-user-agents. Each test prints what it measured (pytest -rP shows it) and fails below it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from consentmw.events.agents import read_agent
from consentmw.visitor import Visitor

TESTS = Path(__file__).parent


def cases(file: Path) -> list[dict[str, Any]]:
    """A file of uap-core."""
    # The C loader: the other one takes a minute for three megabytes.
    return list(yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)["test_cases"])


def share(what: str, right: int, of: int) -> float:
    print(f"{what}: {right} of {of}, {right / of:.2%}")  # noqa: T201
    return right / of


def bot(agent: str) -> str:
    return Visitor.read({"headers": [(b"user-agent", agent.encode("utf-8"))]}).bot


@pytest.fixture(scope="module")
def devices(uap_core: Path) -> list[dict[str, Any]]:
    return cases(uap_core / "test_device.yaml")


@pytest.mark.parametrize(
    ("file", "key", "measured"), [("test_ua.yaml", "browser", 0.998), ("test_os.yaml", "os", 0.997)]
)
def test_families_are_those_of_the_fixtures(uap_core: Path, file: str, key: str, measured: float) -> None:
    """What differs was renamed between the fixtures' version and that of the patterns."""
    found = cases(uap_core / file)
    assert len(found) > 400
    right = sum(read_agent(case["user_agent_string"])[key] == case["family"] for case in found)
    assert share(f"{key} families as in uap-core's {file}", right, len(found)) >= measured


def test_versions_are_those_of_the_fixtures(uap_core: Path) -> None:
    found = [case for case in cases(uap_core / "test_ua.yaml") if case["major"]]
    right = sum(
        read_agent(case["user_agent_string"])["agent"].startswith(f"{case['family']} {case['major']}") for case in found
    )
    assert share("browser versions as in uap-core's test_ua.yaml", right, len(found)) >= 0.998


def test_classes_are_those_of_the_fixtures(devices: Sequence[dict[str, Any]]) -> None:
    """uap-core knows no classes but programs; of iPhones, iPads and Macs the class is known all the same."""
    wanted = {"Spider": "bot", "iPhone": "mobile", "iPad": "tablet", "Mac": "desktop"}
    found = [case for case in devices if case["family"] in wanted]
    right = sum(read_agent(case["user_agent_string"])["device"] == wanted[case["family"]] for case in found)
    assert len(found) > 50
    assert share("device classes of uap-core's test_device.yaml", right, len(found)) == 1


def test_programs_of_the_fixtures_are_found(devices: Sequence[dict[str, Any]]) -> None:
    found = [case["user_agent_string"] for case in devices if case["family"] == "Spider"]
    right = sum(bot(agent) != "" for agent in found)
    assert share("programs found among uap-core's spiders", right, len(found)) >= 0.83


def test_people_of_the_fixtures_are_not_taken_for_programs(devices: Sequence[dict[str, Any]]) -> None:
    """The messenger fetches previews under the name of a phone: that one is a program."""
    people = [case["user_agent_string"] for case in devices if case["family"] not in ("Spider", "Other")]
    people = [agent for agent in people if not agent.startswith("WhatsApp/")]
    assert len(people) > 15_000
    right = sum(bot(agent) == "" for agent in people)
    assert share("people left alone among uap-core's devices", right, len(people)) >= 0.9995


def test_programs_of_a_public_list_are_found() -> None:
    home = Path(sys.prefix, "agent_reference", "node_modules", "crawler-user-agents")
    file = home / "crawler-user-agents.json"
    assert file.exists(), "make test installs the list; by hand: scripts/install-reference .venv agent"
    wanted = json.loads((TESTS / "agent_reference" / "package.json").read_text("utf-8"))["dependencies"]
    assert json.loads((home / "package.json").read_text("utf-8"))["version"] == wanted["crawler-user-agents"]
    agents = {agent for entry in json.loads(file.read_text("utf-8")) for agent in entry["instances"]}
    assert len(agents) > 2_000
    right = sum(bot(agent) != "" for agent in agents)
    assert share("programs found in crawler-user-agents", right, len(agents)) >= 0.874
