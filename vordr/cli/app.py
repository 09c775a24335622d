"""The program's root: global options, and commands that are imported when they are named."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import click

from vordr import __version__
from vordr.cli.commands import COMMANDS, HEADINGS
from vordr.cli.context import Session


class LazyGroup(click.Group):
    """A group whose commands are rows of :data:`~vordr.cli.commands.COMMANDS`, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, row in COMMANDS.items() if not row.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module = importlib.import_module(f"vordr.cli.commands.{row.module}")
        found: click.Command = getattr(module, row.attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            raise click.UsageError(f"unknown command {name!r}{_nearest(name)}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading in HEADINGS:
            rows = [(n, r.help) for n, r in COMMANDS.items() if r.heading == heading and not r.hidden]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(COMMANDS), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _set_logging(level: str) -> None:
    import logging

    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'vordr COMMAND --help' tells more of a command.",
)
@click.option(
    "--root", envvar="VORDR_ROOT", type=click.Path(path_type=Path, readable=False), metavar="DIR",
    help="Root folder of the instance (also VORDR_ROOT).  [default: /var/lib/vordr]",
)
@click.option("--json", "as_json", is_flag=True, help="Answers on stdout and errors on stderr as JSON.")
@click.option("--debug", is_flag=True, help="Show the trace of unexpected errors.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), metavar="LEVEL",
    help="Log of this process: debug, info, warning, error.",
)
@click.version_option(__version__, "--version", message="vordr %(version)s")
@click.pass_context
def program(
    ctx: click.Context, root: Path | None, as_json: bool, debug: bool, log_level: str | None
) -> None:
    """Containers that are verified before they start, can be undone, and leave a record."""
    session = ctx.ensure_object(Session)
    session.root = root if root is not None else session.root
    session.json = session.json or as_json
    session.debug = session.debug or debug or bool(os.environ.get("VORDR_DEBUG"))
    if debug and log_level is None:
        log_level = "debug"
    if log_level is not None:
        _set_logging(log_level)
