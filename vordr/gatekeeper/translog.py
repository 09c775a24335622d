"""A transparency log of our own: an append-only file, its Merkle tree, and signed answers.

Folder of one log:

    entries      records of u32 length (big-endian) ‖ leaf hash (32) ‖ entry, one after the other
    checkpoint   C2SP note with size and root after the last acknowledged append
    lock         flock of whoever appends

An append is acknowledged after entry and checkpoint are durable. A torn record at the end of ``entries`` is
what a power cut leaves of an append that nobody was told of: it is cut off. Entries that are fewer than, or
not those of, the checkpoint are a log that was tampered with: it is refused.

The tree is kept in memory as levels of full subtrees (some 64 bytes an entry). Several processes may append:
each catches up under the lock first.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from vordr.formats import checkpoint as checkpoints
from vordr.formats import merkle, note
from vordr.formats.checkpoint import Checkpoint
from vordr.formats.digests import sha256_digest
from vordr.formats.dsse import Envelope
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.gatekeeper import durable
from vordr.gatekeeper.keys import KeyRing, log_key_name
from vordr.gatekeeper.logproof import LogEntry, SignedHead, head_bytes, leaf_bytes, timestamp_bytes
from vordr.gatekeeper.trust import TrustStore
from vordr.model.errors import StateError
from vordr.model.paths import Paths

_HEAD: Final = 4 + merkle.HASH_SIZE
_LARGEST_ENTRY: Final = 64 * 1024
_LOG_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")


class LocalLog:
    """The log in ``folder``, named ``log_id`` (by default as its folder), signing with ``key``."""

    def __init__(self, folder: Path, key: PrivateKey, log_id: str | None = None) -> None:
        """Open a log that :meth:`create` made.

        Raises StateError: it is not there, damaged, cut, or another key's.
        """
        self.id = log_id or folder.name
        self._folder = folder
        self._key = key
        self._mutex = threading.Lock()
        self._levels: list[list[bytes]] = []
        self._frontier = merkle.Frontier()
        self._offset = 0
        self._broken = False
        with self._exclusive() as fd:
            self._catch_up(fd)

    @classmethod
    def create(cls, folder: Path, key: PrivateKey, log_id: str | None = None) -> LocalLog:
        """Start an empty log in a folder that does not exist yet. Raises StateError: it does, or the name is
        not a-z, 0-9, dots and dashes."""
        name = log_id or folder.name
        if not _LOG_ID.fullmatch(name):
            raise StateError(f"not a name for a log: {name[:100]!r}")
        durable.private_folder(folder.parent)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError as error:
            raise StateError(f"{folder}: exists already") from error
        for part in ("entries", "lock"):
            durable.write_new(folder / part, b"")
        durable.replace(folder / "checkpoint", _note(name, merkle.Frontier(), key))
        durable.sync_folder(folder.parent)
        return cls(folder, key, name)

    @classmethod
    def open(cls, folder: Path, key: PrivateKey) -> LocalLog:
        """Open a log of the name that its checkpoint says, which ``key`` signed. Raises StateError."""
        try:
            text = (folder / "checkpoint").read_text(encoding="utf-8")
            return cls(folder, key, checkpoints.parse(note.parse_note(text).text).origin)
        except (OSError, FormatError, UnicodeDecodeError) as error:
            raise StateError(f"{folder}: no log, or its checkpoint is damaged: {error}",
                             remedy="vordr translog init DIR") from error

    @property
    def size(self) -> int:
        """Entries that this handle has seen."""
        return self._frontier.size

    def root(self) -> bytes:
        """The tree hash at :attr:`size`."""
        return self._frontier.root()

    def checkpoint(self) -> str:
        """The newest signed checkpoint, a C2SP note."""
        return (self._folder / "checkpoint").read_text(encoding="utf-8")

    def append(self, *, attestation: str, subject: str, predicate_type: str, now_us: int) -> LogEntry:
        """Log one attestation durably and prove it. Digests are ``sha256:<hex>``; ``now_us`` becomes the
        integrated time. Raises StateError: the entry could not be made durable, or the log is damaged."""
        time = format_rfc3339(now_us)
        entry = leaf_bytes(attestation, subject, predicate_type, time)
        if len(entry) > _LARGEST_ENTRY:
            raise StateError(f"log {self.id}: an entry of {len(entry)} bytes is too long")
        leaf = merkle.leaf_hash(entry)
        with self._mutex, self._exclusive() as fd:
            self._catch_up(fd)
            index = self.size
            self._write(fd, len(entry).to_bytes(4, "big") + leaf + entry)
            self._grow(leaf)
            self._offset += _HEAD + len(entry)
            durable.replace(self._folder / "checkpoint", _note(self.id, self._frontier, self._key))
            return self._proof(index, leaf, time, now_us)

    def submit(self, envelope: Envelope, subject: str, predicate_type: str, now_us: int) -> LogEntry:
        """As :meth:`vordr.gatekeeper.logs.Log.submit`: what its own host attests is taken in as it is."""
        return self.append(attestation=sha256_digest(envelope.pae()), subject=subject,
                           predicate_type=predicate_type, now_us=now_us)

    def head(self, now_us: int) -> SignedHead:
        """The tree of this moment, signed as of ``now_us``. Raises StateError."""
        time = format_rfc3339(now_us)
        with self._current():
            size, root = self.size, self.root()
        signed = self._key.sign(head_bytes(self.id, size, root, time))
        return SignedHead(self.id, size, root, time, now_us, signed)

    def prove(self, index: int, time: str, size: int | None = None) -> LogEntry:
        """Entry ``index``, integrated at ``time`` as its leaf says, proved in the tree of ``size`` entries,
        by default the present one. Raises FormatError: there is no such entry or tree; StateError."""
        with self._current():
            size = self._known_size(size)
            if not 0 <= index < size:
                raise FormatError("log", f"no entry {index} in a tree of {size}")
            return self._proof(index, self._levels[0][index], time, parse_rfc3339(time), size)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Proof that the tree of ``second`` entries has grown out of that of ``first`` (RFC 9162 §2.1.4).

        Raises FormatError: there are no such trees; StateError.
        """
        with self._current():
            return merkle.consistency_path_from(first, self._known_size(second), self._node)

    def entries(self) -> Iterator[bytes]:
        """All whole entries in order, as their canonical JSON bytes; read from the file."""
        with (self._folder / "entries").open("rb") as file:
            while record := _read_record(file):
                yield record.entry

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Nobody appends by this handle, and what others appended is known."""
        with self._mutex, self._exclusive() as fd:
            self._catch_up(fd)
            yield

    def _known_size(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise FormatError("log", f"no tree of {size} entries, there are {self.size}")
        return size

    def _node(self, level: int, index: int) -> bytes:
        return self._levels[level][index]

    def _root_of(self, size: int) -> bytes:
        """The tree hash when there were ``size`` entries."""
        nodes, begin = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                nodes.append(self._node(level, begin >> level))
                begin += 1 << level
        return merkle.Frontier(size, tuple(nodes)).root()

    def _proof(self, index: int, leaf: bytes, time: str, time_us: int, size: int | None = None) -> LogEntry:
        size = self.size if size is None else size
        root = self._root_of(size)
        path = merkle.inclusion_path_from(index, size, self._node)
        signed = timestamp_bytes(self.id, index, time, size, root, leaf)
        return LogEntry(self.id, index, time, time_us, size, root, tuple(path), self._key.sign(signed))

    def _grow(self, leaf: bytes) -> None:
        self._frontier, done = self._frontier.grow(leaf)
        for subtree in done:
            if subtree.level == len(self._levels):
                self._levels.append([])
            self._levels[subtree.level].append(subtree.hash)

    @contextmanager
    def _exclusive(self) -> Iterator[int]:
        """The entries file, with the lock held."""
        if self._broken:
            raise StateError(f"log {self.id}: a write failed before; open it again after checking the disk")
        try:
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise StateError(f"{self._folder}: no log: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fd = os.open(self._folder / "entries", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)
        except OSError as error:
            self._broken = True
            raise StateError(f"log {self.id}: {error.strerror}") from error
        finally:
            os.close(lock)

    def _catch_up(self, fd: int) -> None:
        """Read what was appended since, hold it against the checkpoint, and cut off what was never
        acknowledged because it is not whole."""
        promised = self._promised()
        end = os.fstat(fd).st_size
        if end < self._offset:
            raise StateError(f"log {self.id}: entries were removed")
        self._compare(promised)
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(self._offset)
            while record := _read_record(file):
                self._grow(record.leaf)
                self._offset = file.tell()
                self._compare(promised)
        if self.size < promised.size:
            raise StateError(f"log {self.id}: {self.size} whole entries, its checkpoint says {promised.size}")
        if self._offset < end:
            os.ftruncate(fd, self._offset)
            os.fsync(fd)

    def _compare(self, promised: Checkpoint) -> None:
        if self.size == promised.size and self.root() != promised.root:
            raise StateError(f"log {self.id}: its entries are not those of its checkpoint")

    def _promised(self) -> Checkpoint:
        try:
            signed = note.parse_note(self.checkpoint())
            if not note.verify_note(signed, self.id, self._key.public):
                raise StateError(f"log {self.id}: its checkpoint is not signed by its key")
            return checkpoints.parse(signed.text)
        except (FormatError, UnicodeDecodeError) as error:
            raise StateError(f"log {self.id}: its checkpoint is damaged: {error}") from error

    def _write(self, fd: int, record: bytes) -> None:
        os.lseek(fd, self._offset, os.SEEK_SET)
        view = memoryview(record)
        while view:
            view = view[os.write(fd, view):]
        os.fsync(fd)


class _Record(NamedTuple):
    leaf: bytes
    entry: bytes


def _read_record(file: BinaryIO) -> _Record | None:
    """The next record; None where no whole one follows."""
    head = file.read(_HEAD)
    length = int.from_bytes(head[:4], "big")
    if len(head) < _HEAD or not 0 < length <= _LARGEST_ENTRY:
        return None
    entry = file.read(length)
    if len(entry) < length or merkle.leaf_hash(entry) != head[4:]:
        return None
    return _Record(head[4:], entry)


def _note(log_id: str, frontier: merkle.Frontier, key: PrivateKey) -> bytes:
    text = Checkpoint(log_id, frontier.size, frontier.root()).to_text()
    return note.sign_note(text, log_id, key).encode()


def local_logs(paths: Paths, trust: TrustStore, passphrase: str | None = None) -> tuple[LocalLog, ...]:
    """The logs that the trust store knows and this root folder runs, opened with their keys.

    Raises StateError or KeyUnusable: a log or its key is damaged. Logs of others are left out.
    """
    ring = KeyRing(paths)
    found = []
    for log in trust.logs:
        if trust.revoked(log.public.key_id) or not (paths.logs / log.id / "entries").is_file():
            continue
        key = ring.load(log_key_name(log.id), passphrase)
        if key.public != log.public:
            raise StateError(f"log {log.id}: the key in {ring.path(log_key_name(log.id))} is another one")
        found.append(LocalLog(paths.logs / log.id, key))
    return tuple(found)
