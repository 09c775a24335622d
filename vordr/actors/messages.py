"""What is said to container actors and the image actor, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vordr.actors.world import Exit
from vordr.formats.typed import convert
from vordr.model.records import Act, Cause, Draft, Record, Step, act_key
from vordr.model.verdict import Verdict


@dataclass(frozen=True)
class Opening:
    """What begins a transaction: its verdicts and begin, and under which conditions they may be appended."""

    drafts: tuple[Draft, ...]
    conditions: Mapping[str, Any]
    reserve: bool = False


@dataclass(frozen=True)
class Perform:
    """Do one step of transaction ``txn``. Answered with :class:`Performed` when its outcome is durable.

    ``opening`` is appended in one with the intent of the transaction's first step, ``closing`` (its commit)
    in one with the outcome of its last: each append is a wait for the disk. Only container actors take them.

    ``payload`` is what the effect needs and the journal must not hold: secrets, open files.
    ``compensates`` is the record number of the step that this one takes back within its own transaction.
    """

    txn: str
    step: Step
    cause: Cause
    principal: str
    verdict: Verdict | None = None
    attach: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)
    compensates: int | None = None
    opening: Opening | None = None
    closing: Draft | None = None

    def with_opening(self, intent: Draft, otherwise: Mapping[str, Any]) -> Opening:
        """What to append before the step is done: ``intent``, after the begin if that comes along; and on
        which conditions, which are ``otherwise`` where the transaction has begun before."""
        if self.opening is None:
            return Opening((intent,), otherwise, self.cause is Cause.RECOVERY)
        return replace(self.opening, drafts=(*self.opening.drafts, intent))

    def with_closing(self, outcome: Draft) -> tuple[Draft, ...]:
        """What to append when the step is done: ``outcome``, and the commit if that comes along."""
        return (outcome,) if self.closing is None else (outcome, self.closing)


@dataclass(frozen=True)
class Settle:
    """Find out what became of ``step`` of ``txn``, begun after record ``since``, and journal it.

    Answered with :class:`Performed`, or None when it had not happened and was cleaned up. An outcome that
    stands in the journal already is the answer.
    """

    txn: str
    step: Step
    principal: str
    since: int = 0
    compensates: int | None = None


@dataclass(frozen=True)
class Performed:
    """The outcome record of a step, with what came out of it (a descriptor, a session…)."""

    record: Record
    result: Mapping[str, Any] = field(default_factory=dict)
    attach: int | None = None


@dataclass(frozen=True)
class Ended:
    """The exit watcher saw the process end."""

    exit: Exit


@dataclass(frozen=True)
class Released:
    """The transaction that held the container is over."""


def step_args(request: Perform | Settle) -> dict[str, Any]:
    """The args of the records of a step: its own, and which record it takes back, if it does."""
    compensates = {} if request.compensates is None else {"compensates": request.compensates}
    return {"step": request.step.args, **compensates}


def is_open(journal: Any, request: Perform | Settle) -> bool:
    """Whether the intent of the step stands without an outcome."""
    act = _act(journal, request)
    return act is not None and act.intent is not None and _same(act.intent, request.step)


def standing_outcome(journal: Any, request: Settle) -> Performed | None:
    """The outcome of the step, where it was journalled and only its answer was lost."""
    act = _act(journal, request)
    for done in () if act is None else reversed(act.steps):
        if done.seq > request.since and _same(done, request.step):
            return Performed(journal.record(done.seq)[0])
    return None


def _act(journal: Any, request: Perform | Settle) -> Act | None:
    """The transaction of the step; None when it was never begun."""
    value = journal.get(act_key(request.txn))
    return None if value is None else convert(value, Act)


def _same(one: Any, other: Step) -> bool:
    return bool(one.subject == other.subject and one.operation == other.operation)
