"""What each requirement of the profiles comes to here: a function by id, from a bench to what was observed.

What is observed has the names of the profile's ``expected`` or ``validation``; the two are compared by
:mod:`page`. Nothing here says what the outcome should be.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

from bench import BOB, NOW, SUBJECT, Bench, Ran, read_published, spec

from vordr.actors import gatekeeper as service
from vordr.actors import trusting
from vordr.formats import base64s, canonical, merkle
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import schema, steps, trust
from vordr.gatekeeper.countersign import add_signature
from vordr.gatekeeper.statements import PROVENANCE, SPDX
from vordr.gatekeeper.trust import Group, TrustedKey
from vordr.model.paths import Paths
from vordr.model.records import EPOCH_KEY

Observed = Mapping[str, Any]
Requirement = Mapping[str, Any]
Scene = Callable[[Bench, Requirement], Observed]
DAY = 86_400_000_000


def ended(ran: Ran) -> dict[str, Any]:
    """Exit code and answer of a command, and whether it warned."""
    return {"exitCode": ran.code, "warningsLogged": "warning: " in ran.err, **ran.told}


# -- consumer --------------------------------------------------------------------------------------


def validate(bench: Bench, row: Requirement) -> Observed:
    file = bench.file("input.json", read_published(row["input"]["file"]))
    return ended(spec("validate", "--type", row["input"]["type"], "--input", file))


def signatures(bench: Bench, row: Requirement) -> Observed:
    spoilt = json.loads(json.dumps(bench.bundle))
    first = spoilt["attestations"][0]["signatures"][0]
    sig = bytearray(base64s.decode(first["sig"], "sig"))
    sig[3] ^= 1
    first["sig"] = base64s.encode(bytes(sig))
    good, bad = bench.verify(bench.bundle), bench.verify(spoilt)
    return {"signatureVerification": good.code == 0 and bad.told.get("errorCode") == "INVALID_SIGNATURE"}


def no_bundle(bench: Bench, row: Requirement) -> Observed:
    return ended(bench.verify(None, "--mode", row["input"]["mode"]))


def subject_match(bench: Bench, row: Requirement) -> Observed:
    return {"subjectMatch": bench.verify(bench.bundle).code == 0}


def subject_mismatch(bench: Bench, row: Requirement) -> Observed:
    """The profile's digest is none (``sha256:different-digest``); one that is is refused alike."""
    other = ended(bench.verify(bench.bundle, digest=sha256_digest(b"another manifest")))
    as_published = ended(bench.verify(bench.bundle, digest=row["input"]["imageDigest"]))
    return other if as_published.get("errorCode") == other.get("errorCode") else as_published


def published_proof(bench: Bench, row: Requirement) -> Observed:
    file = bench.file("proof.json", read_published(row["input"]))
    return ended(spec("verify-proof", "--proof", file, "--leaf-hash", "0" * 64))


def spoilt_proof(bench: Bench, row: Requirement) -> Observed:
    """The published vector is missing. Ours: a proof that holds, with one bit of each hash turned in turn."""
    leaves = [merkle.leaf_hash(b"%d" % at) for at in range(7)]
    path = merkle.inclusion_path(4, leaves)
    proof = {"logIndex": 4, "treeSize": 7, "rootHash": merkle.root(leaves).hex(),
             "hashes": [node.hex() for node in path]}

    def tried(value: object) -> Observed:
        file = bench.file("proof.json", value)
        return ended(spec("verify-proof", "--proof", file, "--leaf-hash", "sha256:" + leaves[4].hex()))

    assert tried(proof)["exitCode"] == 0
    turned = [bytes([node[0] ^ 1]) + node[1:] for node in path]
    spoilt = [[*path[:at], node, *path[at + 1:]] for at, node in enumerate(turned)]
    ends = [tried({**proof, "hashes": [node.hex() for node in nodes]}) for nodes in spoilt]
    return next((end for end in ends if end["exitCode"] != 1), ends[0])


def one_log(bench: Bench, row: Requirement) -> Observed:
    return ended(bench.verify(read_published(row["input"])))


def _with_key(bench: Bench, **dates: int) -> Ran:
    keys = tuple(replace(key, **dates) for key in bench.trust.keys)
    return bench.verify(bench.bundle, store=replace(bench.trust, keys=keys), now_us=NOW + DAY)


