"""Start and stop a whole supervision tree from outside it."""

from __future__ import annotations

import itertools
import random as _random
from collections.abc import Callable, Mapping, Sequence

from vordr.actors.childspec import ChildSpec, Decision, SupervisorSpec
from vordr.actors.clock import Clock
from vordr.actors.context import Services, StartContext
from vordr.actors.handle import Handle, current_actor
from vordr.actors.pool import EffectPool
from vordr.actors.reasons import ActorExit, Reason, Shutdown
from vordr.actors.requests import SupervisorRef
from vordr.actors.supervisor import Supervisor
from vordr.model.errors import SupervisionError

_trees = itertools.count()


def start_tree(
    spec: SupervisorSpec,
    children: Sequence[ChildSpec],
    *,
    clock: Clock,
    effects: EffectPool | None = None,
    random: Callable[[], float] = _random.random,
    on_decision: Callable[[Decision], None] | None = None,
    on_fatal: Callable[[Reason], None] | None = None,
    on_tree_exit: Callable[[Reason], None] | None = None,
    history: Mapping[str, Sequence[float]] | None = None,
    name: str = "root",
) -> SupervisorRef:
    """Start a root supervisor and all its children; returns when all run.

    ``on_decision`` and ``on_fatal`` (at once, before anything is stopped) are called on supervisors' threads,
    ``on_tree_exit`` once on the root's, when everything below has ended, whatever the reason. None of them
    may block or call :func:`stop_tree`.
    Raises StartFailed when a child does not start (``__cause__`` is why); then nothing is left running, and
    ``on_tree_exit`` is not called.
    """
    services = Services(clock, effects, random, on_decision, on_fatal)
    handle = services.directory.handle((name,))

    def ended(exit: ActorExit) -> None:
        handle.detach()
        if on_tree_exit is not None:
            on_tree_exit(exit.reason)

    root = Supervisor(spec, children, history=history)
    handle.point_at(root)
    try:
        root.launch(StartContext((name,), handle, services, (next(_trees),), ended))
    except BaseException:
        handle.detach()
        raise
    return SupervisorRef(handle, services.directory, (name,))


def stop_tree(handle: Handle, timeout: float | None) -> bool:
    """Stop a supervisor with all its children, right to left, and wait up to ``timeout`` s of its clock.

    True: all has ended in time, or had before. False: the rest was abandoned and fenced. Raises
    SupervisionError on an actor's thread, which might wait for itself.
    """
    if current_actor() is not None:
        raise SupervisionError("an actor cannot stop a tree: it might wait for itself")
    root = handle.actor
    if root is None:
        return True
    root.stop(Shutdown())
    if root.wait_end(root.clock, timeout):
        return True
    root.kill()
    return False
