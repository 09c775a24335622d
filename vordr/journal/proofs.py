"""Proofs that leave the machine: a record is in the journal; a journal is a prefix of a later one.

An inclusion proof is a JSON object: ``seq``; ``record``, the record itself; ``previous`` and ``hash``, the
chain hashes before and of it; ``leaf``, its leaf hash; ``path``, the audit path, nearest sibling first;
``size`` and ``root`` of the tree; ``checkpoint``, the signed note. A consistency proof: ``first``,
``second``, ``first_root``, ``second_root``, ``path``. Hashes are in lowercase hexadecimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vordr.formats import merkle
from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey
from vordr.formats.typed import convert
from vordr.journal import head as heads
from vordr.journal.encoding import encode
from vordr.journal.layout import GENESIS, HASH_SIZE, decode_record, decode_value, link, record_key
from vordr.journal.tiles import Get, edge
from vordr.model.errors import JournalCorrupt, StateError
from vordr.model.records import Record


class _Inclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seq: int
    record: dict[str, Any]
    previous: str
    hash: str
    leaf: str
    path: list[str]
    size: int
    root: str
    checkpoint: str


class _Consistency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    first: int
    second: int
    first_root: str
    second_root: str
    path: list[str]


def inclusion(get: Get, fetch: merkle.Fetch, seq: int, size: int, checkpoint: str) -> dict[str, Any]:
    """The proof that record ``seq`` is in the tree of ``size`` records that ``checkpoint`` signs.

    ``get`` reads the database, ``fetch`` the full subtrees of its tree.

    :raises StateError: no such record below the checkpoint.
    :raises JournalCorrupt: the tree cannot be read.
    """
    if not 0 < seq <= size:
        raise StateError(f"record {seq} is not among the {size} that are anchored")
    value = get(record_key(seq)) or b""
    before = get(record_key(seq - 1)) or b"" if seq > 1 else GENESIS
    try:
        path = merkle.inclusion_path_from(seq - 1, size, fetch)
        root = edge(size, fetch).root()
        record = decode_value(value[HASH_SIZE:])
    except (FormatError, msgspec.MsgspecError) as error:
        raise JournalCorrupt(f"record {seq} cannot be proven: {error}")
    return {
        "seq": seq, "record": record, "previous": before[:HASH_SIZE].hex(), "hash": value[:HASH_SIZE].hex(),
        "leaf": merkle.leaf_hash(value[:HASH_SIZE]).hex(), "path": [node.hex() for node in path],
        "size": size, "root": root.hex(), "checkpoint": checkpoint,
    }


def consistency(fetch: merkle.Fetch, first: int, second: int, size: int) -> dict[str, Any]:
    """The proof that the tree of ``first`` records is a prefix of that of ``second``, of ``size`` there are.

    :raises StateError: not 0 ≤ first ≤ second ≤ size.
    :raises JournalCorrupt: the tree cannot be read.
    """
    if not 0 <= first <= second <= size:
        raise StateError(f"no consistency of {first} with {second} records: the journal has {size}")
    try:
        path = merkle.consistency_path_from(first, second, fetch)
        roots = edge(first, fetch).root(), edge(second, fetch).root()
    except FormatError as error:
        raise JournalCorrupt(f"the consistency of {first} with {second} cannot be proven: {error}")
    return {
        "first": first, "second": second, "first_root": roots[0].hex(), "second_root": roots[1].hex(),
        "path": [node.hex() for node in path],
    }


def verify_proof(proof: Mapping[str, Any], public: PublicKey) -> Record:
    """The record that ``proof`` proves to be in the journal of the host key ``public``.

    :raises JournalCorrupt: malformed, or the step that does not hold: record, leaf, checkpoint, path.
    """
    try:
        p = convert(dict(proof), _Inclusion)
        body = encode(p.record)
        record = decode_record(body)
        entry, root = _hash(p.hash), _hash(p.root)
        signed = heads.verify(p.checkpoint, public)
        path = [_hash(node) for node in p.path]
        if link(_hash(p.previous), body) != entry or record.seq != p.seq:
            raise _broken("the record is not the one that was hashed")
        if merkle.leaf_hash(entry) != _hash(p.leaf):
            raise _broken("the leaf is not that of the record's hash")
    except (msgspec.MsgspecError, FormatError, TypeError, ValueError) as error:
        raise _broken(str(error))
    if (signed.size, signed.root) != (p.size, root):
        raise _broken("the checkpoint is over another tree")
    if not merkle.verify_inclusion(p.seq - 1, p.size, merkle.leaf_hash(entry), path, root):
        raise _broken("the path does not lead from the record to the root")
    return record


def verify_consistency(proof: Mapping[str, Any], first_root: bytes, second_root: bytes) -> tuple[int, int]:
    """The two sizes between which ``proof`` proves consistency; the roots are those that the reader trusts
    (from checkpoints it verified).

    :raises JournalCorrupt: malformed, over other roots, or not a proof.
    """
    try:
        p = convert(dict(proof), _Consistency)
        roots = _hash(p.first_root), _hash(p.second_root)
        path = [_hash(node) for node in p.path]
    except (msgspec.MsgspecError, ValueError) as error:
        raise _broken(str(error))
    if roots != (first_root, second_root):
        raise _broken("it is over other roots")
    if not merkle.verify_consistency(p.first, p.second, *roots, path):
        raise _broken(f"the journal of {p.first} records is no prefix of that of {p.second}")
    return p.first, p.second


def _hash(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != HASH_SIZE or raw.hex() != text:
        raise ValueError("a hash is 64 lowercase hexadecimal digits")
    return raw


def _broken(why: str) -> JournalCorrupt:
    return JournalCorrupt(f"the proof does not hold: {why}")
