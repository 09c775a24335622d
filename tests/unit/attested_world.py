"""One adopted image, as the production code attests it, and the ways in which verification can refuse it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import adopt, trust
from vordr.gatekeeper.decide import Mode, Report, report
from vordr.gatekeeper.evidence import NOTHING, Beside
from vordr.gatekeeper.policy import Policy, Require, parse
from vordr.gatekeeper.seen import NOTHING_SEEN, Seen, Sight
from vordr.gatekeeper.subject import Subject, subject_of
from vordr.gatekeeper.translog import LocalLog
from vordr.gatekeeper.trust import ADOPTERS, Group, TrustedKey, TrustedLog, TrustStore

NOW = 1_772_000_000_000_000
DAY = 86_400_000_000
LOGS = ("log-a", "log-b", "log-c")


def key(name: str) -> PrivateKey:
    return PrivateKey.from_seeds(Suite.ED25519, name.encode().ljust(32, b"."))


def trusted(name: str, *roles: str, **more: Any) -> TrustedKey:
    return TrustedKey(key(name).public, roles or (ADOPTERS,), 0, owner=name.title(), **more)


CONFIG = json.dumps({"rootfs": {"diff_ids": []}}).encode()
MANIFEST = json.dumps(
    {"schemaVersion": 2, "layers": [],
     "config": {"mediaType": "x", "digest": sha256_digest(CONFIG), "size": len(CONFIG)}}).encode()
SUBJECT = subject_of(MANIFEST, CONFIG)
ADA = trusted("ada")
TRUST = TrustStore(
    "t", 0, (ADA, trusted("bob")), (Group(ADOPTERS, 1, (ADA.id, key("bob").public.key_id)),),
    tuple(TrustedLog(name, "Ada", key(name).public, "file:///x") for name in LOGS))


@cache
def bundle() -> bytes:
    """By Ada, in two of the three logs."""
    with TemporaryDirectory() as folder:
        logs = [LocalLog.create(Path(folder) / name, key(name)) for name in LOGS]
        return adopt.attest(
            MANIFEST, CONFIG, name="web", source="here", signers=[key("ada")], logs=logs[:2], now_us=NOW)


@dataclass(frozen=True)
class Case:
    """What the gatekeeper is shown."""

    bundle: bytes | None = b""
    trust: TrustStore = TRUST
    policy: Policy = Policy()
    now: int = NOW
    subject: Subject = SUBJECT
    beside: Beside = NOTHING
    known: Seen = NOTHING_SEEN

    def report(self, mode: Mode = Mode.STRICT) -> Report:
        raw = bundle() if self.bundle == b"" else self.bundle
        return report(self.subject, raw, self.trust, self.policy, self.now, mode, self.beside,
                      self.known)


def spoilt(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bundle's JSON, changed."""
    document = json.loads(bundle())
    change(document)
    return json.dumps(document).encode()


def flip_signature(document: dict[str, Any]) -> None:
    signature = document["attestations"][0]["signatures"][0]
    signature["sig"] = ("B" if signature["sig"][0] == "A" else "A") + signature["sig"][1:]


def flip_timestamp(document: dict[str, Any]) -> None:
    entry = document["logEntries"][0]
    stamp = entry["signedEntryTimestamp"]
    entry["signedEntryTimestamp"] = ("B" if stamp[0] == "A" else "A") + stamp[1:]


def another_tree() -> Seen:
    """The first log has shown another tree of the size that its entry in the bundle is proved under."""
    entry = json.loads(bundle())["logEntries"][0]
    log = next(one for one in TRUST.logs if one.id == entry["logId"])
    return NOTHING_SEEN.with_sights((
        Sight(log, entry["inclusionProof"]["treeSize"], b"\1" * 32, 10_000, b"\2" * 32),))


def scope(text: str) -> Policy:
    return parse(f'[[scope]]\nname = "prod"\nimages = ["*"]\n{text}\n')


def with_key(**fields: Any) -> TrustStore:
    return replace(TRUST, keys=(replace(ADA, **fields), *TRUST.keys[1:]))


def cosign(name: str) -> str:
    pem = json.dumps(key(name).public.to_pem())
    return f"[[scope.cosign]]\nkeys = [{pem}]"


REFUSALS: dict[str, tuple[str, Callable[[], Case]]] = {
    "no bundle": ("MISSING_ATTESTATION", lambda: Case(None)),
    "image revoked": ("MISSING_ATTESTATION", lambda: Case(
        trust=trust.withdraw(TRUST, SUBJECT.manifest, "superseded", NOW))),
    "no JSON": ("MALFORMED_BUNDLE", lambda: Case(b"{")),
    "another image": ("SUBJECT_MISMATCH", lambda: Case(
        subject=Subject("sha256:" + "7" * 64, SUBJECT.config, SUBJECT.layers))),
    "key nobody knows": ("UNKNOWN_KEY", lambda: Case(
        trust=replace(TRUST, keys=TRUST.keys[1:], groups=()))),
    "key revoked": ("UNKNOWN_KEY", lambda: Case(
        trust=trust.revoke_key(TRUST, ADA.id, "key_compromise", NOW))),
    "key of another role": ("UNKNOWN_KEY", lambda: Case(trust=with_key(roles=("auditors",)))),
    "key expired": ("EXPIRED_KEY", lambda: Case(trust=with_key(valid_until=NOW))),
    "key not yet valid": ("KEY_NOT_YET_VALID", lambda: Case(trust=with_key(valid_from=NOW + 1))),
    "logged before the key": ("KEY_NOT_YET_VALID", lambda: Case(
        trust=with_key(valid_from=NOW + DAY), now=NOW + 2 * DAY)),
    "signature changed": ("INVALID_SIGNATURE", lambda: Case(spoilt(flip_signature))),
    "log unknown": ("INSUFFICIENT_LOG_COVERAGE", lambda: Case(trust=replace(TRUST, logs=TRUST.logs[1:]))),
    "one operator": ("INSUFFICIENT_LOG_COVERAGE", lambda: Case(policy=Policy(distinct_log_operators=2))),
    "timestamp changed": ("LOG_PROOF_INVALID", lambda: Case(spoilt(flip_timestamp))),
    "log of two minds": ("LOG_PROOF_INVALID", lambda: Case(known=another_tree())),
    "one of two": ("THRESHOLD_NOT_MET", lambda: Case(
        trust=replace(TRUST, groups=(replace(TRUST.groups[0], k=2),)))),
    "not published": ("POLICY_DENIED", lambda: Case(policy=Policy(Require.PUBLISHED))),
    "not published, by scope": ("POLICY_DENIED", lambda: Case(policy=scope('require = "published"'))),
    "other signers": ("POLICY_DENIED", lambda: Case(
        policy=scope(f'signers = ["{key("bob").public.key_id}"]'))),
    "no evidence": ("POLICY_DENIED", lambda: Case(policy=scope(cosign("carl")))),
}
"""What is wrong: the code, and how to make it so."""
