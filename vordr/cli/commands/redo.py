"""``vordr redo``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.commands.undo import confirm, finish, show_plan
from vordr.cli.context import Session
from vordr.model.arguments import RedoArgs


@click.command("redo", cls=Command, context_settings=HELP)
@click.option("--dry-run", is_flag=True, help="Show the plan only.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.argument("txn", metavar="[TXN]", required=False)
@click.pass_obj
def command(session: Session, dry_run: bool, yes: bool, txn: str | None) -> None:
    """Take an undo back: your newest, or the one named."""
    engine = session.engine()
    plan = engine.call("redo", RedoArgs(txn=txn, dry_run=True)).answer
    if dry_run:
        show_plan(session, plan)
        return
    if not session.json:
        show_plan(session, plan)
    confirm(plan, yes)
    named = plan.undone[0][0] if len(plan.undone) == 1 else txn
    finish(session, engine.call("redo", RedoArgs(txn=named)).answer)