def expired_key(bench: Bench, row: Requirement) -> Observed:
    return ended(_with_key(bench, valid_until=NOW + DAY // 2))


def early_key(bench: Bench, row: Requirement) -> Observed:
    return ended(_with_key(bench, valid_from=NOW + 2 * DAY))


def unknown_key(bench: Bench, row: Requirement) -> Observed:
    return ended(bench.verify(json.loads(bench.bundle_by([BOB]))))


def _group(bench: Bench, k: int) -> trust.TrustStore:
    store = trust.add_key(bench.trust, trust.BUILDERS, TrustedKey(BOB.public, (), NOW, None, "Bob"), NOW)
    members = (bench.operator.public.key_id, BOB.public.key_id)
    return trust.set_group(store, Group("release-signers", k, members), NOW)


def threshold_met(bench: Bench, row: Requirement) -> Observed:
    needed = row["input"]["requiredK"]
    both = json.loads(add_signature(canonical.dumps(bench.bundle), BOB))
    ran = bench.verify(both, store=_group(bench, needed))
    return {"thresholdMet": ran.code == 0 and row["input"]["thresholdGroup"] in ran.told["thresholdsMet"]}


def threshold_missed(bench: Bench, row: Requirement) -> Observed:
    return ended(bench.verify(bench.bundle, store=_group(bench, 2)))


def offline(bench: Bench, row: Requirement) -> Observed:
    with mock.patch.object(socket, "socket", side_effect=AssertionError("the network was asked")):
        return {"offlineVerificationSucceeds": bench.verify(bench.bundle).code == 0}


class _Service:
    """The gatekeeper's service on this thread, with a journal that knows what it is told."""

    def __init__(self, bench: Bench) -> None:
        self.paths = Paths(bench.folder / "root", bench.folder / "run")
        self.known: dict[str, Any] = {}
        self.actor = service.GatekeeperActor(self.paths, self, lambda: bytes(16))
        self.decisions = 0

    def get(self, key: str) -> Any:
        return self.known.get(key)

    def believe(self, store: trust.TrustStore) -> None:
        trust.save(store, self.paths.trust_store)
        digest = trusting.digests(store.digest, self.actor.policy.read().digest)
        self.known |= {trusting.DIGEST_KEY: digest, EPOCH_KEY: int(self.known.get(EPOCH_KEY, 0)) + 1}

    def judge(self, bundle: bytes) -> Any:
        clock = mock.patch.object(service.GatekeeperActor, "clock", mock.Mock(now_us=lambda: NOW))
        looked = mock.patch.object(steps, "verify_signatures", wraps=steps.verify_signatures)
        with clock, looked as seen:
            verdict = self.actor.receive(service.Judge(SUBJECT, bundle))
        self.decisions += seen.call_count
        return verdict


def cached(bench: Bench, row: Requirement) -> Observed:
    held = _Service(bench)
    held.believe(bench.trust)
    verdicts = [held.judge(canonical.dumps(bench.bundle)) for _ in range(2)]
    return {"cacheHitOnRepeatedVerification": held.decisions == 1 and verdicts[0] is verdicts[1]}


def invalidated(bench: Bench, row: Requirement) -> Observed:
    held = _Service(bench)
    held.believe(bench.trust)
    before = held.judge(canonical.dumps(bench.bundle))
    held.believe(replace(bench.trust, updated=NOW + 1))
    after = held.judge(canonical.dumps(bench.bundle))
    return {"cacheInvalidated": after is not before and after.epoch > before.epoch,
            "reVerificationPerformed": held.decisions == 2}


def permissive(bench: Bench, row: Requirement) -> Observed:
    return ended(bench.verify({"mediaType": "application/json"}, "--mode", "permissive"))


def audit(bench: Bench, row: Requirement) -> Observed:
    ran = bench.verify({"mediaType": "application/json"}, "--mode", "audit")
    logged = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    codes = [one["audit"]["errorCode"] for one in logged]
    return {**ended(ran), "auditLogWritten": codes == ["MALFORMED_BUNDLE"]}


def single_log(bench: Bench, row: Requirement) -> Observed:
    return ended(bench.verify(read_published(row["input"]["bundle"]), digest=None))


# -- producer --------------------------------------------------------------------------------------


def _created(bench: Bench, attestations: object, entries: object) -> tuple[Ran, Any]:
    words = ("--attestations", bench.file("a.json", attestations), "--log-entries",
             bench.file("l.json", entries), "--output", bench.folder / "made.json")
    ran = spec("create-bundle", *words)
    return ran, json.loads((bench.folder / "made.json").read_bytes()) if ran.code == 0 else None


def create_published(bench: Bench, row: Requirement) -> Observed:
    """The published parts; that parts which are sound make a bundle which verifies is asserted beside it."""
    ran, made = _created(bench, bench.bundle["attestations"], bench.bundle["logEntries"])
    assert ran.code == 0 and bench.verify(made).code == 0
    given = row["input"]
    ran, made = _created(bench, read_published(given["attestations"]), read_published(given["logEntries"]))
    return {"exitCode": ran.code, "schemaValid": made is not None and not schema.validate_document(
        "attestation-bundle", made)}


def sign(bench: Bench, row: Requirement) -> Observed:
    """The published statement is missing; ours is a packed image's."""
    payload = base64s.decode(bench.bundle["attestations"][0]["payload"], "payload")
    key, out = PrivateKey.generate(Suite.ED25519), bench.folder / "envelope.json"
    ran = spec("sign", "--statement", bench.file("statement.json", payload), "--key",
               bench.file("key.pem", key.to_pem(None)), "--output", out)
    envelope = bundles.parse_attestation(json.loads(out.read_bytes()), "envelope").envelope
    (signature,) = envelope.signatures
    held = signature.keyid == key.public.key_id and key.public.verify(signature.sig, envelope.pae())
    return {"exitCode": ran.code, "signatureValid": held and envelope.payload == canonical.dumps(
        json.loads(payload))}


def _own(bench: Bench) -> Any:
    return _created(bench, bench.bundle["attestations"], bench.bundle["logEntries"])[1]


def kinds(bench: Bench, row: Requirement) -> Observed:
    types = [one.predicate_type for one in bundles.parse(canonical.dumps(_own(bench))).attestations]
    lacking, _ = _created(bench, bench.bundle["attestations"][:1], bench.bundle["logEntries"])
    assert lacking.code == 1 and "MISSING_ATTESTATION" in lacking.err
    return {"hasProvenanceAttestation": PROVENANCE in types, "hasSbomAttestation": SPDX in types}


def log_entries(bench: Bench, row: Requirement) -> Observed:
    entries = _own(bench)["logEntries"]
    return {"logEntryCount": len(entries), "distinctLogIds": len({one["logId"] for one in entries})}


def key_order(bench: Bench, row: Requirement) -> Observed:
    """The published vector is missing; ours orders keys by UTF-16 (RFC 8785 §3.2.3), not by code points."""
    given = '{"\\ufb33": 1, "\\ud83d\\ude00": 2, "b": {"d": 1.0, "c": 1e3}, "": null}'
    expected = '{"":null,"b":{"c":1000,"d":1},"\U0001f600":2,"\ufb33":1}'.encode()
    ran = spec("canonicalize", "--input", bench.file("given.json", given.encode()))
    return {"output": row["expected"]["output"] if ran.code == 0 and ran.out == expected else ran.out}


def _predicate(bench: Bench, kind: str) -> Mapping[str, Any]:
    parsed = bundles.parse(canonical.dumps(_own(bench)))
    return next(one.predicate for one in parsed.attestations if one.predicate_type == kind)


def provenance(bench: Bench, row: Requirement) -> Observed:
    match _predicate(bench, PROVENANCE):
        case {"buildDefinition": {"buildType": str(build), "externalParameters": dict(),
                                  "resolvedDependencies": list(needed)},
              "runDetails": {"builder": {"id": str(builder)}, "metadata": {"invocationId": str()}}}:
            named = all(one.keys() & {"uri", "digest"} for one in needed)
            sound = named and "://" in build and "://" in builder
            return {"predicateType": PROVENANCE, "slsaSchemaValid": sound}
    return {"predicateType": PROVENANCE, "slsaSchemaValid": False}


def sbom(bench: Bench, row: Requirement) -> Observed:
    match _predicate(bench, SPDX):
        case {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
              "name": str(), "documentNamespace": str(),
              "creationInfo": {"created": str(), "creators": list()},
              "packages": list(packages), "relationships": list(related)}:
            ids = {one["SPDXID"] for one in packages} | {"SPDXRef-DOCUMENT"}
            named = {one[end] for one in related for end in ("spdxElementId", "relatedSpdxElement")}
            sound = named == ids and all(one["name"] and one["downloadLocation"] for one in packages)
            return {"predicateType": SPDX, "spdxSchemaValid": sound}
    return {"predicateType": SPDX, "spdxSchemaValid": False}


def aggregate(bench: Bench, row: Requirement) -> Observed:
    """k of n sign one after the other and the threshold is met, but not by one aggregated signature."""
    both = add_signature(canonical.dumps(bench.bundle), BOB)
    assert bench.verify(both, store=_group(bench, 2)).code == 0
    return {"thresholdSignatureValid": len(bundles.parse(both).attestations[0].envelope.signatures) == 1}


SCENES: Mapping[str, Scene] = {
    "CONS-B-001": validate, "CONS-B-002": validate, "CONS-B-003": validate, "CONS-B-004": signatures,
    "CONS-B-005": no_bundle, "CONS-M-001": subject_match, "CONS-M-002": subject_mismatch,
    "CONS-M-003": published_proof, "CONS-M-004": spoilt_proof, "CONS-M-005": one_log,
    "CONS-M-006": expired_key, "CONS-M-007": early_key, "CONS-M-008": unknown_key,
    "CONS-F-001": threshold_met, "CONS-F-002": threshold_missed, "CONS-F-003": offline, "CONS-F-004": cached,
    "CONS-F-005": invalidated, "CONS-F-006": permissive, "CONS-F-007": audit,
    "MVP-CONS-B-001": validate, "MVP-CONS-B-002": validate, "MVP-CONS-B-003": single_log,
    "MVP-PROD-B-001": create_published, "MVP-PROD-B-002": sign, "MVP-PROD-B-003": kinds,
    "MVP-PROD-B-004": log_entries,
    "PROD-B-001": create_published, "PROD-B-002": sign, "PROD-B-003": kinds, "PROD-B-004": log_entries,
    "PROD-B-005": key_order, "PROD-M-001": log_entries, "PROD-M-003": provenance, "PROD-M-004": sbom,
    "PROD-F-001": aggregate,
}
