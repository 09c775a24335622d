"""Handing a container to conmon, which holds it from then on: log, exit file, attach socket.

conmon (containers/conmon, used as podman uses it) forks twice away from us, lives in a control group and
session of its own, and so outlives the service. It talks back over two pipes: it waits for a byte on
``_OCI_STARTPIPE`` until we have moved it into its group, and answers on ``_OCI_SYNCPIPE`` one JSON object a
line: ``data`` is the pid of the container's process, or negative with ``message``, the runtime's stderr; for
an exec a second line holds the exit code. The end of that pipe is the end of conmon.

A container's conmon is started before there is anything to run (:func:`prepare`) and told to go on when its
files are mounted, its client is attached and its verdict is at hand (:func:`run`).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vordr.model.errors import ContainerStopped, ExecFailed, RuntimeFailed, UsageError
from vordr.model.paths import Paths
from vordr.model.verdict import Verdict
from vordr.runtime import cgroups
from vordr.runtime.attach import attach_to
from vordr.runtime.command import CLEAN_ENVIRONMENT, find, last_line
from vordr.runtime.driver import Driver
from vordr.runtime.failures import runtime_error
from vordr.runtime.identifiers import check_id, check_session
from vordr.runtime.syncpipe import LinePipe

CONTAINER_PIDFILE: Final = "pidfile"
CONMON_PIDFILE: Final = "conmon.pid"
_DEADLINE_S: Final = 60.0
LOG_LIMIT: Final = 256 << 20
# conmon-term.XXXXXX must fit into sun_path together with its folder (unix(7): 108 bytes with the NUL).
_LONGEST_TMPDIR: Final = 107 - len("/conmon-term.XXXXXX")
# How often to look for an attach socket that is about to be there, in seconds.
_LISTENS_S: Final = 0.0005
_SHELL: Final = "/bin/sh"
# conmon calls it as `RUNTIME … create --bundle … ID`: the words that _Go and _runtime give come before.
_WHEN_TOLD: Final = (
    'read -r told enter <"$0" && [ "$told" = "$1" ] || exit 1; '
    'program=$2 root=$3; shift 4; '
    'exec ${enter:+nsenter "--mount=$enter" --} "$program" "$root" run --detach "$@"'
)


@dataclass(frozen=True)
class ConmonHandle:
    """A container held by conmon: the pids of both as the host counts."""

    conmon_pid: int
    container_pid: int


class ExecHandle:
    """One exec session: its pid, and (unless detached) the connected attach socket. Close it when done."""

    def __init__(
        self, session: str, conmon_pid: int, pid: int, attach: socket.socket | None, sync: LinePipe
    ) -> None:
        self.session = session
        self.conmon_pid = conmon_pid
        self.pid = pid
        self.attach = attach
        self._sync = sync
        self._lock = threading.Lock()
        self._ended = False
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code of the command, 128+n for signal n; None when its conmon died and nobody knows.

        ``timeout`` in seconds, None waits; raises TimeoutError. Any number of threads may wait, each in its
        turn, and all get the same code.
        """
        with self._lock:
            if not self._ended:
                answer = self._sync.line(timeout)
                self._code = None if answer is None else int(answer["data"])
                self._ended = True
            return self._code

    @property
    def ended(self) -> bool:
        """Whether :meth:`wait` would not block; true also while somebody else waits for its turn's end."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._ended or self._sync.ready
        finally:
            self._lock.release()

    def fileno(self) -> int:
        """Readable when :meth:`wait` would not block."""
        return self._sync.fileno()

    def close(self) -> None:
        """Let go of the session's descriptors, once nobody reads them; the command runs on."""
        with self._lock:
            self._ended = True
            self._sync.close()
            if self.attach is not None:
                self.attach.close()


def bundle_folder(paths: Paths, container: str) -> Path:
    """Where config.json, the attach socket and conmon's control FIFO of a container are."""
    return paths.container_run(check_id(container)) / "bundle"


def exec_folder(paths: Paths, container: str, session: str) -> Path:
    """The same for an exec session."""
    return paths.container_run(check_id(container)) / "exec" / check_session(session)


def make_bundle(paths: Paths, container: str) -> Path:
    """Make the bundle's folder, for :func:`prepare`; environment values come into it: it is root's alone."""
    bundle = bundle_folder(paths, container)
    for folder in (paths.run.parent, paths.run, paths.run / "c"):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    bundle.parent.mkdir(mode=0o710, exist_ok=True)
    bundle.mkdir(mode=0o700, exist_ok=True)
    return bundle


