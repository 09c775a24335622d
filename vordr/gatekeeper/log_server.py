"""HTTP around a log operator: one request a connection, bounded in bytes, time and number.

Plain HTTP/1.1 on a loopback address or a unix socket; whoever serves others puts a TLS proxy before it. Every
answer is JSON: the spec's shapes, or {"error": …}. A POST must say Content-Type: application/json, so that no
web page in a browser on this host can make one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from vordr.gatekeeper.log_operator import LARGEST_REQUEST, LogOperator, NotServed
from vordr.model.errors import StateError, UsageError

MOST_CONNECTIONS: Final = 64
ONE_WAIT: Final = 10.0
"""Seconds for which a connection may be silent."""
WHOLE_REQUEST: Final = 60.0
"""Seconds after which a connection is cut, whatever it still sends or waits for."""
_CHUNK: Final = 1 << 16
_BUSY: Final = (
    b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n")


class LogServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Answers for ``operator`` on ``listener``, a bound stream socket, until :meth:`shutdown`.

    ``seconds`` bounds a connection. Closing waits for the requests that are under way.
    """

    daemon_threads = False
    block_on_close = True

    def __init__(
        self, listener: socket.socket, operator: LogOperator, seconds: float = WHOLE_REQUEST
    ) -> None:
        super().__init__(listener.getsockname(), _Handler)
        self.operator = operator
        self._listener = listener
        self._seconds = seconds
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        listener.listen(MOST_CONNECTIONS)

    def fileno(self) -> int:
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self._listener.accept()
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more; who finds none is told."""
        if self._room.acquire(blocking=False):
            return True
        with contextlib.suppress(OSError):
            request.settimeout(1.0)
            request.sendall(_BUSY)
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(self._seconds, _cut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._room.release()

    def shutdown_request(self, request: Any) -> None:
        _cut(request)
        request.close()

    close_request = shutdown_request

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or that was cut off, is no matter of the server's."""

    def server_close(self) -> None:
        super().server_close()
        self._listener.close()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request. HTTP/1.0 semantics: the connection ends with the answer."""

    server: LogServer
    timeout = ONE_WAIT
    server_version = "vordr-translog"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(lambda path, query: self.server.operator.get(path, query))

    def do_POST(self) -> None:
        self._answer(self._post)

    def _post(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if query:
            raise NotServed(400, "a POST takes no parameters")
        if self.headers.get_content_type() != "application/json" or "Content-Type" not in self.headers:
            raise NotServed(415, "Content-Type must be application/json")
        return self.server.operator.post(path, self._body())

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding") or len(lengths) != 1:
            raise NotServed(411, "one Content-Length must say how long the body is")
        if not (lengths[0].isascii() and lengths[0].isdecimal() and len(lengths[0]) <= 12):
            raise NotServed(400, "Content-Length is not a number")
        left = int(lengths[0])
        if left > LARGEST_REQUEST:
            raise NotServed(413, f"more than {LARGEST_REQUEST} bytes")
        pieces = []
        while left:
            piece = self.rfile.read1(min(left, _CHUNK))
            if not piece:
                raise NotServed(400, "the body ended early")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _answer(self, serve: Any) -> None:
        try:
            path, query = _target(self.path)
            self._send(200, serve(path, query))
        except NotServed as refusal:
            self._send(refusal.status, {"error": refusal.why})
        except StateError as error:
            self._send(500, {"error": error.message})

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, in the same form as the rest."""
        self._send(code, {"error": message or "refused"})

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the log's entries are the record."""


def _target(target: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request. Raises NotServed."""
    path, _, query = target.partition("?")
    try:
        pairs = urllib.parse.parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8, errors="strict")
    except ValueError as error:
        raise NotServed(400, "the query cannot be read") from error
    if len(dict(pairs)) != len(pairs):
        raise NotServed(400, "a parameter is given twice")
    return path, dict(pairs)


# -- where it listens ------------------------------------------------------------------------------


@contextlib.contextmanager
def bound(listen: str | None, path: Path | None) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket and its address for people: ``listen`` is HOST:PORT, ``path`` that of a unix socket
    (0600), whose stale file is taken away. Raises UsageError: it cannot be had."""
    listener = _bind_path(path) if path is not None else _bind_address(listen or "127.0.0.1:0")
    with contextlib.closing(listener):
        if path is not None:
            yield listener, f"unix:{path}"
            path.unlink(missing_ok=True)
            return
        host, port = listener.getsockname()[:2]
        yield listener, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind_address(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"not an address: {listen[:100]!r}", remedy="--listen 127.0.0.1:PORT")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    except socket.gaierror as error:
        raise UsageError(f"not an address: {listen[:100]!r}", remedy="--listen 127.0.0.1:PORT") from error
    listener = socket.socket(found[0], socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {listen}: {error.strerror}") from error
    return listener


def _bind_path(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _answers(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        return probe.connect_ex(str(path)) == 0
