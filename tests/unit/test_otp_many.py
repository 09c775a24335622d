"""OTP's supervisor_SUITE, many children: counted, and at a cost that does not grow with their number.

The whole table is tests/otp_cases.md.
"""

from __future__ import annotations

import pytest
from supervisor_world import NORMAL, World

from vordr.actors.childspec import Restart, Strategy, SupervisorSpec
from vordr.actors.requests import ChildCounts

DYNAMIC = SupervisorSpec(intensity=2, period=3600, dynamic=True)
TEMPORARY = Restart.TEMPORARY


@pytest.mark.parametrize("supervisors", [False, True])
def test_many_dynamic_children_are_counted_by_kind(world: World, supervisors: bool) -> None:
    """OTP: count_children, count_children_supervisor."""
    root = world.start(DYNAMIC)
    count = 0
    for more in (60, 60):
        for id in [f"c{count + number}" for number in range(more)]:
            child = world.supervisor(id, DYNAMIC, restart=TEMPORARY) if supervisors else world.child(
                id, restart=TEMPORARY)
            root.start_child(child)
        count += more
        assert len(root.which_children()) == count
        kinds = (count, 0) if supervisors else (0, count)
        assert root.count_children() == ChildCounts(count, count, *kinds)
    for known in root.which_children():
        world.kill(known.id)
    assert root.count_children() == ChildCounts(0, 0, 0, 0)


class Counted(str):
    """An id that counts how often ids are compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("way", ["terminate", "end"])
def test_the_cost_of_a_temporary_child_does_not_grow_with_their_number(world: World, way: str) -> None:
    """OTP: simple_one_for_one_scale_many_temporary_children."""
    root, count = world.start(DYNAMIC), 150
    Counted.compared = 0
    for number in range(count):
        root.start_child(world.child(Counted(f"c{number}"), restart=TEMPORARY))
    for number in range(count):
        if way == "terminate":
            root.terminate_child(Counted(f"c{number}"))
        else:
            world.end(f"c{number}", how=NORMAL)
    assert root.which_children() == []
    assert Counted.compared < 15 * count


@pytest.mark.parametrize("strategy", Strategy)
def test_the_cost_of_a_child_does_not_grow_with_their_number(world: World, strategy: Strategy) -> None:
    """OTP: scale_start_stop_many_children."""
    root, count = world.start(SupervisorSpec(strategy)), 150
    Counted.compared = 0
    for number in range(count):
        root.start_child(world.child(Counted(f"c{number}")))
    for number in range(count):
        root.terminate_child(Counted(f"c{number}"))
        root.delete_child(Counted(f"c{number}"))
    assert root.which_children() == []
    assert Counted.compared < 15 * count
