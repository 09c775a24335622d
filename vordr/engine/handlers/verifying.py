"""Handlers of verify, policy_check and gather: what is told of an image, and what is kept beside it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from vordr.actors.transaction import Plan
from vordr.engine import beside, gathering
from vordr.engine.beside import Gathered
from vordr.engine.finding import find_image, image_by_digest
from vordr.engine.host import Call, Host, receipt
from vordr.engine.library import check_file, shown, subject_of
from vordr.engine.protocol import Reply
from vordr.formats import reference
from vordr.gatekeeper.bundle import LARGEST_BUNDLE
from vordr.gatekeeper.cures import Target, cures, cures_of
from vordr.gatekeeper.decide import Mode, Report
from vordr.gatekeeper.evidence import Beside
from vordr.gatekeeper.package import open_ctp
from vordr.gatekeeper.steps import NAMES
from vordr.gatekeeper.subject import Subject
from vordr.images.referrers import LayoutPlace, RegistryPlace
from vordr.model import answers, arguments
from vordr.model.errors import PolicyDenied, UsageError, VerificationRejected
from vordr.model.state import ImageState

_MOST_NAMES = 4


def verify(host: Host, call: Call, args: arguments.VerifyArgs) -> Reply:
    """Report step by step; nothing is started or kept by it."""
    try:
        mode = Mode(args.mode)
    except ValueError:
        raise UsageError(f"unknown mode {args.mode!r}", remedy="strict, permissive or audit") from None
    target = _target(host, args)
    try:
        subject, bundle, known = _to_verify(host, call, args)
        target = replace(target, manifest=subject.manifest)
        told = host.gatekeeper.report(subject, bundle, mode, known)
    except VerificationRejected as refused:
        return Reply(_refused(refused, mode, target))
    return Reply(_verify_answer(told, target, graph=args.graph))


def _target(host: Host, args: arguments.VerifyArgs) -> Target:
    """What is to be verified, as cures name it; raises ImageNotFound."""
    if args.package:
        return Target(args.image, package=True)
    image = find_image(host.journal, args.image)
    return target_of(image, bundle=args.bundle)


def target_of(image: ImageState, *, bundle: bool = False) -> Target:
    """An image of the store as cures name it: by a name where it has one, else by its digest."""
    return Target(
        shown(image) if image.names else image.manifest, bundle=bundle, named=bool(image.names),
        manifest=image.manifest)


def _refused(refused: VerificationRejected, mode: Mode, target: Target) -> answers.VerifyAnswer:
    """Refused before the steps: a package that does not hold together, or a stored bundle that is damaged."""
    mended = cures_of(refused, target)
    return answers.VerifyAnswer(
        decision="REJECT" if mode is Mode.STRICT else "ALLOW", manifest=target.manifest, mode=mode.value,
        code=refused.code, message=refused.message, remedy=mended[0].command, cures=mended,
        steps=(answers.VerifyStep(
            refused.step, "package" if target.package else NAMES[refused.step - 1], False, refused.message),))


def _to_verify(
    host: Host, call: Call, args: arguments.VerifyArgs
) -> tuple[Subject, bytes | None, Beside]:
    if not args.package:
        image = find_image(host.journal, args.image)
        bundle = _given_bundle(call) if args.bundle else host.library.bundle(image)
        return subject_of(image), bundle, beside.read(host.paths, image)
    if args.bundle:
        raise UsageError("a package has its bundle in it", remedy="vordr verify --bundle FILE IMAGE")
    if not call.files:
        raise UsageError("a package must come with its open file")
    check_file(call.files[0])
    reader = open_ctp(call.files[0])
    reader.verify_release(host.gatekeeper.trusted().store, host.now_us())
    for _, _, stream in reader.blobs(call.progress):
        stream.drain()
    return reader.subject, reader.bundle, host.library.beside_package(reader)


def _given_bundle(call: Call) -> bytes:
    """The bundle in the file that came along: judged instead of the store's, and not kept."""
    if not call.files:
        raise UsageError("a bundle must come with its open file")
    check_file(call.files[0])
    with os.fdopen(os.dup(call.files[0]), "rb") as file:
        return file.read(LARGEST_BUNDLE + 1)


