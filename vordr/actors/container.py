"""One container: an actor around the lifecycle machine.

It performs one step at a time (``busy``), journals intent and outcome through the journal actor, lets effects
run on the pool, and takes the end of the process as a message. It decides nothing that is not in
:mod:`vordr.model`. When it crashes, its container does not notice: the next incarnation reads the projection
and compares it with the world.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from transitions import Machine

from vordr.actors.actor import Actor
from vordr.actors.clock import Timer
from vordr.actors.inbox import Reply
from vordr.actors.looking import clearing, looking_behind, taking_over
from vordr.actors.messages import (
    Ended,
    Opening,
    Perform,
    Performed,
    Released,
    Settle,
    is_open,
    standing_outcome,
    step_args,
)
from vordr.actors.pool import Outcome
from vordr.actors.script import AwaitExit, Findings, Script, Task, Work, script
from vordr.actors.settle import Settled, settle
from vordr.actors.sides import SIDE_OPERATIONS, lost, side_work
from vordr.actors.world import ALIVE, Exit, Observed, World
from vordr.formats import uuid7
from vordr.formats.typed import convert
from vordr.model.errors import (
    ContainerNotFound,
    InboxFull,
    RuntimeFailed,
    StaleState,
    StateError,
    SubjectBusy,
    VordrError,
)
from vordr.model.lifecycle import ROWS, Op, State, machine_transitions
from vordr.model.records import (
    EPOCH_KEY,
    Cause,
    Draft,
    Kind,
    Record,
    busy_key,
    container_key,
)
from vordr.model.state import ContainerState
from vordr.model.steps import Advance, Facts, advance, digest_of, needs_verdict

_log = logging.getLogger("vordr.actors")
# How long to wait before looking at the container again when the effect pool was full, in seconds.
_LOOK_AGAIN: Final = 0.2

# One machine serves every container: a model of it is only a state and its triggers.
_MACHINE: Final = Machine(
    model=None, states=[str(s) for s in State], transitions=machine_transitions(), initial=State.IMAGE_ONLY,
    auto_transitions=False, send_event=False,
)
_MACHINE_LOCK: Final = Lock()


class Phase:
    """The lifecycle state of one container as a ``transitions`` model."""

    state: str
    trigger: Callable[[str], bool]

    def __init__(self, state: State) -> None:
        with _MACHINE_LOCK:
            _MACHINE.add_model(self, initial=str(state))

    def move(self, op: Op, to: State) -> None:
        """Fire the table's trigger for ``op`` towards ``to``; raises transitions.MachineError."""
        self.trigger(str(op) if len(ROWS[op].targets) == 1 else f"{op}_to_{to}")

    def forget(self) -> None:
        with _MACHINE_LOCK:
            _MACHINE.remove_model(self)


@dataclass(frozen=True)
class Surroundings:
    """What every container actor is given. ``after_exit`` hears of each stopped container whose end nobody
    asked for, when the end is cleaned up and again whenever an actor takes the container over."""

    journal: Any
    world: World
    boot_id: str
    trash_days: int
    entropy: Callable[[], bytes]
    after_exit: Callable[[ContainerState], None]
    changed: Callable[[str], None]


@dataclass
class Job:
    """The step in work: its script, who waits for it, and whether the script waits for the end."""

    phases: Generator[Work | AwaitExit, Any, Any]
    finish: Callable[[Any], None]
    fail: Callable[[VordrError], None]
    task: Task
    number: int = 0
    begun: bool = False
    waits: int = 0
    awaiting: bool = False
    timer: Timer | None = None
    ended: Exit | None = None


@dataclass(frozen=True)
class _Worked:
    number: int
    outcome: Outcome


@dataclass(frozen=True)
class _Waited:
    number: int
    waits: int


@dataclass(frozen=True)
class _Look:
    pass


@dataclass(frozen=True)
class _SideDone:
    request: Perform
    reply: Reply
    outcome: Outcome


