"""The parts of an undo plan, each by itself: consequences, names, what cancels out, words of refusals."""

from typing import Any

import msgspec
import pytest

from vordr.model.errors import NameInUse, NothingToUndo, UndoBlocked, UndoError
from vordr.model.lifecycle import Fidelity
from vordr.model.plan import (
    choose,
    consequences,
    image_of,
    name_given_back,
    name_taken_by,
    net,
    plan_undo,
    subjects,
)
from vordr.model.records import Act, ActStatus, Cause, Inverse, Step, StepDone


def done(subject: str, operation: str, inverse: str | None = None, args: Any = None, seq: int = 1,
         losses: tuple[str, ...] = (), of: Any = None) -> StepDone:
    """A step done on ``container/SUBJECT``; ``args`` are its inverse's, ``of`` its own."""
    back = None if inverse is None else Inverse(inverse, args or {}, Fidelity.EXACT, losses)
    return StepDone(
        subject=f"container/{subject}", operation=operation, args=of or {}, before=f"{subject}{seq}",
        after=None, inverse=back, seq=seq)


def act(txn: str, *steps: StepDone, seq: int = 1, **more: Any) -> Act:
    fields: dict[str, Any] = {
        "act": "x", "summary": f"act {txn}", "cause": Cause.ACT, "principal": "me", "plan": (), "time": 1,
        "status": ActStatus.COMMITTED, "end": seq, **more}
    return Act(txn=txn, steps=steps, seq=seq, **fields)


def step(subject: str, operation: str, **args: Any) -> Step:
    return Step(subject=f"container/{subject}", operation=operation, args=args)


# -- small questions -------------------------------------------------------------------------------


def test_the_subjects_of_an_act_are_those_of_its_steps() -> None:
    assert subjects(act("t", done("a", "stop"), done("b", "stop"), done("a", "remove"))) == {
        "container/a", "container/b"}


def test_an_undo_is_about_what_it_holds_even_where_it_did_nothing() -> None:
    held = ("container/b", "names/web", "ranges/1", "image/sha256:i")
    undo = act("u", done("a", "revive"), act="undo", undoes="t", holds=held)
    assert subjects(undo) == {"container/a", "container/b", "image/sha256:i"}
    assert subjects(act("t", done("a", "stop"), holds=held)) == {"container/a"}


@pytest.mark.parametrize(("operation", "args", "image"), [
    ("create", {"container": {"image": "sha256:i"}}, "sha256:i"),
    ("recreate", {"container": {"image": "sha256:i"}}, "sha256:i"),
    ("start", {"container": {"image": "sha256:i"}}, None), ("create", {}, None),
    ("create", {"container": 1}, None)])
def test_only_what_makes_a_container_uses_an_image(operation: str, args: Any, image: str | None) -> None:
    assert image_of(Step(subject="container/a", operation=operation, args=args)) == image


@pytest.mark.parametrize(("operation", "args", "name"), [
    ("restore", {"name": "web", "to": "stopped"}, "web"), ("restore", {"to": "stopped"}, None),
    ("restore", {"name": "", "to": "stopped"}, None),
    ("recreate", {"to": "created", "container": {"name": "web"}}, "web"),
    ("recreate", {"to": "removed", "container": {"name": "web"}}, None),
    ("create", {"container": {"name": "web"}, "to": "created"}, None), ("remove", {"name": "web"}, None)])
def test_a_name_is_taken_by_what_brings_a_container_back_to_stand(
    operation: str, args: Any, name: str | None
) -> None:
    assert name_taken_by(operation, args) == name
    assert name_given_back(done("a", "x", operation, args)) == name
    assert name_given_back(done("a", operation, None, of=args)) is None


