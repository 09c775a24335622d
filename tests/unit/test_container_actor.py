"""One container actor: its process, its exits, its crashes. The rest of the engine is the production one."""

import threading

import pytest
from fakeworld import FakeWorld
from whole_engine import Whole, eventually, planted, standing_clock, whole_engine

from vordr.actors.script import KILL_PATIENCE
from vordr.model.errors import ContainerNotFound, IllegalTransition, RuntimeFailed, StaleState
from vordr.model.lifecycle import State
from vordr.model.records import ActStatus, Cause


@pytest.fixture
def whole(memory_path):
    with whole_engine(memory_path) as engine:
        yield engine


# -- ends that nobody asked for --------------------------------------------------------------------


def test_an_end_by_itself_is_an_act_of_the_kernel_with_the_start_as_its_origin(whole):
    web = whole.run()
    whole.world.end(web.id, 3)
    stopped = whole.wait_state(State.STOPPED)
    assert (stopped.exit_code, stopped.asked_to_stop) == (3, False)
    end, begin = whole.last(), whole.acts()[-2]
    assert (end.act, end.cause, end.principal, end.origin) == ("exit", Cause.EXIT, "kernel", begin.txn)
    whole.check()


def test_an_exit_is_forgotten_only_after_it_is_journalled_and_cleaned_up(whole):
    web = whole.run()
    gate = whole.world.hold("clear")
    whole.world.end(web.id, 0)
    gate.wait_entered()
    assert whole.get().state is State.STOPPED
    assert whole.world.places[web.id].exit is not None
    gate.open()
    whole.check()


def test_a_process_that_ends_at_once_is_first_started_and_then_ended(whole):
    whole.world.ends_at_once = 7
    whole.run()
    assert whole.wait_state(State.STOPPED).exit_code == 7
    whole.wait_said("run", "exit:exit")
    whole.check()


def test_an_exit_told_between_begin_and_step_is_taken_by_the_step(whole):
    web = whole.run()
    gate = whole.world.hold("signal")
    asked = whole.begin(lambda: whole.do("stop"))
    gate.wait_entered()
    whole.world.end(web.id, 5)
    gate.open()
    assert asked.result().container.exit_code == 5
    assert whole.said()[-1] == "stop"
    whole.check()


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("op", ["pause", "stop", "restart", "kill"])
def test_an_exit_in_any_phase_of_a_step_leaves_agreement(whole, op, phase):
    web = whole.run()
    method = {"pause": "pause", "stop": "signal", "restart": "clear", "kill": "signal"}[op]
    gone = threading.Event()

    def end() -> None:
        if whole.world.places[web.id].process is not None:
            whole.world.end(web.id, 9)
        gone.set()

    whole.world.trap(method, end, after=phase == "after")
    try:
        whole.do(op)
    except IllegalTransition:
        assert op == "pause"
    assert gone.is_set()
    eventually(lambda: whole.get().state is (State.RUNNING if op == "restart" else State.STOPPED), "the end")
    whole.check()


def test_a_keeper_that_goes_is_not_the_end_of_its_process(whole):
    web = whole.run()
    whole.world.end(web.id, sure=False)
    eventually(lambda: whole.world.watched == [web.id], "somebody watching again")
    assert whole.get().state is State.RUNNING
    assert whole.do("stop").container.exit_code == 143
    whole.check()


