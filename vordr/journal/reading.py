"""Thread-safe reads of an open journal database: projection values, records, the tree's tiles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import plyvel

from vordr.journal.database import Gate, leveldb_message
from vordr.journal.layout import (
    HASH_SIZE,
    PROJECTION,
    decode_record,
    decode_value,
    projection_key,
    record_key,
)
from vordr.model.errors import JournalCorrupt, StateError
from vordr.model.records import Record

_T = TypeVar("_T")
_CHUNK = 256


class Reading:
    """Reads of one plyvel database, from any thread, until its gate is shut."""

    def __init__(self, database: Any, gate: Gate) -> None:
        self._database = database
        self._gate = gate
        self._snapshots: set[Any] = set()
        self._snapshots_lock = threading.Lock()

    def raw(self, key: bytes) -> bytes | None:
        """The bytes under a database key. Raises JournalCorrupt where the files are damaged."""
        with self._gate.passing():
            try:
                found: bytes | None = self._database.get(key)
            except plyvel.Error as error:
                raise JournalCorrupt(f"the journal's database cannot be read: {leveldb_message(error)}")
        return found

    def bytes_of(self, key: str) -> bytes | None:
        """Canonical JSON of the projection value under ``key``."""
        return self.raw(projection_key(key))

    def get(self, key: str) -> Any:
        """The projection value under ``key``; None when absent."""
        value = self.bytes_of(key)
        return None if value is None else _decoded(decode_value, value, f"the projection value {key}")

    def scan(self, prefix: str, *, reverse: bool = False) -> Iterator[tuple[str, Any]]:
        """The projection keys that begin with ``prefix`` and their values, in order of keys, as they stood
        when the first was taken."""
        cut = len(PROJECTION)
        for raw, value in self._range(prefix=projection_key(prefix), reverse=reverse):
            key = raw[cut:].decode(errors="replace")
            yield key, _decoded(decode_value, value, f"the projection value {key}")

    def record(self, seq: int) -> tuple[Record, bytes]:
        """Record ``seq`` and its hash.

        :raises StateError: there is no such record.
        """
        value = self.raw(record_key(seq)) if 0 < seq < 1 << 63 else None
        if value is None:
            raise StateError(f"the journal has no record {seq}", remedy="vordr history")
        return _split(seq, value)

    def records(self, start: int = 1, stop: int | None = None) -> Iterator[tuple[Record, bytes]]:
        """Records ``start`` ≤ seq < ``stop`` (None: to the end) and their hashes, in order, as they stood
        when the first was taken."""
        end = record_key(stop) if stop is not None else record_key((1 << 64) - 1)
        for key, value in self._range(start=record_key(max(start, 1)), stop=end):
            yield _split(int.from_bytes(key[2:], "big"), value)

    def _range(self, *, reverse: bool = False, **bounds: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of one snapshot, in chunks: between them the database may be closed, never inside one."""
        with self._gate.passing():
            snapshot = self._database.snapshot()
            with self._snapshots_lock:
                self._snapshots.add(snapshot)
        try:
            while True:
                with self._gate.passing():
                    chunk = _take(snapshot, reverse, bounds)
                yield from chunk
                if len(chunk) < _CHUNK:
                    return
                bounds = _after(chunk[-1][0], reverse, bounds)
        finally:
            self._release(snapshot)

    def _release(self, snapshot: Any) -> None:
        with self._snapshots_lock:
            if snapshot in self._snapshots:
                self._snapshots.discard(snapshot)
                snapshot.close()

    def release_snapshots(self) -> None:
        """Before the database is closed: a snapshot given back after that would crash the interpreter."""
        with self._snapshots_lock:
            while self._snapshots:
                self._snapshots.pop().close()


def _take(snapshot: Any, reverse: bool, bounds: dict[str, bytes]) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    try:
        with snapshot.iterator(reverse=reverse, **bounds) as pairs:
            for pair in pairs:
                found.append(pair)
                if len(found) == _CHUNK:
                    break
    except plyvel.Error as error:
        raise JournalCorrupt(f"the journal's database cannot be read: {leveldb_message(error)}")
    return found


def _after(last: bytes, reverse: bool, bounds: dict[str, bytes]) -> dict[str, bytes]:
    """The bounds of what is left beyond ``last``; start is inclusive and stop is not."""
    prefix = bounds.get("prefix")
    if prefix is not None:
        bounds = {"start": prefix, "stop": _end_of(prefix)}
    return {**bounds, "stop": last} if reverse else {**bounds, "start": last + b"\0"}


def _end_of(prefix: bytes) -> bytes:
    """The least key above all that begin with ``prefix`` (which ends in no 0xff: prefixes are UTF-8)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _split(seq: int, value: bytes) -> tuple[Record, bytes]:
    record = _decoded(decode_record, value[HASH_SIZE:], f"record {seq}")
    return record, value[:HASH_SIZE]


def _decoded(decode: Callable[[bytes], _T], value: bytes, what: str) -> _T:
    try:
        return decode(value)
    except msgspec.MsgspecError as error:
        raise JournalCorrupt(f"{what} of the journal cannot be read: {error}")
