"""Undo on a whole engine: what the algebra (tests/property/test_undo_algebra.py) found to be wrong once."""

import threading
from pathlib import Path
from typing import Any

import pytest
from fakeworld import PATIENCE
from whole_engine import IMAGE, Doom, Whole, bring_in, make_image, planted, wait_for_restart

from vordr.actors.transaction import Plan
from vordr.engine.protocol import Caller
from vordr.model.errors import SubjectBusy, UndoBlocked, VordrError
from vordr.model.image_steps import image_digest
from vordr.model.lifecycle import State
from vordr.model.operations import Scope
from vordr.model.records import ActStatus, Cause, Step


def test_an_image_that_was_removed_and_came_again_with_another_bundle_comes_back_with_its_first(
    whole: Whole
) -> None:
    (before,) = whole.call("images").images
    whole.call("remove_image", image=IMAGE)
    bring_in(whole, *make_image(IMAGE, b"layer"))
    (again,) = whole.call("images").images
    assert again.bundle != before.bundle
    whole.call("undo", steps=2)
    (back,) = whole.call("images").images
    assert image_digest(back) == image_digest(before)
    whole.call("redo")
    (back,) = whole.call("images").images
    assert image_digest(back) == image_digest(again)


def test_a_removal_and_the_restore_after_it_are_undone_together(whole: Whole) -> None:
    whole.run()
    whole.do("stop")
    before = whole.declared()
    whole.do("remove")
    whole.call("trash_restore", item="web", name="other")
    whole.call("undo", steps=2)
    assert whole.declared() == before
    whole.check()


def test_what_an_undo_takes_out_of_the_record_needs_no_name_back(whole: Whole) -> None:
    first = whole.run()
    whole.call("undo")
    whole.call("trash_restore", item="web")
    whole.do("remove")
    second = whole.call("create", Caller("uid:1", Scope.OPERATE), image="tiny", name="web", command=["x"])
    whole.call("undo", steps=2)
    assert whole.get(first.id) is None
    assert whole.get("web").id == second.container.id
    whole.check()


@pytest.mark.parametrize("side", [
    ("exec", {"command": ["true"], "detach": True}), ("kill", {"signal": "USR1"})])
def test_a_crash_under_an_exec_or_a_signal_leaves_a_history_that_the_model_allows(
    memory_path: Path, side: tuple[str, dict[str, object]]
) -> None:
    whole = planted(memory_path / "root")
    whole.run()
    doom = Doom(whole, 1)  # its intent is durable, and then there is nothing any more
    with pytest.raises(VordrError):
        whole.do(side[0], **side[1])
    whole.close()
    again = Whole(whole.paths.root, doom.left)
    try:
        again.check()
        assert again.acts()[-1].status is ActStatus.ABORTED
    finally:
        again.close()


def test_what_leaves_the_record_does_so_from_where_it_first_lies_in_the_trash(whole: Whole) -> None:
    """On the way back it had another name, which somebody else has by now."""
    first = whole.run()
    whole.call("undo")
    whole.call("trash_restore", item="web", name="other")
    whole.do("remove", "other")
    whole.call("trash_restore", item=first.id, name="third")
    whole.call("create", Caller("uid:1", Scope.OPERATE), image="tiny", name="other", command=["x"])
    whole.call("undo", steps=3)
    assert whole.get(first.id) is None
    assert list(whole.declared()["names"]) == ["names/other"]
    whole.check()


def test_a_name_is_given_up_by_one_before_the_other_takes_it_back(whole: Whole) -> None:
    """The one that holds it was made before the other was removed, so newest first is the wrong order."""
    other = Caller("uid:1", Scope.OPERATE)
    first = whole.run()
    whole.do("remove", force=True)
    removal = whole.last().txn
    second = whole.call("create", other, image="tiny", name="web", command=["x"]).container
    whole.call("remove", other, container="web")
    whole.call("undo", txn=removal)
    assert whole.get("web").id == first.id
    whole.call("undo", other, cascade=True)
    assert whole.get("web").id == second.id and whole.get(first.id) is None
    whole.check()


