"""Transactions over the whole engine: failures taken back, races, policies. Only the world is fake."""

import threading

import pytest
from whole_engine import eventually, standing_clock, whole_engine

from vordr.actors.messages import Perform
from vordr.engine.protocol import Caller
from vordr.model.errors import (
    ContainerNotFound,
    ContainerRunning,
    ImageNotFound,
    NameInUse,
    RuntimeFailed,
    StaleState,
    StateError,
    SubjectBusy,
    UsageError,
    VerificationRejected,
)
from vordr.model.lifecycle import State
from vordr.model.operations import Scope
from vordr.model.records import ActStatus, Cause, Kind


@pytest.fixture
def whole(memory_path):
    with whole_engine(memory_path) as engine:
        yield engine


def records(whole, txn):
    return [record for record, _ in whole.journal.records() if record.txn == txn]


# -- compensation ----------------------------------------------------------------------------------

STEPS = [
    ("run", ["create", "open_generation", "launch"], False),
    ("start", ["open_generation", "launch"], False),
    ("stop", ["signal"], True),
    ("restart", ["signal", "open_generation", "launch"], True),
    ("pause", ["pause"], True),
    ("remove", ["signal", "discard"], True),
]


@pytest.mark.parametrize(
    ("op", "effect", "alive"), [(op, e, alive) for op, effects, alive in STEPS for e in effects])
def test_a_failure_in_any_effect_takes_the_whole_act_back(whole, op, effect, alive):
    if op != "run":
        whole.run()
        if not alive:
            whole.do("stop")
    before = whole.declared()
    whole.world.fail(effect)
    with pytest.raises(RuntimeFailed):
        whole.run() if op == "run" else whole.do(op, **({"force": True} if op == "remove" else {}))
    assert whole.declared() == before
    assert whole.last().status is ActStatus.ABORTED
    end = records(whole, whole.last().txn)[-1]
    assert end.kind is Kind.ABORT and end.args["error"]["id"] == "ERR_RUNTIME"
    assert "left" not in end.args
    whole.check()


@pytest.mark.parametrize("op", ["run", "start", "restart"])
def test_a_launch_that_fails_after_it_made_a_process_leaves_none(whole, op):
    if op != "run":
        whole.run()
        whole.do("stop")
    before = whole.declared()
    whole.world.fail("launch", after=True)
    with pytest.raises(RuntimeFailed):
        whole.run() if op == "run" else whole.do(op)
    assert whole.declared() == before
    whole.check()


@pytest.mark.parametrize("op", ["stop", "kill"])
def test_a_stop_whose_cleaning_up_fails_has_stopped_and_cleans_up_later(whole, op):
    web = whole.run()
    whole.world.fail("clear")
    assert whole.do(op).container.state is State.STOPPED
    assert "could be cleared" in records(whole, whole.last().txn)[-2].args["notes"][0]
    eventually(lambda: not whole.world.places[web.id].debris, "the cleaning up")
    assert whole.do("start").container.state is State.RUNNING
    whole.check()


def test_what_is_taken_back_names_the_step_it_takes_back(whole):
    whole.world.fail("launch")
    with pytest.raises(RuntimeFailed):
        whole.run()
    create, uncreate = whole.last().steps
    assert (create.operation, uncreate.operation, uncreate.compensates) == ("create", "uncreate", create.seq)
    intents = [r for r in records(whole, whole.last().txn) if r.kind is Kind.INTENT]
    assert [i.args.get("compensates") for i in intents] == [None, None, create.seq]


def test_a_removal_by_force_that_fails_brings_the_process_back(whole):
    web = whole.run()
    whole.world.fail("discard")
    with pytest.raises(RuntimeFailed):
        whole.do("remove", force=True)
    assert whole.get().state is State.RUNNING
    assert whole.world.places[web.id].process is not None
    whole.check()


def test_what_cannot_be_taken_back_stands_in_the_abort_and_the_container_is_let_go(whole):
    whole.run()
    whole.world.fail("discard")
    whole.world.fail("launch")
    with pytest.raises(RuntimeFailed, match="discard"):
        whole.do("remove", force=True)
    end = records(whole, whole.last().txn)[-1]
    assert [left["operation"] for left in end.args["left"]] == ["revive"]
    assert whole.get().state is State.STOPPED
    whole.check()
    assert whole.do("start").container.state is State.RUNNING


