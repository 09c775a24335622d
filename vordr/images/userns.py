"""User namespaces as descriptors: what mount_setattr(2) needs to map the ids of a mount.

The kernel makes a user namespace only for a process of its own (unshare(2) refuses a threaded one), so a
tiny process is spawned, its maps are written from here, the namespace is opened, and the process ends. The
namespace lives on in the descriptor. Forking the service itself would be neither safe (threads) nor fast
(its size); subprocess uses vfork.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections import OrderedDict
from typing import Final

from vordr.model.errors import RuntimeFailed, RuntimeNotFound
from vordr.model.spec import IdRange

_KEPT: Final = 16
"""Enough for those that are started again and again. Each costs a descriptor and a namespace of the kernel,
also when its container is long gone; making one anew costs some 3 ms."""


def make_user_namespace(ids: IdRange) -> int:
    """A descriptor of a new user namespace that maps [0, count) to the host's [first, first + count).

    Raises RuntimeNotFound without util-linux and RuntimeFailed when the kernel refuses.
    """
    if ids.first <= 0 or ids.count <= 0 or ids.first + ids.count > 2**32 - 1:
        raise ValueError(f"not a range of unprivileged host ids: {ids}")
    command = ("unshare", "--user", "cat")
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except FileNotFoundError:
        raise RuntimeNotFound("unshare is not installed", remedy="apt install util-linux") from None
    with child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        try:
            # cat answers only after unshare(1) has made the namespace and replaced itself by cat.
            child.stdin.write(b"\n")
            if child.stdout.read(1) != b"\n":
                said = child.stderr.read().decode(errors="replace").strip()
                raise RuntimeFailed(f"no user namespace: {' '.join(command)}: {said}")
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{child.pid}/{name}", "wb", buffering=0) as file:
                    file.write(b"0 %d %d\n" % (ids.first, ids.count))
            return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RuntimeFailed(f"no user namespace for ids from {ids.first}: {error}") from error
        finally:
            child.kill()


class UserNamespaces:
    """The newest namespaces by range, so that only the first start of a container makes one. Thread-safe."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[int, int], int] = OrderedDict()

    def open(self, ids: IdRange) -> int:
        """A descriptor of the namespace of ``ids``, for the caller to close; as make_user_namespace."""
        key = (ids.first, ids.count)
        with self._lock:
            held = self._open.get(key)
            if held is not None:
                self._open.move_to_end(key)
                return os.dup(held)
        made = make_user_namespace(ids)
        with self._lock:
            if key in self._open:
                return made
            self._open[key] = os.dup(made)
            if len(self._open) > self._kept:
                os.close(self._open.popitem(last=False)[1])
        return made

    def close(self) -> None:
        """Forget every namespace."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])
