"""Starting, declining and failing to start; administration. After OTP's supervisor_SUITE: sup_start_*,
child_adm, child_specs, sup_flags, extra_return, count_children."""

from __future__ import annotations

from typing import Any

import pytest
from supervisor_world import Boom, World, decline, refuse

from vordr.actors.childspec import (
    INFINITY,
    AutoShutdown,
    ChildSpec,
    OnExceed,
    Restart,
    Status,
    Strategy,
    SupervisorSpec,
)
from vordr.actors.reasons import Killed
from vordr.actors.requests import ChildCounts
from vordr.model.errors import ActorDead, DeadlineExceeded, StartFailed, SupervisionError

FLAT = SupervisorSpec(intensity=2, period=3600)


def why(caught: pytest.ExceptionInfo[SupervisionError]) -> str:
    return str(caught.value.details["why"])


def test_children_start_left_to_right_and_run_when_start_returns(world: World) -> None:
    root = world.start(FLAT, world.child("a"), world.child("b"), world.child("c"))
    assert world.events == [("init", "a"), ("init", "b"), ("init", "c")]
    assert [c.id for c in root.which_children()] == ["a", "b", "c"]
    assert all(c.incarnation for c in root.which_children())


def test_a_failing_start_undoes_what_was_started_in_reverse(world: World) -> None:
    world.scripts["c"].append(refuse)
    with pytest.raises(StartFailed) as caught:
        world.start(FLAT, world.child("a"), world.child("b"), world.child("c"), world.child("d"))
    assert world.events[3:] == [("end", "b"), ("end", "a")]
    assert caught.value.details["child"] == "c"
    assert isinstance(caught.value.__cause__, Boom)
    assert not world.over.is_set()


def test_a_factory_that_raises_is_a_failed_start(world: World) -> None:
    def broken(context: object) -> Any:
        raise Boom("no actor")

    with pytest.raises(StartFailed, match="no actor"):
        world.start(FLAT, ChildSpec("a", broken))


def test_a_child_that_declines_stays_known_and_stopped(world: World) -> None:
    world.scripts["a"].append(decline)
    root = world.start(FLAT)
    assert root.start_child(world.child("a")) is None
    assert root.start_child(world.child("b")) is not None
    assert world.statuses() == {"a": Status.STOPPED, "b": Status.RUNNING}
    assert root.count_children() == ChildCounts(2, 1, 0, 2)


@pytest.mark.parametrize("static", [True, False])
def test_a_temporary_child_that_declines_is_not_kept(world: World, static: bool) -> None:
    world.scripts["a"].append(decline)
    spec = world.child("a", restart=Restart.TEMPORARY)
    root = world.start(FLAT, *([spec] if static else []))
    if not static:
        assert root.start_child(spec) is None
    assert root.which_children() == []
    assert root.count_children() == ChildCounts(0, 0, 0, 0)


def test_a_child_added_later_that_fails_leaves_no_trace(world: World) -> None:
    world.scripts["a"].append(refuse)
    root = world.start(FLAT)
    with pytest.raises(StartFailed):
        root.start_child(world.child("a"))
    assert root.which_children() == []
    assert root.start_child(world.child("a")) is not None


