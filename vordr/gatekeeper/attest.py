"""Signing what is said about an image, logging it, and putting the bundle together."""

from __future__ import annotations

from collections.abc import Sequence

from vordr.formats import canonical, dsse
from vordr.formats.signature import PrivateKey
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import schema, statements
from vordr.gatekeeper.logs import Log
from vordr.gatekeeper.sbom import Inventory
from vordr.gatekeeper.statements import PROVENANCE, SPDX, Act
from vordr.gatekeeper.steps import FEWEST_LOGS
from vordr.gatekeeper.subject import Subject
from vordr.model.errors import UsageError


def sign(payload: bytes, signers: Sequence[PrivateKey]) -> dsse.Envelope:
    """An in-toto statement's bytes in a DSSE envelope with one signature by each key, in order."""
    signed = dsse.pae(bundles.PAYLOAD_TYPE, payload)
    signatures = tuple(dsse.Signature(key.public.key_id, key.sign(signed)) for key in signers)
    return dsse.Envelope(bundles.PAYLOAD_TYPE, payload, signatures)


def make_bundle(
    subject: Subject, act: Act, inventory: Inventory, *, signers: Sequence[PrivateKey],
    logs: Sequence[Log],
) -> bytes:
    """Provenance and SPDX document on ``subject``, signed by every signer, in every log: the bundle's bytes.

    Raises UsageError: no signer, a signer twice, or fewer than two distinct logs; and as
    :meth:`~vordr.gatekeeper.logs.Log.submit`, where a log does not take a statement in.
    """
    if not signers or len({key.public.key_id for key in signers}) < len(signers):
        raise UsageError("an attestation needs signers, each of them once")
    if len({log.id for log in logs}) < max(FEWEST_LOGS, len(logs)):
        raise UsageError(f"an attestation needs at least {FEWEST_LOGS} distinct logs, each of them once",
                         remedy="vordr trust init (makes three local logs)")
    predicates = ((PROVENANCE, statements.provenance(subject, act)),
                  (SPDX, statements.spdx(subject, act, inventory)))
    envelopes, entries = [], []
    for kind, predicate in predicates:
        envelope = sign(statements.statement(subject, act.name, kind, predicate), signers)
        envelopes.append(envelope.to_json())
        entries += [log.submit(envelope, subject.manifest, kind, act.ended).to_json() for log in logs]
    return assemble(envelopes, entries, act.ended)


def assemble(envelopes: Sequence[object], entries: Sequence[object], created_us: int) -> bytes:
    """A bundle of DSSE envelopes and log entries (both as the schema's JSON), as canonical JSON.

    It is read back before it is handed out. Raises VerificationRejected: the parts make no bundle.
    """
    raw = canonical.dumps(
        {
            "mediaType": schema.MEDIA_TYPE,
            "version": bundles.FORMAT_VERSION,
            "attestations": list(envelopes),
            "logEntries": list(entries),
            "metadata": {
                "producer": "vordr",
                "producerVersion": statements.PACKER.partition("-")[2],
                "createdAt": format_rfc3339(created_us),
            },
        }
    )
    bundles.parse(raw)
    return raw
