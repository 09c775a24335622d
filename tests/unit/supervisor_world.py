"""A small world for supervision tests: scripted workers, a virtual clock, and a record of what happened."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vordr.actors.actor import Actor, Ignore
from vordr.actors.childspec import ChildSpec, Decision, Status, SupervisorSpec
from vordr.actors.clock import SystemClock, VirtualClock
from vordr.actors.reasons import Normal, Reason, Shutdown
from vordr.actors.requests import SupervisorRef
from vordr.actors.supervisor import Supervisor
from vordr.actors.tree import start_tree, stop_tree

REAL = SystemClock()


class Boom(Exception):
    """An abnormal end."""


@dataclass(frozen=True)
class Leave:
    reason: Reason


@dataclass(frozen=True)
class Fail:
    error: BaseException


@dataclass(frozen=True)
class Hold:
    """Stay inside the message until the gate opens."""

    entered: threading.Event
    gate: threading.Event


class Worker(Actor):
    def __init__(self, world: World, id: str) -> None:
        super().__init__()
        self.world, self.id = world, id

    def init(self) -> Any:
        self.world.threads[self.id] = threading.current_thread()
        self.world.note("init", self.id)
        script = self.world.scripts[self.id]
        if script:
            return script.popleft()(self)
        return None

    def receive(self, message: object) -> object:
        match message:
            case Leave(reason):
                self.stop(reason)
            case Fail(error):
                raise error
            case Hold(entered, gate):
                entered.set()
                gate.wait(20)
        return self.incarnation

    def terminate(self, reason: Reason) -> None:
        self.world.note("end", self.id)


def refuse(worker: Worker) -> Any:
    raise Boom(f"{worker.id} will not start")


def decline(worker: Worker) -> Any:
    return Ignore


def agree(worker: Worker) -> Any:
    return None


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.scripts: dict[str, deque[Callable[[Worker], Any]]] = defaultdict(deque)
        self.threads: dict[str, threading.Thread] = {}
        self.events: list[tuple[str, str]] = []
        self.decisions: list[Decision] = []
        self.fatal: list[Reason] = []
        self.exits: list[Reason] = []
        self.over = threading.Event()
        self._cond = threading.Condition()
        self.root: SupervisorRef
        self._roots: list[SupervisorRef] = []
        self.gates: list[threading.Event] = []

    def note(self, what: str, id: str) -> None:
        with self._cond:
            self.events.append((what, id))
            self._cond.notify_all()

    def wait_for(self, holds: Callable[[], bool]) -> None:
        with self._cond:
            assert self._cond.wait_for(holds, 10), f"never came true; happened: {self.events}"

    def forget(self) -> None:
        self.events.clear()
        self.decisions.clear()

    def child(self, id: str, **kw: Any) -> ChildSpec:
        return ChildSpec(id, lambda context: Worker(self, context.child_id), **kw)

    def supervisor(self, id: str, spec: SupervisorSpec, *children: ChildSpec, **kw: Any) -> ChildSpec:
        from vordr.actors.childspec import ChildType

        return ChildSpec(id, lambda context: Supervisor(spec, children), type=ChildType.SUPERVISOR, **kw)

    def start(self, spec: SupervisorSpec, *children: ChildSpec, **kw: Any) -> SupervisorRef:
        def exited(reason: Reason) -> None:
            self.exits.append(reason)
            self.over.set()

        def decided(decision: Decision) -> None:
            with self._cond:
                self.decisions.append(decision)
                self._cond.notify_all()

        self.root = start_tree(
            spec, children, clock=self.clock, random=lambda: 0.0, on_decision=decided,
            on_fatal=self.fatal.append, on_tree_exit=exited, **kw,
        )
        self.root.timeout = 10
        self._roots.append(self.root)
        return self.root

    def close(self) -> None:
        for gate in self.gates:
            gate.set()
        for root in self._roots:
            stop_tree(root.handle, 0)

    def end(self, *path: str, how: Reason | BaseException) -> None:
        """Let a child end, and return when its supervisor has its exit notice before any later request."""
        handle, actor = self.root.handle_of(*path), self.actor(*path)
        handle.tell(Fail(how) if isinstance(how, BaseException) else Leave(how))
        assert actor.wait_end(REAL, 10)

    def crash(self, *path: str) -> None:
        self.end(*path, how=Boom("crash"))

    def actor(self, *path: str) -> Actor:
        """The incarnation that lives at a place now."""
        actor = self.root.handle_of(*path).actor
        assert actor is not None, f"{path} does not run"
        return actor

    def kill(self, *path: str) -> None:
        """OTP's exit(Pid, kill): as :meth:`end`, without the child's consent."""
        self.actor(*path).kill()

    def hold(self, *path: str) -> threading.Event:
        """Make a child's thread stay in its code until the gate given back opens, or the test is over."""
        entered, gate = threading.Event(), threading.Event()
        self.gates.append(gate)
        self.root.handle_of(*path).tell(Hold(entered, gate))
        assert entered.wait(10)
        return gate

    def incarnations(self) -> dict[str, int]:
        return {child.id: child.incarnation for child in self.root.which_children()}

    def statuses(self) -> dict[str, Status]:
        return {child.id: child.status for child in self.root.which_children()}

    def actions(self) -> list[tuple[str, str]]:
        return [(d.action.value, d.child) for d in self.decisions]


NORMAL, SHUTDOWN, SHUTDOWN_WHY = Normal(), Shutdown(), Shutdown("some info")


def by_itself(how: Reason | BaseException) -> Callable[[World, str], None]:
    return lambda world, id: world.end(id, how=how)


WAYS: dict[str, Callable[[World, str], None]] = {
    "normal": by_itself(NORMAL),
    "abnormal": lambda world, id: world.crash(id),
    "kill": lambda world, id: world.kill(id),
    "supervisor": lambda world, id: world.root.terminate_child(id),
}
"""The ways in which OTP's suite ends a child, by the names it gives them."""
