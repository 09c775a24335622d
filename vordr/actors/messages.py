"""What is said to container actors and the image actor, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vordr.actors.world import Exit
from vordr.model.records import Act, Cause, Record, Step, act_key
from vordr.model.verdict import Verdict


@dataclass(frozen=True)
class Perform:
    """Do one step of transaction ``txn``. Answered with :class:`Performed` when its outcome is durable.

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


def step_args(request: Perform) -> dict[str, Any]:
    """The args of the records of a step: its own, and which record it takes back, if it does."""
    compensates = {} if request.compensates is None else {"compensates": request.compensates}
    return {"step": request.step.args, **compensates}


def is_open(journal: Any, request: Settle) -> bool:
    """Whether the intent of the step stands without an outcome."""
    intent = _act(journal, request).intent
    return intent is not None and _same(intent, request.step)


def standing_outcome(journal: Any, request: Settle) -> Performed | None:
    """The outcome of the step, where it was journalled and only its answer was lost."""
    for done in reversed(_act(journal, request).steps):
        if done.seq > request.since and _same(done, request.step):
            return Performed(journal.record(done.seq)[0])
    return None


def _act(journal: Any, request: Settle) -> Act:
    return msgspec.convert(journal.get(act_key(request.txn)), Act)


def _same(one: Any, other: Step) -> bool:
    return bool(one.subject == other.subject and one.operation == other.operation)
