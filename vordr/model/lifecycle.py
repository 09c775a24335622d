"""THE lifecycle table: states, operations, and each operation's inverse, once, as data.

The ``transitions`` machine of the container actor, the diagram in the docs, the message of an illegal
transition and the Coq model read it. Design §3; the rows below the line are the inverses themselves, which
only an undo (or redo) performs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vordr.model.errors import ContainerRunning, ContainerStopped, IllegalTransition


class State(StrEnum):
    IMAGE_ONLY = "image_only"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    REMOVED = "removed"


class Fidelity(StrEnum):
    """How true an inverse is: to the byte, to the declared state, or with a loss that the plan names."""

    EXACT = "exact"
    STATE = "state"
    LOSSY = "lossy"


class Op(StrEnum):
    """Lifecycle operations; the first group is what users and the kernel do, the second undoes it."""

    CREATE = "create"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    KILL = "kill"
    EXIT = "exit"
    REMOVE = "remove"

    UNCREATE = "uncreate"
    RECREATE = "recreate"
    UNSTART = "unstart"
    REOPEN = "reopen"
    REVIVE = "revive"
    RESTORE = "restore"


@dataclass(frozen=True)
class Row:
    """One operation: from any of ``sources`` to one of ``targets`` (the argument chooses where several).

    ``creates_process`` rows need a verdict; ``loss`` is what the *inverse* of this row cannot bring back.
    """

    op: Op
    sources: tuple[State, ...]
    targets: tuple[State, ...]
    inverse: Op
    fidelity: Fidelity
    loss: str | None = None
    creates_process: bool = False
    direct: bool = True


_MEMORY: Final = "memory of the process"

TABLE: Final[tuple[Row, ...]] = (
    Row(Op.CREATE, (State.IMAGE_ONLY,), (State.CREATED,), Op.UNCREATE, Fidelity.EXACT, creates_process=True),
    Row(Op.START, (State.CREATED, State.STOPPED), (State.RUNNING,), Op.UNSTART, Fidelity.EXACT,
        creates_process=True),
    Row(Op.PAUSE, (State.RUNNING,), (State.PAUSED,), Op.RESUME, Fidelity.EXACT),
    Row(Op.RESUME, (State.PAUSED,), (State.RUNNING,), Op.PAUSE, Fidelity.EXACT),
    Row(Op.STOP, (State.RUNNING, State.PAUSED), (State.STOPPED,), Op.REVIVE, Fidelity.STATE, _MEMORY),
    Row(Op.KILL, (State.RUNNING, State.PAUSED), (State.STOPPED,), Op.REVIVE, Fidelity.STATE, _MEMORY),
    Row(Op.EXIT, (State.RUNNING, State.PAUSED), (State.STOPPED,), Op.REVIVE, Fidelity.STATE, _MEMORY,
        direct=False),
    Row(Op.REMOVE, (State.CREATED, State.STOPPED), (State.REMOVED,), Op.RESTORE, Fidelity.EXACT),
    # ---------------------------------------------------------------------------------------------
    Row(Op.UNCREATE, (State.CREATED, State.REMOVED), (State.IMAGE_ONLY,), Op.RECREATE, Fidelity.EXACT,
        direct=False),
    Row(Op.RECREATE, (State.IMAGE_ONLY,), (State.CREATED, State.REMOVED), Op.UNCREATE, Fidelity.EXACT,
        direct=False),
    Row(Op.UNSTART, (State.RUNNING, State.PAUSED, State.STOPPED), (State.CREATED, State.STOPPED), Op.REOPEN,
        Fidelity.STATE, _MEMORY, direct=False),
    Row(Op.REOPEN, (State.CREATED, State.STOPPED), (State.RUNNING, State.PAUSED, State.STOPPED), Op.UNSTART,
        Fidelity.EXACT, creates_process=True, direct=False),
    Row(Op.REVIVE, (State.STOPPED,), (State.RUNNING, State.PAUSED), Op.STOP, Fidelity.STATE,
        creates_process=True, direct=False),
    Row(Op.RESTORE, (State.REMOVED,), (State.CREATED, State.STOPPED), Op.REMOVE, Fidelity.EXACT,
        direct=False),
)

ROWS: Final[dict[Op, Row]] = {row.op: row for row in TABLE}

# Words people type for the operations that they may ask for themselves.
_VERBS: Final = {Op.RESUME: "unpause", Op.REMOVE: "rm"}


def allowed(state: State) -> tuple[Op, ...]:
    """The operations that a user may ask for in ``state``, in table order."""
    return tuple(row.op for row in TABLE if row.direct and state in row.sources)


def target(op: Op, state: State, wanted: State | None = None) -> State:
    """Where ``op`` leads from ``state``; ``wanted`` chooses among several targets.

    Raises IllegalTransition (ContainerRunning or ContainerStopped where that is the reason).
    """
    row = ROWS[op]
    if state not in row.sources:
        raise illegal(op, state, "the container")
    if wanted is None:
        if len(row.targets) != 1:
            raise IllegalTransition(f"{op} from {state} needs the state it should lead to")
        return row.targets[0]
    if wanted not in row.targets:
        raise IllegalTransition(f"{op} cannot lead to {wanted}; possible: {', '.join(row.targets)}")
    return wanted


def makes_process(op: Op, wanted: State | None = None) -> bool:
    """Whether ``op`` needs a verdict: it makes a process, or what a process will be made of."""
    return ROWS[op].creates_process and wanted is not State.STOPPED


def illegal(op: Op, state: State, name: str) -> IllegalTransition:
    """The refusal for ``op`` on container ``name`` in ``state``, naming what is allowed instead."""
    options = ", ".join(_VERBS.get(o, str(o)) for o in allowed(state)) or "nothing"
    message = f"cannot {_VERBS.get(op, str(op))}: {name} is {state}; allowed: {options}"
    kind: type[IllegalTransition] = IllegalTransition
    if state in (State.RUNNING, State.PAUSED) and op in (Op.REMOVE, Op.START):
        kind = ContainerRunning
    elif state in (State.CREATED, State.STOPPED) and op not in (Op.START, Op.REMOVE):
        kind = ContainerStopped
    remedy = {
        ContainerRunning: f"vordr rm -f {name}" if op is Op.REMOVE else f"vordr restart {name}",
        ContainerStopped: f"vordr start {name}",
    }.get(kind)
    return kind(message, remedy=remedy, details={"operation": str(op), "state": str(state)})


def machine_transitions() -> list[dict[str, object]]:
    """The table in the form of ``transitions.Machine(transitions=…)``.

    A row with several targets becomes one trigger per target, named ``op`` or ``op_to_target``.
    """
    rows: list[dict[str, object]] = []
    for row in TABLE:
        for dest in row.targets:
            trigger = str(row.op) if len(row.targets) == 1 else f"{row.op}_to_{dest}"
            rows.append({"trigger": trigger, "source": [str(s) for s in row.sources], "dest": str(dest)})
    return rows
