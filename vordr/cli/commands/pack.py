"""``vordr pack``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from vordr.cli import wording
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.passphrase import passphrase, passphrase_options
from vordr.cli.progress import progress
from vordr.cli.shapes import plain
from vordr.model.arguments import PackArgs


@click.command("pack", cls=Command, context_settings=HELP)
@click.option("-t", "--name", metavar="NAME[:TAG]", help="Name of the image.  [default: OUTPUT's]")
@click.option("--entrypoint", "entrypoint", multiple=True, metavar="WORD",
              help="A word of the entrypoint (repeat), for a rootfs folder.")
@click.option("--cmd", "words", multiple=True, metavar="WORD",
              help="A word of the default command (repeat), for a rootfs folder.")
@passphrase_options
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.pass_obj
def command(
    session: Session, name: str | None, entrypoint: tuple[str, ...], words: tuple[str, ...], ask: bool,
    passphrase_file: Path | None, source: Path, output: Path,
) -> None:
    """Pack and sign an image into a .ctp file.

    SOURCE is an OCI layout, an OCI or docker archive, or a folder with a root file system.
    """
    args = PackArgs(
        source=os.path.abspath(source), output=os.path.abspath(output), name=name or name_from(output),
        passphrase=passphrase(ask, passphrase_file), entrypoint=entrypoint, command=words,
    )
    with progress(session) as on_event:
        answer = session.engine().call("pack", args, on_event=on_event).answer
    if session.json:
        print_json(plain(answer))
    else:
        print(f"{answer.output}  {answer.manifest}  {wording.size(answer.size)}")


def name_from(output: Path) -> str:
    """An image name made of a file's: ``My App-1.2.ctp`` becomes ``my-app-1.2:latest``."""
    stem = output.name.removesuffix(".ctp").lower()
    return (re.sub(r"[^a-z0-9.]+", "-", stem).strip("-.") or "image") + ":latest"