def write_bundle(paths: Paths, container: str, config: Mapping[str, Any]) -> Path:
    """Write config.json (:func:`ociconfig.build`) and return the bundle's folder.

    Environment values are in it: the folder is root's alone.
    """
    bundle = make_bundle(paths, container)
    _write_private(bundle / "config.json", config)
    return bundle


class Waiting:
    """A conmon that holds a container's place: nothing of the image runs before :func:`run`.

    It cannot outlast us unasked: when this process ends first, conmon's runtime is never started.
    """

    def __init__(
        self, container: str, bundle: Path, process: subprocess.Popen[bytes], sync: LinePipe, go: _Go
    ) -> None:
        self.container = container
        self.bundle = bundle
        self._process: subprocess.Popen[bytes] | None = process
        self._sync = sync
        self._go = go

    def ready(self) -> int:
        """Wait until conmon is a daemon of its own; its pid as the host counts. Raises RuntimeFailed."""
        if self._process is not None:
            process, self._process = self._process, None
            _reap_starter(process)
        return _read_pid(self.bundle / CONMON_PIDFILE)

    def attach(self) -> socket.socket:
        """Connect to the attach socket, so that no output is lost; the caller closes it."""
        self.ready()
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            try:
                return attach_to(self.bundle)
            except ContainerStopped as stopped:
                if self._sync.ready or time.monotonic() > deadline:
                    raise RuntimeFailed("conmon opened no attach socket") from stopped
            time.sleep(_LISTENS_S)

    def abandon(self) -> None:
        """End a conmon that shall not run anything; idempotent, and harmless after :func:`run`."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        _kill_conmon(self.bundle, self.container)
        self.close()

    def close(self) -> None:
        """Let go of the descriptors."""
        self._go.close()
        self._sync.close()


class _Go:
    """The word on which conmon's runtime starts, and the mount namespace in which, by its path or empty: a
    line that only the one who made this can write.

    The runtime's launcher opens our end of the pipe by /proc/PID/fd, so no descriptor is inherited into the
    container, and reads its end when we die. The token keeps it from taking another file for ours, should
    the number be given out again.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._token = secrets.token_hex(16)
        self._open = True

    @property
    def words(self) -> tuple[str, str]:
        """Where the launcher reads, and what it must find there."""
        return f"/proc/{os.getpid()}/fd/{self._reader}", self._token

    def say(self, namespace: str) -> None:
        os.write(self._writer, f"{self._token} {namespace}\n".encode())

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._reader)
            os.close(self._writer)


def prepare(
    paths: Paths,
    container: str,
    bundle: Path,
    driver: Driver,
    *,
    tty: bool,
    stdin: bool,
    log: Path,
    leave_stdin_open: bool = False,
    log_limit: int = LOG_LIMIT,
) -> Waiting:
    """Start a conmon for the container, which waits for :func:`run`; meanwhile the bundle can be filled.

    ``log_limit`` in bytes: beyond it the log begins anew, so that no container fills the journal's disk.
    ``stdin`` without ``tty`` opens a pipe, closed when the first attached client goes unless
    ``leave_stdin_open``; without it the process reads /dev/null. Raises RuntimeFailed.
    """
    check_id(container)
    for folder in (paths.exits, log.parent, paths.runtime_state):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An exit file of an earlier process would be taken for this one's.
    (paths.exits / container).unlink(missing_ok=True)
    go, sync = _Go(), LinePipe()
    words = [
        *_words(driver, container, container, bundle,
                (_SHELL, "-c", _WHEN_TOLD, *go.words, *_runtime(driver))),
        "--log-path", f"k8s-file:{_plain_path(log)}",
        "--log-size-max", str(log_limit),
        "--exit-dir", str(paths.exits),
        *(("-t",) if tty else ("-i",) if stdin else ()),
        *(("--leave-stdin-open",) if leave_stdin_open else ()),
    ]
    try:
        process, gate = _start(paths, container, words, sync, None)
        os.close(gate)
        return Waiting(container, bundle, process, sync, go)
    except BaseException:
        sync.close()
        go.close()
        raise


def run(
    waiting: Waiting, verdict: Verdict, meanwhile: Callable[[], object] = lambda: None,
    namespace: str | None = None,
) -> ConmonHandle:
    """Let the container's process run: one ``runc run --detach`` by the waiting conmon (decision 0029).

    Connect :meth:`Waiting.attach` before, and no output is lost. ``meanwhile`` is called while the runtime
    is at work; what it raises ends the conmon. ``namespace`` is the path of the mount namespace in which the
    runtime is started, None for our own. Raises TypeError without a Verdict,
    CommandNotFound and ExecFailed for the command, RuntimeFailed with the runtime's words. On an error
    nothing runs; :func:`cleanup.reap` removes what was made.
    """
    try:
        if not isinstance(verdict, Verdict):
            raise TypeError("a process starts only with the gatekeeper's Verdict")
        keeper = waiting.ready()
        waiting._go.say(namespace or "")
        meanwhile()
        return ConmonHandle(keeper, _container_pid(waiting._sync, "run"))
    except BaseException:
        waiting.abandon()
        raise
    finally:
        waiting.close()


