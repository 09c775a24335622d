"""What one lifecycle step does to the declared state, and how it is undone: pure.

``advance`` is asked twice for each step. Before the effect, with no facts, for the inverse that the intent
journals; after it, with the facts of the effect, for the outcome. The actor performs, this decides.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vordr.formats.typed import convert
from vordr.model.errors import ContainerNotFound, IllegalTransition
from vordr.model.lifecycle import ROWS, Fidelity, Op, State, illegal, makes_process, target
from vordr.model.records import Inverse, Step, container_key, name_key, trash_key
from vordr.model.spec import IdRange
from vordr.model.state import ContainerState, Generation, TrashItem

replace = msgspec.structs.replace


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the effect found out: time in µs, pid of the new process, exit code of the ended one.

    ``compensating``: the step takes back an earlier one of its own act, so that nothing has happened.
    """

    time: int
    txn: str
    boot_id: str
    pid: int | None = None
    exit_code: int | None = None
    ended: int | None = None
    trash_days: int = 30
    compensating: bool = False


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """The container after the step (None: it is an image only), the projection writes, and the inverse.

    ``after`` is the state digest after the step; for a removed container, of its last state as removed.
    """

    container: ContainerState | None
    after: str | None
    writes: dict[str, Any]
    inverse: Inverse


def digest_of(container: ContainerState | None) -> str | None:
    return None if container is None else container.digest()


def advance(op: Op, before: ContainerState | None, args: dict[str, Any], facts: Facts) -> Advance:
    """The container after ``op`` on ``before``, by the lifecycle table.

    ``before`` is None for an image only. ``args`` are the step's (see the functions below). Raises
    IllegalTransition, or ContainerNotFound for an operation on nothing.
    """
    state = State.IMAGE_ONLY if before is None else before.state
    if state not in ROWS[op].sources:
        if before is None:
            raise ContainerNotFound(f"cannot {op}: there is no such container")
        raise illegal(op, state, before.name)
    match op:
        case Op.CREATE:
            return _create(convert(args["container"], ContainerState), facts)
        case Op.RECREATE:
            return _recreate(convert(args["container"], ContainerState), args, facts)
        case _ if before is None:
            raise ContainerNotFound(f"cannot {op}: there is no such container")
        case Op.UNCREATE:
            return _uncreate(before, args, facts)
        case Op.REMOVE:
            return _remove(before, args, facts)
        case Op.RESTORE:
            return _restore(before, args, facts)
        case Op.START:
            return _start(before, int(args["generation"]), facts)
        case Op.UNSTART:
            return _unstart(before, args, facts)
        case Op.REOPEN:
            return _reopen(before, args, facts)
        case Op.PAUSE | Op.RESUME:
            return _stay(op, replace(before, state=target(op, before.state)), {})
        case Op.STOP | Op.KILL | Op.EXIT:
            return _end(op, before, args, facts)
        case Op.REVIVE:
            return _revive(before, args, facts)
    raise IllegalTransition(f"unknown operation {op}")


def needs_verdict(step: Step) -> bool:
    """Whether a step of any subject makes a process, or what one will be made of."""
    if step.operation not in ROWS:
        return False
    wanted = step.args.get("to")
    return makes_process(Op(step.operation), None if wanted is None else State(wanted))


_NAMING = (Op.CREATE, Op.RECREATE, Op.REMOVE, Op.UNCREATE, Op.RESTORE)


def claims(step: Step, container: ContainerState | None) -> tuple[str, ...]:
    """Keys that a transaction with ``step`` keeps to itself from begin to end, beside its subjects.

    ``container`` is the one it is about, None when there is none yet. What takes a name or a range of ids
    must find it free, and what gives one up may have to take it back.
    """
    if step.operation not in _NAMING:
        return ()
    coming = step.args.get("container")
    if coming is not None:
        container = convert(coming, ContainerState)
    given = step.args.get("name") if step.operation == Op.RESTORE else None
    names = [str(given)] if given else []
    if container is not None:
        names.append(container.name)
    held = [name_key(name) for name in dict.fromkeys(names)]
    if step.operation == Op.CREATE and container is not None and container.ids is not None:
        held.append(range_key(container.ids))
    return tuple(held)


