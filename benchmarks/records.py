"""A long history: auditing it against hashing it, and starting the service on it.

The root folder is a real one (trust, keys, journal), whose journal then gets lawful cycles through the store,
and containers that are still there.
"""

from __future__ import annotations

import gc
import hashlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import lawful
import plyvel
from figures import Figure, held, median
from host import Host, end

from vordr.engine.local import LocalEngine
from vordr.gatekeeper.keys import load_host_key
from vordr.journal import database
from vordr.journal.auditor import OfflineJournal
from vordr.journal.layout import HASH_SIZE, RECORDS
from vordr.journal.store import JournalStore
from vordr.model.paths import Paths
from vordr.model.records import EPOCH_KEY

MILLION = 1_000_000
FEW = 50_000
STANDING = 300
STARTS = 5
_TOGETHER = 64
_BULK = 64 << 20
_QUIET_S = 5.0


def build(folder: Path, records: int, standing: int) -> Paths:
    """A root folder with so many records, and so many containers of them still there."""
    root = folder / f"records-{records}-{standing}"
    with LocalEngine.open(root) as engine:
        engine.trust_init("Benchmark")
    paths = Paths.of(root)
    with mock.patch.object(database, "_WRITE_BUFFER", _BULK):  # made in minutes, not in an afternoon
        store = JournalStore.open(paths, load_host_key(paths))
    epoch = int(store.get(EPOCH_KEY) or 0)
    gc.disable()
    cycles = max(0, records - store.size) // lawful.CYCLE
    try:
        for first in range(0, cycles, _TOGETHER):
            _append(store, lawful.cycles(first, min(_TOGETHER, cycles - first), epoch=epoch))
        for group in lawful.standing(cycles, standing, epoch=epoch):
            _append(store, [group])  # an ordinary journal does not end in a batch of thousands
    finally:
        gc.enable()
        store.close()
    _settle(paths)
    return paths


def _settle(paths: Paths) -> None:
    """Compact the journal, as one that grew slowly has been all along, and wait until LevelDB has moved down
    what compacting left too much of on a level: it would go on with that at every start, by a thread of its
    own, until the service is closed."""
    whole: Any = plyvel.DB(str(paths.journal))
    try:
        whole.compact_range()
        before = None
        while before != (before := [whole.get_property(f"leveldb.num-files-at-level{level}".encode())
                                    for level in range(7)]):
            time.sleep(_QUIET_S)
    finally:
        whole.close()


def _append(store: JournalStore, groups: Iterable[Any]) -> None:
    for outcome in store.append_batch(list(groups)):
        if isinstance(outcome, Exception):
            raise outcome


# -- audit -----------------------------------------------------------------------------------------


def audit(paths: Paths) -> list[Figure]:
    """Of a whole journal: what a chain audit takes, from the copy on, against the hashes of it alone."""
    with _Laps(paths) as laps:
        sum(map(len, _values(laps.journal)))  # the first to read it would pay for the disk
        laps.lap("chain", lambda journal: laps.whole(journal, replay=False))
        laps.lap("read", lambda journal: _hash(value[HASH_SIZE:] for value in _values(journal)))
        bodies = [value[HASH_SIZE:] for value in _values(laps.journal)]
        laps.lap("hash", lambda journal: _hash(bodies))
    floor = Figure(f"hash {len(bodies) / 1000:.0f}k records in memory", laps.spent["hash"], "s")
    reading = held("read and hash them", laps.spent["read"], "s", floor)
    chain = laps.copied + laps.spent["chain"]
    return [
        floor, reading, held("audit: chain, tree, head", chain, "s", reading, bound=3.0),
        held("the same, against memory", chain, "s", floor)]


