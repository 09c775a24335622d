"""``vordr attach``."""

from __future__ import annotations

import click

from vordr.cli.attached import Process, follow, require_terminal
from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.detaching import detach_keys
from vordr.model.arguments import AttachArgs, ContainerArgs


@click.command("attach", cls=Command, context_settings=HELP)
@click.option("--no-stdin", is_flag=True, help="Send it nothing.")
@click.option("--detach-keys", "keys", default="ctrl-p,ctrl-q", metavar="KEYS",
              help="Keys that leave a terminal.  [default: ctrl-p,ctrl-q]")
@click.option("--sig-proxy", type=bool, default=True, metavar="BOOL",
              help="Hand signals on when there is no terminal.  [default: true]")
@click.argument("name", metavar="CONTAINER", shell_complete=containers)
@click.pass_obj
def command(session: Session, no_stdin: bool, keys: str, sig_proxy: bool, name: str) -> int:
    """Connect to the standard streams of a running container, until it ends or the detach keys come."""
    engine = session.engine()
    leave = detach_keys(keys)
    container = engine.call("inspect", ContainerArgs(container=name)).answer.container
    stdin = container.spec.stdin and not no_stdin
    require_terminal(tty=container.spec.tty, stdin=stdin)
    files = engine.call("attach", AttachArgs(container=container.id)).files
    process = Process(container.id, container.name, tty=container.spec.tty)
    return follow(engine, process, files, stdin=stdin, proxy=sig_proxy, keys=leave)
