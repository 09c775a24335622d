"""Vörðr against its peers, all in one run on one machine: medians, ratios, and where our time goes.

    python benchmarks/run.py [--runs N] [--json FILE]

Rounds are interleaved, so that a noisy minute hits everybody. Each figure is a whole command, from the fork
of the client to its end; beside it the processor time of that client alone, which noise hardly touches.
podman is set up for machines where rlimits cannot be raised. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from demo import make_rootfs  # noqa: E402 - found by the line above

STOPPED = 100
"""Containers at rest that both lists have to leave out."""

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


Figure = tuple[Sequence[object], str]


class Bench:
    """One temporary folder with an image for everybody, and the commands that are timed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "VORDR_ROOT": str(folder / "root"),
                            "CONTAINERS_CONF": str(folder / "containers.conf")}
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        self.rootfs = make_rootfs(folder)
        (self.rootfs / "bin" / "true").symlink_to("busybox")
        self.podman = ["podman", "--root", str(folder / "p"), "--runroot", str(folder / "pr")]

    def call(self, *command: object) -> str:
        """Run a command that must succeed; its output."""
        done = subprocess.run(
            [str(word) for word in command], env=self.environment, cwd=self.folder, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def prepare(self) -> None:
        self.call("tar", "-C", self.rootfs, "-cf", self.folder / "rootfs.tar", ".")
        self.call(*self.podman, "import", self.folder / "rootfs.tar", "hello")
        self.call(VORDR, "trust", "init", "--owner", "Benchmark")
        self.call(VORDR, "pack", "rootfs", "demo.ctp", "--name", "demo", "--cmd", "/bin/true")
        self.call(VORDR, "run", "--rm", "demo.ctp", "true")
        bundle = self.folder / "bundle"
        bundle.mkdir()
        shutil.copytree(self.rootfs, bundle / "rootfs", symlinks=True)
        self.call("runc", "spec", "--bundle", bundle)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"].update(terminal=False, args=["/bin/true"], rlimits=[])
        (bundle / "config.json").write_text(json.dumps(spec))
        for number in range(STOPPED):
            self.call(VORDR, "create", "--name", f"rest{number}", "demo")
            self.call(*self.podman, "create", "--network=none", "--name", f"rest{number}", "localhost/hello",
                      "/bin/true")
        self.call(VORDR, "run", "-d", "--name", "live", "demo", "sleep", "100000")
        self.call(*self.podman, "run", "-d", "--network=none", "--name", "live", "localhost/hello",
                  "/bin/sleep", "100000")

    def figures(self) -> dict[str, Figure]:
        """Name → what is timed, and the name of the peer it is held against."""
        run, ps, execute = "podman run --rm --network=none true", "podman ps", "podman exec true"
        runc = ["runc", "--root", self.folder / "runc", "run", "--bundle", self.folder / "bundle", "bare"]
        return {
            "python that does nothing": ([sys.executable, "-c", ""], ps),
            "runc run true": (runc, run),
            run: ([*self.podman, "run", "--rm", "--network=none", "localhost/hello", "/bin/true"], run),
            "vordr run --rm demo true": ([VORDR, "run", "--rm", "demo", "true"], run),
            "vordr run --rm demo.ctp true": ([VORDR, "run", "--rm", "demo.ctp", "true"], run),
            ps: ([*self.podman, "ps"], ps),
            "vordr ps": ([VORDR, "ps"], ps),
            execute: ([*self.podman, "exec", "live", "/bin/true"], execute),
            "vordr exec true": ([VORDR, "exec", "live", "true"], execute),
        }

    def time(self, words: Sequence[object]) -> Spent:
        """Run a command that must succeed; what it took, from its start to its end."""
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in words], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{words} ended with {process.returncode}")
        return Spent(wall * 1000, (used.ru_utime + used.ru_stime) * 1000)

    def close(self) -> None:
        subprocess.run([VORDR, "rm", "-f", "live"], env=self.environment, capture_output=True, check=False)
        subprocess.run([*self.podman, "rm", "-f", "-t", "0", "live"], env=self.environment,
                       capture_output=True, check=False)
        told = subprocess.run([VORDR, "version", "--json"], env=self.environment, capture_output=True,
                              text=True, check=False)
        try:
            os.kill(int(json.loads(told.stdout)["service"]["pid"]), signal.SIGTERM)
        except (ValueError, KeyError, ProcessLookupError, TypeError):
            pass
        layers = self.folder / "root" / "layers"
        subprocess.run(["chattr", "-R", "-i", layers], capture_output=True, check=False)
        subprocess.run(["umount", self.folder / "p" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def measure(bench: Bench, runs: int) -> dict[str, list[Spent]]:
    """What each figure took, in interleaved and shuffled rounds; the first round only warms up."""
    figures = bench.figures()
    found: dict[str, list[Spent]] = {name: [] for name in figures}
    for number in range(runs + 1):
        for name in random.sample(list(figures), len(figures)):
            spent = bench.time(figures[name][0])
            if number:
                found[name].append(spent)
    return found


@contextmanager
def timed(spent: dict[str, list[float]], owner: Any, name: str, label: str) -> Iterator[None]:
    """Time every call of ``owner.name`` under ``label`` while the context lasts."""
    inner = getattr(owner, name)

    def outer(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*args, **kwargs)
        finally:
            spent.setdefault(label, []).append(time.perf_counter() - started)

    setattr(owner, name, outer)
    try:
        yield
    finally:
        setattr(owner, name, inner)


def breakdown(bench: Bench, runs: int) -> dict[str, float]:
    """Median milliseconds inside the engine per part of one ``run --rm``, in process, warm."""
    from contextlib import ExitStack

    from vordr.actors import kernel
    from vordr.engine.local import LocalEngine
    from vordr.model import arguments
    from vordr.runtime.driver import Driver

    spent: dict[str, list[float]] = {}
    root = bench.folder / "inner"
    with LocalEngine.open(root) as engine, ExitStack() as stack:
        engine.trust_init("Benchmark")
        engine.pack(bench.rootfs, bench.folder / "inner.ctp", name="demo", command=("/bin/true",))
        for owner, name, label in (
            (kernel.rootfs, "mount_rootfs", "mount the root file system"),
            (kernel.rootfs, "unmount_rootfs", "unmount it"),
            (kernel.conmon, "create", "conmon and runtime create"),
            (Driver, "start", "runtime start"),
            (kernel.cleanup, "reap", "runtime delete, cgroups"),
            (kernel.KernelWorld, "_open_layers", "check the seals"),
            (engine.host.library, "open_package", "verify the package"),
            (engine.host.journal, "append", "journal (each of several appends)"),
        ):
            stack.enter_context(timed(spent, owner, name, label))
        for _ in range(runs + 1):
            started = time.perf_counter()
            container = engine.run(str(bench.folder / "inner.ctp"), auto_remove=True)
            spent.setdefault("run, answered", []).append(time.perf_counter() - started)
            engine.call("wait", arguments.WaitArgs(container=container.id, condition="removed"))
            spent.setdefault("run until removed", []).append(time.perf_counter() - started)
    subprocess.run(["chattr", "-R", "-i", root / "layers"], capture_output=True, check=False)
    return {label: statistics.median(times[1:] or times) * 1000 for label, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vordr-bench-"))
    folder.chmod(0o711)
    bench = Bench(folder)
    try:
        bench.prepare()
        spent = measure(bench, asked.runs)
        against = {name: peer for name, (_, peer) in bench.figures().items()}
        inner = breakdown(bench, asked.runs)
    finally:
        bench.close()
    wall = {name: statistics.median(each.wall for each in times) for name, times in spent.items()}
    processor = {name: statistics.median(each.processor for each in times) for name, times in spent.items()}
    print(f"{'whole command':40}{'median ms':>12}{'× podman':>10}{'client cpu ms':>15}")
    for name, median in wall.items():
        print(f"{name:40}{median:12.1f}{median / wall[against[name]]:10.2f}{processor[name]:15.1f}")
    print(f"\n{'inside the engine, one run --rm':40}{'median ms':>12}")
    for label, median in sorted(inner.items(), key=lambda item: -item[1]):
        print(f"{label:40}{median:12.2f}")
    if asked.json:
        asked.json.write_text(json.dumps(
            {"time": time.time(), "whole": wall, "processor": processor, "inside": inner}, indent=1))


if __name__ == "__main__":
    main()
