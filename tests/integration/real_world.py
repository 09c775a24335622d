"""The real thing for acceptance tests: a root folder of its own, the command line as a process, its service.

Every instance takes away what it made and then looks whether anything of it is left on the host: mounts,
control groups, runtime state, processes, folders in /run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vordr.engine.remote import RemoteEngine
from vordr.model.paths import Paths

VORDR = Path(sys.executable).with_name("vordr")
CGROUPS = Path("/sys/fs/cgroup")
LOOP = "while true; do sleep 0.1; done"
OBEDIENT = "trap 'exit 0' TERM; while true; do sleep 0.05; done"
"""A process that ends at once when it is asked to: as process 1 it would hear no TERM without the trap."""

T = TypeVar("T")
Made = TypeVar("Made", bound="Instance")


@dataclass(frozen=True)
class Done:
    """A command that ended: its words, exit code (128+n for signal n) and output."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error object that ``--json`` puts on standard error."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return found

    def __str__(self) -> str:
        return f"vordr {' '.join(self.words)} → {self.code}\n{self.out}{self.err}"


def eventually(look: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """The first true value of ``look``: for what no event tells of."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"within {seconds:g} s there was not: {what}")
        time.sleep(0.02)
    return found


def make_rootfs(folder: Path) -> Path:
    """A root file system of Debian's static busybox, an account, and a file that cannot be executed."""
    for part in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/ann"):
        (folder / part).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", folder / "bin" / "busybox")
    listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    (folder / "bin" / "plain").write_text("no program\n")
    (folder / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n")
    (folder / "etc" / "group").write_text("root:x:0:\nann:x:1001:\n")
    return folder


class Instance:
    """One root folder. ``inside`` are words that each command is run by (``nsenter …``)."""

    def __init__(self, *, trust: bool = True, inside: Sequence[str] = (), home: Path | None = None) -> None:
        if os.geteuid() != 0:
            pytest.fail("acceptance tests need root")
        self.home = home or Path(tempfile.mkdtemp(prefix="vordr-acc-", dir="/tmp"))
        self.home.chmod(0o711)
        self.root = self.home / "root"
        self.paths = Paths.of(self.root.resolve())
        self.inside = tuple(inside)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("VORDR_")},
            "VORDR_ROOT": str(self.root)}
        self.trust = trust

    def begin(self) -> None:
        """Start the service, and make keys, logs and a trust store if wished."""
        if self.trust:
            self.vordr("trust", "init", "--owner", "Acceptance")

    # -- commands ----------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        return [*self.inside, str(VORDR), *words]

    def vordr(
        self, *words: str, code: int | None = 0, input: str | None = None, timeout: float = 40,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Run ``vordr WORDS``, which must end with ``code`` (None: any)."""
        ran = subprocess.run(
            self.command(*words), env={**self.environment, **(environment or {})}, text=True,
            cwd=self.home, timeout=timeout, check=False, capture_output=True, errors="replace",
            **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}))
        number = ran.returncode if ran.returncode >= 0 else 128 - ran.returncode
        done = Done(words, number, ran.stdout, ran.stderr)
        assert code is None or number == code, f"expected exit code {code}: {done}"
        assert "Traceback" not in ran.stderr, done
        return done

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """``vordr WORDS`` as a process with pipes, for the test to end."""
        return subprocess.Popen(
            self.command(*words), env=self.environment, cwd=self.home, text=True, **{
                "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})

    def json(self, *words: str) -> Any:
        return self.vordr("--json", *words).json

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container (the answer of ``inspect``, as plain data)."""
        from vordr.cli.shapes import plain

        with self.engine() as engine:
            found: dict[str, Any] = json.loads(json.dumps(plain(engine.inspect(name))))
        return {**found["container"], "digest": found["digest"], "busy": found["busy"]}

    def state(self, name: str) -> str:
        return str(self.inspect(name)["state"])

    def engine(self) -> RemoteEngine:
        return RemoteEngine(self.paths.socket)

    def pack(self, name: str = "hello", *words: str, rootfs: Path | None = None) -> Path:
        """``NAME.ctp`` of a busybox root file system; its default command is a shell that sleeps."""
        source = rootfs or self.home / "rootfs"
        if not source.exists():
            make_rootfs(source)
        output = self.home / f"{name}.ctp"
        self.vordr("pack", str(source), str(output), "--name", name, *(words or ("--cmd", "/bin/sh")))
        return output

    def run(self, name: str, *command: str, options: Sequence[str] = ()) -> str:
        """A running, detached container of the image ``hello``; its id."""
        done = self.vordr("run", "-d", "--name", name, *options, "hello",
                          *(command or ("sh", "-c", OBEDIENT)))
        return done.out.strip()

    def sh(self, name: str, script: str) -> str:
        """What a shell script inside a running container says."""
        return self.vordr("exec", name, "sh", "-c", script).out

    def undo_last(self) -> Done:
        return self.vordr("undo", "--last", "--yes")

    def head(self) -> int:
        """Number of the newest record."""
        with self.engine() as engine:
            return engine.audit().records

    def assert_settled(self, newest: int = 10) -> None:
        """Every one of the newest transactions comes to an end (what a policy does goes on by itself)."""
        with self.engine() as engine:
            eventually(
                lambda: all(act.status != "open" for act in engine.history(limit=newest).acts), "no open act")

    def assert_sound(self) -> None:
        """No transaction stays open, and the audit holds."""
        self.assert_settled(newest=100_000)
        with self.engine() as engine:
            told = engine.audit()
        assert told.ok, told

    # -- the service -------------------------------------------------------------------------------

    def service_pid(self) -> int | None:
        """Pid of the process that owns the root folder, as its lock says; None when none lives."""
        try:
            pid = int((self.root / "lock").read_text())
            cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if b"vordr" in cmdline and os.fsencode(self.root) in cmdline else None

    def keeper_pid(self) -> int | None:
        """Pid of the keeper of this root folder; None when there is none."""
        return next(iter(pids_with("vordr.service.keeper", str(self.root))), None)

    def kill_service(self, *, keeper: bool) -> int:
        """SIGKILL to the service (and to its keeper before); its pid."""
        pid = self.service_pid()
        assert pid is not None
        if keeper and (parent := self.keeper_pid()) is not None:
            end_process(parent, signal.SIGKILL)
        end_process(pid, signal.SIGKILL)
        return pid

    def stop_service(self) -> None:
        """SIGTERM to the service; returns when it and its keeper have ended."""
        keeper, pid = self.keeper_pid(), self.service_pid()
        if pid is not None:
            end_process(pid, signal.SIGTERM)
        if keeper is not None:
            await_end(keeper)

    # -- the end -----------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """Every container that there is or that is in the trash."""
        live = self.vordr("ps", "-aq", "--no-trunc").out.split()
        return [*live, *self.vordr("trash", "ls", "-q", "--no-trunc").out.split()]

    def close(self) -> None:
        """Take everything away; fails when something of it is left on the host."""
        ids = self.ids()
        live = self.vordr("ps", "-aq", "--no-trunc").out.split()
        if live:
            self.vordr("rm", "-f", *live)
        self.stop_service()
        left = self.leftovers(ids)
        self.clear_folder()
        assert not left, left

    def clear_folder(self) -> None:
        subprocess.run(["chattr", "-R", "-i", str(self.root / "layers")], check=False,
                       capture_output=True)
        shutil.rmtree(self.home)
        for folder in (self.paths.run / "c", self.paths.run / "runc", self.paths.run):
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()

    def leftovers(self, ids: Sequence[str]) -> list[str]:
        """What is on the host of this instance though none of its containers lives."""
        mine = (str(self.home), str(self.paths.run))
        left = [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines()
                if any(part in line for part in mine)]
        left += [f"cgroup {folder}" for container in ids for folder in groups_of(container)]
        for folder in ("c", "runc"):
            with contextlib.suppress(FileNotFoundError):
                left += [f"run {entry}" for entry in (self.paths.run / folder).iterdir()]
        left += [f"process {pid}" for part in mine for pid in pids_with(part)]
        return left


def groups_of(container: str) -> list[Path]:
    """The control groups of a container and of its conmon, in every hierarchy (v1 and unified)."""
    parents = (*CGROUPS.glob("*/vordr"), CGROUPS / "vordr")
    groups = [parent / name for parent in parents for name in (container, f"conmon-{container}")]
    return [group for group in groups if group.exists()]


def pids_with(*parts: str) -> list[int]:
    """Processes (not this one) whose command line has all of ``parts``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if all(part in words for part in parts):
                    found.append(int(entry.name))
    return found


def end_process(pid: int, number: int, seconds: float = 30) -> None:
    """Send a signal and wait for the end."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, number)
        _await(descriptor, pid, seconds)
    finally:
        os.close(descriptor)


def await_end(pid: int, seconds: float = 30) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        _await(descriptor, pid, seconds)
    finally:
        os.close(descriptor)


def _await(descriptor: int, pid: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(seconds * 1000):
        pytest.fail(f"process {pid} does not end")


@contextlib.contextmanager
def instance(**more: Any) -> Iterator[Instance]:
    """An instance that is gone, without a trace, after the block."""
    with ending(Instance(**more)) as made:
        yield made


@contextlib.contextmanager
def ending(made: Made) -> Iterator[Made]:
    """Close the instance; when the block failed, its own error is the one that is told."""
    try:
        made.begin()
        yield made
    except BaseException:
        with contextlib.suppress(Exception):
            made.close()
        with contextlib.suppress(OSError):
            made.clear_folder()
        raise
    made.close()


class Confined(Instance):
    """An instance whose commands and service run in a private mount namespace, prepared by ``script``."""

    def __init__(self, script: str, home: Path) -> None:
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             f"{script}\necho ready\nexec sleep 1000"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "HOME_OF": str(home)})
        assert self.holder.stdout is not None
        with self.holder.stdout as told:
            assert told.readline() == "ready\n"
        super().__init__(inside=("nsenter", "-t", str(self.holder.pid), "-m", "--"), home=home)

    def inner(self, *words: str) -> str:
        """Run a plain command inside the namespace."""
        return subprocess.run([*self.inside, *words], check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.release()

    def release(self) -> None:
        """Let the namespace go, and with it what was mounted in it."""
        self.holder.kill()
        self.holder.wait()

    def clear_folder(self) -> None:
        self.release()
        super().clear_folder()


@contextlib.contextmanager
def confined(script: str) -> Iterator[Confined]:
    with ending(Confined(script, Path(tempfile.mkdtemp(prefix="vordr-acc-", dir="/tmp")))) as world:
        yield world
