"""Handing a container to conmon, which holds it from then on: log, exit file, attach socket.

conmon (containers/conmon, used as podman uses it) forks twice away from us, lives in a control group and
session of its own, and so outlives the service. It talks back over two pipes: it waits for a byte on
``_OCI_STARTPIPE`` until we have moved it into its group, and answers on ``_OCI_SYNCPIPE`` one JSON object a
line: ``data`` is the pid of the container's process, or negative with ``message``, the runtime's stderr; for
an exec a second line holds the exit code. The end of that pipe is the end of conmon.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vordr.model.errors import ContainerStopped, ExecFailed, RuntimeFailed, UsageError
from vordr.model.paths import Paths
from vordr.model.verdict import Verdict
from vordr.runtime import cgroups
from vordr.runtime.attach import attach_to
from vordr.runtime.command import CLEAN_ENVIRONMENT, last_line
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


def write_bundle(paths: Paths, container: str, config: Mapping[str, Any]) -> Path:
    """Write config.json (:func:`ociconfig.build`) and return the bundle's folder.

    Environment values are in it: the folder is root's alone.
    """
    bundle = bundle_folder(paths, container)
    bundle.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_private(bundle / "config.json", config)
    return bundle


def create(
    paths: Paths,
    container: str,
    bundle: Path,
    driver: Driver,
    *,
    tty: bool,
    stdin: bool,
    log: Path,
    verdict: Verdict,
    leave_stdin_open: bool = False,
    log_limit: int = LOG_LIMIT,
) -> ConmonHandle:
    """Create the container under a conmon of its own; ``driver.start`` then lets its process run.

    ``log_limit`` in bytes: beyond it the log begins anew, so that no container fills the journal's disk.

    Attach between the two and no output is lost. ``stdin`` without ``tty`` opens a pipe, closed when the
    first attached client goes unless ``leave_stdin_open``; without it the process reads /dev/null.

    Raises TypeError without a Verdict, CommandNotFound and ExecFailed for the command, RuntimeFailed with the
    runtime's words. On an error nothing runs; :func:`cleanup.reap` removes what was made.
    """
    if not isinstance(verdict, Verdict):
        raise TypeError("a process starts only with the gatekeeper's Verdict")
    check_id(container)
    for folder in (paths.exits, log.parent, paths.runtime_state):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An exit file of an earlier process would be taken for this one's.
    (paths.exits / container).unlink(missing_ok=True)
    words = [
        *_shared_words(driver, container, container, bundle),
        "--log-path", f"k8s-file:{_plain_path(log)}",
        "--log-size-max", str(log_limit),
        "--exit-dir", str(paths.exits),
        *(("-t",) if tty else ("-i",) if stdin else ()),
        *(("--leave-stdin-open",) if leave_stdin_open else ()),
    ]
    sync = LinePipe()
    try:
        _launch(paths, container, words, sync, None)
        pid = _container_pid(sync, "create")
        return ConmonHandle(_read_pid(bundle / CONMON_PIDFILE), pid)
    except BaseException:
        _kill_conmon(bundle, container)
        raise
    finally:
        sync.close()


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
) -> ExecHandle:
    """Run ``process`` (:func:`ociconfig.process_for_exec`) in a running container, under a conmon of its own.

    With ``attach`` the socket is connected before the command starts, so no output is lost; without it nobody
    keeps the output. Raises as :func:`create`, and ContainerStopped when it is cleaned up meanwhile.
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
            *_shared_words(driver, container, session, folder),
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
    """Whether the kernel killed a process of the container for want of memory (conmon's ``oom`` mark)."""
    return (bundle_folder(paths, container) / "oom").exists()


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


def _shared_words(driver: Driver, container: str, unique: str, folder: Path) -> list[str]:
    """What create and exec have in common. ``--no-sync-log``: the end of a log is not worth an fsync."""
    return [
        str(driver.conmon),
        "--api-version", "1",
        "--cid", container,
        "--cuuid", unique,
        "--runtime", str(driver.program),
        "--runtime-arg", f"--root={driver.state_root}",
        "--bundle", str(folder),
        "--container-pidfile", str(folder / CONTAINER_PIDFILE),
        "--conmon-pidfile", str(folder / CONMON_PIDFILE),
        "--persist-dir", str(folder),
        "--full-attach",
        "--no-sync-log",
    ]


def _launch(
    paths: Paths, container: str, words: Sequence[str], sync: LinePipe, attach: Path | None
) -> socket.socket | None:
    """Start conmon in its own group; with ``attach`` connect to the socket it opens in that folder.

    Returns when conmon is a daemon of its own (and, attached, may start the command).
    """
    gate_reader, gate = os.pipe()
    ready = LinePipe()
    environment = {
        **CLEAN_ENVIRONMENT, **_tmpdir(paths),
        "_OCI_STARTPIPE": str(gate_reader), "_OCI_SYNCPIPE": str(sync.writer),
        **({"_OCI_ATTACHPIPE": str(ready.writer)} if attach is not None else {}),
    }
    try:
        process = subprocess.Popen(
            list(words), env=environment, cwd="/", umask=0o022, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=(gate_reader, sync.writer, *((ready.writer,) if attach is not None else ())),
        )
        sync.close_writer()
        ready.close_writer()
        _let_go(container, process, gate)
        if attach is None:
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
        os.close(gate_reader)
        os.close(gate)
        ready.close()


def _let_go(container: str, process: subprocess.Popen[bytes], gate: int) -> None:
    """Move the waiting conmon into its group, open the gate, reap its first process, which forks and ends."""
    try:
        cgroups.enter(cgroups.make_conmon_group(container), process.pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(gate, b"\0")
        # stderr ends when conmon has turned into a daemon; until then it holds conmon's complaints.
        _, complaint = process.communicate(timeout=_DEADLINE_S)
    except BaseException as error:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
        if isinstance(error, (OSError, subprocess.TimeoutExpired)):
            raise RuntimeFailed(f"cannot start conmon: {error}") from error
        raise
    if process.returncode != 0:
        words = last_line(complaint.decode(errors="replace"))
        raise RuntimeFailed(f"conmon: {words or f'exit code {process.returncode}'}")


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
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
