"""Messages on our unix socket: a length of 4 bytes, big-endian, then that many bytes of JSON (one object)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vordr.formats.errors import FormatError
from vordr.formats.typed import decoder

MAX_FRAME = 32 * 1024 * 1024
HEADER = 4

_ENCODER = msgspec.json.Encoder()
_DECODER = decoder(dict[str, Any])


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame. ``message`` holds JSON values.

    :raises FormatError: a value JSON cannot carry, or a frame above ``MAX_FRAME``.
    """
    try:
        body = _ENCODER.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError("frame", f"cannot be encoded: {error}")
    if len(body) > MAX_FRAME:
        raise FormatError("frame", f"{len(body)} bytes, at most {MAX_FRAME} are allowed")
    return len(body).to_bytes(HEADER, "big") + body


class Decoder:
    """Cuts a byte stream into messages. One per connection; not for use by several threads at once."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._broken: FormatError | None = None

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame held back: not zero at the end of a stream means it was cut."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that ``data`` completes, in order.

        A stream that broke once stays broken, for nobody knows where its next frame would begin; messages
        before the break in the same ``data`` are not delivered.

        :raises FormatError: a frame above the limit (said by its header, before it is held in memory), or
            one that is not a JSON object in UTF-8.
        """
        if self._broken is not None:
            raise self._broken
        self._buffer += data
        messages: list[dict[str, Any]] = []
        start = 0
        try:
            while len(self._buffer) - start >= HEADER:
                length = int.from_bytes(self._buffer[start : start + HEADER], "big")
                if length > self._max_frame:
                    raise FormatError("frame", f"{length} bytes, at most {self._max_frame} are allowed")
                end = start + HEADER + length
                if len(self._buffer) < end:
                    break
                messages.append(_decode(self._buffer[start + HEADER : end]))
                start = end
        except FormatError as error:
            self._broken = error
            self._buffer.clear()
            raise
        del self._buffer[:start]
        return messages


def _decode(body: bytearray) -> dict[str, Any]:
    try:
        return _DECODER.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise FormatError("frame", f"not a JSON object: {error}")
