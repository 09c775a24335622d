"""Printing: JSON, docker's columns, Go templates, and tables with colour where a person looks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from vordr.cli.wording import printable

Row = Mapping[str, Any]
Columns = Sequence[tuple[str, str]]
"""(heading, field) of each column."""

_GAP: Final = 3
_STYLES: Final = (
    ("Up", "green"), ("Exited (0)", "dim"), ("Exited", "red"), ("Created", "cyan"), ("committed", "green"),
    ("aborted", "red"), ("open", "yellow"),
)


def print_json(value: Any) -> None:
    """One JSON document, indented for a terminal, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    print(for_terminal(json.dumps(value, indent=indent, ensure_ascii=False)))


def for_terminal(text: str) -> str:
    """``text`` as it is for a program, and without what would move a terminal's cursor for a person: labels
    and commands of containers are chosen by others."""
    if not sys.stdout.isatty():
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def print_rows(rows: Sequence[Row], columns: Columns) -> None:
    """A table: with colour on a terminal, docker's plain columns elsewhere."""
    if sys.stdout.isatty():
        _print_rich(rows, columns)
    else:
        headings = [heading for heading, _ in columns]
        print_aligned([headings, *([_cell(row[name]) for _, name in columns] for row in rows)])


def print_formatted(
    rows: Iterable[Row], form: str, columns: Columns, methods: Callable[[Row], Row] | None = None
) -> None:
    """docker's ``--format``: ``json``, ``table``, ``table TEMPLATE`` or ``TEMPLATE``, one line for each row.

    ``methods`` gives a row's callables, for ``{{.Label "key"}}``. Raises UsageError.
    """
    if form == "json":
        for row in rows:
            print(for_terminal(json.dumps(row, ensure_ascii=False)))
        return
    if form == "table":
        print_rows(list(rows), columns)
        return
    from vordr.cli.gotemplate import Template

    as_table = form.startswith("table ")
    source = form.removeprefix("table ").replace("\\t", "\t").replace("\\n", "\n")
    template = Template(source)
    headings = {name: heading for heading, name in columns}
    lines = [template.render({**row, **(methods(row) if methods else {})}) for row in rows]
    if as_table:
        print_aligned([line.split("\t") for line in (template.headings(headings), *lines)])
    else:
        for line in lines:
            print(for_terminal(line))


def print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell and three blanks, as docker's."""
    count = max((len(row) for row in rows), default=0)
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(count)]
    for row in rows:
        cells = [cell.ljust(widths[i] + _GAP) for i, cell in enumerate(row[:-1])]
        print(for_terminal("".join((*cells, *row[-1:]))))


def _cell(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _print_rich(rows: Sequence[Row], columns: Columns) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, _ in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = [_cell(row[name]) for _, name in columns]
        table.add_row(*(Text(cell, style=_style(cell)) for cell in cells))
    Console().print(table)


def _style(cell: str) -> str:
    return next((style for start, style in _STYLES if cell.startswith(start)), "")
