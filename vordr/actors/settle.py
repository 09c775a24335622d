"""Intents without outcome, compared with the world: done, or failed and cleaned; never guessed.

Design §4, recovery.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from vordr.actors.script import Findings, Task, Work
from vordr.actors.world import ALIVE, Observed, Status, World
from vordr.model.lifecycle import Op, State


@dataclass(frozen=True)
class Settled:
    """Whether the effect had happened, and what was found out about it."""

    done: bool
    findings: Findings


Settlement = Generator[Work, Any, Settled]


def settle(world: World, task: Task) -> Settlement:
    """Find out what became of the step that ``task`` names, and clean up where it did not happen."""
    seen: Observed = yield Work(lambda: world.observe(task.container))
    match task.op:
        case Op.CREATE:
            # Begun or not, it is finished now: taking it back then leaves a folder that the trash knows of.
            yield Work(lambda: world.create(task.container))
            return Settled(True, Findings())
        case Op.START:
            return (yield from _launched(world, task, seen, int(task.args["generation"]), State.RUNNING))
        case Op.REOPEN:
            return (yield from _reopened(world, task, seen))
        case Op.REVIVE:
            return (yield from _launched(world, task, seen, None, State(task.args["to"])))
        case Op.PAUSE:
            return Settled(seen.status is Status.PAUSED, Findings(pid=seen.pid))
        case Op.RESUME:
            return Settled(seen.status is Status.RUNNING, Findings(pid=seen.pid))
        case Op.STOP | Op.KILL:
            if seen.status in ALIVE:
                return _failed()
            yield Work(lambda: world.clear(task.container))
            return Settled(True, Findings(exit=seen.exit))
        case Op.UNSTART:
            return (yield from _unstarted(world, task, seen))
        case Op.UNCREATE if task.container.state is State.REMOVED:
            return Settled(True, Findings())
        case Op.UNCREATE | Op.REMOVE:
            return Settled(seen.trashed and not seen.folder, Findings())
        case Op.RECREATE if State(task.args["to"]) is State.REMOVED:
            return Settled(True, Findings())
        case Op.RESTORE | Op.RECREATE:
            return Settled(seen.folder and not seen.trashed, Findings())
    return _failed()


def _failed() -> Settled:
    return Settled(False, Findings())


def _launched(
    world: World, task: Task, seen: Observed, generation: int | None, to: State
) -> Settlement:
    wanted = Status.PAUSED if to is State.PAUSED else Status.RUNNING
    if seen.status in ALIVE:
        if seen.status is not wanted:
            put = world.pause if wanted is Status.PAUSED else world.resume
            yield Work(lambda: put(task.container))
        return Settled(True, Findings(pid=seen.pid))
    if seen.status is Status.ENDED and seen.exit is not None:
        # It ran and ended while nobody looked: the start happened, and its end is a matter of its own.
        return Settled(True, Findings(pid=seen.pid))
    yield Work(lambda: world.clear(task.container))
    if generation is not None and generation in seen.generations:
        yield Work(lambda: world.drop_generation(task.container, generation))
    return _failed()


def _reopened(world: World, task: Task, seen: Observed) -> Settlement:
    number, to = int(task.args["generation"]), State(task.args["to"])
    if to is State.STOPPED:
        return Settled(number in seen.generations, Findings())
    return (yield from _launched(world, task, seen, number, to))


def _unstarted(world: World, task: Task, seen: Observed) -> Settlement:
    number = int(task.args["generation"])
    if seen.status in ALIVE:
        return _failed()
    yield Work(lambda: world.clear(task.container))
    if number in seen.generations:
        yield Work(lambda: world.drop_generation(task.container, number))
    return Settled(True, Findings(exit=seen.exit))
