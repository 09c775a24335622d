"""``vordr verify``: the exit codes are verified-container-spec's, whatever goes wrong."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import images
from vordr.cli.context import Session
from vordr.cli.failure import report
from vordr.cli.output import print_json
from vordr.cli.shapes import plain
from vordr.cli.wording import printable, rfc3339
from vordr.engine.protocol import is_package
from vordr.model import errors
from vordr.model.answers import VerifyAnswer

ALLOW, REJECT, MALFORMED, NETWORK = range(4)
_MALFORMED_CODES: Final = {"MALFORMED_BUNDLE"}


@click.command("verify", cls=Command, context_settings=HELP)
@click.option("--mode", type=click.Choice(["strict", "permissive", "audit"]), default="strict",
              help="strict decides as run does; permissive and audit only report.  [default: strict]")
@click.argument("image", metavar="IMAGE|FILE.ctp", shell_complete=images)
@click.pass_obj
def command(session: Session, mode: str, image: str) -> int:
    """Check an image step by step. Exits 0 allow, 1 reject, 2 malformed, 3 network."""
    try:
        answer = session.engine().verify(os.path.abspath(image) if is_package(image) else image, mode=mode)
    except errors.VordrError as error:
        report(error, session)
        return code_of_error(error)
    if session.json:
        print_json(plain(answer))
    else:
        _print(answer)
    return code_of(answer)


def code_of(answer: VerifyAnswer) -> int:
    if answer.decision == "ALLOW":
        return ALLOW
    return MALFORMED if answer.code in _MALFORMED_CODES else REJECT


def code_of_error(error: errors.VordrError) -> int:
    """2: what was to be verified cannot be read; 3: it, or the engine, cannot be reached; 1 all else."""
    match error:
        case errors.VerificationRejected(code=code) if code in _MALFORMED_CODES:
            return MALFORMED
        case errors.ImageUnreadable() | errors.UsageError():
            return MALFORMED
        case (errors.NetworkFailed() | errors.RegistryFailed() | errors.RegistryDenied() | errors.PullFailed()
              | errors.ServiceUnreachable()):
            return NETWORK
        case _:
            return REJECT


def _print(answer: VerifyAnswer) -> None:
    mark = {True: "ok  ", False: "FAIL"}
    for step in answer.steps:
        print(f"{step.step:>2}. {mark[step.ok]}  {printable(step.name)}: {printable(step.text)}")
    if answer.manifest:
        print(f"Manifest:    {answer.manifest}")
    if answer.attested_by:
        print(f"Attested by: {printable(answer.attested_by)}")
    if answer.expires is not None:
        print(f"Valid until: {rfc3339(answer.expires)}")
    suffix = "" if answer.mode == "strict" else f" ({answer.mode}: a report, which starts nothing)"
    print(f"Decision:    {answer.decision}{suffix}")
    if answer.decision != "ALLOW":
        sys.stdout.flush()
        print(f"Rejected [{answer.code}]: {printable(answer.message or '')}", file=sys.stderr)
        if answer.remedy:
            print(f"To fix:\n  1. {answer.remedy}", file=sys.stderr)
        if answer.code:
            print(f"More: vordr explain {answer.code}", file=sys.stderr)
