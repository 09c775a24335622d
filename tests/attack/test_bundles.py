"""Crafted bundles: one row each, refused with the code that names the crime, by the step that detects it.

The world they are made in is sound: the untouched bundle passes, so a row is refused for its one change.
"""

from __future__ import annotations

import base64
import copy
import json
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from gatekeeper_world import BEGIN, LOGGED, LOGS, NOW, SUBJECT, World, digest_of, key, kind_of, raw

from vordr.formats import merkle
from vordr.formats.curves import ED25519_L
from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import trust
from vordr.gatekeeper.decide import Mode, decide, report
from vordr.gatekeeper.policy import Policy, Require
from vordr.gatekeeper.statements import ADOPT_BUILD, PROVENANCE, SPDX
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustStore
from vordr.model.errors import PolicyDenied, VerificationRejected
from vordr.model.verdict import Verdict

DAY = 86400_000_000
OTHER = "sha256:" + "7" * 64


@dataclass
class Case:
    """What the gatekeeper is shown."""

    bundle: bytes | None
    trust: TrustStore
    policy: Policy = Policy()
    now: int = NOW


def judge(case: Case) -> Verdict:
    return decide(SUBJECT, case.bundle, case.trust, case.policy, case.now, 1)


def spoil(change: Callable[[dict[str, Any]], object], **world: Any) -> Callable[[], Case]:
    """A sound bundle's JSON, changed."""

    def make() -> Case:
        made = World(**world)
        document = copy.deepcopy(made.document())
        change(document)
        return Case(raw(document), made.trust())

    return make


def spoil_statement(kind: str, change: Callable[[dict[str, Any]], object]) -> Callable[[], Case]:
    """A bundle in which one statement was changed *before* it was signed and logged."""

    def make() -> Case:
        made = World()
        payloads = made.statements()
        change(payloads[kind == SPDX])
        return Case(raw(made.document(payloads)), made.trust())

    return make


def text(change: Callable[[bytes], bytes]) -> Callable[[], Case]:
    """A sound bundle's bytes, changed."""

    def make() -> Case:
        made = World()
        return Case(change(raw(made.document())), made.trust())

    return make


def in_trust(change: Callable[[TrustStore], TrustStore], **world: Any) -> Callable[[], Case]:
    """A sound bundle, and a trust store that was changed after."""

    def make() -> Case:
        made = World(**world)
        return Case(raw(made.document()), change(made.trust()))

    return make


def with_policy(policy: Policy, **world: Any) -> Callable[[], Case]:
    def make() -> Case:
        made = World(**world)
        return Case(raw(made.document()), made.trust(), policy)

    return make


# -- single changes --------------------------------------------------------------------------------


def entry_about_something_else() -> Case:
    made = World()
    document = made.document()
    document["logEntries"][0] = made.logs["log-a"].entry(OTHER, SUBJECT.manifest, PROVENANCE)
    return Case(raw(document), made.trust())


def entry_about_another_image() -> Case:
    made = World()
    document = made.document()
    digest = digest_of(document["attestations"][0])
    document["logEntries"][0] = made.logs["log-a"].entry(digest, OTHER, PROVENANCE)
    return Case(raw(document), made.trust())


def set_covers(**signed: Any) -> Callable[[], Case]:
    """The logs sign an entry timestamp that says something else than the entry does."""

    def make() -> Case:
        made = World()
        return Case(raw(made.document(signed=signed)), made.trust())

    return make


def set_by_another_log() -> Case:
    made = World()
    made.logs["log-a"].key = key("log-b")
    return Case(raw(made.document()), made.trust())


def logged_tomorrow() -> Case:
    made = World()
    return Case(raw(made.document(time=NOW + 1)), made.trust())


def logged_before_the_key_was_valid() -> Case:
    made = World()
    return Case(raw(made.document(time=BEGIN - 1)), made.trust())


