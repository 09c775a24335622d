"""Supervisors: OTP's, on our actors (OTP Design Principles, "Supervisor Behaviour"; supervisor.erl).

A supervisor starts its children left to right, stops them right to left, and answers an end by the child's
restart type, its own strategy and the restart intensity. What to do is decided in :mod:`restarts`, how a
child is started and stopped stands in :mod:`children`; this module joins them. As in OTP, a supervisor is
busy while a child starts or stops, both bounded by the child's specification.

Not in OTP: a restart may wait (backoff); a child that fails too often may be parked alone; each decision is
reported, and the restart window can be seeded with reported ones, so that it survives a crash of the process;
the failure of a fatal child ends the whole tree.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vordr.actors import restarts
from vordr.actors.actor import Actor
from vordr.actors.children import Child, Children, Wait
from vordr.actors.childspec import (
    Action,
    ChildSpec,
    Decision,
    OnExceed,
    Restart,
    Status,
    SupervisorSpec,
    check_children,
)
from vordr.actors.handle import Handle
from vordr.actors.inbox import Envelope
from vordr.actors.reasons import ActorExit, Crashed, Fatal, Reason, Shutdown, is_abnormal
from vordr.actors.requests import (
    CountChildren,
    DeleteChild,
    GetChildSpec,
    Request,
    RestartChild,
    StartChild,
    TerminateChild,
    Wake,
    WhichChildren,
)
from vordr.actors.restarts import After
from vordr.model.errors import ActorDead, StartFailed, SupervisionError, VordrError

_log = logging.getLogger("vordr.actors")


@dataclass(frozen=True)
class _Again:
    wait: Wait


class Supervisor(Actor):
    """``history``: child id → wall-clock seconds of its recent restarts, from decisions reported before."""

    def __init__(
        self,
        spec: SupervisorSpec,
        children: Sequence[ChildSpec] = (),
        *,
        history: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        check_children(spec, children)
        self._spec = spec
        self._initial = tuple(children)
        self._history = dict(history or {})
        self._children = Children(self, self._report)
        self._times: tuple[float, ...] = ()

    # -- life ---------------------------------------------------------------------------------------

    def init(self) -> None:
        """Start all children in order. Raises StartFailed, its cause the child's error, with all undone."""
        self._times = self._seed(itertools.chain.from_iterable(self._history.values()))
        try:
            for spec in self._initial:
                self._children.add(spec, self._seed(self._history.pop(spec.id, ())))
        except BaseException:
            self._children.stop_all(together=self._spec.dynamic)
            raise

    def terminate(self, reason: Reason) -> None:
        self._children.stop_all(together=self._spec.dynamic)

    def killed(self) -> None:
        self._children.kill_all()

    def receive(self, message: object) -> object:
        match message:
            case ActorExit():
                self._on_exit(message)
            case _Again(wait):
                self._start_group(wait)
            case _:
                self._answer(message)
        return None

    def _answer(self, message: object) -> None:
        reply = self.defer()  # also for a tell: a refused request never ends a supervisor
        try:
            if not isinstance(message, Request):
                raise SupervisionError(f"{self.name} does not understand {type(message).__name__}")
            reply.set(self._perform(message))
        except VordrError as refusal:
            reply.fail(refusal)

    # -- requests -----------------------------------------------------------------------------------

    def _perform(self, request: Request) -> object:
        children = self._children
        match request:
            case StartChild(spec):
                return self._start_child(spec)
            case TerminateChild(id):
                children.stop(children.find(id))
            case RestartChild(id):
                return self._start_now(_not_running(children.find(id)))
            case DeleteChild(id):
                children.remove(_not_running(children.find(id)))
            case Wake(id):
                return self._wake(children.find(id))
            case GetChildSpec(id):
                return children.find(id).spec
            case WhichChildren():
                return children.which()
            case CountChildren():
                return children.count()
        return None

    def _start_child(self, spec: ChildSpec) -> Handle | None:
        check_children(self._spec, [spec])
        known = self._children.get(spec.id)
        if known is not None:
            running = known.status is Status.RUNNING
            raise _refusal(known, "already_started" if running else "already_present")
        child = self._children.add(spec, self._seed(self._history.pop(spec.id, ())))
        return child.handle if child.status is Status.RUNNING else None

    def _start_now(self, child: Child) -> Handle | None:
        return child.handle if self._children.start(child) else None

    def _wake(self, child: Child) -> Handle | None:
        if child.status is not Status.PARKED:
            raise _refusal(child, "not_parked")
        child.times = ()
        try:
            return self._start_now(child)
        except StartFailed as error:
            child.park(str(error))
            raise

    # -- ends and restarts --------------------------------------------------------------------------

    def _on_exit(self, exit: ActorExit) -> None:
        child = self._children.get(exit.child_id)
        if child is None or child.actor is None or child.actor.incarnation != exit.incarnation:
            return  # we stopped it ourselves
        child.ended()
        match restarts.after_exit(child.spec.restart, child.spec.fatal, exit.reason):
            case After.FATAL:
                self._end_tree(child, exit.incarnation, exit.reason)
            case After.RESTART:
                self._restart(child, exit.incarnation, exit.reason)
            case After.LEAVE:
                self._leave(child, exit)

    def _leave(self, child: Child, exit: ActorExit) -> None:
        if is_abnormal(exit.reason):
            self._report(child, exit.incarnation, exit.reason, Action.GIVE_UP)
        if child.spec.restart is Restart.TEMPORARY:
            self._children.remove(child)
        mode, alive = self._spec.auto_shutdown, self._children.significant_alive()
        if restarts.auto_shutdown_due(mode, child.spec.significant, alive):
            self.stop(Shutdown(f"{mode.value}: {child.id} ended"))

    def _end_tree(self, child: Child, incarnation: int, reason: Reason) -> None:
        self._report(child, incarnation, reason, Action.FATAL)
        if isinstance(reason, Fatal):
            self.stop(reason)
            return
        fatal = Fatal(child.id, reason)
        on_fatal = self.context.services.on_fatal
        if on_fatal is not None:
            try:
                on_fatal(fatal)
            except Exception:  # noqa: BLE001 - the tree ends whatever its owner makes of it
                _log.exception("on_fatal failed")
        self.stop(fatal)

    def _restart(self, child: Child, incarnation: int, reason: Reason, *, again: bool = False) -> None:
        """Restart it and those that go with it, now or after a wait, unless that is too often.

        ``again``: this is about a restart that failed. Then other messages get their turn first (OTP:
        try_again_restart), so that a child that cannot start does not make its supervisor deaf.
        """
        spec, parks = self._spec, self._spec.on_exceed is OnExceed.PARK
        allowed, times = restarts.admit(
            child.times if parks else self._times, self.clock.monotonic(), spec.intensity, spec.period
        )
        if parks:
            child.times = times
        else:
            self._times = times
        if allowed:
            wait = restarts.delay(spec.backoff, len(times), self.context.services.random())
            self._report(child, incarnation, reason, Action.RESTART, len(times), wait)
            self._schedule(self._clear(child), wait, again)
        elif parks:
            self._report(child, incarnation, reason, Action.PARK, len(times))
            child.park(str(reason))
        else:
            self._report(child, incarnation, reason, Action.ESCALATE, len(times))
            self.stop(Shutdown(f"{child.id} failed too often: {reason}"))

    def _clear(self, failed: Child) -> list[Child]:
        """Stop whoever restarts together with ``failed``; temporary ones are gone for good."""
        ids = restarts.affected(self._spec.strategy, self._children.ids, failed.id)
        group = [self._children.find(id) for id in ids]
        for child in reversed(group):
            if child is not failed:
                self._children.stop(child)
        return [child for child in group if child in self._children]

    def _schedule(self, group: list[Child], delay: float, again: bool) -> None:
        wait = Wait()
        for child in group:
            child.wait = wait  # of an earlier wait nobody is left: a group holds all that an inner one held
            child.status = Status.RESTARTING
        if delay > 0:
            wait.timer = self.after(delay, _Again(wait))
        elif again:
            try:
                self.inbox.offer(Envelope(_Again(wait)), self.name, force=True)
            except ActorDead:
                pass  # asked to stop meanwhile
        else:
            self._start_group(wait)

    def _start_group(self, wait: Wait) -> None:
        for child in [c for c in self._children if c.wait is wait]:
            child.wait = None
            child.restarts += 1
            try:
                self._children.start(child)
            except StartFailed as error:
                if child.spec.fatal:
                    self._end_tree(child, 0, Crashed.of(error))
                else:
                    self._restart(child, 0, Crashed.of(error), again=True)
                return

    # -- reports ------------------------------------------------------------------------------------

    def _seed(self, wall: Iterable[float]) -> tuple[float, ...]:
        return restarts.to_monotonic(wall, self.clock.now_us() / 1e6, self.clock.monotonic())

    def _report(
        self, child: Child, incarnation: int, reason: Reason, action: Action, count: int = 0,
        delay: float = 0.0,
    ) -> None:
        now = self.clock.now_us()
        decision = Decision(self.name, child.id, incarnation, reason, action, count, now, delay)
        _log.warning("%s: %s %s after %s", self.name, action.value, child.id, reason)
        report = self.context.services.on_decision
        if report is None:
            return
        try:
            report(decision)
        except Exception:  # noqa: BLE001 - supervision goes on when its report cannot be written
            _log.exception("a decision could not be reported: %s", decision)


def _not_running(child: Child) -> Child:
    if child.status in (Status.RUNNING, Status.RESTARTING):
        raise _refusal(child, child.status.value)
    return child


def _refusal(child: Child, why: str) -> SupervisionError:
    return SupervisionError(
        f"{child.handle.name} is {child.status.value}", details={"why": why, "child": child.id}
    )