def replay(paths: Paths) -> list[Figure]:
    """What replaying records takes beside the chain, and holding them against the model."""
    with _Laps(paths) as laps:
        laps.lap("chain", lambda journal: laps.whole(journal, replay=False))
        laps.lap("replay", lambda journal: laps.whole(journal, replay=True))  # the walk is remembered
        model = laps.lap("model", lambda journal: journal.history())
    if not model.ok:
        raise SystemExit(f"the model does not allow the benchmark's history: {model.unlawful}")
    chain = Figure("chain, tree, head, fewer records", laps.copied + laps.spent["chain"], "s")
    return [
        chain, held("with replay (vordr audit)", chain.value + laps.spent["replay"], "s", chain),
        held("what --model adds", laps.spent["model"], "s", chain)]


class _Laps:
    """A linked copy of a journal, and the processor time of what is done with it."""

    def __init__(self, paths: Paths) -> None:
        self._key = load_host_key(paths).public
        self._paths = paths
        self._stack = ExitStack()
        self.spent: dict[str, float] = {}

    def __enter__(self) -> _Laps:
        scratch = self._stack.enter_context(tempfile.TemporaryDirectory(dir=self._paths.root))
        started = time.process_time()
        self.journal = self._stack.enter_context(OfflineJournal.copied(
            self._paths.journal, self._paths.journal_head, scratch=Path(scratch), linked=True))
        self.copied = time.process_time() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lap(self, name: str, work: Callable[[OfflineJournal], Any]) -> Any:
        started = time.process_time()
        found = work(self.journal)
        self.spent[name] = time.process_time() - started
        return found

    def whole(self, journal: OfflineJournal, **how: bool) -> None:
        report = journal.audit(self._key, **how)
        if not report.ok:
            raise SystemExit(f"the benchmark's journal does not hold: {report.reason}")


def _values(journal: OfflineJournal) -> Iterable[bytes]:
    with journal.database.iterator(prefix=RECORDS, include_key=False, verify_checksums=True) as values:
        yield from values


def _hash(bodies: Iterable[bytes]) -> None:
    """The hashes that a journal of ``bodies`` is made of: chain, leaves, tree."""
    sha256, previous = hashlib.sha256, bytes(HASH_SIZE)
    level: list[bytes] = []
    for body in bodies:
        previous = sha256(previous + body).digest()
        level.append(sha256(b"\x00" + previous).digest())
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


# -- start -----------------------------------------------------------------------------------------


def start(host: Host, roots: dict[str, Paths]) -> list[Figure]:
    """Seconds from the start of the service's process until it answers, of each root folder in turn."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in roots}
    memory: dict[str, float] = {}
    for _ in range(STARTS):
        for name, paths in roots.items():
            seconds, spent, memory[name] = _start(host, paths)
            took[name].append((seconds, spent))
    found = [
        Figure(f"start: {name}", median(wall for wall, _ in times), "s", bound=2.0,
               processor=median(spent for _, spent in times) * 1000)
        for name, times in took.items()]
    return found + [Figure(f"memory at rest: {name}", kib / 1024, "MiB") for name, kib in memory.items()]


def _start(host: Host, paths: Paths) -> tuple[float, float, float]:
    """Seconds until ready, seconds of the processor until then, and KiB of memory of its own then."""
    reading, writing = os.pipe()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "vordr.service", "--root", str(paths.root), "--ready-fd", str(writing),
         "--log-file", str(paths.root / "service.log")],
        pass_fds=(writing,), env=host.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.close(writing)
    try:
        select.select([reading], [], [], 120)
        word = os.read(reading, 4096)
        took = time.perf_counter() - started
        if word != b"ready\n":
            raise SystemExit(f"the service did not start on {paths.root}: {word.decode(errors='replace')}")
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return took, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), anonymous(process.pid)
    finally:
        os.close(reading)
        end(process.pid)
        process.wait()


def anonymous(pid: int) -> float:
    """KiB of anonymous memory that the process holds (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return float(line.split()[1])
    raise SystemExit(f"the kernel tells no RssAnon of {pid}")
