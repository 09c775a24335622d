"""The engine behind the service's socket."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from vordr.engine.channel import Channel, Received, close_files, dial
from vordr.engine.protocol import Engine, OnEvent, Reply
from vordr.formats.errors import FormatError
from vordr.formats.typed import convert
from vordr.model import arguments
from vordr.model.errors import NotPrivileged, ServiceUnreachable, UsageError, VordrError, from_wire
from vordr.model.operations import REGISTRY, Operation

IDLE_SECONDS: Final = 30.0
"""How long an unused connection is kept; the service keeps it longer, so that it never closes one in use."""

_POOLED: Final = 8


def unreachable(socket: Path, error: OSError) -> VordrError:
    """What a failed :func:`~vordr.engine.channel.dial` means to a caller."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPrivileged(f"no access to the service's socket {socket}")
    return ServiceUnreachable(f"no service answers on {socket}: {error.strerror or error}")


def went_away(operation: str) -> ServiceUnreachable:
    """The error of a call whose answer did not come."""
    mutating = REGISTRY[operation].mutating
    remedy = "vordr history shows whether it happened" if mutating else "try again"
    return ServiceUnreachable(f"the service went away during {operation}", remedy=remedy)


class RemoteEngine(Engine):
    """Speaks to the service that owns a root folder. Thread-safe: each call has a connection of its own.

    ``first`` is a connection already made, if there is one.
    """

    def __init__(self, socket: Path, first: Channel | None = None) -> None:
        self._path = socket
        self._lock = threading.Lock()
        self._idle: list[tuple[Channel, float]] = []
        self._busy: set[Channel] = set()
        self._closed = False
        if first is not None:
            self._idle.append((first, time.monotonic()))

    def call(
        self,
        operation: str,
        args: arguments.Args,
        *,
        files: Sequence[int] = (),
        on_event: OnEvent | None = None,
    ) -> Reply:
        """As :meth:`Engine.call`. An exception of ``on_event``, and KeyboardInterrupt, cancel the operation.

        :raises ServiceUnreachable: no service, or it went away before it answered; whether the act happened
            is then told by ``vordr history``.
        """
        row = REGISTRY.get(operation)
        if row is None:
            raise UsageError(f"unknown operation {operation!r}")
        request = {"id": 1, "operation": operation, "args": msgspec.to_builtins(args)}
        channel = self._ask(request, files)
        try:
            reply, healthy = self._answer(channel, row, on_event)
        except BaseException:
            self._drop(channel)  # also what cancels the operation
            raise
        if healthy:
            self._put_back(channel)
        else:
            self._drop(channel)
        if isinstance(reply, VordrError):
            raise reply
        return reply

    def close(self) -> None:
        """Close all connections; calls that other threads are in end with ServiceUnreachable."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for channel in self._busy:
                channel.shutdown()
        for channel, _ in idle:
            channel.close()

    # -- one exchange ------------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any], files: Sequence[int]) -> Channel:
        """Send the request on a connection of its own; a frame that was not sent whole was not heard."""
        while True:
            channel, pooled = self._take()
            try:
                channel.send(request, files)
            except FormatError as error:
                self._put_back(channel)
                raise UsageError(f"the request cannot be sent: {error}")
            except OSError as error:
                refusal = _parting_error(channel)
                self._drop(channel)
                if refusal is not None:
                    raise refusal
                if not pooled:
                    raise unreachable(self._path, error)
            except BaseException:
                self._drop(channel)
                raise
            else:
                return channel

    def _answer(
        self, channel: Channel, row: Operation, on_event: OnEvent | None
    ) -> tuple[Reply | VordrError, bool]:
        """Events until the answer or error; with it, whether the connection can be used again."""
        while True:
            try:
                received = channel.receive()
            except FormatError as error:
                raise misunderstood(f"sent no valid frame ({error})")
            except (OSError, EOFError):
                received = None
            if received is None:
                raise self._gone(row)
            match received.message:
                case {"event": dict(event)}:
                    close_files(received.files)
                    if on_event is not None:
                        on_event(event)
                case {"error": dict(told), "id": number}:
                    close_files(received.files)
                    return rebuild(told), number == 1
                case {"answer": answer, "id": 1}:
                    return _read_answer(row, answer, received), True
                case _:
                    close_files(received.files)
                    raise misunderstood("sent neither event, answer nor error")

    def _gone(self, row: Operation) -> ServiceUnreachable:
        if self._closed:
            return ServiceUnreachable(f"the engine was closed during {row.name}", remedy="vordr history")
        return went_away(row.name)

    # -- connections -------------------------------------------------------------------------------

    def _take(self) -> tuple[Channel, bool]:
        """A connection nobody else uses, and whether it was used before."""
        while True:
            with self._lock:
                if self._closed:
                    raise ServiceUnreachable("this engine is closed", remedy="open it again")
                if not self._idle:
                    break
                channel, since = self._idle.pop()
                self._busy.add(channel)
            if time.monotonic() - since < IDLE_SECONDS and channel.quiet():
                return channel, True
            self._drop(channel)
        try:
            channel = dial(self._path)
        except OSError as error:
            raise unreachable(self._path, error)
        with self._lock:
            self._busy.add(channel)
        return channel, False

    def _put_back(self, channel: Channel) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _POOLED:
                self._busy.discard(channel)
                self._idle.append((channel, time.monotonic()))
                return
        self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        with self._lock:
            self._busy.discard(channel)
            channel.close()


def _parting_error(channel: Channel) -> VordrError | None:
    """The error with which the service closed the connection before it heard us, if it left one."""
    try:
        received = channel.receive(idle=0, within=1)
    except (OSError, EOFError, FormatError):
        return None
    if received is None:
        return None
    close_files(received.files)
    match received.message:
        case {"error": dict(error)}:
            return rebuild(error)
    return None


def rebuild(error: dict[str, Any]) -> VordrError:
    """The error that the service told."""
    try:
        return from_wire(error)
    except (TypeError, ValueError, AttributeError):
        return misunderstood("sent an error without its fields")


def _read_answer(row: Operation, answer: Any, received: Received) -> Reply:
    try:
        if received.message.get("files", 0) != len(received.files):
            raise misunderstood(f"promised descriptors with the answer to {row.name} that did not come")
        try:
            return Reply(convert(answer, row.answer), received.files)
        except msgspec.ValidationError as error:
            raise misunderstood(f"answered {row.name} in other words: {error}")
    except BaseException:
        close_files(received.files)
        raise


def misunderstood(what: str) -> VordrError:
    """The error of a service that does not speak as this version does."""
    return VordrError(
        f"the service {what}", remedy="restart the service, so that it has the version of this command")