def second_tree_of_the_same_size() -> Case:
    made = World()
    document = made.document()
    sizes = {e["logId"]: e["inclusionProof"]["treeSize"] for e in document["logEntries"][3:]}
    forked = made.logs["log-a"]
    forked.leaves = [merkle.leaf_hash(b"fork")] * (sizes["log-a"] - 1)
    envelope = document["attestations"][0]
    document["logEntries"].append(forked.entry(digest_of(envelope), SUBJECT.manifest, PROVENANCE))
    return Case(raw(document), made.trust())


def only_known_to_others() -> Case:
    made = World()
    document = made.document()
    for entry in document["logEntries"]:
        if entry["logId"] != "log-a":
            entry["logId"] = "log-z"
    return Case(raw(document), made.trust())


def spdx_in_one_log_only() -> Case:
    made = World()
    document = made.document()
    del document["logEntries"][4:]
    return Case(raw(document), made.trust())


def one_log_twice() -> Case:
    made = World()
    return Case(raw(made.document(logs=("log-a", "log-a"))), made.trust())


def one_key_twice() -> Case:
    made = World(threshold=2, signers=("alice", "alice"))
    return Case(raw(made.document()), made.trust())


def second_signer_on_one_attestation_only() -> Case:
    made = World(threshold=2)
    provenance, document = made.statements()
    envelopes = [made.envelope(provenance, ("alice", "bob")), made.envelope(document, ("alice",))]
    return Case(raw(made.bundle_of(envelopes)), made.trust())


def second_key_from_outside_the_group() -> Case:
    made = World(threshold=2, signers=("alice", "olga"))
    return Case(raw(made.document()), made.trust())


def malleate(document: dict[str, Any]) -> None:
    """s + L instead of s: the same equation holds for it (RFC 8032 §5.1.7 says to refuse it)."""
    one = document["attestations"][0]["signatures"][0]
    sig = base64.b64decode(one["sig"])
    s = int.from_bytes(sig[32:], "little") + ED25519_L
    one["sig"] = base64.b64encode(sig[:32] + s.to_bytes(32, "little")).decode()


def loosen_base64(document: dict[str, Any]) -> None:
    """Unused bits of the last character set: the same bytes, spelled otherwise."""
    one = document["attestations"][0]["signatures"][0]
    assert one["sig"].endswith("==")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    one["sig"] = one["sig"][:-3] + alphabet[alphabet.index(one["sig"][-3]) + 1] + "=="


def signature_of_the_other(document: dict[str, Any]) -> None:
    first, second = document["attestations"]
    first["signatures"], second["signatures"] = second["signatures"], first["signatures"]


def payload_after_signing(document: dict[str, Any]) -> None:
    one = document["attestations"][0]
    payload = json.loads(base64.b64decode(one["payload"]))
    payload["predicate"]["buildDefinition"]["buildType"] = ADOPT_BUILD
    one["payload"] = base64.b64encode(raw(payload)).decode()


def swap_proofs(document: dict[str, Any]) -> None:
    first, second = document["logEntries"][:2]
    first["inclusionProof"]["hashes"], second["inclusionProof"]["hashes"] = (
        second["inclusionProof"]["hashes"], first["inclusionProof"]["hashes"])


def swap_timestamps(document: dict[str, Any]) -> None:
    first, second = document["logEntries"][0], document["logEntries"][3]
    first["signedEntryTimestamp"], second["signedEntryTimestamp"] = (
        second["signedEntryTimestamp"], first["signedEntryTimestamp"])


