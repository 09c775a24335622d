"""What a supervisor must never miss reaches it past the requests that wait, and past a full inbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from supervisor_world import Worker, World, agree, refuse

from vordr.actors.childspec import ChildSpec, SupervisorSpec
from vordr.actors.inbox import Envelope, Reply
from vordr.actors.reasons import Reason
from vordr.actors.requests import WhichChildren
from vordr.model.errors import InboxFull, StartFailed

FLAT = SupervisorSpec(intensity=2, period=3600)


@contextmanager
def busy(world: World) -> Iterator[None]:
    """The root supervisor is inside a start for as long as this lasts."""
    gate = threading.Event()
    world.gates.append(gate)
    world.scripts["slow"].append(lambda worker: gate.wait(20) and None)
    starting = threading.Thread(target=lambda: world.root.start_child(world.child("slow")), daemon=True)
    starting.start()
    world.wait_for(lambda: ("init", "slow") in world.events)
    yield
    gate.set()
    starting.join(10)


def fill(world: World, *, control: bool) -> None:
    """Send the root supervisor what it does not understand until its lane takes no more."""
    with pytest.raises(InboxFull):
        while True:
            world.root.handle.tell("nonsense", control=control)


def test_an_end_is_decided_before_the_requests_that_wait(world: World) -> None:
    root = world.start(FLAT, world.child("a"))
    before, answer = world.incarnations()["a"], Reply()
    supervisor = root.handle.actor
    assert supervisor is not None
    with busy(world):
        supervisor.inbox.offer(Envelope(WhichChildren(), answer), "root")
        world.crash("a")
    assert answer.wait(10, "root")[0].incarnation > before


def test_an_end_is_told_though_the_lane_that_overtakes_is_full(world: World) -> None:
    world.start(FLAT, world.child("a"))
    with busy(world):
        fill(world, control=True)
        world.crash("a")
    world.wait_for(lambda: world.events.count(("init", "a")) == 2)


def test_a_restart_that_failed_is_tried_again_though_the_inbox_is_full(world: World) -> None:
    gate = threading.Event()
    world.gates.append(gate)

    def refuse_later(worker: Worker) -> None:
        gate.wait(20)
        refuse(worker)

    world.scripts["a"].extend([agree, refuse_later])
    root = world.start(FLAT, world.child("a"))
    world.crash("a")
    world.wait_for(lambda: world.events.count(("init", "a")) == 2)
    fill(world, control=False)
    gate.set()
    world.wait_for(lambda: world.events.count(("init", "a")) == 3)
    assert root.count_children().active == 1


def test_a_failing_start_of_many_independent_children_stops_them_all_at_once(world: World) -> None:
    class Patient(Worker):
        """Ends only after the child that started before it has, which one by one would come later."""

        def terminate(self, reason: Reason) -> None:
            self.world.wait_for(lambda: ("end", "a") in self.world.events)
            super().terminate(reason)

    world.scripts["c"].append(refuse)
    patient = ChildSpec("b", lambda context: Patient(world, context.child_id))
    with pytest.raises(StartFailed):
        world.start(SupervisorSpec(dynamic=True), world.child("a"), patient, world.child("c"))
    assert world.events[3:] == [("end", "a"), ("end", "b")]
