"""The service: an engine on a unix socket, until a signal, systemd or a failed journal ends it.

One thread accepts, one per connection serves, one watches for clients that leave. The accepting thread never
waits for anything but its poll: signals, finished connections and the engine's failure wake it through a
pipe.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import msgspec

from vordr.engine.channel import Channel, listen
from vordr.engine.opening import READY_LINE, resolve_root
from vordr.formats import frames
from vordr.model.errors import InboxFull, JournalStopped, StateError, VordrError
from vordr.model.operations import Scope
from vordr.model.paths import Paths
from vordr.service import sdnotify
from vordr.service.connection import MAX_REQUEST, Connection, Patience, ServedEngine
from vordr.service.logging import LogFile, configure, logger
from vordr.service.peers import caller_of, peer_of, service_group
from vordr.service.watch import HangupWatch

MAX_CONNECTIONS: Final = 256
RESERVED: Final = 16
"""Of these, kept for administrators: the group cannot lock them out."""

DRAIN_SECONDS: Final = 20.0
"""How long a stopping service waits for acts under way; well below systemd's own patience of 90 s."""

FAILURE_SECONDS: Final = 0.5
"""After the journal failed: just enough for the callers concerned to be told."""

_STOP: Final = 0  # a byte on the wake-up pipe that is no signal's number
_LOOK: Final = 255
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CONGESTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log: Final = logger("vordr.service")


class Server:
    """Accepts and serves on ``listening`` (which it owns) until :meth:`stop`. Does not close the engine."""

    def __init__(
        self, engine: ServedEngine, listening: socket.socket, *, group: int | None = None,
        notifier: sdnotify.Notifier | None = None, patience: Patience | None = None,
        limit: int = MAX_CONNECTIONS, reserved: int = RESERVED, drain: float = DRAIN_SECONDS,
    ) -> None:
        self._engine = engine
        self._listening = listening
        self._group = group
        self._notifier = notifier or sdnotify.Notifier({})
        self._patience = patience
        self._limit, self._reserved, self._drain = limit, reserved, drain
        self._watch = HangupWatch()
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._closed = False
        self._wake_read, self.wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(self) -> None:
        """Begin to stop; a second time: stop without waiting. Any thread."""
        self._wake(_STOP)

    def run(self) -> int:
        """Serve; the exit code: 0 after a stop, that of JournalStopped when the engine failed."""
        threading.Thread(target=self._await_failure, name="engine-failure", daemon=True).start()
        self._notifier.tell(sdnotify.READY, "STATUS=serving")
        try:
            self._accept_until_stopped()
        finally:
            self._listening.close()
            self._notifier.tell(sdnotify.STOPPING)
        failed = self._engine.failed.is_set()
        self._finish(FAILURE_SECONDS if failed else self._drain)
        return JournalStopped.exit_code if failed or self._engine.failed.is_set() else 0

    # -- the accepting thread ----------------------------------------------------------------------

    def _accept_until_stopped(self) -> None:
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        period = self._notifier.period
        alive = time.monotonic()
        while True:
            timeout = None if period is None else max(0.0, alive + period - time.monotonic()) * 1000
            ready = {file for file, _ in poll.poll(timeout)}
            if period is not None and time.monotonic() >= alive + period:
                self._notifier.tell(sdnotify.WATCHDOG)
                alive = time.monotonic()
            if self._wake_read in ready and self._stops_in(self._heard()):
                return
            if self._listening.fileno() in ready:
                self._accept()

    def _accept(self) -> None:
        try:
            connected, _ = self._listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _CONGESTED:
                return  # the client left before we came
            _log.error("cannot accept", reason=error.strerror)
            self._await_room()
            return
        try:
            self._welcome(connected)
        except (VordrError, OSError) as error:
            _log.warning("client turned away", reason=str(error))
            if isinstance(error, VordrError):
                _turn_away(connected, error)
            connected.close()

    def _welcome(self, connected: socket.socket) -> None:
        """Give the client a thread. Raises PolicyDenied, InboxFull."""
        caller = caller_of(peer_of(connected), owner=os.geteuid(), group=self._group)
        limit = self._limit if caller.scope is Scope.ADMIN else self._limit - self._reserved
        connection = Connection(
            Channel(connected, max_frame=MAX_REQUEST), caller, self._engine, self._watch, self._patience)
        with self._lock:
            if len(self._connections) >= limit:
                raise InboxFull(f"the service already serves {limit} connections", remedy="try again")
            self._connections.add(connection)
        try:
            threading.Thread(target=self._serve, args=(connection,), name="client", daemon=True).start()
        except RuntimeError as error:  # the kernel gives no more threads
            with self._lock:
                self._connections.discard(connection)
            raise InboxFull(f"the service has no thread for another client: {error}", remedy="try again")

    def _await_room(self) -> None:
        """Out of descriptors or memory: wait for a connection to end, or a moment, instead of spinning."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        poll.poll(200)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._connections.discard(connection)
            self._wake(_LOOK)

    # -- stopping ----------------------------------------------------------------------------------

    def _finish(self, patience: float) -> None:
        """Let acts under way come to their end, for as long as ``patience`` and no second signal says."""
        for connection in self._open():
            connection.stop()
        deadline = time.monotonic() + patience
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        while self._open() and (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000) and self._stops_in(self._heard()):
                break
        for connection in self._open():
            _log.warning("stopping without the end of an act", principal=connection.caller.principal)
            connection.abandon()

    def close(self) -> None:
        """Release what :meth:`run` used. Connections still at work only lose their client."""
        self._watch.close()
        with self._lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self.wakeup)

    def _open(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    # -- waking ------------------------------------------------------------------------------------

    def _wake(self, why: int) -> None:
        with self._lock:
            if self._closed:  # by now the number may name somebody else's file
                return
            try:
                os.write(self.wakeup, bytes((why,)))
            except BlockingIOError:  # full: it will wake up anyway
                pass

    def _heard(self) -> bytes:
        try:
            return os.read(self._wake_read, 4096)
        except BlockingIOError:
            return b""

    def _stops_in(self, heard: bytes) -> bool:
        return self._engine.failed.is_set() or any(byte in heard for byte in (_STOP, *_SIGNALS))

    def _await_failure(self) -> None:
        self._engine.failed.wait()
        self._wake(_LOOK)


def _turn_away(connected: socket.socket, error: VordrError) -> None:
    """One typed error, if it can be sent without waiting."""
    try:
        connected.setblocking(False)
        connected.send(frames.encode({"id": 0, "error": error.to_wire()}))
    except OSError:
        pass


# -- the process -----------------------------------------------------------------------------------


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

    return LocalEngine.open(root)


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
        with _signals_to(server):
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

    handlers = [(number, signal.signal(number, heard)) for number in _SIGNALS]
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
