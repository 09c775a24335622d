"""``--user`` and USER against a container's own /etc/passwd and /etc/group, as docker resolves them.

The files belong to the image, so they are hostile: they are opened with RESOLVE_IN_ROOT (openat2(2)), where
no symlink leads out of the root file system, must be plain files, and are read up to a bound.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.model.errors import ContainerStopped, RuntimeFailed, UsageError
from vordr.model.spec import IdRange

_SYS_OPENAT2: Final = 437
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_IN_ROOT: Final = 0x10
# Beside a process that did nothing but rename, one of 80,000 resolutions of twenty ".." needed 40.
_MOST_ATTEMPTS: Final = 1000
_LIMIT: Final = 4 << 20
_MAX_ID: Final = 2**31 - 1

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class UserIds:
    """Whom a process runs as inside the container: ids of the container, its groups beside gid, and HOME."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


def resolve(rootfs: Path, user: str, ids: IdRange) -> UserIds:
    """The ids behind ``user[:group]``, names or numbers; "" is root.

    A number need not be in /etc/passwd; a name must. Without a group, the account's own and those that list
    it as a member apply. Raises UsageError for an unknown name and for an id outside the container's range,
    ContainerStopped when the root file system is not there: its container was stopped in this moment.
    """
    wanted_user, _, wanted_group = user.partition(":")
    with _Files(rootfs) as files:
        account = _find_account(files, wanted_user or "0", user)
        if wanted_group:
            gid = _find_group(files, wanted_group, user)
            groups: tuple[int, ...] = ()
        else:
            gid, groups = account.gid, tuple(files.memberships(account.name))
    found = UserIds(account.uid, gid, tuple(dict.fromkeys(groups)), account.home or "/")
    for number in (found.uid, found.gid, *found.groups):
        if number >= ids.count:
            raise UsageError(
                f"user {user!r}: id {number} is outside the container's {ids.count} ids",
                remedy=f"use ids below {ids.count}",
            )
    return found


class _Files:
    """The two account files of one root file system."""

    def __init__(self, rootfs: Path) -> None:
        try:
            self._root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ContainerStopped("the container has stopped: its root file system is gone") from None

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def accounts(self) -> Iterator[_Account]:
        for fields in self._rows("etc/passwd", 6):
            if (uid := _number(fields[2])) is not None and (gid := _number(fields[3])) is not None:
                yield _Account(fields[0], uid, gid, fields[5])

    def groups(self) -> Iterator[tuple[str, int, frozenset[str]]]:
        for fields in self._rows("etc/group", 3):
            if (gid := _number(fields[2])) is not None:
                yield fields[0], gid, frozenset(fields[3].split(",")) if len(fields) > 3 else frozenset()

    def memberships(self, name: str) -> Iterator[int]:
        return (gid for _, gid, members in self.groups() if name and name in members)

    def _rows(self, path: str, least: int) -> Iterator[list[str]]:
        for line in read_inside(self._root, path).decode(errors="replace").splitlines():
            fields = line.split(":")
            if not line.startswith("#") and len(fields) >= least:
                yield fields


def read_inside(root: int, path: str, limit: int = _LIMIT) -> bytes:
    """At most ``limit`` bytes of the plain file ``path`` below the folder ``root``; empty when there is none.

    Raises RuntimeFailed when it is something else than a file, or the kernel cannot resolve safely.
    """
    try:
        descriptor = _open_inside(root, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return b""
        raise RuntimeFailed(f"cannot open /{path} in the image: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RuntimeFailed(f"/{path} in the image is not a plain file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def _open_inside(root: int, path: str) -> int:
    """openat2(2) with the folder as its root; O_NONBLOCK, so that a FIFO cannot hold us.

    The kernel answers EAGAIN when anything on the host was renamed or mounted while it went up a ``..``: it
    cannot tell then that it stayed below the root; openat2(2) leaves it to the caller to ask again.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    how = struct.pack("QQQ", flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    arguments = (ctypes.c_long(root), os.fsencode(path), how, ctypes.c_long(len(how)))
    code = errno.EAGAIN
    for _ in range(_MOST_ATTEMPTS):
        result = int(_libc.syscall(ctypes.c_long(_SYS_OPENAT2), *arguments))
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code != errno.EAGAIN:
            break
    raise OSError(code, os.strerror(code))


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and int(text) <= _MAX_ID:
        return int(text)
    return None


def _find_account(files: _Files, wanted: str, asked: str) -> _Account:
    number = _number(wanted)
    for account in files.accounts():
        if account.name == wanted or account.uid == number:
            return account
    if number is None:
        raise UsageError(f"user {asked!r}: no {wanted!r} in the image's /etc/passwd", remedy="use a number")
    return _Account("", number, 0, "/")


def _find_group(files: _Files, wanted: str, asked: str) -> int:
    number = _number(wanted)
    for name, gid, _ in files.groups():
        if name == wanted or gid == number:
            return gid
    if number is None:
        raise UsageError(f"user {asked!r}: no {wanted!r} in the image's /etc/group", remedy="use a number")
    return number
