"""Parking: one bad child rests, its siblings and its supervisor go on (design §5)."""

from __future__ import annotations

import pytest
from supervisor_world import World, refuse

from vordr.actors.childspec import OnExceed, Restart, Status, SupervisorSpec
from vordr.model.errors import Parked, StartFailed, SupervisionError

PARKING = SupervisorSpec(intensity=2, period=60, on_exceed=OnExceed.PARK, dynamic=True)


def wear_out(world: World, id: str) -> None:
    for _ in range(3):
        world.crash(id)
        world.root.which_children()


def test_a_child_that_fails_too_often_is_parked_with_its_reason(world: World) -> None:
    root = world.start(PARKING, world.child("a"), world.child("b"))
    wear_out(world, "a")
    (a, b) = root.which_children()
    assert (a.status, a.why, b.status) == (Status.PARKED, "Boom: crash", Status.RUNNING)
    assert world.actions() == [("restart", "a"), ("restart", "a"), ("park", "a")]
    assert not world.over.is_set()


def test_a_message_to_a_parked_child_says_so_and_how_to_wake_it(world: World) -> None:
    root = world.start(PARKING, world.child("a"))
    wear_out(world, "a")
    with pytest.raises(Parked) as caught:
        root.handle_of("a").ask("hello", 5)
    assert caught.value.details == {"child": "a", "reason": "Boom: crash"}
    assert caught.value.remedy == "vordr wake a"


def test_windows_are_per_child_when_parking(world: World) -> None:
    root = world.start(PARKING, *(world.child(id) for id in "abcd"))
    for id in "abcdabcd":
        world.crash(id)
        root.which_children()
    assert set(world.statuses().values()) == {Status.RUNNING}


def test_waking_starts_it_with_a_clean_record(world: World) -> None:
    root = world.start(PARKING, world.child("a"))
    wear_out(world, "a")
    handle = root.wake("a")
    assert handle is not None and handle.ask("hello", 5)
    world.crash("a")
    assert world.statuses() == {"a": Status.RUNNING}


def test_a_wake_that_fails_leaves_it_parked_with_the_new_reason(world: World) -> None:
    root = world.start(PARKING, world.child("a"))
    wear_out(world, "a")
    world.scripts["a"].append(refuse)
    with pytest.raises(StartFailed):
        root.wake("a")
    assert "will not start" in root.which_children()[0].why
    with pytest.raises(Parked):
        root.handle_of("a").tell("hello")


def test_only_a_parked_child_can_be_woken(world: World) -> None:
    root = world.start(PARKING, world.child("a"))
    with pytest.raises(SupervisionError) as caught:
        root.wake("a")
    assert caught.value.details["why"] == "not_parked"


def test_a_parked_child_can_be_deleted(world: World) -> None:
    root = world.start(PARKING, world.child("a", restart=Restart.TRANSIENT))
    wear_out(world, "a")
    root.delete_child("a")
    assert root.which_children() == []


def test_a_seeded_window_parks_a_child_added_later(world: World) -> None:
    now = world.clock.now_us() / 1e6
    root = world.start(PARKING, history={"a": [now - 1, now - 2]})
    root.start_child(world.child("a"))
    root.start_child(world.child("b"))
    world.crash("a")
    world.crash("b")
    assert world.statuses() == {"a": Status.PARKED, "b": Status.RUNNING}
