"""Where things lie in the database, and the bytes of a record.

| key | value |
|---|---|
| ``m/format`` | :data:`FORMAT` |
| ``r/`` ‖ seq (8 bytes, big-endian) | hash (32 bytes) ‖ canonical JSON of the record |
| ``p/`` ‖ projection key (UTF-8) | canonical JSON of the value |
| ``t/frontier`` | right edge of the tree (``merkle.Frontier``) |
| ``t/`` ‖ tile level (1 byte) ‖ tile index (8 bytes, big-endian) | up to 256 hashes |

``hash`` = SHA-256(hash of the record before ‖ canonical JSON); before record 1 stand 32 zero bytes. Leaf
seq - 1 of the tree has the entry ``hash``.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from vordr.formats.typed import decoder
from vordr.model.records import Record

FORMAT: Final = b"vordr-journal-1"
FORMAT_KEY: Final = b"m/format"
RECORDS: Final = b"r/"
PROJECTION: Final = b"p/"
TREE: Final = b"t/"
FRONTIER_KEY: Final = b"t/frontier"
GENESIS: Final = bytes(32)
CHECKPOINT_SUBJECT: Final = "journal"
HASH_SIZE: Final = 32

_RECORD_DECODER: Final = decoder(Record)
_VALUE_DECODER: Final = msgspec.json.Decoder()


def record_key(seq: int) -> bytes:
    return RECORDS + seq.to_bytes(8, "big")


def projection_key(key: str) -> bytes:
    return PROJECTION + key.encode()


def link(previous: bytes, body: bytes) -> bytes:
    """The hash of the record ``body`` that follows the record hashed ``previous``."""
    return hashlib.sha256(previous + body).digest()


def decode_record(body: bytes) -> Record:
    """:raises msgspec.MsgspecError: not a record."""
    return _RECORD_DECODER.decode(body)


def decode_value(value: bytes) -> Any:
    """:raises msgspec.MsgspecError: not JSON."""
    return _VALUE_DECODER.decode(value)


def seq_and_time(body: bytes) -> tuple[int, int]:
    """``seq`` and ``time`` of a canonical record without decoding it.

    In canonical JSON ``"seq"``, ``"subject"``, ``"time"`` and ``"txn"`` come last, in this order; and a quote
    preceded by a comma cannot be inside a string, so the last match is the record's own key.

    :raises ValueError: it has no such ending.
    """
    txn = body.rindex(b',"txn":"')
    time = body.rindex(b',"time":', 0, txn)
    seq = body.rindex(b',"seq":', 0, time)
    return int(body[seq + 7 : body.index(b",", seq + 7)]), int(body[time + 8 : txn])
