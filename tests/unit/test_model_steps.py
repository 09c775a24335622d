"""What each step does to the declared state, and that its inverse takes it back to the digest."""

import itertools

import msgspec
import pytest

from vordr.model.errors import ContainerNotFound, IllegalTransition
from vordr.model.lifecycle import ROWS, Op, State
from vordr.model.records import Step
from vordr.model.spec import ContainerSpec, IdRange
from vordr.model.state import ContainerState, Generation, TrashItem
from vordr.model.steps import Facts, advance, claims, digest_of, needs_verdict

ID = "c" * 64
SUBJECT = f"container/{ID}"
TIMES = itertools.count(1_000)


def facts(**known):
    return Facts(time=next(TIMES), txn="t1", boot_id="b", **known)


def container(state, *generations, **more):
    return ContainerState(
        id=ID, name="web", image="sha256:0", image_name="tiny", spec=ContainerSpec(), state=state,
        generations=tuple(Generation(n, n) for n in generations), next_generation=len(generations) + 1,
        ids=IdRange(100_000), **more)


def plain(state):
    return msgspec.to_builtins(state)


CASES = [
    (Op.CREATE, None, {"container": plain(container(State.CREATED))}),
    (Op.START, container(State.CREATED), {"generation": 1}),
    (Op.START, container(State.STOPPED, 1, exit_code=3, finished=9), {"generation": 2}),
    (Op.PAUSE, container(State.RUNNING, 1), {}),
    (Op.RESUME, container(State.PAUSED, 1), {}),
    *[(op, container(state, 1), {}) for op in (Op.STOP, Op.KILL, Op.EXIT)
      for state in (State.RUNNING, State.PAUSED)],
    (Op.REMOVE, container(State.CREATED), {}),
    (Op.REMOVE, container(State.STOPPED, 1, 2), {}),
    (Op.UNCREATE, container(State.CREATED), {}),
    (Op.UNCREATE, container(State.REMOVED, 1), {}),
    (Op.RECREATE, None, {"container": plain(container(State.CREATED)), "to": "created"}),
    (Op.RECREATE, None, {"container": plain(container(State.REMOVED, 1)), "to": "removed"}),
    (Op.UNSTART, container(State.RUNNING, 1), {"generation": 1, "to": "created"}),
    (Op.UNSTART, container(State.PAUSED, 1, 2), {"generation": 2, "to": "stopped"}),
    (Op.UNSTART, container(State.STOPPED, 1), {"generation": 1, "to": "created"}),
    (Op.REOPEN, container(State.CREATED), {"generation": 1, "opened": 5, "to": "running"}),
    (Op.REOPEN, container(State.STOPPED, 1), {"generation": 2, "opened": 5, "to": "stopped"}),
    (Op.REVIVE, container(State.STOPPED, 1), {"to": "running"}),
    (Op.REVIVE, container(State.STOPPED, 1), {"to": "paused"}),
    (Op.RESTORE, container(State.REMOVED, 1), {"to": "stopped", "name": "web"}),
]


def test_every_operation_from_every_source_is_among_the_cases():
    seen = {(op, State.IMAGE_ONLY if before is None else before.state) for op, before, _ in CASES}
    wanted = {(row.op, state) for row in ROWS.values() for state in row.sources}
    assert wanted == seen


@pytest.mark.parametrize(("op", "before", "args"), CASES)
def test_the_inverse_brings_back_the_digest_and_the_state_of_before(op, before, args):
    there = advance(op, before, args, facts(pid=7, exit_code=0, ended=5))
    assert there.after == digest_of(there.container)
    inverse = there.inverse
    back = advance(Op(inverse.operation), there.container, inverse.args, facts(pid=8, exit_code=0))
    assert digest_of(back.container) == digest_of(before)
    again = advance(Op(back.inverse.operation), back.container, back.inverse.args, facts(pid=9, exit_code=0))
    assert digest_of(again.container) == there.after


@pytest.mark.parametrize(("op", "before", "args"), CASES)
def test_the_inverse_is_known_before_the_effect(op, before, args):
    """The intent journals it, so that recovery can go by it."""
    early = advance(op, before, args, facts()).inverse
    late = advance(op, before, args, facts(pid=7, exit_code=0, ended=5)).inverse
    assert early.operation == late.operation
    assert {k: v for k, v in early.args.items() if k not in ("exit", "container")} == {
        k: v for k, v in late.args.items() if k not in ("exit", "container")}


@pytest.mark.parametrize("op", Op)
@pytest.mark.parametrize("state", State)
def test_what_the_table_does_not_allow_is_refused(op, state):
    before = None if state is State.IMAGE_ONLY else container(state, 1)
    if state in ROWS[op].sources:
        return
    with pytest.raises((IllegalTransition, ContainerNotFound)):
        advance(op, before, {"container": plain(container(State.CREATED)), "to": "created"}, facts())


