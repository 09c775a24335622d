"""The projection as a pure function: what one record writes, given what stands.

``project(record, read)`` returns the puts and deletes of :data:`records.Writes`; ``read`` gives the value
under a key or None. The journal applies them in the same batch as the record; the auditor replays them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from vordr.formats.typed import convert
from vordr.model.errors import JournalCorrupt
from vordr.model.records import (
    Act,
    ActStatus,
    Kind,
    Record,
    Step,
    StepDone,
    act_key,
    busy_key,
    head_key,
    open_key,
)

Read = Callable[[str], Any]

# Only these may be written by a step's outcome; the rest is the projection's own book-keeping.
STEP_PREFIXES = ("containers/", "images/", "names/", "trash/", "trust/", "ranges/", "refs/")


_FIELDS: Final = frozenset(Act.__struct_fields__)
_NO_INTENT: Final[dict[str, Any]] = {"intent": None, "takes_back": None}


def _builtins(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _act(record: Record, read: Read) -> dict[str, Any]:
    """The act of the record's transaction, as its fields stand in the projection (:class:`records.Act`)."""
    value: dict[str, Any] | None = read(act_key(record.txn))
    if value is None:
        raise JournalCorrupt(f"record {record.seq} ({record.kind}) belongs to no begun transaction")
    if not value.keys() >= _FIELDS:
        raise JournalCorrupt(f"the act of record {record.seq} ({record.kind}) is damaged")
    return value


def _begin(record: Record) -> dict[str, Any]:
    args = record.args
    act = Act(
        txn=record.txn, act=record.operation, summary=str(args.get("summary", record.operation)),
        cause=record.cause, principal=record.principal,
        plan=tuple(convert(s, Step) for s in args.get("plan", ())),
        seq=record.seq, time=record.time, origin=args.get("origin"), undoes=args.get("undoes"),
        reversible=bool(args.get("reversible", True)), holds=tuple(args.get("holds", ())),
    )
    writes: dict[str, Any] = {act_key(record.txn): _builtins(act), open_key(record.txn): record.seq}
    writes.update({busy_key(held): record.txn for held in act.holds})
    return writes


def _end(record: Record, read: Read) -> dict[str, Any]:
    act = _act(record, read)
    committed = record.kind is Kind.COMMIT
    status = ActStatus.COMMITTED if committed else ActStatus.ABORTED
    ended = {**act, "status": str(status), "end": record.seq, "intent": None, "takes_back": None}
    writes: dict[str, Any] = {act_key(record.txn): ended, open_key(record.txn): None}
    writes.update({busy_key(held): None for held in act["holds"]})
    if committed:
        # A redo undoes an undo: the act below it is live again.
        for txn, by in _undo_marks(act, read):
            target = read(act_key(txn))
            if target is not None:
                writes[act_key(txn)] = {**target, "undone_by": by}
    return writes


def _undo_marks(act: dict[str, Any], read: Read) -> list[tuple[str, str | None]]:
    if act["undoes"] is None:
        return []
    marks: list[tuple[str, str | None]] = []
    for txn in str(act["undoes"]).split(","):
        marks.append((txn, act["txn"]))
        undone = read(act_key(txn))
        if undone is not None and undone.get("undoes"):
            marks.extend((below, None) for below in str(undone["undoes"]).split(","))
    return marks


def project(record: Record, read: Read) -> dict[str, Any]:
    """Return the projection writes of ``record``; raises JournalCorrupt when it does not fit what stands."""
    writes: dict[str, Any] = {}
    match record.kind:
        case Kind.BEGIN:
            writes = _begin(record)
        case Kind.COMMIT | Kind.ABORT:
            writes = _end(record, read)
        case Kind.INTENT:
            step = Step(
                subject=record.subject, operation=record.operation, args=record.args.get("step", {}))
            going = {"intent": _builtins(step), "takes_back": record.args.get("compensates")}
            writes = {act_key(record.txn): {**_act(record, read), **going}}
        case Kind.DONE:
            act = _act(record, read)
            done = StepDone(
                subject=record.subject, operation=record.operation, args=record.args.get("step", {}),
                before=record.before, after=record.after, inverse=record.inverse, seq=record.seq,
                compensates=record.args.get("compensates"),
            )
            steps = [*act["steps"], _builtins(done)]
            writes = {act_key(record.txn): {**act, **_NO_INTENT, "steps": steps}, **_step_writes(record)}
        case Kind.FAILED:
            writes = {act_key(record.txn): {**_act(record, read), **_NO_INTENT}, **_step_writes(record)}
        case _:
            writes = _step_writes(record)
    writes[head_key(record.subject)] = record.seq
    return writes


def _step_writes(record: Record) -> dict[str, Any]:
    writes: dict[str, Any] = dict(record.args.get("writes", {}))
    for key in writes:
        if not key.startswith(STEP_PREFIXES):
            raise JournalCorrupt(f"record {record.seq} writes the key {key!r}, which no step may write")
    return writes
