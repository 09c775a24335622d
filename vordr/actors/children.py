"""The children of one supervisor, in start order: how one is started, stopped, found and forgotten.

When to do so is the supervisor's to say (:mod:`supervisor`). Stopping follows OTP's ``shutdown`` rule; a
thread cannot be killed, so where OTP kills, the child is fenced and, if it is still busy, reported abandoned.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from vordr.actors.actor import Actor
from vordr.actors.childspec import BRUTAL, Action, ChildSpec, ChildType, Patience, Restart, Status
from vordr.actors.clock import Timer
from vordr.actors.context import Path, StartContext
from vordr.actors.handle import Handle
from vordr.actors.inbox import Envelope
from vordr.actors.reasons import ActorExit, Crashed, Killed, Reason, Shutdown
from vordr.actors.requests import ChildCounts, ChildInfo
from vordr.model.errors import Parked, StartFailed, SupervisionError

_log = logging.getLogger("vordr.actors")


class Wait:
    """A group of children that will be started together."""

    timer: Timer | None = None


@dataclass(eq=False)
class Child:
    """A specification and what became of it. ``times``: its restarts inside the window, monotonic seconds."""

    spec: ChildSpec
    order: int
    path: Path
    handle: Handle
    actor: Actor | None = None
    status: Status = Status.STOPPED
    wait: Wait | None = None
    times: tuple[float, ...] = ()
    restarts: int = 0
    why: str = ""

    @property
    def id(self) -> str:
        return self.spec.id

    def ended(self) -> None:
        """Its actor is gone, for whatever reason."""
        self.actor = None
        self.status, self.why = Status.STOPPED, ""
        self.handle.detach()

    def park(self, why: str) -> None:
        """Let it rest; its handle says why, and how to wake it."""
        name, id = self.handle.name, self.id
        self.status, self.why = Status.PARKED, why
        self.handle.detach(lambda: Parked(
            f"{name} failed too often and is parked: {why}",
            remedy=f"vordr wake {id}",
            details={"child": id, "reason": why},
        ))


Report = Callable[[Child, int, Reason, Action], None]


class Children:
    """Used on the supervisor's thread only, but for :meth:`kill_all`."""

    def __init__(self, supervisor: Actor, report: Report) -> None:
        self._supervisor = supervisor
        self._report = report
        self._orders = itertools.count()
        self._by_id: dict[str, Child] = {}

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_id.values()))

    def __contains__(self, child: Child) -> bool:
        return self._by_id.get(child.id) is child

    @property
    def ids(self) -> list[str]:
        return list(self._by_id)

    def get(self, id: str) -> Child | None:
        return self._by_id.get(id)

    def find(self, id: str) -> Child:
        """Raises SupervisionError (why: not_found)."""
        child = self._by_id.get(id)
        if child is None:
            name = self._supervisor.name
            raise SupervisionError(f"{name} has no child {id}", details={"why": "not_found", "child": id})
        return child

    def add(self, spec: ChildSpec, times: tuple[float, ...]) -> Child:
        """Enter a child as the last in order and start it. One that fails, or is temporary and declines,
        is not kept. Raises StartFailed."""
        context = self._supervisor.context
        path = (*context.path, spec.id)
        child = Child(spec, next(self._orders), path, context.services.directory.handle(path), times=times)
        self._by_id[spec.id] = child
        try:
            runs = self.start(child)
        except StartFailed:
            self.remove(child)
            raise
        if not runs and spec.restart is Restart.TEMPORARY:
            self.remove(child)
        return child

    def remove(self, child: Child) -> None:
        """Forget it and its handle."""
        del self._by_id[child.id]
        self._supervisor.context.services.directory.drop(child.path)

    def start(self, child: Child) -> bool:
        """Start it now and wait until it is ready. False: it declined. Raises StartFailed."""
        spec, mine = child.spec, self._supervisor.context
        child.ended()
        context = StartContext(
            child.path, child.handle, mine.services, (*(mine.rank or ()), child.order), self._notice,
            child.restarts, partial(self._older_sibling, child),
        )
        actor: Actor | None = None
        runs = False
        try:
            actor = child.actor = _make(spec, context)
            child.handle.point_at(actor)
            runs = actor.launch(context, _seconds(spec.start_timeout))
        except BaseException as error:  # noqa: BLE001 - also SystemExit: whatever it is, the start failed
            if actor is not None and actor.fenced:
                self._report(child, actor.incarnation, Killed(), Action.ABANDONED)
            raise StartFailed(
                f"{child.handle.name} could not be started: {error}", details={"child": spec.id}
            ) from error
        finally:
            if not runs:
                child.ended()
        if runs:
            child.status = Status.RUNNING
            if self._supervisor.ended:  # killed meanwhile: nobody will watch it
                actor.kill()
        return runs

    def stop(self, child: Child) -> None:
        """Stop it by its shutdown rule, wherever it is in its life; a temporary one is forgotten."""
        self._ask_to_stop(child)
        self._await_stop(child, _seconds(child.spec.shutdown))
        if child.spec.restart is Restart.TEMPORARY:
            self.remove(child)

    def stop_all(self, *, together: bool) -> None:
        """Right to left, one by one; ``together``: all at once, each with its time from now."""
        leaving = list(reversed(list(self)))
        if not together:
            for child in leaving:
                self.stop(child)
            return
        for child in leaving:
            self._ask_to_stop(child)
        clock = self._supervisor.clock
        began = clock.monotonic()
        for child in leaving:
            limit = _seconds(child.spec.shutdown)
            spent = clock.monotonic() - began
            self._await_stop(child, None if limit is None else max(0.0, limit - spent))

    def kill_all(self) -> None:
        """From any thread: nobody is left to watch them."""
        for child in self:
            actor = child.actor
            if actor is not None and actor.kill():
                self._report(child, actor.incarnation, Killed(), Action.ABANDONED)

    def which(self) -> list[ChildInfo]:
        return [ChildInfo(c.id, c.status, c.spec.type, c.handle.incarnation, c.restarts, c.why) for c in self]

    def count(self) -> ChildCounts:
        types = [child.spec.type for child in self]
        active = sum(child.status is Status.RUNNING for child in self)
        supervisors = types.count(ChildType.SUPERVISOR)
        return ChildCounts(len(types), active, supervisors, len(types) - supervisors)

    def significant_alive(self) -> Iterator[bool]:
        """For each significant child: whether it runs or will again. Looked at only as far as it is read."""
        alive = (Status.RUNNING, Status.RESTARTING)
        return (child.status in alive for child in self._by_id.values() if child.spec.significant)

    def _ask_to_stop(self, child: Child) -> None:
        child.wait = None
        if child.actor is not None and child.spec.shutdown is not BRUTAL:
            child.actor.stop(Shutdown())

    def _await_stop(self, child: Child, timeout: float | None) -> None:
        actor, brutal = child.actor, child.spec.shutdown is BRUTAL
        if actor is not None:
            in_time = not brutal and actor.wait_end(self._supervisor.clock, timeout)
            if not in_time and actor.kill():
                self._report(child, actor.incarnation, Killed(), Action.ABANDONED)
            elif isinstance(actor.exit_reason, Crashed):
                _log.warning("%s ended badly when stopped: %s", child.handle.name, actor.exit_reason)
        child.ended()

    def _older_sibling(self, child: Child, id: str) -> Handle:
        other = self._by_id.get(id)
        if other is None or other.order >= child.order:
            raise SupervisionError(f"{child.handle.name} has no older sibling {id}")
        return other.handle

    def _notice(self, exit: ActorExit) -> None:
        supervisor = self._supervisor
        supervisor.inbox.offer(Envelope(exit), supervisor.name, control=True, force=True)


def _make(spec: ChildSpec, context: StartContext) -> Actor:
    """A new actor, not started. Raises SupervisionError when ``start`` gives something else."""
    actor: object = spec.start(context)
    if not isinstance(actor, Actor):
        raise SupervisionError(f"its start gave no actor but {actor!r}")
    if actor.launched:
        raise SupervisionError(f"its start gave {actor.name}, which was started before")
    return actor


def _seconds(limit: float | Patience | None) -> float | None:
    """A limit as a wait: None is for ever."""
    return None if limit is None or isinstance(limit, Patience) else limit
