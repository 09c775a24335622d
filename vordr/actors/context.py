"""What a tree gives to each of its actors: time, the effect pool, chance, and its place among the others."""

from __future__ import annotations

import random as _random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from vordr.actors.childspec import Decision
from vordr.actors.clock import Clock, SystemClock
from vordr.actors.handle import Handle, Rank
from vordr.actors.pool import EffectPool
from vordr.actors.reasons import ActorExit, Reason
from vordr.model.errors import SupervisionError

Path: TypeAlias = tuple[str, ...]


class _Place:
    """One place of a tree, and those below it by child id."""

    __slots__ = ("below", "handle")

    def __init__(self) -> None:
        self.handle: Handle | None = None
        self.below: dict[str, _Place] = {}


class Directory:
    """The stable handles of one tree, by path of child ids. A handle outlives every incarnation behind it,
    its supervisor's restart included; it goes only when its child is deleted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._top = _Place()

    def handle(self, path: Path) -> Handle:
        """The handle of a place, made on first use (nothing lives there until its supervisor says so)."""
        with self._lock:
            place = self._top
            for id in path:
                place = place.below.setdefault(id, _Place())
            if place.handle is None:
                place.handle = Handle("/".join(path))
            return place.handle

    def drop(self, path: Path) -> None:
        """Forget a place and all below it, at a cost that does not depend on how many others there are."""
        with self._lock:
            place = self._top
            for id in path[:-1]:
                if id not in place.below:
                    return
                place = place.below[id]
            place.below.pop(path[-1], None)


@dataclass(frozen=True)
class Services:
    """Shared by a whole tree. ``random`` gives floats in [0, 1). The callbacks run on supervisors' threads
    and must not block: tell, do not ask."""

    clock: Clock = field(default_factory=SystemClock)
    effects: EffectPool | None = None
    random: Callable[[], float] = _random.random
    on_decision: Callable[[Decision], None] | None = None
    on_fatal: Callable[[Reason], None] | None = None
    directory: Directory = field(default_factory=Directory)


def _no_siblings(child_id: str) -> Handle:
    raise SupervisionError(f"no older sibling is called {child_id}")


@dataclass(frozen=True)
class StartContext:
    """One start of one child: who it is, whom to tell of its end, how often it was restarted before.

    ``sibling(id)`` is the handle of an older sibling, one that it may ask; SupervisionError for any other.
    """

    path: Path
    handle: Handle
    services: Services
    rank: Rank | None = None
    parent: Callable[[ActorExit], None] | None = None
    restarts: int = 0
    sibling: Callable[[str], Handle] = _no_siblings

    @property
    def child_id(self) -> str:
        return self.path[-1]
