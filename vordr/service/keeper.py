"""Keeps a service that the command line started alive, where no systemd does.

``python -I -m vordr.service.keeper --root R --ready-fd N``: leaves its caller's session, descriptors, working
folder and, where the kernel lets it, cgroups; starts the service; starts it again when it fails; ends when it
ended well. It holds no state and imports no engine: nothing in it can be what failed.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from vordr.model.errors import ServiceUnreachable

SERVICE: Final = (sys.executable, "-I", "-m", "vordr.service")
INTENSITY: Final = 5
PERIOD: Final = 60.0
"""At most ``INTENSITY`` restarts within ``PERIOD`` seconds."""

CGROUP: Final = "vordr/service"

_READY: Final = b"ready\n"
_CHILD_READY_FD: Final = 3
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class RestartWindow:
    """How soon a failed service may start again; pure, times in seconds of any steady clock."""

    def __init__(self, intensity: int = INTENSITY, period: float = PERIOD) -> None:
        self._intensity = intensity
        self._period = period
        self._restarts: deque[float] = deque()

    def delay(self, now: float) -> float | None:
        """Seconds to wait before this restart, doubling with each in the window; None: too many, give up."""
        while self._restarts and now - self._restarts[0] >= self._period:
            self._restarts.popleft()
        if len(self._restarts) >= self._intensity:
            return None
        self._restarts.append(now)
        return min(0.1 * 2.0 ** (len(self._restarts) - 1), 5.0)


class Keeper:
    """Runs ``command`` for as long as it takes. ``starter`` is told how the first start went."""

    def __init__(self, command: Sequence[str], starter: int | None, window: RestartWindow) -> None:
        self._command = command
        self._starter = starter
        self._window = window
        self._ready_once = False
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Keep; the exit code for the keeper's process: 0 when the service ended well or was told to end."""
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        while True:
            code = self._run_once()
            if code == 0 or self._stopping or not self._ready_once:
                return 0 if self._stopping else code
            delay = self._window.delay(time.monotonic())
            if delay is None:
                _say("the service failed too often; giving up", code=code)
                return code
            _say("the service failed; starting it again", code=code, delay=delay)
            self._pause(delay)
            if self._stopping:
                return 0

    def _run_once(self) -> int:
        """One life of the service; its exit code, 128+n when signal n ended it."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            process = os.posix_spawn(
                self._command[0], [*self._command, "--ready-fd", str(_CHILD_READY_FD)], dict(os.environ),
                file_actions=[(os.POSIX_SPAWN_DUP2, writing, _CHILD_READY_FD)],
            )
        finally:
            os.close(writing)
        ended = os.pidfd_open(process)
        try:
            word = self._wait(process, ended, reading)
        finally:
            os.close(reading)
            os.close(ended)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        code = code if code >= 0 else 128 - code
        self._tell_starter(word if word.endswith(b"\n") else _never_ready(code))
        return code

    def _wait(self, process: int, ended: int, reading: int) -> bytes:
        """Until the service ended; what it said about its start, passed on as soon as it is whole."""
        word = b""
        poll = select.poll()
        for file in (ended, reading, self._wake_read):
            poll.register(file, select.POLLIN)
        while True:
            files = {file for file, _ in poll.poll()}
            if reading in files:
                more = os.read(reading, 65536)
                word += more
                if not more:
                    poll.unregister(reading)
                elif word.endswith(b"\n"):
                    self._tell_starter(word)
            if self._wake_read in files and self._told_to_stop():
                signal.pidfd_send_signal(ended, signal.SIGTERM)
            if ended in files and reading not in files:
                return word

    def _pause(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if poll.poll(seconds * 1000):
            self._told_to_stop()

    def _told_to_stop(self) -> bool:
        heard = os.read(self._wake_read, 4096)
        self._stopping = self._stopping or any(number in heard for number in _STOP_SIGNALS)
        return self._stopping

    def _tell_starter(self, word: bytes) -> None:
        self._ready_once = self._ready_once or word == _READY
        if self._starter is None:
            return
        try:
            os.write(self._starter, word)
        except OSError:  # the starter is gone; the service is wanted all the same
            pass
        os.close(self._starter)
        self._starter = None


def _never_ready(code: int) -> bytes:
    error = ServiceUnreachable(
        f"the service ended with {code} before it was ready", remedy="see service.log in the root folder")
    return msgspec.json.encode(error.to_wire()) + b"\n"


def _say(event: str, **more: object) -> None:
    """A line in the service's log, in its form."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"event": event, "logger": "vordr.keeper", "level": "warning", "timestamp": stamp, **more}
    os.write(2, msgspec.json.encode(line) + b"\n")


# -- leaving the caller ----------------------------------------------------------------------------


def detach(root: Path, ready_fd: int | None) -> None:
    """Become nobody's: a child of init in its own session, with none of the caller's descriptors.

    Returns in the new process only. Standard output and error go to service.log (0600) in the root folder.
    """
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(root / "service.log", flags, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    first = 3
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)
        os.closerange(3, ready_fd)
        first = ready_fd + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def leave_cgroups(mounts: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[str]:
    """Move this process into ``/vordr/service`` of each cgroup hierarchy that allows it; which it was.

    The end of the caller's session must not end the service. Where the kernel or the host refuses, the
    service runs in the caller's group: worse, but no reason not to run.
    """
    moved = []
    for line in own.read_text().splitlines():
        _, controllers, _ = line.split(":", 2)
        if "cpuset" in controllers.split(","):  # a new group has no CPU there until someone gives it one
            continue
        hierarchy = _hierarchy(mounts, controllers)
        group = hierarchy / CGROUP
        try:
            if not (hierarchy / "cgroup.procs").exists():
                continue
            group.mkdir(parents=True, exist_ok=True)
            (group / "cgroup.procs").write_text("0")  # cgroups(7): the writing process itself
        except OSError:
            continue
        moved.append(controllers or "unified")
    return moved


def _hierarchy(mounts: Path, controllers: str) -> Path:
    """Where a hierarchy of /proc/self/cgroup is mounted by custom (cgroups(7); systemd's hybrid layout)."""
    if controllers:
        return mounts / controllers.removeprefix("name=")
    unified = mounts / "unified"
    return unified if unified.is_dir() else mounts


def main(arguments: list[str] | None = None, service: Sequence[str] = SERVICE) -> NoReturn:
    """The keeper's process; ``service`` is the command to keep, without its options."""
    parser = argparse.ArgumentParser(prog="python -m vordr.service.keeper")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int)
    options = parser.parse_args(arguments)
    detach(options.root, options.ready_fd)
    leave_cgroups()
    command = [*service, "--root", str(options.root), "--log-file", str(options.root / "service.log")]
    sys.exit(Keeper(command, options.ready_fd, RestartWindow()).run())


if __name__ == "__main__":
    main()
