"""How containers end: the exit files that conmon leaves, watched without polling.

conmon writes ``<exits>/<container id>`` (a temporary file, then a rename) with the exit code in decimal when
the process ended: the code itself, or 128+n for a death by signal n (conmon ctr_exit.c, get_exit_status). The
file stays until :meth:`ExitWatcher.take`, so an exit while no service ran is not missed. A conmon that is
itself killed leaves no file; its pidfd tells, and then that of the process: its code is unknown.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.model.errors import StateError
from vordr.runtime.cgroups import container_group
from vordr.runtime.identifiers import CONTAINER_ID, check_id
from vordr.runtime.inotify import IN_DELETE_SELF, IN_MOVE_SELF, IN_MOVED_TO, Inotify

_Stamp = tuple[int, int]
_READABLE: Final = select.EPOLLIN


@dataclass(frozen=True)
class ExitNotice:
    """A process ended: exit code (128+n for signal n, None unknown), time in µs since the epoch."""

    container: str
    code: int | None
    time_us: int


class ExitWatcher:
    """A daemon thread that calls ``on_exit`` once for each exit, those of before the start first.

    ``on_exit`` runs in that thread and should only pass the notice on. When it raises, the notice stays open
    and comes again with :meth:`rescan`.
    """

    def __init__(self, exits: Path, on_exit: Callable[[ExitNotice], None]) -> None:
        self._exits = exits
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self._seen: dict[str, _Stamp] = {}
        self._conmons: dict[int, str] = {}
        self._told: set[int] = set()
        self._gone: list[str] = []
        self._unsaid: list[ExitNotice] = []
        self._stopping = self._scan_wanted = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._inotify = Inotify()
        self._thread = threading.Thread(target=self._loop, name="exit-watcher", daemon=True)

    def start(self) -> None:
        """Watch, then scan: what appears in between is seen twice and told once. Raises OSError."""
        self._exits.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._inotify.watch(self._exits, IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)
        self._epoll.register(self._inotify.fileno(), _READABLE)
        self._epoll.register(self._wake, _READABLE)
        self._thread.start()
        self.rescan()

    def stop(self) -> None:
        """End the thread; returns when it is gone. Exit files stay where they are."""
        with self._lock:
            self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for descriptor in self._conmons:
            os.close(descriptor)
        self._conmons.clear()
        self._inotify.close()
        self._epoll.close()
        os.close(self._wake)

    def rescan(self) -> None:
        """Look at all exit files again, in the thread."""
        with self._lock:
            self._scan_wanted = True
        os.eventfd_write(self._wake, 1)

    def adopt(self, container: str, keeper: int) -> None:
        """Also tell when this process ends without an exit file: code None. It is the container's conmon, or,
        where that was killed from outside, the container's own.

        After :meth:`stop` nothing is told: the next watcher adopts it again.
        """
        descriptor = _open_keeper(check_id(container), keeper)
        with self._lock:
            if self._stopping:
                if descriptor is not None:
                    os.close(descriptor)
            elif descriptor is None:
                self._gone.append(container)
                os.eventfd_write(self._wake, 1)
            else:
                self._conmons[descriptor] = container
                self._epoll.register(descriptor, _READABLE)

    def take(self, container: str) -> None:
        """Remove the exit file, once the exit is journalled; idempotent."""
        (self._exits / check_id(container)).unlink(missing_ok=True)
        with self._lock:
            self._seen.pop(container, None)

    def _loop(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(self._wake)
                elif descriptor == self._inotify.fileno():
                    self._read_events()
                else:
                    self._conmon_ended(descriptor)
            with self._lock:
                stopping, scan, self._scan_wanted = self._stopping, self._scan_wanted, False
                gone, self._gone = self._gone, []
            if stopping:
                return
            if scan:
                self._say_again()
                self._scan()
            for container in gone:
                self._conmon_gone(container)

    def _read_events(self) -> None:
        for mask, name in self._inotify.events():
            if mask & IN_MOVED_TO:
                self._look_at(name)
            else:
                # Overflow, or the folder itself went: look at what is there.
                self._scan()

    def _scan(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._exits)):
                self._look_at(name)

    def _look_at(self, name: str) -> bool:
        """Tell of one exit file, once; False when there is none. Temporary files have other names."""
        if CONTAINER_ID.fullmatch(name) is None:
            return False
        try:
            notice, stamp = read_exit(self._exits, name)
        except (FileNotFoundError, StateError):
            return False
        with self._lock:
            if self._seen.get(name) == stamp:
                return True
            self._seen[name] = stamp
            # Their conmons end next; that is no news, though the file may be taken by then.
            self._told |= {descriptor for descriptor, owner in self._conmons.items() if owner == name}
        self._tell(notice)
        return True

    def _tell(self, notice: ExitNotice) -> None:
        try:
            self._on_exit(notice)
        except Exception:  # noqa: BLE001 - a receiver that fails must not end the watch for all containers
            with self._lock:
                if self._seen.pop(notice.container, None) is None:
                    self._unsaid.append(notice)

    def _say_again(self) -> None:
        with self._lock:
            unsaid, self._unsaid = self._unsaid, []
        for notice in unsaid:
            self._tell(notice)

    def _conmon_ended(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        with self._lock:
            container = self._conmons.pop(descriptor)
            told = descriptor in self._told
            self._told.discard(descriptor)
        if not told:
            self._conmon_gone(container)

    def _conmon_gone(self, container: str) -> None:
        """conmon renames the exit file before it ends, so the file is there by now, or never will be."""
        if not self._look_at(container):
            self._tell(ExitNotice(container, None, time.time_ns() // 1000))


def _open_keeper(container: str, pid: int) -> int | None:
    """A pidfd of the container's conmon, or of its own process; None when it is gone, or its pid is another
    process's by now."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if _belongs(container, pid):
        return descriptor
    os.close(descriptor)
    return None


def _belongs(container: str, pid: int) -> bool:
    """Whether the process has the container's id among its words, as its conmons do, or is in its group."""
    group = container_group(container)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        groups = [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    except OSError:
        return False
    return container.encode() in words or any(f"{one}/".startswith(f"{group}/") for one in groups)


def read_exit(exits: Path, container: str) -> tuple[ExitNotice, _Stamp]:
    """The notice in an exit file, and a stamp (inode, mtime) that tells this file from the next.

    Raises FileNotFoundError when there is none, StateError when it is not conmon's.
    """
    with open(exits / check_id(container), "rb") as file:
        text, found = file.read(16), os.fstat(file.fileno())
    if not text.strip().lstrip(b"-").isdigit():
        raise StateError(f"exit file of {container[:12]} holds {text!r}")
    code = int(text)
    return ExitNotice(container, code if code >= 0 else None, found.st_mtime_ns // 1000), (
        found.st_ino, found.st_mtime_ns)
