"""One temporary folder with an image for everybody, and the commands that are timed in it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from demo import make_rootfs  # noqa: E402 - found by the line above

VORDR = Path(sys.executable).with_name("vordr")
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Spent(NamedTuple):
    """Milliseconds from start to end, and of the processor, for the client's process and those it reaped."""

    wall: float
    processor: float


class Host:
    """The folder, its environment, and podman set up for machines where rlimits cannot be raised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "VORDR_ROOT": str(folder / "root"),
                            "CONTAINERS_CONF": str(folder / "containers.conf")}
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        self.rootfs = make_rootfs(folder)
        (self.rootfs / "bin" / "true").symlink_to("busybox")
        self.podman: list[object] = ["podman", "--root", folder / "p", "--runroot", folder / "pr"]
        self._roots = [folder / "root"]

    def prepare(self) -> None:
        """An image for podman, and a package for ours, imported into the root folder."""
        self.call("tar", "-C", self.rootfs, "-cf", self.folder / "rootfs.tar", ".")
        self.call(*self.podman, "import", self.folder / "rootfs.tar", "hello")
        self.call(VORDR, "trust", "init", "--owner", "Benchmark")
        self.call(VORDR, "pack", "rootfs", "demo.ctp", "--name", "demo", "--cmd", "/bin/true")
        self.call(VORDR, "run", "--rm", "demo.ctp", "true")

    def another_root(self, name: str) -> dict[str, str]:
        """The environment for a root folder of its own, with the same image and trust of its own."""
        root = self.folder / name
        self._roots.append(root)
        environment = {**self.environment, "VORDR_ROOT": str(root)}
        self.call(VORDR, "trust", "init", "--owner", "Benchmark", environment=environment)
        self.call(VORDR, "pack", "rootfs", f"{name}.ctp", "--name", "demo", "--cmd", "/bin/true",
                  environment=environment)
        self.call(VORDR, "run", "--rm", f"{name}.ctp", "true", environment=environment)
        return environment

    def call(self, *command: object, environment: dict[str, str] | None = None) -> str:
        """Run a command that must succeed; its output."""
        done = subprocess.run(
            [str(word) for word in command], env=environment or self.environment, cwd=self.folder, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def time(self, words: Sequence[object], environment: dict[str, str] | None = None) -> Spent:
        """Run a command that must succeed; what it took, from its start to its end."""
        started = time.perf_counter()
        process = self.spawn(words, environment)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{words} ended with {process.returncode}")
        return Spent(wall * 1000, (used.ru_utime + used.ru_stime) * 1000)

    def spawn(
        self, words: Sequence[object], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(word) for word in words], env=environment or self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def service_pid(self, environment: dict[str, str] | None = None) -> int | None:
        """The service of a root folder, None when none runs: as its lock says, so that none is started."""
        root = Path((environment or self.environment)["VORDR_ROOT"])
        with contextlib.suppress(OSError, ValueError):
            pid = int((root / "lock").read_text())
            if b"vordr.service" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def stop_service(self, environment: dict[str, str] | None = None) -> None:
        """End the service, and wait until it is gone."""
        pid = self.service_pid(environment)
        if pid is not None:
            end(pid)

    def close(self) -> None:
        for root in self._roots:
            environment = {**self.environment, "VORDR_ROOT": str(root)}
            for name in self._running(environment):
                subprocess.run([VORDR, "rm", "-f", name], env=environment, capture_output=True, check=False)
            self.stop_service(environment)
            subprocess.run(["chattr", "-R", "-i", root / "layers"], capture_output=True, check=False)
        subprocess.run([*map(str, self.podman), "rm", "-a", "-f", "-t", "0"], env=self.environment,
                       capture_output=True, check=False)
        subprocess.run(["umount", self.folder / "p" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _running(self, environment: dict[str, str]) -> Iterator[str]:
        told = subprocess.run([VORDR, "ps", "--json"], env=environment, capture_output=True, text=True,
                              check=False)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            for container in json.loads(told.stdout)["containers"]:
                yield container["name"]


def end(pid: int) -> None:
    """SIGTERM, and wait for the end of a process that need not be our child."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        select.select([descriptor], [], [], 60)
    finally:
        os.close(descriptor)
