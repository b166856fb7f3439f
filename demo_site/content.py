"""What the pages say and show: words in two languages, places, outages, a bill, a year of usage.

Knows the files texts.toml and facts.toml and how to turn numbers into drawings. Refuses to know
requests, visitors and templates.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = [
    "FACTS",
    "TEXTS",
    "Bar",
    "Chart",
    "Marker",
    "Town",
    "chart",
    "markers",
    "outlines",
    "places",
    "river",
    "texts",
    "towns",
]

_HERE: Final = Path(__file__).parent

FACTS: Final[dict[str, Any]] = tomllib.loads((_HERE / "facts.toml").read_text("utf-8"))
TEXTS: Final[dict[str, Any]] = tomllib.loads((_HERE / "texts.toml").read_text("utf-8"))

#: the map's corner and scale: degrees to drawing units, with meridians drawn closer as they are at 43.5 degrees north
_WEST, _NORTH, _SCALE, _NARROW = -97.0, 47.3, 100.0, 0.725

#: the chart's drawing area, in its own units
_WIDTH, _HEIGHT, _LEFT, _FLOOR = 720, 300, 48, 262


def texts(language: str) -> Mapping[str, Any]:
    """The words in this language (BCP 47), by its base language, else in English."""
    found: Mapping[str, Any] = TEXTS.get(language) or TEXTS.get(language.partition("-")[0]) or TEXTS["en"]
    return found


def places(region: str) -> list[Mapping[str, str]]:
    """The one place a visitor stated, or both when they stated none."""
    known: dict[str, Mapping[str, str]] = FACTS["places"]
    return [known[region]] if region in known else list(known.values())


def _project(at: Sequence[float]) -> tuple[float, float]:
    return round((at[0] - _WEST) * _NARROW * _SCALE, 1), round((_NORTH - at[1]) * _SCALE, 1)


def outlines() -> list[str]:
    """Each state's border as SVG points."""
    return [_points(border) for border in FACTS["map"]["outlines"].values()]


def river() -> str:
    """The Mississippi between the two states as SVG points."""
    return _points(FACTS["map"]["river"])


def _points(places: Sequence[Sequence[float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in map(_project, places))


@dataclass(frozen=True, slots=True)
class Marker:
    """An outage where it is on the map; the radius grows with the customers affected."""

    number: int
    x: float
    y: float
    radius: float
    label: str


@dataclass(frozen=True, slots=True)
class Town:
    """A town where it is on the map; its name stands as far below as the town's marker needs."""

    name: str
    x: float
    y: float
    below: float


def markers() -> list[Marker]:
    """Every outage as a marker on the map."""
    where = {town["name"]: _project(town["at"]) for town in FACTS["map"]["towns"]}
    return [
        Marker(
            row["number"], *where[row["town"]], round(13 + row["customers"] ** 0.5 * 0.55, 1), f"{row['customers']:,}"
        )
        for row in FACTS["outages"]
    ]


def towns() -> list[Town]:
    """Every town served."""
    taken = {(marker.x, marker.y): marker.radius + 9 for marker in markers()}
    places = ((town["name"], _project(town["at"])) for town in FACTS["map"]["towns"])
    return [Town(name, *at, below=round(taken.get(at, 4) + 20, 1)) for name, at in places]


@dataclass(frozen=True, slots=True)
class Bar:
    """One month of a chart."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A bar chart worked out into drawing units."""

    width: int
    height: int
    left: int
    floor: int
    bars: tuple[Bar, ...]
    #: height on the page and value of each grid line
    grid: tuple[tuple[float, int], ...]
    total: int


def chart(values: Sequence[int], labels: Sequence[str]) -> Chart:
    """Bars for these values over a grid of round numbers; an empty year draws an empty grid."""
    step = next(s for s in (10, 20, 30, 50, 100, 200, 300, 500, 1000, 10**9) if s * 5 >= max(values, default=1))
    top = step * 5
    room = _FLOOR - 14
    slot = (_WIDTH - _LEFT) / max(len(values), 1)
    bars = tuple(
        Bar(
            x=round(_LEFT + slot * i + slot * 0.18, 1),
            y=round(_FLOOR - room * value / top, 1),
            width=round(slot * 0.64, 1),
            height=round(room * value / top, 1),
            label=label,
            value=value,
        )
        for i, (value, label) in enumerate(zip(values, labels, strict=True))
    )
    grid = tuple((round(_FLOOR - room * n / 5, 1), step * n) for n in range(6))
    return Chart(_WIDTH, _HEIGHT, _LEFT, _FLOOR, bars, grid, sum(values))
