"""What a service holds: threads, descriptors, mounts, control groups, namespaces, processes, files on disk.

Only what belongs to one instance is counted, since other instances live on the same host.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from real_world import Instance, groups_of, pids_with

NAMESPACE = re.compile(r"(?:user|mnt|pid|net|ipc|uts|cgroup|time):\[\d+\]")
KIND = re.compile(r":\[\d+\]| \(deleted\)|\d+")


@dataclass(frozen=True)
class Footprint:
    """Held now. Two are equal when nothing was left behind between them."""

    threads: int
    descriptors: tuple[tuple[str, int], ...]
    mounts: int
    loops: int
    groups: tuple[str, ...]
    namespaces: int
    processes: int
    zombies: int
    entries: tuple[str, ...]

    def __str__(self) -> str:
        files = sum(count for _, count in self.descriptors)
        return (f"{self.threads} threads, {files} descriptors, {self.mounts} mounts, {self.loops} loops, "
                f"{len(self.groups)} cgroups, {self.namespaces} namespaces, {self.processes} processes")


def footprint(world: Instance, containers: Iterable[str] = ()) -> Footprint:
    """What the instance holds. ``containers`` are all those whose control groups are looked for."""
    service = world.service_pid()
    assert service is not None, "no service runs"
    mine = sorted({pid for part in (str(world.home), str(world.paths.run)) for pid in pids_with(part)})
    return Footprint(
        threads=len(os.listdir(f"/proc/{service}/task")),
        descriptors=tuple(sorted(descriptors(service).items())),
        mounts=sum(any(part in line for part in (str(world.home), str(world.paths.run)))
                   for line in Path(f"/proc/{service}/mountinfo").read_text().splitlines()),
        loops=sum(str(world.root) in backing for backing in loop_files()),
        groups=tuple(str(group) for container in containers for group in groups_of(container)),
        namespaces=len(namespaces([service, *mine])),
        processes=len(mine),
        zombies=sum(state_of(child) == "Z" for child in children(service)),
        entries=tuple(entries(world)))


def entries(world: Instance) -> list[str]:
    """Names in the folders where a removed container leaves nothing, down to its parts and exec sessions."""
    run, root = world.paths.run, world.paths.root
    found = [*run.glob("*"), *run.glob("*/*"), *run.glob("*/*/*"), *run.glob("c/*/exec/*"),
             *world.paths.exits.glob("*"), *world.paths.containers.glob("*")]
    return sorted(str(path.relative_to(run if path.is_relative_to(run) else root)) for path in found)


def is_busy(found: Footprint) -> bool:
    """Whether the service still keeps the control groups warm, which it stops moments after an act."""
    return any("cgroup.procs" in name for name, _ in found.descriptors)


def links(pid: int) -> Iterator[str]:
    """What the descriptors of a process name."""
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{entry}")


def descriptors(pid: int) -> Counter[str]:
    """How many there are of each kind, but for one of each table of the journal: LevelDB makes and removes
    tables as it compacts. A second one of a table counts, and one of a table that is gone."""
    named = Counter(links(pid))
    named.subtract([name for name in named if name.endswith(".ldb")])
    found: Counter[str] = Counter()
    for name, count in named.items():
        found[KIND.sub("", name)] += count
    return +found


def loop_files() -> Iterator[str]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            yield backing.read_text()


def namespaces(pids: Iterable[int]) -> set[str]:
    """Namespaces that the processes are in or hold by a descriptor (namespaces(7))."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found.update(link for link in links(pid) if NAMESPACE.fullmatch(link))
            for name in os.listdir(f"/proc/{pid}/ns"):
                found.add(os.readlink(f"/proc/{pid}/ns/{name}"))
    return found


def children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return found


def state_of(pid: int) -> str:
    """The letter of the process's state (proc(5)); empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def resident(pid: int) -> int:
    """Bytes of anonymous memory that the process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"the kernel tells no RssAnon of {pid}")


def sizes(root: Path) -> Counter[str]:
    """Bytes and files of each part of the root folder: ``part`` and ``part files``."""
    found: Counter[str] = Counter()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            part = path.relative_to(root).parts[0]
            with contextlib.suppress(FileNotFoundError):
                found[part] += path.lstat().st_size
                found[f"{part} files"] += 1
    return found
