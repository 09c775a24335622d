"""What a supervisor refuses, with words and details that say whom and why; and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from supervisor_world import NORMAL, Worker, World, agree, decline, refuse

from vordr.actors.childspec import (
    BRUTAL,
    Action,
    ChildSpec,
    ChildType,
    OnExceed,
    Restart,
    Status,
    Strategy,
    SupervisorSpec,
)
from vordr.actors.context import StartContext
from vordr.actors.reasons import Killed
from vordr.actors.requests import ChildCounts, SupervisorRef
from vordr.actors.restarts import to_monotonic
from vordr.model.errors import Parked, StartFailed, SupervisionError

PARKING = SupervisorSpec(intensity=0, period=60, on_exceed=OnExceed.PARK)


def refused(call: Callable[[], object]) -> SupervisionError:
    with pytest.raises(SupervisionError) as caught:
        call()
    return caught.value


REQUESTS: list[tuple[str, Callable[[SupervisorRef, World], object], str]] = [
    ("started before", lambda root, world: root.start_child(world.child("runs")), "already_started"),
    ("there already", lambda root, world: root.start_child(world.child("ended")), "already_present"),
    ("parked and there", lambda root, world: root.start_child(world.child("parked")), "already_present"),
    ("restart of a running one", lambda root, world: root.restart_child("runs"), "running"),
    ("deletion of a running one", lambda root, world: root.delete_child("runs"), "running"),
    ("waking of a running one", lambda root, world: root.wake("runs"), "not_parked"),
    ("waking of an ended one", lambda root, world: root.wake("ended"), "not_parked"),
]


@pytest.mark.parametrize(("ask", "why"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
def test_a_request_that_does_not_fit_the_childs_state_is_refused_with_the_reason(
    world: World, ask: Callable[[SupervisorRef, World], object], why: str
) -> None:
    root = world.start(
        PARKING, world.child("runs"), world.child("ended", restart=Restart.TRANSIENT), world.child("parked"))
    world.end("ended", how=NORMAL)
    world.crash("parked")
    statuses = world.statuses()
    assert statuses == {"runs": Status.RUNNING, "ended": Status.STOPPED, "parked": Status.PARKED}
    refusal = refused(lambda: ask(root, world))
    child = refusal.details["child"]
    assert refusal.details == {"why": why, "child": child}
    assert str(refusal) == f"{root.handle_of(child).name} is {statuses[child].value}"
    assert world.statuses() == statuses


@pytest.mark.parametrize("ask", [
    lambda root: root.terminate_child("gone"), lambda root: root.restart_child("gone"),
    lambda root: root.delete_child("gone"), lambda root: root.wake("gone"),
    lambda root: root.get_childspec("gone")])
def test_a_request_about_no_child_says_so(world: World, ask: Callable[[SupervisorRef], object]) -> None:
    root = world.start(SupervisorSpec())
    refusal = refused(lambda: ask(root))
    assert refusal.details == {"why": "not_found", "child": "gone"}
    assert str(refusal) == f"{root.handle.name} has no child gone"


def test_a_parked_child_answers_why_it_is_parked(world: World) -> None:
    root = world.start(PARKING, world.child("a"))
    world.crash("a")
    root.which_children()
    with pytest.raises(Parked) as caught:
        root.handle_of("a").ask("hello", 5)
    assert str(caught.value) == f"{root.handle_of('a').name} failed too often and is parked: Boom: crash"


def test_what_is_no_request_is_refused_and_ends_nothing(world: World) -> None:
    root = world.start(SupervisorSpec(), world.child("a"))
    refusal = refused(lambda: root.handle.ask("hello", 5))
    assert str(refusal) == f"{root.handle.name} does not understand str"
    assert world.statuses() == {"a": Status.RUNNING}


def started_before(world: World) -> ChildSpec:
    return ChildSpec("odd", lambda context: world.actor("a"))


@pytest.mark.parametrize(("spec", "words"), [
    (lambda world: ChildSpec("odd", lambda context: None), "its start gave no actor but None"),
    (started_before, "which was started before"),
    (lambda world: world.child("odd"), "odd will not start"),
])
def test_a_child_that_cannot_be_started_is_named_with_the_cause(
    world: World, spec: Callable[[World], ChildSpec], words: str
) -> None:
    root = world.start(SupervisorSpec(), world.child("a"))
    world.scripts["odd"].append(refuse)
    with pytest.raises(StartFailed) as caught:
        root.start_child(spec(world))
    assert caught.value.details == {"child": "odd"}
    told = str(caught.value)
    assert told.startswith(f"{root.handle_of('a').name[:-1]}odd could not be started: ") and words in told
    assert caught.value.__cause__ is not None
    assert world.statuses() == {"a": Status.RUNNING}


def test_a_restart_by_hand_gives_the_handle_of_a_child_that_does_not_decline(world: World) -> None:
    root = world.start(SupervisorSpec(), world.child("a", restart=Restart.TRANSIENT))
    world.end("a", how=NORMAL)
    world.scripts["a"].append(decline)
    assert root.restart_child("a") is None
    handle = root.restart_child("a")
    assert handle is not None and handle is root.handle_of("a")


def test_a_supervisor_counts_its_children_and_tells_of_each(world: World) -> None:
    world.scripts["declines"].append(decline)
    root = world.start(
        SupervisorSpec(intensity=3), world.child("a"), world.child("declines"),
        world.supervisor("below", SupervisorSpec(), world.child("c")))
    world.crash("a")
    told = root.which_children()
    assert [(one.id, one.status, one.type, one.restarts, one.why) for one in told] == [
        ("a", Status.RUNNING, ChildType.WORKER, 1, ""), ("declines", Status.STOPPED, ChildType.WORKER, 0, ""),
        ("below", Status.RUNNING, ChildType.SUPERVISOR, 0, "")]
    assert [one.incarnation for one in told if one.id == "a"] == [world.actor("a").incarnation]
    assert root.count_children() == ChildCounts(3, 2, 1, 2)


def test_a_decision_says_who_decided_about_whom_why_when_and_how_often(world: World) -> None:
    root = world.start(SupervisorSpec(intensity=2), world.child("a"))
    first = world.actor("a").incarnation
    world.crash("a")
    root.which_children()
    (decision,) = world.decisions
    assert (decision.supervisor, decision.child, decision.incarnation) == (root.handle.name, "a", first)
    assert (str(decision.reason), decision.count, decision.delay) == ("Boom: crash", 1, 0.0)
    assert decision.time == world.clock.now_us()


def test_the_decision_to_end_the_tree_names_the_fatal_child_its_incarnation_and_the_reason(
    world: World,
) -> None:
    root = world.start(SupervisorSpec(), world.child("a", fatal=True))
    first = world.actor("a").incarnation
    name = root.handle.name
    world.crash("a")
    assert world.over.wait(10)
    (decision,) = world.decisions
    assert (decision.action, decision.supervisor, decision.child) == (Action.FATAL, name, "a")
    assert (decision.incarnation, str(decision.reason)) == (first, "Boom: crash")


def crash_twice(world: World, *path: str) -> list[int]:
    """The incarnations that crashed; the second is what its supervisor does no more about."""
    lives = []
    for count in (1, 2):
        lives.append(world.actor(*path).incarnation)
        world.crash(*path)
        world.wait_for(lambda: len(world.decisions) == count)  # noqa: B023 - called at once
        world.wait_for(lambda: world.events.count(("init", path[-1])) == 2)
    return lives


def test_a_child_that_is_given_up_is_named_with_its_reason_and_no_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    root = world.start(SupervisorSpec(), world.child("a", restart=Restart.TEMPORARY))
    first = world.actor("a").incarnation
    world.crash("a")
    root.which_children()
    (one,) = world.decisions
    assert (one.action, one.incarnation, str(one.reason)) == (Action.GIVE_UP, first, "Boom: crash")
    assert (one.count, one.delay) == (0, 0.0)
    assert f"{root.handle.name}: give_up a after Boom: crash" in caplog.messages


def test_an_escalation_and_a_parking_say_how_often_it_was_restarted_and_why(world: World) -> None:
    world.start(
        SupervisorSpec(intensity=9), world.supervisor(
            "below", SupervisorSpec(intensity=1, on_exceed=OnExceed.PARK), world.child("a")))
    lives = crash_twice(world, "below", "a")
    assert [(one.action, one.incarnation, one.count, str(one.reason)) for one in world.decisions] == [
        (Action.RESTART, lives[0], 1, "Boom: crash"), (Action.PARK, lives[1], 1, "Boom: crash")]
    world.forget()
    world.start(SupervisorSpec(intensity=1), world.child("b"))
    lives = crash_twice(world, "b")
    assert world.over.wait(10)
    assert [(one.action, one.incarnation, one.count, str(one.reason)) for one in world.decisions] == [
        (Action.RESTART, lives[0], 1, "Boom: crash"), (Action.ESCALATE, lives[1], 1, "Boom: crash")]
    assert str(world.exits[-1]) == "shutdown: b failed too often: Boom: crash"


def test_a_restart_that_fails_is_decided_anew_without_an_incarnation(world: World) -> None:
    world.scripts["a"].extend([agree, refuse])
    root = world.start(SupervisorSpec(intensity=9), world.child("a"))
    first = world.actor("a").incarnation
    world.crash("a")
    world.wait_for(lambda: len(world.decisions) == 2 and world.events.count(("init", "a")) == 3)
    root.which_children()
    told = [(one.action, one.incarnation, str(one.reason), one.count) for one in world.decisions]
    assert told[0] == (Action.RESTART, first, "Boom: crash", 1)
    assert told[1][:2] == (Action.RESTART, 0) and "a will not start" in told[1][2] and told[1][3] == 2
    assert root.which_children()[0].restarts == 2


def test_a_fatal_child_that_cannot_be_restarted_is_named_without_an_incarnation(world: World) -> None:
    world.scripts["journal"].extend([agree, refuse])
    spec = SupervisorSpec(Strategy.ONE_FOR_ALL, intensity=9)
    world.start(spec, world.child("journal", fatal=True), world.child("x"))
    world.crash("x")
    assert world.over.wait(10)
    last = world.decisions[-1]
    assert (last.action, last.child, last.incarnation) == (Action.FATAL, "journal", 0)
    assert "journal will not start" in str(last.reason)


def test_a_child_that_is_abandoned_is_named_with_its_incarnation(world: World) -> None:
    root = world.start(SupervisorSpec(), world.child("a", shutdown=BRUTAL))
    first = world.actor("a").incarnation
    world.hold("a")
    root.terminate_child("a")
    (one,) = world.decisions
    assert (one.action, one.child, one.incarnation) == (Action.ABANDONED, "a", first)
    assert isinstance(one.reason, Killed)


def test_a_child_whose_restart_by_hand_failed_has_no_actor_and_can_be_started_again(world: World) -> None:
    root = world.start(SupervisorSpec(), world.child("a", restart=Restart.TRANSIENT))
    world.end("a", how=NORMAL)
    world.scripts["a"].append(refuse)
    with pytest.raises(StartFailed):
        root.restart_child("a")
    assert root.handle_of("a").actor is None
    assert world.statuses() == {"a": Status.STOPPED}
    assert root.restart_child("a") is root.handle_of("a")


def test_a_child_is_told_how_often_it_was_restarted(world: World) -> None:
    told: list[int] = []

    def start(context: StartContext) -> Worker:
        told.append(context.restarts)
        return Worker(world, context.child_id)

    world.start(SupervisorSpec(intensity=5), ChildSpec("a", start))
    for count in (1, 2):
        world.crash("a")
        world.wait_for(lambda: world.events.count(("init", "a")) == count + 1)  # noqa: B023 - called at once
    assert told == [0, 1, 2]


def test_the_restarts_of_a_former_life_count_for_the_child_that_had_them(world: World) -> None:
    now = world.clock.now_us() / 1e6
    spec = SupervisorSpec(intensity=1, period=60, on_exceed=OnExceed.PARK)
    children = [world.child(id) for id in "abc"]
    root = world.start(spec, *children, history={"b": [now - 1], "c": [now - 61]})
    for id in "abc":
        world.crash(id)
        root.which_children()
    assert world.actions() == [("restart", "a"), ("park", "b"), ("restart", "c")]


def test_who_is_abandoned_with_a_killed_supervisor_is_named_with_its_incarnation(world: World) -> None:
    world.start(SupervisorSpec(intensity=5), world.supervisor("below", SupervisorSpec(), world.child("a")))
    first = world.actor("below", "a").incarnation
    world.hold("below", "a")
    world.kill("below")
    world.wait_for(lambda: any(one.action is Action.ABANDONED for one in world.decisions))
    one = next(one for one in world.decisions if one.action is Action.ABANDONED)
    assert (one.child, one.incarnation, one.reason) == ("a", first, Killed())


def test_journalled_times_are_as_long_ago_as_they_were_and_none_lies_ahead() -> None:
    assert to_monotonic([9.5, 12.0, 3.0], 10.0, 100.0) == (93.0, 99.5, 100.0)
