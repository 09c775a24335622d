"""Which engine stands behind a root folder: the service's, one started for the occasion, or our own.

The command line imports this at every call, so nothing here imports the local engine before it is wanted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from vordr.engine.channel import Channel, dial
from vordr.engine.protocol import Engine
from vordr.engine.remote import RemoteEngine, unreachable
from vordr.formats.typed import decode
from vordr.model.errors import NotPrivileged, ServiceUnreachable, StateLocked, VordrError, from_wire
from vordr.model.paths import DEFAULT_ROOT, Paths

READY_SECONDS: Final = 90.0
"""How long a service that we started may take to recover before it answers."""

READY_LINE: Final = b"ready\n"
READY_FD: Final = 3

KEEPER: Final = (sys.executable, "-I", "-m", "vordr.service.keeper")
"""-I: neither the caller's environment nor the working folder may choose the code that runs as root."""

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_NOBODY_LISTENS: Final = {errno.ENOENT, errno.ECONNREFUSED}


def resolve_root(root: Path | None = None) -> Path:
    """The root folder asked for: the argument, else ``VORDR_ROOT``, else /var/lib/vordr; links resolved."""
    return Path(root or os.environ.get("VORDR_ROOT") or DEFAULT_ROOT).resolve()


def open_engine(root: Path | None = None) -> Engine:
    """The service's engine where one answers, else our own on the root folder.

    :raises NotPrivileged: the caller may use neither; StateLocked: another process owns the folder without
        serving it; JournalCorrupt and its like: what stands in the way of opening it.
    """
    root = resolve_root(root)
    channel = _dial_service(root)
    if channel is None:
        from vordr.engine.local import LocalEngine

        try:
            return LocalEngine.open(root)
        except StateLocked:
            channel = _dial_service(root)  # a service may have started between the two
            if channel is None:
                raise
    return RemoteEngine(_socket(root), channel)


def client_engine(root: Path | None = None, *, keeper: Sequence[str] = KEEPER) -> RemoteEngine:
    """The service's engine; starts a service when there is none and the caller may.

    ``keeper`` is the command that keeps the service, without its options.

    :raises NotPrivileged: no access to the socket; ServiceUnreachable: no service, and the caller cannot
        start one; what kept a service from starting (StateLocked, JournalCorrupt…) otherwise.
    """
    root = resolve_root(root)
    channel = _dial_service(root)
    if channel is None:
        _require_owner(root)
        channel = _start_service(root, keeper)
    return RemoteEngine(_socket(root), channel)


def _socket(root: Path) -> Path:
    return Paths.of(root).socket


def _dial_service(root: Path) -> Channel | None:
    """A connection to the service of ``root``; None when nobody listens there."""
    socket = _socket(root)
    try:
        return dial(socket)
    except OSError as error:
        if error.errno in _NOBODY_LISTENS:
            return None
        raise unreachable(socket, error)


def _require_owner(root: Path) -> None:
    """Only root, or the owner of the root folder, may start its service."""
    if os.geteuid() == 0:
        return
    try:
        owner = root.stat().st_uid
    except FileNotFoundError:
        owner = 0
    except PermissionError:
        raise NotPrivileged(f"no access to {root}")
    if owner != os.geteuid():
        raise ServiceUnreachable(
            f"no service answers on {root}, and only root may start one",
            remedy="sudo systemctl start vordr, or sudo vordr serve",
        )


# -- starting --------------------------------------------------------------------------------------


def _start_service(root: Path, keeper: Sequence[str]) -> Channel:
    """Start the keeper and wait until its service answers; one caller at a time, the others then connect."""
    try:
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        turn = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        raise NotPrivileged(f"cannot make or open {root}: {error.strerror}")
    except OSError as error:
        raise ServiceUnreachable(f"cannot make or open {root}: {error.strerror}")
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        channel = _dial_service(root) or _start_or_await(root, keeper)
    finally:
        os.close(turn)
    if channel is None:
        raise ServiceUnreachable("the service started and went away again", remedy=_see_log(root))
    return channel


def _start_or_await(root: Path, keeper: Sequence[str]) -> Channel | None:
    """Start a service; one that is on its way already (a keeper starts one that failed) is waited for."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            _spawn_keeper(root, keeper)
            return _dial_service(root)
        except StateLocked as locked:
            owner = str(locked.details.get("pid") or "")
            channel = _dial_service(root)
            while channel is None and _is_service(owner) and time.monotonic() < deadline:
                time.sleep(0.05)
                channel = _dial_service(root)
            if channel is not None:
                return channel
            if Path(f"/proc/{owner}").exists() or time.monotonic() >= deadline:
                raise  # somebody who does not serve, or not in time


def _is_service(pid: str) -> bool:
    """Whether the process that owns the root folder is a service, which will answer when it has recovered."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"vordr.service" in words or b"serve" in words


def _spawn_keeper(root: Path, keeper: Sequence[str]) -> None:
    """Run the keeper in a session and environment of its own; returns once its service is ready.

    The keeper leaves a child behind and exits (so that it is nobody's child here), and gives the word on
    descriptor 3: ``ready``, or the error that a service could not get over, as one line of JSON.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            process = os.posix_spawn(
                keeper[0],
                [*keeper, "--root", str(root), "--ready-fd", str(READY_FD)],
                _ENVIRONMENT,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, writing, READY_FD),
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
            )
        except OSError as error:
            raise ServiceUnreachable(f"cannot start {keeper[0]}: {error.strerror}")
        finally:
            os.close(writing)
        word = _read_word(reading, time.monotonic() + READY_SECONDS)
        os.waitpid(process, 0)
    finally:
        os.close(reading)
    if word is None:
        raise ServiceUnreachable(
            f"the service did not answer within {READY_SECONDS:.0f} s", remedy=_see_log(root))
    if word != READY_LINE:
        raise _told(word, root)


def _read_word(reading: int, deadline: float) -> bytes | None:
    """All up to the first newline or the end of the pipe; None when the deadline passed."""
    word = b""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while not word.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        more = os.read(reading, 65536)
        if not more:
            break
        word += more
    return word


def _told(word: bytes, root: Path) -> VordrError:
    """The error of a service that did not become ready."""
    try:
        error: dict[str, Any] = decode(word, dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ServiceUnreachable("the service ended before it was ready", remedy=_see_log(root))
    return from_wire(error)


def _see_log(root: Path) -> str:
    return f"see {root / 'service.log'}"
