"""Ends and restarts, after these cases of OTP's supervisor_SUITE:
{permanent,transient,temporary}_{normal,shutdown,abnormal}, multiple_restarts, one_for_one*, one_for_all*,
rest_for_one*, temporary_bystander, hanging_restart_loop, tree."""

from __future__ import annotations

import threading

import pytest
from supervisor_world import NORMAL, SHUTDOWN, SHUTDOWN_WHY, Boom, World, agree, decline, refuse

from vordr.actors.childspec import Backoff, Restart, Status, Strategy, SupervisorSpec
from vordr.actors.reasons import Reason, Shutdown
from vordr.model.errors import ActorDead, SupervisionError

FLAT = SupervisorSpec(intensity=2, period=3600)
ALL = SupervisorSpec(Strategy.ONE_FOR_ALL, intensity=3, period=3600)
REST = SupervisorSpec(Strategy.REST_FOR_ONE, intensity=3, period=3600)


ENDS = [NORMAL, SHUTDOWN, SHUTDOWN_WHY, Boom("abnormal"), SystemExit(3)]


@pytest.mark.parametrize("how", ENDS, ids=repr)
def test_a_permanent_child_is_always_restarted(world: World, how: Reason | BaseException) -> None:
    world.start(FLAT, world.child("a"))
    before = world.incarnations()["a"]
    world.end("a", how=how)
    assert world.incarnations()["a"] > before


@pytest.mark.parametrize("how", ENDS, ids=repr)
def test_a_transient_child_is_restarted_after_an_abnormal_end_only(
    world: World, how: Reason | BaseException
) -> None:
    root = world.start(FLAT, world.child("a", restart=Restart.TRANSIENT))
    world.end("a", how=how)
    abnormal = isinstance(how, BaseException)
    assert world.statuses() == {"a": Status.RUNNING if abnormal else Status.STOPPED}
    assert root.count_children().active == (1 if abnormal else 0)


@pytest.mark.parametrize("how", ENDS, ids=repr)
def test_a_temporary_child_is_never_restarted_and_forgotten(
    world: World, how: Reason | BaseException
) -> None:
    root = world.start(FLAT, world.child("a", restart=Restart.TEMPORARY))
    world.end("a", how=how)
    assert root.which_children() == []
    assert world.actions() == ([("give_up", "a")] if isinstance(how, BaseException) else [])


