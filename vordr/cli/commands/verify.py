"""``vordr verify``: the exit codes are verified-container-spec's, whatever goes wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from vordr.cli.command import HELP, Command
from vordr.cli.completing import images
from vordr.cli.context import Session
from vordr.cli.failure import report
from vordr.cli.output import print_json
from vordr.cli.shapes import plain
from vordr.cli.wording import printable, rfc3339
from vordr.engine.protocol import is_package, open_package
from vordr.gatekeeper import intoto_layout
from vordr.gatekeeper.intoto_layout import Supply
from vordr.model import errors
from vordr.model.answers import VerifyAnswer, VerifyStep
from vordr.model.arguments import VerifyArgs

ALLOW, REJECT, MALFORMED, NETWORK = range(4)
_MALFORMED_CODES: Final = {"MALFORMED_BUNDLE"}


@click.command("verify", cls=Command, context_settings=HELP)
@click.option("--mode", type=click.Choice(["strict", "permissive", "audit"]), default="strict",
              help="strict decides as run does; permissive and audit only report.  [default: strict]")
@click.option("--bundle", metavar="FILE", type=click.Path(path_type=Path),
              help="Judge by this bundle instead of the one that the store has.")
@click.option("--layout", metavar="FILE", type=click.Path(path_type=Path),
              help="Verify an in-toto layout; IMAGE's manifest must be a product of its last step.")
@click.option("--layout-key", "layout_keys", metavar="KEY.pem", multiple=True,
              type=click.Path(path_type=Path),
              help="A public key that must have signed the layout. May be given several times.")
@click.option("--link-dir", metavar="DIR", type=click.Path(path_type=Path), default=Path("."),
              help="Where the layout's links are.  [default: .]")
@click.option("--inspect", is_flag=True,
              help="Let the layout run its inspections: commands of its author, here, as you.")
@click.argument("image", metavar="IMAGE|FILE.ctp", required=False, shell_complete=images)
@click.pass_obj
def command(
    session: Session, mode: str, bundle: Path | None, layout: Path | None, layout_keys: tuple[Path, ...],
    link_dir: Path, inspect: bool, image: str | None,
) -> int:
    """Check an image step by step, or an in-toto layout. Exits 0 allow, 1 reject, 2 malformed, 3 network."""
    try:
        if layout is None and (layout_keys or inspect):
            raise errors.UsageError("--layout-key and --inspect are about --layout", remedy="--layout FILE")
        if image is None and (layout is None or bundle is not None):
            raise errors.UsageError("give an image, a package, or --layout", remedy="vordr verify IMAGE")
        supply = (None if layout is None else
                  intoto_layout.verify(layout, layout_keys, link_dir, inspect=inspect))
        answer = None if image is None else _ask(session, image, mode, bundle)
        if supply is not None:
            answer = _with_supply(answer, supply, mode)
        assert answer is not None
    except errors.VordrError as error:
        report(error, session)
        return code_of_error(error)
    if session.json:
        print_json(plain(answer))
    else:
        _print(answer)
    return code_of(answer)


def _ask(session: Session, image: str, mode: str, bundle: Path | None) -> VerifyAnswer:
    engine = session.engine()
    if bundle is None:
        return engine.verify(os.path.abspath(image) if is_package(image) else image, mode=mode)
    file = open_package(str(bundle))
    try:
        args = VerifyArgs(image=image, mode=mode, package=is_package(image), bundle=True)
        answer: VerifyAnswer = engine.call("verify", args, files=(file,)).answer
        return answer
    finally:
        os.close(file)


def _with_supply(answer: VerifyAnswer | None, supply: Supply, mode: str) -> VerifyAnswer:
    """The answer with the layout's steps in front, which the image's manifest must come from."""
    steps = [VerifyStep(0, "layout", True, f"signed by {', '.join(key[:16] for key in supply.keys)}, valid "
                        f"until {supply.expires}; {len(supply.inspected)} inspections ran")]
    steps += [VerifyStep(0, f"step {step.name}", True,
                         f"{step.threshold} of {step.functionaries} functionaries, and the artifact rules")
              for step in supply.steps]
    if answer is None:
        steps.append(VerifyStep(0, "products", True, ", ".join(sorted(supply.products)) or "none"))
        return VerifyAnswer(decision="ALLOW", manifest=None, mode=mode, steps=tuple(steps))
    product = supply.makes(answer.manifest or "")
    told = f"{answer.manifest} is the product {product}" if product else f"none is {answer.manifest}"
    steps.append(VerifyStep(0, "products", product is not None, told))
    whole = (*steps, *answer.steps)
    if product is not None or answer.code is not None:
        return msgspec.structs.replace(answer, steps=whole)
    return msgspec.structs.replace(
        answer, steps=whole, decision="ALLOW" if mode != "strict" else "REJECT", code="SUBJECT_MISMATCH",
        message=f"the layout holds, and of its products {told}",
        remedy="verify the layout of this very image")


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
        number = f"{step.step}." if step.step else "-"
        print(f"{number:>3} {mark[step.ok]}  {printable(step.name)}: {printable(step.text)}")
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
