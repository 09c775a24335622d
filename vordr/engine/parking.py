"""Containers that wait for a person: their actor failed too often, or a policy gave up on them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vordr.actors.containers import ContainerDirectory
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState


class Parking:
    """Why each is parked. Not journalled state: every opening begins with actors and policies anew.

    ``again`` decides anew what follows the end of a container.
    """

    def __init__(self, directory: ContainerDirectory, again: Callable[[ContainerState], None]) -> None:
        self._directory = directory
        self._again = again
        self._lock = threading.Lock()
        self._given_up: dict[str, tuple[int, str]] = {}

    def give_up(self, container: ContainerState, reason: str) -> None:
        """No policy acts on this end of ``container`` any more."""
        with self._lock:
            self._given_up[container.id] = container.process, reason

    def reason(self, container: ContainerState) -> str | None:
        """Why ``container`` is parked; None when it is not."""
        return self._directory.parked.get(container.id) or self._policys(container)

    def _policys(self, container: ContainerState) -> str | None:
        """Why a policy gave up, where the container is still as it was then."""
        with self._lock:
            process, reason = self._given_up.get(container.id, (0, None))
            if reason is not None and _is_past_end_of(process, container):
                del self._given_up[container.id]
            same = container.state is State.STOPPED and container.process == process
        return reason if same and not container.asked_to_stop else None

    def wake(self, container: ContainerState) -> None:
        """Give it another chance, with a clean record, where it is parked. Raises StartFailed."""
        if container.id in self._directory.parked:
            self._directory.wake(container.id)
        elif self._policys(container) is not None:
            with self._lock:
                self._given_up.pop(container.id, None)
            self._again(container)


def _is_past_end_of(process: int, container: ContainerState) -> bool:
    """Whether ``container`` went on after the end of ``process``. What was read before that end has not: it
    may be looked at later than the policy gave up, and must not make that forgotten."""
    if container.process != process:
        return container.process > process
    return container.state is State.REMOVED or (container.state is State.STOPPED and container.asked_to_stop)
