"""Folders that options name."""

from __future__ import annotations

from pathlib import Path

__all__ = ["existing_folder"]


def existing_folder(value: Path | None) -> Path | None:
    """The folder, or None when none was named. Raises ValueError when there is none of that name."""
    if value is not None and not value.is_dir():
        raise ValueError(f"an existing folder, and {value.name!r} is none")
    return value
