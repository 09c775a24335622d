"""``vordr shell``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP
from vordr.cli.context import Session


@click.command("shell", context_settings=HELP)
@click.pass_obj
def command(session: Session) -> int:
    """An interactive shell for administrators: commands without 'vordr', completed by TAB, with the state of
    the containers in the bottom line. 'exit' or ctrl-d leaves."""
    from vordr.cli.shell import Shell

    return Shell(session).run()
