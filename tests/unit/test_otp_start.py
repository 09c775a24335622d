"""OTP's supervisor_SUITE, starting and describing children: the cases that the older tests do not stand for.

The first line of each test names its cases; the whole table is tests/otp_cases.md.
"""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest
from supervisor_world import Boom, Leave, Worker, World

from vordr.actors.actor import Actor
from vordr.actors.childspec import (
    BRUTAL,
    INFINITY,
    AutoShutdown,
    ChildSpec,
    ChildType,
    Restart,
    Status,
    SupervisorSpec,
    check_children,
)
from vordr.actors.reasons import Shutdown
from vordr.actors.requests import ChildCounts
from vordr.actors.tree import stop_tree
from vordr.model.errors import StartFailed, SupervisionError

FLAT = SupervisorSpec(intensity=2, period=3600)


def test_an_empty_supervisor_starts_and_ends_with_shutdown(world: World) -> None:
    """OTP: sup_start_normal."""
    root = world.start(FLAT)
    assert root.count_children() == ChildCounts(0, 0, 0, 0)
    assert stop_tree(root.handle, 10)
    assert world.exits == [Shutdown()]


def test_a_faulty_specification_starts_nothing(world: World) -> None:
    """OTP: sup_start_error_return."""
    with pytest.raises(SupervisionError, match="no child specification"):
        world.start(FLAT, world.child("a"), "invalid")  # type: ignore[arg-type]  # that is the fault
    assert world.events == [] and not world.over.is_set()


@pytest.mark.parametrize("error", [Boom("no supervisor"), SystemExit(3)], ids=repr)
def test_a_supervisor_that_cannot_be_made_fails_the_start_above_it(
    world: World, error: BaseException
) -> None:
    """OTP: sup_start_fail."""
    def broken(context: object) -> Any:
        raise error

    with pytest.raises(StartFailed) as caught:
        world.start(FLAT, world.child("a"), ChildSpec("s", broken, type=ChildType.SUPERVISOR))
    assert caught.value.__cause__ is error
    assert world.events == [("init", "a"), ("end", "a")] and not world.over.is_set()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("given", [None, "error_reason", Worker], ids=str)
def test_a_start_that_gives_no_actor_fails_and_its_supervisor_lives(
    world: World, given: object, dynamic: bool
) -> None:
    """OTP: sup_start_child_returns_error, sup_start_child_returns_error_simple."""
    def start(context: object) -> Any:
        return given

    root = world.start(SupervisorSpec(dynamic=dynamic))
    for spec in (ChildSpec("a", start), ChildSpec("b", start, restart=Restart.TEMPORARY)):
        with pytest.raises(StartFailed, match="no actor"):
            root.start_child(spec)
    assert root.which_children() == [] and not world.over.is_set()


@pytest.mark.parametrize("error", [Boom("reason"), SystemExit(3)], ids=repr)
def test_a_start_that_raises_anything_at_all_fails_alone(world: World, error: BaseException) -> None:
    """OTP: sup_start_child_returns_error."""
    def broken(context: object) -> Any:
        raise error

    root = world.start(FLAT, world.child("a"))
    with pytest.raises(StartFailed) as caught:
        root.start_child(ChildSpec("b", broken))
    assert caught.value.__cause__ is error
    assert world.statuses() == {"a": Status.RUNNING}


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_childs_specification_can_be_read_back_whole(world: World, dynamic: bool) -> None:
    """OTP: sup_start_map, sup_start_map_simple."""
    root = world.start(SupervisorSpec(dynamic=dynamic))
    specs = [
        world.child("a"),
        world.child("b", shutdown=BRUTAL, restart=Restart.TEMPORARY),
        world.supervisor("s", FLAT),
    ]
    for spec in specs:
        root.start_child(spec)
    assert [root.get_childspec(spec.id) for spec in specs] == specs
    a, b, s = (root.get_childspec(spec.id) for spec in specs)
    assert (a.restart, a.shutdown, a.type, a.significant) == (Restart.PERMANENT, 5.0, ChildType.WORKER, False)
    assert (b.shutdown, s.shutdown, s.type) == (BRUTAL, INFINITY, ChildType.SUPERVISOR)
    with pytest.raises(SupervisionError, match="no child d"):
        root.get_childspec("d")


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"start": Worker}, "id"),
        ({"id": "a"}, "start"),
        ({}, "id"),
        ({"id": "a", "start": Worker, "silly_flag": True}, "silly_flag"),
    ],
    ids=str,
)
def test_a_specification_that_lacks_a_part_or_has_one_too_many_cannot_be_made(
    parts: dict[str, Any], fault: str
) -> None:
    """OTP: sup_start_map_faulty_specs, child_specs_map."""
    with pytest.raises(TypeError, match=fault):
        ChildSpec(**parts)


