"""A running supervisor decides what the proved model decides, through random ends at random times."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from proof_oracle import ask, listed

sys.path.append(str(Path(__file__).parent.parent / "unit"))

from supervisor_world import Boom, World  # noqa: E402 - the path to it is set above

from vordr.actors import restarts  # noqa: E402 - as above
from vordr.actors.childspec import Action, OnExceed, Restart, Status, Strategy, SupervisorSpec  # noqa: E402
from vordr.actors.reasons import Normal, Shutdown  # noqa: E402 - as above

WORDS = {Action.PARK: "park", Action.ESCALATE: "escalate", Action.GIVE_UP: "leave", Action.FATAL: "end"}
WAYS = ("normal", "shutdown", "crashed", "killed")
End = tuple[int, int, str]


def end(world: World, child: str, why: str) -> None:
    match why:
        case "normal":
            world.end(child, how=Normal())
        case "shutdown":
            world.end(child, how=Shutdown())
        case "crashed":
            world.end(child, how=Boom("crash"))
        case _:
            world.kill(child)


def decided(world: World) -> str:
    """What was decided about the newest end, in the words of the oracle."""
    if not world.decisions:
        return "leave"  # an end that calls for nothing is not reported
    action = world.decisions[-1].action
    if action is Action.RESTART:
        return "restart " + listed(id for what, id in world.events if what == "init")
    return WORDS[action]


def watched(spec: SupervisorSpec, kind: Restart, fatal: bool, children: int, ends: list[End]) -> tuple[
    list[str], list[str]
]:
    """The ends that came about, as the oracle is told them, and what the supervisor decided about each."""
    world, asked, said, now = World(), [], [], 0
    try:
        root = world.start(spec, *(
            world.child(str(n), restart=kind, fatal=fatal) for n in range(children)))
        for number, wait, why in ends:
            child = str(number % children)
            if world.statuses().get(child) is not Status.RUNNING:
                continue
            world.clock.advance(wait)
            now += wait
            world.forget()
            end(world, child, why)
            asked.append(f"{child}:{now}:{why}")
            over = _settled(world)
            said.append(decided(world))
            if over:
                assert not root.handle.alive
                break
    finally:
        world.close()
    return asked, said


def _settled(world: World) -> bool:
    """Wait until the supervisor has dealt with the end; whether it ended of it."""
    try:
        world.root.which_children()
    except Exception:  # noqa: BLE001 - whatever a dead supervisor answers, it is over
        assert world.over.wait(10)
        return True
    return False


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from((*Strategy, Strategy.ONE_FOR_ONE)), st.integers(0, 3), st.integers(1, 5), st.booleans(),
    st.sampled_from((Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY)),
    st.sampled_from((False, False, False, False, True)), st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from(WAYS)), min_size=3, max_size=12))
def test_every_decision_is_that_of_the_model(
    strategy: Strategy, intensity: int, period: int, parks: bool, kind: Restart, fatal: bool, children: int,
    ends: list[End],
) -> None:
    parks = parks and strategy is Strategy.ONE_FOR_ONE
    spec = SupervisorSpec(
        strategy, intensity=intensity, period=period,
        on_exceed=OnExceed.PARK if parks else OnExceed.ESCALATE)
    asked, said = watched(spec, kind, fatal, children, ends)
    proved = ask(
        f"supervise {strategy} {intensity} {period} {int(parks)} {kind} {int(fatal)} "
        f"{listed(range(children))} {listed(asked, ';')}")
    assert said == (proved.split("|") if asked else []), asked


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4), st.integers(1, 15), st.lists(st.integers(0, 9), max_size=25))
def test_no_window_holds_more_than_the_intensity(intensity: int, period: int, waits: list[int]) -> None:
    """The theorem itself, on the Python: t6_intensity_bounds_every_window."""
    kept: tuple[float, ...] = ()
    admitted: list[int] = []
    now = 0
    for wait in waits:
        now += wait
        ok, kept = restarts.admit(kept, now, intensity, period)
        if ok:
            admitted.append(now)
    for begin in range(now + 1):
        assert sum(begin <= time <= begin + period for time in admitted) <= intensity
