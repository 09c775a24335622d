"""One container: an actor around the lifecycle machine.

It performs one step at a time (``busy``), journals intent and outcome through the journal actor, lets effects
run on the pool, and takes the end of the process as a message. It decides nothing that is not in
:mod:`vordr.model`. When it crashes, its container does not notice: the next incarnation reads the projection
and compares it with the world.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import msgspec
from transitions import Machine

from vordr.actors.actor import Actor
from vordr.actors.clock import Timer
from vordr.actors.inbox import Reply
from vordr.actors.messages import Ended, Perform, Performed, Released, Settle
from vordr.actors.pool import Outcome
from vordr.actors.script import AwaitExit, Findings, Task, Work, script
from vordr.actors.settle import Settled, settle
from vordr.actors.sides import SIDE_OPERATIONS, side_work
from vordr.actors.world import Exit, Observed, Status, World
from vordr.formats import uuid7
from vordr.model.errors import StateError, SubjectBusy, VordrError
from vordr.model.lifecycle import ROWS, Op, State, machine_transitions
from vordr.model.records import (
    EPOCH_KEY,
    Cause,
    Draft,
    Kind,
    Record,
    busy_key,
    container_key,
    head_key,
)
from vordr.model.state import ContainerState
from vordr.model.steps import Advance, Facts, advance, digest_of

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
    """What every container actor is given. ``after_exit`` hears of each end that was not asked for."""

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
    awaiting: bool = False
    timer: Timer | None = None
    ended: Exit | None = None
    number: int = 0


@dataclass(frozen=True)
class _Worked:
    number: int
    outcome: Outcome


@dataclass(frozen=True)
class _Waited:
    number: int


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

    # -- life of the actor -------------------------------------------------------------------------

    def init(self) -> None:
        """Read what is declared and, when a process should be there, look whether it is."""
        self._load()
        alive = self.container is not None and self.container.state in (State.RUNNING, State.PAUSED)
        if alive and self._held_by() is None:
            self._adopt()

    def terminate(self, reason: object) -> None:
        self.phase.forget()

    def _load(self) -> None:
        value = self.around.journal.get(container_key(self.id))
        self.container = None if value is None else msgspec.convert(value, ContainerState)
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
            case _Waited(number):
                if self.job is not None and self.job.number == number and self.job.awaiting:
                    self.job.awaiting = False
                    self._step(None)
            case Ended(exit):
                self._ended(exit)
            case _SideDone():
                self._side_done(message)
            case Released():
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
        plan = advance(op, before, request.step.args, self._facts(request.txn, Findings()))
        conditions: dict[str, Any] = {busy_key(self.subject): request.txn}
        if ROWS[op].creates_process and request.verdict is not None:
            conditions[EPOCH_KEY] = request.verdict.epoch
        intent = Draft(
            txn=request.txn, kind=Kind.INTENT, cause=request.cause, subject=self.subject, operation=str(op),
            args=request.step.args, before=digest_of(before), inverse=plan.inverse,
            principal=request.principal)
        self.around.journal.append((intent,), conditions)
        subject = self._subject_of(op, request.step.args)
        task = Task(op, subject, request.step.args, request.verdict, request.attach)

        def finish(found: Findings) -> None:
            record = self._journal_outcome(request, op, found)
            notes = {"notes": found.notes} if found.notes else {}
            reply.set(Performed(record, notes, found.attach))

        def fail(error: VordrError) -> None:
            self._journal_failure(request.txn, request.cause, op, request.principal, error)
            reply.fail(error)

        self._run(Job(script(self.around.world, task), finish, fail, task))

    def _begin_settling(self, request: Settle, reply: Reply) -> None:
        op = Op(request.step.operation)
        task = Task(op, self._subject_of(op, request.step.args), request.step.args)
        as_if = Perform(request.txn, request.step, Cause.RECOVERY, request.principal)

        def finish(settled: Settled) -> None:
            if settled.done:
                reply.set(Performed(self._journal_outcome(as_if, op, settled.findings)))
            else:
                error = StateError("had not happened when the engine came back")
                self._journal_failure(request.txn, Cause.RECOVERY, op, request.principal, error)
                reply.set(None)

        self._run(Job(settle(self.around.world, task), finish, reply.fail, task))

    def _subject_of(self, op: Op, args: dict[str, Any]) -> ContainerState:
        if self.container is not None:
            return self.container
        return msgspec.convert(args["container"], ContainerState)

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
                self.spawn_effect(run, lambda outcome: _Worked(number, outcome))
            case AwaitExit() if job.ended is not None:
                ended, job.ended = job.ended, None
                self._step(ended)
            case AwaitExit(seconds):
                job.awaiting = True
                job.timer = self.after(seconds, _Waited(number))

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

    # -- outcomes ----------------------------------------------------------------------------------

    def _facts(self, txn: str, found: Findings) -> Facts:
        now = self.clock.now_us()
        return Facts(
            time=now, txn=txn, boot_id=self.around.boot_id, pid=found.pid,
            exit_code=None if found.exit is None else found.exit.code,
            ended=None if found.exit is None else found.exit.time, trash_days=self.around.trash_days)

    def _journal_outcome(self, request: Perform, op: Op, found: Findings) -> Record:
        before = self.container
        result = advance(op, before, request.step.args, self._facts(request.txn, found))
        args: dict[str, Any] = {"step": request.step.args, "writes": result.writes}
        if found.notes:
            args["notes"] = found.notes
        if request.compensates is not None:
            args["compensates"] = request.compensates
        draft = self._done(request.txn, request.cause, request.principal, op, args, before, result)
        (record,) = self.around.journal.append((draft,), {}, reserve=True)
        self._become(op, result)
        if found.exit is not None and before is not None:
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
        job = self.job
        if job is None:
            self.untold = exit
            self._idle()
        elif job.awaiting:
            job.awaiting = False
            if job.timer is not None:
                job.timer.cancel()
            self._step(exit)
        else:
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
            self._adopt()
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
        self.untold = None
        self._become(Op.EXIT, result)
        self._clean_up(before)

    def _clean_up(self, before: ContainerState) -> None:
        world = self.around.world

        def phases() -> Generator[Work | AwaitExit, Any, None]:
            yield Work(lambda: world.clear(before))
            yield Work(lambda: world.forget_exit(before))

        def finish(_: object) -> None:
            if self.container is not None:
                self.around.after_exit(self.container)

        self._run(Job(phases(), finish, lambda error: finish(None), Task(Op.EXIT, before, {})))

    def _adopt(self) -> None:
        """Take over a process that a former incarnation left, or record that it has ended meanwhile."""
        container = self.container
        assert container is not None
        world = self.around.world
        paused = container.state is State.PAUSED

        def phases() -> Generator[Work | AwaitExit, Any, Observed]:
            seen: Observed = yield Work(lambda: world.observe(container))
            if seen.status is Status.RUNNING and paused:
                yield Work(lambda: world.pause(container))
            elif seen.status is Status.PAUSED and not paused:
                yield Work(lambda: world.resume(container))
            return seen

        def finish(seen: Observed) -> None:
            if seen.status in (Status.RUNNING, Status.PAUSED):
                world.watch(container)
                return
            self.untold = seen.exit or Exit(None, self.clock.now_us())

        def fail(error: VordrError) -> None:
            raise error

        self._run(Job(phases(), finish, fail, Task(Op.EXIT, container, {})))

    # -- exec and signals: they change no lifecycle state and hold nobody up -----------------------

    def _side(self, request: Perform) -> None:
        container = self.container
        work = side_work(self.around.world, container, request)
        intent = Draft(
            txn=request.txn, kind=Kind.INTENT, cause=request.cause, subject=self.subject,
            operation=request.step.operation, args=request.step.args, before=digest_of(container),
            principal=request.principal)
        self.around.journal.append((intent,), {})
        reply = self.defer()
        self.spawn_effect(work, lambda outcome: _SideDone(request, reply, outcome))

    def _side_done(self, done: _SideDone) -> None:
        request, error = done.request, done.outcome.error
        common: dict[str, Any] = {
            "txn": request.txn, "cause": request.cause, "subject": self.subject,
            "operation": request.step.operation, "principal": request.principal}
        if error is not None:
            if not isinstance(error, VordrError):
                raise error
            failed = Draft(kind=Kind.FAILED, args={"error": error.to_wire()}, **common)
            self.around.journal.append((failed,), {}, reserve=True)
            done.reply.fail(error)
            return
        result, attach = done.outcome.value
        digest = digest_of(self.container)
        draft = Draft(kind=Kind.DONE, before=digest, after=digest, **common,
                      args={"step": request.step.args, "writes": {}, "result": result})
        (record,) = self.around.journal.append((draft,), {}, reserve=True)
        done.reply.set(Performed(record, result, attach))


def head_condition(journal: Any, container: str) -> dict[str, Any]:
    """The compare-and-append condition that nothing has touched the container since it was read."""
    key = head_key(f"container/{container}")
    return {key: journal.get(key)}
