"""``vordr history``."""

from __future__ import annotations

from typing import Any, Final

import click

from vordr.cli import wording
from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.output import Columns, print_formatted, print_json, print_rows
from vordr.cli.shapes import plain
from vordr.model.answers import HistoryEntry
from vordr.model.arguments import HistoryArgs

COLUMNS: Final[Columns] = (
    ("TXN", "Txn"), ("WHEN", "When"), ("WHO", "Who"), ("ACT", "Summary"), ("STATUS", "Status"),
    ("UNDO", "Undo"),
)


@click.command("history", cls=Command, context_settings=HELP)
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, metavar="N",
              help="At most so many acts.  [default: 50]")
@click.option("--acts-only", is_flag=True, help="Leave out what followed by itself: exits, policy restarts.")
@click.option("--format", "form", metavar="FORM",
              help="A Go template such as '{{.Txn}}\\t{{.Summary}}', or json.")
@click.option("-q", "--quiet", is_flag=True, help="Print transactions only.")
@click.argument("container", required=False, shell_complete=containers)
@click.pass_obj
def command(
    session: Session, limit: int, acts_only: bool, form: str | None, quiet: bool, container: str | None
) -> None:
    """What was done, newest first; of one container, or of all."""
    args = HistoryArgs(container=container, limit=limit, consequences=not acts_only)
    acts = session.engine().call("history", args).answer.acts
    rows = [row_of(act, session.now_us()) for act in acts]
    if session.json:
        print_json({"acts": [plain(act) for act in acts]})
    elif quiet:
        for act in acts:
            print(act.txn)
    elif form is not None:
        print_formatted(rows, form, COLUMNS)
    else:
        print_rows(rows, COLUMNS)


def row_of(act: HistoryEntry, now_us: int) -> dict[str, Any]:
    """One act by the names of the templates."""
    return {
        "Txn": act.txn, "Seq": act.seq, "When": wording.ago(act.time, now_us),
        "Time": wording.rfc3339(act.time), "Who": act.principal, "Cause": act.cause, "Act": act.act,
        "Summary": act.summary, "Status": act.status, "Undo": undo_word(act), "Origin": act.origin or "",
    }


def undo_word(act: HistoryEntry) -> str:
    """Whether the act can be taken back, or what became of it."""
    if act.undone_by is not None:
        return "undone"
    if act.undoes is not None:
        return f"undid {act.undoes}"
    return "possible" if act.undoable else "-"
