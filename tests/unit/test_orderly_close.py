"""Acts whose performer goes for good: nobody guesses what became of the step, the next one looks.

The engine is closed under an act, or the actor of its container is parked.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from whole_engine import Asked, Whole, eventually, planted, whole_engine

from vordr.actors import revival
from vordr.actors.handle import Handle
from vordr.model.errors import JournalStopped, VordrError
from vordr.model.lifecycle import State

UNDER_WAY = [
    ("remove", "discard", {"force": True}), ("start", "launch", {}), ("start", "open_generation", {}),
    ("undo", "signal", {})]


@pytest.mark.parametrize(("operation", "effect", "args"), UNDER_WAY)
@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_an_act_under_way_when_the_engine_closes_is_settled_by_the_next_one(
    memory_path: Path, operation: str, effect: str, args: dict[str, bool], after: bool
) -> None:
    whole = planted(memory_path / "root")
    web = whole.run()
    if operation != "undo":
        whole.do("stop")
    gate = whole.world.hold(effect, after=after)
    asked = whole.begin(
        lambda: whole.call("undo") if operation == "undo" else whole.do(operation, **args))
    gate.wait_entered()
    closing = whole.begin(whole.close)
    with pytest.raises(VordrError):
        asked.result()
    gate.open()
    closing.result()

    again = Whole(whole.paths.root, whole.world)
    try:
        again.check()
        assert [recovered.left for recovered in again.engine.recovered] == [()]
        assert again.get(web.id) is None or again.run("next")
        undone = again.get(web.id)
        assert undone is None or undone.state in (State.STOPPED, State.RUNNING, State.REMOVED)
    finally:
        again.close()


class Bug(Exception):
    """A defect: it ends the actor in which it is raised."""


@pytest.mark.parametrize(("operation", "effect"), [("remove", "discard"), ("pause", "pause")])
@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_an_act_whose_actor_was_parked_holds_its_container_until_that_is_woken(
    memory_path: Path, operation: str, effect: str, after: bool
) -> None:
    with whole_engine(memory_path) as whole:
        web = whole.run()
        whole.world.fail(effect, Bug(), after=after)
        whole.world.fail("observe", Bug(), times=1000)
        args = {"force": True} if operation == "remove" else {}
        with pytest.raises(VordrError):
            whole.do(operation, **args)
        (open_txn,) = dict(whole.journal.scan("open/"))
        assert whole.last().txn == open_txn.removeprefix("open/")
        eventually(lambda: whole.do("inspect").container.parked, "a parked actor")
        whole.world._traps.clear()
        whole.do("wake")
        whole.check()
        assert whole.world.places[web.id].trashed is False or whole.get(web.id).state is State.REMOVED


def test_nobody_waits_for_actors_to_come_again_once_the_journal_has_ended(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revival, "REVIVAL", 3600.0)
    Asked(lambda: revival.await_revival(Handle("gone"), SimpleNamespace(ended=True))).result()


@pytest.mark.parametrize("how", ["stopped", "closed"])
def test_a_journal_that_stopped_or_was_closed_has_ended(memory_path: Path, how: str) -> None:
    with whole_engine(memory_path) as whole:
        assert not whole.journal.ended
        if how == "stopped":
            whole.journal._store._stopped = "the disk failed"
        else:
            whole.close()
        assert whole.journal.ended


def test_a_run_that_a_failing_journal_cut_short_keeps_its_secrets_for_the_next_engine(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record whose sync failed may be on the disk all the same, and names them."""
    whole = planted(memory_path / "root")
    store = whole.journal._store
    append, close = store.append_batch, store.close

    written: list[Any] = []

    def synced_in_vain(groups: Any) -> Any:
        written.append(groups)
        store._stopped = "the disk failed"
        raise JournalStopped("the disk failed")

    monkeypatch.setattr(store, "append_batch", synced_in_vain)
    monkeypatch.setattr(store, "close", lambda: None)  # it can still be read, for a moment
    with pytest.raises(JournalStopped):
        whole.run(environment={"TOKEN": "kept"})
    whole.close()
    store._stopped = None
    append(written[0])  # what the next engine finds
    close()
    again = Whole(whole.paths.root, whole.world)
    try:
        again.check()
        trashed = [key.partition("/")[2] for key, _ in again.journal.scan("trash/")]
        assert len(trashed) == 1
        assert again.host.secrets.get(trashed[0]) == {"TOKEN": "kept"}
    finally:
        again.close()
