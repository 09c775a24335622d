"""``vordr images``."""

from __future__ import annotations

from typing import Final

import click

from vordr.cli import shapes
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import Columns, print_formatted, print_json, print_rows
from vordr.formats.errors import FormatError
from vordr.formats.reference import parse
from vordr.model.arguments import ImagesArgs
from vordr.model.errors import UsageError
from vordr.model.state import ImageState

COLUMNS: Final[Columns] = (
    ("REPOSITORY", "Repository"), ("TAG", "Tag"), ("IMAGE ID", "ID"), ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
)
WITH_DIGESTS: Final[Columns] = (*COLUMNS[:2], ("DIGEST", "Digest"), *COLUMNS[2:])


@click.command("images", cls=Command, context_settings=HELP)
@click.option("-a", "--all", "every", is_flag=True, expose_value=False,
              help="Accepted: all images are always shown.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--digests", is_flag=True, help="Show digests.")
@click.option("--no-trunc", is_flag=True, help="Cut nothing.")
@click.option("--format", "form", metavar="FORM",
              help="A Go template such as '{{.Repository}}:{{.Tag}}', 'table …', or json.")
@click.argument("name", metavar="[NAME[:TAG]]", required=False)
@click.pass_obj
def command(
    session: Session, quiet: bool, digests: bool, no_trunc: bool, form: str | None, name: str | None
) -> None:
    """List the images in the store, the newest first; an image's id is its manifest's digest."""
    listed = session.engine().call("images", ImagesArgs()).answer.images
    newest = sorted(listed, key=lambda image: image.imported, reverse=True)
    newest = [image for image in newest if name is None or _is_called(image, name)]
    if session.json:
        print_json(shapes.images(newest))
        return
    rows = [row for image in newest for row in shapes.image_rows(image, session.now_us(), full=no_trunc)]
    if quiet:
        for shown in dict.fromkeys(row["ID"] for row in rows):
            print(shown)
    elif form is not None:
        print_formatted(rows, form, COLUMNS)
    else:
        print_rows(rows, WITH_DIGESTS if digests else COLUMNS)


def _is_called(image: ImageState, wanted: str) -> bool:
    """Whether one of the image's names is in the repository (and has the tag) that ``wanted`` says."""
    try:
        reference = parse(wanted)
    except FormatError as error:
        raise UsageError(f"{wanted!r} is no image name: {error}") from None
    exact = reference.tag is not None
    prefix = f"{reference.name}:"
    return any(name == str(reference) if exact else name.startswith(prefix) for name in image.names)
