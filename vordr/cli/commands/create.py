"""``vordr create``: a container that waits to be started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vordr.cli.command import HELP_ONLY, SplitCommand
from vordr.cli.container_options import container_options, create_args, make
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.targets import act_json
from vordr.model.arguments import CreateArgs


@click.command("create", cls=SplitCommand, context_settings=HELP_ONLY)
@container_options
@click.pass_obj
def command(session: Session, /, cidfile: Path | None, **wishes: Any) -> None:
    """Create a container without starting it; prints its id."""
    reply = make(session, "create", create_args(CreateArgs, wishes), cidfile)
    if session.json:
        print_json(act_json(reply.answer))
    else:
        print(reply.answer.container.id)
