"""OTP's supervisor_SUITE, significant children and auto-shutdown (EEP 56).

The whole table is tests/otp_cases.md.
"""

from __future__ import annotations

import pytest
from supervisor_world import NORMAL, REAL, WAYS, World

from vordr.actors.childspec import AutoShutdown, Restart, Status, Strategy, SupervisorSpec
from vordr.actors.reasons import Shutdown, is_abnormal
from vordr.actors.tree import stop_tree
from vordr.model.errors import SupervisionError

ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT
WITH_AUTO_SHUTDOWN = pytest.mark.parametrize("mode", [ANY, ALL])


def flags(mode: AutoShutdown, strategy: Strategy = Strategy.ONE_FOR_ONE) -> SupervisorSpec:
    return SupervisorSpec(strategy, intensity=5, period=3600, auto_shutdown=mode)


def start(world: World, mode: AutoShutdown, restart: Restart) -> None:
    """Two significant children and one that is not."""
    world.start(
        flags(mode), world.child("a", restart=restart, significant=True),
        world.child("b", restart=restart, significant=True), world.child("c", restart=restart),
    )


def assert_it_goes_on_with(world: World, *ids: str) -> None:
    assert [id for id, status in world.statuses().items() if status is Status.RUNNING] == list(ids)
    assert not world.over.is_set()


def assert_it_shut_down(world: World) -> None:
    assert world.over.wait(10)
    (reason,) = world.exits
    assert isinstance(reason, Shutdown) and not is_abnormal(reason)
    assert not any(world.root.handle_of(id).alive for id in "abc")


@pytest.mark.parametrize("mode", AutoShutdown)
def test_no_end_of_a_temporary_child_that_is_not_significant_shuts_down(
    world: World, mode: AutoShutdown
) -> None:
    """OTP: nonsignificant_temporary."""
    root = world.start(flags(mode))
    for end in WAYS.values():
        root.start_child(world.child("a", restart=Restart.TEMPORARY))
        end(world, "a")
        assert_it_goes_on_with(world)
    assert stop_tree(root.handle, 10)


@pytest.mark.parametrize("mode", AutoShutdown)
def test_no_end_of_a_transient_child_that_is_not_significant_shuts_down(
    world: World, mode: AutoShutdown
) -> None:
    """OTP: nonsignificant_transient."""
    root = world.start(flags(mode), world.child("a", restart=Restart.TRANSIENT))
    for way, end in WAYS.items():
        end(world, "a")
        stays = way in ("normal", "supervisor")
        assert_it_goes_on_with(world, *(() if stays else ("a",)))
        if stays:
            root.restart_child("a")


@pytest.mark.parametrize("way", ["normal", "abnormal", "kill"])
@WITH_AUTO_SHUTDOWN
def test_each_end_by_itself_of_a_temporary_significant_child_counts(
    world: World, mode: AutoShutdown, way: str
) -> None:
    """OTP: significant_temporary."""
    start(world, mode, Restart.TEMPORARY)
    WAYS[way](world, "a")
    if mode is ALL:
        assert_it_goes_on_with(world, "b", "c")
        WAYS[way](world, "b")
    assert_it_shut_down(world)


@WITH_AUTO_SHUTDOWN
def test_only_a_normal_end_of_a_transient_significant_child_counts(world: World, mode: AutoShutdown) -> None:
    """OTP: significant_transient."""
    start(world, mode, Restart.TRANSIENT)
    for way in ("abnormal", "kill"):
        WAYS[way](world, "a")
        assert_it_goes_on_with(world, "a", "b", "c")
    WAYS["normal"](world, "a")
    if mode is ALL:
        assert_it_goes_on_with(world, "b", "c")
        WAYS["normal"](world, "b")
    assert_it_shut_down(world)


@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
@WITH_AUTO_SHUTDOWN
def test_the_end_of_a_significant_child_on_request_does_not_count(
    world: World, mode: AutoShutdown, restart: Restart
) -> None:
    """OTP: significant_temporary, significant_transient."""
    start(world, mode, restart)
    world.root.terminate_child("a")
    assert_it_goes_on_with(world, "b", "c")
    world.root.terminate_child("b")
    assert_it_goes_on_with(world, "c")


@pytest.mark.parametrize("mode", [ANY, ALL])
def test_a_dynamic_supervisor_cannot_shut_itself_down(world: World, mode: AutoShutdown) -> None:
    """OTP: significant_simple."""
    with pytest.raises(SupervisionError, match="auto_shutdown"):
        SupervisorSpec(dynamic=True, auto_shutdown=mode)
    root = world.start(SupervisorSpec(dynamic=True, auto_shutdown=AutoShutdown.NEVER), world.child("a"))
    assert stop_tree(root.handle, 10)


@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
@pytest.mark.parametrize("strategy", Strategy)
@WITH_AUTO_SHUTDOWN
def test_significant_children_that_end_with_a_sibling_do_not_count(
    world: World, mode: AutoShutdown, strategy: Strategy, restart: Restart
) -> None:
    """OTP: significant_bystander."""
    world.start(
        flags(mode, strategy), world.child("a", restart=restart, significant=True),
        world.child("b", restart=Restart.TRANSIENT), world.child("c", restart=restart, significant=True),
    )
    before = world.incarnations()
    world.kill("b")
    after = world.incarnations()
    touched = {Strategy.ONE_FOR_ONE: "b", Strategy.ONE_FOR_ALL: "abc", Strategy.REST_FOR_ONE: "bc"}[strategy]
    assert {id for id in before if before[id] != after.get(id)} == set(touched)
    gone = set(touched) - {"b"} if restart is Restart.TEMPORARY else set()
    assert_it_goes_on_with(world, *(id for id in "abc" if id not in gone))


@pytest.mark.parametrize("significant", [True, False])
def test_an_auto_shutdown_goes_up_as_far_as_supervisors_are_significant(
    world: World, significant: bool
) -> None:
    """OTP: significant_escalation."""
    worker = world.child("x", restart=Restart.TRANSIENT, significant=True)
    root = world.start(
        flags(ANY),
        world.supervisor("s", flags(ANY), worker, restart=Restart.TRANSIENT, significant=significant),
        world.child("c"),
    )
    supervisor = world.actor("s")
    world.end("s", "x", how=NORMAL)
    assert supervisor.wait_end(REAL, 10)
    if significant:
        assert_it_shut_down(world)
    else:
        assert_it_goes_on_with(world, "c")
        assert stop_tree(root.handle, 10)
