"""Makers of what cosign, Rekor and sigstore write, with keys of their own. Nothing here checks anything."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from vordr.formats import canonical, dsse
from vordr.gatekeeper.evidence import Kind, Piece
from vordr.gatekeeper.pinned_keys import PinnedKey

SIGNED_AT = datetime(2026, 2, 1, 12, tzinfo=UTC)
PREDICATE = "https://slsa.dev/provenance/v1"
IN_TOTO = "application/vnd.in-toto+json"
IDENTITY, ISSUER = "https://example.org/release.yml@refs/heads/main", "https://issuer.example.org"
SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of that name, always the same."""
    secret = int.from_bytes(hashlib.sha256(name.encode()).digest()) >> 1
    return ec.derive_private_key(secret or 1, ec.SECP256R1())


def spki(name: str) -> bytes:
    return key(name).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pem(name: str) -> str:
    return key(name).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def pinned(name: str) -> PinnedKey:
    return PinnedKey.from_pem(pem(name))


def sign(name: str, data: bytes) -> bytes:
    """The signature, always the same."""
    return key(name).sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def sign_again(name: str, data: bytes) -> bytes:
    """Another signature, each time: ECDSA has many of the same bytes."""
    return key(name).sign(data, ec.ECDSA(hashes.SHA256()))


# -- cosign ----------------------------------------------------------------------------------------


def payload(manifest: str, **changes: Any) -> dict[str, Any]:
    """A simple signing payload; ``changes`` replace members of ``critical``."""
    critical = {"identity": {"docker-reference": "registry.example.org/app"},
                "image": {"docker-manifest-digest": manifest}, "type": "cosign container image signature"}
    return {"critical": {**critical, **changes}, "optional": {"team": "blue"}}


def signature(manifest: str, signer: str = "cosign", *, raw: bytes | None = None, log: bytes | None = None,
              **changes: Any) -> Piece:
    content = raw if raw is not None else json.dumps(payload(manifest, **changes)).encode()
    return Piece(Kind.SIMPLE_SIGNING, content, sign(signer, content), log)


def statement(manifest: str, predicate: str = PREDICATE, **changes: Any) -> dict[str, Any]:
    return {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": predicate,
            "subject": [{"name": "app", "digest": {"sha256": manifest.removeprefix("sha256:")}}],
            "predicate": {"builder": {"id": "b"}}, **changes}


def envelope(signed: bytes, signers: Sequence[str] = ("cosign",), kind: str = IN_TOTO) -> dict[str, Any]:
    return {"payloadType": kind, "payload": b64(signed),
            "signatures": [{"keyid": "", "sig": b64(sign(one, dsse.pae(kind, signed)))} for one in signers]}


def attestation(manifest: str, predicate: str = PREDICATE, *, signers: Sequence[str] = ("cosign",),
                raw: bytes | None = None, kind: str = IN_TOTO, log: bytes | None = None,
                **changes: Any) -> Piece:
    signed = raw if raw is not None else json.dumps(statement(manifest, predicate, **changes)).encode()
    return Piece(Kind.DSSE, json.dumps(envelope(signed, signers, kind)).encode(), None, log)


# -- Rekor -----------------------------------------------------------------------------------------


def hashedrekord(signed: bytes, sig: bytes, verifier: str) -> dict[str, Any]:
    return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(signed).hexdigest()}},
        "signature": {"content": b64(sig), "publicKey": {"content": b64(verifier.encode())}}}}


def dsse_entry(made: Mapping[str, Any], verifier: str) -> dict[str, Any]:
    signed = base64.b64decode(made["payload"])
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "envelopeHash": {"algorithm": "sha256",
                         "value": hashlib.sha256(json.dumps(made).encode()).hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(signed).hexdigest()},
        "signatures": [{"signature": one["sig"], "verifier": b64(verifier.encode())}
                       for one in made["signatures"]]}}


def promised(body: Mapping[str, Any], log: str = "rekor") -> bytes:
    """A log entry as cosign's annotation holds it."""
    entry = {"body": b64(canonical.dumps(body)), "integratedTime": int(SIGNED_AT.timestamp()), "logIndex": 7,
             "logID": hashlib.sha256(spki(log)).hexdigest()}
    return json.dumps(
        {"SignedEntryTimestamp": b64(sign(log, canonical.dumps(entry))), "Payload": entry}).encode()


def logged_signature(manifest: str, signer: str = "cosign") -> Piece:
    bare = signature(manifest, signer)
    assert bare.signature is not None
    return Piece(bare.kind, bare.content, bare.signature,
                 promised(hashedrekord(bare.content, bare.signature, pem(signer))))


# -- sigstore --------------------------------------------------------------------------------------