def test_a_handle_survives_the_restart(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    handle = root.handle_of("a")
    before = handle.ask("who", 5)
    world.crash("a")
    root.which_children()
    assert handle.ask("who", 5) > before


def test_a_decision_tells_who_why_and_how_often(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    world.clock.advance(5)
    world.crash("a")
    root.which_children()
    (decision,) = world.decisions
    assert (decision.supervisor, decision.child, decision.count) == ("root", "a", 1)
    assert decision.time == world.clock.now_us()
    assert "Boom: crash" in str(decision.reason)


def test_one_for_one_leaves_siblings_alone_and_escalates_beyond_the_intensity(world: World) -> None:
    root = world.start(FLAT, world.child("a"), world.child("b"))
    other = world.incarnations()["b"]
    world.crash("a")
    assert world.incarnations()["b"] == other
    world.crash("b")
    assert root.count_children().active == 2
    world.crash("a")
    assert world.over.wait(10)
    assert world.exits == [Shutdown("a failed too often: Boom: crash")]
    assert world.actions() == [("restart", "a"), ("restart", "b"), ("escalate", "a")]
    assert world.events[-1] == ("end", "b")


def test_restarts_that_keep_within_the_intensity_go_on_for_ever(world: World) -> None:
    root = world.start(SupervisorSpec(intensity=1, period=1), world.child("a"))
    for _ in range(5):
        world.crash("a")
        assert root.count_children().active == 1
        world.clock.advance(1.1)


def test_one_for_one_escalates_when_the_restart_itself_fails(world: World) -> None:
    world.scripts["a"].extend([agree, refuse, refuse, refuse, refuse])
    world.start(SupervisorSpec(intensity=4, period=3600), world.child("a"), world.child("b"))
    world.crash("a")
    assert world.over.wait(10)
    assert isinstance(world.exits[0], Shutdown)
    assert world.events.count(("init", "a")) == 5
    assert world.events[-1] == ("end", "b")


def test_one_for_all_restarts_all_in_order_after_stopping_them_in_reverse(world: World) -> None:
    world.start(ALL, world.child("a"), world.child("b"), world.child("c"))
    before = world.incarnations()
    world.forget()
    world.crash("b")
    after = world.incarnations()
    assert all(after[id] > before[id] for id in "abc")
    assert world.events == [
        ("end", "b"), ("end", "c"), ("end", "a"), ("init", "a"), ("init", "b"), ("init", "c"),
    ]


def test_one_for_all_stops_a_restarted_child_when_another_fails_to_start(world: World) -> None:
    world.scripts["b"].extend([agree, refuse])
    root = world.start(ALL, world.child("a"), world.child("b"))
    world.forget()
    world.crash("a")
    world.wait_for(lambda: world.events.count(("init", "b")) == 2)
    assert root.count_children().active == 2
    assert world.events == [
        ("end", "a"), ("end", "b"),
        ("init", "a"), ("init", "b"),
        ("end", "a"),
        ("init", "a"), ("init", "b"),
    ]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_group_strategies_escalate_when_a_sibling_cannot_be_restarted(
    world: World, strategy: Strategy
) -> None:
    world.scripts["b"].extend([agree, *[refuse] * 9])
    world.start(SupervisorSpec(strategy, intensity=4, period=3600), world.child("a"), world.child("b"))
    world.crash("a")
    assert world.over.wait(10)
    assert world.events[-1] == ("end", "a")


def test_rest_for_one_restarts_the_child_and_those_after_it(world: World) -> None:
    world.start(REST, world.child("a"), world.child("b"), world.child("c"))
    before = world.incarnations()
    world.forget()
    world.crash("b")
    after = world.incarnations()
    assert after["a"] == before["a"]
    assert after["b"] > before["b"] and after["c"] > after["b"]
    assert world.events == [("end", "b"), ("end", "c"), ("init", "b"), ("init", "c")]


def test_rest_for_one_keeps_a_restarted_child_when_a_later_one_fails_to_start(world: World) -> None:
    world.scripts["b"].extend([agree, refuse])
    root = world.start(REST, world.child("a"), world.child("b"))
    world.forget()
    world.crash("a")
    world.wait_for(lambda: world.events.count(("init", "b")) == 2)
    assert root.count_children().active == 2
    assert world.events.count(("init", "a")) == 1


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_temporary_bystander_goes_and_does_not_come_back(world: World, strategy: Strategy) -> None:
    spec = SupervisorSpec(strategy, intensity=3, period=3600)
    world.start(spec, world.child("a"), world.child("b", restart=Restart.TEMPORARY))
    world.crash("a")
    assert world.statuses() == {"a": Status.RUNNING}


def test_a_child_that_declines_its_restart_stays_stopped(world: World) -> None:
    world.scripts["a"].extend([agree, decline])
    world.start(FLAT, world.child("a"))
    world.crash("a")
    assert world.statuses() == {"a": Status.STOPPED}


def test_a_child_that_cannot_restart_does_not_make_its_supervisor_deaf(world: World) -> None:
    world.scripts["a"].extend([agree, *[refuse] * 5000])
    root = world.start(SupervisorSpec(intensity=3_000_000, period=3600), world.child("a"), world.child("b"))
    world.crash("a")
    assert world.statuses()["a"] is Status.RESTARTING
    with pytest.raises(SupervisionError) as caught:
        root.restart_child("a")
    assert caught.value.details["why"] == "restarting"
    with pytest.raises(SupervisionError):
        root.delete_child("a")
    root.terminate_child("a")
    root.delete_child("a")
    assert world.statuses() == {"b": Status.RUNNING}


def test_backoff_delays_each_further_restart(world: World) -> None:
    backoff = Backoff(initial=1, factor=2, max=3, jitter=0)
    root = world.start(SupervisorSpec(intensity=9, period=3600, backoff=backoff), world.child("a"))
    for wait in (1, 2, 3, 3):
        world.crash("a")
        assert world.statuses() == {"a": Status.RESTARTING}
        with pytest.raises(ActorDead):
            root.handle_of("a").tell("hello")
        assert world.clock.delays() == [wait]
        world.clock.advance(wait)
        assert world.statuses() == {"a": Status.RUNNING}
    assert [d.delay for d in world.decisions] == [1, 2, 3, 3]


def test_an_older_failure_during_a_backoff_takes_the_waiting_group_along(world: World) -> None:
    backoff = Backoff(initial=10, factor=1, jitter=0)
    spec = SupervisorSpec(Strategy.REST_FOR_ONE, intensity=9, period=3600, backoff=backoff)
    world.start(spec, world.child("a"), world.child("b"), world.child("c"))
    world.forget()
    world.crash("b")
    assert world.statuses() == {"a": Status.RUNNING, "b": Status.RESTARTING, "c": Status.RESTARTING}
    world.clock.advance(5)
    world.crash("a")
    assert set(world.statuses().values()) == {Status.RESTARTING}
    world.clock.advance(5)
    assert set(world.statuses().values()) == {Status.RESTARTING}
    world.clock.advance(5)
    assert set(world.statuses().values()) == {Status.RUNNING}
    assert world.events[-3:] == [("init", "a"), ("init", "b"), ("init", "c")]


def test_an_escalating_supervisor_is_restarted_by_its_own(world: World) -> None:
    inner = world.supervisor("s", SupervisorSpec(intensity=0, period=10), world.child("x"))
    root = world.start(REST, world.child("a"), inner, world.child("z"))
    handle = root.handle_of("s", "x")
    before = handle.ask("who", 5)
    world.forget()
    supervisor = root.handle_of("s").actor
    world.crash("s", "x")
    assert supervisor is not None and supervisor.wait_end(world.clock, None)
    root.which_children()
    assert world.events == [("end", "x"), ("end", "z"), ("init", "x"), ("init", "z")]
    assert handle.ask("who", 5) > before
    assert world.actions() == [("escalate", "x"), ("restart", "s")]


def test_the_restart_window_survives_our_own_crash(world: World) -> None:
    now = world.clock.now_us() / 1e6
    spec = SupervisorSpec(intensity=2, period=60)
    world.start(spec, world.child("a"), history={"a": [now - 30, now - 10, now - 90]})
    world.crash("a")
    assert world.over.wait(10)
    assert world.decisions[-1].action.value == "escalate"


def test_a_report_that_fails_does_not_stop_supervision(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    world.decisions = None  # type: ignore[assignment]
    world.crash("a")
    assert root.count_children().active == 1
    world.decisions = []


def test_a_restart_that_hangs_is_abandoned_and_tried_again(world: World) -> None:
    gate = threading.Event()
    world.gates.append(gate)
    world.scripts["a"].extend([agree, lambda worker: gate.wait(20) and None])
    root = world.start(FLAT, world.child("a", start_timeout=8), world.child("b"))
    world.crash("a")
    world.clock.wait_for_timer(8)
    world.clock.advance(8)
    world.wait_for(lambda: world.events.count(("init", "a")) == 3)
    assert root.count_children().active == 2
    assert world.actions() == [("restart", "a"), ("abandoned", "a"), ("restart", "a")]
