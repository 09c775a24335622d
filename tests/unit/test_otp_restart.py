"""OTP's supervisor_SUITE, ends and restarts: the cases that the older tests do not stand for.

The whole table is tests/otp_cases.md.
"""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable

import pytest
from supervisor_world import NORMAL, REAL, WAYS, Boom, Worker, World, agree, refuse

from vordr.actors.actor import Actor
from vordr.actors.childspec import BRUTAL, ChildSpec, Restart, Status, Strategy, SupervisorSpec
from vordr.actors.context import Services, StartContext
from vordr.actors.reasons import ActorExit, Killed
from vordr.actors.requests import ChildCounts
from vordr.actors.supervisor import Supervisor
from vordr.actors.tree import stop_tree
from vordr.model.errors import SupervisionError

FLAT = SupervisorSpec(intensity=4, period=3600)
ENDLESS = 10**9


# -- permanent, transient, temporary --------------------------------------------------------------------


@pytest.mark.parametrize("restart", Restart)
def test_a_killed_child_ended_abnormally(world: World, restart: Restart) -> None:
    """OTP: permanent_abnormal, transient_abnormal, temporary_abnormal."""
    world.start(FLAT, world.child("a", restart=restart))
    world.kill("a")
    assert world.statuses() == ({} if restart is Restart.TEMPORARY else {"a": Status.RUNNING})


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_of_a_child_that_ended(world: World, strategy: Strategy, way: str) -> None:
    """OTP: do_not_save_child_specs_for_temporary_children."""
    root = world.start(SupervisorSpec(strategy, intensity=2, period=3600))
    for restart in (Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY):
        spec = world.child(restart, restart=restart)
        root.start_child(spec)
        WAYS[way](world, spec.id)
        if restart is Restart.TEMPORARY:
            assert root.start_child(spec) is not None
            continue
        stays = way == "supervisor" or (way == "normal" and restart is Restart.TRANSIENT)
        with pytest.raises(SupervisionError) as caught:
            root.start_child(spec)
        assert caught.value.details["why"] == ("already_present" if stays else "already_started")
        if stays:
            assert root.restart_child(spec.id) is not None


