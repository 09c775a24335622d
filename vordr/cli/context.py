"""What every command shares: the root folder, the form of the output, and the way to the engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vordr.engine.protocol import Engine

Opener = Callable[[Path | None], "Engine"]


def _open_client(root: Path | None) -> Engine:
    from vordr.engine.opening import client_engine

    return client_engine(root)


class Session:
    """One run of the program, or one admin shell.

    ``root`` None means ``VORDR_ROOT``, else /var/lib/vordr. ``opener`` makes the engine when a command
    first asks for it; ``clock`` gives µs since the epoch. ``json`` and ``debug`` are set by the options.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        opener: Opener = _open_client,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.root = root
        self.json = False
        self.debug = False
        self.now_us = clock
        self._opener = opener
        self._engine: Engine | None = None

    @property
    def opened(self) -> bool:
        """Whether the engine is there already."""
        return self._engine is not None

    def engine(self) -> Engine:
        """The engine, opened at the first call. Raises what the opener raises."""
        if self._engine is None:
            self._engine = self._opener(self.root)
        return self._engine

    def close(self) -> None:
        """Let go of the engine. Containers go on."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def session(ctx: click.Context) -> Session:
    """The session behind a click context."""
    found = ctx.find_object(Session)
    if found is None:
        raise RuntimeError("the command runs outside vordr.cli.entry.run")
    return found


def engine(ctx: click.Context) -> Engine:
    """The engine behind a click context."""
    return session(ctx).engine()


def interactive() -> bool:
    """Whether a person can be asked: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()
