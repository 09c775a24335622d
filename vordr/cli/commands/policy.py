"""``vordr policy``: check, gather."""

from __future__ import annotations

import os
from typing import Final

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import images
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.shapes import plain
from vordr.cli.wording import printable
from vordr.model.answers import ImageAnswer, PolicyAnswer
from vordr.model.arguments import GatherArgs, ImageArgs

ALLOW, REJECT = 0, 1
_MARKS: Final = {"holds": "ok  ", "fails": "FAIL", "cannot be judged": "??  "}


@click.group("policy", context_settings=HELP)
def command() -> None:
    """What the operator's policy (trust/policy.toml) demands of images."""


@command.command("check", cls=Command)
@click.argument("image", metavar="IMAGE", shell_complete=images)
@click.pass_obj
def check(session: Session, image: str) -> int:
    """Explain the decision on an image: every demand of its scopes. Exits 0 allow, 1 reject."""
    answer = session.engine().call("policy_check", ImageArgs(image=image)).answer
    if session.json:
        print_json(plain(answer))
    else:
        _print(answer)
    return ALLOW if answer.decision == "ALLOW" else REJECT


@command.command("gather", cls=Command)
@click.option("--insecure", is_flag=True, help="Allow plain HTTP and unknown certificates.")
@click.argument("image", metavar="IMAGE", shell_complete=images)
@click.argument("layout", metavar="[LAYOUT]", required=False,
                type=click.Path(exists=True, file_okay=False, resolve_path=True))
@click.pass_obj
def gather(session: Session, insecure: bool, image: str, layout: str | None) -> None:
    """Look for signatures and attestations of an image: in its registries, or in an OCI layout folder."""
    args = GatherArgs(image=image, layout=None if layout is None else os.path.abspath(layout),
                      insecure=insecure)
    answer: ImageAnswer = session.engine().call("gather", args).answer
    if session.json:
        print_json(plain(answer))
        return
    print(f"{len(answer.image.evidence)} pieces of evidence are kept beside {answer.image.manifest}")
    if answer.image.attested_by:
        print(f"Attested by: {printable(answer.image.attested_by)}")


def _print(answer: PolicyAnswer) -> None:
    print(f"Manifest:  {answer.manifest}")
    print(f"Names:     {', '.join(map(printable, answer.names)) or 'none, so every scope counts'}")
    print(f"Policy:    {answer.policy}")
    print(f"Scopes:    {', '.join(answer.scopes) or 'none'}")
    for piece in answer.evidence:
        print(f"Evidence:  {piece.kind} {piece.digest}")
    for digest in answer.lost:
        print(f"Damaged:   {digest}")
    print()
    for step in answer.steps:
        if step.name != "policy":
            print(f"{step.step:>2}. ok    {printable(step.name)}: {printable(step.text)}")
    for demand in answer.demands:
        print(f"    {_MARKS[demand.outcome]}  {demand.scope}, {printable(demand.demand)}: "
              f"{printable(demand.text)}")
    if answer.decision != "ALLOW":
        print(f"    FAIL  {answer.code}: {printable(answer.message or '')}")
    print(f"Decision:  {answer.decision}")
