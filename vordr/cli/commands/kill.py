"""``vordr kill``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.targets import for_each
from vordr.model.arguments import KillArgs
from vordr.model.spec import parse_signal


@click.command("kill", cls=Command, context_settings=HELP)
@click.option("-s", "--signal", "signal", default="KILL", metavar="SIGNAL",
              help="Name or number of the signal.  [default: KILL]")
@click.argument("names", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, signal: str, names: tuple[str, ...]) -> int:
    """Send a signal to the main processes of containers."""
    parse_signal(signal)
    engine = session.engine()
    return for_each(
        session, names, lambda name: engine.call("kill", KillArgs(container=name, signal=signal)).answer)
