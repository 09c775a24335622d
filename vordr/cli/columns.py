"""Columns of text: docker's plain ones, and the same with colour where a person looks.

The fast path imports this at every call, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import sys

from vordr.cli.units import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_GAP: Final = 3
_BOLD: Final = "1"
_STYLES: Final = (
    ("Up", "32"), ("Exited (0)", "2"), ("Exited", "31"), ("Created", "36"), ("committed", "32"),
    ("aborted", "31"), ("open", "33"),
)
"""What a cell begins with, and its colour: parameters of ECMA-48's SGR."""


def for_terminal(text: str) -> str:
    """``text`` as it is for a program, and without what would move a terminal's cursor for a person: labels
    and commands of containers are chosen by others."""
    if not sys.stdout.isatty():
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell and three blanks, as docker's."""
    for cells in _padded(rows):
        print(for_terminal("".join(cells)))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """As :func:`print_aligned`, the first row being headings: with colour on a terminal that wants it
    (https://no-color.org). Cells are :func:`~vordr.cli.units.printable`."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    if plain:
        print_aligned(rows)
        return
    heading, *rest = _padded(rows)
    print(_styled("".join(heading), _BOLD))
    for cells in rest:
        print("".join(_styled(cell, _style(cell)) for cell in cells))


def cell(value: object) -> str:
    return "" if value is None else printable(str(value))


def _padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells padded to their columns' widths, but for the last of each row."""
    count = max((len(row) for row in rows), default=0)
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(count)]
    return [
        [*(text.ljust(widths[i] + _GAP) for i, text in enumerate(row[:-1])), *row[-1:]] for row in rows
    ]


def _style(text: str) -> str:
    for start, style in _STYLES:
        if text.startswith(start):
            return style
    return ""


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style else text
