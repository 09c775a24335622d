"""Walking the hash chain from record 1, and the tree of what held. No signature is looked at here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import plyvel

from vordr.journal.database import leveldb_message
from vordr.journal.layout import (
    CHECKPOINT_SUBJECT,
    FRONTIER_KEY,
    GENESIS,
    HASH_SIZE,
    RECORDS,
    TREE,
    seq_and_time,
)
from vordr.journal.tiles import HEIGHT, WIDTH, edge, level_above

# Checkpoint records are those of this subject; it stands within this many bytes of their end.
_CHECKPOINT = f'"subject":"{CHECKPOINT_SUBJECT}"'.encode()
_TAIL = 160
_TIME, _SEQ = b',"time":', b',"seq":'


@dataclass(frozen=True)
class Fault:
    """What does not hold: the first record to blame (None: no single one) and why, in one line."""

    seq: int | None
    reason: str


@dataclass
class Walk:
    """``leaves`` are the leaf hashes of the records that hold, ``checkpoints`` the bodies of those that look
    like checkpoint records, ``fault`` what stopped the walk."""

    leaves: list[bytes]
    checkpoints: tuple[bytes, ...]
    fault: Fault | None
    _levels: list[list[bytes]] = field(default_factory=list, repr=False)

    @property
    def size(self) -> int:
        return len(self.leaves)

    def fetch(self, level: int, index: int) -> bytes:
        """A full subtree of the tree over the leaves (``merkle.Fetch``)."""
        return self._level(level)[index]

    def root(self, size: int | None = None) -> bytes:
        """The root over the first ``size`` records (None: all)."""
        return edge(self.size if size is None else size, self.fetch).root()

    def _level(self, level: int) -> list[bytes]:
        if not self._levels:
            self._levels.append(self.leaves)
        while len(self._levels) <= level:
            self._levels.append(level_above(self._levels[-1]))
        return self._levels[level]

    def compare_tile(self, key: bytes, value: bytes) -> Fault | None:
        """How a stored part of the tree differs from the tree of these leaves.

        Where the walk stopped early, only what lies below that point is compared, and a fault is then always
        of a record.
        """
        if key == FRONTIER_KEY:
            same = self.fault is not None or value == edge(self.size, self.fetch).to_bytes()
            return None if same else Fault(None, "the right edge of the stored tree is not the records'")
        place = key[len(TREE):]
        if len(place) != 9 or place[0] * HEIGHT >= 64:
            return Fault(None, f"the database holds a key that no journal has: {key!r}")
        level, index = place[0], int.from_bytes(place[1:], "big")
        expected = self._level(level * HEIGHT)[index * WIDTH : (index + 1) * WIDTH]
        whole = self.fault is None and (level or len(expected) == WIDTH)
        if whole and value and b"".join(expected) == value:
            return None
        for at, (ours, theirs) in enumerate(zip(expected, _hashes(value), strict=False)):
            if ours != theirs:
                seq = (index * WIDTH + at << HEIGHT * level) + 1
                return Fault(seq, f"record {seq} is not the one that the tree was built over")
        complete = expected and (level or len(expected) == WIDTH)
        if self.fault is None and not (complete and len(value) == len(expected) * HASH_SIZE):
            return Fault(None, f"the tree holds a tile ({level}, {index}) that its records do not make")
        return None

    def stored_keys(self) -> int:
        """How many keys the tree of these leaves takes in the database."""
        count, level = self.size // WIDTH, 1
        while subtrees := self.size >> HEIGHT * level:
            count += -(-subtrees // WIDTH)
            level += 1
        return count + (1 if self.size else 0)


def _hashes(value: bytes) -> Iterator[bytes]:
    return (value[at : at + HASH_SIZE] for at in range(0, len(value), HASH_SIZE))


def walk(database: Any) -> Walk:
    """Follow the chain of the plyvel ``database`` as far as it holds."""
    leaves: list[bytes] = []
    checkpoints: list[bytes] = []
    with database.iterator(prefix=RECORDS, verify_checksums=True) as records:
        try:
            fault = follow(records, leaves, checkpoints)
        except plyvel.Error as error:
            good, why = len(leaves), leveldb_message(error)
            fault = Fault(good + 1, f"after record {good} the database cannot be read: {why}")
    return Walk(leaves, tuple(checkpoints), fault)


def follow(
    records: Iterable[tuple[bytes, bytes]], leaves: list[bytes], checkpoints: list[bytes]
) -> Fault | None:
    """Follow database pairs in order of keys; fills ``leaves`` and ``checkpoints``, says what stopped it."""
    sha256 = hashlib.sha256
    previous, last_time = GENESIS, 0
    for seq, (key, value) in enumerate(records, 1):
        stored, body = value[:HASH_SIZE], value[HASH_SIZE:]
        # As layout.record_key, link, seq_and_time and merkle.leaf_hash, without a call for each of millions.
        if key != RECORDS + seq.to_bytes(8, "big"):
            return Fault(seq, f"record {seq} is missing")
        try:
            time_at = body.rindex(_TIME) + len(_TIME)
            seq_at = body.rindex(_SEQ, 0, time_at) + len(_SEQ)
            time = int(body[time_at : body.index(b",", time_at)])
            numbered = body.startswith(b"%d," % seq, seq_at)
        except ValueError:
            return Fault(seq, f"record {seq} is not one")
        if not numbered:
            return _misplaced(seq, body)
        if sha256(previous + body).digest() != stored:
            return Fault(seq, f"record {seq} was changed: it does not follow from record {seq - 1}")
        if time < last_time:
            return Fault(seq, f"at record {seq} time goes backwards, from {last_time} to {time} µs")
        if body.find(_CHECKPOINT, -_TAIL) >= 0:
            checkpoints.append(body)
        leaves.append(sha256(b"\x00" + stored).digest())
        previous, last_time = stored, time
    return None


def _misplaced(seq: int, body: bytes) -> Fault:
    try:
        return Fault(seq, f"in the place of record {seq} stands record {seq_and_time(body)[0]}")
    except ValueError:
        return Fault(seq, f"record {seq} is not one")
