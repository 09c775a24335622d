"""Replaying records: are they canonical, and is the projection what they add up to?"""

from __future__ import annotations

from typing import Any

import msgspec
import plyvel

from vordr.formats.errors import FormatError
from vordr.journal.chain import Fault
from vordr.journal.database import leveldb_message
from vordr.journal.encoding import encode
from vordr.journal.layout import (
    FORMAT_KEY,
    HASH_SIZE,
    PROJECTION,
    RECORDS,
    TREE,
    decode_record,
    record_key,
)
from vordr.model.errors import JournalCorrupt
from vordr.model.projection import project
from vordr.model.records import Record


def check_records(database: Any, size: int, first: int, *, projection: bool) -> Fault | None:
    """Check records ``first`` … ``size`` of a chain that holds; with ``projection`` (``first`` is then 1)
    also the projection, and that the database holds nothing else."""
    replayed = Projection()
    try:
        bounds = {"start": record_key(first), "stop": record_key(size + 1)}
        with database.iterator(**bounds, include_key=False, verify_checksums=True) as values:
            for seq, value in enumerate(values, first):
                fault = _check_record(seq, value[HASH_SIZE:], replayed if projection else None)
                if fault is not None:
                    return fault
        if projection:
            return _compare(database, replayed) or _foreign(database)
    except plyvel.Error as error:
        return Fault(None, f"the database cannot be read: {leveldb_message(error)}")
    return None


class Projection:
    """The projection made from records alone; ``written`` is the last record that wrote each key."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.written: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """:raises JournalCorrupt: the record does not fit those before it."""
        for key, value in project(record, self.values.get).items():
            self.written[key] = record.seq
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value


def _check_record(seq: int, body: bytes, replayed: Projection | None) -> Fault | None:
    try:
        record = decode_record(body)
        if encode(record) != body:
            return Fault(seq, f"record {seq} is not in canonical form")
        if replayed is not None:
            replayed.add(record)
    except (msgspec.MsgspecError, FormatError, TypeError) as error:
        return Fault(seq, f"record {seq} is not one: {error}")
    except JournalCorrupt as error:
        return Fault(seq, error.message)
    return None


def _compare(database: Any, replayed: Projection) -> Fault | None:
    left = dict(replayed.values)
    with database.iterator(prefix=PROJECTION, verify_checksums=True) as stored:
        for raw, value in stored:
            key = raw[len(PROJECTION):].decode(errors="replace")
            if key not in left or encode(left.pop(key)) != value:
                return _differs(key, replayed)
    for key in left:
        return _differs(key, replayed)
    return None


def _differs(key: str, replayed: Projection) -> Fault:
    seq = replayed.written.get(key)
    origin = f"what record {seq} made it" if seq is not None else "anything that a record wrote"
    return Fault(seq, f"the projection value {key} is not {origin}")


def _foreign(database: Any) -> Fault | None:
    known = (PROJECTION, RECORDS, TREE)
    with database.iterator(include_value=False, verify_checksums=True) as keys:
        for key in keys:
            if key != FORMAT_KEY and not key.startswith(known):
                return Fault(None, f"the database holds a key that no journal has: {key!r}")
    return None
