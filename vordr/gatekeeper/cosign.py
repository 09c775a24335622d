"""cosign's keyed signatures and attestations, verified over the manifest's digest (cosign SIGNATURE_SPEC).

In this order, for every piece: signature by a pinned key → the signed bytes parse → they are of the type that
was asked for → they name this manifest. Whatever does not parse is refused, not skipped (CVE-2026-39395). Of
annotations and media types nothing is believed, the predicate type is the one inside the signed statement
(CVE-2022-35929, -35930), and thresholds count distinct public keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vordr.formats import base64s, canonical, dsse
from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.gatekeeper import rekor
from vordr.gatekeeper.evidence import LARGEST_PIECE, Kind, Piece
from vordr.gatekeeper.pinned_keys import PinnedKey

SIMPLE_SIGNING_TYPE: Final = "cosign container image signature"
SIGNATURE_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
"""Predicate type of a plain signature in the bundles of newer cosign versions."""
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPES: Final = ("https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1")
_MOST_SUBJECTS: Final = 256
_MOST_SIGNATURES: Final = 16
"""Of one envelope; with the bounds of pieces and pinned keys, the most that one start may have to verify."""


@dataclass(frozen=True)
class Statement:
    """A verified in-toto statement about the manifest."""

    predicate_type: str
    predicate: Mapping[str, Any]


def signer_of(
    piece: Piece, manifest: str, keys: Sequence[PinnedKey], *, logs: Sequence[PinnedKey] = (),
    annotations: Mapping[str, str] | None = None,
) -> PinnedKey:
    """Whose simple signing signature of ``manifest`` the piece is.

    ``logs`` are Rekor's keys: where there are some, one must have promised an entry about this signature.
    ``annotations`` must be among those that the payload signs. Raises FormatError with what is wrong.
    """
    if piece.kind is not Kind.SIMPLE_SIGNING or piece.signature is None:
        raise FormatError("evidence", f"a {piece.kind.value}, not a signature")
    key = _first(keys, piece.signature, piece.content)
    payload: Any = canonical.loads(piece.content, max_bytes=LARGEST_PIECE, where="payload")
    match payload:
        case {"critical": {"type": str(kind), "image": {"docker-manifest-digest": str(digest)},
                           "identity": {"docker-reference": str()}}}:
            pass
        case _:
            raise FormatError("payload", "not a simple signing payload")
    if kind != SIMPLE_SIGNING_TYPE:
        raise FormatError("payload", f"of type {kind[:100]!r}, not {SIMPLE_SIGNING_TYPE!r}")
    if digest != manifest:
        raise FormatError("payload", f"about {digest[:80]!r}, not about {manifest}")
    signed = payload.get("optional")
    for name, value in (annotations or {}).items():
        if not isinstance(signed, dict) or signed.get(name) != value:
            raise FormatError("payload", f"does not sign the annotation {name}={value}")
    if logs:
        rekor.integrated_at(piece.log, piece.content, piece.signature, key, logs)
    return key


def attester_of(
    piece: Piece, manifest: str, predicate_type: str, keys: Sequence[PinnedKey], *,
    logs: Sequence[PinnedKey] = (),
) -> tuple[tuple[PinnedKey, ...], Statement]:
    """Who attests ``predicate_type`` of ``manifest`` in the piece, and the statement.

    Every pinned key whose signature holds counts; one must. Raises FormatError with what is wrong.
    """
    envelope = envelope_of(piece)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise FormatError("envelope", f"of payload type {envelope.payload_type[:100]!r}, not {PAYLOAD_TYPE}")
    signed = envelope.pae()
    held = {
        key: one.sig for key in keys for one in envelope.signatures if key.verify(one.sig, signed)}
    if not held:
        raise FormatError("envelope", "signed by none of the pinned keys")
    statement = statement_about(envelope.payload, manifest)
    if statement.predicate_type != predicate_type:
        raise FormatError(
            "statement", f"its predicate is {statement.predicate_type[:100]!r}, not {predicate_type!r}")
    if logs:
        if len(envelope.signatures) > 1:
            raise FormatError("envelope", "has several signatures, and a log entry is about one")
        for key, sig in held.items():
            rekor.integrated_at(piece.log, signed, sig, key, logs, envelope.payload)
    return tuple(held), statement


def statement_about(payload: bytes, manifest: str) -> Statement:
    """The in-toto statement in verified bytes, if one of its subjects is ``manifest``. Raises FormatError."""
    statement: Any = canonical.loads(payload, max_bytes=LARGEST_PIECE, where="statement")
    if not isinstance(statement, dict) or statement.get("_type") not in STATEMENT_TYPES:
        raise FormatError("statement", "not an in-toto statement of version 0.1 or 1")
    kind, predicate, subjects = (
        statement.get("predicateType"), statement.get("predicate"), statement.get("subject"))
    if not isinstance(kind, str) or not isinstance(predicate, dict | None):
        raise FormatError("statement", "predicateType must be a string and predicate an object")
    if not isinstance(subjects, list) or not 1 <= len(subjects) <= _MOST_SUBJECTS:
        raise FormatError("statement", f"must have 1 to {_MOST_SUBJECTS} subjects")
    if not any(_is_about(subject, manifest) for subject in subjects):
        raise FormatError("statement", f"none of its subjects is {manifest}")
    return Statement(kind, predicate or {})


def _is_about(subject: object, manifest: str) -> bool:
    match subject:
        case {"digest": {"sha256": str(digest)}}:
            return digest == parse_digest(manifest)
    return False


def envelope_of(piece: Piece) -> dsse.Envelope:
    """The DSSE envelope of a piece: its own, or that of a sigstore bundle. Raises FormatError.

    As :func:`vordr.formats.dsse.parse`, but key ids may be missing: cosign writes none, and nothing here
    looks at them.
    """
    value: Any = canonical.loads(piece.content, max_bytes=LARGEST_PIECE, where="envelope")
    if piece.kind is Kind.SIGSTORE:
        value = value.get("dsseEnvelope") if isinstance(value, dict) else None
    elif piece.kind is not Kind.DSSE:
        raise FormatError("evidence", f"a {piece.kind.value}, not an attestation")
    match value:
        case {"payloadType": str(kind), "payload": str(payload), "signatures": [_, *_] as entries}:
            pass
        case _:
            raise FormatError("envelope", "not a DSSE envelope with signatures")
    if len(entries) > _MOST_SIGNATURES:
        raise FormatError("envelope", f"more than {_MOST_SIGNATURES} signatures")
    return dsse.Envelope(
        kind, base64s.decode(payload, "envelope.payload"),
        tuple(dsse.Signature("", _signature(entry)) for entry in entries))


def _signature(entry: object) -> bytes:
    match entry:
        case {"sig": str(text)} if text:
            return base64s.decode(text, "envelope.signatures")
    raise FormatError("envelope.signatures", "an entry without a signature")


def _first(keys: Sequence[PinnedKey], signature: bytes, message: bytes) -> PinnedKey:
    for key in keys:
        if key.verify(signature, message):
            return key
    raise FormatError("signature", "by none of the pinned keys")
