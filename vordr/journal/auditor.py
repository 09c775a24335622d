"""The offline auditor: is this journal what its host signed? Needs a copy and the public key, nothing else.

Order of the checks, each naming the first record that does not hold:

1. the database opens, and LevelDB's own checksums hold;
2. records are numbered 1, 2, …; each hash follows from the one before and the bytes; time never goes back;
3. the tree stored beside the records is the one they make;
4. the head outside the database is signed by the host key, covers no more than there is, and has the root
   that the records make; so do the checkpoints among the records;
5. with ``replay``: each record is in its canonical bytes, and the projection is what the records add up to.

Not checked: that the host's clock was right, or that what the records say was done was done.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plyvel

from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey
from vordr.journal import head as heads
from vordr.journal import proofs
from vordr.journal.anchors import Anchor, check_anchors
from vordr.journal.chain import Fault, Walk, walk
from vordr.journal.copy import copy_database, link_or_copy
from vordr.journal.database import Gate, leveldb_message
from vordr.journal.lawful import History, check_history
from vordr.journal.layout import FORMAT, FORMAT_KEY, TREE
from vordr.journal.reading import Reading
from vordr.journal.replay import check_records
from vordr.journal.torn import Torn, drop, torn_ends
from vordr.model.errors import JournalCorrupt


@dataclass(frozen=True)
class AuditReport:
    """``records`` that hold, counted from 1; ``root`` (hex) of their tree; ``head`` the signed head's text;
    ``unanchored`` records after it; ``first_bad`` the first record that does not hold (None: no single
    record is to blame) and ``reason``, one line; ``replayed`` whether the projection was checked too.

    ``torn``: what an interrupted write left behind the records, a line each; no damage, and dropped at the
    next start.
    """

    records: int
    root: str
    head: str | None
    unanchored: int
    ok: bool
    first_bad: int | None = None
    reason: str | None = None
    replayed: bool = False
    torn: tuple[str, ...] = ()


def audit(
    db_dir: Path, head_file: Path, public_key: PublicKey, *, replay: bool = True, scratch: Path | None = None
) -> AuditReport:
    """Audit the journal in ``db_dir`` (it may be in use) against ``head_file``; writes to a copy only.

    ``scratch`` is the folder for the copy (default: the system's temporary folder).

    :raises JournalCorrupt: the database cannot be copied at all.
    """
    with OfflineJournal.copied(db_dir, head_file, scratch=scratch) as journal:
        return journal.audit(public_key, replay=replay)


@dataclass
class OfflineJournal:
    """A private copy of a journal. ``damage`` is LevelDB's complaint on opening it, None when it had none;
    ``torn`` what was cut off before."""

    database: Any
    head: str | None
    head_fault: str | None
    damage: str | None
    torn: tuple[Torn, ...] = ()
    _walked: Walk | None = field(default=None, repr=False)

    @classmethod
    @contextmanager
    def copied(
        cls, db_dir: Path, head_file: Path, *, scratch: Path | None = None, linked: bool = False
    ) -> Iterator[OfflineJournal]:
        """Copy the journal and open the copy; it is gone afterwards. The head is read first, so that a
        journal in use never seems cut. ``linked``: tables may be links instead, which shows in their inodes.
        """
        head, head_fault = None, None
        try:
            head = heads.read(head_file)
        except JournalCorrupt as error:
            head_fault = error.message
        with tempfile.TemporaryDirectory(prefix="vordr-audit-", dir=scratch) as temporary:
            folder = Path(temporary) / "db"
            copy_database(db_dir, folder, link_or_copy if linked else shutil.copyfile)
            database, damage, torn = _open_copy(folder)
            try:
                yield cls(database, head, head_fault, damage, torn)
            finally:
                if database is not None:
                    database.close()

    def walk(self) -> Walk:
        """The records from 1 on as far as they hold (once; then remembered)."""
        if self._walked is None:
            self._walked = Walk([], (), None) if self.database is None else walk(self.database)
        return self._walked

    def audit(self, public_key: PublicKey, *, replay: bool = True) -> AuditReport:
        """The verdict. ``replay`` also rebuilds the projection: some ten times the time."""
        walked = self.walk()
        signed, fault = self._judge(walked, public_key, replay)
        covered = signed.size if signed is not None else 0
        return AuditReport(
            records=walked.size, root=walked.root().hex(), head=self.head,
            unanchored=max(0, walked.size - covered), ok=fault is None,
            first_bad=fault.seq if fault else None, reason=fault.reason if fault else None,
            replayed=replay and fault is None, torn=tuple(map(str, self.torn)),
        )

    def history(self) -> History:
        """Hold the whole history against the proved model; for a chain that holds."""
        if self.database is None:
            return History(0, 0)
        return check_history(record for record, _ in Reading(self.database, Gate()).records())

    def _judge(
        self, walked: Walk, key: PublicKey, with_replay: bool
    ) -> tuple[heads.Head | None, Fault | None]:
        signed, head_fault = self._signed_head(walked, key)
        fault = self._files_fault(walked)
        tree_fault = None if self.database is None else _tree_fault(self.database, walked)
        if fault is None and walked.fault is not None:
            fault = _earlier(walked.fault, tree_fault)
        if fault is None:
            fault = head_fault
        if fault is None and signed is not None:
            head_anchor = Anchor(signed.size, signed.root, "the signed head")
            fault = check_anchors(walked, head_anchor, key, tree_fault)
        if fault is None:
            fault = tree_fault
        if fault is None and self.database is not None:
            first = 1 if with_replay else (signed.size if signed else 0) + 1
            fault = check_records(self.database, walked.size, first, projection=with_replay)
        return signed, fault

    def _files_fault(self, walked: Walk) -> Fault | None:
        if self.damage is None:
            return None
        good = walked.size
        return Fault(good + 1, f"after record {good} the database cannot be read: {self.damage}")

    def _signed_head(self, walked: Walk, key: PublicKey) -> tuple[heads.Head | None, Fault | None]:
        if self.head_fault is not None:
            return None, Fault(None, self.head_fault)
        if self.head is None:
            if walked.size == 0:
                return None, None
            return None, Fault(None, "the signed head is missing: nothing says how long the journal was")
        try:
            signed = heads.verify(self.head, key)
        except FormatError as error:
            return None, Fault(None, f"the signed head is forged or damaged: {error}")
        if signed.size > walked.size:
            return signed, Fault(
                walked.size + 1,
                f"the signed head covers {signed.size} records, the database holds {walked.size}: "
                "its tail was cut, or it was swapped for an older copy",
            )
        return signed, None

    # -- proofs ----------------------------------------------------------------------------------------

    def prove(self, seq: int, public_key: PublicKey) -> dict[str, Any]:
        """An inclusion proof of record ``seq`` under the signed head (see :mod:`vordr.journal.proofs`).

        :raises StateError: the head does not cover such a record.
        :raises JournalCorrupt: head or tree do not hold.
        """
        walked = self._sound()
        signed, fault = self._signed_head(walked, public_key)
        if fault is not None or signed is None or self.head is None:
            raise JournalCorrupt(fault.reason if fault else "the journal is empty and has no signed head")
        return proofs.inclusion(self.database.get, walked.fetch, seq, signed.size, self.head)

    def consistency(self, first: int, second: int) -> dict[str, Any]:
        """A proof that the journal of ``first`` records is a prefix of that of ``second``.

        :raises StateError: not 0 ≤ first ≤ second ≤ records.
        """
        walked = self._sound()
        return proofs.consistency(walked.fetch, first, second, walked.size)

    def _sound(self) -> Walk:
        walked = self.walk()
        fault = self._files_fault(walked) or walked.fault
        if fault is not None:
            raise JournalCorrupt(fault.reason)
        return walked


def _open_copy(folder: Path) -> tuple[Any, str | None, tuple[Torn, ...]]:
    """The database of the copy, what LevelDB complains of, and what was cut off before; None for a database
    that opens in no way."""
    torn: tuple[Torn, ...] = ()
    try:
        torn = torn_ends(folder)
        drop(folder, torn)
        return _ready(plyvel.DB(str(folder), paranoid_checks=True)), None, torn
    except (plyvel.Error, JournalCorrupt) as error:
        damage = leveldb_message(error)
    try:
        return plyvel.DB(str(folder)), damage, torn
    except plyvel.Error:
        return None, damage, torn


def _ready(database: Any) -> Any:
    try:
        written = database.get(FORMAT_KEY, verify_checksums=True)
        if written != FORMAT:
            raise JournalCorrupt(f"its format is {written!r}, not {FORMAT!r}")
    except (plyvel.Error, JournalCorrupt):
        database.close()
        raise
    return database


def _earlier(fault: Fault, other: Fault | None) -> Fault:
    if other is None or other.seq is None or fault.seq is None or other.seq >= fault.seq:
        return fault
    return other


def _tree_fault(database: Any, walked: Walk) -> Fault | None:
    """Where the stored tree differs from the one that the records make, as far as they hold."""
    whole = walked.fault is None
    seen = 0
    try:
        with database.iterator(prefix=TREE, verify_checksums=True) as stored:
            for key, value in stored:
                fault = walked.compare_tile(key, value)
                if fault is not None and (whole or fault.seq is not None):
                    return fault
                seen += 1
    except plyvel.Error as error:
        return Fault(None, f"the tree beside the records cannot be read: {leveldb_message(error)}")
    if whole and seen != walked.stored_keys():
        return Fault(None, f"the tree beside the records has {seen} parts instead of {walked.stored_keys()}")
    return None
