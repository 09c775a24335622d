"""The world of containers in memory, behind the production interface (:class:`vordr.actors.world.World`).

It is strict where the kernel is: a process cannot be launched twice, a generation cannot be opened twice, a
folder that is not there cannot be moved. Processes end when a test says so, or by signals; their exits lie
there until they are forgotten, as conmon's exit files do. Effects can be made to fail, to crash their actor,
or to wait for a gate; a copy of the whole world is what a crash of the engine leaves.
"""

from __future__ import annotations

import copy
import itertools
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vordr.actors.world import Exit, Launched, Observed, Session, Status
from vordr.engine.composition import Machine, Surface
from vordr.model.errors import RuntimeFailed, StateError
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState
from vordr.model.verdict import Verdict

KILL, TERM = 9, 15
NOW = 1_700_000_000_000_000
PATIENCE = 20.0


@dataclass
class Process:
    pid: int
    generations: tuple[int, ...]
    paused: bool = False
    signals: list[int] = field(default_factory=list)


@dataclass
class Place:
    """All there is of one container."""

    folder: bool = False
    trashed: bool = False
    generations: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)
    process: Process | None = None
    exit: Exit | None = None
    debris: bool = False


@dataclass
class Gate:
    """Holds one effect: ``entered`` says that it waits, :meth:`open` lets it go on."""

    entered: threading.Event = field(default_factory=threading.Event)
    _opened: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        self._opened.set()

    def pass_through(self) -> None:
        self.entered.set()
        assert self._opened.wait(PATIENCE), "nobody opened the gate"

    def wait_entered(self) -> None:
        assert self.entered.wait(PATIENCE), "the effect never began"


@dataclass
class _Trap:
    method: str
    run: Callable[[], None]
    after: bool
    times: int


