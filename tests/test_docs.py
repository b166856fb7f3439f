"""The documentation is a contract: every option, page, command and benchmark is in it, and nothing that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consentmw import Settings
from consentmw.consent import Consent
from consentmw.events import TIER_FIELDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def test_every_option_is_documented_and_no_other() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", text("settings.md"), re.MULTILINE))
    assert named == set(Settings.model_fields)


def test_the_reference_example_names_every_option_and_works() -> None:
    path = ROOT / "demo_site" / "consent.toml"
    named = set(re.findall(r"^(?:# )?\[?([a-z_]+)(?:\.\w+\]| = )", path.read_text("utf-8"), re.MULTILINE))
    assert set(Settings.model_fields) - named == {"secret_keys"}
    assert Settings.load(path).debug


@pytest.mark.parametrize(
    "page",
    [
        "choices",
        "history",
        "locale",
        "opt-out",
        "receipt",
        "data",
        "take",
        "state",
        "held",
        "csp",
        "px",
        "go",
        "events",
        "mail",
        "leaving",
        "static",
    ],
)
def test_every_page_is_documented(page: str) -> None:
    assert f"/privacy/{page}" in text("pages.md")


def test_what_a_host_application_holds_is_documented() -> None:
    public = {name for name in dir(Consent) if not name.startswith("_")}
    page = text("application.md")
    assert {name for name in public if f"`{name}" not in page} == set()


def test_every_tier_is_documented() -> None:
    for tier in TIER_FIELDS:
        assert f"`{tier}`" in text("recording.md")


def test_every_benchmark_is_in_the_report() -> None:
    page = text("performance.md")
    folder = ROOT / "benchmarks"
    for script in [*folder.glob("p*_*.py"), folder / "outage.py", folder / "soak.py"]:
        assert f"**{script.stem.partition('_')[0].upper()}**" in page, script.name


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
