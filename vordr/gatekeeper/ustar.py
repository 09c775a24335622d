"""The smallest tar that tools can read: POSIX ustar, regular files and folders only (POSIX.1-1988, tar.h).

The reader knows no extensions: pax and GNU headers, links, devices, base-256 numbers and names over 100 bytes
are refused, so that no two tar programs can see different members in one file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

from vordr.gatekeeper.checked import CHUNK, Readable
from vordr.model.errors import ImageUnreadable

BLOCK: Final = 512
LARGEST_MEMBER: Final = 8**11 - 1
"""Bytes; what eleven octal digits can say."""
_LONGEST_TRAILER: Final = 64 * 1024
_MAGIC: Final = b"ustar\x0000"
_CHECKSUM: Final = b"%06o\0 "
_FILE, _FOLDER = b"0", b"5"
_ZEROS: Final = bytes(BLOCK)


@dataclass(frozen=True)
class Member:
    """``name`` without a trailing slash; ``size`` in bytes, 0 for a folder."""

    name: str
    size: int
    folder: bool


class Content:
    """The bytes of one member, read once and in order."""

    def __init__(self, source: Readable, size: int, where: str) -> None:
        self._source = source
        self._left = size
        self._padding = -size % BLOCK
        self._where = where

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes (-1: all that is left); raises ImageUnreadable where the file ends early."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        wanted = min(size, self._left, CHUNK)
        data = self._source.read(wanted) if wanted else b""
        if wanted and not data:
            raise ImageUnreadable(f"{self._where}: the file ends {self._left} bytes early")
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Skip what is left, and the padding, which must be zeros."""
        while self.read(CHUNK):
            pass
        if self._padding and _exactly(self._source, self._padding) != bytes(self._padding):
            raise ImageUnreadable(f"{self._where}: its padding is missing or not zero")
        self._padding = 0


def members(source: Readable) -> Iterator[tuple[Member, Content]]:
    """The members of a tar in order. The content of one must be read before the next is asked for; what is
    left of it is skipped. Raises ImageUnreadable for everything that the module does not know."""
    number = 0
    while True:
        header = _exactly(source, BLOCK)
        if header == _ZEROS:
            break
        member = _parse(header, f"member {number}")
        content = Content(source, member.size, member.name)
        yield member, content
        content.finish()
        number += 1
    trailer = _exactly(source, BLOCK)
    while more := source.read(CHUNK):
        trailer += more
        if len(trailer) > _LONGEST_TRAILER:
            break
    if len(trailer) < BLOCK or len(trailer) > _LONGEST_TRAILER or any(trailer):
        raise ImageUnreadable("tar: does not end in zeros alone")


def _exactly(source: Readable, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data


def _parse(header: bytes, where: str) -> Member:
    def refuse(wrong: str) -> NoReturn:
        raise ImageUnreadable(f"tar: {where}: {wrong}")

    if len(header) < BLOCK:
        refuse("the file ends in its header")
    if header[257:265] != _MAGIC:
        refuse("not a ustar header")
    if header[148:156] != _CHECKSUM % _checksum(header):
        refuse("wrong checksum")
    kind = header[156:157]
    if kind not in (_FILE, _FOLDER):
        refuse(f"type {kind!r} is neither a regular file nor a folder")
    if any(header[157:257]) or any(header[345:512]):
        refuse("a link target or name prefix, which no member has")
    raw, _, rest = header[:100].partition(b"\0")
    size = _octal(header[124:136])
    if any(rest) or size is None or not raw.isascii():
        refuse("its name or size is not plainly written")
    name = raw.decode("ascii")
    if kind == _FOLDER and size:
        refuse("a folder with content")
    return Member(name.removesuffix("/") if kind == _FOLDER else name, size, kind == _FOLDER)


def _octal(field: bytes) -> int | None:
    digits = field.rstrip(b"\0 ")
    return int(digits, 8) if digits and all(48 <= digit < 56 for digit in digits) else None


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * 32 + sum(header[156:])


class Writer:
    """Writes members to ``target`` one after the other; :meth:`close` ends the tar (not the file)."""

    def __init__(self, target: BinaryIO, time: int) -> None:
        """``time``: seconds since the epoch, written as each member's modification time."""
        self._target = target
        self._time = time

    def add(self, name: str, size: int, content: Readable) -> None:
        """Append a regular file of ``size`` bytes. Raises ImageUnreadable: another size, or over 8 GiB."""
        if size > LARGEST_MEMBER:
            raise ImageUnreadable(f"{name}: {size} bytes are more than a member can have, {LARGEST_MEMBER}")
        self._target.write(self._header(name, size))
        left = size
        while left and (data := content.read(min(left, CHUNK))):
            self._target.write(data)
            left -= len(data)
        if left or content.read(1):
            raise ImageUnreadable(f"{name}: is not {size} bytes long")
        self._target.write(bytes(-size % BLOCK))

    def close(self) -> None:
        """Two blocks of zeros."""
        self._target.write(_ZEROS * 2)

    def _header(self, name: str, size: int) -> bytes:
        raw = name.encode("ascii")
        if not 0 < len(raw) <= 100:
            raise ImageUnreadable(f"tar: not a member name: {name[:120]!r}")
        fields = (
            raw.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size,
            b"%011o\0" % self._time, b" " * 8, _FILE, bytes(100), _MAGIC,
        )
        header = bytearray(b"".join(fields).ljust(BLOCK, b"\0"))
        header[148:156] = _CHECKSUM % _checksum(bytes(header))
        return bytes(header)
