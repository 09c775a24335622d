"""The OCI runtime, runc or crun: which one, and its short commands (OCI runtime-spec runtime.md#operations).

``run`` and ``exec`` are conmon's (:mod:`vordr.runtime.conmon`), because their process must outlive us.
"""

from __future__ import annotations

import json
import re
import shutil
import signal as signals
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from vordr.model.errors import RuntimeFailed, RuntimeNotFound
from vordr.model.paths import Paths
from vordr.runtime import cgroups
from vordr.runtime.command import Completed, failed, install_command, run
from vordr.runtime.identifiers import CONTAINER_ID, check_id
from vordr.runtime.probe import CgroupLayout, HostFacts, Program

_GONE: Final = re.compile(
    r"does not exist|container not found|not running|process already finished|no such process|no such file",
    re.IGNORECASE,
)
_UNABLE: Final = re.compile(r"unable to freeze", re.IGNORECASE)
_FREEZES: Final = 5
_NOT_PAUSED: Final = re.compile(r"not paused", re.IGNORECASE)  # runc; crun does not mind
_DEADLINE_S: Final = 30.0


class RuntimeStatus(StrEnum):
    """Status words of the runtime-spec, and runc's own ``paused``."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True)
class RuntimeState:
    """What the runtime says: ``pid`` of the first process as the host counts, 0 when it ended."""

    status: RuntimeStatus
    pid: int


@dataclass(frozen=True)
class Driver:
    """One OCI runtime with its state folder, and the conmon that goes with it.

    All operations take a full container id. They raise RuntimeFailed with the runtime's words.
    """

    name: str
    program: Path
    version: str
    state_root: Path
    conmon: Path
    conmon_version: str

    def kill(self, container: str, signal: int) -> bool:
        """Send ``signal`` to the container's first process; False when there is no process any more.

        SIGKILL also reaches a paused one: the freezer of cgroup v1 holds even that back until it thaws. runc
        ≥ 1.1 thaws by itself; after older ones the container is resumed here.
        """
        sent = self._unless_gone("kill", check_id(container), str(signal))
        if sent and signal == signals.SIGKILL and cgroups.is_frozen(container):
            self._unless_gone("resume", container)
        return sent

    def pause(self, container: str) -> None:
        """Freeze all processes of the container.

        On a busy host the freezer of cgroup v1 cannot always stop them in the time that runc gives it.
        """
        for _ in range(_FREEZES):
            completed = self._call("pause", check_id(container), check=False)
            if completed.code == 0:
                return
            if not _UNABLE.search(completed.stderr.decode(errors="replace")):
                break
        raise failed(completed)

    def resume(self, container: str) -> None:
        """Thaw them; those that are not frozen (any more: a SIGKILL thaws, too) go on as they are."""
        completed = self._call("resume", check_id(container), check=False)
        words = completed.stderr.decode(errors="replace")
        if completed.code != 0 and not _NOT_PAUSED.search(words):
            raise failed(completed)

    def delete(self, container: str, *, force: bool = False) -> bool:
        """Forget a container that ended; with ``force`` kill it first. False when there was none."""
        if not force:
            return self._unless_gone("delete", check_id(container))
        if not self.knows(check_id(container)):
            return False
        if cgroups.is_frozen(container):
            # runc and crun wait for the death of what they kill, and a frozen process may not die.
            self.kill(container, signals.SIGKILL)
        self._call("delete", "--force", container)
        return True

    def forget(self, container: str) -> None:
        """What ``delete`` leaves to do once no process and no control group of the container is there:
        remove its folder. No program is started. Raises RuntimeFailed."""
        try:
            shutil.rmtree(self.state_root / check_id(container))
        except FileNotFoundError:
            return
        except OSError as error:
            raise RuntimeFailed(f"cannot remove {self.name}'s state of {container}: {error}") from error

    def state(self, container: str) -> RuntimeState | None:
        """The runtime's view of the container; None when it knows none of that id."""
        if not self.knows(check_id(container)):
            return None
        completed = self._call("state", container, check=False)
        if completed.code != 0:
            if _GONE.search(completed.stderr.decode(errors="replace")):
                return None
            raise failed(completed)
        answer: dict[str, Any] = json.loads(completed.stdout)
        return RuntimeState(RuntimeStatus(answer["status"]), int(answer.get("pid") or 0))

    def knows(self, container: str) -> bool:
        """Whether the runtime's state folder has the container, without starting a program."""
        return (self.state_root / check_id(container)).is_dir()

    def list(self) -> tuple[str, ...]:
        """Ids of all containers of this state folder, sorted."""
        try:
            names = [entry.name for entry in self.state_root.iterdir()]
        except FileNotFoundError:
            return ()
        return tuple(sorted(name for name in names if CONTAINER_ID.fullmatch(name)))

    def _unless_gone(self, *words: str) -> bool:
        completed = self._call(*words, check=False)
        if completed.code == 0:
            return True
        if _GONE.search(completed.stderr.decode(errors="replace")):
            return False
        raise failed(completed)

    def _call(self, *words: str, check: bool = True) -> Completed:
        return run((self.program, f"--root={self.state_root}", *words), timeout=_DEADLINE_S, check=check)


def choose(facts: HostFacts, paths: Paths, wanted: str = "auto") -> Driver:
    """The runtime for this host: on cgroup v2 crun, then runc; else runc alone, since crun refuses the rest.

    ``wanted`` other than auto is taken as it is. Raises RuntimeNotFound when the runtime or conmon is not
    installed.
    """
    order = ("crun", "runc") if facts.cgroup is CgroupLayout.V2 else ("runc",)
    if wanted != "auto":
        order = (wanted,)
    program = next((found for name in order if (found := facts.runtime(name)) is not None), None)
    if program is None or facts.conmon is None:
        missing = ([] if program else [order[-1]]) + ([] if facts.conmon else ["conmon"])
        refused = program is None and facts.runtimes
        why = f" (crun does not work with cgroup {facts.cgroup})" if refused else ""
        raise RuntimeNotFound(
            f"not installed: {' and '.join(missing)}{why}", remedy=install_command(*missing)
        )
    return driver_for(program, facts.conmon, paths)


def driver_for(program: Program, conmon: Program, paths: Paths) -> Driver:
    """A driver of this very runtime, with its state below the instance's runtime folder."""
    if program.name not in ("runc", "crun"):
        raise RuntimeFailed(f"{program.name} is not a runtime that Vörðr drives")
    return Driver(
        program.name, program.path, program.version, paths.runtime_state, conmon.path, conmon.version
    )
