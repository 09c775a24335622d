"""What a supervisor decides, as pure functions of values: no clock, no thread, no chance of their own.

Source: supervisor.erl of Erlang/OTP (``add_restart``, ``do_restart``, ``restart``, ``do_auto_shutdown``); OTP
Design Principles, "Supervisor Behaviour", sections Restart Strategy, Maximum Restart Intensity, Automatic
Shutdown. Backoff with jitter is not OTP's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from vordr.actors.childspec import AutoShutdown, Backoff, Restart, Strategy
from vordr.actors.reasons import Fatal, Reason, is_abnormal


class After(Enum):
    """What the end of a child means: restart it, leave it ended, or end the whole tree."""

    RESTART = "restart"
    LEAVE = "leave"
    FATAL = "fatal"


def after_exit(restart: Restart, fatal: bool, reason: Reason) -> After:
    """OTP's table {normal, shutdown, abnormal} × {permanent, transient, temporary}, and fatal before it."""
    if isinstance(reason, Fatal) or (fatal and is_abnormal(reason)):
        return After.FATAL
    match restart:
        case Restart.PERMANENT:
            return After.RESTART
        case Restart.TRANSIENT if is_abnormal(reason):
            return After.RESTART
        case _:
            return After.LEAVE


def admit(
    times: Sequence[float], now: float, intensity: int, period: float
) -> tuple[bool, tuple[float, ...]]:
    """Whether a restart at ``now`` keeps within ``intensity`` restarts in any closed window of ``period`` s.

    ``times`` are earlier restarts, oldest first, none after ``now``. Gives the verdict and the times still
    inside the window, with ``now`` when admitted.
    """
    recent = tuple(time for time in times if time + period >= now)
    if len(recent) >= intensity:
        return False, recent
    return True, (*recent, now)


def affected(strategy: Strategy, order: Sequence[str], failed: str) -> tuple[str, ...]:
    """The children to (re)start after ``failed`` ended, itself included, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (failed,)
        case Strategy.ONE_FOR_ALL:
            return tuple(order)
        case Strategy.REST_FOR_ONE:
            return tuple(order[order.index(failed):])


def delay(backoff: Backoff, attempt: int, chance: float) -> float:
    """Seconds before the ``attempt``-th restart (from 1) in the window; ``chance`` in [0, 1) is the jitter's.

    Never above ``backoff.max``, never below (1 - jitter) of the wait without jitter.
    """
    if backoff.initial == 0:
        return 0.0
    wait = backoff.initial
    for _ in range(attempt - 1):  # by steps: factor ** attempt overflows long before the cap is of use
        if wait >= backoff.max:
            break
        wait *= backoff.factor
    return min(wait, backoff.max) * (1.0 - backoff.jitter * chance)


def auto_shutdown_due(mode: AutoShutdown, significant: bool, others: Iterable[bool]) -> bool:
    """Whether a child that ended by itself for good takes the supervisor with it.

    ``others``: for each remaining significant child, whether it still runs or will again.
    """
    if not significant:
        return False
    match mode:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return True
        case AutoShutdown.ALL_SIGNIFICANT:
            return not any(others)


def to_monotonic(wall: Iterable[float], now_wall: float, now: float) -> tuple[float, ...]:
    """Journalled wall-clock seconds as monotonic ones, oldest first.

    A time in the future (the wall clock went back) counts as now: the stricter reading.
    """
    return tuple(sorted(now - max(0.0, now_wall - time) for time in wall))
