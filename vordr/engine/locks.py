"""Locks of the engine: one that many share or one has alone, and one by key."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator


class SharedLock:
    """Whoever waits to have it alone goes before those who would share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._waiting = 0
        self._alone = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it beside others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """Hold it with nobody beside; TimeoutError when that is not to be had in ``patience`` seconds."""
        with self._changed:
            self._waiting += 1
            try:
                if not self._changed.wait_for(lambda: not self._alone and not self._sharing, patience):
                    raise TimeoutError
                self._alone = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


class KeyedLock:
    """Whoever holds a key holds it alone; several keys are had at once or not at all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextlib.contextmanager
    def held(self, keys: Iterable[str], patience: float) -> Iterator[None]:
        """Hold ``keys``; TimeoutError when they are not to be had in ``patience`` seconds."""
        mine = frozenset(keys)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._held & mine, patience):
                raise TimeoutError
            self._held |= mine
        try:
            yield
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()