def _inverse(op: Op, args: dict[str, Any], *, losses: tuple[str, ...] | None = None) -> Inverse:
    row = ROWS[op]
    found = losses if losses is not None else ((row.loss,) if row.loss else ())
    return Inverse(str(row.inverse), args, row.fidelity if not found else Fidelity.STATE, found)


def _stay(op: Op, container: ContainerState, args: dict[str, Any]) -> Advance:
    writes = {container_key(container.id): msgspec.to_builtins(container)}
    return Advance(container=container, after=container.digest(), writes=writes, inverse=_inverse(op, args))


def _create(container: ContainerState, facts: Facts) -> Advance:
    created = replace(container, state=State.CREATED, created=facts.time)
    writes: dict[str, Any] = {
        container_key(created.id): msgspec.to_builtins(created),
        name_key(created.name): created.id,
        # A redo or an undo may still hold the id in the trash: it is here now.
        trash_key(created.id): None,
    }
    if created.ids is not None:
        writes[range_key(created.ids)] = created.id
    return Advance(
        container=created, after=created.digest(), writes=writes,
        inverse=_inverse(Op.CREATE, {"name": created.name}))


def range_key(ids: IdRange) -> str:
    """Key that reserves a range of host ids until the container's trash is emptied."""
    return f"ranges/{ids.first}"


def _trash(container: ContainerState, kind: str, facts: Facts) -> dict[str, Any]:
    deadline = facts.time + facts.trash_days * 86_400_000_000
    item = TrashItem(
        id=container.id, kind=kind, name=container.name, txn=facts.txn, removed=facts.time,
        deadline=deadline, container=container)
    return {trash_key(container.id): msgspec.to_builtins(item)}


def _release_name(container: ContainerState) -> dict[str, Any]:
    return {} if container.state is State.REMOVED else {name_key(container.name): None}


