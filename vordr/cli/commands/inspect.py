"""``vordr inspect``."""

from __future__ import annotations

from typing import Any

import click

from vordr.cli import shapes
from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session
from vordr.cli.failure import report
from vordr.model.arguments import ImagesArgs
from vordr.model.errors import ContainerNotFound, ImageNotFound, VordrError


@click.command("inspect", cls=Command, context_settings=HELP)
@click.option("-f", "--format", "form", metavar="TEMPLATE",
              help="A Go template, such as '{{.State.Status}}'.")
@click.option("--type", "kind", type=click.Choice(["container", "image"]), help="Look for one kind only.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=containers)
@click.pass_obj
def command(session: Session, form: str | None, kind: str | None, names: tuple[str, ...]) -> int:
    """All about containers and images, as a JSON list in docker's shape.

    With --json the fields are those of Svalinn's container-info.v1: one object for one NAME, a list for
    several.
    """
    return show(session, names, form, kind)


def show(session: Session, names: tuple[str, ...], form: str | None, kind: str | None) -> int:
    """Print what is found of ``names``, then the errors; the exit code of the first of them."""
    found: list[dict[str, Any]] = []
    errors: list[VordrError] = []
    for name in names:
        try:
            found.append(_look(session, name, kind))
        except VordrError as error:
            errors.append(error)
    _print(session, found, form, single=len(names) == 1)
    codes = [report(error, session) for error in errors]
    return codes[0] if codes else 0


def _look(session: Session, name: str, kind: str | None) -> dict[str, Any]:
    missing: VordrError = ImageNotFound(f"there is no image {name}")
    if kind != "image":
        try:
            answer = session.engine().inspect(name)
            return shapes.inspected(answer) if session.json else shapes.docker_inspect(answer)
        except ContainerNotFound as error:
            if kind == "container":
                raise
            missing = error
    image = shapes.known_image(name, session.engine().call("images", ImagesArgs()).answer.images)
    if image is None:
        raise missing
    return shapes.docker_image(image)


def _print(session: Session, found: list[dict[str, Any]], form: str | None, *, single: bool) -> None:
    import json

    from vordr.cli.columns import for_terminal

    if form is not None and form != "json":
        from vordr.cli.gotemplate import Template

        template = Template(form)
        for each in found:
            print(for_terminal(template.render(each)))
    elif form == "json":
        for each in found:
            print(for_terminal(json.dumps(each, ensure_ascii=False)))
    elif session.json:
        if found or not single:
            print(for_terminal(json.dumps(found[0] if single else found, ensure_ascii=False)))
    else:
        print(for_terminal(json.dumps(found, indent=4, ensure_ascii=False)))