class Big:
    """Something that a start function holds."""


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_holds_the_start_of_a_temporary_child_that_is_gone(
    world: World, strategy: Strategy, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP: do_not_save_start_parameters_for_temporary_children, simple_one_for_one_corruption."""
    def child(id: str) -> tuple[ChildSpec, weakref.ref[Big]]:
        big = Big()

        def start(context: StartContext) -> Actor:
            assert big is not None
            return Worker(world, context.child_id)

        return ChildSpec(id, start, restart=Restart.TEMPORARY), weakref.ref(big)

    caplog.set_level(logging.CRITICAL, "vordr.actors")  # pytest keeps log records, they keep a crash's frames
    root = world.start(SupervisorSpec(strategy))
    for id in ("a", "b"):  # the second one too: the first end must not change how children are kept
        spec, held = child(id)
        root.start_child(spec)
        del spec
        place, thread = root.handle_of(id), world.threads[id]
        WAYS[way](world, id)
        thread.join(10)
        assert root.which_children() == []
        assert root.handle_of(id) is not place
        world.forget()
        gc.collect()
        assert held() is None


# -- strategies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", Strategy)
def test_the_restart_of_a_group_counts_once(world: World, strategy: Strategy) -> None:
    """OTP: one_for_one, one_for_all, rest_for_one."""
    spec = SupervisorSpec(strategy, intensity=2, period=3600)
    root = world.start(spec, *(world.child(id) for id in "abc"))
    for id in "bc":
        world.crash(id)
        assert root.count_children() == ChildCounts(3, 3, 0, 3)
    world.crash("b")
    assert world.over.wait(10)
    assert world.actions() == [("restart", "b"), ("restart", "c"), ("escalate", "b")]


def test_a_tree_that_escalates_comes_back_without_its_dynamic_children(world: World) -> None:
    """OTP: tree."""
    def top(id: str, *children: ChildSpec, restart: Restart = Restart.PERMANENT) -> ChildSpec:
        return world.supervisor(id, FLAT, *children, restart=restart)

    root = world.start(
        SupervisorSpec(Strategy.ONE_FOR_ALL, intensity=4, period=3600),
        top("s1", world.child("a"), world.child("b")), top("s2"), top("s3", restart=Restart.TRANSIENT),
    )
    first, second = root.supervisor("s1"), root.supervisor("s2")
    root.terminate_child("s3")
    assert root.count_children() == ChildCounts(3, 2, 3, 0)
    world.scripts["c"].extend([agree, *[refuse] * 9])
    second.start_child(world.child("c"))
    second.start_child(world.child("d"))
    before = {child.id: child.incarnation for ref in (first, second) for child in ref.which_children()}
    world.crash("s2", "d")
    after = {child.id: child.incarnation for ref in (first, second) for child in ref.which_children()}
    assert {id for id in before if before[id] != after[id]} == {"d"}
    supervisor = world.actor("s2")
    world.crash("s2", "c")
    assert supervisor.wait_end(REAL, 10)
    assert root.count_children() == ChildCounts(3, 3, 3, 0)
    assert [child.id for child in first.which_children()] == ["a", "b"]
    assert all(child.incarnation > after["d"] for child in first.which_children())
    assert second.which_children() == [] and root.supervisor("s3").which_children() == []


OUTER = SupervisorSpec(Strategy.ONE_FOR_ALL, intensity=3, period=60)


def restart_by_hand(world: World) -> None:
    middle = world.root.supervisor("middle")
    middle.terminate_child("x")
    middle.restart_child("x")


@pytest.mark.parametrize(
    "how",
    [
        lambda world: world.kill("middle"),
        lambda world: world.kill("middle", "x"),
        lambda world: world.end("middle", "x", how=NORMAL),
        restart_by_hand,
    ],
    ids=["kill_supervisor", "kill_worker", "exit_worker", "restart_worker"],
)
def test_a_name_leads_to_the_next_incarnation(world: World, how: Callable[[World], None]) -> None:
    """OTP: simple_global_supervisor."""
    root = world.start(OUTER, world.supervisor("middle", OUTER, world.child("x")))
    handle, middle = root.handle_of("middle", "x"), root.supervisor("middle")
    before = handle.ask("who", 5)
    how(world)
    root.which_children()
    assert middle.count_children().active == 1
    assert handle.ask("who", 5) > before
    assert stop_tree(root.handle, 10)
    assert not handle.alive and not middle.handle.alive


def test_the_children_of_a_killed_supervisor_are_fenced_before_anybody_may_replace_it(world: World) -> None:
    """OTP: simple_global_supervisor."""
    services = Services(clock=world.clock)
    place = services.directory.handle(("s",))
    seen: list[tuple[ActorExit, bool]] = []
    supervisor = Supervisor(FLAT, [world.child("x")])
    child: list[Actor] = []
    supervisor.launch(
        StartContext(("s",), place, services, (0,), lambda exit: seen.append((exit, child[0].fenced)))
    )
    actor = services.directory.handle(("s", "x")).actor
    assert actor is not None
    child.append(actor)
    supervisor.kill()
    assert seen == [(ActorExit("s", supervisor.incarnation, Killed()), True)]


# -- restarts that do not succeed -----------------------------------------------------------------------


class Stubborn:
    """A child whose start fails, again and again, while it is told to."""

    def __init__(self, world: World, id: str) -> None:
        self.failing = threading.Event()

        def start(context: StartContext) -> Actor:
            if self.failing.is_set():
                world.note("failed", id)
                raise Boom("not yet")
            return Worker(world, id)

        self.world, self.id = world, id
        self.spec = ChildSpec(id, start, shutdown=BRUTAL)

    def crash(self) -> None:
        """Crash it, and return when its restarts have begun to fail."""
        self.world.forget()
        self.failing.set()
        self.world.crash(self.id)
        self.world.wait_for(lambda: ("failed", self.id) in self.world.events)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE])
def test_a_hanging_restart_can_be_looked_at_ended_and_begun_again(world: World, strategy: Strategy) -> None:
    """OTP: hanging_restart_loop, hanging_restart_loop_rest_for_one."""
    stubborn = Stubborn(world, "b")
    spec = SupervisorSpec(strategy, intensity=ENDLESS, period=3600)
    root = world.start(spec, world.child("a"), stubborn.spec)
    a = world.incarnations()["a"]
    stubborn.crash()
    refusals: list[tuple[Callable[[], object], str]] = [
        (lambda: root.start_child(stubborn.spec), "already_present"),
        (lambda: root.restart_child("b"), "restarting"),
        (lambda: root.delete_child("b"), "restarting"),
    ]
    for refused, why in refusals:
        with pytest.raises(SupervisionError) as caught:
            refused()
        assert caught.value.details["why"] == why
    assert world.statuses() == {"a": Status.RUNNING, "b": Status.RESTARTING}
    assert root.count_children() == ChildCounts(2, 1, 0, 2)
    root.terminate_child("b")
    assert world.statuses() == {"a": Status.RUNNING, "b": Status.STOPPED}
    stubborn.failing.clear()
    assert root.restart_child("b") is not None
    assert world.incarnations()["a"] == a


@pytest.mark.parametrize("strategy", Strategy)
def test_a_supervisor_whose_restart_hangs_can_be_stopped(world: World, strategy: Strategy) -> None:
    """OTP: hanging_restart_loop, hanging_restart_loop_rest_for_one."""
    stubborn = Stubborn(world, "b")
    spec = SupervisorSpec(strategy, intensity=ENDLESS, period=3600)
    root = world.start(spec, world.child("a"), stubborn.spec, world.child("c"))
    stubborn.crash()
    assert stop_tree(root.handle, 10)
    assert world.over.is_set() and not root.handle.alive
    assert not any(root.handle_of(id).alive for id in "abc")


def test_those_after_a_hanging_restart_wait_and_start_when_it_is_given_up(world: World) -> None:
    """OTP: hanging_restart_loop_rest_for_one.

    OTP leaves them ended; here they were never asked to stay so, and nobody would start them.
    """
    stubborn = Stubborn(world, "b")
    spec = SupervisorSpec(Strategy.REST_FOR_ONE, intensity=ENDLESS, period=3600)
    root = world.start(spec, world.child("a"), stubborn.spec, world.child("c"))
    stubborn.crash()
    assert world.statuses() == {"a": Status.RUNNING, "b": Status.RESTARTING, "c": Status.RESTARTING}
    root.terminate_child("b")
    world.wait_for(lambda: ("init", "c") in world.events)
    assert world.statuses() == {"a": Status.RUNNING, "b": Status.STOPPED, "c": Status.RUNNING}
