"""``vordr run``: create and start a container, and stay with it unless ``-d``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vordr.cli.attached import Process, follow, require_terminal
from vordr.cli.command import HELP_ONLY, SplitCommand
from vordr.cli.container_options import container_options, create_args, make
from vordr.cli.context import Session
from vordr.cli.detaching import detach_keys
from vordr.cli.output import print_json
from vordr.cli.targets import act_json
from vordr.model.arguments import RunArgs
from vordr.model.errors import UsageError


@click.command("run", cls=SplitCommand, context_settings=HELP_ONLY,
               options_metavar="[OPTIONS]", epilog="Options may also follow IMAGE; put -- before options of "
               "the container's own command. The exit code is the command's; 126 and 127 as in docker.")
@click.option("-d", "--detach", is_flag=True, help="Print the id and leave it running.")
@click.option("--detach-keys", "keys", default="ctrl-p,ctrl-q", metavar="KEYS",
              help="Keys that leave a terminal.  [default: ctrl-p,ctrl-q]")
@click.option("--sig-proxy", type=bool, default=True, metavar="BOOL",
              help="Hand signals on when there is no terminal.  [default: true]")
@container_options
@click.pass_obj
def command(
    session: Session, /, detach: bool, keys: str, sig_proxy: bool, cidfile: Path | None,
    **wishes: Any,
) -> int:
    """Create and start a container from a verified image."""
    if session.json and not detach:
        raise UsageError("--json is possible with -d only: otherwise the output is the container's")
    if not detach:
        require_terminal(tty=wishes["tty"], stdin=wishes["stdin"])
    leave = detach_keys(keys)
    args = create_args(RunArgs, wishes, attach=not detach)
    reply = make(session, "run", args, cidfile)
    container = reply.answer.container
    if session.json:
        print_json(act_json(reply.answer))
    elif detach:
        print(container.id)
    if detach:
        return 0
    process = Process(
        container.id, container.name, tty=container.spec.tty, removed=args.auto_remove)
    return follow(
        session.engine(), process, reply.files, stdin=args.stdin, proxy=sig_proxy, keys=leave)
