"""Why an actor ended, and the notice of it that its supervisor gets.

The reasons are OTP's: *normal*, *shutdown* (also ``{shutdown, Term}``), *killed*, and anything else is a
crash (Erlang reference manual, "Processes", exit reasons; supervisor(3)).
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Normal:
    """Its work was done."""

    def __str__(self) -> str:
        return "normal"


@dataclass(frozen=True)
class Shutdown:
    """It was asked to stop, or stopped its subtree on purpose; ``detail`` says why where not plain."""

    detail: str = ""

    def __str__(self) -> str:
        return f"shutdown: {self.detail}" if self.detail else "shutdown"


@dataclass(frozen=True)
class Crashed:
    """Something was raised that its code did not answer for. ``traceback`` is the formatted text."""

    exception: BaseException
    traceback: str = field(repr=False, default="")

    @classmethod
    def of(cls, exception: BaseException) -> Crashed:
        return cls(exception, "".join(traceback.format_exception(exception)))

    def __str__(self) -> str:
        return f"{type(self.exception).__name__}: {self.exception}"


@dataclass(frozen=True)
class Killed:
    """Its thread was abandoned: it did not end in time, or was to be stopped without ceremony."""

    def __str__(self) -> str:
        return "killed"


@dataclass(frozen=True)
class Fatal:
    """A child whose failure ends the process (the journal) failed; passes through every supervisor above."""

    child_id: str
    cause: Normal | Shutdown | Crashed | Killed

    def __str__(self) -> str:
        return f"{self.child_id} failed for good: {self.cause}"


Reason: TypeAlias = Normal | Shutdown | Crashed | Killed | Fatal


def is_abnormal(reason: Reason) -> bool:
    """True for an end that OTP restarts a transient child after."""
    return not isinstance(reason, Normal | Shutdown)


@dataclass(frozen=True)
class ActorExit:
    """Told to the parent exactly once in an actor's life, after its last callback returned."""

    child_id: str
    incarnation: int
    reason: Reason