def _verify_answer(told: Report, target: Target, *, graph: bool) -> answers.VerifyAnswer:
    steps = [answers.VerifyStep(e.step, e.name, True, e.text) for e in told.evidence]
    mended: tuple[answers.Cure, ...] = ()
    if told.code is not None and told.step is not None:
        steps.append(answers.VerifyStep(told.step, told.name, False, told.message))
        mended = cures(told.code, told.details, target)
    return answers.VerifyAnswer(
        decision=told.decision, manifest=target.manifest, mode=told.mode.value, code=told.code,
        message=told.message or None, steps=tuple(steps), attested_by=told.attested_by,
        remedy=mended[0].command if mended else None, cures=mended,
        attested=told.attested if graph else None)


# -- the policy ------------------------------------------------------------------------------------


def policy_check(host: Host, call: Call, args: arguments.ImageArgs) -> Reply:
    """Every demand of the policy on an image of the store, and what came of it."""
    image = find_image(host.journal, args.image)
    known = beside.read(host.paths, image)
    policy = host.gatekeeper.trusted().policy
    try:
        told, lines = host.gatekeeper.explain(subject_of(image), host.library.bundle(image), known)
    except VerificationRejected as refused:
        return Reply(answers.PolicyAnswer(
            decision="REJECT", manifest=image.manifest, names=known.names, policy=policy.digest,
            code=refused.code, message=refused.message))
    return Reply(answers.PolicyAnswer(
        decision=told.decision, manifest=image.manifest, names=known.names, policy=policy.digest,
        code=told.code, message=told.message or None,
        steps=tuple(answers.VerifyStep(e.step, e.name, True, e.text) for e in told.evidence),
        scopes=tuple(scope.name for scope in policy.scopes if scope.matches(known.names)),
        demands=tuple(
            answers.PolicyDemand(scope=line.scope, demand=line.demand, outcome=line.outcome.value,
                                 text=line.text, keys=line.keys)
            for line in lines),
        evidence=tuple(
            answers.PolicyEvidence(digest=piece.digest, kind=piece.kind.value) for piece in known.pieces),
        lost=known.lost))


def gather(host: Host, call: Call, args: arguments.GatherArgs) -> Reply:
    """Look again for what refers to an image of the store: in its registries, or in an OCI layout folder."""
    image = find_image(host.journal, args.image)
    if args.layout is not None:
        gathered = beside.gather(LayoutPlace(Path(args.layout)), image.manifest)
    else:
        gathered = _from_registries(image, insecure=args.insecure)
    gathering.tell(call, gathered)

    def plan() -> Plan:
        now = image_by_digest(host.journal, image.manifest)
        joined = gathering.join(host, call, now, now, gathered)
        planned = joined.planned
        if not planned.steps:
            found = len(gathered.pieces) + len(gathered.bundles)
            raise PolicyDenied(
                f"{shown(image)}: " + ("everything that was found is kept already, or refused" if found else
                                       "nothing that refers to it was found"),
                details={"notes": list(gathered.notes)}, remedy=f"vordr policy check {shown(image)}")
        return Plan("gather", f"gather evidence of {shown(image)}", planned.steps, call.caller.principal,
                    payload=planned.work, verdicts=joined.verdicts, conditions=planned.read)

    finished = host.transactions.run(plan)
    return Reply(answers.ImageAnswer(
        image=image_by_digest(host.journal, image.manifest), receipt=receipt(finished)))


def _from_registries(image: ImageState, *, insecure: bool) -> Gathered:
    """From the repositories of the image's names, the first that has something."""
    if not image.names:
        raise UsageError("the image has no name to look under", remedy="vordr policy gather IMAGE LAYOUT")
    notes: tuple[str, ...] = ()
    for name in image.names[:_MOST_NAMES]:
        found = beside.gather(RegistryPlace(reference.parse(name), insecure=insecure), image.manifest)
        if found.bundles or found.pieces:
            return found
        notes += found.notes
    return Gathered(notes=notes)
