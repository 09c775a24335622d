"""Control groups of Vörðr's own, below ``/vordr`` in every hierarchy; nothing above is ever touched.

The OCI runtime makes and limits ``/vordr/<id>``; conmon waits in ``/vordr/conmon-<id>``, outside the
service's group, so that neither a limit nor the end of the service reaches it. cgroups(7),
Documentation/admin-guide/cgroup-v2.rst; hybrid hosts have both kinds at once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.model.errors import RuntimeFailed
from vordr.runtime.identifiers import check_id

PARENT: Final = "vordr"
_KEPT_APART: Final = frozenset(("name=systemd", "memory", "pids", "cpu"))
_MOUNT_OPTION: Final = re.compile(r"rw|ro|none|xattr|clone_children|noprefix|release_agent.*")
_PULSE_S: Final = 0.003
_WARM_S: Final = 0.08
"""From a request to the last process moved for it, on a machine that is not overloaded."""
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup hierarchy: where, v2 or v1, and its controllers (v1 named ones as ``name=…``)."""

    root: Path
    unified: bool
    controllers: frozenset[str]


class _Warmth:
    """Until when :func:`warm` keeps the groups warm (monotonic s), and whether its thread is at it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.kept = False


_WARMTH: Final = _Warmth()


def container_group(container: str) -> str:
    """``linux.cgroupsPath`` of a container: absolute, so the same on every host."""
    return f"/{PARENT}/{check_id(container)}"


def conmon_group(container: str) -> str:
    return f"/{PARENT}/conmon-{check_id(container)}"


def mounted_hierarchies() -> tuple[Hierarchy, ...]:
    """The hierarchies mounted in this mount namespace, by /proc/self/mountinfo (proc(5))."""
    found: dict[Path, Hierarchy] = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.rstrip("\n").partition(" - ")
            before, (kind, *after) = left.split(" "), right.split(" ")
            if kind not in ("cgroup", "cgroup2") or before[3] != "/":
                continue
            root = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), before[4]))
            found[root] = _hierarchy(root, kind, after[-1])
    # A mount over a whole tree hides the older mounts below it; mountinfo still lists them.
    return tuple(hierarchy for root, hierarchy in found.items() if _visible(root))


def _hierarchy(root: Path, kind: str, options: str) -> Hierarchy:
    if kind == "cgroup2":
        with contextlib.suppress(OSError):
            return Hierarchy(root, True, frozenset((root / "cgroup.controllers").read_text().split()))
        return Hierarchy(root, True, frozenset())
    names = (name for name in options.split(",") if not _MOUNT_OPTION.fullmatch(name))
    return Hierarchy(root, False, frozenset(names))


def _visible(root: Path) -> bool:
    return (root / "cgroup.procs").exists()


@functools.cache
def hierarchies() -> tuple[Hierarchy, ...]:
    """As :func:`mounted_hierarchies`, read once: mountinfo grows with every container."""
    return mounted_hierarchies()


def make_conmon_group(container: str) -> tuple[Path, ...]:
    """Make the conmon's group where it matters, and return its folders (one per hierarchy).

    That is: the unified tree and systemd's own (who belongs to which service), and those of v1 that limit.
    """
    folders = tuple(
        hierarchy.root / conmon_group(container).lstrip("/")
        for hierarchy in hierarchies()
        if hierarchy.unified or hierarchy.controllers & _KEPT_APART
    )
    for folder in folders:
        _make(folder)
    return folders


def _make(folder: Path) -> None:
    """mkdir -p that survives the removal of the parent, or of the group itself, in between."""
    for _ in range(16):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except (FileNotFoundError, FileExistsError):  # the latter: there, then gone before it was looked at
            continue
    raise RuntimeFailed(f"cannot make control group {folder}")


def enter(folders: tuple[Path, ...], pid: int) -> None:
    """Move process ``pid`` into every one of ``folders``."""
    for folder in folders:
        (folder / "cgroup.procs").write_text(str(pid))


def warm() -> None:
    """See to it, for the next moments, that nobody waits for the kernel to move a process between groups.

    The first cgroup.procs write after a pause waits 5 to 20 ms for an RCU grace period, one within 6 ms of
    another almost not at all (measured). So a thread writes this process into the group where it already is,
    which changes nothing, every :data:`_PULSE_S` until :data:`_WARM_S` have passed since the last call. One
    lock guards every hierarchy, so one group will do. Returns at once; any thread may call.
    """
    with _WARMTH.lock:
        _WARMTH.until = time.monotonic() + _WARM_S
        if _WARMTH.kept:
            return
        _WARMTH.kept = True
    try:
        threading.Thread(target=_keep_warm, name="cgroup-warmth", daemon=True).start()
    except RuntimeError:  # no thread to be had: then the wait is where it would have been
        _WARMTH.kept = False


def _keep_warm() -> None:
    descriptor = _own_group()
    try:
        while descriptor is not None:
            with contextlib.suppress(OSError):  # a group that takes nobody asks for the lock all the same
                os.write(descriptor, b"%d" % os.getpid())
            time.sleep(_PULSE_S)
            with _WARMTH.lock:
                if time.monotonic() >= _WARMTH.until:
                    break
    finally:
        if descriptor is not None:
            os.close(descriptor)
        # Between the last look and this a call may have come: its warmth is lost, which costs a wait only.
        _WARMTH.kept = False


def _own_group() -> int | None:
    """The cgroup.procs file of one group this process is in, opened for writing."""
    for folder in _own_folders():
        with contextlib.suppress(OSError):
            return os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    return None


def _own_folders() -> Iterator[Path]:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = frozenset(controllers.split(",")) - {""}
        for hierarchy in hierarchies():
            if (not names and hierarchy.unified) or names & hierarchy.controllers & _KEPT_APART:
                yield hierarchy.root / path.lstrip("/")


def cgroup_id(container: str) -> int | None:
    """The kernel's id of the container's v2 group: what bpf_get_current_cgroup_id() returns in it.

    None when the group does not exist or the host has no v2 tree.
    """
    for hierarchy in hierarchies():
        if hierarchy.unified:
            with contextlib.suppress(FileNotFoundError):
                return (hierarchy.root / container_group(container).lstrip("/")).stat().st_ino
    return None


def remove(container: str, *, patience: float = 5.0) -> None:
    """Remove both groups of the container in every hierarchy, and ``/vordr`` where nothing is left in it.

    Idempotent. Groups still holding dying processes are tried for ``patience`` seconds (v1 tells nobody when
    a group empties); then RuntimeFailed.
    """
    deadline = time.monotonic() + patience
    for hierarchy in hierarchies():
        for group in (container_group(container), conmon_group(container)):
            folder = f"{hierarchy.root}{group}"
            if not _rmdir(folder):
                _remove_tree(folder, deadline)
        with contextlib.suppress(OSError):
            os.rmdir(f"{hierarchy.root}/{PARENT}")


def remove_empty(container: str) -> bool:
    """Remove the container's own groups if no process and no group is in any of them.

    True when they were there and are gone: the kernel takes no group away that holds a process. False when
    there are none, or one holds something still; then some of them may be gone.
    """
    found = False
    for hierarchy in hierarchies():
        folder = f"{hierarchy.root}{container_group(container)}"
        there = os.path.isdir(folder)
        found = found or there
        if there and not _rmdir(folder):
            return False
    return found


def _rmdir(folder: str) -> bool:
    """Whether the group ``folder`` is gone, if need be by this."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_tree(folder: str, deadline: float) -> None:
    """Remove a group and those a container made below it, deepest first."""
    for path, _, _ in os.walk(folder, topdown=False):
        while True:
            try:
                os.rmdir(path)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise RuntimeFailed(f"cannot remove control group {path}: {error.strerror}") from error
                if time.monotonic() > deadline:
                    raise RuntimeFailed(f"control group {path} still has processes in it") from error
                time.sleep(0.002)


