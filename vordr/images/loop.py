"""Loop devices by descriptor, for kernels that cannot mount EROFS straight from a file (before 6.12)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from typing import Final

_LOOP_CTL_GET_FREE: Final = 0x4C82
_LOOP_CONFIGURE: Final = 0x4C0A
_LO_FLAGS_READ_ONLY: Final = 1
_LO_FLAGS_AUTOCLEAR: Final = 4
_ATTEMPTS: Final = 64
# struct loop_config (linux/loop.h): fd, block size, struct loop_info64 of 232 bytes, 8 reserved words.
# Of loop_info64 only lo_flags is set, 52 bytes into it.
_CONFIG: Final = struct.Struct("II52xI176x64x")


@contextlib.contextmanager
def attached(descriptor: int) -> Iterator[str]:
    """The path of a read-only loop device over the open file, for the length of the block.

    The kernel frees the device when its last user (the mount made within the block) is gone (loop(4),
    LO_FLAGS_AUTOCLEAR). Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, control)
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                config = _CONFIG.pack(descriptor, 0, _LO_FLAGS_READ_ONLY | _LO_FLAGS_AUTOCLEAR)
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(device)
                # Somebody else took the free device between the two calls.
                if error.errno != errno.EBUSY:
                    raise
                continue
            stack.callback(os.close, device)
            yield path
            return
        raise OSError(errno.EBUSY, "no free loop device")
