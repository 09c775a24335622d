"""A running supervisor does what the pure decisions say, for any strategy and any run of crashes."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent.parent / "unit"))

from supervisor_world import World  # noqa: E402 - the path to it is set above

from vordr.actors import restarts  # noqa: E402 - as above
from vordr.actors.childspec import Status, Strategy, SupervisorSpec  # noqa: E402 - as above

IDS = "abcde"


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(Strategy), st.integers(1, 5), st.lists(st.integers(0, 4), max_size=6))
def test_exactly_the_affected_children_get_a_new_incarnation_in_start_order(
    strategy: Strategy, count: int, crashes: list[int]
) -> None:
    world, ids = World(), list(IDS[:count])
    try:
        root = world.start(
            SupervisorSpec(strategy, intensity=len(crashes), period=60), *(world.child(id) for id in ids)
        )
        for number in crashes:
            failed, before = ids[number % count], world.incarnations()
            world.forget()
            world.crash(failed)
            after = world.incarnations()
            group = restarts.affected(strategy, ids, failed)
            assert [id for what, id in world.events if what == "init"] == list(group)
            assert {id for id in ids if after[id] != before[id]} == set(group)
            assert sorted(group, key=lambda id: after[id]) == list(group)
        assert set(world.statuses().values()) == {Status.RUNNING}
        world.crash(ids[0])
        assert world.over.wait(10)
        assert not root.handle.alive
    finally:
        world.close()
