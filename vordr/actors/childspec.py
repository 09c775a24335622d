"""What a supervisor is told: child specifications, its own flags, and the decisions it reports.

Names and defaults are those of Erlang/OTP (OTP Design Principles, "Supervisor Behaviour"; supervisor(3):
``child_spec``, ``sup_flags``; EEP 56 for significant children). Beyond OTP: backoff, parking, start timeouts,
fatal children. A faulty specification cannot be constructed: it raises SupervisionError naming the fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from vordr.actors.reasons import Reason
from vordr.model.errors import SupervisionError

if TYPE_CHECKING:
    from vordr.actors.actor import Actor
    from vordr.actors.context import StartContext


class Restart(StrEnum):
    """PERMANENT: after any end. TRANSIENT: after an abnormal one. TEMPORARY: never, and then forgotten."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class ChildType(StrEnum):
    WORKER = "worker"
    SUPERVISOR = "supervisor"


class Strategy(StrEnum):
    """Who is restarted with a failed child: nobody, all its siblings, or those started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(StrEnum):
    """Whether the supervisor ends itself when a significant child, or the last of them, ended by itself."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class OnExceed(StrEnum):
    """What too many restarts lead to: the end of the supervisor, or rest for that one child."""

    ESCALATE = "escalate"
    PARK = "park"


class Patience(Enum):
    """INFINITY: wait for ever. BRUTAL: do not wait at all (OTP's ``brutal_kill``)."""

    INFINITY = "infinity"
    BRUTAL = "brutal_kill"


INFINITY: Final = Patience.INFINITY
BRUTAL: Final = Patience.BRUTAL


class Status(StrEnum):
    """RESTARTING: waits for its next start. PARKED: failed too often, waits for ``wake``."""

    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    PARKED = "parked"


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise SupervisionError(f"faulty specification: {what}")


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


@dataclass(frozen=True)
class Backoff:
    """Wait ``initial · factor^(n-1)`` s, at most ``max``, before the n-th restart in a row; 0 is at once.

    ``jitter`` (0…1) is the share of the wait that chance may take away, so that failures of many part.
    """

    initial: float = 0.0
    factor: float = 2.0
    max: float = 30.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        _check(_is_seconds(self.initial) and _is_seconds(self.max), "backoff times are seconds ≥ 0")
        _check(self.factor >= 1, f"backoff factor {self.factor} is below 1")
        _check(0 <= self.jitter <= 1, f"backoff jitter {self.jitter} is not in 0…1")


@dataclass(frozen=True)
class ChildSpec:
    """One child. ``start`` builds its actor and does not start it; it runs on the supervisor's thread.

    ``shutdown`` and ``start_timeout`` are seconds, or INFINITY; ``shutdown`` may be BRUTAL. Left out, they
    are 5 and 60 for a worker and INFINITY for a supervisor, whose own children are bounded. A child that
    does not keep them is abandoned and fenced. ``fatal``: its failure is never mended by a restart, it ends
    the whole tree.
    """

    id: str
    start: Callable[[StartContext], Actor]
    restart: Restart = Restart.PERMANENT
    shutdown: float | Patience | None = None
    type: ChildType = ChildType.WORKER
    significant: bool = False
    start_timeout: float | Patience | None = None
    fatal: bool = False

    def __post_init__(self) -> None:
        _check(isinstance(self.id, str) and bool(self.id), "a child needs an id")
        _check(callable(self.start), f"{self.id}: start is not callable")
        _check(isinstance(self.restart, Restart), f"{self.id}: restart {self.restart!r}")
        _check(isinstance(self.type, ChildType), f"{self.id}: type {self.type!r}")
        _check(isinstance(self.significant, bool), f"{self.id}: significant {self.significant!r}")
        _check(
            not (self.significant and self.restart is Restart.PERMANENT),
            f"{self.id}: a permanent child cannot be significant, it never ends by itself",
        )
        worker = self.type is ChildType.WORKER
        if self.shutdown is None:
            object.__setattr__(self, "shutdown", 5.0 if worker else INFINITY)
        if self.start_timeout is None:
            object.__setattr__(self, "start_timeout", 60.0 if worker else INFINITY)
        _check(
            isinstance(self.shutdown, Patience) or _is_seconds(self.shutdown),
            f"{self.id}: shutdown {self.shutdown!r}",
        )
        _check(
            self.start_timeout is INFINITY or _is_seconds(self.start_timeout),
            f"{self.id}: start_timeout {self.start_timeout!r}",
        )


@dataclass(frozen=True)
class SupervisorSpec:
    """A supervisor's flags: at most ``intensity`` restarts in any ``period`` seconds, then ``on_exceed``.

    Under ESCALATE the restarts of all children count together, as in OTP; under PARK each child's alone
    (one_for_one only: elsewhere siblings depend on the parked one). ``dynamic`` is for many independent
    children that come and go (OTP's simple_one_for_one): they are stopped all at once, in no order.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    backoff: Backoff = Backoff()
    on_exceed: OnExceed = OnExceed.ESCALATE
    dynamic: bool = False

    def __post_init__(self) -> None:
        _check(isinstance(self.strategy, Strategy), f"strategy {self.strategy!r}")
        _check(
            isinstance(self.intensity, int) and not isinstance(self.intensity, bool) and self.intensity >= 0,
            f"intensity {self.intensity!r}",
        )
        _check(_is_seconds(self.period) and self.period > 0, f"period {self.period!r}")
        _check(isinstance(self.auto_shutdown, AutoShutdown), f"auto_shutdown {self.auto_shutdown!r}")
        _check(isinstance(self.on_exceed, OnExceed), f"on_exceed {self.on_exceed!r}")
        alone = self.strategy is Strategy.ONE_FOR_ONE
        _check(alone or self.on_exceed is OnExceed.ESCALATE, "only one_for_one can park a child")
        _check(alone or not self.dynamic, "only one_for_one can be dynamic")
        never = self.auto_shutdown is AutoShutdown.NEVER
        _check(never or not self.dynamic, "auto_shutdown means nothing where children come and go")


def check_children(spec: SupervisorSpec, children: Sequence[ChildSpec]) -> None:
    """Raise SupervisionError unless these children may stand together under these flags."""
    seen: set[str] = set()
    for child in children:
        _check(isinstance(child, ChildSpec), f"{child!r} is no child specification")
        _check(child.id not in seen, f"two children are called {child.id}")
        _check(
            not (child.significant and spec.auto_shutdown is AutoShutdown.NEVER),
            f"{child.id}: significant means nothing under auto_shutdown never",
        )
        seen.add(child.id)


class Action(StrEnum):
    """What a supervisor did about an end: ABANDONED a thread that would not end, or one of the rest."""

    RESTART = "restart"
    PARK = "park"
    ESCALATE = "escalate"
    GIVE_UP = "give_up"
    ABANDONED = "abandoned"
    FATAL = "fatal"


@dataclass(frozen=True)
class Decision:
    """One decision, for the journal. ``time`` is wall time in µs; ``time / 1e6`` seeds ``history`` later.

    ``count`` is the restarts inside the window, this one included; ``delay`` the seconds until the start.
    GIVE_UP is the abnormal end of a child that is not to be restarted.
    """

    supervisor: str
    child: str
    incarnation: int
    reason: Reason
    action: Action
    count: int
    time: int
    delay: float = 0.0
