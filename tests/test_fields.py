"""Structured fields are read as RFC 9651 has them, and what breaks the grammar anywhere is nothing at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.events.fields import bare, items


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ('"A";v="1", "B C";v="2"', [("A", {"v": "1"}), ("B C", {"v": "2"})]),
        ('"A"', [("A", {})]),
        ("  a , \tb  ", [("a", {}), ("b", {})]),
        ('"a\\"b\\\\c"', [('a"b\\c', {})]),
        ('"a, b;c";v', [("a, b;c", {"v": "1"})]),
        ('"A"; v="1";v="2"; w=?0', [("A", {"v": "2", "w": "0"})]),
        (
            "1, -2.5, ?1, :YQ==:, @1659578233, *tok/en:x",
            [(text, {}) for text in ("1", "-2.5", "1", "YQ==", "1659578233", "*tok/en:x")],
        ),
        ("", []),
        ("   ", []),
    ],
)
def test_a_list_has_members_with_parameters(field: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert items(field) == found


@pytest.mark.parametrize(
    "broken",
    [
        '"A", ',
        ",",
        '"A",,"B"',
        '"A" "B"',
        '"A',
        'A"',
        '"\\x"',
        '"é"',
        '"a\x00"',
        '"a\tb"',
        "?2",
        "?",
        "(a b)",
        '"A";',
        '"A";V=1',
        '"A";v=',
        '"A";v="',
        "-",
        "1.2345",
        "1.",
        "1234567890123456",
        "1.2.3",
        ":a",
        "%",
        '"A"\n',
        "\ufeffa",
        '%"f%c3%bc"',
        '"A" ;v=1',
    ],
)
def test_a_broken_field_is_no_field(broken: str) -> None:
    """Its first members too: a browser that sends half a list may mean something else by it."""
    assert items(f'"first", {broken}') == []
    assert bare(broken) == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('"Windows"', "Windows"),
        (" ?1 ", "1"),
        ("?0", "0"),
        ('""', ""),
        ('"Pixel 9 Pro";x=1', "Pixel 9 Pro"),
        ("a, b", ""),
        ("", ""),
    ],
)
def test_a_single_item_is_its_value(field: str, value: str) -> None:
    assert bare(field) == value


@given(st.text(st.sampled_from('"\\;=,?:@() \tav1.-*é\x00'), max_size=60) | st.text(max_size=60))
def test_no_field_breaks_the_reader(field: str) -> None:
    assert all(isinstance(name, str) and isinstance(values, dict) for name, values in items(field))
    assert isinstance(bare(field), str)


@pytest.mark.parametrize("piece", ['"', '\\"', "a;", "a=", '"a', ",a", " ", ";a=1"])
def test_a_long_field_is_read_in_one_pass(piece: str) -> None:
    """A reader that tried every way to split this would not end."""
    assert items('"' + piece * 100_000) == [] or piece == "a;"
