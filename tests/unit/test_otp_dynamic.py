"""OTP's supervisor_SUITE, simple_one_for_one: our dynamic supervisors, the one of the containers among them.

What differs: a dynamic child has an id and a specification of its own, so it can be found, restarted by hand
and deleted like any other. The whole table is tests/otp_cases.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from supervisor_world import NORMAL, SHUTDOWN_WHY, Boom, Worker, World, agree, decline, refuse

from vordr.actors.childspec import (
    BRUTAL,
    Backoff,
    ChildSpec,
    OnExceed,
    Restart,
    Status,
    Strategy,
    SupervisorSpec,
)
from vordr.actors.reasons import Crashed, Killed, Reason, Shutdown
from vordr.actors.requests import ChildCounts
from vordr.actors.tree import stop_tree
from vordr.model.errors import StartFailed, SupervisionError

DYNAMIC = SupervisorSpec(intensity=2, period=3600, dynamic=True)
CONTAINERS = SupervisorSpec(intensity=2, period=3600, dynamic=True, on_exceed=OnExceed.PARK)
TEMPORARY = Restart.TEMPORARY


def in_thread(fn: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=fn, daemon=True)
    thread.start()
    return thread


# -- start and administration ---------------------------------------------------------------------------


@pytest.mark.parametrize("restart", Restart)
def test_a_dynamic_child_that_declines_runs_nothing_and_disturbs_no_stop(
    world: World, restart: Restart
) -> None:
    """OTP: sup_start_ignore_temporary_child_start_child_simple,
    sup_start_ignore_permanent_child_start_child_simple.
    """
    world.scripts["a"].append(decline)
    root = world.start(DYNAMIC)
    assert root.start_child(world.child("a", restart=restart)) is None
    assert root.start_child(world.child("b", restart=restart)) is not None
    known = {} if restart is TEMPORARY else {"a": Status.STOPPED}
    assert world.statuses() == {**known, "b": Status.RUNNING}
    assert root.count_children().active == 1
    assert stop_tree(root.handle, 10)
    assert world.exits == [Shutdown()]


def test_a_dynamic_child_whose_start_fails_leaves_no_trace(world: World) -> None:
    """OTP: sup_start_child_returns_error_simple."""
    world.scripts["a"].append(refuse)
    root = world.start(DYNAMIC)
    with pytest.raises(StartFailed, match="will not start"):
        root.start_child(world.child("a"))
    assert root.which_children() == []


def test_dynamic_children_come_go_and_are_counted(world: World) -> None:
    """OTP: child_adm_simple, which_children_simple_one_for_one."""
    root = world.start(DYNAMIC)
    assert root.which_children() == [] and root.count_children() == ChildCounts(0, 0, 0, 0)
    for number, id in enumerate("ab", 1):
        root.start_child(world.child(id, restart=TEMPORARY))
        assert root.count_children() == ChildCounts(number, number, 0, number)
    gone, b = world.actor("a"), world.actor("b")
    root.terminate_child("a")
    assert gone.exit_reason == Shutdown()
    (left,) = root.which_children()
    assert (left.id, left.status, left.incarnation) == ("b", Status.RUNNING, b.incarnation)
    for refused in (root.terminate_child, root.restart_child, root.delete_child, root.get_childspec):
        with pytest.raises(SupervisionError) as caught:
            refused("a")
        assert caught.value.details["why"] == "not_found"
    assert root.count_children() == ChildCounts(1, 1, 0, 1)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_dynamic_is_one_for_one(strategy: Strategy) -> None:
    """OTP: simple_one_for_one."""
    with pytest.raises(SupervisionError, match="only one_for_one can be dynamic"):
        SupervisorSpec(strategy, dynamic=True)


# -- restarts -------------------------------------------------------------------------------------------


def test_a_dynamic_child_restarts_alone_and_too_many_restarts_end_the_supervisor(world: World) -> None:
    """OTP: simple_one_for_one."""
    root = world.start(DYNAMIC)
    for id in "ab":
        root.start_child(world.child(id))
    b = world.incarnations()["b"]
    world.crash("a")
    assert world.incarnations()["b"] == b and root.count_children() == ChildCounts(2, 2, 0, 2)
    world.crash("b")
    assert root.count_children() == ChildCounts(2, 2, 0, 2)
    world.crash("a")
    assert world.over.wait(10)
    assert world.exits == [Shutdown("a failed too often: Boom: crash")]


def test_a_dynamic_child_that_cannot_be_restarted_ends_the_supervisor(world: World) -> None:
    """OTP: simple_one_for_one_escalation."""
    world.scripts["a"].extend([agree, *[refuse] * 9])
    root = world.start(DYNAMIC)
    for id in "ab":
        root.start_child(world.child(id))
    b = world.actor("b")
    world.crash("a")
    assert world.over.wait(10)
    assert b.exit_reason == Shutdown()


def test_a_container_that_cannot_be_restarted_is_parked_and_ends_nobody(world: World) -> None:
    """OTP: simple_one_for_one_escalation."""
    world.scripts["a"].extend([agree, *[refuse] * 9])
    root = world.start(CONTAINERS)
    for id in "ab":
        root.start_child(world.child(id))
    b = world.incarnations()["b"]
    world.crash("a")
    world.wait_for(lambda: bool(world.decisions) and world.decisions[-1].action.value == "park")
    assert world.statuses() == {"a": Status.PARKED, "b": Status.RUNNING}
    assert world.incarnations()["b"] == b


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
def test_a_dynamic_child_that_declines_a_restart_rests_and_disturbs_no_stop(
    world: World, restart: Restart
) -> None:
    """OTP: simple_one_for_one_restart_ignore."""
    world.scripts["a"].extend([agree, agree, decline])
    root = world.start(DYNAMIC)
    root.start_child(world.child("a", restart=restart))
    world.kill("a")
    assert world.statuses() == {"a": Status.RUNNING}
    world.kill("a")
    assert world.statuses() == {"a": Status.STOPPED} and root.count_children() == ChildCounts(1, 0, 0, 1)
    assert stop_tree(root.handle, 10)
    assert world.exits == [Shutdown()]


def test_children_that_wait_for_their_restart_are_known_and_not_active(world: World) -> None:
    """OTP: count_restarting_children."""
    spec = SupervisorSpec(
        intensity=20, period=3600, dynamic=True, backoff=Backoff(initial=10, factor=1, jitter=0)
    )
    root = world.start(spec)
    for number, id in enumerate("abc", 1):
        root.start_child(world.child(id))
        assert root.count_children() == ChildCounts(number, number, 0, number)
    for id in "ab":
        world.scripts[id].append(refuse)
        world.crash(id)
    for _ in range(2):  # they wait for the first attempt, which fails; they wait for the second
        assert root.count_children() == ChildCounts(3, 1, 0, 3)
        assert world.statuses() == {"a": Status.RESTARTING, "b": Status.RESTARTING, "c": Status.RUNNING}
        world.clock.advance(10)
    assert root.count_children() == ChildCounts(3, 3, 0, 3)
    for active, id in zip((2, 1, 0), "abc", strict=True):
        root.terminate_child(id)
        assert root.count_children().active == active


def test_a_dynamic_child_can_be_ended_while_its_restart_hangs(world: World) -> None:
    """OTP: hanging_restart_loop_simple."""
    failing = threading.Event()

    def start(context: object) -> Worker:
        if failing.is_set():
            world.note("failed", "a")
            raise Boom("not yet")
        return Worker(world, "a")

    child = ChildSpec("a", start, shutdown=BRUTAL)
    root = world.start(SupervisorSpec(intensity=10**9, period=3600, dynamic=True))
    for end in (lambda: root.terminate_child("a"), lambda: stop_tree(root.handle, 10)):
        root.start_child(child)
        world.forget()
        failing.set()
        world.crash("a")
        world.wait_for(lambda: ("failed", "a") in world.events)
        assert world.statuses() == {"a": Status.RESTARTING}
        assert root.count_children() == ChildCounts(1, 0, 0, 1)
        end()
        failing.clear()
        if root.handle.alive:
            root.delete_child("a")
    assert world.over.is_set()


# -- stop -----------------------------------------------------------------------------------------------


def test_of_dynamic_children_only_the_late_one_is_killed(world: World) -> None:
    """OTP: sup_stop_timeout_dynamic."""
    root = world.start(DYNAMIC, *(world.child(id, restart=TEMPORARY, shutdown=1) for id in "ab"))
    quick, slow = world.actor("a"), world.actor("b")
    world.hold("b")
    stopping = in_thread(lambda: stop_tree(root.handle, None))
    world.clock.wait_for_timer(1)
    assert quick.wait_end(world.clock, None)
    world.clock.advance(1)
    stopping.join(10)
    assert (quick.exit_reason, slow.exit_reason) == (Shutdown(), Killed())
    assert world.exits == [Shutdown()]


def test_dynamic_children_with_brutal_kill_are_all_killed(world: World) -> None:
    """OTP: sup_stop_brutal_kill_dynamic."""
    ids = [f"c{number}" for number in range(10)]
    root = world.start(DYNAMIC, *(world.child(id, restart=TEMPORARY, shutdown=BRUTAL) for id in ids))
    actors = [world.actor(id) for id in ids]
    world.forget()
    assert stop_tree(root.handle, 10)
    assert {actor.exit_reason for actor in actors} == {Killed()}
    assert world.events == [] and world.exits == [Shutdown()]


class Deaf(Worker):
    """Ends as it was told beforehand when it is asked to stop."""

    def __init__(self, world: World, id: str, how: Reason | BaseException) -> None:
        super().__init__(world, id)
        self.how = how

    def stop(self, reason: Reason = NORMAL) -> None:
        super().stop(reason if isinstance(self.how, BaseException) else self.how)

    def terminate(self, reason: Reason) -> None:
        if isinstance(self.how, BaseException):
            raise self.how


@pytest.mark.parametrize("restart", Restart)
def test_dynamic_children_may_end_with_another_reason_than_shutdown(world: World, restart: Restart) -> None:
    """OTP: sup_stop_non_shutdown_exit_dynamic."""
    ways: dict[str, Reason | BaseException] = {
        "normal": NORMAL, "shutdown": Shutdown(), "why": SHUTDOWN_WHY, "other": Boom("other"),
    }

    def child(id: str, how: Reason | BaseException) -> ChildSpec:
        return ChildSpec(id, lambda context: Deaf(world, id, how), restart=restart)

    root = world.start(DYNAMIC, *(child(id, how) for id, how in ways.items()))
    actors = {id: world.actor(id) for id in ways}
    world.forget()
    assert stop_tree(root.handle, 10)
    for id, how in ways.items():
        reason = actors[id].exit_reason
        assert reason == how or (isinstance(reason, Crashed) and reason.exception is how)
    assert world.events == [] and world.decisions == [] and world.exits == [Shutdown()]


def test_dynamic_children_share_the_time_to_stop(world: World) -> None:
    """OTP: simple_one_for_one_shutdown."""
    root = world.start(DYNAMIC, *(world.child(id, shutdown=2) for id in "abcd"))
    actors = [world.actor(id) for id in "abcd"]
    gates = [world.hold(id) for id in "abcd"]
    stopping = in_thread(lambda: stop_tree(root.handle, None))
    world.clock.wait_for_timer(2)
    world.clock.advance(1)
    for actor, gate in zip(actors[:2], gates[:2], strict=True):
        gate.set()
        assert actor.wait_end(world.clock, None)
    assert stopping.is_alive()
    world.clock.advance(1)
    stopping.join(10)
    assert [actor.exit_reason for actor in actors] == [Shutdown(), Shutdown(), Killed(), Killed()]
    assert world.clock.monotonic() == 2