def processes(container: str) -> frozenset[int]:
    """Pids (as the host counts) in the container's groups, in any hierarchy."""
    return _members(container_group(container))


def _members(group: str) -> frozenset[int]:
    found: set[int] = set()
    for hierarchy in hierarchies():
        with contextlib.suppress(OSError):
            text = (hierarchy.root / group.lstrip("/") / "cgroup.procs").read_text()
            found.update(map(int, text.split()))
    return frozenset(found)


def existing(container: str) -> tuple[Path, ...]:
    """Folders of the container's groups (its own and its conmon's) that exist, in any hierarchy."""
    folders = (
        hierarchy.root / group.lstrip("/")
        for hierarchy in hierarchies()
        for group in (container_group(container), conmon_group(container))
    )
    return tuple(folder for folder in folders if folder.is_dir())


def kill_all(container: str, *, conmon: bool = False) -> None:
    """SIGKILL to every process in the container's own groups: for those that no runtime knows any more.

    With ``conmon`` to those in its conmon's group too.
    """
    for pid in processes(container) | (_members(conmon_group(container)) if conmon else frozenset()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def oom_kills(container: str) -> int:
    """How many processes of the container's group the kernel has killed for want of memory, as the group
    counts them while it is there: memory.events (v2), memory.oom_control (v1, Linux ≥ 4.13)."""
    for folder in existing(container):
        for file in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError):
                counts = dict(line.split() for line in (folder / file).read_text().splitlines())
                return int(counts.get("oom_kill", 0))
    return 0


def is_frozen(container: str) -> bool:
    """Whether the container's group is frozen or freezing, by the freezer's own file (v1 or v2)."""
    group = container_group(container).lstrip("/")
    for hierarchy in hierarchies():
        frozen = {"cgroup.freeze": "1"} if hierarchy.unified else {"freezer.state": "FROZEN"}
        for name, word in frozen.items():
            with contextlib.suppress(OSError):
                text = (hierarchy.root / group / name).read_text().strip()
                if text == word or text == "FREEZING":
                    return True
    return False
