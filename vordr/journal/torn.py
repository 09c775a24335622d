"""The torn end that a crash leaves of a write under way, found in LevelDB's files before LevelDB reads them.

A batch is acknowledged after it was synced, and the next is written after that. So a power failure can tear
the last batch of the newest log and nothing else: cut short, zeros, old bytes of the disk. LevelDB by itself
(1.22, paranoid checks) drops a cut in silence and refuses to open for the rest; without paranoid checks it
drops whatever follows damage anywhere. Here a torn end is told from damage by what is behind it:

- behind a torn batch nothing was ever written: it is dropped, kept in a file beside the database, and named;
- a batch (by checksum and sequence number) behind it proves that the damaged one was synced once: refused.

The same holds of the manifest and its edits. That what is dropped was not acknowledged is held against the
signed head afterwards (:mod:`vordr.journal.recover`); damage to the very last batch alone, after it was
synced and before the head was, looks like a torn write and is taken for one.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.journal import leveldb_log
from vordr.model.errors import JournalCorrupt, JournalStopped

_BATCH: Final = struct.Struct("<QI")
_SEQUENCES: Final = 1 << 56
_LOG: Final = re.compile(r"(\d{6,})\.log")
_CHECKSUM: Final = "its checksum is wrong"
KEPT: Final = "torn"
"""The file beside the database's folder that holds what was dropped last."""


@dataclass(frozen=True)
class Torn:
    """The end of a file: ``dropped`` bytes behind the ``kept`` whole ones, and ``why`` they are no entry."""

    file: str
    kept: int
    dropped: int
    why: str

    def __str__(self) -> str:
        return f"dropped {self.dropped} bytes of an interrupted write from {self.file} ({self.why})"


def torn_ends(folder: Path) -> tuple[Torn, ...]:
    """What LevelDB would have to drop of the database in ``folder``; changes nothing.

    A folder without a readable CURRENT is not judged: LevelDB says what it is.

    :raises JournalCorrupt: damage that no interrupted write leaves.
    :raises OSError: a file cannot be read, or is gone again: the database is in use.
    """
    try:
        current = (folder / "CURRENT").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    name = current.decode(errors="replace").rstrip("\n")
    if not re.fullmatch(r"MANIFEST-\d{6,}", name) or not (folder / name).exists():
        return ()
    edits, torn = _edits(name, (folder / name).read_bytes())
    if not edits:
        raise JournalCorrupt(f"the journal's {name} holds not one whole edit")
    return torn + _logs(folder, *_log_numbers(name, edits))


