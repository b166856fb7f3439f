"""Settings are whole or the process does not start: every refusal names the option, and no secret is ever shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import Settings, SettingsError
from consentmw.settings import KEYS_VARIABLE

KEY = "a key for tests that is long enough"
DEMO = Path(__file__).parent.parent / "demo_site" / "consent.toml"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prefix", "privacy"),
        ("prefix", "/privacy/"),
        ("prefix", "/../etc"),
        ("prefix", "/a b"),
        ("prefix", "/"),
        ("prefix", "//evil.example"),
        ("site_name", ""),
        ("languages", ()),
        ("languages", ("en", "../es")),
        ("default_language", "fr"),
        ("trusted_proxies", ("10.0.0.1/8",)),
        ("trusted_proxies", ("everybody",)),
        ("valid_days", 0),
        ("valid_days", 391),
        ("valid_days", "soon"),
        ("cookie_name", "a;b"),
        ("cookie_name", ""),
        ("banner_position", "middle"),
        ("record", "everything"),
        ("ip", "hashed"),
        ("store", "sqlite:///"),
        ("store", "mysql://x"),
        ("retention_days", {"visit": 0}),
        ("retention_days", {"forever": 30}),
        ("queue_capacity", 1),
        ("flush_seconds", 0),
        ("token_days", -1),
        ("stylesheet", "https://cdn.example/a.css"),
        ("secret_keys", ("short",)),
        ("templates", Path("/nowhere/at/all")),
        ("region_choices", [{"code": "Iowa", "label": "IOWA"}]),
        ("region_choices", [{"code": "US-IA", "label": ""}]),
        ("own_hosts", ("https:",)),
        ("own_hosts", ("*",)),
        ("own_hosts", ("cdn.example.net/path",)),
        ("unknown", "maybe"),
        ("unknown", {"script": "maybe"}),
        ("unknown", {"scripts": "allow"}),
        ("unknown", ["allow"]),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.of({"debug": True, option: value})
    assert caught.value.key.partition(".")[0] == option
    assert str(caught.value).startswith(option)


def test_an_unknown_option_is_refused_with_the_ones_there_are() -> None:
    """A misspelt option that is silently ignored would be a promise that nobody keeps."""
    with pytest.raises(SettingsError, match="valid_days") as caught:
        Settings.of({"debug": True, "valid_day": 3})
    assert caught.value.key == "valid_day"
    assert "secret_keys" not in str(caught.value), "no option for a file"


def test_without_a_key_only_a_developer_may_start() -> None:
    with pytest.raises(SettingsError, match=KEYS_VARIABLE):
        Settings.of({})
    first, second = Settings.of({"debug": True}), Settings.of({"debug": True})
    assert first.secret_keys != second.secret_keys, "a key of this process, not one in the source"
    assert len(first.secret_keys[0]) >= 32


def test_keys_come_from_the_environment_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, f" {KEY} 1 ,{KEY} 2,, ")
    assert Settings.of({}).secret_keys == (f"{KEY} 1", f"{KEY} 2")


def test_a_short_key_in_the_environment_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, f"{KEY},hunter2")
    with pytest.raises(SettingsError) as caught:
        Settings.of({})
    assert "hunter2" not in str(caught.value)


def test_no_key_is_shown_by_repr_or_by_an_error() -> None:
    assert KEY not in repr(Settings.of({"secret_keys": (KEY,)}))
    with pytest.raises(SettingsError) as caught:
        Settings.of({"secret_keys": (KEY, "hunter2"), "valid_days": 5})
    assert KEY not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_a_file_is_refused(tmp_path: Path) -> None:
    """Files get into repositories."""
    file = tmp_path / "consent.toml"
    file.write_text(f'debug = true\nsecret_keys = ["{KEY}"]\n', "utf-8")
    with pytest.raises(SettingsError, match="environment") as caught:
        Settings.load(file)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"debug = ", "valid TOML"), (b"\xff\xfe", "UTF-8"), (b'valid_days = "x"', "valid_days"), (b"", KEYS_VARIABLE)],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "consent.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.load(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        Settings.load(tmp_path / "none.toml")


def test_folders_in_a_file_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "consent.toml").write_text('debug = true\nnotices = "words"\n', "utf-8")
    monkeypatch.chdir("/")
    assert Settings.load(tmp_path / "consent.toml").notices == tmp_path / "words"


def test_keywords_win_over_the_file_and_a_mapping() -> None:
    assert Settings.of(DEMO, valid_days=30).valid_days == 30
    assert Settings.of(DEMO, valid_days=30).site_name == Settings.load(DEMO).site_name
    assert Settings.of({"debug": True, "valid_days": 10}, valid_days=30).valid_days == 30
    assert Settings.of(Settings.of({"debug": True}), valid_days=30).valid_days == 30


def test_some_retention_days_leave_the_others_as_they_were() -> None:
    found = Settings.of({"debug": True}, retention_days={"visit": 30}).retention_days
    assert found["visit"] == 30
    assert found["coarse"] == Settings.of({"debug": True}).retention_days["coarse"]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.of({"debug": True}).debug = False


NONSENSE = st.none() | st.text() | st.integers()


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), NONSENSE))
def test_nonsense_works_or_is_refused_as_a_settings_error(values: dict[str, Any]) -> None:
    """Whatever stands in a file, a person gets a sentence about an option and no traceback."""
    refused: list[SettingsError] = []
    try:
        Settings.of({"debug": True, **values})
    except SettingsError as error:
        refused.append(error)
    assert all(error.key and error.expected for error in refused)


def test_one_word_or_some_words_say_what_becomes_of_unknown_hosts() -> None:
    """A table names what differs from the default, a word says the same for every kind."""
    default = Settings.of({"debug": True}).unknown
    assert default["script"] == default["frame"] == default["pixel"] == "withhold"
    some = Settings.of({"debug": True, "unknown": {"form": "report"}}).unknown
    assert some == {**default, "form": "report"}
    assert set(Settings.of({"debug": True, "unknown": "report"}).unknown.values()) == {"report"}