def test_names_and_trash_follow_the_container():
    created = advance(Op.CREATE, None, CASES[0][2], facts())
    assert created.writes["names/web"] == ID and created.writes[f"trash/{ID}"] is None
    assert created.writes["ranges/100000"] == ID
    removed = advance(Op.REMOVE, created.container, {}, facts(trash_days=2))
    item = removed.writes[f"trash/{ID}"]
    assert removed.writes["names/web"] is None
    assert item["deadline"] - item["removed"] == 2 * 86_400_000_000
    gone = advance(Op.UNCREATE, removed.container, {}, facts())
    assert "names/web" not in gone.writes, "somebody else may have it by now"
    assert gone.writes[f"containers/{ID}"] is None


def test_a_removed_container_keeps_its_whole_state_in_the_trash():
    removed = advance(Op.REMOVE, container(State.STOPPED, 1, 2), {}, facts())
    item = msgspec.convert(removed.writes[f"trash/{ID}"], TrashItem)
    assert item.container == removed.container


def test_only_the_newest_generation_can_be_dropped():
    with pytest.raises(IllegalTransition, match="newest"):
        advance(Op.UNSTART, container(State.RUNNING, 1, 2), {"generation": 1, "to": "created"}, facts())


def test_a_generation_number_is_never_given_twice():
    started = advance(Op.START, container(State.STOPPED, 1), {"generation": 2}, facts())
    back = advance(Op.UNSTART, started.container, started.inverse.args, facts())
    assert back.container.next_generation == 3


def test_what_an_end_left_to_be_done_comes_back_with_the_state():
    ended = container(State.STOPPED, 1, exit_code=3, asked_to_stop=True, restarts=4, process_act="t0")
    started = advance(Op.START, ended, {"generation": 2}, facts()).container
    assert (started.asked_to_stop, started.restarts, started.process_act) == (False, 0, "t1")
    back = advance(Op.UNSTART, started, advance(Op.START, ended, {"generation": 2}, facts()).inverse.args,
                   facts()).container
    assert (back.asked_to_stop, back.restarts, back.process_act, back.exit_code) == (True, 4, "t0", 3)


def test_a_policy_restart_counts_and_keeps_the_act_that_began_the_process():
    ended = container(State.STOPPED, 1, restarts=2, process_act="t0")
    again = advance(Op.REVIVE, ended, {"to": "running", "policy": True}, facts()).container
    assert (again.restarts, again.process_act, again.process) == (3, "t0", 1)


def test_what_is_brought_back_from_the_trash_has_no_sequel_of_its_last_end():
    removed = container(State.REMOVED, 1, exit_code=1, asked_to_stop=False)
    assert advance(Op.RESTORE, removed, {"to": "stopped"}, facts()).container.asked_to_stop


@pytest.mark.parametrize(
    ("operation", "args", "before", "keys"),
    [
        ("create", CASES[0][2], None, ("names/web", "ranges/100000")),
        ("recreate", {**CASES[0][2], "to": "created"}, None, ("names/web",)),
        ("remove", {}, container(State.STOPPED), ("names/web",)),
        ("uncreate", {}, container(State.CREATED), ("names/web",)),
        ("restore", {"to": "stopped", "name": "other"}, container(State.REMOVED),
         ("names/other", "names/web")),
        ("remove", {"name": "other"}, container(State.STOPPED), ("names/web",)),
        ("restore", {"to": "stopped"}, container(State.REMOVED), ("names/web",)),
        ("restore", {"to": "stopped", "name": "web"}, container(State.REMOVED), ("names/web",)),
        ("restore", {"to": "stopped", "name": "other"}, None, ("names/other",)),
        ("stop", {}, container(State.RUNNING), ()),
        ("import", {}, None, ()),
    ])
def test_a_step_claims_the_names_and_ranges_that_it_takes_or_gives_up(operation, args, before, keys):
    assert claims(Step(subject=SUBJECT, operation=operation, args=args), before) == keys


@pytest.mark.parametrize(
    ("operation", "args", "needs"),
    [("start", {}, True), ("create", {}, True), ("revive", {"to": "running"}, True),
     ("reopen", {"to": "stopped"}, False), ("reopen", {"to": "running"}, True), ("restore", {}, False),
     ("stop", {}, False), ("import", {}, False), ("signal", {}, False)])
def test_which_steps_need_a_verdict(operation, args, needs):
    assert needs_verdict(Step(subject=SUBJECT, operation=operation, args=args)) is needs
