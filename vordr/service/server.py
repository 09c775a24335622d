"""The service: an engine on a unix socket, until a signal, systemd or a failed journal ends it."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import msgspec

from vordr.engine.channel import listen
from vordr.engine.opening import READY_LINE, resolve_root
from vordr.model.errors import StateError, VordrError
from vordr.model.paths import Paths
from vordr.service import sdnotify
from vordr.service.accepting import STOP_SIGNALS, Server
from vordr.service.connection import ServedEngine
from vordr.service.logging import LogFile, configure, logger
from vordr.service.peers import service_group
from vordr.service.rootwatch import watching_root

STACKS_SIGNAL: Final = signal.SIGUSR2
"""On it the service writes where each of its threads stands to standard error: what a hang is found by."""

_log: Final = logger("vordr.service")


def serve(
    root: Path | None = None,
    *,
    console: bool = False,
    level: str = "info",
    log_file: Path | None = None,
    ready_fd: int | None = None,
    opener: Callable[[Path], ServedEngine] | None = None,
) -> int:
    """Serve the root folder from this process's main thread until SIGTERM or SIGINT; the exit code.

    ``console`` logs for a person, else JSON lines go to standard error, or to ``log_file``. ``ready_fd`` is
    told ``ready``, or the error as one line of JSON, and closed. ``opener`` opens the engine (LocalEngine).

    :raises StateLocked: another process owns the root folder; NotPrivileged, JournalCorrupt and what else
        keeps the engine from opening; StateError: the socket cannot be made.
    """
    configure(console=console, level=level, stream=None if log_file is None else LogFile(log_file))
    _raise_file_limit()
    faulthandler.register(STACKS_SIGNAL, file=2)
    if not faulthandler.is_enabled():
        faulthandler.enable(file=2)  # a process that dies in foreign code says where
    notifier = sdnotify.Notifier()  # first of all: what the engine starts must not speak to systemd for us
    paths = Paths.of(resolve_root(root))
    try:
        engine = (opener or _open_local)(paths.root)
        try:
            return _serve_engine(engine, paths, notifier, ready_fd)
        finally:
            # A failed journal leaves nothing to close in order: recovery at the next start does that.
            if not engine.failed.is_set():
                engine.close()
            _log.info("stopped", root=str(paths.root))
            faulthandler.unregister(STACKS_SIGNAL)
    except VordrError as error:
        _log.error("cannot serve", root=str(paths.root), error=error.id, reason=error.message)
        if ready_fd is not None:
            _give_word(ready_fd, msgspec.json.encode(error.to_wire()) + b"\n")
        raise


def serve_and_exit(
    root: Path | None = None, *, console: bool = False, level: str = "info",
    log_file: Path | None = None, ready_fd: int | None = None,
    opener: Callable[[Path], ServedEngine] | None = None,
) -> NoReturn:
    """:func:`serve` as a whole process: ends it with the exit code of what happened.

    Leaves without the interpreter's own clean-up, which would join threads that a dead disk may hold.
    """
    try:
        code = serve(
            root, console=console, level=level, log_file=log_file, ready_fd=ready_fd, opener=opener)
    except VordrError as error:
        code = error.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _open_local(root: Path) -> ServedEngine:
    from vordr.engine.local import LocalEngine

    engine = LocalEngine.open(root)
    engine.expire_trash()
    return engine


def _serve_engine(
    engine: ServedEngine, paths: Paths, notifier: sdnotify.Notifier, ready_fd: int | None
) -> int:
    group = service_group()
    try:
        listening = listen(paths.socket, group=group)
    except OSError as error:
        raise StateError(
            f"cannot make the socket {paths.socket}: {error.strerror or error}",
            remedy=f"remove {paths.socket}, or give the root folder a file system with sockets",
        )
    own = os.stat(paths.socket).st_ino
    server = Server(engine, listening, group=group, notifier=notifier)
    try:
        with _signals_to(server), watching_root(paths.lock, server.stop):
            _log.info("serving", root=str(paths.root), pid=os.getpid())
            if ready_fd is not None:
                _give_word(ready_fd, READY_LINE)
            return server.run()
    finally:
        _unlink_own(paths.socket, own)
        server.close()


@contextmanager
def _signals_to(server: Server) -> Iterator[None]:
    """Let the stop signals wake the server; what was in place before comes back."""

    def heard(number: int, frame: FrameType | None) -> None:
        """Python writes the number to the wake-up descriptor; nothing is left to do here."""

    handlers = [(number, signal.signal(number, heard)) for number in STOP_SIGNALS]
    before = signal.set_wakeup_fd(server.wakeup, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers:
            signal.signal(number, handler)


def _unlink_own(path: Path, inode: int) -> None:
    try:
        if os.lstat(path).st_ino == inode:
            os.unlink(path)
    except OSError:  # somebody else removed it: that is what was wanted
        pass


def _give_word(ready_fd: int, word: bytes) -> None:
    try:
        os.write(ready_fd, word)
    except OSError:  # who wanted to know is gone
        pass
    os.close(ready_fd)


def _raise_file_limit() -> None:
    """As many descriptors as we may have: each client can bring four, each container holds several."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # a kernel that refuses its own hard limit
            pass
