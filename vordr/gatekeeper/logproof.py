"""What a transparency log signs, proofs and heads: the bytes that are hashed and signed, and their check.

Byte layouts: docs/formats.md, "Transparency log". The spec's bundle does not say which attestation a log
entry is about; it is found by recomputing the leaf from each attestation and the entry's own time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vordr.formats import base64s, canonical, merkle
from vordr.formats.signature import PublicKey

LEAF_VERSION = 1


def leaf_bytes(attestation: str, subject: str, predicate_type: str, time: str) -> bytes:
    """The log's entry for one attestation: ``logEntry`` of transparency-log.schema as canonical JSON.

    ``attestation`` is the digest of the envelope's PAE and ``subject`` the manifest's (``sha256:<hex>``);
    ``time`` is the RFC 3339 text of integratedTime, exactly as the bundle spells it.
    """
    return canonical.fast_dumps(
        {
            "version": LEAF_VERSION,
            "timestamp": time,
            "entryType": "attestation",
            "body": {
                "attestationDigest": attestation,
                "subjectDigest": subject,
                "predicateType": predicate_type,
            },
        }
    )


@dataclass(frozen=True)
class LogEntry:
    """One of the bundle's ``logEntries``. ``time`` is RFC 3339 text and ``time_us`` its value in µs;
    ``root`` and ``path`` are 32-byte hashes; ``timestamp`` is the signed entry timestamp."""

    log_id: str
    index: int
    time: str
    time_us: int
    tree_size: int
    root: bytes
    path: tuple[bytes, ...]
    timestamp: bytes

    def signed_bytes(self, leaf: bytes) -> bytes:
        """What the signed entry timestamp signs, for the leaf *hash* ``leaf``."""
        return timestamp_bytes(self.log_id, self.index, self.time, self.tree_size, self.root, leaf)

    def includes(self, leaf: bytes) -> bool:
        """Whether the inclusion proof puts the leaf *hash* at this index of this root's tree."""
        return merkle.verify_inclusion(self.index, self.tree_size, leaf, self.path, self.root)

    def signed_by(self, public: PublicKey, leaf: bytes) -> bool:
        """Whether the log with key ``public`` signed this place, time and root for the leaf hash."""
        return public.verify(self.timestamp, self.signed_bytes(leaf))

    def to_json(self) -> dict[str, Any]:
        """The entry as attestation-bundle.schema's ``logEntry``."""
        return {
            "logId": self.log_id,
            "logIndex": self.index,
            "integratedTime": self.time,
            "inclusionProof": {
                "logIndex": self.index,
                "rootHash": "sha256:" + self.root.hex(),
                "treeSize": self.tree_size,
                "hashes": ["sha256:" + node.hex() for node in self.path],
            },
            "signedEntryTimestamp": base64s.encode(self.timestamp),
        }


def timestamp_bytes(log_id: str, index: int, time: str, tree_size: int, root: bytes, leaf: bytes) -> bytes:
    """The bytes of a signed entry timestamp: canonical JSON of place, time, tree and leaf hash."""
    return canonical.fast_dumps(
        {
            "logId": log_id,
            "logIndex": index,
            "integratedTime": time,
            "treeSize": tree_size,
            "rootHash": "sha256:" + root.hex(),
            "leafHash": "sha256:" + leaf.hex(),
        }
    )


@dataclass(frozen=True)
class SignedHead:
    """A signed tree head: ``time`` is RFC 3339 text and ``time_us`` its value in µs."""

    log_id: str
    size: int
    root: bytes
    time: str
    time_us: int
    signature: bytes

    def signed_bytes(self) -> bytes:
        return head_bytes(self.log_id, self.size, self.root, self.time)

    def signed_by(self, public: PublicKey) -> bool:
        """Whether the log with key ``public`` signed this head. Nothing is said of its age."""
        return public.verify(self.signature, self.signed_bytes())

    def to_json(self) -> dict[str, Any]:
        """The head as transparency-log.schema's ``signedTreeHead``, which does not say of which log it is."""
        return {
            "treeSize": self.size,
            "timestamp": self.time,
            "rootHash": "sha256:" + self.root.hex(),
            "signature": base64s.encode(self.signature),
        }


def head_bytes(log_id: str, size: int, root: bytes, time: str) -> bytes:
    """The bytes of a signed tree head: canonical JSON of log, size, root and time."""
    return canonical.fast_dumps(
        {"logId": log_id, "treeSize": size, "rootHash": "sha256:" + root.hex(), "timestamp": time})