def test_consequences_are_of_the_chosen_and_of_each_other_and_nobody_elses() -> None:
    run, other = act("run"), act("other")
    end = act("end", origin="run", cause=Cause.EXIT)
    again = act("again", origin="end", cause=Cause.POLICY)
    acts = [
        run, other, end, again, act("theirs", origin="other", cause=Cause.EXIT),
        act("asked", origin="run"), act("undone", origin="run", cause=Cause.EXIT, undone_by="u"),
        act("open", origin="run", cause=Cause.EXIT, status=ActStatus.OPEN),
        act("none", cause=Cause.EXIT)]
    assert consequences(acts, [run]) == [end, again]
    assert consequences(acts, [run, end]) == [again]
    assert consequences(acts, [act("asked", origin="run")]) == []


# -- what cancels out ------------------------------------------------------------------------------

NET: list[tuple[str, list[StepDone], list[str]]] = [
    ("a revival that an unstart would end", [done("a", "stop", "revive"), done("a", "start", "unstart")],
     ["a unstart"]),
    ("pauses before an unstart", [done("a", "x", "pause"), done("a", "x", "resume"),
                                  done("a", "x", "unstart")], ["a unstart"]),
    ("a pause and a revival before a stop", [done("a", "x", "revive"), done("a", "x", "pause"),
                                             done("a", "x", "stop")], []),
    ("a stop of what was not revived", [done("a", "x", "pause"), done("a", "x", "stop")], ["a stop"]),
    ("another's revival", [done("b", "x", "revive"), done("a", "x", "stop")], ["b revive", "a stop"]),
    ("another's steps between", [done("a", "x", "revive"), done("b", "x", "pause"), done("a", "x", "stop")],
     ["b pause"]),
    ("a restoring only to be uncreated", [done("a", "x", "restore"), done("a", "x", "revive"),
                                          done("a", "x", "uncreate")], ["a uncreate"]),
    ("a removal and what follows it", [
        done("a", "x", "stop"), done("a", "x", "remove"), done("b", "x", "restore"),
        done("a", "x", "restore"), done("a", "x", "uncreate")],
     ["a stop", "a remove", "b restore", "a uncreate"]),
    ("nothing in the trash", [done("a", "x", "unstart"), done("a", "x", "uncreate")],
     ["a unstart", "a uncreate"]),
    ("a reopening", [done("a", "x", "reopen"), done("a", "x", "unstart")], ["a reopen", "a unstart"]),
]


@pytest.mark.parametrize(("steps", "left"), [row[1:] for row in NET], ids=[row[0] for row in NET])
def test_what_a_later_inverse_throws_away_is_not_done(steps: list[StepDone], left: list[str]) -> None:
    assert [f"{one.subject[10:]} {one.operation}" for one in net(steps)] == left


def test_an_inverse_keeps_its_subject_and_arguments() -> None:
    assert net([done("a", "x", "restore", {"name": "web"})]) == (step("a", "restore", name="web"),)


# -- plans -----------------------------------------------------------------------------------------


def test_a_plan_says_what_is_lost_once_and_only_of_steps_that_run() -> None:
    acts = [
        act("1", done("a", "stop", "revive", losses=("memory",), seq=1), seq=1),
        act("2", done("b", "stop", "revive", losses=("memory", "more"), seq=2), seq=2),
        act("3", done("c", "start", "unstart", seq=3),
            done("c", "stop", "revive", losses=("nothing",), seq=4), seq=4)]
    plan = plan_undo(acts, acts, {}, cascade=False)
    assert plan.losses == ("memory", "more")
    assert plan.targets == {"container/a": "a1", "container/b": "b2", "container/c": "c3"}
    assert plan.undoes == "3,2,1"
    assert [one.txn for one in plan.origins] == ["3", "2", "1"]


def test_acts_that_ended_later_are_taken_back_first() -> None:
    """Two at once: the one that began first ended last, and may have done what the other knew not of."""
    early = act("1", done("a", "stop", "revive"), seq=1, end=9)
    late = act("2", done("b", "stop", "revive"), seq=2, end=8)
    for acts, order in (
        ([early, late], ["1", "2"]), ([msgspec.structs.replace(early, end=None), late], ["2", "1"]),
    ):
        assert [one.txn for one in plan_undo(acts, acts, {}, cascade=False).acts] == order


