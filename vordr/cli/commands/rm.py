"""``vordr rm``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.targets import for_each
from vordr.model.arguments import RemoveArgs


@click.command("rm", cls=Command, context_settings=HELP)
@click.option("-f", "--force", is_flag=True, help="Kill it first when it is running.")
@click.argument("names", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, force: bool, names: tuple[str, ...]) -> int:
    """Move containers to the trash, from where undo and 'vordr trash restore' bring them back."""
    engine = session.engine()
    return for_each(
        session, names, lambda name: engine.call("remove", RemoveArgs(container=name, force=force)).answer)
