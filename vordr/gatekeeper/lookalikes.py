"""Names of people and operators that could be taken for others' (Unicode TR 39, without its tables).

What a trust store calls a key's owner or a log's operator is what people read in a verdict, and operators
are counted by it. So a name must show all that is in it, and no word may mix the scripts whose letters look
alike. A word wholly in another script is let pass: many are somebody's name.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_ALIKE: Final = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE")
_LONGEST: Final = 500


def fault(name: str) -> str | None:
    """Why ``name`` could be taken for another; None for a plain one, and for none at all."""
    if len(name) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if not name.isprintable():
        return "holds characters that do not show"
    if name != " ".join(name.split()) or name != unicodedata.normalize("NFC", name):
        return "is not in its plain spelling (spaces, accents)"
    for word in re.findall(r"[^\W\d_]+", name):
        found = {script for letter in word for script in _ALIKE if _is_of(script, letter)}
        if len(found) > 1:
            return f"mixes {' and '.join(sorted(one.title() for one in found))} letters in one word"
    return None


def folded(name: str) -> str:
    """What names have in common that differ in case, width or ligatures only."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_of(script: str, letter: str) -> bool:
    """Full width letters are of their script too: their names begin with FULLWIDTH."""
    return unicodedata.name(letter, "").removeprefix("FULLWIDTH ").startswith(script)
