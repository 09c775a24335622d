"""``vordr verify``: the exit codes are verified-container-spec's, whatever goes wrong.

On a rejection it says beside the step what mends it: a command that can be typed as it stands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
from vordr.model import errors
from vordr.model.answers import Cure, VerifyAnswer, VerifyStep
from vordr.model.arguments import VerifyArgs

if TYPE_CHECKING:
    from vordr.gatekeeper.intoto_layout import Supply

ALLOW, REJECT, MALFORMED, NETWORK = range(4)
_MALFORMED_CODES: Final = {"MALFORMED_BUNDLE"}
STDOUT: Final = "-"
_PICTURES: Final = (".svg", ".dot")


@click.command("verify", cls=Command, context_settings=HELP)
@click.option("--mode", type=click.Choice(["strict", "permissive", "audit"]), default="strict",
              help="strict decides as run does; permissive and audit only report: they exit 0 and say what "
              "strict would refuse.  [default: strict]")
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
@click.option("--graph", metavar="[FILE.svg|FILE.dot|-]", is_flag=False, flag_value=STDOUT,
              help="Draw who attested what: as SVG by graphviz, or as graphviz's text. Alone or with '-' the "
              "SVG goes to standard output, and the report to standard error.")
@click.argument("image", metavar="IMAGE|FILE.ctp", required=False, shell_complete=images)
@click.pass_obj
def command(
    session: Session, mode: str, bundle: Path | None, layout: Path | None, layout_keys: tuple[Path, ...],
    link_dir: Path, inspect: bool, graph: str | None, image: str | None,
) -> int:
    """Check an image step by step, or an in-toto layout. Exits 0 allow, 1 reject, 2 malformed, 3 network.

    A rejection comes with the command that mends it. Exit code 1 also tells that a graph could not be drawn.
    """
    try:
        graph, image = _picture(session, graph, image)
        if layout is None and (layout_keys or inspect):
            raise errors.UsageError("--layout-key and --inspect are about --layout", remedy="--layout FILE")
        if image is None and (layout is None or bundle is not None):
            raise errors.UsageError("give an image, a package, or --layout", remedy="vordr verify IMAGE")
        supply = None if layout is None else _supply(layout, layout_keys, link_dir, inspect=inspect)
        answer = None if image is None else _ask(session, image, mode, bundle, graph=graph is not None)
        if supply is not None:
            answer = _with_supply(answer, supply, mode)
        assert answer is not None
    except errors.VordrError as error:
        report(error, session)
        return code_of_error(error)
    if session.json:
        print_json(plain(answer))
    else:
        _print(answer, aside=graph == STDOUT)
    code = code_of(answer)
    if graph is not None:
        try:
            _draw(answer, image or "", graph)
        except errors.VordrError as error:
            report(error, session)
            return code or REJECT
    return code


def _supply(layout: Path, keys: tuple[Path, ...], link_dir: Path, *, inspect: bool) -> Supply:
    from vordr.gatekeeper import intoto_layout  # seldom wanted, and takes a while

    return intoto_layout.verify(layout, keys, link_dir, inspect=inspect)


def _picture(session: Session, graph: str | None, image: str | None) -> tuple[str | None, str | None]:
    """Where the graph goes, and the image: ``--graph IMAGE`` names no file, as IMAGE is none."""
    if graph is not None and image is None and graph != STDOUT and not graph.endswith(_PICTURES):
        graph, image = STDOUT, graph
    if graph is None:
        return None, image
    if image is None:
        raise errors.UsageError(
            "--graph is about an image or a package", remedy="vordr verify --graph - IMAGE")
    if graph != STDOUT and not graph.endswith(_PICTURES):
        raise errors.UsageError(f"--graph {graph}: the file must end in {' or '.join(_PICTURES)}",
                                remedy="vordr verify --graph FILE.svg IMAGE")
    if graph == STDOUT and session.json:
        raise errors.UsageError("standard output holds the JSON or the graph, not both",
                                remedy="vordr --json verify --graph FILE.svg IMAGE")
    return graph, image


def _draw(answer: VerifyAnswer, image: str, place: str) -> None:
    """Write the graph. Raises RuntimeNotFound, RuntimeFailed, UsageError, LayerSpaceExhausted."""
    from vordr.cli import attested_graph, graphviz  # seldom wanted, and take a while
    from vordr.gatekeeper.outfile import whole_or_absent

    text = attested_graph.dot(answer, image)
    drawn = text.encode() if place.endswith(".dot") else graphviz.svg(text)
    if place == STDOUT:
        sys.stdout.buffer.write(drawn)
        sys.stdout.flush()
        return
    with whole_or_absent(Path(place)) as file:
        file.write(drawn)


def _ask(session: Session, image: str, mode: str, bundle: Path | None, *, graph: bool) -> VerifyAnswer:
    package = is_package(image)
    args = VerifyArgs(image=os.path.abspath(image) if package else image, mode=mode, package=package,
                      bundle=bundle is not None, graph=graph)
    answer: VerifyAnswer
    if bundle is None:
        answer = session.engine().call_with_package("verify", args).answer
        return answer
    file = open_package(str(bundle))
    try:
        answer = session.engine().call("verify", args, files=(file,)).answer
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
    cure = Cure("vordr verify --layout FILE --layout-key KEY.pem IMAGE", "with the layout of this very image")
    return msgspec.structs.replace(
        answer, steps=whole, decision="ALLOW" if mode != "strict" else "REJECT", code="SUBJECT_MISMATCH",
        message=f"the layout holds, and of its products {told}", remedy=cure.command, cures=(cure,))


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


def _print(answer: VerifyAnswer, *, aside: bool) -> None:
    """The report; all of it on standard error where something else has the standard output (``aside``)."""
    out = sys.stderr if aside else sys.stdout
    for line in _lines(answer):
        print(line, file=out)
    if answer.code is not None:
        out.flush()
        strict = answer.decision != "ALLOW"
        for line in _refusal(answer, strict=strict):
            print(line, file=sys.stderr if strict else out)


def _lines(answer: VerifyAnswer) -> Iterator[str]:
    mark = {True: "ok  ", False: "FAIL"}
    failed = [step for step in answer.steps if not step.ok]
    for step in answer.steps:
        number = f"{step.step}." if step.step else "-"
        named = f" [{answer.code}]" if failed and step is failed[-1] and answer.code else ""
        yield f"{number:>3} {mark[step.ok]}  {printable(step.name)}: {printable(step.text)}{named}"
        if named and answer.cures:
            yield f"          cure: {printable(answer.cures[0].command)}"
    if answer.manifest:
        yield f"Manifest:    {answer.manifest}"
    if answer.attested_by:
        yield f"Attested by: {printable(answer.attested_by)}"
    if answer.expires is not None:
        yield f"Valid until: {rfc3339(answer.expires)}"
    suffix = "" if answer.mode == "strict" else f" ({answer.mode}: a report, which starts nothing)"
    yield f"Decision:    {answer.decision}{suffix}"


def _refusal(answer: VerifyAnswer, *, strict: bool) -> Iterator[str]:
    """The code, every cure, and where to read more."""
    word = "Rejected" if strict else "Strict would reject"
    yield f"{word} [{answer.code}]: {printable(answer.message or '')}"
    if answer.cures:
        yield "To fix:"
    elif answer.remedy:
        yield f"To fix:\n  1. {printable(answer.remedy)}"
    for number, cure in enumerate(answer.cures, start=1):
        yield f"  {number}. {printable(cure.command)}"
        yield f"     {printable(cure.text)}"
    yield f"More: vordr explain {answer.code}"
