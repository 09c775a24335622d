"""Planning undo: histories are made by the model's own steps; acts are chosen and planned, nothing runs."""

import msgspec
import pytest
from undo_history import START, STOP, History

from vordr.model.errors import NothingToUndo, UndoBlocked, UndoError
from vordr.model.lifecycle import Fidelity, Op, State
from vordr.model.plan import choose, choose_redo, live, undoable
from vordr.model.records import ActStatus, Inverse, StepDone
from vordr.model.steps import digest_of


@pytest.fixture
def h():
    return History()


def ops(plan):
    return [step.operation for step in plan.steps]


# -- choosing --------------------------------------------------------------------------------------


def test_the_last_is_the_callers_own_newest_that_stands(h):
    mine = h.run("a")
    h.run("b", principal="you")
    assert [a.txn for a in choose(h.acts, principal="me")] == [mine]
    h.undo(mine)
    with pytest.raises(NothingToUndo):
        choose(h.acts, principal="me")


def test_steps_count_acts_and_not_their_consequences(h):
    run = h.run()
    h.exit(run)
    h.policy(run, Op.REVIVE, {"to": "running", "policy": True})
    stop = h.act("stop", ("a", *STOP))
    assert [a.txn for a in choose(h.acts, principal="me", steps=2)] == [stop, run]


def test_too_many_steps_say_how_many_there_are(h):
    h.run()
    with pytest.raises(NothingToUndo) as refused:
        choose(h.acts, principal="me", steps=3)
    assert refused.value.details["available"] == 1
    with pytest.raises(UndoError):
        choose(h.acts, principal="me", steps=0)


def test_acts_on_one_container_are_chosen_whoever_did_them(h):
    h.run("a")
    other = h.run("b", principal="you")
    assert [a.txn for a in choose(h.acts, principal="me", subject="container/b")] == [other]


def test_everything_after_a_record_is_chosen(h):
    h.run("a")
    mark = h.acts[-1].end
    later = [h.run("b"), h.run("c", principal="you")]
    assert [a.txn for a in choose(h.acts, principal="me", to=mark)] == later[::-1]


@pytest.mark.parametrize("status", [ActStatus.ABORTED, ActStatus.OPEN])
def test_what_was_not_committed_cannot_be_taken_back(h, status):
    txn = h.run()
    h.acts[-1] = msgspec.structs.replace(h.acts[-1], status=status)
    assert not live(h.acts[-1])
    with pytest.raises(NothingToUndo, match="did not happen"):
        choose(h.acts, principal="me", txn=txn)


def test_what_has_no_inverse_says_so(h):
    txn = h.act("trust", reversible=False)
    with pytest.raises(UndoError, match="no inverse"):
        choose(h.acts, principal="me", txn=txn)


def test_an_undo_is_redone_and_not_undone(h):
    run = h.run()
    undo = h.undo(run)
    for txn, remedy in ((run, f"vordr redo {undo}"), (undo, f"vordr redo {undo}")):
        with pytest.raises(NothingToUndo) as refused:
            choose(h.acts, principal="me", txn=txn)
        assert refused.value.remedy == remedy
    assert not undoable(h.acts[-1])


def test_an_ambiguous_or_unknown_beginning_is_refused(h):
    h.run("a")
    h.run("b")
    for txn in ("0000", "nothing", ""):
        with pytest.raises(NothingToUndo):
            choose(h.acts, principal="me", txn=txn)


# -- consequences ----------------------------------------------------------------------------------


def test_consequences_go_with_their_act(h):
    run = h.run()
    end = h.exit(run)
    gone = h.policy(run, Op.REMOVE)
    plan = h.plan(run)
    assert [a.txn for a in plan.acts] == [gone, end, run]
    assert [a.txn for a in plan.origins] == [run]


def test_a_finished_run_with_rm_is_undone_without_touching_the_world(h):
    run = h.run()
    h.exit(run)
    h.policy(run, Op.REMOVE)
    plan = h.plan(run)
    assert ops(plan) == ["uncreate"]
    assert plan.losses == ()
    h.undo(run)
    assert h.containers["a"] is None


def test_a_crash_loop_is_undone_without_starting_anything(h):
    run = h.run()
    for _ in range(3):
        h.exit(run)
        h.policy(run, Op.REVIVE, {"to": "running", "policy": True})
    h.exit(run)
    assert ops(h.plan(run)) == ["unstart", "uncreate"]
    h.undo(run)
    assert h.containers["a"] is None


