"""The trust store: what it holds, what it refuses and where."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import spec_document

from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import schema, trust
from vordr.gatekeeper.trust import ADOPTERS, BUILDERS, Group, TrustedKey, TrustedLog, TrustStore
from vordr.model.errors import TrustStoreInvalid, TrustStoreMissing

NOW = parse_rfc3339("2026-03-01T12:00:00Z")


def key(name: str) -> PrivateKey:
    return PrivateKey.from_seeds(Suite.ED25519, name.encode().ljust(32, b"."))


ALICE, BOB = key("alice").public, key("bob").public


def store() -> TrustStore:
    logs = tuple(
        TrustedLog(f"log-{one}", f"Operator {one}", key(f"log-{one}").public, "https://example.org")
        for one in "abc"
    )
    keys = (TrustedKey(ALICE, (ADOPTERS, BUILDERS), NOW, NOW + 10, "Alice", "laptop"),
            TrustedKey(BOB, (BUILDERS,), NOW))
    return TrustStore("home", NOW, keys, (Group("release-signers", 2, (ALICE.key_id, BOB.key_id)),), logs)


def document() -> dict[str, Any]:
    return copy.deepcopy(store().to_document())


def parse(value: object) -> TrustStore:
    return trust.parse(json.dumps(value).encode(), "store.json")


def test_store_comes_back_from_its_document() -> None:
    assert parse(document()) == store()


def test_document_has_the_published_shape() -> None:
    assert schema.validate_document("trust-store", document()) == []


def test_digest_is_the_contents_and_not_the_spelling(tmp_path: Path) -> None:
    path = tmp_path / "store.json"
    path.write_text(json.dumps(document(), indent=4))
    path.chmod(0o600)
    assert trust.load(path).digest == store().digest
    assert trust.revoke_key(store(), BOB.key_id, "superseded", NOW).digest != store().digest


def test_saved_store_is_loaded_equal_and_private(tmp_path: Path) -> None:
    path = tmp_path / "store.json"
    trust.save(store(), path)
    assert trust.load(path) == store()
    assert path.stat().st_mode & 0o777 == 0o600


def test_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreMissing) as refusal:
        trust.load(tmp_path / "store.json")
    assert refusal.value.remedy == "vordr trust init"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_store_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "store.json"
    trust.save(store(), path)
    path.chmod(mode)
    with pytest.raises(TrustStoreInvalid, match="others than its owner"):
        trust.load(path)


def test_store_behind_a_link_is_refused(tmp_path: Path) -> None:
    trust.save(store(), tmp_path / "real.json")
    (tmp_path / "store.json").symlink_to("real.json")
    with pytest.raises(TrustStoreInvalid, match="cannot be opened"):
        trust.load(tmp_path / "store.json")


def entry(name: str = "builders", at: int = 0) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda d: d["keys"][name][at]


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(d: dict[str, Any]) -> None:
        at: Any = d
        *before, last = path.split("/")
        for name in before:
            at = at[int(name)] if isinstance(at, list) else at[name]
        at[last] = value

    return apply


def repeat(d: dict[str, Any]) -> None:
    d["keys"]["builders"].append(d["keys"]["builders"][0])


def key_as_log(d: dict[str, Any]) -> None:
    d["logs"]["log-a"]["publicKey"] = d["keys"]["builders"][0]["publicKey"]


def log_key_twice(d: dict[str, Any]) -> None:
    d["logs"]["log-a"]["publicKey"] = d["logs"]["log-b"]["publicKey"]


def small_order(d: dict[str, Any]) -> None:
    prefix = "MCowBQYDK2VwAyEA"
    d["logs"]["log-a"]["publicKey"] = prefix + "A" * 43 + "="


REVOKED = {"keyId": BOB.key_id, "reason": "superseded", "revokedAt": "2026-01-01T00:00:00Z"}

REFUSED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("two logs", lambda d: d["logs"].popitem(), "$.logs"),
    ("another algorithm", change("keys/builders/0/algorithm", "rsa"), "$.keys.builders[0].algorithm"),
    ("another log algorithm", change("logs/log-a/algorithm", "ed448"), "$.logs.log-a.algorithm"),
    ("another suite", change("keys/builders/0/suite", "CT-SIG-02"), "$.keys.builders[0].suite"),
    ("id of another key", change("keys/builders/0/id", BOB.key_id), "$.keys.builders[0].id"),
    ("id that is a name", change("keys/builders/0/id", "alice"), "$.keys.builders[0].id"),
    ("key twice in a role", repeat, "$.keys.builders[2].id"),
    ("other dates in another role", change("keys/adopters/0/validFrom", "2020-01-01T00:00:00Z"),
     "$.keys.builders[0]"),
    ("key not base64", change("keys/builders/0/publicKey", "AAA"), "$.keys.builders[0].publicKey"),
    ("key of small order", small_order, "$.logs.log-a.publicKey"),
    ("signing key as log key", key_as_log, "$.logs.log-a.publicKey"),
    ("one key for two logs", log_key_twice, "$.logs.log-a.publicKey"),
    ("ends before it begins", change("keys/builders/1/validUntil", "2000-01-01T00:00:00Z"),
     "$.keys.builders[1].validUntil"),
    ("no such time", change("updated", "2026-13-01T00:00:00Z"), "$.updated"),
    ("unknown member", change("allow", "*"), "$.allow"),
    ("unknown member of a key", change("keys/builders/0/trusted", True), "$.keys.builders[0].trusted"),
    ("unknown member of a log", change("logs/log-a/weight", 2), "$.logs.log-a.weight"),
    ("later format", change("version", 2), "$.version"),
    ("version true", change("version", True), "$.version"),
    ("k above n", change("thresholds/release-signers/k", 3), "$.thresholds.release-signers.k"),
    ("k of zero", change("thresholds/release-signers/k", 0), "$.thresholds.release-signers.k"),
    ("wrong n", change("thresholds/release-signers/n", 3), "$.thresholds.release-signers.n"),
    ("member twice", change("thresholds/release-signers/members", [BOB.key_id] * 2),
     "$.thresholds.release-signers.members"),
    ("unknown member key", change("thresholds/release-signers/members", [BOB.key_id, "eve"]),
     "$.thresholds.release-signers.members"),
    ("nameless operator", change("logs/log-a/operator", " "), "$.logs.log-a"),
    ("url that is none", change("logs/log-a/url", "example"), "$.logs.log-a.url"),
    ("revocation of nobody", change("revocations", [{**REVOKED, "keyId": "sha256:" + "0" * 64}]),
     "$.revocations[0].keyId"),
    ("revoked twice", change("revocations", [REVOKED, REVOKED]), "$.revocations[1].keyId"),
    ("reason of nobody", change("revocations", [{**REVOKED, "reason": "whim"}]), "$.revocations[0].reason"),
    ("revocation that says more", change("revocations", [{**REVOKED, "until": "never"}]), "$.revocations[0]"),
    ("revocations not a list", change("revocations", {}), "$.revocations"),
]


@pytest.mark.parametrize(("spoil", "place"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_fault_is_refused_and_its_place_named(spoil: Callable[[dict[str, Any]], object], place: str) -> None:
    value = document()
    spoil(value)
    with pytest.raises(TrustStoreInvalid) as refusal:
        parse(value)
    assert refusal.value.details["path"] == place
    assert refusal.value.message.startswith(f"store.json: {place}: ")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"id": 1, "id": 2}', b"nul", b"\xff"])
def test_garbage_is_refused_with_the_files_name(raw: bytes) -> None:
    with pytest.raises(TrustStoreInvalid, match=r"store\.json"):
        trust.parse(raw, "store.json")


# -- the published vectors -------------------------------------------------------------------------


def test_published_valid_store_has_the_shape_but_its_ids_and_keys_are_not_believed() -> None:
    value = spec_document("vectors/valid/trust-store/minimal-valid-trust-store.json")["input"]
    assert schema.validate_document("trust-store", value) == []
    with pytest.raises(TrustStoreInvalid) as refusal:
        parse(value)
    assert refusal.value.details["path"].startswith("$.keys.builders[0]")


def test_published_store_with_two_logs_is_refused_with_the_specs_code() -> None:
    value = spec_document("vectors/invalid/trust-store/insufficient-logs.json")
    assert schema.validate_document("trust-store", value["input"]) != []
    with pytest.raises(TrustStoreInvalid) as refusal:
        parse(value["input"])
    assert refusal.value.details["code"] == value["expected"]["errorCode"] == "INSUFFICIENT_LOG_OPERATORS"


# -- changes ---------------------------------------------------------------------------------------


def test_added_key_counts_in_its_role_only() -> None:
    new = TrustedKey(key("carol").public, (), NOW, None, "Carol")
    found = trust.add_key(store(), "auditors", new, NOW + 1).key(new.id)
    assert found is not None and found.roles == ("auditors",)


def test_known_key_gains_a_role() -> None:
    wider = trust.add_key(store(), ADOPTERS, TrustedKey(BOB, (), NOW), NOW + 1)
    found = wider.key(BOB.key_id)
    assert found is not None and set(found.roles) == {ADOPTERS, BUILDERS}
    assert wider.updated == NOW + 1


@pytest.mark.parametrize(
    ("role", "key_", "why"),
    [(BUILDERS, TrustedKey(BOB, (), NOW), "already"), (ADOPTERS, TrustedKey(BOB, (), NOW + 1), "validity")],
)
def test_key_is_not_added_twice_nor_with_other_dates(role: str, key_: TrustedKey, why: str) -> None:
    with pytest.raises(TrustStoreInvalid, match=why):
        trust.add_key(store(), role, key_, NOW)


def test_revoked_key_stays_known_as_revoked_and_cannot_come_back() -> None:
    after = trust.revoke_key(store(), BOB.key_id, "key_compromise", NOW)
    revocation = after.revoked(BOB.key_id)
    assert revocation is not None and (revocation.reason, revocation.at) == ("key_compromise", NOW)
    assert parse(after.to_document()) == after
    with pytest.raises(TrustStoreInvalid, match="was revoked"):
        trust.add_key(after, ADOPTERS, TrustedKey(BOB, (), NOW), NOW)


@pytest.mark.parametrize(("key_id", "reason"), [("sha256:" + "0" * 64, "superseded"), (BOB.key_id, "whim")])
def test_revocation_names_a_known_key_and_reason(key_id: str, reason: str) -> None:
    with pytest.raises(TrustStoreInvalid):
        trust.revoke_key(store(), key_id, reason, NOW)


def test_logs_key_can_be_revoked() -> None:
    log = store().logs[0].public.key_id
    assert trust.revoke_key(store(), log, "cessation", NOW).revoked(log)


def test_group_is_replaced_by_name() -> None:
    after = trust.set_group(store(), Group("release-signers", 1, (BOB.key_id,)), NOW)
    assert [(one.name, one.k) for one in after.groups] == [("release-signers", 1)]
    with pytest.raises(TrustStoreInvalid, match="can never be met"):
        trust.set_group(store(), Group("release-signers", 2, (BOB.key_id,)), NOW)


def test_log_is_added_under_a_new_name_and_key_only() -> None:
    new = TrustedLog("log-d", "D", key("log-d").public, "https://d.example.org")
    assert trust.add_log(store(), new, NOW).log("log-d") == new
    for taken in (TrustedLog("log-a", "D", new.public, new.url), TrustedLog("log-d", "D", ALICE, new.url)):
        with pytest.raises(TrustStoreInvalid):
            trust.add_log(store(), taken, NOW)
