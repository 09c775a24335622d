"""Which command mends a refusal: for the spec's codes, the policy, and what the host lacks. Pure.

Commands are real ones (a test walks each through the command line's parser). What they name comes from the
reader's own words and the trust store, never from a bundle: whoever wrote that must not write command lines.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vordr.model.answers import Cure
from vordr.model.errors import TrustStoreMissing, VerificationRejected, VordrError


@dataclass(frozen=True)
class Target:
    """What was judged, as a person names it: an image of the store, or with ``package`` a .ctp file.

    ``bundle``: judged by a bundle from a file instead of the store's. ``named``: the image has a name under
    which a registry may know it. ``manifest`` is its digest, where it is known.
    """

    image: str
    package: bool = False
    bundle: bool = False
    named: bool = True
    manifest: str | None = None

    @property
    def word(self) -> str:
        """The image as one word of a command line, quoted for a shell where it must be."""
        return shlex.quote(f"./{self.image}" if self.image.startswith("-") else self.image)


def code_of(refused: VordrError) -> str:
    """The spec's code of a rejection, POLICY_DENIED, or the error's id."""
    if isinstance(refused, VerificationRejected):
        return refused.code
    return refused.id.removeprefix("ERR_") if refused.id == "ERR_POLICY_DENIED" else refused.id


def cures_of(refused: VordrError, target: Target) -> tuple[Cure, ...]:
    """As :func:`cures`, for an error that was raised."""
    missing = {"missing": True} if isinstance(refused, TrustStoreMissing) else {}
    return cures(code_of(refused), {**refused.details, **missing}, target)


def cures(code: str, details: Mapping[str, Any], target: Target) -> tuple[Cure, ...]:
    """What mends the refusal with ``code`` and the ``details`` of its error, the likeliest first; never
    nothing."""
    return tuple(_cures(code, details, target))


def _cures(code: str, details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    match code:
        case "MISSING_ATTESTATION":
            yield from _missing(details, target)
        case "MALFORMED_BUNDLE":
            yield from _again(target, "with a bundle that can be read")
            yield _vouch(target)
        case "SUBJECT_MISMATCH":
            yield from _again(target, "with attestations that are about these very bytes")
            yield _vouch(target)
        case "UNKNOWN_KEY":
            yield from _unknown_key(details, target)
        case "EXPIRED_KEY":
            yield from _again(target, "with attestations by a key that is valid now")
            yield Cure("vordr trust update UPDATE.json", "if the updaters gave the key a later end")
            yield _vouch(target)
        case "KEY_NOT_YET_VALID":
            if "attestation" in details:  # the log has it from before the key's time: waiting does not help
                yield from _again(target, "with attestations made in the key's time")
                yield _vouch(target)
            else:
                yield Cure("vordr doctor", "checks this host's clock, by which keys are judged")
                yield Cure("vordr trust show", "tells from when the key is valid: wait until then")
        case "INVALID_SIGNATURE":
            if "suite" in details:
                yield Cure("vordr doctor", "tells what the installed cryptography library cannot verify")
            yield from _again(target, "unchanged: what was signed is not what came; do not run this")
        case "INSUFFICIENT_LOG_COVERAGE":
            yield from _few_logs(details, target)
        case "LOG_PROOF_INVALID":
            yield Cure("vordr trust logs", "asks the logs, and holds them against what was seen of them")
            yield from _again(target, "with proofs that hold; do not run this one")
        case "THRESHOLD_NOT_MET":
            yield from _sign(details, target)
        case "POLICY_DENIED":
            yield from _policy(details, target)
        case _:
            yield from _host(code, details, target)


def _again(target: Target, how: str) -> Iterator[Cure]:
    """Have the same image come in again, from whoever made it."""
    if target.package:
        yield Cure(f"vordr verify {target.word}", f"once you have the package anew, {how}")
    elif target.bundle:
        yield Cure(f"vordr verify {target.word}", "judges by the bundle that the store has")
    elif target.named:
        yield Cure(f"vordr pull {target.word}", f"once its registry has it {how}")
    else:
        yield Cure("vordr create FILE.ctp", f"once you have a package of it {how}")


def _vouch(target: Target) -> Cure:
    if target.package:
        return Cure(f"vordr pack SOURCE {target.word}", "if you are its publisher: packs and signs it anew")
    return Cure(f"vordr adopt {target.word}", "vouches for it with your own key, and verdicts then say so")


def _missing(details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    taken_back = details.get("revoked")
    if taken_back is not None and taken_back == target.manifest:
        yield Cure("vordr pull IMAGE", "the one that supersedes it: this image was taken back for good")
        yield Cure("vordr trust show", "tells when it was taken back, and why")
        return
    if taken_back is not None or target.package:
        yield from _again(target, "with attestations that stand")
        yield _vouch(target)
        return
    yield _vouch(target)
    yield from _again(target, "with attestations of its publisher")


def _unknown_key(details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    if "revoked" in details:
        yield from _again(target, "with attestations by a key that was not revoked")
        yield _vouch(target)
        yield Cure("vordr trust show", "tells when the key was revoked, and why: nothing takes that back")
        return
    role = "--role builders " if "roles" in details else ""
    yield Cure(f"vordr trust add {role}--owner NAME KEY.pem",
               "trusts the signer's public key, once its owner has told you by another way that it is hers")
    yield _vouch(target)


def _few_logs(details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    if "operators" in details:
        yield Cure("vordr trust show", "tells whose logs count; trust/policy.toml demands so many operators")
        yield Cure("vordr trust update UPDATE.json", "brings logs of more operators, signed by the updaters")
        return
    yield from _again(target, "with entries in two logs that are known here")
    yield Cure("vordr trust show", "tells which logs those are")
    yield _vouch(target)


def _sign(details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    """Another signature over the same statements; the logs need no new entries for it."""
    missing = int(details.get("needed", 1)) - int(details.get("signed", 0))
    who = f"by each of the {missing} that are missing of {details.get('group', 'the group')}"
    if target.package:
        yield Cure(f"vordr sign --key KEY.pem {target.word}", who)
    elif target.bundle:
        yield Cure("vordr sign --key KEY.pem BUNDLE.json", who)
    else:
        yield Cure(f"vordr adopt --draft BUNDLE.json {target.word}", "writes a bundle for the others to sign")
        yield Cure("vordr sign --key KEY.pem BUNDLE.json", who)
        yield Cure(f"vordr adopt --bundle BUNDLE.json {target.word}", "takes it once they have signed")


def _policy(details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    demand = str(details.get("demand", ""))
    if "network" in details:
        yield Cure(f"vordr run {target.word}", "without --network host, which the policy does not allow")
        return
    if "origin" in details or demand == "require":
        yield from _again(target, "attested by its publisher, which the policy demands")
    image = "IMAGE" if target.package else target.word
    if demand.startswith(("cosign[", "sigstore[")):
        yield Cure(f"vordr policy gather {image}", "looks in its registry for the evidence that is demanded")
    elif demand.startswith("in_toto["):
        yield Cure(f"vordr verify --layout FILE --layout-key KEY.pem {image}",
                   "verifies the layout, which no start can")
    yield Cure(f"vordr policy check {image}", "tells every demand on the image; trust/policy.toml makes them")


def _host(code: str, details: Mapping[str, Any], target: Target) -> Iterator[Cure]:
    """What is not the image's, but this host's: its trust store, policy, and files."""
    image = "IMAGE" if target.package else target.word
    match code:
        case "ERR_TRUST_STORE" if details.get("missing"):
            yield Cure("vordr trust init --owner NAME", "makes keys, logs and a trust store")
        case "ERR_TRUST_STORE" if details.get("code") == "EXPIRED":
            yield Cure("vordr trust update UPDATE.json", "a newer trust store, signed by its updaters")
        case "ERR_TRUST_STORE":
            yield Cure("vordr trust show", "tells where the trust store breaks a rule")
        case "ERR_CONFIG" | "ERR_CONFIG_PARSE" | "ERR_CONFIG_INVALID":
            yield Cure(f"vordr policy check {image}", "once the file is corrected that the message names")
        case "ERR_SEAL_BROKEN":
            yield Cure(f"vordr run --rm {image}",
                       "is refused once, and has the layer made anew from its blob; then it starts")
        case "ERR_IMAGE_UNREADABLE" | "ERR_IMAGE_NOT_FOUND":
            yield from _again(target, "whole")
            yield Cure("vordr trash ls", "tells whether it was removed, and can come back")
        case _:
            yield Cure(f"vordr explain {shlex.quote(code)}", "tells what it means, and what to do")