def test_an_end_that_belongs_to_another_act_is_in_the_way_and_cascade_takes_it_along(h):
    run = h.run()
    pause = h.act("pause", ("a", Op.PAUSE, {}))
    end = h.exit(run)
    with pytest.raises(UndoBlocked) as refused:
        h.plan(pause)
    assert [b["txn"] for b in refused.value.details["blocked_by"]] == [end]
    assert ops(h.plan(pause, cascade=True)) == ["revive", "resume"]
    h.undo(pause, cascade=True)
    assert h.containers["a"].state is State.RUNNING


# -- what is in the way ----------------------------------------------------------------------------


def test_a_later_act_on_the_same_container_is_in_the_way_and_named(h):
    run = h.run()
    stop = h.act("stop", ("a", *STOP))
    with pytest.raises(UndoBlocked, match="stop") as refused:
        h.plan(run)
    assert refused.value.remedy.endswith(f"vordr undo {stop}")
    plan = h.plan(run, cascade=True)
    assert [a.txn for a in plan.acts] == [stop, run]
    assert [a.txn for a in plan.origins] == [stop, run]
    h.undo(run, cascade=True)
    assert h.containers["a"] is None


def test_acts_on_other_containers_are_not_in_the_way(h):
    run = h.run("a")
    h.run("b")
    assert [a.txn for a in h.plan(run).acts] == [run]


def test_what_was_taken_back_already_is_not_in_the_way(h):
    run = h.run()
    h.undo(h.act("stop", ("a", *STOP)))
    assert [a.txn for a in h.plan(run).acts] == [run]


def test_who_took_the_name_is_in_the_way_of_getting_it_back(h):
    h.run("a", name="web")
    removal = h.act("rm", ("a", *STOP), ("a", Op.REMOVE, {}))
    other = h.run("b", name="web")
    with pytest.raises(UndoBlocked) as refused:
        h.plan(removal)
    assert [b["txn"] for b in refused.value.details["blocked_by"]] == [other]
    h.undo(removal, cascade=True)
    assert h.names() == {"web": "a"}


def test_a_name_that_the_selection_gives_up_itself_is_in_nobodys_way(h):
    first = h.run("a", name="web")
    removal = h.act("rm", ("a", *STOP), ("a", Op.REMOVE, {}))
    h.run("b", name="web")
    plan = h.plan(first, removal)
    assert ops(plan) == ["uncreate"]


def test_a_container_made_from_an_image_is_in_the_way_of_its_import(h):
    image = StepDone(subject="image/sha256:img", operation="import", args={}, before=None, after="x",
                     inverse=Inverse("unimport", {}, Fidelity.EXACT), seq=next(h.seqs))
    imported = h.act("import")
    h.acts[-1] = msgspec.structs.replace(h.acts[-1], steps=(image,))
    run = h.run()
    with pytest.raises(UndoBlocked) as refused:
        h.plan(imported)
    assert [b["txn"] for b in refused.value.details["blocked_by"]] == [run]
    assert ops(h.plan(imported, cascade=True))[-1] == "unimport"


# -- order, netting, losses ------------------------------------------------------------------------


def test_inverses_come_newest_first_whatever_the_order_of_choosing(h):
    run = h.run()
    stop = h.act("stop", ("a", *STOP))
    start = h.act("start", ("a", *START))
    plan = h.plan(run, start, stop)
    assert [a.txn for a in plan.acts] == [start, stop, run]
    assert ops(plan) == ["unstart", "unstart", "uncreate"]
    h.undo(run, start, stop)
    assert h.containers["a"] is None


def test_a_stop_is_undone_by_reviving_and_the_plan_says_what_is_lost(h):
    h.run()
    plan = h.plan(h.act("stop", ("a", *STOP)))
    assert ops(plan) == ["revive"]
    assert plan.losses == ("memory of the process",)


def test_reviving_only_to_end_again_cancels_out(h):
    run = h.run()
    end = h.exit(run)
    again = h.policy(run, Op.REVIVE, {"to": "running", "policy": True})
    second = h.exit(run)
    plan = h.plan(again, second, end)
    assert ops(plan) == ["revive"]


