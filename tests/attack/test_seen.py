"""What this host saw is not taken back: older trust stores, older heads, logs with two histories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gatekeeper_world import LOGGED, NOW, SUBJECT, World, digest_of, key, raw
from whole_engine import Whole, planted

from vordr.formats import merkle
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import durable, seen, trust
from vordr.gatekeeper.decide import decide, decide_and_tell
from vordr.gatekeeper.evidence import NOTHING
from vordr.gatekeeper.logproof import SignedHead
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.seen import NOTHING_SEEN, Seen, Sight
from vordr.gatekeeper.statements import PROVENANCE
from vordr.gatekeeper.trust import TrustStore
from vordr.model.errors import StateError, TrustStoreInvalid, VerificationRejected

DAY = 86400_000_000
POLICY = Policy()


def judged(document: dict[str, Any], store: TrustStore, known: Seen = NOTHING_SEEN, now: int = NOW) -> Seen:
    """What is known after a bundle was let through."""
    _, shown = decide_and_tell(SUBJECT, raw(document), store, POLICY, now, 1, NOTHING, known)
    return known.with_sights(shown)


def refused(document: dict[str, Any], store: TrustStore, known: Seen = NOTHING_SEEN) -> str:
    with pytest.raises(VerificationRejected) as caught:
        decide(SUBJECT, raw(document), store, POLICY, NOW, 1, known=known)
    return f"{caught.value.code}: {caught.value.message}"


# -- logs, by what bundles show of them ------------------------------------------------------------


def test_a_log_with_two_roots_of_one_size_is_refused() -> None:
    world = World()
    store, document = world.trust(), world.document()
    known = judged(document, store)
    forked = World()
    forked.logs["log-b"].leaves[0] = merkle.leaf_hash(b"another history")
    told = refused(forked.document(), store, known)
    assert told.startswith("LOG_PROOF_INVALID: log log-b: another tree of")
    assert judged(forked.document(), store) != known  # to a host that knows nothing yet both pass


def test_a_log_with_two_entries_of_one_number_is_refused() -> None:
    """The fork shows itself in a larger tree, of a size that was never seen."""
    world = World()
    known = judged(world.document(), world.trust())
    log = world.trust().logs[0]
    index = known.log(log).index
    same = known.log(log).leaf(index)
    assert same is not None
    known.check([Sight(log, 500, b"r" * 32, index, same)])
    with pytest.raises(VerificationRejected, match=f"another entry number {index}"):
        known.check([Sight(log, 500, b"r" * 32, index, merkle.leaf_hash(b"another"))])


def test_older_proofs_of_the_same_history_are_taken_in_any_order() -> None:
    world = World()
    store, first = world.trust(), world.document()
    second = world.document(time=LOGGED + 1)
    newest = judged(second, store)
    after = judged(first, store, newest)
    assert {log.size for log in after.logs.values()} == {log.size for log in newest.logs.values()}
    assert judged(second, store, after) is after


def test_a_log_entry_of_another_artifact_does_not_prove_this_one() -> None:
    """CVE-2022-36056, CVE-2026-22703: the entry is sound, logged and signed, and about something else."""
    world = World()
    document = world.document()
    digest = digest_of(document["attestations"][0])
    document["logEntries"][0] = world.logs["log-a"].entry(digest, "sha256:" + "7" * 64, PROVENANCE)
    assert refused(document, world.trust()).startswith("LOG_PROOF_INVALID: log entry 0 of log-a")


def test_what_is_kept_of_a_log_is_bounded_and_its_newest_tree_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOST_OF_A_LOG", 4)
    world = World()
    store, known = world.trust(), NOTHING_SEEN
    for step in range(5):
        known = judged(world.document(time=LOGGED + step), store, known)
    for log in known.logs.values():
        assert len(log.roots) == len(log.leaves) == 4
        assert str(log.size) in log.roots and str(log.index) in log.leaves


# -- signed tree heads -----------------------------------------------------------------------------


LEAVES = [merkle.leaf_hash(b"%d" % at) for at in range(9)]
LOG = World().trust().logs[0]


def head(size: int, time: int = NOW, leaves: list[bytes] = LEAVES) -> SignedHead:
    return SignedHead(LOG.id, size, merkle.root(leaves[:size]), format_rfc3339(time), time, b"")


def path(first: int, second: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    return merkle.consistency_path(first, leaves[:second])


def test_a_head_that_has_grown_is_followed() -> None:
    known = NOTHING_SEEN
    for first, second in ((0, 0), (0, 4), (4, 4), (4, 7), (7, 9)):
        known = known.with_head(LOG, head(second, NOW + second), path(first, second))
    assert (known.log(LOG).size, known.log(LOG).time) == (9, NOW + 9)


OTHERS = [merkle.leaf_hash(b"forged"), *LEAVES[1:]]
SEEN_SEVEN = NOTHING_SEEN.with_head(LOG, head(7), [])


@pytest.mark.parametrize("shown, proof, wrong", [
    (head(5, NOW + 1), [], "has 5 entries, it had 7 before"),
    (head(0, NOW + 1), [], "has 0 entries, it had 7 before"),
    (head(8, NOW - 1), path(7, 8), "showed one of"),
    (head(7, NOW + 1, OTHERS), [], "another tree of 7 entries"),
    (head(9, NOW + 1, OTHERS), path(7, 9, OTHERS), "has not grown"),
    (head(9, NOW + 1), [], "has not grown"),
    (head(9, NOW + 1), path(6, 9), "has not grown"),
], ids=["rollback", "emptied", "older head", "split view", "rewritten", "no proof", "another proof"])
def test_attack_on_a_logs_head_is_refused(shown: SignedHead, proof: list[bytes], wrong: str) -> None:
    with pytest.raises(VerificationRejected, match=wrong) as caught:
        SEEN_SEVEN.with_head(LOG, shown, proof)
    assert caught.value.code == "LOG_PROOF_INVALID"


# -- trust stores ----------------------------------------------------------------------------------


def test_an_expired_trust_store_starts_nothing_and_no_verdict_outlives_it() -> None:
    """A frozen host: updates are kept from it, and its store comes to its end."""
    world = World()
    document = world.document()
    store = trust.checked(replace(world.trust(), expires=NOW + 60_000_000))
    verdict = decide(SUBJECT, raw(document), store, POLICY, NOW, 1)
    assert verdict.expires == store.expires
    with pytest.raises(TrustStoreInvalid) as caught:
        decide(SUBJECT, raw(document), store, POLICY, verdict.expires, 1)
    assert caught.value.details["code"] == "EXPIRED"


@pytest.mark.parametrize("which", ["manifest", "provenance", "sbom"])
def test_an_outdated_artifact_that_was_revoked_is_refused_though_it_is_signed(which: str) -> None:
    """CVE-2024-23332: an old image, still validly signed, is served in place of the one that mends it."""
    world = World()
    document = world.document()
    digests = {"manifest": SUBJECT.manifest, "provenance": digest_of(document["attestations"][0]),
               "sbom": digest_of(document["attestations"][1])}
    decide(SUBJECT, raw(document), world.trust(), POLICY, NOW, 1)
    store = trust.withdraw(world.trust(), digests[which], "superseded", NOW)
    told = refused(document, store)
    assert told.startswith("MISSING_ATTESTATION") and "superseded" in told


def test_updaters_vouch_for_no_image_and_are_not_asked_to() -> None:
    world = World()
    una = trust.TrustedKey(key("una").public, (trust.UPDATERS,), NOW - DAY)
    store = trust.add_key(world.trust(), trust.UPDATERS, una, NOW)
    store = trust.set_group(store, trust.Group(trust.UPDATERS, 1, (una.id,)), NOW)
    evidence = decide(SUBJECT, raw(world.document()), store, POLICY, NOW, 1).evidence
    assert not [one for one in evidence if trust.UPDATERS in one.text]
    assert refused(World(signers=("alice", "una")).document(), store).startswith("UNKNOWN_KEY")


# -- a whole engine --------------------------------------------------------------------------------


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    made = planted(memory_path / "root")
    yield made
    made.close()


ADDED = PrivateKey.from_seeds(Suite.ED25519, b"n" * 32).public


def put_back(whole: Whole, before: bytes) -> None:
    durable.replace(whole.paths.trust_store, before)


def test_a_trust_store_put_back_is_refused_and_starts_nothing(whole: Whole) -> None:
    older = whole.paths.trust_store.read_bytes()
    whole.call("trust_add", role="builders", owner="Bo", public_key=ADDED.to_spki_base64())
    newer = whole.paths.trust_store.read_bytes()
    put_back(whole, older)
    with pytest.raises(TrustStoreInvalid) as caught:
        whole.run("web")
    assert caught.value.details["code"] == "ROLLBACK"
    put_back(whole, newer)
    whole.run("web")


def test_a_restart_does_not_forget_what_was_seen(whole: Whole) -> None:
    older = whole.paths.trust_store.read_bytes()
    whole.call("trust_add", role="builders", owner="Bo", public_key=ADDED.to_spki_base64())
    whole.run("web")
    whole.close()
    put_back(whole, older)
    again = Whole(whole.paths.root, whole.world)
    try:
        with pytest.raises(TrustStoreInvalid, match="older than revision 1"):
            again.run("second")
        known = seen.load(again.paths.seen)
        assert len(known.logs) == 3 and all(log.size for log in known.logs.values())
    finally:
        again.close()


def test_a_trust_store_made_anew_begins_anew(whole: Whole) -> None:
    whole.call("trust_add", role="builders", owner="Bo", public_key=ADDED.to_spki_base64())
    whole.call("trust_show")
    whole.paths.trust_store.unlink()
    assert whole.call("trust_init", owner="Ada").revision == 0


def test_a_damaged_memory_is_refused_not_forgotten(whole: Whole) -> None:
    whole.call("trust_show")
    for damage in (b"{}", b"", b'{"format":1,"logs":{"x":{"id":"l","roots":{"1":"zz"}}},"stores":{}}',
                   b'{"format":2,"logs":{},"stores":{}}', b'{"format":1,"logs":{},"stores":{},"more":1}'):
        durable.replace(whole.paths.seen, damage)
        with pytest.raises(TrustStoreInvalid, match="seen.json: damaged"):
            whole.call("trust_show")


def test_nothing_starts_by_what_could_not_be_kept(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = durable.replace

    def full(path: Path, content: bytes, mode: int = 0o600) -> None:
        if path.name == "seen.json":
            raise OSError(28, "No space left on device")
        replaced(path, content, mode)

    monkeypatch.setattr(durable, "replace", full)
    with pytest.raises(StateError, match="cannot be kept: No space"):
        whole.run("web")
    monkeypatch.undo()
    whole.run("web")


def test_the_memory_reads_back_as_it_was_written(tmp_path: Path) -> None:
    world = World()
    known = judged(world.document(), world.trust()).with_store(world.trust())
    seen.save(known, tmp_path / "seen.json")
    assert seen.load(tmp_path / "seen.json") == known
    assert (tmp_path / "seen.json").stat().st_mode & 0o777 == 0o600