def _uncreate(before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    """From created: to the trash. From removed: it is in the trash already, only the record goes.

    There it lies under ``name``: the one that it was made with, or lay there under before it was made again.
    """
    gone = replace(before, name=str(args.get("name") or before.name))
    writes = {container_key(before.id): None, **_release_name(before), **_trash(gone, "uncreated", facts)}
    inverse = _inverse(Op.UNCREATE, {
        "container": msgspec.to_builtins(before), "to": str(before.state), "trashed_as": gone.name})
    return Advance(container=None, after=None, writes=writes, inverse=inverse)


def _recreate(container: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    back = replace(container, state=target(Op.RECREATE, State.IMAGE_ONLY, State(args["to"])))
    writes: dict[str, Any] = {container_key(back.id): msgspec.to_builtins(back)}
    if back.state is State.REMOVED:
        writes.update(_trash(back, "container", facts))
    else:
        writes.update({name_key(back.name): back.id, trash_key(back.id): None})
    inverse = _inverse(Op.RECREATE, {"name": str(args.get("trashed_as") or back.name)})
    return Advance(container=back, after=back.digest(), writes=writes, inverse=inverse)


def _remove(before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    """To the trash; under ``name`` where one is given, as the undo of a restore under another name does."""
    removed = replace(before, state=State.REMOVED, name=str(args.get("name") or before.name))
    writes = {
        container_key(before.id): msgspec.to_builtins(removed),
        name_key(before.name): None,
        **_trash(removed, "container", facts),
    }
    inverse = _inverse(Op.REMOVE, {"to": str(before.state), "name": before.name})
    return Advance(container=removed, after=removed.digest(), writes=writes, inverse=inverse)


def _brought_back(container: ContainerState, facts: Facts) -> ContainerState:
    """Who brings a stopped container back decides what happens to it next, not what its last process left
    to be done. An act that takes itself back leaves that to be done, too."""
    if container.state is not State.STOPPED or facts.compensating:
        return container
    return replace(container, asked_to_stop=True)


def _restore(before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    to, name = target(Op.RESTORE, before.state, State(args["to"])), str(args.get("name") or before.name)
    back = _brought_back(replace(before, state=to, name=name), facts)
    writes = {
        container_key(back.id): msgspec.to_builtins(back),
        name_key(back.name): back.id,
        trash_key(back.id): None,
    }
    # Under another name it goes back to the trash under the one that it had there.
    inverse = _inverse(Op.RESTORE, {"name": before.name})
    return Advance(container=back, after=back.digest(), writes=writes, inverse=inverse)


def _process(container: ContainerState, state: State, facts: Facts, act: str | None) -> ContainerState:
    """A new process, on account of ``act``: its exit will be a consequence of that act."""
    return replace(
        container, state=state, started=facts.time, finished=None, exit_code=None, pid=facts.pid,
        process=container.process + 1, process_act=act, boot_id=facts.boot_id, asked_to_stop=False)


def _start(before: ContainerState, generation: int, facts: Facts) -> Advance:
    opened = (*before.generations, Generation(generation, facts.time))
    running = _process(
        replace(before, generations=opened, next_generation=generation + 1, restarts=0), State.RUNNING,
        facts, facts.txn)
    args = {"generation": generation, "to": str(before.state), "exit": _exit_facts(before)}
    losses = ("memory of the process", f"files written since generation {generation} opened, but for redo")
    advance_ = _stay(Op.START, running, args)
    return msgspec.structs.replace(advance_, inverse=_inverse(Op.START, args, losses=losses))


def _exit_facts(container: ContainerState) -> dict[str, Any]:
    return {
        "code": container.exit_code, "finished": container.finished, "started": container.started,
        "asked": container.asked_to_stop, "restarts": container.restarts, "act": container.process_act}


def _with_exit(container: ContainerState, args: dict[str, Any], facts: Facts) -> ContainerState:
    """``container``, brought back with what ``args`` know of the end that it had."""
    known: dict[str, Any] = args.get("exit") or {}
    back = replace(
        container, exit_code=known.get("code"), finished=known.get("finished"),
        started=known.get("started"), asked_to_stop=bool(known.get("asked")),
        restarts=int(known.get("restarts") or 0), process_act=known.get("act"), pid=None)
    return _brought_back(back, facts)


def _unstart(before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    number = int(args["generation"])
    if not before.generations or before.generations[-1].number != number:
        raise IllegalTransition(f"generation {number} is not the newest of {before.name}")
    dropped = before.generations[-1]
    to = target(Op.UNSTART, before.state, State(args["to"]))
    back = _with_exit(replace(before, state=to, generations=before.generations[:-1]), args, facts)
    ended = before if before.state is State.STOPPED else replace(
        before, exit_code=facts.exit_code, finished=facts.ended or facts.time)
    inverse = {
        "generation": number, "opened": dropped.opened, "to": str(before.state), "act": before.process_act,
        "exit": _exit_facts(ended)}
    return _stay(Op.UNSTART, back, inverse)


def _reopen(before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    number, to = int(args["generation"]), State(args["to"])
    opened = (*before.generations, Generation(number, int(args["opened"])))
    again = replace(before, generations=opened)
    again = (_with_exit(replace(again, state=to), args, facts) if to is State.STOPPED
             else _process(again, target(Op.REOPEN, before.state, to), facts, args.get("act")))
    inverse = {"generation": number, "to": str(before.state), "exit": _exit_facts(before)}
    losses = () if to is State.STOPPED else ("memory of the process",)
    return msgspec.structs.replace(
        _stay(Op.REOPEN, again, inverse), inverse=_inverse(Op.REOPEN, inverse, losses=losses))


def _end(op: Op, before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    ended = replace(
        before, state=State.STOPPED, pid=None, exit_code=facts.exit_code, finished=facts.ended or facts.time,
        asked_to_stop=op in (Op.STOP, Op.KILL))
    return _stay(op, ended, {"to": str(before.state)})


def _revive(before: ContainerState, args: dict[str, Any], facts: Facts) -> Advance:
    to = target(Op.REVIVE, before.state, State(args["to"]))
    again = _process(before, to, facts, before.process_act)
    if args.get("policy"):
        again = replace(again, restarts=before.restarts + 1)
    return _stay(Op.REVIVE, again, {"signal": 9, "timeout": 0})
