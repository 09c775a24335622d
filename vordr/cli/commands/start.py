"""``vordr start``."""

from __future__ import annotations

import click

from vordr.cli.attached import Process, follow, require_terminal
from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.detaching import detach_keys
from vordr.cli.targets import for_each
from vordr.model.arguments import ContainerArgs, StartArgs
from vordr.model.errors import UsageError


@click.command("start", cls=Command, context_settings=HELP)
@click.option("-a", "--attach", is_flag=True, help="Show its output, and exit with its code.")
@click.option("-i", "--interactive", "stdin", is_flag=True, help="Send it standard input too.")
@click.option("--detach-keys", "keys", default="ctrl-p,ctrl-q", metavar="KEYS",
              help="Keys that leave a terminal.  [default: ctrl-p,ctrl-q]")
@click.argument("names", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, attach: bool, stdin: bool, keys: str, names: tuple[str, ...]) -> int:
    """Start containers, each on a fresh writable layer over what it wrote before."""
    engine = session.engine()
    if not (attach or stdin):
        return for_each(
            session, names, lambda name: engine.call("start", StartArgs(container=name)).answer)
    if len(names) != 1:
        raise UsageError("only one container can be attached to", remedy="vordr start -a CONTAINER")
    leave = detach_keys(keys)
    tty = engine.call("inspect", ContainerArgs(container=names[0])).answer.container.spec.tty
    require_terminal(tty=tty, stdin=stdin)
    reply = engine.call("start", StartArgs(container=names[0], attach=True))
    container = reply.answer.container
    process = Process(container.id, container.name, tty=container.spec.tty)
    return follow(engine, process, reply.files, stdin=stdin and container.spec.stdin, keys=leave)
