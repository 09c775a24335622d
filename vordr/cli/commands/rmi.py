"""``vordr rmi``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import images
from vordr.cli.context import Session
from vordr.cli.targets import for_each
from vordr.model.arguments import RemoveImageArgs


@click.command("rmi", cls=Command, context_settings=HELP)
@click.option("-f", "--force", is_flag=True, help="Remove it though it has other names.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=images)
@click.pass_obj
def command(session: Session, force: bool, names: tuple[str, ...]) -> int:
    """Move images to the trash; refused while containers use them."""
    engine = session.engine()
    return for_each(
        session, names,
        lambda name: engine.call("remove_image", RemoveImageArgs(image=name, force=force)).answer)