def test_acts_without_steps_and_steps_without_inverse_are_refused_in_words() -> None:
    with pytest.raises(NothingToUndo, match="these acts changed nothing that could be taken back"):
        plan_undo([act("1")], [act("1")], {}, cascade=False)
    lost = act("1", done("a", "stop", "revive"), done("a", "exec"))
    with pytest.raises(UndoError, match="^exec on container/a has no inverse$"):
        plan_undo([lost], [lost], {}, cascade=False)


def test_a_blocked_undo_names_every_act_in_the_way_newest_first() -> None:
    run = act("1", done("a", "create", "uncreate"), seq=1)
    stop, again = act("2", done("a", "stop", "revive"), seq=2), act("3", done("a", "start", "unstart"), seq=3)
    with pytest.raises(UndoBlocked) as one:
        plan_undo([run, stop], [run], {}, cascade=False)
    assert str(one.value) == "cannot undo: act 2 (2) came later and depends on it"
    assert one.value.remedy == "add --cascade to take it along, or undo it first: vordr undo 2"
    with pytest.raises(UndoBlocked) as two:
        plan_undo([run, stop, again], [run], {}, cascade=False)
    assert str(two.value) == "cannot undo: act 3 (3) and 1 more came later and depends on it"
    assert two.value.details == {"blocked_by": [
        {"txn": "3", "summary": "act 3"}, {"txn": "2", "summary": "act 2"}]}


def test_a_redo_is_blocked_by_an_undo_that_stands_on_it() -> None:
    stop = act("1", done("a", "stop", "revive"), seq=1, undone_by="2")
    first = act("2", done("a", "revive", "stop"), seq=2, act="undo", undoes="1")
    second = act("3", done("a", "unstart", "reopen"), seq=3, act="undo", undoes="0")
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo([stop, first, second], [first], {}, cascade=False)
    assert refusal.value.remedy == "first take that one back: vordr redo 3"
    redo = msgspec.structs.replace(second, act="redo")
    assert plan_undo([stop, first, redo], [first], {}, cascade=False).undoes == "2"


def test_two_that_want_one_name_back_are_refused_with_who_has_it() -> None:
    removals = [
        act(str(n), done(subject, "remove", "restore", {"name": "web", "to": "stopped"}, seq=n), seq=n)
        for n, subject in ((1, "a"), (2, "b" * 64))]
    with pytest.raises((NameInUse, UndoBlocked)) as refusal:
        plan_undo(removals, removals, {}, cascade=True)
    assert "web" in str(refusal.value)
    assert "vordr trash restore --name NEW" in (refusal.value.remedy or "")


def test_what_gives_a_name_up_comes_before_what_takes_it() -> None:
    """The holder is older than the removal that freed the name: newest first would take it too soon."""
    made = act("1", done("b", "create", "uncreate", seq=1), seq=1)
    removed = act("2", done("a", "remove", "restore", {"name": "web", "to": "stopped"}, seq=2), seq=2)
    plan = plan_undo([made, removed], [made, removed], {"web": "b"}, cascade=False)
    assert plan.steps == (step("b", "uncreate"), step("a", "restore", name="web", to="stopped"))
    apart = plan_undo([made, removed], [made, removed], {"web": "a", "db": "b"}, cascade=False)
    assert apart.steps == (step("a", "restore", name="web", to="stopped"), step("b", "uncreate"))


