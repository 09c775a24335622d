"""inotify(7) by ctypes: a descriptor that becomes readable when a folder or file changes."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

IN_MODIFY: Final = 0x02
IN_CLOSE_WRITE: Final = 0x08
IN_MOVED_TO: Final = 0x80
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800

_EVENT: Final = struct.Struct("iIII")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One inotify instance. ``fileno`` is readable when events wait; close it."""

    def __init__(self) -> None:
        self._descriptor = _checked("inotify_init1", _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def fileno(self) -> int:
        return self._descriptor

    def watch(self, path: Path, mask: int) -> None:
        """Watch ``path`` for ``mask``. Raises OSError, such as FileNotFoundError."""
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(path), ctypes.c_uint32(mask))
        _checked(f"inotify_add_watch {path}", number)

    def events(self) -> Iterator[tuple[int, str]]:
        """(mask, file name) of all events that wait now, without blocking."""
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size
                yield mask, os.fsdecode(data[offset:offset + length].rstrip(b"\0"))
                offset += length

    def close(self) -> None:
        os.close(self._descriptor)


def _checked(what: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        if code == errno.EMFILE:
            what += " (raise fs.inotify.max_user_instances)"
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return int(result)