def exec_(
    paths: Paths,
    container: str,
    session: str,
    process: Mapping[str, Any],
    driver: Driver,
    *,
    tty: bool,
    stdin: bool,
    attach: bool,
    namespace: str | None = None,
) -> ExecHandle:
    """Run ``process`` (:func:`ociconfig.process_for_exec`) in a running container, under a conmon of its own.

    With ``attach`` the socket is connected before the command starts, so no output is lost; without it nobody
    keeps the output. ``namespace`` is that of :func:`run`. Raises as :func:`run`, and ContainerStopped
    when it is cleaned up meanwhile.
    """
    folder = exec_folder(paths, container, session)
    sync = LinePipe()
    connection: socket.socket | None = None
    try:
        # The container's own folder is there while it lives: made anew here it would outlast it.
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700)
        _write_private(folder / "process.json", process)
        words = [
            *_words(driver, container, session, folder, (*_entering(namespace), *_runtime(driver))),
            "--log-path", "null",
            "--exec", "--exec-process-spec", str(folder / "process.json"),
            *(("--exec-attach",) if attach else ()),
            *(("-t",) if tty else ("-i",) if stdin else ()),
        ]
        connection = _launch(paths, container, words, sync, folder if attach else None)
        pid = _container_pid(sync, "exec")
        return ExecHandle(session, _read_pid(folder / CONMON_PIDFILE), pid, connection, sync)
    except BaseException as error:
        sync.close()
        _kill_conmon(folder, container)
        if connection is not None:
            connection.close()
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # other sessions are in it, or it is gone
            folder.parent.rmdir()
        if isinstance(error, FileNotFoundError):  # its folders were cleaned up under us
            raise ContainerStopped("the container stopped before the command began") from error
        raise


def exec_exit_code(paths: Paths, container: str, session: str) -> int | None:
    """The exit code that the session's conmon left, for a service that came back; None while it runs."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((exec_folder(paths, container, session) / "exit").read_text())
    return None


def forget_exec(paths: Paths, container: str, session: str) -> None:
    """Remove what a finished exec session left; idempotent."""
    shutil.rmtree(exec_folder(paths, container, session), ignore_errors=True)


def was_oom_killed(paths: Paths, container: str) -> bool:
    """Whether the kernel killed a process of the container for want of memory: by conmon's ``oom`` mark, or,
    for conmon listens only when the process has begun, by what the control group has counted."""
    return (bundle_folder(paths, container) / "oom").exists() or cgroups.oom_kills(container) > 0


def conmon_pid(paths: Paths, container: str) -> int | None:
    """Pid of the container's conmon when it is alive, to adopt it again; None when it is gone."""
    return _living_conmon(bundle_folder(paths, container), container)


def _living_conmon(folder: Path, container: str) -> int | None:
    """Pid of the conmon that left its pid in ``folder``, when it is alive.

    The pid may be somebody else's by now: only the container's own conmons have its id among their words.
    """
    with contextlib.suppress(OSError, RuntimeFailed):
        pid = _read_pid(folder / CONMON_PIDFILE)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if container.encode() in words and os.fsencode(folder) in words:
            return pid
    return None


def _kill_conmon(folder: Path, container: str) -> None:
    """End a conmon whose start went wrong; the runtime that it waits for dies with it (PR_SET_PDEATHSIG)."""
    pid = _living_conmon(folder, container)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _words(
    driver: Driver, container: str, unique: str, folder: Path, runtime: Sequence[str]
) -> list[str]:
    """What a container's conmon and an exec's have in common; ``runtime`` is the program it calls, and that
    program's first words. ``--no-sync-log``: the end of a log is not worth an fsync."""
    return [
        str(driver.conmon),
        "--api-version", "1",
        "--cid", container,
        "--cuuid", unique,
        "--runtime", runtime[0],
        *(f"--runtime-arg={word}" for word in runtime[1:]),
        "--bundle", str(folder),
        "--container-pidfile", str(folder / CONTAINER_PIDFILE),
        "--conmon-pidfile", str(folder / CONMON_PIDFILE),
        "--persist-dir", str(folder),
        "--full-attach",
        "--no-sync-log",
    ]


