"""The root folder on which scenes are played, and the parent's side of the process that dies there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failpoint import choice, composition, faults, holdings, scenes, soundness
from failpoint.mortal import WITNESSES
from failpoint.soundness import Witness
from vordr.engine.local import LocalEngine
from vordr.model.lifecycle import State
from vordr.model.paths import Paths
from vordr.model.state import ContainerState

Declared = list[dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """What a life said before it ended, and how it ended: the signal, or 0."""

    lines: tuple[str, ...]
    signal: int

    @property
    def points(self) -> tuple[str, ...]:
        return tuple(line.partition(" ")[2] for line in self.lines if line.startswith("point "))

    def about(self, word: str) -> dict[str, Any]:
        """The JSON that follows ``word``."""
        line = next(line for line in self.lines if line.startswith(word + " "))
        found: dict[str, Any] = json.loads(line.partition(" ")[2])
        return found

    def has(self, word: str) -> bool:
        return any(line.partition(" ")[0] == word for line in self.lines)

    def all(self, word: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.lines if line.startswith(word + " ")]


class Stage:
    """A root folder with trust, one image and two witnesses, and a process that forks to die there."""

    def __init__(self, library: Path | None = None) -> None:
        """With ``library`` (of faultfs.c) the lives' disk can be made to fail."""
        assert os.geteuid() == 0, "crashes on the real kernel need root"
        self.home = Path(tempfile.mkdtemp(prefix="vordr-crash-", dir="/tmp"))
        self.home.chmod(0o711)
        self.paths = Paths.of((self.home / "root").resolve())
        self.report = self.home / "report"
        # In a session of its own: it takes the stage away when this process is killed.
        self.zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mortal.py")), str(self.home)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env=None if library is None else faults.environment(library, self.paths.journal))
        self.witnesses: tuple[Witness, ...] = ()

    # -- lives -------------------------------------------------------------------------------------

    def begin(self, **request: Any) -> int:
        """Let the process fork and do ``request`` (see mortal.live); its pid."""
        self.report.unlink(missing_ok=True)
        assert self.zygote.stdin is not None
        self.zygote.stdin.write(json.dumps({**request, "report": str(self.report)}) + "\n")
        self.zygote.stdin.flush()
        return int(self._answer()["pid"])

    def ended(self) -> Told:
        """What the life that began last said, once it is over; a failure of its own is raised."""
        status = int(self._answer()["status"])
        text = self.report.read_text() if self.report.exists() else ""
        told = Told(tuple(text.splitlines()), os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
        assert not told.has("failed"), json.loads(told.all("failed")[0])
        assert told.signal in (0, signal.SIGKILL), status
        return told

    def live(self, **request: Any) -> Told:
        self.begin(**request)
        return self.ended()

    def _answer(self) -> dict[str, Any]:
        assert self.zygote.stdout is not None
        found: dict[str, Any] = json.loads(self.zygote.stdout.readline())
        return found

    # -- the next engine ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def engine(self) -> Iterator[LocalEngine]:
        """The production engine, in this process."""
        engine = LocalEngine.open_on(composition.production(), self.paths)
        try:
            yield engine
        finally:
            engine.close()

    def assert_sound(
        self, since: int = 0, expected: Sequence[Declared] | None = None, *, sequel: bool = False
    ) -> tuple[ContainerState, ...]:
        """Open an engine on what a crash left, and another one; the invariants of any crash hold.

        Nothing is lost, ghost or stuck; what was made after ``since`` (µs) is as one of ``expected``, at once
        or (``sequel``) when what policies do is done; a second recovery is none; containers that nobody acted
        on have not noticed. Returns the containers made after ``since``.
        """
        def come(engine: LocalEngine) -> bool:
            # One look: what runs is what a policy started, not the process that ended and is declared still.
            mine = soundness.since(engine, since)
            started = all(c.restarts for c in mine if c.state is State.RUNNING)
            return expected is None or (soundness.declared(mine) in expected and (started or not sequel))

        with self.engine() as first:
            if sequel:
                soundness.eventually(
                    lambda: come(first), lambda: f"{soundness.declared(soundness.since(first, since))}")
            soundness.settle(first)
            assert come(first), (soundness.declared(soundness.since(first, since)), expected)
            assert [r.left for r in first.recovered if r.left] == []
            size = first.host.journal.last()
        with self.engine() as second:
            # The first has compared everything with the world; here a look would only find it again.
            (soundness.settle if choice.SOAK else soundness.rest)(second)
            assert second.recovered == []
            assert second.host.journal.last() == size
            assert come(second)
            assert tuple(Witness.of(second, name) for name in WITNESSES) == self.witnesses
            return tuple(c for c in soundness.containers(second).values() if c.created > since)

    def assert_audit(self) -> None:
        with self.engine() as engine:
            told = soundness.call(engine, "audit", model=True)
            assert told.ok and told.model, told

    # -- beginning and end -------------------------------------------------------------------------

    def prepare(self) -> None:
        rootfs = holdings.root_folder(self.home / "rootfs")
        with self.engine() as engine:
            soundness.call(engine, "trust_init", owner="Crash")
            soundness.call(engine, "adopt", image=str(rootfs), name=scenes.IMAGE)
            for name in WITNESSES:
                soundness.call(engine, "run", image=scenes.IMAGE, name=name, command=scenes.PROGRAM)
                pid = soundness.by_name(engine, name).pid
                assert pid is not None
                soundness.await_trap(pid)
            soundness.call(engine, "pause", container=WITNESSES[1])
            soundness.settle(engine)
            self.witnesses = tuple(Witness.of(engine, name) for name in WITNESSES)

    def close(self) -> None:
        """Take everything away."""
        assert self.zygote.stdin is not None and self.zygote.stdout is not None
        self.zygote.stdin.close()
        code = self.zygote.wait(60)  # longer only where this process owns the root folder: it is about to end
        self.zygote.stdout.close()
        assert code == 0 and not self.home.exists(), f"{self.home} could not be taken away"


@contextlib.contextmanager
def stage(library: Path | None = None) -> Iterator[Stage]:
    """A stage that is gone after the block; when the block failed, its own error is the one that is told."""
    with gone_after(Stage(library)) as made:
        made.prepare()
        yield made


@contextlib.contextmanager
def gone_after(made: Stage) -> Iterator[Stage]:
    try:
        yield made
    except BaseException:
        with contextlib.suppress(Exception):
            made.close()
        raise
    made.close()
