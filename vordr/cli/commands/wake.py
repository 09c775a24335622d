"""``vordr wake``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.targets import for_each
from vordr.model.arguments import ContainerArgs


@click.command("wake", cls=Command, context_settings=HELP)
@click.argument("names", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, names: tuple[str, ...]) -> int:
    """Supervise parked containers again: they failed too often and wait for this."""
    engine = session.engine()
    return for_each(session, names, lambda name: engine.call("wake", ContainerArgs(container=name)).answer)
