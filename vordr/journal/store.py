"""The journal's one writer: group commit of records, projection and tree, then the signed head."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plyvel

from vordr.formats import merkle
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.formats.uuid7 import uuid7
from vordr.journal import head as heads
from vordr.journal import proofs, recover
from vordr.journal.anchoring import Anchoring
from vordr.journal.batch import Evaluated, Group, Outcome, Standing, Tip, evaluate
from vordr.journal.database import Gate, leveldb_message, open_database, refusal
from vordr.journal.layout import CHECKPOINT_SUBJECT, FORMAT, FORMAT_KEY, projection_key, record_key
from vordr.journal.reading import Reading
from vordr.journal.space import Space
from vordr.journal.tiles import Growth, Tree
from vordr.journal.torn import KEPT, Torn
from vordr.model.errors import JournalCorrupt, JournalFull, JournalStopped, StateError, VordrError
from vordr.model.paths import Paths
from vordr.model.records import ActStatus, Cause, Draft, Kind, act_key, head_key

CHECKPOINT_EVERY = 1024

_ACTS = act_key("")
_MOST_OPEN_ACTS = 1024

Clock = Callable[[], int]
"""Wall-clock time in µs since the epoch."""


def wall_clock() -> int:
    return time.time_ns() // 1000


def host_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class JournalStore(Reading):
    """One open journal. :meth:`append_batch` and :meth:`anchor` are for one writer; reads are thread-safe.

    Attributes: ``unanchored_at_open``, records that the signed head did not cover when it was opened, that
    is, how many a crash (or somebody else) left behind it; ``torn_at_open``, what an interrupted write had
    left and was dropped then.
    """

    def __init__(
        self, database: Any, paths: Paths, signer: heads.Signer, space: Space, clock: Clock, boot_id: str,
        standing: recover.Standing, torn: tuple[Torn, ...] = (),
    ) -> None:
        self._shut = Gate()
        super().__init__(database, self._shut)
        self._signer = signer
        self._anchoring = Anchoring(paths.journal_head, signer, standing.anchored, standing.note)
        self._space = space
        self._clock = clock
        self._boot_id = boot_id
        self._writing = threading.Lock()
        self._stopped: str | None = None
        self._open_acts: dict[str, Standing] = {}
        self._tree: Tree = standing.tree
        self._tip: Tip = standing.tip
        self._checkpointed: int = self.get(head_key(CHECKPOINT_SUBJECT)) or 0
        self.unanchored_at_open: int = standing.tip.seq - standing.anchored
        self.torn_at_open: tuple[Torn, ...] = torn

    @classmethod
    def open(
        cls, paths: Paths, host_key: PrivateKey, clock: Clock = wall_clock, *,
        boot_id: str | None = None, space: Space | None = None,
    ) -> JournalStore:
        """Open the journal of ``paths``, or begin one. O(1) in the length of the history.

        :raises StateLocked: it is open already; names the process.
        :raises JournalCorrupt: the database is damaged, older than its signed head, or another one; or the
            head is missing or not signed by ``host_key``.
        :raises JournalFull: the disk is too full to open it. JournalStopped: the disk refuses otherwise.
        :raises StateError: ``host_key`` is not an Ed25519 key, or the folder cannot be written.
        """
        try:
            signer = heads.Signer(host_key)
        except FormatError as error:
            raise StateError(f"the host key cannot sign the journal: {error}")
        folder = paths.journal.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"the journal's folder {folder} cannot be made: {error.strerror}")
        room = space if space is not None else Space(folder)
        try:
            room.make_way()
            database, torn = open_database(paths.journal)
        except OSError as error:
            raise refusal(paths.journal, error)
        try:
            room.keep()
            standing = _standing(database, paths, signer)
            return cls(database, paths, signer, room, clock, boot_id or host_boot_id(), standing, torn)
        except BaseException as error:
            database.close()
            if isinstance(error, JournalCorrupt):
                raise _with_torn(error, torn)
            if isinstance(error, (plyvel.Error, OSError)):
                raise refusal(paths.journal, error)
            raise

    @property
    def dropped_at_open(self) -> str | None:
        """One line on what opening dropped, for the log; None when it was nothing."""
        if not self.torn_at_open:
            return None
        standing = f"all {self.size - self.unanchored_at_open} records under the signed head are there"
        return f"the journal {_listed(self.torn_at_open)}; {standing}, and {self.unanchored_at_open} after it"

    @property
    def stopped(self) -> str | None:
        """Why nothing can be written any more; None while it can, as far as is known."""
        return self._stopped or self._anchoring.failure

    @property
    def size(self) -> int:
        """Number of records."""
        return self._tip.seq

    @property
    def anchored(self) -> int:
        """How many records the signed head on disk covers."""
        return self._anchoring.on_disk[0]

    def last(self) -> tuple[int, bytes]:
        """Number and hash of the last record; (0, 32 zero bytes) before the first."""
        tip = self._tip
        return tip.seq, tip.hash

    def root(self) -> bytes:
        """Root of the tree over all records."""
        return self._tree.root()

    # -- writing ---------------------------------------------------------------------------------------

    def append_batch(self, groups: Sequence[Group]) -> list[Outcome]:
        """Append ``groups`` in order, in one synced write with their projection and tree.

        Returns, for each group, its records, or why it was refused (a refused group leaves nothing):
        StaleState, NameInUse or SubjectBusy by its conditions, JournalFull, StateError for drafts that
        cannot be journalled, JournalCorrupt for drafts that do not fit what stands. What is returned as
        records is durable; the signed head follows within one fsync (:meth:`anchor` waits for it).

        :raises JournalStopped: the write failed, now or earlier; nothing of this call may be acted upon.
        """
        with self._writing:
            self._refuse_stopped()
            results: dict[int, Outcome] = {}
            full = None if all(group.reserve for group in groups) else self._room(self._space.refuse_begin)
            if full is not None:
                results = {at: full for at, group in enumerate(groups) if not group.reserve}
            admitted = [group for at, group in enumerate(groups) if at not in results]
            outcomes = iter(self._commit(admitted))
            return [results[at] if at in results else next(outcomes) for at in range(len(groups))]

    def _commit(self, groups: Sequence[Group]) -> list[Outcome]:
        now = self._clock()
        checkpoint = self._checkpoint_group(now)
        evaluated = evaluate(
            [*checkpoint, *groups], self._standing_value, self._tip, now=now, boot_id=self._boot_id)
        outcomes = evaluated.outcomes[len(checkpoint):]
        if all(isinstance(outcome, VordrError) for outcome in outcomes):
            return outcomes
        tree, puts = _grown(self._tree, evaluated)
        full = self._room(lambda: self._space.refuse_write(sum(map(len, puts.values()))))
        if full is not None:
            return [outcome if isinstance(outcome, VordrError) else full for outcome in outcomes]
        self._write(evaluated, puts)
        self._tree, self._tip = tree, evaluated.tip
        self._keep_open_acts(evaluated.standing)
        self._anchoring.request(tree.size, self._standing_head())
        if checkpoint:
            self._checkpointed = evaluated.entries[0].seq
        return outcomes

    def _standing_value(self, key: str) -> Standing:
        found = self._open_acts.get(key)
        return self.bytes_of(key) if found is None else found

    def _keep_open_acts(self, written: Mapping[str, Standing]) -> None:
        """An open act's next record will ask for what this one wrote."""
        for key, value in written.items():
            if key.startswith(_ACTS):
                if type(value) is dict and value["status"] == ActStatus.OPEN:
                    self._open_acts[key] = value
                else:
                    self._open_acts.pop(key, None)
        if len(self._open_acts) > _MOST_OPEN_ACTS:
            self._open_acts.clear()

    def _write(self, evaluated: Evaluated, puts: Mapping[bytes, bytes]) -> None:
        try:
            with self._shut.passing(), self._database.write_batch(sync=True) as batch:
                for key, value in puts.items():
                    batch.put(key, value)
                for name, written in evaluated.writes.items():
                    if written is None:
                        batch.delete(projection_key(name))
        except (plyvel.Error, OSError) as error:
            # Whether the batch is on the disk is now unknown, and a second fsync would not tell either.
            self._stopped = f"a write to the journal failed: {leveldb_message(error)}"
            raise JournalStopped(self._stopped) from error

    def _room(self, ask: Callable[[], JournalFull | None]) -> JournalFull | None:
        """Why there is no room, or None. A disk that cannot even say so is no disk to write to."""
        try:
            return ask()
        except OSError as error:
            self._stopped = f"the disk of the journal failed: {error}"
            raise JournalStopped(self._stopped)

    def _checkpoint_group(self, now: int) -> list[Group]:
        """Every so many records one of them carries the signed checkpoint of all before it."""
        if self._tip.seq - self._checkpointed < CHECKPOINT_EVERY:
            return []
        draft = Draft(
            txn=uuid7(now // 1000, os.urandom(10)), kind=Kind.CHECKPOINT, cause=Cause.POLICY,
            subject=CHECKPOINT_SUBJECT, operation="checkpoint",
            args={"checkpoint": self._signer.sign(self._standing_head()())}, principal="journal",
        )
        return [Group((draft,), reserve=True)]

    # -- the head --------------------------------------------------------------------------------------

    def anchor(self) -> None:
        """Wait until the signed head on disk covers every record. Raises JournalStopped when it cannot."""
        with self._writing:
            self._refuse_stopped()
            if self.anchored < self._tip.seq:
                self._anchoring.request(self._tree.size, self._standing_head())
                self._anchoring.wait(self._tip.seq)

    def _standing_head(self) -> Callable[[], heads.Head]:
        """The head as of now, for whoever signs it to work out."""
        tree, tip = self._tree, self._tip
        return lambda: heads.Head(tree.size, tree.root(), tip.seq, tip.hash)

    def _refuse_stopped(self) -> None:
        if (why := self.stopped) is not None:
            raise JournalStopped(why)

    # -- proofs ----------------------------------------------------------------------------------------

    def checkpoint(self) -> str:
        """The signed head on disk."""
        return self._anchoring.on_disk[1]

    def prove(self, seq: int) -> dict[str, Any]:
        """Proof that record ``seq`` is in the journal (see :mod:`vordr.journal.proofs`), anchoring it first.

        :raises StateError: there is no such record.
        """
        if self.anchored < seq <= self.size:
            self.anchor()
        size, note = self._anchoring.on_disk  # before the tree: that is never the smaller one
        return proofs.inclusion(self.raw, self._tree.fetch(self.raw), seq, size, note)

    def consistency(self, first: int, second: int) -> dict[str, Any]:
        """Proof that the journal of ``first`` records is a prefix of that of ``second``.

        :raises StateError: not 0 ≤ first ≤ second ≤ size.
        """
        return proofs.consistency(self._tree.fetch(self.raw), first, second, self._tree.size)

    def close(self) -> None:
        """Let the head catch up and give up the database; waits for reads under way. Idempotent.

        Later reads raise StateError, or JournalStopped where that is why it was closed.
        """
        with self._writing:
            if self._shut.shut(self.stopped):
                self._anchoring.close()
                self.release_snapshots()
                self._database.close()


def _standing(database: Any, paths: Paths, signer: heads.Signer) -> recover.Standing:
    """Where the journal stands; a new one gets its format and its first head."""
    with database.iterator(include_value=False) as keys:
        fresh = next(keys, None) is None
    if fresh:
        database.put(FORMAT_KEY, FORMAT, sync=True)
    standing = recover.standing(database, heads.read(paths.journal_head), signer.public)
    if standing.note == "":
        standing = recover.first_head(standing, signer, paths.journal_head)
    return standing


def _listed(torn: tuple[Torn, ...]) -> str:
    return ", and ".join(map(str, torn))


def _with_torn(error: JournalCorrupt, torn: tuple[Torn, ...]) -> JournalCorrupt:
    """The refusal, with what was dropped before it: there the missing records may have been."""
    if not torn:
        return error
    kept = f"what was dropped is in journal/{KEPT}"
    return JournalCorrupt(f"{error.message}; it {_listed(torn)}: {kept}", details=error.details)


def _grown(tree: Tree, evaluated: Evaluated) -> tuple[Tree, dict[bytes, bytes]]:
    """The tree with the new records, and all that is to be put."""
    growth = Growth(tree)
    puts: dict[bytes, bytes] = {}
    for entry in evaluated.entries:
        growth.append(merkle.leaf_hash(entry.hash))
        puts[record_key(entry.seq)] = entry.hash + entry.body
    grown, tiles = growth.finish()
    puts.update(tiles)
    puts.update({projection_key(key): value for key, value in evaluated.writes.items() if value is not None})
    return grown, puts


