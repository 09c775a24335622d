"""What a crash may interrupt: every mutating operation of the registry, in every state that it may begin in.

Where an operation is one of the lifecycle table, the table says from where; where it is made of several, the
first of them that applies does. Each reversible one is a scene, its undo another, and its redo a third (in
every state with VORDR_SOAK, else in the first).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from failpoint.choice import SOAK
from vordr.model.lifecycle import ROWS, Op, State
from vordr.model.operations import REGISTRY, Operation
from vordr.model.spec import RestartMode

IMAGE, NAME, CODE = "hello", "web", 7
PROGRAM: Final = ["sh", "-c", f"trap 'exit {CODE}' TERM; while true; do sleep 1 & wait; done"]
"""Ends at once with :data:`CODE` when it is asked to."""

WISH: Final[dict[str, Any]] = {
    "image": IMAGE, "name": NAME, "command": PROGRAM, "environment": {"TOKEN": "of the crash"}}

Call = tuple[str, dict[str, Any]]

_RUN: Final[Call] = ("run", WISH)
PREPARED: Final[dict[State, tuple[Call, ...]]] = {
    State.IMAGE_ONLY: (),
    State.CREATED: (("create", WISH),),
    State.RUNNING: (_RUN,),
    State.PAUSED: (_RUN, ("pause", {"container": NAME})),
    State.STOPPED: (_RUN, ("stop", {"container": NAME})),
    State.REMOVED: (_RUN, ("remove", {"container": NAME, "force": True})),
}
"""How a container comes into each state."""

# Operations made of others: those that one of them may begin with.
_COMPOSED: Final = {
    "run": (Op.CREATE,), "restart": (Op.STOP, Op.START), "remove": (Op.KILL, Op.REMOVE),
    "trash_restore": (Op.RESTORE,)}
# They begin beside whatever stands, wherever there is a process.
_BESIDE: Final = {"exec": {"command": ["true"], "detach": True}, "kill": {"signal": "WINCH"}}
_REVERSALS: Final = frozenset({"undo", "redo"})

END: Final = "end"
"""In place of an operation: the process ends by itself."""

PARK: Final = "park"
"""In place of an operation: the process ends, and what its policy makes of that fails."""

WAKE: Final = "wake"


@dataclass(frozen=True)
class Scene:
    """``before`` brings about where ``act`` is interrupted."""

    name: str
    before: tuple[Call, ...]
    act: Call
    covers: frozenset[str] = field(default_factory=frozenset)

    @property
    def has_sequel(self) -> bool:
        """Whether a policy brings it to its end, in whichever life."""
        return self.act[0] in (END, WAKE)

    @property
    def ends_by_asking(self) -> int | None:
        """The exit code that a container has wherever this scene leaves it stopped; None: it depends."""
        words = [operation for operation, _ in (*self.before, self.act)]
        return CODE if self.act[0] in ("stop", END) and "kill" not in words else None


def of_containers() -> tuple[Operation, ...]:
    """The mutating operations that act on a container, or make one; undo and redo act on acts."""
    return tuple(
        op for op in REGISTRY.values()
        if op.mutating and ({"container", "command", "item"} & set(op.args.__struct_fields__))
        and op.name not in (*_REVERSALS, "pack", WAKE))


def _args(operation: Operation) -> dict[str, Any]:
    known: dict[str, Any] = {"container": NAME, "item": NAME, "force": True}
    if "image" in operation.args.__struct_fields__:
        return WISH
    return {key: value for key, value in known.items() if key in operation.args.__struct_fields__}


def _sources(operation: Operation) -> Iterator[State]:
    own = tuple(op for op in Op if op == operation.name)
    ops = _COMPOSED.get(operation.name, own)
    found = {state for op in ops for state in ROWS[op].sources}
    return (state for state in State if state in found)


def scenes() -> tuple[Scene, ...]:
    """All of them, in the order of the registry."""
    of_operations = (scene for operation in of_containers() for scene in _of(operation))
    return *of_operations, *_of_removed_by_stop(), *_ends(), _wake(), _emptying()


def _of(operation: Operation) -> Iterator[Scene]:
    act = (operation.name, _args(operation))
    for number, state in enumerate(_sources(operation)):
        reversals = _with_reversals(f"{operation.name} of {state}", PREPARED[state], act, operation.inverse)
        yield from reversals if SOAK or number == 0 else itertools.islice(reversals, 2)
    if operation.name in _BESIDE:
        beside = (operation.name, {"container": NAME, **_BESIDE[operation.name]})
        yield Scene(f"{operation.name} beside", PREPARED[State.RUNNING], beside, frozenset({operation.name}))


def _with_reversals(name: str, before: tuple[Call, ...], act: Call, inverse: str | None) -> Iterator[Scene]:
    yield Scene(name, before, act, frozenset({act[0]}))
    if inverse is not None:
        undo: Call = ("undo", {})
        yield Scene(f"undo {name}", (*before, act), undo, frozenset({"undo"}))
        yield Scene(f"redo {name}", (*before, act, undo), ("redo", {}), frozenset({"redo"}))


def _of_removed_by_stop() -> Iterator[Scene]:
    before: Call = ("run", {**WISH, "auto_remove": True})
    yield from _with_reversals("stop of --rm", (before,), ("stop", {"container": NAME}), str(Op.REVIVE))


def _wake() -> Scene:
    before: tuple[Call, ...] = (("run", {**WISH, "restart": {"mode": "always"}}), (PARK, {}))
    return Scene("wake of parked", before, (WAKE, {"container": NAME}), frozenset({WAKE}))


def _emptying() -> Scene:
    return Scene("trash_empty", PREPARED[State.REMOVED], ("trash_empty", {"all": True}),
                 frozenset({"trash_empty"}))


def _ends() -> Iterator[Scene]:
    wishes: dict[str, dict[str, Any]] = {str(mode): {"restart": {"mode": str(mode)}} for mode in RestartMode}
    wishes["--rm"] = {"auto_remove": True}
    for policy, wish in wishes.items():
        before: Call = ("run", {**WISH, **wish})
        yield from _with_reversals(f"end with {policy}", (before,), (END, {}), None)
