"""Crashes of the engine at every boundary, and what the next one makes of them.

While one act is performed, the root folder and the world are copied after every group of records and after
every effect. Each copy is what a crash at that moment leaves; a new engine is opened on it.
"""

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakeworld import FakeWorld
from whole_engine import Whole, eventually, planted

from vordr.gatekeeper import trust
from vordr.journal.copy import copy_database
from vordr.journal.store import JournalStore
from vordr.model.errors import RuntimeFailed
from vordr.model.lifecycle import State
from vordr.model.records import ActStatus, Kind


@dataclass
class Crash:
    """What a crash at one moment leaves."""

    root: Path
    world: FakeWorld
    size: int

    def open(self) -> Whole:
        return Whole(self.root, self.world)


@dataclass
class Recorder:
    """Takes a copy of everything at each boundary while ``recording``."""

    folder: Path
    whole: Whole
    recording: bool = False
    crashes: list[Crash] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> None:
        if not self.recording:
            return
        with self.lock:
            target = self.folder / f"crash-{len(self.crashes)}"
            source = self.whole.paths
            shutil.copytree(
                source.root, target, ignore=lambda folder, names: {"journal", "lock"} & set(names))
            (target / "journal").mkdir()
            shutil.copyfile(source.journal_head, target / "journal" / "head")  # never newer than the database
            copy_database(source.journal, target / "journal" / "db")
            self.crashes.append(Crash(target, self.whole.world.copy(), self.whole.journal.size))


@pytest.fixture
def recorder(memory_path, monkeypatch):
    whole = planted(memory_path / "root")
    found = Recorder(memory_path, whole)
    append = JournalStore.append_batch

    def append_and_copy(store, groups):
        outcomes = append(store, groups)
        if store is whole.journal._store:
            found.take()
        return outcomes

    monkeypatch.setattr(JournalStore, "append_batch", append_and_copy)
    whole.world.on_call = found.take
    yield found
    whole.world.on_call = None
    whole.close()


def nothing(whole):
    """The first act of all."""


def running(whole):
    whole.run()


def stopped(whole):
    whole.run()
    whole.do("stop")


def paused(whole):
    whole.run()
    whole.do("pause")


def twice_started(whole):
    whole.run()
    whole.do("restart")


def removed(whole):
    whole.run()
    whole.do("remove", force=True)


def undone(whole):
    whole.run()
    whole.call("undo")


def stop_undone(whole):
    whole.run()
    whole.do("stop")
    whole.call("undo")


def finished_with_rm(whole):
    web = whole.run(auto_remove=True)
    whole.world.end(web.id, 0)
    whole.wait_said("remove:policy")
    whole.check()


ACTS = {
    "run": (nothing, lambda w: w.run()),
    "create": (nothing, lambda w: w.call("create", image="tiny", name="web", command=["/bin/serve"])),
    "start": (stopped, lambda w: w.do("start")),
    "stop": (running, lambda w: w.do("stop")),
    "stop-paused": (paused, lambda w: w.do("stop")),
    "kill": (running, lambda w: w.do("kill")),
    "pause": (running, lambda w: w.do("pause")),
    "resume": (paused, lambda w: w.do("resume")),
    "restart": (running, lambda w: w.do("restart")),
    "rm": (stopped, lambda w: w.do("remove")),
    "rm-f": (running, lambda w: w.do("remove", force=True)),
    "undo-run": (running, lambda w: w.call("undo")),
    "undo-stop": (stopped, lambda w: w.call("undo")),
    "undo-restart": (twice_started, lambda w: w.call("undo")),
    "undo-rm-f": (removed, lambda w: w.call("undo")),
    "undo-all": (twice_started, lambda w: w.call("undo", steps=2)),
    "undo-finished": (finished_with_rm, lambda w: w.call("undo")),
    "redo-run": (undone, lambda w: w.call("redo")),
    "redo-stop": (stop_undone, lambda w: w.call("redo")),
    "restore": (removed, lambda w: w.call("trash_restore", item="web")),
}


def record(recorder, name):
    """Prepare, then record the act; its crashes, and the declared states before and after it."""
    prepare, act = ACTS[name]
    prepare(recorder.whole)
    recorder.whole.check()
    before = recorder.whole.declared()
    recorder.recording = True
    act(recorder.whole)
    recorder.whole.check()
    recorder.recording = False
    return before, recorder.whole.declared()


@pytest.mark.parametrize("name", ACTS)
def test_a_crash_at_any_boundary_is_as_if_the_act_had_not_been_or_had_been(recorder, name):
    before, after = record(recorder, name)
    assert len(recorder.crashes) >= 3  # begun, the effect, over
    for crash in recorder.crashes:
        whole = crash.open()
        try:
            whole.check()
            assert whole.declared() in (before, after)
            assert [r.left for r in whole.engine.recovered if r.left] == []
            size = whole.journal.size
        finally:
            whole.close()
        again = crash.open()
        try:
            again.check()
            assert again.engine.recovered == []
            assert again.journal.size == size
            assert again.call("audit").ok
        finally:
            again.close()


def test_a_run_whose_process_had_begun_is_committed_and_any_other_is_taken_back(recorder):
    before, after = record(recorder, "run")
    for crash in recorder.crashes:
        begun = any(place.process is not None for place in crash.world.places.values())
        whole = crash.open()
        try:
            assert whole.declared() == (after if begun else before)
        finally:
            whole.close()


