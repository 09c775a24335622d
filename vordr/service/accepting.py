"""Accepts clients on the service's socket, gives each a thread, and ends them all in order.

One thread accepts, one per connection serves, one watches for clients that leave. The accepting thread never
waits for anything but its poll: signals, finished connections and the engine's failure wake it through a
pipe.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import threading
import time
from typing import Final

from vordr.engine.channel import Channel
from vordr.formats import frames
from vordr.model.errors import InboxFull, JournalStopped, VordrError
from vordr.model.operations import Scope
from vordr.service import sdnotify
from vordr.service.connection import MAX_REQUEST, Connection, Patience, ServedEngine
from vordr.service.logging import logger
from vordr.service.peers import caller_of, peer_of
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
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
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
        return self._engine.failed.is_set() or any(byte in heard for byte in (_STOP, *STOP_SIGNALS))

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
