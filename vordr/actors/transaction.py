"""Transactions: begin (whole plan) → each step → commit, or everything back and abort (design §4).

The coordinator runs on the thread of whoever asks (a request, a restart policy, recovery). It owns no state:
what it has done stands in the journal, and :mod:`vordr.actors.recovery` finishes what it could not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from vordr.actors.messages import Perform, Performed, Settle
from vordr.formats import uuid7
from vordr.model.errors import (
    ActorDead,
    DeadlineExceeded,
    StaleState,
    SubjectBusy,
    VordrError,
)
from vordr.model.lifecycle import ROWS, Op
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
from vordr.model.verdict import Verdict

# How long an act waits for another one that holds its container, in seconds.
PATIENCE = 60.0
# A step's effect has deadlines of its own (runtime, exits); this one only finds a wedged actor.
STEP_DEADLINE = 600.0


@dataclass(frozen=True)
class Plan:
    """A whole transaction before it begins.

    ``conditions`` are the compare-and-append conditions on what the plan was made from; ``payload`` goes to
    the steps and not into the journal; ``verdicts`` maps manifest digests to who vouched.
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


@dataclass(frozen=True)
class Finished:
    """A committed transaction: its act, outcome records, what the steps gave, an attach descriptor."""

    act: Act
    records: tuple[Record, ...]
    results: Mapping[str, Any]
    attach: int | None = None


class Performer(Protocol):
    """Something that performs the steps of one kind of subject."""

    def perform(self, request: Perform, deadline: float) -> Performed: ...

    def settle(self, request: Settle, deadline: float) -> Performed | None: ...

    def released(self, subject: str) -> None: ...


Check = Callable[[], Mapping[str, Any]]


