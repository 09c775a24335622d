"""A host that Vörðr worked on is the host that it was."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from real_world import CGROUPS, OBEDIENT, Instance, confined, eventually, instance, pids_with

from vordr.model.paths import Paths

_FOLDERS = ("/run", "/etc", "/var/lib", "/var/log", "/var/cache", "/root", "/tmp", "/var/tmp", "/dev/shm")
_DEEPEST = 3


@dataclass(frozen=True)
class Snapshot:
    """What there is on the host."""

    mounts: frozenset[str]
    groups: frozenset[str]
    namespaces: frozenset[str]
    files: frozenset[str]
    links: frozenset[str]
    processes: frozenset[str]
    settings: frozenset[str]

    def new_since(self, before: Snapshot) -> list[str]:
        return [f"{field.name}: {item}" for field in fields(self)
                for item in sorted(getattr(self, field.name) - getattr(before, field.name))]


def take_snapshot() -> Snapshot:
    return Snapshot(
        frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        frozenset(str(folder) for parent in (*CGROUPS.glob("*"), CGROUPS)
                  for folder in (parent / "vordr").glob("*") if folder.is_dir()),
        frozenset(_namespaces()),
        frozenset(_files()),
        frozenset(os.listdir("/sys/class/net")),
        frozenset(_processes()),
        frozenset(_settings()),
    )


def _namespaces() -> Iterator[str]:
    """Each namespace with the command of its first process."""
    listed = subprocess.run(
        ["lsns", "--noheadings", "--output", "NS,TYPE"], capture_output=True, text=True, check=True).stdout
    yield from (line.strip() for line in listed.splitlines())


def _files() -> Iterator[str]:
    for top in _FOLDERS:
        for folder, below, names in os.walk(top):
            depth = folder.count("/") - top.count("/")
            if depth >= _DEEPEST:
                below.clear()
            yield from (os.path.join(folder, name) for name in (*below, *names))


def _processes() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(bytes(1))
            yield f"{entry.name} {b' '.join(words).decode(errors='replace')}"


def _settings() -> Iterator[str]:
    for pattern in ("/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward",
                    "/proc/sys/net/ipv4/conf/all/route_localnet", "/proc/sys/user/*", "/etc/subuid",
                    "/etc/passwd"):
        for path in Path("/").glob(pattern.lstrip("/")):
            yield f"{path}: {path.read_text()}"


def full_cycle(world: Instance) -> list[str]:
    """Everything that makes something on the host; the ids of all containers."""
    package = world.pack()
    world.vordr("run", "-d", "--name", "web", str(package), "sh", "-c", OBEDIENT)
    world.run("limited", options=(
        "--memory", "32m", "--cpus", "0.5", "--pids-limit", "50", "--init", "-e", "A=b"))
    world.vordr("exec", "web", "sh", "-c", "echo x > /x; mkdir /dir")
    world.vordr("exec", "-d", "web", "sleep", "1000")
    world.vordr("pause", "limited")
    world.vordr("rm", "-f", "limited")
    world.undo_last()
    world.vordr("restart", "-t", "1", "web")
    world.vordr("run", "--rm", "hello", "true")
    world.vordr("run", "--name", "broken", "hello", "no-such-command", code=127)
    world.vordr("audit", "--chain")
    world.vordr("verify", str(package))
    world.vordr("doctor", code=None)
    return world.ids()


def mine(found: list[str], world: Instance, ids: list[str]) -> list[str]:
    """Of the differences those that have to do with the instance: other programs are at work, too."""
    marks = (str(world.home), str(world.paths.run), *ids)
    return [line for line in found if any(mark in line for mark in marks)]


def test_after_a_full_cycle_the_host_is_as_it_was() -> None:
    before = take_snapshot()
    with instance() as world:
        ids = full_cycle(world)
        assert mine(take_snapshot().new_since(before), world, ids), "the looking does not see what runs"
    after = take_snapshot()
    assert mine(after.new_since(before), world, ids) == []
    assert not world.home.exists() and not world.paths.run.exists()
    assert (after.settings, after.links) == (before.settings, before.links)


_CHECKOUT = Path(__file__).resolve().parents[2]

# Its own /tmp, /run and so on, empty, with the instance's home and the code (which may lie in one of them)
# bound in; writes to /etc and /var are caught.
_OWN_FOLDERS = f"""
CODE={shlex.quote(str(_CHECKOUT))}
exec 9< "$HOME_OF" 8< "$CODE"
for folder in /var/tmp /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 none $folder; done
mkdir -p "$HOME_OF" "$CODE" /run/watch
mount --no-canonicalize --bind /proc/$$/fd/9 "$HOME_OF"
mount --no-canonicalize --bind /proc/$$/fd/8 "$CODE"
exec 9<&- 8<&-
for folder in etc var; do
  watch=/run/watch/$folder
  mkdir -p $watch/upper $watch/work
  mount -t overlay -o lowerdir=/$folder,upperdir=$watch/upper,workdir=$watch/work none /$folder