# -- choosing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("acts", "asked", "words", "remedy"), [
    ([], {}, "nothing to undo: no act of this kind is left that has not been taken back", "vordr history"),
    ([act("1")], {"steps": 0}, "cannot undo 0 acts", "--steps takes a number from 1"),
    ([act("1")], {"steps": 2}, "only 1 of 2 acts can be taken back", "--steps 1"),
    ([act("1", undone_by="u")], {"txn": "1"}, "act 1 is undone already", "vordr redo u"),
    ([act("1", undoes="0")], {"txn": "1"}, "act 1 is an undo itself", "vordr redo 1"),
    ([act("1", status=ActStatus.ABORTED)], {"txn": "1"}, "act 1 did not happen: it is aborted",
     "vordr history"),
    ([act("1", reversible=False)], {"txn": "1"}, "act 1 has no inverse", "vordr explain 1"),
])
def test_what_cannot_be_chosen_is_refused_with_what_to_do(
    acts: list[Act], asked: dict[str, Any], words: str, remedy: str
) -> None:
    with pytest.raises((NothingToUndo, UndoError)) as refusal:
        choose(acts, principal="me", **asked)
    assert str(refusal.value) == words
    assert refusal.value.remedy == remedy


def test_what_has_no_inverse_is_named_by_its_id() -> None:
    with pytest.raises(UndoError) as refusal:
        choose([act("1", reversible=False)], principal="me", txn="1")
    assert refusal.value.details == {"txn": "1"}


def test_a_record_itself_is_not_after_it() -> None:
    acts = [act(str(n), seq=n) for n in (1, 2, 3)]
    assert [one.txn for one in choose(acts, principal="you", to=2)] == ["3"]
    assert [one.txn for one in choose(acts, principal="me", to=0, steps=9)] == ["3", "2", "1"]
    assert [one.txn for one in choose(acts, principal="me", steps=3)] == ["3", "2", "1"]


def test_an_undo_in_which_all_cancelled_out_is_taken_back_like_any_other() -> None:
    restart = act("1", done("a", "revive", "stop", seq=1), seq=1, undone_by="4")
    kill = act("2", done("a", "stop", "revive", seq=2), seq=2, undone_by="4")
    older = act("3", done("a", "resume", "pause", seq=3), seq=3, act="undo", undoes="0")
    undo = act("4", seq=4, act="undo", undoes="2,1", holds=("container/a",))
    plan = plan_undo([restart, kill, older, undo], [undo], {}, cascade=False)
    assert (plan.undoes, plan.steps, plan.subjects) == ("4", (), ("container/a",))
    later = act("5", done("a", "remove", "restore", seq=5), seq=5)
    assert blocked_by([restart, kill, undo, later], undo) == ["5"]
    assert blocked_by([restart, kill, older, undo], older) == ["4"]
    from_before = msgspec.structs.replace(undo, holds=())  # nobody would be found in its way
    with pytest.raises(NothingToUndo, match="changed nothing"):
        plan_undo([restart, kill, from_before, later], [from_before], {}, cascade=False)


def test_a_blocked_redo_is_not_told_of_an_option_that_redo_does_not_have() -> None:
    undo = act("1", done("a", "revive", "stop"), seq=1, act="undo", undoes="0")
    later = act("2", done("a", "pause", "resume"), seq=2)
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo([undo, later], [undo], {}, cascade=False)
    assert "--cascade" not in (refusal.value.remedy or "")


def test_a_redo_that_a_later_act_stands_on_is_gone_for_good_also_when_that_is_taken_back() -> None:
    stop = act("1", done("a", "stop", "revive"), seq=1, undone_by="2")
    undo = act("2", done("a", "revive", "stop"), seq=2, act="undo", undoes="1,0,9")
    pause = act("3", done("a", "pause", "resume"), seq=3)
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo([stop, undo, pause], [undo], {}, cascade=False)
    assert str(refusal.value) == "cannot redo: act 3 (3) came later and depends on it"
    assert refusal.value.remedy == "do it anew instead: vordr explain 1 says what it did"
    taken_back = msgspec.structs.replace(pause, undone_by="4")
    again = act("4", done("a", "resume", "pause"), seq=4, act="undo", undoes="3,8")
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo([stop, undo, taken_back, again], [undo], {}, cascade=False)
    assert str(refusal.value) == "cannot redo: act 4 (4) came later and depends on it"
    assert refusal.value.remedy == "do it anew instead: vordr explain 1 says what it did"


