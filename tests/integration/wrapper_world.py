"""podman and containerd of one's own, in folders of one's own, with ``vordr-runtime`` as their runtime."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from real_world import Instance, end_process, eventually, instance, make_rootfs

BIN = Path(__file__).resolve().parents[2] / "bin"
CTR = "/usr/bin/ctr"


class Gated:
    """A Vörðr instance and its gate, as ``vordr system integrate`` sets it up."""

    def __init__(self, world: Instance) -> None:
        self.world, self.home = world, world.home
        self.launcher = self.home / "vordr-runtime"
        shutil.copy(BIN / "vordr-runtime", self.launcher)
        world.vordr("system", "integrate", "podman", "--launcher", str(self.launcher), "--runtime",
                    "/usr/sbin/runc", "--prefix", str(self.home), "--write")
        self.config = self.launcher.with_name("vordr-runtime.toml")
        self.configure()
        make_rootfs(self.home / "rootfs")
        self._conf = self.home / "containers.conf"
        text = (self.home / "etc/containers/containers.conf.d/50-vordr.conf").read_text()
        self._conf.write_text(text.replace("[engine]\n", (
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\n'
            'cgroup_manager = "cgroupfs"\nevents_logger = "file"\n')))
        self.containerd_socket = self.home / "containerd.sock"

    def configure(self, top: str = "") -> None:
        """Put the gate's configuration beside the launcher: the stores of this world, and ``top``."""
        self.config.write_text(
            (self.home / "etc/vordr/runtime.toml").read_text() + top
            + f'[[stores]]\nroot = "{self.home}/p"\nrun = "{self.home}/pr"\n'
            + f'[[containerd]]\nstate = "{self.home}/cs"\naddress = "{self.home}/containerd.sock"\n'
            + f'ctr = "{CTR}"\n')

    def call(
        self, *words: object, code: int | None = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, "CONTAINERS_CONF": str(self._conf)} if environment is None else environment
        ran = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60,
                             stdin=subprocess.DEVNULL, check=False, env=given)
        assert code is None or ran.returncode == code, (words, ran)
        return ran

    def podman(self, *words: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        store = ("--root", self.home / "p", "--runroot", self.home / "pr")
        return self.call("podman", *store, *words, code=code)

    def ctr(self, *words: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.call(CTR, "--address", self.containerd_socket, "-n", "demo", *words, code=code)

    def archive(self, name: str, *changes: str) -> Path:
        """An image of podman's by this name, and the OCI archive of it."""
        layer = self.home / "layer.tar"
        if not layer.exists():
            self.call("tar", "-C", self.home / "rootfs", "-cf", layer, ".")
        self.podman("import", *(word for change in changes for word in ("-c", change)), layer, name)
        made = self.home / f"{name}.tar"
        self.podman("save", "--format", "oci-archive", "-o", made, name)
        return made

    def image_id(self, name: str) -> str:
        return "sha256:" + self.podman("images", "-q", "--no-trunc", name).stdout.strip()[-64:]

    def close(self) -> None:
        self.podman("rm", "-a", "-f", "-t", "0", code=None)
        for place in ("p/overlay", "p/vfs"):
            subprocess.run(["umount", self.home / place], capture_output=True, check=False)


@contextlib.contextmanager
def gated() -> Iterator[Gated]:
    with instance() as world:
        made = Gated(world)
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def containerd(world: Gated) -> Iterator[None]:
    """A containerd of this world's; its containers are gone after the block."""
    home = world.home
    config = home / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{home}/cr"\nstate = "{home}/cs"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
        f'[grpc]\naddress = "{world.containerd_socket}"\n')
    with open(home / "containerd.log", "wb") as log:
        process = subprocess.Popen(["containerd", "--config", str(config)], stdout=log, stderr=log)
    try:
        eventually(lambda: world.ctr("version", code=None).returncode == 0, "containerd")
        yield
        for task in world.ctr("tasks", "ls", "-q").stdout.split():
            world.ctr("tasks", "rm", "-f", task, code=None)
    finally:
        end_process(process.pid, 15)
        process.wait()


