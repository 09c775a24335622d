"""What an engine is put together from: time, the facts of its host, and the machine it acts on.

Doors open an engine on the :data:`KERNEL`'s. Who may start what is not among the parts: a verdict comes from
the gatekeeper alone, whatever the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from vordr.actors.clock import Clock, SystemClock
from vordr.actors.kernel import KernelWorld
from vordr.actors.world import Exit, World
from vordr.engine.settings import Settings
from vordr.journal.secrets import SecretStore
from vordr.model.errors import SealBroken
from vordr.model.paths import Paths
from vordr.model.state import Seal
from vordr.runtime import cgroups
from vordr.runtime.driver import choose
from vordr.runtime.exits import ExitNotice, ExitWatcher
from vordr.runtime.probe import HostFacts, probe


class Exits(Protocol):
    """The source of notices of ended processes; those of before its start come first."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Returns when no notice comes any more."""


@dataclass(frozen=True)
class Surface:
    """What a machine is given of its engine.

    ``settings`` are the instance's (OCI runtime, size of logs). ``on_exit`` takes a container id and
    how its process ended; ``on_broken`` hears of a layer of an image (manifest digest) that is not what was
    sealed.
    """

    paths: Paths
    journal: Any
    secrets: SecretStore
    facts: HostFacts
    settings: Settings
    on_exit: Callable[[str, Exit], None]
    on_broken: Callable[[str, Seal, SealBroken], None]


@dataclass(frozen=True)
class Machine:
    """Where containers live: the world that their actors change, and who tells of ends.

    ``warm_up`` is called before acts, on the effect pool: what can be waited for in advance.
    """

    world: World
    exits: Exits
    warm_up: Callable[[], object]
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Composition:
    """The parts, made anew for each engine."""

    clock: Callable[[], Clock]
    facts: Callable[[], HostFacts]
    machine: Callable[[Surface], Machine]


def kernel_machine(surface: Surface) -> Machine:
    """This host: runtime, mounts, folders, and the exit files that conmon leaves."""

    def tell(notice: ExitNotice) -> None:
        surface.on_exit(notice.container, Exit(notice.code, notice.time_us, sure=notice.code is not None))

    paths, facts, settings = surface.paths, surface.facts, surface.settings
    watcher = ExitWatcher(paths.exits, tell)
    world = KernelWorld(
        paths, surface.journal, surface.secrets, facts, lambda: choose(facts, paths, settings.runtime),
        watcher, surface.on_broken, settings.log_megabytes << 20)
    return Machine(world, watcher, cgroups.warm, world.close)


KERNEL: Final = Composition(SystemClock, probe, kernel_machine)
