"""Who attested what of one image: what verification found, told so that it can be drawn. Pure.

Everything is told that the bundle claims, and of each signature and log entry whether it was found to hold:
where a step refused, what was not looked at any more does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vordr.formats.dsse import Signature
from vordr.gatekeeper.demands import Line, Outcome
from vordr.gatekeeper.logproof import LogEntry
from vordr.gatekeeper.statements import PREDICATES
from vordr.gatekeeper.steps import Findings
from vordr.gatekeeper.trust import UPDATERS, TrustStore
from vordr.model.attested import Attestation, Attested, Demanded, LogProof, Signer

_EVIDENCE: Final = ("cosign[", "sigstore[")
"""Beginnings of the demands that evidence beside the bundle has to meet."""


def attested(
    found: Findings, manifest: str, trust: TrustStore, lines: Sequence[Line], doubted: str | None = None
) -> Attested:
    """What ``found`` holds after a walk of the steps, whole or broken off; ``lines`` are the demands of the
    policy that the walk came to, ``doubted`` is the id of a log that contradicts what was seen of it."""
    attestations = tuple(
        Attestation(
            digest=one.digest, predicate=one.predicate_type,
            name=PREDICATES.get(one.predicate_type, "an unknown predicate"),
            signers=tuple(_signer(signature, {key.id for key in found.signers.get(at, ())}, trust)
                          for signature in one.envelope.signatures),
            logs=tuple(_proof(entry, trust, holds=entry.log_id != doubted)
                       for entry, _ in found.proofs.get(at, ())))
        for at, one in enumerate(found.bundle.attestations))
    proved = {id(entry) for entries in found.proofs.values() for entry, _ in entries}
    return Attested(
        manifest=manifest, bundle=found.bundle.digest or None, attestations=attestations,
        unproved=tuple(_proof(entry, trust, holds=False) for entry in found.bundle.entries
                       if id(entry) not in proved),
        demanded=tuple(
            Demanded(scope=line.scope, demand=line.demand, holds=line.outcome is Outcome.HOLDS,
                     text=line.text, keys=line.keys)
            for line in lines if line.demand.startswith(_EVIDENCE)))


def _signer(signature: Signature, held: set[str], trust: TrustStore) -> Signer:
    key = trust.key(signature.keyid)
    if key is None:
        return Signer(key=signature.keyid, holds=False)
    groups = tuple(f"{group.name} ({group.k} of {len(group.members)})" for group in trust.groups
                   if key.id in group.members and group.name != UPDATERS)
    return Signer(key=key.id, holds=key.id in held, owner=key.owner, roles=key.roles, groups=groups)


def _proof(entry: LogEntry, trust: TrustStore, *, holds: bool) -> LogProof:
    log = trust.log(entry.log_id)
    return LogProof(
        log=entry.log_id, index=entry.index, size=entry.tree_size, root=entry.root.hex(), time=entry.time,
        holds=holds, operator="" if log is None else log.operator)
