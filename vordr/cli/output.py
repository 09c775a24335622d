"""Printing: JSON, rows as columns, and Go templates."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vordr.cli.columns import cell, for_terminal, print_aligned, print_table

Row = Mapping[str, Any]
Columns = Sequence[tuple[str, str]]
"""(heading, field) of each column."""


def print_json(value: Any) -> None:
    """One JSON document, indented for a terminal, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    print(for_terminal(json.dumps(value, indent=indent, ensure_ascii=False)))


def print_rows(rows: Sequence[Row], columns: Columns) -> None:
    """A table: with colour on a terminal, docker's plain columns elsewhere."""
    headings = [heading for heading, _ in columns]
    print_table([headings, *([cell(row[name]) for _, name in columns] for row in rows)])


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
