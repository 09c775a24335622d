"""Attacks on the real thing: images full of links, an edited database, failing starts, sudden revocations."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from vordr.actors import kernel
from vordr.engine.local import LocalEngine
from vordr.engine.protocol import Caller
from vordr.formats.typed import convert
from vordr.images import mountapi
from vordr.model.errors import SealBroken, StaleState, VerificationRejected, VordrError
from vordr.model.operations import REGISTRY, Scope

ADMIN = Caller("uid:0", Scope.ADMIN)
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]


class Attacked:
    """An engine of its own on the real kernel; ``open`` and ``close`` leave the root folder where it is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.open()
        self.call("trust_init", owner="Ada")

    def open(self) -> None:
        self.engine = LocalEngine.open(self.home / "root")
        self.paths = self.engine.host.paths

    def call(self, operation: str, **args: Any) -> Any:
        reply = self.engine.call_as(ADMIN, operation, convert(args, REGISTRY[operation].args))
        for descriptor in reply.files:
            os.close(descriptor)
        return reply.answer

    def adopt(self, name: str, change: Callable[[Path], object] = lambda rootfs: None) -> None:
        """An image of busybox, changed by ``change``."""
        rootfs = self.home / f"rootfs-{name}"
        for part in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            (rootfs / part).mkdir(parents=True)
        shutil.copy("/bin/busybox", rootfs / "bin" / "busybox")
        for applet in ("sh", "sleep", "cat", "true"):
            (rootfs / "bin" / applet).symlink_to("busybox")
        (rootfs / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        change(rootfs)
        self.call("adopt", image=str(rootfs), name=name)

    def run(self, image: str, name: str, *command: str, **more: Any) -> Any:
        return self.call("run", image=image, name=name, command=list(command or STUBBORN), **more).container

    def state(self, name: str) -> str:
        return str(self.call("inspect", container=name).container.state)

    def said(self, name: str) -> str:
        return "\n".join(line.text for line in self.call("logs", container=name).lines)

    def break_seal(self) -> None:
        """Change one byte of the one sealed layer."""
        (layer,) = self.paths.layers.glob("*.erofs")
        descriptor = os.open(layer, os.O_RDONLY)
        mountapi.set_immutable(descriptor, False)
        os.close(descriptor)
        layer.chmod(0o600)
        with layer.open("r+b") as file:
            file.seek(5000)
            file.write(b"\xff")

    def close(self) -> None:
        for container in self.call("list", all=True).containers:
            self.call("remove", container=container.id, force=True)
        self.engine.close()
        subprocess.run(["chattr", "-R", "-i", str(self.paths.layers)], check=False, capture_output=True)
        shutil.rmtree(self.home / "root")
        shutil.rmtree(self.paths.run)


def eventually(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    if os.geteuid() != 0:
        pytest.fail("needs root")
    made = Attacked(tmp_path)
    yield made
    made.close()


def link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def test_no_link_in_an_image_leads_what_we_read_or_bind_out(attacked: Attacked, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    up = "../" * 20
    attacked.adopt("hosts", lambda rootfs: link(rootfs / "etc" / "hosts", up + str(victim)[1:]))
    attacked.run("hosts", "hosts", "/bin/sh", "-c", "echo pwned > /etc/hosts; cat /etc/hosts")
    eventually(lambda: attacked.said("hosts") == "pwned", "it wrote its own /etc/hosts")
    assert victim.read_text() == "mine\n"
    victim.write_text("root:x:0:0:root:/root:/bin/sh\nodin:x:7:7::/:/bin/sh\n")
    attacked.adopt("accounts", lambda rootfs: link(rootfs / "etc" / "passwd", up + str(victim)[1:]))
    with pytest.raises(VordrError, match="odin"):
        attacked.run("accounts", "accounts", user="odin")


def test_what_a_container_writes_into_its_hosts_file_is_not_in_the_memory_of_the_host(
    attacked: Attacked,
) -> None:
    attacked.adopt("hello")
    made = attacked.run("hello", "web", "/bin/sh", "-c", "echo mine > /etc/hosts; echo done; sleep 100")
    eventually(lambda: attacked.said("web") == "done", "it wrote")
    assert (attacked.paths.container(made.id) / "etc" / "hosts").read_text() == "mine\n"
    assert not (attacked.paths.container_run(made.id) / "etc").exists()


def test_what_the_database_says_that_an_image_runs_is_nothing_without_the_verified_bytes(
    attacked: Attacked,
) -> None:
    attacked.adopt("hello")
    attacked.call("create", image="hello", name="web")
    attacked.engine.close()
    with plyvel.DB(str(attacked.paths.journal)) as database:
        ((key, value),) = [(k, v) for k, v in database if k.startswith(b"p/images/")]
        assert b'"user":""' in value
        database.put(key, value.replace(b'"user":""', b'"user":"0:0"'))
    attacked.open()
    with pytest.raises(VerificationRejected) as refused:
        attacked.call("start", container="web")
    assert refused.value.code == "SUBJECT_MISMATCH"
    assert attacked.state("web") == "created"


def test_a_start_that_came_to_nothing_is_in_no_later_undos_way(attacked: Attacked) -> None:
    attacked.adopt("hello")
    attacked.run("hello", "web")
    attacked.call("kill", container="web")
    attacked.break_seal()
    with pytest.raises(SealBroken):
        attacked.call("start", container="web")

    def start() -> bool:
        try:
            return bool(attacked.call("start", container="web"))
        except SealBroken:
            return False

    eventually(start, "the layer was made again, and it starts")
    attacked.call("undo")
    assert attacked.state("web") == "stopped"
    attacked.call("redo")
    assert attacked.state("web") == "running"


def test_a_key_revoked_while_a_restart_waits_for_the_end_starts_nothing_any_more(attacked: Attacked) -> None:
    attacked.adopt("hello")
    attacked.run("hello", "web")
    refused: list[BaseException] = []

    def restart() -> None:
        try:
            attacked.call("restart", container="web", timeout=2)
        except VordrError as error:
            refused.append(error)

    waiting = threading.Thread(target=restart)
    waiting.start()
    eventually(lambda: attacked.call("inspect", container="web").busy, "the restart has begun")
    attacked.call("trust_revoke", key=attacked.call("trust_show").keys[0].id)
    waiting.join(20)
    assert isinstance(refused[0], (StaleState, VerificationRejected))
    assert attacked.state("web") == "stopped"


def test_execs_that_nobody_waits_for_do_not_use_up_our_descriptors(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_MOST_UNASKED", 2)
    attacked.adopt("hello")
    attacked.run("hello", "web")
    attacked.call("exec", container="web", command=["/bin/true"])
    sessions = attacked.engine.host.world._sessions  # type: ignore[attr-defined]  # the kernel's own
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(6):
        eventually(lambda: all(handle.ended for handle in list(sessions.values())), "the execs ended")
        attacked.call("exec", container="web", command=["/bin/true"])
    assert len(sessions) <= 3
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    attacked.call("remove", container="web", force=True)
    assert not sessions