def test_of_two_removals_that_freed_one_name_no_undo_gives_it_to_both(whole: Whole) -> None:
    """Two people: Bo made the second container of that name between Ann's two removals."""
    bo = Caller("uid:1", Scope.OPERATE)
    first = whole.run()
    whole.do("remove", force=True)
    second = whole.call("create", bo, image="tiny", name="web", command=["x"]).container
    whole.do("remove")
    with pytest.raises(UndoBlocked) as refused:
        whole.call("undo", steps=2)
    assert [one["summary"] for one in refused.value.details["blocked_by"]] == ["create web from tiny:latest"]
    whole.check()
    whole.call("undo", steps=2, cascade=True)
    assert whole.get("web").id == first.id and whole.get(second.id) is None
    whole.check()


def killed_after_a_restart(whole: Whole) -> str:
    """web ended, was restarted by its policy and is killed; the restart's transaction."""
    web = whole.run(restart={"mode": "always"})
    whole.world.end(web.id, 3)
    whole.wait_state(State.STOPPED)
    wait_for_restart(whole)
    restart = whole.last()
    assert (restart.act, restart.cause) == ("restart", Cause.POLICY)
    whole.do("kill")
    return restart.txn


def test_an_undo_in_which_everything_cancels_out_can_be_redone(whole: Whole) -> None:
    """The kill would be taken back by a process that goes again with the restart: nothing is done."""
    restart = killed_after_a_restart(whole)
    before = whole.declared()
    answer = whole.call("undo", txn=restart, cascade=True)
    assert (len(answer.undone), answer.steps) == (2, ())
    assert whole.acts()[-2].undone_by == whole.last().txn
    whole.call("redo")
    assert [act.undone_by for act in whole.acts() if act.act in ("restart", "kill")] == [None, None]
    assert whole.declared() == before
    whole.call("undo")  # of the kill, which stands again
    assert whole.get().state is State.RUNNING
    whole.check()


def test_what_came_after_an_undo_in_which_everything_cancelled_out_is_in_the_way_of_its_redo(
    whole: Whole
) -> None:
    whole.call("undo", txn=killed_after_a_restart(whole), cascade=True)
    taken_back = whole.last().txn
    whole.do("remove")
    removal = whole.last()
    with pytest.raises(UndoBlocked) as refused:
        whole.call("redo")
    assert [entry["txn"] for entry in refused.value.details["blocked_by"]] == [removal.txn]
    assert str(refused.value).startswith("cannot redo: remove web")
    whole.call("undo")
    with pytest.raises(UndoBlocked, match="^cannot redo: ") as refused:
        whole.call("redo", txn=taken_back)
    assert "do it anew instead" in (refused.value.remedy or "")
    whole.check()


def test_what_an_act_is_about_without_a_step_is_held_and_let_go(
    monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    """An end of web's meanwhile is recorded when the act is over, and its policy follows."""
    web, db = whole.run(restart={"mode": "always"}), whole.run("db")
    stop = Step(subject=f"container/{db.id}", operation="stop", args={"signal": 15, "timeout": 1})
    plan = Plan("undo", "undo of something", (stop,), "uid:0", about=(f"container/{web.id}",))
    gate = whole.world.hold("signal")
    undoing = whole.begin(lambda: whole.host.transactions.run(lambda: plan))
    gate.wait_entered()
    append, refused = whole.journal.append, threading.Event()

    def told(*args: Any, **more: Any) -> Any:
        try:
            return append(*args, **more)
        except SubjectBusy:
            refused.set()
            raise

    monkeypatch.setattr(whole.journal, "append", told)
    whole.world.end(web.id, 3)
    assert refused.wait(PATIENCE), "nobody holds web"
    gate.open()
    undoing.result()
    whole.wait_state(State.STOPPED)
    wait_for_restart(whole)
    whole.check()
