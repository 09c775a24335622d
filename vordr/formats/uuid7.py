"""UUID version 7 (RFC 9562 §5.7), from a time and random bytes that the caller brings."""

from __future__ import annotations

import re

from vordr.formats.errors import FormatError

_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7(now_ms: int, rand: bytes) -> str:
    """The UUID of ``now_ms`` (milliseconds since the epoch) in lowercase hexadecimal.

    ``rand`` is 10 bytes; 74 of their bits are used: the low 12 of the first two bytes and the low 62 of
    the other eight.

    :raises FormatError: a time outside 48 bits, or not 10 bytes.
    """
    if not 0 <= now_ms < 1 << 48:
        raise FormatError("uuid7", f"time {now_ms} ms does not fit 48 bits")
    if len(rand) != 10:
        raise FormatError("uuid7", f"needs 10 random bytes, got {len(rand)}")
    rand_a = int.from_bytes(rand[:2], "big") & 0xFFF
    rand_b = int.from_bytes(rand[2:], "big") & ((1 << 62) - 1)
    digits = f"{now_ms << 80 | 7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def timestamp_ms(text: str) -> int:
    """The milliseconds since the epoch inside a UUID version 7.

    :raises FormatError: not a UUID in lowercase, or of another version or variant.
    """
    match = _UUID7.fullmatch(text)
    if match is None:
        raise FormatError("uuid7", f"not a UUID version 7: {text[:60]!r}")
    return int(match.group(1) + match.group(2), 16)
