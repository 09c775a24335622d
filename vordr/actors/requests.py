"""What a supervisor can be asked, and a reference with one method for each (OTP: supervisor(3), exports)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast

from vordr.actors.childspec import ChildSpec, ChildType, Status
from vordr.actors.context import Directory
from vordr.actors.handle import Handle


@dataclass(frozen=True)
class StartChild:
    spec: ChildSpec


@dataclass(frozen=True)
class TerminateChild:
    id: str


@dataclass(frozen=True)
class RestartChild:
    id: str


@dataclass(frozen=True)
class DeleteChild:
    id: str


@dataclass(frozen=True)
class Wake:
    id: str


@dataclass(frozen=True)
class GetChildSpec:
    id: str


@dataclass(frozen=True)
class WhichChildren:
    pass


@dataclass(frozen=True)
class CountChildren:
    pass


Request: TypeAlias = (
    StartChild | TerminateChild | RestartChild | DeleteChild
    | Wake | GetChildSpec | WhichChildren | CountChildren
)


@dataclass(frozen=True)
class ChildInfo:
    """One child as it stands. ``incarnation`` is 0 unless it runs; ``why`` is the reason of a parked one."""

    id: str
    status: Status
    type: ChildType
    incarnation: int
    restarts: int
    why: str = ""


@dataclass(frozen=True)
class ChildCounts:
    """``specs`` children are known, ``active`` run; supervisors and workers count known ones."""

    specs: int
    active: int
    supervisors: int
    workers: int


class SupervisorRef:
    """Asks one supervisor. Every method waits up to ``timeout`` seconds (DeadlineExceeded), and raises
    ActorDead when the supervisor is not running.

    Refusals are SupervisionError with ``details["why"]``: not_found, running, restarting, already_started,
    already_present, not_parked.
    """

    def __init__(self, handle: Handle, directory: Directory, path: tuple[str, ...], timeout: float = 60.0):
        self.handle = handle
        self.timeout = timeout
        self._directory = directory
        self._path = path

    def handle_of(self, *ids: str) -> Handle:
        """The stable handle of a descendant, by child ids from here down; it need not live yet."""
        return self._directory.handle((*self._path, *ids))

    def supervisor(self, *ids: str) -> SupervisorRef:
        """The same for a descendant that is a supervisor."""
        return SupervisorRef(self.handle_of(*ids), self._directory, (*self._path, *ids), self.timeout)

    def start_child(self, spec: ChildSpec) -> Handle | None:
        """Add and start a child, last in order. None: it declined (Ignore). StartFailed leaves no trace."""
        return cast("Handle | None", self.handle.ask(StartChild(spec), self.timeout))

    def terminate_child(self, id: str) -> None:
        """Stop a child and keep its specification (a temporary one's goes); fine if it is stopped already."""
        self.handle.ask(TerminateChild(id), self.timeout)

    def restart_child(self, id: str) -> Handle | None:
        """Start a stopped or parked child again. StartFailed leaves it stopped."""
        return cast("Handle | None", self.handle.ask(RestartChild(id), self.timeout))

    def delete_child(self, id: str) -> None:
        """Forget a stopped or parked child."""
        self.handle.ask(DeleteChild(id), self.timeout)

    def wake(self, id: str) -> Handle | None:
        """Start a parked child with a clean record. StartFailed leaves it parked."""
        return cast("Handle | None", self.handle.ask(Wake(id), self.timeout))

    def get_childspec(self, id: str) -> ChildSpec:
        return cast(ChildSpec, self.handle.ask(GetChildSpec(id), self.timeout))

    def which_children(self) -> list[ChildInfo]:
        """All known children in start order (OTP gives them newest first)."""
        return cast("list[ChildInfo]", self.handle.ask(WhichChildren(), self.timeout))

    def count_children(self) -> ChildCounts:
        return cast(ChildCounts, self.handle.ask(CountChildren(), self.timeout))
