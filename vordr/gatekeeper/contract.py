"""What the commands of verified-container-spec's CLI contract do, from bytes to an answer; pure.

The contract (conformance/runner/cli-contract.json) sets arguments, output and exit codes; the command line,
:mod:`vordr.cli.commands.spec`, adds files and printing. Verification is the gatekeeper's own, under the
default policy and the trust store that is given: no host, no journal, no cache.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vordr.formats import canonical, dsse, merkle
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.gatekeeper import attest, policy, schema
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper.decide import Mode, Report, report
from vordr.gatekeeper.schema import Fault
from vordr.gatekeeper.statements import PREDICATES
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustStore
from vordr.model.errors import VerificationRejected

_NOBODY: Final = "sha256:" + "0" * 64
_LEAF = re.compile(r"(?:sha256:)?([a-f0-9]{64})")


def validate(kind: str, raw: bytes) -> list[Fault]:
    """The faults of a document of a type in schema.DOCUMENTS. Raises FormatError: no JSON."""
    return schema.validate_document(kind, canonical.loads(raw, where=kind))


def verify(
    bundle: bytes | None, trust: TrustStore, manifest: str | None, mode: Mode, now_us: int
) -> Report:
    """The report on a bundle (None: there is none) about the image manifest ``manifest``; without one, about
    the image that its first statement names. Raises nothing for what they hold."""
    digest = manifest if manifest is not None else _named(bundle)
    # Of a subject, a report looks at the manifest alone; config and layers are compared where they are used.
    return report(Subject(digest, digest, ()), bundle, trust, policy.DEFAULT, now_us, mode)


def _named(bundle: bytes | None) -> str:
    """The digest that the first statement's first subject has, or one that no image has."""
    try:
        parsed = None if bundle is None else bundles.parse(bundle)
    except VerificationRejected:
        return _NOBODY  # the report will say the same, at its step
    return _NOBODY if parsed is None else f"sha256:{parsed.attestations[0].subjects[0].get('sha256', '')}"


def create_bundle(attestations: bytes, entries: bytes, now_us: int) -> bytes:
    """A bundle of two JSON arrays, of DSSE envelopes and of log entries, as canonical JSON.

    Raises FormatError: not JSON, or no arrays; VerificationRejected: they make no bundle (MALFORMED_BUNDLE,
    INSUFFICIENT_LOG_COVERAGE), or one of the two required attestations is missing (MISSING_ATTESTATION).
    """
    made = attest.assemble(_array(attestations, "attestations"), _array(entries, "log entries"), now_us)
    kinds = [one.predicate_type for one in bundles.parse(made).attestations]
    for needed, name in PREDICATES.items():
        if needed not in kinds:
            raise VerificationRejected("MISSING_ATTESTATION", f"no {name} ({needed})", step=4)
    return made


def _array(raw: bytes, where: str) -> list[Any]:
    value = canonical.loads(raw, where=where)
    if not isinstance(value, list):
        raise FormatError(where, "not an array")
    return value


def sign(statement: bytes, key: PrivateKey) -> dsse.Envelope:
    """An in-toto Statement v1 in an envelope signed by ``key``; the payload is its canonical JSON.

    Raises FormatError: not JSON; VerificationRejected (MALFORMED_BUNDLE): no statement.
    """
    envelope = attest.sign(canonical.dumps(canonical.loads(statement, where="statement")), [key])
    bundles.parse_attestation(envelope.to_json(), "statement")
    return envelope


def canonicalize(raw: bytes) -> bytes:
    """The canonical JSON (RFC 8785) of a JSON text. Raises FormatError: no JSON, or one that doubles cannot
    hold."""
    return canonical.dumps(canonical.loads(raw))


def leaf_hash(text: str) -> bytes:
    """The hash in ``text``, 64 hexadecimal digits with or without ``sha256:``. Raises FormatError."""
    match = _LEAF.fullmatch(text)
    if match is None:
        raise FormatError("leaf hash", "must be 64 lower-case hexadecimal digits")
    return bytes.fromhex(match[1])


def proof_fault(raw: bytes, leaf: bytes) -> str | None:
    """What is wrong with an inclusion proof (the bundle schema's ``inclusionProof``) of the leaf hash; None
    where it holds (RFC 9162 §2.1.3.2). Raises FormatError: no JSON."""
    proof = canonical.loads(raw, where="proof")
    for path, wrong in schema.PROOF.faults(proof, "$"):
        return f"{path}: {wrong}"
    texts = (proof["rootHash"], *proof["hashes"])
    root, *hashes = (bytes.fromhex(text.removeprefix("sha256:")) for text in texts)
    if merkle.verify_inclusion(proof["logIndex"], proof["treeSize"], leaf, hashes, root):
        return None
    return f"no path leads from this leaf at {proof['logIndex']} to the root of {proof['treeSize']} leaves"
