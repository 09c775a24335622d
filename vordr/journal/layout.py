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

from vordr.formats import canonical
from vordr.formats.errors import FormatError
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

_RECORD_DECODER: Final = msgspec.json.Decoder(Record)
_VALUE_DECODER: Final = msgspec.json.Decoder()


def record_key(seq: int) -> bytes:
    return RECORDS + seq.to_bytes(8, "big")


def projection_key(key: str) -> bytes:
    return PROJECTION + key.encode()


def link(previous: bytes, body: bytes) -> bytes:
    """The hash of the record ``body`` that follows the record hashed ``previous``."""
    return hashlib.sha256(previous + body).digest()


def encode(value: Any) -> bytes:
    """Canonical JSON of a record or of a projection value (msgspec structs, enums and tuples allowed).

    :raises FormatError: a value that canonical JSON cannot carry, or not there and back: a float of 2**53 or
        more is written as an integer, which no reader may write again.
    :raises TypeError: a value that is none of JSON's.
    """
    return canonical.fast_dumps(_plain(msgspec.to_builtins(value)))


def _plain(value: Any) -> Any:
    """Tuples as lists, which are all that the fast canonical encoder knows; and no large floats."""
    kind = type(value)
    if kind is dict:
        return {key: _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if kind is float and abs(value) >= 2**53:
        raise FormatError("canonical json", f"{value} is too large for a float")
    return value


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
