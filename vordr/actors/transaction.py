"""Transactions: begin (whole plan) → each step → commit, or everything back and abort (design §4).

The coordinator runs on the thread of whoever asks (a request, a restart policy, recovery). It owns no state:
what it has done stands in the journal, and :mod:`vordr.actors.recovery` finishes what it could not. A step
whose performer is gone for good (the engine closes, its actor is parked) is not guessed at: its transaction
stays open and holds its subjects until it is recovered.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from vordr.actors.messages import Opening, Perform, Performed, Settle
from vordr.actors.sides import SIDE_OPERATIONS
from vordr.formats import uuid7
from vordr.formats.typed import convert
from vordr.journal.batch import check_conditions, refusal
from vordr.model.errors import (
    ActorDead,
    ContainerNotFound,
    DeadlineExceeded,
    IllegalTransition,
    JournalStopped,
    StaleState,
    StateError,
    SubjectBusy,
    VordrError,
)
from vordr.model.records import (
    EPOCH_KEY,
    Act,
    Cause,
    Draft,
    Inverse,
    Kind,
    Record,
    Step,
    act_key,
    busy_key,
    container_key,
    trash_key,
)
from vordr.model.spec import ContainerSpec
from vordr.model.state import ContainerState
from vordr.model.steps import claims, needs_verdict
from vordr.model.verdict import Verdict

# How long an act waits for another one that holds its container, in seconds.
PATIENCE = 60.0
# A step's effect has deadlines of its own (runtime, exits); this one only finds a wedged actor.
STEP_DEADLINE = 600.0
# How many of a crashed performer's successors are asked; its supervisor parks it before (actors.root).
_SUCCESSORS = 8
# Between two tries when the world moved under a plan, in seconds: the other one is about to be done.
_RETRY = 0.005


@dataclass(frozen=True)
class Plan:
    """A whole transaction before it begins.

    ``conditions`` are the compare-and-append conditions on what the plan was made from; ``payload`` goes to
    the steps and not into the journal; ``verdicts`` maps manifest digests to who vouched. ``about`` are more
    subjects than the steps have, which are held and let go like those.
    """

    act: str
    summary: str
    steps: tuple[Step, ...]
    principal: str
    cause: Cause = Cause.ACT
    origin: str | None = None
    undoes: str | None = None
    reversible: bool = True
    holds: bool = True
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    attach: bool = False
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished:
    """A committed transaction: its act, outcome records, what the steps gave, an attach descriptor."""

    act: Act
    records: tuple[Record, ...]
    results: Mapping[str, Any]
    attach: int | None = None


@dataclass(frozen=True)
class _Begun:
    """A transaction that has begun: the begin's number, and what became of a first step that went along."""

    seq: int
    first: tuple[Performed, ...] = ()
    broken: BaseException | None = None


class Performer(Protocol):
    """Something that performs the steps of one kind of subject."""

    def perform(self, request: Perform, deadline: float) -> Performed: ...

    def settle(self, request: Settle, deadline: float) -> Performed | None: ...

    def released(self, subject: str) -> None: ...


Check = Callable[[], Mapping[str, Any]]

Judge = Callable[[str], Verdict]
"""Manifest digest → verdict; raises VerificationRejected."""


