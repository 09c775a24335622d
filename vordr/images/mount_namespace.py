"""Mount namespaces in which programs are started that shall not see the mounts of every container.

An OCI runtime reads ``/proc/self/mountinfo`` again and again, and takes down in each new container what the
host has mounted: both grow with the containers that run, if it is started in the host's own namespace
(decision 0039). A namespace here has what the host mounts, now and later (slave propagation,
mount_namespaces(7)), less the folder that the containers are mounted below.

A thread enters one and no other thread does: unshare(2) and setns(2) act on the calling thread, once it has
working directory and root of its own (CLONE_FS).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from vordr.images import mountapi

T = TypeVar("T")

_libc: Final = ctypes.CDLL(None, use_errno=True)
_CLONE_FS: Final = 0x200
_CLONE_NEWNS: Final = 0x20000
_OWN: Final = "/proc/thread-self/ns/mnt"


class MountNamespace:
    """A mount namespace that lives as long as its descriptor here, and whoever was started in it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._open = True

    @classmethod
    def of_the_host_without(cls, hidden: Path) -> MountNamespace:
        """A copy of this thread's namespace, to which the host's later mounts come, too; what is mounted at
        ``hidden`` and below is not in it. Raises OSError."""

        def make() -> MountNamespace:
            _unshare(_CLONE_FS | _CLONE_NEWNS)
            mountapi.set_slaves("/")
            while mountapi.detach(str(hidden)):
                pass
            return cls(_own())

        return _on_a_thread(make)

    def copy(self) -> MountNamespace:
        """Another one with the same mounts, where what is mounted from now on is in that one alone."""

        def make() -> MountNamespace:
            self._enter()
            _unshare(_CLONE_NEWNS)
            return MountNamespace(_own())

        return _on_a_thread(make)

    def do(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, done by a thread in this namespace; programs that it starts are in it, too."""

        def inside() -> T:
            self._enter()
            return work()

        return _on_a_thread(inside)

    def close(self) -> None:
        """Let go of it; idempotent."""
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def _enter(self) -> None:
        _unshare(_CLONE_FS)
        if _libc.setns(self._descriptor, _CLONE_NEWNS) != 0:
            _fail("setns")


def _own() -> int:
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        _fail("unshare")


def _fail(what: str) -> None:
    code = ctypes.get_errno()
    raise OSError(code, f"{what}: {os.strerror(code)}")


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
