"""The rows of one table of an SQLite 3 database file, read from its bytes (sqlite.org/fileformat2.html).

For databases that nobody vouches for: no SQL, no C, no journal, tables of ordinary rows only. Whatever does
not fit together ends the reading with FormatError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

from vordr.formats.errors import FormatError

Value: TypeAlias = "int | float | str | bytes | None"
_MAGIC: Final = b"SQLite format 3\0"
_LEAF, _INTERIOR = 13, 5
_LEAST_CELL: Final = 4
"""Bytes of a row beside its payload: pointer, length, row id."""
_INTEGER_SIZES: Final = (0, 1, 2, 3, 4, 6, 8)
_WHERE: Final = "sqlite database"


def rows(data: bytes, table: str) -> Iterator[tuple[Value, ...]]:
    """The columns of each row of ``table``, in the order of their row ids; a column that is the row id itself
    is None. Raises FormatError: not a database, no such table, or damaged."""
    try:
        file = _File(data)
        roots = [row[3] for row in file.rows(1) if row[:2] == ("table", table)]
        if len(roots) != 1 or not isinstance(roots[0], int):
            raise FormatError(_WHERE, f"has {len(roots)} tables named {table}")
        yield from file.rows(roots[0])
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise FormatError(_WHERE, f"damaged: {error}") from error


class _File:
    def __init__(self, data: bytes) -> None:
        if not data.startswith(_MAGIC) or len(data) < 100:
            raise FormatError(_WHERE, "not one of SQLite 3")
        size = int.from_bytes(data[16:18], "big")
        self._page_size = 65536 if size == 1 else size
        self._usable = self._page_size - data[20]
        if self._page_size & (self._page_size - 1) or self._page_size < 512 or self._usable < 480:
            raise FormatError(_WHERE, f"a page size of {size}")
        if int.from_bytes(data[56:60], "big") > 1:
            raise FormatError(_WHERE, "not in UTF-8")
        self._data = data
        self._seen: set[int] = set()
        self._left = len(data)

    def rows(self, root: int) -> Iterator[tuple[Value, ...]]:
        """The rows of the table b-tree at page ``root``. Every page is taken once, so a loop is an end."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            page, start = self._page(number), 100 if number == 1 else 0
            kind, cells = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
            head = start + (12 if kind == _INTERIOR else 8)
            offsets = [int.from_bytes(page[at : at + 2], "big") for at in range(head, head + 2 * cells, 2)]
            if kind == _INTERIOR:
                children = [int.from_bytes(page[at : at + 4], "big") for at in offsets]
                children.append(int.from_bytes(page[start + 8 : start + 12], "big"))
                waiting += reversed(children)
            elif kind == _LEAF:
                for at in offsets:
                    yield _record(self._payload(page, at))
            else:
                raise FormatError(_WHERE, f"a page of kind {kind} in a table")

    def _page(self, number: int) -> bytes:
        start = (number - 1) * self._page_size
        if number < 1 or number in self._seen or start + self._page_size > len(self._data):
            raise FormatError(_WHERE, f"page {number} is not there, or in two places")
        self._seen.add(number)
        return self._data[start : start + self._page_size]

    def _payload(self, page: bytes, at: int) -> bytes:
        """The payload of the leaf cell at ``at``, with its overflow pages ("B-tree Cell Format")."""
        size, at = _varint(page, at)
        _, at = _varint(page, at)
        self._left -= size + _LEAST_CELL
        if self._left < 0:  # cells may lie upon each other, and then a small file has endless rows
            raise FormatError(_WHERE, "more in its rows than in the file")
        most, least = self._usable - 35, (self._usable - 12) * 32 // 255 - 23
        local = size
        if size > most:
            fitting = least + (size - least) % (self._usable - 4)
            local = fitting if fitting <= most else least
        parts, left = [page[at : at + local]], size - local
        overflow = int.from_bytes(page[at + local : at + local + 4], "big") if left else 0
        while left:
            more = self._page(overflow)
            overflow = int.from_bytes(more[:4], "big")
            parts.append(more[4 : 4 + min(left, self._usable - 4)])
            left -= len(parts[-1])
        return b"".join(parts)


def _record(payload: bytes) -> tuple[Value, ...]:
    """The values of a record ("Record Format")."""
    end, at = _varint(payload, 0)
    body = end
    values: list[Value] = []
    while at < end:
        kind, at = _varint(payload, at)
        value, size = _value(payload, body, kind)
        values.append(value)
        body += size
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, 0
    if kind in (8, 9):
        return kind - 8, 0
    if kind == 7:
        return struct.unpack(">d", payload[at : at + 8])[0], 8
    size = _INTEGER_SIZES[kind] if kind < 7 else (kind - 12) // 2
    raw = payload[at : at + size]
    if len(raw) < size or kind in (10, 11):
        raise FormatError(_WHERE, "a value beyond its row")
    if kind < 7:
        return int.from_bytes(raw, "big", signed=True), size
    return (raw.decode("utf-8") if kind % 2 else raw), size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer and where it ends."""
    value = 0
    for number in range(9):
        byte = data[at + number]
        if number == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    raise AssertionError("unreachable")
