"""Journal records and the projection keys they write (design §4; bytes in docs/formats.md).

The ``args`` of a *begin* are those of the whole plan; those of *intent* and *done* hold the step's own args
under ``step`` and, in ``compensates``, the number of the record that the step takes back. A *done* carries
``writes`` besides: the exact projection puts (value) and deletes (null) that its step made, so the projection
is a function of the records alone and an auditor can rebuild it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from vordr.model.lifecycle import Fidelity


class Kind(StrEnum):
    BEGIN = "begin"
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    COMMIT = "commit"
    ABORT = "abort"
    VERDICT = "verdict"
    ANOMALY = "anomaly"
    LOSS = "loss"
    DECISION = "decision"
    CHECKPOINT = "checkpoint"
    SUMMARY = "summary"


class Cause(StrEnum):
    """Why it happened: somebody asked, a restart policy, the process itself, the monitor, a recovery."""

    ACT = "act"
    POLICY = "policy"
    EXIT = "exit"
    MONITOR = "monitor"
    RECOVERY = "recovery"


class Inverse(msgspec.Struct, frozen=True):
    """What undoes a step: operation, its args, how true it is, and what cannot come back."""

    operation: str
    args: dict[str, Any]
    fidelity: Fidelity
    losses: tuple[str, ...] = ()


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A record before the journal gives it seq, boot id and time."""

    txn: str
    kind: Kind
    cause: Cause
    subject: str
    operation: str
    args: dict[str, Any] = {}
    before: str | None = None
    after: str | None = None
    inverse: Inverse | None = None
    principal: str = "local"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One journalled fact. ``hash`` is not a field: it is SHA-256(prev ‖ canonical JSON of this)."""

    seq: int
    txn: str
    kind: Kind
    cause: Cause
    subject: str
    operation: str
    args: dict[str, Any]
    before: str | None
    after: str | None
    inverse: Inverse | None
    principal: str
    boot_id: str
    time: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One planned step of a transaction: an operation on a subject."""

    subject: str
    operation: str
    args: dict[str, Any] = {}


class StepDone(msgspec.Struct, frozen=True, kw_only=True):
    """A step that took effect, with its inverse, as the act index keeps it.

    ``compensates`` is the record number of the step of the same transaction that this one took back.
    """

    subject: str
    operation: str
    args: dict[str, Any]
    before: str | None
    after: str | None
    inverse: Inverse | None
    seq: int
    compensates: int | None = None


class ActStatus(StrEnum):
    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction as the act index holds it (projection key ``acts/<txn>``).

    ``origin`` is the act of which this is a consequence (an exit, a policy restart, the removal by --rm).
    ``undoes`` names the act that this one undid; ``undone_by`` the act that undid this one.
    ``intent`` is the step whose intent has no outcome yet, ``takes_back`` the record number of the step that
    it compensates, if it does. ``seq`` and ``end`` are record numbers. ``holds`` are the subjects and names
    that nobody else may begin with before this act has ended.
    """

    txn: str
    act: str
    summary: str
    cause: Cause
    principal: str
    plan: tuple[Step, ...]
    seq: int
    time: int
    origin: str | None = None
    undoes: str | None = None
    undone_by: str | None = None
    status: ActStatus = ActStatus.OPEN
    steps: tuple[StepDone, ...] = ()
    intent: Step | None = None
    takes_back: int | None = None
    end: int | None = None
    reversible: bool = True
    holds: tuple[str, ...] = ()


def container_key(container: str) -> str:
    return f"containers/{container}"


def image_key(manifest: str) -> str:
    return f"images/{manifest}"


def name_key(name: str) -> str:
    return f"names/{name}"


def trash_key(item: str) -> str:
    return f"trash/{item}"


def act_key(txn: str) -> str:
    """Acts sort by the millisecond of their begin (a txn is a UUIDv7); within it only ``seq`` orders them."""
    return f"acts/{txn}"


def busy_key(subject: str) -> str:
    return f"busy/{subject}"


def open_key(txn: str) -> str:
    return f"open/{txn}"


def head_key(subject: str) -> str:
    """Number of the last record that touched the subject."""
    return f"heads/{subject}"


EPOCH_KEY: Final = "trust/epoch"

Writes = Mapping[str, Any]
"""Projection puts (JSON-safe value) and deletes (None)."""
