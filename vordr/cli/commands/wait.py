"""``vordr wait``."""

from __future__ import annotations

import click

from vordr.cli.attached import Process, exit_code
from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.model.arguments import WaitArgs


@click.command("wait", cls=Command, context_settings=HELP)
@click.option("--condition", type=click.Choice(["stopped", "removed"]), default="stopped",
              help="What to wait for.  [default: stopped]")
@click.argument("names", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, condition: str, names: tuple[str, ...]) -> int:
    """Wait until containers end; prints each exit code and exits with the last."""
    engine, code = session.engine(), 0
    for name in names:
        if condition == "removed":
            answered = engine.call("wait", WaitArgs(container=name, condition=condition)).answer.code
            code = 0 if answered is None else answered
        else:
            code = exit_code(engine, Process(name, name, tty=False))
        if session.json:
            print_json({"container": name, "exit_code": code})
        else:
            print(code)
    return code
