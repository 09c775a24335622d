"""A world of keys, logs and one image in memory, behind the production formats; attacks start from it.

Nothing here checks anything: a world makes what it is told to, sound or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vordr.formats import base64s, dsse, merkle
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.gatekeeper import statements, trust
from vordr.gatekeeper.attest import sign
from vordr.gatekeeper.logproof import LogEntry, leaf_bytes, timestamp_bytes
from vordr.gatekeeper.sbom import NOT_READ
from vordr.gatekeeper.statements import PACK_BUILD, PROVENANCE, SPDX, Act
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import Group, TrustedKey, TrustedLog, TrustStore

NOW = parse_rfc3339("2026-03-01T12:00:00Z")
LOGGED = NOW - 3600_000_000
BEGIN = NOW - 30 * 86400_000_000
SUBJECT = Subject(
    sha256_digest(b"manifest"), sha256_digest(b"config"), ((sha256_digest(b"layer"), sha256_digest(b"diff")),)
)
LOGS = ("log-a", "log-b", "log-c")


def key(name: str) -> PrivateKey:
    """The Ed25519 key of that name, always the same."""
    return PrivateKey.from_seeds(Suite.ED25519, name.encode().ljust(32, b"."))


@dataclass
class Log:
    """A log operator that signs whatever it is asked to."""

    id: str
    key: PrivateKey
    leaves: list[bytes]

    def entry(
        self, attestation: str, subject: str, kind: str, time: int = LOGGED, *,
        signed: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Log one attestation; ``signed`` overrides what the entry timestamp covers."""
        text = format_rfc3339(time)
        leaf = merkle.leaf_hash(leaf_bytes(attestation, subject, kind, text))
        self.leaves.append(leaf)
        index, size = len(self.leaves) - 1, len(self.leaves)
        root, path = merkle.root(self.leaves), merkle.inclusion_path(index, self.leaves)
        covered = {"log_id": self.id, "index": index, "time": text, "tree_size": size, "root": root,
                   "leaf": leaf}
        timestamp = self.key.sign(timestamp_bytes(**{**covered, **(signed or {})}))
        return LogEntry(self.id, index, text, time, size, root, tuple(path), timestamp).to_json()


@dataclass
class World:
    """By default: Alice and Bob build, Olga adopts, Carl has another role; three logs of three operators."""

    valid_from: int = BEGIN
    valid_until: int | None = None
    operators: tuple[str, str, str] = ("North", "South", "West")
    threshold: int = 1
    build_type: str = PACK_BUILD
    signers: Sequence[str] = ("alice",)
    logs: dict[str, Log] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, name in enumerate(LOGS):
            older = [merkle.leaf_hash(b"%d" % at) for at in range(5 + number)]
            self.logs[name] = Log(name, key(name), older)

    def trust(self) -> TrustStore:
        people = {"alice": trust.BUILDERS, "bob": trust.BUILDERS, "olga": trust.ADOPTERS, "carl": "auditors"}
        keys = tuple(
            TrustedKey(key(name).public, (role,), self.valid_from, self.valid_until, name.title())
            for name, role in people.items()
        )
        groups = (Group("release-signers", self.threshold, (keys[0].id, keys[1].id)),
                  Group(trust.ADOPTERS, 1, (keys[2].id,)))
        logs = tuple(
            TrustedLog(name, operator, key(name).public, f"https://{name}.example.org")
            for name, operator in zip(LOGS, self.operators, strict=True)
        )
        return trust.checked(TrustStore("world", BEGIN, keys, groups, logs))

    def statement(self, kind: str, subject: Subject = SUBJECT) -> dict[str, Any]:
        """The statement of a predicate type as a JSON object, to be spoiled before it is signed."""
        act = Act(self.build_type, "web", "a folder", key("alice").public.key_id, LOGGED)
        predicate = (statements.provenance(subject, act) if kind == PROVENANCE
                     else statements.spdx(subject, act, NOT_READ))
        read: dict[str, Any] = json.loads(statements.statement(subject, "web", kind, predicate))
        return read

    def statements(self) -> list[dict[str, Any]]:
        return [self.statement(PROVENANCE), self.statement(SPDX)]

    def envelope(self, payload: object, signers: Sequence[str] | None = None) -> dict[str, Any]:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return sign(raw, [key(name) for name in (signers or self.signers)]).to_json()

    def document(
        self, payloads: Sequence[object] | None = None, *, logs: Sequence[str] = LOGS, time: int = LOGGED,
        signed: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A bundle of these statements (default: both), each signed by all signers and in all ``logs``."""
        envelopes = [self.envelope(one) for one in (payloads or self.statements())]
        return self.bundle_of(envelopes, logs=logs, time=time, signed=signed)

    def bundle_of(
        self, envelopes: Sequence[dict[str, Any]], *, logs: Sequence[str] = LOGS, time: int = LOGGED,
        signed: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        entries = []
        for envelope in envelopes:
            kind = kind_of(envelope)
            entries += [self.logs[log].entry(digest_of(envelope), SUBJECT.manifest, kind, time, signed=signed)
                        for log in logs]
        return {
            "mediaType": "application/vnd.verified-container.bundle+json",
            "version": "0.1.0",
            "attestations": list(envelopes),
            "logEntries": entries,
        }


def digest_of(envelope: Mapping[str, Any]) -> str:
    payload = base64s.decode(envelope["payload"], "payload")
    return sha256_digest(dsse.pae(envelope["payloadType"], payload))


def kind_of(envelope: Mapping[str, Any]) -> str:
    """The predicate type, or the provenance's where the payload does not say one."""
    try:
        payload = json.loads(base64s.decode(envelope["payload"], "payload"))
        return str(payload["predicateType"])
    except (ValueError, KeyError, TypeError):
        return PROVENANCE


def raw(document: object) -> bytes:
    return json.dumps(document).encode()
