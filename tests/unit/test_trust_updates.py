"""Signed updates of the trust store: what an updater may do, and every way in which it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vordr.formats import canonical
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import trust, trust_updates
from vordr.gatekeeper.trust import UPDATERS, Group, TrustedKey, TrustedLog, TrustStore
from vordr.model.errors import TrustStoreInvalid

NOW = parse_rfc3339("2026-03-01T12:00:00Z")
DAY = 86400_000_000
LATER = NOW + DAY


def key(name: str, suite: Suite = Suite.ED25519) -> PrivateKey:
    return PrivateKey.from_seeds(suite, name.encode().ljust(57 if suite is Suite.ED448 else 32, b"."))


def trusted(name: str, *roles: str, until: int | None = None) -> TrustedKey:
    return TrustedKey(key(name).public, roles, NOW - DAY, until, name.title())


BUILDER = trusted("alice", "builders")
UNA, ULF, URD = (trusted(name, UPDATERS) for name in ("una", "ulf", "urd"))
LOGS = tuple(TrustedLog(f"log-{at}", "us", key(f"log-{at}").public, "https://log.example") for at in "abc")


LOG_D = TrustedLog("log-d", "us", key("d").public, "https://d.example")


def base(*updaters: TrustedKey, k: int | None = 2, **more: Any) -> TrustStore:
    groups = () if k is None else (Group(UPDATERS, k, tuple(one.id for one in updaters)),)
    parts = {"revision": 3, **more}
    return trust.checked(TrustStore("ours", NOW, (BUILDER, *updaters), groups, LOGS, **parts))


PRESENT = base(UNA, ULF, URD)
NEXT = trust.checked(replace(PRESENT, revision=4, updated=NOW + 1))


def update(store: TrustStore = NEXT, *names: str) -> bytes:
    raw = canonical.dumps(store.to_document())
    for name in names or ("una", "ulf"):
        raw = trust_updates.sign(raw, key(name))
    return raw


def refused(raw: bytes, present: TrustStore = PRESENT, now: int = LATER) -> str:
    with pytest.raises(TrustStoreInvalid) as caught:
        trust_updates.accept(present, raw, now)
    return str(caught.value.details["code"])


def test_an_update_that_its_threshold_signed_is_taken() -> None:
    taken = trust_updates.accept(PRESENT, update(), LATER)
    assert taken.store == NEXT
    assert taken.signers == tuple(sorted((UNA.id, ULF.id)))


def test_signers_come_one_after_the_other_in_any_order() -> None:
    assert update(NEXT, "una", "ulf") == update(NEXT, "ulf", "una") == update(NEXT, "una", "ulf", "una")


def test_without_a_group_every_updater_must_sign() -> None:
    present = base(UNA, ULF, k=None)
    after = trust.checked(replace(present, revision=4, updated=NOW + 1))
    assert refused(update(after, "una"), present) == "THRESHOLD_NOT_MET"
    assert trust_updates.accept(present, update(after, "una", "ulf"), LATER).store == after


def test_updaters_can_be_replaced_by_old_and_new_together() -> None:
    after = base(ULF, URD, trusted("uma", UPDATERS), k=3, revision=9, expires=None)
    after = trust.checked(replace(after, updated=NOW + 1))
    assert refused(update(after, "una", "ulf")) == "THRESHOLD_NOT_MET"
    assert refused(update(after, "ulf", "urd")) == "THRESHOLD_NOT_MET"  # by the new store's own rule
    assert trust_updates.accept(PRESENT, update(after, "ulf", "urd", "uma"), LATER).store == after


def _signed_twice(raw: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(raw)
    change(document)
    return json.dumps(document).encode()


def _twice(document: dict[str, Any]) -> None:
    document["signatures"] = document["signatures"][:1] * 2


def _flip(document: dict[str, Any]) -> None:
    document["signatures"][0]["sig"] = document["signatures"][1]["sig"]


def _other_type(document: dict[str, Any]) -> None:
    document["payloadType"] = "application/vnd.in-toto+json"


def _nobody(document: dict[str, Any]) -> None:
    document["signatures"][0]["keyid"] = "sha256:" + "0" * 64


def later(**parts: Any) -> TrustStore:
    return trust.checked(replace(NEXT, **parts))


REVOKED = trust.revoke_key(PRESENT, ULF.id, "key_compromise", NOW + 1)
TAKEN_BACK = trust.withdraw(PRESENT, "sha256:" + "1" * 64, "superseded", NOW + 1)
MIXED = trust.checked(replace(PRESENT, keys=(*PRESENT.keys, trusted("uwe", UPDATERS, until=NOW + 2)),
                              groups=(Group(UPDATERS, 2, (UNA.id, trusted("uwe").id)),)))

MALLORY = trusted("mallory", UPDATERS)
APPOINTED = trust.checked(replace(base(MALLORY, k=1, revision=4), updated=NOW + 1))
HELPED = trust.checked(replace(base(UNA, MALLORY, k=2, revision=4), updated=NOW + 1))

ATTACKS: dict[str, tuple[bytes, TrustStore, str]] = {
    "one signature of two": (update(NEXT, "una"), PRESENT, "THRESHOLD_NOT_MET"),
    "one signature twice": (_signed_twice(update(), _twice), PRESENT, "THRESHOLD_NOT_MET"),
    "a signature that does not hold": (_signed_twice(update(), _flip), PRESENT, "INVALID_SIGNATURE"),
    "a signature of nobody": (_signed_twice(update(), _nobody), PRESENT, "UNKNOWN_KEY"),
    "a builder's signature": (update(NEXT, "una", "alice"), PRESENT, "UNKNOWN_KEY"),
    "an attestation for an update": (_signed_twice(update(), _other_type), PRESENT, "MALFORMED_TRUST_STORE"),
    "not JSON": (b"{", PRESENT, "MALFORMED_TRUST_STORE"),
    "no envelope": (canonical.dumps(NEXT.to_document()), PRESENT, "MALFORMED_TRUST_STORE"),
    "the present store again": (update(PRESENT), PRESENT, "ROLLBACK"),
    "an older one": (update(PRESENT), NEXT, "ROLLBACK"),
    "a greater revision of an earlier time": (update(later(updated=NOW - 1)), PRESENT, "ROLLBACK"),
    "a later time with an older revision": (update(later(revision=2)), PRESENT, "ROLLBACK"),
    "a time to come": (update(later(updated=LATER + 1)), PRESENT, "ROLLBACK"),
    "another host's store": (update(later(id="theirs")), PRESENT, "ROLLBACK"),
    "one that has expired": (update(later(expires=LATER)), PRESENT, "EXPIRED"),
    "a revoked key that comes back": (
        update(later(revision=9, updated=NOW + 9), "una", "urd"), REVOKED, "UNREVOKED"),
    "a revoked image that comes back": (update(later(revision=9, updated=NOW + 9)), TAKEN_BACK, "UNREVOKED"),
    "a revoked updater's signature": (
        update(later(revision=9, updated=NOW + 9)), REVOKED, "UNKNOWN_KEY"),
    "an expired updater's signature": (
        update(trust.checked(replace(MIXED, revision=9, updated=NOW + 1)), "una", "uwe"), MIXED,
        "UNKNOWN_KEY"),
    "one that leaves no updaters": (
        update(trust.checked(replace(NEXT, keys=(BUILDER,), groups=())), "una", "ulf"), PRESENT,
        "THRESHOLD_NOT_MET"),
    "updaters that appoint themselves": (update(APPOINTED, "mallory"), PRESENT, "THRESHOLD_NOT_MET"),
    "one updater with help of appointed ones": (
        update(HELPED, "una", "mallory"), PRESENT, "THRESHOLD_NOT_MET"),
    "another store of the same revision": (update(later(revision=3)), PRESENT, "ROLLBACK"),
    "a host without updaters": (update(), base(k=None), "THRESHOLD_NOT_MET"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_updates_is_refused_with_its_own_code(name: str) -> None:
    raw, present, code = ATTACKS[name]
    assert refused(raw, present) == code


def test_a_store_without_revision_is_not_signed() -> None:
    with pytest.raises(TrustStoreInvalid, match="revision"):
        trust_updates.sign(canonical.dumps(replace(PRESENT, revision=0).to_document()), key("una"))


def test_every_change_makes_a_greater_revision_of_a_later_time() -> None:
    store = PRESENT
    for change in (
        lambda one: trust.add_key(one, "builders", trusted("bob"), NOW - DAY),  # a clock set back
        lambda one: trust.revoke_key(one, BUILDER.id, "superseded", NOW),
        lambda one: trust.withdraw(one, "sha256:" + "2" * 64, "superseded", NOW),
        lambda one: trust.set_group(one, Group("release", 1, (BUILDER.id,)), NOW),
        lambda one: trust.add_log(one, LOG_D, NOW),
    ):
        after = change(store)
        assert (after.revision, after.updated > store.updated) == (store.revision + 1, True)
        store = after
    assert trust.parse(canonical.dumps(store.to_document())).digest == store.digest


@pytest.mark.parametrize("member, value, place", [
    ("revision", 0, r"\$\.revision"), ("revision", 2**53, r"\$\.revision"),
    ("revision", "4", r"\$\.revision"),
    ("expires", "2026-03-01T12:00:00Z", r"\$\.expires"), ("expires", "soon", r"\$\.expires"),
    ("revocations", [{"reason": "superseded", "revokedAt": "2026-03-01T12:00:00Z"}],
     r"\$\.revocations\[0\]"),
    ("revocations", [{"digest": "sha256:1", "reason": "superseded", "revokedAt": "2026-03-01T12:00:00Z"}],
     r"\$\.revocations\[0\]\.digest"),
    ("revocations", [{"digest": "sha256:" + "1" * 64, "keyId": BUILDER.id, "reason": "superseded",
                      "revokedAt": "2026-03-01T12:00:00Z"}], r"\$\.revocations\[0\]"),
    ("revocations", [{"digest": "sha256:" + "1" * 64, "reason": "superseded",
                      "revokedAt": "2026-03-01T12:00:00Z"}] * 2, r"\$\.revocations\[1\]\.digest: is rev"),
])
def test_a_store_that_breaks_a_rule_names_the_place(member: str, value: object, place: str) -> None:
    document = {**NEXT.to_document(), member: value}
    with pytest.raises(TrustStoreInvalid, match=place):
        trust.parse(json.dumps(document).encode())
