"""What the host signed about the journal (its head, its checkpoint records), held against the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey
from vordr.journal import head as heads
from vordr.journal.chain import Fault, Walk
from vordr.journal.layout import decode_record
from vordr.model.records import Kind


@dataclass(frozen=True)
class Anchor:
    """A size and root that the host signed, and where that is written."""

    size: int
    root: bytes
    where: str


def check_anchors(walked: Walk, head: Anchor, key: PublicKey, tree_fault: Fault | None) -> Fault | None:
    """The first signed statement that the records contradict.

    A rewritten history with all hashes made anew shows here alone. It lies between the last statement that
    holds and the first that does not; ``tree_fault`` narrows it where the stored tree was left as it was.
    """
    good = 0
    anchors = [*_recorded(walked, key), head]
    for anchor in anchors:
        if isinstance(anchor, Fault):
            return anchor
        if anchor.size > walked.size or walked.root(anchor.size) != anchor.root:
            first = tree_fault.seq if tree_fault is not None and tree_fault.seq is not None else good + 1
            return Fault(
                first, f"records {first} to {anchor.size} are not those over which {anchor.where} was signed"
            )
        good = anchor.size
    return None


def _recorded(walked: Walk, key: PublicKey) -> Iterator[Anchor | Fault]:
    """The checkpoint records, in order. One that is malformed, or not signed by the host key, is a fault."""
    for body in walked.checkpoints:
        try:
            record = decode_record(body)
        except msgspec.MsgspecError:
            continue  # check_records says so
        if record.kind is not Kind.CHECKPOINT:
            continue
        try:
            signed = heads.verify(str(record.args.get("checkpoint", "")), key)
        except FormatError as error:
            yield Fault(record.seq, f"the checkpoint in record {record.seq} is forged or damaged: {error}")
            continue
        if signed.size >= record.seq:
            yield Fault(record.seq, f"the checkpoint in record {record.seq} covers records after itself")
            continue
        yield Anchor(signed.size, signed.root, f"the checkpoint in record {record.seq}")
