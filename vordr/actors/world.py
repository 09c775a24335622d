"""What a container actor may do to the world: the only door to runtime, mounts and folders of containers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from vordr.model.state import ContainerState
from vordr.model.verdict import Verdict


class Status(StrEnum):
    """What the kernel and the runtime say of a container's process."""

    ABSENT = "absent"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True)
class Exit:
    """The end of a process: exit code (128+n for signal n), time in µs; None where nobody knows.

    Not ``sure``: only its keeper (conmon) was seen to go; whether the process did must be looked at.
    """

    code: int | None
    time: int | None
    sure: bool = True


@dataclass(frozen=True)
class Launched:
    """A new process: its pid, and a descriptor of the attach socket where one was asked for."""

    pid: int
    attach: int | None = None


@dataclass(frozen=True)
class Observed:
    """A container as the world shows it, for recovery and re-adoption."""

    status: Status
    pid: int | None = None
    exit: Exit | None = None
    folder: bool = False
    trashed: bool = False
    generations: tuple[int, ...] = ()


ALIVE: Final = (Status.RUNNING, Status.PAUSED)


class Session(Protocol):
    """A command that runs beside a container's process."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code, when it has ended; None when nobody can know. TimeoutError after so many seconds."""


class World(Protocol):
    """Every method raises VordrError and leaves nothing half done, or is idempotent."""

    def create(self, container: ContainerState) -> None:
        """Make the container's folder."""

    def discard(self, container: ContainerState) -> None:
        """Move the container's folder to the trash."""

    def recover(self, container: ContainerState) -> None:
        """Bring the container's folder back from the trash."""

    def open_generation(self, container: ContainerState, number: int) -> None:
        """Make a fresh writable layer."""

    def drop_generation(self, container: ContainerState, number: int) -> None:
        """Move a writable layer to the trash."""

    def restore_generation(self, container: ContainerState, number: int) -> None:
        """Bring a dropped writable layer back."""

    def launch(
        self, container: ContainerState, generations: tuple[int, ...], verdict: Verdict, *, attach: bool
    ) -> Launched:
        """Mount the root file system from sealed layers and ``generations`` and start the process."""

    def require_bytes(self, container: ContainerState, verdict: Verdict) -> None:
        """Raise what a launch would raise about the bytes of the image (SealBroken, VerificationRejected,
        ImageUnreadable, ImageNotFound). Nothing is started, mended or told to anybody by it."""

    def signal(self, container: ContainerState, number: int) -> None:
        """Deliver a signal; a process that has ended already is no error. KILL reaches a paused one too."""

    def pause(self, container: ContainerState) -> None: ...

    def resume(self, container: ContainerState) -> None: ...

    def clear(self, container: ContainerState) -> None:
        """After the process ended: runtime state, mounts and cgroups of the container go."""

    def forget_exit(self, container: ContainerState) -> None:
        """The exit is journalled: its file may go."""

    def observe(self, container: ContainerState) -> Observed:
        """Look at the container; changes nothing."""

    def watch(self, container: ContainerState) -> None:
        """Hear of the end of a living process that an earlier incarnation of the engine started."""

    def execute(
        self, container: ContainerState, session: str, request: Any, *, attach: bool
    ) -> int | None:
        """Start ``request`` (ExecArgs with real values) as exec ``session``; an attach descriptor."""

    def session(self, container: str, session: str) -> Session | None:
        """The exec session, while nobody has waited for its end."""

    def end_session(self, container: str, session: str) -> None:
        """Forget an exec session whose end is known."""