def test_administration_of_children_follows_otp(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    handle = root.handle_of("a")
    with pytest.raises(SupervisionError) as caught:
        root.start_child(world.child("a"))
    assert why(caught) == "already_started"
    for call in (root.terminate_child, root.delete_child, root.restart_child, root.get_childspec, root.wake):
        with pytest.raises(SupervisionError) as caught:
            call("hey")
        assert why(caught) == "not_found"
    for call in (root.delete_child, root.restart_child):
        with pytest.raises(SupervisionError) as caught:
            call("a")
        assert why(caught) == "running"
    root.terminate_child("a")
    root.terminate_child("a")
    assert root.count_children() == ChildCounts(1, 0, 0, 1)
    with pytest.raises(ActorDead):
        handle.tell("hello")
    with pytest.raises(SupervisionError) as caught:
        root.start_child(world.child("a"))
    assert why(caught) == "already_present"
    assert root.restart_child("a") is handle
    assert handle.alive
    root.terminate_child("a")
    root.delete_child("a")
    assert root.which_children() == []
    with pytest.raises(SupervisionError) as caught:
        root.restart_child("a")
    assert why(caught) == "not_found"


def test_a_restart_by_hand_that_fails_leaves_the_child_stopped(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    root.terminate_child("a")
    world.scripts["a"].append(refuse)
    with pytest.raises(StartFailed):
        root.restart_child("a")
    assert world.statuses() == {"a": Status.STOPPED}


def test_defaults_are_those_of_otp(world: World) -> None:
    root = world.start(FLAT, world.child("a"), world.supervisor("s", FLAT))
    worker, supervisor = root.get_childspec("a"), root.get_childspec("s")
    assert (worker.restart, worker.shutdown) == (Restart.PERMANENT, 5.0)
    assert supervisor.shutdown is INFINITY
    assert SupervisorSpec() == SupervisorSpec(Strategy.ONE_FOR_ONE, 1, 5.0, AutoShutdown.NEVER)
    assert root.count_children() == ChildCounts(2, 2, 1, 1)


@pytest.mark.parametrize(
    "faults",
    [
        {"id": ""},
        {"start": "mfa"},
        {"restart": "prmanent"},
        {"shutdown": -10},
        {"shutdown": float("nan")},
        {"type": "wrker"},
        {"significant": "yes", "restart": Restart.TRANSIENT},
        {"significant": True},
        {"start_timeout": -1},
    ],
    ids=str,
)
def test_a_faulty_child_specification_cannot_be_made(faults: dict[str, Any]) -> None:
    with pytest.raises(SupervisionError, match="faulty specification"):
        ChildSpec(**{"id": "a", "start": lambda context: None, **faults})


@pytest.mark.parametrize(
    "faults",
    [
        {"strategy": "none_for_one"},
        {"intensity": -1},
        {"intensity": 1.5},
        {"period": 0},
        {"period": float("inf")},
        {"auto_shutdown": "sometimes"},
        {"on_exceed": "explode"},
        {"strategy": Strategy.REST_FOR_ONE, "on_exceed": OnExceed.PARK},
        {"strategy": Strategy.ONE_FOR_ALL, "dynamic": True},
    ],
    ids=str,
)
def test_faulty_supervisor_flags_cannot_be_made(faults: dict[str, Any]) -> None:
    with pytest.raises(SupervisionError, match="faulty specification"):
        SupervisorSpec(**faults)


def test_two_children_of_one_id_are_refused(world: World) -> None:
    with pytest.raises(SupervisionError, match="two children"):
        world.start(FLAT, world.child("a"), world.child("a"))


def test_something_else_than_a_specification_is_refused_and_the_supervisor_lives(world: World) -> None:
    root = world.start(FLAT)
    with pytest.raises(SupervisionError):
        root.start_child("hey")  # type: ignore[arg-type]
    with pytest.raises(SupervisionError, match="does not understand"):
        root.handle.ask("foo", 5)
    root.handle.tell("foo")
    assert root.which_children() == []


def test_a_child_that_never_gets_ready_is_abandoned_and_fenced(world: World) -> None:
    import threading

    gate, seen = threading.Event(), []
    world.gates.append(gate)
    world.scripts["a"].append(lambda worker: (seen.append(worker), gate.wait(20))[0])
    root = world.start(FLAT)
    failures: list[BaseException] = []

    def start() -> None:
        try:
            root.start_child(world.child("a", start_timeout=7))
        except StartFailed as error:
            failures.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    world.clock.wait_for_timer(7)
    world.clock.advance(7)
    starter.join(10)
    assert "did not start within 7 s" in str(failures[0])
    assert seen[0].fenced
    assert world.actions() == [("abandoned", "a")]
    assert (world.decisions[0].incarnation, world.decisions[0].reason) == (seen[0].incarnation, Killed())
    assert root.which_children() == []


def test_many_children_start_and_stop(world: World) -> None:
    root = world.start(SupervisorSpec(dynamic=True))
    for number in range(200):
        root.start_child(world.child(f"c{number}", restart=Restart.TEMPORARY))
    assert root.count_children() == ChildCounts(200, 200, 0, 200)
    for number in range(0, 200, 2):
        root.terminate_child(f"c{number}")
    assert root.count_children() == ChildCounts(100, 100, 0, 100)


def test_a_dead_supervisor_answers_with_a_typed_error(world: World) -> None:
    from vordr.actors.tree import stop_tree

    root = world.start(FLAT)
    assert stop_tree(root.handle, 10)
    with pytest.raises(ActorDead):
        root.which_children()
    assert not issubclass(ActorDead, DeadlineExceeded)
