"""Shutting the current process in before it reads what a stranger wrote: namespaces, root, capabilities,
limits.

For a process of one thread that was started for this alone (the unpacking child).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWCGROUP: Final = 0x02000000
_CLONE_NEWUTS: Final = 0x04000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWPID: Final = 0x20000000
_CLONE_NEWNET: Final = 0x40000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 2, 4, 8, 32, 4096
_MS_REC, _MS_PRIVATE = 16384, 1 << 18
_MNT_DETACH: Final = 2
_SYS_PIVOT_ROOT: Final = {"x86_64": 155}.get(os.uname().machine, 41)

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522


class Capability(IntEnum):
    """The few capabilities (linux/capability.h) that writing another's files takes."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    FSETID = 4
    SETFCAP = 31


def own_namespaces() -> None:
    """Leave the host's mounts, processes, network, IPC, host name and cgroups.

    The new process namespace holds the children forked from now on, not this process. Raises OSError.
    """
    flags = _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWCGROUP
    _check("unshare", _libc.unshare(flags))
    _check("mount / private", _libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))


def pivot_into(folder: str) -> None:
    """Make ``folder`` the whole file system of this process: no devices, no set-id, no execution. OSError."""
    target, flags = os.fsencode(folder), _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check("bind", _libc.mount(target, target, None, _MS_BIND, None))
    _check("remount", _libc.mount(None, target, None, _MS_BIND | _MS_REMOUNT | flags, None))
    os.chdir(folder)
    # pivot_root(2), NOTES: with "." twice the old root is stacked on the new and comes off without a folder.
    _check("pivot_root", _libc.syscall(ctypes.c_long(_SYS_PIVOT_ROOT), b".", b"."))
    _check("umount the old root", _libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends. Raises OSError."""
    _check("prctl PDEATHSIG", _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def last_capability() -> int:
    """The highest capability that this kernel knows; to be read while /proc can still be reached."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def keep_only(capabilities: Iterable[Capability], last: int) -> None:
    """Drop all capabilities up to ``last`` but these, for good, and the gaining of any by execution.
    OSError.
    """
    mask = sum(1 << capability for capability in capabilities)
    for number in range(last + 1):
        if not mask >> number & 1:
            _check("prctl CAPBSET_DROP", _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
    _check("prctl CAP_AMBIENT", _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    _check("prctl NO_NEW_PRIVS", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _check("capset", _libc.capset(header, struct.pack("6I", low, low, 0, high, high, 0)))


def limit(memory: int, descriptors: int) -> None:
    """Bound the address space (bytes) and open descriptors; no core files. Raises OSError or ValueError."""
    for kind, wanted in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_NOFILE, descriptors), (resource.RLIMIT_CORE, 0),
    ):
        # Lowering is always allowed; a hard limit that is lower already stays.
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def _check(what: str, result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