def test_a_failed_run_leaves_neither_name_nor_busy_keys(whole):
    whole.world.fail("open_generation")
    with pytest.raises(RuntimeFailed):
        whole.run()
    assert whole.journal.get("names/web") is None
    whole.check()
    assert whole.run().state is State.RUNNING


@pytest.mark.parametrize(
    ("act", "status", "steps"),
    [("restart", ActStatus.ABORTED, ["stop", "revive"]), ("pause", ActStatus.COMMITTED, ["pause"])],
)
def test_an_interrupted_caller_leaves_nothing_open(whole, monkeypatch, act, status, steps):
    """Ctrl-C in a program that embeds the engine: what is not over is taken back, what was done with its
    last step stands."""
    whole.run()
    perform = whole.host.containers.perform

    def interrupted(request: Perform, deadline: float):
        monkeypatch.undo()
        perform(request, deadline)
        raise KeyboardInterrupt

    monkeypatch.setattr(whole.host.containers, "perform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whole.do(act)
    assert whole.last().status is status
    assert [step.operation for step in whole.last().steps] == steps
    assert whole.get().state is (State.RUNNING if status is ActStatus.ABORTED else State.PAUSED)
    whole.check()


def test_a_caller_interrupted_before_anything_began_leaves_no_trace(whole, monkeypatch):
    whole.run()
    size = whole.journal.size

    def interrupted(request: Perform, deadline: float):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole.host.containers, "perform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whole.do("pause")
    monkeypatch.undo()
    assert whole.journal.size == size
    whole.check()
    assert whole.do("pause").container.state is State.PAUSED


# -- illegal, unknown ------------------------------------------------------------------------------


def test_an_illegal_operation_journals_nothing(whole):
    whole.run()
    size = whole.journal.size
    for op in ("start", "resume", "remove"):
        with pytest.raises((ContainerRunning, Exception), match="cannot"):
            whole.do(op)
    assert whole.journal.size == size


def test_what_is_not_there_cannot_be_acted_on(whole):
    with pytest.raises(ContainerNotFound):
        whole.do("stop")
    with pytest.raises(ImageNotFound):
        whole.call("run", image="nowhere", name="web", pull="never")


def test_a_name_that_went_to_another_container_is_not_taken_for_the_first(whole):
    """Whoever has the name when a waiting act gets its turn is not the one that was meant."""
    first = whole.run()
    gate = whole.world.hold("discard")
    removal = whole.begin(lambda: whole.do("remove", force=True))
    gate.wait_entered()
    late = whole.begin(lambda: whole.do("stop"))
    gate.open()
    removal.result()
    with pytest.raises(ContainerNotFound):
        late.result()
    second = whole.run()
    assert second.id != first.id
    whole.check()


@pytest.mark.parametrize("timeout", [-1, 10**9])
def test_a_stop_waits_neither_negative_nor_endless_times(whole, timeout):
    whole.run()
    with pytest.raises(UsageError):
        whole.do("stop", timeout=timeout)


# -- races -----------------------------------------------------------------------------------------


def test_a_second_act_waits_for_the_first_and_then_sees_its_result(whole):
    whole.run()
    gate = whole.world.hold("pause")
    first = whole.begin(lambda: whole.do("pause"))
    gate.wait_entered()
    second = whole.begin(lambda: whole.do("stop"))
    gate.open()
    assert first.result().container.state is State.PAUSED
    assert second.result().container.state is State.STOPPED
    assert whole.said()[-2:] == ["pause", "stop"]
    whole.check()


def test_who_waits_too_long_is_told_what_holds_it(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        whole.run()
        gate = whole.world.hold("pause")
        first = whole.begin(lambda: whole.do("pause"))
        gate.wait_entered()
        second = whole.begin(lambda: whole.do("stop"))
        eventually(lambda: clock.advance(10) or second.over, "the end of its patience")
        with pytest.raises(SubjectBusy, match="busy with"):
            second.result()
        gate.open()
        first.result()


def test_two_runs_with_one_name_give_one_container_and_one_refusal(whole):
    gate = whole.world.hold("create")
    first = whole.begin(whole.run)
    gate.wait_entered()
    second = whole.begin(whole.run)
    gate.open()
    web = first.result()
    with pytest.raises(NameInUse):
        second.result()
    assert whole.journal.get("names/web") == web.id
    whole.check()


def test_a_run_gets_the_name_when_the_run_before_it_fails(whole):
    gate = whole.world.hold("create")
    whole.world.fail("launch")
    first = whole.begin(whole.run)
    gate.wait_entered()
    second = whole.begin(whole.run)
    gate.open()
    with pytest.raises(RuntimeFailed):
        first.result()
    assert second.result().state is State.RUNNING
    whole.check()


def test_many_runs_at_once_get_ranges_of_their_own(whole):
    asked = [whole.begin(lambda n=n: whole.run(f"c{n}")) for n in range(12)]
    ranges = [one.result().ids.first for one in asked]
    assert len(set(ranges)) == 12
    whole.check()


def test_a_name_under_release_is_held_until_the_removal_is_committed(whole):
    whole.run()
    gate = whole.world.hold("discard")
    removal = whole.begin(lambda: whole.do("remove", force=True))
    gate.wait_entered()
    held = whole.journal.get("busy/names/web")
    gate.open()
    removal.result()
    assert held == whole.last().txn
    assert whole.journal.get("busy/names/web") is None


def test_an_act_on_each_of_many_containers_at_once(whole):
    names = [f"c{n}" for n in range(8)]
    for name in names:
        whole.run(name)
    for op in ("stop", "start", "pause", "resume", "restart"):
        for asked in [whole.begin(lambda n=n, op=op: whole.do(op, n)) for n in names]:
            asked.result()
    whole.check()


def test_a_signal_beside_an_act_is_delivered_and_holds_nobody(whole):
    web = whole.run()
    whole.do("kill", signal="HUP")
    assert whole.world.places[web.id].process.signals == [1]
    assert not whole.last().reversible
    assert whole.do("pause").container.state is State.PAUSED
    whole.check()


# -- trust -----------------------------------------------------------------------------------------


def revoke(whole):
    key = next(key.id for key in whole.call("trust_show").keys if key.role == "builders")
    whole.call("trust_revoke", key=key)


def test_a_key_revoked_between_verdict_and_start_fails_at_the_intent(whole):
    gate = whole.world.hold("create", after=True)
    asked = whole.begin(whole.run)
    gate.wait_entered()
    revoke(whole)
    gate.open()
    with pytest.raises(StaleState, match="trust/epoch"):
        asked.result()
    assert "launch" not in whole.world.calls
    assert whole.containers() == {}
    whole.check()


def test_a_key_revoked_between_verdict_and_begin_is_judged_again(whole):
    judge, revoked = whole.host.library.judge_manifest, threading.Event()

    def meddle(manifest):
        verdict = judge(manifest)
        if not revoked.is_set():
            revoked.set()
            revoke(whole)
        return verdict

    whole.host.library.judge_manifest = meddle
    with pytest.raises(VerificationRejected):
        whole.run()
    assert whole.containers() == {}
    whole.check()


def test_after_a_revocation_nothing_starts_but_everything_stops(whole):
    whole.run(restart={"mode": "always"})
    revoke(whole)
    with pytest.raises(VerificationRejected):
        whole.do("restart")
    assert whole.get().state is State.RUNNING
    whole.do("stop")
    with pytest.raises(VerificationRejected):
        whole.do("start")
    whole.check()


def test_taking_back_after_a_revocation_leaves_the_container_stopped_and_says_so(whole):
    whole.run()
    gate = whole.world.hold("clear")
    whole.world.fail("discard")
    asked = whole.begin(lambda: whole.do("remove", force=True))
    gate.wait_entered()
    revoke(whole)
    gate.open()
    with pytest.raises(RuntimeFailed):
        asked.result()
    removal = next(a for a in whole.acts() if a.act == "remove")
    left = records(whole, removal.txn)[-1].args["left"]
    assert left[0]["error"]["details"]["code"] == "UNKNOWN_KEY" or left[0]["error"]["code"] == 51
    assert whole.get().state is State.STOPPED
    whole.check()


# -- restart policies and --rm ---------------------------------------------------------------------


def test_rm_removes_the_container_when_its_process_has_ended(whole):
    web = whole.run(auto_remove=True)
    whole.world.end(web.id, 0)
    eventually(lambda: whole.get(web.id).state is State.REMOVED, "the removal")
    whole.wait_said("run", "exit:exit", "remove:policy")
    assert whole.last().origin == whole.acts()[-3].txn
    whole.check()


def test_rm_with_a_process_that_ends_at_once(whole):
    whole.world.ends_at_once = 0
    web = whole.run(auto_remove=True)
    eventually(lambda: whole.get(web.id).state is State.REMOVED, "the removal")
    whole.check()


def test_who_waits_for_a_removal_that_failed_is_told(memory_path):
    with whole_engine(memory_path, standing_clock()) as whole:
        whole.world.fail("discard")
        web = whole.run(auto_remove=True)
        whole.world.end(web.id, 3)
        whole.wait_state(State.STOPPED)
        waiting = whole.begin(lambda: whole.do("wait", condition="removed"))
        eventually(lambda: whole.engine.host.clock.advance(10) or waiting.over, "the end of the wait")
        with pytest.raises(StateError, match="was not removed"):
            waiting.result()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_rm_goes_with_a_stop_in_the_same_act_and_comes_back_with_its_undo(whole, how):
    web = whole.run(auto_remove=True)
    assert whole.do(how).container.state is State.REMOVED
    assert [step.operation for step in whole.last().steps] == [how, "remove"]
    whole.check()
    whole.call("undo")
    assert whole.get().id == web.id and whole.get().state is State.RUNNING
    whole.check()


def test_a_restart_of_an_rm_container_keeps_it(whole):
    web = whole.run(auto_remove=True)
    assert whole.do("restart").container.id == web.id
    whole.check()


def test_always_restarts_with_growing_delays_and_keeps_the_generation(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        web = whole.run(restart={"mode": "always"})
        for delay in (0.1, 0.2, 0.4):
            whole.world.end(web.id, 1)
            clock.wait_for_timer(delay)
            assert whole.get().state is State.STOPPED
            clock.advance(delay)
            running = whole.wait_state(State.RUNNING)
        assert [g.number for g in running.generations] == [1]
        assert (running.restarts, running.process) == (3, 4)
        whole.check()


def test_on_failure_gives_up_after_so_many_and_not_for_an_end_that_was_well(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        web = whole.run(restart={"mode": "on-failure", "retries": 2})
        for delay in (0.1, 0.2):
            whole.world.end(web.id, 1)
            clock.wait_for_timer(delay)
            clock.advance(delay)
            whole.wait_state(State.RUNNING)
        whole.world.end(web.id, 1)
        assert whole.wait_state(State.STOPPED).restarts == 2
        whole.check()
        assert clock.delays() == []
        whole.do("start")
        whole.world.end(web.id, 0)
        whole.wait_state(State.STOPPED)
        whole.check()
        assert clock.delays() == []


def test_a_stop_that_was_asked_for_is_not_answered_by_a_restart(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        whole.run(restart={"mode": "always"})
        whole.do("stop")
        whole.check()
        assert clock.delays() == []


def test_a_start_before_the_delay_is_over_takes_the_place_of_the_restart(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        web = whole.run(restart={"mode": "always"})
        whole.world.end(web.id, 1)
        clock.wait_for_timer(0.1)
        whole.do("start")
        clock.advance(1)
        whole.check()
        assert whole.get().process == 2
        assert whole.said().count("restart:policy") == 0


def test_more_policy_acts_than_effect_workers_do_not_block_each_other(whole):
    """All of a host's containers end at once: their restarts need workers for their own effects."""
    assert whole.engine._parts.effects is not whole.engine._parts.policies
    webs = [whole.run(f"c{n}", restart={"mode": "always"}) for n in range(70)]
    for web in webs:
        whole.world.end(web.id, 1)
    eventually(lambda: all(whole.get(web.id).process == 2 for web in webs), "all of them again")
    whole.check()


def test_a_policy_restart_that_is_refused_leaves_the_container_stopped(whole):
    web = whole.run(restart={"mode": "always"})
    revoke(whole)
    whole.world.end(web.id, 1)
    whole.wait_state(State.STOPPED)
    whole.check()
    assert "restart:policy" not in whole.said()


# -- callers ---------------------------------------------------------------------------------------


def test_who_asked_stands_in_the_act(whole):
    whole.run()
    whole.call("stop", Caller("uid:1000", Scope.OPERATE), container="web")
    assert (whole.last().principal, whole.last().cause) == ("uid:1000", Cause.ACT)


def test_acts_of_one_millisecond_stand_in_the_order_of_their_begins(memory_path):
    with whole_engine(memory_path, standing_clock()) as whole:
        whole.run()
        for _ in range(4):
            whole.do("pause")
            whole.do("resume")
        assert whole.said()[-9:] == ["run", *["pause", "resume"] * 4]
        assert [a.seq for a in whole.acts()] == sorted(a.seq for a in whole.acts())
        whole.call("undo", steps=3)
        assert whole.get().state is State.PAUSED
        whole.check()
