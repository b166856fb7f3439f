"""Every option, with its default, its unit and the reason for it; read once at start.

Settings come from a TOML file, a mapping or keywords; secrets come from the environment. A value
that can't work is refused with the file, the key and what was expected, because a privacy
middleware that starts with half its settings is worse than one that doesn't start. The options
themselves are in the modules beside this one, by what they are about.
"""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ConfigDict, ValidationError, model_validator

from ..errors import SettingsError
from .google import GoogleOptions
from .recording import CLICKHOUSE_VARIABLE, POSTGRES, RecordingOptions, clickhouse_parameters, postgres_parameters
from .running import RunningOptions
from .site import MIN_SECRET, SiteOptions

__all__ = [
    "CLICKHOUSE_VARIABLE",
    "GOOGLE_VARIABLE",
    "KEYS_VARIABLE",
    "Settings",
    "clickhouse_parameters",
    "postgres_parameters",
]

#: environment variable with the signing keys, comma separated, oldest first; the last one signs
KEYS_VARIABLE: Final = "CONSENTMW_SECRET_KEYS"
#: environment variable with the Measurement Protocol API secret of the Analytics property
GOOGLE_VARIABLE: Final = "CONSENTMW_GOOGLE_API_SECRET"


class Settings(RecordingOptions, GoogleOptions, RunningOptions, SiteOptions):
    """All options of :class:`consentmw.ConsentMiddleware`; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.default_language not in self.languages:
            raise ValueError(f"default_language: one of languages ({', '.join(self.languages)})")
        if self.google_relay != "off" and not self.google_analytics:
            raise ValueError("google_relay: needs google_analytics, the id of the property")
        return self

    @property
    def guesses_region(self) -> bool:
        """Whether a region may come from headers or a file, so that every region's regime can apply."""
        return bool(self.region_headers or self.networks)

    @property
    def follows_visits(self) -> bool:
        """Whether visits of those who chose it are followed."""
        return self.clickstream and self.record != "none"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Settings:
        """Settings from a TOML file; folders in it are relative to the file. Raises SettingsError."""
        file = Path(path)
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise SettingsError("file", f"a readable TOML file ({error.strerror})", file) from error
        except UnicodeDecodeError as error:
            raise SettingsError("file", "a TOML file in UTF-8", file) from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError("file", f"valid TOML ({error})", file) from error
        for key in ("templates", "notices", "networks", "asn_networks", "spool", "revoked_links", "diagnostic_log"):
            if isinstance(values.get(key), str):
                values[key] = file.parent / values[key]
        if "secret_keys" in values:
            raise SettingsError("secret_keys", f"no secret in a file; set {KEYS_VARIABLE} in the environment", file)
        loaded = cls._build(values, file)
        if loaded.store.startswith(POSTGRES) and {"password", "sslpassword"} & {*postgres_parameters(loaded.store)}:
            raise SettingsError("store", "no password in a file; set PGPASSWORD or PGPASSFILE in the environment", file)
        return loaded

    @classmethod
    def of(cls, value: Settings | Mapping[str, Any] | str | os.PathLike[str] | None, **keywords: Any) -> Settings:
        """Settings from whatever a caller holds: Settings, a mapping, a path, or keywords. Raises SettingsError."""
        if isinstance(value, Settings):
            return value._with_secrets(None) if not keywords else cls._build({**dict(value), **keywords}, None)
        if isinstance(value, (str, os.PathLike)):
            loaded = cls.load(value)
            return loaded if not keywords else cls._build({**dict(loaded), **keywords}, Path(value))
        return cls._build({**(value or {}), **keywords}, None)

    @classmethod
    def _build(cls, values: Mapping[str, Any], path: Path | None) -> Settings:
        try:
            return cls.model_validate(dict(values))._with_secrets(path)
        except ValidationError as error:
            raise _explain(error, path) from None

    def _with_secrets(self, path: Path | None) -> Settings:
        if self.secret_keys:
            return self
        keys = tuple(key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip())
        if any(len(key) < MIN_SECRET for key in keys):
            raise SettingsError(KEYS_VARIABLE, f"keys of at least {MIN_SECRET} characters, separated by commas", path)
        if not keys and not self.debug:
            raise SettingsError(
                KEYS_VARIABLE, "set it in the environment: at least one random key, or debug = true", path
            )
        # A random key is fine while developing: choices made before a restart are simply asked for again.
        return self.model_copy(update={"secret_keys": keys or (secrets.token_urlsafe(32),)})


def _explain(error: ValidationError, path: Path | None) -> SettingsError:
    """The first thing that is wrong, named as in the file."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(set(Settings.model_fields) - {"secret_keys"}))
        message = f"a known option; the options are {known}"
    if not key:
        key, _, message = message.partition(": ")
    return SettingsError(key, message, path)
