"""The kernel's mount interface by descriptors: fsopen(2), fsmount(2), mount_setattr(2), move_mount(2).

Descriptors, unlike paths, cannot be swapped between check and use: a sealed layer is opened once, checked,
and mounted through that descriptor. System call numbers from 424 up are the same on every architecture that
Vörðr supports (linux/include/uapi/asm-generic/unistd.h). All functions raise OSError with the kernel's
errno, and carry the kernel's own words from the context's log where there are any.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

_SYS_MOVE_MOUNT: Final = 429
_SYS_OPEN_TREE: Final = 428
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432
_SYS_MOUNT_SETATTR: Final = 442

AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_OPEN_TREE_CLONE: Final = 1
_OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6

MOUNT_ATTR_RDONLY: Final = 0x01
MOUNT_ATTR_NOSUID: Final = 0x02
MOUNT_ATTR_NODEV: Final = 0x04
MOUNT_ATTR_NOEXEC: Final = 0x08
_MOUNT_ATTR_IDMAP: Final = 0x100000

MS_RDONLY: Final = 1
MS_NODEV: Final = 4
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8
_MS_PRIVATE: Final = 1 << 18
_MS_REC: Final = 1 << 14

_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_IMMUTABLE_FL: Final = 0x10
# Declared as long in the ioctl's number, but the kernel reads and writes an int (ioctl_iflags(2), BUGS).
_FLAGS: Final = struct.Struct("i4x")
_FS_IOC_ENABLE_VERITY: Final = 0x40806685
_FS_IOC_MEASURE_VERITY: Final = 0xC0046686
_VERITY_SHA256: Final = 1
_UNSUPPORTED: Final = frozenset((errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))


def _call(what: str, number: int, *args: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *map(_as_long, args)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _as_long(value: int | bytes | ctypes.Array[ctypes.c_char] | None) -> object:
    """Variadic arguments have no declared types: widen plain integers, or their upper half is garbage."""
    return ctypes.c_long(value) if isinstance(value, int) else value


def fsopen(kind: str) -> int:
    """A descriptor of a new filesystem context of type ``kind`` (fsopen(2))."""
    return _call(f"fsopen {kind}", _SYS_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC)


def fsconfig(context: int, key: str, value: str | None = None) -> None:
    """Set one option of a context: a string of at most 255 bytes, or a flag when ``value`` is None."""
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    text = None if value is None else os.fsencode(value)
    try:
        _call(f"fsconfig {key}={value}", _SYS_FSCONFIG, context, command, key.encode(), text, 0)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}{_kernel_words(context)}") from None


def create(context: int, attributes: int) -> int:
    """Make the superblock of a configured context and return a *detached* mount of it (fsmount(2))."""
    try:
        _call("fsconfig create", _SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", _SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}{_kernel_words(context)}") from None


def _kernel_words(context: int) -> str:
    """What the kernel wrote into the context's log: one message a read, non-blocking, ENODATA at the end."""
    words: list[str] = []
    with contextlib.suppress(OSError):
        while len(words) < 8:
            words.append(os.read(context, 512).decode(errors="replace").strip())
    return f" ({'; '.join(words)})" if words else ""


