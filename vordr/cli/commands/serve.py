"""``vordr serve``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from vordr.cli.command import HELP
from vordr.cli.context import Session


@click.command("serve", context_settings=HELP)
@click.option("--log-format", type=click.Choice(["auto", "console", "json"]), default="auto",
              help="auto: for a person on a terminal, JSON elsewhere.  [default: auto]")
@click.option("--log-level", "level", default="info",
              type=click.Choice(["debug", "info", "warning", "error"]),
              help="Least level that is logged.  [default: info]")
@click.option("--log-file", type=click.Path(path_type=Path), metavar="FILE",
              help="Log to a file.  [default: standard error]")
@click.pass_obj
def command(session: Session, log_format: str, level: str, log_file: Path | None) -> None:
    """Own a root folder and serve it until SIGTERM or SIGINT. Containers go on without it."""
    from vordr.service.server import serve

    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    code = serve(session.root, console=console, level=level, log_file=log_file)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the interpreter's own clean-up would join threads that a dead disk may hold
