"""The journal's files torn as a power failure tears them: what was acknowledged stays, what goes is named.

A record is acknowledged after its batch was synced, and the head is signed after that. So the last batch may
be torn in any way, wherever the head stands before it; everything before it is on the disk for good, and its
damage is never taken for a torn write.
"""

from __future__ import annotations

import logging
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from whole_engine import Whole, planted

from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import leveldb_log
from vordr.journal.auditor import audit
from vordr.journal.batch import Group
from vordr.journal.space import Space
from vordr.journal.store import JournalStore
from vordr.journal.torn import KEPT
from vordr.model.errors import JournalCorrupt, StateLocked
from vordr.model.lifecycle import State
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind, Record

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
SHORT = [10, 30, 10, 50, 30, 20, 10]
LONG = [10, 20_000, 10, 40_000, 30, 20, 10]
"""What each record of a batch is filled with, in bytes; every second batch is of two records, and the large
ones lie over two and three blocks of the log."""
LAST = len(SHORT)


def opened(paths: Paths) -> JournalStore:
    return JournalStore.open(paths, KEY, space=Space(paths.journal.parent, reserve=4096))


def append(store: JournalStore, size: int, records: int = 1) -> None:
    drafts = [Draft(txn="t", kind=Kind.ANOMALY, cause=Cause.MONITOR, subject=f"container/{n}", operation="op",
                    args={"x": "x" * size}) for n in range(records)]
    (outcome,) = store.append_batch([Group(tuple(drafts))])
    assert isinstance(outcome, tuple)


@dataclass
class Journal:
    """A journal as it was on the disk while its writer lived.

    ``ends[n]``, ``heads[n]`` and ``sizes[n]``: bytes of the log, head file and records once batch ``n`` was
    acknowledged and anchored; batch 0 is the format.
    """

    folder: Path
    log: str
    data: bytes
    ends: list[int]
    heads: list[bytes]
    sizes: list[int]
    records: list[Record]

    def crashed(self, target: Path, data: bytes, head: int, **files: bytes) -> Paths:
        """The same journal at ``target`` with these bytes in its log, and the head of batch ``head``."""
        shutil.rmtree(target, ignore_errors=True)
        paths = Paths(target, target / "run")
        shutil.copytree(self.folder, paths.journal)
        (paths.journal / self.log).write_bytes(data)
        for name, content in files.items():
            (paths.journal / name).write_bytes(content)
        paths.journal_head.write_bytes(self.heads[head])
        return paths

    def whole_in(self, length: int) -> int:
        """The last batch that is whole in the first ``length`` bytes."""
        return max(n for n, end in enumerate(self.ends) if end <= length)


def written(root: Path, fillings: list[int]) -> Journal:
    paths = Paths(root, root / "run")
    store = opened(paths)
    (log,) = paths.journal.glob("*.log")
    ends, heads, sizes = [log.stat().st_size], [paths.journal_head.read_bytes()], [0]
    for number, size in enumerate(fillings):
        append(store, size, records=1 + number % 2)
        store.anchor()
        ends.append(log.stat().st_size)
        heads.append(paths.journal_head.read_bytes())
        sizes.append(store.size)
    folder = root / "as-it-was"
    shutil.copytree(paths.journal, folder, ignore=shutil.ignore_patterns("LOCK", "LOG"))
    records = [record for record, _ in store.records()]
    store.close()
    return Journal(folder, log.name, (folder / log.name).read_bytes(), ends, heads, sizes, records)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return written(tmp_path_factory.mktemp("journal"), SHORT)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return written(tmp_path_factory.mktemp("long"), LONG)


@pytest.fixture
def target(memory_path: Path) -> Path:
    return memory_path / "crashed"


def holds(journal: Journal, paths: Paths, batch: int) -> JournalStore:
    """The journal opens with exactly the records of the batches up to ``batch``."""
    store = opened(paths)
    assert [record for record, _ in store.records()] == journal.records[:journal.sizes[batch]]
    return store


def test_the_log_is_read_as_leveldb_writes_it(long: Journal) -> None:
    walked = leveldb_log.walk(long.data)
    assert [entry.end for entry in walked.entries] == long.ends
    assert sorted(len(entry.pieces) for entry in walked.entries)[-2:] == [2, 3]
    assert all(entry.intact(long.data) for entry in walked.entries)
    assert leveldb_log.crc32c(b"123456789") == 0xE3069283


