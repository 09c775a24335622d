"""The production engine with points around every change that its world makes."""

from __future__ import annotations

from collections.abc import Callable, Set
from functools import cache
from typing import Any, Final

from failpoint.points import Points
from vordr.actors.clock import SystemClock
from vordr.actors.world import World
from vordr.engine.composition import Composition, Machine, Surface, kernel_machine
from vordr.model.errors import RuntimeFailed
from vordr.runtime.probe import HostFacts, probe

_LOOKS: Final = frozenset({"observe", "session"})
"""Methods that change nothing."""

METHODS: Final = frozenset(
    name for name, what in vars(World).items() if callable(what) and name[0] != "_" and name not in _LOOKS)


class PointedWorld:
    """A world with a point before and after each of its :data:`METHODS`; those in ``refused`` fail."""

    def __init__(self, world: World, points: Points, refused: Set[str] = frozenset()) -> None:
        self._world = world
        self._points = points
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._world, name)
        if name not in METHODS:
            return method

        def pointed(*args: Any, **more: Any) -> Any:
            if name in self._refused:
                raise RuntimeFailed(f"{name} is refused")
            with self._points.around(name):
                return method(*args, **more)

        return pointed


@cache
def facts() -> HostFacts:
    return probe()


def production() -> Composition:
    """The production engine; the host is probed once in a process."""
    return Composition(SystemClock, facts, kernel_machine)


def pointed(points: Points, refused: Set[str] = frozenset()) -> Composition:
    """The production engine on a pointed world, which refuses the methods in ``refused``."""

    def machine(surface: Surface) -> Machine:
        made = kernel_machine(surface)
        return Machine(PointedWorld(made.world, points, refused), made.exits, made.warm_up, made.close)

    return Composition(SystemClock, facts, machine)
