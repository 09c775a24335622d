"""``vordr ps``."""

from __future__ import annotations

from typing import Any, Final

import click

from vordr.cli import shapes
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_formatted, print_json, print_rows
from vordr.cli.units import PS_COLUMNS, age_order
from vordr.model.arguments import ListArgs
from vordr.model.errors import UsageError

FILTERS: Final = ("name", "id", "status", "label", "ancestor", "exited")


@click.command("ps", cls=Command, context_settings=HELP)
@click.option("-a", "--all", "every", is_flag=True, help="Show those that are not running too.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("-n", "--last", type=click.IntRange(min=0), metavar="N",
              help="Show the N newest, in any state.")
@click.option("-l", "--latest", is_flag=True, help="Show the newest, in any state.")
@click.option("--no-trunc", is_flag=True, help="Cut nothing.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE",
              help=f"Show a part only: {', '.join(FILTERS)}.")
@click.option("--format", "form", metavar="FORM",
              help="A Go template such as '{{.Names}}\\t{{.Status}}', 'table …', or json.")
@click.pass_obj
def command(
    session: Session, every: bool, quiet: bool, last: int | None, latest: bool, no_trunc: bool,
    filters: tuple[str, ...], form: str | None,
) -> None:
    """List containers, the newest first."""
    last = 1 if latest else last
    parsed = parse_filters(filters)
    every = every or last is not None or bool({"status", "exited"} & parsed.keys())
    listed = session.engine().call("list", ListArgs(all=every, filters=parsed)).answer.containers
    newest = sorted(listed, key=age_order, reverse=True)[:last]
    if session.json:
        print_json(shapes.containers(newest))
        return
    rows = [shapes.ps_row(c, session.now_us(), full=no_trunc) for c in newest]
    if quiet:
        for row in rows:
            print(row["ID"])
    elif form is not None:
        labels = {c.id: c.spec.labels for c in newest}
        print_formatted(rows, form, PS_COLUMNS, lambda row: {"Label": _label(labels, row)})
    else:
        print_rows(rows, PS_COLUMNS)


def parse_filters(given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """``KEY=VALUE`` pairs; several values of one key are alternatives. Raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or key not in FILTERS:
            raise UsageError(
                f"unknown filter {pair!r}", remedy=f"KEY=VALUE, with KEY one of {', '.join(FILTERS)}")
        found[key] = (*found.get(key, ()), value)
    return found


def _label(labels: dict[str, dict[str, str]], row: Any) -> Any:
    mine = next((found for full, found in labels.items() if full.startswith(row["ID"])), {})
    return lambda key: mine.get(key, "")
