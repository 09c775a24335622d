"""Reading an attestation bundle: shape and limits, nothing verified.

Beyond attestation-bundle.schema: no duplicate keys, NaN, depth > 64, > 16 MiB or > 256 entries; base64 with
one spelling only; no members that the schema does not name (outside ``metadata``, which nobody believes);
format versions 0.1.x only; a log entry whose two indices differ contradicts itself and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from vordr.formats import base64s, canonical, dsse
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import schema
from vordr.gatekeeper.logproof import LogEntry
from vordr.model.errors import VerificationRejected

LARGEST_BUNDLE: Final = 16 * 1024 * 1024
MOST_ENTRIES: Final = 256
"""Attestations, their signatures, and log entries: at most so many of each."""
LONGEST_PATH: Final = 63
_LARGEST_INTEGER = 2**53 - 1

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
FORMAT_VERSION: Final = "0.1.0"
_STATEMENT_MEMBERS = {"_type", "subject", "predicateType", "predicate"}


@dataclass(frozen=True)
class Attestation:
    """A DSSE envelope and the in-toto Statement v1 in it. ``digest`` is SHA-256 of the PAE; ``subjects`` are
    the digest sets of the statement's subjects, algorithm → hex."""

    envelope: dsse.Envelope
    digest: str
    predicate_type: str
    predicate: Mapping[str, Any]
    subjects: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Bundle:
    """``digest`` is ``sha256:<hex>`` of the bundle's bytes."""

    digest: str
    attestations: tuple[Attestation, ...]
    entries: tuple[LogEntry, ...]


def malformed(message: str) -> NoReturn:
    raise VerificationRejected("MALFORMED_BUNDLE", f"bundle: {message}", step=3)


def parse(raw: bytes) -> Bundle:
    """The bundle in ``raw``.

    Raises VerificationRejected: MALFORMED_BUNDLE (step 3), or INSUFFICIENT_LOG_COVERAGE (step 6) for a
    well-formed bundle with fewer than two log entries, as the spec's vector demands.
    """
    try:
        document = canonical.loads(raw, max_bytes=LARGEST_BUNDLE, where="bundle")
        _check_shape(document)
        attestations = tuple(
            parse_attestation(item, f"attestations[{at}]") for at, item in enumerate(document["attestations"])
        )
        entries = tuple(
            _log_entry(item, f"logEntries[{at}]") for at, item in enumerate(document["logEntries"])
        )
    except FormatError as error:
        malformed(str(error).removeprefix("bundle: "))
    if sum(len(one.envelope.signatures) for one in attestations) > MOST_ENTRIES:
        malformed(f"more than {MOST_ENTRIES} signatures")
    return Bundle(sha256_digest(raw), attestations, entries)


def _check_shape(document: Any) -> None:
    faults = schema.validate_document("attestation-bundle", document)
    few = [fault for fault in faults if fault[0] == "$.logEntries" and "at least" in fault[1]]
    others = [fault for fault in faults if fault not in few]
    if others:
        path, wrong = others[0]
        malformed(f"{path}: {wrong}")
    if few:
        raise VerificationRejected(
            "INSUFFICIENT_LOG_COVERAGE",
            f"bundle: {len(document['logEntries'])} log entries; each attestation needs two distinct logs",
            step=6,
        )
    for name in ("attestations", "logEntries"):
        if len(document[name]) > MOST_ENTRIES:
            malformed(f"$.{name}: more than {MOST_ENTRIES}")
    if not document["version"].startswith("0.1."):
        malformed(f"$.version: {document['version']} is not 0.1.x")
    _no_more(schema.BUNDLE, document, "$")
    for at, envelope in enumerate(document["attestations"]):
        _no_more(schema.ENVELOPE, envelope, f"$.attestations[{at}]")
        for number, signature in enumerate(envelope["signatures"]):
            _no_more(schema.SIGNATURE, signature, f"$.attestations[{at}].signatures[{number}]")
    for at, entry in enumerate(document["logEntries"]):
        _no_more(schema.LOG_ENTRY, entry, f"$.logEntries[{at}]")
        _no_more(schema.PROOF, entry["inclusionProof"], f"$.logEntries[{at}].inclusionProof")


def _no_more(shape: schema.Members, value: Mapping[str, Any], path: str) -> None:
    if unknown := shape.unknown(value):
        malformed(f"{path}: unknown member {unknown[0][:100]!r}")


def parse_attestation(item: Mapping[str, Any], where: str) -> Attestation:
    """One envelope of a bundle and the statement in it. Raises FormatError or VerificationRejected
    (MALFORMED_BUNDLE), with ``where`` in their words."""
    envelope = dsse.parse(item, where)
    if envelope.payload_type != PAYLOAD_TYPE:
        malformed(f"{where}.payloadType: {envelope.payload_type[:100]!r} is not {PAYLOAD_TYPE}")
    statement = canonical.loads(envelope.payload, max_bytes=LARGEST_BUNDLE, where=f"{where}.payload")
    if not isinstance(statement, dict) or set(statement) != _STATEMENT_MEMBERS:
        malformed(f"{where}.payload: not an in-toto statement of {', '.join(sorted(_STATEMENT_MEMBERS))}")
    if statement["_type"] != STATEMENT_TYPE:
        malformed(f"{where}.payload._type: not {STATEMENT_TYPE}")
    predicate_type, predicate = statement["predicateType"], statement["predicate"]
    if not isinstance(predicate_type, str) or not isinstance(predicate, dict):
        malformed(f"{where}.payload: predicateType must be a string and predicate an object")
    subjects = statement["subject"]
    if not isinstance(subjects, list) or not 1 <= len(subjects) <= MOST_ENTRIES:
        malformed(f"{where}.payload.subject: must be an array of 1 to {MOST_ENTRIES} subjects")
    digests = tuple(_subject(one, f"{where}.payload.subject[{at}]") for at, one in enumerate(subjects))
    return Attestation(envelope, sha256_digest(envelope.pae()), predicate_type, predicate, digests)


def _subject(value: Any, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not isinstance(value.get("name", ""), str):
        malformed(f"{where}: not a resource descriptor")
    digests = value.get("digest")
    if not isinstance(digests, dict) or not digests or not all(isinstance(d, str) for d in digests.values()):
        malformed(f"{where}.digest: must be an object of strings")
    return digests


def _log_entry(item: Mapping[str, Any], where: str) -> LogEntry:
    proof = item["inclusionProof"]
    if item["logIndex"] != proof["logIndex"]:
        malformed(f"{where}: logIndex {item['logIndex']} contradicts inclusionProof.logIndex")
    if max(item["logIndex"], proof["treeSize"]) > _LARGEST_INTEGER:
        malformed(f"{where}: an integer beyond 2^53 - 1")
    if len(proof["hashes"]) > LONGEST_PATH:
        malformed(f"{where}.inclusionProof.hashes: more than {LONGEST_PATH}")
    return LogEntry(
        item["logId"],
        item["logIndex"],
        item["integratedTime"],
        parse_rfc3339(item["integratedTime"]),
        proof["treeSize"],
        _hash(proof["rootHash"]),
        tuple(map(_hash, proof["hashes"])),
        base64s.decode(item["signedEntryTimestamp"], f"{where}.signedEntryTimestamp"),
    )


def _hash(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("sha256:"))
