"""Keeps the signed head on disk behind the commits, on a thread of its own.

Commits do not wait for it: an acknowledged record is durable in the database, and the head follows within one
fsync. Where commits come faster than heads can be written, one head covers several.
"""

from __future__ import annotations

import threading
from pathlib import Path

from vordr.formats.errors import FormatError
from vordr.journal import head as heads
from vordr.model.errors import JournalStopped


class Anchoring:
    """Writes the newest head it was told of. ``size`` and ``note`` are what stands on disk."""

    def __init__(self, path: Path, signer: heads.Signer, size: int, note: str) -> None:
        self._path = path
        self._signer = signer
        self._changed = threading.Condition()
        self._on_disk = size, note
        self._asked = size
        self._wanted: heads.Head | None = None
        self._failure: str | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="vordr-journal-head", daemon=True)
        self._thread.start()

    @property
    def on_disk(self) -> tuple[int, str]:
        """How many records the head on disk covers, and its text."""
        return self._on_disk

    def request(self, head: heads.Head) -> None:
        """Have ``head`` written soon, if none as large was asked for; an older one that waits is dropped.

        :raises JournalStopped: an earlier head could not be written.
        """
        with self._changed:
            self._check()
            if head.size > self._asked:
                self._wanted, self._asked = head, head.size
                self._changed.notify_all()

    def wait(self, size: int) -> None:
        """Wait until the head on disk covers ``size`` records, which must have been requested.

        :raises JournalStopped: it could not be written.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._on_disk[0] >= size or self._failure is not None)
            self._check()

    @property
    def failure(self) -> str | None:
        """Why a head could not be written: nothing written later would be anchored. None while they can."""
        with self._changed:
            return self._failure

    def close(self) -> None:
        """Write what still waits, and end the thread. Says nothing of failures: :meth:`wait` does."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise JournalStopped(self._failure)

    def _run(self) -> None:
        while (head := self._next()) is not None:
            failure = None
            try:
                text = self._signer.sign(head)
                heads.write(self._path, text)
            except (OSError, FormatError) as error:
                failure = f"the journal's head {self._path} cannot be written: {error}"
            with self._changed:
                if failure is None:
                    self._on_disk = head.size, text
                self._failure = failure
                self._changed.notify_all()

    def _next(self) -> heads.Head | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._wanted is not None or self._closing or self._failure is not None
            )
            head, self._wanted = self._wanted, None
            return head if self._failure is None else None
