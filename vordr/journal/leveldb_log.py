"""The frame of LevelDB's write-ahead logs and manifests: where their entries begin and end, and how they end.

Format (leveldb/doc/log_format.md): blocks of 32 KiB; an entry is one FULL piece, or FIRST, MIDDLE …, LAST;
each piece is masked CRC-32C (4 bytes), length (2), type (1), all little-endian, then data. The CRC is over
type and data. A block's last bytes, too few for a header, are zeros.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BLOCK: Final = 32 * 1024
_HEADER: Final = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MASK_DELTA: Final = 0xA282EAD8


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its bytes are ``start`` ≤ offset < ``end``, with one header at each of ``pieces``."""

    start: int
    end: int
    pieces: tuple[int, ...]

    def payload(self, data: bytes) -> bytes:
        return b"".join(_piece(data, at) for at in self.pieces)

    def intact(self, data: bytes) -> bool:
        """Whether every piece has its checksum."""
        return all(_checked(data, at) for at in self.pieces)


@dataclass(frozen=True, slots=True)
class Walk:
    """The whole ``entries`` from the start on, and the offset ``end`` behind the last of them.

    ``fault`` says in a few words why the bytes from ``end`` on are no entry; None when there are none.
    Checksums are not looked at.
    """

    entries: tuple[Entry, ...]
    end: int
    fault: str | None


def walk(data: bytes) -> Walk:
    """Follow the headers of the log ``data``, by the rules of LevelDB's own reader, to the first fault."""
    entries: list[Entry] = []
    pieces: list[int] = []
    at, end = 0, 0
    while True:
        left = BLOCK - at % BLOCK
        if left < _HEADER.size:
            at += left
            continue
        if at + _HEADER.size > len(data):
            return Walk(tuple(entries), end, None if end == len(data) else "it is cut short")
        _, length, kind = _HEADER.unpack_from(data, at)
        after = at + _HEADER.size + length
        fault = _fault(kind, length, left, after > len(data), bool(pieces))
        if fault is not None:
            return Walk(tuple(entries), end, fault)
        pieces.append(at)
        at = after
        if kind in (_FULL, _LAST):
            entries.append(Entry(pieces[0], after, tuple(pieces)))
            pieces, end = [], after


def _fault(kind: int, length: int, left: int, beyond: bool, inside: bool) -> str | None:
    if kind == 0 and length == 0:
        return "it is zeros"
    if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or _HEADER.size + length > left:
        return "it has no header"
    if beyond:
        return "it is cut short"
    if inside == (kind in (_FULL, _FIRST)):
        return "its pieces do not follow each other"
    return None


def begins_behind(data: bytes, start: int, wanted: Callable[[bytes], bool]) -> bool:
    """Whether an entry begins, at any offset ≥ ``start``, with a piece that has its checksum and whose data
    are ``wanted`` (asked first: it is the cheaper question).

    For looking behind a fault, where no header says where the next one is.
    """
    end = len(data.rstrip(b"\0")) - _HEADER.size + 1  # a type is never zero
    for at in range(start, end):
        if data[at + _HEADER.size - 1] not in (_FULL, _FIRST):
            continue
        _, length, _ = _HEADER.unpack_from(data, at)
        if not 0 < length <= BLOCK - at % BLOCK - _HEADER.size:
            continue
        if wanted(_piece(data, at)) and _checked(data, at):
            return True
    return False


def _piece(data: bytes, at: int) -> bytes:
    _, length, _ = _HEADER.unpack_from(data, at)
    return data[at + _HEADER.size : at + _HEADER.size + length]


def _checked(data: bytes, at: int) -> bool:
    masked, length, _ = _HEADER.unpack_from(data, at)
    stop = at + _HEADER.size + length
    if stop > len(data):
        return False
    return bool(masked == _mask(crc32c(data[at + _HEADER.size - 1 : stop])))


def _mask(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli; RFC 3720 appendix B.4)."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)