def _entering(namespace: str | None) -> tuple[str, ...]:
    """The words that put the program after them into a mount namespace: nsenter(1)."""
    return () if namespace is None else (str(find("nsenter")), f"--mount={namespace}", "--")


def _runtime(driver: Driver) -> tuple[str, str]:
    return str(driver.program), f"--root={driver.state_root}"


def _launch(
    paths: Paths, container: str, words: Sequence[str], sync: LinePipe, attach: Path | None
) -> socket.socket | None:
    """Start an exec's conmon; with ``attach`` connect to the socket it opens in that folder.

    Returns when conmon is a daemon of its own (and, attached, may start the command).
    """
    ready = None if attach is None else LinePipe()
    gate = -1
    try:
        process, gate = _start(paths, container, words, sync, ready)
        _reap_starter(process)
        if attach is None or ready is None:
            return None
        try:
            answer = ready.line(_DEADLINE_S)
        except TimeoutError as error:
            raise RuntimeFailed(f"conmon: no attach socket after {_DEADLINE_S:g} s") from error
        if answer is None:
            raise RuntimeFailed("conmon ended before its attach socket was ready")
        connection = attach_to(attach)
        os.write(gate, b"\0")
        return connection
    finally:
        if gate >= 0:
            os.close(gate)
        if ready is not None:
            ready.close()


def _start(
    paths: Paths, container: str, words: Sequence[str], sync: LinePipe, ready: LinePipe | None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start conmon, move it into its group and open its gate: its first process, which forks and ends, and
    the end of the gate to write to again or to close."""
    gate_reader, gate = os.pipe()
    pipes = {"_OCI_STARTPIPE": gate_reader, "_OCI_SYNCPIPE": sync.writer,
             **({"_OCI_ATTACHPIPE": ready.writer} if ready is not None else {})}
    try:
        process = subprocess.Popen(
            list(words), env={**CLEAN_ENVIRONMENT, **_tmpdir(paths), **{k: str(v) for k, v in pipes.items()}},
            cwd="/", umask=0o022, start_new_session=True, pass_fds=tuple(pipes.values()),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            sync.close_writer()
            if ready is not None:
                ready.close_writer()
            cgroups.enter(cgroups.make_conmon_group(container), process.pid)
            with contextlib.suppress(BrokenPipeError):  # it has ended, and its stderr says why
                os.write(gate, b"\0")
        except BaseException:
            _kill_starter(process)
            raise
    except BaseException as error:
        os.close(gate)
        if isinstance(error, OSError):
            raise RuntimeFailed(f"cannot start conmon: {error}") from error
        raise
    finally:
        os.close(gate_reader)
    return process, gate


def _reap_starter(process: subprocess.Popen[bytes]) -> None:
    """Wait for conmon's first process to end, which it does when the second one is there."""
    try:
        # stderr ends when conmon has turned into a daemon; until then it holds conmon's complaints.
        _, complaint = process.communicate(timeout=_DEADLINE_S)
    except BaseException as error:
        _kill_starter(process)
        if isinstance(error, (OSError, subprocess.TimeoutExpired)):
            raise RuntimeFailed(f"cannot start conmon: {error}") from error
        raise
    if process.returncode != 0:
        words = last_line(complaint.decode(errors="replace"))
        raise RuntimeFailed(f"conmon: {words or f'exit code {process.returncode}'}")


def _kill_starter(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _container_pid(sync: LinePipe, doing: str) -> int:
    """The first line on the sync pipe: a pid, or the runtime's words."""
    try:
        answer = sync.line(_DEADLINE_S)
    except TimeoutError as error:
        raise RuntimeFailed(f"{doing}: no answer from the runtime after {_DEADLINE_S:g} s") from error
    if answer is None:
        raise RuntimeFailed(f"{doing}: conmon ended without a word")
    pid = int(answer["data"])
    if pid <= 0:
        failure: RuntimeFailed | ExecFailed = runtime_error(str(answer.get("message", "")), doing)
        raise failure
    return pid


def _tmpdir(paths: Paths) -> dict[str, str]:
    """Where conmon makes the socket that brings a terminal: in our own folder if its path is short enough."""
    folder = str(paths.run)
    return {"TMPDIR": folder} if len(os.fsencode(folder)) <= _LONGEST_TMPDIR else {}


def _plain_path(path: Path) -> str:
    """conmon cuts ``driver:path`` at every colon."""
    if ":" in str(path):
        message = f"the root folder's path may not contain ':' ({path})"
        raise UsageError(message, remedy="move the root folder")
    return str(path)


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise RuntimeFailed(f"conmon left no pid in {path}") from error


def _write_private(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that root alone may read: it carries environment values."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")))  # dump would not use C
