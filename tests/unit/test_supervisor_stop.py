"""Stopping, abandoning, auto-shutdown, fatal children. After OTP's supervisor_SUITE: sup_stop_*,
simple_one_for_one_shutdown, significant_*, auto_shutdown_* (EEP 56)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from supervisor_world import NORMAL, REAL, Boom, World, agree, refuse

from vordr.actors.actor import Actor
from vordr.actors.childspec import BRUTAL, INFINITY, AutoShutdown, Restart, Strategy, SupervisorSpec
from vordr.actors.handle import is_fenced
from vordr.actors.reasons import Crashed, Fatal, Killed, Shutdown
from vordr.actors.tree import stop_tree
from vordr.model.errors import ActorDead, Fenced, SupervisionError

FLAT = SupervisorSpec(intensity=2, period=3600)
TRANSIENT = Restart.TRANSIENT


def in_thread(fn: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=fn, daemon=True)
    thread.start()
    return thread


def actor_of(world: World, *path: str) -> Actor:
    actor = world.root.handle_of(*path).actor
    assert actor is not None
    return actor


def test_a_tree_stops_right_to_left_and_depth_first(world: World) -> None:
    inner = world.supervisor("s", FLAT, world.child("x"), world.child("y"))
    root = world.start(FLAT, world.child("a"), inner, world.child("b", shutdown=INFINITY))
    world.forget()
    assert stop_tree(root.handle, 10)
    assert world.events == [("end", "b"), ("end", "y"), ("end", "x"), ("end", "a")]
    assert world.exits == [Shutdown()]
    assert stop_tree(root.handle, 10)


def test_a_child_that_outlives_its_shutdown_is_abandoned_and_fenced(world: World) -> None:
    root = world.start(FLAT, world.child("a"), world.child("b", shutdown=3))
    slow, quick = actor_of(world, "b"), actor_of(world, "a")
    world.hold("b")
    stopping = in_thread(lambda: stop_tree(root.handle, None))
    world.clock.wait_for_timer(3)
    assert quick.exit_reason is None
    world.clock.advance(3)
    stopping.join(10)
    assert slow.exit_reason == Killed() and slow.fenced
    assert quick.exit_reason == Shutdown()
    assert world.actions() == [("abandoned", "b")]


def test_brutal_stops_without_waiting_and_without_terminate(world: World) -> None:
    root = world.start(FLAT, world.child("idle", shutdown=BRUTAL), world.child("busy", shutdown=BRUTAL))
    world.hold("busy")
    idle, busy = actor_of(world, "idle"), actor_of(world, "busy")
    assert stop_tree(root.handle, 10)
    assert (idle.exit_reason, busy.exit_reason) == (Killed(), Killed())
    assert ("end", "idle") not in world.events
    assert world.actions() == [("abandoned", "busy")]


def test_whoever_asks_a_killed_child_is_told_at_once(world: World) -> None:
    root = world.start(FLAT, world.child("a", shutdown=BRUTAL))
    world.hold("a")
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            root.handle_of("a").ask("never", 60)
        except ActorDead as error:
            errors.append(error)

    asking = in_thread(ask)
    while not len(actor_of(world, "a").inbox):
        pass  # until the other thread's ask has arrived
    root.terminate_child("a")
    asking.join(10)
    assert len(errors) == 1


def test_dynamic_children_are_stopped_all_at_once(world: World) -> None:
    spec = SupervisorSpec(dynamic=True)
    root = world.start(spec, *(world.child(f"c{n}", shutdown=4) for n in range(5)))
    world.clock.advance(1000)
    for number in range(5):
        world.hold(f"c{number}")
    stopping = in_thread(lambda: stop_tree(root.handle, None))
    world.clock.wait_for_timer(4)
    world.clock.advance(4)
    stopping.join(10)
    assert not stopping.is_alive()
    assert sorted(world.actions()) == [("abandoned", f"c{n}") for n in range(5)]


def test_an_abandoned_actor_can_neither_send_nor_report_effects(world: World) -> None:
    class Late(Actor):
        def receive(self, message: object) -> object:
            entered.set()
            gate.wait(20)
            for attempt in (
                lambda: peer.tell("late"),
                lambda: peer.ask("late", 1),
                lambda: self.spawn_effect(lambda: None, lambda outcome: outcome),
            ):
                try:
                    attempt()
                except Fenced as error:
                    refusals.append(error)
            done.set()
            return None

    entered, gate, done = threading.Event(), threading.Event(), threading.Event()
    refusals: list[Fenced] = []
    from vordr.actors.childspec import ChildSpec

    root = world.start(FLAT, world.child("a"), ChildSpec("late", lambda context: Late(), shutdown=BRUTAL))
    peer = root.handle_of("a")
    incarnation = root.handle_of("late").incarnation
    root.handle_of("late").tell("go")
    assert entered.wait(10)
    root.terminate_child("late")
    assert is_fenced(incarnation)
    gate.set()
    assert done.wait(10)
    assert len(refusals) == 3


def test_a_killed_supervisor_takes_its_children_along(world: World) -> None:
    inner = world.supervisor("s", FLAT, world.child("x"), shutdown=2)
    root = world.start(FLAT, inner)
    child = actor_of(world, "s", "x")
    world.hold("s", "x")
    stopping = in_thread(lambda: root.terminate_child("s"))
    world.clock.wait_for_timer(2)
    world.clock.advance(2)
    stopping.join(10)
    assert child.exit_reason == Killed() and child.fenced


def test_a_tree_that_does_not_stop_in_time_is_left_fenced(world: World) -> None:
    root = world.start(FLAT, world.child("a", shutdown=INFINITY))
    world.hold("a")
    child = actor_of(world, "a")
    results: list[bool] = []
    stopping = in_thread(lambda: results.append(stop_tree(root.handle, 9)))
    world.clock.wait_for_timer(9)
    world.clock.advance(9)
    stopping.join(10)
    assert results == [False]
    assert child.fenced


def test_an_actor_cannot_stop_a_tree() -> None:
    class Stopper(Actor):
        def receive(self, message: object) -> object:
            return stop_tree(self.handle, 1)

    ref = Stopper.start()
    with pytest.raises(SupervisionError, match="cannot stop a tree"):
        ref.ask("go", timeout=5)
    ref.stop()


def test_a_supervisor_that_crashes_stops_its_children(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    child, supervisor = actor_of(world, "a"), root.handle.actor
    assert supervisor is not None
    supervisor.receive = refuse  # type: ignore[method-assign, assignment]
    root.handle.tell("anything")
    assert world.over.wait(10)
    assert isinstance(world.exits[0], Crashed)
    assert child.exit_reason == Shutdown()


# -- auto-shutdown --------------------------------------------------------------------------------------


def significant(world: World, mode: AutoShutdown, *ids: str, **kw: Restart) -> None:
    children = [world.child(id, restart=kw.get("restart", TRANSIENT), significant=True) for id in ids]
    world.start(SupervisorSpec(intensity=5, period=60, auto_shutdown=mode), world.child("p"), *children)


def test_any_significant_end_shuts_the_supervisor_down(world: World) -> None:
    significant(world, AutoShutdown.ANY_SIGNIFICANT, "a", "b")
    world.end("a", how=NORMAL)
    assert world.over.wait(10)
    assert world.exits == [Shutdown("any_significant: a ended")]


def test_all_significant_waits_for_the_last(world: World) -> None:
    significant(world, AutoShutdown.ALL_SIGNIFICANT, "a", "b")
    world.end("a", how=NORMAL)
    assert world.root.count_children().active == 2
    world.end("b", how=NORMAL)
    assert world.over.wait(10)


def test_a_significant_transient_child_that_crashes_is_restarted(world: World) -> None:
    significant(world, AutoShutdown.ANY_SIGNIFICANT, "a")
    world.crash("a")
    assert world.root.count_children().active == 2


def test_a_significant_temporary_child_that_crashes_shuts_down(world: World) -> None:
    significant(world, AutoShutdown.ANY_SIGNIFICANT, "a", restart=Restart.TEMPORARY)
    world.crash("a")
    assert world.over.wait(10)


def test_stopping_a_significant_child_by_hand_does_not_shut_down(world: World) -> None:
    significant(world, AutoShutdown.ANY_SIGNIFICANT, "a")
    world.root.terminate_child("a")
    assert world.root.count_children().active == 1


def test_significant_needs_an_auto_shutdown(world: World) -> None:
    root = world.start(FLAT)
    with pytest.raises(SupervisionError, match="significant"):
        root.start_child(world.child("a", restart=TRANSIENT, significant=True))
    with pytest.raises(SupervisionError, match="significant"):
        world.start(FLAT, world.child("a", restart=TRANSIENT, significant=True))


# -- fatal children -------------------------------------------------------------------------------------


def test_a_fatal_childs_crash_ends_the_whole_tree_from_any_depth(world: World) -> None:
    inner = world.supervisor("s", FLAT, world.child("journal", fatal=True), world.child("x"))
    world.start(FLAT, world.child("a"), inner, world.child("b"))
    world.crash("s", "journal")
    assert world.over.wait(10)
    (fatal,) = world.fatal
    assert isinstance(fatal, Fatal) and fatal.child_id == "journal"
    assert isinstance(fatal.cause, Crashed) and isinstance(fatal.cause.exception, Boom)
    assert world.exits == [fatal]
    assert {id for what, id in world.events if what == "end"} == {"journal", "x", "a", "b"}
    assert world.events.count(("init", "journal")) == 1


def test_a_fatal_child_that_cannot_be_restarted_with_its_group_ends_the_tree(world: World) -> None:
    world.scripts["journal"].extend([agree, refuse])
    spec = SupervisorSpec(Strategy.ONE_FOR_ALL, intensity=9, period=60)
    world.start(spec, world.child("journal", fatal=True), world.child("x"))
    world.crash("x")
    assert world.over.wait(10)
    assert isinstance(world.exits[0], Fatal)


def test_a_fatal_child_stopped_on_request_is_no_failure(world: World) -> None:
    root = world.start(FLAT, world.child("journal", fatal=True))
    journal = actor_of(world, "journal")
    assert stop_tree(root.handle, 10)
    assert journal.wait_end(REAL, 10)
    assert world.fatal == []
