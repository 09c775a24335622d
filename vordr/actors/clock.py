"""Time, injected: the system's clock, and a virtual one for tests (design §5).

Everything under ``actors`` that waits, delays or stamps takes a :class:`Clock`. Monotonic times order
events inside one process and measure restart windows; wall times are for records.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger("vordr.actors")


class Timer:
    """One pending call. :meth:`cancel` is idempotent and may come from any thread, the callback included."""

    __slots__ = ("_due", "_fn", "_number")

    def __init__(self, due: float, number: int, fn: Callable[[], None] | None) -> None:
        self._due = due
        self._number = number
        self._fn = fn

    def __lt__(self, other: Timer) -> bool:
        return (self._due, self._number) < (other._due, other._number)

    @property
    def due(self) -> float:
        """Monotonic seconds at which it runs."""
        return self._due

    @property
    def live(self) -> bool:
        return self._fn is not None

    def cancel(self) -> None:
        self._fn = None

    def run(self) -> None:
        """Run the callback once, if not cancelled. A callback that raises is logged: timers outlive it."""
        fn, self._fn = self._fn, None
        if fn is None:
            return
        try:
            fn()
        except Exception:  # noqa: BLE001 - the timer thread is shared; one bad callback must not end it
            _log.exception("a timer's callback failed")


class Clock(Protocol):
    """What actors know of time."""

    def now_us(self) -> int:
        """Wall time: microseconds since the Unix epoch, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""

    def call_later(self, delay_s: float, fn: Callable[[], None]) -> Timer:
        """Run ``fn`` once after ``delay_s`` seconds, on a thread of the clock's. ``fn`` must be short."""

    def close(self) -> None:
        """Forget every pending call; later ones never run."""


class SystemClock:
    """The machine's clock. All pending calls share one daemon thread, started with the first of them."""

    _SWEEP = 256

    def __init__(self) -> None:
        self._cond = threading.Condition()
        self._heap: list[Timer] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay_s: float, fn: Callable[[], None]) -> Timer:
        with self._cond:
            timer = Timer(time.monotonic() + max(0.0, delay_s), next(self._numbers), fn)
            if self._closed:
                timer.cancel()
                return timer
            if len(self._heap) >= self._SWEEP and sum(t.live for t in self._heap) * 2 < len(self._heap):
                self._heap = [t for t in self._heap if t.live]  # cancelled long waits would pile up
                heapq.heapify(self._heap)
            heapq.heappush(self._heap, timer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vordr-timers", daemon=True)
                self._thread.start()
            if self._heap[0] is timer:
                self._cond.notify()
        return timer

    def close(self) -> None:
        with self._cond:
            self._closed = True
            self._heap.clear()
            self._cond.notify()

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            timer.run()

    def _next(self) -> Timer | None:
        with self._cond:
            while not self._closed:
                if not self._heap:
                    self._cond.wait()
                    continue
                wait = self._heap[0].due - time.monotonic()
                if wait <= 0 or not self._heap[0].live:
                    return heapq.heappop(self._heap)
                self._cond.wait(min(wait, threading.TIMEOUT_MAX))
        return None


class VirtualClock:
    """A clock that stands still until :meth:`advance`. Callbacks run in due order on the caller's thread."""

    def __init__(self, wall_us: int = 1_700_000_000_000_000) -> None:
        self._cond = threading.Condition()
        self._heap: list[Timer] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._wall_us = wall_us
        self._closed = False

    def now_us(self) -> int:
        with self._cond:
            return self._wall_us + round(self._now * 1e6)

    def monotonic(self) -> float:
        with self._cond:
            return self._now

    def call_later(self, delay_s: float, fn: Callable[[], None]) -> Timer:
        with self._cond:
            timer = Timer(self._now + max(0.0, delay_s), next(self._numbers), fn)
            if self._closed:
                timer.cancel()
                return timer
            heapq.heappush(self._heap, timer)
            self._cond.notify_all()
        return timer

    def close(self) -> None:
        with self._cond:
            self._closed = True
            self._heap.clear()

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``; calls that fall due on the way run now, each at its own time."""
        with self._cond:
            target = self._now + seconds
        while True:
            with self._cond:
                if not self._heap or self._heap[0].due > target:
                    self._now = max(self._now, target)
                    return
                timer = heapq.heappop(self._heap)
                self._now = max(self._now, timer.due)
            timer.run()

    def delays(self) -> list[float]:
        """Seconds until each pending call, soonest first."""
        with self._cond:
            return sorted(timer.due - self._now for timer in self._heap if timer.live)

    def wait_for_timer(self, delay: float, timeout: float = 10.0) -> None:
        """Block (real time) until some thread has a call pending ``delay`` seconds from now.

        This is how a test knows that the thread under test has begun to wait. Raises TimeoutError.
        """
        deadline = time.monotonic() + timeout
        with self._cond:
            while not any(t.live and abs(t.due - self._now - delay) < 1e-9 for t in self._heap):
                left = deadline - time.monotonic()
                if left <= 0:
                    pending = [timer.due - self._now for timer in self._heap if timer.live]
                    raise TimeoutError(f"no call pending in {delay} s; pending: {pending}")
                self._cond.wait(left)


class Signal:
    """Something that happens once. Waiting is bounded by an injected clock, so a virtual one can end it."""

    __slots__ = ("_cond", "_fired")

    def __init__(self) -> None:
        self._cond = threading.Condition(threading.Lock())
        self._fired = False

    @property
    def fired(self) -> bool:
        return self._fired

    def fire(self) -> None:
        with self._cond:
            self._fired = True
            self._cond.notify_all()

    def wait(self, clock: Clock, timeout: float | None) -> bool:
        """Block until fired (True) or until ``timeout`` seconds of ``clock`` passed (False; None: never)."""
        if self._fired or (timeout is not None and timeout <= 0):
            return self._fired
        expired = False

        def expire() -> None:
            nonlocal expired
            with self._cond:
                expired = True
                self._cond.notify_all()

        timer = None if timeout is None else clock.call_later(timeout, expire)
        with self._cond:
            while not self._fired and not expired:
                self._cond.wait()
        if timer is not None:
            timer.cancel()
        return self._fired
