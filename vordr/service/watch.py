"""Sees clients go away while their requests are being worked on: one thread for all connections."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class HangupWatch:
    """Calls back when a watched socket's peer has closed it. Half-closed does not count: it may yet read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="hangup-watch", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self, socket: int, gone: Callable[[], None]) -> Iterator[None]:
        """``gone`` is called at most once, from the watch's thread, if the peer of ``socket`` closes."""
        with self._lock:
            self._callbacks[socket] = gone
            # No event asked for: the kernel reports a hang-up always, and only that is wanted.
            self._epoll.register(socket, select.EPOLLONESHOT)
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.pop(socket, None)
                if not self._epoll.closed:
                    self._epoll.unregister(socket)

    def close(self) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        with self._lock:
            self._epoll.close()
        os.close(self._stop)

    def _run(self) -> None:
        while True:
            for socket, _ in self._epoll.poll():
                if socket == self._stop:
                    return
                self._report(socket)

    def _report(self, socket: int) -> None:
        with self._lock:
            # The number may meanwhile name another connection: ask the socket that has it now.
            if socket in self._callbacks and _hung_up(socket):
                gone = self._callbacks.pop(socket)
                gone()


def _hung_up(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
