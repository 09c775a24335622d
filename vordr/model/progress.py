"""What long work tells its caller: a phase in words, how much is done, and of how much when that is known."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def silent(phase: str, done: int, total: int | None) -> None:
    """A Progress that nobody listens to."""
