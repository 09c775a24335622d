"""What follows when a process ended by itself: pure (docker's restart policies, with its backoff)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vordr.model.spec import RestartMode
from vordr.model.state import ContainerState

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 60.0
# A process that ran this long was well: the next failure starts again at the first delay.
WELL_AFTER_US: Final = 10_000_000


class Sequel(StrEnum):
    NOTHING = "nothing"
    RESTART = "restart"
    REMOVE = "remove"


@dataclass(frozen=True)
class Decision:
    """``delay`` in seconds until the restart; ``reason`` for the journal and the log."""

    sequel: Sequel
    delay: float = 0.0
    reason: str = ""


def after_exit(container: ContainerState) -> Decision:
    """What to do about ``container``, whose process has ended (state stopped).

    An end that was asked for has no sequel: who asked for it planned what follows.
    """
    spec = container.spec
    if container.asked_to_stop:
        return Decision(Sequel.NOTHING)
    if spec.auto_remove:
        return Decision(Sequel.REMOVE, reason="--rm")
    policy = spec.restart
    if policy.mode is RestartMode.NO:
        return Decision(Sequel.NOTHING)
    if policy.mode is RestartMode.ON_FAILURE:
        if container.exit_code == 0:
            return Decision(Sequel.NOTHING, reason="ended well")
        if policy.retries and container.restarts >= policy.retries:
            return Decision(Sequel.NOTHING, reason=f"gave up after {container.restarts} restarts")
    return Decision(Sequel.RESTART, delay(container), f"restart policy {policy}")


def delay(container: ContainerState) -> float:
    """Seconds to wait before the next restart: doubling from 0.1 to 60, from the start when it ran well."""
    ran = (container.finished or 0) - (container.started or 0)
    failures = 0 if ran >= WELL_AFTER_US else container.restarts
    return float(min(FIRST_DELAY * 2 ** min(failures, 16), LONGEST_DELAY))
