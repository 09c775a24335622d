"""Whether what an engine's journal says is what runtime, kernel and folders say, of everything there is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vordr.engine.local import LocalEngine
from vordr.engine.protocol import Caller
from vordr.formats.typed import convert
from vordr.model.lifecycle import State
from vordr.model.operations import REGISTRY, Scope
from vordr.model.paths import Paths
from vordr.model.records import head_key
from vordr.model.state import ContainerState
from vordr.runtime import cgroups

CALLER = Caller("uid:0", Scope.ADMIN)
PATIENCE = 20.0
_ALIVE = (State.RUNNING, State.PAUSED)
_TERM, _REAL_TIME = int(signal.SIGTERM), int(signal.SIGRTMIN)

T = TypeVar("T")


def call(engine: LocalEngine, operation: str, **args: Any) -> Any:
    """The answer of an operation; descriptors that come along are closed, a package's file is opened."""
    return call_as(engine, CALLER, operation, args)


def call_as(engine: LocalEngine, caller: Caller, operation: str, args: dict[str, Any]) -> Any:
    files = [os.open(args["image"], os.O_RDONLY)] if args.get("package") else []
    try:
        reply = engine.call_as(
            caller, operation, convert(args, REGISTRY[operation].args), files=files)
    finally:
        for file in files:
            os.close(file)
    for descriptor in reply.files:
        os.close(descriptor)
    return reply.answer


def eventually(look: Callable[[], T], what: Callable[[], str]) -> T:
    """The first true value of ``look``: for what no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)
    return found


def containers(engine: LocalEngine) -> dict[str, ContainerState]:
    """Every container that the journal knows, removed ones too, by id."""
    return {key.partition("/")[2]: convert(value, ContainerState)
            for key, value in engine.host.journal.scan("containers/")}


def by_name(engine: LocalEngine, name: str) -> ContainerState:
    return next(c for c in containers(engine).values() if c.name == name and c.state is not State.REMOVED)


def await_trap(pid: int) -> None:
    """Wait until the container's program catches SIGTERM: before that it would be lost on the first process
    of a namespace. The runtime, which the process is until it becomes the program, catches every signal."""
    eventually(lambda: catches_term(Path(f"/proc/{pid}/status").read_text()),
               lambda: f"process {pid} does not catch SIGTERM")


def catches_term(status: str) -> bool:
    """Whether a process whose /proc/PID/status this is catches SIGTERM, and no real-time signal."""
    line = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    mask = int(line.split()[1], 16)
    return bool(mask >> (_TERM - 1) & 1) and not mask >> (_REAL_TIME - 1)


def started(pid: int) -> int | None:
    """When the process was started, in ticks since boot: with its pid, which process it is; None: gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else int(words[19])


@dataclass(frozen=True)
class Witness:
    """A container that nothing is done to, and what would change if something were."""

    container: str
    state: State
    pid: int
    started: int | None
    head: int

    @staticmethod
    def of(engine: LocalEngine, name: str) -> Witness:
        found = by_name(engine, name)
        assert found.pid is not None
        return Witness(found.id, found.state, found.pid, started(found.pid),
                       int(engine.host.journal.get(head_key(f"container/{found.id}"))))


def since(engine: LocalEngine, time: int) -> list[ContainerState]:
    """The containers made after ``time`` (µs), in one look."""
    return [c for c in containers(engine).values() if c.created > time]


def declared(found: Iterable[ContainerState]) -> list[dict[str, Any]]:
    """The declared state of containers, without what is different each time."""
    told = []
    for container in found:
        about = container.declared()
        about["spec"] = {**about["spec"], "environment": sorted(about["spec"]["environment"])}
        plain = json.loads(json.dumps(about))
        told.append({key: value for key, value in plain.items() if key != "id"})
    return sorted(told, key=str)


def rest(engine: LocalEngine) -> None:
    """Wait until nothing is open and every end that was told is cleaned up."""
    journal, exits = engine.host.journal, engine.host.paths.exits

    def held() -> list[str]:
        open_ = [key for space in ("open/", "busy/") for key, _ in journal.scan(space)]
        return open_ or sorted(_entries(exits))

    eventually(lambda: not held(), lambda: f"no rest: {held()}")


def settle(engine: LocalEngine) -> None:
    """Wait until nothing is open and journal and world agree; AssertionError says how they do not."""
    journal = engine.host.journal

    def differences() -> list[str]:
        held = [key for space in ("open/", "busy/") for key, _ in journal.scan(space)]
        return held or list(disagreements(engine))

    eventually(lambda: not differences(), lambda: f"no agreement: {differences()}")


def disagreements(engine: LocalEngine) -> Iterator[str]:
    """How what stands differs from what the journal says; nothing where it does not."""
    paths, journal = engine.host.paths, engine.host.journal
    known = containers(engine)
    there = {ident: c for ident, c in known.items() if c.state is not State.REMOVED}
    alive = {ident for ident, c in there.items() if c.state in _ALIVE}
    trashed = {key.partition("/")[2] for key, _ in journal.scan("trash/")}
    yield from _differ("names", dict(journal.scan("names/")),
                       {f"names/{c.name}": ident for ident, c in there.items()})
    yield from _differ("runtime state", _entries(paths.runtime_state), alive)
    yield from _differ("runtime folders", _entries(paths.run / "c"), alive)
    yield from _differ("mounts", _mounted(paths), alive)
    yield from _differ("exits", _entries(paths.exits), set())
    yield from _differ("folders", _entries(paths.containers), set(there))
    yield from _differ("secrets", {name.removesuffix(".json") for name in _entries(paths.secrets)},
                       {ident for ident in there.keys() | trashed
                        if _spec_of(journal, known, ident).get("environment")})
    yield from _differ("trash", _entries(paths.trash) - trashed, set())
    yield from _differ("temporary folders", {n for n in _entries(paths.root) if n.startswith(".")}, set())
    for ident, container in there.items():
        yield from _differ(f"generations of {container.name}", _entries(paths.container(ident) / "gen"),
                           {str(g.number) for g in container.generations})
    for ident, container in known.items():
        if ident in alive:
            yield from _of_living(engine, container)
        elif groups := cgroups.existing(ident):
            yield f"{container.name} is {container.state} and has {groups}"


def _of_living(engine: LocalEngine, container: ContainerState) -> Iterator[str]:
    seen = engine.host.world.observe(container)
    if str(seen.status) != str(container.state) or seen.pid != container.pid:
        yield f"{container.name} is {container.state} as {container.pid}, but seen {seen}"
    if container.pid is None or started(container.pid) is None:
        yield f"{container.name} has no process {container.pid}"


def _spec_of(journal: Any, known: dict[str, ContainerState], ident: str) -> dict[str, Any]:
    if ident in known:
        return {"environment": known[ident].spec.environment}
    kept: dict[str, Any] | None = journal.get(f"trash/{ident}").get("container")
    return {} if kept is None else kept["spec"]


def _differ(what: str, found: Any, expected: Any) -> Iterator[str]:
    if found != expected:
        if isinstance(found, set):
            yield f"{what}: {sorted(found - expected)} too much, {sorted(expected - found)} missing"
        else:
            yield f"{what}: {found}, expected {expected}"


def _entries(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _mounted(paths: Paths) -> set[str]:
    """The containers whose root file system is mounted."""
    prefix = f"{paths.run}/c/"
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return {point[len(prefix):].partition("/")[0] for point in points if point.startswith(prefix)}
