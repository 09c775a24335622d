"""Sigstore bundles, verified offline against a pinned root; attacks are named after what they did before."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from evidence_world import IDENTITY, ISSUER, PREDICATE, SIGNATURE_PREDICATE, Sigstore, ephemeral_envelope
from evidence_world import attestation as cosign_attestation

from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.gatekeeper import sigstore_bundles
from vordr.gatekeeper.evidence import Kind, Piece

MANIFEST_BYTES = b'{"schemaVersion":2}'
MANIFEST = sha256_digest(MANIFEST_BYTES)
OTHER = sha256_digest(b"another manifest")
WORLD = Sigstore()
ROOT = WORLD.trusted_root()


def verify(piece: Piece, predicate: str | None = PREDICATE, **changes: Any) -> str:
    given = {"identity": IDENTITY, "issuer": ISSUER, **changes}
    return sigstore_bundles.verify(piece, MANIFEST, given.pop("root", ROOT), predicate=predicate, **given)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_an_attestation_holds_without_the_network() -> None:
    assert verify(WORLD.attested(MANIFEST)) == f"{PREDICATE} attested by {IDENTITY} of {ISSUER}"


def test_a_plain_signature_of_the_manifest_holds() -> None:
    assert verify(WORLD.signed(MANIFEST_BYTES), None) == f"signed by {IDENTITY} of {ISSUER}"


def test_the_signature_that_newer_cosign_versions_make_holds() -> None:
    assert verify(WORLD.attested(MANIFEST, SIGNATURE_PREDICATE), None).startswith("signed by")


def _spoiled(piece: Piece, *path: str | int, value: object) -> Piece:
    document = json.loads(piece.content)
    inner = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return Piece(Kind.SIGSTORE, json.dumps(document).encode())


ENTRY = ("verificationMaterial", "tlogEntries", 0)
GOOD = WORLD.attested(MANIFEST)

REFUSED = {
    "about another image": WORLD.attested(OTHER),
    "CVE-2022-35929 another predicate type": WORLD.attested(MANIFEST, "https://example.org/other"),
    "CVE-2022-36056 log entry of another attestation": WORLD.attested(
        MANIFEST, entry_of=ephemeral_envelope(OTHER)),
    "CVE-2026-22703 log entry of another signature of the same attestation": WORLD.attested(
        MANIFEST, entry_of=ephemeral_envelope(MANIFEST)),
    "CVE-2026-39395 signed payload that is no JSON": WORLD.attested(MANIFEST, raw=b"not json"),
    "CVE-2026-39395 signed payload that is no statement": WORLD.attested(MANIFEST, raw=b"[]"),
    "signed payload with a duplicate key": WORLD.attested(MANIFEST, raw=b'{"_type": 1, "_type": 2}'),
    "another payload type": WORLD.attested(MANIFEST, kind="text/plain"),
    "another identity": WORLD.attested(MANIFEST, identity="https://example.org/evil"),
    "another issuer": WORLD.attested(MANIFEST, issuer="https://evil.example.org"),
    "another authority": Sigstore("evil").attested(MANIFEST),
    "no subject": WORLD.attested(MANIFEST, subject=[]),
    "subject by another algorithm": WORLD.attested(
        MANIFEST, subject=[{"name": "a", "digest": {"sha512": MANIFEST[7:]}}]),
    "no log entry": _spoiled(GOOD, "verificationMaterial", "tlogEntries", value=[]),
    "time without the log's promise": _spoiled(GOOD, *ENTRY, "inclusionPromise", value=None),
    "time that the log did not promise": _spoiled(GOOD, *ENTRY, "integratedTime", value="1769947201"),
    "signature gone": _spoiled(GOOD, "dsseEnvelope", "signatures", value=[]),
    "signature changed": _spoiled(GOOD, "dsseEnvelope", "signatures", 0, "sig", value="AAAA"),
    "certificate that is none": _spoiled(
        GOOD, "verificationMaterial", "certificate", "rawBytes", value="AAAA"),
    "not a bundle": Piece(Kind.SIGSTORE, b"{}"),
    "not JSON": Piece(Kind.SIGSTORE, b"\xff"),
    "nothing": Piece(Kind.SIGSTORE, b""),
    "an attestation of cosign's": cosign_attestation(MANIFEST),
    "a plain signature instead of an attestation": WORLD.signed(MANIFEST_BYTES),
}

REASONS = {
    "about another image": "none of its subjects is",
    "CVE-2022-35929 another predicate type": "its predicate is",
    "CVE-2022-36056 log entry of another attestation": "payload hash does not match",
    "CVE-2026-22703 log entry of another signature of the same attestation": "signatures do not match",
    "CVE-2026-39395 signed payload that is no JSON": "statement: Expecting value",
    "CVE-2026-39395 signed payload that is no statement": "not an in-toto statement",
    "signed payload with a duplicate key": "duplicate key",
    "another payload type": "of payload type",
    "another identity": "SANs do not match",
    "another issuer": "OIDCIssuer does not match",
    "another authority": "certificate chain",
    "no subject": "1 to 256 subjects",
    "subject by another algorithm": "none of its subjects is",
    "no log entry": "exactly one log entry",
    "time without the log's promise": "inclusion promise",
    "time that the log did not promise": "invalid inclusion promise",
    "signature gone": "exactly one signature",
    "signature changed": "invalid signature",
    "certificate that is none": "parsing asn1",
    "not a bundle": "neither one signature",
    "not JSON": "not UTF-8",
    "nothing": "Expecting value",
    "an attestation of cosign's": "not a sigstore bundle",
    "a plain signature instead of an attestation": "a plain signature",
    "of other bytes": "digest mismatch",
    "CVE-2022-36056 log entry of other bytes": "inconsistent with other materials",
    "an attestation of something else": "its predicate is",
    "both a signature and an envelope": "neither one signature",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bundle_is_refused(case: str) -> None:
    with pytest.raises(FormatError, match=REASONS[case]):
        verify(REFUSED[case])


PLAIN_REFUSED = {
    "of other bytes": WORLD.signed(b"other bytes"),
    "CVE-2022-36056 log entry of other bytes": WORLD.signed(MANIFEST_BYTES, logged=b"other bytes"),
    "an attestation of something else": WORLD.attested(MANIFEST),
    "both a signature and an envelope": _spoiled(
        WORLD.signed(MANIFEST_BYTES), "dsseEnvelope", value=ephemeral_envelope(MANIFEST)),
}


@pytest.mark.parametrize("case", PLAIN_REFUSED)
def test_a_signature_is_refused(case: str) -> None:
    with pytest.raises(FormatError, match=REASONS[case]):
        verify(PLAIN_REFUSED[case], None)


@pytest.mark.parametrize("root", [Sigstore("other").trusted_root(), b"{}", b"", b"[" * 70])
def test_nothing_holds_under_another_root(root: bytes) -> None:
    with pytest.raises(FormatError):
        verify(GOOD, root=root)
