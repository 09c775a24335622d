"""Comparing what is declared of a container with the world, outside any step: phases as a script has them.

An actor does it when it takes a container over, and when a step left it in doubt.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from vordr.actors.script import Work
from vordr.actors.world import ALIVE, Observed, Status, World
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState

Look = Generator[Work, Any, Observed]


def taking_over(world: World, container: ContainerState) -> Look:
    """Of a container that should have a process: freeze or thaw it as declared, and hear of its end."""
    paused = container.state is State.PAUSED
    seen: Observed = yield Work(lambda: world.observe(container))
    if seen.status is Status.RUNNING and paused:
        yield Work(lambda: world.pause(container))
    elif seen.status is Status.PAUSED and not paused:
        yield Work(lambda: world.resume(container))
    if seen.status in ALIVE:
        yield Work(lambda: world.watch(container))
    return seen


def looking_behind(world: World, container: ContainerState) -> Look:
    """Of a container that should have none: clear what is there all the same."""
    seen: Observed = yield Work(lambda: world.observe(container))
    if seen.status is not Status.ABSENT:
        yield from clearing(world, container)
    return seen


def clearing(world: World, container: ContainerState) -> Generator[Work, Any, None]:
    """Clear what an ended process left behind."""
    yield Work(lambda: world.clear(container))
    # Last: while the exit is there, a crash leaves something to look for.
    yield Work(lambda: world.forget_exit(container))