# -- cut ------------------------------------------------------------------------------------------------


def test_a_cut_at_every_byte_of_the_last_batches_leaves_those_before_it(
    journal: Journal, target: Path
) -> None:
    for length in range(journal.ends[LAST - 2], journal.ends[LAST] + 1):
        batch = journal.whole_in(length)
        paths = journal.crashed(target, journal.data[:length], head=batch)
        store = holds(journal, paths, batch)
        over = length - journal.ends[batch]
        assert [(torn.file, torn.kept, torn.dropped) for torn in store.torn_at_open] == (
            [(journal.log, journal.ends[batch], over)] if over else [])
        assert (store.dropped_at_open is None) == (over == 0)
        assert store.unanchored_at_open == 0
        store.close()


def test_a_cut_around_every_header_of_long_batches_leaves_those_before_it(
    long: Journal, target: Path
) -> None:
    headers = [at for entry in leveldb_log.walk(long.data).entries for at in entry.pieces]
    for length in sorted({header + step for header in headers[2:] for step in (-8, -7, -1, 0, 1, 6, 7)}):
        batch = long.whole_in(length)
        holds(long, long.crashed(target, long.data[:length], head=batch), batch).close()


def test_a_cut_below_the_signed_head_is_refused_at_every_byte(journal: Journal, target: Path) -> None:
    for length in range(journal.ends[LAST - 1], journal.ends[LAST]):
        data = journal.data[:length]
        paths = journal.crashed(target, data, head=LAST)
        with pytest.raises(JournalCorrupt) as refused:
            opened(paths)
        assert refused.value.message.startswith(
            f"the journal's database is older than its signed head: "
            f"{journal.sizes[LAST - 1]} of {journal.sizes[LAST]} records")
        assert "\n" not in refused.value.message
        assert refused.value.remedy == "vordr audit --chain"
        if length > journal.ends[LAST - 1]:
            assert f"it dropped {length - journal.ends[LAST - 1]} bytes" in refused.value.message
            assert (paths.journal.parent / KEPT).read_bytes() == data[journal.ends[LAST - 1]:]
        with pytest.raises(JournalCorrupt, match="older than its signed head"):
            opened(paths)  # it does not come right by trying again


# -- torn -----------------------------------------------------------------------------------------------

NOISE = random.Random(9).randbytes(64 * 1024)

TEARS: dict[str, Callable[[bytes, int], bytes]] = {
    "zeros": lambda data, at: data[:at] + bytes(len(data) - at),
    "zeros of a longer extent": lambda data, at: data[:at] + bytes(len(data) - at + 8192),
    "ones": lambda data, at: data[:at] + b"\xff" * (len(data) - at),
    "what was on the disk before": lambda data, at: data[:at] + NOISE[at % 997:][:len(data) - at],
    "an older part of the log": lambda data, at: data[:at] + data[:len(data) - at],
    "one byte": lambda data, at: data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1:],
}


@pytest.mark.parametrize("tear", TEARS)
def test_the_last_batch_torn_at_every_byte_is_dropped_and_named(
    tear: str, journal: Journal, target: Path
) -> None:
    whole, before = journal.ends[LAST], journal.ends[LAST - 1]
    for at in range(before, whole):
        data = TEARS[tear](journal.data, at)
        if data[:whole] == journal.data:
            continue  # it had not been torn
        paths = journal.crashed(target, data, head=LAST - 1 - at % 3)
        store = holds(journal, paths, LAST - 1)
        (torn,) = store.torn_at_open
        assert (torn.file, torn.kept, torn.dropped) == (journal.log, before, len(data) - before)
        assert f"dropped {len(data) - before} bytes" in (store.dropped_at_open or "")
        assert store.unanchored_at_open == store.size - journal.sizes[LAST - 1 - at % 3]
        store.close()


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_long_batch_that_lacks_one_of_its_blocks_is_dropped(
    block: int, long: Journal, target: Path
) -> None:
    batch = LONG.index(40_000) + 1
    entry = leveldb_log.walk(long.data).entries[batch]
    lost = entry.pieces[block]
    upto = [*entry.pieces[1:], entry.end][block]
    data = long.data[:lost] + bytes(upto - lost) + long.data[upto:entry.end]
    store = holds(long, long.crashed(target, data, head=batch - 1), batch - 1)
    assert [torn.kept for torn in store.torn_at_open] == [long.ends[batch - 1]]
    store.close()


