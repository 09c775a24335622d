"""Sigstore bundles with certificates, verified offline by the ``sigstore`` library against a pinned root.

The library checks the certificate's chain at a signed time, its timestamp (SCT), identity and issuer, the
log's inclusion proof and checkpoint, and that the log entry is about this signature. Left to us is what the
signed bytes are about: the manifest itself, or a statement whose subject it is. Nothing is fetched: no TUF,
no log.

Importing this module imports ``sigstore`` (half a second): only where a bundle is to be judged.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import ExtensionNotFound
from sigstore.errors import Error as SigstoreError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm

from vordr.formats import canonical
from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.gatekeeper.cosign import PAYLOAD_TYPE, SIGNATURE_PREDICATE, statement_about
from vordr.gatekeeper.evidence import LARGEST_PIECE, Kind, Piece

_ROOTS: Final = 8


def verify(
    piece: Piece, manifest: str, root: bytes, *, identity: str, issuer: str, predicate: str | None
) -> str:
    """What the bundle says of ``manifest``, in words: it was signed, or attested, by ``identity``.

    ``root`` is a trusted root as sigstore publishes it. ``predicate`` is the predicate type that must be
    attested; None asks for a signature of the image: of the manifest's bytes, or the statement that newer
    cosign versions sign. Raises FormatError with what is wrong.
    """
    if piece.kind is not Kind.SIGSTORE:
        raise FormatError("evidence", f"a {piece.kind.value}, not a sigstore bundle")
    document = canonical.loads(piece.content, max_bytes=LARGEST_PIECE, where="sigstore bundle")
    if not isinstance(document, dict) or ("messageSignature" in document) == ("dsseEnvelope" in document):
        raise FormatError("sigstore bundle", "neither one signature nor one envelope")
    plain = "messageSignature" in document
    if plain and predicate is not None:
        raise FormatError("sigstore bundle", f"a plain signature, not an attestation of {predicate}")
    verifier, policy = _verifier(root), Identity(identity=identity, issuer=issuer)
    digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(parse_digest(manifest)))
    try:
        bundle = Bundle.from_json(piece.content)
        if plain:
            verifier.verify_artifact(digest, bundle, policy)
            return f"signed by {identity} of {issuer}"
        kind, payload = verifier.verify_dsse(bundle, policy)
    # Of what a stranger wrote, the library lets errors of pydantic (ValueError), x509 and base64 through.
    except (SigstoreError, ExtensionNotFound, InvalidSignature, ValueError, KeyError, TypeError,
            AttributeError, IndexError) as error:
        raise FormatError("sigstore bundle", _first_line(error)) from None
    if kind != PAYLOAD_TYPE:
        raise FormatError("sigstore bundle", f"of payload type {kind[:100]!r}, not {PAYLOAD_TYPE}")
    statement = statement_about(payload, manifest)
    wanted = SIGNATURE_PREDICATE if predicate is None else predicate
    if statement.predicate_type != wanted:
        raise FormatError(
            "statement", f"its predicate is {statement.predicate_type[:100]!r}, not {wanted!r}")
    return f"{'signed' if predicate is None else f'{predicate} attested'} by {identity} of {issuer}"


def check_root(root: bytes) -> None:
    """Raise FormatError unless ``root`` is a trusted root with certificates and logs."""
    _verifier(root)


@lru_cache(maxsize=_ROOTS)
def _verifier(root: bytes) -> Verifier:
    # The library reads roots from files only; this one has no name, and exactly the pinned bytes.
    descriptor = os.memfd_create("trusted-root", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, root)
        return Verifier(trusted_root=TrustedRoot.from_file(f"/proc/self/fd/{descriptor}"))
    except (SigstoreError, ValueError) as error:
        raise FormatError("trusted root", _first_line(error)) from None
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return (words[0] if words else type(error).__name__)[:300]
