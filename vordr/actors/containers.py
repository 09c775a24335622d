"""The dynamic supervisor's front: from a container id to its actor, and the performer of container steps."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vordr.actors.childspec import Action, ChildSpec, Decision, Restart
from vordr.actors.container import ContainerActor, Surroundings
from vordr.actors.handle import Handle
from vordr.actors.messages import Ended, Perform, Performed, Released, Settle
from vordr.actors.requests import ChildInfo, SupervisorRef
from vordr.actors.revival import await_revival
from vordr.actors.world import Exit
from vordr.formats.typed import convert
from vordr.model.errors import ActorDead, DeadlineExceeded, Parked, SupervisionError, VordrError
from vordr.model.lifecycle import State
from vordr.model.records import busy_key, container_key
from vordr.model.state import ContainerState

_log = logging.getLogger("vordr.actors")
_ALREADY = ("already_started", "already_present")


class ContainerDirectory:
    """Starts an actor for a container when it is first needed; ends it when the container is gone.

    ``parked`` is why those whose actor failed too often are: for looking, without asking the supervisor.
    """

    def __init__(self, supervisor: SupervisorRef, journal: Any, around: Callable[[], Surroundings]) -> None:
        self.supervisor = supervisor
        self.journal = journal
        self.around = around
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._in_use: Counter[str] = Counter()
        self.parked: dict[str, str] = {}

    def handle(self, container: str) -> Handle:
        """The handle of the container's actor, started when there is none. Raises StartFailed."""
        with self._lock:
            return self._handle(container)

    def _handle(self, container: str) -> Handle:
        found = self.supervisor.handle_of(container)
        # A dead one waits for its restart, or lost its place when the supervisor itself was restarted.
        if container not in self._known or not found.alive:
            self._start(container)
            self._known.add(container)
        return self.supervisor.handle_of(container)

    def _start(self, container: str) -> None:
        spec = ChildSpec(
            container, lambda context: ContainerActor(container, self.around()), restart=Restart.PERMANENT,
            shutdown=5.0)
        try:
            self.supervisor.start_child(spec)
        except SupervisionError as error:
            if error.details.get("why") not in _ALREADY:
                raise
        else:
            self.parked.pop(container, None)

    def _retire(self, container: str) -> None:
        """End the actor of a container that is gone, unless a step is under way that brings it back."""
        with self._lock:
            if container not in self._known or self._in_use[container] or not self._gone(container):
                return
            self._known.discard(container)
            self.parked.pop(container, None)
            self.supervisor.terminate_child(container)
            self.supervisor.delete_child(container)

    @contextmanager
    def _using(self, container: str) -> Iterator[Handle]:
        """The handle of the container's actor; a crashed one's next incarnation is given time to come."""
        with self._lock:
            self._in_use[container] += 1
        try:
            handle = self.handle(container)
            if not handle.alive and container not in self.parked:
                await_revival(handle, self.journal)
            yield handle
        finally:
            with self._lock:
                self._in_use[container] -= 1
                if not self._in_use[container]:
                    del self._in_use[container]

    def decided(self, decision: Decision) -> None:
        """Hear of every decision of the supervisors."""
        if decision.action is Action.PARK:
            self.parked[decision.child] = str(decision.reason)

    def wake(self, container: str) -> None:
        """Start a parked container actor again, with a clean record; it stays parked where StartFailed is
        raised."""
        self.supervisor.wake(container)
        self.parked.pop(container, None)

    def children(self) -> list[ChildInfo]:
        return self.supervisor.which_children()

    # -- performer of container steps ----------------------------------------------------------------

    def perform(self, request: Perform, deadline: float) -> Performed:
        container = _id(request.step.subject)
        try:
            with self._using(container) as handle:
                answer = handle.ask(request, timeout=deadline)
        except VordrError:
            if request.opening is not None and self._gone(container):
                self._retire(container)  # nothing began, so nobody will tell of its end
            raise
        assert isinstance(answer, Performed)
        return answer

    def settle(self, request: Settle, deadline: float) -> Performed | None:
        with self._using(_id(request.step.subject)) as handle:
            answer = handle.ask(request, timeout=deadline)
        assert answer is None or isinstance(answer, Performed)
        return answer

    def released(self, subject: str) -> None:
        """The transaction that held ``subject`` is over, and stays so whatever its actor makes of it."""
        container = _id(subject)
        try:
            if self._gone(container):
                self._retire(container)
            else:
                self._tell(container, Released())
        except VordrError as error:
            _log.warning("the actor of %s was not told that it is free: %s", container[:12], error)

    def _gone(self, container: str) -> bool:
        value = self.journal.get(container_key(container))
        if self.journal.get(busy_key(f"container/{container}")) is not None:
            return False
        return value is None or convert(value, ContainerState).state is State.REMOVED

    def ended(self, container: str, exit: Exit) -> None:
        """The exit watcher saw the end of a process; an exit of nobody we know is left where it lies."""
        if self.journal.ended:
            return  # its file stays where it lies, for the next engine
        if not self._gone(container) and self.journal.get(container_key(container)) is not None:
            self._tell(container, Ended(exit))

    def _tell(self, container: str, message: object) -> None:
        try:
            self.handle(container).tell(message, control=True)
        except (ActorDead, DeadlineExceeded, Parked):
            pass  # the next incarnation compares with the world by itself


def _id(subject: str) -> str:
    return subject.removeprefix("container/")