def test_flags_that_nobody_knows_are_refused() -> None:
    """OTP: sup_flags."""
    with pytest.raises(TypeError, match="silly_flag"):
        SupervisorSpec(silly_flag=True)  # type: ignore[call-arg]  # that is the fault


def test_each_sound_combination_is_taken_and_no_other() -> None:
    """OTP: child_specs, child_specs_map."""
    shutdowns = (None, 0, 1, 2.5, INFINITY, BRUTAL)
    parts = itertools.product(AutoShutdown, Restart, shutdowns, ChildType, (False, True))
    for mode, restart, shutdown, type, significant in parts:
        sound = not significant or (restart is not Restart.PERMANENT and mode is not AutoShutdown.NEVER)
        try:
            child = ChildSpec("a", Worker, restart, shutdown, type, significant)  # type: ignore[arg-type]
            check_children(SupervisorSpec(auto_shutdown=mode), [child])
        except SupervisionError as refusal:
            assert not sound and "significant" in str(refusal)
        else:
            assert sound


def test_an_actor_that_runs_already_is_not_started_again(world: World) -> None:
    """OTP: already_started_outside_supervisor."""
    root = world.start(FLAT, world.child("a"))
    outside = world.actor("a")
    with pytest.raises(StartFailed, match="was started before"):
        root.start_child(ChildSpec("b", lambda context: outside))
    assert world.statuses() == {"a": Status.RUNNING}
    assert root.handle_of("a").ask("who", 5) == outside.incarnation and outside.name == "root/a"


def test_a_start_that_gives_the_same_actor_twice_cannot_be_restarted(world: World) -> None:
    """OTP: already_started_outside_supervisor."""
    made: list[Actor] = []

    def start(context: object) -> Actor:
        made[:] = made or [Worker(world, "a")]
        return made[0]

    world.start(FLAT, ChildSpec("a", start))
    world.crash("a")
    assert world.over.wait(10)
    assert "was started before" in str(world.exits[0])
    assert world.events == [("init", "a"), ("end", "a")]


def test_children_are_listed_as_they_stand_oldest_first(world: World) -> None:
    """OTP: which_children."""
    root = world.start(FLAT)
    assert root.which_children() == []
    for id in ("b", "a"):
        root.start_child(world.child(id))
    b, a = root.which_children()
    assert (b.id, b.status, b.incarnation) == ("b", Status.RUNNING, world.actor("b").incarnation)
    assert (a.id, a.status, a.incarnation) == ("a", Status.RUNNING, world.actor("a").incarnation)
    root.terminate_child("b")
    b, a = root.which_children()
    assert (b.id, b.status, b.incarnation, a.status) == ("b", Status.STOPPED, 0, Status.RUNNING)
    root.delete_child("b")
    assert root.which_children() == [a]


def test_a_start_or_stop_on_request_is_no_decision(world: World) -> None:
    """OTP: external_start_no_progress_log."""
    root = world.start(FLAT, world.child("a"))
    root.start_child(world.child("b"))
    root.terminate_child("b")
    root.restart_child("b")
    assert world.actions() == []
    world.root.handle_of("b").tell(Leave(Shutdown()))
    assert world.actor("b").wait_end(world.clock, None)
    root.which_children()
    assert world.actions() == [("restart", "b")]


def test_a_failure_deep_in_the_tree_names_its_first_cause(world: World) -> None:
    """OTP: faulty_application_shutdown."""
    def faulty(context: object) -> Actor:
        importlib.import_module("a_module_that_does_not_exist")
        raise AssertionError

    inner = world.supervisor("in", FLAT, world.child("x"), ChildSpec("faulty", faulty))
    with pytest.raises(StartFailed) as caught:
        world.start(FLAT, world.child("a"), world.supervisor("out", FLAT, world.child("o"), inner))
    assert [id for what, id in world.events if what == "end"] == ["x", "o", "a"]
    assert all(name in str(caught.value) for name in ("root/out", "root/out/in", "root/out/in/faulty"))
    cause: BaseException | None = caught.value
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    assert isinstance(cause, ModuleNotFoundError) and cause.name == "a_module_that_does_not_exist"