def set_in(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one member, ``a/0/b``."""

    def change(document: dict[str, Any]) -> None:
        at: Any = document
        *before, last = path.split("/")
        for name in before:
            at = at[int(name)] if isinstance(at, list) else at[name]
        at[int(last) if isinstance(at, list) else last] = value

    return change


def envelope_with(payload: bytes) -> Callable[[dict[str, Any]], None]:
    """The provenance replaced by other bytes, rightly signed."""
    return set_in("attestations/0", World().envelope(payload))


def third_attestation() -> Case:
    made = World()
    extra = made.statement(PROVENANCE)
    extra["predicateType"] = "https://example.org/vex"
    return Case(raw(made.document([*made.statements(), extra])), made.trust())


def two_provenances() -> Case:
    made = World()
    other = made.statement(PROVENANCE)
    other["predicate"]["buildDefinition"]["buildType"] = ADOPT_BUILD
    return Case(raw(made.document([*made.statements(), other])), made.trust())


def add_signature(signer: str, message: bytes | None = None) -> Callable[[dict[str, Any]], None]:
    """A further signature on the first attestation: ``signer``'s, of ``message`` or of the attestation."""

    def change(document: dict[str, Any]) -> None:
        one = document["attestations"][0]
        good = World().envelope(base64.b64decode(one["payload"]), [signer])["signatures"][0]
        if message is not None:
            good["sig"] = base64.b64encode(key(signer).sign(message)).decode()
        one["signatures"].append(good)

    return change


def revoke(name: str, at: int = NOW - DAY) -> Callable[[TrustStore], TrustStore]:
    return lambda store: trust.revoke_key(store, key(name).public.key_id, "key_compromise", at)


def revoke_two_logs(store: TrustStore) -> TrustStore:
    return revoke("log-c")(revoke("log-b")(store))


def big(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data + b" " * (size - len(data))


DEEP = b'{"a":' * 65 + b"1" + b"}" * 65

ATTACKS: list[tuple[str, str, int, Callable[[], Case]]] = [
    ("no bundle", "MISSING_ATTESTATION", 2, lambda: Case(None, World().trust())),
    # 3 parse
    ("empty bundle", "MALFORMED_BUNDLE", 3, text(lambda data: b"")),
    ("not JSON", "MALFORMED_BUNDLE", 3, text(lambda data: data[:-1])),
    ("two texts", "MALFORMED_BUNDLE", 3, text(lambda data: data + data)),
    ("byte order mark", "MALFORMED_BUNDLE", 3, text(lambda data: b"\xef\xbb\xbf" + data)),
    ("not UTF-8", "MALFORMED_BUNDLE", 3, text(lambda data: data.replace(b"0.1.0", b"0.1.\xff"))),
    ("duplicate key", "MALFORMED_BUNDLE", 3,
     text(lambda data: data.replace(b'"version"', b'"logEntries": [], "version"', 1))),
    ("duplicate key by escape", "MALFORMED_BUNDLE", 3,
     text(lambda data: data.replace(b'"version"', b'"log\\u0045ntries": [], "version"', 1))),
    ("NaN", "MALFORMED_BUNDLE", 3,
     text(lambda data: data.replace(b'"version"', b'"metadata": {"x": NaN}, "version"', 1))),
    ("too deep", "MALFORMED_BUNDLE", 3,
     text(lambda data: data.replace(b'"version"', b'"metadata": ' + DEEP + b', "version"', 1))),
    ("too large", "MALFORMED_BUNDLE", 3, text(big(bundles.LARGEST_BUNDLE + 1))),
    ("257 log entries", "MALFORMED_BUNDLE", 3,
     spoil(lambda d: d["logEntries"].extend([d["logEntries"][0]] * 251))),
    ("257 signatures", "MALFORMED_BUNDLE", 3,
     spoil(lambda d: [a["signatures"].extend([a["signatures"][0]] * 128) for a in d["attestations"]])),
    ("media type", "MALFORMED_BUNDLE", 3, spoil(set_in("mediaType", "application/json"))),
    ("format version", "MALFORMED_BUNDLE", 3, spoil(set_in("version", "1.0.0"))),
    ("version with a newline", "MALFORMED_BUNDLE", 3, spoil(set_in("version", "0.1.0\n"))),
    ("unknown member", "MALFORMED_BUNDLE", 3, spoil(set_in("verified", True))),
    ("unknown member of an entry", "MALFORMED_BUNDLE", 3, spoil(set_in("logEntries/0/skip", True))),
    ("unknown member of a signature", "MALFORMED_BUNDLE", 3,
     spoil(set_in("attestations/0/signatures/0/publicKey", "AAAA"))),
    ("no signatures", "MALFORMED_BUNDLE", 3, spoil(set_in("attestations/0/signatures", []))),
    ("empty signature", "MALFORMED_BUNDLE", 3, spoil(set_in("attestations/0/signatures/0/sig", ""))),
    ("no attestations", "MALFORMED_BUNDLE", 3, spoil(set_in("attestations", []))),
    ("base64 spelled otherwise", "MALFORMED_BUNDLE", 3, spoil(loosen_base64)),
    ("payload type", "MALFORMED_BUNDLE", 3, spoil(set_in("attestations/0/payloadType", "text/plain"))),
    ("CVE-2026-39395 unparsable payload", "MALFORMED_BUNDLE", 3, spoil(envelope_with(b"{"))),
    ("payload with a duplicate key", "MALFORMED_BUNDLE", 3,
     spoil(envelope_with(raw(World().statement(PROVENANCE))[:-1] + b', "subject": []}'))),
    ("CVE-2026-39395 payload is a list", "MALFORMED_BUNDLE", 3, spoil(envelope_with(b"[]"))),
    ("another statement type", "MALFORMED_BUNDLE", 3,
     spoil_statement(SPDX, set_in("_type", "https://in-toto.io/Statement/v0.1"))),
    ("no subject", "MALFORMED_BUNDLE", 3, spoil_statement(SPDX, set_in("subject", []))),
    ("indices contradict", "MALFORMED_BUNDLE", 3, spoil(set_in("logEntries/0/logIndex", 4))),
    ("index as a float", "MALFORMED_BUNDLE", 3, spoil(set_in("logEntries/0/logIndex", 5.0))),
    ("index true", "MALFORMED_BUNDLE", 3, spoil(set_in("logEntries/0/inclusionProof/logIndex", True))),
    ("tree size beyond doubles", "MALFORMED_BUNDLE", 3,
     spoil(set_in("logEntries/0/inclusionProof/treeSize", 2**53))),
    ("time that does not exist", "MALFORMED_BUNDLE", 3,
     spoil(set_in("logEntries/0/integratedTime", "2026-02-30T00:00:00Z"))),
    ("hash in upper case", "MALFORMED_BUNDLE", 3,
     spoil(set_in("logEntries/0/inclusionProof/rootHash", "A" * 64))),
    # 4 subject
    ("provenance of another image", "SUBJECT_MISMATCH", 4,
     spoil_statement(PROVENANCE, set_in("subject/0/digest/sha256", "7" * 64))),
    ("SPDX document of another image", "SUBJECT_MISMATCH", 4,
     spoil_statement(SPDX, set_in("subject/0/digest/sha256", "7" * 64))),
    ("a second subject", "SUBJECT_MISMATCH", 4,
     spoil_statement(SPDX, lambda s: s["subject"].append({"digest": {"sha256": "7" * 64}}))),
    ("another algorithm", "SUBJECT_MISMATCH", 4,
     spoil_statement(SPDX, set_in("subject/0/digest", {"sha512": SUBJECT.manifest[7:] * 2}))),
    ("a digest beside the right one", "SUBJECT_MISMATCH", 4,
     spoil_statement(SPDX, set_in("subject/0/digest/md5", "0" * 32))),
    ("digest in upper case", "SUBJECT_MISMATCH", 4,
     spoil_statement(SPDX, set_in("subject/0/digest/sha256", SUBJECT.manifest[7:].upper()))),
    ("CVE-2022-35929 wrong predicate type", "MISSING_ATTESTATION", 4,
     spoil_statement(SPDX, set_in("predicateType", "https://in-toto.io/attestation/link/v0.3"))),
    ("predicate type of a later version", "MISSING_ATTESTATION", 4,
     spoil_statement(PROVENANCE, set_in("predicateType", "https://slsa.dev/provenance/v1.1"))),
    ("a third attestation", "MALFORMED_BUNDLE", 4, third_attestation),
    ("two provenances", "MALFORMED_BUNDLE", 4, two_provenances),
    ("empty provenance", "MALFORMED_BUNDLE", 4, spoil_statement(PROVENANCE, set_in("predicate", {}))),
    ("SPDX document that is none", "MALFORMED_BUNDLE", 4,
     spoil_statement(SPDX, set_in("predicate", {"spdxVersion": "CycloneDX"}))),
    # 5 signatures
    ("stranger's key", "UNKNOWN_KEY", 5, spoil(lambda d: None, signers=("mallory",))),
    ("stranger beside a good signer", "UNKNOWN_KEY", 5, spoil(add_signature("mallory"))),
    ("stranger under a known id", "INVALID_SIGNATURE", 5,
     spoil(set_in("attestations/0/signatures/0/keyid", key("bob").public.key_id))),
    ("key of another role", "UNKNOWN_KEY", 5, spoil(lambda d: None, signers=("carl",))),
    ("log's key", "UNKNOWN_KEY", 5, spoil(lambda d: None, signers=("log-a",))),
    ("revoked key", "UNKNOWN_KEY", 5, in_trust(revoke("alice"))),
    ("key revoked after it signed", "UNKNOWN_KEY", 5, in_trust(revoke("alice", NOW))),
    ("revocation that lies ahead", "UNKNOWN_KEY", 5, in_trust(revoke("alice", NOW + DAY))),
    ("expired key", "EXPIRED_KEY", 5, spoil(lambda d: None, valid_until=NOW - DAY)),
    ("key that ends now", "EXPIRED_KEY", 5, spoil(lambda d: None, valid_until=NOW)),
    ("key of tomorrow", "KEY_NOT_YET_VALID", 5, spoil(lambda d: None, valid_from=NOW + 1)),
    ("malleated signature", "INVALID_SIGNATURE", 5, spoil(malleate)),
    ("short signature", "INVALID_SIGNATURE", 5,
     spoil(set_in("attestations/0/signatures/0/sig", "TUVVQ0lRRHg="))),
    ("signatures exchanged", "INVALID_SIGNATURE", 5, spoil(signature_of_the_other)),
    ("payload changed after signing", "INVALID_SIGNATURE", 5, spoil(payload_after_signing)),
    ("signature of the payload alone", "INVALID_SIGNATURE", 5, spoil(add_signature("bob", b"{}"))),
    # 6 logs
    ("entry about something else", "LOG_PROOF_INVALID", 6, entry_about_something_else),
    ("CVE-2026-22703 entry about another image", "LOG_PROOF_INVALID", 6, entry_about_another_image),
    ("proofs exchanged", "LOG_PROOF_INVALID", 6, spoil(swap_proofs)),
    ("timestamps exchanged", "LOG_PROOF_INVALID", 6, spoil(swap_timestamps)),
    ("proof cut", "LOG_PROOF_INVALID", 6,
     spoil(lambda d: d["logEntries"][0]["inclusionProof"]["hashes"].pop())),
    ("proof longer", "LOG_PROOF_INVALID", 6,
     spoil(lambda d: d["logEntries"][0]["inclusionProof"]["hashes"].append("0" * 64))),
    ("tree size changed", "LOG_PROOF_INVALID", 6, spoil(set_in("logEntries/0/inclusionProof/treeSize", 7))),
    ("time changed", "LOG_PROOF_INVALID", 6,
     spoil(set_in("logEntries/0/integratedTime", "2026-02-01T00:00:00Z"))),
    ("time spelled otherwise", "LOG_PROOF_INVALID", 6,
     spoil(set_in("logEntries/0/integratedTime", "2026-03-01T11:00:00Z"))),
    ("logged tomorrow", "LOG_PROOF_INVALID", 6, logged_tomorrow),
    ("logged before the key was valid", "KEY_NOT_YET_VALID", 5, logged_before_the_key_was_valid),
    ("timestamp over another root", "LOG_PROOF_INVALID", 6, set_covers(root=bytes(32))),
    ("timestamp over another index", "LOG_PROOF_INVALID", 6, set_covers(index=0)),
    ("timestamp over another time", "LOG_PROOF_INVALID", 6, set_covers(time="2020-01-01T00:00:00.000000Z")),
    ("timestamp over another leaf", "LOG_PROOF_INVALID", 6, set_covers(leaf=bytes(32))),
    ("timestamp of another log", "LOG_PROOF_INVALID", 6, set_covers(log_id="log-q")),
    ("timestamp by another log's key", "LOG_PROOF_INVALID", 6, set_by_another_log),
    ("entry under another log's name", "LOG_PROOF_INVALID", 6, spoil(set_in("logEntries/0/logId", "log-b"))),
    ("second tree of the same size", "LOG_PROOF_INVALID", 6, second_tree_of_the_same_size),
    ("logs that we do not know", "INSUFFICIENT_LOG_COVERAGE", 6, only_known_to_others),
    ("revoked logs", "INSUFFICIENT_LOG_COVERAGE", 6, in_trust(revoke_two_logs)),
    ("one log twice", "INSUFFICIENT_LOG_COVERAGE", 6, one_log_twice),
    ("one entry", "INSUFFICIENT_LOG_COVERAGE", 6,
     spoil(lambda d: d["logEntries"].__delitem__(slice(1, None)))),
    ("no entries", "INSUFFICIENT_LOG_COVERAGE", 6, spoil(set_in("logEntries", []))),
    ("one attestation in one log", "INSUFFICIENT_LOG_COVERAGE", 6, spdx_in_one_log_only),
    ("logs of one operator where two are demanded", "INSUFFICIENT_LOG_COVERAGE", 6,
     with_policy(Policy(distinct_log_operators=2), operators=("One", "One", "One"))),
    # 7 threshold
    ("one key counted twice", "THRESHOLD_NOT_MET", 7, one_key_twice),
    ("one of two", "THRESHOLD_NOT_MET", 7, spoil(lambda d: None, threshold=2)),
    ("second signer on one attestation only", "THRESHOLD_NOT_MET", 7, second_signer_on_one_attestation_only),
    ("second key from outside the group", "THRESHOLD_NOT_MET", 7, second_key_from_outside_the_group),
]
NAMES = [row[0] for row in ATTACKS]


@pytest.mark.parametrize(("code", "step", "make"), [row[1:] for row in ATTACKS], ids=NAMES)
def test_attack_is_refused_with_its_own_code(code: str, step: int, make: Callable[[], Case]) -> None:
    case = make()
    with pytest.raises(VerificationRejected) as refusal:
        judge(case)
    assert (refusal.value.code, refusal.value.step) == (code, step), refusal.value.message
    assert refusal.value.message and "None" not in refusal.value.message
    assert None not in refusal.value.details.values()


def test_the_table_names_each_attack_once() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("make", [row[3] for row in ATTACKS], ids=NAMES)
def test_report_lets_the_attack_pass_in_no_mode_without_a_warning(make: Callable[[], Case]) -> None:
    case = make()
    strict, permissive = (
        report(SUBJECT, case.bundle, case.trust, case.policy, case.now, mode)
        for mode in (Mode.STRICT, Mode.PERMISSIVE)
    )
    assert (strict.decision, permissive.decision) == ("REJECT", "ALLOW")
    assert permissive.warnings and permissive.code == strict.code is not None
    assert not isinstance(permissive, Verdict)


# -- what must pass --------------------------------------------------------------------------------


def test_the_untouched_bundle_passes_all_eight_steps() -> None:
    made = World()
    verdict = judge(Case(raw(made.document()), made.trust()))
    assert [one.step for one in verdict.evidence] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert verdict.origin == "published"
    assert verdict.attested_by.startswith("published by Alice (sha256:")
    assert verdict.logs == LOGS
    assert verdict.keys == (key("alice").public.key_id,)
    assert Subject(verdict.manifest, verdict.config, verdict.layers) == SUBJECT


def test_two_signers_meet_a_threshold_of_two() -> None:
    made = World(threshold=2, signers=("alice", "bob"))
    assert judge(Case(raw(made.document()), made.trust())).origin == "published"


def test_two_logs_are_enough_and_a_third_unknown_one_does_no_harm() -> None:
    made = World()
    document = made.document()
    document["logEntries"][0]["logId"] = "log-z"
    assert judge(Case(raw(document), made.trust())).logs == LOGS


def test_verdict_ends_with_the_key_that_signed() -> None:
    made = World(valid_until=NOW + 5_000_000)
    assert judge(Case(raw(made.document()), made.trust())).expires == NOW + 5_000_000


def test_verdict_ends_with_the_policys_ttl() -> None:
    made = World()
    verdict = judge(Case(raw(made.document()), made.trust(), Policy(verdict_ttl=60)))
    assert verdict.expires == NOW + 60_000_000


def test_verdict_is_bound_to_the_bytes_of_bundle_trust_and_policy() -> None:
    made = World()
    bundle, policy = raw(made.document()), Policy(verdict_ttl=7)
    verdict = judge(Case(bundle, made.trust(), policy))
    assert verdict.bundle == sha256_digest(bundle)
    assert (verdict.trust, verdict.policy) == (made.trust().digest, policy.digest)


@pytest.mark.parametrize(
    ("build_type", "signers"),
    [(ADOPT_BUILD, ("olga",)), (ADOPT_BUILD, ("alice", "olga"))],
    ids=["by the adopter", "countersigned by a builder"],
)
def test_adopted_image_is_never_called_published(build_type: str, signers: tuple[str, ...]) -> None:
    made = World(build_type=build_type, signers=signers)
    verdict = judge(Case(raw(made.document()), made.trust()))
    assert verdict.origin == "adopted"
    assert verdict.attested_by.startswith("adopted by Olga (sha256:")


def test_an_adopters_key_cannot_publish_whatever_its_provenance_says() -> None:
    made = World(signers=("olga",))
    assert judge(Case(raw(made.document()), made.trust())).origin == "adopted"


def test_a_builders_key_alone_does_not_adopt() -> None:
    made = World(build_type=ADOPT_BUILD)
    with pytest.raises(VerificationRejected) as refusal:
        judge(Case(raw(made.document()), made.trust()))
    assert refusal.value.code == "THRESHOLD_NOT_MET"


def test_policy_that_wants_published_refuses_adopted() -> None:
    made = World(build_type=ADOPT_BUILD, signers=("olga",))
    case = Case(raw(made.document()), made.trust(), Policy(require=Require.PUBLISHED))
    with pytest.raises(PolicyDenied) as refusal:
        judge(case)
    assert not isinstance(refusal.value, VerificationRejected)
    told = report(SUBJECT, case.bundle, case.trust, case.policy, NOW)
    assert (told.decision, told.code) == ("REJECT", "POLICY_DENIED")


def test_logs_of_distinct_operators_meet_the_policy() -> None:
    made = World()
    verdict = judge(Case(raw(made.document()), made.trust(), Policy(distinct_log_operators=3)))
    assert "3 operators" in verdict.evidence[5].text


def test_report_of_a_sound_bundle_speaks_the_contracts_words() -> None:
    made = World()
    told = report(SUBJECT, raw(made.document()), made.trust(), Policy(), NOW).to_json()
    assert told["decision"] == "ALLOW"
    assert (told["attestationsVerified"], told["logEntriesVerified"]) == (2, 6)
    assert told["thresholdsMet"] == ["release-signers"]


def test_subject_with_a_malformed_digest_is_refused_first() -> None:
    made = World()
    crooked = replace(SUBJECT, config="sha256:" + "A" * 64)
    with pytest.raises(VerificationRejected) as refusal:
        decide(crooked, None, made.trust(), Policy(), NOW, 1)
    assert (refusal.value.code, refusal.value.step) == ("SUBJECT_MISMATCH", 1)


def test_world_logs_what_it_says() -> None:
    made = World()
    document = made.document()
    assert [kind_of(one) for one in document["attestations"]] == [PROVENANCE, SPDX]
    assert LOGGED < NOW