def test_a_keeper_that_goes_while_a_stop_waits_does_not_cut_the_stop_short(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        web = whole.run(stop_timeout=10)
        whole.world.obeys = False
        asked = whole.begin(lambda: whole.do("stop"))
        clock.wait_for_timer(10)
        whole.world.end(web.id, sure=False)
        eventually(lambda: whole.world.calls.count("observe") == 1, "a look at the world")
        clock.wait_for_timer(10)
        assert whole.world.places[web.id].process.signals == [15]
        whole.world.end(web.id, 0)
        assert asked.result().container.exit_code == 0


def test_an_exit_told_again_is_not_the_end_of_the_process_that_came_after(whole):
    web = whole.run()
    whole.world.end(web.id, 3)
    told = whole.world.places[web.id].exit
    whole.check()
    whole.do("start")
    whole.world.tell(web.id, told)
    whole.world.end(web.id, sure=False)  # comes after it: when this one was looked into, that was taken in
    eventually(lambda: whole.world.watched, "a look at the world")
    assert whole.get().state is State.RUNNING
    whole.check()


# -- stopping --------------------------------------------------------------------------------------


def test_a_stop_kills_what_does_not_obey_in_time_and_says_so(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        web = whole.run()
        whole.world.obeys = False
        asked = whole.begin(lambda: whole.do("stop", timeout=4))
        clock.wait_for_timer(4)
        assert whole.get().state is State.RUNNING
        clock.advance(4)
        assert asked.result().container.exit_code == 137
        record, _ = whole.journal.record(whole.last().steps[0].seq)
        assert "killed" in record.args["notes"][0]
        assert web.id in whole.world.places


def test_a_kill_reaches_the_process_while_a_stop_waits(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        whole.run()
        whole.world.obeys = False
        asked = whole.begin(lambda: whole.do("stop", timeout=600))
        clock.wait_for_timer(600)
        whole.do("kill")
        assert asked.result().container.exit_code == 137
        assert whole.said()[-2:] == ["stop", "signal"] or whole.said()[-2:] == ["signal", "stop"]
        whole.check()


def test_a_process_that_does_not_die_is_reported_and_its_container_runs_on(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        whole.run()
        whole.world.stubborn = True
        asked = whole.begin(lambda: whole.do("kill"))
        clock.wait_for_timer(KILL_PATIENCE)
        clock.advance(KILL_PATIENCE)
        with pytest.raises(RuntimeFailed, match="does not die"):
            asked.result()
        assert whole.get().state is State.RUNNING
        whole.check()


def test_a_process_whose_end_nobody_told_is_found_gone(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        web = whole.run()
        whole.world.obeys = False
        asked = whole.begin(lambda: whole.do("stop", timeout=5))
        clock.wait_for_timer(5)
        whole.world.end(web.id, 4, tell=False)
        clock.advance(5)
        assert asked.result().container.exit_code == 4


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_paused_process_can_be_stopped_and_killed(whole, how):
    whole.run()
    whole.do("pause")
    assert whole.do(how).container.state is State.STOPPED
    whole.check()
    whole.call("undo")
    assert whole.get().state is State.PAUSED
    whole.check()


# -- an actor that crashes -------------------------------------------------------------------------


class Bug(Exception):
    """Something in an effect that nobody foresaw."""


OPERATIONS = ["start", "stop", "pause", "resume", "kill", "remove", "restart"]
EFFECTS = {
    "start": ["open_generation", "launch"], "stop": ["signal", "clear"], "pause": ["pause"],
    "resume": ["resume"], "kill": ["signal", "clear"], "remove": ["discard"],
    "restart": ["signal", "clear", "open_generation", "launch"],
}
BEFORE = {"start": ["stop"], "resume": ["pause"], "remove": ["stop"]}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("op", "effect"), [(op, effect) for op in OPERATIONS for effect in EFFECTS[op]], ids="-".join)
def test_a_crash_of_the_actor_in_any_effect_leaves_the_state_of_before_or_after(whole, op, effect, after):
    web = whole.run()
    for earlier in BEFORE.get(op, ()):
        whole.do(earlier)
    before = whole.get().digest()
    whole.world.fail(effect, Bug(), after=after)
    try:
        whole.do(op)
    except Exception:  # noqa: BLE001 - whatever it says, what counts is what stands afterwards
        assert whole.get().digest() == before
    else:
        assert whole.containers()[web.id].digest() != before
    whole.check()
    assert all(act.status is not ActStatus.OPEN for act in whole.acts())


@pytest.mark.parametrize("effect", ["create", "open_generation", "launch"])
def test_a_crash_in_a_run_takes_everything_back_or_goes_through(whole, effect):
    whole.world.fail(effect, Bug(), after=True)
    try:
        web = whole.run()
    except Exception:  # noqa: BLE001 - as above
        assert whole.containers() == {}
    else:
        assert web.state is State.RUNNING
    whole.check()


def test_an_outcome_that_stood_when_the_actor_crashed_is_not_journalled_twice(whole, monkeypatch):
    whole.run()
    around = whole.engine.host.containers.around()
    notified = around.changed
    crashed = []

    def crash_once(container: str) -> None:
        if not crashed:
            crashed.append(container)
            raise Bug
        notified(container)

    object.__setattr__(around, "changed", crash_once)
    assert whole.do("pause").container.state is State.PAUSED
    assert crashed
    assert [step.operation for step in whole.last().steps] == ["pause"]
    whole.check()


def test_an_actor_that_comes_back_in_a_transaction_takes_its_container_over_afterwards(whole):
    web = whole.run()
    whole.world.fail("pause", Bug(), after=True)
    whole.do("pause")
    eventually(lambda: web.id in whole.world.watched, "somebody watching")


def test_an_actor_that_fails_too_often_is_parked_and_its_process_goes_on(whole):
    web = whole.run()
    other = whole.run("other")
    whole.world.fail("observe", Bug(), times=1000)
    whole.world.end(web.id, sure=False)
    eventually(lambda: whole.do("inspect").container.parked, "a parked actor")
    assert whole.world.places[web.id].process is not None
    whole.do("stop", "other")
    whole.world._traps.clear()
    whole.do("wake")
    assert whole.do("stop").container.state is State.STOPPED
    assert other.id != web.id
    whole.check()


def test_the_actor_of_a_removed_container_ends_and_a_late_notice_wakes_nobody(whole):
    web = whole.run()
    whole.do("remove", force=True)
    eventually(lambda: all(child.id != web.id for child in whole.host.containers.children()), "its end")
    whole.world.end(web.id, sure=False)
    with pytest.raises(ContainerNotFound):
        whole.do("stop")
    assert all(child.id != web.id for child in whole.host.containers.children())


# -- taking over -----------------------------------------------------------------------------------


def reopened(whole, world: FakeWorld | None = None) -> Whole:
    whole.close()
    return Whole(whole.paths.root, world or whole.world)


def test_a_new_engine_takes_over_what_runs(memory_path):
    first = planted(memory_path / "root")
    web = first.run()
    second = reopened(first)
    eventually(lambda: second.world.watched == [web.id], "somebody watching")
    assert second.get().digest() == web.digest()
    assert second.do("stop").container.exit_code == 143
    second.check()
    second.close()


def test_an_end_while_no_engine_ran_is_found(memory_path):
    first = planted(memory_path / "root")
    web = first.run()
    first.close()
    first.world.end(web.id, 6)
    second = Whole(first.paths.root, first.world)
    assert second.wait_state(State.STOPPED).exit_code == 6
    second.check()
    second.close()


def test_after_a_reboot_what_ran_has_ended_with_an_unknown_code(memory_path):
    first = planted(memory_path / "root")
    first.run()
    first.close()
    first.world.reboot()
    second = Whole(first.paths.root, first.world)
    assert second.wait_state(State.STOPPED).exit_code is None
    second.check()
    second.close()


def test_a_paused_process_found_running_is_paused_again(memory_path):
    first = planted(memory_path / "root")
    web = first.run()
    first.do("pause")
    first.close()
    first.world.places[web.id].process.paused = False
    second = Whole(first.paths.root, first.world)
    eventually(lambda: first.world.places[web.id].process.paused, "the freeze")
    second.check()
    second.close()


def test_what_a_stopped_container_left_behind_is_cleared(memory_path):
    first = planted(memory_path / "root")
    web = first.run()
    first.do("stop")
    first.close()
    first.world.places[web.id].debris = True
    second = Whole(first.paths.root, first.world)
    second.check()
    assert second.do("start").container.state is State.RUNNING
    second.close()


def test_a_container_that_cannot_be_looked_at_keeps_nobody_from_the_others(memory_path):
    first = planted(memory_path / "root")
    first.run("a")
    first.run("b")
    first.close()
    first.world.fail("observe", RuntimeFailed("no runtime"), times=1)
    second = Whole(first.paths.root, first.world)
    second.do("stop", "a")
    second.do("stop", "b")
    second.check()
    second.close()


def test_a_verdict_that_has_expired_starts_nothing(memory_path):
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        whole.run()
        whole.world.obeys = False
        asked = whole.begin(lambda: whole.do("restart", timeout=7200))
        clock.wait_for_timer(7200)
        clock.advance(7200)
        with pytest.raises(StaleState, match="expired"):
            asked.result()
        assert whole.get().state is State.RUNNING
