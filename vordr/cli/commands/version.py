"""``vordr version``."""

from __future__ import annotations

import sys

import click

from vordr import __version__
from vordr.cli import wording
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.shapes import plain
from vordr.model.arguments import NoArgs


@click.command("version", cls=Command, context_settings=HELP)
@click.pass_obj
def command(session: Session) -> None:
    """Versions of the command line and of the service, and what it serves."""
    if not session.json:
        print(f"Client:     {__version__}")
        sys.stdout.flush()
    answer = session.engine().call("version", NoArgs()).answer
    if session.json:
        print_json({"client": __version__, "service": plain(answer)})
        return
    up = wording.duration(session.now_us() - answer.started)
    print(f"Service:    {answer.version} (pid {answer.pid}, up {up})")
    print(f"Root:       {answer.root}")
    print(f"Containers: {answer.containers}")
