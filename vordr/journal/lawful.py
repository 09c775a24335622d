"""Whether a history is one that the proved model allows: ``vordr audit --model``.

The chain says that nobody changed the records; this says that what they tell could have happened. Each
outcome of a container's step is held against the lifecycle table (compared with the Coq model cell by cell),
the stack of generations, the state digests before and after, the inverse that the table gives it, the intent
that came before it, and the verdict without which no process is made (docs/proofs.md: T1, T2, T4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vordr.formats.typed import convert
from vordr.model.errors import VordrError
from vordr.model.lifecycle import ROWS, Op, State
from vordr.model.records import EPOCH_KEY, Cause, Kind, Record, Step, container_key
from vordr.model.state import ContainerState
from vordr.model.steps import needs_verdict

_PREFIX = "container/"
_PUSHES = (Op.START, Op.REOPEN)
_RENAMES = (Op.RESTORE, Op.REMOVE)


@dataclass(frozen=True)
class Unlawful:
    """The first record that the model does not allow, and why."""

    seq: int
    reason: str


@dataclass(frozen=True)
class History:
    """How much was held against the model: outcomes of containers' steps, and transactions."""

    steps: int
    transactions: int
    unlawful: Unlawful | None = None

    @property
    def ok(self) -> bool:
        return self.unlawful is None


class _Refused(Exception):
    """A record that the model does not allow; its text is the reason."""


@dataclass
class _Transaction:
    """One open transaction: what it may still do. ``intent`` is the step without outcome."""

    cause: Cause
    intent: tuple[str, str] | None = None
    verdicts: dict[str, int] = field(default_factory=dict)


def check_history(records: Iterable[Record]) -> History:
    """Hold ``records`` (from the first on, in order, of a chain that holds) against the model."""
    court = _Court()
    for record in records:
        try:
            court.hear(record)
        except (_Refused, VordrError, msgspec.ValidationError, KeyError) as refused:
            return History(court.steps, court.ended, Unlawful(record.seq, str(refused)))
    return History(court.steps, court.ended)


