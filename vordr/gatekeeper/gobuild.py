"""What Go's linker writes into every program: its modules and their versions (Go's debug/buildinfo).

The record begins at a multiple of 16 with ``\\xff Go buildinf:``, pointer size and flags (32 bytes in all).
Since Go 1.18 two strings follow, each behind its length as a varint: Go's version, and the modules, which
stand between marks of 16 bytes. Programs of older Go have pointers there and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vordr.gatekeeper.software import Kind, Package

_MAGIC: Final = b"\xff Go buildinf:"
_HEAD, _ALIGN, _MARK = 32, 16, 16
_INLINE: Final = 2
_LONGEST: Final = 4 << 20
"""Bytes of a record; the largest programs list some thousand modules."""
_MOST_DECOYS: Final = 64
"""Tries before a program counts as none of Go: its own tools hold the mark as a constant, once or twice."""
ELF: Final = b"\x7fELF"


def parse_program(chunks: Iterable[bytes]) -> tuple[Package, ...]:
    """The modules in a program's bytes, in constant memory; empty for whatever is no ELF program of Go."""
    held, before, chunks, decoys = b"", 0, iter(chunks), 0
    for chunk in chunks:
        held += chunk
        if not before and len(held) >= len(ELF) and not held.startswith(ELF):
            return ()
        at = -1
        while decoys < _MOST_DECOYS and (at := held.find(_MAGIC, at + 1)) >= 0:
            if (before + at) % _ALIGN == 0:
                held, before, at, decoys = _collect(held[at:], chunks), before + at, 0, decoys + 1
                if found := _modules(held):
                    return found
        keep = min(len(held), len(_MAGIC) - 1)
        held, before = held[len(held) - keep :], before + len(held) - keep
    return ()


def _collect(held: bytes, chunks: Iterator[bytes]) -> bytes:
    """The record with all that may belong to it: _LONGEST bytes, and what is left of a chunk."""
    parts, size = [held], len(held)
    while size < _LONGEST and (chunk := next(chunks, b"")):
        parts.append(chunk)
        size += len(chunk)
    return b"".join(parts)


def _modules(record: bytes) -> tuple[Package, ...]:
    if len(record) <= _HEAD or not record[15] & _INLINE:
        return ()
    raw, at = _string(record, _HEAD)
    listed, _ = _string(record, at)
    version = raw.decode("utf-8", "replace")
    if not version.startswith("go") or not version.isprintable():
        return ()
    told = listed[_MARK:-_MARK].decode("utf-8", "replace") if len(listed) > 2 * _MARK else ""
    standard = Package("stdlib", version[2:].split(" ")[0], kind=Kind.GO)
    return (standard, *_parse(told))


def _parse(told: str) -> Iterator[Package]:
    """Lines of ``mod``, ``dep`` and ``=>`` (which takes the place of the line before), separated by tabs."""
    found: list[Package] = []
    for line in told.splitlines():
        words = line.split("\t")
        if words[0] in ("mod", "dep", "=>") and len(words) >= 3:
            if words[0] == "=>" and found:
                found.pop()
            found.append(Package(words[1], "" if words[2] == "(devel)" else words[2], kind=Kind.GO))
    return iter(found)


def _string(record: bytes, at: int) -> tuple[bytes, int]:
    """A string behind its length (unsigned LEB128) and where it ends; empty where it does not fit."""
    size = shift = 0
    for number in range(5):
        if at + number >= len(record):
            return b"", at
        size |= (record[at + number] & 0x7F) << shift
        shift += 7
        if record[at + number] < 0x80:
            start = at + number + 1
            return (record[start : start + size], start + size) if start + size <= len(record) else (b"", at)
    return b"", at
