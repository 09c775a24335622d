"""The pipe on which conmon answers: one JSON object a line, and its end is the end of conmon."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any, Final

from vordr.model.errors import RuntimeFailed

_LONGEST_LINE: Final = 1 << 20


class LinePipe:
    """Both ends of a pipe: give ``writer`` to a child, close it here, then read lines with a deadline.

    The writer can read, too: so the pipe is whole for as long as the child has it, whether we live or not. A
    conmon to which it breaks goes (2.1.6, write_sync_fd), and leaves the container that it has just started
    without log, exit code, or anybody.
    """

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        try:
            self._writer = os.open(f"/proc/self/fd/{writer}", os.O_RDWR | os.O_CLOEXEC)
        except BaseException:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)
        self._writer_open = self._reader_open = True
        self._buffer = b""

    @property
    def writer(self) -> int:
        return self._writer

    def fileno(self) -> int:
        return self._reader

    @property
    def ready(self) -> bool:
        """Whether :meth:`line` would find something at once, if only the end."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        return b"\n" in self._buffer or bool(poll.poll(0))

    def line(self, timeout: float | None) -> dict[str, Any] | None:
        """The next object, None at the end. Raises TimeoutError after ``timeout`` seconds (None: never)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while b"\n" not in self._buffer:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if not poll.poll(rest):
                raise TimeoutError(f"no answer within {timeout:g} s")
            data = os.read(self._reader, 65536)
            if not data:
                return None
            self._buffer += data
            if len(self._buffer) > _LONGEST_LINE:
                raise RuntimeFailed("conmon sent a line without end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return self._parse(line)

    @staticmethod
    def _parse(line: bytes) -> dict[str, Any]:
        try:
            # Not strict: conmon leaves 0x1f as it is inside a string.
            value = json.loads(line.decode(errors="replace"), strict=False)
            int(value["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise RuntimeFailed(f"conmon sent {line[:200]!r}") from error
        return dict(value)

    def close_writer(self) -> None:
        if self._writer_open:
            self._writer_open = False
            os.close(self._writer)

    def close(self) -> None:
        """Close both ends; idempotent."""
        self.close_writer()
        if self._reader_open:
            self._reader_open = False
            os.close(self._reader)
