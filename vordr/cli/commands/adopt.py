"""``vordr adopt``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import images
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.passphrase import passphrase, passphrase_options
from vordr.cli.progress import progress
from vordr.cli.targets import act_json
from vordr.model.arguments import AdoptArgs


@click.command("adopt", cls=Command, context_settings=HELP)
@click.option("-t", "--name", metavar="NAME[:TAG]", help="Name for an image that comes from a path.")
@click.option("--draft", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bundle to FILE for others to sign, and adopt nothing yet.")
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE",
              help="Adopt by this bundle, a draft that others have signed.")
@passphrase_options
@click.argument("image", shell_complete=images)
@click.pass_obj
def command(
    session: Session, name: str | None, draft: Path | None, bundle: Path | None, ask: bool,
    passphrase_file: Path | None, image: str,
) -> None:
    """Vouch for an unsigned image with your own key. Verdicts then say that you adopted it.

    IMAGE is a name in the store, or the path of an OCI layout, an archive or a root file system. Where
    several must sign: 'vordr adopt --draft FILE IMAGE', 'vordr sign FILE' by each of them, and then
    'vordr adopt --bundle FILE IMAGE'.
    """
    args = AdoptArgs(
        image=os.path.abspath(image) if is_path(image) else image, name=name,
        passphrase=passphrase(ask, passphrase_file),
        draft=None if draft is None else os.path.abspath(draft),
        bundle=None if bundle is None else os.path.abspath(bundle),
    )
    with progress(session) as on_event:
        answer = session.engine().call("adopt", args, on_event=on_event).answer
    if session.json:
        print_json(act_json(answer))
    elif draft is not None:
        print(draft)
    else:
        print(answer.image.names[-1] if answer.image.names else answer.image.manifest)


def is_path(image: str) -> bool:
    """Whether the argument means a file or folder rather than an image's name."""
    return image.startswith(("/", "./", "../")) or image in {".", ".."}
