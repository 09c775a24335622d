"""What this host is, by quick looks at /proc and at program versions (a few ms; callers keep the result).

Nothing is tried here that changes the host: :mod:`vordr.runtime.doctor` does the trying.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from vordr.runtime.cgroups import Hierarchy, mounted_hierarchies
from vordr.runtime.command import CLEAN_ENVIRONMENT, SEARCH_PATH

CAP_SYS_ADMIN: Final = 21
CAP_SYS_RESOURCE: Final = 24

_VERSION: Final = re.compile(rb"version:? v?(\d+(?:\.\d+)+[^\s]*)")


class CgroupLayout(StrEnum):
    """How control groups are mounted: legacy hierarchies, those plus an empty v2, v2 alone, or not at all."""

    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"
    NONE = "none"


@dataclass(frozen=True)
class Program:
    """An installed program; ``version`` is its own word, without distribution revisions ("" when silent)."""

    name: str
    path: Path
    version: str

    def at_least(self, *wanted: int) -> bool:
        """Whether the leading numbers of the version are ``wanted`` or newer."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:3]) >= wanted


@dataclass(frozen=True)
class HostFacts:
    """The host as far as running containers goes. ``runtimes`` in the order found; None means not installed.

    ``controllers`` are the cgroup controllers that can limit something here, ``swap_limits`` whether swap is
    accounted. ``capabilities`` is the effective mask. ``idmapped`` (kernel ≥ 5.19: also below overlayfs),
    ``erofs`` and ``overlay`` are what the kernel says, not yet tried.
    """

    euid: int
    capabilities: int
    nodename: str
    kernel: tuple[int, int]
    release: str
    architecture: str
    cgroup: CgroupLayout
    controllers: frozenset[str]
    swap_limits: bool
    runtimes: tuple[Program, ...]
    conmon: Program | None
    skopeo: Program | None
    mkfs_erofs: Path | None
    nft: Path | None
    catatonit: Path | None
    erofs: bool
    overlay: bool
    idmapped: bool
    user_namespaces: bool
    cgroup_namespaces: bool
    seccomp: bool
    fsverity: bool

    def has(self, capability: int) -> bool:
        """Whether the effective set holds capability number ``capability`` (capability.h)."""
        return bool(self.capabilities >> capability & 1)

    def runtime(self, name: str) -> Program | None:
        return next((program for program in self.runtimes if program.name == name), None)


def probe() -> HostFacts:
    """Look at the host. Never raises for something missing: that is a fact, too."""
    hierarchies = mounted_hierarchies()
    release = os.uname().release
    kernel = _kernel(release)
    programs = _versions(("runc", "crun", "conmon", "skopeo"))
    return HostFacts(
        euid=os.geteuid(),
        capabilities=int(_status_field("CapEff") or "0", 16),
        nodename=os.uname().nodename,
        kernel=kernel,
        release=release,
        architecture=platform.machine(),
        cgroup=layout_of(hierarchies),
        controllers=_controllers(hierarchies),
        swap_limits=_swap_limits(hierarchies),
        runtimes=tuple(programs[name] for name in ("runc", "crun") if name in programs),
        conmon=programs.get("conmon"),
        skopeo=programs.get("skopeo"),
        mkfs_erofs=_which("mkfs.erofs"),
        nft=_which("nft"),
        catatonit=_which("catatonit"),
        erofs=_filesystem("erofs", release),
        overlay=_filesystem("overlay", release),
        idmapped=kernel >= (5, 19),
        user_namespaces=_number(Path("/proc/sys/user/max_user_namespaces")) > 0,
        cgroup_namespaces=Path("/proc/self/ns/cgroup").exists(),
        seccomp=Path("/proc/sys/kernel/seccomp/actions_avail").exists(),
        fsverity=Path("/proc/sys/fs/verity").exists(),
    )


def layout_of(hierarchies: Sequence[Hierarchy]) -> CgroupLayout:
    """The layout that a set of mounted hierarchies makes (systemd.io/CGROUP_DELEGATION names them so)."""
    unified = any(hierarchy.unified for hierarchy in hierarchies)
    legacy = any(not hierarchy.unified for hierarchy in hierarchies)
    match unified, legacy:
        case True, True:
            return CgroupLayout.HYBRID
        case True, False:
            return CgroupLayout.V2
        case False, True:
            return CgroupLayout.V1
    return CgroupLayout.NONE


def _controllers(hierarchies: Sequence[Hierarchy]) -> frozenset[str]:
    return frozenset(name for hierarchy in hierarchies for name in hierarchy.controllers)


def _swap_limits(hierarchies: Sequence[Hierarchy]) -> bool:
    """v1 has the file where swap accounting is on; v2 has it in each group of a kernel that can swap."""
    for hierarchy in hierarchies:
        if "memory" in hierarchy.controllers:
            legacy = hierarchy.root / "memory.memsw.limit_in_bytes"
            return Path("/proc/swaps").exists() if hierarchy.unified else legacy.exists()
    return False


def _kernel(release: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _which(program: str) -> Path | None:
    found = shutil.which(program, path=SEARCH_PATH)
    return Path(found) if found else None


def _versions(names: Sequence[str]) -> dict[str, Program]:
    """Ask all programs for their version at once: the Go ones take 10 ms each to say it."""
    asked = []
    for name in names:
        path = _which(name)
        if path is not None:
            # crun makes its state folder whatever it is asked, unless it is told of one that there is.
            words = [str(path), *(("--root=/",) if name == "crun" else ()), "--version"]
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env=dict(CLEAN_ENVIRONMENT), cwd="/",
            )
            asked.append((name, path, process))
    found = {}
    for name, path, process in asked:
        try:
            output, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        match = _VERSION.search(output)
        found[name] = Program(name, path, match[1].decode() if match else "")
    return found


def _status_field(name: str) -> str | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _filesystem(name: str, release: str) -> bool:
    """Whether the kernel knows the file system now, or has a module for it that mount(2) would load."""
    known = Path("/proc/filesystems").read_text().split()
    if name in known:
        return True
    for index in ("modules.dep", "modules.builtin"):
        try:
            text = (Path("/lib/modules") / release / index).read_text(errors="replace")
        except OSError:
            continue
        if f"/{name}.ko" in text:
            return True
    return False
