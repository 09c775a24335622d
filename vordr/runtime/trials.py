"""What the kernel can really do, tried: ``python -m vordr.runtime.trials FOLDER`` prints one JSON object.

It runs as a process of its own, because it moves into a private mount namespace, where nothing that it mounts
shows on the host or stays when it ends. Each trial answers with "" for success or with the kernel's words.
FOLDER is where a root file system would be, since overlayfs and the flags depend on that file system.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from vordr.model.errors import VordrError
from vordr.runtime.command import CLEAN_ENVIRONMENT, find

_libc: Final = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_PRIVATE_REC: Final = (1 << 18) | 0x4000
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_MOUNT_SETATTR: Final = 442
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_IDMAP: Final = 0x100000
_AT_EMPTY_PATH: Final = 0x1000
_AT_FDCWD: Final = -100
_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_IMMUTABLE_FL: Final = 0x10
_FS_IOC_ENABLE_VERITY: Final = 0x40806685
_FIRST_ID: Final = 1_000_000


def main(folder: Path) -> dict[str, str]:
    """Run all trials below ``folder`` and return name → "" or what went wrong."""
    results: dict[str, str] = {}
    _try(results, "private mounts", _leave_mount_namespace)
    work = Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
    try:
        if not results["private mounts"]:
            with _user_namespace(results) as namespace:
                _try(results, "erofs", lambda: _erofs(work))
                _try(results, "idmapped mounts", lambda: _idmap(work, namespace))
                _try(results, "overlay", lambda: _overlay(work))
        _try(results, "immutable flag", lambda: _immutable(work / "immutable"))
        _try(results, "fs-verity", lambda: _verity(work / "verity"))
    finally:
        for target in ("merged", "mapped", "layer"):
            _libc.umount2(os.fsencode(work / target), 2)
        shutil.rmtree(work, ignore_errors=True)
    return results


def _try(results: dict[str, str], name: str, trial: Callable[[], None]) -> None:
    try:
        trial()
    except (OSError, subprocess.SubprocessError, VordrError) as error:
        results[name] = (getattr(error, "strerror", None) or str(error))[:200]
    else:
        results[name] = ""


def _check(what: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _leave_mount_namespace() -> None:
    _check("unshare", _libc.unshare(_CLONE_NEWNS))
    _check("mount --make-rprivate /", _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_REC), None))


@contextlib.contextmanager
def _user_namespace(results: dict[str, str]) -> Iterator[int]:
    """A descriptor of a new user namespace with a mapped range; -1 when there can be none."""
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        failed = _libc.unshare(_CLONE_NEWUSER) != 0
        os.write(ready[1], bytes([ctypes.get_errno() if failed else 0]))
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    namespace = -1
    try:
        code = os.read(ready[0], 1)[0]
        if code:
            results["user namespaces"] = os.strerror(code)
        else:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{name}").write_text(f"0 {_FIRST_ID} 65536")
            namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
            results["user namespaces"] = ""
        yield namespace
    finally:
        os.close(done[1])
        os.waitpid(child, 0)
        if namespace >= 0:
            os.close(namespace)
        for descriptor in (*ready, done[0]):
            os.close(descriptor)


def _erofs(work: Path) -> None:
    """Make a tiny image and mount the file itself (Linux ≥ 6.12), or over a loop device."""
    source = work / "source"
    source.mkdir()
    (source / "file").write_text("content")
    image = work / "layer.erofs"
    (work / "layer").mkdir()
    # An absolute path and a clean environment, as everywhere.
    done = subprocess.run(
        [find("mkfs.erofs"), image, source], capture_output=True, env=dict(CLEAN_ENVIRONMENT), timeout=20
    )
    if done.returncode != 0:
        raise OSError(done.returncode, "mkfs.erofs failed: " + done.stderr.decode(errors="replace")[-100:])
    result = _libc.mount(os.fsencode(image), os.fsencode(work / "layer"), b"erofs", ctypes.c_ulong(1), None)
    if result != 0:
        looped = subprocess.run(
            [find("mount"), "-t", "erofs", "-o", "loop,ro", image, work / "layer"],
            capture_output=True, env=dict(CLEAN_ENVIRONMENT), timeout=20,
        )
        if looped.returncode != 0:
            raise OSError(1, "mount -t erofs: " + looped.stderr.decode(errors="replace").strip()[-100:])


def _idmap(work: Path, namespace: int) -> None:
    """Show the layer (or, without EROFS, a plain folder) with mapped owners, and look at them."""
    (work / "mapped").mkdir()
    layer = work / "layer" if os.path.ismount(work / "layer") else work
    clone = ctypes.c_long(_OPEN_TREE_CLONE | os.O_CLOEXEC)
    tree = _check("open_tree", _libc.syscall(
        ctypes.c_long(_SYS_OPEN_TREE), ctypes.c_long(_AT_FDCWD), os.fsencode(layer), clone))
    try:
        attributes = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, namespace)
        _check("mount_setattr", _libc.syscall(
            ctypes.c_long(_SYS_MOUNT_SETATTR), ctypes.c_long(tree), b"", ctypes.c_long(_AT_EMPTY_PATH),
            attributes, ctypes.c_long(len(attributes))))
        _check("move_mount", _libc.syscall(
            ctypes.c_long(_SYS_MOVE_MOUNT), ctypes.c_long(tree), b"", ctypes.c_long(_AT_FDCWD),
            os.fsencode(work / "mapped"), ctypes.c_long(_MOVE_MOUNT_F_EMPTY_PATH)))
    finally:
        os.close(tree)
    if (work / "mapped").stat().st_uid != _FIRST_ID:
        raise OSError(0, "owners are not mapped")


def _overlay(work: Path) -> None:
    """An overlay over the mapped layer with an upper of the range's own, and a write into it."""
    lower = work / "mapped" if os.path.ismount(work / "mapped") else work / "plain"
    for part in ("upper", "work", "merged", "plain"):
        (work / part).mkdir()
        os.chown(work / part, _FIRST_ID, _FIRST_ID)
    options = f"lowerdir={lower},upperdir={work}/upper,workdir={work}/work,index=off,metacopy=off".encode()
    merged = os.fsencode(work / "merged")
    _check("mount -t overlay", _libc.mount(b"overlay", merged, b"overlay", ctypes.c_ulong(0), options))
    (work / "merged" / "file").write_text("changed")
    if not (work / "upper" / "file").exists():
        raise OSError(0, "a write did not reach the upper folder")


def _immutable(path: Path) -> None:
    path.write_text("x")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flags = struct.unpack("i4x", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8)))[0]
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("i4x", flags | _FS_IMMUTABLE_FL))
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("i4x", flags))
    finally:
        os.close(descriptor)


def _verity(path: Path) -> None:
    path.write_text("x")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_ENABLE_VERITY, struct.pack("IIIIQIIQ11Q", 1, 1, 4096, *[0] * 16))
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