class Transactions:
    """See the module. ``performers`` maps the kind of subject (``container``, ``image``…) to who performs.

    ``judge`` is asked when taking back a step makes a process, which the plan did not foresee.
    """

    def __init__(
        self, journal: Any, performers: Mapping[str, Performer], judge: Judge, now_us: Callable[[], int],
        entropy: Callable[[], bytes],
    ) -> None:
        self.journal = journal
        self.performers = performers
        self.judge = judge
        self.now_us = now_us
        self.entropy = entropy
        self._ended = threading.Condition()
        self._endings = 0
        self._deserted: set[str] = set()

    def new_txn(self) -> str:
        return uuid7.uuid7(self.now_us() // 1000, self.entropy())

    def performer(self, subject: str) -> Performer:
        return self.performers[subject.partition("/")[0]]

    def run(self, make: Callable[[], Plan], *, check: Check | None = None) -> Finished:
        """Perform the plan that ``make`` returns, and commit.

        ``make`` is called again when the world moved between plan and begin (a stale head, a subject that
        another transaction holds), so it must read what stands. ``check`` looks at the outcome while the
        subjects are still held; what it returns goes into the commit record. Raises what the steps raise;
        then everything that was done is taken back.
        """
        deadline = self.now_us() + int(PATIENCE * 1_000_000)
        while True:
            endings = self._endings
            try:
                plan = make()
                txn = self.new_txn()
                begun = self._begin(txn, plan, check)
            except (SubjectBusy, StaleState) as error:
                if self.now_us() >= deadline:
                    raise
                self._wait(endings, 1.0 if _is_held(error) else _RETRY)
                continue
            return self._drive(txn, plan, begun, check)

    def _wait(self, endings: int, seconds: float) -> None:
        with self._ended:
            self._ended.wait_for(lambda: self._endings != endings, timeout=seconds)

    def _announce(self) -> None:
        with self._ended:
            self._endings += 1
            self._ended.notify_all()

    # -- begin -------------------------------------------------------------------------------------

    def _begin(self, txn: str, plan: Plan, check: Check | None) -> _Begun:
        """Begin, and perform the first step where it takes the begin along (:class:`Opening`).

        What is raised here was raised before anything began.
        """
        opening = self._opening(txn, plan)
        if not (plan.steps and self._takes_along(plan.steps[0])):
            records = self.journal.append(opening.drafts, opening.conditions, reserve=opening.reserve)
            return _Begun(records[-1].seq)
        # Else it would wait in the inbox for longer than anybody's patience.
        for key, wanted in opening.conditions.items():
            holder = self.journal.get(key) if key.startswith("busy/") and wanted is None else None
            if holder is not None:
                raise refusal(key, None, holder)
        first: list[Performed] = []
        broken: BaseException | None = None
        try:
            first.append(self.perform(self._request(txn, plan, 0, check, opening), 0))
        except VordrError as error:
            broken = error
        except BaseException as error:  # noqa: BLE001 - raised again when it is known what it left
            # The one who asked was interrupted: whether it has begun, the step's performer knows.
            broken = error
            with contextlib.suppress(VordrError):
                first += self._under_way(txn, plan, 0, ())
        value = self.journal.get(act_key(txn))
        if value is None and broken is not None:
            if isinstance(broken, (IllegalTransition, ContainerNotFound)):
                # Its performer may have seen an end that the plan had not: then that is to be planned anew.
                check_conditions(opening.conditions, self.journal.get)
            raise broken
        return _Begun(convert(value, Act).seq, tuple(first), broken)

    def _takes_along(self, step: Step) -> bool:
        return step.subject.startswith("container/")

    def _request(
        self, txn: str, plan: Plan, number: int, check: Check | None, opening: Opening | None = None
    ) -> Perform:
        step = plan.steps[number]
        last = number == len(plan.steps) - 1 and check is None and self._takes_along(step)
        return Perform(
            txn, step, plan.cause, plan.principal, self._verdict(plan, step), plan.attach, plan.payload,
            opening=opening, closing=self._ending(txn, Kind.COMMIT, plan, {}) if last else None)

    def _opening(self, txn: str, plan: Plan) -> Opening:
        """Verdicts and begin, holding the subjects and what they claim."""
        holds = (*_subjects(plan), *self._claims(plan)) if plan.holds else ()
        common: dict[str, Any] = {"txn": txn, "cause": plan.cause, "principal": plan.principal}
        args: dict[str, Any] = {
            "summary": plan.summary, "plan": [msgspec.to_builtins(step) for step in plan.steps],
            "holds": list(holds), "reversible": plan.reversible}
        if plan.origin is not None:
            args["origin"] = plan.origin
        if plan.undoes is not None:
            args["undoes"] = plan.undoes
        # Who holds it comes before what it is: a name that is about to be released is worth waiting for.
        conditions: dict[str, Any] = {**{busy_key(held): None for held in holds}, **plan.conditions}
        drafts = [
            Draft(kind=Kind.VERDICT, subject=f"image/{manifest}", operation="verdict",
                  args=verdict.to_record(), **common)
            for manifest, verdict in plan.verdicts.items()]
        epochs = {verdict.epoch for verdict in plan.verdicts.values()}
        if len(epochs) > 1:
            raise StaleState("the trust store changed while the images of this act were judged")
        conditions.update(dict.fromkeys([EPOCH_KEY] if epochs else [], max(epochs, default=0)))
        drafts.append(Draft(kind=Kind.BEGIN, subject=_first(plan), operation=plan.act, args=args, **common))
        return Opening(tuple(drafts), conditions, plan.cause in (Cause.RECOVERY, Cause.EXIT))

    def _claims(self, plan: Plan) -> tuple[str, ...]:
        claimed: dict[str, None] = {}
        for step in plan.steps:
            if step.subject.startswith("container/"):
                claimed.update(dict.fromkeys(claims(step, self._container(step))))
            elif step.subject.startswith("trash/"):
                kind = step.subject.removeprefix("trash/").removesuffix("s")
                claimed.update(dict.fromkeys(f"{kind}/{ident}" for ident in step.args["items"]))
        return tuple(claimed)

    def _container(self, step: Step) -> ContainerState | None:
        value = self.journal.get(container_key(step.subject.partition("/")[2]))
        return None if value is None else convert(value, ContainerState)

    # -- steps -------------------------------------------------------------------------------------

    def _drive(self, txn: str, plan: Plan, begun: _Begun, check: Check | None) -> Finished:
        done = list(begun.first)
        try:
            if begun.broken is not None:
                raise begun.broken
            for number in range(len(done), len(plan.steps)):
                since = done[-1].record.seq if done else begun.seq
                done.append(self.perform(self._request(txn, plan, number, check), since))
            told = {} if check is None else check()
        except VordrError as error:
            self._back(txn, plan, done, error)
            raise
        except BaseException as error:
            # The one who asked was interrupted (Ctrl-C in a program), the step was not.
            if begun.broken is None:
                with contextlib.suppress(VordrError):  # then it is left open
                    done += self._under_way(txn, plan, begun.seq, done)
            self._back(txn, plan, done, StateError(f"the caller was interrupted: {error!r}"))
            raise
        act = self.end(txn, Kind.COMMIT, plan, told)
        results: dict[str, Any] = {}
        for performed in done:
            results.update(performed.result)
        return Finished(act, tuple(p.record for p in done), results, _attached(done))

    def perform(self, request: Perform, since: int) -> Performed:
        """Have one step performed; ``since`` is the last record of its transaction before it.

        When the performer crashed in the middle, its successor compares the intent with the world.
        """
        performer = self.performer(request.step.subject)
        try:
            return performer.perform(request, _deadline(request.step))
        except (ActorDead, DeadlineExceeded):
            settle = Settle(request.txn, request.step, request.principal, since, request.compensates)
            settled = self._settle(performer, settle)
            if settled is None:
                raise
            return settled

    def _settle(self, performer: Performer, settle: Settle) -> Performed | None:
        """Ask each successor that crashes by it anew, until one answers or is parked."""
        for _ in range(_SUCCESSORS):
            try:
                return performer.settle(settle, _deadline(settle.step))
            except ActorDead:
                if (why := self.journal.stopped) is not None:
                    raise JournalStopped(why)
                if self.journal.ended:
                    break
        return performer.settle(settle, _deadline(settle.step))

    def _under_way(
        self, txn: str, plan: Plan, begun: int, done: Sequence[Performed]
    ) -> tuple[Performed, ...]:
        """What became of the step that nobody waits for any more."""
        if len(done) == len(plan.steps):
            return ()
        step, since = plan.steps[len(done)], done[-1].record.seq if done else begun
        settled = self._settle(
            self.performer(step.subject), Settle(txn, step, plan.principal, since))
        return () if settled is None else (settled,)

    def _verdict(self, plan: Plan, step: Step) -> Verdict | None:
        return plan.verdicts.get(self.manifest(step) or "") if needs_verdict(step) else None

    def manifest(self, step: Step) -> str | None:
        """Manifest digest of the image behind a container's step; the container may be in the trash still."""
        container = self._meant(step)
        return None if container is None else str(container["image"])

    def spec(self, step: Step) -> ContainerSpec | None:
        """The spec of the container behind a step, as :meth:`manifest`."""
        container = self._meant(step)
        return None if container is None else convert(container["spec"], ContainerSpec)

    def _meant(self, step: Step) -> Any:
        ident = step.subject.removeprefix("container/")
        container = step.args.get("container") or self.journal.get(container_key(ident))
        if container is None:
            container = (self.journal.get(trash_key(ident)) or {}).get("container")
        return container

    def fresh_verdict(self, step: Step) -> Verdict | None:
        """What the gatekeeper says now about the image of ``step``; None when it makes no process.

        Raises what the judge refuses with.
        """
        manifest = self.manifest(step) if needs_verdict(step) else None
        return None if manifest is None else self.judge(manifest)

    # -- the end -----------------------------------------------------------------------------------

    def end(self, txn: str, kind: Kind, plan: Plan, args: Mapping[str, Any]) -> Act:
        """Commit or abort ``txn``, if its last step has not taken the commit along, and let go of what it
        holds."""
        act = self._act(txn)
        if act.end is None:
            self.journal.append((self._ending(txn, kind, plan, args),), {}, reserve=True)
            act = self._act(txn)
        for subject in _subjects(plan):
            self.performer(subject).released(subject)
        self._announce()
        return act

    def _act(self, txn: str) -> Act:
        return convert(self.journal.get(act_key(txn)), Act)

    def _ending(self, txn: str, kind: Kind, plan: Plan, args: Mapping[str, Any]) -> Draft:
        return Draft(
            txn=txn, kind=kind, cause=plan.cause, subject=_first(plan), operation=plan.act,
            principal=plan.principal, args=dict(args))

    def _back(self, txn: str, plan: Plan, done: Sequence[Performed], error: VordrError) -> None:
        """Take back what was done, newest first, then abort with the reason; leave it open where a step's
        outcome is not known."""
        attached = _attached(done)
        if attached is not None:
            os.close(attached)
        if self._act(txn).end is not None:
            self.end(txn, Kind.ABORT, plan, {})  # committed with its last step: only its caller is gone
            return
        trouble = self.compensate(txn, plan.principal, [performed.record for performed in done])
        if self.is_unsettled(txn):
            self.desert(txn)
            return
        args: dict[str, Any] = {"error": error.to_wire()}
        if trouble:
            args["left"] = trouble
        self.end(txn, Kind.ABORT, plan, args)

    def is_unsettled(self, txn: str) -> bool:
        """Whether nobody knows yet what became of a step of ``txn`` that was begun.

        Of a command or a signal nobody ever will: those do not count.
        """
        intent = self._act(txn).intent
        return intent is not None and intent.operation not in SIDE_OPERATIONS

    def desert(self, txn: str) -> None:
        """Leave ``txn`` open: nobody drives it any more."""
        self._deserted.add(txn)

    def claim_deserted(self, txn: str) -> bool:
        """Whether ``txn`` was left open in this process; the one who hears so first recovers it."""
        try:
            self._deserted.remove(txn)
        except KeyError:
            return False
        return True

    def compensate(self, txn: str, principal: str, done: Sequence[Record]) -> list[dict[str, Any]]:
        """Run the inverses of ``done`` in reverse; returns what could not be taken back, with the reason.

        Goes no further where a step is unsettled: it may be the one that stands in the way of the rest.
        """
        trouble: list[dict[str, Any]] = []
        blocked: set[str] = set()
        for record in reversed(done):
            if self.is_unsettled(txn):
                break
            inverse = record.inverse
            if inverse is None or record.subject in blocked:
                continue
            try:
                self._compensate(txn, principal, record, inverse)
            except VordrError as error:
                blocked.add(record.subject)
                trouble.append({"subject": record.subject, "operation": inverse.operation,
                                "error": error.to_wire()})
        return trouble

    def _compensate(self, txn: str, principal: str, record: Record, inverse: Inverse) -> None:
        step = Step(subject=record.subject, operation=inverse.operation, args=dict(inverse.args))
        request = Perform(
            txn, step, Cause.RECOVERY, principal, self.fresh_verdict(step), compensates=record.seq)
        self.perform(request, self.journal.last()[0])


def _subjects(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(step.subject for step in plan.steps), *plan.about)))


def _first(plan: Plan) -> str:
    """The subject of begin and end."""
    return plan.steps[0].subject if plan.steps else "engine"


def _is_held(error: VordrError) -> bool:
    """Whether to wait for another transaction; a range of ids is not worth it, there are others."""
    return isinstance(error, SubjectBusy) and not str(error.details.get("key")).startswith("busy/ranges/")


def _attached(done: Sequence[Performed]) -> int | None:
    return next((performed.attach for performed in reversed(done) if performed.attach is not None), None)


def _deadline(step: Step) -> float:
    """Seconds until the performer of ``step`` must have answered: its own patience comes on top."""
    return STEP_DEADLINE + float(step.args.get("timeout", 0))
