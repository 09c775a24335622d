"""What an opened database holds, checked against the signed head: O(log n) reads and the unanchored tail.

The whole chain is the auditor's business; here it is made sure that the writer goes on from where the signed
head says it stopped, or from records that follow it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import plyvel

from vordr.formats import merkle
from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey
from vordr.journal import head as heads
from vordr.journal import tiles
from vordr.journal.batch import Tip
from vordr.journal.database import leveldb_message
from vordr.journal.layout import (
    FORMAT,
    FORMAT_KEY,
    GENESIS,
    HASH_SIZE,
    RECORDS,
    link,
    record_key,
    seq_and_time,
)
from vordr.model.errors import JournalCorrupt, JournalStopped


@dataclass(frozen=True)
class Standing:
    """Where the journal stands: its tree, last record, and the head (``note`` "" when there is none yet) with
    the number of records it covers."""

    tree: tiles.Tree
    tip: Tip
    anchored: int
    note: str


def standing(database: Any, note: str | None, public: PublicKey) -> Standing:
    """Read where the journal in ``database`` stands; ``note`` is the text of its head file.

    :raises JournalCorrupt: database and head do not hold together.
    """
    try:
        if database.get(FORMAT_KEY) != FORMAT:
            raise JournalCorrupt("the journal's database is not of a format that this version knows")
        tip = _tip(database)
        tree = tiles.load(database.get, lambda count: _last_leaves(database, count))
        if tree.size != tip.seq:
            raise JournalCorrupt(f"the journal has {tip.seq} records, but a tree of {tree.size}")
        anchored = _check_head(database, note, public, tree, tip)
    except plyvel.Error as error:
        raise JournalCorrupt(f"the journal's database cannot be read: {leveldb_message(error)}")
    except FormatError as error:
        raise JournalCorrupt(f"the journal's tree does not hold together: {error}")
    return Standing(tree, tip, anchored, note or "")


def first_head(found: Standing, signer: heads.Signer, path: Path) -> Standing:
    """Sign the head of an empty journal, so that a head is missing only where somebody took it: the folders
    are synced too, since there is no older head that a lost rename would bring back."""
    text = signer.sign(heads.Head(0, merkle.EMPTY_ROOT, 0, GENESIS))
    try:
        heads.write(path, text)
        for folder in (path.parent, path.parent.parent):
            _sync_folder(folder)
    except OSError as error:
        raise JournalStopped(f"the journal's head cannot be written: {error.strerror or error}")
    return replace(found, note=text)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tip(database: Any) -> Tip:
    with database.iterator(prefix=RECORDS, reverse=True) as records:
        last = next(records, None)
    if last is None:
        return Tip(0, GENESIS, 0)
    key, value = last
    try:
        seq, time = seq_and_time(value[HASH_SIZE:])
    except ValueError:
        seq, time = 0, 0
    if record_key(seq) != key:
        raise JournalCorrupt("the journal's last record is not one")
    return Tip(seq, value[:HASH_SIZE], time)


def _last_leaves(database: Any, count: int) -> list[bytes]:
    with database.iterator(prefix=RECORDS, reverse=True, include_key=False) as values:
        found = [merkle.leaf_hash(value[:HASH_SIZE]) for value, _ in zip(values, range(count), strict=False)]
    return found[::-1]


def _check_head(database: Any, note: str | None, public: PublicKey, tree: tiles.Tree, tip: Tip) -> int:
    """How many records the head covers."""
    if note is None:
        if tip.seq:
            raise JournalCorrupt(f"the journal has {tip.seq} records and no signed head")
        return 0
    try:
        head = heads.verify(note, public)
    except FormatError as error:
        raise JournalCorrupt(f"the journal's head is forged or damaged: {error}")
    if head.size > tip.seq:
        raise JournalCorrupt(
            f"the journal's database is older than its signed head: {tip.seq} of {head.size} records",
            details={"records": tip.seq, "signed": head.size},
        )
    if head.seq != head.size or tree.root_at(head.size, database.get) != head.root:
        raise JournalCorrupt("the journal's database is not the one that its head was signed over")
    if _follow(database, head.size, head.hash, tip.seq) != tip.hash:
        raise JournalCorrupt(f"the records after {head.size} do not follow from the signed head")
    return head.size


def _follow(database: Any, seq: int, digest: bytes, last: int) -> bytes:
    """The hash at ``last`` when the chain is followed from record ``seq``, which must have ``digest``."""
    if seq and (database.get(record_key(seq)) or b"")[:HASH_SIZE] != digest:
        raise JournalCorrupt(f"record {seq} is not the one that the journal's head names")
    for number in range(seq + 1, last + 1):
        value = database.get(record_key(number)) or b""
        digest = link(digest, value[HASH_SIZE:])
        if value[:HASH_SIZE] != digest:
            raise JournalCorrupt(f"record {number} of the journal does not follow from record {number - 1}")
    return digest