def test_a_repeated_block_is_dropped(journal: Journal, target: Path) -> None:
    for again in (journal.data, journal.data[journal.ends[LAST - 1]:], journal.data[journal.ends[2]:]):
        paths = journal.crashed(target, journal.data + again, head=LAST)
        store = holds(journal, paths, LAST)
        assert [(torn.kept, torn.dropped) for torn in store.torn_at_open] == [
            (journal.ends[LAST], len(again))]
        store.close()


def test_after_a_torn_write_the_journal_goes_on_and_audits(journal: Journal, target: Path) -> None:
    data = journal.data[:-40] + bytes(40)
    paths = journal.crashed(target, data, head=LAST - 2)
    before = audit(paths.journal, paths.journal_head, KEY.public)
    assert (before.ok, before.records) == (True, journal.sizes[LAST - 1])
    assert len(before.torn) == 1
    store = holds(journal, paths, LAST - 1)
    append(store, 10)
    store.close()
    report = audit(paths.journal, paths.journal_head, KEY.public)
    assert (report.ok, report.records, report.torn) == (True, journal.sizes[LAST - 1] + 1, ())
    again = opened(paths)
    assert again.dropped_at_open is None
    again.close()


# -- damage ---------------------------------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes, int, int], bytes]] = {
    "one byte": lambda data, at, end: data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1:],
    "zeros": lambda data, at, end: data[:at] + bytes(end - at) + data[end:],
    "noise": lambda data, at, end: data[:at] + NOISE[:end - at] + data[end:],
    "cut out": lambda data, at, end: data[:at] + data[end:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_before_the_last_batch_is_refused_at_every_byte(
    damage: str, journal: Journal, target: Path
) -> None:
    # The head is older, so that nothing but the log itself can tell.
    start, end = journal.ends[LAST - 2], journal.ends[LAST - 1]
    for at in range(start, end):
        data = DAMAGE[damage](journal.data, at, end)
        if data == journal.data:
            continue
        paths = journal.crashed(target, data, head=LAST - 4)
        with pytest.raises(JournalCorrupt) as refused:
            opened(paths)
        assert "\n" not in refused.value.message
        assert (paths.journal / journal.log).read_bytes() == data  # left as it was found


def test_damage_together_with_a_torn_end_is_refused_and_nothing_is_cut(
    journal: Journal, target: Path
) -> None:
    for at in range(journal.ends[LAST - 4] + 30, journal.ends[LAST - 2], 7):
        data = DAMAGE["one byte"](journal.data, at, 0)[:-5]
        paths = journal.crashed(target, data, head=0)
        with pytest.raises(JournalCorrupt):
            opened(paths)
        assert (paths.journal / journal.log).read_bytes() == data
        assert not (paths.journal.parent / KEPT).exists()


def test_a_missing_log_is_refused(journal: Journal, target: Path) -> None:
    paths = journal.crashed(target, b"", head=0)
    (paths.journal / journal.log).unlink()
    with pytest.raises(JournalCorrupt, match="log is missing"):
        opened(paths)


# -- two logs, the manifest -----------------------------------------------------------------------------


def framed(payload: bytes) -> bytes:
    """A log of one short entry."""
    data = b"\x01" + payload
    crc = leveldb_log.crc32c(data)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<IH", masked, len(payload)) + data


@dataclass
class TwoLogs:
    """The journal whose last two batches are in a younger log, as between a switch of logs and a flush."""

    old: bytes
    middle: bytes
    young: bytes
    name: str


@pytest.fixture(scope="module")
def two(journal: Journal) -> TwoLogs:
    entries = leveldb_log.walk(journal.data).entries
    parts = [framed(entry.payload(journal.data)) for entry in entries[LAST - 1:]]
    name = f"{int(journal.log.removesuffix('.log')) + 1:06}.log"
    return TwoLogs(journal.data[:journal.ends[LAST - 2]], parts[0], parts[1], name)


def test_the_younger_of_two_logs_may_be_torn(journal: Journal, two: TwoLogs, target: Path) -> None:
    for cut in range(1, len(two.young)):
        young = two.middle + two.young[:cut] + bytes(cut % 9)
        store = holds(journal, journal.crashed(target, two.old, LAST - 2, **{two.name: young}), LAST - 1)
        assert [(torn.file, torn.kept) for torn in store.torn_at_open] == [(two.name, len(two.middle))]
        store.close()
    holds(journal, journal.crashed(target, two.old, 0, **{two.name: two.middle + two.young}), LAST).close()
    holds(journal, journal.crashed(target, two.old, 0, **{two.name: b""}), LAST - 2).close()


def test_the_older_of_two_logs_may_not(journal: Journal, two: TwoLogs, target: Path) -> None:
    for cut in range(journal.ends[LAST - 3] + 1, len(two.old)):
        for old in (two.old[:cut], two.old[:cut] + bytes(len(two.old) - cut)):
            if old == two.old:
                continue
            with pytest.raises(JournalCorrupt):
                opened(journal.crashed(target, old, LAST - 4, **{two.name: two.middle}))


def test_a_batch_missing_between_two_logs_is_refused(journal: Journal, two: TwoLogs, target: Path) -> None:
    with pytest.raises(JournalCorrupt, match="damaged at byte 0"):
        opened(journal.crashed(target, two.old, LAST - 4, **{two.name: two.young}))
    with pytest.raises(JournalCorrupt):
        opened(journal.crashed(target, two.old[:journal.ends[LAST - 3]], 0, **{two.name: two.middle}))


def test_a_manifest_torn_at_every_byte_of_its_last_edit_loses_nothing(journal: Journal, target: Path) -> None:
    name = (journal.folder / "CURRENT").read_text().strip()
    manifest = (journal.folder / name).read_bytes()
    edit = framed(bytes([3, 99, 4, 77]))
    for cut in range(1, len(edit)):
        for rest in (b"", bytes(len(edit) - cut), NOISE[:len(edit) - cut]):
            torn = manifest + edit[:cut] + rest
            store = holds(journal, journal.crashed(target, journal.data, LAST, **{name: torn}), LAST)
            assert [(end.file, end.kept) for end in store.torn_at_open] == [(name, len(manifest))]
            store.close()


def test_a_manifest_damaged_before_its_last_edit_is_refused(journal: Journal, target: Path) -> None:
    name = (journal.folder / "CURRENT").read_text().strip()
    manifest = (journal.folder / name).read_bytes()
    for at in range(len(manifest)):
        damaged = manifest[:at] + bytes([manifest[at] ^ 0x41]) + manifest[at + 1:] + framed(bytes([4, 77]))
        with pytest.raises(JournalCorrupt):
            opened(journal.crashed(target, journal.data, LAST, **{name: damaged}))


# -- in use, and the whole engine -----------------------------------------------------------------------


def test_the_log_of_a_living_writer_is_never_cut(memory_path: Path) -> None:
    paths = Paths(memory_path, memory_path / "run")
    store = opened(paths)
    append(store, 10)
    (log,) = paths.journal.glob("*.log")
    with open(log, "ab") as file:
        file.write(b"half a batch")  # as one sees it who looks while it is written
    data = log.read_bytes()
    with pytest.raises(StateLocked):
        opened(paths)
    assert log.read_bytes() == data
    store.close()


@pytest.mark.parametrize("tear", ["zeros", "ones", "one byte"])
def test_an_engine_whose_last_commit_was_torn_starts_and_says_so(
    tear: str, memory_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = planted(memory_path / "root")
    whole.run("kept")
    size = whole.journal.size
    head = whole.paths.journal_head.read_bytes()
    (log,) = whole.paths.journal.glob("*.log")
    synced = log.stat().st_size
    whole.do("pause", "kept")
    data = log.read_bytes()
    crashed = memory_path / "crashed"
    shutil.copytree(
        whole.paths.root, crashed, ignore=shutil.ignore_patterns("LOCK", "lock", "*.sock", "head.new"))
    world = whole.world.copy()
    whole.close()

    last = leveldb_log.walk(data).entries[-1]
    assert last.start > synced
    after = Paths(crashed, crashed / "run")
    (after.journal / log.name).write_bytes(TEARS[tear](data, last.start + (last.end - last.start) // 2))
    after.journal_head.write_bytes(head)
    with caplog.at_level(logging.WARNING, "vordr.actors"):
        again = Whole(crashed, world)
    try:
        (said,) = [line for line in caplog.messages if "interrupted write" in line]
        assert said.startswith("the journal dropped") and "\n" not in said
        assert again.journal.size > size
        again.check()
        found = again.get("kept")
        assert found is not None
        assert found.state in (State.RUNNING, State.PAUSED)
        assert again.said()[-1] in ("run", "pause")
        again.do("stop", "kept")
    finally:
        again.close()
