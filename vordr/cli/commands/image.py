"""``vordr image``: docker's grouped names for what images, pull, rmi and inspect do."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.commands.images import command as images
from vordr.cli.commands.inspect import show
from vordr.cli.commands.pull import command as pull
from vordr.cli.commands.rmi import command as rmi
from vordr.cli.completing import images as image_names
from vordr.cli.context import Session


@click.group("image", context_settings=HELP)
def command() -> None:
    """Work with images."""


command.add_command(images, "ls")
command.add_command(pull, "pull")
command.add_command(rmi, "rm")


@command.command("inspect", cls=Command)
@click.option("-f", "--format", "form", metavar="TEMPLATE", help="A Go template, such as '{{.Id}}'.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=image_names)
@click.pass_obj
def inspect(session: Session, form: str | None, names: tuple[str, ...]) -> int:
    """All about images, as JSON."""
    return show(session, names, form, "image")
