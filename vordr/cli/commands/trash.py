"""``vordr trash``: ls, restore and empty."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from vordr.cli import wording
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session, interactive
from vordr.cli.output import Columns, print_json, print_rows
from vordr.cli.shapes import plain
from vordr.cli.targets import act_json
from vordr.model.answers import TrashEntry
from vordr.model.arguments import NoArgs, TrashEmptyArgs, TrashRestoreArgs

COLUMNS: Final[Columns] = (
    ("ID", "id"), ("KIND", "kind"), ("NAME", "name"), ("REMOVED", "removed"), ("KEPT FOR", "left"),
    ("SIZE", "size"),
)


@click.group("trash", context_settings=HELP)
def command() -> None:
    """What was removed and can come back, until its deadline."""


@command.command("ls", cls=Command)
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--no-trunc", is_flag=True, help="Cut nothing.")
@click.pass_obj
def ls(session: Session, quiet: bool, no_trunc: bool) -> None:
    """List the trash, the newest first."""
    listed = session.engine().call("trash", NoArgs()).answer.items
    items = sorted(listed, key=lambda item: item.removed, reverse=True)
    rows = [row_of(item, session.now_us(), full=no_trunc) for item in items]
    if session.json:
        print_json({"items": [plain(item) for item in items]})
    elif quiet:
        for row in rows:
            print(row["id"])
    else:
        print_rows(rows, COLUMNS)


@command.command("restore", cls=Command)
@click.option("--name", metavar="NAME", help="Another name, where its own is taken.")
@click.argument("item", metavar="ID|NAME")
@click.pass_obj
def restore(session: Session, name: str | None, item: str) -> None:
    """Bring a container back, with its files."""
    answer = session.engine().call("trash_restore", TrashRestoreArgs(item=item, name=name)).answer
    if session.json:
        print_json(act_json(answer))
    else:
        print(answer.container.name)


@command.command("empty", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="Also what is not past its deadline.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.argument("items", metavar="[ID|NAME]...", nargs=-1)
@click.pass_obj
def empty(session: Session, everything: bool, yes: bool, items: tuple[str, ...]) -> None:
    """Delete what was removed for good: these, or all whose deadline has passed.

    Files of containers; of images what no other image has. Their removal cannot be undone then.
    """
    asked = items or (("all of it",) if everything else ())
    if asked and not yes and interactive() and not click.confirm(
            f"Delete for good what the trash has ({', '.join(asked)})?", err=True):
        raise click.exceptions.Exit(1)
    answer = session.engine().call("trash_empty", TrashEmptyArgs(items=items, all=everything)).answer
    if session.json:
        print_json({"items": [plain(item) for item in answer.items],
                    "txn": None if answer.receipt is None else answer.receipt.txn})
        return
    for item in answer.items:
        print(item.id)
    print(f"Freed {wording.size(sum(item.size for item in answer.items))}", file=sys.stderr)


def row_of(item: TrashEntry, now_us: int, *, full: bool) -> dict[str, Any]:
    bare = item.id.removeprefix("sha256:")
    over = item.deadline <= now_us
    return {
        "id": item.id if full else bare[:12], "kind": item.kind, "name": item.name,
        "removed": wording.ago(item.removed, now_us),
        "left": "over" if over else wording.duration(item.deadline - now_us),
        "size": wording.size(item.size),
    }
