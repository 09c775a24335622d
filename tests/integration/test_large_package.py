"""A large package is verified, run and unpacked in the memory of a small one (1 GiB with VORDR_SOAK=1)."""

from __future__ import annotations

import os
from pathlib import Path

from real_world import Instance, instance, make_rootfs

SIZE = (1 << 30) if os.environ.get("VORDR_SOAK") else (160 << 20)
ALLOWED_KIB = 24 << 10
"""What the service may need more for it: far less than the package, and than any layer of it."""


def peak(world: Instance) -> int:
    """KiB of memory that the service has needed at most: proc(5), VmHWM."""
    status = Path(f"/proc/{world.service_pid()}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def test_a_large_package_is_verified_and_run_in_the_memory_of_a_small_one() -> None:
    with instance() as world:
        small = world.pack()
        world.vordr("verify", str(small))
        assert world.vordr("run", "--rm", str(small), "echo", "small").out == "small\n"
        before = peak(world)
        rootfs = make_rootfs(world.home / "large")
        with (rootfs / "blob").open("wb") as file:
            file.truncate(SIZE)
        world.vordr("pack", str(rootfs), "large.ctp", "--name", "large", timeout=600)
        large = world.home / "large.ctp"
        assert large.stat().st_size > SIZE
        assert world.vordr("--json", "verify", "large.ctp", timeout=600).json["decision"] == "ALLOW"
        said = world.vordr("run", "--rm", "large.ctp", "/bin/busybox", "wc", "-c", "/blob", timeout=600).out
        assert said.split()[0] == str(SIZE)
        assert peak(world) - before < ALLOWED_KIB