def clone_tree(path: str) -> int:
    """A detached private copy of the mount at ``path``, that is, a bind mount (open_tree(2))."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    return _call(f"open_tree {path}", _SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), flags)


def set_idmap(mount: int, user_namespace: int) -> None:
    """Map the ids of a detached mount as ``user_namespace`` does (mount_setattr(2), MOUNT_ATTR_IDMAP)."""
    _setattr(mount, attr_set=_MOUNT_ATTR_IDMAP, namespace=user_namespace)


def set_private(mount: int) -> None:
    """Neither send nor receive mount events on this mount: private propagation, mount_namespaces(7)."""
    _setattr(mount, propagation=_MS_PRIVATE)


def set_all_private(target: str) -> None:
    """As :func:`set_private`, the mount at ``target`` and all below it."""
    if _libc.mount(None, os.fsencode(target), None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount --make-rprivate {target}: {os.strerror(code)}")


def is_mount_point(path: str) -> bool:
    """Whether something is mounted at the folder ``path``: a bind of its own file system, too, which
    os.path.ismount takes for a plain folder."""
    return _mount_id(path) != _mount_id(os.path.dirname(path))


def _mount_id(path: str) -> str:
    """proc_pid_fdinfo(5), mnt_id."""
    with closing(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor, open(
            f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as told:
        return next(line for line in told if line.startswith("mnt_id:"))


def _setattr(mount: int, attr_set: int = 0, propagation: int = 0, namespace: int = 0) -> None:
    packed = struct.pack("QQQQ", attr_set, 0, propagation, namespace)
    _call("mount_setattr", _SYS_MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, packed, len(packed))


def attach(mount: int, target: str) -> None:
    """Attach a detached mount at the existing folder ``target`` (move_mount(2))."""
    _call(
        f"move_mount to {target}", _SYS_MOVE_MOUNT, mount, b"", AT_FDCWD, os.fsencode(target),
        _MOVE_MOUNT_F_EMPTY_PATH,
    )


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """The classic mount(2): ``flags`` are MS_*, ``data`` at most 4095 bytes."""
    what = (os.fsencode(source), os.fsencode(target), kind.encode())
    if _libc.mount(*what, ctypes.c_ulong(flags), os.fsencode(data)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind} on {target}: {os.strerror(code)}")


def detach(target: str) -> bool:
    """Take the top mount off ``target`` with all that is mounted below it; False when nothing is mounted.

    Never follows a symlink at ``target``. A mount still in use vanishes from the tree at once and ends with
    its last user (umount2(2), MNT_DETACH).
    """
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
        return False
    raise OSError(code, f"umount {target}: {os.strerror(code)}")


def unmount(target: str) -> bool:
    """Take the top mount off ``target`` unless it is in use or something is mounted below it; whether it
    went."""
    return int(_libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW)) == 0


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close ``descriptor`` when the block ends."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def set_immutable(descriptor: int, on: bool) -> bool:
    """Set or clear the immutable flag of an open file (ioctl_iflags(2)); False where it does not exist."""
    try:
        flags = _FLAGS.unpack(fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, _FLAGS.pack(0)))[0]
        wanted = flags | _FS_IMMUTABLE_FL if on else flags & ~_FS_IMMUTABLE_FL
        if wanted != flags:
            fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, _FLAGS.pack(wanted))
    except OSError as error:
        if error.errno in _UNSUPPORTED or error.errno == errno.EPERM:
            return False
        raise
    return True


def is_immutable(descriptor: int) -> bool:
    """Whether the open file carries the immutable flag; False where there is no such flag."""
    try:
        flags = _FLAGS.unpack(fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, _FLAGS.pack(0)))[0]
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return bool(flags & _FS_IMMUTABLE_FL)


def enable_verity(descriptor: int) -> bool:
    """Turn on fs-verity with SHA-256 over 4 KiB blocks; False where the file system has none.

    ``descriptor`` must be read-only and nobody may have the file open for writing
    (linux/Documentation/filesystems/fsverity.rst, FS_IOC_ENABLE_VERITY).
    """
    argument = struct.pack("IIIIQIIQ11Q", 1, _VERITY_SHA256, 4096, 0, 0, 0, 0, 0, *[0] * 11)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_ENABLE_VERITY, argument)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        if error.errno != errno.EEXIST:
            raise
    return True


def measure_verity(descriptor: int) -> str | None:
    """The file's fs-verity digest as ``sha256:<hex>``, or None when it has none (FS_IOC_MEASURE_VERITY)."""
    argument = struct.pack("HH64s", 0, 64, b"")
    try:
        answer = fcntl.ioctl(descriptor, _FS_IOC_MEASURE_VERITY, argument)
    except OSError as error:
        if error.errno in _UNSUPPORTED or error.errno == errno.ENODATA:
            return None
        raise
    algorithm, size, digest = struct.unpack("HH64s", answer)
    return f"sha256:{digest[:size].hex()}" if algorithm == _VERITY_SHA256 and size == 32 else None