def drop(folder: Path, torn: tuple[Torn, ...]) -> None:
    """Cut the ends off the files, durably, after what is cut off was kept in the file :data:`KEPT` (which
    stays as it is where there is nothing to cut).

    Nobody may have the database open.

    :raises JournalStopped: the disk refuses.
    """
    if not torn:
        return
    try:
        _keep(folder, torn)
        for end in torn:
            descriptor = os.open(folder / end.file, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.ftruncate(descriptor, end.kept)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise JournalStopped(f"the journal's torn end cannot be cut off: {error.strerror or error}")


def _keep(folder: Path, torn: tuple[Torn, ...]) -> None:
    path = folder.with_name(KEPT)
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        for end in torn:
            file.write((folder / end.file).read_bytes()[end.kept :])
        file.flush()
        os.fsync(file.fileno())


def _logs(folder: Path, number: int, previous: int) -> tuple[Torn, ...]:
    """The torn end of the newest of the logs that LevelDB would replay."""
    found = {int(m[1]): m[0] for name in os.listdir(folder) if (m := _LOG.fullmatch(name))}
    live = sorted(n for n in found if n >= number or n == previous)
    if number and number not in live:
        raise JournalCorrupt(f"the journal's log {number:06}.log is missing")
    following: int | None = None
    torn: tuple[Torn, ...] = ()
    for at in live:
        following, torn = _batches(found[at], (folder / found[at]).read_bytes(), following)
        if torn and at != live[-1]:
            raise JournalCorrupt(f"the journal's log {found[at]} is damaged, and there is a younger one")
    return torn


def _edits(name: str, data: bytes) -> tuple[list[bytes], tuple[Torn, ...]]:
    """The version edits of a manifest, and its torn end."""
    walked = leveldb_log.walk(data)
    entries, fault = walked.entries, walked.fault
    if entries and not entries[-1].intact(data):
        entries, fault = entries[:-1], _CHECKSUM
    torn = _torn(name, data, entries, fault, 1, lambda piece: True)
    return [entry.payload(data) for entry in entries], torn


def _batches(name: str, data: bytes, following: int | None) -> tuple[int | None, tuple[Torn, ...]]:
    """The sequence number behind the last batch of a log, and the log's torn end; ``following`` is the number
    that its first batch must have (None: any).

    LevelDB numbers the writes of all batches without a gap; what does not go on from the batch before is of
    some other time.
    """
    walked = leveldb_log.walk(data)
    fault = walked.fault
    good: list[leveldb_log.Entry] = []
    numbers = [following]
    for entry in walked.entries:
        number = _batch(entry.payload(data))
        if number is None or numbers[-1] not in (None, number[0]):
            fault = "it does not go on from the write before"
            break
        good.append(entry)
        numbers.append(sum(number))
    if good and not good[-1].intact(data):
        good.pop()
        numbers.pop()
        fault = _CHECKSUM
    torn_at = numbers[-1]

    def later(piece: bytes) -> bool:
        number = _batch(piece)
        return number is not None and (torn_at or 0) < number[0] < _SEQUENCES

    # Where the torn batch should lie, there may also lie one that comes after it.
    return torn_at, _torn(name, data, tuple(good), fault, 1 if torn_at is None else 0, later)


def _torn(
    name: str, data: bytes, good: tuple[leveldb_log.Entry, ...], fault: str | None, skip: int,
    later: Callable[[bytes], bool],
) -> tuple[Torn, ...]:
    """The end behind the ``good`` entries, if nothing ``skip`` bytes into it or further is of a ``later``
    write; none when there is no ``fault``."""
    if fault is None:
        return ()
    kept = good[-1].end if good else 0
    for entry in good:
        if not entry.intact(data):
            raise JournalCorrupt(f"the journal's {name} is damaged at byte {entry.start}: {_CHECKSUM}")
    if leveldb_log.begins_behind(data, kept + skip, later):
        raise JournalCorrupt(
            f"the journal's {name} is damaged at byte {kept} ({fault}), and later writes lie behind it",
            details={"file": name, "at": kept},
        )
    return (Torn(name, kept, len(data) - kept, fault),)


def _batch(payload: bytes) -> tuple[int, int] | None:
    """Sequence number of a batch's first write, and their count (leveldb/db/write_batch.cc)."""
    return _BATCH.unpack_from(payload) if len(payload) >= _BATCH.size else None


def _log_numbers(name: str, edits: Iterable[bytes]) -> tuple[int, int]:
    """The number of the oldest log that LevelDB replays, and of one before it (0: none), as the last edits
    have them.

    An edit is a list of fields, each a tag and what the tag says follows (leveldb/db/version_edit.cc).
    """
    found = {_LOG_NUMBER: 0, _PREVIOUS_LOG: 0}
    for edit in edits:
        fields = _Fields(edit)
        try:
            while (tag := fields.tag()) is not None:
                values = [fields.number() if kind == "n" else fields.skip() for kind in _EDIT[tag]]
                if tag in found:
                    found[tag] = values[0]
        except (IndexError, KeyError):
            raise JournalCorrupt(f"the journal's {name} has an edit that is none")
    return found[_LOG_NUMBER], found[_PREVIOUS_LOG]


_LOG_NUMBER, _PREVIOUS_LOG = 2, 9
_EDIT: Final = {1: "s", _LOG_NUMBER: "n", 3: "n", 4: "n", 5: "ns", 6: "nn", 7: "nnnss", _PREVIOUS_LOG: "n"}
"""The fields by tag: n is a varint, s a varint of a length and as many bytes."""


class _Fields:
    """Reads an edit from front to back; IndexError where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def tag(self) -> int | None:
        return None if self._at == len(self._data) else self.number()

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def skip(self) -> int:
        length = self.number()
        self._at += length
        if self._at > len(self._data):
            raise IndexError(length)
        return length
