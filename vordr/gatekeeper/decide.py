"""Whether an image may become a process. Pure: bytes, trust store, policy and time in, a Verdict out.

The steps are verified-container-spec's, in its order, and each fails closed with the spec's code:

1. digest       the subject's digests are well formed
2. bundle       there is one (MISSING_ATTESTATION)
3. parse        it is well formed and within limits (MALFORMED_BUNDLE)
4. subject      exactly one SLSA provenance v1 and one SPDX document, both about this manifest and nothing
                else (SUBJECT_MISMATCH; MISSING_ATTESTATION where one of the two is not there, or was revoked)
5. signatures   every signature is by a known, unrevoked key in the role builders or adopters, valid now and
                when the log first saw the attestation, and holds (UNKNOWN_KEY, EXPIRED_KEY,
                KEY_NOT_YET_VALID, INVALID_SIGNATURE)
6. logs         every entry of a known log proves one of the attestations, and each attestation is proved
                by at least two logs (LOG_PROOF_INVALID, INSUFFICIENT_LOG_COVERAGE); no log contradicts what
                this host has seen of it
7. threshold    each attestation is signed by k distinct public keys of each group (THRESHOLD_NOT_MET);
                after it, what the operator's policy demands beyond the spec, of all images and of those in
                the image's scopes, by the evidence beside the bundle (PolicyDenied)
8. record       the verdict carries the digests of all that it rests on; the engine journals it

Where the spec leaves a choice, the stricter one is taken: one bad signature refuses the bundle, however many
good ones there are; an expired key counts no longer, even for what it signed in time; a revoked key counts
as unknown, for signatures of every age.

Before all, a trust store that carries an end must not have reached it (TrustStoreInvalid).

Not checked: that the logs show others what they show us (no witness, no gossip), that different operators'
names in the trust store are different people, and that what provenance and SPDX document say is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from vordr.gatekeeper import judging, seen, standing, steps
from vordr.gatekeeper.attested import attested
from vordr.gatekeeper.demands import Case, Line, Outcome
from vordr.gatekeeper.evidence import NOTHING, Beside
from vordr.gatekeeper.policy import Policy, Require
from vordr.gatekeeper.seen import NOTHING_SEEN, Seen, Sight
from vordr.gatekeeper.steps import Findings
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustStore
from vordr.model.attested import Attested
from vordr.model.errors import PolicyDenied, VerificationRejected
from vordr.model.verdict import Evidence, Verdict

_SECOND: Final = 1_000_000


def decide(
    subject: Subject, bundle: bytes | None, trust: TrustStore, policy: Policy, now_us: int, epoch: int,
    beside: Beside = NOTHING, known: Seen = NOTHING_SEEN,
) -> Verdict:
    """The verdict on ``subject``, by the bundle's bytes (None: there is none) and what lies ``beside`` it.

    ``now_us`` is the one time that everything is judged by, in µs; ``epoch`` the trust epoch the verdict is
    bound to. It expires at the policy's ``verdict_ttl``, or sooner if a signing key or an age that the policy
    allows does. No log may show something else than ``known`` says that it showed before.

    Raises VerificationRejected with the spec's code and step, or PolicyDenied where the bundle is sound and
    the operator's policy wants more; TrustStoreInvalid: the trust store has expired.
    """
    return decide_and_tell(subject, bundle, trust, policy, now_us, epoch, beside, known)[0]


def decide_and_tell(
    subject: Subject, bundle: bytes | None, trust: TrustStore, policy: Policy, now_us: int, epoch: int,
    beside: Beside, known: Seen,
) -> tuple[Verdict, tuple[Sight, ...]]:
    """As :func:`decide`, and what its log entries showed of their logs, to be kept for the next decision."""
    found = Findings()
    _walk(found, subject, bundle, trust, policy, now_us, beside, known, [])
    ends = [*found.key_ends, *found.limits, *([] if trust.expires is None else [trust.expires])]
    verdict = Verdict._issue(
        manifest=subject.manifest,
        config=subject.config,
        layers=subject.layers,
        bundle=found.bundle.digest,
        trust=trust.digest,
        policy=policy.digest,
        epoch=epoch,
        origin=found.origin.value,
        attested_by=found.attested_by,
        keys=found.key_ids,
        logs=found.log_ids,
        evidence=tuple(found.evidence),
        decided=now_us,
        expires=min([now_us + policy.verdict_ttl * _SECOND, *ends]),
    )
    assert isinstance(verdict, Verdict)
    return verdict, _sights(found, subject)


def _sights(found: Findings, subject: Subject) -> tuple[Sight, ...]:
    return seen.sights(found.bundle.attestations, found.proofs, subject.manifest)


class Mode(StrEnum):
    """strict reports a rejection as one; permissive and audit pass it, warned. None starts anything."""

    STRICT = "strict"
    PERMISSIVE = "permissive"
    AUDIT = "audit"


@dataclass(frozen=True)
class Report:
    """What ``vordr verify`` prints. Not a verdict: nothing starts by it.

    ``decision`` is ALLOW or REJECT; ``code`` and ``step`` are None unless a step refused, in every mode.
    ``evidence`` holds the steps that passed, in order. ``details`` are those of the refusal, ``name`` is the
    step's that refused (the policy's demands have one of their own).
    """

    mode: Mode
    decision: str
    code: str | None
    step: int | None
    message: str
    warnings: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    attestations_verified: int
    log_entries_verified: int
    thresholds_met: tuple[str, ...]
    origin: str | None
    attested_by: str | None
    attested: Attested
    name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Mapping[str, object]:
        """The report in the words of the spec's CLI contract (``verify``), with our evidence."""
        plain: dict[str, object] = {"decision": self.decision, "mode": self.mode.value}
        if self.decision == "ALLOW":
            plain |= {
                "attestationsVerified": self.attestations_verified,
                "logEntriesVerified": self.log_entries_verified,
                "thresholdsMet": list(self.thresholds_met),
            }
        if self.code is not None:
            plain |= {"errorCode": self.code, "step": self.step, "message": self.message}
        if self.origin is not None:
            plain |= {"origin": self.origin, "attestedBy": self.attested_by}
        plain["warnings"] = list(self.warnings)
        plain["evidence"] = [
            {"step": e.step, "name": e.name, "text": e.text, "keys": list(e.keys), "logs": list(e.logs)}
            for e in self.evidence
        ]
        return plain


