"""Reading conmon's log file (k8s-file: CRI's ``<time> <stream> <P|F> <text>``, one record a line).

``P`` marks a piece of a line that goes on in the next record of the same stream: output without a newline for
8 KiB, or flushed without one. Following waits on inotify, and ends by a :class:`LogStop`, never by a timer.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.formats.errors import FormatError
from vordr.formats.times import parse_rfc3339
from vordr.runtime.inotify import IN_CLOSE_WRITE, IN_MODIFY, IN_MOVED_TO, Inotify

_BLOCK: Final = 65536
_STREAMS: Final = {b"stdout": "stdout", b"stderr": "stderr"}


@dataclass(frozen=True)
class LogLine:
    """One record: time in µs, ``stdout`` or ``stderr``, the bytes without newline; ``partial``: goes on."""

    time_us: int
    stream: str
    text: bytes
    partial: bool


class LogStop:
    """Ends a following reader once it has read what is there. Close it after the reader has ended."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """No more output is to come: read to the end of the file and stop."""
        os.eventfd_write(self._descriptor, 1)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)


def read_log(
    path: Path, *, tail: int | None = None, since_us: int | None = None, follow: LogStop | None = None
) -> Iterator[LogLine]:
    """The records of a log: the last ``tail`` lines (None: all) not older than ``since_us``.

    With ``follow`` it goes on as records are written, until that is set. No log is an empty log. Lines that
    are not records (a write cut short by a crash) are left out. Raises OSError when the file cannot be read.
    """
    stack = contextlib.ExitStack()
    with stack:
        watch: Inotify | None = None
        if follow is not None:
            watch = stack.enter_context(contextlib.closing(Inotify()))
            with contextlib.suppress(FileNotFoundError):
                watch.watch(path.parent, IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        stack.callback(os.close, descriptor)
        start = 0 if tail is None else tail_offset(descriptor, tail)
        for line in _lines(path, descriptor, start, watch, follow):
            record = parse_line(line)
            if record is not None and (since_us is None or record.time_us >= since_us):
                yield record


def parse_line(line: bytes) -> LogLine | None:
    """One record without its newline; None when it is not one."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in _STREAMS or parts[2][:1] not in (b"F", b"P"):
        return None
    try:
        time_us = parse_rfc3339(parts[0].decode("ascii"))
    except (FormatError, UnicodeDecodeError):
        return None
    return LogLine(time_us, _STREAMS[parts[1]], parts[3], parts[2][:1] == b"P")


def _lines(
    path: Path, descriptor: int, start: int, watch: Inotify | None, follow: LogStop | None
) -> Iterator[bytes]:
    """Whole lines from ``start`` on; at the end wait for more while ``follow`` is not set.

    When conmon has begun a new file in the log's place (its size limit), that one is read on.
    """
    os.lseek(descriptor, start, os.SEEK_SET)
    rest = b""
    ending = follow is None or watch is None
    while True:
        data = os.read(descriptor, _BLOCK)
        if data:
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
        elif _replaced(path, descriptor):
            rest = b""
        elif ending:
            return
        elif watch is not None and follow is not None:
            ending = _wait(watch, follow)


def _replaced(path: Path, descriptor: int) -> bool:
    """Point ``descriptor`` at the file that is now at ``path``, if that is another one; whether it is."""
    with contextlib.suppress(FileNotFoundError):
        fresh = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.path.sameopenfile(fresh, descriptor):
                return False
            os.dup2(fresh, descriptor, inheritable=False)
            return True
        finally:
            os.close(fresh)
    return False


def _wait(watch: Inotify, follow: LogStop) -> bool:
    """Wait for a write or the stop; True for the stop, after which what is left is still read."""
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    poll.register(follow.fileno(), select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    if watch.fileno() in ready:
        for _ in watch.events():
            pass
    return follow.fileno() in ready


def tail_offset(descriptor: int, lines: int) -> int:
    """Where the last ``lines`` lines begin, read backwards in blocks; pieces (P) count with their line's end.

    A record that is the end of a line is told by its tag, so a line in pieces counts once.
    """
    end = os.fstat(descriptor).st_size
    if lines <= 0:
        return end
    position, carried, needed = end, b"", lines + 1
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        block = os.pread(descriptor, size, position) + carried
        first = 0 if position == 0 else block.find(b"\n") + 1
        if position > 0 and first == 0:
            carried = block
            continue
        found = _nth_ending(block[first:], needed)
        if isinstance(found, int):
            return position + first + found
        needed -= found[0]
        carried = block[:first]
    return 0


def _nth_ending(block: bytes, needed: int) -> int | tuple[int]:
    """Offset just behind the ``needed``-th line ending from the end of ``block``, or how many it has."""
    count, stop = 0, len(block)
    while stop > 0:
        start = block.rfind(b"\n", 0, stop - 1) + 1
        if _ends_line(block[start:stop]):
            count += 1
            if count == needed:
                return stop
        stop = start
    return (count,)


def _ends_line(record: bytes) -> bool:
    parts = record.split(b" ", 3)
    return len(parts) == 4 and parts[2][:1] == b"F"
