"""One client's connection: requests in sequence, each answered once; whatever comes, the service lives on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from vordr.engine.channel import Channel, Received, Silence, close_files
from vordr.engine.protocol import Caller, Event, OnEvent, Reply
from vordr.formats.errors import FormatError
from vordr.model.errors import DeadlineExceeded, ServiceUnreachable, UsageError, VordrError
from vordr.model.operations import Operation
from vordr.service.logging import logger
from vordr.service.requests import CONNECTION, Request, admit, number_of, read_envelope
from vordr.service.watch import HangupWatch

MAX_REQUEST: Final = 1024 * 1024
"""Bytes of one request; packages travel as descriptors, so what is larger is a mistake or an attack."""

_log: Final = logger("vordr.service")


class ServedEngine(Protocol):
    """What the service needs of an engine; :class:`~vordr.engine.local.LocalEngine` is one."""

    failed: threading.Event

    def call_as(
        self, caller: Caller, operation: str, args: Any, *, files: Sequence[int] = (),
        on_event: OnEvent | None = None, cancelled: threading.Event | None = None,
    ) -> Reply: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Patience:
    """Seconds that a client may take: to begin its first frame, to finish any, to begin the next."""

    first: float = 10.0
    frame: float = 10.0
    idle: float = 300.0


class Connection:
    """Serves one client until it leaves, breaks the protocol, or the service stops. Owns ``channel``."""

    def __init__(
        self, channel: Channel, caller: Caller, engine: ServedEngine, watch: HangupWatch,
        patience: Patience | None = None,
    ) -> None:
        self.caller = caller
        self._channel = channel
        self._engine = engine
        self._watch = watch
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._stopping = False
        self._working: Operation | None = None
        self._cancelled = threading.Event()

    def serve(self) -> None:
        """Returns when the connection is closed; never raises for what a client does."""
        try:
            if self._serve_one(self._patience.first):
                while self._serve_another():
                    pass
        except OSError as error:
            _log.debug("connection lost", principal=self.caller.principal, reason=str(error))
        finally:
            with self._lock:
                self._channel.close()

    def stop(self) -> None:
        """The service stops: close when idle; end what changes nothing; let acts finish. Any thread."""
        with self._lock:
            self._stopping = True
            if self._working is None:
                self._channel.shutdown(socket.SHUT_RD)
            elif not self._working.mutating:
                self._cancelled.set()

    def abandon(self) -> None:
        """The service waits no longer: cancel whatever runs and hang up. Any thread."""
        with self._lock:
            self._stopping = True
            self._cancelled.set()
            self._channel.shutdown()

    # -- one request -------------------------------------------------------------------------------

    def _serve_another(self) -> bool:
        """As :meth:`_serve_one`; a client that says nothing more for long is let go without a word."""
        try:
            return self._serve_one(self._patience.idle, silence_is_fine=True)
        except Silence:
            return False

    def _serve_one(self, idle: float, *, silence_is_fine: bool = False) -> bool:
        """Receive and answer one request; whether another may follow. Raises Silence if that is fine."""
        try:
            received = self._channel.receive(idle=idle, within=self._patience.frame)
        except (FormatError, EOFError) as error:
            return self._refuse(CONNECTION, UsageError(f"protocol broken: {error}"))
        except TimeoutError as error:
            if silence_is_fine and isinstance(error, Silence):
                raise
            return self._refuse(CONNECTION, DeadlineExceeded(f"no whole request came: {error}"))
        if received is None:
            return False
        try:
            return self._perform(received)
        finally:
            close_files(received.files)

    def _perform(self, received: Received) -> bool:
        number = number_of(received.message)
        try:
            envelope, operation = read_envelope(received.message)
        except UsageError as error:
            return self._refuse(number, error)
        try:
            request = admit(envelope, operation, len(received.files), self.caller)
            self._begin(operation)
        except VordrError as error:
            _log.info("refused", principal=self.caller.principal, operation=operation.name,
                      error=error.id, reason=error.message)
            self._send_error(number, error)
            return not self._stopping
        try:
            outcome = self._work(request, received.files)
        finally:
            self._end()
        self._send_outcome(request, outcome)
        return not self._stopping

    def _begin(self, operation: Operation) -> None:
        with self._lock:
            if self._stopping:
                raise ServiceUnreachable("the service is stopping; nothing was done", remedy="try again")
            self._working = operation
            self._cancelled = threading.Event()

    def _end(self) -> None:
        with self._lock:
            self._working = None

    def _work(self, request: Request, files: tuple[int, ...]) -> Reply | VordrError:
        """The engine's reply, or what to tell the client instead."""
        began = time.monotonic()
        cancelled = self._cancelled
        with structlog.contextvars.bound_contextvars(
            principal=self.caller.principal, operation=request.operation.name
        ):
            try:
                with self._watch.watching(self._channel.fileno(), cancelled.set):
                    reply = self._engine.call_as(
                        self.caller, request.operation.name, request.args, files=files,
                        on_event=self._events_of(request.id, cancelled), cancelled=cancelled)
            except VordrError as error:
                _report(request, began, error=error.id, reason=error.message, **_txn(error.details))
                return error
            except Exception as error:  # noqa: BLE001 - the edge: one request's bug must not end the service
                _log.exception("internal error")
                return VordrError(
                    f"internal error during {request.operation.name}: {type(error).__name__}",
                    remedy="the service's log has the traceback; vordr history shows what was done")
            _report(request, began, **_txn_of_answer(reply.answer))
            if self._stopping and cancelled.is_set() and not request.operation.mutating:
                close_files(reply.files)
                return ServiceUnreachable(
                    f"the service stopped during {request.operation.name}", remedy="try again")
            return reply

    def _events_of(self, number: int, cancelled: threading.Event) -> OnEvent:
        """Progress is dropped where the client is slow, for workers must not wait on it; lines are not."""

        def send(event: Event) -> None:
            if cancelled.is_set():
                return
            message = {"id": number, "event": event}
            try:
                if event.get("event") == "progress":
                    self._channel.send_or_drop(message)
                else:
                    self._channel.send(message)
            except OSError:
                cancelled.set()

        return send

    # -- answers -----------------------------------------------------------------------------------

    def _send_outcome(self, request: Request, outcome: Reply | VordrError) -> None:
        if isinstance(outcome, VordrError):
            self._send_error(request.id, outcome)
            return
        try:
            self._channel.send(
                {"id": request.id, "answer": outcome.answer, "files": len(outcome.files)}, outcome.files)
        except FormatError as error:
            self._send_error(request.id, UsageError(
                f"the answer to {request.operation.name} does not fit into a message: {error}",
                remedy="ask for less, such as logs --tail 10000"))
        finally:
            close_files(outcome.files)

    def _send_error(self, number: int, error: VordrError) -> None:
        try:
            self._channel.send({"id": number, "error": error.to_wire()})
        except FormatError as unfit:
            _log.error("an error's details are not JSON", error=error.id, reason=str(unfit))
            bare = VordrError(error.message).to_wire()
            self._channel.send({"id": number, "error": {**bare, "code": error.exit_code, "id": error.id}})

    def _refuse(self, number: int, error: VordrError) -> bool:
        """Tell a peer that does not speak our protocol so, once, if it listens; then no more."""
        _log.warning("connection refused", principal=self.caller.principal, error=error.id,
                     reason=error.message)
        self._channel.send_or_drop({"id": number, "error": error.to_wire()})
        return False


def _report(request: Request, began: float, **outcome: Any) -> None:
    """One line per act; what only reads is of interest to those who look closely."""
    say = _log.info if request.operation.mutating else _log.debug
    say("served", ms=round((time.monotonic() - began) * 1000, 1), **outcome)


def _txn_of_answer(answer: Any) -> Mapping[str, Any]:
    receipt = getattr(answer, "receipt", None)
    return {} if receipt is None else {"txn": receipt.txn, "seq": receipt.seq}


def _txn(details: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"txn": details["txn"]} if "txn" in details else {}
