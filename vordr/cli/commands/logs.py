"""``vordr logs``."""

from __future__ import annotations

import sys

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.wording import parse_when, rfc3339
from vordr.engine.protocol import Event
from vordr.model.arguments import LogsArgs
from vordr.model.errors import UsageError


@click.command("logs", cls=Command, context_settings=HELP)
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-n", "--tail", default="all", metavar="N", help="Lines from the end.  [default: all]")
@click.option("--since", metavar="TIME", help="Lines after a time, such as 10m or 2026-01-02T15:04:05Z.")
@click.option("-t", "--timestamps", is_flag=True, help="Show the time of each line.")
@click.argument("name", metavar="CONTAINER", shell_complete=containers)
@click.pass_obj
def command(
    session: Session, follow: bool, tail: str, since: str | None, timestamps: bool, name: str
) -> None:
    """Show what a container wrote: its standard output and error on ours."""
    args = LogsArgs(
        container=name, follow=follow, events=True, tail=parse_tail(tail),
        since=None if since is None else parse_when(since, session.now_us()),
    )

    def show(time: int, stream: str, text: str) -> None:
        if session.json:
            print_json({"time": rfc3339(time), "stream": stream, "text": text})
        else:
            out = sys.stderr if stream == "stderr" else sys.stdout
            print(f"{rfc3339(time)} {text}" if timestamps else text, file=out)

    def on_event(event: Event) -> None:
        if event.get("event") == "log":
            show(event["time"], event["stream"], event["text"])
            if follow:
                sys.stdout.flush()

    for line in session.engine().call("logs", args, on_event=on_event).answer.lines:
        show(line.time, line.stream, line.text)


def parse_tail(text: str) -> int | None:
    """``--tail``: a number, or ``all``. Raises UsageError."""
    if text == "all" or text.startswith("-") and text[1:].isdigit():
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"invalid number of lines {text!r}", remedy="--tail 10, or --tail all")
    return int(text)
