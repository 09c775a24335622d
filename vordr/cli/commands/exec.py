"""``vordr exec``."""

from __future__ import annotations

from pathlib import Path

import click

from vordr.cli.attached import Process, follow, require_terminal
from vordr.cli.command import HELP, SplitCommand
from vordr.cli.completing import containers
from vordr.cli.container_options import environment
from vordr.cli.context import Session
from vordr.cli.detaching import detach_keys
from vordr.cli.output import print_json
from vordr.cli.shapes import receipt
from vordr.model.arguments import ExecArgs
from vordr.model.errors import UsageError


@click.command("exec", cls=SplitCommand, context_settings=HELP)
@click.option("-d", "--detach", is_flag=True, help="Leave it running.")
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]",
              help="Set an environment variable.")
@click.option("--env-file", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Read environment variables from a file.")
@click.option("-i", "--interactive", "stdin", is_flag=True, help="Keep standard input open.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("-u", "--user", metavar="USER[:GROUP]", help="User inside the container.")
@click.option("-w", "--workdir", metavar="DIR", help="Working directory inside the container.")
@click.option("--detach-keys", "keys", default="ctrl-p,ctrl-q", metavar="KEYS",
              help="Keys that leave a terminal.  [default: ctrl-p,ctrl-q]")
@click.argument("name", metavar="CONTAINER", shell_complete=containers)
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def command(
    session: Session, detach: bool, env: tuple[str, ...], env_file: tuple[Path, ...], stdin: bool, tty: bool,
    user: str | None, workdir: str | None, keys: str, name: str, words: tuple[str, ...],
) -> int:
    """Run a command in a running container. The exit code is the command's."""
    if session.json and not detach:
        raise UsageError("--json is possible with -d only: otherwise the output is the command's")
    if not detach:
        require_terminal(tty=tty, stdin=stdin)
    leave = detach_keys(keys)
    args = ExecArgs(
        container=name, command=words, environment=environment(env, env_file), workdir=workdir, user=user,
        tty=tty, stdin=stdin and not detach, detach=detach,
    )
    reply = session.engine().call("exec", args)
    if detach:
        if session.json:
            print_json({"session": reply.answer.session, "receipt": receipt(reply.answer.receipt)})
        return 0
    process = Process(name, name, tty=tty, session=reply.answer.session)
    return follow(session.engine(), process, reply.files, stdin=stdin, keys=leave)
