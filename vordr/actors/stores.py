"""The service actors for images and for trust: mailboxes around work that takes long.

A step's work (copy blobs, seal layers, write the trust store) comes with the request as a closure, runs on
the effects pool, and says what it made; the rules of :mod:`vordr.model.image_steps` say what that means.
Steps on different subjects run side by side; the journal's busy keys keep one subject to one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from vordr.actors.actor import Actor
from vordr.actors.inbox import Reply
from vordr.actors.messages import Perform, Performed, Settle, is_open, standing_outcome, step_args
from vordr.actors.pool import Outcome
from vordr.model.errors import StateError, VordrError
from vordr.model.image_steps import ImageAdvance, ImageOp, advance_image, image_digest
from vordr.model.records import Cause, Draft, Kind, image_key, trash_key
from vordr.model.state import ImageState, Seal, TrashItem


@dataclass(frozen=True)
class Made:
    """What a step's work made: seals of an import, projection writes of a trust change, words."""

    seals: tuple[Seal, ...] = ()
    writes: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None


Work = Callable[[], Made]


@dataclass(frozen=True)
class _Worked:
    request: Perform
    reply: Reply
    outcome: Outcome


class StoreActor(Actor):
    """Journals intent and outcome of image, trust and packing steps around their work."""

    def __init__(self, journal: Any, trash_days: int) -> None:
        super().__init__()
        self.journal = journal
        self.trash_days = trash_days

    def receive(self, message: object) -> object:
        match message:
            case Perform():
                self._perform(message, self.defer())
            case Settle():
                return self._settle(message)
            case _Worked():
                self._worked(message)
            case _:
                raise StateError(f"store actor does not understand {type(message).__name__}")
        return None

    def _perform(self, request: Perform, reply: Reply) -> None:
        plan = self._advance(request, Made(seals=()))
        intent = Draft(
            txn=request.txn, kind=Kind.INTENT, cause=request.cause, subject=request.step.subject,
            operation=request.step.operation, args=step_args(request),
            before=None if plan is None else plan.before, inverse=None if plan is None else plan.inverse,
            principal=request.principal)
        self.journal.append((intent,), {})
        # What is taken back needs no work done again: its files are there still.
        named = f"{request.step.operation} {request.step.subject}"
        work: Work = Made if request.compensates is not None else request.payload.get(named, Made)
        self.spawn_effect(work, lambda outcome: _Worked(request, reply, outcome))

    def _advance(self, request: Perform, made: Made) -> ImageAdvance | None:
        kind, _, manifest = request.step.subject.partition("/")
        if kind != "image":
            return None
        image, trashed = self.journal.get(image_key(manifest)), self.journal.get(trash_key(manifest))
        return advance_image(
            ImageOp(request.step.operation),
            None if image is None else msgspec.convert(image, ImageState),
            None if trashed is None else msgspec.convert(trashed, TrashItem),
            request.step.args, time=self.clock.now_us(), txn=request.txn, trash_days=self.trash_days,
            seals=made.seals)

    def _worked(self, worked: _Worked) -> None:
        request, error = worked.request, worked.outcome.error
        common: dict[str, Any] = {
            "txn": request.txn, "cause": request.cause, "subject": request.step.subject,
            "operation": request.step.operation, "principal": request.principal}
        if error is not None:
            if not isinstance(error, VordrError):
                raise error
            failed = Draft(kind=Kind.FAILED, args={"error": error.to_wire()}, **common)
            self.journal.append((failed,), {}, reserve=True)
            worked.reply.fail(error)
            return
        made: Made = worked.outcome.value
        result = self._advance(request, made)
        writes = dict(made.writes or {}) if result is None else result.writes
        args: dict[str, Any] = {**step_args(request), "writes": writes}
        done = Draft(
            kind=Kind.DONE, args=args, before=None if result is None else result.before,
            after=None if result is None else result.after,
            inverse=None if result is None else result.inverse, **common)
        (record,) = self.journal.append((done,), {}, reserve=True)
        worked.reply.set(Performed(record, dict(made.result or {})))

    def _settle(self, request: Settle) -> Performed | None:
        """Work cut short left at most files that nothing refers to: it did not happen."""
        stands = standing_outcome(self.journal, request)
        if stands is not None or not is_open(self.journal, request):
            return stands
        image = self.journal.get(image_key(request.step.subject.partition("/")[2]))
        before = None if image is None else image_digest(msgspec.convert(image, ImageState))
        error = StateError("had not happened when the engine came back")
        failed = Draft(
            txn=request.txn, kind=Kind.FAILED, cause=Cause.RECOVERY, subject=request.step.subject,
            operation=request.step.operation, args={"error": error.to_wire()}, before=before,
            principal=request.principal)
        self.journal.append((failed,), {}, reserve=True)
        return None
