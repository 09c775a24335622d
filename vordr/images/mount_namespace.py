"""A mount namespace to start a runtime in that shall not see the mounts of every container.

An OCI runtime reads ``/proc/self/mountinfo`` again and again, and takes down in each new container what it
saw mounted: both grow with the containers that run, if it is started in the host's own namespace (decision
0039).

A thread makes one, and no other thread is in it: unshare(2) acts on the calling thread, once it has working
directory and root of its own (CLONE_FS).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

from vordr.images import mountapi

T = TypeVar("T")

_libc: Final = ctypes.CDLL(None, use_errno=True)
_CLONE_FS: Final = 0x200
_CLONE_NEWNS: Final = 0x20000


class MountNamespace:
    """A mount namespace that lives as long as its descriptor here, and whoever is in it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._open = True

    @classmethod
    def of_the_host_without(cls, hidden: Path, but: Iterable[Path] = ()) -> MountNamespace:
        """What this thread's namespace has now, less what is mounted at ``hidden`` and below, ``but`` for
        these mounts. Nothing that is mounted later comes to it, and nothing goes back. Raises OSError."""
        with ExitStack() as stack:
            kept = [(stack.enter_context(mountapi.closing(mountapi.clone_tree(str(place)))), place)
                    for place in but]

            def make() -> MountNamespace:
                _unshare(_CLONE_FS | _CLONE_NEWNS)
                mountapi.set_all_private("/")
                while mountapi.detach(str(hidden)):
                    pass
                for mount, place in kept:
                    mountapi.attach(mount, str(place))
                return cls(os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))

            return _on_a_thread(make)

    @property
    def path(self) -> str:
        """By which other processes of this user enter it, while it is open here."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def close(self) -> None:
        """Let go of it; idempotent."""
        if self._open:
            self._open = False
            os.close(self._descriptor)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")


def _on_a_thread(work: Callable[[], T]) -> T:
    """What ``work`` gives or raises, on a thread that ends with it: where it has been, nobody follows."""
    given: list[T] = []
    raised: list[BaseException] = []

    def do() -> None:
        try:
            given.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=do, name="vordr-inside", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return given[0]