class _Court:
    def __init__(self) -> None:
        self.containers: dict[str, ContainerState] = {}
        self.open: dict[str, _Transaction] = {}
        self.early: dict[str, dict[str, int]] = {}
        self.judged: set[str] = set()
        self.epoch = 0
        self.steps = 0
        self.ended = 0

    def hear(self, record: Record) -> None:
        match record.kind:
            case Kind.VERDICT:
                # It is appended together with the begin, in front of it.
                manifest = record.subject.removeprefix("image/")
                self.early.setdefault(record.txn, {})[manifest] = int(record.args["epoch"])
                self.judged.add(manifest)
            case Kind.BEGIN:
                if record.txn in self.open:
                    raise _Refused("the transaction begins a second time")
                verdicts = self.early.pop(record.txn, {})
                self.open[record.txn] = _Transaction(record.cause, None, verdicts)
            case Kind.INTENT:
                self._intent(record)
            case Kind.DONE:
                self._done(record)
            case Kind.FAILED:
                self._transaction(record).intent = None
            case Kind.COMMIT | Kind.ABORT:
                if self._transaction(record).intent is not None:
                    raise _Refused(f"{record.kind} while an intent has no outcome")
                del self.open[record.txn]
                self.ended += 1
            case _:
                return

    def _transaction(self, record: Record) -> _Transaction:
        found = self.open.get(record.txn)
        if found is None:
            raise _Refused(f"{record.kind} of a transaction that is not open")
        return found

    # -- intents -----------------------------------------------------------------------------------

    def _intent(self, record: Record) -> None:
        transaction = self._transaction(record)
        if transaction.intent is not None:
            raise _Refused(f"an intent of {record.operation} while {transaction.intent[1]} has no outcome")
        transaction.intent = (record.subject, record.operation)
        if not record.subject.startswith(_PREFIX) or record.operation not in ROWS:
            return
        before = self.containers.get(record.subject.removeprefix(_PREFIX))
        self._allowed(Op(record.operation), before)
        step = Step(subject=record.subject, operation=record.operation, args=record.args["step"])
        if needs_verdict(step):
            self._vouched(record, transaction, _image(before, step.args))

    def _vouched(self, record: Record, transaction: _Transaction, image: str) -> None:
        """T2: a verdict on this image came before, and trust has not changed since."""
        if record.cause is Cause.RECOVERY:
            # Recovery asks the gatekeeper anew and journals no verdict; one must have come some time.
            if image not in self.judged:
                raise _Refused(f"recovery makes a process of {image}, on which no verdict was ever given")
            return
        epoch = transaction.verdicts.get(image)
        if epoch is None:
            raise _Refused(f"{record.operation} makes a process of {image} without a verdict")
        if epoch != self.epoch:
            raise _Refused(f"the verdict is of trust epoch {epoch}, and it is {self.epoch} now")

    @staticmethod
    def _allowed(op: Op, before: ContainerState | None) -> None:
        """T1: the table has this operation in this state."""
        state = State.IMAGE_ONLY if before is None else before.state
        if state not in ROWS[op].sources:
            raise _Refused(f"{op} is not possible in state {state}")

    # -- outcomes ----------------------------------------------------------------------------------

    def _done(self, record: Record) -> None:
        transaction = self._transaction(record)
        writes: dict[str, Any] = record.args.get("writes", {})
        of_container = record.subject.startswith(_PREFIX) and record.operation in ROWS
        if transaction.intent is not None:
            if transaction.intent != (record.subject, record.operation):
                raise _Refused(f"an outcome of {record.operation}, intended was {transaction.intent[1]}")
            transaction.intent = None
        elif record.operation != Op.EXIT and record.subject != "trust":
            raise _Refused(f"an outcome of {record.operation} without an intent")
        if of_container:
            self._step(record, writes)
            self.steps += 1
        elif any(key.startswith("containers/") for key in writes):
            raise _Refused(f"{record.operation} on {record.subject} writes a container")
        if EPOCH_KEY in writes:
            if int(writes[EPOCH_KEY]) <= self.epoch:
                raise _Refused(f"the trust epoch goes from {self.epoch} to {writes[EPOCH_KEY]}")
            self.epoch = int(writes[EPOCH_KEY])

    def _step(self, record: Record, writes: dict[str, Any]) -> None:
        op, ident = Op(record.operation), record.subject.removeprefix(_PREFIX)
        before = self.containers.get(ident)
        self._allowed(op, before)
        if record.before != (None if before is None else before.digest()):
            raise _Refused(f"{op} starts from another state than the one that stands")
        key = container_key(ident)
        written = [name for name in writes if name.startswith("containers/")]
        if written != [key]:
            raise _Refused(f"{op} on {ident[:12]} writes {', '.join(written) or 'no container'}")
        after = None if writes[key] is None else convert(writes[key], ContainerState)
        if record.after != (None if after is None else after.digest()):
            raise _Refused(f"{op} leaves another state than the one that it says")
        state = State.IMAGE_ONLY if after is None else after.state
        if state not in ROWS[op].targets:
            raise _Refused(f"{op} cannot lead to {state}")
        if record.inverse is None or record.inverse.operation != ROWS[op].inverse:
            raise _Refused(f"{op} is not journalled with its inverse, {ROWS[op].inverse}")
        if before is not None and after is not None:
            _same_container(op, before, after, record.args["step"])
            _same_stack(op, before, after)
        if after is None:
            self.containers.pop(ident, None)
        else:
            self.containers[ident] = after


def _image(before: ContainerState | None, args: dict[str, Any]) -> str:
    return str(args["container"]["image"]) if before is None else before.image


def _same_container(
    op: Op, before: ContainerState, after: ContainerState, args: dict[str, Any]
) -> None:
    for part in ("id", "image", "spec", "ids"):
        if getattr(before, part) != getattr(after, part):
            raise _Refused(f"{op} changes the {part} of {before.name}")
    given = args.get("name") if op in _RENAMES else None
    if after.name != (given or before.name):
        raise _Refused(f"{op} renames {before.name} to {after.name}")


def _same_stack(op: Op, before: ContainerState, after: ContainerState) -> None:
    """Generations are a stack: start and reopen push one, unstart pops it, nothing else touches them."""
    was = [generation.number for generation in before.generations]
    now = [generation.number for generation in after.generations]
    fits = now == was
    if op in _PUSHES:
        fits = now[:-1] == was and bool(now)
    elif op is Op.UNSTART:
        fits = now == was[:-1] and bool(was)
    if not fits:
        raise _Refused(f"{op} makes generations {now} of {was}")
