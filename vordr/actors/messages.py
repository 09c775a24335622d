"""What is said to container actors and the image actor, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vordr.actors.world import Exit
from vordr.model.records import Cause, Record, Step
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
    """Find out what became of ``step``, whose intent has no outcome, and journal it.

    Answered with :class:`Performed`, or None when it had not happened and was cleaned up.
    """

    txn: str
    step: Step
    principal: str


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
