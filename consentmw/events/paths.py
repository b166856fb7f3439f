"""A path without what could name a customer: words stay, values go.

Knows what the parts of a route look like; refuses to know any particular site's routes.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Final

__all__ = ["template"]

_DEPTH: Final = 8
_LONGEST: Final = 40
#: one plain word or a few joined ones: what the parts of a site's own routes look like
_PLAIN: Final = re.compile(
    r"(?!.*[b-df-hj-np-tv-xz]{6})(?!.*[a-f]{8})[A-Za-z]?[a-z]{1,13}(?:[-_][a-z]{1,13})*(?:\.(?:html?|php|pdf|css|js|png|svg|jpe?g|xml|txt|json))?"
)
#: what a framework or this function already put in place of a value
_PLACE: Final = re.compile(r"\{[A-Za-z_]{1,38}\}")


def template(path: str) -> str:
    """A path with everything that could name a customer replaced by ``{x}``, at most 8 segments deep.

    For applications that give no route of their own. A part is replaced when it holds a digit (account,
    premise and meter numbers, UUIDs), is longer than 40 characters, or is no word that a person would
    write into a route (tokens, e-mail addresses, control characters). Rather a lost route than a leaked
    number: a word that looks odd is replaced too.
    """
    return _template(path[:1024])


@lru_cache(maxsize=2048)
def _template(path: str) -> str:
    parts = [part for part in path.split("/", _DEPTH * 2) if part]
    shown = [part if _PLAIN.fullmatch(part) and len(part) <= _LONGEST else _segment(part) for part in parts[:_DEPTH]]
    if len(parts) > _DEPTH and shown[-1] != "{rest}":
        shown[-1] = "{rest}"
    return "/" + "/".join(shown)


def _segment(part: str) -> str:
    if _PLACE.fullmatch(part):
        return part
    if len(part) > _LONGEST:
        return "{x}"
    part = unicodedata.normalize("NFC", part)
    # Letters and marks of any script, but no numerals of any script.
    if not all(c in "-_~" or (unicodedata.category(c)[0] in "LM" and not c.isnumeric()) for c in part):
        return "{x}"
    if not part.isascii():
        return part if len(part) <= _LONGEST else "{x}"
    return "{x}" if any(_odd(word) for word in re.split(r"[-_~]", part)) else part


def _odd(word: str) -> bool:
    """Whether a word of ASCII letters looks drawn rather than written: a token, not a name for a page."""
    lower = word.lower()
    changes = sum(a.islower() and b.isupper() for a, b in pairwise(word))
    vowels = sum(c in "aeiouy" for c in lower)
    return (
        changes > 3
        or (changes > 1 and len(word) < 4 * changes)
        or re.search("[b-df-hj-np-tv-xz]{6}", lower) is not None
        or re.search("[a-f]{8}", lower) is not None
        or (len(word) > 11 and vowels * 5 < len(word))
    )