@dataclass
class Sigstore:
    """A certificate authority, its certificate log and a Rekor log, and bundles by them."""

    name: str = "sigstore"
    root: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        public = key(f"{self.name}-ca").public_key()
        self.root = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(public)
            .serial_number(1).not_valid_before(SIGNED_AT - timedelta(days=300))
            .not_valid_after(SIGNED_AT + timedelta(days=3000))
            .add_extension(x509.BasicConstraints(True, 1), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .sign(key(f"{self.name}-ca"), hashes.SHA256()))

    def trusted_root(self) -> bytes:
        valid = {"start": "2025-01-01T00:00:00Z"}

        def log(name: str) -> dict[str, Any]:
            return {"baseUrl": f"https://{name}.example.org", "hashAlgorithm": "SHA2_256",
                    "publicKey": {"rawBytes": b64(spki(name)), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                                  "validFor": valid},
                    "logId": {"keyId": b64(hashlib.sha256(spki(name)).digest())}}

        authority = {
            "subject": {"organization": "o", "commonName": self.name}, "uri": "https://ca.example.org",
            "certChain": {"certificates": [{"rawBytes": b64(_der(self.root))}]}, "validFor": valid}
        return json.dumps({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(f"{self.name}-rekor")], "certificateAuthorities": [authority],
            "ctlogs": [log(f"{self.name}-ct")], "timestampAuthorities": []}).encode()

    def certificate(self, identity: str = IDENTITY, issuer: str = ISSUER) -> x509.Certificate:
        """A certificate for ten minutes around :data:`SIGNED_AT`, with the certificate log's timestamp."""
        public = key("ephemeral").public_key()
        text = issuer.encode()
        plain = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.root.subject)
            .public_key(public).serial_number(2).not_valid_before(SIGNED_AT - timedelta(minutes=1))
            .not_valid_after(SIGNED_AT + timedelta(minutes=9))
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.public_key()), False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), True)
            .add_extension(
                x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), text), False)
            .add_extension(
                x509.UnrecognizedExtension(
                    ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), bytes([0x0C, len(text)]) + text), False))
        authority = key(f"{self.name}-ca")
        before = plain.sign(authority, hashes.SHA256()).tbs_certificate_bytes
        issuer_hash = hashlib.sha256(spki(f"{self.name}-ca")).digest()
        entry = issuer_hash + len(before).to_bytes(3) + before
        time = int(SIGNED_AT.timestamp() * 1000)
        stamped = sign(f"{self.name}-ct", struct.pack("!BBQH", 0, 0, time, 1) + entry + b"\0\0")
        sct = (b"\0" + hashlib.sha256(spki(f"{self.name}-ct")).digest() + struct.pack("!QH", time, 0)
               + b"\4\3" + len(stamped).to_bytes(2) + stamped)
        listed = (len(sct) + 2).to_bytes(2) + len(sct).to_bytes(2) + sct
        length = bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])
        octets = b"\x04" + length + listed
        return plain.add_extension(
            x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), octets), False
        ).sign(authority, hashes.SHA256())

    def entry(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The log entry of ``body``, alone in its tree."""
        log, raw = f"{self.name}-rekor", canonical.dumps(body)
        log_id = hashlib.sha256(spki(log)).digest()
        root = hashlib.sha256(b"\0" + raw).digest()
        note = f"{log}\n1\n{b64(root)}\n"
        checkpoint = f"{note}\n\u2014 {log} {b64(log_id[:4] + sign(log, note.encode()))}\n"
        time = int(SIGNED_AT.timestamp())
        promise = sign(log, canonical.dumps(
            {"body": b64(raw), "integratedTime": time, "logID": log_id.hex(), "logIndex": 0}))
        return {
            "logIndex": "0", "logId": {"keyId": b64(log_id)}, "integratedTime": str(time),
            "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
            "inclusionPromise": {"signedEntryTimestamp": b64(promise)},
            "inclusionProof": {"logIndex": "0", "rootHash": b64(root), "treeSize": "1", "hashes": [],
                               "checkpoint": {"envelope": checkpoint}},
            "canonicalizedBody": b64(raw)}

    def bundle(self, content: Mapping[str, Any], body: Mapping[str, Any],
               certificate: x509.Certificate | None = None) -> dict[str, Any]:
        leaf = certificate or self.certificate()
        return {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {"certificate": {"rawBytes": b64(_der(leaf))},
                                         "tlogEntries": [self.entry(body)]},
                **content}

    def attested(self, manifest: str, predicate: str = PREDICATE, *, raw: bytes | None = None,
                 kind: str = IN_TOTO, identity: str = IDENTITY, issuer: str = ISSUER,
                 entry_of: Mapping[str, Any] | None = None, **changes: Any) -> Piece:
        """An attestation in a bundle; ``entry_of`` is the envelope that the log entry is about instead."""
        leaf = self.certificate(identity, issuer)
        signed = raw if raw is not None else json.dumps(statement(manifest, predicate, **changes)).encode()
        made = envelope(signed, ("ephemeral",), kind)
        for one in made["signatures"]:
            del one["keyid"]
        body = dsse_entry(entry_of or made, _pem(leaf))
        return _piece(self.bundle({"dsseEnvelope": made}, body, leaf))

    def signed(self, manifest_bytes: bytes, *, logged: bytes | None = None) -> Piece:
        """A plain signature of the manifest's bytes; ``logged`` are the bytes that the entry is about."""
        leaf = self.certificate()
        sig = sign("ephemeral", manifest_bytes)
        digest = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(manifest_bytes).digest())}
        body = hashedrekord(logged if logged is not None else manifest_bytes, sig, _pem(leaf))
        return _piece(self.bundle({"messageSignature": {"messageDigest": digest, "signature": b64(sig)}},
                                  body, leaf))


def ephemeral_envelope(manifest: str) -> dict[str, Any]:
    """Another envelope by the certificate's key about ``manifest``, each time."""
    signed = json.dumps(statement(manifest)).encode()
    return {"payloadType": IN_TOTO, "payload": b64(signed),
            "signatures": [{"sig": b64(sign_again("ephemeral", dsse.pae(IN_TOTO, signed)))}]}


def _piece(document: Mapping[str, Any]) -> Piece:
    return Piece(Kind.SIGSTORE, json.dumps(document).encode())


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
