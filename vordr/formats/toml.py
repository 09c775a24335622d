"""A strict TOML reader (TOML 1.0 by tomllib): bounded nesting, and integers of 64 bits as TOML has them.

tomllib leaves both to its caller: nesting ends in a RecursionError, and a longer integer is kept, so that
later its text cannot be made. The time that tomllib takes grows with the square of the parts of a dotted
key, so texts of others need a bound on their length (8 KiB take half a second at worst).
"""

from __future__ import annotations

import tomllib
from typing import Any, Final

from vordr.formats.errors import FormatError

MAX_DEPTH: Final = 64
_INTEGERS: Final = range(-(2**63), 2**63)


def loads(text: str, where: str) -> dict[str, Any]:
    """The table in ``text``. Times and dates become those of datetime.

    :raises FormatError: not TOML, tables and arrays nested deeper than 64, or an integer beyond 64 bits.
    """
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise FormatError(where, f"nested deeper than {MAX_DEPTH}")
    except ValueError as error:  # TOMLDecodeError, or an integer of too many digits
        raise FormatError(where, f"not TOML: {error}")
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value, where)]
    if level:
        raise FormatError(where, f"nested deeper than {MAX_DEPTH}")
    return table


def _inside(value: Any, where: str) -> list[Any]:
    """The tables and arrays in ``value``, which is one; its integers are looked at."""
    found = list(value.values() if isinstance(value, dict) else value)
    if any(isinstance(one, int) and one not in _INTEGERS for one in found):
        raise FormatError(where, "an integer beyond 64 bits")
    return [one for one in found if isinstance(one, dict | list)]
