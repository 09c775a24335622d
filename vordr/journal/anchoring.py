"""Keeps the signed head on disk behind the commits, on a thread of its own.

Commits do not wait for it: an acknowledged record is durable in the database, and the head follows at once.
Writing one costs the disk as much as a commit, so where commits keep coming, a head covers those of
:data:`INTERVAL` (docs/decisions/0025).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vordr.formats.errors import FormatError
from vordr.journal import head as heads
from vordr.model.errors import JournalStopped

INTERVAL: Final = 0.005
"""Seconds from the end of one head's writing to the next, unless somebody waits for it."""


class Anchoring:
    """Writes the newest head it was told of. ``size`` and ``note`` are what stands on disk."""

    def __init__(self, path: Path, signer: heads.Signer, size: int, note: str) -> None:
        self._path = path
        self._signer = signer
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._hurry = threading.Condition(self._lock)
        self._on_disk = size, note
        self._asked = size
        self._wanted: Callable[[], heads.Head] | None = None
        self._waiting = 0
        self._written = float("-inf")
        self._failure: str | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="vordr-journal-head", daemon=True)
        self._thread.start()

    @property
    def on_disk(self) -> tuple[int, str]:
        """How many records the head on disk covers, and its text."""
        return self._on_disk

    def request(self, size: int, head: Callable[[], heads.Head]) -> None:
        """Have ``head``, of ``size`` records, written soon, if none as large was asked for; an older one that
        waits is dropped.

        :raises JournalStopped: an earlier head could not be written.
        """
        with self._lock:
            self._check()
            if size > self._asked:
                idle = self._wanted is None
                self._wanted, self._asked = head, size
                if idle:
                    self._changed.notify_all()

    def wait(self, size: int) -> None:
        """Wait until the head on disk covers ``size`` records, which must have been requested.

        :raises JournalStopped: it could not be written.
        """
        with self._lock:
            self._waiting += 1
            self._hurry.notify_all()
            try:
                self._changed.wait_for(lambda: self._on_disk[0] >= size or self._failure is not None)
            finally:
                self._waiting -= 1
            self._check()

    @property
    def failure(self) -> str | None:
        """Why a head could not be written: nothing written later would be anchored. None while they can."""
        with self._lock:
            return self._failure

    def close(self) -> None:
        """Write what still waits, and end the thread. Says nothing of failures: :meth:`wait` does."""
        with self._lock:
            self._closing = True
            self._changed.notify_all()
            self._hurry.notify_all()
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise JournalStopped(self._failure)

    def _run(self) -> None:
        while (make := self._next()) is not None:
            failure = None
            try:
                head = make()
                text = self._signer.sign(head)
                heads.write(self._path, text)
            except (OSError, FormatError) as error:
                failure = f"the journal's head {self._path} cannot be written: {error}"
            with self._lock:
                if failure is None:
                    self._on_disk = head.size, text
                self._failure = failure
                self._written = time.monotonic()
                self._changed.notify_all()

    def _next(self) -> Callable[[], heads.Head] | None:
        """The newest head, when it is wanted and due; None when there is nothing more to write."""
        with self._lock:
            self._changed.wait_for(
                lambda: self._wanted is not None or self._closing or self._failure is not None)
            due = self._written + INTERVAL - time.monotonic()
            self._hurry.wait_for(lambda: self._closing or self._waiting > 0, timeout=max(0.0, due))
            make, self._wanted = self._wanted, None
            return make if self._failure is None else None