done
mount -t tmpfs -o mode=1777 none /var/tmp
"""


def test_nothing_is_written_outside_the_root_folder_and_its_folder_in_run() -> None:
    with confined(_OWN_FOLDERS) as world:
        full_cycle(world)
        for container in world.vordr("ps", "-aq").out.split():
            world.vordr("rm", "-f", container)
        written = world.inner(
            "find", "/tmp", "/run", "/var/tmp", "/dev/shm", "-mindepth", "1", "-maxdepth", "3")
        # The last of these is mount(8)'s.
        own = (str(world.home), str(_CHECKOUT), str(world.paths.run), "/run/watch", "/run/mount")
        above = {str(folder) for folder in _CHECKOUT.parents}
        outside = {line for line in written.splitlines() if not line.startswith(own) and line not in above}
        assert outside == {str(world.paths.run.parent)}
        watched = world.inner("find", "/run/watch/etc/upper", "/run/watch/var/upper", "-mindepth", "1")
        assert watched == ""


def test_no_namespace_of_a_container_outlives_it() -> None:
    kinds = ("user", "pid", "mnt", "net", "ipc", "uts")
    with instance() as world, contextlib.ExitStack() as ours:
        world.vordr("run", "-d", "--name", "web", str(world.pack()), "sleep", "1000")
        pid = world.inspect("web")["pid"]
        own = set()
        for kind in kinds:
            # Held open by us, their numbers are given to no other namespace meanwhile.
            ours.enter_context(open(f"/proc/{pid}/ns/{kind}"))
            own.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        world.vordr("rm", "-f", "web")
        eventually(lambda: not own & _held_by_others(), "the end of the container's namespaces", 10)


def _held_by_others() -> set[str]:
    """Namespaces of all processes but this one, and those that their descriptors or a mount keep alive."""
    held = set(re.findall(r"\w+:\[\d+\]", Path("/proc/self/mountinfo").read_text()))
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        for folder in ("ns", "fd"):
            with contextlib.suppress(OSError):
                for entry in (process / folder).iterdir():
                    with contextlib.suppress(OSError):
                        held.add(os.readlink(entry))
    return held


def test_mounts_of_a_container_are_seen_in_no_other_mount_namespace() -> None:
    """Somebody who unshares after the container started would otherwise keep its layers busy."""
    with confined("mount --make-rshared /") as world:  # as systemd has it
        other = subprocess.Popen(
            [*world.inside, "unshare", "--mount", "--propagation", "slave", "sleep", "1000"])
        try:
            taken = {_mount_namespace(pid) for pid in (os.getpid(), world.holder.pid)}
            eventually(lambda: _mount_namespace(other.pid) not in taken, "a mount namespace of its own")
            world.vordr("run", "-d", "--name", "web", str(world.pack()), "sleep", "1000")
            container = world.inspect("web")["id"]
            theirs = Path(f"/proc/{other.pid}/mountinfo").read_text()
            assert f"{container}/rootfs" not in theirs
        finally:
            other.kill()
            other.wait()


def _mount_namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/mnt")
    return ""


def test_the_service_keeps_no_descriptor_and_folder_of_its_starter() -> None:
    with instance(trust=False) as world:
        world.vordr("version")
        for pid in (world.service_pid(), world.keeper_pid()):
            assert pid is not None
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            opened = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
            assert not [name for name in opened if "pytest" in name or "pts" in name]
            assert os.getsid(pid) != os.getsid(0)
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"PYTEST" not in environment and b"VORDR_" not in environment


def test_two_instances_do_not_touch_each_other() -> None:
    with instance() as one, instance() as other:
        one.vordr("run", "-d", "--name", "web", str(one.pack()), "sleep", "1000")
        other.vordr("run", "-d", "--name", "web", str(other.pack()), "sleep", "1000")
        assert one.paths.run != other.paths.run == Paths.of(other.root.resolve()).run
        one.vordr("rm", "-f", "web")
        one.stop_service()
        assert other.state("web") == "running"
        assert other.sh("web", "echo well") == "well\n"
        assert pids_with("conmon", str(other.paths.run))
        one.vordr("ps")