class FakeWorld:
    """See the module. ``obeys``: processes end by TERM; ``stubborn``: not even by KILL."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.places: dict[str, Place] = {}
        self.obeys = True
        self.stubborn = False
        self.ends_at_once: int | None = None
        self.calls: list[str] = []
        self.watched: list[str] = []
        self.on_call: Callable[[], None] | None = None
        self._traps: list[_Trap] = []
        self._pids = itertools.count(1000)
        self._ends = itertools.count()
        self._listeners: list[FakeExits] = []

    # -- for tests ---------------------------------------------------------------------------------

    def machine(self, surface: Surface) -> Machine:
        return Machine(self, FakeExits(self, surface.on_exit), lambda: None)

    def copy(self) -> FakeWorld:
        """What a crash of the engine leaves: everything but who listened."""
        twin = FakeWorld()
        with self.lock:
            twin.places = copy.deepcopy(self.places)
            twin.obeys, twin.stubborn = self.obeys, self.stubborn
            # Neither a pid nor the moment of an end comes twice, in copies of copies either.
            twin._pids = itertools.count(next(self._pids) + 1000)
            twin._ends = itertools.count(next(self._ends) + 1000)
        return twin

    def trap(self, method: str, run: Callable[[], None], *, after: bool = False, times: int = 1) -> None:
        """Call ``run`` in the next ``times`` calls of ``method``, before (or after) it did anything."""
        self._traps.append(_Trap(method, run, after, times))

    def fail(
        self, method: str, error: BaseException | None = None, *, after: bool = False, times: int = 1
    ) -> None:
        """Make calls of ``method`` raise; anything but a VordrError crashes the actor behind it."""
        def refuse() -> None:
            raise error or RuntimeFailed(f"{method} was made to fail")

        self.trap(method, refuse, after=after, times=times)

    def hold(self, method: str, *, after: bool = False) -> Gate:
        gate = Gate()
        self.trap(method, gate.pass_through, after=after)
        return gate

    def end(self, container: str, code: int = 0, *, tell: bool = True, sure: bool = True) -> None:
        """The process ends by itself; not ``sure``: only its keeper went, the process lives."""
        with self.lock:
            place = self.places[container]
            told = Exit(code if sure else None, NOW + next(self._ends), sure=sure)
            if sure:
                assert place.process is not None, "there is no process to end"
                place.process, place.exit = None, told
            if tell:
                self.tell(container, told)

    def reboot(self) -> None:
        """The host went down: no process is left, and no exit of any."""
        with self.lock:
            for place in self.places.values():
                place.process, place.exit, place.debris = None, None, False

    def disagreements(self, container: str, declared: ContainerState | None) -> list[str]:
        """How what stands differs from what is declared; empty when it does not."""
        with self.lock:
            place = self.places.get(container, Place())
            found = []
            state = State.IMAGE_ONLY if declared is None else declared.state
            alive = state in (State.RUNNING, State.PAUSED)
            if place.folder != (state not in (State.IMAGE_ONLY, State.REMOVED)):
                found.append(f"{state} with folder={place.folder}")
            if place.folder and place.trashed:
                found.append("in both places")
            if (place.process is not None) != alive:
                found.append(f"{state} with process={place.process}")
            if place.process is not None and place.process.paused != (state is State.PAUSED):
                found.append(f"{state} with paused={place.process.paused}")
            if not alive and (place.exit is not None or place.debris):
                found.append(f"{state} with exit={place.exit}, debris={place.debris}")
            if declared is not None:
                numbers = {generation.number for generation in declared.generations}
                if numbers != place.generations:
                    found.append(f"generations {place.generations}, declared {numbers}")
                if place.process is not None and set(place.process.generations) != numbers:
                    found.append(f"the process runs on {place.process.generations}, declared {numbers}")
            return found

    def signalled(self) -> set[str]:
        """Containers whose process is paused with a SIGTERM pending: it ends by that once it thaws."""
        with self.lock:
            return {ident for ident, place in self.places.items()
                    if place.process is not None and place.process.paused and TERM in place.process.signals
                    and self.obeys}

    def alive(self) -> set[str]:
        """Containers that have a process."""
        with self.lock:
            return {ident for ident, place in self.places.items() if place.process is not None}

    def tell(self, container: str, exit: Exit) -> None:
        """Say that a process ended, once more or for the first time."""
        for listener in self._listeners:
            listener.put(container, exit)

    def _place(self, container: ContainerState) -> Place:
        place = self.places.get(container.id)
        if place is None or not place.folder:
            raise StateError(f"{container.name} has no folder")
        return place

    def _effect(self, method: str, act: Callable[[], Any]) -> Any:
        """Run one effect with the traps that are set for it."""
        self._spring(method, after=False)
        with self.lock:
            self.calls.append(method)
            result = act()
        if self.on_call is not None:
            self.on_call()
        self._spring(method, after=True)
        return result

    def _spring(self, method: str, *, after: bool) -> None:
        for trap in list(self._traps):
            if trap.method == method and trap.after == after and trap.times > 0:
                trap.times -= 1
                trap.run()

    # -- the production interface --------------------------------------------------------------------

    def create(self, container: ContainerState) -> None:
        def act() -> None:
            self.places.setdefault(container.id, Place()).folder = True

        self._effect("create", act)

    def discard(self, container: ContainerState) -> None:
        def act() -> None:
            place = self.places.setdefault(container.id, Place())
            if place.trashed and not place.folder:
                return
            assert place.process is None, "a running container was discarded"
            if not place.folder:
                raise StateError("there is nothing to discard")
            place.folder, place.trashed = False, True

        self._effect("discard", act)

    def recover(self, container: ContainerState) -> None:
        def act() -> None:
            place = self.places.setdefault(container.id, Place())
            if place.folder and not place.trashed:
                return
            if not place.trashed:
                raise StateError("it has left the trash")
            place.folder, place.trashed = True, False

        self._effect("recover", act)

    def open_generation(self, container: ContainerState, number: int) -> None:
        def act() -> None:
            place = self._place(container)
            if number in place.generations:
                raise StateError(f"generation {number} is there already")
            place.dropped.discard(number)  # of a start that came to nothing, and whose number comes again
            place.generations.add(number)

        self._effect("open_generation", act)

    def drop_generation(self, container: ContainerState, number: int) -> None:
        def act() -> None:
            place = self._place(container)
            if number in place.generations:
                assert place.process is None or number not in place.process.generations
                place.generations.discard(number)
                place.dropped.add(number)

        self._effect("drop_generation", act)

    def restore_generation(self, container: ContainerState, number: int) -> None:
        def act() -> None:
            place = self._place(container)
            if number not in place.dropped:
                raise StateError(f"generation {number} has left the trash")
            place.dropped.discard(number)
            place.generations.add(number)

        self._effect("restore_generation", act)

    def launch(
        self, container: ContainerState, generations: tuple[int, ...], verdict: Verdict, *, attach: bool
    ) -> Launched:
        def act() -> Launched:
            place = self._place(container)
            assert verdict.manifest == container.image
            if place.process is not None or place.debris or place.exit is not None:
                raise RuntimeFailed(f"container with id {container.id[:12]} already exists")
            if not set(generations) <= place.generations:
                raise StateError(f"generations {generations} of {place.generations}")
            place.process, place.debris = Process(next(self._pids), generations), True
            pid = place.process.pid
            if self.ends_at_once is not None:
                self.end(container.id, self.ends_at_once)
            return Launched(pid)

        launched: Launched = self._effect("launch", act)
        return launched

    def signal(self, container: ContainerState, number: int) -> None:
        def act() -> None:
            process = self.places[container.id].process
            if process is None:
                return
            process.signals.append(number)
            if number == KILL:
                process.paused = False
            if (number == KILL and not self.stubborn) or (
                    number == TERM and self.obeys and not process.paused):
                self.end(container.id, 128 + number)

        self._effect("signal", act)

    def pause(self, container: ContainerState) -> None:
        self._effect("pause", lambda: self._freeze(container, True))

    def resume(self, container: ContainerState) -> None:
        self._effect("resume", lambda: self._freeze(container, False))

    def _freeze(self, container: ContainerState, paused: bool) -> None:
        process = self._place(container).process
        if process is None or process.paused is paused:
            raise RuntimeFailed("container not running" if process is None else "it is already")
        process.paused = paused
        if not paused and TERM in process.signals and self.obeys:
            self.end(container.id, 128 + TERM)

    def clear(self, container: ContainerState) -> None:
        def act() -> None:
            place = self.places.setdefault(container.id, Place())
            place.debris = False
            if place.process is not None:
                self.end(container.id, 137)

        self._effect("clear", act)

    def require_bytes(self, container: ContainerState, verdict: Verdict) -> None:
        self._effect("require_bytes", lambda: None)

    def forget_exit(self, container: ContainerState) -> None:
        def act() -> None:
            self.places[container.id].exit = None

        self._effect("forget_exit", act)

    def observe(self, container: ContainerState) -> Observed:
        def act() -> Observed:
            place = self.places.get(container.id, Place())
            if place.process is not None:
                status = Status.PAUSED if place.process.paused else Status.RUNNING
            else:
                status = Status.ENDED if place.exit is not None or place.debris else Status.ABSENT
            return Observed(
                status, None if place.process is None else place.process.pid, place.exit, place.folder,
                place.trashed, tuple(sorted(place.generations)))

        seen: Observed = self._effect("observe", act)
        return seen

    def watch(self, container: ContainerState) -> None:
        self._effect("watch", lambda: self.watched.append(container.id))

    def execute(
        self, container: ContainerState, session: str, request: Any, *, attach: bool
    ) -> int | None:
        self._effect("execute", lambda: None)
        return None

    def session(self, container: str, session: str) -> Session | None:
        return None

    def end_session(self, container: str, session: str) -> None:
        """There are none."""


class FakeExits:
    """Tells one engine of ends, on a thread of its own; those that lie there when it starts come first."""

    def __init__(self, world: FakeWorld, on_exit: Callable[[str, Exit], None]) -> None:
        self.world = world
        self.on_exit = on_exit
        self._queue: queue.Queue[tuple[str, Exit] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._loop, name="fake-exits", daemon=True)

    def put(self, container: str, exit: Exit) -> None:
        self._queue.put((container, exit))

    def start(self) -> None:
        with self.world.lock:
            self.world._listeners.append(self)
            for container, place in self.world.places.items():
                if place.exit is not None:
                    self.put(container, place.exit)
        self._thread.start()

    def stop(self) -> None:
        with self.world.lock:
            self.world._listeners.remove(self)
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while (told := self._queue.get()) is not None:
            try:
                self.on_exit(*told)
            except StateError as error:  # of an engine that has closed: its place keeps the exit
                if error.message != "the journal is closed":
                    raise
