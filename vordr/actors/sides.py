"""Steps that change no lifecycle state: a signal that does not kill, and exec. They have no inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vordr.actors.messages import Perform
from vordr.actors.world import ALIVE, World
from vordr.model.errors import ContainerNotFound, ContainerStopped, IllegalTransition, RuntimeFailed
from vordr.model.lifecycle import State
from vordr.model.records import Cause, Draft, Kind, Step
from vordr.model.state import ContainerState

SIGNAL: Final = "signal"
EXEC: Final = "exec"
SIDE_OPERATIONS: Final = frozenset({SIGNAL, EXEC})

Side = Callable[[], tuple[dict[str, Any], int | None]]
"""Does it; returns the journalled result and a descriptor of an attach socket."""


def lost(txn: str, step: Step, principal: str) -> Draft:
    """The outcome of a step under which something crashed: nobody can know whether it was done."""
    error = RuntimeFailed(f"nobody knows whether the {step.operation} was done")
    return Draft(
        txn=txn, kind=Kind.FAILED, cause=Cause.RECOVERY, subject=step.subject, operation=step.operation,
        args={"error": error.to_wire()}, principal=principal)


def side_work(world: World, container: ContainerState | None, request: Perform) -> Side:
    """The work of a side step; raises ContainerStopped when there is no process to do it in."""
    if container is None:
        raise ContainerNotFound(f"cannot {request.step.operation}: there is no such container")
    if container.state not in (State.RUNNING, State.PAUSED):
        raise ContainerStopped(
            f"cannot {request.step.operation}: {container.name} is {container.state}",
            remedy=f"vordr start {container.name}")
    if request.step.operation == SIGNAL:
        number = int(request.step.args["signal"])

        def signal() -> tuple[dict[str, Any], int | None]:
            world.signal(container, number)
            return {}, None

        return signal
    if container.state is State.PAUSED:
        raise IllegalTransition(
            f"cannot exec: {container.name} is paused", remedy=f"vordr unpause {container.name}")
    session = str(request.step.args["session"])

    def execute() -> tuple[dict[str, Any], int | None]:
        try:
            attach = world.execute(container, session, request.payload["exec"], attach=request.attach)
        except RuntimeFailed as error:
            if world.observe(container).status in ALIVE:
                raise
            raise ContainerStopped(
                f"cannot exec: {container.name} stopped before the command began") from error
        return {"session": session}, attach

    return execute