class Transactions:
    """See the module. ``performers`` maps the kind of subject (``container``, ``image``…) to who performs."""

    def __init__(
        self, journal: Any, performers: Mapping[str, Performer], now_us: Callable[[], int],
        entropy: Callable[[], bytes],
    ) -> None:
        self.journal = journal
        self.performers = performers
        self.now_us = now_us
        self.entropy = entropy
        self._ended = threading.Condition()
        self._endings = 0

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
            plan = make()
            txn = self.new_txn()
            try:
                self._begin(txn, plan)
            except (SubjectBusy, StaleState) as error:
                if self.now_us() >= deadline:
                    raise
                if isinstance(error, SubjectBusy):
                    self._wait(endings)
                continue
            return self._drive(txn, plan, check)

    def _wait(self, endings: int) -> None:
        with self._ended:
            self._ended.wait_for(lambda: self._endings != endings, timeout=1.0)

    def _announce(self) -> None:
        with self._ended:
            self._endings += 1
            self._ended.notify_all()

    # -- begin -------------------------------------------------------------------------------------

    def _begin(self, txn: str, plan: Plan) -> None:
        subjects = tuple(dict.fromkeys(step.subject for step in plan.steps))
        holds = subjects if plan.holds else ()
        common: dict[str, Any] = {"txn": txn, "cause": plan.cause, "principal": plan.principal}
        args: dict[str, Any] = {
            "summary": plan.summary, "plan": [msgspec.to_builtins(step) for step in plan.steps],
            "holds": list(holds), "reversible": plan.reversible}
        if plan.origin is not None:
            args["origin"] = plan.origin
        if plan.undoes is not None:
            args["undoes"] = plan.undoes
        conditions = {**plan.conditions, **{busy_key(subject): None for subject in holds}}
        drafts = [
            Draft(kind=Kind.VERDICT, subject=f"image/{manifest}", operation="verdict",
                  args=verdict.to_record(), **common)
            for manifest, verdict in plan.verdicts.items()]
        if plan.verdicts:
            conditions[EPOCH_KEY] = next(iter(plan.verdicts.values())).epoch
        first = subjects[0] if subjects else "engine"
        drafts.append(Draft(kind=Kind.BEGIN, subject=first, operation=plan.act, args=args, **common))
        self.journal.append(tuple(drafts), conditions, reserve=plan.cause in (Cause.RECOVERY, Cause.EXIT))

    # -- steps -------------------------------------------------------------------------------------

    def _drive(self, txn: str, plan: Plan, check: Check | None) -> Finished:
        done: list[Performed] = []
        results: dict[str, Any] = {}
        attach: int | None = None
        try:
            for step in plan.steps:
                performed = self._perform(txn, plan, step)
                done.append(performed)
                results.update(performed.result)
                attach = performed.attach if performed.attach is not None else attach
        except VordrError as error:
            self._back(txn, plan, done, error)
            raise
        act = self.commit(txn, plan, {} if check is None else check())
        return Finished(act, tuple(p.record for p in done), results, attach)

    def _perform(self, txn: str, plan: Plan, step: Step) -> Performed:
        request = Perform(
            txn, step, plan.cause, plan.principal, self._verdict(plan, step), plan.attach, plan.payload)
        performer = self.performer(step.subject)
        try:
            return performer.perform(request, STEP_DEADLINE)
        except (ActorDead, DeadlineExceeded):
            # The actor crashed in the middle: its successor compares the intent with the world.
            settled = performer.settle(Settle(txn, step, plan.principal), STEP_DEADLINE)
            if settled is None:
                raise
            return settled

    def _verdict(self, plan: Plan, step: Step) -> Verdict | None:
        if step.operation not in ROWS or not ROWS[Op(step.operation)].creates_process:
            return None
        if len(plan.verdicts) == 1:
            return next(iter(plan.verdicts.values()))
        wanted = self.manifest(step)
        return plan.verdicts.get(wanted) if wanted is not None else None

    def manifest(self, step: Step) -> str | None:
        """Manifest digest of the image behind a container's step; the container may be in the trash still."""
        ident = step.subject.removeprefix("container/")
        container = step.args.get("container") or self.journal.get(container_key(ident))
        if container is None:
            container = (self.journal.get(trash_key(ident)) or {}).get("container")
        return None if container is None else str(container["image"])

    # -- the end -----------------------------------------------------------------------------------

    def commit(self, txn: str, plan: Plan, args: Mapping[str, Any]) -> Act:
        """End ``txn`` well and let go of its subjects."""
        return self.end(txn, Kind.COMMIT, plan, args)

    def end(self, txn: str, kind: Kind, plan: Plan, args: Mapping[str, Any]) -> Act:
        subjects = tuple(dict.fromkeys(step.subject for step in plan.steps))
        draft = Draft(
            txn=txn, kind=kind, cause=plan.cause, subject=subjects[0] if subjects else "engine",
            operation=plan.act, principal=plan.principal,
            args={"releases": list(subjects if plan.holds else ()), **args})
        self.journal.append((draft,), {}, reserve=True)
        for subject in subjects:
            self.performer(subject).released(subject)
        self._announce()
        return msgspec.convert(self.journal.get(act_key(txn)), Act)

    def _back(self, txn: str, plan: Plan, done: Sequence[Performed], error: VordrError) -> None:
        """Take back what was done, newest first, then abort with the reason."""
        trouble = self.compensate(txn, plan, [performed.record for performed in done])
        args: dict[str, Any] = {"error": error.to_wire()}
        if trouble:
            args["left"] = trouble
        self.end(txn, Kind.ABORT, plan, args)

    def compensate(self, txn: str, plan: Plan, done: Sequence[Record]) -> list[dict[str, Any]]:
        """Run the inverses of ``done`` in reverse; returns what could not be taken back, with the reason."""
        trouble: list[dict[str, Any]] = []
        blocked: set[str] = set()
        for record in reversed(done):
            inverse = record.inverse
            if inverse is None or record.subject in blocked:
                continue
            try:
                self._compensate(txn, plan, record, inverse)
            except VordrError as error:
                blocked.add(record.subject)
                trouble.append({"subject": record.subject, "operation": inverse.operation,
                                "error": error.to_wire()})
        return trouble

    def _compensate(self, txn: str, plan: Plan, record: Record, inverse: Inverse) -> None:
        step = Step(subject=record.subject, operation=inverse.operation, args=dict(inverse.args))
        request = Perform(
            txn, step, Cause.RECOVERY, plan.principal, self._verdict(plan, step), False, plan.payload,
            compensates=record.seq)
        performer = self.performer(record.subject)
        try:
            performer.perform(request, STEP_DEADLINE)
        except (ActorDead, DeadlineExceeded):
            if performer.settle(Settle(txn, step, plan.principal), STEP_DEADLINE) is None:
                raise
