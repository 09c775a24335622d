"""``vordr pull``."""

from __future__ import annotations

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.progress import progress
from vordr.cli.targets import act_json
from vordr.model.arguments import PullArgs


@click.command("pull", cls=Command, context_settings=HELP)
@click.option("--insecure", is_flag=True, help="Allow plain http (a registry on loopback always may).")
@click.option("-q", "--quiet", is_flag=True, help="Print the digest only.")
@click.argument("reference", metavar="IMAGE")
@click.pass_obj
def command(session: Session, insecure: bool, quiet: bool, reference: str) -> None:
    """Fetch an image from a registry. Nothing of it runs before it is verified."""
    with progress(session) as on_event:
        answer = session.engine().call(
            "pull", PullArgs(reference=reference, insecure=insecure), on_event=on_event).answer
    if session.json:
        print_json(act_json(answer))
    elif quiet:
        print(answer.image.manifest)
    else:
        print(f"Digest: {answer.image.manifest}")
        print(answer.image.names[-1] if answer.image.names else reference)
