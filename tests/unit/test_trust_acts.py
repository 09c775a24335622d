"""Changes of trust: before or after a crash, never half, and the journal says whose they were."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeworld import Gate
from whole_engine import Whole, planted

from vordr.formats import canonical
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import durable, trust, trust_updates
from vordr.gatekeeper.trust import TrustedKey, TrustStore
from vordr.model.errors import TrustStoreInvalid, TrustStoreMissing, VerificationRejected
from vordr.model.lifecycle import State
from vordr.model.records import Act, ActStatus

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32))).public


def pem(seed: int = 0) -> str:
    public = KEY if not seed else PrivateKey.from_seeds(Suite.ED25519, bytes([seed] * 32)).public
    return public.to_spki_base64()


def add(whole: Whole, seed: int = 0) -> Any:
    return whole.call("trust_add", role="builders", owner="Bo", public_key=pem(seed))


def keys(whole: Whole) -> set[str]:
    return {key.id for key in whole.call("trust_show").keys}


def trust_act(whole: Whole) -> Act:
    return next(act for act in whole.acts() if act.act.startswith("trust_") and act.act != "trust_init")


def crash_copy(whole: Whole, name: str) -> Callable[[], None]:
    """What takes a copy of the root folder, as a crash at that moment would leave it."""
    def take() -> None:
        whole.journal._store.anchor()  # no head is written while files are copied
        shutil.copytree(whole.paths.root, whole.paths.root.with_name(name),
                        ignore=shutil.ignore_patterns("LOCK", "lock", "run"))

    return take


def around_rename(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[], None] | None, after: Callable[[], None] | None
) -> None:
    """Call ``before`` and ``after`` around the rename that puts a trust store in place."""
    rename = os.rename

    def renamed(source: Any, target: Any) -> None:
        is_store = Path(target).name == "trust-store.json" and Path(target).parent.parent.name == "root"
        if is_store and before is not None:
            before()
        rename(source, target)
        if is_store and after is not None:
            after()

    monkeypatch.setattr(durable.os, "rename", renamed)


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    made = planted(memory_path / "root")
    yield made
    made.close()


def after_crash(whole: Whole, name: str) -> Whole:
    return Whole(whole.paths.root.with_name(name), whole.world.copy())


def test_a_crash_after_the_file_was_saved_leaves_the_act_done_by_who_asked(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    around_rename(monkeypatch, None, crash_copy(whole, "saved"))
    add(whole)
    monkeypatch.undo()
    again = after_crash(whole, "saved")
    try:
        assert KEY.key_id in keys(again)
        act = trust_act(again)
        assert (act.act, act.status, act.principal) == ("trust_add", ActStatus.COMMITTED, "uid:0")
        assert "trust_changed" not in again.said()
        assert keys(again) == keys(whole)
        assert again.call("trust_show").epoch == whole.call("trust_show").epoch
        again.run("after")
    finally:
        again.close()


def test_a_crash_before_the_file_was_saved_leaves_trust_as_it_was(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole.call("trust_show")
    around_rename(monkeypatch, crash_copy(whole, "unsaved"), None)
    add(whole)
    monkeypatch.undo()
    again = after_crash(whole, "unsaved")
    try:
        assert again.call("trust_show") == before
        assert trust_act(again).status is ActStatus.ABORTED
        assert "trust_changed" not in again.said()
    finally:
        again.close()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_first_trust_store_is_there_or_not_after_a_crash(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    whole = Whole(memory_path / "root")
    take = crash_copy(whole, "crashed")
    around_rename(monkeypatch, *((take, None) if moment == "before" else (None, take)))
    whole.call("trust_init", owner="Ada")
    monkeypatch.undo()
    again = after_crash(whole, "crashed")
    try:
        if moment == "before":
            with pytest.raises(TrustStoreMissing):
                again.call("trust_show")
            again.call("trust_init", owner="Ada")
        assert again.call("trust_show").keys
        assert [act.status for act in again.acts() if act.act == "trust_init"] == (
            [ActStatus.ABORTED, ActStatus.COMMITTED] if moment == "before" else [ActStatus.COMMITTED])
        assert "trust_changed" not in again.said()
        assert list(again.paths.root.glob(".trust-init-*")) == []
    finally:
        again.close()
        whole.close()


def test_who_looks_while_a_change_is_saved_and_not_yet_recorded_takes_it_for_nobody_elses(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    around_rename(monkeypatch, None, gate.pass_through)
    changing = whole.begin(lambda: add(whole))
    gate.wait_entered()
    assert KEY.key_id in keys(whole)
    running = whole.begin(whole.run)  # judged by the new store: it begins when that is recorded
    gate.open()
    changing.result()
    assert running.result().state is State.RUNNING
    assert "trust_changed" not in whole.said()
    whole.check()


def test_a_file_changed_by_hand_is_still_the_hosts_change(whole: Whole) -> None:
    text = whole.paths.trust_store.read_text()
    assert '"owner":"Ada"' in text
    durable.replace(whole.paths.trust_store, text.replace('"owner":"Ada"', '"owner":"Eve"').encode())
    whole.call("trust_show")
    assert (whole.last().act, whole.last().principal) == ("trust_changed", "host")


def test_of_two_changes_at_the_same_time_none_is_lost(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second was planned from the store before the first, and begins after it."""
    run, planned, gate = whole.host.transactions.run, [0], Gate()

    def running(make: Callable[[], Any], **more: Any) -> Any:
        def made() -> Any:
            plan = make()
            planned[0] += 1
            if planned[0] == 1:
                gate.pass_through()
            return plan

        return run(made, **more)

    monkeypatch.setattr(whole.host.transactions, "run", running)
    first = whole.begin(lambda: add(whole, 1))
    gate.wait_entered()
    add(whole, 2)
    gate.open()
    first.result()
    assert planned[0] == 3
    assert len(keys(whole)) == 3
    assert "trust_changed" not in whole.said()


