"""Finds calls that do not come back: each has a deadline, and one that passes it leaves all threads' stacks.

A deadlock then fails its test with the places where everybody stands, instead of hanging the suite.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

T = TypeVar("T")


class Watchdog:
    """Context of a test: :meth:`watching` blocks must end within ``seconds``.

    On the first that does not: the stacks of this process go into ``report``, then ``on_expiry`` is called,
    which makes the calls return (and may ask others for their stacks). Leaving the context fails the test.
    """

    def __init__(self, seconds: float, report: Path, on_expiry: Callable[[], object] = lambda: None) -> None:
        self.seconds = seconds
        self.report = report
        self.overdue: list[str] = []
        self._on_expiry = on_expiry
        self._lock = threading.Lock()
        self._under_way: dict[object, tuple[str, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.overdue:
            pytest.fail(f"no answer within {self.seconds:g} s: {self.overdue}\n{self.report.read_text()}")

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    @contextlib.contextmanager
    def watching(self, what: str) -> Iterator[None]:
        key = object()
        with self._lock:
            self._under_way[key] = (what, time.monotonic() + self.seconds)
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[key]

    def call(self, what: str, function: Callable[[], T]) -> T:
        with self.watching(what):
            return function()

    def _run(self) -> None:
        while not self._ended.wait(min(0.2, self.seconds / 4)):
            now = time.monotonic()
            with self._lock:
                self.overdue = [what for what, deadline in self._under_way.values() if deadline < now]
            if self.overdue:
                with self.report.open("w") as file:
                    faulthandler.dump_traceback(file, all_threads=True)
                self._on_expiry()
                return


def ask_for_stacks(pid: int, log: Path) -> str:
    """The stacks of all threads of a service, which writes them to its log on SIGUSR2."""
    before = log.stat().st_size
    os.kill(pid, signal.SIGUSR2)
    deadline = time.monotonic() + 5
    told = ""
    while time.monotonic() < deadline and "most recent call first" not in told:
        time.sleep(0.05)
        with log.open() as file:
            file.seek(before)
            told = file.read()
    return told
