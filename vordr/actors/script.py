"""How each lifecycle step is made of effects.

A *script* is a generator of phases: work for the effects pool, or a wait for the process to end. The actor
drives it with messages, so it never waits itself. On an error the script has cleaned up what it began.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final

from vordr.actors.world import ALIVE, Exit, Launched, Observed, World
from vordr.model.errors import IllegalTransition, RuntimeFailed, VordrError
from vordr.model.lifecycle import Op, State, illegal
from vordr.model.state import ContainerState
from vordr.model.verdict import Verdict

KILL: Final = 9
# After SIGKILL a process ends as soon as the kernel lets go of it; longer than this is a wedged disk.
KILL_PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Work:
    """A phase for the effects pool; its result is sent back into the script, its error raised there."""

    run: Callable[[], Any]


@dataclass(frozen=True)
class AwaitExit:
    """A phase that ends with the process (an Exit is sent back) or after ``seconds`` (None is)."""

    seconds: float


@dataclass
class Findings:
    """What a script found out, for the facts of the outcome; ``uncleared``: something is left to clear."""

    pid: int | None = None
    exit: Exit | None = None
    attach: int | None = None
    notes: list[str] = field(default_factory=list)
    uncleared: bool = False


Script = Generator[Work | AwaitExit, Any, Findings]


@dataclass(frozen=True)
class Task:
    """One step to perform: the container as it is, the step's args, the verdict where a process is made."""

    op: Op
    container: ContainerState
    args: dict[str, Any]
    verdict: Verdict | None = None
    attach: bool = False


def script(world: World, task: Task) -> Script:
    """The phases of ``task``."""
    c, args = task.container, task.args
    match task.op:
        case Op.CREATE:
            return _simple(lambda: world.create(c))
        case Op.UNCREATE:
            return _nothing() if c.state is State.REMOVED else _simple(lambda: world.discard(c))
        case Op.RECREATE:
            back = State(args["to"]) is not State.REMOVED
            return _simple(lambda: world.recover(c)) if back else _nothing()
        case Op.REMOVE:
            return _simple(lambda: world.discard(c))
        case Op.RESTORE:
            return _simple(lambda: world.recover(c))
        case Op.PAUSE:
            return _on_living(world, task, lambda: world.pause(c))
        case Op.RESUME:
            return _on_living(world, task, lambda: world.resume(c))
        case Op.START:
            return _start(world, task, int(args["generation"]))
        case Op.REOPEN:
            return _reopen(world, task, int(args["generation"]), State(args["to"]))
        case Op.REVIVE:
            return _launch(world, task, _numbers(c), State(args["to"]))
        case Op.STOP | Op.KILL:
            return _end(world, c, int(args.get("signal", 15)), float(args.get("timeout", 10)))
        case Op.UNSTART:
            return _unstart(world, c, int(args["generation"]))
    raise IllegalTransition(f"{task.op} has no effect of its own")


def _numbers(container: ContainerState) -> tuple[int, ...]:
    return tuple(g.number for g in container.generations)


def _nothing() -> Script:
    yield from ()
    return Findings()


def _simple(run: Callable[[], None]) -> Script:
    yield Work(run)
    return Findings()


def _on_living(world: World, task: Task, run: Callable[[], None]) -> Script:
    """Work that needs a process: where it fails since that has ended, the lifecycle's refusal says so."""
    try:
        yield Work(run)
    except RuntimeFailed as error:
        seen: Observed = yield Work(lambda: world.observe(task.container))
        if seen.status in ALIVE:
            raise
        raise illegal(task.op, State.STOPPED, task.container.name) from error
    return Findings()


def _launch(world: World, task: Task, generations: tuple[int, ...], to: State) -> Script:
    verdict = task.verdict
    if verdict is None:
        raise IllegalTransition(f"{task.op} makes a process and came without a verdict")
    try:
        launched: Launched = yield Work(
            lambda: world.launch(task.container, generations, verdict, attach=task.attach))
        if to is State.PAUSED:
            yield Work(lambda: world.pause(task.container))
    except VordrError:
        yield Work(lambda: world.clear(task.container))
        yield Work(lambda: world.forget_exit(task.container))
        raise
    return Findings(pid=launched.pid, attach=launched.attach)


def _start(world: World, task: Task, number: int) -> Script:
    yield Work(lambda: world.open_generation(task.container, number))
    try:
        return (yield from _launch(world, task, (*_numbers(task.container), number), State.RUNNING))
    except VordrError:
        yield Work(lambda: world.drop_generation(task.container, number))
        raise


def _reopen(world: World, task: Task, number: int, to: State) -> Script:
    yield Work(lambda: world.restore_generation(task.container, number))
    if to is State.STOPPED:
        return Findings()
    try:
        return (yield from _launch(world, task, (*_numbers(task.container), number), to))
    except VordrError:
        yield Work(lambda: world.drop_generation(task.container, number))
        raise


def _end(world: World, container: ContainerState, signal: int, patience: float) -> Script:
    """Signal, wait, then SIGKILL; a paused process is thawed so that it can receive the signal."""

    def deliver() -> None:
        world.signal(container, signal)
        if container.state is State.PAUSED and signal != KILL:
            try:
                world.resume(container)
            except RuntimeFailed:
                if world.observe(container).status in ALIVE:
                    raise

    found = Findings()
    yield Work(deliver)
    found.exit = yield from _await_end(world, container, KILL_PATIENCE if signal == KILL else patience)
    if found.exit is None and signal != KILL:
        found.notes.append(f"did not end within {patience:g} s of signal {signal}; killed")
        yield Work(lambda: world.signal(container, KILL))
        found.exit = yield from _await_end(world, container, KILL_PATIENCE)
    if found.exit is None:
        raise RuntimeFailed(
            f"the process of {container.name} does not die, not even by SIGKILL",
            remedy="look for a hung disk or network file system: ps -o stat,wchan -p " + str(container.pid))
    try:
        yield Work(lambda: world.clear(container))
    except VordrError as error:
        # The process has ended, and that was asked for; what it left can be cleared later.
        found.notes.append(f"not all that it left could be cleared: {error}")
        found.uncleared = True
    return found


def _await_end(
    world: World, container: ContainerState, seconds: float
) -> Generator[Work | AwaitExit, Any, Exit | None]:
    """Wait for the end; where its notice is missing or not sure, the world is asked. None: it lives on."""
    while True:
        told: Exit | None = yield AwaitExit(seconds)
        if told is not None and told.sure:
            return told
        seen: Observed = yield Work(lambda: world.observe(container))
        if seen.status not in ALIVE:
            return seen.exit or Exit(None, None if told is None else told.time)
        if told is None:
            return None


def _unstart(world: World, container: ContainerState, number: int) -> Script:
    found = Findings()
    if container.state in (State.RUNNING, State.PAUSED):
        found = yield from _end(world, container, KILL, 0)
    yield Work(lambda: world.drop_generation(container, number))
    return found