def test_a_blocked_redo_advises_what_frees_the_name_and_not_what_only_came_last() -> None:
    """The holder's pause was undone; to redo that would not make way, to undo its run does."""
    back = {"to": "running", "container": {"name": "db", "image": "sha256:img"}}
    gone = act("1", done("b", "uncreate", "recreate", back, seq=1), seq=1, act="undo", undoes="0")
    holder = act("2", done("c", "create", "uncreate", seq=2), seq=2)
    pause = act("3", done("c", "pause", "resume", seq=3), seq=3, undone_by="4")
    resumed = act("4", done("c", "resume", "pause", seq=4), seq=4, act="undo", undoes="3")
    acts = [gone, holder, pause, resumed]
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo(acts, [gone], {"db": "c"}, cascade=False)
    assert str(refusal.value) == "cannot redo: act 2 (2) and 1 more came later and depends on it"
    assert refusal.value.remedy == "undo it first: vordr undo 2"
    restored = done("c", "restore", "remove", seq=4, of={"name": "db", "to": "stopped"})
    named = msgspec.structs.replace(resumed, steps=(restored,))
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo([gone, holder, pause, named], [gone], {"db": "c"}, cascade=False)
    assert refusal.value.remedy == "first take that one back: vordr redo 4"
    with pytest.raises(UndoBlocked) as refusal:  # what gave the name was long ago, and is not among the acts
        plan_undo([gone, pause, resumed], [gone], {"db": "c"}, cascade=False)
    assert str(refusal.value) == "cannot redo: act 4 (4) came later and depends on it"


# -- what is in the way, and names -----------------------------------------------------------------