def test_a_plan_on_several_containers_keeps_their_steps_apart(h):
    acts = [h.run("a"), h.run("b"), h.act("stop", ("a", *STOP)), h.act("pause", ("b", Op.PAUSE, {}))]
    h.undo(*acts)
    assert h.containers == {"a": None, "b": None}


# -- redo ------------------------------------------------------------------------------------------


def test_redo_takes_back_the_newest_undo_that_stands(h):
    run = h.run()
    stop = h.act("stop", ("a", *STOP))
    h.undo(stop)
    second = h.undo(run)
    assert choose_redo(h.acts, principal="me").txn == second
    with pytest.raises(NothingToUndo):
        choose_redo(h.acts, principal="you")


def test_a_redo_by_id_is_of_the_one_standing_undo_whose_id_begins_so(h):
    run, other = h.run("a"), h.run("b")
    first = h.undo(run)
    assert choose_redo(h.acts, principal="me").txn == first
    second = h.undo(other)
    assert choose_redo(h.acts, principal="you", txn=first[:8]).txn == first
    assert choose_redo(h.acts, principal="me", txn=second).txn == second
    for wanted in ("", "nothing", run, other):
        with pytest.raises(NothingToUndo, match=f"no standing undo has an id beginning with '{wanted}'"):
            choose_redo(h.acts, principal="me", txn=wanted)


def test_an_id_that_begins_no_act_or_several_chooses_none(h):
    h.run("a"), h.run("b")
    with pytest.raises(NothingToUndo, match="no transaction has an id beginning with 'x'"):
        choose(h.acts, principal="me", txn="x")
    with pytest.raises(NothingToUndo, match="several transactions have an id beginning with '0000'"):
        choose(h.acts, principal="me", txn="0000")


def test_a_redo_is_not_of_a_redo_nor_of_an_undo_that_was_redone(h):
    run = h.run()
    undo = h.undo(run)
    redo = h.undo(undo, act="redo")
    for wanted in (undo, redo, None):
        with pytest.raises(NothingToUndo):
            choose_redo(h.acts, principal="me", txn=wanted)
    with pytest.raises(NothingToUndo, match="nothing to redo"):
        choose_redo(h.acts, principal="me")


def test_undo_of_an_undo_is_the_act_again(h):
    run = h.run()
    before = digest_of(h.containers["a"])
    undo = h.undo(run)
    h.undo(undo, act="redo")
    assert digest_of(h.containers["a"]) == before
    assert [a.txn for a in choose(h.acts, principal="me")] == [run]
    h.undo(run)
    assert h.containers["a"] is None


def test_undos_that_stand_one_on_the_other_are_redone_in_that_order(h):
    run = h.run()
    stop = h.act("stop", ("a", *STOP))
    first = h.undo(stop)
    second = h.undo(run)
    with pytest.raises(UndoBlocked) as refused:
        h.plan(first)
    assert refused.value.remedy.endswith(f"vordr redo {second}")


def test_an_end_after_an_undo_goes_with_its_redo(h):
    run = h.run()
    stop = h.act("stop", ("a", *STOP))
    after = digest_of(h.containers["a"])
    undo = h.undo(stop)
    h.exit(run)
    plan = h.plan(undo)
    assert ops(plan) == []
    h.undo(undo, act="redo")
    assert digest_of(h.containers["a"]) == after


def test_a_later_act_of_somebody_is_in_the_way_of_a_redo(h):
    h.run()
    stop = h.act("stop", ("a", *STOP))
    undo = h.undo(stop)
    pause = h.act("pause", ("a", Op.PAUSE, {}))
    with pytest.raises(UndoBlocked) as refused:
        h.plan(undo)
    assert [b["txn"] for b in refused.value.details["blocked_by"]] == [pause]


def test_a_redo_that_gives_a_name_from_one_container_to_the_other_is_in_nobodys_way(h):
    h.run("a", name="web")
    removal = h.act("rm", ("a", *STOP), ("a", Op.REMOVE, {}))
    undo = h.undo(removal, h.run("b", name="web"))
    assert h.names() == {"web": "a"}
    h.undo(undo, act="redo")
    assert h.names() == {"web": "b"}


def test_who_took_the_name_is_in_the_way_of_a_redo(h):
    undo = h.undo(h.run("a", name="web"))
    other = h.run("b", name="web")
    with pytest.raises(UndoBlocked) as refused:
        h.plan(undo)
    assert [b["txn"] for b in refused.value.details["blocked_by"]] == [other]
