"""Signing by several, one after the other: order and repetition do not matter, and the logs hold the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vordr.formats import base64s, canonical, merkle
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import trust
from vordr.gatekeeper.attest import assemble, sign
from vordr.gatekeeper.bundle import Bundle, parse
from vordr.gatekeeper.countersign import add_signature
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.logproof import LogEntry, leaf_bytes, timestamp_bytes
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.sbom import NOT_READ
from vordr.gatekeeper.statements import PACK_BUILD, PROVENANCE, SPDX, Act, provenance, spdx, statement
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import Group, TrustedKey, TrustedLog, TrustStore
from vordr.model.errors import UsageError, VerificationRejected

NOW = 1_772_366_400_000_000
SUBJECT = Subject(sha256_digest(b"manifest"), sha256_digest(b"config"), ())
MEMBERS = tuple(
    PrivateKey.from_seeds(suite, *(bytes([at + 1] * size) for size in sizes))
    for at, (suite, sizes) in enumerate([
        (Suite.ED25519, (32,)), (Suite.ED25519, (32,)), (Suite.ED448, (57,)), (Suite.ED448, (57,)),
        (Suite.ED25519, (32,)),
    ])
)
"""Their signatures are deterministic, so equal sets of signers must give equal bytes."""
HYBRID = PrivateKey.from_seeds(Suite.ED25519_ML_DSA_87, bytes([9] * 32), bytes([8] * 32))
LOG_KEYS = tuple(PrivateKey.from_seeds(Suite.ED25519, bytes([at] * 32)) for at in (101, 102, 103))
PEOPLE = st.lists(st.integers(0, len(MEMBERS) - 1), max_size=12)


def first_bundle(first: PrivateKey) -> bytes:
    """A bundle by one signer, both attestations in one tree of each of three logs."""
    act = Act(PACK_BUILD, "web", "a folder", first.public.key_id, NOW)
    said = {PROVENANCE: provenance(SUBJECT, act), SPDX: spdx(SUBJECT, act, NOT_READ)}
    envelopes = [sign(statement(SUBJECT, "web", kind, one), [first]) for kind, one in said.items()]
    time = format_rfc3339(NOW)
    leaves = [merkle.leaf_hash(leaf_bytes(sha256_digest(envelope.pae()), SUBJECT.manifest, kind, time))
              for kind, envelope in zip(said, envelopes, strict=True)]
    root, entries = merkle.root(leaves), []
    for number, leaf in enumerate(leaves):
        path = tuple(merkle.inclusion_path(number, leaves))
        for at, key in enumerate(LOG_KEYS):
            stamp = key.sign(timestamp_bytes(f"log-{at}", number, time, 2, root, leaf))
            entries.append(LogEntry(f"log-{at}", number, time, NOW, 2, root, path, stamp).to_json())
    return assemble([envelope.to_json() for envelope in envelopes], entries, NOW)


FIRST = first_bundle(MEMBERS[0])


def signed_by(order: Sequence[int], bundle: bytes = FIRST) -> bytes:
    for member in order:
        bundle = add_signature(bundle, MEMBERS[member])
    return bundle


def signers(bundle: Bundle) -> list[set[str]]:
    return [{one.keyid for one in attestation.envelope.signatures} for attestation in bundle.attestations]


@given(PEOPLE, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_signing_does_not_matter(order: list[int], random: Any) -> None:
    shuffled = list(order)
    random.shuffle(shuffled)
    assert signed_by(shuffled) == signed_by(order)


@given(PEOPLE)
@settings(max_examples=60, deadline=None)
def test_signing_again_changes_not_a_byte(order: list[int]) -> None:
    once = signed_by(order)
    assert signed_by([*order, 0], once) == once
    distinct = {MEMBERS[member].public.key_id for member in (0, *order)}
    assert signers(parse(once)) == [distinct, distinct]
    assert all(len(one.envelope.signatures) == len(distinct) for one in parse(once).attestations)


@given(PEOPLE)
@settings(max_examples=60, deadline=None)
def test_what_the_logs_hold_does_not_change(order: list[int]) -> None:
    before, after = parse(FIRST), parse(signed_by(order))
    assert [one.digest for one in after.attestations] == [one.digest for one in before.attestations]
    assert [one.envelope.payload for one in after.attestations] == [
        one.envelope.payload for one in before.attestations]
    assert after.entries == before.entries
    assert json.loads(signed_by(order))["logEntries"] == json.loads(FIRST)["logEntries"]


def a_store(k: int, members: Sequence[PrivateKey]) -> TrustStore:
    keys = tuple(TrustedKey(key.public, (trust.BUILDERS,), NOW - 1, None, f"member {at}")
                 for at, key in enumerate(members))
    logs = tuple(TrustedLog(f"log-{at}", f"Operator {at}", key.public, f"https://log-{at}.example.org")
                 for at, key in enumerate(LOG_KEYS))
    return trust.checked(TrustStore("t", NOW, keys, (Group("release", k, tuple(k.id for k in keys)),), logs))


@given(PEOPLE, st.integers(1, len(MEMBERS)))
@settings(max_examples=60, deadline=None)
def test_k_distinct_signers_are_enough_and_fewer_are_not(order: list[int], k: int) -> None:
    bundle = signed_by(order)
    distinct = len({0, *order})
    if distinct >= k:
        verdict = decide(SUBJECT, bundle, a_store(k, MEMBERS), Policy(), NOW, 1)
        assert len(verdict.keys) == distinct
    else:
        with pytest.raises(VerificationRejected) as refused:
            decide(SUBJECT, bundle, a_store(k, MEMBERS), Policy(), NOW, 1)
        assert refused.value.code == "THRESHOLD_NOT_MET"


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_signature_written_for_another_key_is_not_taken_for_ones_own(seed: int) -> None:
    document = json.loads(FIRST)
    junk = base64s.encode(seed.to_bytes(64, "big"))
    for envelope in document["attestations"]:
        envelope["signatures"].append({"keyid": MEMBERS[1].public.key_id, "sig": junk})
    with pytest.raises(UsageError, match="does not hold"):
        add_signature(json.dumps(document).encode(), MEMBERS[1])


def test_hybrid_signers_take_part_though_their_signatures_differ_each_time() -> None:
    bundle = add_signature(signed_by([2]), HYBRID)
    assert add_signature(bundle, HYBRID) == bundle
    store = a_store(3, (*MEMBERS, HYBRID))
    assert len(decide(SUBJECT, bundle, store, Policy(), NOW, 1).keys) == 3


def test_a_bundle_signed_in_part_is_signed_whole() -> None:
    document = json.loads(signed_by([1]))
    second = document["attestations"][1]
    second["signatures"] = [one for one in second["signatures"] if one["keyid"] == MEMBERS[0].public.key_id]
    assert add_signature(canonical.dumps(document), MEMBERS[1]) == signed_by([1])


def test_what_is_no_bundle_is_not_signed() -> None:
    for bad in (b"", b"{}", FIRST[:-1], FIRST.replace(b"in-toto", b"in-voto")):
        with pytest.raises(VerificationRejected):
            add_signature(bad, MEMBERS[1])


def test_a_late_signers_key_must_have_been_valid_when_the_logs_saw_the_statement() -> None:
    bundle = signed_by([1])
    store = a_store(2, MEMBERS)
    late = replace(store, keys=tuple(
        replace(key, valid_from=NOW + 1) if key.id == MEMBERS[1].public.key_id else key
        for key in store.keys))
    with pytest.raises(VerificationRejected) as refused:
        decide(SUBJECT, bundle, late, Policy(), NOW + 2, 1)
    assert refused.value.code == "KEY_NOT_YET_VALID"