def blocked_by(acts: list[Act], *chosen: Act, names: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(UndoBlocked) as refusal:
        plan_undo(acts, chosen, names or {}, cascade=False)
    return [entry["txn"] for entry in refusal.value.details["blocked_by"]]


def restored(subject: str, name: str | None, seq: int = 1) -> StepDone:
    """A removal, whose taking back takes ``name`` again."""
    return done(subject, "remove", "restore", {"to": "stopped", **({"name": name} if name else {})}, seq=seq)


def test_acts_that_were_taken_back_and_their_undos_hide_nobody_older_who_is_in_the_way() -> None:
    run = act("1", done("a", "create", "uncreate"), seq=1)
    stop = act("2", done("a", "stop", "revive"), seq=2)
    start = act("3", done("a", "start", "unstart"), seq=3, undone_by="4")
    undo = act("4", done("a", "unstart", "reopen"), seq=4, act="undo", undoes="3")
    assert blocked_by([run, stop, start, undo], run) == ["2"]


def test_who_came_between_an_act_and_its_consequence_is_in_the_way() -> None:
    run = act("1", done("a", "create", "uncreate"), seq=1)
    pause = act("2", done("a", "pause", "resume"), seq=2)
    end = act("3", done("a", "exit", "revive"), seq=3, cause=Cause.EXIT, origin="1")
    assert blocked_by([run, pause, end], run) == ["2"]


def test_of_two_that_want_one_name_the_one_that_lost_it_last_is_in_the_way() -> None:
    made = act("1", done("b", "create", "uncreate"), seq=1)
    first = act("2", restored("a", "web"), seq=2)
    second = act("3", restored("b", "web"), done("c", "stop", "revive"), seq=3)
    assert blocked_by([made, first, second], first, second) == ["1"]


def test_of_two_that_want_one_name_the_first_loss_of_each_counts() -> None:
    """a lost it before b and again after: b lost it last, and is in the way."""
    a, b = act("1", done("a", "pause", "resume"), seq=1), act("2", done("b", "pause", "resume"), seq=2)
    lost = [act(str(n), restored(subject, "web"), seq=n) for n, subject in ((3, "a"), (4, "b"), (5, "a"))]
    assert blocked_by([a, b, *lost], *lost) == ["2"]


def test_who_had_no_name_before_hides_nobody_who_wants_his_back() -> None:
    none = done("a", "recreate", "recreate", {"to": "removed"}, seq=4)
    mine = [act("2", restored("b", "db"), seq=2), act("4", none, seq=4),
            act("5", restored("a", "web"), seq=5)]
    holder = act("1", done("c", "pause", "resume"), seq=1)
    assert blocked_by([holder, *mine], *mine, names={"db": "c"}) == ["1"]


def test_a_name_got_later_in_an_act_that_stays_is_seen_beside_its_other_steps() -> None:
    """c got db after what is taken back: its older acts are in nobody's way."""
    older = act("1", done("c", "pause", "resume"), seq=1)
    one = act("2", restored("b", "db"), done("c", "start", "unstart"), seq=2)
    later = act("3", done("c", "restore", "remove"), done("z", "stop", "revive"), seq=3)
    assert blocked_by([older, one, later], one, names={"db": "c"}) == ["3"]


def test_without_anybody_else_two_that_want_one_name_are_refused_with_who_gets_it() -> None:
    acts = [act("1", restored("a", "web", 1), seq=1), act("2", restored("b" * 64, "web", 2), seq=2)]
    with pytest.raises(NameInUse) as refusal:
        plan_undo(acts, acts, {}, cascade=False)
    assert str(refusal.value) == f"the name web cannot be given back: it goes to container {'b' * 12}"


def test_only_the_steps_up_to_the_one_that_gives_the_name_up_come_before_it_is_taken() -> None:
    one = act("1", restored("b", "other", 1), done("b", "restore", "remove", seq=2), restored("a", "web", 3),
              seq=3)
    plan = plan_undo([one], [one], {"web": "b"}, cascade=False)
    assert [f"{step.subject[10:]} {step.operation}" for step in plan.steps] == [
        "b remove", "a restore", "b restore"]


def test_what_comes_back_without_a_name_of_its_own_is_in_nobodys_way() -> None:
    acts = [act("1", restored("a", None, 1), seq=1), act("2", restored("b", None, 2), seq=2)]
    assert len(plan_undo(acts, acts, {}, cascade=False).steps) == 2


def test_steps_that_give_no_name_up_keep_their_order() -> None:
    one = act("1", done("e", "restore", "remove", seq=1), done("c", "resume", "pause", seq=2),
              done("d", "stop", "revive", seq=3), done("c", "stop", "revive", seq=4), seq=4)
    plan = plan_undo([one], [one], {"web": "e"}, cascade=False)
    assert [f"{step.subject[10:]} {step.operation}" for step in plan.steps] == [
        "c revive", "d revive", "c pause", "e remove"]


# -- on the way ------------------------------------------------------------------------------------


def undone(*steps: StepDone, names: dict[str, str] | None = None) -> list[Step]:
    """What takes ``steps``, oldest first, back."""
    one = act("1", *steps)
    return list(plan_undo([one], [one], names or {}, cascade=False).steps)


def recreated(subject: str, name: str, seq: int = 1) -> StepDone:
    """A taking away of the record, whose taking back takes ``name`` again."""
    return done(subject, "uncreate", "recreate",
                {"to": "created", "container": {"name": name, "image": "i"}, "trashed_as": "old"}, seq=seq)


def test_what_comes_back_only_to_go_again_does_so_under_its_own_id() -> None:
    taken_away = done("a", "restore", "remove", {"name": "old"})
    assert undone(taken_away, restored("a", "web"), names={"web": "b"}) == [
        step("a", "restore", to="stopped", name="a"), step("a", "remove", name="old")]
    assert undone(taken_away, recreated("a", "web"), names={"web": "b"}) == [
        step("a", "recreate", to="created", container={"name": "a", "image": "i"}, trashed_as="old"),
        step("a", "remove", name="old")]


def test_what_stays_in_the_end_comes_back_under_its_name() -> None:
    there_again = [done("a", "restore", "remove", {"name": "old"}), restored("a", "new")]
    assert undone(restored("a", "web"), *there_again) == [
        step("a", "restore", to="stopped", name="a"), step("a", "remove", name="old"),
        step("a", "restore", to="stopped", name="web")]


def test_what_goes_to_lie_under_its_last_name_comes_back_under_that() -> None:
    for more in ({}, {"name": ""}):
        assert undone(done("a", "restore", "remove", more), restored("a", "web"))[0].args["name"] == "web"
    goes = done("b", "restore", "remove", {"name": "old"})
    assert undone(goes, restored("a", "web"))[0] == step("a", "restore", to="stopped", name="web")


def test_who_goes_and_comes_back_under_another_name_is_in_nobodys_way() -> None:
    swap = act("1", restored("b", "db"), done("b", "restore", "remove", {"name": "db"}), restored("a", "web"))
    holder = act("0", done("b", "create", "uncreate"), seq=0)
    plan = plan_undo([holder, swap], [swap], {"web": "b"}, cascade=False)
    assert [f"{one.subject[10:]} {one.operation} {one.args.get('name')}" for one in plan.steps] == [
        "b remove db", "a restore web", "b restore db"]


def test_who_goes_and_comes_back_under_the_name_that_is_wanted_is_in_the_way() -> None:
    gone = done("b", "restore", "remove", {"name": "db"})
    back = act("1", restored("b", "web"), gone, restored("a", "web"))
    holder = act("0", done("b", "create", "uncreate"), seq=0)
    assert blocked_by([holder, back], back, names={"web": "b"}) == ["0"]


def test_who_goes_back_to_the_trash_keeps_no_name_and_what_came_before_is_in_nobodys_way() -> None:
    """Two undos took b away; somebody restored it under the name that a redo of the second gives to a."""
    first = act("1", done("b", "stop", "revive"), seq=1, act="undo", undoes="x")
    trashed = {"to": "removed", "container": {"name": "db", "image": "i"}, "trashed_as": "db"}
    second = act("2", recreated("a", "web"), done("b", "uncreate", "recreate", trashed), seq=2, act="undo",
                 undoes="y")
    taken = act("3", done("b", "recreate", "uncreate"), done("b", "restore", "remove"), seq=3)
    assert blocked_by([first, second, taken], second, names={"web": "b"}) == ["3"]


def test_who_keeps_a_name_is_in_the_way_and_not_those_that_lost_it() -> None:
    holder = act("0", done("c", "create", "uncreate"), seq=0)
    made = [act(str(n), done(one, "create", "uncreate"), seq=n) for n, one in ((1, "a"), (2, "b"))]
    lost = [act("3", restored("a", "web"), seq=3), act("4", restored("b", "web"), seq=4)]
    assert blocked_by([holder, *made, *lost], *lost, names={"web": "c"}) == ["0"]
    assert blocked_by([*made, *lost], *lost) == ["2"]


def test_the_name_that_counts_is_the_one_before_what_is_taken_back_and_not_one_from_later() -> None:
    """An undo took c away and ended a; somebody made a go and come back as c. Without that a keeps no c."""
    made = act("1", done("a", "create", "uncreate"), seq=1)
    undo = act("2", recreated("c", "c", seq=2), done("a", "unstart", "reopen", seq=3), seq=3, act="undo",
               undoes="x")
    gone = act("4", restored("a", "a", seq=4), seq=4)
    back = act("5", done("a", "restore", "remove", {"name": "a"}, seq=5), seq=5)
    assert blocked_by([made, undo, gone, back], undo, names={"c": "a"}) == ["5", "4"]
    assert blocked_by([made, undo], undo, names={"c": "a"}) == ["1"]
    stop = act("3", done("a", "stop", "revive", seq=3), seq=3)
    other = act("6", restored("b", "c", seq=6), seq=6)
    assert blocked_by([made, stop, gone, back, other], stop, other, names={"c": "a"}) == ["5", "4"]
