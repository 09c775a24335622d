"""The shared, bounded pool where effects run, so that no actor ever waits for a process (design §5)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vordr.model.errors import ActorDead, InboxFull

_log = logging.getLogger("vordr.actors")


@dataclass(frozen=True)
class Outcome:
    """How an effect ended: ``error`` is None exactly when it returned ``value``."""

    value: Any = None
    error: BaseException | None = None

    def unwrap(self) -> Any:
        """The value, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.value


Done = Callable[[Any, BaseException | None], None]


class EffectPool:
    """At most ``max_workers`` daemon threads, started when needed, and ``queue_size`` effects waiting."""

    def __init__(self, max_workers: int, queue_size: int = 1024) -> None:
        self._max_workers = max_workers
        self._queue_size = queue_size
        self._cond = threading.Condition()
        self._queue: deque[tuple[Callable[[], Any], Done]] = deque()
        self._workers = 0
        self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[..., Any], *args: Any, on_done: Done) -> None:
        """Run ``fn(*args)`` soon; then ``on_done(result, None)`` or ``on_done(None, error)`` on that thread.

        Raises InboxFull when too many wait already, ActorDead after :meth:`close`.
        """
        with self._cond:
            if self._closed:
                raise ActorDead("the effect pool is closed")
            if len(self._queue) >= self._queue_size:
                raise InboxFull(f"{self._queue_size} effects wait already")
            self._queue.append((lambda: fn(*args), on_done))
            if self._idle < len(self._queue) and self._workers < self._max_workers:
                self._workers += 1
                threading.Thread(target=self._work, name=f"vordr-effect-{self._workers}", daemon=True).start()
            self._cond.notify()

    def close(self, timeout: float) -> bool:
        """Refuse new effects, fail waiting ones with ActorDead, wait up to ``timeout`` s for running ones.

        True when all have ended; False leaves the rest running on their daemon threads.
        """
        with self._cond:
            self._closed = True
            dropped = list(self._queue)
            self._queue.clear()
            self._cond.notify_all()
        for _, on_done in dropped:
            _finish(on_done, None, ActorDead("the effect pool was closed before the effect began"))
        deadline = time.monotonic() + timeout
        with self._cond:
            return self._cond.wait_for(lambda: self._workers == 0, max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            call, on_done = job
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - an effect's end, any end, is its actor's to judge
                _finish(on_done, None, error)
            else:
                _finish(on_done, result, None)

    def _next(self) -> tuple[Callable[[], Any], Done] | None:
        with self._cond:
            self._idle += 1
            while not self._queue and not self._closed:
                self._cond.wait()
            self._idle -= 1
            if self._queue:
                return self._queue.popleft()
            self._workers -= 1
            self._cond.notify_all()
            return None


def _finish(on_done: Done, result: Any, error: BaseException | None) -> None:
    try:
        on_done(result, error)
    except Exception:  # noqa: BLE001 - the worker serves other actors too
        _log.exception("the end of an effect could not be delivered")
