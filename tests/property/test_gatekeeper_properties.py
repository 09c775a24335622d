"""What must hold of any bundle, any log and any package list, not of examples."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from vordr.formats import merkle
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import adopt, bundle, readers
from vordr.gatekeeper.decide import Mode, decide, report
from vordr.gatekeeper.label import Label, parse_label
from vordr.gatekeeper.logproof import LogEntry, leaf_bytes
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.subject import Subject, subject_of
from vordr.gatekeeper.translog import LocalLog
from vordr.gatekeeper.trust import ADOPTERS, Group, TrustedKey, TrustedLog, TrustStore
from vordr.model.errors import PolicyDenied, VerificationRejected, VordrError

NOW = 1_772_000_000_000_000
CONFIG = json.dumps({"rootfs": {"diff_ids": []}}).encode()
MANIFEST = json.dumps(
    {"schemaVersion": 2, "layers": [],
     "config": {"mediaType": "x", "digest": sha256_digest(CONFIG), "size": len(CONFIG)}}
).encode()


def key(name: str) -> PrivateKey:
    return PrivateKey.from_seeds(Suite.ED25519, name.encode().ljust(32, b"."))


def adopted() -> tuple[bytes, TrustStore]:
    """A bundle of the production code in just two of three logs, so that none of it can be spared."""
    with TemporaryDirectory() as folder:
        logs = [LocalLog.create(Path(folder) / name, key(name)) for name in ("log-a", "log-b", "log-c")]
        made = adopt.attest(MANIFEST, CONFIG, name="web", source="here", signers=[key("ada")],
                            logs=logs[:2], now_us=NOW)
    trusted = tuple(TrustedLog(log.id, "Ada", key(log.id).public, "file:///x") for log in logs)
    ada = TrustedKey(key("ada").public, (ADOPTERS,), 0, None, "Ada")
    return made, TrustStore("t", 0, (ada,), (Group(ADOPTERS, 1, (ada.id,)),), trusted)


BUNDLE, TRUST = adopted()
SUBJECT = subject_of(MANIFEST, CONFIG)
SIGNED = json.loads(BUNDLE)
BELIEVED = BUNDLE.index(b'"attestations"'), BUNDLE.index(b'"mediaType"')
"""Where attestations and log entries stand in the bundle's bytes (keys are sorted)."""


def accepted(raw: bytes, subject: Subject = SUBJECT, now: int = NOW) -> bool:
    try:
        decide(subject, raw, TRUST, Policy(), now, 1)
    except (VerificationRejected, PolicyDenied):
        return False
    return True


def test_the_bundle_that_is_spoilt_below_is_sound() -> None:
    assert accepted(BUNDLE)


@given(st.integers(BELIEVED[0], BELIEVED[1] - 1), st.integers(0, 7))
@settings(max_examples=400, deadline=None)
def test_no_bit_of_what_is_believed_can_be_flipped(at: int, bit: int) -> None:
    spoilt = bytearray(BUNDLE)
    spoilt[at] ^= 1 << bit
    try:
        same = json.loads(bytes(spoilt)) == SIGNED
    except ValueError:
        same = False
    assert same or not accepted(bytes(spoilt))


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_judged_in_the_specs_words(raw: bytes) -> None:
    told = report(SUBJECT, raw, TRUST, Policy(), NOW, Mode.STRICT)
    assert (told.decision, told.code) == ("REJECT", "MALFORMED_BUNDLE")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["mediaType", "attestations", "logEntries", "payload"]), inner),
    max_leaves=12,
)


@given(st.sampled_from(["attestations", "logEntries", "version", "mediaType"]), JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_in_a_members_place_is_refused_and_never_crashes(member: str, value: object) -> None:
    document = {**SIGNED, member: value}
    assert document == SIGNED or not accepted(json.dumps(document).encode())


@given(st.integers(-(2**62), 2**62))
@settings(max_examples=200, deadline=None)
def test_verdict_never_outlives_its_ttl_nor_is_given_before_the_logs_time(now: int) -> None:
    if not accepted(BUNDLE, now=now):
        assert now < NOW
    else:
        verdict = decide(SUBJECT, BUNDLE, TRUST, Policy(), now, 1)
        assert now >= NOW and now < verdict.expires <= now + 3600_000_000


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=100, deadline=None)
def test_no_other_image_passes_with_this_bundle(other: bytes) -> None:
    digest = "sha256:" + other.hex()
    assert digest == SUBJECT.manifest or not accepted(BUNDLE, Subject(digest, SUBJECT.config, ()))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=24))
@settings(max_examples=25, deadline=None)
def test_any_interleaving_of_handles_and_restarts_gives_one_tree(plan: list[int]) -> None:
    """0 and 1: append by that handle; 2: open both again."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "log-a"
        handles = [LocalLog.create(place, key("log-a")), LocalLog(place, key("log-a"))]
        leaves: list[bytes] = []
        for number, step in enumerate(plan):
            if step == 2:
                handles = [LocalLog(place, key("log-a")) for _ in handles]
                continue
            digest = f"sha256:{number:064x}"
            entry: LogEntry = handles[step].append(
                attestation=digest, subject=SUBJECT.manifest, predicate_type="x:y", now_us=NOW)
            leaves.append(merkle.leaf_hash(leaf_bytes(digest, SUBJECT.manifest, "x:y", entry.time)))
            assert entry.root == merkle.root(leaves) and entry.includes(leaves[-1])
        assert LocalLog(place, key("log-a")).root() == merkle.root(leaves)


@given(st.text(min_size=1, max_size=60).filter(str.isprintable), st.integers(0, 2**52))
def test_any_printable_name_survives_the_label(name: str, created: int) -> None:
    label = Label(name, SUBJECT.manifest, created, "vordr")
    assert parse_label(label.to_toml()) == label


@given(st.binary(max_size=2000))
@settings(max_examples=200)
def test_any_bytes_can_be_read_as_a_package_database(status: bytes) -> None:
    assert list(readers.parse_status(status)) == sorted(set(readers.parse_status(status)))


@given(st.binary(max_size=600))
@settings(max_examples=200)
def test_any_bytes_as_a_manifest_are_refused_in_our_own_words(raw: bytes) -> None:
    try:
        subject_of(raw, CONFIG)
    except VordrError:
        return
    raise AssertionError("random bytes were taken for a manifest")


def test_limits_are_the_designs() -> None:
    assert (bundle.LARGEST_BUNDLE, bundle.MOST_ENTRIES) == (16 * 1024 * 1024, 256)
