"""Handler of admit: whether another engine's runtime may make a container (docs/kubernetes.md).

Nothing on the host is changed by it, so it is no act and has no inverse; but what was allowed and refused is
on the record, with the principal: the verdict as every start's, compared and appended on the epoch it was
given for; a refusal as a decision. The caller's gate has bound its container to layers; here these are bound
to a verdict.
"""

from __future__ import annotations

from typing import Any, Final

from vordr.engine.finding import all_images
from vordr.engine.host import Call, Host, entropy
from vordr.engine.library import shown
from vordr.engine.protocol import Reply
from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.formats.uuid7 import uuid7
from vordr.images.layout import chain_id
from vordr.model import answers, arguments
from vordr.model.errors import PolicyDenied, StaleState, UsageError, VerificationRejected
from vordr.model.records import EPOCH_KEY, Cause, Draft, Kind
from vordr.model.state import ImageState

_MOST_TRIES: Final = 5
_LONGEST_ID: Final = 1024


def admit(host: Host, call: Call, args: arguments.AdmitArgs) -> Reply:
    """Answer with the image that vouches for the container; raises VerificationRejected, PolicyDenied."""
    _check(args)
    if args.sandbox:
        host.journal.append((_decision(host, call, args, {"decision": "ALLOW", "by": "pinned"}),))
        return Reply(answers.AdmitAnswer(decision="ALLOW", manifest=None, attested_by=None, seq=None))
    try:
        return _judge(host, call, args)
    except PolicyDenied as refused:
        told = {"decision": "REJECT", "code": refused.details.get("code", refused.id),
                "message": refused.message[:500]}
        host.journal.note(_decision(host, call, args, told))
        raise


def _judge(host: Host, call: Call, args: arguments.AdmitArgs) -> Reply:
    refusal: PolicyDenied = VerificationRejected(
        "MISSING_ATTESTATION", f"no image of the store has the layers of container {args.container[:12]}"
        + (f" and is image {args.config}" if args.config else ""), step=2,
        remedy="vordr pull IMAGE or vordr adopt --name NAME ARCHIVE, of that very image")
    for image in _candidates(host, args):
        try:
            return _admitted(host, call, args, image)
        except PolicyDenied as refused:
            refusal = refused
    raise refusal


def _admitted(host: Host, call: Call, args: arguments.AdmitArgs, image: ImageState) -> Reply:
    for tried in range(_MOST_TRIES):
        verdict = host.library.judge(image)
        # Not a decision, of which a flood is only counted: each container that was let in is on the record.
        given = Draft(txn=_txn(host), kind=Kind.VERDICT, cause=Cause.ACT, subject=f"image/{image.manifest}",
                      operation="admit", args={**verdict.to_record(), "admits": _asked(args)},
                      principal=call.caller.principal)
        try:
            records = host.journal.append((given,), {EPOCH_KEY: verdict.epoch})
        except StaleState:
            if tried + 1 == _MOST_TRIES:
                raise
            continue
        return Reply(answers.AdmitAnswer(
            decision="ALLOW", manifest=image.manifest, attested_by=verdict.attested_by,
            seq=records[-1].seq))
    raise AssertionError("unreachable")


def _candidates(host: Host, args: arguments.AdmitArgs) -> list[ImageState]:
    """Images with exactly these layers; and, where the caller's store binds it to one, that very image."""
    return [
        image for image in sorted(all_images(host.journal), key=shown)
        if image.layers and chain_id([layer.diff_id for layer in image.layers]) == args.chain
        and (args.config is None or args.config == image.config_digest or args.manifest == image.manifest)]


def _decision(host: Host, call: Call, args: arguments.AdmitArgs, told: dict[str, Any]) -> Draft:
    return Draft(
        txn=_txn(host), kind=Kind.DECISION, cause=Cause.ACT, subject=f"admission/{args.chain}",
        operation="admit", principal=call.caller.principal, args={"asked": _asked(args), **told})


def _asked(args: arguments.AdmitArgs) -> dict[str, Any]:
    return {"engine": args.engine, "container": args.container, "chain": args.chain, "config": args.config,
            "manifest": args.manifest}


def _txn(host: Host) -> str:
    return uuid7(host.now_us() // 1000, entropy())


def _check(args: arguments.AdmitArgs) -> None:
    if not 0 < len(args.container) <= _LONGEST_ID or not 0 < len(args.engine) <= _LONGEST_ID:
        raise UsageError("a container has an id, and an engine a name")
    for digest in (args.chain, args.config, args.manifest):
        if digest is not None:
            try:
                parse_digest(digest)
            except FormatError as error:
                raise UsageError(str(error)) from None
