"""The service actors for images and for trust: mailboxes around work that takes long.

A step's work (copy blobs, seal layers, write the trust store) comes with the request as a closure, runs on
the effects pool, and says what it made; the rules of :mod:`vordr.model.image_steps` say what that means.
Steps on different subjects run side by side; the journal's busy keys keep one subject to one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vordr.actors import emptying, trusting
from vordr.actors.actor import Actor
from vordr.actors.inbox import Reply
from vordr.actors.messages import Perform, Performed, Settle, is_open, standing_outcome, step_args
from vordr.actors.pool import Outcome
from vordr.formats.typed import convert
from vordr.model.errors import StaleState, StateError, VordrError
from vordr.model.image_steps import ImageAdvance, ImageOp, advance_image, image_digest
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind, Record, Step, image_key, trash_key
from vordr.model.state import ImageState, Seal, TrashItem


@dataclass(frozen=True)
class Made:
    """What a step's work made: seals of an import, words."""

    seals: tuple[Seal, ...] = ()
    result: Mapping[str, Any] | None = None


Work = Callable[[], Made]


@dataclass(frozen=True)
class _Worked:
    request: Perform
    reply: Reply
    outcome: Outcome


class StoreActor(Actor):
    """Journals intent and outcome of image, trust and packing steps around their work."""

    def __init__(self, paths: Paths, journal: Any, trash_days: int) -> None:
        super().__init__()
        self.paths = paths
        self.journal = journal
        self.trash_days = trash_days
        self._emptiers = emptying.emptiers(paths, journal)

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
        named = f"{request.step.operation} {request.step.subject}"
        work: Work = request.payload.get(named, Made)
        if request.compensates is not None:
            work = Made  # what is taken back needs no work done again: its files are there still
        elif (emptier := self._emptiers.get(request.step.subject)) is not None:
            work = partial(_emptied, emptier, request.step)
        self.spawn_effect(work, lambda outcome: _Worked(request, reply, outcome))

    def _advance(self, request: Perform | Settle, made: Made) -> ImageAdvance | None:
        kind, _, manifest = request.step.subject.partition("/")
        if kind != "image":
            return None
        image, trashed = self.journal.get(image_key(manifest)), self.journal.get(trash_key(manifest))
        return advance_image(
            ImageOp(request.step.operation),
            None if image is None else convert(image, ImageState),
            None if trashed is None else convert(trashed, TrashItem),
            request.step.args, time=self.clock.now_us(), txn=request.txn, trash_days=self.trash_days,
            seals=made.seals)

    def _worked(self, worked: _Worked) -> None:
        request, error = worked.request, worked.outcome.error
        if not is_open(self.journal, request):
            worked.reply.fail(StateError("was settled before it ended"))  # nobody waits for it any more
            return
        if error is not None:
            if not isinstance(error, VordrError):
                raise error
            self._failed(request, error, request.cause)
            worked.reply.fail(error)
            return
        made: Made = worked.outcome.value
        worked.reply.set(Performed(self._done(request, made, request.cause), dict(made.result or {})))

    def _done(self, request: Perform | Settle, made: Made, cause: Cause) -> Record:
        """Journal that the step happened."""
        common: dict[str, Any] = {
            "txn": request.txn, "kind": Kind.DONE, "cause": cause, "subject": request.step.subject,
            "operation": request.step.operation, "principal": request.principal}
        if request.step.subject == trusting.SUBJECT:
            return self._trust_changed(request, common)
        result = self._advance(request, made)
        args: dict[str, Any] = {**step_args(request), "writes": {} if result is None else result.writes}
        if (emptier := self._emptiers.get(request.step.subject)) is not None:
            emptied = (made.result or {})[request.step.subject]
            args["writes"] = emptier.writes(emptied.gone)
        done = Draft(
            args=args, before=None if result is None else result.before,
            after=None if result is None else result.after,
            inverse=None if result is None else result.inverse, **common)
        return self._append(done, {})

    def _trust_changed(self, request: Perform | Settle, common: dict[str, Any]) -> Record:
        while True:
            writes, condition = trusting.next_epoch(self.journal, str(request.step.args["digest"]))
            try:
                return self._append(
                    Draft(args={**step_args(request), "writes": writes}, **common), condition)
            except StaleState:
                continue  # a change beside us was recorded meanwhile: ours is of the epoch after it

    def _append(self, draft: Draft, conditions: Mapping[str, Any]) -> Record:
        (record,) = self.journal.append((draft,), conditions, reserve=True)
        return record  # type: ignore[no-any-return]  # journal is Any here: actors are wired by duck type

    def _settle(self, request: Settle) -> Performed | None:
        """Work cut short left at most files that nothing refers to: it did not happen. A trust store is
        there or not; trash that was begun to be emptied is emptied, or stays."""
        stands = standing_outcome(self.journal, request)
        if stands is not None or not is_open(self.journal, request):
            return stands
        if (emptier := self._emptiers.get(request.step.subject)) is not None:
            made = _emptied(emptier, request.step)
            return Performed(self._done(request, made, Cause.RECOVERY), dict(made.result or {}))
        digest = request.step.args.get("digest")
        if request.step.subject == trusting.SUBJECT and digest and trusting.stands(self.paths, digest):
            return Performed(self._done(request, Made(), Cause.RECOVERY))
        image = self.journal.get(image_key(request.step.subject.partition("/")[2]))
        before = None if image is None else image_digest(convert(image, ImageState))
        error = StateError(
            "was cut short: whether its file is there whole, nobody knows"
            if request.step.subject.startswith("engine/") else "had not happened when the engine came back")
        self._failed(request, error, Cause.RECOVERY, before)
        return None

    def _failed(
        self, request: Perform | Settle, error: VordrError, cause: Cause, before: str | None = None
    ) -> None:
        """Journal that the step did not happen."""
        self._append(Draft(
            txn=request.txn, kind=Kind.FAILED, cause=cause, subject=request.step.subject,
            operation=request.step.operation, args={"error": error.to_wire()}, before=before,
            principal=request.principal), {})


def _emptied(emptier: emptying.Emptier, step: Step) -> Made:
    """What does not go lies there still, and holds nothing up."""
    return Made(result={step.subject: emptier.empty(step.args)})