class ContainerActor(Actor):
    """See the module. Asked: Perform, Settle. Told: Ended, Released."""

    def __init__(self, container: str, around: Surroundings) -> None:
        super().__init__()
        self.id = container
        self.subject = f"container/{container}"
        self.around = around
        self.container: ContainerState | None = None
        self.phase = Phase(State.IMAGE_ONLY)
        self.job: Job | None = None
        self.jobs = 0
        self.waiting: deque[tuple[Perform | Settle, Reply]] = deque()
        self.untold: Exit | None = None
        self.looked = False
        self.dealt_with: Exit | None = None

    # -- life of the actor -------------------------------------------------------------------------

    def init(self) -> None:
        """Read what is declared and compare it with the world, unless a transaction is about to."""
        self._load()
        # Of a container that is not there, or in the trash, no process can be left.
        self.looked = self.container is None or self.container.state is State.REMOVED
        self._look()

    def terminate(self, reason: object) -> None:
        self.phase.forget()

    def _load(self) -> None:
        value = self.around.journal.get(container_key(self.id))
        self.container = None if value is None else convert(value, ContainerState)
        self.phase.forget()
        self.phase = Phase(State.IMAGE_ONLY if self.container is None else self.container.state)

    def _held_by(self) -> str | None:
        held: str | None = self.around.journal.get(busy_key(self.subject))
        return held

    def receive(self, message: object) -> object:
        match message:
            case Perform() if message.step.operation in SIDE_OPERATIONS:
                self._side(message)
            case Perform() | Settle():
                reply = self.defer()
                if self.job is None:
                    self._begin(message, reply)
                else:
                    self.waiting.append((message, reply))
            case _Worked(number, outcome):
                if self.job is not None and self.job.number == number:
                    self._step(outcome.value, outcome.error)
            case _Waited(number, waits):
                job = self.job
                if job is not None and job.awaiting and (job.number, job.waits) == (number, waits):
                    job.awaiting = False
                    self._step(None)
            case Ended(exit):
                self._ended(exit)
            case _SideDone():
                self._side_done(message)
            case Released() | _Look():
                self._look()
                self._idle()
            case _:
                raise StateError(f"container actor does not understand {type(message).__name__}")
        return None

    # -- one step ----------------------------------------------------------------------------------

    def _begin(self, message: Perform | Settle, reply: Reply) -> None:
        try:
            if isinstance(message, Settle):
                self._begin_settling(message, reply)
            else:
                self._begin_performing(message, reply)
        except VordrError as error:
            reply.fail(error)
            self._idle()

    def _begin_performing(self, request: Perform, reply: Reply) -> None:
        op = Op(request.step.operation)
        before = self.container
        subject = self._subject_of(request.step.args)
        self._check_verdict(request, subject)
        facts = self._facts(request.txn, Findings(), request.compensates)
        plan = advance(op, before, request.step.args, facts)
        held: dict[str, Any] = {busy_key(self.subject): request.txn}
        if request.verdict is not None:
            held[EPOCH_KEY] = request.verdict.epoch
        intent = Draft(
            txn=request.txn, kind=Kind.INTENT, cause=request.cause, subject=self.subject, operation=str(op),
            args=step_args(request), before=digest_of(before), inverse=plan.inverse,
            principal=request.principal)
        self._append(request.with_opening(intent, held))
        task = Task(op, subject, request.step.args, request.verdict, request.attach)

        def finish(found: Findings) -> None:
            record = self._journal_outcome(request, op, found)
            notes = {"notes": found.notes} if found.notes else {}
            reply.set(Performed(record, notes, found.attach))

        def fail(error: VordrError) -> None:
            self.looked = False  # whatever it left, and an end that it saw, is looked for when we are free
            self._journal_failure(request.txn, request.cause, op, request.principal, error)
            reply.fail(error)

        phases = script(self.around.world, task)
        if before is not None and not self.looked:
            phases = self._after_looking(before, phases)
        self._run(Job(phases, finish, fail, task))

    def _check_verdict(self, request: Perform, subject: ContainerState) -> None:
        """No process without a verdict that is about this image and still holds."""
        verdict = request.verdict
        if not needs_verdict(request.step):
            return
        if verdict is None or verdict.manifest != subject.image:
            raise StateError(
                f"{request.step.operation} of {subject.name} came without a verdict on its image")
        if verdict.expires <= self.clock.now_us():
            raise StaleState(f"the verdict on the image of {subject.name} has expired")

    def _begin_settling(self, request: Settle, reply: Reply) -> None:
        if not is_open(self.around.journal, request):
            reply.set(standing_outcome(self.around.journal, request))
            self._idle()
            return
        if request.step.operation in SIDE_OPERATIONS:
            self._side_lost(request, reply)
            return
        op = Op(request.step.operation)
        task = Task(op, self._subject_of(request.step.args), request.step.args)
        as_if = Perform(
            request.txn, request.step, Cause.RECOVERY, request.principal, compensates=request.compensates)

        def finish(settled: Settled) -> None:
            if settled.done:
                reply.set(Performed(self._journal_outcome(as_if, op, settled.findings)))
            else:
                error = StateError("had not happened when the engine came back")
                self._journal_failure(request.txn, Cause.RECOVERY, op, request.principal, error)
                reply.set(None)

        self._run(Job(settle(self.around.world, task), finish, reply.fail, task))

    def _subject_of(self, args: dict[str, Any]) -> ContainerState:
        if self.container is not None:
            return self.container
        if "container" not in args:
            raise ContainerNotFound(f"there is no container {self.id[:12]} any more")
        return convert(args["container"], ContainerState)

    def _run(self, job: Job) -> None:
        self.jobs += 1
        job.number = self.jobs
        job.ended, self.untold = self.untold, None
        self.job = job
        self._step(None)

    def _step(self, value: Any, error: BaseException | None = None) -> None:
        """Send the result of a phase into the script and start its next phase."""
        job = self.job
        assert job is not None
        number = job.number
        try:
            phase = job.phases.throw(error) if error is not None else job.phases.send(value)
        except StopIteration as end:
            result = end.value
            self._over(job, lambda: job.finish(result))
            return
        except VordrError as refused:
            why = refused
            self._over(job, lambda: job.fail(why))
            return
        match phase:
            case Work(run):
                try:
                    self.spawn_effect(run, lambda outcome: _Worked(number, outcome))
                except InboxFull as full:
                    if job.begun:
                        raise  # half done: the next incarnation compares with the world
                    self._step(None, full)
                    return
                job.begun = True
            case AwaitExit() if job.ended is not None:
                ended, job.ended = job.ended, None
                self._step(ended)
            case AwaitExit(seconds):
                job.awaiting = True
                job.waits += 1
                job.timer = self.after(seconds, _Waited(number, job.waits))

    def _over(self, job: Job, conclude: Callable[[], None]) -> None:
        if job.ended is not None:
            self.untold = job.ended
        self.job = None
        conclude()
        self._idle()

    def _idle(self) -> None:
        """Between steps: an exit that nobody has recorded comes first, then whoever waits."""
        if self.job is not None:
            return
        if self.untold is not None:
            self._own_end()
        if self.job is None and self.waiting:
            self._begin(*self.waiting.popleft())

    def _append(self, opening: Opening) -> None:
        self.around.journal.append(opening.drafts, opening.conditions, reserve=opening.reserve)

    # -- outcomes ----------------------------------------------------------------------------------

    def _facts(self, txn: str, found: Findings, takes_back: int | None = None) -> Facts:
        now = self.clock.now_us()
        return Facts(
            time=now, txn=txn, boot_id=self.around.boot_id, pid=found.pid,
            exit_code=None if found.exit is None else found.exit.code,
            ended=None if found.exit is None else found.exit.time, trash_days=self.around.trash_days,
            compensating=takes_back is not None)

    def _journal_outcome(self, request: Perform, op: Op, found: Findings) -> Record:
        before = self.container
        facts = self._facts(request.txn, found, request.compensates)
        result = advance(op, before, request.step.args, facts)
        args: dict[str, Any] = {**step_args(request), "writes": result.writes}
        if found.notes:
            args["notes"] = found.notes
        draft = self._done(request.txn, request.cause, request.principal, op, args, before, result)
        record, *_ = self.around.journal.append(request.with_closing(draft), {}, reserve=True)
        self._become(op, result)
        self.looked = self.looked and not found.uncleared
        if found.exit is not None and before is not None:
            self.dealt_with = found.exit
            self.around.world.forget_exit(before)
        return record  # type: ignore[no-any-return]  # journal is Any here: actors are wired by duck type

    def _done(
        self, txn: str, cause: Cause, principal: str, op: Op, args: dict[str, Any],
        before: ContainerState | None, result: Advance,
    ) -> Draft:
        return Draft(
            txn=txn, kind=Kind.DONE, cause=cause, subject=self.subject, operation=str(op), args=args,
            before=digest_of(before), after=result.after, inverse=result.inverse, principal=principal)

    def _become(self, op: Op, result: Advance) -> None:
        after = State.IMAGE_ONLY if result.container is None else result.container.state
        self.phase.move(op, after)
        self.container = result.container
        self.around.changed(self.id)

    def _journal_failure(
        self, txn: str, cause: Cause, op: Op, principal: str, error: VordrError
    ) -> None:
        failed = Draft(
            txn=txn, kind=Kind.FAILED, cause=cause, subject=self.subject, operation=str(op),
            args={"error": error.to_wire()}, before=digest_of(self.container), principal=principal)
        self.around.journal.append((failed,), {}, reserve=True)

    # -- the end of the process --------------------------------------------------------------------

    def _ended(self, exit: Exit) -> None:
        if exit.sure and exit == self.dealt_with:
            return  # told twice: it is not the end of the process that came after
        job = self.job
        if job is None:
            if self.untold is None or exit.sure:
                self.untold = exit
            self._idle()
        elif job.awaiting:
            job.awaiting = False
            if job.timer is not None:
                job.timer.cancel()
            self._step(exit)
        elif job.ended is None or exit.sure:
            job.ended = exit

    def _own_end(self) -> None:
        """Record an end that nobody asked for, as a transaction of its own; then clean up and decide."""
        exit, before = self.untold, self.container
        assert exit is not None
        if before is None or before.state not in (State.RUNNING, State.PAUSED):
            self.untold = None
            return
        if not exit.sure:
            self.untold = None
            self.looked = False
            self._look()
            return
        txn = uuid7.uuid7(self.clock.now_us() // 1000, self.around.entropy())
        found = Findings(exit=exit)
        result = advance(Op.EXIT, before, {}, self._facts(txn, found))
        origin = before.process_act
        common: dict[str, Any] = {"txn": txn, "cause": Cause.EXIT, "subject": self.subject}
        code = "unknown (the host went down)" if exit.code is None else str(exit.code)
        step = {"subject": self.subject, "operation": str(Op.EXIT), "args": {}}
        drafts = (
            Draft(kind=Kind.BEGIN, operation="exit", principal="kernel", **common, args={
                "summary": f"{before.name} ended with code {code}", "plan": [step], "origin": origin}),
            self._done(txn, Cause.EXIT, "kernel", Op.EXIT,
                       {"step": {"code": exit.code}, "writes": result.writes}, before, result),
            Draft(kind=Kind.COMMIT, operation="exit", principal="kernel", **common),
        )
        try:
            self.around.journal.append(drafts, {busy_key(self.subject): None}, reserve=True)
        except SubjectBusy:
            return  # the transaction that holds us comes first; Released brings us back
        self.untold, self.dealt_with = None, exit
        self._become(Op.EXIT, result)
        self._clean_up(before)

    def _clean_up(self, before: ContainerState) -> None:
        def finish(_: object) -> None:
            if self.container is not None:
                self.around.after_exit(self.container)

        def fail(error: VordrError) -> None:
            _log.warning("what %s left behind could not be cleared: %s", before.name, error)
            finish(None)

        self._run(Job(clearing(self.around.world, before), finish, fail, Task(Op.EXIT, before, {})))

    def _look(self) -> None:
        """Compare what is declared with the world, once in this incarnation: take over a process that a
        former one left, record that it has ended meanwhile, or clear what should not be there. A stopped one
        is told of every time: who held it, and has let go, may have left its end as it was."""
        container = self.container
        if container is None or (self.looked and container.state is not State.STOPPED):
            return
        if self.job is not None or self._held_by() is not None:
            return
        if self.looked:
            self.around.after_exit(container)
            return
        declared = container.state in (State.RUNNING, State.PAUSED)

        def finish(seen: Observed) -> None:
            self.looked = True
            self.dealt_with = self.dealt_with if declared else seen.exit or self.dealt_with
            if declared and seen.status not in ALIVE:
                self.untold = seen.exit or Exit(None, self.clock.now_us())
            elif container.state is State.STOPPED:
                self.around.after_exit(container)

        def fail(error: VordrError) -> None:
            if isinstance(error, InboxFull):
                self.after(_LOOK_AGAIN, _Look())
            elif declared:
                raise error
            else:
                _log.warning("cannot look for what %s left behind: %s", container.name, error)

        look = taking_over if declared else looking_behind
        self._run(Job(look(self.around.world, container), finish, fail, Task(Op.EXIT, container, {})))

    def _after_looking(self, container: ContainerState, phases: Script) -> Script:
        """A step of a transaction that came before there was time to look: the look, then the step."""
        if container.state in (State.RUNNING, State.PAUSED):
            seen = yield from taking_over(self.around.world, container)
            if seen.status not in ALIVE and self.job is not None:
                self.job.ended = seen.exit or Exit(None, self.clock.now_us())
        elif container.state is not State.REMOVED:
            seen = yield from looking_behind(self.around.world, container)
            self.dealt_with = seen.exit or self.dealt_with
        self.looked = True
        return (yield from phases)

    # -- exec and signals: they change no lifecycle state and hold nobody up -----------------------

    def _side(self, request: Perform) -> None:
        container = self.container
        work = side_work(self.around.world, container, request)
        intent = Draft(
            txn=request.txn, kind=Kind.INTENT, cause=request.cause, subject=self.subject,
            operation=request.step.operation, args=step_args(request), before=digest_of(container),
            principal=request.principal)
        self._append(request.with_opening(intent, {}))
        reply = self.defer()
        self.spawn_effect(work, lambda outcome: _SideDone(request, reply, outcome))

    def _side_lost(self, request: Settle, reply: Reply) -> None:
        """The actor crashed under an exec or a signal: nobody can know whether it was done. Say so."""
        self.around.journal.append((lost(request.txn, request.step, request.principal),), {}, reserve=True)
        reply.set(None)
        self._idle()

    def _side_done(self, done: _SideDone) -> None:
        request, error = done.request, done.outcome.error
        common: dict[str, Any] = {
            "txn": request.txn, "cause": request.cause, "subject": self.subject,
            "operation": request.step.operation, "principal": request.principal}
        if error is not None:
            if not isinstance(error, VordrError):
                # A defect beside the lifecycle: it must not take the container's actor with it.
                _log.error("%s of %s: %r", request.step.operation, self.id[:12], error, exc_info=error)
                error = RuntimeFailed(f"{request.step.operation} failed: {type(error).__name__}: {error}")
            failed = Draft(kind=Kind.FAILED, args={"error": error.to_wire()}, **common)
            self.around.journal.append((failed,), {}, reserve=True)
            done.reply.fail(error)
            return
        result, attach = done.outcome.value
        digest = digest_of(self.container)
        draft = Draft(kind=Kind.DONE, before=digest, after=digest, **common,
                      args={"step": request.step.args, "writes": {}, "result": result})
        record, *_ = self.around.journal.append(request.with_closing(draft), {}, reserve=True)
        done.reply.set(Performed(record, result, attach))