FAILING = {
    "run": (nothing, "launch", lambda w: w.run(), False),
    "restart": (running, "open_generation", lambda w: w.do("restart"), False),
    "rm-f": (running, "discard", lambda w: w.do("remove", force=True), False),
    "undo-rm-f": (removed, "launch", lambda w: w.call("undo"), True),
    "undo-restart": (twice_started, "launch", lambda w: w.call("undo"), True),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_crash_while_an_act_is_taken_back_ends_it(recorder, name):
    prepare, effect, act, driven = FAILING[name]
    whole = recorder.whole
    running_before = None
    if driven:
        whole.run()
        running_before = whole.declared()
        whole.do("remove", force=True) if name == "undo-rm-f" else whole.do("restart")
    else:
        prepare(whole)
    whole.check()
    before = whole.declared()
    whole.world.fail(effect)
    recorder.recording = True
    with pytest.raises(RuntimeFailed):
        act(whole)
    whole.check()
    assert whole.declared() == before
    failed = whole.last().txn
    recorder.recording = False
    for crash in recorder.crashes:
        found = crash.open()
        try:
            found.check()
            assert found.declared() in (before, running_before)
            if found.acts()[-1].txn == failed:  # begun by then
                committed = found.acts()[-1].status is ActStatus.COMMITTED
                assert committed == (found.declared() == running_before)
            assert [r.left for r in found.engine.recovered if r.left] == []
        finally:
            found.close()
        again = crash.open()
        assert again.engine.recovered == []
        again.close()


@pytest.mark.parametrize("name", ["restart", "rm-f", "undo-stop", "undo-restart", "undo-rm-f", "redo-run"])
def test_where_nobody_is_trusted_any_more_recovery_still_leaves_journal_and_world_agreed(recorder, name):
    record(recorder, name)
    for crash in recorder.crashes:
        path = crash.root / "trust" / "trust-store.json"
        store = trust.load(path)
        key = store.keys[0]
        trust.save(trust.revoke_key(store, key.id, "key_compromise", key.valid_from + 1), path)
        whole = crash.open()
        try:
            whole.check()
        finally:
            whole.close()
        again = crash.open()
        assert again.engine.recovered == []
        again.close()


@pytest.mark.parametrize("name", ["run", "stop", "restart", "undo-restart", "pause"])
def test_a_reboot_at_any_boundary_leaves_journal_and_world_agreed(recorder, name):
    record(recorder, name)
    for crash in recorder.crashes:
        crash.world.reboot()
        whole = crash.open()
        try:
            whole.check()
        finally:
            whole.close()


def test_a_world_that_cannot_be_looked_at_leaves_the_act_open_until_the_next_opening(recorder):
    before, after = record(recorder, "stop")
    crash = next(c for c in recorder.crashes if c.world.calls == [] and c.size and _intent_is_last(c))
    crash.world.fail("observe", times=1)
    whole = crash.open()
    try:
        assert [r.how for r in whole.engine.recovered] == ["left open"]
        assert next(iter(whole.journal.scan("open/")), None) is not None
    finally:
        whole.close()
    again = crash.open()
    try:
        again.check()
        assert again.declared() in (before, after)
    finally:
        again.close()


def _intent_is_last(crash: Crash) -> bool:
    """Whether the copy ends in the intent of the stop."""
    database = crash.root.parent / f"{crash.root.name}-look"
    shutil.copytree(crash.root, database)
    whole = Whole(database, crash.world.copy())
    try:
        return whole.journal.record(crash.size)[0].kind is Kind.INTENT
    finally:
        whole.close()


def test_several_open_acts_are_all_ended(recorder):
    whole = recorder.whole
    for name in ("a", "b", "c"):
        whole.run(name)
    before = whole.declared()
    gates = [whole.world.hold("pause"), whole.world.hold("pause"), whole.world.hold("pause")]
    asked = [whole.begin(lambda n=n: whole.do("pause", n)) for n in ("a", "b", "c")]
    for gate in gates:
        gate.wait_entered()
    recorder.recording = True
    recorder.take()
    recorder.recording = False
    for gate in gates:
        gate.open()
    for one in asked:
        one.result()
    found = recorder.crashes[0].open()
    try:
        assert len(found.engine.recovered) == 3
        found.check()
        assert found.declared() == before
    finally:
        found.close()


@pytest.mark.parametrize("policy", ["no", "always", "--rm"])
def test_a_crash_after_an_end_loses_no_sequel(recorder, policy):
    whole = recorder.whole
    wish = {"auto_remove": True} if policy == "--rm" else {"restart": {"mode": policy}}
    web = whole.run(**wish)
    recorder.recording = True
    whole.world.end(web.id, 1)
    wanted = {"no": State.STOPPED, "always": State.RUNNING, "--rm": State.REMOVED}[policy]
    _wait(whole, web.id, wanted)
    whole.check()
    recorder.recording = False
    assert len(recorder.crashes) >= 2
    for crash in recorder.crashes:
        found = crash.open()
        try:
            _wait(found, web.id, wanted)
            found.check()
        finally:
            found.close()


def _wait(whole: Whole, container: str, state: State) -> None:
    eventually(lambda: whole.get(container).state is state and (
        state is not State.RUNNING or whole.get(container).process == 2), f"{state}")


def test_a_container_from_the_trash_stays_through_an_opening(memory_path):
    """It was --rm once; whoever brought it back wants it."""
    whole = planted(memory_path / "root")
    finished_with_rm(whole)
    whole.call("trash_restore", item="web")
    whole.close()
    again = Whole(whole.paths.root, whole.world)
    again.check()
    assert again.get().state is State.STOPPED
    assert again.said()[-1] == "trash_restore"
    again.close()