def report(
    subject: Subject, bundle: bytes | None, trust: TrustStore, policy: Policy, now_us: int,
    mode: Mode = Mode.STRICT, beside: Beside = NOTHING, known: Seen = NOTHING_SEEN,
) -> Report:
    """The same steps, told instead of enforced. Raises nothing for what the bundle holds; TrustStoreInvalid
    for a trust store that has expired."""
    found, lines = Findings(), list[Line]()
    code: str | None = None
    step: int | None = None
    message, name = "", ""
    details: Mapping[str, Any] = {}
    try:
        _walk(found, subject, bundle, trust, policy, now_us, beside, known, lines)
    except VerificationRejected as refusal:
        code, step, message, details = refusal.code, refusal.step, refusal.message, refusal.details
        name = steps.NAMES[refusal.step - 1]
    except PolicyDenied as refusal:
        code, step, message, details = "POLICY_DENIED", 7, refusal.message, refusal.details
        name = "policy"
    passed = code is None
    whole = found.covered and found.attested_by != ""
    return Report(
        mode=mode,
        decision="ALLOW" if passed or mode is not Mode.STRICT else "REJECT",
        code=code,
        step=step,
        message=message,
        warnings=() if passed else (f"{mode.value}: step {step} refused: {code}: {message}",),
        evidence=tuple(found.evidence),
        attestations_verified=len(found.bundle.attestations) if whole else 0,
        log_entries_verified=found.covered,
        thresholds_met=found.groups,
        origin=found.origin.value if whole else None,
        attested_by=found.attested_by if whole else None,
        attested=attested(
            found, subject.manifest, trust, lines,
            details.get("log") if code == "LOG_PROOF_INVALID" else None),
        name=name,
        details=details,
    )


def _walk(
    found: Findings, subject: Subject, bundle: bytes | None, trust: TrustStore, policy: Policy, now_us: int,
    beside: Beside, known: Seen, lines: list[Line],
) -> None:
    """All steps in order, what they find put into ``found``, demands of the policy's scopes into ``lines``;
    the first that fails raises."""
    _verify(found, subject, bundle, trust, policy, now_us, known)
    for line in judging.judge(policy.scopes, _case(found, subject, policy, now_us, beside)):
        lines.append(line)
        _demand(found, line)
    kept = "".join(f", {piece.kind.value} {piece.digest}" for piece in beside.pieces) if policy.scopes else ""
    found.add(
        8,
        "record",
        f"bundle {found.bundle.digest}, trust store {trust.digest}, policy {policy.digest}{kept}",
    )


def _case(found: Findings, subject: Subject, policy: Policy, now_us: int, beside: Beside) -> Case:
    return Case(subject, found, beside, policy.allow_host_network, now_us)


def _demand(found: Findings, line: Line) -> None:
    """Take a demand that holds as evidence; raise PolicyDenied at one that does not."""
    said = f"scope {line.scope}, {line.demand}: {line.text}"
    if line.outcome is not Outcome.HOLDS:
        raise PolicyDenied(
            f"policy: {said}" + (" (cannot be judged)" if line.outcome is Outcome.UNJUDGED else ""),
            remedy="vordr policy check IMAGE",
            details={"scope": line.scope, "demand": line.demand, "outcome": line.outcome.value})
    if line.until is not None:
        found.limits.append(line.until)
    found.add(7, "policy", said, line.keys)


def _verify(
    found: Findings, subject: Subject, bundle: bytes | None, trust: TrustStore, policy: Policy, now_us: int,
    known: Seen,
) -> None:
    standing.require_fresh(trust, now_us)
    steps.check_digests(found, subject)
    raw = steps.require_bundle(found, bundle)
    steps.parse_bundle(found, raw)
    steps.match_subject(found, subject)
    standing.require_not_withdrawn(trust, found.bundle, subject)
    steps.verify_signatures(found, trust, now_us)
    steps.verify_logs(found, subject, trust, policy.distinct_log_operators, now_us)
    known.check(_sights(found, subject))
    steps.meet_thresholds(found, trust)
    if policy.require is Require.PUBLISHED and found.origin is not steps.Origin.PUBLISHED:
        raise PolicyDenied(
            f"policy: the image is {found.attested_by}, and require = \"published\"",
            remedy="run an image that its publisher attested, or set require = \"any\" in trust/policy.toml",
            details={"origin": found.origin.value, "policy": policy.digest},
        )


def explain(
    subject: Subject, bundle: bytes | None, trust: TrustStore, policy: Policy, now_us: int,
    beside: Beside = NOTHING, known: Seen = NOTHING_SEEN,
) -> tuple[Report, tuple[Line, ...]]:
    """The report, and a line for every demand of every scope that the image is in: all of them, where a
    start would end at the first that does not hold. No lines where the spec's steps already refuse."""
    told = report(subject, bundle, trust, policy, now_us, beside=beside, known=known)
    found = Findings()
    try:
        _verify(found, subject, bundle, trust, policy, now_us, known)
    except PolicyDenied:
        return told, ()
    return told, tuple(judging.judge(policy.scopes, _case(found, subject, policy, now_us, beside)))
