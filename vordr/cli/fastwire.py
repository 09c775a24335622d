"""The service's socket as the fast path speaks to it: the frames of :mod:`vordr.formats.frames`, by hand.

Python's C halves of ``socket`` and ``json`` do it in 1 ms, where the packages, msgspec and the model need 50.
A request either leaves whole or is known not to have been heard; from the first byte on there is no way back
to click, for an act would happen twice.
"""

from __future__ import annotations

import _json
import _socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

SOCKET: Final = "vordr.sock"
"""In the root folder: :attr:`vordr.model.paths.Paths.socket`."""

_HEADER: Final = 4
_LONGEST_ADDRESS: Final = 107
_LARGEST: Final = 32 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_INT: Final = 4
_MAX_FILES: Final = 4


class Refused(Exception):
    """The service answered with an error: ``told`` is its wire form."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told)
        self.told = told


class Gone(Exception):
    """The service went away before it answered."""


class Garbled(Exception):
    """The service said what this version does not understand."""


class _Reading:
    """What :func:`_json.make_scanner` wants to know of a decoder (json.decoder.JSONDecoder)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(name)  # NaN is not JSON


_scan: Final = _json.make_scanner(_Reading())  # type: ignore[arg-type]  # typeshed names itself there


def dial(root: str) -> Line | None:
    """A connection to the service of the resolved root folder; None where the long way has to be gone."""
    address = f"{root}/{SOCKET}"
    if len(address.encode("utf-8", "surrogateescape")) > _LONGEST_ADDRESS:
        return None
    connecting = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connecting.connect(address)
    except OSError:
        connecting.close()
        return None
    return Line(connecting)


class Line:
    """One connection, for one request after the other."""

    def __init__(self, connected: _socket.socket) -> None:
        self._socket = connected

    def ask(
        self, request: bytes, files: Sequence[int] = (),
        on_event: Callable[[dict[str, Any]], None] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a :func:`frame` and await its answer, and the descriptors that came with it; ``meanwhile`` is
        called once the service is at work.

        :raises Refused, Gone, Garbled: instead of an answer.
        """
        try:
            self._send(request, files)
        except OSError:
            pass  # the service hung up, maybe with a word that says why
        if meanwhile is not None:
            meanwhile()
        while True:
            received: list[int] = []
            message = self._receive(received)
            if "event" in message:
                if on_event is not None:
                    on_event(message["event"])
                continue
            if "error" in message:
                raise Refused(message["error"])
            if message.get("id") != 1 or message.get("files", 0) != len(received):
                raise Garbled("sent neither event, answer nor error")
            answer = message.get("answer")
            if not isinstance(answer, dict):
                raise Garbled("sent an answer that is none")
            return answer, received

    def close(self) -> None:
        self._socket.close()

    def _send(self, request: bytes, files: Sequence[int]) -> None:
        sent = 0
        if files:
            rights = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in files)
            sent = self._socket.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        self._socket.sendall(request[sent:] if sent else request)

    def _receive(self, files: list[int]) -> dict[str, Any]:
        length = int.from_bytes(self._exactly(_HEADER, files), "big")
        if length > _LARGEST:
            raise Garbled("sent a frame beyond all limits")
        try:
            text = self._exactly(length, files).decode()
            message, end = _scan(text, 0)
        except (ValueError, StopIteration) as error:
            raise Garbled("sent a frame that is not JSON") from error
        if not isinstance(message, dict) or end != len(text):
            raise Garbled("sent a frame that is no object")
        return message

    def _exactly(self, count: int, files: list[int]) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more, ancillary, _, _ = self._socket.recvmsg(
                    min(count - len(data), _CHUNK), _socket.CMSG_SPACE(_MAX_FILES * _INT),
                    _socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                raise Gone from error
            if not more:
                raise Gone
            data += more
            for level, kind, rights in ancillary:
                if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                    files += [int.from_bytes(rights[at:at + _INT], sys.byteorder)
                              for at in range(0, len(rights) - len(rights) % _INT, _INT)]
        return data


def frame(operation: str, args: dict[str, Any]) -> bytes:
    """The request as bytes. Raises UnicodeEncodeError for words that are not text."""
    body = json_text({"id": 1, "operation": operation, "args": args}).encode()
    return len(body).to_bytes(_HEADER, "big") + body


def json_text(value: Any) -> str:
    """JSON of what requests are made of: dicts, lists, str, int, bool and None."""
    if isinstance(value, str):
        return _json.encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        pairs = (f"{_json.encode_basestring(key)}:{json_text(each)}" for key, each in value.items())
        return "{" + ",".join(pairs) + "}"
    return "[" + ",".join(map(json_text, value)) + "]"
