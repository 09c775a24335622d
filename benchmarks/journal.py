"""Durable appends of the journal against LevelDB's own group commit of the very same writes.

A batch of n is one append from each of n clients, as the engine makes them, at the same place of a cycle. The
peer puts into a database of its own, in one synced batch each, what the store had put: records, projection,
tree. Everything else is what a journal costs: canonical JSON, hashes, conditions, the projection, the signed
head.
"""

from __future__ import annotations

import gc
import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lawful
import plyvel
from figures import Figure, held, median
from host import Host

from vordr.formats.signature import PrivateKey, Suite
from vordr.journal.batch import Evaluated, Group
from vordr.journal.layout import projection_key
from vordr.journal.store import JournalStore
from vordr.model.paths import Paths

BATCHES = (1, 4, 16, 64)
ROUNDS = 5
_CYCLES = 192
_KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(32))

Write = tuple[Mapping[bytes, bytes], list[bytes]]


def measure(host: Host, runs: int) -> list[Figure]:
    cycles = [_appends(group) for group in lawful.cycles(0, _CYCLES)]
    gc.collect()
    gc.freeze()  # what the benchmark prepared is not the journal's garbage
    found: list[Figure] = []
    for size in BATCHES:
        batches = list(_batches(cycles, size))
        writes: list[Write] = []
        records, *_ = _ours(host.folder, batches, _tapped(writes))
        ours: list[tuple[float, float]] = []
        raw: list[float] = []
        for _ in range(ROUNDS):
            _, wall, processor = _ours(host.folder, batches, JournalStore)
            ours.append((wall, processor))
            raw.append(_raw(host.folder, writes))
        scale = 1e6 / records
        peer = Figure(f"LevelDB, batches of {size}", median(raw) * scale, "µs")
        found += [peer, held(
            f"journal, batches of {size}", median(wall for wall, _ in ours) * scale, "µs", peer, bound=0.5,
            least=True, processor=median(spent for _, spent in ours) * scale / 1000)]
    gc.unfreeze()
    return found


def _appends(cycle: Group) -> list[Group]:
    """The appends of one cycle: a verdict goes with the begin, and an exit is one append."""
    drafts = list(cycle.drafts)
    parts = (2, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1)
    ends = list(itertools.accumulate(parts))
    assert ends[-1] == len(drafts) == lawful.CYCLE
    return [Group(tuple(drafts[end - part : end])) for end, part in zip(ends, parts, strict=True)]


def _batches(cycles: list[list[Group]], size: int) -> Iterator[list[Group]]:
    for first in range(0, len(cycles) - size + 1, size):
        yield from map(list, zip(*cycles[first : first + size], strict=True))


def _ours(folder: Path, batches: list[list[Group]], store: type[JournalStore]) -> tuple[int, float, float]:
    """Records, seconds, and seconds of the processor."""
    root = Path(tempfile.mkdtemp(dir=folder))
    journal = store.open(Paths(root / "root", root / "run"), _KEY)
    started, spent = time.perf_counter(), time.process_time()
    for batch in batches:
        for outcome in journal.append_batch(batch):
            if isinstance(outcome, Exception):
                raise outcome
    took = time.perf_counter() - started, time.process_time() - spent
    records = journal.size
    journal.close()
    shutil.rmtree(root)
    return records, *took


def _tapped(writes: list[Write]) -> type[JournalStore]:
    class Tapped(JournalStore):
        def _write(self, evaluated: Evaluated, puts: Mapping[bytes, bytes]) -> None:
            gone = [projection_key(key) for key, value in evaluated.writes.items() if value is None]
            writes.append((dict(puts), gone))
            super()._write(evaluated, puts)

    return Tapped


def _raw(folder: Path, writes: list[Write]) -> float:
    root = tempfile.mkdtemp(dir=folder)
    database: Any = plyvel.DB(root, create_if_missing=True)
    started = time.perf_counter()
    for puts, gone in writes:
        with database.write_batch(sync=True) as batch:
            for key, value in puts.items():
                batch.put(key, value)
            for key in gone:
                batch.delete(key)
    took = time.perf_counter() - started
    database.close()
    shutil.rmtree(root)
    return took
