"""Where the time of one ``run --rm`` goes inside the engine: in process, warm."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from figures import Figure, median
from host import Host

from vordr.actors import kernel
from vordr.engine.local import LocalEngine
from vordr.model import arguments


def measure(host: Host, runs: int) -> list[Figure]:
    spent: dict[str, list[float]] = {}
    root = host.folder / "inner"
    with LocalEngine.open(root) as engine, ExitStack() as stack:
        engine.trust_init("Benchmark")
        engine.pack(host.rootfs, host.folder / "inner.ctp", name="demo", command=("/bin/true",))
        for owner, name, label in (
            (kernel.rootfs, "mount_rootfs", "mount the root file system"),
            (kernel.rootfs, "unmount_rootfs", "unmount it"),
            (kernel.conmon, "prepare", "start conmon"),
            (kernel.conmon, "run", "runtime run"),
            (kernel.cleanup, "reap", "runtime delete, cgroups"),
            (kernel.KernelWorld, "_open_layers", "check the seals"),
            (engine.host.library, "open_package", "verify the package"),
            (engine.host.journal, "append", "journal (each of several appends)"),
        ):
            stack.enter_context(_timed(spent, owner, name, label))
        for _ in range(runs + 1):
            started = time.perf_counter()
            container = engine.run(str(host.folder / "inner.ctp"), auto_remove=True)
            spent.setdefault("run, answered", []).append(time.perf_counter() - started)
            engine.call("wait", arguments.WaitArgs(container=container.id, condition="removed"))
            spent.setdefault("run until removed", []).append(time.perf_counter() - started)
    subprocess.run(["chattr", "-R", "-i", root / "layers"], capture_output=True, check=False)
    found = [Figure(label, median(times[1:] or times) * 1000, "ms") for label, times in spent.items()]
    return sorted(found, key=lambda figure: -figure.value)


@contextmanager
def _timed(spent: dict[str, list[float]], owner: Any, name: str, label: str) -> Iterator[None]:
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
