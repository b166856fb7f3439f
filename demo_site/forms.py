"""What a visitor typed into a form, as far as a page needs it. Refuses to know which page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

__all__ = ["fields"]

#: the longest text a form field may hold, in characters
_LONGEST: Final = 2000


async def fields(request: Request) -> Mapping[str, str]:
    """The text fields of a posted form, stripped; files and overlong values are left out."""
    async with request.form(max_files=0, max_fields=20) as form:
        return {key: value.strip() for key, value in form.items() if isinstance(value, str) and len(value) <= _LONGEST}
