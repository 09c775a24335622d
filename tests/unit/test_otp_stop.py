"""OTP's supervisor_SUITE, stopping: the cases that the older tests do not stand for.

The whole table is tests/otp_cases.md."""

from __future__ import annotations

import threading
from collections.abc import Callable

from supervisor_world import NORMAL, SHUTDOWN, SHUTDOWN_WHY, Boom, Worker, World

from vordr.actors.childspec import INFINITY, ChildSpec, Restart, Strategy, SupervisorSpec
from vordr.actors.reasons import Crashed, Killed, Reason, Shutdown
from vordr.actors.tree import stop_tree

FLAT = SupervisorSpec(intensity=2, period=3600)
REST = SupervisorSpec(Strategy.REST_FOR_ONE, intensity=2, period=3600)


def in_thread(fn: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=fn, daemon=True)
    thread.start()
    return thread


def test_a_child_with_infinity_is_waited_for_however_long_it_takes(world: World) -> None:
    """OTP: sup_stop_infinity."""
    inner = world.supervisor("s", FLAT, world.child("x", shutdown=INFINITY))
    root = world.start(FLAT, world.child("a", shutdown=INFINITY), inner, world.child("last"))
    slow, outer, last = world.actor("s", "x"), world.actor("s"), world.actor("last")
    gate = world.hold("s", "x")
    stopping = in_thread(lambda: stop_tree(root.handle, None))
    assert last.wait_end(world.clock, None)
    world.clock.advance(1e9)
    assert slow.exit_reason is None and not slow.fenced and stopping.is_alive()
    gate.set()
    stopping.join(10)
    assert [actor.exit_reason for actor in (slow, outer)] == [Shutdown()] * 2
    assert world.exits == [Shutdown()] and world.decisions == []


ENDS: list[Reason | BaseException] = [NORMAL, SHUTDOWN, SHUTDOWN_WHY, Boom("other")]


def test_children_that_end_by_themselves_do_not_disturb_a_stop(world: World) -> None:
    """OTP: sup_stop_race."""
    ways = {f"{restart}-{n}": (restart, how) for restart in Restart for n, how in enumerate(ENDS)}
    children = [world.child(id, restart=restart) for id, (restart, _) in ways.items()]
    root = world.start(FLAT, world.child("a"), *children, world.child("z", shutdown=2))
    actors = {id: world.actor(id) for id in ("a", "z", *ways)}
    gate = world.hold("z")
    stopping = in_thread(lambda: stop_tree(root.handle, None))
    world.clock.wait_for_timer(2)  # it waits for z, the last; the others are still to be stopped
    world.forget()
    for id, (_, how) in ways.items():
        world.end(id, how=how)
    gate.set()
    stopping.join(10)
    assert not stopping.is_alive()
    for id, (_, how) in ways.items():
        reason = actors[id].exit_reason
        assert reason == how or (isinstance(reason, Crashed) and reason.exception is how)
    assert (actors["a"].exit_reason, actors["z"].exit_reason) == (Shutdown(), Shutdown())
    assert [what for what, _ in world.events] == ["end"] * (len(ways) + 2)
    assert world.exits == [Shutdown()] and world.decisions == []


class Naughty(Worker):
    """Does not hear that it should end."""

    def stop(self, reason: Reason = NORMAL) -> None:
        pass


def test_a_child_that_does_not_hear_its_stop_does_not_hang_its_supervisor(world: World) -> None:
    """OTP: child_unlink."""
    root = world.start(FLAT, ChildSpec("naughty", lambda context: Naughty(world, "naughty"), shutdown=1))
    naughty = world.actor("naughty")
    terminating = in_thread(lambda: root.terminate_child("naughty"))
    world.clock.wait_for_timer(1)
    root.handle.tell("foo")
    world.clock.advance(1)
    terminating.join(10)
    assert root.count_children().active == 0
    assert naughty.exit_reason == Killed() and naughty.fenced


def test_children_start_as_given_and_end_in_the_opposite_order(world: World) -> None:
    """OTP: order_of_children."""
    ids = ["c7", "c3", "c10", "c2", "c5"]
    root = world.start(REST, *(world.child(id) for id in ids))
    first = world.incarnations()
    assert sorted(ids, key=lambda id: first[id]) == ids
    world.forget()
    world.crash("c10")
    second = world.incarnations()
    assert world.events == [
        ("end", "c10"), ("end", "c5"), ("end", "c2"), ("init", "c10"), ("init", "c2"), ("init", "c5"),
    ]
    assert [id for id in ids if second[id] == first[id]] == ["c7", "c3"]
    assert sorted(ids, key=lambda id: second[id]) == ids
    world.forget()
    assert stop_tree(root.handle, 10)
    assert world.events == [("end", id) for id in reversed(ids)]


