"""``vordr stop``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.targets import for_each
from vordr.model.arguments import StopArgs


@click.command("stop", cls=Command, context_settings=HELP)
@click.option("-t", "--time", "--timeout", "timeout", type=click.IntRange(min=0), metavar="SECONDS",
              help="Time until it is killed.  [default: the container's own, 10]")
@click.argument("names", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, timeout: int | None, names: tuple[str, ...]) -> int:
    """Stop containers: their stop signal first, SIGKILL when the time is over."""
    engine = session.engine()
    return for_each(
        session, names, lambda name: engine.call("stop", StopArgs(container=name, timeout=timeout)).answer)
