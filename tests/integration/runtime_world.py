"""A small world to run containers in: an instance's folders, a busybox root, a driver, a verdict."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vordr.model.paths import Paths
from vordr.model.spec import ContainerSpec, IdRange
from vordr.model.state import ImageConfig
from vordr.model.verdict import Verdict
from vordr.runtime import attach, cgroups, cleanup, conmon, ociconfig, seccomp, users
from vordr.runtime.driver import Driver, choose
from vordr.runtime.etcfiles import write_etc_files
from vordr.runtime.exits import ExitNotice, ExitWatcher
from vordr.runtime.probe import HostFacts, probe

IDS = IdRange(2_000_000, 65536)
IMAGE = ImageConfig(command=("/bin/sh",), environment=("IMAGE=yes",))


def some_verdict() -> Verdict:
    """A verdict as the gatekeeper would issue it: what it says is not what these tests are about."""
    return Verdict._issue(  # the door of gatekeeper.decide, used here to test what needs a verdict
        manifest="sha256:" + "0" * 64,
        config="sha256:" + "1" * 64,
        layers=(),
        bundle="",
        trust="",
        policy="",
        epoch=1,
        origin="adopted",
        attested_by="a test",
        keys=(),
        logs=(),
        evidence=(),
        decided=0,
        expires=1 << 52,
    )


def make_rootfs(folder: Path, ids: IdRange) -> Path:
    """A root file system of busybox alone, owned by the range."""
    for part in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/ann", "etc/empty"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", folder / "bin" / "busybox")
    listed = subprocess.run(
        ["/bin/busybox", "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    for applet in listed:
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n"
    )
    (folder / "etc" / "group").write_text("root:x:0:\nann:x:1001:\nwheel:x:10:bob,ann\nstaff:x:50:ann\n")
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files, "."):
            os.lchown(os.path.join(top, name), ids.first, ids.first)
    return folder


class World:
    """One instance with its own folders; containers are made, run and reaped through the runtime package."""

    def __init__(self, facts: HostFacts, home: Path, driver: Driver | None = None) -> None:
        self.facts = facts
        self.paths = Paths(home / "root", home / "run")
        self.driver = driver or choose(facts, self.paths)
        self.made: list[str] = []
        self.waiting: dict[str, conmon.Waiting] = {}
        self.exits: dict[str, ExitNotice] = {}
        self._exited = threading.Condition()
        self.watcher = ExitWatcher(self.paths.exits, self._on_exit)
        self.watcher.start()
        for folder in (self.paths.root, self.paths.run):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    def _on_exit(self, notice: ExitNotice) -> None:
        with self._exited:
            self.exits[notice.container] = notice
            self._exited.notify_all()

    def wait(self, container: str, timeout: float = 20) -> ExitNotice:
        with self._exited:
            if not self._exited.wait_for(lambda: container in self.exits, timeout):
                raise AssertionError(f"no exit of {container[:12]}; log: {self.log_text(container)}")
            return self.exits[container]

    def prepare(
        self, *command: str, environment: Mapping[str, str] | None = None, **wishes: Any
    ) -> tuple[str, Path, ContainerSpec]:
        """A new container's id, bundle and spec; nothing runs yet."""
        container = secrets.token_hex(32)
        self.made.append(container)
        spec = ContainerSpec(command=command, **wishes)
        home = self.paths.container_run(container)
        home.mkdir(mode=0o711, parents=True)
        rootfs = make_rootfs(home / "rootfs", IDS)
        config = ociconfig.build(
            spec,
            IMAGE,
            id=container,
            rootfs=rootfs,
            ids=IDS,
            environment=environment or {},
            cgroup=cgroups.container_group(container),
            seccomp=seccomp.profile(self.facts.architecture),
            facts=self.facts,
            user=users.resolve(rootfs, spec.user or "", IDS),
            etc=write_etc_files(self.paths, container, spec, IDS),
        )
        return container, conmon.write_bundle(self.paths, container, config), spec

    def create(self, *command: str, **wishes: Any) -> str:
        """A container whose conmon waits; :meth:`start` lets its process run."""
        container, bundle, spec = self.prepare(*command, **wishes)
        self.hold(container, bundle, spec)
        return container

    def hold(self, container: str, bundle: Path, spec: ContainerSpec) -> conmon.Waiting:
        self.waiting[container] = conmon.prepare(
            self.paths, container, bundle, self.driver, tty=spec.tty, stdin=spec.stdin,
            log=self.paths.log(container))
        return self.waiting[container]

    def start(self, container: str) -> conmon.ConmonHandle:
        return conmon.run(self.waiting.pop(container), some_verdict())

    def begin(self, *command: str, **wishes: Any) -> tuple[str, conmon.ConmonHandle]:
        container = self.create(*command, **wishes)
        return container, self.start(container)

    def run(self, *command: str, **wishes: Any) -> tuple[int | None, str]:
        """Run to the end: exit code and log."""
        container, _ = self.begin(*command, **wishes)
        return self.wait(container).code, self.log_text(container)

    def shell(self, script: str, **wishes: Any) -> str:
        """What a shell script in a container prints, which must succeed."""
        code, text = self.run("/bin/sh", "-c", script, **wishes)
        assert code == 0, (code, text)
        return text

    def log_text(self, container: str) -> str:
        """The log without its times and tags."""
        with contextlib.suppress(FileNotFoundError):
            lines = self.paths.log(container).read_text(errors="replace").splitlines()
            return "\n".join(line.split(" ", 3)[3] for line in lines)
        return ""

    def close(self) -> None:
        try:
            for waiting in self.waiting.values():
                waiting.abandon()
            for container in self.made:
                cleanup.reap(self.paths, container, self.driver)
        finally:
            self.watcher.stop()


@contextlib.contextmanager
def open_world(facts: HostFacts | None = None) -> Iterator[World]:
    """A world in a short folder that a mapped root may pass through; everything in it ends with the block."""
    home = Path(tempfile.mkdtemp(prefix="vordr-", dir="/run"))
    home.chmod(0o711)
    try:
        world = World(facts or probe(), home)
        try:
            yield world
        finally:
            world.close()
    finally:
        shutil.rmtree(home)


FOREVER = ("/bin/sleep", "600")


@pytest.fixture(scope="module", name="world")
def runtime_world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.fail("needs root")
    with open_world() as opened:
        yield opened


@pytest.fixture(name="sleeper")
def runtime_sleeper(world: World) -> str:
    container, _ = world.begin(*FOREVER)
    return container


def packets(connection: socket.socket) -> dict[int, bytes]:
    """All output of an attach socket until its end, by stream."""
    found: dict[int, bytes] = {}
    connection.settimeout(20)
    while packet := connection.recv(attach.LONGEST_PACKET + 1):
        found[packet[0]] = found.get(packet[0], b"") + packet[1:]
    return found