# -- signed updates --------------------------------------------------------------------------------

UPDATER = PrivateKey.from_seeds(Suite.ED25519, b"u" * 32)


def updated(whole: Whole, change: Callable[[TrustStore], TrustStore]) -> bytes:
    """Make Una the updater, and an update of hers."""
    whole.call("trust_add", role=trust.UPDATERS, owner="Una", public_key=UPDATER.public.to_spki_base64())
    store = change(trust.load(whole.paths.trust_store))
    return trust_updates.sign(canonical.dumps(store.to_document()), UPDATER)


def with_key(whole: Whole) -> Callable[[TrustStore], TrustStore]:
    key = TrustedKey(KEY, (), whole.host.now_us(), None, "Bo")
    return lambda store: trust.add_key(store, trust.BUILDERS, key, store.updated)


def test_an_update_is_an_act_of_who_brought_it_and_begins_an_epoch(whole: Whole) -> None:
    update = updated(whole, with_key(whole))
    before = whole.call("trust_show")
    after = whole.call("trust_update", document=update.decode())
    assert KEY.key_id in keys(whole)
    assert (after.epoch, after.revision) == (before.epoch + 1, before.revision + 1)
    act = whole.last()
    assert (act.act, act.principal) == ("trust_update", "uid:0")
    assert act.plan[0].args["signers"] == UPDATER.public.key_id
    assert "trust_changed" not in whole.said()
    whole.run("after")
    whole.check()


def test_an_update_is_taken_once_and_a_refused_one_leaves_no_act(whole: Whole) -> None:
    update = updated(whole, with_key(whole)).decode()
    whole.call("trust_update", document=update)
    acts = len(whole.acts())
    for document in (update, update.replace('"sig":"', '"sig":"A'), "{}", ""):
        with pytest.raises(TrustStoreInvalid):
            whole.call("trust_update", document=document)
    assert len(whole.acts()) == acts


def test_an_update_that_revokes_an_image_stops_its_next_start(whole: Whole) -> None:
    running = whole.run("web")
    update = updated(
        whole, lambda store: trust.withdraw(store, running.image, "superseded", store.updated))
    whole.call("trust_update", document=update.decode())
    whole.call("stop", container="web")
    with pytest.raises(VerificationRejected) as caught:
        whole.call("start", container="web")
    assert caught.value.code == "MISSING_ATTESTATION"


def test_a_revoked_digest_is_shown_and_must_be_a_digest(whole: Whole) -> None:
    shown = whole.call("trust_revoke", key="sha256:" + "1" * 64, digest=True, reason="superseded")
    assert [(one.digest, one.reason) for one in shown.revoked] == [("sha256:" + "1" * 64, "superseded")]
    for wrong in ("sha256:11", "1" * 64, "sha256:" + "1" * 64):
        with pytest.raises(TrustStoreInvalid):
            whole.call("trust_revoke", key=wrong, digest=True)


def test_a_crash_after_an_update_was_saved_leaves_it_done(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = updated(whole, with_key(whole))
    around_rename(monkeypatch, None, crash_copy(whole, "updated"))
    whole.call("trust_update", document=update.decode())
    monkeypatch.undo()
    again = after_crash(whole, "updated")
    try:
        assert KEY.key_id in keys(again)
        act = next(act for act in again.acts() if act.act == "trust_update")
        assert (act.status, act.principal) == (ActStatus.COMMITTED, "uid:0")
        again.run("after")
    finally:
        again.close()
